"""Who plays a piece and how fast: the choices that scores of melodies leave to the players.

The MusicXML and the MIDI file of a piece carry the same choice, so a text that names an
instrument says what is there.
"""

from fractions import Fraction

from clamp3.randomness import stable_fraction, stable_hash

# General MIDI programs, from 0.
_SOLOISTS = (
    21,  # accordion
    22,  # harmonica
    40,  # violin
    46,  # harp
    73,  # flute
    78,  # whistle
    105,  # banjo
    109,  # bagpipe
)
_QUARTETS = (
    (19, 19, 19, 19),  # church organ
    (48, 48, 48, 48),  # string ensemble
    (52, 52, 52, 52),  # choir
    (40, 40, 41, 42),  # violins, viola, cello
    (56, 60, 57, 58),  # trumpet, French horn, trombone, tuba
    (73, 68, 71, 70),  # flute, oboe, clarinet, bassoon
)

# Dances keep their pace whether they are written in 2/4 or in 4/4 with values twice as long.
_BARS_PER_MINUTE = {
    "reel": 54,
    "jig": 58,
    "slip jig": 42,
    "hornpipe": 42,
    "clog": 36,
    "strathspey": 32,
    "waltz": 46,
}
_QUARTERS_PER_MINUTE = {"air": 76, "chorale": 72}
_TEMPO_SPREAD = 0.1


def choose_programs(kind: str, key: str, seed: int) -> tuple[int, ...]:
    """The General MIDI programs from the highest part down: one for a tune, four for a chorale."""
    if kind == "chorale":
        return _QUARTETS[stable_hash(seed, "demo ensemble", key) % len(_QUARTETS)]
    return (_SOLOISTS[stable_hash(seed, "demo ensemble", key) % len(_SOLOISTS)],)


def choose_tempo(kind: str, bar_quarters: Fraction, key: str, seed: int) -> int:
    """Quarter notes a minute, as usual for the kind of tune and a little faster or slower."""
    if kind in _BARS_PER_MINUTE:
        usual = _BARS_PER_MINUTE[kind] * bar_quarters
    else:
        usual = _QUARTERS_PER_MINUTE[kind]
    return round(usual * (1 + _TEMPO_SPREAD * (2 * stable_fraction(seed, "demo tempo", key) - 1)))
