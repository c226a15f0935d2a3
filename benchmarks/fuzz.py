"""What the readers make of damaged scores and performances.

    python benchmarks/fuzz.py --inputs 10000 --seed 0 --goldens ../shared/goldens

Real files (music21's corpus, the recorded ones of the tests and, where they are, the goldens) are
damaged and given to every reader. A reader may convert an input or refuse it with one of this
package's errors, within 10 s of CPU time and 500 MB of memory; anything else fails. The same seed
gives the same inputs. Status 1 if any input failed.
"""

import argparse
import faulthandler
import gzip
import json
import multiprocessing
import multiprocessing.connection
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from traceback import format_exception_only, walk_tb
from typing import NamedTuple

import pyarrow.parquet
from measuring import GOLDENS, ROOT, music21_corpus, recorded
from mutations import damaged

from clamp3.errors import Clamp3Error, FormatError
from clamp3.formats.abc import alignment_warnings, deinterleave_abc, interleave_abc
from clamp3.formats.modality import detect_format
from clamp3.formats.mtf import midi_to_mtf, mtf_to_midi
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.formats.patches import decode_patches, encode_patches, remove_instruments

GOLDEN = ROOT / "tests" / "golden"
SHARES = {"musicxml": 0.5, "midi": 0.25, "abc": 0.15, "mtf": 0.1}
LARGEST_SOURCE_BYTES = 1_000_000
MOST_SECONDS = 10
MOST_BYTES = 500 * 2**20
FROZEN_SECONDS = 120


class Source(NamedTuple):
    """A real file: its kind, a name, and how to get its bytes."""

    kind: str
    name: str
    read: Callable[[], bytes]


class Finding(NamedTuple):
    """What one reader made of one input: `outcome` is converted, a kind of refusal, or a fault."""

    number: int
    reader: str
    outcome: str
    failed: bool


class TooSlowError(BaseException):
    """A reader took too long; no Exception, so that no reader catches it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--goldens", type=Path, default=GOLDENS, help="more real files")
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--save", type=Path, help="folder for the inputs that failed")
    options = parser.parse_args()
    sources = find_sources(options.goldens)
    counts = Counter(source.kind for source in sources)
    print(f"seed {options.seed}, {options.inputs} inputs from", dict(sorted(counts.items())))
    start = time.monotonic()
    findings, peak, slowest = run_all(sources, options)
    print_table(findings)
    failed = [finding for finding in findings if finding.failed]
    for finding in failed[:40]:
        print(f"FAILED input {finding.number}: {finding.reader}: {finding.outcome}")
    if options.save:
        save_inputs(options.save, {finding.number for finding in failed}, sources, options.seed)
    print(
        f"{len(failed)} failures; slowest reading {slowest[0]:.1f} s CPU (input {slowest[1]}), "
        f"peak memory of a process {peak / 2**20:.0f} MB, {time.monotonic() - start:.0f} s in all"
    )
    return 1 if failed else 0


# Inputs


def find_sources(goldens: Path) -> list[Source]:
    """All real files there are, small enough for thousands of them to be read."""
    corpus = music21_corpus()
    sources = list(corpus_files(corpus, "musicxml", (".xml", ".mxl", ".musicxml")))
    sources += corpus_files(corpus, "abc", (".abc",))
    for row in pyarrow.parquet.read_table(GOLDEN / "midi.parquet").to_pylist():
        sources.append(held("midi", row["id"], row["midi"]))
        sources.append(held("mtf", row["id"], row["mtf_full"].encode()))
    with gzip.open(GOLDEN / "scores_curated.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            for column in ("standard_abc", "interleaved_abc"):
                if row.get(column):
                    sources.append(held("abc", row["id"], row[column].encode()))
    for row in recorded("scores_extra", goldens=goldens):
        sources.append(held("musicxml", row["id"], row["source"]))
        sources.append(held("abc", row["id"], (row["interleaved_abc"] or "").encode()))
    return sources


def corpus_files(folder: Path, kind: str, suffixes: tuple[str, ...]) -> Iterator[Source]:
    for path in sorted(folder.rglob("*")):
        small = path.suffix.lower() in suffixes and path.stat().st_size <= LARGEST_SOURCE_BYTES
        if small:
            yield Source(kind, path.name, path.read_bytes)


def held(kind: str, name: str, data: bytes) -> Source:
    return Source(kind, name, partial(bytes, data))


def make_input(sources: list[Source], seed: int, number: int) -> tuple[str, bytes]:
    """The kind and the bytes of an input; the same for the same seed and number."""
    dice = random.Random(f"{seed} {number}")
    (kind,) = dice.choices(list(SHARES), list(SHARES.values()))
    source = dice.choice([source for source in sources if source.kind == kind])
    data = source.read()
    return kind, damaged(kind, data, dice) if data else data


def save_inputs(folder: Path, numbers: set[int], sources: list[Source], seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in sorted(numbers):
        kind, data = make_input(sources, seed, number)
        (folder / f"{number}.{kind}").write_bytes(data)


# Readers


def read_abc(text: str) -> str:
    """Interleaved ABC, which must come back the same from the standard ABC made of it."""
    rows = interleave_abc(text)
    interleave_abc(deinterleave_abc(rows))
    alignment_warnings(text)
    return rows


def read_midi(data: bytes) -> str:
    midi_to_mtf(data)
    return midi_to_mtf(data, keep_metadata=True)


def read_patches(text: str) -> None:
    decode_patches(encode_patches(text))
    remove_instruments(text)


def read_input(kind: str, data: bytes) -> Iterator[tuple[str, str | None, str, float]]:
    """Every reader on an input and on what the readers before made of it.

    Yields reader, fault (None: none), outcome, CPU seconds.
    """
    text = data.decode("utf-8", "surrogateescape" if len(data) % 2 else "replace")
    waiting = [("detect_format", detect_format, data)]
    waiting += {
        "musicxml": [("musicxml_to_abc", musicxml_to_abc, data)],
        "midi": [("midi_to_mtf", read_midi, data)],
        "abc": [("interleave_abc", read_abc, text), ("patches", read_patches, text)],
        "mtf": [("mtf_to_midi", mtf_to_midi, text), ("patches", read_patches, text)],
    }[kind]
    following = {
        "musicxml_to_abc": ("interleave_abc", read_abc),
        "interleave_abc": ("patches", read_patches),
        "midi_to_mtf": ("mtf_to_midi", mtf_to_midi),
        "mtf_to_midi": ("midi_to_mtf", midi_to_mtf),
    }
    while waiting and len(waiting) < 9:
        name, reader, source = waiting.pop(0)
        result, fault, outcome, seconds = attempt(reader, source)
        yield name, fault, outcome, seconds
        if fault is None and result is not None and name in following and kind != "done":
            waiting.append((*following[name], result))
            if name == "mtf_to_midi":
                kind = "done"


def attempt(reader: Callable, source: object) -> tuple[object, str | None, str, float]:
    """Result, fault, outcome and CPU seconds of a reader."""
    start = time.process_time()
    result, fault = None, None
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        result = reader(source)
        outcome = "converted"
    except FormatError as error:
        outcome = error.kind
    except Clamp3Error as error:
        outcome = type(error).__name__
    except (Exception, TooSlowError) as error:
        frames = [
            step for step in walk_tb(error.__traceback__) if step[0].f_code != too_slow.__code__
        ]
        frame, line = frames[-1]
        place = f"{Path(frame.f_code.co_filename).name}:{line}"
        fault = outcome = f"{format_exception_only(error)[-1].strip()[:120]} at {place}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return result, fault, outcome, time.process_time() - start


# Processes


def run_all(
    sources: list[Source], options: argparse.Namespace
) -> tuple[list[Finding], int, tuple[float, int]]:
    """All findings by input, the peak memory in bytes, the slowest reading and its input."""
    findings: list[Finding] = []
    peak, slowest = 0, (0.0, 0)
    context = multiprocessing.get_context("fork")
    workers = {}
    for share in range(options.processes):
        numbers = range(share, options.inputs, options.processes)
        start_worker(context, workers, sources, options.seed, numbers)
    while workers:
        for pipe in multiprocessing.connection.wait(list(workers)):
            process, left = workers.pop(pipe)
            try:
                number, found, seconds, memory = pipe.recv()
            except EOFError:
                process.join()
                if process.exitcode:
                    number, left = left[0], left[1:]
                    fault = f"ended with {process.exitcode}"
                    findings.append(Finding(number, "process", fault, True))
                if left:
                    start_worker(context, workers, sources, options.seed, left)
                continue
            workers[pipe] = process, left[1:]
            findings += found
            slowest = max(slowest, (seconds, number))
            peak = max(peak, memory)
    return sorted(findings), peak, slowest


def start_worker(context, workers: dict, sources: list[Source], seed: int, numbers: range) -> None:
    """Start a process that reads the inputs; `workers` gets it and its inputs, by its pipe."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(sender, sources, seed, numbers))
    process.start()
    sender.close()
    workers[receiver] = process, numbers


def work(pipe, sources: list[Source], seed: int, numbers: range) -> None:
    """Read inputs and send what was found; ends early where memory grew beyond the bound."""
    signal.signal(signal.SIGPROF, too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (8 * MOST_BYTES, 8 * MOST_BYTES))
    for number in numbers:
        faulthandler.dump_traceback_later(FROZEN_SECONDS, exit=True, file=sys.__stderr__)
        kind, data = make_input(sources, seed, number)
        readings = list(read_input(kind, data))
        found = [Finding(number, name, what, bool(fault)) for name, fault, what, _ in readings]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if memory > MOST_BYTES:
            found.append(Finding(number, "process", f"{memory >> 20} MB of memory", True))
        pipe.send((number, found, max(seconds for *_, seconds in readings), memory))
        if memory > MOST_BYTES:
            return


def too_slow(number: int, frame: object) -> None:
    raise TooSlowError(f"more than {MOST_SECONDS} s")


def print_table(findings: list[Finding]) -> None:
    """One line per reader: how many inputs were converted, refused (by kind), failed."""
    for reader in sorted({finding.reader for finding in findings}):
        of_reader = [finding for finding in findings if finding.reader == reader]
        fine = Counter(finding.outcome for finding in of_reader if not finding.failed)
        converted = fine.pop("converted", 0)
        failed = sum(finding.failed for finding in of_reader)
        refused = ", ".join(f"{kind} {count}" for kind, count in fine.most_common())
        print(
            f"{reader:16} {len(of_reader):6} read, {converted:6} converted, "
            f"{sum(fine.values()):6} refused, {failed:3} failed   {refused}"
        )


if __name__ == "__main__":
    sys.exit(main())
