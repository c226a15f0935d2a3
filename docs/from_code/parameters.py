"""Every parameter of params.yaml: its type, what it is, and its value in the demo."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from clamp3 import config
from clamp3.config import Params
from from_code.tables import code, field_comments, first_line, plain, table

HEAD = ("parameter", "may be", "what", "here")
_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<value>[^#]*)(# (?P<said>.*))?$")
Written = dict[str, tuple[str, str]]  # value and comment in params.yaml, by dotted path


def markdown(root: Path) -> str:
    """A table for each section of params.yaml, in its order."""
    text = (root / "params.yaml").read_text(encoding="utf-8")
    values, said = yaml.safe_load(text), written(text)
    schema = config.json_schema()
    single = [name for name, value in values.items() if not isinstance(value, dict)]
    parts = ["## At the top", "", table(HEAD, rows(single, values, schema, said))]
    for name in [name for name in values if name not in single]:
        kind = Params.model_fields[name].annotation
        parts += [f"## `{name}`", "", plain(first_line(kind.__doc__)), ""]
        parts += [table(HEAD, rows([name], values, schema, said))]
    return "\n".join(parts)


def rows(names: list[str], values: dict, schema: dict, said: Written) -> Iterator[tuple]:
    """A row for each value below these sections."""
    own = field_comments(Params)
    for name in names:
        shape = schema["properties"][name]
        yield from _rows(name, values[name], shape, schema["$defs"], said, own.get(name, ""))


def _rows(
    path: str, value: object, shape: dict, kinds: dict, said: Written, remark: str
) -> Iterator[tuple]:
    name = shape.get("$ref", "").rpartition("/")[2]
    if not name and isinstance(value, dict) and "anyOf" in shape:
        name = shape["anyOf"][0].get("$ref", "").rpartition("/")[2]
    inner = kinds.get(name, shape)
    if isinstance(value, dict) and not any(f"{path}.{key}" in said for key in value):
        yield _row(path, kind(shape, kinds), said, remark)  # in one line
    elif isinstance(value, dict) and "properties" in inner:
        remarks = field_comments(getattr(config, name))
        for key, below in value.items():
            part = inner["properties"][key]
            yield from _rows(f"{path}.{key}", below, part, kinds, said, remarks.get(key, ""))
    elif isinstance(value, dict) and "$ref" in (each := _of_any_name(inner)) and value:
        yield _row(path, "by names of your choice", said, remark)
        for key, below in value.items():
            yield from _rows(f"{path}.{key}", below, each, kinds, said, "")
    else:
        yield _row(path, kind(shape, kinds), said, remark)


def _of_any_name(shape: dict) -> dict:
    """What a mapping by names of one's choice holds under each; nothing for other values."""
    by_pattern = [*shape.get("patternProperties", {}).values()]
    return (by_pattern or [shape.get("additionalProperties") or {}])[0]


def _row(path: str, kind: str, said: Written, remark: str) -> tuple:
    value, comment = said[path]
    return code(path), kind, remark, ". ".join(filter(None, [code(value), comment]))


def kind(shape: dict, kinds: dict) -> str:
    """What a value may be, in words."""
    if "$ref" in shape:
        return kind(kinds[shape["$ref"].rpartition("/")[2]], kinds)
    if "anyOf" in shape:
        return " or ".join(kind(one, kinds) for one in shape["anyOf"])
    if "enum" in shape:
        return ", ".join(code(one) for one in shape["enum"])
    if "const" in shape:
        return code(shape["const"])
    if shape["type"] == "array":
        return f"list of {kind(shape['items'], kinds)}"
    if shape["type"] == "object":
        return _mapping(shape, kinds)
    return (_NAMES[shape["type"]] + _bounds(shape)).strip()


def _mapping(shape: dict, kinds: dict) -> str:
    if "properties" in shape:
        each = (f"{key}: {kind(of, kinds)}" for key, of in shape["properties"].items())
        return "; ".join(each)
    return f"by names of your choice: {kind(_of_any_name(shape), kinds)}"


_NAMES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}
_SIGNS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


def _bounds(shape: dict) -> str:
    return "".join(f" {sign} {shape[key]:g}" for key, sign in _SIGNS.items() if key in shape)


def written(text: str) -> Written:
    """The values of a YAML file in block style as they stand there, and their comments."""
    found, at = {}, []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            depth = len(match["indent"]) // 2
            at = [*at[:depth], match["key"]]
            found[".".join(at)] = match["value"].strip(), match["said"] or ""
    return found
