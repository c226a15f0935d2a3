"""How many scores and performances come out byte for byte as the original programs write them.

    python benchmarks/identity.py --goldens ../shared/goldens

Scores of music21's corpus are read from the installed music21; those of another version of the
file are left out.
"""

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path

from measuring import GOLDENS, recorded, source_of

from clamp3.errors import FormatError
from clamp3.formats.abc import interleave_abc
from clamp3.formats.mtf import midi_to_mtf
from clamp3.formats.musicxml import musicxml_to_abc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--goldens", type=Path, default=GOLDENS, help="recorded outputs")
    goldens = parser.parse_args().goldens
    if not (goldens / "formats").is_dir():
        print(f"no recorded outputs at {goldens}")
        return
    midi = recorded("midi", goldens=goldens)
    count("MTF", midi, "mtf_m3", lambda row: midi_to_mtf(row["midi"]))
    full = "MTF with metadata"
    count(full, midi, "mtf_full", lambda row: midi_to_mtf(row["midi"], keep_metadata=True))
    for table in ("scores_music21", "scores_extra"):
        report_scores(table, recorded(table, goldens=goldens))


def report_scores(name: str, rows: list[dict]) -> None:
    """Print the lines of one set of scores."""
    interleaved = [row for row in rows if row["interleave_ok"]]
    count(
        f"{name}: interleaving",
        interleaved,
        "interleaved_abc",
        lambda row: interleave_abc(row["standard_abc"]),
    )
    found = [row | {"music": music_of(row)} for row in rows]
    found = [row for row in found if row["music"]]
    converted = [row for row in found if row["xml2abc_ok"]]
    count(f"{name}: MusicXML", converted, "standard_abc", lambda row: musicxml_to_abc(row["music"]))
    count(
        f"{name}: MusicXML, interleaved",
        [row for row in found if row["interleave_ok"]],
        "interleaved_abc",
        lambda row: interleave_abc(musicxml_to_abc(row["music"])),
    )
    lost = [row for row in found if not row["interleave_ok"]]
    saved = [text for row in lost if (text := attempt(to_interleaved, row)) is not None]
    print(f"{name}: {len(saved)} of {len(lost)} that stop the original are converted")


def to_interleaved(row: dict) -> str:
    return interleave_abc(musicxml_to_abc(row["music"]))


def count(what: str, rows: list[dict], column: str, convert: Callable[[dict], str]) -> None:
    """Print how many rows come out as recorded."""
    same = sum(attempt(convert, row) == row[column] for row in rows)
    print(f"{what}: {same} of {len(rows)} identical")


def attempt(convert: Callable[[dict], str], row: dict) -> str | None:
    try:
        return convert(row)
    except FormatError:
        return None


def music_of(row: dict) -> bytes | None:
    """The MusicXML file of a row, unless the installed music21 has another version of it."""
    data = source_of(row)
    stored = bool(row.get("source"))
    same = stored or hashlib.sha256(data or b"").hexdigest() == row["source_sha256"]
    return data if same else None


if __name__ == "__main__":
    main()
