"""Every stage of the pipeline: what it reads, by which rules, what it writes."""

import re
from pathlib import Path

import yaml

from from_code.tables import code, first_line, plain, table

_RULE = re.compile(r'^rule (\w+):\n\s+"""(.*?)"""', re.MULTILINE | re.DOTALL)
_CODE = ("clamp3/", "workflow/")


def stages(root: Path) -> dict[str, dict]:
    """The stages of dvc.yaml, in its order."""
    return yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def outputs(stage: dict) -> list[str]:
    """All that a stage writes."""
    items = [item for kind in ("outs", "metrics", "plots") for item in stage.get(kind, [])]
    return [path for item in items for path in ([item] if isinstance(item, str) else item)]


def data(stage: dict) -> list[str]:
    """The data that a stage reads."""
    return [path for path in stage.get("deps", []) if not path.startswith(_CODE)]


def markdown(root: Path) -> str:
    """A section for each stage, then the papers' tables, which are targets but no stages."""
    parts = []
    for name, stage in stages(root).items():
        rules = dict(_rules(root / f"workflow/rules/{name}.smk"))
        parts += [f"## `{name}`", "", plain(rules.pop(name)), ""]
        parts += [_facts(stage), table(("rule", "what"), _told(rules))]
    tables = _rules(root / "workflow/rules/tables.smk")
    parts += ["## Targets that are no stages", "", table(("rule", "what"), _told(dict(tables)))]
    return "\n".join(parts)


def _facts(stage: dict) -> str:
    own = [path for path in stage.get("deps", []) if path.startswith(_CODE)]
    facts = {
        "reads": data(stage),
        "writes": outputs(stage),
        "parameters": stage.get("params", []),
        "code": own,
    }
    return (
        "\n".join(
            f"- {what}: {', '.join(map(code, names))}" for what, names in facts.items() if names
        )
        + "\n"
    )


def _rules(path: Path) -> list[tuple[str, str]]:
    """The rules of a file with their docstrings."""
    return [(name, first_line(said)) for name, said in _RULE.findall(path.read_text("utf-8"))]


def _told(rules: dict[str, str]) -> list[tuple[str, str]]:
    return [(code(name), re.sub(r"^In \w+: ", "", said)) for name, said in rules.items()]
