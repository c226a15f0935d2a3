"""What each preset writes over params.yaml."""

from pathlib import Path

import yaml

from from_code.tables import code, plain, table


def markdown(root: Path) -> str:
    """For each preset its own words and its values, beside those of params.yaml."""
    here = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    parts = []
    for path in sorted((root / "presets").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        said = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
        values = yaml.safe_load(text)
        base = values.pop("base", None)
        below = f" Over [{base}](#preset-{base})." if base else ""
        rows = [
            (code(name), code(shown(value)), code(was))
            for name, value in _flat(values)
            if (was := _value(here, name)) != shown(value)
        ]
        parts += [
            f"(preset-{path.stem})=",
            f"## `{path.stem}`",
            "",
            plain(said) + below,
            "",
        ]
        parts += [table(("parameter", "preset", "params.yaml"), rows) if rows else ""]
    return "\n".join(parts)


def _flat(values: dict, where: str = ""):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


def shown(value: object) -> str:
    """A value as YAML, small numbers as params.yaml has them."""
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        digits, _, power = f"{value:e}".partition("e")
        return f"{float(digits)}e{int(power)}"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def _value(values: object, name: str) -> str:
    """The value of a dotted name as YAML, or nothing where there is none."""
    for key in name.split("."):
        if not isinstance(values, dict) or key not in values:
            return ""
        values = values[key]
    return shown(values)
