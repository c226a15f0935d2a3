"""Merging segments of an index: many small additions and deleted rows must not slow it down."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from clamp3.files import atomic_path
from clamp3.retrieval.index.rows import KEY
from clamp3.retrieval.index.segment import OpenSegment
from clamp3.retrieval.index.store import SEGMENT, Manifest, Segment
from clamp3.retrieval.index.update import SegmentWriter

log = logging.getLogger(__name__)

MOST_SEGMENTS = 16
ROWS_PER_BLOCK = 8192


def merged_where_due(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with some segments written anew as one, if there are too many or half empty.

    Of more than `MOST_SEGMENTS` all are merged but the largest, where it is larger than all others;
    so a row is copied a few times at most. One for approximate search is left, unless half of its
    rows are deleted.
    """
    due = _due(manifest.segments)
    if not due:
        return manifest
    name = f"{SEGMENT}{manifest.generation:06d}-merged"
    log.info("%s: writing %d segments anew", folder, len(due))
    opened = [OpenSegment(folder, segment, manifest.width) for segment in due]
    if any(segment.entry.ann for segment in opened):
        log.warning(
            "%s: half of the rows of its approximate search are deleted; build the index again to "
            "have one",
            folder,
        )
    properties = {n for segment in opened for n in segment.rows.column_names if n not in KEY}
    path = Path(folder) / name
    with atomic_path(path) as draft, SegmentWriter(draft, manifest.width, properties) as writer:
        for segment in opened:
            _copy(segment, writer)
    gone = {segment.name for segment in due}
    kept = tuple(segment for segment in manifest.segments if segment.name not in gone)
    return manifest.model_copy(update={"segments": (*kept, writer.entry(path))})


def _due(segments: Sequence[Segment]) -> list[Segment]:
    half_empty = {s.name for s in segments if 2 * s.deleted_rows > s.rows}
    plain = sorted((s for s in segments if s.ann is None), key=lambda s: (-s.live, s.name))
    due = set(half_empty)
    if len(plain) > MOST_SEGMENTS:
        largest, rest = plain[0], plain[1:]
        due |= {s.name for s in rest}
        if largest.live <= sum(s.live for s in rest):
            due.add(largest.name)
    return [s for s in segments if s.name in due]


def _copy(segment: OpenSegment, writer: SegmentWriter) -> None:
    """Append the rows that count."""
    for start in range(0, segment.entry.rows, ROWS_PER_BLOCK):
        part = slice(start, start + ROWS_PER_BLOCK)
        vectors, rows = segment.vectors[part], segment.rows.slice(start, ROWS_PER_BLOCK)
        live = np.ones(len(rows), dtype=bool) if segment.live is None else segment.live[part]
        writer.append(vectors[live], rows.filter(pa.array(live)))
