"""Training an adapter of the symbolic tower for one format."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from clamp3.config import GuardConfig, LoraConfig
from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import atomic_path, write_json
from clamp3.models.checkpoints import load_clamp, read_config
from clamp3.models.lora import HISTORY, add_lora, describe_adapter, save_adapter
from clamp3.randomness import stable_hash
from clamp3.training.contrast import Contrast, ContrastiveTask, Pieces, read_pieces
from clamp3.training.curves import epochs_of
from clamp3.training.loop import History, train
from clamp3.training.music import cache_folder
from clamp3.training.resume import digest
from clamp3.training.watch import Guard

log = logging.getLogger(__name__)

MODALITIES = ("abc", "mtf")
INSTRUMENT_DROPOUT = 0.9  # the LoRA project, which says nothing of it in its settings
NO_RESULT = {"workers", "tracker", "keep_checkpoints"}  # settings that change no weights


def train_adapter(
    *,
    modality: str,
    model: Path,
    manifests_train: Sequence[Path],
    manifests_validation: Sequence[Path],
    manifest_guard: Path | None = None,
    out: Path,
    metrics: Path,
    history: Path | None = None,
    resume: Path,
    settings: LoraConfig,
    seed: int,
) -> None:
    """Train an adapter on one format, abc or mtf, and write it to the folder `out`.

    The model in the folder `model` stays as it is; the adapter is in peft's layout, with
    `history.json` beside it: what it was trained on and how, and the figures of each epoch, without
    times. The same goes to the file `history`. Similarities are multiplied by what the model was
    trained with. See `loop.train` on `metrics` and `resume`.

    On the pieces of `manifest_guard` (another collection's) retrieval is measured before training
    and after each epoch, and `settings.guard` says what follows where it falls too far.

    Raises ConfigError when `modality` is another, DataError when fewer than two pieces have text
    and a file of the format, CheckpointError when the model lacks a tower or its tokenizer.

    Source: Ononymous/291A-clamp3@af06771 code/train_clamp3_lora.py
    """
    if modality not in MODALITIES:
        raise ConfigError(f"modality: {modality}; expected one of {', '.join(MODALITIES)}")
    name = f"lora-{modality}"
    loaded = load_clamp(model, towers=("text", "symbolic"), verify=True)
    if loaded.tokenizer is None:
        raise CheckpointError(f"{model}: no tokenizer in it; expected a model with a text tower")
    torch.manual_seed(stable_hash(seed, name, "weights"))
    adapted = add_lora(loaded.model, settings)
    log.info("%s: %s", name, describe_adapter(adapted))
    contrast = Contrast(
        modality=modality,
        batch_size=settings.training.batch_size,
        text_dropout=settings.text_dropout,
        instrument_dropout=INSTRUMENT_DROPOUT,
        similarity=loaded.config.similarity,
        logit_scale=read_config(model).notes.get("logit_scale", 1.0),
    )
    origin = digest(loaded.fingerprint, settings.model_dump(exclude={"training", "guard"}))
    task = _AdapterTask(name, loaded.model, loaded.tokenizer, contrast, seed, origin)
    patch_size, cache = loaded.config.symbolic.patch_size, cache_folder(resume)
    task.learn_from(
        read_pieces(manifests_train, modality, patch_size, cache),
        read_pieces(manifests_validation, modality, patch_size, cache),
    )
    if settings.guard.action != "none":
        given, most = [manifest_guard] if manifest_guard else [], settings.guard.pieces
        elsewhere = read_pieces(given, modality, patch_size, cache, at_most=most)
        _guard(task, elsewhere, settings.guard)

    def save(trained: History) -> None:
        about = {"modality": modality, "base": loaded.fingerprint, "seed": seed}
        about |= {"settings": settings.model_dump(mode="json", exclude={"training": NO_RESULT})}
        about |= trained.summary() | {"by_epoch": epochs_of(trained.rows)}
        with atomic_path(out) as draft:
            save_adapter(adapted, draft)
            write_json(draft / HISTORY, about)
        if history is not None:
            write_json(history, about)

    train(task, settings.training, metrics=metrics, resume=resume, seed=seed, save=save)


class _AdapterTask(ContrastiveTask):
    guard: Guard | None = None

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """As of any contrastive task, with one name for the rank, whichever the format is."""
        figures = super().evaluate(device)
        return {name.removesuffix(f"_{self.contrast.modality}"): figures[name] for name in figures}


def _guard(task: _AdapterTask, pieces: Pieces, settings: GuardConfig) -> None:
    """Have the task guarded by pieces that it does not learn from."""
    if len(pieces.pairs) < 2:
        log.warning("%s: no pieces of another collection with text: no guard", task.name)
        return
    watch = _AdapterTask(
        f"{task.name}, guard", task.model, task.tokenizer, task.contrast, task.seed, task.start
    )
    watch.learn_from(pieces, pieces)  # evaluated, never trained
    stops = settings.action == "stop"
    task.guard = Guard(watch.evaluate, "reciprocal_rank", settings.max_fall, stops)
    task.inputs = digest(task.inputs, watch.inputs, settings.max_fall, settings.action)
