"""CLaMP 2's training manifests, to and from catalogue rows and CLaMP 3's layout.

A line has title, composer, genres, description, lyrics, tags, ensembles, instruments, summary_en,
summary_nen and filepaths, in practice with fields that are missing or None, one text where a list
could stand, and fields of its own. Catalogue rows hold the same typed; what the types cannot
tell stands in the column `form`, so that a row turns into the very line it came from.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from clamp3.data.catalog import SCHEMA as CATALOG_SCHEMA
from clamp3.data.manifests import read_line
from clamp3.data.rejected import writable
from clamp3.data.sources import Parsed, distinct, json_rows, parse_rows
from clamp3.formats.modality import FORMAT_BY_SUFFIX, FileFormat

COLLECTION = "clamp2"
_METADATA = ("title", "composer", "genres", "description", "lyrics", "tags")
_METADATA += ("ensembles", "instruments")
FIELDS = (*_METADATA, "summary_en", "summary_nen", "filepaths")
# Where CLaMP 3 has more to say than CLaMP 2: fields of their own in a line.
_FURTHER = ("region", "language", "background", "analysis", "scene")
_LISTS = ("genres", "tags", "ensembles", "instruments", "summary_en", "filepaths")
_SUMMARY = pa.struct({"language": pa.string(), "summary": pa.string()})
SCHEMA = pa.unify_schemas(
    [
        CATALOG_SCHEMA,
        pa.schema(
            {
                "lyrics": pa.string(),
                "ensembles": pa.list_(pa.string()),
                "summary_en": pa.list_(pa.string()),
                "summary_nen": pa.list_(_SUMMARY),
                "filepaths": pa.list_(pa.string()),
                "form": pa.string(),  # JSON; null where the columns tell all
            }
        ),
    ]
)
_COLUMN = {"composer": "artists"}  # where field and column differ
_PATH_COLUMNS = {
    FileFormat.MUSICXML: "mxl_path",
    FileFormat.MIDI: "mid_path",
    FileFormat.AUDIO: "audio_path",
}


def parse_clamp2(path: Path, *, split: str = "train") -> Parsed:
    """The lines of a CLaMP 2 manifest as catalogue columns (those of `SCHEMA`), in its order.

    The id is the collection and the first filepath without its suffix (or the line's own `id`); a
    number tells equal ones apart, and lines without filepaths are called by their place. Lines
    that hold no JSON object are rejected (`bad_row`). `clamp2_line` gives each line back.

    Raises DataError where no line has `filepaths`.
    """
    rows = json_rows(path, ["filepaths"], "a training manifest of CLaMP 2 (JSON lines)")
    taken: dict[str, int] = {}

    def named(place: str, line: dict | str) -> tuple[str, dict] | str:
        return line if isinstance(line, str) else (distinct(piece_name(line, place), taken), line)

    return parse_rows(
        ((place, named(place, line)) for place, line in rows),
        COLLECTION,
        lambda row: f"{COLLECTION}/{row[0]}",
        lambda piece_id, row: catalog_row(piece_id, row[1], split),
    )


def piece_name(line: Mapping, place: str) -> str:
    """What to call the piece of a line: its id, its first filepath without suffix, or `place`."""
    paths = _words(line.get("filepaths"))
    given = line.get("id")
    if not isinstance(given, str) or not given:
        path = PurePosixPath(*paths[:1])
        given = str(path.with_suffix("") if path.name else path)
    parts = [part for part in given.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or place


def catalog_row(piece_id: str, line: Mapping, split: str) -> dict:
    """A line as a row of `SCHEMA`."""
    row = dict.fromkeys(SCHEMA.names)
    row |= {name: [] for name in SCHEMA.names if pa.types.is_list(SCHEMA.field(name).type)}
    row |= {"id": piece_id, "collection": COLLECTION, "split": split}
    for key in (*FIELDS, *_FURTHER):
        row[_COLUMN.get(key, key)] = _column_value(key, line.get(key))
    for path in row["filepaths"]:
        column = _PATH_COLUMNS.get(FORMAT_BY_SUFFIX.get(PurePosixPath(path).suffix.lower()))
        if column and row[column] is None:
            row[column] = path
    row["form"] = _form(line, _plain_line(row))
    return row


def _form(line: Mapping, plain: Mapping) -> str | None:
    """The keys of a line and the values that its row does not tell; None if that says nothing."""
    values = {key: value for key, value in line.items() if not _same(value, plain.get(key, ...))}
    keys = list(line)
    return None if not values and keys == list(plain) else json.dumps([keys, values])


def _same(one: object, other: object) -> bool:
    """As JSON, where true is not 1 and a number that is none equals itself."""
    return other is not ... and json.dumps(one) == json.dumps(other)


def clamp2_line(row: Mapping) -> dict:
    """The line of CLaMP 2's layout that a catalogue row tells; of `catalog_row`, the very line.

    A column that was changed since wins over what the line once was. A row of the plain catalogue
    works, too: its filepaths are those of its files.
    """
    plain = _plain_line(row)
    if not row.get("form"):
        return plain
    keys, values = json.loads(row["form"])
    line = {}
    for key in keys:
        column = _COLUMN.get(key, key)
        known = key in FIELDS or key in _FURTHER
        stale = known and _column_value(key, values.get(key)) != row.get(column)
        line[key] = values[key] if key in values and not stale else plain.get(key)
    return line | {key: value for key, value in plain.items() if key not in line and value}


def _plain_line(row: Mapping) -> dict:
    line = {key: row.get(_COLUMN.get(key, key)) or None for key in _METADATA}
    line |= {key: row[key] for key in _FURTHER if row.get(key)}
    line |= {key: row.get(key) or None for key in ("summary_en", "summary_nen")}
    files = [row.get(column) for column in _PATH_COLUMNS.values()]
    line["filepaths"] = row.get("filepaths") or [path for path in files if path]
    return line


def normal_line(line: Mapping) -> dict:
    """A line with all fields of the layout, typed as the columns are; its own fields as they are.

    Lists hold texts alone and are empty, and texts None, where the line says nothing usable.
    """
    own = {key: value for key, value in line.items() if key not in (*FIELDS, *_FURTHER)}
    known = [key for key in (*FIELDS, *_FURTHER) if key in FIELDS or line.get(key)]
    return own | {key: _column_value(key, line.get(key)) for key in known}


def _column_value(key: str, value: object) -> object:
    if key == "summary_nen":
        return foreign_summaries(value)
    words = _words(value)
    if key in _LISTS:
        return words
    return "\n".join(words) or None


def _words(value: object) -> list[str]:
    words = value if isinstance(value, list) else [value]
    return [writable(word) for word in words if isinstance(word, str)]


def foreign_summaries(value: object) -> list[dict[str, str | None]]:
    """The {language, summary} of a field `summary_nen`, which holds one, a list of them, or None.

    What has no summary is left out; a language that is missing is None.
    """
    entries = value if isinstance(value, list) else [value]
    found = []
    for entry in entries:
        if isinstance(entry, Mapping) and isinstance(entry.get("summary"), str):
            language = entry.get("language")
            language = writable(language) if isinstance(language, str) else None
            found.append({"language": language, "summary": writable(entry["summary"])})
    return found


def to_clamp3_line(line: Mapping) -> dict:
    """A CLaMP 2 line in CLaMP 3's layout: all its keys, and the summaries as lists.

    The composer is the artist; the other fields, which CLaMP 3 does not know, stay as they are,
    so their texts are used in training and nothing is lost. The first summary in another language
    is the translation of the background as well: CLaMP 3's text dropout knows no summaries.

    Raises ValueError for a line without filepaths, as `read_line` does.
    """
    foreign = foreign_summaries(line.get("summary_nen"))
    row = read_line({**line, "artists": line.get("artists") or line.get("composer")})
    row.pop("composer", None)
    row["summary_en"], row["summary_nen"] = _words(line.get("summary_en")), foreign
    if foreign and not row["translations"]:
        row["translations"] = {
            "language": foreign[0]["language"],
            "background": foreign[0]["summary"],
        }
    return row


def from_clamp3_line(line: Mapping, *, keep_id: bool = False) -> dict:
    """A line of CLaMP 3's layout in CLaMP 2's.

    The artist is the composer. Region, background, analysis and scene stay as fields of their own:
    CLaMP 2 takes every field for text, so the id is left out unless `keep_id`, and the name of the
    language always. Without summaries in other languages the translations are one.
    """
    composer = line.get("artists") or line.get("composer")
    known = {key: line.get(key) or None for key in _METADATA} | {"composer": composer or None}
    known |= {key: line[key] for key in _FURTHER if line.get(key) and key != "language"}
    foreign = foreign_summaries(line.get("summary_nen")) or _translated(line)
    known["summary_en"] = _words(line.get("summary_en")) or None
    known["summary_nen"] = foreign or None
    left_out = (*FIELDS, *_FURTHER, "id", "artists", "translations")
    known |= {key: value for key, value in line.items() if key not in left_out and value}
    identity = {"id": line["id"]} if keep_id and line.get("id") else {}
    return {**identity, **known, "filepaths": _words(line.get("filepaths"))}


def _translated(line: Mapping) -> list[dict[str, str | None]]:
    translations = line.get("translations") or {}
    texts = [text for key, text in translations.items() if key != "language" and text]
    summary = " ".join(word for text in texts for word in _words(text))
    return foreign_summaries({"language": translations.get("language"), "summary": summary or None})


def with_summaries(
    lines: Iterable[Mapping], summaries: Mapping[str, Mapping], *, keep_id: bool = True
) -> list[dict]:
    """CLaMP 2 lines of the pieces of CLaMP 3 manifests that have summaries, sorted by id.

    `lines` as `read_manifest` gives them, of several manifests one after the other: a piece's
    scores and performances make one line, scores first, as CLaMP 2 evaluates on them; recordings
    are left out. `summaries` by id: rows of the table that `clamp3 summarise` writes.
    """
    pieces: dict[str, dict] = {}
    for line in lines:
        paths = [path for path in line["filepaths"] if not path.endswith(".npy")]
        if paths and line["id"] in summaries:
            piece = pieces.setdefault(line["id"], {**line, "filepaths": []})
            piece["filepaths"] = _scores_first([*piece["filepaths"], *paths])
    return [
        from_clamp3_line({**pieces[piece_id], **_fields(summaries[piece_id])}, keep_id=keep_id)
        for piece_id in sorted(pieces)
    ]


def _scores_first(paths: Sequence[str]) -> list[str]:
    return sorted(dict.fromkeys(paths), key=lambda path: (not path.endswith(".abc"), path))


def _fields(summary: Mapping) -> dict:
    other = {"language": summary["language"], "summary": summary["summary"]}
    return {"summary_en": [summary["summary_en"]], "summary_nen": [other]}
