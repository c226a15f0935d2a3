"""Models with the weights that the recorded outputs of the original programs were made with.

Each tensor is drawn from a generator seeded by its name, so no weights need to be stored.
"""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import torch

from clamp3.config import LoraConfig, M3Architecture
from clamp3.models.clamp import AudioTowerConfig, ClampModel, ClampModelConfig
from clamp3.models.lora import add_lora
from clamp3.models.m3 import M3Model
from clamp3.models.pooling import combine, join_rows, segments
from clamp3.models.text import TextTowerConfig

SMALL = Path(__file__).resolve().parent.parent / "golden" / "models"  # a part of the goldens
TIED = "decoder.base.lm_head.weight"
TEXT = {
    "vocab_size": 599,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 514,
}
SIZES = {  # patches, width of M3, its layers, frames, width of audio, its layers, width, tokens
    "A": ((64, 512, 128, 2, 1), (128, 64, 2), 96, 128),
    "B": ((64, 32, 64, 2, 2), (16, 128, 2), 64, 16),
    "K": ((16, 8, 64, 1, 1), (16, 64, 1), 32, 16),
}


def read_json(path):
    """The content of a JSON file, or of its compressed copy."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    return json.loads(gzip.decompress(path.with_name(path.name + ".gz").read_bytes()))


def read_npz(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def values(name, shape):
    """The weights of the tensor `name`."""
    seed = [0, zlib.crc32(name.encode())]
    drawn = np.random.default_rng(seed).standard_normal(shape)
    if len(shape) >= 2:
        drawn = drawn / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("weight"):
        drawn = 1 + 0.1 * drawn
    else:
        drawn = 0.1 * drawn
    return torch.from_numpy(drawn.astype(np.float32))


def fill(model):
    """The model with the formula's weights, in eval mode."""
    named = {name: name for name in model.state_dict()}
    if TIED in named:
        named[TIED] = "decoder.base.transformer.wte.weight"
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: values(named[name], shapes[name]) for name in shapes})
    return model.eval()


def architecture(letter):
    names = ("patch_size", "patch_length", "hidden_size", "encoder_layers", "decoder_layers")
    return M3Architecture(**dict(zip(names, SIZES[letter][0], strict=True)))


def clamp_config(letter, kind="clamp3"):
    frames, hidden_size, layers = SIZES[letter][1]
    audio = AudioTowerConfig(
        hidden_size=hidden_size, layers=layers, max_frames=frames, feature_size=hidden_size
    )
    return ClampModelConfig(
        kind=kind,
        width=SIZES[letter][2],
        similarity="dot",
        text=TextTowerConfig(**TEXT, max_tokens=SIZES[letter][3]),
        symbolic=architecture(letter),
        audio=audio if kind == "clamp3" else None,
    )


def m3_model(letter):
    return fill(M3Model(architecture(letter)))


def clamp_model(letter, kind="clamp3"):
    return fill(ClampModel(clamp_config(letter, kind)))


def assert_same_weights(found, expected):
    state = expected.state_dict()
    assert found.state_dict().keys() == state.keys()
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def gradients_close(found, expected):
    bound = np.maximum(1e-5, 1e-4 * np.abs(expected))
    assert (np.abs(found - expected) <= bound).all(), np.abs(found - expected).max()


def losses_of_training(model, loss, steps):
    """The losses of so many steps of AdamW at 1e-3."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        losses.append(value.item())
        value.backward()
        optimizer.step()
    return losses


def whole_piece(model, tower, rows, window):
    """The hidden states of a whole piece and its embedding."""
    plan = segments(len(rows), window)
    hidden, vectors = [], []
    for start, stop, _ in plan:
        mask = torch.ones(1, stop - start)
        hidden += getattr(model, f"{tower}_hidden")(rows[None, start:stop], mask)
        vectors += model.project(tower, hidden[-1][None], mask)
    weights = [segment.weight for segment in plan]
    return join_rows(hidden, weights), combine(torch.stack(vectors), weights)


def whole_m3_piece(encoder, rows, window):
    """The same of M3's encoder, hidden states alone."""
    plan = segments(len(rows), window)
    hidden = [encoder(rows[None, s:e], torch.ones(1, e - s))[0] for s, e, _ in plan]
    return join_rows(hidden, [segment.weight for segment in plan])


def lora_settings(**changes):
    values = {"rank": 4, "alpha": 8, "dropout": 0.1, "targets": ("query", "key", "value")}
    return LoraConfig.model_construct(**values | changes)


def trained_adapter(seed=0, **changes):
    """A model with an adapter whose values are not those of a new one."""
    model = clamp_model("K")
    torch.manual_seed(seed)
    add_lora(model, lora_settings(**changes))
    for name, parameter in model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


PUBLISHED_NAME = "weights_clamp3_saas_h_size_32_t_model_x_t_length_16_a_size_64.pth"


def write_published(folder, model, name=PUBLISHED_NAME, **extra):
    """A .pth file in the originals' layout."""
    torch.save({"model": model.state_dict(), "optimizer": {"state": {}}, **extra}, folder / name)
    return folder / name


FULL_SIZE = M3Architecture(
    patch_size=64, patch_length=512, hidden_size=768, encoder_layers=12, decoder_layers=3
)


def published_config(kind="clamp3", towers=("text", "symbolic", "audio")):
    """The sizes of the published models."""
    parts = {
        "text": TextTowerConfig(
            vocab_size=250002,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            max_position_embeddings=514,
            max_tokens=128,
        ),
        "symbolic": FULL_SIZE,
        "audio": AudioTowerConfig(hidden_size=768, layers=12, max_frames=128, feature_size=768),
    }
    chosen = {name: parts[name] if name in towers else None for name in parts}
    return ClampModelConfig(kind=kind, width=768, similarity="dot", **chosen)
