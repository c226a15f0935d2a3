"""Training CLaMP 3, one contrastive stage at a time, and CLaMP 2, which is one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from clamp3.config import (
    Clamp2Config,
    ClampConfig,
    ClampStage,
    SharedSpaceConfig,
    TextArchitecture,
)
from clamp3.data.pairs import load_pairs
from clamp3.errors import CheckpointError, ConfigError, DataError
from clamp3.files import atomic_path
from clamp3.models.checkpoints import (
    KEEPS_UNIT_LENGTH,
    load_clamp,
    load_m3,
    read_config,
    save_checkpoint,
)
from clamp3.models.clamp import AudioTowerConfig, ClampModel, as_kind, build_clamp
from clamp3.models.hub import resolve
from clamp3.models.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from clamp3.randomness import stable_hash
from clamp3.training.contrast import Contrast, ContrastiveTask, read_pieces
from clamp3.training.loop import History, train
from clamp3.training.music import cache_folder
from clamp3.training.resume import digest
from clamp3.training.text_dropout import all_texts

EMBEDDINGS = ("word_embeddings.weight", "patch_embedding.weight")
TEXT_FIELDS = {"clamp3": "analysis", "clamp2": "summary_en"}  # by kind: for validation
NOTES = {"clamp3": {}, "clamp2": {KEEPS_UNIT_LENGTH: False}}


def make_tokenizer(
    *, manifests: Sequence[Path], out: Path, settings: TextArchitecture, start: Path
) -> None:
    """Write the tokenizer of the text tower to the folder `out`.

    That of the CLaMP model in `start`; where it is an M3, that of `settings.pretrained`, else one
    trained on all texts of the manifests, each line once.

    Raises CheckpointError when `start` or `settings.pretrained` has no tokenizer.
    """
    begun = resolve(start, towers=("text",))
    is_m3 = read_config(begun).kind == "m3"
    words = _new_tokenizer(manifests, settings) if is_m3 else load_tokenizer(begun)
    with atomic_path(out) as draft:
        draft.mkdir()
        save_tokenizer(words, draft)


def _new_tokenizer(
    manifests: Sequence[Path], settings: TextArchitecture
) -> PreTrainedTokenizerFast:
    if settings.pretrained is None:
        lines = (line for pair in load_pairs(manifests) for line in all_texts(pair.texts))
        return train_tokenizer(dict.fromkeys(lines), settings.vocabulary_size)
    try:
        return AutoTokenizer.from_pretrained(settings.pretrained)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{settings.pretrained}: no tokenizer found there ({error})"
        ) from error


def train_clamp_stage(
    *,
    stage: ClampStage | Clamp2Config,
    config: SharedSpaceConfig,
    manifests_train: Sequence[Path],
    manifests_validation: Sequence[Path],
    start: Path,
    tokenizer: Path | None = None,
    out: Path,
    metrics: Path,
    resume: Path,
    seed: int,
    name: str = "",
    kind: Literal["clamp3", "clamp2"] = "clamp3",
) -> None:
    """Train one stage and save the model with all its towers to the folder `out`.

    Goes on from the model in `start`, a checkpoint folder or a hub name: a stage before this one,
    published weights of CLaMP 3 or CLaMP 2 (which becomes a CLaMP 3), or an M3, with which a new
    model begins: its symbolic tower is that of M3 (only its sizes, unless `config.start_from_m3`)
    and its tokenizer is in the folder `tokenizer`. The tower of the stage's modality and the text
    tower learn unless frozen; all else stays as it is. The first audio stage adds an audio tower.
    A scale that is learned goes on from that of `start`, where there is one. Without validation
    pieces the last weights are kept. Two stages of one modality need a `name` each, or they would
    crop and deal the pieces alike. What is saved is a model of that `kind`; CLaMP 2 is validated on
    the English summaries. See `loop.train` on `metrics` and `resume`.

    Raises DataError when fewer than two pieces have text and music, ConfigError when `start` is an
    M3 and there is no `tokenizer`, or frames are not as wide as the tower expects.
    """
    begun = resolve(start)
    patch_size, cache = _patch_size(begun), cache_folder(resume)
    how = {"cache": cache, "text_dropout": stage.text_dropout}
    pieces = read_pieces(manifests_train, stage.modality, patch_size, **how)
    validation = read_pieces(manifests_validation, stage.modality, patch_size, **how)
    if not pieces.feature_size and stage.modality == "audio":
        raise DataError(f"{', '.join(map(str, manifests_train))}: no recording to train on")
    name = f"{kind}-{name or stage.modality}"
    torch.manual_seed(stable_hash(seed, name, "weights"))
    model, words, origin = _begin(begun, config, tokenizer)
    if stage.modality == "audio":
        model = _with_audio(model, config, pieces.feature_size)
    _freeze(model, stage)
    contrast = _contrast(stage, config, begun, TEXT_FIELDS[kind])
    task = ContrastiveTask(name, model, words, contrast, seed, origin)
    task.rates = _rates(model, stage)
    task.learn_from(pieces, validation)

    def save(history: History) -> None:
        notes = history.summary() | {"stage": stage.modality, "from": origin, "seed": seed}
        notes |= {"logit_scale": task.logit_scale} | NOTES[kind]
        save_checkpoint(as_kind(model, kind), out, tokenizer=words, notes=notes)

    train(task, stage.training, metrics=metrics, resume=resume, seed=seed, save=save)


def _contrast(
    stage: ClampStage | Clamp2Config, config: SharedSpaceConfig, start: Path, text_field: str
) -> Contrast:
    scale = config.logit_scale
    if config.learn_scale:
        scale = read_config(start).notes.get("logit_scale", scale)
    return Contrast(
        modality=stage.modality,
        batch_size=stage.training.batch_size,
        text_dropout=stage.text_dropout,
        instrument_dropout=stage.instrument_dropout,
        similarity=config.similarity,
        logit_scale=scale,
        learn_scale=config.learn_scale,
        mask_duplicates=config.mask_duplicates,
        chunk=stage.chunk,
        text_field=text_field,
    )


def _patch_size(start: Path) -> int:
    """Characters of a patch, as the model that training begins with has them."""
    config = read_config(start)
    sizes = config.architecture if config.kind == "m3" else config.architecture.symbolic
    if sizes is None:
        raise CheckpointError(f"{start}: no symbolic tower in it; expected a model with one")
    return sizes.patch_size


def _begin(
    start: Path, config: SharedSpaceConfig, tokenizer: Path | None
) -> tuple[ClampModel, PreTrainedTokenizerFast, str]:
    """The model to train, its tokenizer and a digest of what it began with."""
    if read_config(start).kind == "m3":
        return _new_model(start, config, tokenizer)
    loaded = load_clamp(start, verify=True)
    if loaded.tokenizer is None:
        raise CheckpointError(f"{start}: no tokenizer in it; expected a model with a text tower")
    model = as_kind(loaded.model, "clamp3")
    model.config = model.config.model_copy(update={"similarity": config.similarity})
    return model, loaded.tokenizer, loaded.fingerprint


def _new_model(
    m3: Path, config: SharedSpaceConfig, tokenizer: Path | None
) -> tuple[ClampModel, PreTrainedTokenizerFast, str]:
    """A model without audio tower."""
    if tokenizer is None:
        raise ConfigError(f"{m3} is an M3, which reads no text: a new model needs a tokenizer too")
    words = load_tokenizer(tokenizer)
    encoder = load_m3(m3, verify=True)
    weights = encoder if config.start_from_m3 else None
    model = build_clamp(config, words, weights, architecture=encoder.architecture)
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


def _rates(model: ClampModel, stage: ClampStage | Clamp2Config) -> dict[str, float]:
    """What the learning rate of each parameter of both towers is multiplied by."""
    of_prefix = {
        f"{model.prefix('text')}_": stage.tower_rates.text,
        f"{model.prefix(stage.modality)}_": stage.tower_rates.music,
    }
    return {
        name: rate * (stage.tower_rates.embeddings if name.endswith(EMBEDDINGS) else 1.0)
        for name, _ in model.named_parameters()
        for prefix, rate in of_prefix.items()
        if name.startswith(prefix)
    }


def _freeze(model: ClampModel, stage: ClampStage | Clamp2Config) -> None:
    frozen = {"text": stage.freeze_text, stage.modality: stage.freeze_music}
    learning = [tower for tower in frozen if not frozen[tower]]
    prefixes = tuple(f"{model.prefix(tower)}_" for tower in learning)
    for name, parameter in model.named_parameters():
        if not name.startswith(prefixes):
            parameter.requires_grad = False
