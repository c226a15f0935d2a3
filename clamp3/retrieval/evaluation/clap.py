"""How well CLAP-MusicGen finds held-out recordings: by captions, and by each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from clamp3.data.captions import caption_of
from clamp3.data.pairs import look_through
from clamp3.data.store import Store
from clamp3.errors import DataError
from clamp3.files import write_json
from clamp3.models.clap_musicgen.checkpoints import load_clap
from clamp3.retrieval.embedding.clap_vectors import chunk_vectors, recording_vector, text_vectors
from clamp3.retrieval.evaluation.figures import Task, figures_of, rank, rounded
from clamp3.retrieval.evaluation.graded import caption_grades, mean_ndcg
from clamp3.retrieval.vectors import Origin, Vectors

GRADED_AT = (5, 10)
CAPTION = "caption"


def evaluate_clap(
    model: str | Path,
    manifest: Path,
    states: Sequence[Path],
    captions: Sequence[str],
    out: Path,
    *,
    hits_at: Sequence[int],
) -> dict:
    """Write and return the figures of a model on the pieces of a manifest.

    `states`: the tables of `codes.pool_codes`; pieces without caption or recording are left out and
    counted. `captions`: the manifest's keys that make a caption. Captions and recordings are ranked
    both ways; recordings of equal captions are equally right. `graded` are nDCG figures, also
    of recordings among themselves: a reference is worth the cosine of its caption's words with the
    query's (rare words weigh more), so that no model that is compared is the judge.

    Raises DataError where fewer than two pieces are left, CheckpointError for no such model.
    """
    loaded = load_clap(model, verify=True)
    store = Store(states)
    _, told = look_through([manifest], (), lambda p: (p.id, caption_of(p.texts, captions)))
    said = dict(told)
    ids = [piece_id for piece_id, caption in told if caption and piece_id in store]
    if len(ids) < 2:
        raise DataError(f"{manifest}: {len(ids)} pieces with caption and recording, expected two")
    texts = [said[piece_id] for piece_id in ids]
    labels = {CAPTION: texts}
    heard = chunk_vectors(loaded.model, [store.get(piece_id) for piece_id in ids])
    sounds = np.stack([recording_vector(chunks) for chunks in heard])
    said_by = np.stack(text_vectors(loaded.model, loaded.tokenizer, texts))
    text, audio = (
        Vectors(ids, vectors, Origin(loaded.fingerprint, loaded.fingerprint, modality, ""), labels)
        for modality, vectors in (("text", said_by), ("audio", sounds))
    )
    grades = caption_grades(word_vectors(texts))
    report = {
        "model": loaded.fingerprint,
        "pieces": len(ids),
        "left_out": len(told) - len(ids),
        "captions": len(set(texts)),
        "text_to_audio": _direction(text, audio, grades, hits_at),
        "audio_to_text": _direction(audio, text, grades, hits_at),
        "audio_to_audio": {"graded": _graded(_others(sounds), grades)},
    }
    write_json(out, report)
    return report


def word_vectors(captions: Sequence[str]) -> np.ndarray:
    """A row per caption: how often each word stands in it, times how rare the word is."""
    words = TfidfVectorizer(token_pattern=r"[^\s,.;:]+")  # noqa: S106 - no password
    return words.fit_transform(captions).toarray()


def _direction(
    queries: Vectors, references: Vectors, grades: np.ndarray, hits_at: Sequence[int]
) -> dict:
    task = Task(by=CAPTION, hits_at=tuple(hits_at))
    graded = _graded(queries.embeddings @ references.embeddings.T, grades)
    return figures_of(rank(queries, references, task), task) | {"graded": graded}


def _others(vectors: np.ndarray) -> np.ndarray:
    scores = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(scores, -np.inf)
    return scores


def _graded(scores: np.ndarray, grades: np.ndarray) -> dict:
    figures = mean_ndcg(scores, grades, GRADED_AT)
    chance = {name: rounded(value) for name, value in figures.pop("chance").items()}
    return {name: rounded(value) for name, value in figures.items()} | {"chance": chance}
