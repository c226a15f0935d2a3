"""One training outside Snakemake, from params.yaml: what `clamp3 train` does."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from clamp3.config import ClampConfig, ClapMusicgenConfig, Params, TrainingConfig, load_params
from clamp3.data.clamp2_pieces import copy_manifests
from clamp3.data.listing import listed_parts
from clamp3.errors import ConfigError, DataError
from clamp3.training.clamp import train_clamp_stage
from clamp3.training.clamp2 import train_clamp2
from clamp3.training.clap_mlm import train_masked_text
from clamp3.training.clap_musicgen import train_clap_musicgen
from clamp3.training.lora import MODALITIES, train_adapter
from clamp3.training.m3 import train_m3

MANIFESTS = Path("data/manifests")
MODELS = Path("results/models")
STATES = Path("data/states/parts.tsv")
CLAMP2_MANIFESTS = Path("data/clamp2")
SYMBOLIC = ("abc", "mtf")
CLAP_TEXT, CLAP_HEADS = "clap-text", "clap-heads"  # of CLAP-MusicGen
CLAMP2 = "clamp2"


@dataclass(frozen=True)
class Given:
    """What the user named; all else is what the pipeline would take."""

    train: Sequence[Path] = field(default_factory=tuple)
    validation: Sequence[Path] = field(default_factory=tuple)
    guard: Path | None = None
    start: Path | None = None
    tokenizer: Path | None = None
    states: Sequence[Path] = field(default_factory=tuple)


def task_names(params: Params) -> list[str]:
    """The trainings of a params.yaml: m3, clamp3's stages, adapters, CLAP-MusicGen's, clamp2."""
    return list(_trainers(params))


def run_training(name: str, params_file: Path, out: Path | None, given: Given) -> Path:
    """Train `name` (see `task_names`) into the folder `out`; returns the model's folder.

    `out` gets the model, metrics.tsv and, while training, the state to go on from: the same call
    does the rest. Without `out` it is results/trainings/<name>. Several processes are those of the
    settings.

    Raises ConfigError for an unknown name, DataError where a file to begin with is missing.
    """
    params = load_params(params_file)
    trainers = _trainers(params)
    if name not in trainers:
        raise ConfigError(f"{name}: expected one of {', '.join(trainers)}")
    out = out or Path("results/trainings") / name
    settings = _settings(name, params)
    if settings.processes * settings.nodes > 1 and "RANK" not in os.environ:
        _launch(settings)
    else:
        trainers[name](params, out, given)
    return out / "model"


def _trainers(params: Params) -> dict[str, Callable[[Params, Path, Given], None]]:
    return {
        "m3": _train_m3,
        **{stage: partial(_train_stage, stage) for stage in params.clamp3.stages},
        **{f"lora-{modality}": partial(_train_adapter, modality) for modality in MODALITIES},
        CLAP_TEXT: _train_clap_text,
        CLAP_HEADS: _train_clap_heads,
        CLAMP2: _train_clamp2,
    }


def _launch(settings: TrainingConfig) -> None:
    """The same command in several processes."""
    count = f"{settings.nodes}x{settings.processes}"
    command = [sys.executable, "-m", "clamp3.training.launch", count, "-m", "clamp3"]
    if subprocess.run([*command, *sys.argv[1:]], check=False).returncode:
        raise ConfigError("training ended early: the message above says why")


def _settings(name: str, params: Params) -> TrainingConfig:
    if name in params.clamp3.stages:
        return params.clamp3.stages[name].training
    if name == CLAP_TEXT:
        return params.clap_text.masked_text.training
    if name == CLAP_HEADS:
        return _clap_settings(params).training
    if name == CLAMP2:
        return params.clamp2.training
    return params.m3.training if name == "m3" else params.lora.training


def _clap_settings(params: Params) -> ClapMusicgenConfig:
    return ClapMusicgenConfig.of(params.codes, params.states, params.clap_text, params.clap_heads)


def _train_m3(params: Params, out: Path, given: Given) -> None:
    train_m3(
        manifests=_manifests(given.train, SYMBOLIC, "train"),
        validation=_manifests(given.validation, SYMBOLIC, "validation"),
        settings=params.m3,
        seed=params.seed,
        **_places(out),
    )


def _train_stage(name: str, params: Params, out: Path, given: Given) -> None:
    stage = params.clamp3.stages[name]
    kinds = SYMBOLIC if stage.modality == "symbolic" else ("audio",)
    tokenizer = given.tokenizer or MODELS / "tokenizer"
    train_clamp_stage(
        stage=stage,
        config=params.clamp3,
        manifests_train=_manifests(given.train, kinds, "train"),
        manifests_validation=_manifests(given.validation, kinds, "validation"),
        start=given.start or _before(name, params.clamp3),
        tokenizer=tokenizer if given.tokenizer or tokenizer.exists() else None,
        seed=params.seed,
        name=name,
        **_places(out),
    )


def _train_adapter(modality: str, params: Params, out: Path, given: Given) -> None:
    train_adapter(
        modality=modality,
        model=given.start or MODELS / "clamp3",
        manifests_train=_manifests(given.train, (modality,), "train"),
        manifests_validation=_manifests(given.validation, (modality,), "validation"),
        manifest_guard=given.guard or _guard(modality, params),
        settings=params.lora,
        seed=params.seed,
        **_places(out),
    )


def _train_clap_text(params: Params, out: Path, given: Given) -> None:
    settings = params.clap_text
    if given.start:
        text = settings.text.model_copy(update={"pretrained": str(given.start)})
        settings = settings.model_copy(update={"text": text})
    train_masked_text(
        manifests=_manifests(given.train, ("audio",), "train"),
        validation=_manifests(given.validation, ("audio",), "validation"),
        settings=settings,
        seed=params.seed,
        **_places(out),
    )


def _train_clap_heads(params: Params, out: Path, given: Given) -> None:
    train_clap_musicgen(
        manifests_train=_manifests(given.train, ("audio",), "train"),
        manifests_validation=_manifests(given.validation, ("audio",), "validation"),
        states=_states(given.states),
        text_model=given.start or MODELS / "clap_text",
        settings=_clap_settings(params),
        seed=params.seed,
        **_places(out),
    )


def _train_clamp2(params: Params, out: Path, given: Given) -> None:
    train_clamp2(
        settings=params.clamp2,
        train=_clamp2_manifest(given.train, "train", out),
        validation=_clamp2_manifest(given.validation, "validation", out),
        tokenizer=given.tokenizer,
        start=given.start or Path(params.clamp2.start),
        seed=params.seed,
        **_places(out),
    )


def _clamp2_manifest(given: Sequence[Path], split: str, out: Path) -> Path:
    """The pieces that training sees: those of the manifests that are named, or the pipeline's."""
    own = CLAMP2_MANIFESTS / f"{split}.jsonl"
    copy = out / "manifests" / own.name
    copy_manifests(_there(given, [own], f"--{split}", "clamp2"), copy)
    return copy


def _states(given: Sequence[Path]) -> list[Path]:
    """The tables of states that are named or listed."""
    paths = _there(given, [STATES], "--states", "states")
    listed = [listed_parts(path)[0] if path.suffix == ".tsv" else [path] for path in paths]
    return [table for tables in listed for table in tables]


def _guard(modality: str, params: Params) -> Path | None:
    """The manifest of the collection that an adapter must not spoil, if the pipeline made it."""
    collection = getattr(params.lora.guard, modality)
    path = MANIFESTS / f"{collection}-{modality}-test.jsonl"
    return path if path.is_file() else None


def _before(name: str, config: ClampConfig) -> Path:
    """What the pipeline begins a stage with: the stage before it, or the first model of all."""
    names = list(config.stages)
    place = names.index(name)
    return MODELS / "clamp3-stages" / names[place - 1] if place else Path(config.start)


def _places(out: Path) -> dict[str, Path]:
    return {"out": out / "model", "metrics": out / "metrics.tsv", "resume": out / "resume"}


def _manifests(given: Sequence[Path], kinds: Sequence[str], split: str) -> list[Path]:
    usual = [MANIFESTS / f"pdmx-{kind}-{split}.jsonl" for kind in kinds]
    return _there(given, usual, f"--{split}", "manifest")


def _there(given: Sequence[Path], usual: list[Path], option: str, target: str) -> list[Path]:
    """The files named, or those that the pipeline's `target` makes. Raises DataError without."""
    paths = list(given) or usual
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{', '.join(missing)}: no such file; name yours with {option}, or make the "
            f"pipeline's with `snakemake {target}`"
        )
    return paths
