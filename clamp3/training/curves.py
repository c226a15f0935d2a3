"""The table of a training's figures."""

from pathlib import Path

from clamp3.files import write_text

COLUMNS = ("step", "epoch", "split", "loss", "learning_rate")
SHARED = ("step", "epoch", "split", "learning_rate")


def write_metrics(path: Path, rows: list[dict]) -> None:
    """Write rows of figures as a tab-separated table; a figure that a row lacks stays empty."""
    names = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    lines = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    write_text(path, "".join("\t".join(cells) + "\n" for cells in lines))


def epochs_of(rows: list[dict]) -> list[dict]:
    """The rows of a table by epoch, in its order: for each split its figures, in one dictionary.

    The loss of `train` is the mean of the epoch's steps; epoch 0 is before training.
    """
    found: dict[int, dict] = {}
    before = 0  # the step of the last training row
    for row in rows:
        epoch = found.setdefault(row["epoch"], {"epoch": row["epoch"]})
        epoch |= {"step": row["step"], "learning_rate": row["learning_rate"]}
        if row["split"] == "train":
            steps = row["step"] - before
            before = row["step"]
            own = epoch.setdefault("train", {"loss": 0.0, "steps": 0})
            own["steps"] += steps
            own["loss"] += (row["loss"] - own["loss"]) * steps / own["steps"]
        else:
            epoch[row["split"]] = {name: row[name] for name in row if name not in SHARED}
    return list(found.values())


def _cell(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
