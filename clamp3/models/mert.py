"""MERT: the published music model that turns 5-second windows of sound into feature rows."""

from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path

import numpy as np
import torch
from transformers import HubertConfig, HubertModel

from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.formats.audio import SAMPLE_RATE_HZ, Recording, WindowBatches
from clamp3.models.weight_files import WeightFiles, model_folder, read_settings

# What makes a MERT a plain HuBERT; MERT-v1-95M has these values, other variants have not.
PLAIN = {
    "feature_extractor_cqt": False,
    "deepnorm": False,
    "attention_relax": -1,
    "sample_rate": SAMPLE_RATE_HZ,
}


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
    return model_folder(source, ("config.json",))


def load_mert(folder: str | Path) -> HubertModel:
    """The network of a MERT (config.json and weights; see `mert_folder`), float32, in eval mode.

    No code of the folder is run. Raises CheckpointError where the folder is incomplete or damaged,
    where the variant is not a plain HuBERT, or where any tensor is missing, unknown or misshapen.
    """
    folder = mert_folder(folder)
    model = HubertModel(_config(folder))
    files = WeightFiles(folder)
    _refuse_strays(files)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(files.part(shapes, ("",), "a MERT", whole=True))
    return model.eval()


def receptive_field(config: HubertConfig) -> int:
    """The fewest samples of which the convolutions make a frame."""
    kernels, strides = config.conv_kernel, config.conv_stride
    return 1 + sum((size - 1) * prod(strides[:layer]) for layer, size in enumerate(kernels))


def _config(folder: Path) -> HubertConfig:
    values = read_settings(folder, expected="the folder of a MERT")
    path = folder / "config.json"
    for name, plain in PLAIN.items():
        if values.get(name, plain) != plain:
            raise CheckpointError(
                f"{path}: {name} is {values[name]}, expected {plain}; of the MERT models only "
                "those built like MERT-v1-95M can be read"
            )
    try:
        return HubertConfig.from_dict(values)
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not the configuration of a MERT model ({error})") from error


def _refuse_strays(files: WeightFiles) -> None:
    """Several files are to hold just what their index says."""
    if files.listed is None:
        return
    if strays := files.held ^ {*files.listed.items()}:
        name, file = min(strays)
        fault = "holds" if (name, file) in files.held else "lacks"
        raise CheckpointError(
            f"{files.folder / file}: {fault} {name}, and the index of the folder says otherwise; "
            "are they of one download?"
        )
