"""A folder of files to a table or a tree of embeddings: what `clamp3 embed` does."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from clamp3.processes import cpu_count
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.embedding.files import Rejects
from clamp3.retrieval.embedding.npy_output import NpyOutput
from clamp3.retrieval.embedding.outputs import Output
from clamp3.retrieval.embedding.parquet_output import ParquetOutput
from clamp3.retrieval.embedding.segments import best_device, chosen_device
from clamp3.retrieval.embedding.sources import Source, find_sources

log = logging.getLogger(__name__)
FEW = 64  # files that are read before other processes would have started
MOST_WORKERS = 8  # a model waits for no more


def embed_sources(
    embedder: Embedder,
    given: Sequence[Path],
    out: Path,
    *,
    npy: bool = False,
    temporal: bool = False,
    workers: int | None = None,
    devices: Sequence[str] = (),
) -> tuple[int, Rejects]:
    """Bring the embeddings of all given files into `out`; returns their number and the rejects.

    `out`: a Parquet file, or with `npy` a folder; what it has already, made alike from the same
    content, stays. Files below it are passed over. `workers`: None decides by the number of files.
    """
    found, refused = find_sources(given)
    sources = [source for source in found if not _is_below(source, out)]
    making = embedder.making(sources, temporal=temporal)
    output: Output = ParquetOutput(out, making)
    if npy:
        output = NpyOutput(out, making, [source.id for source in sources])
    rejected = embedder.embed_to(
        output,
        sources,
        temporal=temporal,
        workers=workers_for(len(sources)) if workers is None else workers,
        devices=devices,
    )
    rejected = sorted([*refused, *rejected], key=lambda row: row[0])
    return len(sources) + len(refused), rejected


def listed_devices(named: str | None, processes: int) -> list[str]:
    """The devices to compute on, one for each process: `cuda:0,cuda:1`, or None for the best one.

    Raises ConfigError for one that is not there.
    """
    names = [chosen_device(name.strip()) for name in (named or best_device()).split(",")]
    if processes > 1 and names == ["cuda"]:
        names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [names[place % len(names)] for place in range(max(processes, len(names)))]


def workers_for(files: int) -> int:
    """How many processes should read so many files."""
    return 0 if files < FEW else min(MOST_WORKERS, cpu_count())


def _is_below(source: Source, out: Path) -> bool:
    """What was written before is no input, even where OUT lies in the given folder."""
    return source.path.resolve().is_relative_to(Path(out).resolve())
