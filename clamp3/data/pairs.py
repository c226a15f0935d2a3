"""Text–music pairs: what manifests say of one piece, put together."""

import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clamp3.data.manifests import placed_lines, read_line
from clamp3.data.raw_files.places import LocalBytes
from clamp3.data.sources import JSON
from clamp3.errors import DataError, StorageError

Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Pair:
    """A piece with the files it is kept in and all that its manifest lines say of it."""

    id: str
    filepaths: tuple[str, ...]
    texts: dict

    def with_suffix(self, suffixes: tuple[str, ...]) -> "Pair":
        """The same piece with those of its files that end in one of `suffixes`."""
        kept = tuple(path for path in self.filepaths if path.endswith(suffixes))
        return Pair(self.id, kept, self.texts)


class Pairs(Sequence[Pair]):
    """Pieces whose lines are read from the manifests whenever one is asked for.

    Of a piece only some 50 bytes are in memory: where its lines lie. Processes that are forked
    share these. A manifest that another file takes the place of stays what it was.

    Raises DataError where a line is another than when the manifest was gone through.
    """

    def __init__(self, lines: "_Lines", order: np.ndarray, spans: np.ndarray, suffixes: tuple):
        """`order` has the numbers of lines, those of a piece side by side, from the first to before
        the second of `spans` [pieces, 2]."""
        self._lines, self._order, self._spans, self._suffixes = lines, order, spans, suffixes

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, place: int) -> Pair: ...

    @overload
    def __getitem__(self, place: slice) -> "Pairs": ...

    def __getitem__(self, place: int | slice) -> "Pair | Pairs":
        if isinstance(place, slice):
            return self.take(range(*place.indices(len(self))))
        begin, end = self._spans[place]
        pair = self._lines.together(self._order[begin:end])
        return pair.with_suffix(self._suffixes) if self._suffixes else pair

    def take(self, places: Sequence[int]) -> "Pairs":
        """The pieces at these places, in this order."""
        spans = self._spans[np.asarray(places, dtype=np.int64)]
        return Pairs(self._lines, self._order, spans, self._suffixes)


def load_pairs(manifests: Iterable[Path], suffixes: tuple[str, ...] = ()) -> Pairs:
    """The pieces of several manifests, sorted by id, each once with the files of all its lines.

    With `suffixes` (such as `.abc`) only files that end so count; a piece that has no file left is
    not returned. What two lines of a piece say twice must agree; what only one says is kept.

    Raises DataError naming the manifest that is no manifest or contradicts one before it.
    """
    return look_through(manifests, suffixes, lambda pair: None)[0]


def look_through(
    manifests: Iterable[Path], suffixes: tuple[str, ...], look: Callable[[Pair], Seen]
) -> tuple[Pairs, list[Seen]]:
    """`load_pairs`, and what `look` makes of each piece while the manifests are gone through.

    Reading every piece of `load_pairs` once more would take as long again. `look` may be called
    more than once for a piece, at last with all of it. Raises as `load_pairs`.
    """
    lines, ids, seen, fits = _Lines(), [], [], bytearray()
    for manifest in manifests:
        for pair in lines.add(manifest):
            own = pair.with_suffix(suffixes) if suffixes else pair
            ids.append(pair.id.encode())
            fits.append(bool(own.filepaths))
            seen.append(look(own) if own.filepaths else None)
    order, spans = _grouped(ids)
    pairs = Pairs(lines, order, spans, suffixes)
    several = np.flatnonzero(spans[:, 1] - spans[:, 0] > 1)
    # In the order in which lines that might contradict another were read.
    for place in several[np.argsort(order[spans[several, 0] + 1])]:
        pair = pairs[place]
        seen[order[spans[place, 0]]] = look(pair) if pair.filepaths else None
    if not len(spans):
        return pairs, []
    kept = np.flatnonzero(np.maximum.reduceat(np.frombuffer(fits, np.uint8)[order], spans[:, 0]))
    return pairs.take(kept), [seen[order[spans[place, 0]]] for place in kept]


def _grouped(ids: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of lines in the order of their ids, and from where to where each id goes.

    Bytes of UTF-8 are sorted as the texts are. Lines of one id keep their order.
    """
    column = pa.array(ids, pa.large_binary())
    order = pc.array_sort_indices(column).to_numpy().astype(np.int64)
    ordered = column.take(pa.array(order))
    is_new = np.ones(len(ids), dtype=bool)
    is_new[1:] = pc.not_equal(ordered[1:], ordered[:-1]).to_numpy(zero_copy_only=False)
    begins = np.flatnonzero(is_new)
    return order, np.stack([begins, np.append(begins[1:], len(ids))[: len(begins)]], axis=1)


class _Lines:
    """The lines of manifests by number; of each its place and a checksum are held."""

    def __init__(self):
        self._manifests: list[LocalBytes] = []
        self._of, self._starts, self._lengths = array("H"), array("q"), array("q")
        self._checksums = array("I")

    def add(self, manifest: Path) -> Iterator[Pair]:
        """What each line of one more manifest says, which from then on has the next number."""
        for line in placed_lines(manifest):
            self._of.append(len(self._manifests))
            self._starts.append(line.start)
            self._lengths.append(len(line.data))
            self._checksums.append(zlib.crc32(line.data))
            yield _pair(line.content)
        self._manifests.append(LocalBytes(str(manifest)))

    def together(self, numbers: Iterable[int]) -> Pair:
        """What these lines, all of one piece, say. Raises DataError where two contradict."""
        first, *others = numbers
        pair = self._read(first)
        for number in others:
            pair = _merged(pair, self._read(number), self._manifests[self._of[number]].name)
        return pair

    def _read(self, number: int) -> Pair:
        manifest = self._manifests[self._of[number]]
        try:
            data = manifest.read(self._starts[number], self._lengths[number])
        except OSError as error:
            raise StorageError(f"{manifest.name}: cannot be read ({error.strerror})") from error
        if zlib.crc32(data) != self._checksums[number]:
            raise DataError(
                f"{manifest.name}: changed while it is in use; run the same command again"
            )
        return _pair(read_line(JSON.decode(data.decode("utf-8-sig"))))


def _pair(line: dict) -> Pair:
    texts = {key: value for key, value in line.items() if key not in ("id", "filepaths")}
    return Pair(line["id"], tuple(dict.fromkeys(line["filepaths"])), texts)


def _merged(first: Pair, second: Pair, where: str) -> Pair:
    texts = dict(first.texts)
    for key, value in second.texts.items():
        if value and texts.get(key) and texts[key] != value:
            raise DataError(
                f"{where}: {first.id} has another {key} than in a manifest before it; expected the "
                "same texts in every manifest of a piece. Likely they are of different runs"
            )
        texts[key] = texts.get(key) or value
    return Pair(first.id, tuple(dict.fromkeys(first.filepaths + second.filepaths)), texts)
