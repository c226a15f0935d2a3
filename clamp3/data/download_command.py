"""A whole data set: what is said before and after, and all its files fetched and unpacked."""

import json
import logging
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from clamp3.data.data_sets import DataSet, RemoteFile
from clamp3.data.download import download_file
from clamp3.data.unpacking import unpack
from clamp3.files import write_json

log = logging.getLogger(__name__)


def fetch_all(data_set: DataSet, folder: Path) -> None:
    """Fetch every file of a data set into the folder, and unpack the archives beside themselves.

    What is there already is left alone; an archive is unpacked once and may then be deleted.
    Raises DataError as `download_file` and `unpack` do.
    """
    for file in data_set.files:
        note = _note(folder / file.path)
        if file.unpack and note.exists() and not (folder / file.path).exists():
            log.info("%s: unpacked before (delete %s to fetch it again)", file.path, note)
            continue
        hidden = not sys.stderr.isatty()
        with tqdm(desc=file.path, unit="B", unit_scale=True, disable=hidden) as bar:
            path = download_file(file, folder, partial(_show, bar))
        log.info("%s: %s", path, _bytes(path.stat().st_size))
        if file.unpack and not _is_unpacked(path):
            count = unpack(path, path.parent)
            write_json(_note(path), {"bytes": path.stat().st_size, "files": count})
            log.info("%s: %d files unpacked; the archive may be deleted", path, count)


def _note(archive: Path) -> Path:
    return archive.with_name(f".{archive.name}.unpacked")


def _is_unpacked(archive: Path) -> bool:
    note = _note(archive)
    return note.exists() and json.loads(note.read_text())["bytes"] == archive.stat().st_size


def _show(bar: tqdm, done: int, total: int | None) -> None:
    bar.total = total
    bar.update(done - bar.n)


def table(data_sets: dict[str, DataSet]) -> Iterator[str]:
    """A line for each data set: name, size, title, licence."""
    width = max(map(len, data_sets))
    for name, data_set in data_sets.items():
        size = _bytes(data_set.about_bytes()) if data_set.files else "by hand"
        yield f"{name:<{width}}  {size:>9}  {data_set.title}: {data_set.what} ({data_set.licence})"


def introduction(data_set: DataSet, folder: Path) -> Iterator[str]:
    """What a person should know before it is downloaded."""
    yield f"{data_set.title}: {data_set.what}"
    yield f"  licence   {data_set.licence}"
    yield f"  home      {data_set.home}"
    yield f"  citation  {data_set.citation}"
    for file in data_set.files:
        yield f"  file      {file.url} ({_known_of(file)})"
    if data_set.files:
        yield f"  to        {folder}"


def _known_of(file: RemoteFile) -> str:
    size = f"{file.bytes} bytes" if file.bytes else "size not known"
    if file.about_bytes and not file.bytes:
        size = f"about {_bytes(file.about_bytes)}"
    facts = {"size": file.bytes, "sha256": file.sha256, "md5": file.md5}
    checks = " and ".join(name for name, known in facts.items() if known)
    return f"{size}, {'checked by ' + checks if checks else 'nothing to check it by'}"


def advice(name: str, data_set: DataSet, folder: Path) -> Iterator[str]:
    """What is left to do by hand, and the lines of params.yaml that use it."""
    if data_set.by_hand:
        yield "By hand: " + data_set.by_hand.replace("FOLDER", str(folder))
    if data_set.use:
        yield f"In params.yaml: {data_set.use.replace('FOLDER', str(folder))}"
    if data_set.layout:
        path = (folder / (data_set.path or ".")).as_posix()
        yield "In params.yaml:"
        yield "  parse:"
        yield "    collections:"
        yield f"      {name}: {{layout: {data_set.layout}, path: {path}}}"


def _bytes(count: int) -> str:
    """`428 MB`; an unknown size is a question mark."""
    if not count:
        return "?"
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
