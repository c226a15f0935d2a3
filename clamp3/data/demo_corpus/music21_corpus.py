"""What the installed music21 offers: tunes and chorales, in the order in which the demo takes them.

music21 ships the collections inside its wheel, so nothing is downloaded and nothing of them is
kept in this repository.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import music21

from clamp3.randomness import stable_hash

RYANS_MAMMOTH = "Ryan's Mammoth Collection of Fiddle Tunes"
ONEILLS_1850 = "O'Neill's Music of Ireland"
BACH_CHORALES = "Bach chorales"

# How often each kind of tune is dealt in relation to the others, so that a demo of any size is
# mixed; a kind that runs out leaves its turns to the rest.
_RYANS_WEIGHTS = {
    "reel": 90,
    "jig": 90,
    "hornpipe": 70,
    "strathspey": 45,
    "clog": 30,
    "slip jig": 17,
}
_ONEILLS_WEIGHTS = {
    "slip jig": 50,
    "air": 33,
    "reel": 30,
    "jig": 30,
    "hornpipe": 13,
    "waltz": 4,
}
_KINDS = {"slipjig": "slip jig", "double jig": "jig"}

# "GM" (G major or minor?) and "Dmix=c" are not understood by everyone alike: such tunes stay out.
_KEY = re.compile(r"[A-G][#b]?\s*(m|(?i:min(or)?|maj(or)?|dor(ian)?|mix(olydian)?))?")


@dataclass(frozen=True)
class Source:
    """One piece to be read; `abc` holds a tune's text, `path` is a chorale's MusicXML file."""

    key: str  # unique: "ryansMammoth/AcaciaReel.abc#0"
    collection: str
    kind: str  # "reel", …, "chorale"
    title: str
    composer: str | None = None
    catalogue_number: str | None = None  # "BWV 269"
    abc: str | None = None
    path: Path | None = None


def ryans_mammoth(seed: int) -> list[Source]:
    """The fiddle tunes that say what they are, mixed by kind."""
    return _deal(_tunes("ryansMammoth", RYANS_MAMMOTH), _RYANS_WEIGHTS, seed)


def oneills_1850(seed: int) -> list[Source]:
    """The Irish tunes that say what they are, mixed by kind."""
    return _deal(_tunes("oneills1850", ONEILLS_1850), _ONEILLS_WEIGHTS, seed)


def bach_chorales(seed: int) -> list[Source]:
    """The chorales of Riemenschneider's collection that have a file, shuffled."""
    folder = _corpus_folder() / "bach"
    entries = music21.corpus.chorales.ChoraleListRKBWV().byBWV
    sources = [
        Source(
            key=f"bach/bwv{number}.mxl",
            collection=BACH_CHORALES,
            kind="chorale",
            title=entry["title"].replace("’", "'"),
            composer="Johann Sebastian Bach",
            catalogue_number=f"BWV {number}",
            path=folder / f"bwv{number}.mxl",
        )
        for number, entry in entries.items()
        if (folder / f"bwv{number}.mxl").is_file()
    ]
    return sorted(sources, key=lambda source: stable_hash(seed, "demo order", source.key))


def title_key(title: str) -> str:
    """What is alike for settings of one tune: "Miller's Maid, The" and "THE MILLERS MAID"."""
    plain = unicodedata.normalize("NFKD", title.lower()).encode("ascii", "ignore").decode()
    words = re.findall("[a-z]+", plain.replace("'", ""))
    kinds = {word for kind in [*_RYANS_WEIGHTS, *_ONEILLS_WEIGHTS] for word in kind.split()}
    telling = [word for word in words if word not in kinds | {"the", "a", "an"}]
    return "".join(telling or words)


def _corpus_folder() -> Path:
    return Path(music21.__file__).parent / "corpus"


def _tunes(folder: str, collection: str) -> Iterator[Source]:
    for path in sorted((_corpus_folder() / folder).glob("*.abc")):
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
        for number, tune in enumerate(re.split(r"(?m)^(?=X:)", text)[1:]):
            source = _read_tune(tune, f"{folder}/{path.name}#{number}", collection)
            if source is not None:
                yield source


def _read_tune(tune: str, key: str, collection: str) -> Source | None:
    """None where kind, title or key is missing or unclear."""
    tune = re.sub(r"%.*", "", tune)
    lines = re.findall(r"(?m)^([A-Z]):[ \t]*(.*?)[ \t]*$", tune)
    fields = dict(reversed(lines))  # of several titles the first one
    if not fields.get("T") or not _KEY.fullmatch(fields.get("K", "")) or _changes(tune, lines):
        return None
    abc = _bare_abc(tune)
    if '["' in tune or not _slurs_are_sound(abc):  # ["Coda" is to music21 one great chord
        return None
    kind = fields.get("R", "").lower()
    # In O'Neill's the field says who collected the tune.
    composer = _composer(fields.get("C", "")) if collection == RYANS_MAMMOTH else None
    return Source(
        key=key,
        collection=collection,
        kind=_KINDS.get(kind, kind),
        title=tidy_title(fields["T"]),
        composer=composer,
        abc=abc,
    )


def _changes(tune: str, lines: list[tuple[str, str]]) -> bool:
    """Whether key, metre or unit change on the way: music21 passes over most such changes."""
    values = {(name, value) for name, value in lines if name in "KLM"}
    inline = re.search(r"\[[KLM]:", tune) is not None
    return inline or len(values) > len({name for name, _ in values})


def _bare_abc(tune: str) -> str:
    """The tune without what is not its music: notes on the source, and fingerings.

    Fingerings are written as text in quotes, which music21 takes for chord symbols. Slurs around
    triplets go too, because music21 ends "((3abc)" somewhere later or never.
    """
    music = r"(?![A-Za-z]:[^|:])"  # "d:|" is music, not a field
    kept = [line for line in tune.splitlines() if re.match(rf"[XTMLK]:|{music}", line)]
    text = re.sub(r'"[^"\n]*"', "", "\n".join(kept))
    return re.sub(r"\((\(\d[^()|\n]*)\)", r"\1", text) + "\n"


def _slurs_are_sound(abc: str) -> bool:
    """Whether each slur ends, and none has a triplet inside, which would hide its end."""
    music = re.sub(r"(?m)^[A-Z]:[^|:].*", "", abc)
    starts = len(re.findall(r"\((?!\d)", music))
    return starts == music.count(")") and not re.search(r"\((?!\d)[^()]*\(\d", music)


def _composer(field: str) -> str | None:
    name = tidy_title(re.sub(r"\.(?=\w)", ". ", field))  # "J.HAND"
    return None if name.lower() in {"", "scotch", "irish", "trad"} else name


def tidy_title(text: str) -> str:
    """A title as one would print it: "BLACK-EYED LASSIE -- REEL., THE" is "The Black-Eyed Lassie
    Reel".

    The transcribers' marks go: capitals throughout, trailing stops, the article at the end, the
    dashes before the kind, quotes around all of it, and colons put after a t ("Hiawat:ha").
    """
    text = re.sub(r"(?<=t):", "", text).replace('"', "").replace(".,", ",")
    text = re.sub(r"(.*), (the|a)\.?", r"\2 \1", text.strip(" .,"), flags=re.IGNORECASE)
    text = re.sub(r"\s*--\s*|\s-\s", " ", text).replace("SlipJig", "Slip Jig")
    text = re.sub(r"\s+", " ", text).strip(" .,")
    if sum(map(str.isupper, text)) > sum(map(str.islower, text)):
        text = re.sub(r"(?<![a-z'])[a-z]|(?<=\bo')[a-z]", lambda m: m[0].upper(), text.lower())
        text = re.sub(r"(?<= )(A|And|In|Of|On|The|To)\b(?!\.)", lambda m: m[0].lower(), text)
    return text[:1].upper() + text[1:]


def _deal(tunes: Iterator[Source], weights: dict[str, int], seed: int) -> list[Source]:
    """All tunes of the weighted kinds, any beginning of the list in proportion to the weights."""
    waiting = defaultdict(list)
    for tune in tunes:
        waiting[tune.kind].append(tune)
    turns = []
    for kind, weight in weights.items():
        order = sorted(waiting[kind], key=lambda tune: stable_hash(seed, "demo order", tune.key))
        turns += [((place + 0.5) / weight, kind, tune) for place, tune in enumerate(order)]
    return [tune for *_, tune in sorted(turns, key=lambda turn: turn[:2])]
