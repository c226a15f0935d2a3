"""MERT: the published music model that turns 5-second windows of sound into feature rows."""

import json
import pickle
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import HubertConfig, HubertModel

from clamp3.errors import CheckpointError, ConfigError
from clamp3.formats.audio import SAMPLE_RATE_HZ, standardise, windows

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
    norm runs over time: windows of one length are computed together, a shorter last one alone.
    Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py, MusicHubert.py.
    """

    name = "mert"

    def __init__(
        self,
        folder: Path,
        device: str | None = None,
        *,
        window_seconds: float = 5.0,
        min_tail_seconds: float = 1.0,
        batch_windows: int = 8,
    ):
        """`device`: None takes a GPU where there is one.

        Raises CheckpointError for a folder without such a model, ConfigError for windows that are
        too short for it.
        """
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = load_mert(folder).to(self._device)
        self._window_seconds = window_seconds
        self._min_tail_seconds = min_tail_seconds
        self._batch_windows = batch_windows
        self.feature_size: int = self._model.config.hidden_size
        least = receptive_field(self._model.config)
        if min(window_seconds, min_tail_seconds) * SAMPLE_RATE_HZ < least:
            raise ConfigError(
                f"window_seconds: {window_seconds}, min_tail_seconds: {min_tail_seconds}; "
                f"MERT needs at least {least / SAMPLE_RATE_HZ:.3f} s"
            )

    def features(self, waveform: np.ndarray) -> np.ndarray:
        """[F, D] float32 of a 24 kHz mono waveform [S]. Raises FormatError (too_short)."""
        parts = windows(standardise(waveform), self._window_seconds, self._min_tail_seconds)
        equal = len(parts) if len(parts[-1]) == len(parts[0]) else len(parts) - 1
        cuts = [*range(0, equal, self._batch_windows), equal, len(parts)]
        batches = [parts[start:end] for start, end in pairwise(cuts)]
        return np.concatenate([self._rows(np.stack(batch)) for batch in batches if batch])

    @torch.inference_mode()
    def _rows(self, batch: np.ndarray) -> np.ndarray:
        """[B, S] to [B, D]."""
        inputs = torch.from_numpy(batch).to(self._device)
        states = self._model(inputs, output_hidden_states=True).hidden_states
        return torch.stack([state.mean(dim=1) for state in states]).mean(dim=0).cpu().numpy()


def load_mert(folder: Path) -> HubertModel:
    """The network of a MERT folder (config.json and weights), float32, in eval mode.

    No code of the folder is run. Raises CheckpointError where the folder is incomplete or damaged,
    where the variant is not a plain HuBERT, or where any tensor is missing, unknown or misshapen.
    """
    folder = Path(folder)
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
        values = json.loads(path.read_text(encoding="utf-8"))
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
    """The tensors of the folder's weights file, and which file that is."""
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    path = safe if safe.is_file() else pickled
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds neither {safe.name} nor {pickled.name}")
    try:
        state = load_file(safe) if path == safe else torch.load(pickled, "cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable file of weights ({reason})") from error
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, and of nothing else")
    return state, path


def _fill(model: HubertModel, state: dict[str, torch.Tensor], path: Path) -> None:
    """Give the model exactly these tensors."""
    named = {
        PARAMETRIZATION + RENAMED[name] if name in RENAMED else name: tensor.float()
        for name, tensor in state.items()
    }
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
