"""Training an adapter of the symbolic tower for one format."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from clamp3.config import LoraConfig
from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import atomic_path, write_json
from clamp3.models.checkpoints import load_clamp, read_config
from clamp3.models.lora import add_lora, save_adapter
from clamp3.randomness import stable_hash
from clamp3.training.contrast import Contrast, ContrastiveTask, read_pieces
from clamp3.training.loop import History, train
from clamp3.training.music import cache_folder
from clamp3.training.resume import digest

MODALITIES = ("abc", "mtf")
INSTRUMENT_DROPOUT = 0.9  # the LoRA project, which says nothing of it in its settings


def train_adapter(
    *,
    modality: str,
    model: Path,
    manifests_train: Sequence[Path],
    manifests_validation: Sequence[Path],
    out: Path,
    metrics: Path,
    resume: Path,
    settings: LoraConfig,
    seed: int,
) -> None:
    """Train an adapter on one format, abc or mtf, and write it to the folder `out`.

    The model in the folder `model` stays as it is; the adapter is in peft's layout, with
    `history.json` (what it was trained on and how the losses went) beside it. Similarities are
    multiplied by what the model was trained with. See `loop.train` on `metrics` and `resume`.

    Raises ConfigError when `modality` is another, DataError when fewer than two pieces have text
    and a file of the format, CheckpointError when the model lacks a tower or its tokenizer.

    Source: Ononymous/291A-clamp3@af06771 code/train_clamp3_lora.py
    """
    if modality not in MODALITIES:
        raise ConfigError(f"modality: {modality}; expected one of {', '.join(MODALITIES)}")
    name = f"lora-{modality}"
    loaded = load_clamp(model, towers=("text", "symbolic"))
    if loaded.tokenizer is None:
        raise CheckpointError(f"{model}: no tokenizer in it; expected a model with a text tower")
    torch.manual_seed(stable_hash(seed, name, "weights"))
    adapted = add_lora(loaded.model, settings)
    contrast = Contrast(
        modality=modality,
        batch_size=settings.training.batch_size,
        text_dropout=settings.text_dropout,
        instrument_dropout=INSTRUMENT_DROPOUT,
        similarity=loaded.config.similarity,
        logit_scale=read_config(model).notes.get("logit_scale", 1.0),
    )
    origin = digest(loaded.fingerprint, settings.model_dump(exclude={"training"}))
    task = ContrastiveTask(name, adapted, loaded.tokenizer, contrast, seed, origin)
    patch_size, cache = loaded.config.symbolic.patch_size, cache_folder(resume)
    task.learn_from(
        read_pieces(manifests_train, modality, patch_size, cache),
        read_pieces(manifests_validation, modality, patch_size, cache),
    )

    def save(history: History) -> None:
        with atomic_path(out) as draft:
            save_adapter(adapted, draft)
            base = {"modality": modality, "base": loaded.fingerprint, "seed": seed}
            write_json(draft / "history.json", base | asdict(history))

    train(task, settings.training, metrics=metrics, resume=resume, seed=seed, save=save)
