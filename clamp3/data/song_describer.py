"""song_describer.csv to catalogue columns: recordings with one to five captions each."""

from functools import partial
from pathlib import Path

from clamp3.data.csv_table import table_rows
from clamp3.data.music_folders import NamedFiles
from clamp3.data.sources import Parsed, check_name, clean_path, clean_text, parse_rows
from clamp3.errors import FormatError
from clamp3.formats.modality import FileFormat

_COLUMNS = ("caption_id", "track_id", "caption", "is_valid_subset", "path")


def parse_song_describer(
    path: Path, folder: str | None = None, *, collection: str = "song_describer"
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
    rows = table_rows(path, _COLUMNS, "the Song Describer data set (song_describer.csv)")
    around = folder or Path(path).parent
    sounds = NamedFiles(around, [FileFormat.AUDIO], lambda name: name.split(".", 1)[0])

    def name_of(row: dict) -> str:
        return f"{collection}/{check_name(row['track_id'].strip())}"

    parsed = parse_rows(rows, collection, name_of, partial(_read_piece, {}, sounds))
    texts = ["\n".join(captions) for captions in parsed.columns.get("description", [])]
    return parsed._replace(columns=parsed.columns | {"description": texts}) if texts else parsed


def _read_piece(
    tracks: dict[str, dict], sounds: NamedFiles, piece_id: str, row: dict
) -> dict | None:
    """The piece of a track's first row, with a list of captions, to which later rows add theirs."""
    caption, place = clean_text(row["caption"]), row["path"].strip()
    if not caption:
        raise FormatError("no_text", "no caption")
    valid = row["is_valid_subset"].strip().lower()
    if valid not in ("true", "false", ""):  # nothing: nobody looked at the caption
        raise ValueError(f"is_valid_subset is {row['is_valid_subset']!r}, expected True or False")
    place = clean_path(place, ".").removeprefix("./") if place else None
    is_new = piece_id not in tracks
    if is_new:
        sound = sounds.find(piece_id.split("/", 1)[1], place)
        piece = {"audio_path": sound, "description": [], "text": caption, "subsets": []}
        tracks[piece_id] = piece
    track = tracks[piece_id]
    track["description"].append(caption)
    if valid == "true":
        track["subsets"][:] = ["valid"]
    return track if is_new else None
