"""A training's saved state: where it lies, whose turn it is, and when it no longer counts."""

import hashlib
import json
import logging
import pickle
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clamp3.errors import DataError
from clamp3.files import WAIT_SECONDS, alone_in, atomic_path

log = logging.getLogger(__name__)
_DAMAGED = (RuntimeError, ValueError, pickle.UnpicklingError, EOFError, OSError, zipfile.BadZipFile)


class ResumeFolder:
    """The folder of one training's state; a state is used only under the key it was saved with."""

    def __init__(self, folder: Path, key: str):
        self.folder = Path(folder)
        self.key = key
        self.file = self.folder / "state.pt"

    def load(self) -> dict | None:
        """The state saved last; None where there is none or it belongs to another training.

        Raises DataError when the file is damaged.
        """
        if not self.file.exists():
            return None
        try:
            with zipfile.ZipFile(self.file) as parts:
                if damaged := parts.testzip():  # torch does not look at the checksums it writes
                    raise zipfile.BadZipFile(f"checksum of {damaged}")
            saved = torch.load(self.file, map_location="cpu", weights_only=True)
            key, state = saved["key"], saved["state"]
        except (*_DAMAGED, KeyError) as error:
            raise DataError(
                f"{self.file}: not a readable training state ({type(error).__name__}); delete "
                f"{self.folder} to begin this training again"
            ) from error
        if key != self.key:
            log.info("%s: left by other settings or inputs, not used", self.file)
            return None
        return state

    def save(self, state: dict) -> None:
        """Replace the saved state; a kill leaves either the old or the new one."""
        with atomic_path(self.file) as draft:
            torch.save({"key": self.key, "state": state}, draft)

    def remove(self) -> None:
        """Delete the folder: the training is finished and its results are in place."""
        shutil.rmtree(self.folder)

    @contextmanager
    def held(self, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Keep other processes out for the block. Raises DataError as `alone_in` does."""
        with alone_in(self.folder, wait_seconds):
            for draft in self.folder.glob(".state.pt.*"):  # of a process killed while saving
                shutil.rmtree(draft)
            yield


def digest(*parts: object) -> str:
    """One SHA-256 for JSON values and bytes; other parts, other digest."""
    return joined_digest(map(part_digest, parts))


def joined_digest(parts: Iterable[bytes]) -> str:
    """The `digest` of parts of which the `part_digest` of each is known, or of some together."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def part_digest(part: object) -> bytes:
    """What `digest` adds up of one part, 32 bytes."""
    data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
    return hashlib.sha256(data).digest()
