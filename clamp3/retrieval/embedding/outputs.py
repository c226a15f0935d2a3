"""What embeddings of files are kept in while they are made: rows with what they were made from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from clamp3.retrieval.vectors import Origin

GROUP_BYTES = 2**25  # of numbers in a row group of temporal features


@dataclass(frozen=True)
class Row:
    """What became of one file: its embedding [D] or temporal features [N, D].

    `sha256`: of the file's content. `embedding` None: the content is the known one, so the row that
    the output has already stays.
    """

    id: str
    modality: str
    sha256: str
    embedding: np.ndarray | None


@dataclass(frozen=True)
class Making:
    """How embeddings are made: only what was made alike is taken over.

    `settings`: whatever changes the numbers beside the model, JSON values. `width`: the length of
    every vector, None where modalities differ (temporal features of towers of different sizes).
    """

    origin: Origin
    settings: dict
    temporal: bool
    width: int | None

    @property
    def mark(self) -> str:
        """One line that is the same for embeddings made alike."""
        content = {"fingerprint": self.origin.fingerprint, "space": self.origin.space}
        content |= self.settings
        return json.dumps(content | {"temporal": self.temporal}, sort_keys=True)


class Output(Protocol):
    """Takes rows in any order, and keeps what it has when the program is killed."""

    def known(self) -> dict[str, str]:
        """For each id of which there is a row already the SHA-256 of the content."""
        ...

    def write(self, rows: Sequence[Row]) -> None:
        """Keep these rows."""
        ...

    def close(self, ids: Sequence[str]) -> None:
        """Everything is written: bring the rows of `ids` (sorted) into their final form."""
        ...


@dataclass
class Collected:
    """An output in memory."""

    rows: dict[str, Row] = field(default_factory=dict)

    def known(self) -> dict[str, str]:
        return {}

    def write(self, rows: Sequence[Row]) -> None:
        self.rows |= {row.id: row for row in rows}

    def close(self, ids: Sequence[str]) -> None:
        self.rows = {name: self.rows[name] for name in ids}
