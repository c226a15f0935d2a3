"""Training CLAP-MusicGen's heads: batches, losses, resuming, what is saved and what is refused."""

import numpy as np
import pytest
import torch
from models.tiny_clap import tiny_roberta
from training.clap_corpus import (
    make_clap_corpus,
    make_sounds,
    make_states,
    settings,
    tiny_musicgen,
)
from training.small_corpus import beside, contents, table
from training.tiny_task import KilledError, kill_at

from clamp3.data.store import Store
from clamp3.errors import DataError
from clamp3.files import read_jsonl, write_jsonl
from clamp3.models.clap_musicgen.checkpoints import load_clap
from clamp3.models.clap_musicgen.model import Head
from clamp3.models.clap_musicgen.pretrained import load_decoder, load_text
from clamp3.training.clap_musicgen import (
    ClapTask,
    mean_reciprocal_rank,
    new_clap,
    read_recorded,
    train_clap_musicgen,
)
from clamp3.training.listwise import cosines, ranking_loss


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clap")
    tiny_roberta(folder / "roberta")
    return folder, make_clap_corpus(folder, 18, 9)


def run(corpus, out, seed=1, **changes):
    folder, states = corpus
    train_clap_musicgen(
        manifests_train=[folder / "train.jsonl"],
        manifests_validation=[folder / "validation.jsonl"],
        states=states,
        text_model=folder / "roberta",
        settings=settings(folder, folder / "roberta", **changes),
        seed=seed,
        **beside(out / "model"),
    )
    return contents(out / "model")


def task(corpus, seed=1, **changes):
    folder, states = corpus
    chosen = settings(folder, folder / "roberta", **changes)
    torch.manual_seed(0)
    model, words = new_clap(chosen, folder / "roberta", 0.4)
    model.text_model.requires_grad_(not chosen.freeze_text)
    made = ClapTask(model, words, chosen, seed)
    store = Store(states)
    manifests = (folder / "train.jsonl", folder / "validation.jsonl")
    made.learn_from(*(read_recorded([path], store, chosen.captions) for path in manifests))
    return made


def training(corpus, **changes):
    return settings(corpus[0]).training.model_copy(update=changes)


def test_every_piece_is_dealt_once_and_a_chunk_of_it_is_drawn(corpus):
    made = task(corpus)
    assert sorted(m for batch in made.deal(0) for m in batch) == list(range(18))
    assert made.deal(0) == made.deal(0) != made.deal(1)
    alone, together = made.collate(2, [7]), made.collate(2, [3, 7])
    assert torch.equal(alone.audio[0], together.audio[1])
    drawn = {made.collate(epoch, [7]).audio[0].numpy().tobytes() for epoch in range(12)}
    assert drawn == {row.tobytes() for row in made.pieces.states[7]}
    assert len(drawn) == 2
    assert together.ids == [made.pieces.ids[3], made.pieces.ids[7]]
    assert together.tokens is None


@pytest.mark.parametrize("loss", ["listmle", "listnet", "infonce"])
def test_the_loss_is_of_heads_over_states(corpus, loss):
    made = task(corpus, loss=loss)
    batch = made.collate(0, list(range(6)))
    model = made.clap
    captions = [made.pieces.captions[n] for n in range(6)]
    tokens = made.tokenizer(captions, padding=True, return_tensors="pt")
    with torch.no_grad():
        first = model.text_states(tokens["input_ids"], tokens["attention_mask"])
        audio, text = model.audio_head(batch.audio), model.text_head(first)
        expected = ranking_loss(audio, text, cosines(first), loss=loss, scale=5.0)
        assert made.loss(batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_frozen_text_model_stays_and_heads_learn(corpus, tmp_path):
    run(corpus, tmp_path)
    loaded = load_clap(tmp_path / "model", verify=True)
    before = load_text(corpus[0] / "roberta", 24)[1].state_dict()
    after = loaded.model.text_model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    decoder = load_decoder(corpus[0] / "musicgen", settings(corpus[0]).reading).state_dict()
    saved = loaded.model.audio_model.state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in decoder.items())
    assert loaded.model.config.chunk_seconds == 0.4
    assert loaded.tokenizer is not None


def test_a_text_model_that_learns_keeps_the_first_order(corpus, tmp_path):
    made = task(corpus, freeze_text=False)
    batch = made.collate(0, [0, 1, 2])
    assert batch.tokens is not None
    made.loss(batch).backward()
    assert made.clap.text_model.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    with torch.no_grad():
        for parameter in made.clap.text_model.parameters():
            parameter.mul_(0.5)
    assert torch.equal(made.collate(0, [0, 1, 2]).text, batch.text)
    run(corpus, tmp_path, freeze_text=False)
    before = load_text(corpus[0] / "roberta", 24)[1].state_dict()
    after = load_clap(tmp_path / "model").model.text_model.state_dict()
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(after[name], before[name])


def test_learns_to_find_and_is_the_same_again(corpus, tmp_path):
    how = {"loss": "infonce", "standardise": False, "logit_scale": 10.0, "fit_heads": True}
    how["training"] = training(
        corpus,
        epochs=25,
        learning_rate=0.01,
        batch_size=18,
        evaluate_by="reciprocal_rank_text_to_audio",
    )
    files = run(corpus, tmp_path / "a", **how)
    assert run(corpus, tmp_path / "b", **how) == files
    rows = table(tmp_path / "a" / "model.tsv")
    found = [float(r["reciprocal_rank_text_to_audio"]) for r in rows if r["split"] == "validation"]
    # Two captions for each kind of sound, which cannot be told apart: 3/4 is about perfect.
    assert max(found) > 0.65
    losses = [float(r["loss"]) for r in rows if r["split"] == "train"]
    assert losses[-1] < 0.8 * losses[0]


def test_heads_can_begin_with_what_the_states_are():
    torch.manual_seed(0)
    head = Head(6, 5, 4)
    drawn = 1000 + torch.randn(50, 6) * torch.tensor([1.0, 2, 3, 0.1, 5, 0])
    plain = [part.detach().clone() for part in (head[0].weight, head[0].bias)]
    head.fit(drawn)
    unit = (drawn - drawn.mean(dim=0)) / drawn.std(dim=0, correction=0).clamp(min=1e-3)
    expected = torch.nn.functional.linear(unit, *plain)
    assert torch.allclose(head[0](drawn), expected, atol=5e-3)
    assert torch.isfinite(head[0].weight).all()


@pytest.mark.parametrize("freeze_text", [True, False])
@pytest.mark.usefixtures("eager_saving")
def test_killed_it_goes_on_to_the_same_bytes(corpus, tmp_path, monkeypatch, freeze_text):
    how = {"freeze_text": freeze_text, "training": training(corpus, epochs=2, dropout=0.1)}
    whole = run(corpus, tmp_path / "whole", **how)
    kill_at(monkeypatch, ClapTask, 5)
    with pytest.raises(KilledError):
        run(corpus, tmp_path / "killed", **how)
    assert run(corpus, tmp_path / "killed", **how) == whole
    metrics = [(tmp_path / name / "model.tsv").read_bytes() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]


def test_inputs_tell_trainings_apart(corpus):
    made = task(corpus)
    assert made.inputs == task(corpus).inputs
    assert made.inputs != task(corpus, loss="listnet").inputs
    assert made.inputs != task(corpus, captions=("tags",)).inputs
    fewer = read_recorded([corpus[0] / "validation.jsonl"], Store(corpus[1]), ("tags",))
    before = made.inputs
    made.learn_from(made.pieces, fewer)
    assert made.inputs != before


def test_evaluation_takes_all_chunks_and_does_not_depend_on_batches(corpus):
    made = task(corpus)
    made.model.eval()
    with torch.no_grad():
        once = made.evaluate(torch.device("cpu"))
        assert made.evaluate(torch.device("cpu")) == once
        vectors = []
        for own in made.validation.states:
            mean = made.clap.audio_head(torch.from_numpy(own)).mean(dim=0)
            vectors.append(mean / mean.norm())
        first = np.stack([made.first[caption] for caption in made.validation.captions])
        scores = made.clap.text_head(torch.from_numpy(first)) @ torch.stack(vectors).T
    captions = made.validation.captions
    for name, own in (("text_to_audio", scores), ("audio_to_text", scores.T)):
        expected = mean_reciprocal_rank(own, captions)
        assert once[f"reciprocal_rank_{name}"] == pytest.approx(expected)


def test_ranks_count_ties_as_losses_and_equal_captions_not_at_all():
    scores = torch.tensor([[3.0, 1, 2], [5, 5, 1], [1, 2, 0]])
    assert mean_reciprocal_rank(scores, "abc") == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert mean_reciprocal_rank(scores, "aba") == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert mean_reciprocal_rank(scores, "aaa") == 1
    assert mean_reciprocal_rank(torch.zeros(4, 4), "abcd") == pytest.approx(1 / 4)


def test_states_of_another_musicgen_or_reading_are_told(corpus, tmp_path):
    folder, _ = corpus
    tiny_musicgen(tmp_path / "musicgen", seed=5)
    with pytest.raises(DataError, match="states were made by another codec"):
        run(corpus, tmp_path, musicgen=str(tmp_path / "musicgen"))
    changed = settings(folder).reading.model_copy(update={"pooling": "mean"})
    with pytest.raises(DataError, match="states were made with reading"):
        run(corpus, tmp_path, reading=changed)
    other = folder / "other-states.parquet"
    chosen = settings(folder).recordings.model_copy(update={"chunks": 1})
    make_sounds(folder, 3, "other")
    assert make_states(folder, settings(folder, recordings=chosen), "other") == other
    with pytest.raises(DataError, match="were made in different ways"):
        run((folder, [*corpus[1], other]), tmp_path)
    with pytest.raises(DataError, match="is it a table of states"):
        run((folder, [folder / "train.parquet"]), tmp_path)


def test_pieces_without_caption_or_recording_are_left_out(corpus, tmp_path, caplog):
    folder, states = corpus
    lines = [line for _, line in read_jsonl(folder / "train.jsonl")][:4]
    lines[1] |= {"tags": [], "description": None}
    lines[2] |= {"id": "suno/unknown"}
    write_jsonl(tmp_path / "some.jsonl", lines)
    found = read_recorded([tmp_path / "some.jsonl"], Store(states), ("tags", "description"))
    assert found.ids == [lines[0]["id"], lines[3]["id"]]
    assert "2 of 4 pieces have no caption or recording" in caplog.text
    write_jsonl(folder / "one.jsonl", lines[:1])
    made = task(corpus)
    one = read_recorded([folder / "one.jsonl"], Store(states), ("tags",))
    with pytest.raises(DataError, match="1 pieces with caption and recording, expected at least"):
        made.learn_from(one, one)
