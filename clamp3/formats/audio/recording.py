"""A recording in standardised windows, of which long ones are never in memory as a whole."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clamp3.errors import FormatError
from clamp3.formats.audio.decoding import LOUDEST, RATES_HZ, decode_blocks
from clamp3.formats.audio.resampling import resample
from clamp3.formats.audio.windows import SAMPLE_RATE_HZ, Level, window_lengths

KEPT_SECONDS = 600  # 58 MB; longer recordings are decoded twice instead


@dataclass(frozen=True, eq=False)
class Recording:
    """24 kHz mono sound whose level is known: `waveform` [S] float32, or where to decode it from.

    It can be pickled, so that one process reads (the first pass) and another takes the windows.
    """

    level: Level
    waveform: np.ndarray | None = None
    source: Path | bytes | None = None
    resampler: str = "sinc"

    @classmethod
    def read(cls, source: Path | bytes, resampler: str = "sinc") -> "Recording":
        """A sound file, decoded once from beginning to end. Raises FormatError: decode_blocks's.

        Up to KEPT_SECONDS the samples are kept; of more only the level, and `windows` decodes the
        file again.
        """
        level, kept = Level(), []
        for block in decode_blocks(source, SAMPLE_RATE_HZ, resampler):
            level = level.joined(block)
            kept.append(block)
            if level.samples > KEPT_SECONDS * SAMPLE_RATE_HZ:
                kept.clear()
        if sum(map(len, kept)) < level.samples:
            return cls(level, source=source, resampler=resampler)
        return cls.of(np.concatenate(kept))

    @classmethod
    def of(
        cls, waveform: np.ndarray, sample_rate_hz: int = SAMPLE_RATE_HZ, resampler: str = "sinc"
    ) -> "Recording":
        """A mono waveform [S], full scale ±1.

        Raises FormatError: bad_waveform, bad_sample_rate, no_samples, not_finite.
        """
        if waveform.ndim != 1:
            shape = list(waveform.shape)
            raise FormatError("bad_waveform", f"a waveform of shape {shape}, expected [samples]")
        if not RATES_HZ[0] <= sample_rate_hz <= RATES_HZ[1] or sample_rate_hz % 1:
            raise FormatError("bad_sample_rate", f"a sample rate of {sample_rate_hz} Hz")
        if not len(waveform):
            raise FormatError("no_samples", "the waveform holds no samples")
        if not (np.abs(waveform) < LOUDEST).all():
            raise FormatError("not_finite", "the waveform holds NaN, infinity or huge values")
        waveform = waveform.astype(np.float32, copy=False)
        waveform = resample(waveform, int(sample_rate_hz), SAMPLE_RATE_HZ, resampler)
        return cls(Level().joined(waveform), waveform)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.level.samples / SAMPLE_RATE_HZ

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        if self.waveform is not None:
            return self.waveform.nbytes
        return len(self.source) if isinstance(self.source, bytes) else 0

    def windows(self, window_seconds: float, min_tail_seconds: float) -> Iterator[np.ndarray]:
        """Its windows [S], float32, one after the other: `window_lengths` long, standardised.

        Silence stays silence. Raises FormatError: too_short at once; while it is decoded again,
        decode_blocks's.
        """
        lengths = window_lengths(self.level.samples, window_seconds, min_tail_seconds)
        return self._cut(lengths)

    def _cut(self, lengths: list[int]) -> Iterator[np.ndarray]:
        with closing(self._blocks()) as blocks:
            held = np.empty(0, np.float32)
            for length in lengths:
                while len(held) < length:
                    block = next(blocks, None)
                    if block is None:
                        raise FormatError("unreadable_file", "it became shorter while it was read")
                    held = np.concatenate([held, block]) if len(held) else block
                yield self.level.standardise(held[:length])
                held = held[length:]

    def _blocks(self) -> Iterator[np.ndarray]:
        if self.waveform is not None:
            yield self.waveform
        else:
            yield from decode_blocks(self.source, SAMPLE_RATE_HZ, self.resampler)
