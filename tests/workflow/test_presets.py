"""Each preset over params.yaml: valid, as published, and written so that both tools read it."""

import importlib.util
import shutil
from copy import deepcopy

import pytest
import yaml
from repository import ROOT
from ruamel.yaml import YAML

from clamp3.config import ClapMusicgenConfig, Params, check, load_params
from clamp3.data.captions import caption_of
from clamp3.errors import ConfigError
from clamp3.models.clap_musicgen.decoder import PUBLISHED_READING

NAMES = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
# Modality and frozen text of each stage.
STAGES = {
    "clamp3-as": [("audio", False), ("symbolic", True)],
    "clamp3-sa": [("symbolic", False), ("audio", True)],
    "clamp3-assa": [("audio", False), ("symbolic", True), ("symbolic", False), ("audio", True)],
    "clamp3-saas": [("symbolic", False), ("audio", True), ("audio", False), ("symbolic", True)],
}


@pytest.fixture
def script(tmp_path):
    """apply_preset.py at work on a copy of params.yaml and the presets."""
    spec = importlib.util.spec_from_file_location(
        "apply_preset", ROOT / "workflow/scripts/apply_preset.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT = tmp_path
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return module


def applied(script, name):
    """The parameters under a preset."""
    script.main(name)
    return load_params(script.ROOT / "params.yaml")


def overlaid(target, values):
    """A plain second opinion on `overlay`: stages are replaced, sections merged."""
    merged = deepcopy(target)
    for key, value in values.items():
        plain = key == "stages" or not isinstance(value, dict) or not merged.get(key)
        merged[key] = value if plain else overlaid(merged[key], value)
    return merged


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_over_the_parameters_is_valid_and_changes_what_it_says(script, name):
    before = yaml.safe_load((ROOT / "params.yaml").read_text())
    params = applied(script, name)
    text = (script.ROOT / "params.yaml").read_text()
    after = yaml.safe_load(text)
    assert after == YAML(typ="safe", pure=True).load(text) != before
    assert after == overlaid(before, script.preset(name))
    assert check(Params, after, name) == params
    assert "&" not in text
    assert "# Every number a person may change" in text


@pytest.mark.parametrize("name", [*STAGES, "clamp3-sa-c2", "clamp3-saas-c2"])
def test_stages_of_a_published_model(script, name):
    params = applied(script, name)
    stages, told = params.clamp3.stages, STAGES[name.removesuffix("-c2")]
    assert [(stage.modality, stage.freeze_text) for stage in stages.values()] == told
    letters = "".join(stage.modality[0] for stage in stages.values())
    assert letters == name.removeprefix("clamp3-").removesuffix("-c2")
    assert [int(key[-1]) for key in stages] == list(range(1, len(stages) + 1))
    assert params.clamp3.start == ("data/models/clamp2" if "c2" in name else "results/models/m3")
    for stage in stages.values():
        assert stage.training.learning_rate == 1e-5
        assert stage.training.batch_size == 256
        assert stage.instrument_dropout == (0.9 if stage.modality == "symbolic" else 0.0)
        assert (stage.text_dropout, stage.freeze_music) == ("clamp3", False)
    assert (params.m3.architecture.hidden_size, params.m3.training.epochs) == (768, 100)
    assert (params.clamp3.similarity, params.clamp3.logit_scale) == ("dot", 1.0)
    assert not params.clamp3.learn_scale


def test_clamp2_as_published(script):
    params = applied(script, "clamp2")
    config = params.clamp2
    assert (config.training.learning_rate, config.training.batch_size) == (5e-5, 128)
    assert (config.training.epochs, config.training.warmup_steps) == (100, 1000)
    assert (config.text_dropout, config.instrument_dropout) == ("clamp2", 0.9)
    assert (config.similarity, config.logit_scale, config.width) == ("dot", 1.0, 768)
    assert (config.text.pretrained, config.text.max_tokens) == ("FacebookAI/xlm-roberta-base", 128)
    assert (config.start, config.start_from_m3) == ("results/models/m3", True)
    assert config.manifests is None
    assert params.m3.architecture.encoder_layers == 12
    rates = config.tower_rates
    assert (rates.text, rates.music, rates.embeddings) == (1.0, 1.0, 1.0)


def test_fine_tuning_goes_on_from_weights_with_a_slower_text_tower(script):
    config = applied(script, "clamp3-finetune").clamp3
    (stage,) = config.stages.values()
    assert config.start == "data/models/clamp3"
    assert (stage.tower_rates.text, stage.tower_rates.music) == (0.1, 1.0)
    assert stage.chunk < stage.training.batch_size


def test_clap_musicgen_as_released(script):
    params = applied(script, "clap-musicgen")
    chosen = ClapMusicgenConfig.of(params.codes, params.states, params.clap_text, params.clap_heads)
    assert (chosen.musicgen, chosen.new_musicgen) == ("facebook/musicgen-small", None)
    plan = chosen.recordings
    assert (plan.start_seconds, plan.chunk_seconds, plan.chunks) == (10.0, 15.0, 1)
    assert chosen.reading == PUBLISHED_READING
    assert (chosen.text.pretrained, chosen.text.max_tokens) == ("FacebookAI/roberta-base", 512)
    assert (chosen.width, chosen.head_width) == (1024, 512)
    assert (chosen.fit_heads, chosen.freeze_text) == (False, True)
    assert (chosen.loss, chosen.standardise) == ("listmle", True)
    # suno's captions lie under `description` (data.captioned_audio)
    assert caption_of({"description": "dark metal"}, chosen.captions) == "dark metal"


def test_an_unknown_preset_is_refused_with_the_known_ones(script):
    with pytest.raises(
        ConfigError, match="no preset 'clamp4'; there are: clamp2, clamp3-as, clamp3-assa"
    ):
        script.main("clamp4")
