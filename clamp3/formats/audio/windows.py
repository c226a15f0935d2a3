"""A waveform on its way to a front end: one level for all, equal windows."""

import numpy as np

from clamp3.errors import FormatError

SAMPLE_RATE_HZ = 24_000  # what MERT hears, and so everything here


def standardise(waveform: np.ndarray) -> np.ndarray:
    """The waveform [S] with mean 0 and variance 1, as float32; silence stays silence.

    Over the whole recording, before it is cut into windows.
    Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py (do_normalize).
    """
    mean = waveform.mean(dtype=np.float64)
    variance = waveform.var(dtype=np.float64)
    return ((waveform - mean) / np.sqrt(variance + 1e-7)).astype(np.float32)


def windows(
    waveform: np.ndarray,
    window_seconds: float,
    min_tail_seconds: float,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> list[np.ndarray]:
    """Consecutive windows of equal length; the last may be shorter.

    What is left at the end is kept from `min_tail_seconds` on and dropped below.
    Raises FormatError (too_short) if not even one window remains.
    Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py.
    Differs: a recording below the limit is refused with a reason; there it was an exception.
    """
    size = round(window_seconds * sample_rate_hz)
    least = min(round(min_tail_seconds * sample_rate_hz), size)
    parts = [waveform[start : start + size] for start in range(0, len(waveform), size)]
    if parts and len(parts[-1]) < least:
        parts.pop()
    if not parts:
        seconds = len(waveform) / sample_rate_hz
        raise FormatError(
            "too_short", f"the recording lasts {seconds:.2f} s, less than {min_tail_seconds:g} s"
        )
    return parts
