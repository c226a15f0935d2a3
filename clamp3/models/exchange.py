"""Checkpoints exchanged with the originals: .pth files in, checkpoint folders out, and back."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from clamp3.errors import CheckpointError
from clamp3.files import atomic_path
from clamp3.models.checkpoints import (
    DTYPES,
    M3CheckpointConfig,
    load_clamp,
    load_m3,
    read_config,
    save_checkpoint,
)
from clamp3.models.clamp import ClampModel
from clamp3.models.hub import fetch, is_hub_name
from clamp3.models.m3 import M3Model
from clamp3.models.published import ARCHITECTURE, NOTED, read_published
from clamp3.models.text import TextTowerConfig
from clamp3.models.tokenizer import check_tokenizer, load_tokenizer
from clamp3.models.weight_files import read_settings
from clamp3.models.weights import refuse_not_finite

TEXT_MODEL = "FacebookAI/xlm-roberta-base"  # of the published models
# Files whose content is known; the licence is that of the repository that published them.
RECOGNISED = {
    "5033f868e3977be3945ee416b5a1718d5589a173c7ba8982231d8c94a6441d80": ("CLaMP 3 SAAS", "MIT"),
}


def import_weights(
    file: Path,
    out: Path,
    *,
    text_model: str | Path = TEXT_MODEL,
    kind: str | None = None,
    max_tokens: int | None = None,
    text_heads: int | None = None,
    dtype: str = "float32",
    licence: str | None = None,
) -> str:
    """Write the model of the originals' .pth file as a checkpoint folder; its fingerprint.

    `text_model`: the folder, or name on the hub, that the tokenizer is taken from, and the number
    of attention heads where it holds a config.json; M3 needs none. `kind`: what the file is
    expected to hold. `dtype`: float32, bfloat16 or float16, of the weights as they are written;
    they are computed in whatever is asked for when the model is loaded. Sizes are found as
    `read_published` says.

    Raises CheckpointError where the file, the tokenizer or the text model does not fit.
    """
    text_model = text_model if Path(file).is_file() else ""  # the file's fault comes first
    heads = text_heads or _heads(text_model)
    published = read_published(file, text_heads=heads, max_tokens=max_tokens)
    model, notes = published.model, dict(published.notes)
    found = "m3" if isinstance(model, M3Model) else model.config.kind
    if kind not in (None, found):
        raise CheckpointError(f"{file}: holds the weights of {found}, expected {kind}")
    name, known_licence = RECOGNISED.get(notes["source_sha256"], (None, None))
    notes |= {"name": name, "licence": licence or known_licence}
    tokenizer = None
    if found != "m3":
        folder = _text_folder(text_model)
        _compare(folder, model.config.text)
        tokenizer = load_tokenizer(folder)
        check_tokenizer(tokenizer, model.config.text.vocab_size, str(folder))
        notes["tokenizer"] = str(text_model) if is_hub_name(text_model) else folder.name
    model = model.to(DTYPES[dtype])
    _refuse_overflow(model, file, dtype)
    return save_checkpoint(model, out, tokenizer=tokenizer, notes=notes)


def _refuse_overflow(model: ClampModel | M3Model, file: Path, dtype: str) -> None:
    """They were finite when they were read."""
    try:
        refuse_not_finite(model.state_dict(), str(file))
    except CheckpointError as error:
        raise CheckpointError(
            f"{file}: some weights are too large for {dtype}; store them as bfloat16 or float32"
        ) from error


def export_weights(folder: Path, out: Path) -> Path:
    """Write a checkpoint folder as a .pth file that the originals load; its path.

    `out`: the file, or a folder, in which the file is named as the originals would. Weights are
    float32 under the published names, the tied output layer twice. Beside `model` stand the notes
    that the originals keep and, for `import_weights`, the architecture.

    Raises CheckpointError as `load_clamp` does.
    """
    config = read_config(folder)
    is_m3 = isinstance(config, M3CheckpointConfig)
    model = load_m3(folder) if is_m3 else load_clamp(folder).model
    out = Path(out)
    path = out if out.suffix == ".pth" else out / _file_name(model)
    content = {
        "model": model.state_dict(),
        **{name: config.notes[name] for name in NOTED if name in config.notes},
        ARCHITECTURE: json.dumps(config.architecture.model_dump(mode="json")),
    }
    with atomic_path(path) as draft:
        torch.save(content, draft)
    return path


def _file_name(model: ClampModel | M3Model) -> str:
    """The published scheme of names, as far as the model knows its parts."""
    if isinstance(model, M3Model):
        sizes = model.architecture
        words = ["m3", *_symbolic_words("h", "p", sizes)]
        words.insert(2, f"t_layers_{sizes.decoder_layers}")
        return f"weights_{'_'.join(words)}.pth"
    config = model.config
    words = [config.kind, f"h_size_{config.width}"]
    if config.text:
        words.append(f"t_length_{config.text.max_tokens}")
    if config.audio:
        audio = config.audio
        words += [f"a_size_{audio.hidden_size}", f"a_layers_{audio.layers}"]
        words.append(f"a_length_{audio.max_frames}")
    if config.symbolic:
        words += _symbolic_words("s", "s", config.symbolic)
    return f"weights_{'_'.join(words)}.pth"


def _symbolic_words(size: str, layers: str, sizes) -> Sequence[str]:
    return [
        f"{size}_size_{sizes.hidden_size}",
        f"{layers}_layers_{sizes.encoder_layers}",
        f"p_size_{sizes.patch_size}",
        f"p_length_{sizes.patch_length}",
    ]


def _text_folder(text_model: str | Path) -> Path:
    if is_hub_name(text_model):
        return fetch(
            str(text_model),
            ["tokenizer.json", "config.json"],
            instead="download its tokenizer.json and config.json and give their folder as the "
            "text model (--text-model)",
        )
    return Path(text_model)


def _heads(text_model: str | Path) -> int | None:
    """The attention heads that a folder's config.json tells of; a published name needs none."""
    return None if is_hub_name(text_model) else _settings(text_model).get("num_attention_heads")


def _settings(folder: str | Path) -> dict:
    there = folder and (Path(folder) / "config.json").is_file()
    return read_settings(Path(folder)) if there else {}


def _compare(folder: Path, config: TextTowerConfig) -> None:
    """Refuse the folder of a text model of other sizes than the file's."""
    settings = _settings(folder)
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        expected = getattr(config, name)
        if settings.get(name, expected) != expected:
            raise CheckpointError(
                f"{folder}: {name} is {settings[name]}, but the weights were trained with "
                f"{expected}: give the text model that they belong to"
            )
