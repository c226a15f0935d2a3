"""Names of the General MIDI programs, official and as people say them."""

from collections.abc import Iterable
from functools import lru_cache

DRUMS = 128  # what data sets call the percussion channel, which has no program of its own

_NAMES = """
Acoustic Grand Piano|Bright Acoustic Piano|Electric Grand Piano|Honky-tonk Piano
Electric Piano 1|Electric Piano 2|Harpsichord|Clavinet
Celesta|Glockenspiel|Music Box|Vibraphone|Marimba|Xylophone|Tubular Bells|Dulcimer
Drawbar Organ|Percussive Organ|Rock Organ|Church Organ|Reed Organ|Accordion|Harmonica
Tango Accordion
Acoustic Guitar (nylon)|Acoustic Guitar (steel)|Electric Guitar (jazz)|Electric Guitar (clean)
Electric Guitar (muted)|Overdriven Guitar|Distortion Guitar|Guitar Harmonics
Acoustic Bass|Electric Bass (finger)|Electric Bass (pick)|Fretless Bass
Slap Bass 1|Slap Bass 2|Synth Bass 1|Synth Bass 2
Violin|Viola|Cello|Contrabass|Tremolo Strings|Pizzicato Strings|Orchestral Harp|Timpani
String Ensemble 1|String Ensemble 2|Synth Strings 1|Synth Strings 2
Choir Aahs|Voice Oohs|Synth Voice|Orchestra Hit
Trumpet|Trombone|Tuba|Muted Trumpet|French Horn|Brass Section|Synth Brass 1|Synth Brass 2
Soprano Sax|Alto Sax|Tenor Sax|Baritone Sax|Oboe|English Horn|Bassoon|Clarinet
Piccolo|Flute|Recorder|Pan Flute|Blown Bottle|Shakuhachi|Whistle|Ocarina
Lead 1 (square)|Lead 2 (sawtooth)|Lead 3 (calliope)|Lead 4 (chiff)
Lead 5 (charang)|Lead 6 (voice)|Lead 7 (fifths)|Lead 8 (bass + lead)
Pad 1 (new age)|Pad 2 (warm)|Pad 3 (polysynth)|Pad 4 (choir)
Pad 5 (bowed)|Pad 6 (metallic)|Pad 7 (halo)|Pad 8 (sweep)
FX 1 (rain)|FX 2 (soundtrack)|FX 3 (crystal)|FX 4 (atmosphere)
FX 5 (brightness)|FX 6 (goblins)|FX 7 (echoes)|FX 8 (sci-fi)
Sitar|Banjo|Shamisen|Koto|Kalimba|Bagpipe|Fiddle|Shanai
Tinkle Bell|Agogo|Steel Drums|Woodblock|Taiko Drum|Melodic Tom|Synth Drum|Reverse Cymbal
Guitar Fret Noise|Breath Noise|Seashore|Bird Tweet|Telephone Ring|Helicopter|Applause|Gunshot
"""
PROGRAM_NAMES = tuple(_NAMES.strip().replace("\n", "|").split("|"))

# Where the official name is not what a person would say.
_SPOKEN = {
    0: "piano",
    1: "bright piano",
    4: "electric piano",
    5: "electric piano",
    24: "nylon-string guitar",
    25: "steel-string guitar",
    26: "jazz guitar",
    27: "clean electric guitar",
    28: "muted electric guitar",
    33: "electric bass",
    34: "electric bass",
    36: "slap bass",
    37: "slap bass",
    38: "synth bass",
    39: "synth bass",
    43: "double bass",
    46: "harp",
    48: "strings",
    49: "strings",
    50: "synth strings",
    51: "synth strings",
    52: "choir",
    53: "voice",
    60: "French horn",
    61: "brass",
    62: "synth brass",
    63: "synth brass",
    64: "soprano saxophone",
    65: "alto saxophone",
    66: "tenor saxophone",
    67: "baritone saxophone",
    69: "English horn",
    87: "bass lead",
    109: "bagpipes",
    128: "drums",
}


def program_name(program: int) -> str:
    """The General MIDI name of a program, counted from 0; `Drums` for 128.

    Raises ValueError for other numbers.
    """
    if program == DRUMS:
        return "Drums"
    if not 0 <= program < len(PROGRAM_NAMES):
        raise ValueError(f"{program} is no General MIDI program (0 to 127, 128 for drums)")
    return PROGRAM_NAMES[program]


def spoken_name(program: int) -> str:
    """The instrument as it would stand in a sentence: `piano`, `alto saxophone`, `square lead`."""
    if program in _SPOKEN:
        return _SPOKEN[program]
    name = program_name(program).lower()
    if "(" not in name:
        return name
    family, _, variety = name.rstrip(")").partition(" (")
    family = family.rstrip(" 0123456789").replace("fx", "sound effect")
    return f"{variety} {family}"


def ensemble(programs: Iterable[int]) -> str:
    """The instruments as a phrase, each once, by program: `violin, viola and cello`.

    They are not counted: a piano score has a track per staff, so two pianos look like one.
    """
    return _ensemble(tuple(programs))


@lru_cache(maxsize=1 << 16)
def _ensemble(programs: tuple[int, ...]) -> str:
    return join_words(list(dict.fromkeys(map(spoken_name, sorted(programs)))))


def join_words(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`; empty for no words."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def with_article(noun: str) -> str:
    """`a jig`, `an air`."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
