"""Files read ahead of the model: in processes of their own, a bounded amount, in order.

Nothing here needs torch, so that the processes start at once and stay small.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from clamp3.errors import FormatError
from clamp3.files import sha256_of
from clamp3.formats.audio import Recording
from clamp3.formats.images import Picture
from clamp3.formats.patches import encode_patches
from clamp3.processes import run_in_processes
from clamp3.retrieval.embedding.sources import Source, attempt, read_piece
from clamp3.retrieval.features.rows import FrontEnd

Piece = str | np.ndarray | Recording | Picture
AHEAD_BYTES = 2**27  # read, but not yet computed
AHEAD_FILES = 4096
SECONDS_PER_FILE = 600  # hours of sound take minutes; beyond it a file is rejected
Item = TypeVar("Item")


@dataclass(frozen=True)
class Prepared:
    """What a model reads of one file.

    `piece`: a text, patches [P, C], features [F, E], a recording, a picture, why there is none, or
    None where the content is the known one.
    """

    sha256: str
    piece: Piece | FormatError | None

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        if isinstance(self.piece, str):
            return len(self.piece)
        return getattr(self.piece, "nbytes", 0)


@dataclass(frozen=True)
class Reader:
    """Turns a file into what a model reads of it.

    `patch_size`: of the symbolic tower; `keep_unit_length`: see `encode_patches`; `as_is`: see
    `score_text`; `front_end`: what describes sound here, None: the recording is handed on.
    """

    patch_size: int
    keep_unit_length: bool = False
    as_is: bool = False
    front_end: FrontEnd | None = None

    def __call__(self, task: tuple[Source, str | None]) -> Prepared:
        """`task`: the file, and the SHA-256 of a content that need not be read again."""
        source, known = task
        try:
            sha256 = attempt(lambda source: sha256_of(source.path), source)
            piece = None if sha256 == known else attempt(self.piece, source)
        except FormatError as error:
            return Prepared("", error)
        return Prepared(sha256, piece)

    def piece(self, source: Source) -> Piece:
        """The piece of a file. Raises FormatError where it cannot be read."""
        if source.is_sound and self.front_end is None:
            return Recording.read(source.path)
        piece = read_piece(source, self.front_end, as_is=self.as_is)
        return self.patches(piece) if source.modality in ("abc", "mtf") else piece

    def patches(self, text: str) -> np.ndarray:
        """The patches [P, C] of interleaved ABC or MTF. Raises FormatError for an empty one."""
        return encode_patches(
            text, patch_size=self.patch_size, keep_unit_length=self.keep_unit_length
        )


def read_files(
    tasks: Sequence[tuple[Source, str | None]], reader: Reader, workers: int
) -> Iterator[tuple[Source, Prepared]]:
    """Yield each file with what was made of it, in the order of `tasks`.

    `workers`: processes beside this one, 0: none. They work while the caller computes, but not more
    than AHEAD_BYTES ahead. A file that ends or blocks its process is a FormatError and costs no
    other. Behind a slow file the order may change, rather than the memory grow.
    """
    if not workers:
        yield from ((task[0], reader(task)) for task in tasks)
        return
    done = run_in_processes(reader, tasks, workers=workers, seconds=SECONDS_PER_FILE)
    ahead = run_ahead(done, lambda pair: _size(pair[1]), AHEAD_BYTES)
    for index, result in in_order(ahead, _size, AHEAD_BYTES):
        found = Prepared("", result) if isinstance(result, FormatError) else result
        yield tasks[index][0], found


def _size(result: object) -> int:
    return result.nbytes if isinstance(result, Prepared) else 0


def in_order(
    pairs: Iterable[tuple[int, Item]], size_of: Callable[[Item], int], limit: int
) -> Iterator[tuple[int, Item]]:
    """The (index, item) pairs by index from 0.

    Unless more than `limit` bytes (or AHEAD_FILES items) wait for a missing one: they go first.
    """
    waiting: dict[int, Item] = {}
    early: set[int] = set()
    following = 0
    for index, item in pairs:
        waiting[index] = item
        while following in waiting or following in early:
            if following in waiting:
                yield following, waiting.pop(following)
            early.discard(following)
            following += 1
        if sum(map(size_of, waiting.values())) > limit or len(waiting) > AHEAD_FILES:
            early |= waiting.keys()
            for place in sorted(waiting):
                yield place, waiting.pop(place)
    yield from sorted(waiting.items(), key=lambda pair: pair[0])


def run_ahead(items: Iterator[Item], size_of: Callable[[Item], int], limit: int) -> Iterator[Item]:
    """The items, fetched by a thread that stops while more than `limit` bytes wait to be taken.

    (Or AHEAD_FILES items.) What goes wrong in the thread is raised here; it has ended, and a
    generator is closed, when this one is.
    """
    waiting: deque[Item] = deque()
    state = _State()
    changed = threading.Condition()

    def fetch() -> None:
        try:
            for item in items:
                with changed:
                    waiting.append(item)
                    state.held += size_of(item)
                    changed.notify()
                    changed.wait_for(lambda: state.stopped or not _full(state, waiting, limit))
                    if state.stopped:
                        break
        except BaseException as error:  # told to the one who waits for the items
            state.error = error
        finally:
            if isinstance(items, Generator):
                items.close()
            with changed:
                state.done = True
                changed.notify()

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or state.done)
                if not waiting:
                    break
                item = waiting.popleft()
                state.held -= size_of(item)
                changed.notify()
            yield item
    finally:
        with changed:
            state.stopped = True
            changed.notify()
        thread.join(timeout=5)  # a slow file need not hold up Ctrl-C
    if state.error is not None:
        raise state.error


@dataclass
class _State:
    held: int = 0  # bytes
    stopped: bool = False  # nobody takes any more
    done: bool = False  # nobody brings any more
    error: BaseException | None = None


def _full(state: _State, waiting: Sequence, limit: int) -> bool:
    return state.held > limit or len(waiting) >= AHEAD_FILES
