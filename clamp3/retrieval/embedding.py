"""From pieces to embeddings: segments of all pieces, batched by length, put together again.

A piece is a text, a score (interleaved ABC), a performance (MTF) or the features of a recording.
What does not fit a tower's window is cut into segments (clamp3.models.pooling); the embedding is
the mean of the segments' projected vectors, weighted by length, and is not normalised.

Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py (--get_global)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from clamp3.errors import CheckpointError, FormatError
from clamp3.formats.patches import encode_patches
from clamp3.models.checkpoints import LoadedClamp
from clamp3.models.pooling import add_silence, combine, segments
from clamp3.models.text import PAD_ID
from clamp3.models.tokenizer import encode_texts

Key = TypeVar("Key")
Piece = str | np.ndarray

TOWER_OF = {"text": "text", "abc": "symbolic", "mtf": "symbolic", "audio": "audio"}
GROUP_BYTES = 2**27  # of prepared pieces held at once; batches form inside such a group
GROUP_PIECES = 8192


def embed_pieces(
    loaded: LoadedClamp, modality: str, pieces: Sequence[Piece], *, batch_tokens: int = 8192
) -> np.ndarray:
    """The embeddings [N, D], float32, of the pieces in their order.

    `modality`: text, abc, mtf or audio. At most `batch_tokens` positions are computed at once
    (but at least one segment). Which pieces stand together changes the numbers by rounding only.

    Raises FormatError for a piece that cannot be read, CheckpointError without such a tower.
    """
    rows = [piece_rows(loaded, modality, piece) for piece in pieces]
    return embed_rows(loaded, modality, rows, batch_tokens)


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
    for group in _groups(_prepared(loaded, modality, pieces)):
        good = [rows for _, rows in group if not isinstance(rows, FormatError)]
        vectors = iter(embed_rows(loaded, modality, good, batch_tokens))
        for key, rows in group:
            yield key, rows if isinstance(rows, FormatError) else next(vectors)


def piece_rows(loaded: LoadedClamp, modality: str, piece: Piece) -> torch.Tensor:
    """What the tower reads: token ids [T], patches [P, C] or frames [F, E]; at least one row.

    Raises FormatError: `bad_features` (of another width, empty, not finite) and what
    `encode_patches` raises.
    """
    tower = _tower(loaded, modality)
    if tower == "text":
        return torch.tensor(encode_texts(loaded.tokenizer, [piece])[0])
    if tower == "audio":
        return add_silence(_checked_features(piece, loaded.config.audio.feature_size))
    return torch.from_numpy(encode_patches(piece, patch_size=loaded.config.symbolic.patch_size))


def embed_rows(
    loaded: LoadedClamp, modality: str, pieces: Sequence[torch.Tensor], batch_tokens: int
) -> np.ndarray:
    """The embeddings [N, D] of what `piece_rows` made of each piece."""
    window = _window(loaded, modality)
    plan = [(rows, segment) for rows in pieces for segment in segments(len(rows), window)]
    vectors = torch.empty(len(plan), loaded.config.width)
    for batch in batches_by_length([s.stop - s.start for _, s in plan], batch_tokens):
        parts = [plan[place][0][plan[place][1].start : plan[place][1].stop] for place in batch]
        vectors[batch] = _encode(loaded, modality, parts).float().cpu()
    counts = [len(segments(len(rows), window)) for rows in pieces]
    weights = [segment.weight for _, segment in plan]
    embeddings = np.empty((len(pieces), loaded.config.width), dtype=np.float32)
    start = 0
    for place, count in enumerate(counts):
        own = slice(start, start + count)
        embeddings[place] = combine(vectors[own], weights[own]).numpy()
        start += count
    return embeddings


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield the places of `lengths` in batches of like length, the longest first, each place once.

    Padded to its longest member a batch has at most `batch_tokens` positions, or one member.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def best_device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


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


def _tower(loaded: LoadedClamp, modality: str) -> str:
    if modality not in TOWER_OF:
        raise ValueError(f"modality {modality}: expected one of {', '.join(TOWER_OF)}")
    tower = TOWER_OF[modality]
    if tower not in loaded.model.towers:
        raise CheckpointError(
            f"{modality}: this model has no {tower} tower (only {', '.join(loaded.model.towers)})"
        )
    if tower == "text" and loaded.tokenizer is None:
        raise CheckpointError("text: the checkpoint holds no tokenizer")
    return tower


def _window(loaded: LoadedClamp, modality: str) -> int:
    """The most rows that the tower reads at once."""
    config = loaded.config
    tower = _tower(loaded, modality)
    if tower == "text":
        return config.text.max_tokens
    return config.symbolic.patch_length if tower == "symbolic" else config.audio.max_frames


def _checked_features(piece: np.ndarray, width: int) -> torch.Tensor:
    if piece.ndim < 2 or piece.shape[-1] != width:
        raise FormatError(
            "bad_features",
            f"features of shape {list(piece.shape)}, expected [frames, {width}]; were they made "
            "with the front end that the model was trained on?",
        )
    if not piece.size:
        raise FormatError("bad_features", "features without a single frame")
    features = np.ascontiguousarray(piece, dtype=np.float32)
    if not np.isfinite(features).all():
        raise FormatError("bad_features", "features hold NaN or infinity")
    return torch.from_numpy(features)


def _encode(loaded: LoadedClamp, modality: str, parts: list[torch.Tensor]) -> torch.Tensor:
    """The vectors [B, D] of segments, padded to the longest of them."""
    tower = _tower(loaded, modality)
    weights = next(loaded.model.parameters())
    fill = PAD_ID if tower == "text" else 0
    rows = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill)
    lengths = torch.tensor([len(part) for part in parts])
    mask = (torch.arange(rows.shape[1]) < lengths[:, None]).long()
    if rows.is_floating_point():
        rows = rows.to(weights.dtype)
    with torch.inference_mode():
        encode_tower = getattr(loaded.model, f"encode_{tower}")
        return encode_tower(rows.to(weights.device), mask.to(weights.device))
