"""Labels for pieces without any training: the label prompt whose embedding is nearest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.classification.scoring import Guesses, figures, most_frequent
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.embedding.npy_output import JOURNAL
from clamp3.retrieval.embedding.sources import find_sources
from clamp3.retrieval.index.store import is_index
from clamp3.retrieval.labels import with_labels
from clamp3.retrieval.search import read_tables
from clamp3.retrieval.vectors import Vectors, unit_rows

DEFAULT_PROMPTS = ("{}",)
BY_NAME = "names"  # true labels are in the file names


@dataclass(frozen=True)
class ZeroShot:
    """The cosine of each piece with each label [N, K], and what could not be read."""

    vectors: Vectors
    classes: list[str]
    similarities: np.ndarray
    refused: list[tuple[str, str, str]]

    @property
    def predicted(self) -> list[str]:
        """The nearest label of each piece; of equally near ones the first in the list."""
        return [self.classes[best] for best in self.similarities.argmax(axis=1)]


def zero_shot(
    embedder: Embedder,
    given: Sequence[Path],
    classes: Sequence[str],
    prompts: Sequence[str] = DEFAULT_PROMPTS,
) -> ZeroShot:
    """How near each piece is to each label, as a text.

    `given`: files or folders of any kind, or one table or index of this model. `prompts`: texts
    with `{}` where the label goes; of several the mean of the unit vectors counts.

    Raises DataError where there is nothing to label.
    """
    labels = label_vectors(embedder, classes, prompts)
    vectors, refused = _pieces(embedder, given)
    return ZeroShot(vectors, list(classes), unit_rows(vectors.embeddings) @ labels.T, refused)


def label_vectors(
    embedder: Embedder, classes: Sequence[str], prompts: Sequence[str] = DEFAULT_PROMPTS
) -> np.ndarray:
    """A unit vector [K, D] for each label: the mean of its prompts' unit vectors.

    Raises ConfigError for a prompt without a place for the label.
    """
    for prompt in prompts or [""]:
        if "{}" not in prompt:
            raise ConfigError(f"prompt {prompt!r}: expected {{}} where the label goes")
    texts = [prompt.replace("{}", label) for prompt in prompts for label in classes]
    found = unit_rows(embedder.embed_text(texts)).reshape(len(prompts), len(classes), -1)
    return unit_rows(found.mean(axis=0))


def read_classes(path: Path) -> list[str]:
    """The labels of a text file, one a line; empty lines are passed over.

    Raises DataError for fewer than two, or one that stands there twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as text ({error})") from error
    classes = [line.strip() for line in lines if line.strip()]
    twice = [label for label, count in Counter(classes).items() if count > 1]
    if len(classes) < 2 or twice:
        wrong = f"{twice[0]!r} twice" if twice else f"{len(classes)} label(s)"
        raise DataError(f"{path}: {wrong}; expected two labels or more, one a line, each once")
    return classes


def judged(found: ZeroShot, truth: str, column: str = "label") -> dict:
    """The figures of the predictions against true labels: a table, or the word names.

    The baseline is the most frequent true label, which needs labels and so is a strict one. Pieces
    without a true label, or with one that is not in the list, are left out and counted.
    """
    vectors = replace(found.vectors, labels={"predicted": found.predicted})
    labelled = with_labels(vectors, None if truth == BY_NAME else Path(truth), column)
    known = set(found.classes)
    labelled = labelled.keep(
        [label in known for label in labelled.labels], "unlisted_label", "{} is not in the list"
    )
    if not labelled.labels:
        raise DataError(f"{truth}: no piece has a true label that is in the list of labels")
    predicted = labelled.vectors.labels["predicted"]
    guesses = Guesses(
        labelled.vectors.ids, labelled.labels, predicted, np.zeros(len(predicted), int)
    )
    report = figures(guesses, found.classes, most_frequent(labelled.labels))
    return report | {"left_out": dict(Counter(kind for _, kind, _ in labelled.refused))}


def result_rows(found: ZeroShot) -> list[dict]:
    """For each piece its id, its label and the cosine with each label."""
    return [
        {
            "id": name,
            "label": label,
            "scores": dict(zip(found.classes, (round(float(v), 6) for v in line), strict=True)),
        }
        for name, label, line in zip(
            found.vectors.ids, found.predicted, found.similarities, strict=True
        )
    ]


def lines(found: ZeroShot) -> list[str]:
    """Tab-parted lines: id, label and the cosine with each label."""
    rows = result_rows(found)
    table = [[r["id"], r["label"], *(f"{v:.4f}" for v in r["scores"].values())] for r in rows]
    return ["\t".join(row) for row in [["id", "label", *found.classes], *table]]


def _pieces(
    embedder: Embedder, given: Sequence[Path]
) -> tuple[Vectors, list[tuple[str, str, str]]]:
    if len(given) == 1 and is_index(given[0]):
        # Its compiler takes a moment to import.
        from clamp3.retrieval.index.reader import open_index

        index = open_index(given[0])
        index.refuse_other(embedder.space, embedder.source)
        return index.vectors(), []
    if len(given) == 1 and _is_table(given[0]):
        return read_tables(given[0], embedder)[0], []
    sources, refused = find_sources(given)
    vectors, failed = embedder.embed_sources(sources)
    rejected = [(name, e.kind, str(e)) for name, e in [*refused, *failed]]
    if not vectors.ids:
        raise DataError(f"{given[0]}: nothing here could be embedded ({len(rejected)} rejected)")
    return vectors, sorted(rejected)


def _is_table(path: Path) -> bool:
    return (path.is_file() and path.suffix == ".parquet") or (path / JOURNAL).is_file()
