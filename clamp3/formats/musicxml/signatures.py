"""The keys, meters, clefs and transposition of one part as its measures go by."""

from xml.etree.ElementTree import Element

from clamp3.formats.musicxml import attributes
from clamp3.formats.musicxml.header import Header
from clamp3.formats.musicxml.numbers import read_int
from clamp3.formats.musicxml.pitch import key_alterations


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
            self.transpose = attributes.read_transpose(transpose)
        key = element.find("key")
        if key is not None:
            self._read_key(key, opening, _changes_letters(transpose))
        time = element.find("time")
        if time is not None:
            self._read_meter(time, opening)
        return self._read_clefs(element, transpose, opening)

    def _read_key(self, element: Element, opening: bool, transposed: bool) -> None:
        key = attributes.read_key(element)
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
        meter = attributes.read_time(element)
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
        semitones = attributes.read_transpose(transpose) if transpose is not None else 0
        transposed = f" transpose={semitones}" if semitones else ""
        changes = []
        for child in element.findall("clef"):
            staff = read_int(child.get("number"), 1)
            name, self.octaves[staff] = attributes.read_clef(child)
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
