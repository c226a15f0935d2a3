"""The text tower: XLM-R, of any size."""

from pathlib import Path

import torch
from pydantic import PositiveFloat, PositiveInt
from transformers import XLMRobertaConfig, XLMRobertaModel

from clamp3.config import Layers, Length, Section, TextArchitecture, check
from clamp3.errors import CheckpointError, ConfigError
from clamp3.models.weights import DAMAGED, fault_of

BOS_ID = 0
PAD_ID = 1  # positions count from PAD_ID + 1
EOS_ID = 2


class TextTowerConfig(Section):
    """Sizes of an XLM-R under their names in transformers, and the longest text in tokens."""

    vocab_size: PositiveInt
    hidden_size: PositiveInt
    num_hidden_layers: Layers
    num_attention_heads: PositiveInt
    intermediate_size: PositiveInt
    max_position_embeddings: Length
    type_vocab_size: PositiveInt = 1
    layer_norm_eps: PositiveFloat = 1e-5
    hidden_act: str = "gelu"
    max_tokens: Length

    def transformer(self) -> XLMRobertaConfig:
        """The configuration for transformers.

        Raises ConfigError where the sizes do not fit each other.
        """
        positions = self.max_position_embeddings - PAD_ID - 1
        if self.max_tokens > positions:
            raise ConfigError(
                f"max_tokens {self.max_tokens}: the text model has positions for {positions} tokens"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"text hidden_size {self.hidden_size}: {self.num_attention_heads} attention heads "
                "cannot share it evenly"
            )
        if self.vocab_size <= EOS_ID:
            raise ConfigError(
                f"vocab_size {self.vocab_size}: the ids up to {EOS_ID} are special tokens"
            )
        sizes = self.model_dump(exclude={"max_tokens"})
        return XLMRobertaConfig(
            **sizes, pad_token_id=PAD_ID, bos_token_id=BOS_ID, eos_token_id=EOS_ID
        )


def text_encoder(config: TextTowerConfig) -> XLMRobertaModel:
    """A new XLM-R; random values come from torch's global generator.

    The pooler is never used (it is there because the published checkpoints hold it) and gets no
    gradient.
    """
    model = XLMRobertaModel(config.transformer())
    model.pooler.requires_grad_(False)
    return model


def new_text_config(settings: TextArchitecture, vocabulary_size: int) -> TextTowerConfig:
    """The sizes of a small text tower that is trained from nothing."""
    return TextTowerConfig(
        vocab_size=vocabulary_size,
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.hidden_size * 4,
        max_position_embeddings=settings.max_tokens + PAD_ID + 1,
        max_tokens=settings.max_tokens,
    )


def read_pretrained(source: str, max_tokens: int) -> tuple[TextTowerConfig, XLMRobertaModel]:
    """The sizes and the weights of an XLM-R checkpoint: a folder or a name on the hub.

    Weights are fp32. Where the checkpoint holds no pooler, one is made from torch's global
    generator. Raises CheckpointError where there is no such checkpoint or it is no XLM-R.
    """
    try:
        settings = XLMRobertaConfig.get_config_dict(source)[0]
    except OSError as error:
        raise CheckpointError(f"{source}: no text model there ({error})") from error
    if settings.get("model_type") != "xlm-roberta":
        found = settings.get("model_type", "nothing")
        raise CheckpointError(f"{source}: model_type is {found}, expected xlm-roberta")
    sizes = XLMRobertaConfig(**settings).to_dict()
    names = TextTowerConfig.model_fields.keys() - {"max_tokens"}
    config = check(
        TextTowerConfig, {**{n: sizes[n] for n in sorted(names)}, "max_tokens": max_tokens}, source
    )
    return config, _load_weights(source, config)


def _load_weights(source: str, config: TextTowerConfig) -> XLMRobertaModel:
    try:
        model, report = XLMRobertaModel.from_pretrained(
            Path(source) if Path(source).is_dir() else source,
            config=config.transformer(),
            dtype=torch.float32,
            output_loading_info=True,
        )
    except DAMAGED as error:
        fault = fault_of(Path(source), error)
        raise CheckpointError(f"{source}: its weights cannot be read ({fault})") from error
    missing = sorted(n for n in report["missing_keys"] if not n.startswith("pooler."))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"{source} lacks the tensor {missing[0]}{more}")
    model.pooler.requires_grad_(False)
    return model
