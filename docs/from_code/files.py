"""The columns of every table that the pipeline and the commands write."""

import inspect
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.data import (
    captioned_audio,
    catalog,
    clamp2_manifests,
    conversion,
    listing,
    manifests,
    rejected,
)
from clamp3.data.summaries import summarise
from clamp3.retrieval import vectors
from clamp3.retrieval.evaluation import figures
from clamp3.retrieval.evaluation import held_out as evaluation
from clamp3.retrieval.features import codes
from clamp3.retrieval.features import rows as features
from clamp3.retrieval.index import map as index_map
from clamp3.retrieval.index import piece_writer as index_pieces
from clamp3.retrieval.index import rows as index_rows
from clamp3.retrieval.index import store as index_store
from clamp3.training import curves
from from_code.tables import code, comments, first_line, table

WIDTH = 768  # in examples


class File(NamedTuple):
    """A kind of file: where it lies, what it is, and how its columns are known."""

    where: str
    what: str
    columns: Callable[[], dict[str, tuple[str, str]]]  # name → type, remark


def markdown(root: Path) -> str:
    """A section for each kind of file."""
    parts = []
    for heading, files in FILES.items():
        parts += [f"## {heading}", ""]
        for file in files:
            rows = [(code(n), code(kind), what) for n, (kind, what) in file.columns().items()]
            parts += [f"### {file.where}", "", file.what, ""]
            parts += [table(("column", "type", "what"), rows)]
    layout = inspect.cleandoc(index_store.__doc__).split("\n\n")[1]
    parts += ["## An index", "", "```text", inspect.cleandoc(layout), "```", ""]
    return "\n".join(parts)


def _of_schema(module: ModuleType, name: str = "SCHEMA") -> Callable:
    """The columns of a schema in a module, with what comments say of them there."""

    def columns() -> dict[str, tuple[str, str]]:
        said = _remarks(inspect.getsource(module))
        schema = getattr(module, name)
        return {each.name: (str(each.type), said.get(each.name, "")) for each in schema}

    return columns


def _remarks(source: str) -> dict[str, str]:
    """What comments say beside lines such as `"id": pa.string(),  # …`."""
    lines, said = source.splitlines(), comments(source)
    keys = ((re.match(r'\s+"(\w+)": ', line), said.get(n, "")) for n, line in enumerate(lines, 1))
    return {match[1]: remark for match, remark in keys if match and remark}


def _of_table(make: Callable[[], pa.Table]) -> Callable:
    """The columns of a table that the writing code makes of no rows."""
    return lambda: {each.name: (str(each.type), "") for each in make().schema}


def _names(*names: str) -> Callable:
    """Columns without a type: of text files."""
    return lambda: dict.fromkeys(names, ("", ""))


def _empty(kind: type = np.float32) -> vectors.Vectors:
    origin = vectors.Origin("fingerprint", "space", "abc", "pdmx")
    labels = {"modality": ["abc"], "field": [""], "language": ["English"]}
    return vectors.Vectors(["pdmx/1"], np.ones((1, WIDTH), kind), origin, labels)


def _written_vectors() -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.parquet"
        vectors.write_vectors(path, _empty())
        return pq.read_table(path)


def _ranked() -> pa.Table:
    ranked = figures.rank(_empty(), _empty(), figures.Task(by="id"))
    return evaluation._place_table("pdmx", "text → abc", ranked)


def _piece_table(*names: str) -> pa.Table:
    return conversion._as_table([], list(names))


def _said(thing: object) -> str:
    return first_line(inspect.getdoc(thing))


FILES = {
    "Every stage": [
        File(
            "`rejected-part-….parquet`, `rejected.parquet`", _said(rejected), _of_schema(rejected)
        ),
        File("`parts.tsv`", _said(listing), _names(*listing._COLUMNS)),
    ],
    "Pieces": [
        File("`data/catalog/part-….parquet`", _said(catalog), _of_schema(catalog)),
        File(
            "`data/abc/part-….parquet`, `data/interleaved/part-….parquet`",
            "A score a row: standard ABC, and interleaved.",
            _of_table(lambda: _piece_table("id", "abc")),
        ),
        File(
            "`data/mtf/part-….parquet`",
            "A performance a row; `warning` says what was forgiven.",
            _of_table(lambda: _piece_table("id", "mtf", "warning")),
        ),
        File(
            "`data/features/part-….parquet`, `data/states/part-….parquet`",
            "Rows of features for each recording; the width is the front end's, or MusicGen's.",
            _of_table(lambda: features._table([], WIDTH, {})),
        ),
        File(
            "`data/codes/part-….parquet`",
            "EnCodec's codes of each recording, and the frames of each of its chunks.",
            _of_table(lambda: codes._code_table([], 4, {})),
        ),
    ],
    "Texts": [
        File(
            "`data/manifests/COLLECTION-MODALITY-SPLIT.jsonl`",
            _said(manifests),
            _names("id", "filepaths", *manifests._KEYS, "translations"),
        ),
        File("`data/summaries/summaries.parquet`", _said(summarise), _of_schema(summarise)),
        File("`data/clamp2/*.jsonl`", _said(clamp2_manifests), _names(*clamp2_manifests.FIELDS)),
        File(
            "Rows of `parse_clamp2`",
            _said(clamp2_manifests.parse_clamp2),
            _of_schema(clamp2_manifests),
        ),
        File("Captions of recordings", _said(captioned_audio), _of_schema(captioned_audio)),
    ],
    "Results": [
        File("`results/metrics/**/*.tsv`", _said(curves), _names(*curves.COLUMNS)),
        File(
            "`results/embeddings/MODEL/COLLECTION/*.parquet`",
            "Vectors with their labels; the metadata are the fields of "
            "[Origin](python.md#clamp3-retrieval-vectors). `clamp3 embed` writes `sha256` beside.",
            _of_table(_written_vectors),
        ),
        File(
            "`results/evaluation/ranks/MODEL.parquet`",
            _said(figures.rank_table),
            _of_table(_ranked),
        ),
        File(
            "`results/evaluation/ranks/MODEL-unmatched.parquet`",
            "What was held out and could not be ranked.",
            _names(*evaluation.UNMATCHED),
        ),
        File(
            "`rows.arrow` of an index",
            _said(index_rows) + " Every property is a further column.",
            _of_table(lambda: index_rows.rows_schema(()).empty_table()),
        ),
        File("`pieces-….arrow` of an index", _said(index_pieces), _of_schema(index_pieces)),
        File("Points of the map", _said(index_map.index_map), _of_schema(index_map, "POINTS")),
    ],
}
