"""song_describer.csv to catalogue columns: recordings with one to five captions each."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from clamp3.data.captions_table import table_rows
from clamp3.data.music_folders import NamedFiles
from clamp3.data.sources import Parsed, check_name, clean_path, clean_text, parse_rows
from clamp3.errors import FormatError
from clamp3.formats.modality import FileFormat

COLLECTION = "song_describer"
_COLUMNS = ("caption_id", "track_id", "caption", "is_valid_subset", "path")
_WHAT = "the Song Describer data set (song_describer.csv)"


class Track(NamedTuple):
    """What the rows so far say of a recording."""

    captions: list[str]
    valid: bool


def parse_song_describer(
    path: Path, folder: str | None = None, *, collection: str = COLLECTION
) -> Parsed:
    """The catalogue columns of the tracks, in the order of the file, and the rejects.

    The file has one row a caption; a piece is a track, and its description all captions, one a
    line. Rows that tell more of a track count as `left_out`: they are no pieces of their own. The
    id is the collection and the track id, the recording the sound file below `folder` (None: that
    of the CSV) that is called so up to its first dot (`audio/00/1004300.2min.mp3`). `subsets` is
    `valid` where a caption is of that subset.

    Kinds of rejects: `bad_row`, `bad_value`, `no_text`, `missing_files`, `ambiguous_files`;
    reasons name the row. Raises DataError where the file as a whole is something else.
    """
    path = Path(path)
    rows = table_rows(path, _COLUMNS, _WHAT)
    around = folder or path.parent
    sounds = NamedFiles(around, [FileFormat.AUDIO], lambda name: name.split(".", 1)[0])
    tracks: dict[str, Track] = {}
    name_of = partial(_name_of, collection)
    parsed = parse_rows(rows, collection, name_of, partial(_read_piece, tracks, sounds))
    told = [tracks[name] for name in parsed.columns.get("id", [])]
    more = {
        "description": ["\n".join(track.captions) for track in told],
        "text": [track.captions[0] for track in told],
        "subsets": [["valid"] if track.valid else [] for track in told],
    }
    return parsed._replace(columns=parsed.columns | more) if told else parsed


def _name_of(collection: str, row: dict) -> str:
    return f"{collection}/{check_name(row['track_id'].strip())}"


def _read_piece(
    tracks: dict[str, Track], sounds: NamedFiles, piece_id: str, row: dict
) -> dict | None:
    """The piece of a track's first row; later rows add a caption and give nothing."""
    caption, place = clean_text(row["caption"]), row["path"].strip()
    if not caption:
        raise FormatError("no_text", "no caption")
    valid = row["is_valid_subset"].strip().lower()
    if valid not in ("true", "false", ""):  # nothing: nobody looked at the caption
        raise ValueError(f"is_valid_subset is {row['is_valid_subset']!r}, expected True or False")
    place = clean_path(place, ".").removeprefix("./") if place else None
    known = tracks.get(piece_id, Track([], False))
    sound = None if known.captions else sounds.find(piece_id.split("/", 1)[1], place)
    tracks[piece_id] = Track([*known.captions, caption], known.valid or valid == "true")
    return {"audio_path": sound} if sound else None
