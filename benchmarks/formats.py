"""Speed and memory of the score and performance converters.

    python benchmarks/formats.py --goldens ../shared/goldens

Seconds per 1,000 files: CPU time on one core, wall time on all. Own converters and their
yardsticks run in turns in one process, best of `--rounds`, so that ratios hold on a busy machine:
MTF against mido reading and writing the same text, MusicXML against a bare ElementTree parse of
the same documents, both without garbage collection. Last the peak memory of a fresh process that
converts the largest score.
"""

import argparse
import gc
import io
import multiprocessing
import os
import platform
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import mido
from measuring import GOLDENS, peak_megabytes, recorded, source_of

from clamp3.errors import FormatError
from clamp3.formats.abc import interleave_abc
from clamp3.formats.mtf import TEXT_TYPES, midi_to_mtf, mtf_to_midi
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.formats.patches import encode_patches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--goldens", type=Path, default=GOLDENS, help="recorded outputs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="for `all cores`")
    options = parser.parse_args()
    if not options.goldens.is_dir():
        print(f"no recorded outputs at {options.goldens}")
        return
    print(f"{machine()}; load average {os.getloadavg()[0]:.1f} before the run")
    cores = f"{options.processes} cores"
    print(f"{'s / 1,000 files':34}{'files':>6}{'1 core':>9}{cores:>9}{'yardstick / own':>17}")
    compare_performances(recorded("midi", goldens=options.goldens), options)
    largest = b""
    for table in ("scores_music21", "scores_extra"):
        rows = recorded(table, goldens=options.goldens)
        compare_scores(table.removeprefix("scores_"), rows, options)
        largest = max(largest, *filter(None, map(source_of, rows)), key=document_bytes)
    report_memory(largest)
    print(f"load average {os.getloadavg()[0]:.1f} after the run")


def compare_performances(rows: list[dict], options: argparse.Namespace) -> None:
    midi = [row["midi"] for row in rows]
    mtf = [row["mtf_m3"] for row in rows]
    compare("MIDI to MTF (mido)", midi, midi_to_mtf, by_mido, options)
    compare("MTF to MIDI", mtf, mtf_to_midi, None, options)
    compare("MTF to patches", mtf, encode_patches, None, options)


def compare_scores(label: str, rows: list[dict], options: argparse.Namespace) -> None:
    """Print the lines of one set of scores."""
    sources = [source for row in rows if row["xml2abc_ok"] and (source := source_of(row))]
    compare(f"{label}: MusicXML to ABC (parse)", sources, musicxml_to_abc, bare_parse, options)
    rows = [row for row in rows if row["interleave_ok"]]
    abc = [row["standard_abc"] for row in rows]
    compare(f"{label}: interleaving", abc, interleave_abc, None, options)
    rotated = [row["interleaved_abc"] for row in rows]
    compare(f"{label}: ABC to patches", rotated, encode_patches, None, options)


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
    best, scale = min(own_seconds), 1000 / len(inputs)
    everywhere = pool_seconds(own, inputs, options)
    ratio = f"{min(yard_seconds) / best:17.2f}" if yardstick else ""
    print(f"{label:34}{len(inputs):6}{scale * best:9.3f}{scale * everywhere:9.3f}{ratio}")


def cpu_seconds(convert: Callable, inputs: list) -> float:
    start = time.process_time()
    for item in inputs:
        attempt(convert, item)
    return time.process_time() - start


def pool_seconds(convert: Callable, inputs: list, options: argparse.Namespace) -> float:
    """Wall seconds with all processes at work, once they have started."""
    context = multiprocessing.get_context("fork")
    with context.Pool(options.processes, keep, (convert, inputs)) as pool:
        pool.map(convert_kept, range(options.processes))
        seconds = []
        for _ in range(options.rounds):
            start = time.perf_counter()
            for _ in pool.imap_unordered(convert_kept, range(len(inputs)), chunksize=4):
                pass
            seconds.append(time.perf_counter() - start)
    return min(seconds)


_kept: tuple[Callable, list]


def keep(convert: Callable, inputs: list) -> None:
    """What a process of the pool works on, so that no inputs travel."""
    global _kept
    _kept = convert, inputs


def convert_kept(index: int) -> None:
    convert, inputs = _kept
    attempt(convert, inputs[index % len(inputs)])


def attempt(convert: Callable, item: object) -> None:
    try:
        convert(item)
    except FormatError as error:
        print(f"refused: {error.kind}: {error}")


def report_memory(source: bytes) -> None:
    """Print what a fresh process needs for a score."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure_memory, args=(sender, source))
    process.start()
    before, peak, seconds = receiver.recv()
    process.join()
    print(
        f"peak memory of the largest score ({document_bytes(source) / 1e6:.1f} MB of XML): "
        f"{peak:.0f} MB, {before:.0f} MB of them before; {seconds:.2f} s"
    )


def measure_memory(pipe, source: bytes) -> None:
    before = peak_megabytes()
    start = time.process_time()
    musicxml_to_abc(source)
    pipe.send((before, peak_megabytes(), time.process_time() - start))


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
    """The element tree of the longest member or the file, without garbage collection."""
    gc.disable()
    try:
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                data = archive.read(longest_member(archive))
        return ElementTree.fromstring(data)  # noqa: S314 - files of music21
    finally:
        gc.enable()


def document_bytes(data: bytes) -> int:
    if not data.startswith(b"PK"):
        return len(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return longest_member(archive).file_size
    except zipfile.BadZipFile:
        return 0


def longest_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    return max(archive.infolist(), key=lambda info: info.file_size)


def machine() -> str:
    """Processor, cores, Python."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
