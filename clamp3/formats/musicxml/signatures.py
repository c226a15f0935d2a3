"""The keys, meters, clefs and transposition of one part as its measures go by."""

from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.header import Header
from clamp3.formats.musicxml.numbers import read_int
from clamp3.formats.musicxml.pitch import key_alterations

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


class Signatures:
    """What <attributes> say, split into header, voice definitions and inline fields.

    opening_clefs  staff → (clef, rest of its definition), as a V: line has them
    octaves        staff → octaves that its clef adds to what is written
    alterations    letter → alteration in the key
    tablatures     the staves whose clef is TAB
    inline         fields for the front of the current bar: `[K:G][M:3/4]`
    """

    def __init__(self, header: Header):
        self.header = header
        self.opening_clefs: dict[int, tuple[str, str]] = {}
        self.octaves: dict[int, int] = {}
        self.alterations: dict[str, int] = {}
        self.tablatures: set[int] = set()
        self.transpose = 0
        self.inline = ""

    def start_bar(self) -> None:
        self.inline = ""

    def read(self, element: Element, opening: bool) -> list[tuple[int, str]]:
        """Take in an <attributes>; (staff, clef) for every clef that changes in the bar.

        `opening`: at the very start of the part, where all goes to the header. Of several
        keys or meters in one element, for single staves, the first holds for all.
        """
        transpose = element.find("transpose")
        if transpose is not None and opening:
            self.transpose = read_transpose(transpose)
        key = element.find("key")
        if key is not None:
            self._read_key(key, opening, _changes_letters(transpose))
        time = element.find("time")
        if time is not None:
            self._read_meter(time, opening)
        return self._read_clefs(element, transpose, opening)

    def _read_key(self, element: Element, opening: bool, transposed: bool) -> None:
        key = read_key(element)
        if key is None:
            return
        name, fifths = key
        self.alterations = key_alterations(fifths)
        if opening and self.header.key is None and not transposed:
            self.header.key = name
        elif not opening or name != self.header.key:
            self.inline += f"[K:{name}]"

    def _read_meter(self, element: Element, opening: bool) -> None:
        """The last part's opening meter is the header's: the original never writes it inline."""
        meter = read_time(element)
        if meter is None:
            return
        if opening:
            self.header.meter = meter
        else:
            self.inline += f"[M:{meter}]"

    def _read_clefs(
        self, element: Element, transpose: Element | None, opening: bool
    ) -> list[tuple[int, str]]:
        details_staff, details = _staff_details(element)
        semitones = read_transpose(transpose) if transpose is not None else 0
        transposed = f" transpose={semitones}" if semitones else ""
        changes = []
        for child in element.findall("clef"):
            staff = read_int(child.get("number"), 1)
            name, self.octaves[staff] = read_clef(child)
            (self.tablatures.add if name.startswith("tab") else self.tablatures.discard)(staff)
            suffix = details if staff == details_staff else ""
            if opening:
                self.opening_clefs[staff] = name, suffix
            else:
                changes.append((staff, name + transposed + suffix))
        return changes


def _changes_letters(transpose: Element | None) -> bool:
    """Whether an instrument's notes have other names than they sound, not just other octaves."""
    return transpose is not None and read_int(transpose.findtext("chromatic"), 0) != 0


def _staff_details(element: Element) -> tuple[int, str]:
    """(staff, ` stafflines=6 strings=E2,A2,… capo=2`) of the first <staff-details>."""
    details = element.find("staff-details")
    if details is None:
        return 0, ""
    lines = read_int(details.findtext("staff-lines"), -1)
    strings = ",".join(
        (tuning.findtext("tuning-step") or "") + (tuning.findtext("tuning-octave") or "")
        for tuning in details.findall("staff-tuning")
    )
    capo = details.findtext("capo")
    text = f" stafflines={lines}" if lines >= 0 else ""
    text += f" strings={strings}" if strings else ""
    text += f" capo={capo}" if capo else ""
    return read_int(details.get("number"), 1), text


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
