"""Waveforms of the tests, and what the readers of sound make of one, plainly."""

import numpy as np

RATE = 24_000


def sine(hertz=440.0, rate=RATE, seconds=2.0):
    angles = 2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate
    return np.sin(angles).astype(np.float32)


def plain_standard(waveform):
    """The waveform with mean 0 and variance 1."""
    mean, variance = waveform.mean(dtype=np.float64), waveform.var(dtype=np.float64)
    return ((waveform - mean) / np.sqrt(variance + 1e-7)).astype(np.float32)


def plain_windows(waveform, seconds, tail_seconds):
    """Windows of the standardised waveform, the last maybe shorter."""
    size = round(seconds * RATE)
    standard = plain_standard(waveform)
    parts = [standard[start : start + size] for start in range(0, len(standard), size)]
    return parts if len(parts[-1]) >= round(tail_seconds * RATE) else parts[:-1]
