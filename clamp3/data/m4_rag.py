"""Training manifests of CLaMP 3 (M4-RAG) and CLaMP 2, line by line, faulty lines apart.

`read_manifest` is for manifests that are sound; this is for those that come from elsewhere.
"""

from functools import partial
from pathlib import Path

from clamp3.data.manifests import MODALITIES, read_line
from clamp3.data.music_folders import NamedFiles
from clamp3.data.sources import Parsed, json_rows, parse_rows
from clamp3.errors import FormatError
from clamp3.formats.modality import FORMAT_BY_SUFFIX

LAYOUT = "m4_rag"
_SUFFIXES = frozenset(MODALITIES.values())
_NO_TEXT = ("id", "filepaths", "language", "region", "translations")


def parse_m4_rag(path: Path, *, music: Path | None = None, check_files: bool = True) -> Parsed:
    """The usable lines of a manifest, in its order: columns id and line; and the rejects.

    A line is as `read_manifest` gives it. `filepaths` end in .abc, .mtf or .npy and are relative
    to the working folder, as for training; with `check_files` each must be there. The public
    M4-RAG names no files: with `music`, a folder, a line without filepaths gets the files there
    that are called like its id.

    Kinds of rejects: `bad_row`, `bad_value`, `duplicate_id`, `no_music`, `no_text`,
    `missing_files`; reasons name the line. Raises DataError where the file as a whole is
    something else.
    """
    keys = ("id",) if music else ("filepaths",)
    rows = json_rows(path, keys, "a training manifest (JSON lines)")
    if music:
        formats = [FORMAT_BY_SUFFIX[suffix] for suffix in _SUFFIXES]
        files = NamedFiles(music, formats, lambda name: Path(name).stem)
        rows = ((place, _with_files(row, files)) for place, row in rows)
    return parse_rows(rows, LAYOUT, _name_of, partial(_read_piece, check_files))


def _with_files(row: dict | str, files: NamedFiles) -> dict | str:
    if isinstance(row, str) or row.get("filepaths"):
        return row
    return row | {"filepaths": files.all(str(row.get("id")))}


def _name_of(row: dict) -> str:
    if not row.get("filepaths"):
        raise FormatError("no_music", f"no filepaths{_id_of(row)}")
    return read_line(row)["id"]


def _id_of(row: dict) -> str:
    return f", and no file is called {row['id']}" if row.get("id") else ""


def _read_piece(check_files: bool, piece_id: str, row: dict) -> dict:
    line = read_line(row)
    for name in line["filepaths"]:
        if Path(name).suffix not in _SUFFIXES:
            raise ValueError(f"filepaths has {name!r}, expected files in .abc, .mtf or .npy")
        if check_files and not Path(name).is_file():
            raise FormatError(
                "missing_files", f"{name} not found; paths are relative to {Path.cwd()}"
            )
    _check_summaries(line)
    if not any(value for key, value in line.items() if key not in _NO_TEXT):
        raise FormatError("no_text", "no title, no tag, no text")
    return {"line": line}


def _check_summaries(line: dict) -> None:
    """CLaMP 2's: a text or a list of texts, and one or several of {language, summary}."""
    for key, expected in (("summary_en", str), ("summary_nen", dict)):
        entries = line.get(key) or []
        entries = entries if isinstance(entries, list) else [entries]
        if not all(isinstance(entry, expected) for entry in entries):
            raise ValueError(f"{key} is {entries!r:.60}, expected a list of {expected.__name__}")
        for entry in entries:
            if expected is dict and not isinstance(entry.get("summary"), str):
                raise ValueError(f"{key} has {entry!r:.60}, expected language and summary")
