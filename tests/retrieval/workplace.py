"""A tiny model, and a work tree as the pipeline leaves it after training."""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from clamp3.config import M3Architecture
from clamp3.files import write_jsonl, write_table
from clamp3.models.checkpoints import LoadedClamp
from clamp3.models.clamp import AudioTowerConfig, ClampModel, ClampModelConfig
from clamp3.models.text import TextTowerConfig
from clamp3.models.tokenizer import train_tokenizer

TEXTS = (
    "a reel in D major for fiddle",
    "a slow air in A minor",
    "Music to sing in church.\nA chorale in four voices",
    "a hornpipe",
)

STANDARD = "X:1\nT:A tune\nM:4/4\nL:1/8\nK:C\nV:1 treble\nV:2 bass\nV:1\nC4 E4|G8|\nV:2\nC,8|G,8|\n"
MUSICXML = """<?xml version="1.0"?><score-partwise version="3.1"><part-list><score-part id="P1">
<part-name>Flute</part-name></score-part></part-list><part id="P1"><measure number="1"><attributes>
<divisions>1</divisions><key><fifths>0</fifths></key><time><beats>4</beats><beat-type>4</beat-type>
</time><clef><sign>G</sign><line>2</line></clef></attributes><note><pitch><step>C</step>
<octave>4</octave></pitch><duration>4</duration><type>whole</type></note></measure></part>
</score-partwise>"""


TITLES = {"pdmx/Qm3": "Tom & Jerry's <Reel>"}


@dataclass(frozen=True)
class Workplace:
    """A work tree as the pipeline leaves it after training: stores, manifests, a model."""

    root: Path
    model: Path
    manifests: list[Path]
    texts: dict[str, dict]

    @property
    def embeddings(self) -> Path:
        return self.root / "results" / "embeddings"


def formula_weights(model: torch.nn.Module, seed: int = 0) -> None:
    """Fill every parameter by the goldens' recipe, which needs nothing but its name and shape."""
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        values = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
        if len(shape) >= 2:
            values = values / math.sqrt(math.prod(shape[1:]))
        else:
            values = 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
        state[name] = torch.from_numpy(values.astype(np.float32))
    model.load_state_dict(state)


def tiny_config(vocabulary: int, feature_size: int = 6) -> ClampModelConfig:
    return ClampModelConfig(
        kind="clamp3",
        width=16,
        similarity="dot",
        text=TextTowerConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=18,
            max_tokens=16,
        ),
        symbolic=M3Architecture(
            patch_size=16, patch_length=8, hidden_size=64, encoder_layers=1, decoder_layers=1
        ),
        audio=AudioTowerConfig(hidden_size=64, layers=1, max_frames=8, feature_size=feature_size),
    )


def tiny_model(feature_size: int = 6) -> LoadedClamp:
    """A model of width 16 with short windows and spread-out weights."""
    tokenizer = train_tokenizer(TEXTS, 60)
    config = tiny_config(len(tokenizer), feature_size)
    model = ClampModel(config)
    formula_weights(model)
    return LoadedClamp(model.eval(), tokenizer, config, "tiny")


def build_workplace(root: Path, model: Path) -> Workplace:
    """Twelve held-out pieces of PDMX (four with sound) and three of WikiMT-X."""
    scores = {f"pdmx/Qm{n}": score(n) for n in range(12)}
    extra = {f"wikimt_x/{n}": score(20 + n) for n in range(3)}
    performances = {piece: performance(n) for n, piece in enumerate(scores)}
    rng = np.random.default_rng(1)
    sounds = {piece: rng.standard_normal((5, 6)).astype(np.float32) for piece in list(scores)[:4]}
    stores = {
        "interleaved": ("abc", pa.string(), scores | extra),
        "mtf": ("mtf", pa.string(), performances),
        "features": ("features", pa.list_(pa.list_(pa.float32(), 6)), sounds),
    }
    for name, (column, kind, content) in stores.items():
        values = [v.tolist() if isinstance(v, np.ndarray) else v for v in content.values()]
        table = pa.table({"id": list(content), column: pa.array(values, kind)})
        table = table.replace_schema_metadata({"renderer": "additive <numpy>"})
        write_table(root / f"data/{name}/part-00000-of-00001.parquet", table)
    texts = {piece: piece_texts(piece, n) for n, piece in enumerate(scores | extra)}
    held = {
        "pdmx-abc-test": (scores, "interleaved", ".abc"),
        "pdmx-mtf-test": (performances, "mtf", ".mtf"),
        "pdmx-audio-test": (sounds, "features", ".npy"),
        "wikimt_x-abc-test": (extra, "interleaved", ".abc"),
    }
    manifests = []
    for name, (pieces, store, suffix) in held.items():
        manifests.append(root / f"data/manifests/{name}.jsonl")
        lines = [texts[p] | {"filepaths": [f"data/{store}/{p}{suffix}"]} for p in pieces]
        write_jsonl(manifests[-1], lines)
    return Workplace(root, model, manifests, texts)


def score(number: int) -> str:
    rng = np.random.default_rng(number)
    bars = "".join(f"[V:1]{note}4 z4|\n" for note in rng.choice(list("CDEFGABcd"), 3 + number % 9))
    return f"M:4/4\nL:1/8\nK:C\nV:1 treble\n{bars}"


def performance(number: int) -> str:
    pitches = np.random.default_rng(100 + number).integers(40, 90, 3 + number)
    events = [f"note_on 0 0 {p} 64\nnote_on 120 0 {p} 0" for p in pitches]
    return "ticks_per_beat 480\n" + "\n".join(events)


def piece_texts(piece: str, number: int) -> dict:
    return {
        "id": piece,
        "title": TITLES.get(piece, f"Tune {number}"),
        "artists": None,
        "region": None,
        "language": "English",
        "genres": ["folk"],
        "tags": [("reel", "jig", "$air_")[number % 3], "fiddle tune"],
        "background": f"a tune of number {number}" if number % 2 else None,
        "analysis": f"{TEXTS[number % 4]} <b>{number}</b>",
        "description": None,
        "scene": None,
        "translations": {},
    }
