"""Files of any kind to rows of an output: read ahead, grouped, computed, kept as they come."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from clamp3.errors import FormatError
from clamp3.logs import progress
from clamp3.retrieval.embedding.outputs import Collected, Output, Row
from clamp3.retrieval.embedding.reading import Prepared, Reader, read_files
from clamp3.retrieval.embedding.sources import Source
from clamp3.retrieval.vectors import Vectors

# Of a group, which is computed at once, and lost when the program is killed.
GROUP_ROWS = 2**16  # patches, tokens or frames, about
TEMPORAL_ROWS = 2**15  # their hidden states: 100 MB at width 768
GROUP_BYTES = 2**27
GROUP_FILES = 8192
BYTES_PER_TOKEN = 4  # of a text, about

Group = list[tuple[Source, Prepared]]
Result = np.ndarray | FormatError | None  # None: nothing to compute
Compute = Callable[[Iterable[Group]], Iterable[tuple[Group, list[Result]]]]
Rejects = list[tuple[str, FormatError]]


class SourceEmbedder:
    """What every embedder does alike; `embed_to`, `origin` and `refusal` are each one's own."""

    def embed_sources(self, sources: Sequence[Source]) -> tuple[Vectors, Rejects]:
        """The embeddings of the files in their order, and (id, reason) of those without one."""
        output = Collected()
        rejected = self.embed_to(output, sources)
        rows = [output.rows[source.id] for source in sources if source.id in output.rows]
        modalities = [row.modality for row in rows]
        matrix = np.stack([r.embedding for r in rows]) if rows else np.empty((0, 0), np.float32)
        labels = {"modality": modalities}
        return Vectors([r.id for r in rows], matrix, self.origin(modalities), labels), rejected

    def _usable(self, sources: Sequence[Source]) -> tuple[list[Source], Rejects]:
        """The sources that may be embedded, and (id, reason) of those refused unread."""
        good, rejected = [], []
        for source in sources:
            if (reason := self.refusal(source)) is None:
                good.append(source)
            else:
                rejected.append((source.id, reason))
        return good, rejected


def embed_to(
    output: Output,
    sources: Sequence[Source],
    reader: Reader,
    compute: Compute,
    *,
    temporal: bool = False,
    workers: int = 0,
) -> Rejects:
    """Bring the embeddings of all files into the output; returns (id, reason) of the others.

    `compute` turns groups of files into results, one for each file; `workers`: see `read_files`. A
    file whose content the output knows is not read on and not computed again. The groups, and so
    all numbers to the last bit, depend on the files alone (and on what is known), unless a file is
    so slow to read that others overtake it.
    """
    known = output.known()
    tasks = [(source, known.get(source.id)) for source in sources]
    read = read_files(tasks, reader, workers)
    computed = compute(_groups(read, TEMPORAL_ROWS if temporal else GROUP_ROWS))
    done, rejected = [], []
    for name, result in progress(_kept(computed, output), "files", total=len(sources)):
        if isinstance(result, FormatError):
            rejected.append((name, result))
        else:
            done.append(name)
    output.close(sorted(done))
    return sorted(rejected, key=lambda row: row[0])


def _kept(
    computed: Iterable[tuple[Group, list[Result]]], output: Output
) -> Iterator[tuple[str, Result]]:
    """Yield (id, result) after the results of its group were written."""
    for group, results in computed:
        pairs = list(zip(group, results, strict=True))
        output.write(
            [
                Row(source.id, source.modality, prepared.sha256, result)
                for (source, prepared), result in pairs
                if not isinstance(result, FormatError)
            ]
        )
        yield from ((source.id, result) for (source, _), result in pairs)


def _groups(read: Iterator[tuple[Source, Prepared]], limit: int) -> Iterator[Group]:
    group, rows, size = [], 0, 0
    for source, prepared in read:
        group.append((source, prepared))
        rows += _rows(prepared)
        size += prepared.nbytes
        if rows >= limit or size >= GROUP_BYTES or len(group) >= GROUP_FILES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


def _rows(prepared: Prepared) -> int:
    """About how many rows a tower reads of it."""
    piece = prepared.piece
    if isinstance(piece, str):
        return len(piece) // BYTES_PER_TOKEN + 2
    if isinstance(piece, np.ndarray) and piece.ndim > 1:
        return piece.size // piece.shape[-1]
    return 0
