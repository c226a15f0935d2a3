"""A corpus to try everything on, made from the installed music21.

Fiddle tunes and chorales are laid out exactly as PDMX, WikiMT-X and MidiCaps are, so everything
after this stage is the same for the demo and for the real data sets. Two builds give the same
bytes.
"""

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from clamp3.config import CorpusConfig, Splits
from clamp3.data.demo_corpus.evaluation_sets import location_in_lakh, midicaps_row, wikimt_x_row
from clamp3.data.demo_corpus.music21_corpus import (
    Source,
    bach_chorales,
    oneills_1850,
    ryans_mammoth,
    title_key,
)
from clamp3.data.demo_corpus.pdmx_table import pdmx_csv
from clamp3.data.demo_corpus.pieces import Piece, make_piece, same_music
from clamp3.data.splits import split_of
from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.files import atomic_path, write_jsonl, write_text
from clamp3.logs import progress
from clamp3.processes import run_in_processes

_log = logging.getLogger(__name__)
_WORTH_PROCESSES = 16  # pieces: fewer are made before a process has loaded music21
_SECONDS_PER_PIECE = 300  # a few on the slowest machine


def build_demo_corpus(
    folder: Path, corpus: CorpusConfig, splits: Splits, seed: int, workers: int
) -> None:
    """Write the demo corpus into `folder`, in the place of an earlier one; other files there stay.

        PDMX.csv, mxl/, mid/                      all pieces
        wikimt-x-public.jsonl                     the pieces of the test split, as ABC
        midicaps/train.json, midicaps/lmd_full/   the same pieces, as MIDI

    Of several settings of one melody only the first is taken: one in the training and another in
    the test split would make the test too easy. The number of `workers` (processes) changes
    nothing but the time. Raises ConfigError where music21 has fewer pieces than `corpus` asks for.
    """
    pieces = _choose_pieces(corpus, seed, workers)
    held_out = [piece for piece in pieces if split_of(piece.piece_id, splits, seed) == "test"]
    leadsheets = [wikimt_x_row(piece) for piece in held_out]
    for kind in ("mxl", "mid"):
        files = {f"{piece.folder}/{piece.name}.{kind}": getattr(piece, kind) for piece in pieces}
        _write_files(folder / kind, files)
    _write_files(
        folder / "midicaps" / "lmd_full", {location_in_lakh(piece): piece.mid for piece in held_out}
    )
    write_jsonl(folder / "midicaps" / "train.json", map(midicaps_row, held_out))
    write_jsonl(folder / "wikimt-x-public.jsonl", leadsheets)
    write_text(folder / "PDMX.csv", pdmx_csv(pieces))
    _log.info("demo corpus: %d pieces, %d of them held out", len(pieces), len(held_out))


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Make `folder` hold these files and no others."""
    with atomic_path(folder) as draft:
        draft.mkdir()
        for name, content in files.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _choose_pieces(corpus: CorpusConfig, seed: int, workers: int) -> list[Piece]:
    """The pieces asked for, by name."""
    chosen: list[Piece] = []
    titles: set[str] = set()
    for name, sources in (
        ("ryans_mammoth", ryans_mammoth),
        ("oneills_1850", oneills_1850),
        ("bach_chorales", bach_chorales),
    ):
        wanted = getattr(corpus, name)
        enough = len(chosen) + wanted
        waiting = _one_per_title(sources(seed), titles)
        while batch := list(islice(waiting, enough - len(chosen))):
            _take_new(_make(batch, name, seed, workers), chosen)
        if len(chosen) < enough:
            found = wanted - (enough - len(chosen))
            raise ConfigError(f"corpus.{name}: {wanted}, but music21 has only {found} fit for use")
    return sorted(chosen, key=lambda piece: piece.name)


def _make(sources: list[Source], name: str, seed: int, workers: int) -> list[Piece | str]:
    """What becomes of each source, in order."""
    task = partial(make_piece, seed=seed)
    if workers > 1 and len(sources) >= _WORTH_PROCESSES:
        made = run_in_processes(task, sources, workers=workers, seconds=_SECONDS_PER_PIECE)
    else:
        made = enumerate(map(task, sources))
    by_index = dict(progress(made, name.replace("_", " "), total=len(sources)))
    for index, error in by_index.items():
        if isinstance(error, FormatError):
            raise DataError(f"{sources[index].key} of music21: {error}")
    return [by_index[index] for index in range(len(sources))]


def _one_per_title(sources: list[Source], titles: set[str]) -> Iterator[Source]:
    for source in sources:
        key = title_key(source.title)
        if key not in titles:
            titles.add(key)
            yield source


def _take_new(made: Iterable[Piece | str], chosen: list[Piece]) -> None:
    for piece in made:
        if isinstance(piece, str):
            _log.info("left out: %s", piece)
        elif twin := next((old for old in chosen if same_music(old, piece)), None):
            _log.info("left out: %s: the music of %s", piece.source.key, twin.source.key)
        else:
            chosen.append(piece)
