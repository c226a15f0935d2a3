"""Embeddings of files as a tree of .npy files that mirrors theirs, in the originals' shapes."""

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from clamp3.errors import DataError
from clamp3.files import atomic_path, read_array, write_text
from clamp3.retrieval.embedding.outputs import Making, Row
from clamp3.retrieval.vectors import Origin, Vectors

JOURNAL = "embeddings.tsv"
COLUMNS = ("id", "file", "sha256", "modality", "making")


class NpyOutput:
    """A file `x.npy` for each `x.abc`: float32 [1, D], or temporal features [1, N, D].

    Where two would get one name, both keep their suffix: `x.abc.npy`, `x.mtf.npy`. The journal
    embeddings.tsv says what each was made from and how; what was made alike stays as it is.

    Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py
    Differs: no two inputs share a file; there the second was passed over.
    """

    def __init__(self, folder: Path, making: Making, ids: Sequence[str]):
        self.folder = Path(folder)
        self.making = making
        self._names = npy_names(ids)
        self._journal = {row["id"]: row for row in read_journal(self.folder)}
        for name, row in list(self._journal.items()):
            if self._names.get(name, row["file"]) != row["file"]:
                self._rename(name)

    def known(self) -> dict[str, str]:
        """For each id of which there is a file already the SHA-256 of the content."""
        return {
            name: row["sha256"]
            for name, row in self._journal.items()
            if row["making"] == self.making.mark and (self.folder / row["file"]).is_file()
        }

    def write(self, rows: Sequence[Row]) -> None:
        """Write these files, each complete or not at all, and then say so in the journal."""
        lines = []
        for row in rows:
            if row.embedding is None:
                continue
            file = self._names[row.id]
            with atomic_path(self.folder / file, tidy=False) as draft, draft.open("wb") as handle:
                np.save(handle, np.asarray(row.embedding, np.float32)[None])
            values = (row.id, file, row.sha256, row.modality, self.making.mark)
            self._journal[row.id] = dict(zip(COLUMNS, values, strict=True))
            lines.append(self._journal[row.id])
        if lines:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / JOURNAL
            begun = path.is_file()
            with path.open("a", encoding="utf-8", newline="") as journal:
                journal.write(_text(lines, head=not begun))

    def close(self, ids: Sequence[str]) -> None:
        """Remove what inputs that are rejected now had before; write the journal sorted by id.

        What inputs had that were not given this time stays: they may be of another folder.
        """
        for name in self._names.keys() - set(ids):
            if name in self._journal:
                self._remove(name)
        for draft in self.folder.rglob(".*.npy.????????"):  # a kill left it
            shutil.rmtree(draft, ignore_errors=True)
        if ids:
            rows = [self._journal[name] for name in sorted(self._journal)]
            write_text(self.folder / JOURNAL, _text(rows))

    def _rename(self, name: str) -> None:
        """An input came or went that would share its name."""
        old, new = (self.folder / file for file in (self._journal[name]["file"], self._names[name]))
        if new.exists() or not old.is_file():
            self._remove(name)
            return
        old.rename(new)
        self._journal[name] = self._journal[name] | {"file": self._names[name]}

    def _remove(self, name: str) -> None:
        (self.folder / self._journal.pop(name)["file"]).unlink(missing_ok=True)


def npy_names(ids: Sequence[str]) -> dict[str, str]:
    """For each input id the path of its .npy file; no two alike even where case does not count."""
    plain = {name: str(PurePosixPath(name).with_suffix(".npy")) for name in ids}
    names = dict(plain)
    while True:
        taken = Counter(name.casefold() for name in names.values())
        clashing = [
            name for name, new in names.items() if taken[new.casefold()] > 1 and new == plain[name]
        ]
        changed = {name: f"{name}.npy" for name in clashing}
        if all(names[name] == new for name, new in changed.items()):
            return names
        names |= changed


def read_journal(folder: Path) -> Iterator[dict[str, str]]:
    """The rows of a folder's journal, the later of one id last; none where there is no journal.

    A last line that a kill has cut is left out. Raises DataError for another kind of file.
    """
    path = Path(folder) / JOURNAL
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = csv.DictReader(io.StringIO(whole, newline=""), delimiter="\t", strict=True)
    if whole and tuple(rows.fieldnames or ()) != COLUMNS:
        raise DataError(f"{path}: its columns are not {', '.join(COLUMNS)}; is it another's file?")
    yield from rows


def read_npy_tree(folder: Path) -> Vectors:
    """The embeddings of a folder that NpyOutput wrote, by the order of its journal.

    Raises DataError where they are of several models, temporal, or a file is missing or damaged.
    """
    rows = list({row["id"]: row for row in read_journal(folder)}.values())
    makings = {row["making"] for row in rows}
    if len(makings) != 1:
        raise DataError(
            f"{folder}: embeddings made in {len(makings)} ways, expected one; embed it "
            "again into an empty folder"
        )
    made = json.loads(makings.pop())
    if made["temporal"]:
        raise DataError(f"{folder}: holds temporal features; embed without --temporal")
    matrix = [_read_vector(Path(folder) / row["file"]) for row in rows]
    modalities = [row["modality"] for row in rows]
    origin = Origin(made["fingerprint"], made["space"], ",".join(sorted(set(modalities))), "")
    return Vectors([row["id"] for row in rows], np.stack(matrix), origin, {"modality": modalities})


def _read_vector(path: Path) -> np.ndarray:
    try:
        vector = read_array(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not readable ({error}); embed again") from error
    if vector.ndim != 2 or len(vector) != 1 or not np.isfinite(vector).all():
        raise DataError(f"{path}: not an embedding of shape [1, D]; embed again")
    return vector[0]


def _text(rows: Sequence[dict[str, str]], *, head: bool = True) -> str:
    to = io.StringIO(newline="")
    writer = csv.DictWriter(to, COLUMNS, delimiter="\t", lineterminator="\n")
    if head:
        writer.writeheader()
    writer.writerows(rows)
    return to.getvalue()
