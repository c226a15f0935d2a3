"""Keys, meters and clefs as ABC names."""

from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.numbers import read_int

# fmt: off
_TONICS = (
    "Fb", "Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B",
    "F#", "C#", "G#", "D#", "A#", "E#", "B#",
)
# fmt: on
_MODE_SHIFTS = {
    "major": (0, ""),
    "ionian": (0, ""),
    "mixolydian": (1, "mix"),
    "dorian": (2, "dor"),
    "minor": (3, "min"),
    "aeolian": (3, "aeo"),
    "phrygian": (4, "phr"),
    "locrian": (5, "loc"),
    "lydian": (-1, "lyd"),
}
_MOST_OCTAVES = 10
_CLEFS = {
    ("G", "2"): "treble",
    ("F", "4"): "bass",
    ("F", "3"): "bass3",
    ("C", "3"): "alto",
    ("C", "4"): "tenor",
    ("C", "1"): "alto1",
    ("C", "2"): "alto2",
}


def read_key(element: Element) -> tuple[str, int] | None:
    """(ABC key, fifths) of a <key>; None if it is no traditional key signature."""
    fifths = element.findtext("fifths")
    if fifths is None:
        return None
    fifths = read_int(fifths, 0)
    mode = (element.findtext("mode") or "major").strip().lower()
    shift, suffix = _MODE_SHIFTS.get(mode, (0, ""))
    return _TONICS[(fifths + shift + 8) % len(_TONICS)] + suffix, fifths


def read_time(element: Element) -> str | None:
    """The ABC meter of a <time>: `4/4`, `2+3/8`; None for a free one."""
    beats = (element.findtext("beats") or "").strip()
    beat_type = (element.findtext("beat-type") or "").strip()
    if not beats or not beat_type:
        return None
    return f"{beats}/{beat_type}"


def read_clef(element: Element) -> tuple[str, int]:
    """(ABC clef, octaves that the staff sounds away from its clef's letter names)."""
    sign = (element.findtext("sign") or "").strip()
    line = (element.findtext("line") or "").strip()
    octaves = read_int(element.findtext("clef-octave-change"), 0)
    octaves = min(max(octaves, -_MOST_OCTAVES), _MOST_OCTAVES)
    name = _CLEFS.get((sign, line), "")
    if sign == "percussion":
        name = "perc"
    elif sign == "TAB":
        name = "tab"
    suffix = {-1: "-8", 1: "+8", -2: "-15", 2: "+15"}.get(octaves, "")
    return name + suffix, octaves


def read_transpose(element: Element) -> int:
    """Semitones from written to sounding pitch."""
    chromatic = read_int(element.findtext("chromatic"), 0)
    return chromatic + 12 * read_int(element.findtext("octave-change"), 0)
