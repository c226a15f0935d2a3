"""Tuning the text model of CLAP-MusicGen: what is hidden, what is learned, what is written."""

import numpy as np
import pytest
import torch
from models.tiny_clap import CAPTIONS, tiny_roberta
from training.clap_corpus import KINDS, settings
from training.small_corpus import beside, contents, table
from transformers import AutoTokenizer, RobertaForMaskedLM

from clamp3.data.captions import caption_of
from clamp3.errors import ConfigError, DataError
from clamp3.files import write_jsonl
from clamp3.models.clap_musicgen.pretrained import load_text, load_text_tokenizer
from clamp3.training import clap_mlm
from clamp3.training.clap_mlm import (
    IGNORED,
    MaskedTextTask,
    mask_tokens,
    read_captions,
    train_masked_text,
)

MASK, VOCABULARY = 7, 50


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    made = []
    for name, count in (("train", 40), ("validation", 12)):
        lines = [
            {
                "id": f"x/{name}{n}",
                "filepaths": ["a.wav"],
                "tags": sorted(KINDS)[n % 3].split(),
                "description": f"number {n // 3}",
            }
            for n in range(count)
        ]
        made.append(folder / f"{name}.jsonl")
        write_jsonl(made[-1], lines)
    return made


def run(folder, manifests, chosen, seed=1):
    train_masked_text(
        manifests=manifests[:1],
        validation=manifests[1:],
        settings=chosen,
        seed=seed,
        **beside(folder / "text"),
    )
    return contents(folder / "text")


def test_captions_are_put_together():
    texts = {"tags": ["dark", "metal"], "description": "dark\n  loud  drums ", "title": None}
    assert caption_of(texts, ("tags", "description")) == "dark, metal, loud drums"
    assert caption_of(texts, ("title", "scene")) == ""


def test_fifteen_percent_are_hidden_and_ends_never():
    tokens = np.concatenate([[0], np.full(20_000, 9), [2]])
    seen, labels = mask_tokens(tokens, 0.15, np.random.default_rng(0), MASK, VOCABULARY)
    hidden = labels != IGNORED
    assert hidden.mean() == pytest.approx(0.15, abs=0.01)
    assert (labels[hidden] == 9).all()
    assert (seen[~hidden] == tokens[~hidden]).all()
    shares = [(seen[hidden] == MASK).mean(), (seen[hidden] == 9).mean()]
    assert shares == pytest.approx([0.8, 0.1], abs=0.02)
    others = seen[hidden & (seen != MASK) & (seen != 9)]
    assert len(set(others.tolist())) > 40
    assert others.max() < VOCABULARY
    assert (tokens[1:-1] == 9).all()


def test_a_short_caption_has_one_hidden_token():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, labels = mask_tokens(np.array([0, 5, 6, 2]), 0.001, rng, MASK, VOCABULARY)
        assert (labels != IGNORED).sum() == 1
        assert labels[0] == labels[3] == IGNORED
    seen, labels = mask_tokens(np.array([0, 2]), 0.5, rng, MASK, VOCABULARY)
    assert seen.tolist() == [0, 2]
    assert (labels == IGNORED).all()


def task(folder, manifests, chosen, validation=True):
    captions = read_captions(manifests[:1], chosen.captions)
    torch.manual_seed(0)
    sizes, model, words = clap_mlm._begin(chosen, captions)
    made = MaskedTextTask(model, words, sizes, chosen.masked_text, captions, 1)
    if validation:
        made.validate_on(read_captions(manifests[1:], chosen.captions))
    return made


def test_the_loss_is_that_of_transformers(tmp_path, manifests):
    roberta = tiny_roberta(tmp_path / "roberta")
    made = task(tmp_path, manifests, settings(tmp_path, roberta))
    made.model.eval()
    batch = made.collate(0, [0, 3, 7])
    model = RobertaForMaskedLM.from_pretrained(roberta).eval()
    inputs = {"input_ids": batch.inputs, "attention_mask": batch.mask, "labels": batch.labels}
    with torch.no_grad():
        assert made.loss(batch).item() == pytest.approx(model(**inputs).loss.item(), rel=1e-5)
    alone = made.collate(0, [3])
    count = alone.inputs.shape[1]
    assert torch.equal(alone.inputs[0], batch.inputs[1, :count])
    assert sorted(m for dealt in made.deal(0) for m in dealt) == list(range(len(made.captions)))


def test_inputs_tell_trainings_apart(tmp_path, manifests):
    chosen = settings(tmp_path)
    made = task(tmp_path, manifests, chosen)
    assert made.inputs == task(tmp_path, manifests, chosen).inputs
    assert made.inputs != task(tmp_path, manifests, chosen, validation=False).inputs
    other = chosen.model_copy(update={"captions": ("tags",)})
    assert made.inputs != task(tmp_path, manifests, other).inputs


def test_a_new_model_learns_and_is_written_as_a_roberta(tmp_path, manifests):
    chosen = settings(tmp_path)
    tuning = chosen.masked_text.training.model_copy(update={"epochs": 12, "learning_rate": 0.01})
    masked = chosen.masked_text.model_copy(update={"training": tuning})
    chosen = chosen.model_copy(update={"masked_text": masked})
    files = run(tmp_path / "a", manifests, chosen)
    rows = table(tmp_path / "a" / "text.tsv")
    losses = [float(row["loss"]) for row in rows if row["split"] == "validation"]
    assert min(losses) < 0.8 * losses[0]
    assert files.keys() >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert run(tmp_path / "b", manifests, chosen) == files
    folder = tmp_path / "a" / "text"
    model = RobertaForMaskedLM.from_pretrained(folder).eval()
    _, encoder = load_text(folder, 24)
    words, other = load_text_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    assert words(CAPTIONS)["input_ids"] == other(CAPTIONS)["input_ids"]
    found = words(CAPTIONS, padding=True, return_tensors="pt")
    found = {name: found[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        expected = model.roberta(**found).last_hidden_state
        assert torch.allclose(encoder(**found).last_hidden_state, expected, atol=1e-6)


def test_a_pretrained_model_goes_on(tmp_path, manifests):
    roberta = tiny_roberta(tmp_path / "roberta")
    run(tmp_path, manifests, settings(tmp_path, roberta))
    before, after = load_text(roberta, 24)[1], load_text(tmp_path / "text", 24)[1]
    changed = [
        name
        for name, tensor in before.state_dict().items()
        if not torch.equal(tensor, after.state_dict()[name])
    ]
    assert "embeddings.word_embeddings.weight" in changed
    assert load_text_tokenizer(tmp_path / "text").get_vocab() == (
        load_text_tokenizer(roberta).get_vocab()
    )


def test_nothing_to_learn_from_is_told(tmp_path, manifests):
    chosen = settings(tmp_path)
    with pytest.raises(DataError, match="no line has text under scene"):
        run(tmp_path, manifests, chosen.model_copy(update={"captions": ("scene",)}))
    with pytest.raises(ConfigError, match="masked_text is null"):
        run(tmp_path, manifests, chosen.model_copy(update={"masked_text": None}))
