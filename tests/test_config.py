"""params.yaml, its schema and the presets."""

import json

import pytest
import yaml
from repository import ROOT
from ruamel.yaml import YAML
from snakemake.utils import update_config

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


def test_a_missing_key_is_named(values):
    del values["m3"]["training"]["epochs"]
    with pytest.raises(ConfigError, match=r"m3\.training\.epochs"):
        check(Params, values, "params.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora": {"rnak": 8}}, r"lora\.rnak"),
        ({"splits": {"validation_share": 0.5, "test_share": 0.5}}, "nothing to train on"),
        (
            {"clamp3": {"stages": {"audio": {"freeze_text": True, "freeze_music": True}}}},
            r"clamp3\.stages\.audio: .*leave nothing to train",
        ),
        (
            {"clamp3": {"stages": {"symbolic": {"chunk": 8, "training": {"compile": True}}}}},
            r"chunk with training\.compile",
        ),
        (
            {"lora": {"text_dropout": True}},
            r"lora\.text_dropout: .*'clamp3', 'clamp2' or 'none'",
        ),
        ({"corpus": {"folder": "data/pdmx", "source": "demo"}}, "must lie elsewhere"),
        ({"corpus": {"folder": "data/demo", "source": "pdmx"}}, "must lie elsewhere"),
    ],
)
def test_what_does_not_fit_is_named(values, changes, message):
    update_config(values, changes)
    with pytest.raises(ConfigError, match=message):
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
