"""The files of an index: a manifest that names segments of vectors, and what lies in those.

    index/
      index.json            the manifest: model, width, and the files that count; replaced at once
      segment-000001-…/     never changed once a manifest names it
        vectors.f32         the embeddings [N, D] as they were made, little-endian float32
        scan.f16            the same at length 1, float16
        rows.arrow          id, modality, field and properties of each row (Arrow IPC)
        ann.faiss           with --ann: what is searched first
      deleted-000002-….u32  the rows of a segment that do not count any more
  pieces-000001.arrow   what can be shown and played of the pieces, where a table told it
  map-000001.parquet    how vectors are placed on the map

Whatever a manifest does not name is left of a writer that was stopped, and removed by the next.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydantic

from clamp3.errors import DataError
from clamp3.files import sha256_of, write_text

log = logging.getLogger(__name__)

MANIFEST, LOCK = "index.json", ".lock"
SEGMENT, DELETED, PIECES, MAP = PREFIXES = ("segment-", "deleted-", "pieces-", "map-")
VECTORS, SCAN, ROWS, ANN = "vectors.f32", "scan.f16", "rows.arrow", "ann.faiss"
VERSION = 1
_OWN = re.compile(
    rf"\.?(?:{'|'.join(PREFIXES)})\d{{6}}.*|{re.escape(MANIFEST)}|{re.escape(LOCK)}"
    rf"|\.{re.escape(MANIFEST)}\..{{8}}"  # a draft
)
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.05


class Frozen(pydantic.BaseModel):
    """A part of the manifest."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(Frozen):
    """The size and the hash that a file has."""

    size: int
    sha256: str


class Ann(Frozen):
    """How the approximate search of a segment was set up, and what it found of the exact one.

    `recall`: of the `count` best for `queries` queries from `asked`.
    """

    lists: int
    probes: int
    recall: float
    count: int
    queries: int
    asked: str


class Segment(Frozen):
    """Vectors that were written together. `error`: of its float16 vectors, see `to_half`."""

    name: str
    rows: int = pydantic.Field(gt=0)
    error: float
    files: dict[str, FileEntry]
    deleted: str | None = None
    deleted_rows: int = 0
    deleted_sha256: str = ""
    ann: Ann | None = None

    @property
    def live(self) -> int:
        """How many rows count."""
        return self.rows - self.deleted_rows


class Beside(FileEntry):
    """A file beside the segments."""

    name: str


class Manifest(Frozen):
    """What an index consists of. `generation` grows with every change.

    `files`: the folders, as paths from the index, that hold the files of its pieces.
    """

    version: int = VERSION
    generation: int
    space: str
    fingerprints: tuple[str, ...]
    width: int = pydantic.Field(gt=0)
    segments: tuple[Segment, ...] = ()
    files: tuple[str, ...] = ()
    pieces: Beside | None = None
    map: Beside | None = None

    @property
    def names(self) -> set[str]:
        """Of everything in the folder that counts."""
        deleted = {segment.deleted for segment in self.segments if segment.deleted}
        beside = {file.name for file in (self.pieces, self.map) if file}
        return {segment.name for segment in self.segments} | deleted | beside


def is_index(folder: Path) -> bool:
    """Whether the folder is an index."""
    return (Path(folder) / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """What the index consists of. Raises DataError where it is none or damaged."""
    path = Path(folder) / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        checksum = content.pop("checksum")
        if isinstance(content, dict) and content.get("version", VERSION) != VERSION:
            raise DataError(
                f"{folder}: an index of version {content['version']}, expected {VERSION}; build it "
                "again"
            )
        if checksum != _checksum(content):
            raise ValueError("its checksum is another")
        return Manifest.model_validate(content)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder}: not an index (no {MANIFEST}); `clamp3 index build` makes one"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = str(error).splitlines()[0]
        raise DataError(f"{path}: damaged ({what}); {REBUILD}") from error


REBUILD = "build the index again from the tables of embeddings"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make this the index, at once: a reader sees the one before or this one, never between."""
    content = manifest.model_dump(mode="json")
    for named in (folder, *(Path(folder) / segment.name for segment in manifest.segments)):
        flush_folder(named)  # what the manifest names is there before it
    text = json.dumps(content | {"checksum": _checksum(content)}, indent=1)
    write_text(Path(folder) / MANIFEST, text + "\n")
    flush_folder(folder)


def _checksum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def flush_folder(folder: Path) -> None:
    """Names of files that were made in it outlive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(folder: Path, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """The block is the only writer of the folder; readers go on.

    Raises DataError where another program goes on writing for longer than `wait_seconds`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a") as handle:
        _take(handle.fileno(), folder, wait_seconds)
        yield  # closing the file gives the lock back, and so does a kill


def _take(handle: int, folder: Path, wait_seconds: float) -> None:
    end = time.monotonic() + wait_seconds
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise DataError(
                    f"{folder}: another program has been writing to it for {wait_seconds:g} s; "
                    "try again when it is done"
                ) from None
        if not told:
            log.info("%s: another program writes to it; waiting", folder)
            told = True
        time.sleep(POLL_SECONDS)


def remove_leftovers(folder: Path, manifest: Manifest | None) -> None:
    """Remove what earlier manifests named, and drafts of writers that were stopped.

    Readers that have such files open keep them until they close them.
    """
    named = manifest.names if manifest else set()
    for path in Path(folder).iterdir():
        if path.name in named or path.name in (MANIFEST, LOCK) or not is_own(path.name):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_index(folder: Path) -> None:
    """Remove an index, if the folder is one; any other is left alone."""
    if is_index(folder):
        shutil.rmtree(folder)


def is_own(name: str) -> bool:
    """Whether an index has files of such names."""
    return bool(_OWN.fullmatch(name))


def check_size(path: Path, entry: FileEntry) -> None:
    """Raise DataError where a file is of another length than it was written.

    FileNotFoundError passes: the index may have changed since its manifest was read.
    """
    size = path.stat().st_size
    if size != entry.size:
        raise DataError(f"{path}: {size} bytes, expected {entry.size}: damaged; {REBUILD}")


def check_content(path: Path, entry: FileEntry) -> None:
    """Raise DataError where the content of a file is not what was written."""
    if sha256_of(path) != entry.sha256:
        raise DataError(
            f"{path}: damaged (its hash is another than when it was written); {REBUILD}"
        )


def beside(path: Path) -> Beside:
    """The entry of a file that was written beside the segments."""
    return Beside(name=path.name, size=path.stat().st_size, sha256=sha256_of(path))
