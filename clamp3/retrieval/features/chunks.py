"""Chunks of recordings at any rate, as CLAP-MusicGen reads them."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np

from clamp3.config import RecordingChunks
from clamp3.errors import FormatError
from clamp3.formats.audio import decode_blocks


def read_chunks(
    source: Path | bytes, plan: RecordingChunks, sample_rate_hz: int, resampler: str = "sinc"
) -> list[np.ndarray]:
    """The chunks [S] of a sound file, mono float32, one after the other; no more of it is decoded.

    All have `plan.chunk_seconds` but the last, which has at least `plan.min_seconds`.

    Raises FormatError: decode_blocks's, and too_short.
    Source: yuhuacheng/clap_musicgen@af54eac src/preprocessor.py
    Differs: what follows a chunk takes part in resampling its end.
    """
    needed = _samples(plan, sample_rate_hz)[2]
    with closing(decode_blocks(source, sample_rate_hz, resampler)) as blocks:
        return cut_chunks(_first(blocks, needed), plan, sample_rate_hz)


def cut_chunks(
    waveform: np.ndarray, plan: RecordingChunks, sample_rate_hz: int
) -> list[np.ndarray]:
    """The chunks [S] of a waveform [S], as `read_chunks` gives them. Raises FormatError."""
    start, length, needed = _samples(plan, sample_rate_hz)
    least = max(1, round(plan.min_seconds * sample_rate_hz))
    ends = min(needed, len(waveform))
    cut = [waveform[begin : min(begin + length, ends)] for begin in range(start, ends, length)]
    chunks = [chunk for chunk in cut if len(chunk) >= min(least, length)]
    if not chunks:
        raise FormatError(
            "too_short",
            f"{len(waveform) / sample_rate_hz:.3f} s; expected at least {plan.min_seconds:g} s "
            f"from second {plan.start_seconds:g} on",
        )
    return chunks


def _samples(plan: RecordingChunks, rate: int) -> tuple[int, int, int]:
    """Where chunks begin, how long one is, where the last one ends."""
    start, length = round(plan.start_seconds * rate), max(1, round(plan.chunk_seconds * rate))
    return start, length, start + plan.chunks * length


def _first(blocks: Iterable[np.ndarray], count: int) -> np.ndarray:
    """The first samples of a recording, or all it has."""
    held, total = [np.empty(0, np.float32)], 0
    for block in blocks:
        held.append(block)
        total += len(block)
        if total >= count:
            break
    return np.concatenate(held)[:count]
