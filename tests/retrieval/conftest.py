"""Models for the tests of this folder: the goldens' own, and tiny ones made on the spot."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from retrieval.workplace import Workplace, build_workplace, formula_weights, tiny_model

from clamp3.config import M3Architecture
from clamp3.models.checkpoints import LoadedClamp, save_checkpoint
from clamp3.models.clamp import AudioTowerConfig, ClampModel, ClampModelConfig
from clamp3.models.text import TextTowerConfig
from clamp3.models.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def golden_model(goldens: Path) -> Callable[[str], tuple[LoadedClamp, dict]]:
    """The model with formula weights whose outputs were recorded as "A" or "B", and its inputs."""
    folder = goldens / "models"

    def build(letter: str) -> tuple[LoadedClamp, dict]:
        inputs = json.loads((folder / f"extract_{letter}_inputs.json").read_text(encoding="utf-8"))
        sizes, text = inputs["config"], inputs["text_model_config"]
        names = TextTowerConfig.model_fields.keys() & text.keys()
        audio = sizes["AUDIO_HIDDEN_SIZE"]
        config = ClampModelConfig(
            kind="clamp3",
            width=sizes["CLAMP3_HIDDEN_SIZE"],
            similarity="dot",
            text=TextTowerConfig(
                **{n: text[n] for n in names}, max_tokens=sizes["MAX_TEXT_LENGTH"]
            ),
            symbolic=M3Architecture(
                patch_size=sizes["PATCH_SIZE"],
                patch_length=sizes["PATCH_LENGTH"],
                hidden_size=sizes["M3_HIDDEN_SIZE"],
                encoder_layers=sizes["PATCH_NUM_LAYERS"],
                decoder_layers=sizes["TOKEN_NUM_LAYERS"],
            ),
            audio=AudioTowerConfig(
                hidden_size=audio,
                layers=sizes["AUDIO_NUM_LAYERS"],
                max_frames=sizes["MAX_AUDIO_LENGTH"],
                feature_size=audio,
            ),
        )
        model = ClampModel(config)
        formula_weights(model, inputs["weights_seed"])
        tokenizer = load_tokenizer(folder / "tokenizer")
        return LoadedClamp(model.eval(), tokenizer, config, "golden"), inputs

    return build


@pytest.fixture(scope="session")
def tiny() -> LoadedClamp:
    """A model of width 16 with short windows and spread-out weights."""
    return tiny_model()


@pytest.fixture(scope="session")
def model_folder(tiny: LoadedClamp, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("models") / "clamp3"
    save_checkpoint(tiny.model, folder, tokenizer=tiny.tokenizer)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, model_folder: Path) -> Workplace:
    """Twelve held-out pieces of PDMX (four with sound) and three of WikiMT-X."""
    return build_workplace(tmp_path, model_folder)
