"""The music that a training reads, ready to be cut and padded, in a cache that processes share."""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from clamp3.data import piece_reader, store
from clamp3.data.piece_reader import PieceReader
from clamp3.data.raw_files.places import content_of
from clamp3.errors import DataError, FormatError
from clamp3.files import sha256_of
from clamp3.formats import patches as patches_module
from clamp3.formats.patches import PAD_ID, encode_patches, remove_instruments
from clamp3.logs import progress
from clamp3.training import music_cache
from clamp3.training.music_cache import CachedRows, Row
from clamp3.training.resume import digest, part_digest

# What decides how files become rows: a cache made by other code is another cache.
CODE = (
    music_cache.__file__,
    patches_module.__file__,
    piece_reader.__file__,
    store.__file__,
    __file__,
)


def cache_folder(resume: Path) -> Path:
    """Where the trainings that keep their states beside `resume` keep music: all in one folder."""
    return Path(resume).parent / "music"


class _Music:
    """Pieces by path, encoded once and read where they lie."""

    names: tuple[str, ...]

    def __init__(
        self, paths: Sequence[str], reader: PieceReader | None, cache: Path | None, *how: object
    ):
        reader = reader or PieceReader()
        paths = list(dict.fromkeys(paths))
        said = {"digest": "", "width": "0"}
        key = _key(paths, reader, self.names, *how) if cache else ""
        self._rows = CachedRows(
            cache, key, self.names, lambda: self._all(paths, reader, said), said
        )
        places = [self._rows.value(row, "place") for row in range(len(self._rows))]
        self._row = {paths[np.frombuffer(at, np.int64)[0]]: row for row, at in enumerate(places)}
        self.digest = self._rows.said["digest"]

    def _all(self, paths: list[str], reader: PieceReader, said: dict) -> Iterator[Row]:
        """The rows of all pieces as they come; what they say is added up in the order of paths."""
        place_of = {path: place for place, path in enumerate(paths)}
        parts = np.zeros((len(paths), 32), dtype=np.uint8)
        for path, piece in progress(reader.stream(paths), "reading", len(paths)):
            place = place_of[path]
            parts[place] = np.frombuffer(self._part(path, piece), dtype=np.uint8)
            yield np.int64(place).tobytes(), *self._row_of(path, piece, said)
        said["digest"] = digest(self._how(), hashlib.sha256(parts).hexdigest())

    def _how(self) -> object:
        return None

    def _part(self, path: str, piece: str | np.ndarray) -> bytes:
        raise NotImplementedError

    def _row_of(self, path: str, piece: str | np.ndarray, said: dict) -> Row:
        raise NotImplementedError


class SymbolicMusic(_Music):
    """The patches of scores and performances, encoded once and kept without padding.

    `cache` is the folder that keeps them for other processes and later trainings; None: in memory.
    With `bare` they can also be had without the names of their instruments.

    Raises DataError naming the file that is no score or performance.
    """

    names = ("place", "characters", "lengths", "bare_characters", "bare_lengths")

    def __init__(
        self,
        paths: Sequence[str],
        patch_size: int,
        reader: PieceReader | None = None,
        *,
        cache: Path | None = None,
        bare: bool = True,
    ):
        self.patch_size, self._bare = patch_size, bare
        super().__init__(paths, reader, cache, patch_size, bare, version("unidecode"))

    def rows(self, path: str, bare: bool = False) -> np.ndarray:
        """The patches uint8 [P, C] of a file; `bare` without its instruments' names."""
        row = self._row[path]
        has_bare = bare and self._rows.value(row, "bare_lengths") is not None
        prefix = "bare_" if has_bare else ""
        characters = np.frombuffer(self._rows.value(row, f"{prefix}characters"), np.uint8)
        lengths = np.frombuffer(self._rows.value(row, f"{prefix}lengths"), np.uint16)
        return _unpack(characters, lengths, self.patch_size)

    def length(self, path: str) -> int:
        """How many patches a file has."""
        return len(self._rows.value(self._row[path], "lengths")) // 2

    def _how(self) -> object:
        return self.patch_size

    def _part(self, path: str, piece: str | np.ndarray) -> bytes:
        return part_digest([path, piece])

    def _row_of(self, path: str, piece: str | np.ndarray, said: dict) -> Row:
        try:
            packed = self._packed(piece)
            named = remove_instruments(piece) if self._bare else piece
            return *packed, *((None, None) if named == piece else self._packed(named))
        except FormatError as error:
            raise DataError(f"{path}: {error}") from error

    def _packed(self, text: str) -> tuple[bytes, bytes]:
        characters, lengths = _pack(encode_patches(text, patch_size=self.patch_size))
        return characters.tobytes(), lengths.tobytes()


class RecordedMusic(_Music):
    """The frames of recordings with one frame of zeros before and after; see `SymbolicMusic`.

    Source: sanderwood/clamp3@9016d2b code/train_clamp3_audio.py

    Raises DataError naming the file whose frames are not finite or of another width than the rest.
    """

    names = ("place", "frames")

    def __init__(
        self,
        paths: Sequence[str],
        reader: PieceReader | None = None,
        *,
        cache: Path | None = None,
    ):
        self._first: dict[int, str] = {}  # a path by width, while they are read
        super().__init__(paths, reader, cache)
        self.feature_size = int(self._rows.said["width"])

    def rows(self, path: str, bare: bool = False) -> np.ndarray:
        """The frames float32 [F, E] of a file; there are no names that `bare` could remove."""
        values = np.frombuffer(self._rows.value(self._row[path], "frames"), np.float32)
        return values.reshape(-1, self.feature_size)

    def _part(self, path: str, piece: str | np.ndarray) -> bytes:
        frames = np.asarray(piece, dtype=np.float32)
        return hashlib.sha256(part_digest([path, frames.shape]) + frames.tobytes()).digest()

    def _row_of(self, path: str, piece: str | np.ndarray, said: dict) -> Row:
        frames = _frames(piece, path)
        self._first.setdefault(frames.shape[1], path)
        if len(self._first) > 1:
            found = ", ".join(f"{name}: {width}" for width, name in sorted(self._first.items()))
            raise DataError(f"frames of different width ({found}); expected one width for all")
        said["width"] = str(frames.shape[1])
        return (frames.tobytes(),)


def _key(paths: list[str], reader: PieceReader, *how: object) -> str:
    """What stands for all that the rows depend on: the content of files, code and settings."""
    sources = [[path, content_of(path)] for path in reader.sources(paths)]
    code = [sha256_of(Path(path)) for path in CODE]
    return digest(code, list(how), *map(part_digest, paths), *sources)


def _frames(features: np.ndarray, path: str) -> np.ndarray:
    rows = np.asarray(features, dtype=np.float32).reshape(-1, features.shape[-1])
    if not np.isfinite(rows).all():
        raise DataError(f"{path}: holds values that are no finite numbers; extract it again")
    return np.pad(rows, ((1, 1), (0, 0)))


def _pack(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The characters of all patches in a row, and how many each has: a third of the memory."""
    places = np.arange(1, patches.shape[1] + 1)
    lengths = ((patches != PAD_ID) * places).max(axis=1, initial=0).astype(np.uint16)
    return patches[places <= lengths[:, None]].astype(np.uint8), lengths


def _unpack(characters: np.ndarray, lengths: np.ndarray, patch_size: int) -> np.ndarray:
    patches = np.full((len(lengths), patch_size), PAD_ID, dtype=np.uint8)
    patches[np.arange(patch_size) < lengths[:, None]] = characters
    return patches
