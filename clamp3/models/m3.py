"""M3, masked music modelling: an encoder of patches and a decoder of their characters."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from clamp3.config import M3Architecture
from clamp3.models.encoders import attention_heads, bert_encoder

CHARACTERS = 128  # ASCII
PAD = 0  # fills a patch behind its last character
BUCKET_WIDTH = 8  # characters; finer buckets pad less but start more kernels


class PatchEmbedding(nn.Module):
    """One vector per patch: the sum of one vector for each character at each place.

    `weight` [D, C * 128] and `bias` are those of a linear layer over one-hot characters; the sum is
    the same number without the one-hot matrix. PAD is a character like any other here: the sum
    always has C terms.
    """

    def __init__(self, patch_size: int, hidden_size: int):
        super().__init__()
        self.patch_size = patch_size
        # Stored as [C * 128, D] in memory, so that the rows to sum are contiguous.
        self.weight = nn.Parameter(torch.empty(patch_size * CHARACTERS, hidden_size).t())
        self.bias = nn.Parameter(torch.empty(hidden_size))
        nn.init.normal_(self.weight, std=0.02)
        bound = (patch_size * CHARACTERS) ** -0.5
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """The embeddings [B, P, D] of integer patches [B, P, C], each value below 128."""
        if patches.shape[-1] != self.patch_size:
            raise ValueError(
                f"patches of {patches.shape[-1]} characters: expected {self.patch_size}"
            )
        if patches.device.type == "cpu" and patches.numel() and patches.max() >= CHARACTERS:
            raise ValueError(f"character {int(patches.max())} in a patch: expected below 128")
        places = torch.arange(self.patch_size, dtype=torch.int32, device=patches.device)
        rows = patches.reshape(-1, self.patch_size).int() + places * CHARACTERS
        vectors = functional.embedding_bag(rows, self.weight.t(), mode="sum") + self.bias
        return vectors.reshape(*patches.shape[:-1], len(self.bias))

    def arrange(self) -> None:
        """Bring the weight into the memory layout of a new model after values were assigned."""
        self.weight.data = self.weight.data.t().contiguous().t()


class PatchEncoder(nn.Module):
    """The symbolic tower: a BERT over patch embeddings.

    Source: sanderwood/clamp3@9016d2b code/utils.py
    """

    def __init__(self, architecture: M3Architecture):
        super().__init__()
        self.architecture = architecture
        size = architecture.hidden_size
        self.patch_embedding = PatchEmbedding(architecture.patch_size, size)
        self.base = bert_encoder(size, architecture.encoder_layers, architecture.patch_length)

    def forward(self, patches: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The hidden states [B, P, D] of patches [B, P, C]; `mask` [B, P] is 0 at padding."""
        vectors = self.patch_embedding(patches)
        return self.base(inputs_embeds=vectors, attention_mask=mask).last_hidden_state


class PatchDecoder(nn.Module):
    """A GPT-2 that writes the characters of one patch from the patch's hidden state.

    Source: sanderwood/clamp3@9016d2b code/utils.py
    """

    def __init__(self, architecture: M3Architecture):
        super().__init__()
        self.base = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=CHARACTERS,
                n_positions=architecture.patch_size,
                n_embd=architecture.hidden_size,
                n_layer=architecture.decoder_layers,
                n_head=attention_heads(architecture.hidden_size),
                activation_function="gelu_pytorch_tanh",  # gelu_new in one kernel
                bos_token_id=1,
                eos_token_id=2,
                use_cache=False,
            )
        )

    def forward(self, features: torch.Tensor, characters: torch.Tensor) -> torch.Tensor:
        """The logits [N, C, 128] of the character after each place of `characters` [N, C].

        `features` [N, D] are hidden states of the encoder; they stand in the place of the first
        character, which is therefore neither read nor predicted.
        """
        embedded = self.base.transformer.wte(characters[:, 1:].long())
        inputs = torch.cat([features.unsqueeze(1).to(embedded.dtype), embedded], dim=1)
        return self.base(inputs_embeds=inputs).logits

    def loss(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean cross-entropy of the characters of `targets` [N, C], behind the first of each.

        Patches of like length are computed together and cut there, so next to nothing is computed
        on padding; the number is the one of a single batch. No targets give 0.
        """
        total = features.sum() * 0.0
        for rows, width in length_buckets(targets):
            logits = self(features[rows], targets[rows, :width])[:, :-1].float()
            labels = targets[rows, 1:width].long()
            total = total + functional.cross_entropy(
                logits.transpose(1, 2), labels, ignore_index=PAD, reduction="sum"
            )
        return total / (targets[:, 1:] != PAD).sum().clamp(min=1)

    def tie(self) -> None:
        """Make the output layer share the character embedding again after values were assigned."""
        self.base.lm_head.weight = self.base.transformer.wte.weight


def length_buckets(targets: torch.Tensor) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield (rows, width): the patches of `targets` [N, C] that end within `width` characters.

    Widths grow by 8; rows keep their order. Patches without a character behind the first are left
    out, since they have nothing to predict.
    """
    places = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    lengths = ((targets != PAD) * places).amax(dim=1) if len(targets) else places[:0]
    buckets = torch.where(lengths > 1, (lengths - 1) // BUCKET_WIDTH, -1)
    for bucket in torch.unique(buckets).tolist():
        if bucket >= 0:
            width = min((bucket + 1) * BUCKET_WIDTH, targets.shape[1])
            yield (buckets == bucket).nonzero().squeeze(1), width


class M3Model(nn.Module):
    """The encoder and the decoder of masked music modelling.

    New weights come from torch's global generator: seed it for the same model twice.

    Source: sanderwood/clamp3@9016d2b code/utils.py
    """

    def __init__(self, architecture: M3Architecture):
        super().__init__()
        self.architecture = architecture
        self.encoder = PatchEncoder(architecture)
        self.decoder = PatchDecoder(architecture)

    def loss(
        self,
        target_patches: torch.Tensor,
        input_patches: torch.Tensor,
        mask: torch.Tensor,
        selected: torch.Tensor,
    ) -> torch.Tensor:
        """The mean cross-entropy per character of the selected target patches (a scalar).

        `input_patches` [B, P, C] is what the encoder sees (masked, shuffled or as it was),
        `target_patches` [B, P, C] what the decoder must write where `selected` [B, P] is true;
        `mask` [B, P] is 0 at padding.
        """
        hidden = self.encoder(input_patches, mask)
        chosen = selected.bool()
        return self.decoder.loss(hidden[chosen], target_patches[chosen])
