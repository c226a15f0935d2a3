"""A few pieces as scores, performances and recordings, small models, and settings for them."""

import csv
from pathlib import Path

import numpy as np
import torch

from clamp3.config import (
    AudioArchitecture,
    ClampConfig,
    ClampStage,
    LoraConfig,
    M3Architecture,
    M3Config,
    TextArchitecture,
    TrainingConfig,
)
from clamp3.files import write_jsonl
from clamp3.models.checkpoints import save_checkpoint
from clamp3.models.m3 import M3Model
from clamp3.training.clamp import make_tokenizer

KEYS = ("C", "G", "D", "A", "F", "Bb")
KINDS = {"jig": ("6/8", "CEG GEC|"), "reel": ("4/4", "CDEF GABc|"), "waltz": ("3/4", "C2 E2 G2|")}
SUFFIXES = {"abc": "abc", "mtf": "mtf", "audio": "npy"}
FEATURE_SIZE = 24


def make_corpus(folder, count=18, name="train"):
    """Write `count` pieces; returns the manifests by modality."""
    rows = [_piece(Path(folder) / name, number) for number in range(count)]
    manifests = {}
    for modality, suffix in SUFFIXES.items():
        manifests[modality] = Path(folder) / f"{name}-{modality}.jsonl"
        lines = [row | {"filepaths": [f"{row['filepaths'][0]}.{suffix}"]} for row in rows]
        write_jsonl(manifests[modality], lines)
    return manifests


def _piece(folder, number):
    key, kind = KEYS[number % len(KEYS)], sorted(KINDS)[number // len(KEYS) % len(KINDS)]
    metre, bar = KINDS[kind]
    bars = 2 + number % 5
    path = folder / f"Qm{number:03}"
    path.parent.mkdir(parents=True, exist_ok=True)
    score = f'L:1/8\nM:{metre}\nK:{key}\nV:1 treble nm="Flute"\n' + f"[V:1]{bar}\n" * bars
    path.with_suffix(".abc").write_text(score)
    notes = "".join(f"note_on {n} 0 {60 + n % 12} 90\nnote_off 240 0 60 0\n" for n in range(bars))
    top, bottom = metre.split("/")
    head = f"ticks_per_beat 480\ntime_signature 0 {top} {bottom} 24 8\nprogram_change 0 0 73\n"
    path.with_suffix(".mtf").write_text(head + notes)
    frames = np.random.default_rng(number).normal(size=(2 + number % 3, FEATURE_SIZE))
    np.save(path.with_suffix(".npy"), (frames + KEYS.index(key)).astype(np.float32))
    return {
        "id": f"pdmx/Qm{number:03}",
        "filepaths": [str(path)],
        "title": f"Piece {number}",
        "artists": None,
        "region": None,
        "language": "English",
        "genres": ["folk"],
        "tags": [kind, f"{key} major"],
        "background": f"A {kind} from a collection.\nIts number is {number}.",
        "analysis": f"This {kind} is in {key} major and {metre} time.",
        "description": None,
        "scene": f"People dance a {kind}.",
        "translations": {},
    }


def training(**changes):
    values = {
        "epochs": 2,
        "batch_size": 6,
        "learning_rate": 2.0e-3,
        "warmup_steps": 2,
        "weight_decay": 0.01,
        "gradient_clip": 1.0,
        "precision": "fp32",
        "threads": 1,
        "dropout": 0.1,
        "keep": "best",
        "patience_epochs": None,
        "steps": None,
        "accumulate": 1,
        "schedule": "constant",
        "workers": 0,
        "processes": 1,
        "nodes": 1,
        "gradient_checkpointing": False,
        "compile": False,
        "evaluate_by": "loss",
        "explosion_factor": 10.0,
        "keep_checkpoints": 0,
        "tracker": None,
    }
    return TrainingConfig(**(values | changes))


def m3_settings(**changes):
    architecture = M3Architecture(
        patch_size=64, patch_length=8, hidden_size=64, encoder_layers=1, decoder_layers=1
    )
    return M3Config(architecture=architecture, mask_ratio=0.45, training=training(**changes))


def stage(modality="symbolic", *, freeze_text=False, text_dropout="clamp3", **changes):
    own = {name: changes.pop(name) for name in ("freeze_music", "chunk") if name in changes}
    rates = {"text": 1.0, "music": 1.0, "embeddings": 1.0}
    values = {"freeze_music": False, "tower_rates": rates, "chunk": None}
    return ClampStage(
        modality=modality,
        freeze_text=freeze_text,
        text_dropout=text_dropout,
        instrument_dropout=0.5,
        training=training(**changes),
        **(values | own),
    )


def clamp_settings(**changes):
    values = {
        "width": 32,
        "text": TextArchitecture(
            pretrained=None, vocabulary_size=120, hidden_size=32, layers=1, heads=2, max_tokens=40
        ),
        "audio": AudioArchitecture(hidden_size=64, layers=1, max_frames=6),
        "start": "results/models/m3",
        "start_from_m3": True,
        "similarity": "dot",
        "logit_scale": 1.0,
        "learn_scale": False,
        "mask_duplicates": False,
        "stages": {"symbolic": stage()},
    }
    return ClampConfig(**(values | changes))


def lora_settings(*, guard=None, **changes):
    watched = {"abc": "other", "mtf": "other", "pieces": 50, "max_fall": 0.1, "action": "none"}
    return LoraConfig(
        rank=4,
        alpha=8,
        dropout=0.1,
        targets=("query", "key", "value"),
        text_dropout="clamp3",
        guard=watched | (guard or {}),
        training=training(**changes),
    )


def make_start(folder, manifest):
    """Write what a first stage begins with: a new M3 and a tokenizer."""
    torch.manual_seed(0)
    save_checkpoint(M3Model(m3_settings().architecture), folder / "m3")
    make_tokenizer(
        manifests=[manifest],
        out=folder / "tokenizer",
        settings=clamp_settings().text,
        start=folder / "m3",
    )


def beside(out):
    """Where a training writes: the model to `out`, the rest beside it."""
    return {
        "out": out,
        "metrics": out.with_suffix(".tsv"),
        "resume": out.with_suffix(".resume"),
    }


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def table(path):
    """The rows of a table of figures."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
