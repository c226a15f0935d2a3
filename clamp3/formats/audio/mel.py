"""What can be heard in a window without a trained model: timbre, harmony, rhythm.

Sums are numpy's own, not matrix products, whose last bits depend on the number of threads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from clamp3.formats.audio.windows import SAMPLE_RATE_HZ, standardise, windows

BANDS = 64
BAND_RANGE_HZ = (30.0, 12_000.0)
FRAME = 1024  # samples: 43 ms, bins of 23 Hz
HOP = 240  # samples: 10 ms
FLOOR = 1.0e-2  # power that counts as silence; white noise of the recording's loudness has 1
CHROMA_FRAME = 8192  # samples: bins of 3 Hz tell semitones apart from C3 on
CHROMA_HOP = 2400  # samples: 100 ms
REGISTERS_HZ = ((60.0, 260.0), (260.0, 4200.0))  # below and above middle C
BLOCK_SAMPLES = 2**16  # transformed at once
LAGS = 40  # distances in time at which onsets are compared
LAG_RANGE = (8, 240)  # in hops: 80 ms to 2.4 s


@dataclass(frozen=True)
class MelFrontEnd:
    """A row of statistics per window.

    Columns, in this order: mean, standard deviation and mean rise of the log-mel bands (64 each);
    pitch classes C to B below and above middle C (12 each); likeness of the onsets to themselves
    at 40 lags from 80 ms to 2.4 s. Values are of the order of 1; silence is 0 throughout.
    """

    window_seconds: float = 5.0
    min_tail_seconds: float = 1.0
    name = "mel"
    feature_size = 3 * BANDS + 12 * len(REGISTERS_HZ) + LAGS

    def features(self, waveform: np.ndarray) -> np.ndarray:
        """[F, 256] float32 of a 24 kHz mono waveform [S]. Raises FormatError (too_short)."""
        parts = windows(standardise(waveform), self.window_seconds, self.min_tail_seconds)
        return np.stack([_row(part) for part in parts])


def _row(window: np.ndarray) -> np.ndarray:
    """The statistics [256] of one window."""
    bands = np.concatenate([_bands(power) for power in _spectra(window, FRAME, HOP)])
    levels = np.log10(1 + bands / FLOOR)  # [hops, bands]
    rises = np.maximum(np.diff(levels, axis=0, prepend=levels[:1]), 0)
    spectra = _spectra(window, CHROMA_FRAME, CHROMA_HOP)
    loudness = sum(np.sqrt(power).sum(axis=0) for power in spectra)
    chroma = (loudness[:, None] * _chroma_filters()).sum(axis=0).reshape(-1, 12)
    chroma /= np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-3
    columns = [
        levels.mean(axis=0),
        levels.std(axis=0),
        10 * rises.mean(axis=0),
        chroma.reshape(-1),
        _self_likeness(rises),
    ]
    return np.concatenate(columns).astype(np.float32)


def _spectra(window: np.ndarray, frame: int, hop: int) -> Iterator[np.ndarray]:
    """Power spectra [hops, frame / 2 + 1], of which white noise of variance 1 has 1 a bin.

    A few hops at a time: fresh memory for all would cost as much as the transform.
    """
    short = frame - len(window)
    frames = sliding_window_view(np.pad(window, (0, short)) if short > 0 else window, frame)[::hop]
    hann = 0.5 - 0.5 * np.cos(np.arange(frame) * (2 * np.pi / frame))
    weights = (hann / np.sqrt((hann**2).sum())).astype(np.float32)
    few = max(1, BLOCK_SAMPLES // frame)
    for start in range(0, len(frames), few):
        spectrum = np.fft.rfft(frames[start : start + few] * weights, axis=1)
        yield spectrum.real**2 + spectrum.imag**2


def _bands(power: np.ndarray) -> np.ndarray:
    """The mel bands [hops, BANDS] of a power spectrum: a bin counts in two bands at most."""
    starts, rising, falling = _slopes()
    upward = np.add.reduceat(power * rising, starts, axis=1)
    downward = np.add.reduceat(power * falling, starts, axis=1)
    return upward[:, :-1] + downward[:, 1:]


@lru_cache(maxsize=1)
def _slopes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first bin between each two edges, and each bin's weights in the band that it lies on
    the way up to and in the one that it lies on the way down from."""
    filters = np.pad(mel_filters(), ((0, 0), (1, 1)))
    bins = np.arange(len(filters))
    starts = np.searchsorted(np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE_HZ), _edges()[:-1])
    between = np.maximum(np.searchsorted(starts, bins, side="right") - 1, 0)
    return starts, filters[bins, between + 1], filters[bins, between]


def _self_likeness(rises: np.ndarray) -> np.ndarray:
    """The autocorrelation [40] of the rises [hops, bands]: 1 at lag 0, the most per stretch."""
    rises = rises - rises.mean(axis=0)
    spectrum = np.fft.rfft(rises, 2 * len(rises), axis=0)
    products = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1))[: len(rises)]
    overlap = 1 - np.arange(len(rises)) / len(rises)
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
def mel_filters() -> np.ndarray:
    """Triangular filters [FRAME / 2 + 1, BANDS] on Slaney's mel scale, each with the sum 1."""
    edges = _edges()
    bins = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE_HZ)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(np.minimum(rising, falling), 0)
    return (triangles / triangles.sum(axis=0)).astype(np.float32)


def _edges() -> np.ndarray:
    """Where the bands begin, peak and end, in Hz [BANDS + 2]."""
    return _mel_to_hz(np.linspace(*_hz_to_mel(np.array(BAND_RANGE_HZ)), BANDS + 2))


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """3 mel are 200 Hz up to 1 kHz; above, 27 mel are a factor of 6.4."""
    high = 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4)
    return np.where(hz < 1000, hz * 3 / 200, high)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


@lru_cache(maxsize=1)
def _chroma_filters() -> np.ndarray:
    """How much a bin belongs to each pitch class of each register, [CHROMA_FRAME / 2 + 1, 24]."""
    bins = np.fft.rfftfreq(CHROMA_FRAME, 1 / SAMPLE_RATE_HZ)[1:, None]
    semitones = 69 + 12 * np.log2(bins / 440)
    distance = (semitones - np.arange(12) + 6) % 12 - 6
    near = np.exp(-0.5 * (distance / 0.35) ** 2)
    filters = [near * ((bins >= low) & (bins < high)) for low, high in REGISTERS_HZ]
    return np.pad(np.concatenate(filters, axis=1), ((1, 0), (0, 0))).astype(np.float32)
