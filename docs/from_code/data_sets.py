"""What `clamp3 download` knows of data sets."""

from pathlib import Path

from clamp3.data.data_sets import DataSet, read_registry
from from_code.tables import code, table

HEAD = ("data set", "what", "licence", "size", "layout")


def markdown(root: Path) -> str:
    """A row for each data set, in the order of the list."""
    return table(HEAD, [_row(name, data_set) for name, data_set in read_registry().items()])


def _row(name: str, data_set: DataSet) -> tuple[str, ...]:
    by_hand = (data_set.by_hand or "").strip().replace("FOLDER", code(f"data/{name}"))
    what = ". ".join(filter(None, [data_set.what, by_hand]))
    size = data_set.about_bytes()
    sizes = f"{size / 1e9:.1f} GB" if size >= 5e7 else ""
    return code(name), what, data_set.licence, sizes, code(data_set.layout or "")
