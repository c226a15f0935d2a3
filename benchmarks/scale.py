"""What each step costs at 1,000, 10,000 and more pieces: CPU time a piece, memory, files, disk.

    python benchmarks/scale.py [--pieces 1000 10000] [--steps parse abc …] [--like pdmx|lakh]
                               [--per-part 4000] [--sampled 4] [--folder DIR] [--no-skew]

The pipeline's own scripts with the parameters of params.yaml, a process a job as Snakemake starts
them, on corpora that made_corpora.py makes: `--per-part` pieces a part at most, so that a part has
as many at every size but the smallest. Of many parts `--sampled` are converted and measured, the
others filled in with the same texts. CPU time a piece is without what starting costs, which a run
on 50 pieces tells. Memory is that of the largest job. `embed` and `index` run a CLaMP 3 of 32
dimensions with random weights, on the test split and on everything; `vectors` makes an index, exact
and approximate, of two generated vectors of 768 dimensions a piece; `stores` and `pairs` are what a
training reads: both stores, and a manifest with texts of M4-RAG's lengths, gone through as at its
start and then pair by pair in random order as in an epoch. Below: by how much the time a piece
differs between the sizes (aim: 20 %), and what one large score does to its part and to the others.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "workflow" / "scripts"
MADE = Path(__file__).resolve().parent / "made_corpora.py"
FEW = 50  # pieces of the run that tells what starting costs
FLAT = 0.2
LOG = "last.log"
REJECTED_COUNT = re.compile(r"\d+ in, \d+ out, (\d+) rejected")
PART = "data/{store}/{part}.parquet"
REJECTED = "data/{store}/rejected-{part}.parquet"
SKEWED_MEGABYTES = (4, 40, 80)  # of MusicXML; 80 is more than `limits` allows
OPEN_STORES = """
import sys
from clamp3.data.store import Store
for folder in sys.argv[1:]:
    store = Store(folder)
    store.get(store.ids[0])
"""
READ_PAIRS = """
import random, sys
from pathlib import Path
from clamp3.data.pairs import load_pairs
pairs = load_pairs([Path(sys.argv[1])])
for place in random.Random(0).sample(range(len(pairs)), len(pairs)):
    pairs[place]
"""
Command = list[str]


@dataclass(frozen=True)
class Cost:
    """What some processes took: CPU and wall seconds of all, memory of the largest in MB."""

    jobs: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    peak_mb: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        peak = max(self.peak_mb, other.peak_mb)
        return Cost(self.jobs + other.jobs, self.cpu + other.cpu, self.wall + other.wall, peak)


@dataclass(frozen=True)
class Work:
    """The commands of a step that were chosen, and what share of its pieces they work on."""

    commands: list[Command]
    pieces: float


class Place:
    """A work tree for one corpus: data/corpus, and beside it what the steps write."""

    def __init__(self, folder: Path, bodies: Path, pieces: int, options: argparse.Namespace):
        self.folder, self.bodies, self.pieces = folder, bodies, pieces
        self.like, self.sampled = options.like, options.sampled
        count = -(-pieces // options.per_part)
        self.parts = [f"part-{number:05d}-of-{count:05d}" for number in range(count)]
        self.corpus = folder / "data" / "corpus"
        if options.like == "lakh":
            made("pdmx", self.corpus, "--bodies", bodies, "--pieces", 0)
        made(options.like, self.corpus, "--bodies", bodies, "--pieces", pieces)
        (folder / "data" / "recordings").mkdir()

    @cached_property
    def params(self) -> str:
        """params.yaml for this corpus, as JSON; a script reads its own sections alone."""
        values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        given = {"midicaps": {"layout": "midicaps", "path": "data/corpus/train.json"}}
        values["shards"] = len(self.parts)
        values["corpus"] |= {"source": "pdmx", "folder": "data/corpus"}
        values["parse"]["collections"] = given if self.like == "lakh" else {}
        values["audio"] |= {"source": "folder", "folder": "data/recordings"}
        return json.dumps(values)

    @property
    def collections(self) -> list[str]:
        return ["pdmx", "midicaps"] if self.like == "lakh" else ["pdmx"]

    @property
    def chosen(self) -> list[str]:
        """The parts that are measured, from the first to the last."""
        count = min(self.sampled, len(self.parts))
        return [self.parts[len(self.parts) * (2 * n + 1) // (2 * count)] for n in range(count)]

    def script(self, name: str, **named: object) -> Command:
        words = [sys.executable, str(SCRIPTS / f"{name}.py"), "--params", self.params]
        for key, value in (named | {"log": f"logs/{name}.log"}).items():
            several = value if isinstance(value, list) else [value]
            words += [f"--{key}", *map(str, several)]
        return words

    def paths(self, pattern: str, store: str) -> list[str]:
        return [pattern.format(store=store, part=part) for part in self.parts]

    def convert(self, script: str, store: str) -> Work:
        """A job for each part that is measured."""
        return Work(
            [
                self.script(
                    script,
                    catalog=PART.format(store="catalog", part=part),
                    table=PART.format(store=store, part=part),
                    rejected=REJECTED.format(store=store, part=part),
                )
                for part in self.chosen
            ],
            sum(self.rows("data/catalog/parts.tsv", part) for part in self.chosen),
        )

    def rows(self, listing: str, part: str) -> int:
        lines = (self.folder / listing).read_text(encoding="utf-8").splitlines()[1:]
        rows = {name: int(count) for name, count, _ in (line.split("\t") for line in lines)}
        return rows[f"{part}.parquet"]

    def list_store(self, store: str) -> Command:
        return self.script("list_parts", folder=f"data/{store}", listing=f"data/{store}/parts.tsv")

    def fill(self, store: str) -> None:
        """Make the parts of a store that no job has made, and list all."""
        made("fill", self.folder, "--bodies", self.bodies, "--store", store)
        run(self.list_store(store), self.folder)

    def manifests(self, splits: Sequence[str] = ("train", "validation", "test")) -> list[str]:
        found = sorted((self.folder / "data" / "manifests").glob("*.jsonl"))
        kept = [path for path in found if path.stem.rpartition("-")[2] in splits]
        return [str(path.relative_to(self.folder)) for path in kept]

    def last_words(self) -> str:
        """What the last process printed."""
        return (self.folder / LOG).read_text(encoding="utf-8", errors="replace")

    def written(self) -> tuple[int, int]:
        """How many files the steps have made, and how many bytes they have."""
        tops = [path for path in (self.folder / "data").iterdir() if path != self.corpus]
        tops += [self.folder / "results"]
        files = [path for top in tops for path in top.rglob("*") if path.is_file()]
        return len(files), sum(path.stat().st_size for path in files)


def parse(place: Place) -> Work:
    command = place.script(
        "parse_catalog",
        csv="data/corpus/PDMX.csv",
        rejected="data/catalog/rejected.parquet",
        parts=place.paths(PART, "catalog"),
        listing="data/catalog/parts.tsv",
    )
    return Work([command], place.pieces)


def abc(place: Place) -> Work:
    return place.convert("convert_scores", "abc")


def interleave(place: Place) -> Work:
    command = place.script(
        "interleave_scores",
        abc="data/abc/parts.tsv",
        out="data/interleaved",
    )
    return Work([command], sum(place.rows("data/abc/parts.tsv", part) for part in place.parts))


def mtf(place: Place) -> Work:
    return place.convert("convert_performances", "mtf")


def list_stores(place: Place) -> Work:
    stores = ("abc", "mtf", "features")  # interleaving lists its own
    return Work([place.list_store(store) for store in stores], place.pieces)


def manifest(place: Place) -> Work:
    command = place.script(
        "build_manifests",
        collections=place.collections,
        **{
            store: f"data/{store}/parts.tsv"
            for store in ("catalog", "interleaved", "mtf", "features")
        },
        rejected="data/catalog/rejected.parquet",
        passed=["data/abc/parts.tsv"],
        out="data/manifests",
    )
    return Work([command], place.pieces)


def embed(place: Place) -> Work:
    manifests = place.manifests(("test",))
    command = place.script(
        "embed_clamp3",
        model=place.bodies / "model",
        manifests=manifests,
        out="results/embeddings/clamp3",
    )
    lines = [(place.folder / path).read_bytes().count(b"\n") for path in manifests]
    return Work([command], max(lines))


def index(place: Place) -> Work:
    command = place.script(
        "index_corpus",
        model=place.bodies / "model",
        manifests=place.manifests(),
        catalog="data/catalog/parts.tsv",
        scores="data/abc/parts.tsv",
        midi="data/corpus/mid",
        recordings="data/recordings",
        queries="results/embeddings/clamp3/pdmx/text.parquet",
        out="results/index",
        rejected="results/index-rejected.parquet",
        metrics="results/index.json",
    )
    return Work([command], place.pieces)


def vectors(place: Place) -> Work:
    table = place.folder / "vectors" / "abc.parquet"
    made("vectors", table, "--pieces", 2 * place.pieces)
    command = [sys.executable, "-m", "clamp3", "index", "build", "results/made", str(table)]
    return Work([command, [*command, "--ann"]], place.pieces)


def stores(place: Place) -> Work:
    folders = ["data/interleaved", "data/mtf"]
    return Work([[sys.executable, "-c", OPEN_STORES, *folders]], place.pieces)


def pairs(place: Place) -> Work:
    path = place.folder / "pairs.jsonl"
    made("pairs", path, "--pieces", place.pieces)
    return Work([[sys.executable, "-c", READ_PAIRS, str(path)]], place.pieces)


STEPS: dict[str, Callable[[Place], Work]] = {
    "parse": parse,
    "abc": abc,
    "interleave": interleave,
    "mtf": mtf,
    "list": list_stores,
    "manifest": manifest,
    "embed": embed,
    "index": index,
    "vectors": vectors,
    "stores": stores,
    "pairs": pairs,
}
STORES = {"abc": "abc", "mtf": "mtf"}  # filled in after the step
NEEDED = ("parse", "interleave", "list", "manifest")  # whether or not they are measured
ONLY_PDMX = ("embed", "index", "vectors", "pairs")


def run(command: Command, folder: Path) -> Cost:
    """Run one process and measure it. Ends the program with its last words where it fails."""
    log = folder / LOG
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        shown = [word for word in command if not word.startswith("{")]
        sys.exit("\n".join([" ".join(shown)[:400], *tail]))
    wall = time.perf_counter() - begun
    return Cost(1, used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def made(kind: str, folder: Path, *words: object) -> None:
    """Have made_corpora.py make something, in a process of its own: this one is to stay small."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    run([sys.executable, str(MADE), kind, str(folder), *map(str, words)], folder.parent)


def measure(place: Place, steps: Sequence[str]) -> Iterator[tuple[str, Cost, float]]:
    """Run the steps in their order; yield each with its cost and the pieces that it was for."""
    last = max(list(STEPS).index(step) for step in steps)
    for step in list(STEPS)[: last + 1]:
        if step in steps or step in NEEDED or (step == "embed" and "index" in steps):
            work = STEPS[step](place)
            cost = Cost()
            for command in work.commands:
                cost += run(command, place.folder)
            if step in steps:
                yield step, cost, work.pieces
        if step in STORES:
            place.fill(STORES[step])
        if step == "mtf":
            place.fill("features")


class Line(NamedTuple):
    """Of two runs, on few pieces and on many: CPU seconds a start and milliseconds a piece.

    `known`: the pieces take at least as long as starting; less is lost in the noise.
    """

    start: float
    per_piece: float
    known: bool


def line_through(few: tuple[Cost, float], many: tuple[Cost, float]) -> Line:
    (less, fewer), (more, pieces) = few, many
    runs = more.jobs / less.jobs
    rate = (more.cpu - runs * less.cpu) / max(pieces - runs * fewer, 1)
    start = (less.cpu - fewer * rate) / less.jobs
    return Line(start, 1000 * rate, more.cpu >= 2 * more.jobs * start)


def starts_of(work: Path, bodies: Path, options: argparse.Namespace, steps: Sequence[str]) -> dict:
    """What each step takes on few pieces, the least of some rounds."""
    found: dict[str, tuple[Cost, float]] = {}
    for number in range(options.rounds):
        place = Place(work / f"few{number}", bodies, FEW, options)
        for step, cost, pieces in measure(place, steps):
            if step not in found or cost.cpu < found[step][0].cpu:
                found[step] = cost, pieces
    return found


def told(place: Place, steps: Sequence[str], starts: dict) -> dict[str, Line]:
    """Print a row for each step as it is done; returns what each costs."""
    lines = {}
    for step, cost, pieces in measure(place, steps):
        line = lines[step] = line_through(starts[step], (cost, pieces))
        rate = f"{line.per_piece:12.3f}" if line.known else f"{'–':>12}"
        print(
            f"{step:11}{place.pieces:8}{len(place.parts):6}{cost.jobs:6}{pieces:9.0f}"
            f"{cost.cpu:9.1f}{cost.wall:9.1f}{line.start:9.1f}{rate}{cost.peak_mb:8.0f}",
            flush=True,
        )
    return lines


def compared(lines: dict[int, dict[str, Line]]) -> None:
    """Print how far the milliseconds a piece of each step are apart."""
    print(f"\nCPU ms a piece at {', '.join(map(str, lines))} pieces; –: less than starting takes")
    for step in next(iter(lines.values())):
        own = [found[step] for found in lines.values()]
        known = [line.per_piece for line in own if line.known]
        shown = "".join(f"{x.per_piece:10.3f}" if x.known else f"{'–':>10}" for x in own)
        apart = max(known) / min(known) - 1 if len(known) > 1 else 0.0
        aim = "" if len(known) < 2 else "  flat" if apart <= FLAT else "  NOT FLAT"
        print(f"{step:11}{shown}   {f'{apart:.0%} apart' if aim else ''}{aim}")


def skew(work: Path, bodies: Path, options: argparse.Namespace) -> None:
    """Print what a score of 4 MB, as MusicXML or compressed, does to its part and to the others."""
    pieces = min(4 * options.per_part, options.skewed)
    split = argparse.Namespace(**vars(options) | {"like": "pdmx", "per_part": -(-pieces // 4)})
    place = Place(work / "skew", bodies, pieces, split)
    place.sampled = 4
    run(parse(place).commands[0], place.folder)
    print(f"\none large score among {pieces} in 4 parts: CPU s and MB of each part's job")
    skewed("as they are", place)
    target = sorted((place.corpus / "mxl").rglob("*.mxl"))[0]
    for megabytes in SKEWED_MEGABYTES:
        made("big", target, "--bodies", bodies, "--size", megabytes * 10**6)
        packed = target.stat().st_size / 1e6
        skewed(f"{megabytes} MB of MusicXML ({packed:.1f} packed)", place)
    target = sorted((place.corpus / "mid").rglob("*.mid"))[0]
    made("big", target, "--bodies", bodies, "--size", SKEWED_MEGABYTES[0] * 10**6)
    skewed(f"{SKEWED_MEGABYTES[0]} MB of MIDI", place, ("mtf",))


def skewed(what: str, place: Place, steps: Sequence[str] = ("abc", "mtf")) -> None:
    for step in steps:
        shown, rejected = "", 0
        for command in STEPS[step](place).commands:
            cost = run(command, place.folder)
            shown += f"{cost.cpu:8.1f}{cost.peak_mb:6.0f}"
            rejected += int(REJECTED_COUNT.findall(place.last_words())[-1])
        print(f"{what:36}{step:11}{shown}   {rejected} rejected", flush=True)
        place.fill(STORES[step])


def main() -> None:
    """Measure each size, then the skewed corpus."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pieces", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--like", choices=["pdmx", "lakh"], default="pdmx")
    parser.add_argument("--per-part", type=int, default=4000, help="pieces in a part at most")
    parser.add_argument("--sampled", type=int, default=4, help="parts that are converted")
    parser.add_argument("--bodies", type=Path, help="made before; else made now")
    parser.add_argument("--count", type=int, default=250, help="bodies to make")
    parser.add_argument("--rounds", type=int, default=3, help="of what starting costs")
    parser.add_argument("--skewed", type=int, default=4000, help="pieces of the skewed corpus")
    parser.add_argument("--no-skew", action="store_true")
    parser.add_argument("--folder", type=Path, help="for the files, which are removed again")
    options = parser.parse_args()
    unfit = ONLY_PDMX if options.like == "lakh" else ()
    steps = [step for step in STEPS if step in options.steps and step not in unfit]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        work = Path(name)
        bodies = options.bodies and options.bodies.resolve()
        if bodies is None:
            bodies = work / "bodies"
            made("bodies", bodies, "--count", options.count)
        starts = starts_of(work, bodies, options, steps)
        head = f"{'step':11}{'pieces':>8}{'parts':>6}{'jobs':>6}{'for':>9}{'CPU s':>9}{'s':>9}"
        print(f"{head}{'start s':>9}{'CPU ms each':>12}{'MB':>8}", flush=True)
        rates = {}
        for size in options.pieces:
            place = Place(work / str(size), bodies, size, options)
            rates[size] = told(place, steps, starts)
            files, written = place.written()
            print(f"           {size:8} pieces: {files} files, {written / 1e6:.0f} MB written")
            shutil.rmtree(place.folder)
        compared(rates)
        if not options.no_skew:
            skew(work, bodies, options)


if __name__ == "__main__":
    main()
