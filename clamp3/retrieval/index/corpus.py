"""The pipeline's index: all pieces of the corpus in all modalities, for searching and looking."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from clamp3.config import EmbedConfig, IndexConfig
from clamp3.data.store import Store
from clamp3.files import read_table, write_json, write_table
from clamp3.retrieval.embedding.collection import embed_model
from clamp3.retrieval.embedding.segments import cpu_threads
from clamp3.retrieval.features.recordings import RecordingFolder, refuse_incomplete
from clamp3.retrieval.index.ann import AnnSettings
from clamp3.retrieval.index.piece_writer import ABC, AUDIO, MIDI, SCHEMA, TITLE, inside
from clamp3.retrieval.index.reader import open_index
from clamp3.retrieval.index.rows import ID
from clamp3.retrieval.index.store import remove_index
from clamp3.retrieval.index.writer import build_index
from clamp3.retrieval.metadata import score_facts
from clamp3.retrieval.vectors import manifest_name

log = logging.getLogger(__name__)

COLLECTION = "pdmx"  # the others are there for evaluation alone
MODALITIES = ("abc", "mtf", "audio")
# What a search is filtered by and a result shows.
COLUMNS = (
    *("title", "artists", "region", "language", "genres", "tags", "instruments", "split"),
    *("license", "complexity", "bars", "rating"),
)
ROWS_AT_ONCE = 1024  # in memory as Python's objects
FACTS = ("key", "tonic", "mode", "metre")  # of the scores' heads


@dataclass(frozen=True)
class Corpus:
    """Where the stages before have left the corpus.

    `catalog`, `scores`: parts of the catalogue and of the store of standard ABC; `midi`: the folder
    of the MIDI files; `recordings`: folders of sound files, which are played where they lie on this
    machine; `are_rendered`: under their full ids.
    """

    manifests: Sequence[Path]
    catalog: Sequence[Path]
    scores: Sequence[Path]
    midi: Path
    recordings: Sequence[Path | str]
    are_rendered: bool

    @property
    def folders(self) -> list[Path]:
        """What holds the files of all pieces; one folder for all parts of rendered recordings."""
        places = map(Path, self.recordings)
        sounds = [path.parent if self.are_rendered else path for path in places]
        return list(dict.fromkeys([self.midi, *sounds]))


def index_corpus(
    model: Path,
    corpus: Corpus,
    queries: Path,
    out: Path,
    *,
    figures: Path,
    rejected: Path,
    embed: EmbedConfig,
    settings: IndexConfig,
) -> None:
    """Make the folder `out` an index of all pieces of PDMX that the manifests name.

    Its metadata is what the catalogue and the scores' heads say. `queries`: embedded texts, which
    the approximate search, if there is to be one, is measured with; `figures`: JSON with the sizes
    and what it finds; `rejected`: a table of what could not be embedded.

    Raises DataError where nothing of a modality could be embedded, ConfigError where the recall
    that is asked for is out of reach.
    """
    with tempfile.TemporaryDirectory() as place, cpu_threads(embed.threads):
        named = [path for path in corpus.manifests if manifest_name(path)[0] == COLLECTION]
        wanted = dict.fromkeys(MODALITIES)
        embed_model(model, named, Path(place), embed, adapters=wanted, rejected=rejected)
        tables = [Path(place) / COLLECTION / f"{modality}.parquet" for modality in MODALITIES]
        pieces, facts = _pieces(corpus)
        metadata = Path(place) / "known.parquet"
        write_table(metadata, facts)
        remove_index(out)  # so that the same rows make the same files
        build_index(
            out,
            [table for table in tables if table.is_file()],
            metadata=[metadata],
            ann=AnnSettings(settings.recall, queries) if settings.approximate else None,
            files=[path for path in corpus.folders if path.is_dir()],
            pieces=pieces,
        )
    write_figures(out, figures)


def write_figures(folder: Path, path: Path) -> None:
    """Write the sizes of an index, and how much of the exact search its approximate one finds."""
    facts = open_index(folder).info()
    kept = ("rows", "modalities", "width", "bytes", "approximate")
    write_json(path, {name: facts[name] for name in kept})


def _pieces(corpus: Corpus) -> tuple[pa.Table, pa.Table]:
    """What can be shown and played of the pieces, and what is known of them."""
    table = read_table(corpus.catalog, [ID, "collection", "mid_path", *COLUMNS])
    table = table.filter(pa.compute.equal(table["collection"], COLLECTION))
    scores = Store(corpus.scores)
    for folder in corpus.recordings:
        refuse_incomplete(folder)
    sounds = [
        RecordingFolder(folder, by_name=not corpus.are_rendered) for folder in corpus.recordings
    ]
    folders = [path.resolve() for path in corpus.folders]
    kinds = [table.schema.field(column) for column in (ID, *COLUMNS)]
    schema = pa.schema([*kinds, *(pa.field(fact, pa.string()) for fact in FACTS)])
    shown, known, lost = [SCHEMA.empty_table()], [schema.empty_table()], []
    for start in range(0, len(table), ROWS_AT_ONCE):
        pieces, facts = [], []
        for row in table.slice(start, ROWS_AT_ONCE).to_pylist():
            abc = str(scores.get(row[ID])) if row[ID] in scores else None
            pieces.append(_shown(row, abc, sounds, folders))
            if row["mid_path"] and not pieces[-1][MIDI]:
                lost.append(row["mid_path"])
            facts.append({name: row[name] for name in (ID, *COLUMNS)} | score_facts(abc or ""))
        shown.append(pa.Table.from_pylist(pieces, SCHEMA))
        known.append(pa.Table.from_pylist(facts, schema))
    if lost:
        log.warning("%d MIDI files cannot be played, such as %s: not there", len(lost), lost[0])
    return pa.concat_tables(shown), pa.concat_tables(known)


def _shown(
    row: dict, abc: str | None, sounds: Sequence[RecordingFolder], folders: Sequence[Path]
) -> dict[str, str | None]:
    own = [path for sound in sounds for path in sound.find(row[ID])]
    return {
        ID: row[ID],
        TITLE: row["title"],
        ABC: abc,
        MIDI: _file(row["mid_path"], folders),
        AUDIO: _file(own[0], folders) if len(own) == 1 else None,
    }


def _file(path: Path | str | None, folders: Sequence[Path]) -> str | None:
    found = inside(Path(path), folders) if path else None
    return str(path) if found else None
