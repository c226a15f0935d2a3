"""One figure of a paper's table: computed here, or why not.

Retrieval is told with the right reference first among equal ones, as in the originals (see
`metrics`); a probe's figures are means over folds.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from clamp3.errors import Clamp3Error, ConfigError, DataError
from clamp3.files import read_jsonl
from clamp3.randomness import stable_hash
from clamp3.retrieval.classification.scoring import cross_validate, figures, most_frequent
from clamp3.retrieval.classification.training import Recipe
from clamp3.retrieval.evaluation.figures import Task, figures_of, rank
from clamp3.retrieval.labels import Labelled
from clamp3.retrieval.vectors import Vectors, first_table, manifest_name, read_vectors

log = logging.getLogger(__name__)

LINES = "lines"  # the table of texts taken line by line
TABLES = ("abc", "mtf", "audio", LINES)  # all else is a field of the texts
FOLDS = 5
DEVIATIONS = 1.96  # of a mean's 95 % interval
RANKED = ("mrr", "hit@1", "hit@5", "hit@10")
PROBED = ("accuracy", "macro_f1")


class Asked(NamedTuple):
    """A figure to compute: of query and reference, or of what is classified.

    `sources`: `collection:modality` or `collection:field`; `pieces`: of the published gallery;
    `stand_in`: sources to take where a collection is not there.
    """

    title: str
    metric: str
    sources: tuple[str, ...]
    pieces: int | None = None
    stand_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """A figure with its interval, what chance gives, and how many asked and were asked for.

    `note` says what sets it apart from the published one, `not_run` why there is none.
    """

    here: float | None = None
    interval: tuple[float, float] | None = None
    chance: float | None = None
    queries: int | None = None
    pieces: int | None = None
    note: str = ""
    not_run: str = ""


class Bench:
    """The embeddings of one model, in `folders` of which the first that has a table counts.

    `manifests`: <collection>-<modality>-test.jsonl, of the pieces that may have been embedded.
    """

    def __init__(self, folders: Sequence[Path], manifests: Sequence[Path]):
        self.folders = [Path(folder) for folder in folders]
        self._manifests: dict[str, list[Path]] = {}
        for path in map(Path, manifests):
            self._manifests.setdefault(manifest_name(path)[0], []).append(path)
        self._probes: dict[str, dict] = {}

    def cell(self, asked: Asked) -> Cell:
        """The figure, or a cell that says what is missing for it."""
        absent, note = self._absent(asked.sources), ""
        if absent and asked.stand_in:
            asked = asked._replace(sources=asked.stand_in)
            absent, note = self._absent(asked.sources), f"on {' to '.join(asked.sources)}"
        if absent:
            names = " and no ".join(absent)
            return Cell(not_run=f"parse.collections in params.yaml names no {names}")
        try:
            found = self._probe(asked) if asked.metric in PROBED else self._retrieve(asked)
        except Clamp3Error as error:
            log.warning("%s: %s", asked.title, error)
            return Cell(not_run=str(error).splitlines()[0])
        if not note and asked.pieces and found.pieces != asked.pieces:
            note = f"{found.pieces:,} pieces, published {asked.pieces:,}"
        return replace(found, note=note)

    def _absent(self, sources: Sequence[str]) -> list[str]:
        """The collections of these that have no manifest."""
        names = dict.fromkeys(source.partition(":")[0] for source in sources)
        return [name for name in names if name not in self._manifests]

    def _retrieve(self, asked: Asked) -> Cell:
        """Of as many pieces as were published, chosen by hashes where there are more."""
        sides = [self._keyed(source) for source in asked.sources]
        shared = sorted(set(sides[1].labels["key"]))
        chosen = sorted(shared, key=lambda key: stable_hash(key, "sample"))[: asked.pieces]
        queries, references = (side.labelled("key", *chosen) for side in sides)
        task = Task(by="key", hits_at=(1, 5, 10), ties="optimistic")
        ranked = rank(queries, references, task)
        told = figures_of(ranked, task)
        return Cell(
            told["figures"]["optimistic"][asked.metric],
            told["intervals"][asked.metric],
            told["chance"][asked.metric],
            len(ranked.placed.rows),
            len(references.ids),
        )

    def _probe(self, asked: Asked) -> Cell:
        """Of the genre; beside it what always guessing the most frequent one gives."""
        (source,) = asked.sources
        if source not in self._probes:
            self._probes[source] = self._probed(source)
        report = self._probes[source]
        value, error = report[asked.metric], report[f"{asked.metric}_standard_error"]
        reach = DEVIATIONS * error
        ends = (max(0.0, value - reach), min(1.0, value + reach)) if reach else None
        always = report["majority"][asked.metric]
        return Cell(value, ends, always, report["pieces"], report["pieces"])

    def _probed(self, source: str) -> dict:
        vectors, genres = self._vectors(source), self._genres(source)
        labels = [genres.get(name, "") for name in vectors.ids]
        data = Labelled(vectors, labels).keep([bool(label) for label in labels], "no_label", "")
        if not data.labels:
            raise DataError(f"no piece of {source} has one genre to be guessed")
        data, guesses = cross_validate(data, Recipe(), FOLDS)
        return figures(guesses, sorted(set(data.labels)), most_frequent(data.labels))

    def _vectors(self, source: str) -> Vectors:
        collection, _, what = source.partition(":")
        name = what if what in TABLES else "text"
        path = first_table(self.folders, collection, name)
        if path is None:
            wanted = self.folders[-1] / collection / f"{name}.parquet"
            raise ConfigError(f"{wanted} is not there: no {what} of {collection} is embedded")
        vectors = read_vectors(path)
        if name == "text":
            vectors = vectors.labelled("field", what)
        if not vectors.ids:
            raise DataError(f"{path} holds no {what}; rejected.parquet in {path.parents[1]}")
        return vectors

    def _keyed(self, source: str) -> Vectors:
        """With the name of each piece in its collection as `key`, without the label before it.

        So pieces of one name in two collections belong together, a file in a folder of labels and
        a line of a list.
        """
        vectors, genres = self._vectors(source), self._genres(source)
        keys = [
            name.rpartition("/")[2].removeprefix(f"{genres.get(name)}_") for name in vectors.ids
        ]
        return replace(vectors, labels=vectors.labels | {"key": keys})

    def _genres(self, source: str) -> dict[str, str]:
        """The genre of each piece of a collection that has just one."""
        paths = self._manifests[source.partition(":")[0]]
        rows = [row for path in paths for _, row in read_jsonl(path)]
        return {row["id"]: row["genres"][0] for row in rows if len(row.get("genres") or ()) == 1}
