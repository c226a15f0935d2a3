"""What the site adds to the pages: text that the code says itself, so that no page repeats it.

Where a page has the line `<!-- from code: NAME -->`, the site has the Markdown that
`markdown(root)` of the module here of that name gives.
"""

import re
from importlib import import_module
from pathlib import Path, PurePosixPath

from from_code import contents

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("docs/index", "docs/reference", "THIRD-PARTY")  # whose links are the table of contents
MARK = re.compile(r"^<!-- from code: (\w+) -->$", re.MULTILINE)
FRONT_DOOR = '<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html">\n'


def fill(app, docname: str, source: list[str]) -> None:
    """Put what the code says into a page (Sphinx's event `source-read`)."""
    text = MARK.sub(lambda mark: import_module(f"from_code.{mark[1]}").markdown(ROOT), source[0])
    if docname in LISTS:
        text += contents.toctrees(text, PurePosixPath(docname).parent)
    source[0] = text


def plain(app, what, name, of, options, lines: list[str]) -> None:
    """Docstrings are plain text with code between backticks; reStructuredText takes more signs for
    its own (Sphinx's event `autodoc-process-docstring`)."""
    parts = re.split("(`[^`]*`)", "\n".join(lines))
    parts[::2] = [re.sub(r"([*|\\])", r"\\\1", part) for part in parts[::2]]
    lines[:] = "".join(parts).split("\n")


def write_front_door(app, error: Exception | None) -> None:
    """The site begins at docs/index.html; lead there whoever opens the folder."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "index.html").write_text(FRONT_DOOR, encoding="utf-8")
