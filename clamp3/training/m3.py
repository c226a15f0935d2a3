"""Training M3: the encoder learns to see in a piece what was hidden from it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clamp3.config import M3Config
from clamp3.data.pairs import look_through
from clamp3.errors import DataError
from clamp3.formats.patches import truncate_patches
from clamp3.models.checkpoints import save_checkpoint
from clamp3.models.m3 import PAD, M3Model
from clamp3.randomness import generator, stable_hash
from clamp3.training.batches import Movable, bucketed_batches, even_batches, pad
from clamp3.training.loop import History, train
from clamp3.training.masking import Treatment, mask_patches
from clamp3.training.music import SymbolicMusic, cache_folder
from clamp3.training.resume import digest

log = logging.getLogger(__name__)
SUFFIXES = (".abc", ".mtf")


def train_m3(
    *,
    manifests: Sequence[Path],
    out: Path,
    metrics: Path,
    resume: Path,
    settings: M3Config,
    seed: int,
    validation: Sequence[Path] = (),
) -> None:
    """Train M3 on every score and performance of the manifests and save it to the folder `out`.

    A piece with both is two inputs. Best weights are those with the smallest validation loss, or
    the last without `validation`. See `loop.train` on `metrics` and `resume`.

    Raises DataError when the manifests name no score and no performance.
    """
    torch.manual_seed(stable_hash(seed, "m3", "weights"))
    cache = cache_folder(resume)
    task = M3Task(M3Model(settings.architecture), settings, _files(manifests), seed, cache)
    task.validate_on(_files(validation) if validation else [])
    log.info("m3: %d files to learn from, %d to validate on", len(task.paths), len(task.validation))

    def save(history: History) -> None:
        save_checkpoint(task.model, out, notes=history.summary() | {"seed": seed})

    train(task, settings.training, metrics=metrics, resume=resume, seed=seed, save=save)


def _files(manifests: Sequence[Path]) -> list[str]:
    _, named = look_through(manifests, SUFFIXES, lambda pair: pair.filepaths)
    paths = [path for own in named for path in own]
    if not paths:
        raise DataError(
            f"{', '.join(map(str, manifests))}: no .abc or .mtf file named, expected at least one"
        )
    return paths


@dataclass
class M3Batch(Movable):
    """What to restore, what is seen [B, P, C], mask and places of what to restore [B, P]."""

    ids: list[str]
    targets: Tensor
    inputs: Tensor
    mask: Tensor
    selected: Tensor


class M3Task:
    """Masked music modelling on files, as the training loop wants it."""

    name = "m3"

    def __init__(
        self,
        model: M3Model,
        settings: M3Config,
        paths: list[str],
        seed: int,
        cache: Path | None = None,
    ):
        self.model, self.settings, self.paths, self.seed = model, settings, paths, seed
        self.cache = cache
        self.music = self._read(paths)
        limit = settings.architecture.patch_length
        self.lengths = [min(limit, self.music.length(path)) for path in paths]
        self.validate_on([])

    def validate_on(self, paths: list[str]) -> None:
        """Evaluate on these files from now on."""
        self.validation = paths
        self.heard = self._read(paths)
        values = self.settings.model_dump(exclude={"training"})
        self.inputs = digest(values, self.music.digest, self.heard.digest)

    def deal(self, epoch: int) -> list[list[int]]:
        """The files of each batch: like lengths together."""
        rng = generator(self.seed, "m3", "deal", epoch)
        return bucketed_batches(self.lengths, self.settings.training.batch_size, rng)

    def collate(self, epoch: int, members: list[int]) -> M3Batch:
        """Files cropped and masked as a generator of seed, epoch and file decides."""
        paths = [self.paths[member] for member in members]
        return self._batch(self.music, paths, epoch)

    def loss(self, batch: M3Batch) -> Tensor:
        """The cross-entropy per character of the patches to restore."""
        return self.model.loss(batch.targets, batch.inputs, batch.mask, batch.selected)

    def terms(self, batch: M3Batch) -> int:
        """How many characters are to be restored."""
        hidden = batch.targets[batch.selected.bool()]
        return int((hidden[:, 1:] != PAD).sum())

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """The loss on the heads of the validation files, masked the same at every call.

        Differs: the originals show the encoder the whole piece here, which measures another task.
        """
        if not self.validation:
            return {}
        lengths = [self.heard.length(path) for path in self.validation]
        order = sorted(range(len(lengths)), key=lambda place: lengths[place])
        total = patches = 0.0
        for places in even_batches(len(order), self.settings.training.batch_size):
            paths = [self.validation[order[place]] for place in places]
            batch = self._batch(self.heard, paths, None).to(device)
            count = int(batch.selected.sum())
            total += self.loss(batch).item() * count
            patches += count
        return {"loss": total / patches}

    def _read(self, paths: list[str]) -> SymbolicMusic:
        size = self.settings.architecture.patch_size
        return SymbolicMusic(paths, size, cache=self.cache, bare=False)

    def _batch(self, music: SymbolicMusic, paths: list[str], epoch: int | None) -> M3Batch:
        samples = [self._sample(music, path, epoch) for path in paths]
        targets, mask = pad([target for target, _, _ in samples])
        inputs, _ = pad([seen for _, seen, _ in samples])
        selected, _ = pad([chosen for _, _, chosen in samples])
        return M3Batch(paths, targets, inputs, mask, selected)

    def _sample(
        self, music: SymbolicMusic, path: str, epoch: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        validating = epoch is None
        rng = generator(self.seed, "m3", "validation" if validating else epoch, path)
        length = self.settings.architecture.patch_length
        target = truncate_patches(music.rows(path), length, None if validating else rng)
        treatment: Treatment | None = "mask" if validating else None
        return target, *mask_patches(target, self.settings.mask_ratio, rng, treatment)
