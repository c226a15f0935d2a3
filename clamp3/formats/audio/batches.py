"""Windows of several recordings, computed together where they have the same length."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from clamp3.errors import FormatError
from clamp3.formats.audio.recording import Recording

BATCHES_WAITING = 4  # so many batches of windows wait for others of their length


@dataclass(eq=False)
class _Rows:
    """What becomes of one recording."""

    rows: list[np.ndarray | None] = field(default_factory=list)
    waiting: int = 0  # windows that are not computed yet
    fault: FormatError | None = None

    def result(self) -> np.ndarray | FormatError:
        return self.fault or np.stack(self.rows)


class WindowBatches:
    """Rows [F, D] of recordings from windows [B, S] → [B, D] of one length.

    Nothing is padded. Windows wait until `batch_windows` of their length have come, or until
    BATCHES_WAITING times as many of other lengths have: then those that wait longest are computed.
    """

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray], batch_windows: int):
        self._compute = compute
        self._batch_windows = batch_windows
        # By length; the first of them begins with the window that waits longest.
        self._waiting: dict[int, list[tuple[_Rows, int, np.ndarray]]] = {}

    def rows_of(
        self,
        recordings: Iterable[Recording | FormatError],
        window_seconds: float,
        min_tail_seconds: float,
    ) -> Iterator[np.ndarray | FormatError]:
        """Yield the rows [F, D] of each recording, or why there are none, in their order.

        One recording is taken from `recordings` at a time, and let go before the next.
        """
        queue: deque[_Rows] = deque()
        for recording in recordings:
            queue.append(_Rows())
            try:
                if isinstance(recording, FormatError):
                    raise recording
                for window in recording.windows(window_seconds, min_tail_seconds):
                    self._add(queue[-1], window)
            except FormatError as error:
                queue[-1].fault = error
            del recording
            while queue and not queue[0].waiting:
                yield queue.popleft().result()
        while self._waiting:
            self._flush(next(iter(self._waiting)))
        yield from (rows.result() for rows in queue)

    def _add(self, rows: _Rows, window: np.ndarray) -> None:
        same = self._waiting.setdefault(len(window), [])
        same.append((rows, len(rows.rows), window))
        rows.rows.append(None)
        rows.waiting += 1
        if len(same) == self._batch_windows:
            self._flush(len(window))
        elif sum(map(len, self._waiting.values())) > BATCHES_WAITING * self._batch_windows:
            self._flush(next(iter(self._waiting)))

    def _flush(self, length: int) -> None:
        """Compute the windows of this length that wait."""
        batch = self._waiting.pop(length)
        made = self._compute(np.stack([window for _, _, window in batch]))
        for (rows, index, _), row in zip(batch, made, strict=True):
            rows.rows[index] = row
            rows.waiting -= 1
