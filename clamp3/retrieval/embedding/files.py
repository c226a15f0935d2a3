"""Files of any kind to rows of an output: read ahead, grouped, computed, kept as they come."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from clamp3.errors import ConfigError, FormatError
from clamp3.logs import progress
from clamp3.retrieval.embedding.devices import on_devices
from clamp3.retrieval.embedding.outputs import Collected, Output, Row
from clamp3.retrieval.embedding.reading import Prepared, read_files
from clamp3.retrieval.embedding.sources import Source, find_sources
from clamp3.retrieval.vectors import Vectors

# Of a group, which is computed at once, and lost when the program is killed.
GROUP_ROWS = 2**16  # patches, tokens or frames, about
TEMPORAL_ROWS = 2**15  # their hidden states: 100 MB at width 768
GROUP_BYTES = 2**27
GROUP_FILES = 8192
BYTES_PER_TOKEN = 4  # of a text, about

Group = list[tuple[Source, Prepared]]
Result = np.ndarray | FormatError | None  # None: nothing to compute
Rejects = list[tuple[str, FormatError]]


@dataclass(frozen=True)
class EmbeddedFiles:
    """The embeddings of files, sorted by id (the path below the given folder).

    `embeddings`: float32 [N, D], or a list of [n, D] for temporal features. `rejected`: the id of
    each file without one, and why.
    """

    ids: list[str]
    modalities: list[str]
    embeddings: np.ndarray | list[np.ndarray]
    rejected: Rejects


class GroupEngine(Protocol):
    """A model on one device; `type(engine)(engine.choice, device)` is one like it on another."""

    choice: object

    def group_results(self, group: Group, temporal: bool = False) -> list[Result]:
        """What becomes of each file of a group."""
        ...


class SourceEmbedder:
    """What every embedder does alike; what it calls of `self` is each one's own."""

    source: str | Path
    engine: GroupEngine
    has_temporal = True

    def embed_text(self, texts: str | Sequence[str]) -> np.ndarray:
        """The embedding [D] of a text, or [N, D] of several; float32, not normalised.

        (Those of a CLAP-MusicGen have length 1 by themselves.)
        """
        found = self._texts([texts] if isinstance(texts, str) else list(texts))
        return found[0] if isinstance(texts, str) else found

    def embed_files(
        self, paths: Iterable[str | Path] | str | Path, *, temporal: bool = False, workers: int = 0
    ) -> EmbeddedFiles:
        """The embeddings of files, and of all files below folders, of any kinds mixed.

        `workers`: processes that read the files beside this one. A program that asks for them must
        keep its own start behind `if __name__ == "__main__":`, as with all processes in Python.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        sources, refused = find_sources([Path(path) for path in given])
        output = Collected()
        rejected = self.embed_to(output, sources, temporal=temporal, workers=workers)
        rows = list(output.rows.values())
        embeddings = [row.embedding for row in rows]
        if not temporal:
            embeddings = np.stack(embeddings) if rows else np.empty((0, 0), np.float32)
        rejected = sorted([*refused, *rejected], key=lambda row: row[0])
        return EmbeddedFiles(
            [row.id for row in rows], [row.modality for row in rows], embeddings, rejected
        )

    def embed_to(
        self,
        output: Output,
        sources: Sequence[Source],
        *,
        temporal: bool = False,
        workers: int = 0,
        devices: Sequence[str] = (),
    ) -> Rejects:
        """Bring the embeddings of the files into an output; returns (id, reason) of the others.

        A file whose content the output knows is not read on and not computed again. The groups that
        are computed at once, and so all numbers to the last bit, depend on the files alone (and on
        what is known), unless a file is so slow to read that others overtake it.

        `workers`: see `read_files`; `devices`: a process for each of them, instead of this one;
        `cpu` may be named repeatedly. Raises ConfigError where sound needs a front end that was not
        given, and for `temporal` where the model has no such features.
        """
        self._refuse_temporal(temporal)
        good, rejected = self._usable(sources)
        reader = self.reader(sound=any(source.is_sound for source in good))
        known = output.known()
        tasks = [(source, known.get(source.id)) for source in good]
        read = read_files(tasks, reader, workers)
        groups = _groups(read, TEMPORAL_ROWS if temporal else GROUP_ROWS)
        kept = _kept(_computed(self.engine, groups, devices, temporal), output)
        done = []
        for name, result in progress(kept, "files", total=len(good)):
            if isinstance(result, FormatError):
                rejected.append((name, result))
            else:
                done.append(name)
        output.close(sorted(done))
        return sorted(rejected, key=lambda row: row[0])

    def _refuse_temporal(self, temporal: bool) -> None:
        if temporal and not self.has_temporal:
            what = "this model makes one vector of a recording, no row of them"
            raise ConfigError(f"temporal: {what}")

    def embed_sources(self, sources: Sequence[Source]) -> tuple[Vectors, Rejects]:
        """The embeddings of the files in their order, and (id, reason) of those without one."""
        output = Collected()
        rejected = self.embed_to(output, sources)
        rows = [output.rows[source.id] for source in sources if source.id in output.rows]
        modalities = [row.modality for row in rows]
        matrix = np.stack([r.embedding for r in rows]) if rows else np.empty((0, 0), np.float32)
        labels = {"modality": modalities}
        return Vectors([r.id for r in rows], matrix, self.origin(modalities), labels), rejected

    def _refuse_own_folder(self, folder: str | Path) -> None:
        if Path(folder).resolve() == Path(self.source).resolve():
            raise ConfigError(f"{folder}: the model is there already; name another folder")

    def _usable(self, sources: Sequence[Source]) -> tuple[list[Source], Rejects]:
        """The sources that may be embedded, and (id, reason) of those refused unread."""
        good, rejected = [], []
        for source in sources:
            if (reason := self.refusal(source)) is None:
                good.append(source)
            else:
                rejected.append((source.id, reason))
        return good, rejected


def _computed(
    engine: GroupEngine, groups: Iterable[Group], devices: Sequence[str], temporal: bool
) -> Iterable[tuple[Group, list[Result]]]:
    """The groups with their results, by the engine itself, or by one like it on each device."""
    if not devices:
        return ((group, engine.group_results(group, temporal)) for group in groups)
    build = partial(_built, type(engine), engine.choice, temporal)
    return on_devices(groups, build=build, devices=devices)


def _built(
    kind: Callable[..., GroupEngine], choice: object, temporal: bool, device: str
) -> Callable[[Group], list[Result]]:
    return partial(kind(choice, device).group_results, temporal=temporal)


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
