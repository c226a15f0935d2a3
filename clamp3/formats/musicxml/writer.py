"""Written parts laid out as one ABC tune."""

from dataclasses import dataclass

from clamp3.formats.musicxml.directions import quoted
from clamp3.formats.musicxml.header import Header
from clamp3.formats.musicxml.partlist import PartGroup, PartInfo
from clamp3.formats.musicxml.voices import Voice, WrittenPart

_LINE_WIDTH = 100


@dataclass
class Numbered:
    """A part with the numbers of its voices, which count over the whole score."""

    part: WrittenPart
    voices: list[tuple[int, Voice]]

    def by_staff(self) -> list[tuple[int, Voice]]:
        return sorted(self.voices, key=lambda pair: pair[1].staff)


def write_tune(
    heading: list[str], tree: PartGroup, parts: list[WrittenPart], header: Header
) -> str:
    """The whole tune: heading, %%score, fields, voice definitions and voices."""
    numbered = _number(parts)
    score = _score_tokens(tree, {item.part.info.id: item for item in numbered})
    lines = ["X:1", *heading]
    if len(score) > 1:
        lines.append("%%score " + " ".join(score))
    lines.append("L:1/8")
    if header.tempo:
        lines.append(f"Q:{header.tempo}")
    lines += [f"M:{header.meter or 'none'}", f"K:{header.key or 'none'}"]
    if header.stemless:
        lines.append("U:s=!stemless!")
    labels = _labels(tree)
    for item in numbered:
        lines += _definitions(item, labels.get(item.part.info.id, ""))
    for item in numbered:
        for number, voice in item.voices:
            lines += [f"V:{number}", *_voice_lines(voice, item.part.barlines)]
    return "\n".join(lines) + "\n\n"


def _number(parts: list[WrittenPart]) -> list[Numbered]:
    numbered = []
    count = 0
    for part in parts:
        if part.voices:
            numbered.append(Numbered(part, list(enumerate(part.voices, start=count + 1))))
            count += len(part.voices)
    return numbered


def _labels(tree: PartGroup) -> dict[str, str]:
    """Part id → `nm="…" snm="…"`, with the names of the bracket around the part.

    A bracket's name stands before its parts' names, but behind that of a single part.
    """
    labels = {}
    alone = len(tree.members) == 1
    for member in tree.members:
        if isinstance(member, PartGroup):
            labels.update(_labels(member))
            continue
        name = [tree.name, member.name]
        abbreviation = [tree.abbreviation, member.abbreviation]
        fields = []
        for tag, words in (("nm", name), ("snm", abbreviation)):
            label = ":".join(word for word in (reversed(words) if alone else words) if word)
            if label:
                fields.append(f'{tag}="{quoted(label)}"')
        labels[member.id] = " ".join(fields)
    return labels


def _definitions(item: Numbered, label: str) -> list[str]:
    """The V: lines of a part, each with its clef; the first carries the names."""
    lines = []
    signatures = item.part.signatures
    for number, voice in item.by_staff():
        clef, details = signatures.opening_clefs.get(voice.staff, ("treble", ""))
        drums = item.part.percussion
        unpitched = clef.startswith("perc") or drums.maps(voice.name)
        words = [f"V:{number}", clef]
        if unpitched and not clef.startswith("perc"):
            words.append("map=perc")
        if signatures.transpose:
            words.append(f"transpose={signatures.transpose}")
        if voice.nostems and clef.startswith("tab"):
            details += " nostems"
        lines.append(" ".join(words) + details + " " + label)
        if unpitched:
            one_line = " stafflines=1" in details
            lines += ["K:none", *drums.lines(voice.name, clef, one_line=one_line)]
        label = ""
    return lines


def _score_tokens(
    member: PartInfo | PartGroup, parts: dict[str, Numbered], barline: bool = False
) -> list[str]:
    """The tokens of %%score; bar lines run through a bracket if it or an outer one says so."""
    if isinstance(member, PartInfo):
        return _part_tokens(parts[member.id]) if member.id in parts else []
    barline = barline or member.barline
    tokens: list[str] = []
    for index, child in enumerate(member.members):
        if index and barline:
            tokens.append("|")
        tokens += _score_tokens(child, parts, barline)
    alone = len(member.members) == 1 and isinstance(member.members[0], PartInfo)
    if not member.number or alone:
        return tokens
    opening, closing = "{}" if member.symbol == "brace" else "[]"
    if barline and not member.members:
        return [closing]
    return [opening, *tokens, closing]


def _part_tokens(item: Numbered) -> list[str]:
    staves: dict[int, list[str]] = {}
    for number, voice in item.by_staff():
        staves.setdefault(voice.staff, []).append(str(number))
    tokens: list[str] = []
    for voices in staves.values():
        if tokens:
            tokens.append("|")
        tokens += ["(", *voices, ")"] if len(voices) > 1 else voices
    return ["{", *tokens, "}"] if len(staves) > 1 else tokens


def _voice_lines(voice: Voice, barlines: list[str]) -> list[str]:
    """Bars in lines of less than 100 characters, each numbered by its last bar."""
    lines = []
    line = ""
    first = 0
    for index, text in enumerate(voice.bars):
        bar = f"{text} {barlines[index]}{voice.overflows[index]}"
        if line and len(line) + len(bar) >= _LINE_WIDTH:
            lines += [f"{line} %{index}", *voice.lyrics.lines(first, index)]
            line = ""
            first = index
        line += bar
    last = len(voice.bars)
    return [*lines, f"{line} %{last}", *voice.lyrics.lines(first, last)]
