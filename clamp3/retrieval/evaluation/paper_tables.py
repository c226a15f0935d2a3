"""The papers' tables: workflow/tables.yaml, checked; published figures beside those of here."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import model_validator

from clamp3.config import Section, check
from clamp3.errors import ConfigError
from clamp3.files import write_text
from clamp3.retrieval.evaluation.comparison import markdown_line, plain_numbers
from clamp3.retrieval.evaluation.paper_cells import PROBED, RANKED, Asked, Bench, Cell

NEVER_RELEASED = "workflow/tables.yaml names no weights: not released, or of another program"
ROW = (
    *("part", "figure", "metric", "model", "published", "here", "low", "high", "chance"),
    *("queries", "pieces", "note", "not_run"),
)


class PaperModel(Section):
    """A row: where its weights or its embeddings are. Without either there is nothing to run."""

    title: str
    weights: str | None = None
    adapters: dict[Literal["abc", "mtf"], str] | None = None
    embeddings: tuple[str, ...] = ()


class Column(Section):
    """One figure: who asks whom, or what is classified, as `collection:modality` or field."""

    title: str
    metric: Literal[RANKED + PROBED]
    query: str | None = None
    reference: str | None = None
    classify: str | None = None
    pieces: int | None = None  # in the published gallery
    stand_in: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Query and reference, or what is classified; what is not said is left out."""
        named = (self.query, self.reference, self.classify)
        return tuple(source for source in named if source)

    @model_validator(mode="after")
    def _is_one_task(self) -> "Column":
        probed = self.metric in PROBED
        if bool(self.classify) != probed or len(self.sources) != (1 if probed else 2):
            raise ValueError(
                f"{self.title}: {self.metric} is of "
                f"{'what is in `classify`' if probed else '`query` and `reference`'} alone"
            )
        if self.stand_in and len(self.stand_in) != len(self.sources):
            raise ValueError(f"{self.title}: stand_in has not as many parts as the task")
        if not all(":" in source for source in (*self.sources, *self.stand_in)):
            raise ValueError(f"{self.title}: expected collection:modality or collection:field")
        return self


class Block(Section):
    """A part of a table with columns of its own; `rows`: published figures by model."""

    title: str
    source: str
    remark: str = ""
    columns: tuple[Column, ...]
    rows: dict[str, tuple[float | None, ...]]
    ours: tuple[str, ...] = ("here",)

    @property
    def published(self) -> dict[str, tuple[float | None, ...]]:
        """The figures of all models, also of those that have none."""
        return self.rows | {name: (None,) * len(self.columns) for name in self.ours}

    @model_validator(mode="after")
    def _rows_are_full(self) -> "Block":
        width = len(self.columns)
        for name, row in self.rows.items():
            if len(row) != width:
                raise ValueError(f"{self.title}, {name}: {len(row)} figures, {width} columns")
        return self


class PaperTable(Section):
    """What one target makes."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def models(self) -> list[str]:
        """Those that have a row."""
        return list(dict.fromkeys(name for block in self.blocks for name in block.published))


class PaperTables(Section):
    """All of workflow/tables.yaml."""

    models: dict[str, PaperModel]
    tables: dict[str, PaperTable]

    @model_validator(mode="after")
    def _models_are_known(self) -> "PaperTables":
        unknown = {name for table in self.tables.values() for name in table.models}
        unknown -= self.models.keys()
        if unknown:
            raise ValueError(f"models: no {', '.join(sorted(unknown))}")
        return self


def read_tables(path: Path) -> PaperTables:
    """What tables.yaml says. Raises ConfigError where that makes no sense."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({error})") from error
    return check(PaperTables, values, str(path))


def make_table(
    name: str,
    spec: PaperTables,
    embeddings: Mapping[str, Sequence[Path]],
    manifests: Sequence[Path],
    *,
    markdown: Path,
    rows: Path,
) -> None:
    """Write one table as Markdown and as tab-parted rows; equal inputs give equal bytes.

    `embeddings`: the folders of each model that can be run. `manifests`: of the held-out pieces of
    all collections that are there.
    """
    table = spec.tables[name]
    benches = {model: Bench(folders, manifests) for model, folders in embeddings.items()}
    lines, flat = [f"# {table.title}", "", HEAD], ["\t".join(ROW)]
    missing: dict[str, list[str]] = {}
    for block in table.blocks:
        cells = {model: _cells(model, block, spec, benches) for model in block.published}
        lines += ["", f"## {block.title}", "", f"Published: {block.source}."]
        lines += ["", *_grid(block, cells, spec), *_details(block, cells, spec)]
        lines += ["", block.remark.strip()] if block.remark else []
        flat += _flat_rows(block, cells, spec)
        for model, own in cells.items():
            for cell in own:
                if cell.not_run:
                    missing.setdefault(cell.not_run, []).append(spec.models[model].title)
    lines += ["", "## Not run", "", *_missing_lines(missing)] if missing else []
    write_text(markdown, "\n".join(lines) + "\n")
    write_text(rows, "\n".join(flat) + "\n")


HEAD = (
    "Published / here: the figure of the paper and, after the stroke, the one computed by this "
    "repository; – where it was not run. Ranks as in the papers: the right reference first among "
    "equally near ones. Galleries as large as the published ones, or the note says so; MRR falls "
    "as galleries grow."
)


def _cells(model: str, block: Block, spec: PaperTables, benches: Mapping[str, Bench]) -> list[Cell]:
    if model not in benches:
        return [Cell(not_run=lacking(spec.models[model]))] * len(block.columns)
    can_stand_in = bool(spec.models[model].embeddings)
    asked = [
        Asked(c.title, c.metric, c.sources, c.pieces, c.stand_in if can_stand_in else ())
        for c in block.columns
    ]
    return [benches[model].cell(one) for one in asked]


def lacking(model: PaperModel) -> str:
    """Why a model without embeddings cannot be run."""
    if model.embeddings:
        return f"{model.embeddings[0]} is not there (`snakemake embed embed_lora` makes it)"
    if not model.weights:
        return NEVER_RELEASED
    folders = [model.weights, *(model.adapters or {}).values()]
    absent = [folder for folder in folders if not Path(folder).exists()]
    return f"{' and '.join(absent)}: not there (`clamp3 import-weights` makes folders of weights)"


def _grid(block: Block, cells: dict[str, list[Cell]], spec: PaperTables) -> Iterator[str]:
    yield markdown_line(["published / here", *(column.title for column in block.columns)])
    yield markdown_line(["---", *("---:" for _ in block.columns)])
    for model, published in block.published.items():
        pairs = zip(published, cells[model], strict=True)
        shown = [f"{_number(figure)} / {_number(cell.here)}" for figure, cell in pairs]
        yield markdown_line([spec.models[model].title, *shown])


def _details(block: Block, cells: dict[str, list[Cell]], spec: PaperTables) -> list[str]:
    """What was run here, with intervals, chance and counts."""
    lines = [
        markdown_line(
            [
                spec.models[model].title,
                column.title,
                _number(published),
                _number(cell.here),
                " … ".join(map(_number, cell.interval)) if cell.interval else "",
                _number(cell.chance),
                cell.queries,
                cell.pieces,
                cell.note,
            ]
        )
        for model, own in cells.items()
        for column, published, cell in zip(block.columns, block.published[model], own, strict=True)
        if cell.here is not None
    ]
    head = ["run here", "figure", "published", "here", "95 % interval", "chance"]
    head += ["queries", "pieces", "note"]
    rule = ["---"] * 2 + ["---:"] * 6 + ["---"]
    return ["", markdown_line(head), markdown_line(rule), *lines] if lines else []


def _missing_lines(missing: dict[str, list[str]]) -> Iterator[str]:
    for reason, models in missing.items():
        yield f"- not run: {reason} ({', '.join(dict.fromkeys(models))})"


def _flat_rows(block: Block, cells: dict[str, list[Cell]], spec: PaperTables) -> Iterator[str]:
    for model, published in block.published.items():
        for column, figure, cell in zip(block.columns, published, cells[model], strict=True):
            ends = cell.interval or (None, None)
            numbers = [figure, cell.here, *ends, cell.chance, cell.queries, cell.pieces]
            about = [block.title, column.title, column.metric, spec.models[model].title]
            yield "\t".join([*about, *plain_numbers(numbers), cell.note, cell.not_run])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
