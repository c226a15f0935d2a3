"""Markdown tables, and comments beside names in source files."""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterable, Sequence
from functools import cache


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells may hold anything but line breaks."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def code(text: object) -> str:
    """The text as inline code, or nothing."""
    return f"`{text}`" if str(text) else ""


def plain(text: str) -> str:
    """The text as Markdown that shows it as it stands; code between backticks stays code."""
    parts = re.split("(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([<>*\\])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|").replace("\n", " ").strip()


def first_line(text: str | None) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((text or "").strip().split("\n\n")[0].split())


def comments(source: str) -> dict[int, str]:
    """What is said of the code in each line: the comment lines right above it, and its own."""
    lines = source.splitlines()
    own = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[int, str] = {}
    above: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip().startswith("#"):
            above.append(own[number])
        else:
            found[number] = " ".join([*above, own.get(number, "")]).strip()
            above = []
    return found


@cache
def field_comments(kind: type) -> dict[str, str]:
    """What comments say of the fields of a class and of those that it takes over."""
    found: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if base.__module__ == kind.__module__]):
        source = textwrap.dedent(inspect.getsource(base))
        said = comments(source)
        fields = [
            node for node in ast.parse(source).body[0].body if isinstance(node, ast.AnnAssign)
        ]
        found |= {node.target.id: said[node.end_lineno] or said[node.lineno] for node in fields}
    return found
