"""How fast an index is built and searched, against brute force and against the originals' way.

    python benchmarks/search.py [--size 100000 1000000] [--width 768] [--queries 100]
                                [--plain-queries 20] [--folder DIR] [--no-ann] [--no-files]

Generated vectors: 4,000 clusters in 64 dimensions, of which `width` are a linear image; queries are
drawn beside rows and, as texts are from music, shifted by one direction that all of them share.
Plain: all vectors of length 1 in memory as float32, `matrix @ query` and `argpartition`; what the
exact search finds must be what double precision finds among its first hundred. The originals' way:
10,000 .npy files, each opened for every query. Starting: a new process with a text tower of the
published size (random weights) already loaded, from there to the first answer from the largest
index. Each figure that has an aim (2 cores) is followed by it. The files (4.6 KB a row at width
768) go to --folder, and are removed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from load import published_text
from measuring import peak_megabytes

from clamp3.config import M3Architecture
from clamp3.errors import ConfigError
from clamp3.models.checkpoints import read_config, save_checkpoint
from clamp3.models.clamp import AudioTowerConfig, ClampModel, ClampModelConfig
from clamp3.models.tokenizer import train_tokenizer
from clamp3.retrieval.index.ann import AnnSettings, import_faiss
from clamp3.retrieval.index.reader import Index, open_index
from clamp3.retrieval.index.segment import cosines
from clamp3.retrieval.index.writer import build_index
from clamp3.retrieval.vectors import LAYOUT, ORIGIN, Origin, Vectors, write_vectors

CLUSTERS, LATENT, SHIFT = 4000, 64, 0.7
COUNT = 10
BLOCK = 16384
FILES = 10_000
MILLISECONDS = {100_000: 10, 1_000_000: 120}  # that an exact search may take
ANN_MILLISECONDS, ANN_RECALL, EXACT_RECALL, START_SECONDS = 10, 0.97, 0.999, 1.0
TEXTS = ["a slow air in D minor", "a lively reel for fiddle", "a chorale in four voices"]
START = """
import sys, time
from clamp3 import load_model
model = load_model(sys.argv[1], towers=["text"], device="cpu")
begun = time.perf_counter()
from clamp3 import open_index
index = open_index(sys.argv[2])
hits = index.search(model.embed_text("a reel in G major"), 10, space=model.space)
assert len(hits) == 10
print(time.perf_counter() - begun)
"""


class World:
    """Where generated vectors come from; block by block, so that memory stays bounded."""

    def __init__(self, width: int):
        self.width = width
        draws = np.random.default_rng(0)
        self._centres = draws.standard_normal((CLUSTERS, LATENT), dtype=np.float32)
        self._image = draws.standard_normal((LATENT, width), dtype=np.float32)
        self._gap = draws.standard_normal(width).astype(np.float32)

    def rows(self, seed: int, count: int) -> np.ndarray:
        draws = np.random.default_rng([1, seed])
        own = self._centres[draws.integers(0, CLUSTERS, count)]
        own = own + 0.5 * draws.standard_normal((count, LATENT), dtype=np.float32)
        rows = own @ self._image
        rows += 0.8 * draws.standard_normal(rows.shape, dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def queries(self, seed: int, count: int) -> np.ndarray:
        rows = self.rows(seed, count) + SHIFT * self._gap / np.linalg.norm(self._gap)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_model(folder: Path, width: int) -> str:
    """A CLaMP 3 whose text tower has the published size; returns its fingerprint."""
    tokenizer = train_tokenizer(TEXTS, 300)
    text = published_text(len(tokenizer))
    symbolic = M3Architecture(
        patch_size=64, patch_length=64, hidden_size=64, encoder_layers=1, decoder_layers=1
    )
    audio = AudioTowerConfig(hidden_size=64, layers=1, max_frames=8, feature_size=64)
    config = ClampModelConfig(
        kind="clamp3", width=width, similarity="dot", text=text, symbolic=symbolic, audio=audio
    )
    torch.manual_seed(0)
    save_checkpoint(ClampModel(config), folder, tokenizer=tokenizer)
    return read_config(folder).fingerprint


def write_world(path: Path, world: World, size: int, origin: Origin) -> None:
    """A table of `clamp3 embed`'s form, written a row group at a time."""
    width = world.width
    schema = pa.schema(
        {"id": pa.string(), "embedding": pa.list_(pa.float32(), width)},
        metadata={name: getattr(origin, name) for name in ORIGIN},
    )
    with pq.ParquetWriter(path, schema, **LAYOUT) as to:
        for start in range(0, size, BLOCK):
            count = min(BLOCK, size - start)
            flat = pa.array(world.rows(start, count).ravel())
            ids = pa.array([f"{row:09d}" for row in range(start, start + count)])
            vectors = pa.FixedSizeListArray.from_arrays(flat, width)
            to.write_table(pa.table([ids, vectors], schema=schema))


def timed(call: Callable, queries: np.ndarray) -> tuple[list, float, float]:
    """What it finds for each query, and the median and 95th percentile in milliseconds."""
    found, spent = [], []
    for query in queries:
        begun = time.perf_counter()
        found.append(call(query))
        spent.append(1e3 * (time.perf_counter() - begun))
    return found, float(np.median(spent)), float(np.quantile(spent, 0.95))


def told(name: str, median: float, tail: float, more: str = "") -> None:
    print(f"  {name:<34} p50 {median:8.2f} ms   p95 {tail:8.2f} ms   {more}", flush=True)


def aimed(what: str, good: bool) -> str:
    """An aim, and whether it was met."""
    return f"[aim {what}: {'met' if good else 'MISSED'}]"


def searched(
    name: str, index: Index, queries: np.ndarray, exact: list, aims: tuple, **how: object
) -> None:
    """Time a way to search, and compare what it finds; `aims`: milliseconds or none, recall."""
    index.search(queries[0], COUNT, **how)
    found, median, tail = timed(lambda query: index.search(query, COUNT, **how), queries)
    shared = [
        len({hit.id for hit in hits} & {hit.id for hit in best}) / COUNT
        for hits, best in zip(found, exact, strict=True)
    ]
    recall, (most, least) = float(np.mean(shared)), aims
    more = f"recall@{COUNT} {recall:.4f}"
    if most:
        more += " " + aimed(f"{most} ms, {least}", median <= most and recall >= least)
    told(name, median, tail, more)


def plain(index: Index, queries: np.ndarray) -> list[list[str]]:
    """Time brute force in memory; returns the ids that double precision finds best."""
    matrix = np.array(index.segments[0].vectors)

    def brute(query: np.ndarray) -> np.ndarray:
        products = matrix @ query
        best = np.argpartition(-products, 100)[:100]
        return best[np.argsort(-products[best])]

    brute(queries[0])
    found, median, tail = timed(brute, queries)
    told("numpy float32, in memory", median, tail)
    best = []
    for query, rows in zip(queries, found, strict=True):
        exact = cosines(matrix[rows], query)
        best.append([f"{row:09d}" for row in rows[np.lexsort((rows, -exact))][:COUNT]])
    return best


def measure(size: int, options: argparse.Namespace, folder: Path, origin: Origin) -> None:
    """Print all figures of one size; leaves the index in the folder."""
    world = World(options.width)
    table, place = folder / "table.parquet", folder / "index"
    write_world(table, world, size, origin)
    queries = world.queries(10**9, options.queries)
    begun = time.perf_counter()
    build_index(place, [table])
    building = time.perf_counter() - begun
    begun = time.perf_counter()
    index = open_index(place)
    opening = 1e3 * (time.perf_counter() - begun)
    print(
        f"{size:,} x {options.width}: built in {building:.1f} s, "
        f"{index.info()['bytes'] / 1e6:,.0f} MB, opened in {opening:.0f} ms"
    )
    best = plain(index, queries[: options.plain_queries])
    exact = index.search_many(queries, COUNT)
    found = [[hit.id for hit in hits] for hits in exact[: len(best)]]
    pairs = list(zip(found, best, strict=True))
    shared = np.mean([len({*one} & {*other}) / COUNT for one, other in pairs])
    same = sum(one == other for one, other in pairs)
    name = f"exact ({same} of {len(best)} as brute force)"
    searched(name, index, queries, exact, (MILLISECONDS.get(size), EXACT_RECALL))
    print(
        f"  recall@{COUNT} of exact against double precision {shared:.4f} "
        f"{aimed(str(EXACT_RECALL), shared >= EXACT_RECALL)}"
    )
    begun = time.perf_counter()
    index.search_many(queries[:64], COUNT)
    print(f"  {'exact, 64 queries at once':<34} {1e3 * (time.perf_counter() - begun):12.2f} ms")
    if not options.no_ann:
        measure_ann(options, world, folder, queries, exact, origin)
    print(
        f"  {peak_megabytes() / 1024:.2f} GiB at most, mapped files and numpy's copy among it",
        flush=True,
    )


def measure_ann(
    options: argparse.Namespace,
    world: World,
    folder: Path,
    queries: np.ndarray,
    exact: list,
    origin: Origin,
) -> None:
    try:
        import_faiss()
    except ConfigError as error:
        print(f"  {error}")
        return
    asked = folder / "queries.parquet"
    texts = Vectors(
        [str(number) for number in range(200)],
        world.queries(10**9 + 1, 200),
        origin,
    )
    write_vectors(asked, texts)
    begun = time.perf_counter()
    build_index(
        folder / "index", [folder / "table.parquet"], ann=AnnSettings(options.recall, asked)
    )
    building = time.perf_counter() - begun
    index = open_index(folder / "index")
    setup = index.info()["approximate"][0]
    print(f"  with ann built in {building:.1f} s: {setup['lists']} lists, {setup['probes']} probed")
    most = ANN_MILLISECONDS if index.manifest.segments[0].rows == 1_000_000 else None
    searched("approximate", index, queries, exact, (most, ANN_RECALL), approximate=True)


def measure_files(world: World, folder: Path, origin: Origin) -> None:
    """Search .npy files as the originals do, each opened for every query, and an index of them."""
    table, tree = folder / "table.parquet", folder / "files"
    write_world(table, world, FILES, origin)
    tree.mkdir()
    for row, vector in enumerate(world.rows(0, FILES)):  # the table's
        np.save(tree / f"{row:09d}.npy", vector[None])
    build_index(folder / "index", [table])
    index = open_index(folder / "index")

    def by_files(query: np.ndarray) -> list[str]:
        names = sorted(os.listdir(tree))
        rows = torch.from_numpy(np.stack([np.load(tree / name)[0] for name in names]))
        asked = torch.from_numpy(query)[None]
        order = torch.nn.functional.cosine_similarity(asked, rows).argsort(descending=True)
        return [names[place].removesuffix(".npy") for place in order[:COUNT]]

    queries = world.queries(10**9, 10)
    index.search(queries[0], COUNT)
    by_files(queries[0])
    found, median, tail = timed(by_files, queries)
    hits, own, own_tail = timed(lambda query: index.search(query, COUNT), queries)
    same = sum([h.id for h in one] == other for one, other in zip(hits, found, strict=True))
    print(f"{FILES:,} x {world.width}: {same} of {len(queries)} answers the same")
    told("a file each, opened every time", median, tail)
    told("exact", own, own_tail, f"{median / own:,.0f} times as fast")


def measure_start(model: Path, index: Path) -> None:
    """Time the first answer in new processes."""
    words = [sys.executable, "-c", START, str(model), str(index)]
    spent = [
        float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        for _ in range(4)
    ][1:]  # the first fills the caches
    seconds = float(np.median(spent))
    aim = aimed(f"{START_SECONDS} s", seconds <= START_SECONDS)
    print(f"from the loaded model to the first answer: {seconds:.2f} s {aim}", flush=True)


def main() -> None:
    """Measure every size asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--plain-queries", type=int, default=20)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--no-ann", action="store_true")
    parser.add_argument("--no-files", action="store_true")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="clamp3-search-", dir=options.folder))
    try:
        space = write_model(place / "model", options.width)
        origin = Origin(space, space, "abc", "bench")
        if not options.no_files:
            (place / "few").mkdir()
            measure_files(World(options.width), place / "few", origin)
        for size in sorted(options.size):
            folder = place / str(size)
            folder.mkdir()
            measure(size, options, folder, origin)
            if size == max(options.size):
                measure_start(place / "model", folder / "index")
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
