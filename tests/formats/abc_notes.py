"""A plain reader of the notes in standard ABC, written after the ABC 2.1 standard.

It shares nothing with the package: no bar cutter, no key table, no length arithmetic. What it
does not know it refuses (ValueError), so that no character passes unread.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple


class Sound(NamedTuple):
    """One note head. `onset` and `quarters` are in quarter notes, the onset within its bar.

    A grace note lasts 0 quarters. `alter` is in semitones, 0 for percussion. `tied`: a tie to
    the next note starts here.
    """

    onset: Fraction
    quarters: Fraction
    step: str
    octave: int
    alter: Fraction
    tied: bool


class Bar(NamedTuple):
    """One voice in one bar: its sounds, sorted, and how many quarters it lasts.

    `plain`: for sounds whose alteration comes from a tie, what they were without the tie.
    """

    sounds: list[Sound]
    quarters: Fraction
    plain: dict[Sound, Sound]


TOKEN = re.compile(
    r'(?P<text>"(?:\\.|[^"\\])*")|(?P<mark>![^!]*!)|\[(?P<field>[A-Z]):(?P<value>[^\]]*)\]'
    r"|(?P<bar>:*\|+[\]|:]*|::)(?P<ending>[0-9][0-9,.-]*)?"
    r"|(?P<grace>\{/?|\})|\((?P<p>\d+)(?::(?P<q>\d*)(?::(?P<r>\d*))?)?"
    r"|(?P<group>\[[^\]]*\]|(?:\^|_|=)*(?:/|3/2)?[A-Ga-gxz][,']*)"
    r"(?P<length>\d*/*\d*)(?P<tie>-?)(?P<link>[<>]?)|(?P<ignored>[\s().~uvsTHLMOPS])"
)
_HEAD = re.compile(
    r"(?P<sign>[\^_=]*)(?P<part>/|3/2)?(?P<letter>[A-Ga-gxz])(?P<marks>[,']*)(?P<tie>-?)"
)
KEY = re.compile(r"([A-G])([#b]?)\s*(maj|min|mix|dor|phr|lyd|loc|aeo|m)?$")
_MODES = {"mix": -1, "dor": -2, "m": -3, "min": -3, "aeo": -3, "phr": -4, "loc": -5, "lyd": 1}
_CIRCLE = "FCGDAEB"
_USUAL_TIME = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
_OCTAVE_CLEF = re.compile(r"(?:treble|bass|alto|tenor|perc|tab)\d?([+-]\d+)")


class Tune(NamedTuple):
    """A tune cut into its header's lines and, by number, the definition and body of each voice.

    `drums`: the voices whose letters are no pitches.
    """

    header: list[str]
    definitions: dict[int, str]
    bodies: dict[int, str]
    drums: set[int]


def cut_tune(text: str) -> Tune:
    """One tune whose header defines all voices and whose body gives each once, after `V:1` …"""
    header, definitions, drums = [], {}, set()
    bodies: dict[int, list[str]] = {}
    number = 0
    for line in text.split("\n"):
        if match := re.match(r"V:(\d+)( .*)?\r?$", line):
            number = int(match[1])
            if match[2]:
                definitions[number] = match[2].strip()
                drums |= {number} if match[2].startswith(" perc") else set()
            else:
                bodies[number] = []
        elif bodies and not re.match(r"[A-Za-z]:(?!\|)|%", line):
            bodies[number].append(re.sub(r" ?%\d+$", "", line))
        elif not bodies and definitions:
            drums |= {number} if line.startswith("K:none") else set()
        elif not bodies:
            header.append(line)
    return Tune(header, definitions, {n: "\n".join(body) for n, body in bodies.items()}, drums)


def read_abc(text: str) -> dict[int, list[Bar]]:
    """The bars of each voice of a tune, as `cut_tune` takes it."""
    tune = cut_tune(text)
    keys = [line[2:] for line in tune.header if line.startswith("K:")]
    return {
        number: _VoiceReader(number in tune.drums).read(keys[-1], tune.definitions[number], body)
        for number, body in tune.bodies.items()
    }


@dataclass
class _Tuplet:
    factor: Fraction
    groups_left: int


@dataclass
class _VoiceReader:
    """Reads one voice; state is what holds from one token to the next."""

    percussion: bool
    octaves: int = 0
    unit: Fraction = Fraction(1, 2)
    now: Fraction = Fraction(0)
    swing: Fraction = Fraction(1)
    in_grace: bool = False
    key: dict[str, int] = field(default_factory=dict)
    bar: dict[tuple, Fraction] = field(default_factory=dict)
    ties: dict[tuple, Fraction] = field(default_factory=dict)
    tuplets: list[_Tuplet] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    plain: dict[Sound, Sound] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)

    def read(self, key: str, definition: str, body: str) -> list[Bar]:
        self._read_key(key)
        self.octaves = clef_octaves(definition)
        position = 0
        while position < len(body):
            token = TOKEN.match(body, position)
            if token is None:
                raise ValueError(f"unread ABC: {body[position : position + 30]!r}")
            self._take(token, opening=not body[:position].strip())
            position = token.end()
        if self.sounds or self.now:
            raise ValueError("music behind the last bar line")
        return self.bars

    def _take(self, token: re.Match, opening: bool) -> None:
        if token["bar"]:
            if not opening:
                self._end_bar()
        elif token["field"] == "K":
            self._read_key(token["value"])
        elif token["grace"]:
            self.in_grace = token["grace"] != "}"
        elif token["p"]:
            p = int(token["p"])
            q = int(token["q"] or _USUAL_TIME[p])
            self.tuplets.append(_Tuplet(Fraction(q, p), int(token["r"] or p)))
        elif token["group"]:
            self._group(token)

    def _end_bar(self) -> None:
        self.bars.append(Bar(sorted(self.sounds), self.now, self.plain))
        self.sounds, self.plain, self.now, self.swing = [], {}, Fraction(0), Fraction(1)
        self.bar.clear()
        self.tuplets.clear()

    def _read_key(self, value: str) -> None:
        if value.strip() == "none":
            self.key = {}
        elif match := KEY.match(value.strip()):
            fifths = _CIRCLE.index(match[1]) - 1 + {"b": -7, "#": 7}.get(match[2], 0)
            fifths += _MODES.get(match[3], 0)
            altered = _CIRCLE[:fifths] if fifths > 0 else _CIRCLE[fifths or 7 :]
            self.key = dict.fromkeys(altered, 1 if fifths > 0 else -1)
        else:
            self.octaves = clef_octaves(value)

    def _group(self, token: re.Match) -> None:
        quarters = Fraction(0) if self.in_grace else self._quarters(token)
        inner = re.sub("![^!]*!", "", token["group"].strip("[]"))
        if unread := _HEAD.sub("", inner):
            raise ValueError(f"unread in a chord: {unread!r}")
        ties = {}
        for head in _HEAD.finditer(inner):
            if head["letter"] not in "xz":
                self._head(head, quarters, bool(token["tie"] or head["tie"]), ties)
        if not self.in_grace:
            self.ties = ties
            self.now += quarters

    def _head(self, head: re.Match, quarters: Fraction, tied: bool, ties: dict) -> None:
        step = head["letter"].upper()
        octave = 4 + head["letter"].islower() + head["marks"].count("'") - head["marks"].count(",")
        place = step, octave
        plain = self._alter(head, place)
        carried = not (head["sign"] or self.in_grace) and place in self.ties
        alter = self.ties[place] if carried else plain
        if tied:
            ties[place] = alter
        if self.percussion:
            alter = plain = Fraction(0)
        sound = Sound(self.now, quarters, step, octave + self.octaves, alter, tied)
        self.sounds.append(sound)
        if alter != plain:
            self.plain[sound] = sound._replace(alter=plain)

    def _alter(self, head: re.Match, place: tuple) -> Fraction:
        """The alteration by sign, bar so far or key; ties aside."""
        if head["sign"]:
            part = {"/": Fraction(1, 2), "3/2": Fraction(3, 2)}.get(head["part"], Fraction(1))
            self.bar[place] = part * (head["sign"].count("^") - head["sign"].count("_"))
        return self.bar.get(place, Fraction(self.key.get(place[0], 0)))

    def _quarters(self, token: re.Match) -> Fraction:
        number, slashes, divisor = re.match(r"(\d*)(/*)(\d*)", token["length"]).groups()
        length = Fraction(int(number or 1), int(divisor or 2 ** len(slashes)))
        for tuplet in self.tuplets:
            length *= tuplet.factor
            tuplet.groups_left -= 1
        self.tuplets = [tuplet for tuplet in self.tuplets if tuplet.groups_left > 0]
        length *= self.swing
        self.swing = Fraction(1)
        if token["link"]:
            long = Fraction(3, 2) if token["link"] == ">" else Fraction(1, 2)
            length *= long
            self.swing = 2 - long
        return length * self.unit


def clef_octaves(clef: str) -> int:
    match = _OCTAVE_CLEF.match(clef)
    return {"8": 1, "15": 2}[match[1][1:]] * (-1 if match[1][0] == "-" else 1) if match else 0
