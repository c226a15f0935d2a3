"""Speed of the score and performance converters, in CPU seconds per 1,000 files.

    python benchmarks/formats.py --goldens ../shared/goldens

Own converters and their yardsticks run in turns in one process, best of `--rounds`, so that ratios
hold on a busy machine: MTF against mido reading and writing the same text, MusicXML against a bare
ElementTree parse of the same documents.
"""

import argparse
import importlib.util
import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import mido
import pyarrow.parquet

from clamp3.errors import FormatError
from clamp3.formats.abc import interleave_abc
from clamp3.formats.mtf import TEXT_TYPES, midi_to_mtf
from clamp3.formats.patches import encode_patches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = os.environ.get("CLAMP3_GOLDENS", "../shared/goldens")
    parser.add_argument("--goldens", type=Path, default=Path(default), help="recorded outputs")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.goldens.is_dir():
        print(f"no recorded outputs at {options.goldens}")
        return
    print(f"{'conversion':34}{'files':>6}{'s / 1,000 files':>17}{'yardstick / own':>17}")
    folder = options.goldens / "formats"
    midi = pyarrow.parquet.read_table(folder / "midi.parquet").to_pylist()
    compare("MIDI to MTF (mido)", [row["midi"] for row in midi], midi_to_mtf, by_mido, options)
    compare("MTF to patches", [row["mtf_m3"] for row in midi], encode_patches, None, options)
    for table in ("scores_music21", "scores_extra"):
        rows = pyarrow.parquet.read_table(folder / f"{table}.parquet").to_pylist()
        label = table.removeprefix("scores_")
        abc = [row["standard_abc"] for row in rows if row["interleave_ok"]]
        compare(f"{label}: interleaving", abc, interleave_abc, None, options)
        rotated = [row["interleaved_abc"] for row in rows if row["interleave_ok"]]
        compare(f"{label}: ABC to patches", rotated, encode_patches, None, options)
        compare_musicxml(label, [row for row in rows if row["xml2abc_ok"]], options)


def compare_musicxml(label: str, rows: list[dict], options: argparse.Namespace) -> None:
    """MusicXML to ABC, where the converter and the files are there."""
    try:
        from clamp3.formats.musicxml import musicxml_to_abc
    except ImportError as error:
        print(f"{label}: MusicXML to ABC left out: {error}")
        return
    sources = [source for source in map(source_of, rows) if source]
    compare(f"{label}: MusicXML (ElementTree)", sources, musicxml_to_abc, bare_parse, options)


def compare(
    label: str,
    inputs: list,
    own: Callable,
    yardstick: Callable | None,
    options: argparse.Namespace,
) -> None:
    """Print one line: own seconds per 1,000 files and how much longer the yardstick takes."""
    if not inputs:
        print(f"{label:34}{0:6}  no files found")
        return
    own_seconds, yard_seconds = [], []
    for _ in range(options.rounds):
        own_seconds.append(cpu_seconds(own, inputs))
        if yardstick:
            yard_seconds.append(cpu_seconds(yardstick, inputs))
    best = min(own_seconds)
    ratio = f"{min(yard_seconds) / best:17.1f}" if yardstick else f"{'':17}"
    print(f"{label:34}{len(inputs):6}{1000 * best / len(inputs):17.3f}{ratio}")


def cpu_seconds(convert: Callable, inputs: list) -> float:
    start = time.process_time()
    for item in inputs:
        try:
            convert(item)
        except FormatError as error:
            print(f"refused: {error.kind}: {error}")
    return time.process_time() - start


def by_mido(data: bytes) -> str:
    """MTF as the original makes it."""
    midi = mido.MidiFile(file=io.BytesIO(data))
    lines = [f"ticks_per_beat {midi.ticks_per_beat}"]
    for message in midi.merged_track:
        if message.type not in TEXT_TYPES:
            line = " ".join(str(value) for value in message.dict().values())
            lines.append(line.encode("unicode_escape").decode())
    return "\n".join(lines)


def bare_parse(data: bytes) -> ElementTree.Element:
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.startswith("META-INF")]
            data = archive.read(next(name for name in names if name.endswith("xml")))
    return ElementTree.fromstring(data)


def source_of(row: dict) -> bytes | None:
    """The MusicXML file of a row: stored there, or part of the installed music21."""
    if row.get("source"):
        return row["source"]
    spec = importlib.util.find_spec("music21")
    path = Path(spec.origin).parent / "corpus" / row["corpus_path"] if spec else None
    return path.read_bytes() if path and path.is_file() else None


if __name__ == "__main__":
    main()
