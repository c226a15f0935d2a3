"""The transformer that reads patches and frames, and empty models to load weights into."""

from contextlib import AbstractContextManager

from accelerate import init_empty_weights
from transformers import BertConfig, BertModel

from clamp3.errors import ConfigError

HEAD_SIZE = 64  # width of one attention head in the published models


def attention_heads(hidden_size: int) -> int:
    """The number of attention heads: one per 64 of width, at least one.

    Raises ConfigError where the heads cannot share the width evenly.
    """
    heads = max(1, hidden_size // HEAD_SIZE)
    if hidden_size % heads:
        raise ConfigError(
            f"hidden_size {hidden_size}: {heads} attention heads cannot share it evenly; "
            f"expected a multiple of {HEAD_SIZE}"
        )
    return heads


def bert_encoder(hidden_size: int, layers: int, positions: int) -> BertModel:
    """A new BERT over vectors [B, N, hidden_size] of at most `positions` rows.

    Random values come from torch's global generator. The word embedding and the pooler are never
    used (they are there because the published checkpoints hold them) and get no gradient.
    """
    model = BertModel(
        BertConfig(
            vocab_size=1,
            hidden_size=hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=attention_heads(hidden_size),
            intermediate_size=hidden_size * 4,
            max_position_embeddings=positions,
        )
    )
    model.embeddings.word_embeddings.requires_grad_(False)
    model.pooler.requires_grad_(False)
    return model


def empty_weights() -> AbstractContextManager:
    """A context in which modules are built without memory for their parameters.

    Buffers are real. The parameters are to be replaced by `load_state_dict(…, assign=True)`.
    """
    return init_empty_weights(include_buffers=False)
