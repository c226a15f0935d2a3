"""Honest sentences about a piece, from what its metadata say and nothing else.

The four fields are those of CLaMP 3's training data: `background` (who and whence), `analysis`
(what the notes are like: kind, key, metre, length, instruments), `description` (genre, tags,
difficulty) and `scene` (when one would hear it). Each has several phrasings; a piece's id decides
which it gets, so a model cannot learn one formula and a rerun changes nothing.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from clamp3.data.instruments import ensemble, join_words, with_article
from clamp3.randomness import stable_hash

_MOST_TAGS = 12
# What MuseScore writes where its users wrote nothing.
_PLACEHOLDERS = frozenset(
    ("title", "subtitle", "untitled", "untitled score", "composer", "composer / arranger")
)
_MODES = "major|minor|ionian|dorian|phrygian|lydian|mixolydian|aeolian|locrian"
_SUBTITLE = re.compile(
    r"(?:(?P<rhythm>.+?) )?in (?P<tonic>[A-G])(?P<accidental>[-#♯b♭]?|[- ]sharp|[- ]flat)"
    rf" (?P<mode>{_MODES})(?: (?:in )?(?P<metre>\d+/\d+))?",
    re.IGNORECASE,
)
_DIFFICULTIES = ("simple", "intermediate", "advanced")
_GENRES = {
    "hiphop": "hip hop",
    "newage": "new age",
    "rbfunksoul": "R&B, funk and soul",
    "reggaeska": "reggae and ska",
    "religiousmusic": "religious",
    "worldmusic": "world",
}
_DANCE_NAMES = """
allemande, bourree, clog, courante, fling, gavotte, gigue, hornpipe, jig, mazurka, minuet, polka,
polonaise, quadrille, reel, rigaudon, sarabande, schottische, slide, slip jig, slipjig, strathspey,
tarantella, waltz
"""
_DANCES = frozenset(re.split(r",\s", _DANCE_NAMES.strip()))
_SCENES = {
    "christmas": "Music for Christmas.",
    "carol": "Music to sing at Christmas.",
    "wedding": "Music for a wedding.",
    "lullaby": "Music to sing a child to sleep.",
    "funeral": "Music for a funeral.",
    "march": "Music to march to.",
    "marchingband": "Music for a marching band on parade.",
    "hymn": "Music to sing in church.",
    "chorale": "Music to sing in church.",
    "worship": "Music to sing in church.",
    "religiousmusic": "Music for worship.",
    "soundtrack": "Music that goes with a film, a show or a game.",
    "videogame": "Music that goes with a video game.",
    "dance": "Music to dance to.",
    "disco": "Music to dance to.",
}
_DANCE_SCENES = (
    "Music to dance {dance} to.",
    "Dancers step out {dance} to this tune.",
    "Somewhere people dance {dance}, and this is played.",
)


class PieceFacts(NamedTuple):
    """What the metadata say; None, 0 or empty where they say nothing.

    `notes_per_bar` counts all tracks together; `programs` are General MIDI numbers, one a track.
    """

    title: str | None = None
    song: str | None = None  # may be a fuller title
    artists: str | None = None
    subtitle: str | None = None
    collection: str | None = None
    genres: Sequence[str] = ()
    tags: Sequence[str] = ()
    programs: Sequence[int] = ()
    complexity: int | None = None
    bars: int | None = None
    tracks: int | None = None
    notes_per_bar: float | None = None


class PieceTexts(NamedTuple):
    """The four fields; None where there is nothing honest to say."""

    background: str | None
    analysis: str | None
    description: str | None
    scene: str | None


class Heading(NamedTuple):
    """What a subtitle such as `Slip jig in B-flat major 9/8` says about the music."""

    rhythm: str | None  # "slip jig"
    key: str  # "B flat major"
    metre: str | None  # "9/8"


class _Choice:
    """A die that falls the same for one piece for ever."""

    def __init__(self, piece_id: str):
        self._rest = stable_hash(piece_id, "phrasing")

    def __call__(self, *options: str) -> str:
        self._rest, index = divmod(self._rest, len(options))
        return options[index]


def write_texts(piece_id: str, facts: PieceFacts) -> PieceTexts:
    """The four texts of a piece; the id chooses among the phrasings."""
    choose = _Choice(piece_id)
    heading = read_subtitle(facts.subtitle)
    rhythm = heading.rhythm if heading else None
    return PieceTexts(
        _text(_background(facts, heading, choose)),
        _text(_analysis(facts, heading, choose)),
        _text(_description(facts, choose)),
        _scene(facts, rhythm, choose),
    )


def read_subtitle(subtitle: str | None) -> Heading | None:
    """Rhythm, key and metre of `<Rhythm> in <Tonic> <mode> <n>/<d>`; None for other subtitles.

    Commas do not matter. `B-flat`, `Bb`, `B♭` and `B-` are one tonic. Without a metre, or with
    digits (`Op. 3 in C minor`), the words before `in` may be anything, so only the rest is taken.
    """
    found = _SUBTITLE.fullmatch((subtitle or "").replace(",", ""))
    if not found:
        return None
    accidental = found["accidental"].strip(" -").lower()
    if accidental in ("b", "♭", "flat") or found["accidental"] == "-":
        accidental = " flat"
    elif accidental:
        accidental = " sharp"
    key = f"{found['tonic'].upper()}{accidental} {found['mode'].lower()}"
    rhythm = found["rhythm"] or ""
    named = bool(rhythm and found["metre"] and not re.search(r"\d", rhythm))
    return Heading(rhythm[0].lower() + rhythm[1:] if named else None, key, found["metre"])


def one_line_text(facts: PieceFacts, *, composer: str | None = None) -> str | None:
    """The description on which the LoRA project trained; None where nothing is known.

    `Title: … . Composer: … . Genre: … . Instruments: … . Tags: … . Difficulty: …`, parts without
    a value left out; `Artist` stands where there is no composer. Genres, tags and program numbers
    are joined with `-` as in PDMX.csv; complexity 0, 1 and above is Simple, Intermediate and
    Advanced.

    Source: Ononymous/291A-clamp3@af06771 preprocessing/parse_pdmx_csv.py
    Differs: `NA` counts as no title and no composer, because it is how PDMX says so; a piece
    without any value gets no text instead of `Untitled`.
    """
    parts = {
        "Title": facts.title,
        "Composer": composer,
        "Artist": None if composer else facts.artists,
        "Genre": "-".join(facts.genres),
        "Instruments": "-".join(map(str, facts.programs)),
        "Tags": "-".join(facts.tags),
        "Difficulty": (_difficulty(facts) or "").capitalize(),
    }
    return ". ".join(f"{name}: {value}" for name, value in parts.items() if value) or None


def _text(sentences: Iterator[str]) -> str | None:
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) or None


def _background(facts: PieceFacts, heading: Heading | None, choose: _Choice) -> Iterator[str]:
    title, artists = _real(facts.title), _real(facts.artists)
    if title and artists:
        yield choose(
            f"“{title}” by {artists}.",
            f"This is “{title}”, credited to {artists}.",
            f"{artists}: “{title}”.",
        )
    elif title:
        yield choose(f"“{title}”.", f"This music is called “{title}”.", f"The title is “{title}”.")
    elif artists:
        yield choose(f"Music by {artists}.", f"This is credited to {artists}.")
    if facts.song and title and facts.song.lower() != title.lower():
        yield choose(f"Song: “{facts.song}”.", f"The song is “{facts.song}”.")
    if _real(facts.subtitle) and not (heading and heading.rhythm):
        yield choose(f"The subtitle is “{facts.subtitle}”.", f"Subtitle: “{facts.subtitle}”.")
    if facts.collection:
        yield choose(f"From {facts.collection}.", f"Source: {facts.collection}.")


def _real(text: str | None) -> str | None:
    return None if text and text.lower() in _PLACEHOLDERS else text


def _analysis(facts: PieceFacts, heading: Heading | None, choose: _Choice) -> Iterator[str]:
    if heading:
        yield _kind(heading, choose)
    yield from _extent(facts, choose)
    if facts.notes_per_bar and facts.notes_per_bar > 0:
        notes, density = _density(facts)
        yield choose(
            f"There are about {notes} a bar, which makes {density} texture.",
            f"The texture is {density.split()[-1]}, with about {notes} in each bar.",
        )


def _kind(heading: Heading, choose: _Choice) -> str:
    rhythm, key, metre = heading
    if rhythm and metre:
        return choose(
            f"{with_article(rhythm)} in {key}, in {metre} time.",
            f"This {rhythm} is in {key} and has a {metre} time signature.",
            f"Kind: {rhythm}; key: {key}; metre: {metre}.",
            f"Written in {metre} time, this is {with_article(rhythm)} in {key}.",
        )
    if metre:
        return choose(f"Music in {key}, in {metre} time.", f"Key: {key}; metre: {metre}.")
    return choose(f"Music in {key}.", f"The key is {key}.")


def _extent(facts: PieceFacts, choose: _Choice) -> Iterator[str]:
    players = ensemble(facts.programs)
    bars = _count(facts.bars, "bar")
    parts = _count(facts.tracks, "part")
    staffing = " ".join(filter(None, [parts and f"in {parts}", players and f"for {players}"]))
    if bars and staffing:
        yield choose(
            f"{bars} {staffing}.",
            f"It is {bars} long, written {staffing}.",
            f"Length: {bars}. Written {staffing}.",
        )
    elif bars:
        yield choose(f"It is {bars} long.", f"Length: {bars}.")
    elif staffing:
        yield choose(f"It is written {staffing}.", f"Music {staffing}.")


def _count(number: int | None, unit: str) -> str | None:
    if not number or number < 0:
        return None
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _density(facts: PieceFacts) -> tuple[str, str]:
    """`8 notes` in all parts, and how busy one part is with them."""
    notes = max(1, round(facts.notes_per_bar))
    per_part = facts.notes_per_bar / max(facts.tracks or 1, 1)
    density = "a sparse" if per_part < 3 else "a moderate" if per_part < 7 else "a busy"
    return _count(notes, "note"), "a dense" if per_part >= 12 else density


def _description(facts: PieceFacts, choose: _Choice) -> Iterator[str]:
    difficulty = _difficulty(facts)
    genre = join_words([_GENRES.get(genre, genre) for genre in facts.genres])
    players = ensemble(facts.programs)
    if genre or difficulty:
        what = " ".join(filter(None, [difficulty, genre, "piece"]))
        labels = {"Genre": genre, "Difficulty": difficulty, "Instruments": players}
        yield choose(
            f"{with_article(what)} for {players}." if players else f"{with_article(what)}.",
            " ".join(f"{name}: {value}." for name, value in labels.items() if value),
        )
    elif players:
        yield choose(f"A piece for {players}.", f"Instruments: {players}.")
    if facts.tags:
        tags = ", ".join(dict.fromkeys(facts.tags[:_MOST_TAGS]))
        yield choose(f"Tags: {tags}.", f"It is tagged {tags}.", f"Keywords: {tags}.")


def _difficulty(facts: PieceFacts) -> str | None:
    if facts.complexity is None or facts.complexity < 0:
        return None
    return _DIFFICULTIES[min(facts.complexity, len(_DIFFICULTIES) - 1)]


def _scene(facts: PieceFacts, rhythm: str | None, choose: _Choice) -> str | None:
    words = [word for word in [rhythm, *facts.tags, *facts.genres] if word]
    dance = next((word for word in words if word in _DANCES), None)
    if dance:
        return choose(*_DANCE_SCENES).format(
            dance=with_article(dance.replace("slipjig", "slip jig"))
        )
    return next((_SCENES[word] for word in words if word in _SCENES), None)
