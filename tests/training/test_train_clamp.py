"""Contrastive stages: samples, freezing, learning, what is saved and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_corpus import (
    FEATURE_SIZE,
    beside,
    clamp_settings,
    contents,
    m3_settings,
    make_corpus,
    make_start,
    stage,
    table,
)

from clamp3.config import TowerRates
from clamp3.data.pairs import load_pairs
from clamp3.errors import CheckpointError, ConfigError, DataError
from clamp3.files import read_jsonl, write_jsonl
from clamp3.formats.patches import encode_patches, remove_instruments
from clamp3.models.checkpoints import load_clamp, load_m3, read_config, save_checkpoint
from clamp3.models.clamp import ClampModel, build_clamp
from clamp3.models.exchange import import_weights
from clamp3.models.tokenizer import encode_texts, load_tokenizer
from clamp3.training import loop
from clamp3.training.clamp import make_tokenizer, train_clamp_stage
from clamp3.training.contrast import (
    Contrast,
    ContrastiveTask,
    _mean_reciprocal_rank,
    read_pieces,
)
from clamp3.training.text_dropout import fixed_text
from clamp3.training.two_pass import backward_in_chunks


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Manifests, a tokenizer and a new M3."""
    folder = tmp_path_factory.mktemp("corpus")
    train, validation = make_corpus(folder), make_corpus(folder, 7, "validation")
    make_start(folder, train["abc"])
    return folder, train, validation


def _train(corpus, out, step, *, start=None, config=None, validation=True, seed=1):
    folder, train, heard = corpus
    kinds = ("audio",) if step.modality == "audio" else ("abc", "mtf")
    train_clamp_stage(
        stage=step,
        config=config or clamp_settings(),
        manifests_train=[train[kind] for kind in kinds],
        manifests_validation=[heard[kind] for kind in kinds] if validation else [],
        start=start or folder / "m3",
        tokenizer=folder / "tokenizer",
        seed=seed,
        **beside(out),
    )
    return contents(out)


@pytest.fixture(scope="module")
def first_stage(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("stages") / "symbolic"
    _train(corpus, out, stage())
    return out


@pytest.fixture(scope="module")
def task(corpus, first_stage):
    """A task on the training pieces, with the validation pieces."""
    loaded = load_clamp(first_stage)
    contrast = Contrast("symbolic", 6, "clamp3", 0.5, "dot", 1.0)
    task = ContrastiveTask("test", loaded.model, loaded.tokenizer, contrast, 1, "start")
    _, train, heard = corpus
    task.learn_from(
        read_pieces([train["abc"], train["mtf"]], "symbolic", 64),
        read_pieces([heard["abc"], heard["mtf"]], "symbolic", 64),
    )
    return task


def _alike(folder, other, name):
    ours, theirs = (load_file(place / f"{name}.safetensors") for place in (folder, other))
    assert ours.keys() == theirs.keys()
    return [torch.equal(ours[key], theirs[key]) for key in ours]


class _InMemory(list):
    """Pieces whose texts are held, plainly."""

    def take(self, places):
        return _InMemory(self[place] for place in places)


def test_texts_in_memory_or_in_their_manifests_give_one_model(
    corpus, first_stage, tmp_path, monkeypatch
):
    """Read as they are needed, by processes of their own, or held: all bits and figures alike."""

    def held(manifests, suffixes, look):
        pairs = _InMemory(load_pairs(manifests, suffixes))
        return pairs, [look(pair) for pair in pairs]

    made = contents(first_stage)
    assert _train(corpus, tmp_path / "read", stage(workers=2)) == made
    monkeypatch.setattr("clamp3.training.contrast.look_through", held)
    assert _train(corpus, tmp_path / "held", stage()) == made
    losses = [_losses(out) for out in (first_stage, tmp_path / "read", tmp_path / "held")]
    assert losses[0] == losses[1] == losses[2]
    assert len(losses[0]) > 1


def _losses(out):
    rows = table(out.with_suffix(".tsv"))
    return [{key: row[key] for key in row if "loss" in key or "rank" in key} for row in rows]


# --- samples ---


def _rows(groups):
    """The unpadded sequence of each member."""
    found = {}
    for group in groups:
        for row, values, mask in zip(group.rows.tolist(), group.values, group.mask, strict=True):
            found[row] = values[mask.bool()].tolist()
    return [found[row] for row in sorted(found)]


def test_a_sample_depends_on_seed_epoch_and_piece_alone(task):
    alone, together = task.collate(2, [4]), task.collate(2, [9, 4, 0])
    assert alone.ids == ["pdmx/Qm004"]
    assert _rows(alone.texts)[0] == _rows(together.texts)[1]
    assert _rows(alone.music)[0] == _rows(together.music)[1]
    epochs = [task.collate(epoch, [4]) for epoch in range(6)]
    assert len({str(_rows(batch.texts)) for batch in epochs}) > 2
    assert len({str(_rows(batch.music)) for batch in epochs}) > 2


def test_files_instruments_and_crops_vary(task):
    """Each of what a piece could show is shown: score or performance, named or bare, cropped."""
    pair = task.pieces.pairs[9]
    shown = {str(_rows(task.collate(epoch, [9]).music)[0]) for epoch in range(60)}
    possible = {}
    for path in pair.filepaths:
        named = Path(path).read_text()
        for what, text in (("named", named), ("bare", remove_instruments(named))):
            patches = encode_patches(text).tolist()
            spare = max(0, len(patches) - 8)
            crops = {str(patches[start : start + 8]) for start in range(spare + 1)}
            possible[Path(path).suffix, what] = crops
    assert shown <= set().union(*possible.values())
    for kind, crops in possible.items():
        others = set().union(*(possible[other] for other in possible if other != kind))
        assert shown & (crops - others), kind
    assert len(shown) > 4


def _copy(task, start="start", rates=None, **changes):
    """The task with another contrast, start or rates."""
    contrast = replace(task.contrast, **changes)
    copy = ContrastiveTask("test", task.model, task.tokenizer, contrast, 1, start)
    copy.rates = rates or {}
    copy.learn_from(task.pieces, task.validation)
    return copy


def test_without_dropout_the_text_is_the_field(task):
    copy = _copy(task, text_dropout="none")
    said = [fixed_text(pair.texts) for pair in task.pieces.pairs[:3]]
    tokens = encode_texts(task.tokenizer, said)
    assert max(map(len, tokens)) <= 40  # nothing to crop
    assert _rows(copy.collate(0, [0, 1, 2]).texts) == tokens


def test_equal_texts_have_equal_keys_and_others_do_not(task):
    batch = task.collate(0, [0, 1, 0, 2])
    first, second, again, third = batch.keys.tolist()
    assert first == again
    assert len({first, second, third}) == 3


def test_every_input_is_in_the_key(task):
    changes = ({"instrument_dropout": 0.1}, {"logit_scale": 2.0}, {"chunk": 2})
    changes += ({"start": "other"}, {"rates": {"text_proj.weight": 0.5}})
    same = _copy(task)
    assert same.inputs == task.inputs
    assert len({task.inputs, *(_copy(task, **change).inputs for change in changes)}) == 6
    same.learn_from(task.validation, task.pieces)
    assert same.inputs != task.inputs


# --- evaluation ---


def test_evaluation_sees_each_format_and_is_the_same_again(task):
    task.model.eval()
    with torch.no_grad():
        figures, again = task.evaluate("cpu"), task.evaluate("cpu")
    assert figures == again
    assert list(figures) == ["loss", "reciprocal_rank_abc", "reciprocal_rank_mtf"]


def test_reciprocal_rank_is_the_mean_over_queries():
    generator = np.random.default_rng(0)
    queries, references = generator.normal(size=(2, 9, 5))
    ranks = []
    for place, query in enumerate(queries):
        scores = references @ query / np.linalg.norm(references, axis=1) / np.linalg.norm(query)
        ranks.append(1 + sorted(-scores).index(-scores[place]))
    ours = _mean_reciprocal_rank(torch.tensor(queries), torch.tensor(references))
    assert ours == pytest.approx(np.mean(1 / np.array(ranks)))
    assert _mean_reciprocal_rank(torch.ones(4, 2), torch.ones(4, 2)) == 0.25


# --- stages ---


def test_a_stage_learns_text_and_symbolic_towers(corpus, first_stage):
    loaded = load_clamp(first_stage)
    assert loaded.config.towers == ("text", "symbolic")
    rows = table(first_stage.with_suffix(".tsv"))
    assert {row["split"] for row in rows} == {"train", "validation"}
    notes = read_config(first_stage).notes
    assert (notes["epochs"], notes["stage"]) == (2, "symbolic")
    encoder = load_m3(corpus[0] / "m3").encoder.state_dict()
    trained = loaded.model.symbolic_model.state_dict()
    assert any(not torch.equal(trained[name], encoder[name]) for name in encoder)


@pytest.mark.parametrize("begin", [True, False])
def test_weights_begin_with_m3_if_asked(corpus, tmp_path, begin):
    still = stage(learning_rate=1.0e-12, weight_decay=0.0)
    _train(corpus, tmp_path / "out", still, config=clamp_settings(start_from_m3=begin))
    ours = load_clamp(tmp_path / "out").model.symbolic_model.state_dict()
    theirs = load_m3(corpus[0] / "m3").encoder.state_dict()
    assert ours.keys() == theirs.keys()
    near = torch.allclose(ours["patch_embedding.weight"], theirs["patch_embedding.weight"])
    assert near is begin


def test_audio_stage_adds_a_tower_and_touches_no_other(corpus, first_stage, tmp_path):
    _train(corpus, tmp_path / "audio", stage("audio", freeze_text=True), start=first_stage)
    config = read_config(tmp_path / "audio").architecture
    assert config.towers == ("text", "symbolic", "audio")
    assert config.audio.feature_size == FEATURE_SIZE
    assert all(_alike(tmp_path / "audio", first_stage, "symbolic"))
    assert all(_alike(tmp_path / "audio", first_stage, "text"))
    again = _train(corpus, tmp_path / "more", stage("audio"), start=tmp_path / "audio")
    assert again["symbolic.safetensors"] == (first_stage / "symbolic.safetensors").read_bytes()
    assert not all(_alike(tmp_path / "more", first_stage, "text"))
    assert not all(_alike(tmp_path / "more", tmp_path / "audio", "audio"))


def test_without_any_recording_there_is_no_audio_stage(corpus, first_stage, tmp_path):
    folder, train, heard = corpus
    empty = tmp_path / "none.jsonl"
    empty.touch()
    with pytest.raises(DataError, match=r"none\.jsonl: no recording to train on"):
        _train((folder, train | {"audio": empty}, heard), tmp_path / "out", stage("audio"))


@pytest.mark.parametrize(
    ("frozen", "still", "learns"),
    [("freeze_text", "text", "symbolic"), ("freeze_music", "symbolic", "text")],
)
def test_a_frozen_tower_stays_while_the_other_learns(
    corpus, first_stage, tmp_path, frozen, still, learns
):
    _train(corpus, tmp_path / "out", stage(**{frozen: True}), start=first_stage)
    assert all(_alike(tmp_path / "out", first_stage, still))
    assert not all(_alike(tmp_path / "out", first_stage, learns))
    words = [load_tokenizer(folder).get_vocab() for folder in (tmp_path / "out", first_stage)]
    assert words[0] == words[1]


@pytest.mark.slow
def test_learns_to_tell_pieces_apart(corpus, tmp_path):
    many = stage(text_dropout="none", epochs=50, batch_size=9, learning_rate=3.0e-3)
    config = clamp_settings(similarity="cosine", logit_scale=10.0)
    _train(corpus, tmp_path / "out", many, config=config, validation=False)
    loaded = load_clamp(tmp_path / "out")
    pieces = read_pieces([corpus[1]["abc"]], "abc", 64)
    contrast = Contrast("abc", 18, "none", 0.0, "dot", 1.0)
    task = ContrastiveTask("test", loaded.model, loaded.tokenizer, contrast, 1, "")
    task.learn_from(pieces, pieces)
    with torch.no_grad():
        figures = task.evaluate("cpu")
    assert figures["reciprocal_rank_abc"] > 0.3  # by chance 0.19


def _clamp2(folder, words):
    """An untrained CLaMP 2."""
    model = build_clamp(clamp_settings(), words, architecture=m3_settings().architecture)
    clamp2 = ClampModel(model.config.model_copy(update={"kind": "clamp2"}))
    save_checkpoint(clamp2, folder, tokenizer=words)
    return clamp2.state_dict()


def test_clamp2_becomes_a_clamp3_of_the_same_weights(corpus, tmp_path):
    old = _clamp2(tmp_path / "clamp2", load_tokenizer(corpus[0] / "tokenizer"))
    config = clamp_settings(similarity="cosine")
    still = stage(learning_rate=1.0e-12, weight_decay=0.0)
    _train(corpus, tmp_path / "s", still, start=tmp_path / "clamp2", config=config)
    loaded = load_clamp(tmp_path / "s")
    assert (loaded.config.kind, loaded.config.similarity) == ("clamp3", "cosine")
    for name, weight in loaded.model.state_dict().items():
        torch.testing.assert_close(weight, old[name.replace("symbolic_", "music_")], msg=name)
    _train(corpus, tmp_path / "a", stage("audio"), start=tmp_path / "clamp2", config=config)
    assert read_config(tmp_path / "a").architecture.towers == ("text", "symbolic", "audio")
    make_tokenizer(
        manifests=[], out=tmp_path / "words", settings=config.text, start=tmp_path / "clamp2"
    )
    assert len(load_tokenizer(tmp_path / "words")) == len(load_tokenizer(corpus[0] / "tokenizer"))


@pytest.mark.parametrize("kind", ["clamp3", "m3"])
def test_a_stage_goes_on_from_imported_weights(corpus, goldens, tmp_path, kind):
    (source,) = (goldens / "models/ckpt").glob(f"weights_{kind}_*.pth")
    words = goldens / "models/tokenizer"
    import_weights(source, tmp_path / "published", text_model=words, text_heads=4)
    still = stage(learning_rate=1.0e-12, weight_decay=0.0)
    _train(corpus, tmp_path / "out", still, start=tmp_path / "published")
    ours = load_clamp(tmp_path / "out").model
    if kind == "m3":
        theirs = load_m3(tmp_path / "published").encoder.state_dict()
        ours = ours.symbolic_model
    else:
        theirs = load_clamp(tmp_path / "published").model.state_dict()
        assert ours.towers == ("text", "symbolic", "audio")
    for name, weight in ours.state_dict().items():
        torch.testing.assert_close(weight, theirs[name], msg=name)


def test_a_model_without_symbolic_tower_is_no_start(corpus, first_stage, tmp_path):
    loaded = load_clamp(first_stage, towers=("text",))
    save_checkpoint(loaded.model, tmp_path / "text", tokenizer=loaded.tokenizer)
    with pytest.raises(CheckpointError, match="no symbolic tower in it"):
        _train(corpus, tmp_path / "out", stage(), start=tmp_path / "text")


def test_a_learned_scale_goes_on_in_the_next_stage(corpus, tmp_path):
    config = clamp_settings(similarity="cosine", learn_scale=True, logit_scale=14.0)
    quick = stage(learning_rate=5.0e-2, warmup_steps=0)
    _train(corpus, tmp_path / "one", quick, config=config, validation=False)
    first = read_config(tmp_path / "one").notes["logit_scale"]
    assert abs(first - 14.0) > 0.5
    assert not [name for name in load_clamp(tmp_path / "one").model.state_dict() if "scale" in name]
    still = stage("audio", learning_rate=1.0e-12)
    _train(corpus, tmp_path / "two", still, start=tmp_path / "one", config=config)
    assert read_config(tmp_path / "two").notes["logit_scale"] == pytest.approx(first)
    fixed = clamp_settings(similarity="cosine", logit_scale=5.0)
    _train(corpus, tmp_path / "three", still, start=tmp_path / "one", config=fixed)
    assert read_config(tmp_path / "three").notes["logit_scale"] == 5.0


def test_a_stage_in_chunks_is_the_same_stage(corpus, tmp_path, monkeypatch):
    sizes = []

    def counted(task, objective, batch, size, accelerator):
        sizes.append(size)
        return backward_in_chunks(task, objective, batch, size, accelerator)

    monkeypatch.setattr(loop, "backward_in_chunks", counted)
    for name, chunk in (("whole", None), ("chunks", 2)):
        step = stage(dropout=0.0, weight_decay=0.0, chunk=chunk)
        _train(corpus, tmp_path / name, step)
    losses = [
        [float(row["loss"]) for row in table(tmp_path / f"{name}.tsv")]
        for name in ("whole", "chunks")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert sizes == [2] * 6


def test_towers_learn_at_their_own_rates(corpus, first_stage, tmp_path):
    """A step of Adam is as long as the rate, whatever the gradient."""
    rates = {"text": 0.1, "music": 2.0, "embeddings": 5.0}
    step = stage(epochs=1, batch_size=18, warmup_steps=0, weight_decay=0.0, learning_rate=1e-4)
    step = step.model_copy(update={"tower_rates": TowerRates(**rates)})
    _train(corpus, tmp_path / "out", step, start=first_stage)
    before, after = (load_clamp(f).model.state_dict() for f in (first_stage, tmp_path / "out"))
    factors = {
        "text_proj": 0.1,
        "text_model.embeddings.word_embeddings": 0.5,
        "symbolic_proj": 2.0,
        "symbolic_model.patch_embedding": 10.0,
    }
    for name, factor in factors.items():
        moved = (after[f"{name}.weight"] - before[f"{name}.weight"]).abs()
        assert moved[moved > 0].median().item() == pytest.approx(factor * 1e-4, rel=0.02)


def test_the_same_again_and_another_seed_is_another(corpus, first_stage, tmp_path):
    kept = contents(first_stage)
    assert _train(corpus, tmp_path / "again", stage()) == kept
    assert _train(corpus, tmp_path / "other", stage(), seed=2) != kept


# --- refusals ---


def test_pieces_without_text_are_left_out_with_a_word(corpus, tmp_path, caplog):
    lines = [line for _, line in read_jsonl(corpus[1]["abc"])]
    for line in lines[:15]:
        line.update({key: None for key in line if key not in ("id", "filepaths", "language")})
    write_jsonl(tmp_path / "m.jsonl", lines)
    assert len(read_pieces([tmp_path / "m.jsonl"], "abc", 64).pairs) == 3
    assert "15 of 18 pieces have no text" in caplog.text
    write_jsonl(tmp_path / "m.jsonl", lines[:16])
    manifests = {"abc": tmp_path / "m.jsonl", "mtf": tmp_path / "m.jsonl"}
    with pytest.raises(DataError, match="1 pieces with text and symbolic music, expected at least"):
        _train((corpus[0], manifests, corpus[2]), tmp_path / "out", stage())


def test_a_new_model_needs_a_tokenizer(corpus, tmp_path):
    with pytest.raises(ConfigError, match="a new model needs a tokenizer too"):
        train_clamp_stage(
            stage=stage(),
            config=clamp_settings(),
            manifests_train=[corpus[1]["abc"], corpus[1]["mtf"]],
            manifests_validation=[],
            start=corpus[0] / "m3",
            seed=1,
            **beside(tmp_path / "out"),
        )


def test_frames_of_another_width_are_refused(corpus, first_stage, tmp_path):
    _train(corpus, tmp_path / "audio", stage("audio"), start=first_stage)
    lines = [line for _, line in read_jsonl(corpus[1]["audio"])]
    for line in lines:
        path = tmp_path / Path(line["filepaths"][0]).name
        np.save(path, np.ones((3, 7), np.float32))
        line["filepaths"] = [str(path)]
    write_jsonl(tmp_path / "m.jsonl", lines)
    other = (corpus[0], {"audio": tmp_path / "m.jsonl"}, {"audio": tmp_path / "m.jsonl"})
    with pytest.raises(ConfigError, match="frames are 7 wide, the model's audio tower expects 24"):
        _train(other, tmp_path / "out", stage("audio"), start=tmp_path / "audio")
    write_jsonl(
        tmp_path / "m.jsonl", [*lines, *(line for _, line in read_jsonl(corpus[1]["audio"]))][9:]
    )
    with pytest.raises(DataError, match="frames of different width"):
        _train(other, tmp_path / "out", stage("audio"), start=tmp_path / "audio")


def test_a_tokenizer_knows_the_training_texts(corpus):
    words = load_tokenizer(corpus[0] / "tokenizer")
    assert len(words) <= 120
    assert words.unk_token_id not in encode_texts(words, ["This reel is in G major."])[0]
