"""Training CLaMP 3, one contrastive stage at a time."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from clamp3.config import ClampConfig, ClampStage, TextArchitecture
from clamp3.data.pairs import load_pairs
from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import atomic_path
from clamp3.models.checkpoints import load_clamp, load_m3, read_config, save_checkpoint
from clamp3.models.clamp import AudioTowerConfig, ClampModel, build_clamp
from clamp3.models.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from clamp3.randomness import stable_hash
from clamp3.training.contrast import Contrast, ContrastiveTask, read_pieces
from clamp3.training.loop import History, train
from clamp3.training.resume import digest
from clamp3.training.text_dropout import all_texts


def make_tokenizer(*, manifests: Sequence[Path], out: Path, settings: TextArchitecture) -> None:
    """Write the tokenizer of the text tower to the folder `out`.

    That of `settings.pretrained`, else one trained on all texts of the manifests, each line once.

    Raises CheckpointError when `settings.pretrained` has no tokenizer.
    """
    with atomic_path(out) as draft:
        draft.mkdir()
        save_tokenizer(_tokenizer(manifests, settings), draft)


def _tokenizer(manifests: Sequence[Path], settings: TextArchitecture) -> PreTrainedTokenizerFast:
    if settings.pretrained is None:
        lines = [line for pair in load_pairs(manifests) for line in all_texts(pair.texts)]
        return train_tokenizer(dict.fromkeys(lines), settings.vocabulary_size)
    try:
        return AutoTokenizer.from_pretrained(settings.pretrained)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{settings.pretrained}: no tokenizer found there ({error})"
        ) from error


def train_clamp_stage(
    *,
    stage: ClampStage,
    config: ClampConfig,
    manifests_train: Sequence[Path],
    manifests_validation: Sequence[Path],
    start: Path | None,
    m3: Path | None,
    tokenizer: Path | None,
    out: Path,
    metrics: Path,
    resume: Path,
    seed: int,
) -> None:
    """Train one stage and save the model with all its towers to the folder `out`.

    Goes on from the model in `start`; without one it begins a new model, whose symbolic tower is
    that of `m3` (only its sizes, unless `config.start_from_m3`) and whose tokenizer is in the
    folder `tokenizer`. The tower of the stage's modality learns, and the text tower unless frozen;
    all else stays as it is. The first audio stage adds an audio tower. Without validation pieces
    the last weights are kept. See `loop.train` on `metrics` and `resume`.

    Raises DataError when fewer than two pieces have text and music, ConfigError when neither
    `start` nor both of `m3` and `tokenizer` are given, or frames are not as wide as the tower
    expects.
    """
    patch_size = _patch_size(start, m3)
    pieces = read_pieces(manifests_train, stage.modality, patch_size)
    validation = read_pieces(manifests_validation, stage.modality, patch_size)
    name = f"clamp3-{stage.modality}"
    torch.manual_seed(stable_hash(seed, name, "weights"))
    model, words, origin = _continued(start) if start else _new_model(config, m3, tokenizer)
    if stage.modality == "audio":
        model = _with_audio(model, config, pieces.feature_size)
    _freeze_all_but(model, stage.modality, stage.freeze_text)
    contrast = Contrast(
        modality=stage.modality,
        batch_size=stage.training.batch_size,
        text_dropout=stage.text_dropout,
        instrument_dropout=stage.instrument_dropout,
        similarity=config.similarity,
        logit_scale=config.logit_scale,
    )
    task = ContrastiveTask(name, model, words, contrast, seed, origin)
    task.learn_from(pieces, validation)

    def save(history: History) -> None:
        notes = history.summary() | {"stage": stage.modality, "from": origin, "seed": seed}
        save_checkpoint(model, out, tokenizer=words, notes=notes)

    train(task, stage.training, metrics=metrics, resume=resume, seed=seed, save=save)


def _patch_size(start: Path | None, m3: Path | None) -> int:
    """Characters of a patch, as the model that training begins with has them."""
    if start is None and m3 is None:
        raise ConfigError("neither start nor m3 is given: no model to begin with")
    architecture = read_config(start or m3).architecture
    symbolic = architecture if start is None else architecture.symbolic
    return symbolic.patch_size


def _continued(start: Path) -> tuple[ClampModel, PreTrainedTokenizerFast, str]:
    loaded = load_clamp(start)
    if loaded.tokenizer is None:
        raise CheckpointError(f"{start}: no tokenizer in it; expected a model with a text tower")
    return loaded.model, loaded.tokenizer, loaded.fingerprint


def _new_model(
    config: ClampConfig, m3: Path | None, tokenizer: Path | None
) -> tuple[ClampModel, PreTrainedTokenizerFast, str]:
    """A model without audio tower, its tokenizer and a digest of what it began with."""
    if m3 is None or tokenizer is None:
        raise ConfigError(f"m3 is {m3}, tokenizer is {tokenizer}: a new model needs both")
    words = load_tokenizer(tokenizer)
    encoder = load_m3(m3)
    weights = encoder if config.start_from_m3 else None
    model = build_clamp(config, words, None, weights, architecture=encoder.architecture)
    return model, words, digest(config.model_dump(), read_config(m3).fingerprint)


def _with_audio(model: ClampModel, config: ClampConfig, feature_size: int) -> ClampModel:
    """The model with an audio tower for such frames: its own, or a new one.

    Raises ConfigError where its own expects frames of another width.
    """
    tower = model.config.audio
    if tower is None:
        sizes = AudioTowerConfig(**config.audio.model_dump(), feature_size=feature_size)
        wider = ClampModel(model.config.model_copy(update={"audio": sizes}))
        wider.load_state_dict(wider.state_dict() | model.state_dict())
        return wider
    if tower.feature_size != feature_size:
        raise ConfigError(
            f"frames are {feature_size} wide, the model's audio tower expects "
            f"{tower.feature_size}; likely the front end was changed: begin without an audio tower"
        )
    return model


def _freeze_all_but(model: ClampModel, modality: str, freeze_text: bool) -> None:
    learning = (modality,) if freeze_text else (modality, "text")
    prefixes = tuple(f"{model.prefix(tower)}_" for tower in learning)
    for name, parameter in model.named_parameters():
        if not name.startswith(prefixes):
            parameter.requires_grad = False
