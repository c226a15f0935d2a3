"""Cosines of queries with many vectors of half precision, and how far off they may be.

Vectors lie as float16 and are multiplied as float32. Measured on 2 busy cores, CPU time for 100,000
vectors of width 768 and one query: this kernel 5.5 ms; converting blocks with torch and multiplying
them with numpy 12 ms; torch's own float16 product 7.8 ms, of which nothing guarantees in what
precision it adds. Nor does it start threads of its own, which under load cost OpenMP's seconds.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch

from clamp3.processes import cpu_count

SMALLEST_NORMAL = np.float16(2.0**-14)
# A float16's bits, moved to where float32 has them, are 2**-112 of its value.
SCALE = 2.0**112
UNIT_ROUNDOFF = 2.0**-24  # of float32
NO_ROW = -2.0  # less than any cosine
ROWS_PER_TASK = 8192
ROWS_PER_BLOCK = 2048
ROWS_PER_BOUND = 256
FAST = {"reassoc", "contract", "nsz"}  # sums in any order, products and sums in one step


def to_half(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Unit vectors of float32 rows [N, D] as float16, and a bound of their distance to the true.

    A zero vector stays one. Values below the normal range become zero: processors are slow at them.
    """
    halves = np.empty(vectors.shape, dtype=np.float16)
    error = 0.0
    for start in range(0, len(vectors), ROWS_PER_BLOCK):
        rows = torch.from_numpy(np.array(vectors[start : start + ROWS_PER_BLOCK], np.float32))
        largest = rows.abs().amax(dim=1, keepdim=True)
        rows /= torch.where(largest > 0, largest, 1.0)  # so that no square overflows
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
        rows /= torch.where(lengths > 0, lengths, 1.0).float()
        half = rows.half().numpy()
        half[np.abs(half) < SMALLEST_NORMAL] = 0
        halves[start : start + ROWS_PER_BLOCK] = half
        rows -= torch.from_numpy(half).float()
        distances = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
        error = max(error, float(distances.max()))
    # Two divisions and the length's rounding to float32, each of half a unit of the last place.
    return halves, error * (1 + 1e-6) + 4 * UNIT_ROUNDOFF


def scan_error(half_error: float, width: int) -> float:
    """How far a product of `HalfScan` may be from the true cosine.

    The rounding of the vector, of the query to float32, and of `width` products and their sum in
    any order, for a vector and a query whose lengths are 1 but for those roundings.
    """
    adding = width * UNIT_ROUNDOFF / (1 - width * UNIT_ROUNDOFF)
    return 1.01 * (half_error + UNIT_ROUNDOFF + adding)


class HalfScan:
    """Multiplies on all cores."""

    def __init__(self, threads: int | None = None):
        self._threads = threads or cpu_count()
        self._pool = ThreadPoolExecutor(self._threads)

    def products(
        self, halves: np.ndarray, queries: np.ndarray, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        """Products [Q, N] float32 of float16 rows [N, D] with unit queries [Q, D].

        Rows that are not allowed [N] are not read, and have `NO_ROW`.
        """
        bits = halves.view(np.uint16)
        scaled = (np.asarray(queries, dtype=np.float32) * np.float32(SCALE)).astype(np.float32)
        found = np.empty((len(queries), len(halves)), dtype=np.float32)
        mask = np.empty(0, dtype=bool) if allowed is None else allowed

        def part(start: int) -> None:
            end = min(start + ROWS_PER_TASK, len(bits))
            _multiply(bits, scaled, mask, start, end, found)

        starts = range(0, len(bits), ROWS_PER_TASK)
        list(self._pool.map(part, starts) if len(starts) > 1 else map(part, starts))
        return found


@functools.cache
def shared_scan() -> HalfScan:
    """The one for all searches of this process."""
    return HalfScan()


def candidates(products: np.ndarray, count: int, error: float) -> np.ndarray:
    """The rows that may be among the `count` best, ascending; `NO_ROW` is none.

    With `error` as bound, the `count`-th best true cosine is at least the `count`-th best product
    less the error; so whatever is among the best has a product of at least that less twice it.
    """
    threshold = max(_lower_bound(products, count) - 2 * error, NO_ROW / 2 - 0.5)
    rows = np.flatnonzero(products >= _rounded_down(threshold))
    if len(rows) <= count:
        return rows
    inside = products[rows]
    best = float(np.partition(inside, len(inside) - count)[len(inside) - count])
    return rows[inside >= _rounded_down(best - 2 * error)]


def _rounded_down(number: float) -> np.float32:
    """A float32 that is less: numpy compares in the products' precision."""
    return np.nextafter(np.float32(number), np.float32(-np.inf))


def _lower_bound(products: np.ndarray, count: int) -> float:
    """At most the `count`-th best of the products: of the best of each `ROWS_PER_BOUND`, that."""
    if not len(products):
        return -np.inf
    best = np.maximum.reduceat(products, np.arange(0, len(products), ROWS_PER_BOUND))
    if len(best) < count:
        return -np.inf
    return float(np.partition(best, len(best) - count)[len(best) - count])


@numba.njit(inline="always")
def _whole(half):  # pragma: no cover - compiled
    """The bits of a float16 where float32 has them."""
    bits = np.uint32(half)
    moved = (bits & np.uint32(0x7FFF)) << np.uint32(13)
    moved |= (bits & np.uint32(0x8000)) << np.uint32(16)
    return np.uint32(moved).view(np.float32)


@numba.njit(fastmath=FAST, nogil=True, cache=True)
def _multiply(bits, queries, mask, start, end, found):  # pragma: no cover - compiled
    count, width = queries.shape
    row_values = np.empty(width, dtype=np.float32)
    for row in range(start, end):
        if mask.size and not mask[row]:
            for query in range(count):
                found[query, row] = NO_ROW
        elif count == 1:  # the values stay in registers
            total = np.float32(0)
            for place in range(width):
                total += _whole(bits[row, place]) * queries[0, place]
            found[0, row] = total
        else:
            for place in range(width):
                row_values[place] = _whole(bits[row, place])
            _dots(row_values, queries, found, row)


@numba.njit(fastmath=FAST, nogil=True, cache=True)
def _dots(values, queries, found, row):  # pragma: no cover - compiled
    """Four queries at a time, so that a value is loaded once for them."""
    count, width = queries.shape
    fours = count - count % 4
    for query in range(0, fours, 4):
        a = b = c = d = np.float32(0)
        for place in range(width):
            value = values[place]
            a += value * queries[query, place]
            b += value * queries[query + 1, place]
            c += value * queries[query + 2, place]
            d += value * queries[query + 3, place]
        found[query, row], found[query + 1, row] = a, b
        found[query + 2, row], found[query + 3, row] = c, d
    for query in range(fours, count):
        total = np.float32(0)
        for place in range(width):
            total += values[place] * queries[query, place]
        found[query, row] = total
