"""How fast ranks are found, against a plain loop over the queries.

    python benchmarks/evaluate.py [--size 1010 50000] [--width 768] [--loop-queries 200]
                                  [--threads 1]

Random vectors, each query its reference with noise. The loop takes one query at a time against the
whole gallery, in double precision, and sorts; the galleries being ready for both, it is a mild
baseline: the originals also build theirs again for each query. It does some of the queries and is
told for all of them. Both in one run, in CPU seconds, and their ranks must be equal.
"""

import argparse
import time

import numpy as np
from measuring import peak_megabytes
from threadpoolctl import threadpool_limits

from clamp3.retrieval.evaluation.intervals import mean_intervals, median_interval
from clamp3.retrieval.evaluation.ranking import rank_groups
from clamp3.retrieval.keys import Groups

NOISE = 6.0  # so that many right references are not first


def sides(size: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries and references [size, width] in single precision."""
    draws = np.random.default_rng(0)
    references = draws.standard_normal((size, width), dtype=np.float32)
    queries = draws.standard_normal((size, width), dtype=np.float32)
    queries *= NOISE
    queries += references
    return queries, references


def plain_ranks(queries: np.ndarray, references: np.ndarray, count: int) -> tuple[list, float]:
    """The ranks of `count` queries spread over all, and the seconds a query took."""
    unit = references / np.linalg.norm(references, axis=1, keepdims=True)
    unit = unit.astype(np.float64)
    rows = np.linspace(0, len(queries) - 1, count).astype(int)
    begun = time.process_time()
    found = []
    for row in rows:
        query = queries[row].astype(np.float64)
        cosines = unit @ (query / np.linalg.norm(query))
        order = np.argsort(-cosines)
        found.append((row, int(np.flatnonzero(order == row)[0]) + 1))
    return found, (time.process_time() - begun) / count


def measure(size: int, width: int, loop_queries: int) -> None:
    """Print the seconds of both, and their ratio."""
    queries, references = sides(size, width)
    numbers = np.arange(size)
    groups = Groups(numbers, numbers, [str(number) for number in numbers])
    expected, seconds = plain_ranks(queries, references, min(loop_queries, size))
    begun = time.process_time()
    placed = rank_groups(queries, references, groups)
    ranked = time.process_time() - begun
    begun = time.process_time()
    ranking = placed.ranking
    values = np.stack([ranking.reciprocal_ranks, ranking.hits(1), ranking.hits(10)], axis=1)
    mean_intervals(values, numbers)
    median_interval(ranking.ranks, numbers)
    intervals = time.process_time() - begun
    wrong = sum(ranking.tied[row] == 1 and ranking.ranks[row] != rank for row, rank in expected)
    print(
        f"{size:>6} x {size:<6} ranks {ranked:8.2f} s   intervals {intervals:6.2f} s   "
        f"loop {seconds * size:9.1f} s   ratio {seconds * size / ranked:6.1f}   "
        f"{wrong} ranks differ of {len(expected)}   {peak_megabytes() / 1024:.2f} GiB at most"
    )


def main() -> None:
    """Measure every size asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[1010, 50_000])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--loop-queries", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with threadpool_limits(options.threads):
        for size in options.size:
            measure(size, options.width, options.loop_queries)


if __name__ == "__main__":
    main()
