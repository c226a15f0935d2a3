"""The figures of a CLAP-MusicGen: what a trained one finds, what each graded figure is of."""

import json

import numpy as np
import pytest
from models.tiny_clap import tiny_roberta
from training.clap_corpus import make_sounds, make_states, settings, tiny_musicgen

from clamp3.errors import DataError
from clamp3.files import read_jsonl, write_jsonl
from clamp3.retrieval.embedding.clap_embedder import ClapEmbedder
from clamp3.retrieval.evaluation.clap import evaluate_clap, word_vectors
from clamp3.training.clap_musicgen import train_clap_musicgen

KEYS = ("tags", "description")
LEARNS = {"loss": "infonce", "standardise": False, "logit_scale": 10.0, "fit_heads": True}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with sounds, their states and a model that can tell them apart."""
    folder = tmp_path_factory.mktemp("clap")
    tiny_musicgen(folder / "musicgen")
    tiny_roberta(folder / "roberta")
    make_sounds(folder, 18)
    chosen = settings(folder, folder / "roberta", **LEARNS)
    training = chosen.training.model_copy(
        update={"epochs": 25, "learning_rate": 0.01, "batch_size": 18}
    )
    chosen = chosen.model_copy(update={"training": training})
    train_clap_musicgen(
        manifests_train=[folder / "train.jsonl"],
        manifests_validation=[folder / "train.jsonl"],  # the best of jumping epochs is kept
        states=[make_states(folder, chosen)],
        text_model=folder / "roberta",
        out=folder / "model",
        metrics=folder / "metrics.tsv",
        resume=folder / "resume",
        settings=chosen,
        seed=1,
    )
    return folder


def evaluate(folder, manifest="train.jsonl", out="figures.json"):
    states = [folder / "train-states.parquet"]
    return evaluate_clap(
        folder / "model", folder / manifest, states, KEYS, folder / out, hits_at=(1, 5)
    )


def test_a_model_finds_what_it_was_trained_on_better_than_chance(trained):
    report = evaluate(trained)
    for direction in ("text_to_audio", "audio_to_text"):
        found = report[direction]
        assert found["figures"]["mean"]["mrr"] > 1.3 * found["chance"]["mrr"]
        assert found["graded"]["ndcg@5"] > 1.1 * found["graded"]["chance"]["ndcg@5"]
    alike = report["audio_to_audio"]["graded"]
    assert alike["ndcg@5"] > 1.1 * alike["chance"]["ndcg@5"]
    assert (report["pieces"], report["left_out"], report["captions"]) == (18, 0, 6)


def test_recordings_are_told_by_the_vectors_that_an_embedder_gives(trained):
    embedder = ClapEmbedder(trained / "model")
    texts = [", ".join([*row["tags"], row["description"]]) for _, row in rows(trained)]
    scores = embedder.embed_text(texts) @ mean_of_chunks(embedder, trained).T
    first = np.array([texts[row] for row in scores.argmax(axis=1)])
    hits = np.mean(first == np.array(texts))
    assert evaluate(trained)["text_to_audio"]["figures"]["mean"]["hit@1"] == pytest.approx(hits)


def rows(folder):
    return sorted(read_jsonl(folder / "train.jsonl"), key=lambda row: row[1]["id"])


def mean_of_chunks(embedder, folder):
    """As `embed_audio` would hear them, from the same parts of the recordings."""
    from clamp3.data.store import Store
    from clamp3.retrieval.embedding.clap_vectors import chunk_vectors, recording_vector

    store = Store([folder / "train-states.parquet"])
    found = [store.get(row["id"]) for _, row in rows(folder)]
    return np.stack([recording_vector(v) for v in chunk_vectors(embedder.engine.model, found)])


def test_the_same_evaluation_writes_the_same_bytes(trained):
    evaluate(trained, out="one.json")
    evaluate(trained, out="two.json")
    assert (trained / "one.json").read_bytes() == (trained / "two.json").read_bytes()
    assert json.loads((trained / "one.json").read_text())["pieces"] == 18


def test_pieces_without_recording_or_caption_are_counted(trained):
    lines = [row for _, row in rows(trained)]
    silent = {"id": "suno/none", "filepaths": ["x.wav"], "tags": ["low"]}
    mute = lines[0] | {"tags": [], "description": None}
    write_jsonl(trained / "some.jsonl", [silent, mute, *lines[1:]])
    report = evaluate(trained, "some.jsonl")
    assert (report["pieces"], report["left_out"]) == (17, 2)


def test_one_piece_cannot_be_ranked(trained):
    write_jsonl(trained / "one.jsonl", [rows(trained)[0][1]])
    with pytest.raises(DataError, match=r"one.jsonl: 1 pieces with caption and recording"):
        evaluate(trained, "one.jsonl")


def test_rare_words_weigh_more():
    low, other, high = word_vectors(["low hum", "low organ", "high hum"])
    assert low @ other == pytest.approx(low @ high)
    common = word_vectors(["a b", "a c", "a d", "a c"])
    assert common[1] @ common[3] == pytest.approx(1)
    assert 0 < common[0] @ common[1] < 0.5
