"""The errors that a user can cause, and the names of what is wrong with single pieces."""

import ast
import inspect
from collections import defaultdict
from pathlib import Path

from clamp3 import errors
from from_code.tables import code, first_line, table


def markdown(root: Path) -> str:
    """Classes and kinds."""
    classes = [
        (code(name), first_line(kind.__doc__))
        for name, kind in vars(errors).items()
        if inspect.isclass(kind)
    ]
    kinds = [
        (code(kind), ", ".join(map(code, sorted(where)))) for kind, where in sorted(named(root))
    ]
    parts = ["## Classes", "", table(("`clamp3.errors`", "when"), classes)]
    parts += ["## Kinds of rejected pieces", "", table(("kind", "refused in"), kinds)]
    return "\n".join(parts)


def named(root: Path) -> list[tuple[str, set[str]]]:
    """The kinds that stand in the code, each with the modules that refuse pieces by it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((root / "clamp3").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kind = _kind(node)
            if kind:
                found[kind].add(".".join(path.relative_to(root).with_suffix("").parts))
    return list(found.items())


def _kind(node: ast.AST) -> str | None:
    """The kind that a call `FormatError("kind", …)` names."""
    is_error = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    if not is_error or node.func.id != "FormatError" or not node.args:
        return None
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) else None
