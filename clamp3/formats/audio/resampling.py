"""From any sample rate to another, block by block: the originals' kernel, or soxr."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from clamp3.errors import ConfigError

ZERO_CROSSINGS = 6  # of the sinc, on each side
ROLLOFF = 0.99  # cut-off as a share of the lower Nyquist frequency


def resample(waveform: np.ndarray, from_hz: int, to_hz: int, resampler: str = "sinc") -> np.ndarray:
    """The waveform [S] at another rate, float32 [ceil(S · to / from)]."""
    return np.concatenate(list(resample_blocks([waveform], from_hz, to_hz, resampler)))


def resample_blocks(
    blocks: Iterable[np.ndarray], from_hz: int, to_hz: int, resampler: str = "sinc"
) -> Iterator[np.ndarray]:
    """One long float32 waveform, given in blocks, at another rate, in blocks of other lengths.

    `sinc` is a Hann-windowed sinc with 6 zero crossings and roll-off 0.99, which the published
    models were trained behind; `soxr` is soxr's HQ, with far fewer aliases. Where the blocks are
    cut makes no difference.
    Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py
    (torchaudio.transforms.Resample with its defaults).
    """
    if from_hz == to_hz:
        return iter(blocks)
    if resampler == "soxr":
        return _soxr(blocks, from_hz, to_hz)
    if resampler != "sinc":
        raise ConfigError(f"resampler: {resampler}; expected sinc or soxr")
    divisor = math.gcd(from_hz, to_hz)
    return _sinc(blocks, from_hz // divisor, to_hz // divisor)


def _soxr(blocks: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    import soxr

    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _sinc(blocks: Iterable[np.ndarray], step: int, phases: int) -> Iterator[np.ndarray]:
    """Each period of `step` input samples becomes `phases` output samples.

    `held` is the input from the first sample on that the next period needs; before its
    beginning and after its end the input is zero.
    """
    starts, taps, before = _kernel(step, phases)
    reach = int(starts[-1]) + taps.shape[1]  # input samples that one period needs
    held = np.zeros(before, np.float32)
    read = written = 0
    for block in chain(blocks, [None]):
        read += 0 if block is None else len(block)
        held = np.concatenate(
            [held, np.zeros(reach + step, np.float32) if block is None else block]
        )
        periods = max(0, (len(held) - reach) // step + 1)
        wanted = -(-read * phases // step)  # rounded up: the end of the input is kept
        made = _periods(held, periods, step, phases)[: wanted - written]
        yield made
        written += len(made)
        held = held[periods * step :]


def _periods(held: np.ndarray, periods: int, step: int, phases: int) -> np.ndarray:
    """`periods` periods of output. A phase needs the same taps in each of them."""
    made = np.empty((periods, phases), np.float32)
    if periods:
        starts, taps, _ = _kernel(step, phases)
        for phase in range(phases):
            rows = sliding_window_view(held[starts[phase] :], taps.shape[1])[::step][:periods]
            made[:, phase] = rows @ taps[phase]
    return made.reshape(-1)


@lru_cache(maxsize=4)
def _kernel(step: int, phases: int) -> tuple[np.ndarray, np.ndarray, int]:
    """For each phase its first input sample and its taps [phases, T], float32.

    Also how many zeros stand before the input so that the first sample is never negative.
    """
    cutoff = ROLLOFF * min(step, phases) / step  # as a share of the input's Nyquist frequency
    half_width = ZERO_CROSSINGS / cutoff
    centres = np.arange(phases) * step / phases
    starts = np.ceil(centres - half_width).astype(np.int64)
    offsets = starts[:, None] + np.arange(math.floor(2 * half_width) + 1) - centres[:, None]
    crossings = np.clip(offsets * cutoff, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    hann = np.cos(crossings * np.pi / (2 * ZERO_CROSSINGS)) ** 2
    taps = (np.sinc(crossings) * hann * cutoff).astype(np.float32)
    return starts - starts[0], taps, int(-starts[0])
