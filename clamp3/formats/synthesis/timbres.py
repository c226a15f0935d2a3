"""How the General MIDI programs and the drums sound: spectra and envelopes, all by formula.

Tables are rounded to a fixed grid: the last bit of a sine may differ between two processors, and a
rendered file must not.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from clamp3.randomness import generator

TABLE_BITS = 14  # one period of a waveform in 2^14 samples: error 80 dB down
GRID = 2.0**22
NYQUIST_SHARE = 0.9  # no partial above this share of the Nyquist frequency
PARTIALS = 16  # the most that a timbre has
RESONANCE_HZ = 350.0  # the lowest resonance of an instrument's body
RESONANCE = 4.0  # how much louder a partial is made there


@dataclass(frozen=True)
class Timbre:
    """Two layers of partials, a body and a brightness that fades sooner, under one envelope."""

    partials: int
    slope: float  # partial k has the amplitude k ** -slope, about
    even: float  # share left of the even partials: a clarinet has few
    bright: float  # of the second layer, whose partials fall off half as steeply
    attack_seconds: float
    decay_seconds: float | None  # time constant at A4; None: it sounds on
    release_seconds: float


FAMILIES = (
    Timbre(12, 1.6, 1.0, 0.5, 0.004, 1.1, 0.12),  # piano
    Timbre(6, 2.4, 0.3, 0.6, 0.002, 0.5, 0.20),  # chromatic percussion
    Timbre(9, 0.9, 0.9, 0.0, 0.010, None, 0.04),  # organ
    Timbre(14, 1.3, 0.8, 0.8, 0.003, 0.6, 0.08),  # guitar
    Timbre(10, 1.5, 0.8, 0.3, 0.006, 0.9, 0.06),  # bass
    Timbre(16, 1.1, 1.0, 0.3, 0.050, None, 0.10),  # solo strings
    Timbre(12, 1.4, 1.0, 0.1, 0.090, None, 0.20),  # ensemble, voices
    Timbre(16, 0.8, 1.0, 0.6, 0.030, None, 0.06),  # brass
    Timbre(12, 1.0, 0.4, 0.3, 0.025, None, 0.05),  # reed
    Timbre(4, 2.2, 0.7, 0.0, 0.030, None, 0.06),  # pipe
    Timbre(16, 1.0, 0.5, 0.5, 0.005, None, 0.05),  # synthesiser lead
    Timbre(8, 1.7, 1.0, 0.0, 0.200, None, 0.40),  # synthesiser pad
    Timbre(10, 1.2, 0.6, 0.6, 0.100, 2.0, 0.30),  # synthesiser effects
    Timbre(14, 1.0, 0.9, 0.9, 0.002, 0.4, 0.06),  # plucked strings of the world
    Timbre(5, 1.8, 0.2, 0.9, 0.001, 0.2, 0.10),  # tuned percussion
    Timbre(16, 0.5, 1.0, 0.9, 0.050, 0.8, 0.20),  # sound effects
)


# Members that are played in another way than the rest of their family.
MEMBERS = {
    45: Timbre(10, 1.5, 0.9, 0.4, 0.003, 0.15, 0.05),  # pizzicato
    46: Timbre(10, 1.7, 1.0, 0.5, 0.003, 1.2, 0.30),  # harp
    47: Timbre(4, 1.2, 0.4, 0.2, 0.004, 0.5, 0.30),  # timpani
    109: Timbre(16, 0.7, 1.0, 0.0, 0.020, None, 0.02),  # bagpipe
    110: FAMILIES[5],  # fiddle
    111: Timbre(16, 0.8, 0.9, 0.3, 0.020, None, 0.05),  # shanai
}


def timbre_of(program: int) -> Timbre:
    """The timbre of a General MIDI program, 0 to 127."""
    return MEMBERS.get(program, FAMILIES[program // 8])


def tone(program: int, pitch: int, samples: int, sample_rate_hz: int) -> np.ndarray:
    """A key held for `samples`, float32 [samples], without its release."""
    timbre = timbre_of(program)
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    audible = int(NYQUIST_SHARE * sample_rate_hz / 2 // frequency)
    body, bright = _waveforms(program, pitch, min(timbre.partials, audible))
    step = np.uint32(round(frequency / sample_rate_hz * 2**32) % 2**32)
    phase = (np.arange(samples, dtype=np.uint32) * step) >> np.uint32(32 - TABLE_BITS)
    octave = pitch // 12 if timbre.decay_seconds else 0
    slow, fast = _envelopes(timbre, octave, _padded(samples), sample_rate_hz)
    wave = body[phase]
    wave *= slow[:samples]
    if timbre.bright:
        shimmer = bright[phase]
        shimmer *= fast[:samples]
        wave += shimmer
    return wave


def release(program: int, sample_rate_hz: int) -> np.ndarray:
    """The factors that a tone goes down by after its key is up."""
    return _release(timbre_of(program).release_seconds, sample_rate_hz)


@lru_cache(maxsize=32)
def _release(seconds: float, sample_rate_hz: int) -> np.ndarray:
    size = max(1, round(seconds * sample_rate_hz))
    return _on_grid((1 - np.arange(1, size + 1) / size) ** 2)


def _padded(samples: int) -> int:
    """A length in which many notes can share one envelope."""
    return 1 << max(12, (samples - 1).bit_length())


@lru_cache(maxsize=256)
def _waveforms(program: int, pitch: int, partials: int) -> tuple[np.ndarray, np.ndarray]:
    """One period of the body and of the brightness; the fundamental stays the loudest partial."""
    timbre = timbre_of(program)
    number = np.arange(1, partials + 1)
    shape = np.where(number % 2 == 0, timbre.even, 1.0) * _resonance(program, pitch, number)
    slope = timbre.slope * (0.8 + 0.06 * _member(program))
    body = shape * number**-slope
    bright = shape * number ** (-slope / 2) * timbre.bright / 2 * (number > 1)
    sines = _sines()[:, :partials]
    return (
        _on_grid(sines @ np.minimum(body, np.where(number > 1, 0.7, 1.0))),
        _on_grid(sines @ np.minimum(bright, 0.2)),
    )


def _member(program: int) -> int:
    """Which of the eight of its family, mixed: neighbours are most alike in name, not in sound."""
    return 5 * program % 8


def _resonance(program: int, pitch: int, number: np.ndarray) -> np.ndarray:
    """How the instrument's body favours partials: at a frequency of its own in its family."""
    centre = RESONANCE_HZ * 2 ** (0.45 * _member(program))
    octaves = np.log2(number * 440 / centre) + (pitch - 69) / 12
    return np.where(number > 1, 1 + RESONANCE * np.exp(-((octaves / 0.5) ** 2)), 1.0)


@lru_cache(maxsize=1)
def _sines() -> np.ndarray:
    """One period of all partials, [2 ** TABLE_BITS, PARTIALS]."""
    angles = np.arange(2**TABLE_BITS) * (2 * np.pi / 2**TABLE_BITS)
    return np.sin(angles[:, None] * np.arange(1, PARTIALS + 1))


@lru_cache(maxsize=24)
def _envelopes(
    timbre: Timbre, octave: int, samples: int, rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of the body and of the brightness; high notes fade sooner."""
    seconds = np.arange(samples) / rate
    attack = np.minimum(seconds / timbre.attack_seconds, 1)
    if timbre.decay_seconds is None:
        return _on_grid(attack), _on_grid(attack * (0.5 + 0.5 * np.exp(-seconds / 0.15)))
    constant = timbre.decay_seconds * 2 ** ((5 - octave) / 2)
    return (
        _on_grid(attack * np.exp(-seconds / constant)),
        _on_grid(attack * np.exp(-seconds / (0.25 * constant))),
    )


@lru_cache(maxsize=128)
def drum(pitch: int, sample_rate_hz: int) -> np.ndarray:
    """A stroke of General MIDI percussion, float32, to its end."""
    frequency, drop, body, noise, brightness, decay = _drum_recipe(pitch)
    seconds = np.arange(round(6 * decay * sample_rate_hz)) / sample_rate_hz
    angle = (
        2 * np.pi * frequency * (seconds + drop * decay / 4 * (1 - np.exp(-4 * seconds / decay)))
    )
    hiss = generator("drum", pitch).uniform(-1, 1, len(seconds) + brightness)
    hiss = np.diff(hiss, n=brightness) / 2**brightness
    return _on_grid((body * np.sin(angle) + noise * hiss) * np.exp(-seconds / decay))


def _drum_recipe(pitch: int) -> tuple[float, float, float, float, int, float]:
    """(frequency, how far it drops, tone, noise, times high-passed, time constant in seconds)."""
    if pitch in (35, 36):  # bass drum
        return 50.0, 3.0, 1.0, 0.1, 0, 0.09
    if pitch in (38, 39, 40):  # snare, clap
        return 190.0, 0.5, 0.4, 0.8, 0, 0.07
    if pitch in (41, 43, 45, 47, 48, 50):  # toms
        return 80.0 * 2 ** ((pitch - 41) / 9), 0.8, 1.0, 0.15, 0, 0.12
    if pitch in (42, 44, 54, 69, 70, 82):  # closed hi-hat, shakers
        return 6000.0, 0.0, 0.05, 1.0, 2, 0.02
    if pitch in (46, 49, 51, 52, 53, 55, 57, 59):  # open hi-hat, cymbals
        return 5000.0, 0.0, 0.05, 0.8, 2, 0.10 if pitch == 46 else 0.30
    return 220.0 * 2 ** ((pitch - 60) / 12), 0.3, 0.8, 0.3, 1, 0.05  # hand drums, blocks


def _on_grid(values: np.ndarray) -> np.ndarray:
    return (np.round(values * GRID) / GRID).astype(np.float32)
