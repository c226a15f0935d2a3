"""From pieces to embeddings: segments of all pieces, batched by length, put together again.

A piece is a text, a score (interleaved ABC), a performance (MTF) or the features of a recording.
What does not fit a tower's window is cut into segments (clamp3.models.pooling). The embedding of a
piece is the mean of its segments' projected vectors, weighted by length, and is not normalised; its
temporal features are the hidden states of all its rows, before any projection.

Padding-free attention is not used: batches of like length are more than nine tenths real.

Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py (with and without --get_global)
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.formats.patches import encode_patches
from clamp3.models.checkpoints import LoadedClamp
from clamp3.models.m3 import M3Model
from clamp3.models.pooling import Segment, add_silence, combine, join_rows, segments
from clamp3.models.text import PAD_ID
from clamp3.models.tokenizer import encode_texts

log = logging.getLogger(__name__)
Key = TypeVar("Key")
Piece = str | np.ndarray
Loaded = LoadedClamp | M3Model

TOWER_OF = {
    "text": "text",
    "image": "text",  # as what a captioner says of it
    "abc": "symbolic",
    "mtf": "symbolic",
    "audio": "audio",
}
GROUP_BYTES = 2**27  # of prepared pieces held at once; batches form inside such a group
GROUP_PIECES = 8192
LIKENESS = 0.9  # of a batch's lengths, shortest to longest
# Positions of a batch that are worth its fixed costs: starting the kernels of all layers.
LIKE_ENOUGH = {"cpu": 64, "cuda": 4096}


class Tower(NamedTuple):
    """What reads pieces of some modality."""

    window: int  # the most rows that it reads at once
    width: int  # of its vectors
    fill: int  # what rows are padded with
    hidden: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # rows, mask -> [B, N, D]
    project: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None  # -> [B, D]; M3: None
    weights: torch.Tensor  # one of its tensors: where it is and of what type


@dataclass
class Budget:
    """How many positions are computed at once: `tokens`, less once the memory has run out."""

    tokens: int

    def halve(self, longest: int, count: int) -> None:
        """After memory ran out on `count` segments of up to `longest` rows.

        Raises ConfigError where that was a single one.
        """
        if count < 2:
            raise ConfigError(
                f"out of memory on a single segment of {longest} rows: the device is too small "
                "for this model, or something else fills its memory"
            )
        self.tokens = max(1, min(self.tokens, longest * count) // 2)
        log.warning("out of memory; going on with %d positions at once", self.tokens)


def embed_pieces(
    loaded: Loaded, modality: str, pieces: Sequence[Piece], *, batch_tokens: int = 8192
) -> np.ndarray:
    """The embeddings [N, D], float32, of the pieces in their order.

    `modality`: text, abc, mtf or audio. At most `batch_tokens` positions are computed at once
    (but at least one segment). Which pieces stand together changes the numbers by rounding only.

    Raises FormatError for a piece that cannot be read, CheckpointError without such a tower.
    """
    tower = tower_of(loaded, modality)
    rows = [piece_rows(loaded, modality, piece) for piece in pieces]
    vectors = embed_rows(tower, rows, Budget(batch_tokens))
    return np.stack(vectors) if vectors else np.empty((0, tower.width), np.float32)


def embed_stream(
    loaded: LoadedClamp,
    modality: str,
    pieces: Iterable[tuple[Key, Callable[[], Piece]]],
    *,
    batch_tokens: int = 8192,
) -> Iterator[tuple[Key, np.ndarray | FormatError]]:
    """Yield for each (key, read) the key and the embedding [D], or why there is none, in order.

    `read()` gives the piece; only a group of pieces is in memory at a time.
    """
    tower, budget = tower_of(loaded, modality), Budget(batch_tokens)
    for group in _groups(_prepared(loaded, modality, pieces)):
        good = [rows for _, rows in group if not isinstance(rows, FormatError)]
        vectors = iter(embed_rows(tower, good, budget))
        for key, rows in group:
            yield key, rows if isinstance(rows, FormatError) else next(vectors)


def tower_of(loaded: Loaded, modality: str) -> Tower:
    """What reads pieces of this modality. Raises CheckpointError where the model has no such."""
    if modality not in TOWER_OF:
        raise ValueError(f"modality {modality}: expected one of {', '.join(TOWER_OF)}")
    name = TOWER_OF[modality]
    if isinstance(loaded, M3Model):
        return _m3_tower(loaded, modality)
    model, config = loaded.model, loaded.config
    if name not in model.towers:
        raise CheckpointError(
            f"{modality}: this model has no {name} tower (only {', '.join(model.towers)})"
        )
    if name == "text" and loaded.tokenizer is None:
        raise CheckpointError("text: the checkpoint holds no tokenizer")
    sizes = getattr(config, name)
    return Tower(
        window=getattr(sizes, WINDOWS[name]),
        width=config.width,
        fill=PAD_ID if name == "text" else 0,
        hidden=getattr(model, f"{name}_hidden"),
        project=lambda hidden, mask: model.project(name, hidden, mask),
        weights=model.projection(name).weight,
    )


WINDOWS = {"text": "max_tokens", "symbolic": "patch_length", "audio": "max_frames"}


def _m3_tower(model: M3Model, modality: str) -> Tower:
    """The encoder of M3. Source: sanderwood/clamp3@9016d2b code/extract_m3.py"""
    if TOWER_OF[modality] != "symbolic":
        raise CheckpointError(f"{modality}: an M3 model reads scores and performances only")
    sizes = model.architecture
    weights = model.encoder.patch_embedding.bias
    return Tower(sizes.patch_length, sizes.hidden_size, 0, model.encoder, None, weights)


def piece_rows(loaded: Loaded, modality: str, piece: Piece) -> torch.Tensor:
    """What the tower reads: token ids [T], patches [P, C] or frames [F, E]; at least one row.

    Scores and performances may be given as patches, uint8 [P, C], too.

    Raises FormatError: `bad_features` (of another width, empty, not finite) and what
    `encode_patches` raises.
    """
    tower_of(loaded, modality)
    tower = TOWER_OF[modality]
    if tower == "text":
        return torch.tensor(encode_texts(loaded.tokenizer, [piece])[0])
    if tower == "audio":
        return add_silence(_checked_features(piece, loaded.config.audio.feature_size))
    if isinstance(piece, str):
        sizes = loaded.architecture if isinstance(loaded, M3Model) else loaded.config.symbolic
        piece = encode_patches(piece, patch_size=sizes.patch_size)
    return torch.from_numpy(piece)


def embed_rows(
    tower: Tower, pieces: Sequence[torch.Tensor], budget: Budget, *, temporal: bool = False
) -> list[np.ndarray]:
    """The embedding [D], float32, of what `piece_rows` made of each piece.

    With `temporal` the hidden states [N, D] of its N rows. Raises ConfigError for an M3 model
    without `temporal`.
    """
    if tower.project is None and not temporal:
        raise ConfigError(
            "an M3 model has no space to embed in: ask for its temporal features (--temporal)"
        )
    plans = [segments(len(rows), tower.window) for rows in pieces]
    cut = [rows[s.start : s.stop] for rows, plan in zip(pieces, plans, strict=True) for s in plan]
    parts = iter(_computed(tower, cut, [s for plan in plans for s in plan], budget, temporal))
    embeddings = []
    for plan in plans:
        own, weights = [next(parts) for _ in plan], [segment.weight for segment in plan]
        joined = join_rows(own, weights) if temporal else combine(torch.stack(own), weights)
        embeddings.append(joined.numpy())
    return embeddings


def _computed(
    tower: Tower,
    cut: Sequence[torch.Tensor],
    plan: Sequence[Segment],
    budget: Budget,
    temporal: bool,
) -> list[torch.Tensor]:
    """For each segment its vector [D] or, with `temporal`, those hidden states that count."""
    found: list[torch.Tensor] = [torch.empty(0)] * len(cut)
    lengths = [len(part) for part in cut]
    worth = LIKE_ENOUGH.get(tower.weights.device.type, LIKE_ENOUGH["cuda"])
    waiting = list(batches_by_length(lengths, budget.tokens, worth))[::-1]
    while waiting:
        batch = waiting.pop()
        longest = lengths[batch[0]]
        if len(batch) > max(1, budget.tokens // max(1, longest)):  # the budget was halved
            again = batches_by_length([lengths[place] for place in batch], budget.tokens, worth)
            waiting += [[batch[place] for place in smaller] for smaller in again][::-1]
            continue
        rows = _encode(tower, [cut[place] for place in batch], temporal)
        if rows is None:
            _free(tower)
            budget.halve(longest, len(batch))
            waiting.append(batch)
            continue
        for place, own in zip(batch, rows, strict=True):
            # Copied: a view would keep the whole batch in memory.
            found[place] = own[: lengths[place]][-plan[place].weight :].clone() if temporal else own
    return found if temporal or not found else list(torch.stack(found).cpu())


def batches_by_length(
    lengths: Sequence[int], batch_tokens: int, worth: int = LIKE_ENOUGH["cpu"]
) -> Iterator[list[int]]:
    """Yield the places of `lengths` in batches of like length, the longest first, each place once.

    Padded to its longest member a batch has at most `batch_tokens` positions, or one member. It
    ends before a member that would be padded by more than a tenth, if it has `worth` positions.
    """
    batch: list[int] = []
    longest = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        size = longest * len(batch)
        unlike = lengths[place] < LIKENESS * longest and size >= worth
        if batch and (unlike or size + longest > batch_tokens):
            yield batch
            batch = []
        longest = longest if batch else lengths[place]
        batch.append(place)
    if batch:
        yield batch


def best_device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def chosen_device(name: str | None) -> str:
    """The device of that name; None: the best one. Raises ConfigError for one that is not there."""
    if name is None:
        return best_device()
    try:
        kind, index = torch.device(name).type, torch.device(name).index or 0
        if kind != "cuda":  # of GPUs the number suffices: one that is tried is taken
            torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:  # of devices that torch was not built for
        raise ConfigError(f"device {name!r}: expected cpu, cuda or cuda:0") from error
    if kind == "cuda" and index >= torch.cuda.device_count():
        raise ConfigError(f"device {name}: there are {torch.cuda.device_count()} GPUs here")
    return name


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with `count` CPU threads inside the block: the same number, the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _prepared(
    loaded: LoadedClamp, modality: str, pieces: Iterable[tuple[Key, Callable[[], Piece]]]
) -> Iterator[tuple[Key, torch.Tensor | FormatError]]:
    for key, read in pieces:
        try:
            rows = piece_rows(loaded, modality, read())
        except FormatError as error:
            rows = error
        yield key, rows


def _groups(prepared: Iterable[tuple[Key, torch.Tensor | FormatError]]) -> Iterator[list]:
    group, size = [], 0
    for key, rows in prepared:
        group.append((key, rows))
        size += 0 if isinstance(rows, FormatError) else rows.nbytes
        if size >= GROUP_BYTES or len(group) >= GROUP_PIECES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _checked_features(piece: np.ndarray, width: int) -> torch.Tensor:
    if piece.ndim < 2 or piece.shape[-1] != width:
        raise FormatError(
            "bad_features",
            f"features of shape {list(piece.shape)}, expected [frames, {width}]; were they made "
            "with the front end that the model was trained on?",
        )
    if not piece.size:
        raise FormatError("bad_features", "features without a single frame")
    with np.errstate(over="ignore"):  # told by what comes of it
        features = np.ascontiguousarray(piece, dtype=np.float32)
    if not np.isfinite(features).all():
        raise FormatError("bad_features", "features hold NaN or infinity")
    return torch.from_numpy(features)


def _encode(tower: Tower, parts: list[torch.Tensor], temporal: bool) -> torch.Tensor | None:
    """Vectors [B, D] or, on the CPU, hidden states [B, N, D] of segments padded to the longest.

    As float32. None: the memory did not suffice.
    """
    rows = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=tower.fill)
    lengths = torch.tensor([len(part) for part in parts])
    mask = (torch.arange(rows.shape[1]) < lengths[:, None]).long()
    if rows.is_floating_point():
        rows = rows.to(tower.weights.dtype)
    device = tower.weights.device
    try:
        with torch.inference_mode():
            seen = mask.to(device)
            # Without a mask attention takes its fastest way.
            hidden = tower.hidden(rows.to(device), None if mask.all() else seen)
            # Vectors stay where they are: waiting for them would leave a GPU idle.
            return hidden.float().cpu() if temporal else tower.project(hidden, seen).float()
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):  # the CPU has no error of its own for it
            raise
        return None


def _free(tower: Tower) -> None:
    if tower.weights.device.type == "cuda":
        torch.cuda.empty_cache()
