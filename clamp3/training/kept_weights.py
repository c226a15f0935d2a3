"""Weights that stay on disk during a training and after it: of the last epochs and of the best."""

import shutil
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from clamp3.files import atomic_path


class KeptWeights:
    """A folder with epoch-0001.safetensors … of the last `count` epochs, and best.safetensors.

    Each file is whole or not there; it holds the parameters that learn, by their names in the
    model. With a `count` of 0 nothing is written.
    """

    def __init__(self, folder: Path, count: int):
        self.folder, self.count = Path(folder), count

    def clear(self) -> None:
        """Delete what an earlier training left."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def add(self, epoch: int, weights: dict[str, Tensor], *, is_best: bool) -> None:
        """Keep the weights after an epoch (from 1), and let go of those that are too old."""
        if not self.count:
            return
        self._save(f"epoch-{epoch:04d}", epoch, weights)
        if is_best:
            self._save("best", epoch, weights)
        for old in sorted(self.folder.glob("epoch-*.safetensors"))[: -self.count]:
            old.unlink()

    def _save(self, name: str, epoch: int, weights: dict[str, Tensor]) -> None:
        values = {key: value.contiguous() for key, value in weights.items()}
        with atomic_path(self.folder / f"{name}.safetensors") as draft:
            save_file(values, draft, metadata={"epoch": str(epoch)})
