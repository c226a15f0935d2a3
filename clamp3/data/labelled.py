"""Folders of labelled music to catalogue columns: one folder a label, or names as label_name."""

import re
from pathlib import Path, PurePosixPath

from clamp3.data.music_folders import music_files
from clamp3.data.raw_files.addresses import below
from clamp3.data.raw_files.reading import RawFiles
from clamp3.data.sources import Parsed, check_name, parse_rows
from clamp3.errors import DataError, FormatError
from clamp3.formats.modality import FileFormat, Modality

_FORMATS = {
    Modality.SCORE: (FileFormat.MUSICXML, FileFormat.ABC),
    Modality.PERFORMANCE: (FileFormat.MIDI,),
    Modality.RECORDING: (FileFormat.AUDIO,),
}
_LINE_END = re.compile(r"\r\n?")
_PATHS = {Modality.PERFORMANCE: "mid_path", Modality.RECORDING: "audio_path"}


def parse_labelled(folder: Path | str, modality: Modality, *, collection: str) -> Parsed:
    """The catalogue columns of the folder's music files of one modality, sorted, and the rejects.

    The label, which becomes the only genre, is the folder that holds the file
    (`blues/blues.00000.wav`, as in GTZAN), or, of files that lie in `folder` itself, all of the
    name before the first underscore (`Beyer_012.mid`, as the originals' probes name features). The
    id is the collection and `<label>_<name>`, so that probes find the label in it.

    Kinds of rejects: `no_label`, `empty_file`, `bad_value` (a name that makes no id, a file that
    is no text), `duplicate_id` (the same name twice in one label); reasons name the file. Raises
    DataError for a folder without such files.
    """
    paths = music_files(folder, _FORMATS[modality])
    if not paths:
        raise DataError(
            f"{folder}: no {modality.value} below it; expected a folder a label, such as "
            "blues/blues.00000.wav, or files called label_name"
        )

    def name_of(row: dict) -> str:
        label, name = _label_and_name(row["path"])
        own = name if name.startswith(f"{label}_") else f"{label}_{name}"
        return f"{collection}/{check_name(own)}"

    def read_piece(piece_id: str, row: dict) -> dict:
        label, _ = _label_and_name(row["path"])
        address, size = below(str(folder), row["path"]), sizes[row["path"]]
        return {**_piece(address, size, files, modality), "genres": [label], "text": label}

    rows = ((path, {"path": path}) for path in paths)
    with RawFiles() as files:
        sizes = dict(zip(paths, files.sizes(below(str(folder), p) for p in paths), strict=True))
        return parse_rows(rows, collection, name_of, read_piece)


def _label_and_name(path: str) -> tuple[str, str]:
    name, parent = PurePosixPath(path).stem, PurePosixPath(path).parent.name
    if parent:
        return parent, name
    label, _, rest = name.partition("_")
    if not label or not rest:
        raise FormatError("no_label", "in no folder of a label, and not called label_name")
    return label, name


def _piece(address: str, size: int | None, files: RawFiles, modality: Modality) -> dict:
    """Where the music is; of ABC files what they hold."""
    if not size:
        raise FormatError("empty_file", "the file is empty")
    if modality is not Modality.SCORE:
        return {_PATHS[modality]: address}
    if not address.lower().endswith(".abc"):
        return {"mxl_path": address, "leadsheet": None}
    found = files.fetch(address)
    content = found if isinstance(found, bytes) else found.read_bytes()
    return {"mxl_path": None, "leadsheet": _LINE_END.sub("\n", content.decode("utf-8-sig"))}
