"""The Lakh MIDI data set's three trees to catalogue columns.

`lmd_full/1/<md5>.mid` holds files alone. `lmd_matched/T/R/A/TRAAA…/<md5>.mid` holds for each track
of the Million Song Dataset the files that may be it; match_scores.json says how likely, and
unique_tracks.txt of the Million Song Dataset how the track is called. `clean_midi/<artist>/
<title>.mid` says so itself.
"""

import re
import reprlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from clamp3.data.music_folders import music_files
from clamp3.data.raw_files.addresses import below, is_remote, local_path, parent
from clamp3.data.raw_files.folders import names_below
from clamp3.data.raw_files.reading import RawFiles
from clamp3.data.sources import Parsed, check_name, parse_rows, require_file
from clamp3.data.texts import PieceFacts, one_line_text, write_texts
from clamp3.errors import DataError, FormatError
from clamp3.files import parse_json
from clamp3.formats.modality import FileFormat

_MD5 = r"(?P<md5>[0-9a-f]{32})\.mid"
_PLACES = {
    "lmd_full": re.compile(rf"(?P<first>[0-9a-f])/(?=(?P=first)){_MD5}"),
    "lmd_matched": re.compile(rf"[A-Z]/[A-Z]/[A-Z]/(?P<track>TR[0-9A-Z]{{16}})/{_MD5}"),
    "clean_midi": re.compile(r"(?P<artist>[^/]+)/(?P<title>[^/]+)\.mid", re.IGNORECASE),
}
_LAYOUTS = {
    "lmd_full": "<first digit>/<md5>.mid",
    "lmd_matched": "A/B/C/TRABC…/<md5>.mid",
    "clean_midi": "<artist>/<title>.mid",
}
_SCORES = TypeAdapter(dict[str, dict[str, float]])  # by track and file
_MAX_LIST_BYTES = 1 << 30
_VERSION = re.compile(r"\.\d+$")
_SEPARATOR = "<SEP>"


class Track(NamedTuple):
    """A track of the Million Song Dataset."""

    artist: str | None
    title: str | None


def parse_lakh(folder: Path | str, *, collection: str = "lakh") -> Parsed:
    """The catalogue columns of the MIDI files of one tree, sorted by path, and the rejects.

    `folder` is lmd_full, lmd_matched or clean_midi (or a folder that holds one of them and no
    other); which it is follows from how most of its files lie. The id is the collection and the
    MD5, in clean_midi `<artist> - <title>`.

    A piece counts once. In lmd_matched a file may stand under many tracks: the place with the best
    score counts (match_scores.json in or beside the folder; without it the first by path). In
    clean_midi the first version of a title counts (of `A.mid`, `A.1.mid`). Other places and
    versions are left out. Pieces of lmd_full, and of lmd_matched without unique_tracks.txt in or
    beside the folder, have no texts.

    Kinds of rejects: `bad_path` (lies elsewhere than the others), `bad_value`; reasons name the
    file. Raises DataError for a folder that holds no such tree, and for a damaged list.
    """
    folder = _tree_folder(str(folder))
    paths = music_files(folder, [FileFormat.MIDI])
    tree = _tree_of(folder, paths)
    place, titles, chosen = _PLACES[tree], {}, set(paths)
    if tree == "clean_midi":
        titles = _titles(paths)
        chosen = set(_first_versions(paths, titles))
    elif tree == "lmd_matched":
        titles = _tracks(folder)
        chosen = _best_places(folder, paths)

    def name_of(row: dict) -> str:
        found = place.fullmatch(row["path"])
        if not found:
            raise FormatError("bad_path", f"lies elsewhere than the other files of {tree}")
        parts = found.groupdict()
        name = parts.get("md5") or f"{parts['artist']} - {titles[row['path']].title}"
        return f"{collection}/{check_name(name)}"

    def read_piece(piece_id: str, row: dict) -> dict | None:
        parts = place.fullmatch(row["path"]).groupdict()
        track = titles.get(parts.get("track", row["path"]), Track(None, None))
        address = below(folder, row["path"])
        return _piece(piece_id, address, track) if row["path"] in chosen else None

    return parse_rows(((path, {"path": path}) for path in paths), collection, name_of, read_piece)


def _piece(piece_id: str, address: str, track: Track) -> dict:
    facts = PieceFacts(title=track.title, artists=track.artist)
    return {
        "mid_path": address,
        "title": track.title,
        "artists": track.artist,
        "background": write_texts(piece_id, facts).background,
        "text": one_line_text(facts),
    }


def _tree_folder(folder: str) -> str:
    if Path(local_path(folder)).is_dir():
        inside = [name for name in _PLACES if Path(local_path(folder), name).is_dir()]
    else:
        tops = {name.partition("/")[0] for name in names_below(folder)}
        inside = [name for name in _PLACES if name in tops]
    if len(inside) > 1:
        raise DataError(f"{folder}: holds {' and '.join(inside)}; name one of them")
    return below(folder, inside[0]) if inside else folder


def _tree_of(folder: str, paths: list[str]) -> str:
    """The tree in whose layout most files lie, and at least one."""
    counts = {name: sum(map(bool, map(place.fullmatch, paths))) for name, place in _PLACES.items()}
    # A file of lmd_full also looks like an artist and a title.
    counts["clean_midi"] -= counts["lmd_full"]
    tree = max(counts, key=counts.__getitem__)
    if not counts[tree]:
        layouts = "; ".join(f"{name}: {layout}" for name, layout in _LAYOUTS.items())
        raise DataError(f"{folder}: {len(paths)} MIDI files, none where Lakh has them ({layouts})")
    return tree


def _words(name: str) -> str | None:
    return " ".join(name.replace("_", " ").split()) or None


def _titles(paths: list[str]) -> dict[str, Track]:
    """What clean_midi's folders and names say; `A.1` is `A` where there is an `A` beside it."""
    known = {str(PurePosixPath(path).with_suffix("")) for path in paths}
    titles = {}
    for path in map(PurePosixPath, paths):
        name = _VERSION.sub("", path.stem)
        title = name if str(path.parent / name) in known else path.stem
        titles[str(path)] = Track(_words(path.parent.name), _words(title))
    return titles


def _first_versions(paths: list[str], titles: dict[str, Track]) -> Iterator[str]:
    seen = set()
    for path in sorted(paths, key=lambda path: (len(path), path)):  # A.mid before A.1.mid
        if titles[path] not in seen:
            seen.add(titles[path])
            yield path


def _best_places(folder: str, paths: list[str]) -> set[str]:
    """For each file the path under the track that it most likely is."""
    scores = _match_scores(folder)
    best: dict[str, tuple[float, str]] = {}
    for path in paths:  # of equals the first by path stays
        found = _PLACES["lmd_matched"].fullmatch(path)
        if found:
            score = scores.get(found["track"], {}).get(found["md5"], 0.0)
            if found["md5"] not in best or score > best[found["md5"]][0]:
                best[found["md5"]] = score, path
    return {path for _, path in best.values()}


def _beside(folder: str, name: str, what: str) -> tuple[str, bytes]:
    """A list in or beside the folder: its address and content; nothing where there is none."""
    with RawFiles(max_bytes=_MAX_LIST_BYTES) as files:
        for address in (below(folder, name), below(parent(folder), name)):
            path = Path(local_path(address))
            if not is_remote(address) and path.exists():
                require_file(path, what)
                return address, path.read_bytes()
            try:
                return address, files.fetch(address)
            except FormatError as error:
                if error.kind != "missing_file":
                    raise DataError(f"{error}; expected {what}") from error
    return "", b""


def _match_scores(folder: str) -> dict[str, dict[str, float]]:
    what = "match_scores.json of the Lakh MIDI data set"
    path, content = _beside(folder, "match_scores.json", what)
    if not path:
        return {}
    try:
        return _SCORES.validate_python(parse_json(content), strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ", ".join(map(str, fault["loc"])) or "the whole file"
        told = f"{place}: {fault['msg']}, found {reprlib.repr(fault['input'])}"
    except ValueError as error:
        told = f"not JSON ({error})"
    raise DataError(
        f"{path}: {told}; expected {{track: {{md5: score}}}}, as match_scores.json of Lakh has"
    )


def _tracks(folder: str) -> dict[str, Track]:
    """By track id; of lines `TRAAA…<SEP>song id<SEP>artist<SEP>title`."""
    what = "unique_tracks.txt of the Million Song Dataset"
    path, content = _beside(folder, "unique_tracks.txt", what)
    tracks = {}
    for number, line in enumerate(content.splitlines(), start=1):
        cells = line.decode("utf-8", "replace").split(_SEPARATOR)
        if len(cells) != 4:
            raise DataError(
                f"{path}, line {number}: {len(cells)} cells; expected track, song, artist and "
                f"title with {_SEPARATOR} between them"
            )
        tracks[cells[0]] = Track(_words(cells[2]), _words(cells[3]))
    return tracks
