"""A BLIP captioner with random weights and a vocabulary of its own, tiny."""

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipTextConfig,
    BlipVisionConfig,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
WORDS = SPECIAL + [f"{letter}{other}" for letter in "bdfgklmnprst" for other in "aeiou"]
SIDE = 32


def tiny_blip(folder: Path) -> Path:
    """The folder, as the published captioner's is laid out."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = BlipTextConfig(
        **sizes,
        vocab_size=len(WORDS),
        encoder_hidden_size=32,
        projection_dim=32,
        max_position_embeddings=32,
        pad_token_id=0,
        bos_token_id=5,
        eos_token_id=2,
        sep_token_id=3,
        initializer_range=0.4,
    )
    vision = BlipVisionConfig(**sizes, image_size=SIDE, patch_size=8, initializer_range=0.4)
    torch.manual_seed(0)
    config = BlipConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=32
    )
    BlipForConditionalGeneration(config).eval().save_pretrained(folder)
    return folder
