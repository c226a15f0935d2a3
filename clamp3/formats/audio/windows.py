"""A waveform on its way to a front end: one level for all, equal windows."""

from dataclasses import dataclass

import numpy as np

from clamp3.errors import FormatError

SAMPLE_RATE_HZ = 24_000  # what MERT hears, and so everything here


@dataclass(frozen=True)
class Level:
    """Mean and variance of the samples seen so far, in double precision."""

    samples: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def joined(self, waveform: np.ndarray) -> "Level":
        """The level of the samples so far and these [S] together; of none so far, exactly these's.

        Exact up to rounding, however a recording is cut (Chan, Golub and LeVeque 1979).
        """
        if not len(waveform):
            return self
        samples = self.samples + len(waveform)
        old, new = np.float64(self.samples / samples), np.float64(len(waveform) / samples)
        mean, variance = waveform.mean(dtype=np.float64), waveform.var(dtype=np.float64)
        apart = mean - self.mean
        return Level(
            samples,
            self.mean + new * apart if self.samples else mean,
            old * self.variance + new * variance + old * new * apart**2,
        )

    def standardise(self, waveform: np.ndarray) -> np.ndarray:
        """Samples [S] brought from this level to mean 0 and variance 1, as float32.

        The level is that of the whole recording, before it is cut; silence stays silence.
        Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py (do_normalize).
        """
        centred = waveform - np.float64(self.mean)  # in double precision, as a float's are not
        return (centred / np.sqrt(self.variance + 1e-7)).astype(np.float32)


def window_lengths(samples: int, window_seconds: float, min_tail_seconds: float) -> list[int]:
    """How many samples each of the consecutive windows has: all the same, the last maybe fewer.

    What is left at the end is kept from `min_tail_seconds` on and dropped below.
    Raises FormatError (too_short) if not even one window remains.
    Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py.
    Differs: a recording below the limit is refused with a reason; there it was an exception.
    """
    size = round(window_seconds * SAMPLE_RATE_HZ)
    full, rest = divmod(samples, size)
    tail = [rest] if rest and rest >= round(min_tail_seconds * SAMPLE_RATE_HZ) else []
    if not full and not tail:
        seconds = samples / SAMPLE_RATE_HZ
        raise FormatError(
            "too_short", f"the recording lasts {seconds:.2f} s, less than {min_tail_seconds:g} s"
        )
    return [size] * full + tail
