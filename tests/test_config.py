"""params.yaml, its schema and the presets."""

import json

import pytest
import yaml
from repository import ROOT
from ruamel.yaml import YAML

from clamp3.config import Params, check, json_schema, load_params
from clamp3.errors import ConfigError

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


@pytest.fixture
def values():
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def test_params_yaml_is_valid():
    assert load_params(ROOT / "params.yaml").shards > 0


def test_the_schema_is_the_one_config_generates():
    stored = json.loads((ROOT / "workflow/schemas/params.schema.json").read_text())
    assert stored == json_schema(), "run `make schema`"


def test_an_unknown_key_is_named(values):
    values["lora"]["rnak"] = 8
    with pytest.raises(ConfigError, match=r"lora\.rnak"):
        check(Params, values, "params.yaml")


def test_a_missing_key_is_named(values):
    del values["m3"]["training"]["epochs"]
    with pytest.raises(ConfigError, match=r"m3\.training\.epochs"):
        check(Params, values, "params.yaml")


@pytest.mark.parametrize(("folder", "source"), [("data/pdmx", "demo"), ("data/demo", "pdmx")])
def test_the_demo_and_your_data_do_not_mix(values, folder, source):
    values["corpus"] |= {"folder": folder, "source": source}
    with pytest.raises(ConfigError, match="must lie elsewhere"):
        check(Params, values, "params.yaml")


def test_splits_leave_something_to_train_on(values):
    values["splits"] = {"validation_share": 0.5, "test_share": 0.5}
    with pytest.raises(ConfigError, match="nothing to train on"):
        check(Params, values, "params.yaml")


def test_a_stage_trains_something(values):
    values["clamp3"]["stages"]["audio"] |= {"freeze_text": True, "freeze_music": True}
    with pytest.raises(ConfigError, match=r"clamp3\.stages\.audio: .*leave nothing to train"):
        check(Params, values, "params.yaml")


def test_chunks_are_not_compiled(values):
    stage = values["clamp3"]["stages"]["symbolic"]
    stage["chunk"] = 8
    stage["training"]["compile"] = True
    with pytest.raises(ConfigError, match=r"chunk with training\.compile"):
        check(Params, values, "params.yaml")


def test_the_rule_for_texts_is_named(values):
    values["lora"]["text_dropout"] = True
    with pytest.raises(ConfigError, match=r"lora\.text_dropout: .*'clamp3', 'clamp2' or 'none'"):
        check(Params, values, "params.yaml")


@pytest.mark.parametrize("path", [ROOT / "params.yaml", *PRESETS], ids=lambda p: p.stem)
def test_both_yaml_versions_read_the_same(path):
    """Snakemake reads YAML 1.1, DVC 1.2: `1e-5` is text in one and a number in the other."""
    modern = YAML(typ="safe", pure=True).load(path)
    assert yaml.safe_load(path.read_text()) == modern


def test_params_are_frozen(values):
    params = check(Params, values, "params.yaml")
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 1
