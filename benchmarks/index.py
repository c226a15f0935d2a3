"""How fast an index is built and searched, against brute force with numpy.

    python benchmarks/index.py [--size 10000 100000 1000000] [--width 768] [--queries 100]
                               [--plain-queries 20] [--folder DIR] [--no-ann]

Generated vectors: 4,000 clusters in 64 dimensions, of which `width` are a linear image; queries are
drawn beside rows and, as texts are from music, shifted by one direction that all of them share.
Plain: all vectors of length 1 in memory as float32, `matrix @ query` and `argpartition`. Both in
one run, and what the exact search finds must be what double precision finds among the plain one's
first hundred. The files (4.6 KB a row at width 768) and the table go to --folder, and are removed.
"""

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.errors import ConfigError
from clamp3.retrieval.index import Index, open_index
from clamp3.retrieval.index_ann import AnnSettings, import_faiss
from clamp3.retrieval.index_segment import cosines
from clamp3.retrieval.index_writer import build_index
from clamp3.retrieval.vectors import LAYOUT, ORIGIN, Origin, Vectors, write_vectors

CLUSTERS, LATENT, SHIFT = 4000, 64, 0.7
COUNT = 10
BLOCK = 16384
SPACE = "0" * 64


class World:
    """Where generated vectors come from; block by block, so that memory stays bounded."""

    def __init__(self, width: int):
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


def write_world(path: Path, world: World, size: int, width: int) -> None:
    """A table of `clamp3 embed`'s form, written a row group at a time."""
    origin = Origin(SPACE, SPACE, "abc", "bench")
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


def searched(name: str, index: Index, queries: np.ndarray, exact: list, **how: object) -> None:
    """Time a way to search, and compare what it finds."""
    index.search(queries[0], COUNT, **how)
    found, median, tail = timed(lambda query: index.search(query, COUNT, **how), queries)
    shared = [
        len({hit.id for hit in hits} & {hit.id for hit in best}) / COUNT
        for hits, best in zip(found, exact, strict=True)
    ]
    told(name, median, tail, f"recall@{COUNT} {np.mean(shared):.4f}")


def plain(folder: Path, index: Index, queries: np.ndarray) -> tuple[int, int]:
    """Time brute force in memory; of how many queries exact search and it agree, of how many."""
    matrix = np.array(index.segments[0].vectors)

    def brute(query: np.ndarray) -> np.ndarray:
        products = matrix @ query
        best = np.argpartition(-products, 100)[:100]
        return best[np.argsort(-products[best])]

    brute(queries[0])
    found, median, tail = timed(brute, queries)
    told("numpy float32, in memory", median, tail)
    agree = 0
    for query, rows in zip(queries, found, strict=True):
        exact = cosines(matrix[rows], query)
        order = [f"{row:09d}" for row in rows[np.lexsort((rows, -exact))][:COUNT]]
        agree += order == [hit.id for hit in index.search(query, COUNT)]
    return agree, len(queries)


def measure(size: int, options: argparse.Namespace, folder: Path) -> None:
    """Print all figures of one size."""
    world = World(options.width)
    table, place = folder / "table.parquet", folder / "index"
    write_world(table, world, size, options.width)
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
    agree, of = plain(folder, index, queries[: options.plain_queries])
    exact = index.search_many(queries, COUNT)
    searched(f"exact ({agree} of {of} as brute force)", index, queries, exact)
    begun = time.perf_counter()
    index.search_many(queries[:64], COUNT)
    print(f"  {'exact, 64 queries at once':<34} {1e3 * (time.perf_counter() - begun):12.2f} ms")
    if not options.no_ann:
        measure_ann(options, world, folder, queries, exact)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  {memory:.2f} GiB at most, mapped files and numpy's copy among it", flush=True)


def measure_ann(
    options: argparse.Namespace, world: World, folder: Path, queries: np.ndarray, exact: list
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
        Origin(SPACE, SPACE, "text", "bench"),
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
    searched("approximate", index, queries, exact, approximate=True)


def main() -> None:
    """Measure every size asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--plain-queries", type=int, default=20)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--no-ann", action="store_true")
    options = parser.parse_args()
    for size in options.size:
        folder = Path(tempfile.mkdtemp(prefix="clamp3-index-", dir=options.folder))
        try:
            measure(size, options, folder)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
