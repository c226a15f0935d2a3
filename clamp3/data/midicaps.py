"""MidiCaps' train.json to catalogue columns: MIDI files of the Lakh data set with captions."""

from functools import partial
from pathlib import Path

from clamp3.data.instruments import join_words, program_name
from clamp3.data.rejected import Rejected
from clamp3.data.sources import (
    STAGE,
    Parsed,
    SizesOf,
    as_columns,
    check_name,
    clean_path,
    clean_text,
    clean_words,
    file_sizes,
    file_stem,
    json_rows,
    parse_rows,
)
from clamp3.data.texts import read_subtitle
from clamp3.errors import DataError, FormatError

_FASTEST = 10_000  # beats per minute


def parse_midicaps(
    path: Path,
    folder: Path | str | None = None,
    *,
    collection: str = "midicaps",
    check_files: bool = False,
    sizes_of: SizesOf = file_sizes,
) -> Parsed:
    """The catalogue columns of the usable pieces of the test set, in the order of the file.

    The file has one JSON object a line; `location` is relative to `folder` (None: that of the
    file). Lines without `test_set: true` are left out: only the test set is evaluated on. The id
    is the collection and the name of the file, an MD5 of its bytes, so a piece that is listed
    twice, even in another folder, is a `duplicate_id`, and the first one stays. `caption` is the
    description; key, time signature, instruments and tempo make the analysis; moods are the tags.

    Other kinds of rejects: `bad_row` (no JSON object), `bad_value`, `no_text`, and with
    `check_files` `missing_files`, where `sizes_of` looks; reasons name the line. Raises DataError
    where the file as a whole is something else or has no test set.

    Differs from the LoRA project's evaluation: the published test set counts, and duplicates do
    not, because otherwise a piece is its own distractor.
    """
    rows = json_rows(path, ("location", "caption"), "MidiCaps (train.json)")
    read_piece = partial(_read_piece, folder=Path(path).parent if folder is None else folder)
    parsed = parse_rows(rows, collection, partial(_name_of, collection), read_piece)
    if not parsed.columns and all(row.kind == "bad_row" for row in parsed.rejected):
        raise DataError(
            f"{path}: no line has test_set: true, so there is nothing to evaluate on. Releases "
            "before July 2024 have no test_set"
        )
    return _looked_for(parsed, sizes_of) if check_files else parsed


def _looked_for(parsed: Parsed, sizes_of: SizesOf) -> Parsed:
    """The same with a column `mid_bytes`; pieces whose file is not there are rejected."""
    sizes = sizes_of(parsed.columns.get("mid_path", []))
    found, lost = [], []
    for piece, size in zip(parsed.pieces(), sizes, strict=True):
        if size is None:
            reason = f"{piece['mid_path']} not found; is all unpacked?"
            lost.append(Rejected(piece["id"], STAGE, "missing_files", reason))
        else:
            found.append(piece | {"mid_bytes": size})
    return parsed._replace(columns=as_columns(found), rejected=parsed.rejected + lost)


def _name_of(collection: str, line: dict) -> str:
    location = line.get("location")
    if not isinstance(location, str):
        raise ValueError(f"location is {location!r}, expected lmd_full/<hex>/<md5>.mid")
    return f"{collection}/{check_name(file_stem(location))}"


def _read_piece(piece_id: str, line: dict, *, folder: Path | str) -> dict | None:
    if str(line.get("test_set")).lower() != "true":
        return None
    genres, moods = clean_words(line.get("genre")), clean_words(line.get("mood"))
    caption, analysis = clean_text(line.get("caption")), _analysis(line)
    if not caption and not analysis:
        raise FormatError("no_text", "no caption, no key, no tempo, no instrument")
    programs = _programs(line)
    return {
        "mid_path": clean_path(line["location"], folder),
        "genres": genres,
        "tags": moods,
        "instruments": [program_name(program) for program in dict.fromkeys(programs)],
        "programs": programs,
        "analysis": analysis,
        "description": caption,
        "text": " ".join(filter(None, [caption, *_facts(line, genres, moods)])) or None,
    }


def _programs(line: dict) -> list[int]:
    programs = line.get("instrument_numbers_sorted") or []
    if not isinstance(programs, list) or not all(isinstance(n, int) for n in programs):
        raise ValueError(f"instrument_numbers_sorted is {programs!r}, expected a list of numbers")
    for program in programs:
        program_name(program)
    return programs


def _analysis(line: dict) -> str | None:
    key, metre = clean_text(line.get("key")), clean_text(line.get("time_signature"))
    heading = read_subtitle(f"in {key} {metre or ''}".strip())
    key = heading.key if heading else key
    played = join_words([name.lower() for name in clean_words(line.get("instrument_summary"))])
    sentences = {
        f"Music in {key}": key,
        f"The time signature is {metre}": metre,
        f"Played by {played}": played,
        f"The tempo is {_tempo(line)}": _tempo(line),
    }
    return " ".join(f"{text}." for text, known in sentences.items() if known) or None


def _tempo(line: dict) -> str | None:
    tempo, word = line.get("tempo"), clean_text(line.get("tempo_word"))
    if not isinstance(tempo, int | float) or not 0 < tempo < _FASTEST:
        return word
    return f"{tempo:g} beats per minute" + (f" ({word})" if word else "")


def _facts(line: dict, genres: list[str], moods: list[str]) -> list[str]:
    """What the LoRA project appends to the caption.

    Source: Ononymous/291A-clamp3@af06771 preprocessing/parse_midicaps_jsonl.py
    """
    tempo, duration = line.get("tempo"), line.get("duration")
    parts = {
        "Genre": ", ".join(genres),
        "Mood": ", ".join(moods),
        "Key": line.get("key"),
        "Time signature": line.get("time_signature"),
        "Tempo": tempo and f"{tempo} BPM ({line.get('tempo_word')})",
        "Duration": duration and f"{duration}s ({line.get('duration_word')})",
        "Main chord progression": " - ".join(clean_words(line.get("chord_summary"))),
        "Instruments": ", ".join(clean_words(line.get("instrument_summary"))),
    }
    return [f"{name}: {value}." for name, value in parts.items() if value]
