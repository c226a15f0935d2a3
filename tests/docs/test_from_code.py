"""The reference says all that the code says."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest
import typer
import yaml
from from_code import (
    commands,
    contents,
    data_sets,
    errors,
    files,
    parameters,
    presets,
    python,
    stages,
    tables,
)
from repository import ROOT

import clamp3
from clamp3.cli import app
from clamp3.config import TrainingConfig
from clamp3.data.catalog import SCHEMA
from clamp3.data.data_sets import read_registry

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def leaves(values: dict, where: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}"


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables, by their first cell."""
    text = re.sub(r"\\([<>*])", r"\1", text)
    lines = [
        re.split(r"(?<!\\) \| ", line[2:-2]) for line in text.splitlines() if line[:3] == "| `"
    ]
    return {cells[0].strip("`"): cells for cells in lines}


def test_every_parameter_is_told_with_its_type_and_value():
    found = rows(parameters.markdown(ROOT))
    in_one_line = {name for name in found if name.startswith("parse.collections.")}
    told = {name for name in leaves(PARAMS) if not name.startswith("parse.collections.")}
    assert told <= {*found}
    assert len(in_one_line) == len(PARAMS["parse"]["collections"])
    assert found["m3.training.learning_rate"][1:] == [
        "number > 0",
        "",
        "`1.0e-3`. published: 1.0e-4",
    ]
    assert found["splits.test_share"][1] == "number ≥ 0 ≤ 1"
    assert found["m3.training.steps"][1] == "whole number > 0 or null"
    assert found["lora.training.keep"][1] == "`best`, `last`"
    assert found["codes.musicgen"][2] == "folder or hub name"
    assert all(cells[1] for cells in found.values())


def test_comments_of_fields():
    said = tables.field_comments(TrainingConfig)
    assert said["steps"] == "of the optimizer, after which training ends; null: after `epochs`"
    assert {*said} == {*TrainingConfig.model_fields}


def test_every_command_is_told():
    text = commands.markdown(ROOT)

    def walk(command, path):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from walk(inner, f"{path} {name}")
        else:
            yield path

    named = list(walk(typer.main.get_command(app), "clamp3"))
    assert len(named) > 15
    assert all(f"`{name}`\n" in text for name in named)
    assert "--top-k" in text
    assert "\x1b" not in text


def test_every_stage_and_rule_is_told():
    text = stages.markdown(ROOT)
    found = rows(text)
    assert re.findall(r"^## `(\w+)`$", text, re.MULTILINE) == [*stages.stages(ROOT)]
    files = (ROOT / "workflow/rules").glob("*.smk")
    rules = {name for path in files for name in re.findall(r"^rule (\w+):", path.read_text(), re.M)}
    assert {*found} == rules - {*stages.stages(ROOT)}
    assert all(cells[1] for cells in found.values())


def test_every_preset_is_told_with_what_it_changes():
    text = presets.markdown(ROOT)
    names = {path.stem for path in (ROOT / "presets").glob("*.yaml")}
    assert {*re.findall(r"^## `([\w-]+)`$", text, re.MULTILINE)} == names
    assert (
        "| `clamp2.training.learning_rate` | `5.0e-5` | `0.0005` |".replace(
            "`0.0005`", f"`{presets.shown(PARAMS['clamp2']['training']['learning_rate'])}`"
        )
        in text
    )


@pytest.mark.parametrize("value", [5e-5, 1e-3, 0.25, 3.0, None, [1, 5], "x: y"])
def test_values_are_shown_as_yaml_that_means_the_same(value):
    assert yaml.safe_load(presets.shown(value)) == value


def test_columns_are_those_of_the_code():
    text = files.markdown(ROOT)
    catalogue = text.split("### `data/catalog/part-….parquet`")[1].split("###")[0]
    assert [*rows(catalogue)] == SCHEMA.names
    assert rows(catalogue)["rating"] == ["`rating`", "`float`", "null: not rated"]
    assert "### `results/metrics/**/*.tsv`" in text
    assert "vectors.f32" in text


def test_every_data_set_is_told_with_its_licence():
    found = rows(data_sets.markdown(ROOT))
    registry = read_registry()
    assert {*found} == {*registry}
    assert all(cells[2] == registry[name].licence for name, cells in found.items())
    assert found["pdmx"][3] == "2.3 GB"


@pytest.mark.parametrize(
    "writer", [data_sets, errors, files, parameters, presets, stages], ids=lambda one: one.__name__
)
def test_no_text_of_the_code_is_taken_for_markup(writer):
    words = re.sub(r"```.*?```|`[^`]*`", "", writer.markdown(ROOT), flags=re.DOTALL)
    assert re.findall(r"(?<!\\)[<>*].*", words) == []


def test_text_is_shown_as_it_stands():
    assert tables.plain("`<a>` <title> 2*3") == r"`<a>` \<title\> 2\*3"


def test_errors_and_kinds():
    found = rows(errors.markdown(ROOT))
    assert {"ConfigError", "StorageError", "no_notes", "corrupt_zip"} <= {*found}
    assert "clamp3.formats.musicxml" in found["corrupt_zip"][1]


def test_python_names_are_there():
    text = python.markdown(ROOT)
    assert all(f":: clamp3.{name}\n" in text for name in clamp3.__all__)
    for module, names in python.MODULES.items():
        assert all(f":: {module}.{name}\n" in text for name in names)


def test_contents_follow_the_links_under_headings():
    page = (
        "# X\n[no](no.md)\n## A\n- [1](one.md): [2](../two.md#x)\n## B\n- [1](one.md) [3](c/d.md)\n"
    )
    text = contents.toctrees(page, PurePosixPath("docs"))
    assert re.findall(r":caption: (.*)\n\n((?:/.*\n)+)", text) == [
        ("A", "/docs/one\n"),
        ("B", "/docs/c/d\n"),
    ]
