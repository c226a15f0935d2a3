"""What can be heard in a window without a trained model: timbre, harmony, rhythm."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from clamp3.errors import FormatError
from clamp3.formats.audio.recording import Recording
from clamp3.formats.audio.windows import SAMPLE_RATE_HZ

BANDS = 64
BAND_RANGE_HZ = (30.0, 12_000.0)
FRAME = 1024  # samples: 43 ms, bins of 23 Hz
HOP = 240  # samples: 10 ms
FLOOR = 1.0e-2  # power that counts as silence; white noise of the recording's loudness has 1
CHROMA_FRAME = 8192  # samples: bins of 3 Hz tell semitones apart from C3 on
CHROMA_HOP = 2400  # samples: 100 ms
REGISTERS_HZ = ((60.0, 260.0), (260.0, 4200.0))  # below and above middle C
LAGS = 40  # distances in time at which onsets are compared
LAG_RANGE = (8, 240)  # in hops: 80 ms to 2.4 s


@dataclass(frozen=True)
class MelFrontEnd:
    """A row of statistics per window, on librosa's spectrograms.

    Columns, in this order: mean, standard deviation and mean rise of the log-mel bands (64 each);
    pitch classes C to B below and above middle C (12 each); likeness of the onsets to themselves
    at 40 lags from 80 ms to 2.4 s. Values are of the order of 1; silence is 0 throughout.
    """

    window_seconds: float = 5.0
    min_tail_seconds: float = 1.0
    name = "mel"
    feature_size = 3 * BANDS + 12 * len(REGISTERS_HZ) + LAGS

    def features(self, recording: Recording | np.ndarray) -> np.ndarray:
        """[F, 256] float32 of a recording, or of a 24 kHz mono waveform [S].

        Raises FormatError: Recording.of's and Recording.windows's.
        """
        if isinstance(recording, np.ndarray):
            recording = Recording.of(recording)
        parts = recording.windows(self.window_seconds, self.min_tail_seconds)
        return np.stack([_row(part) for part in parts])

    def features_of(
        self, recordings: Iterable[Recording | FormatError]
    ) -> Iterator[np.ndarray | FormatError]:
        """Yield the features of each recording, or why there are none, in their order."""
        for recording in recordings:
            try:
                if isinstance(recording, FormatError):
                    raise recording
                yield self.features(recording)
            except FormatError as error:
                yield error


def _row(window: np.ndarray) -> np.ndarray:
    """The statistics [256] of one window."""
    import librosa  # seconds to load, and not needed with another front end

    bands = librosa.feature.melspectrogram(
        S=_power(window, FRAME, HOP),
        sr=SAMPLE_RATE_HZ,
        n_mels=BANDS,
        fmin=BAND_RANGE_HZ[0],
        fmax=BAND_RANGE_HZ[1],
        norm=1,
    )
    levels = np.log10(1 + bands / FLOOR)  # [bands, hops]
    rises = np.maximum(np.diff(levels, axis=1, prepend=levels[:, :1]), 0)
    loudness = np.sqrt(_power(window, CHROMA_FRAME, CHROMA_HOP)).sum(axis=1)
    chroma = np.stack([filters @ loudness for filters in _chroma_filters()])
    chroma /= np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-3
    columns = [
        levels.mean(axis=1),
        levels.std(axis=1),
        10 * rises.mean(axis=1),
        chroma.reshape(-1),
        _self_likeness(rises),
    ]
    return np.concatenate(columns).astype(np.float32)


def _power(window: np.ndarray, frame: int, hop: int) -> np.ndarray:
    """The power spectra [frame / 2 + 1, hops], of which white noise of variance 1 has 1 a bin."""
    import librosa

    short = max(0, frame - len(window))
    spectrum = librosa.stft(np.pad(window, (0, short)), n_fft=frame, hop_length=hop, center=False)
    return np.abs(spectrum) ** 2 / (librosa.filters.get_window("hann", frame) ** 2).sum()


def _self_likeness(rises: np.ndarray) -> np.ndarray:
    """The autocorrelation [40] of the rises [bands, hops]: 1 at lag 0, the most per stretch."""
    import librosa

    rises = rises - rises.mean(axis=1, keepdims=True)
    products = librosa.autocorrelate(rises, axis=1).sum(axis=0)
    overlap = 1 - np.arange(len(products)) / len(products)
    likeness = np.zeros(LAG_RANGE[1])
    found = (products / (products[0] + 1e-6) / overlap)[: LAG_RANGE[1]]
    likeness[: len(found)] = found
    return np.maximum.reduceat(likeness, _lags())


@lru_cache(maxsize=1)
def _lags() -> np.ndarray:
    """Where the 40 stretches of lags begin, in hops: even in the logarithm where hops allow it."""
    even = np.geomspace(*LAG_RANGE, LAGS, endpoint=False)
    return np.maximum(even.round().astype(np.int64), LAG_RANGE[0] + np.arange(LAGS))


@lru_cache(maxsize=1)
def _chroma_filters() -> list[np.ndarray]:
    """Per register, how much a bin belongs to each pitch class: [12, CHROMA_FRAME / 2 + 1]."""
    import librosa

    filters = librosa.filters.chroma(
        sr=SAMPLE_RATE_HZ, n_fft=CHROMA_FRAME, octwidth=None, norm=None, base_c=True
    )
    hz = librosa.fft_frequencies(sr=SAMPLE_RATE_HZ, n_fft=CHROMA_FRAME)
    return [filters * ((hz >= low) & (hz < high)) for low, high in REGISTERS_HZ]
