"""Unit vectors of captions and of what MusicGen has heard, by a CLAP-MusicGen that is loaded."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from clamp3.models.clap_musicgen import ClapModel
from clamp3.models.clap_musicgen.model import caption_tokens

TEXTS_AT_ONCE = 64


@torch.inference_mode()
def text_vectors(
    model: ClapModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> list[np.ndarray]:
    """The unit vector [D] of each text; what is beyond the longest text is left out."""
    tokens = caption_tokens(tokenizer, texts, model.config.text.max_tokens)
    device = next(model.text_head.parameters()).device
    found: list[np.ndarray] = [np.empty(0)] * len(texts)
    order = sorted(range(len(tokens)), key=lambda place: -len(tokens[place]))
    for start in range(0, len(order), TEXTS_AT_ONCE):
        places = order[start : start + TEXTS_AT_ONCE]
        ids, mask = _padded([tokens[place] for place in places], tokenizer.pad_token_id)
        vectors = model.encode_text(ids.to(device), mask.to(device))
        for place, vector in zip(places, vectors.float().cpu().numpy(), strict=True):
            found[place] = vector
    return found


def _padded(tokens: Sequence[np.ndarray], padding: int) -> tuple[Tensor, Tensor]:
    rows = [torch.from_numpy(ids) for ids in tokens]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
    lengths = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


@torch.inference_mode()
def chunk_vectors(model: ClapModel, states: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The unit vectors [chunks, D] of recordings by their states [chunks, H] (see pool_codes)."""
    if not states:
        return []
    like = next(model.audio_head.parameters())
    rows = torch.from_numpy(np.concatenate(states)).to(like.device, like.dtype)
    vectors = model.audio_head(rows).float().cpu().numpy()
    return np.split(vectors, np.cumsum([len(own) for own in states])[:-1])


def recording_vector(vectors: np.ndarray) -> np.ndarray:
    """The unit vector [D] along the mean of those of a recording's chunks."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
