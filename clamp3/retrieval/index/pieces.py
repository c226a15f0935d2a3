"""What can be shown and played of the pieces in an index: titles, scores, MIDI and sound.

A table that the index was built with tells it, else the files that the ids are paths of. Nothing
outside of the folders that the index names is ever given out.
"""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clamp3.errors import DataError, FormatError
from clamp3.formats.abc import deinterleave_abc
from clamp3.formats.modality import FileFormat, detect_format
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.retrieval.embedding.sources import Source, read_piece
from clamp3.retrieval.index.piece_writer import ABC, AUDIO, MIDI, TITLE, inside, open_table
from clamp3.retrieval.index.reader import Index, open_index
from clamp3.retrieval.index.rows import ID
from clamp3.retrieval.index.store import REBUILD

FORMATS = (ABC, MIDI, AUDIO)
HEAD_CHARACTERS = 4096
_FORM_OF = {
    FileFormat.ABC: ABC,
    FileFormat.MUSICXML: ABC,
    FileFormat.MIDI: MIDI,
    FileFormat.AUDIO: AUDIO,
}
# Bars of interleaved ABC; standard ABC may have such lines among others.
_ROW, _OTHER = re.compile(r"^\[V:", re.MULTILINE), re.compile(r"^(?!\[V:|\s*$)", re.MULTILINE)
_TITLE = re.compile(r"^T:(.*)$", re.MULTILINE)


def open_pieces(index_folder: str | Path) -> "Pieces":
    """The pieces of an index as it is now. Raises DataError where there is none."""
    return Pieces(open_index(index_folder))


class Pieces:
    """The pieces of an open index; see `open_pieces`. Several threads may use it.

    Every method raises DataError for an id that no row of the index has.
    """

    def __init__(self, index: Index):
        self._index = index
        here = Path(index.folder).resolve()
        self._here = here
        self._folders = [(here / name).resolve() for name in index.manifest.files]
        listed = index.manifest.pieces
        self._table = open_table(here / listed.name) if listed else None

    def describe(self, name: str) -> dict:
        """Its id, title (None where there is none), metadata, and which of `FORMATS` there are."""
        metadata, row = self._metadata(name), self._row(name)
        title = row.get(TITLE) or metadata.get(TITLE) or self._title_in_file(name)
        there = {
            ABC: row.get(ABC) or self._own_file(ABC, name),
            MIDI: self._file(MIDI, name, row),
            AUDIO: self._file(AUDIO, name, row),
        }
        return {
            "id": name,
            "title": title[0] if isinstance(title, list) else title,
            "metadata": metadata,
            "formats": [form for form in FORMATS if there[form]],
        }

    def abc(self, name: str) -> str | None:
        """Its score as standard ABC, of MusicXML and interleaved ABC made from it.

        None where there is none. Raises FormatError where its file cannot be read.
        """
        self._metadata(name)
        told_text = self._row(name).get(ABC)
        path = None if told_text else self._own_file(ABC, name)
        return _score(path) if path else told_text

    def midi(self, name: str) -> Path | None:
        """Its MIDI file, which exists; None where there is none."""
        self._metadata(name)
        return self._file(MIDI, name, self._row(name))

    def audio(self, name: str) -> Path | None:
        """Its sound file, which exists; None where there is none."""
        self._metadata(name)
        return self._file(AUDIO, name, self._row(name))

    def _metadata(self, name: str) -> dict[str, str | list[str]]:
        """What the rows with this id know; of several the first that knows a property counts."""
        found: dict[str, str | list[str]] = {}
        known = False
        for segment in self._index.segments:
            for row in segment.rows_of_id(name).tolist():
                known = True
                found = segment.hit(row, 0.0).metadata | found
        if not known:
            raise DataError(f"{self._index.folder}: no piece with the id {name!r}")
        return dict(sorted(found.items()))

    def _row(self, name: str) -> dict[str, str | None]:
        """What the table tells of the piece."""
        if self._table is None:
            return {}
        rows = np.flatnonzero(pc.equal(self._table[ID], name).to_numpy())
        if not len(rows):
            return {}
        row = self._table.slice(int(rows[0]), 1)
        try:
            row.validate(full=True)  # a flipped offset would else end the program
        except pa.ArrowException as error:
            raise DataError(f"{self._index.folder}: damaged ({error}); {REBUILD}") from error
        return row.to_pylist()[0]

    def _file(self, form: str, name: str, row: dict[str, str | None]) -> Path | None:
        path = row.get(form)
        return inside(self._here / path, self._folders) if path else self._own_file(form, name)

    def _own_file(self, form: str, name: str) -> Path | None:
        """The file that the id is a path of, if it is of this form."""
        # Systems write an accent as one sign or as two; copies of files change between them.
        spellings = dict.fromkeys([name, *(unicodedata.normalize(f, name) for f in ("NFC", "NFD"))])
        for spelling in spellings:
            for folder in self._folders:
                path = inside(folder / spelling, self._folders)
                if path:
                    return path if _form_of(path) == form else None
        return None

    def _title_in_file(self, name: str) -> str | None:
        path = self._own_file(ABC, name)
        if path is None:
            return None
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            found = _TITLE.search(file.read(HEAD_CHARACTERS))
        return (found[1].strip() or None) if found else None


def _form_of(path: Path) -> str | None:
    try:
        return _FORM_OF.get(detect_format(path))
    except FormatError:
        return None


def _score(path: Path) -> str:
    if detect_format(path) is FileFormat.MUSICXML:
        return musicxml_to_abc(path)
    text = read_piece(Source(path.name, path, FileFormat.ABC), as_is=True)
    row = _ROW.search(text)
    if not row or _OTHER.search(text, row.start()):
        return text
    try:
        return deinterleave_abc(text)
    except FormatError:  # a voice a line, which is standard ABC after all
        return text
