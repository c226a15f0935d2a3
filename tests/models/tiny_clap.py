"""Tiny MusicGen, RoBERTa and CLAP-MusicGen with random weights, as the published ones lie."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    EncodecModel,
    MusicgenDecoderConfig,
    RobertaConfig,
    RobertaForMaskedLM,
)
from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder

from clamp3.files import write_json
from clamp3.models.clap_musicgen import ClapModelConfig, CodecConfig, DecoderConfig
from clamp3.models.clap_musicgen.codec import Codec, draw_codebooks
from clamp3.models.clap_musicgen.pretrained import write_new_musicgen
from clamp3.models.text import TextTowerConfig
from clamp3.models.tokenizer import save_tokenizer, train_tokenizer

CAPTIONS = ["positive jazzy lofi", "fast house edm", "gangsta rap", "dark metal"]
CODEC = CodecConfig(
    num_filters=4,
    hidden_size=16,
    codebook_size=64,
    codebook_dim=16,
    target_bandwidths=(1.2,),
)
DECODER = DecoderConfig(
    vocab_size=64, hidden_size=64, num_hidden_layers=3, num_attention_heads=1, ffn_dim=48
)
TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 48,
    "max_position_embeddings": 42,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "layer_norm_eps": 1e-5,
}


def tiny_musicgen(folder: Path, seed: int = 1) -> Path:
    write_new_musicgen(folder, CODEC, DECODER, seed=seed)
    return folder


def tokenizer():
    return train_tokenizer(CAPTIONS * 2 + ["a b c d e f g h i j k l m n o p q r s t u v w z"], 90)


def tiny_roberta(folder: Path, seed: int = 2) -> Path:
    """As transformers saves a RobertaForMaskedLM, tokenizer.json beside it."""
    words = tokenizer()
    torch.manual_seed(seed)
    model = RobertaForMaskedLM(RobertaConfig(**TEXT, vocab_size=len(words))).eval()
    state = {n: t for n, t in model.state_dict().items() if "lm_head.decoder" not in n}
    folder.mkdir(parents=True)
    write_json(folder / "config.json", model.config.to_dict())
    save_file({n: t.contiguous() for n, t in state.items()}, folder / "model.safetensors")
    save_tokenizer(words, folder)
    return folder


def tiny_config(words=None) -> ClapModelConfig:
    sizes = {k: v for k, v in TEXT.items() if not k.endswith("_token_id")}
    text = TextTowerConfig(**sizes, vocab_size=len(words or tokenizer()), max_tokens=40)
    return ClapModelConfig(width=24, head_width=12, text=text, audio=DECODER, codec=CODEC)


class OriginalHead(torch.nn.Module):
    """A head with the names that the original's checkpoints have."""

    def __init__(self, width_in, hidden, width_out):
        super().__init__()
        layers = []
        for first, last in ((width_in, hidden), (hidden, hidden)):
            layers += [torch.nn.Linear(first, last), torch.nn.LayerNorm(last), torch.nn.ReLU()]
        self.projection = torch.nn.Sequential(*layers, torch.nn.Linear(hidden, width_out))

    def forward(self, rows):
        rows = self.projection(rows)
        return rows / (rows.norm(dim=-1, keepdim=True) + 1e-6)


class Original:
    """What the original computes, from whole transformers models, one recording at a time."""

    def __init__(self, seed=3):
        torch.manual_seed(seed)
        self.words = tokenizer()
        self.codec = EncodecModel(CODEC.transformer()).eval()
        ours = Codec(CODEC)
        draw_codebooks(ours, np.random.default_rng(seed))
        self.codec.encoder.load_state_dict(ours.encoder.state_dict())
        for layer, own in zip(self.codec.quantizer.layers, ours.quantizer.layers, strict=True):
            layer.codebook.embed = own.codebook.embed
        sizes = DECODER.model_dump() | {"pad_token_id": 64, "bos_token_id": 64}
        self.decoder = MusicgenDecoder(MusicgenDecoderConfig(**sizes)).eval()
        self.audio_head = OriginalHead(64, 12, 24)
        self.text = RobertaForMaskedLM(RobertaConfig(**TEXT, vocab_size=len(self.words))).eval()
        self.text_head = OriginalHead(64, 12, 24)

    @torch.no_grad()
    def audio(self, waveform):
        """[1, width] of [S]: vectors go into the decoder, the last state comes out."""
        codes = self.codec.encode(torch.as_tensor(waveform)[None, None]).audio_codes[0]
        vectors = sum(self.decoder.embed_tokens[k](codes[:, k]) for k in range(codes.shape[1]))
        return self.audio_head(self.decoder(inputs_embeds=vectors).last_hidden_state[:, -1])

    @torch.no_grad()
    def texts(self, captions):
        found = []
        for caption in captions:
            ids = torch.tensor([self.words(caption)["input_ids"]])
            found.append(self.text.roberta(input_ids=ids).last_hidden_state.mean(dim=1))
        return self.text_head(torch.cat(found))

    def state(self):
        """The tensors by the names of its save_pretrained."""
        parts = {
            "audio_encoder.encodec.": self.codec,
            "audio_encoder.transformer.": self.decoder,
            "audio_encoder.projection.": self.audio_head,
            "text_encoder.text_encoder.": self.text.roberta,
            "text_encoder.projection.": self.text_head,
        }
        found = {p + n: t for p, m in parts.items() for n, t in m.state_dict().items()}
        width = TEXT["hidden_size"]
        found["text_encoder.text_encoder.pooler.dense.weight"] = torch.zeros(width, width)
        found["text_encoder.text_encoder.pooler.dense.bias"] = torch.zeros(width)
        found["audio_encoder.transformer.embed_positions.weights"] = torch.zeros(2048, width)
        found |= {"logit_scale_a": torch.tensor(3.0), "logit_scale_t": torch.tensor(3.0)}
        return {name: tensor.contiguous() for name, tensor in found.items()}

    def save(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        save_file(self.state(), folder / "model.safetensors", metadata={"format": "pt"})
        head = {"projection_dim": 24, "hidden_dim": 12}
        names = {"encodec_model_name": "model/encodec"}
        names["musicgen_decoder_model_name"] = "model/musicgen_decoder"
        settings = {
            "architectures": ["CLAPModel"],
            "audio_encoder_config": head | names | {"freeze_musicgen": True},
            "text_encoder_config": head | {"freeze_text_encoder": True},
            "temp_a": 0.05,
            "temp_t": 0.05,
        }
        write_json(folder / "config.json", settings)
        save_tokenizer(self.words, folder)
        return folder


def sounds(count=3, seconds=1.0, seed=0):
    """Chords [S] at 32 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 32_000)) / 32_000
    found = []
    for _ in range(count):
        pitches = 110 * 2 ** rng.uniform(0, 3, 3)
        waves = np.sin(2 * np.pi * pitches[:, None] * time).sum(axis=0)
        found.append((0.1 * waves + 0.01 * rng.normal(size=len(time))).astype(np.float32))
    return found
