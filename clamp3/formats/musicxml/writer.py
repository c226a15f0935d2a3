"""Written parts laid out as one ABC tune."""

from clamp3.formats.musicxml.assembly import ScoreState, Voice, WrittenPart
from clamp3.formats.musicxml.partlist import Group, PartInfo
from clamp3.formats.musicxml.text import quoted

_LINE_WIDTH = 100


def write_tune(heading: list[str], tree: Group, parts: list[WrittenPart], state: ScoreState) -> str:
    """The whole tune: heading, %%score, fields, voice definitions and voices."""
    parts = [part for part in parts if part.voices]
    numbers = {}
    for part in parts:
        for voice in part.voices:
            numbers[part.part.info.id, voice.name] = len(numbers) + 1
    lines = ["X:1", *heading]
    score = _score_tokens(tree, {part.part.info.id: part for part in parts}, numbers)
    if len(score) > 1:
        lines.append("%%score " + " ".join(score))
    lines.append("L:1/8")
    if state.tempo:
        lines.append(f"Q:{state.tempo}")
    lines.append(f"M:{state.meter or 'none'}")
    lines.append(f"K:{state.key or 'none'}")
    if state.stemless:
        lines.append("U:s=!stemless!")
    names = _names(tree)
    for part in parts:
        lines += _definitions(part, numbers, names)
    for part in parts:
        for voice in part.voices:
            lines.append(f"V:{numbers[part.part.info.id, voice.name]}")
            lines += _voice_lines(voice, part.barlines)
    return "\n".join(lines) + "\n\n"


def _names(tree: Group) -> dict[str, tuple[str, str]]:
    """Part id → (name, abbreviation), with the name of the group around it."""
    names = {}
    alone = len(tree.members) == 1
    for member in tree.members:
        if isinstance(member, PartInfo):
            own = (member.name, member.abbreviation)
            shared = (tree.name, tree.abbreviation)
            pairs = zip(own, shared, strict=True) if alone else zip(shared, own, strict=True)
            names[member.id] = tuple(":".join(filter(None, pair)) for pair in pairs)
        else:
            names.update(_names(member))
    return names


def _definitions(part: WrittenPart, numbers: dict, names: dict) -> list[str]:
    lines = []
    by_staff = sorted(part.voices, key=lambda voice: voice.staff)
    for index, voice in enumerate(by_staff):
        clef, stafflines = part.clefs.get(voice.staff, ("treble", ""))
        if part.transpose:
            clef += f" transpose={part.transpose}"
        clef += stafflines
        line = f"V:{numbers[part.part.info.id, voice.name]} {clef} "
        if index == 0:
            name, abbreviation = names.get(part.part.info.id, ("", ""))
            labels = []
            if name:
                labels.append(f'nm="{quoted(name)}"')
            if abbreviation:
                labels.append(f'snm="{quoted(abbreviation)}"')
            line += " ".join(labels)
        lines.append(line)
    return lines


def _score_tokens(
    member, parts: dict[str, WrittenPart], numbers: dict, barline: bool = False
) -> list[str]:
    if isinstance(member, PartInfo):
        return _part_tokens(parts[member.id], numbers) if member.id in parts else []
    barline = barline or member.barline
    tokens: list[str] = []
    for index, child in enumerate(member.members):
        if index and barline:
            tokens.append("|")
        tokens += _score_tokens(child, parts, numbers, barline)
    alone = len(member.members) == 1 and isinstance(member.members[0], PartInfo)
    if not member.number or alone:
        return tokens
    opening, closing = "{}" if member.symbol == "brace" else "[]"
    return [opening, *tokens, closing]


def _part_tokens(part: WrittenPart, numbers: dict) -> list[str]:
    staves: dict[int, list[str]] = {}
    for voice in sorted(part.voices, key=lambda voice: voice.staff):
        number = str(numbers[part.part.info.id, voice.name])
        staves.setdefault(voice.staff, []).append(number)
    tokens: list[str] = []
    for voices in staves.values():
        if tokens:
            tokens.append("|")
        tokens += ["(", *voices, ")"] if len(voices) > 1 else voices
    return ["{", *tokens, "}"] if len(staves) > 1 else tokens


def _voice_lines(voice: Voice, barlines: list[str]) -> list[str]:
    lines = []
    line = ""
    first = 0
    for index, (text, barline) in enumerate(zip(voice.bars, barlines, strict=True)):
        bar = f"{text} {barline}{voice.overflows[index]}"
        if line and len(line) + len(bar) >= _LINE_WIDTH:
            lines.append(f"{line} %{index}")
            lines += voice.lyrics.lines(first, index)
            line = ""
            first = index
        line += bar
    lines.append(f"{line} %{len(voice.bars)}")
    lines += voice.lyrics.lines(first, len(voice.bars))
    return lines
