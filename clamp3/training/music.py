"""The music that a training reads: all of it once, kept in memory, ready to be cut and padded."""

from collections.abc import Sequence

import numpy as np

from clamp3.data.store import PieceReader
from clamp3.errors import DataError, FormatError
from clamp3.formats.patches import PAD_ID, encode_patches, remove_instruments
from clamp3.logs import progress
from clamp3.training.resume import digest


class SymbolicMusic:
    """The patches of scores and performances, encoded once and kept without padding.

    Raises DataError naming the file that is no score or performance.
    """

    def __init__(self, paths: Sequence[str], patch_size: int, reader: PieceReader | None = None):
        reader = reader or PieceReader()
        self.patch_size = patch_size
        self._texts: dict[str, str] = {}
        self._packed: dict[tuple[str, bool], tuple[np.ndarray, np.ndarray]] = {}
        for path in progress(paths, "reading", len(paths)):
            self._texts[path] = reader.read(path)
            self._encode(path, bare=False)
        self.digest = digest(patch_size, *self._texts.items())

    def rows(self, path: str, bare: bool = False) -> np.ndarray:
        """The patches uint8 [P, C] of a file; `bare` without its instruments' names."""
        if (path, bare) not in self._packed:
            self._encode(path, bare)
        return _unpack(*self._packed[path, bare], self.patch_size)

    def _encode(self, path: str, bare: bool) -> None:
        try:
            text = remove_instruments(self._texts[path]) if bare else self._texts[path]
            self._packed[path, bare] = _pack(encode_patches(text, patch_size=self.patch_size))
        except FormatError as error:
            raise DataError(f"{path}: {error}") from error


class RecordedMusic:
    """The frames of recordings with one frame of zeros before and after.

    Source: sanderwood/clamp3@9016d2b code/train_clamp3_audio.py

    Raises DataError naming the file whose frames are not finite or of another width than the rest.
    """

    def __init__(self, paths: Sequence[str], reader: PieceReader | None = None):
        reader = reader or PieceReader()
        self._frames = {path: _frames(reader.read(path), path) for path in paths}
        widths = {frames.shape[1]: path for path, frames in self._frames.items()}
        if len(widths) > 1:
            found = ", ".join(f"{path}: {width}" for width, path in sorted(widths.items()))
            raise DataError(f"frames of different width ({found}); expected one width for all")
        self.feature_size = next(iter(widths), 0)
        parts = [[path, frames.shape] for path, frames in self._frames.items()]
        self.digest = digest(parts, *(frames.tobytes() for frames in self._frames.values()))

    def rows(self, path: str, bare: bool = False) -> np.ndarray:
        """The frames float32 [F, E] of a file; there are no names that `bare` could remove."""
        return self._frames[path]


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
