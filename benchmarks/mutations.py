"""Damage to scores and performances, for benchmarks/fuzz.py: deterministic by the dice given."""

import io
import random
import re
import zipfile
from collections.abc import Callable

Damage = Callable[[bytes, random.Random], bytes]

_NUMBERS = (
    "0 -1 1 7 64 127 128 255 65536 2147483648 1000000000 999999999999999999 -999999999 1e9 1e308 "
    "nan inf -inf 0.1 3.7 -0.0 1_0 ٣ ½ 0x10 + -"
)
NUMBERS = [*_NUMBERS.split(), "9" * 5000]  # Python reads no integers that long
WORDS = [
    "",
    " ",
    "abc",
    '"',
    "|",
    "]",
    "[V:2]",
    "%",
    "\\",
    "\n",
    "&amp;",
    "&lt;",
    "é",
    "\U0001f3b5",
]
WORDS += ["z", "!", "::", "w" * 300, "\u2028", "chorus", "X:1", "V:1", "start", "stop", "yes", "no"]
MOST_BYTES = 4_000_000  # what duplication may blow an input up to
# An input is no longer than this: some times the longest real one of its kind.
LONGEST = {"musicxml": MOST_BYTES, "abc": 1_000_000, "mtf": 1_000_000, "midi": 1_000_000}
_LEAST_ARCHIVE = 22
_SIGNS = (
    '| || |] :| |: :: [| [V:1] [V:2] [V:] [V:1 " ! { } ( (3 [ ] % \\ \\" & - %%score V:1 V:3 '
    "[K:D] [M: K: X:2 L:1/16 U: I:percmap M:9/0 +: (9:0:0 /////// z ' , ticks_per_beat \t \\x "
    "end_of_track note_on sysex [1,2] (300) unknown_meta key_signature text set_tempo"
)

_ELEMENT = re.compile(rb"<([A-Za-z][\w:-]*)\b[^<>]*?(?:/>|>.{0,20000}?</\1\s*>)", re.DOTALL)
_NUMBER = re.compile(rb"-?\d+")
_CONTENT = re.compile(rb">[^<>]*<")
_ATTRIBUTE = re.compile(rb"""=\s*("[^"]*"|'[^']*')""")


# Any bytes


def truncate(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def flip(data: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(dice.choice((1, 2, 5, 30))):
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
    return bytes(damaged)


def delete(data: bytes, dice: random.Random) -> bytes:
    start, end = _span(data, dice)
    return data[:start] + data[end:]


def duplicate(data: bytes, dice: random.Random) -> bytes:
    start, end = _span(data, dice)
    times = min(dice.choice((1, 1, 2, 10, 1000)), MOST_BYTES // (end - start + 1))
    return data[:end] + data[start:end] * times + data[end:]


def swap(data: bytes, dice: random.Random) -> bytes:
    (a, b), (c, d) = sorted((_span(data, dice), _span(data, dice)))
    return data if c < b else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def insert(data: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(data) + 1)
    piece = dice.choice((dice.randbytes(dice.randrange(1, 40)), b"\0", b"\xff" * 8, b"\r", b"\xc3"))
    return data[:place] + piece + data[place:]


def recode(data: bytes, dice: random.Random) -> bytes:
    """Another encoding, or a byte order mark that lies."""
    if dice.random() < 0.4:
        return dice.choice((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\x00\x00\xfe\xff")) + data
    text = data.decode("utf-8", "replace")
    names = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "latin-1", "cp037", "cp1252")
    return text.encode(dice.choice(names), "replace")


def declare(data: bytes, dice: random.Random) -> bytes:
    """Another declared encoding; some are no text encodings at all."""
    names = "UTF-16 utf-32 latin1 ascii cp037 shift_jis utf-7 idna punycode rot13 base64 zlib hex"
    name = dice.choice([*names.split(), "unicode_escape", "mbcs", "", "\0", "x" * 999])
    head = f'<?xml version="1.0" encoding="{name}"?>'.encode()
    return head + re.sub(rb"^\s*<\?xml.*?\?>", b"", data, count=1, flags=re.DOTALL)


def _span(data: bytes, dice: random.Random) -> tuple[int, int]:
    start = dice.randrange(len(data) + 1)
    return start, min(len(data), start + dice.choice((1, 4, 30, 300, 5000)))


# XML


def numbers(data: bytes, dice: random.Random) -> bytes:
    """Some numbers, in contents and attributes, are others or none."""
    share = dice.choice((0.002, 0.02, 0.3))
    return _some(_NUMBER, data, dice, share, lambda found: _word(dice, NUMBERS))


def contents(data: bytes, dice: random.Random) -> bytes:
    share = dice.choice((0.002, 0.02, 0.3))
    new = [*NUMBERS, *WORDS]
    return _some(_CONTENT, data, dice, share, lambda found: b">" + _word(dice, new) + b"<")


def attributes(data: bytes, dice: random.Random) -> bytes:
    new = [word for word in [*NUMBERS, *WORDS] if '"' not in word]
    return _some(_ATTRIBUTE, data, dice, 0.05, lambda found: b'="' + _word(dice, new) + b'"')


def one_content(data: bytes, dice: random.Random) -> bytes:
    """All elements of one name hold the same nonsense, or each a name of its own."""
    name = dice.choice(_names(data))
    unique = dice.random() < 0.3
    word = _word(dice, [*NUMBERS, *WORDS])
    count = iter(range(10**9))
    return re.sub(
        rb"(<%s\b[^<>]*>)[^<>]*(</%s>)" % (name, name),
        lambda m: m[1] + (b"%d" % next(count) if unique else word) + m[2],
        data,
    )


def elements(data: bytes, dice: random.Random) -> bytes:
    """Some elements are deleted, emptied, repeated, or put in the place of others."""
    if dice.random() < 0.3:
        name = dice.choice(_names(data))
        shape = re.compile(rb"<(%s)\b[^<>]*?(?:/>|>.{0,20000}?</\1\s*>)" % name, re.DOTALL)
    else:
        shape = _ELEMENT
    donors: list[bytes] = []

    def other(found: bytes) -> bytes:
        donors.append(found)
        name = re.match(rb"<([\w:-]+)", found)[1]
        times = min(dice.choice((2, 3, 50)), 1 + 50_000 // len(found))
        return dice.choice((b"", b"<%s/>" % name, found * times, dice.choice(donors), b"<x>0</x>"))

    start = dice.randrange(1 + len(data) // 2)  # else the root is always the first to be found
    damaged = _some(shape, data[start:], dice, dice.choice((0.01, 0.1, 0.5)), other)
    return data[:start] + damaged


def nest(data: bytes, dice: random.Random) -> bytes:
    """An element, or one end of it, many times inside itself."""
    name = dice.choice([*_names(data), b"part-group type='start'", b"x"])
    place = data.find(b">", dice.randrange(len(data))) + 1
    depth = dice.choice((10, 300, 3000, 60_000))
    closing = b"</%s>" % name.split()[0] if dice.random() < 0.8 else b""
    return data[:place] + b"<%s>" % name * depth + closing * depth + data[place:]


def doctype(data: bytes, dice: random.Random) -> bytes:
    """Document types: harmless, with entities (laughing, external), unfinished."""
    laughs = b'<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%s">' % (c + 1, b"&%c;" % c * 20) for c in range(97, 110)
    )
    inside = dice.choice(
        (
            b"<!ELEMENT note ANY><!-- <!ENTITY --><?x <!ENTITY ?>",
            laughs,
            b'<!ENTITY n SYSTEM "file:///etc/passwd">',
            b'<!ENTITY % n SYSTEM "http://localhost:9/x"> %n;',
            b'<!ATTLIST note x CDATA "%s">' % (b"9" * 9999),
            b"<!NOTATION n SYSTEM 'n'>" * 500,
        )
    )
    head = dice.choice((b"<!DOCTYPE score-partwise [%s]>", b"<!DOCTYPE x SYSTEM 'y' [%s]", b"[%s]"))
    start = max(0, data.find(b"<score-"))
    text = data[start:].replace(b"</words>", b"&n;&n;</words>")
    return (head % inside) + text


def monster(data: bytes, dice: random.Random) -> bytes:
    """One <measure> or <note> very often, each time with a number or a voice of its own."""
    name = dice.choice((b"measure", b"note", b"direction", b"attributes", b"lyric", b"score-part"))
    found = re.search(rb"<%s\b.{0,50000}?</%s>" % (name, name), data, re.DOTALL)
    if not found:
        return data
    times = min(dice.choice((100, 3000)), MOST_BYTES // len(found[0]))
    field = dice.choice((rb"(<voice>)[^<]*", rb"(<divisions>)[^<]*", rb'(number=")[^"]*', rb"($)x"))
    copies = [re.sub(field, rb"\g<1>%d" % (997 * i + 1), found[0]) for i in range(times)]
    return data[: found.start()] + b"".join(copies) + data[found.end() :]


def _names(data: bytes) -> list[bytes]:
    return sorted(set(re.findall(rb"<([a-z][a-z-]+)", data))) or [b"note"]


def _word(dice: random.Random, words: list[str]) -> bytes:
    return dice.choice(words).encode()


def _some(
    shape: re.Pattern,
    data: bytes,
    dice: random.Random,
    share: float,
    new: Callable[[bytes], bytes],
) -> bytes:
    budget = [MOST_BYTES]

    def replace(match: re.Match) -> bytes:
        if dice.random() >= share or budget[0] < 0:
            return match[0]
        replaced = new(match[0])
        budget[0] -= len(replaced)
        return replaced

    return shape.sub(replace, data)


# Archives


def archive(data: bytes, dice: random.Random) -> bytes:
    """A .mxl archive around the document, whole or with something wrong in it."""
    buffer = io.BytesIO()
    name = dice.choice(("score.xml", "a/b.musicxml", "é.XML", "../x.xml", "/x.xml", "x.txt", "d/"))
    path = dice.choice((name, "none.xml", "", "META-INF/container.xml", "."))
    method = dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(buffer, "w", method) as file:
        if dice.random() < 0.7:
            roots = f'<rootfiles><rootfile full-path="{path}"/></rootfiles>'
            file.writestr("META-INF/container.xml", f"<container>{roots}</container>")
        if dice.random() < 0.2:
            file.writestr("first.xml", bytes(dice.choice((100, 30_000_000))))
        file.writestr(name, data)
    packed = buffer.getvalue()
    if dice.random() < 0.4:
        return packed
    return dice.choice((flip, truncate, _directory, insert, delete))(packed, dice)


def unpack(data: bytes) -> bytes:
    """The longest member of an archive; anything else as it is."""
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.read(max(file.infolist(), key=lambda info: info.file_size))


def _directory(data: bytes, dice: random.Random) -> bytes:
    """Sizes, offsets, flags and methods of an archive's directory are others."""
    damaged = bytearray(data)
    start = data.find(b"PK\x01\x02")
    for _ in range(dice.choice((1, 3))):
        damaged[dice.randrange(start, len(damaged))] = dice.choice((0, 1, 9, 99, 255))
    return bytes(damaged)


# Texts: ABC and MTF


def lines(data: bytes, dice: random.Random) -> bytes:
    """Lines are deleted, repeated, swapped, joined, or end in other ways."""
    found = data.split(b"\n")
    for _ in range(dice.choice((1, 5, 50))):
        i, j = dice.randrange(len(found)), dice.randrange(len(found))
        action = dice.randrange(4)
        if action == 0:
            found[i], found[j] = found[j], found[i]
        elif action == 1:
            found[i] = b""
        elif action == 2:
            found[i] = found[i] + dice.choice((b"\n", b"", b"|")) + found[j]
        elif sum(map(len, found)) < MOST_BYTES // 2:
            found[i] = b"\n".join([found[i]] * dice.choice((2, 100)))
    return dice.choice((b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"")).join(found)


def tokens(data: bytes, dice: random.Random) -> bytes:
    """Signs that ABC or MTF parts or opens things with, put in anywhere."""
    signs = _SIGNS.split(" ")
    many = dice.choice((1, 1, 4, 5000))
    damaged = data
    for _ in range(dice.choice((1, 3, 12))):
        place = dice.randrange(len(damaged) + 1)
        end = dice.choice((b"", b"\n", b" "))
        damaged = damaged[:place] + (_word(dice, signs) + end) * many + damaged[place:]
    return damaged


# MIDI


def status(data: bytes, dice: random.Random) -> bytes:
    """Bytes become status bytes, system events, or data where a status is due."""
    damaged = bytearray(data)
    for _ in range(dice.choice((1, 3, 10))):
        damaged[dice.randrange(len(damaged))] = dice.choice(
            b"\x80\x90\xb0\xc0\xe0\xf0\xf1\xf4\xff/\0"
        )
    return bytes(damaged)


def chunk(data: bytes, dice: random.Random) -> bytes:
    """Names and sizes of chunks, and what the header counts."""
    damaged = bytearray(data)
    starts = [m.start() for m in re.finditer(rb"MTrk|MThd", data)] or [0]
    for _ in range(dice.choice((1, 1, 3))):
        start = dice.choice(starts)
        if start == 0 and dice.random() < 0.7:
            field = dice.choice((8, 10, 12))  # type, number of tracks, ticks per beat
            damaged[field : field + 2] = dice.choice((b"\0\0", b"\0\2", b"\xff\xff", b"\0\x7f"))
        elif dice.random() < 0.3:
            damaged[start : start + 4] = dice.choice((b"MTrK", b"XFIH", b"\0\0\0\0", b"MThd"))
        else:
            size = int.from_bytes(damaged[start + 4 : start + 8], "big")
            size += dice.choice((-size, -4, -1, 1, 4, 2**31))
            damaged[start + 4 : start + 8] = (size % 2**32).to_bytes(4, "big")
    return bytes(damaged)


def between(data: bytes, dice: random.Random) -> bytes:
    """Chunks or stray bytes between tracks, a wrapper around the file, bytes after its end."""
    strays = (b"XFIH\0\0\0\x04abcd", b"\0", b"\0" * 50, b"MTrk\0\0\0\0", dice.randbytes(9))
    stray = dice.choice(strays)
    if dice.random() < 0.3:
        size = len(data).to_bytes(4, "little")
        info = dice.choice((b"", b"LIST\4\0\0\0INFO"))
        return b"RIFF" + size + b"RMID" + info + b"data" + size + data + dice.choice((b"", stray))
    starts = [m.start() for m in re.finditer(rb"MTrk", data)] + [len(data)]
    place = dice.choice(starts)
    return data[:place] + stray + data[place:]


def lengths(data: bytes, dice: random.Random) -> bytes:
    """Variable-length numbers that are long, endless or huge."""
    place = dice.randrange(len(data) + 1)
    number = dice.choice((b"\xff\xff\xff\x7f", b"\x80" * 9 + b"\1", b"\xff" * 3000, b"\xff\x7f"))
    event = dice.choice((b"", b"\0\xff\x01", b"\0\xf0", b"\0\xff\x7f", b"\0\xff\x54"))
    return data[:place] + event + number + data[place:]


ANY: tuple[Damage, ...] = (truncate, flip, delete, duplicate, swap, insert)
BY_KIND: dict[str, tuple[Damage, ...]] = {
    "musicxml": (
        *(truncate, flip, duplicate, swap, insert, recode, declare, numbers, numbers, contents),
        *(contents, attributes, one_content, one_content, elements, elements, elements),
        *(nest, doctype, monster, archive),
    ),
    "abc": (*ANY, recode, lines, lines, tokens, tokens, numbers),
    "mtf": (*ANY, recode, lines, tokens, numbers, numbers),
    "midi": (*ANY, status, status, chunk, chunk, between, lengths),
}


def damaged(kind: str, data: bytes, dice: random.Random) -> bytes:
    """The data with one to three kinds of damage."""
    if kind == "musicxml" and dice.random() < 0.9:
        data = unpack(data)
    for _ in range(dice.choice((1, 1, 2, 3))):
        if not data or len(data) > MOST_BYTES:
            break
        choices = BY_KIND[kind]
        if data.startswith(b"PK"):
            choices = (*ANY, _directory) if len(data) >= _LEAST_ARCHIVE else ANY
        data = dice.choice(choices)(data, dice)[: LONGEST[kind]]
    return data
