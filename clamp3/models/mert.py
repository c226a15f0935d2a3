"""MERT: the published music model that turns 5-second windows of sound into feature rows."""

import pickle
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import HubertConfig, HubertModel

from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.files import parse_json
from clamp3.formats.audio import SAMPLE_RATE_HZ, Recording, WindowBatches
from clamp3.models.hub import fetch, is_hub_name

# What makes a MERT a plain HuBERT; MERT-v1-95M has these values, other variants have not.
PLAIN = {
    "feature_extractor_cqt": False,
    "deepnorm": False,
    "attention_relax": -1,
    "sample_rate": SAMPLE_RATE_HZ,
}
# The published file names the positional convolution's weight norm as torch did before 2.0.
# Left as they are, transformers may start that convolution at random without an error.
RENAMED = {
    "encoder.pos_conv_embed.conv.weight_g": "original0",
    "encoder.pos_conv_embed.conv.weight_v": "original1",
}
PARAMETRIZATION = "encoder.pos_conv_embed.conv.parametrizations.weight."
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # each may be cut, with an .index.json
UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


class MertFrontEnd:
    """A MERT checkpoint as a front end: a row per window, the mean over time and hidden states.

    The recording is standardised as a whole and then cut. Nothing is padded, because MERT's group
    norm runs over time: only windows of one length are computed together.
    Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py, MusicHubert.py.
    """

    name = "mert"

    def __init__(
        self,
        folder: str | Path,
        device: str | None = None,
        *,
        window_seconds: float = 5.0,
        min_tail_seconds: float = 1.0,
        batch_windows: int | None = None,
    ):
        """`folder`: see `mert_folder`; `device`: None takes a GPU where there is one.

        `batch_windows`: how many are computed at once, None: 8, or 32 on a GPU.
        Raises CheckpointError for a folder without such a model, ConfigError for windows that are
        too short for it.
        """
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = load_mert(folder).to(self._device)
        self._window_seconds = window_seconds
        self._min_tail_seconds = min_tail_seconds
        self._batch_windows = batch_windows or (8 if self._device == "cpu" else 32)
        self.feature_size: int = self._model.config.hidden_size
        least = receptive_field(self._model.config)
        if min(window_seconds, min_tail_seconds) * SAMPLE_RATE_HZ < least:
            raise ConfigError(
                f"window_seconds: {window_seconds}, min_tail_seconds: {min_tail_seconds}; "
                f"MERT needs at least {least / SAMPLE_RATE_HZ:.3f} s"
            )

    def features(self, recording: Recording | np.ndarray) -> np.ndarray:
        """[F, D] float32 of a recording, or of a 24 kHz mono waveform [S].

        Raises FormatError: Recording.of's and Recording.windows's.
        """
        if isinstance(recording, np.ndarray):
            recording = Recording.of(recording)
        (made,) = self.features_of([recording])
        if isinstance(made, FormatError):
            raise made
        return made

    def features_of(
        self, recordings: Iterable[Recording | FormatError]
    ) -> Iterator[np.ndarray | FormatError]:
        """Yield the features of each recording, or why there are none, in their order.

        Windows of one length are computed together, whichever recordings they are of. Few
        recordings are taken in advance, and no more than one is in memory.
        """
        batches = WindowBatches(self._rows, self._batch_windows)
        return batches.rows_of(recordings, self._window_seconds, self._min_tail_seconds)

    @torch.inference_mode()
    def _rows(self, batch: np.ndarray) -> np.ndarray:
        """[B, S] to [B, D]."""
        inputs = torch.from_numpy(batch).to(self._device)
        states = self._model(inputs, output_hidden_states=True).hidden_states
        return torch.stack([state.mean(dim=1) for state in states]).mean(dim=0).cpu().numpy()


def mert_folder(source: str | Path) -> Path:
    """Where a MERT's config.json and weights lie: `source`, or what the hub has of `owner/name`.

    Nothing else is fetched, and pickled weights only where there are no safetensors.
    Raises CheckpointError where the hub has no such model or cannot be reached.
    """
    if not is_hub_name(source):
        return Path(source)
    for name in WEIGHTS:
        stem, suffix = name.split(".")
        pattern = f"{stem}*.{suffix}"
        folder = fetch(str(source), ["config.json", pattern, f"{pattern}.index.json"])
        if any(folder.glob(pattern)):
            break
    return folder


def load_mert(folder: str | Path) -> HubertModel:
    """The network of a MERT (config.json and weights; see `mert_folder`), float32, in eval mode.

    No code of the folder is run. Raises CheckpointError where the folder is incomplete or damaged,
    where the variant is not a plain HuBERT, or where any tensor is missing, unknown or misshapen.
    """
    folder = mert_folder(folder)
    model = HubertModel(_config(folder))
    _fill(model, *_weights(folder))
    return model.eval()


def receptive_field(config: HubertConfig) -> int:
    """The fewest samples of which the convolutions make a frame."""
    kernels, strides = config.conv_kernel, config.conv_stride
    return 1 + sum((size - 1) * prod(strides[:layer]) for layer, size in enumerate(kernels))


def _config(folder: Path) -> HubertConfig:
    path = folder / "config.json"
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        for name, plain in PLAIN.items():
            if values.get(name, plain) != plain:
                raise CheckpointError(
                    f"{path}: {name} is {values[name]}, expected {plain}; of the MERT models only "
                    "those built like MERT-v1-95M can be read"
                )
        return HubertConfig.from_dict(values)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read; is this a MERT folder? ({error})"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not the configuration of a MERT model ({error})") from error


def _weights(folder: Path) -> tuple[dict[str, torch.Tensor], Path]:
    """The tensors of the folder's weights, and the file that names or holds them."""
    for name in WEIGHTS:
        if (path := folder / name).is_file():
            return _tensors(path), path
        if (index := folder / f"{name}.index.json").is_file():
            return _shards(index), index
    raise CheckpointError(f"{folder}: holds neither {' nor '.join(WEIGHTS)}")


def _shards(index: Path) -> dict[str, torch.Tensor]:
    """The tensors of several files, which are to hold just what their index says."""
    try:
        where = parse_json(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(where.values()))
        if not files or any(Path(name).name != name for name in files):
            raise ValueError(f"weight_map names {files}, expected files beside it")
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise CheckpointError(f"{index}: not a readable index of weights ({error})") from error
    state = {}
    for name in files:
        held = _tensors(index.parent / name)
        if stray := held.keys() ^ {key for key, file in where.items() if file == name}:
            raise CheckpointError(
                f"{index.parent / name}: {min(stray)} is in the file or in {index.name}, "
                "but not in both; are they of one download?"
            )
        state |= held
    return state


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    safe = path.suffix == ".safetensors"
    try:
        state = load_file(path) if safe else torch.load(path, "cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable file of weights ({reason})") from error
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, and of nothing else")
    return state


def _fill(model: HubertModel, state: dict[str, torch.Tensor], path: Path) -> None:
    """Give the model exactly these tensors."""
    named = {
        PARAMETRIZATION + RENAMED[name] if name in RENAMED else name: tensor.float()
        for name, tensor in state.items()
    }
    if len(named) < len(state):
        raise CheckpointError(f"{path}: holds the weights of the positional convolution twice")
    try:
        missing, unknown = model.load_state_dict(named, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the sizes are not those of config.json: {error}") from error
    for fault, names in (("lacks", missing), ("holds the unknown", unknown)):
        if names:
            raise CheckpointError(
                f"{path}: {fault} {names[0]} and {len(names) - 1} more; is it another model's file?"
            )
    if not all(torch.isfinite(tensor).all() for tensor in named.values()):
        raise CheckpointError(f"{path}: holds values that are not finite; the file is damaged")
