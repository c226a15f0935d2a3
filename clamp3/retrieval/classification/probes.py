"""Linear probes: a linear layer on frozen embeddings, kept in files that execute nothing."""

import logging
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from clamp3.errors import CheckpointError, DataError
from clamp3.files import atomic_path, parse_json, write_json
from clamp3.retrieval.vectors import Vectors

log = logging.getLogger(__name__)
WEIGHTS = "probe.safetensors"
CONTENT = "probe.json"
ARRAYS = ("weight", "bias", "mean", "scale")


@dataclass(frozen=True)
class Probe:
    """A linear classifier: logits = ((x - mean) / scale) @ weight.T + bias.

    `classes`: K labels, sorted; `weight` [K, D], `bias` [K], `mean` and `scale` [D]; `space` and
    `fingerprint`: of the model whose embeddings it was trained on, empty where they do not say;
    `recipe`: how it was trained.
    """

    classes: list[str]
    weight: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    space: str = ""
    fingerprint: str = ""
    recipe: dict = field(default_factory=dict)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """The score of each class [N, K] for embeddings [N, D], float64."""
        standard = (np.asarray(embeddings, np.float64) - self.mean) / self.scale
        return standard @ self.weight.T + self.bias

    def probabilities(self, embeddings: np.ndarray) -> np.ndarray:
        """The probability of each class [N, K]; rows sum to 1."""
        return softmax(self.logits(embeddings))

    def predict(self, embeddings: np.ndarray) -> list[str]:
        """The most probable label of each embedding; of equal ones the first."""
        return [self.classes[best] for best in self.logits(embeddings).argmax(axis=1)]

    def check(self, vectors: Vectors) -> None:
        """Raise DataError for embeddings of another model than the probe was trained on."""
        spaces = self.space, vectors.origin.space
        if all(spaces) and spaces[0] != spaces[1]:
            raise DataError(
                f"the probe was trained on embeddings of model {spaces[0][:16]}, these are of "
                f"{spaces[1][:16]}: embed with the same model, or train again"
            )
        width = vectors.embeddings.shape[1]
        if width != self.weight.shape[1]:
            raise DataError(
                f"the probe was trained on embeddings {self.weight.shape[1]} wide, these are "
                f"{width}: they are of another model"
            )
        prints = self.fingerprint, vectors.origin.fingerprint
        if all(prints) and prints[0] != prints[1]:
            log.warning("the probe was trained on embeddings made with another adapter")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def save_probe(folder: Path, probe: Probe) -> None:
    """Write probe.safetensors and probe.json into the folder, beside what else is there."""
    arrays = {name: np.ascontiguousarray(getattr(probe, name), np.float64) for name in ARRAYS}
    with atomic_path(Path(folder) / WEIGHTS) as draft:
        save_file(arrays, draft)
    named = ("classes", "space", "fingerprint", "recipe")
    write_json(Path(folder) / CONTENT, {name: getattr(probe, name) for name in named})


def load_probe(source: Path) -> Probe:
    """The probe of a folder that `clamp3 classify train` wrote, or of an original's .pth file.

    Raises CheckpointError where there is none or it is damaged.
    """
    source = Path(source)
    if source.is_file():
        return read_original_probe(source)
    if not (source / CONTENT).is_file():
        raise CheckpointError(
            f"{source}: no {CONTENT} here; expected a folder of `clamp3 classify train`, or a "
            ".pth file of the original's"
        )
    try:
        content = parse_json((source / CONTENT).read_text(encoding="utf-8"))
        arrays = load_file(source / WEIGHTS)
        probe = Probe(**content, **{name: arrays[name] for name in ARRAYS})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{source}: a damaged probe ({error}); train it again") from error
    return _checked(probe, source)


def read_original_probe(path: Path) -> Probe:
    """The probe in a weights_cls….pth of the originals; nothing in the file is executed.

    Its features are not standardised, and it does not say which model made them.

    Source: sanderwood/clamp3@9016d2b classification/train_cls.py (model: fc.weight, fc.bias;
    labels: name → row)
    """
    import torch

    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        weight, bias = (saved["model"][f"fc.{name}"].double().numpy() for name in ARRAYS[:2])
        classes = sorted(saved["labels"], key=saved["labels"].get)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: not readable as a .pth file ({error})") from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"{path}: no probe of the originals: expected model (fc.weight, fc.bias) and labels"
        ) from error
    width = weight.shape[-1]
    recipe = {"name": "original", "softmax_twice": True, "file": Path(path).name}
    probe = Probe(classes, weight, bias, np.zeros(width), np.ones(width), recipe=recipe)
    return _checked(probe, path)


def _checked(probe: Probe, source: Path) -> Probe:
    shapes = [tuple(getattr(probe, name).shape) for name in ARRAYS]
    classes, width = len(probe.classes), probe.mean.size
    finite = all(np.isfinite(getattr(probe, name)).all() for name in ARRAYS)
    if shapes != [(classes, width), (classes,), (width,), (width,)] or not finite:
        raise CheckpointError(
            f"{source}: a damaged probe (shapes {shapes} for {classes} classes, "
            f"{'finite' if finite else 'not finite'} numbers); train it again"
        )
    return probe


def standardisation(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale [D] of embeddings [N, D]; the scale is 1 where a column is constant."""
    values = np.asarray(embeddings, np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    constant = scale <= 1e-7 * np.maximum(1e-30, np.abs(mean))  # float32's rounding
    return mean, np.where(constant, 1.0, scale)


def class_rows(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The row of each label among the classes [N]."""
    places = {name: row for row, name in enumerate(classes)}
    return np.array([places[label] for label in labels], dtype=int)
