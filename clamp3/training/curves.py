"""The table of a training's figures."""

from pathlib import Path

from clamp3.files import write_text

COLUMNS = ("step", "epoch", "split", "loss", "learning_rate")


def write_metrics(path: Path, rows: list[dict]) -> None:
    """Write rows of figures as a tab-separated table; a figure that a row lacks stays empty."""
    names = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    lines = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    write_text(path, "".join("\t".join(cells) + "\n" for cells in lines))


def _cell(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
