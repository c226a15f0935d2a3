"""Tuning a text model on captions: tokens are hidden and to be found again."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, XLMRobertaForMaskedLM

from clamp3.config import ClapTextConfig, MaskedTextConfig
from clamp3.data.captions import caption_of
from clamp3.data.pairs import look_through
from clamp3.errors import ConfigError, DataError
from clamp3.files import atomic_path, write_json
from clamp3.models.clap_musicgen.model import caption_tokens
from clamp3.models.clap_musicgen.pretrained import load_text, load_text_tokenizer
from clamp3.models.text import BOS_ID, EOS_ID, PAD_ID, TextTowerConfig, new_text_config
from clamp3.models.tokenizer import save_tokenizer, train_tokenizer
from clamp3.models.weight_files import WeightFiles, model_folder
from clamp3.models.weights import tensors_hash, write_tensors
from clamp3.randomness import generator, stable_hash
from clamp3.training.batches import Movable, bucketed_batches, even_batches, pad
from clamp3.training.loop import History, train
from clamp3.training.resume import digest

log = logging.getLogger(__name__)
SHARES = (0.8, 0.9)  # of the hidden tokens: masks up to the first, other tokens up to the second
IGNORED = -100  # the label of a token that need not be found
TIED = ("lm_head.decoder.weight", "lm_head.decoder.bias")  # the same tensors under other names


def train_masked_text(
    *,
    manifests: Sequence[Path],
    validation: Sequence[Path],
    out: Path,
    metrics: Path,
    resume: Path,
    settings: ClapTextConfig,
    seed: int,
) -> None:
    """Tune the text model of `settings` on the captions of the manifests; save it to `out`.

    The model is `settings.text.pretrained`, or a new one with a tokenizer trained on the captions.
    The folder `out` is in RoBERTa's layout, as transformers and `load_text` read it. Each caption
    counts once. See `loop.train` on `metrics` and `resume`.

    Raises DataError when no piece has a caption, ConfigError without `settings.masked_text`.
    """
    if settings.masked_text is None:
        raise ConfigError("masked_text is null: there is nothing to tune the text model by")
    captions = read_captions(manifests, settings.captions)
    torch.manual_seed(stable_hash(seed, "clap_mlm", "weights"))
    sizes, model, words = _begin(settings, captions)
    task = MaskedTextTask(model, words, sizes, settings.masked_text, captions, seed)
    task.validate_on(read_captions(validation, settings.captions) if validation else [])
    log.info("%s: %d captions, %d for validation", task.name, len(captions), len(task.heard))

    def save(history: History) -> None:
        notes = history.summary() | {"seed": seed}
        save_masked_text(model, words, sizes, out, notes)

    training = settings.masked_text.training
    train(task, training, metrics=metrics, resume=resume, seed=seed, save=save)


def read_captions(manifests: Sequence[Path], keys: Sequence[str]) -> list[str]:
    """The different captions of the manifests, sorted. Raises DataError where there is none."""
    _, told = look_through(manifests, (), lambda pair: caption_of(pair.texts, keys))
    found = set(told) - {""}
    if not found:
        raise DataError(
            f"{', '.join(map(str, manifests))}: no line has text under {', '.join(keys)}"
        )
    return sorted(found)


def _begin(
    settings: ClapTextConfig, captions: list[str]
) -> tuple[TextTowerConfig, XLMRobertaForMaskedLM, PreTrainedTokenizerFast]:
    source, text = settings.text.pretrained, settings.text
    if source is None:
        words = train_tokenizer(captions, text.vocabulary_size)
        sizes = new_text_config(text, len(words))
        return sizes, XLMRobertaForMaskedLM(sizes.transformer()), words
    sizes, encoder = load_text(source, text.max_tokens)
    model = XLMRobertaForMaskedLM(sizes.transformer())
    model.roberta.load_state_dict(encoder.state_dict())
    files = WeightFiles(model_folder(source))
    if "lm_head.dense.weight" in files.names:  # else the head begins anew
        state = {name: tuple(tensor.shape) for name, tensor in _untied(model).items()}
        head = {name: shape for name, shape in state.items() if name.startswith("lm_head.")}
        model.load_state_dict(files.part(head, ("",), "a masked language model"), strict=False)
    return sizes, model, load_text_tokenizer(source)


def _untied(model: XLMRobertaForMaskedLM) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if name not in TIED}


def save_masked_text(
    model: XLMRobertaForMaskedLM,
    tokenizer: PreTrainedTokenizerFast,
    sizes: TextTowerConfig,
    folder: Path,
    notes: dict,
) -> None:
    """Write the model and its tokenizer in RoBERTa's layout, complete or not at all."""
    state = {name: t.detach().cpu().contiguous() for name, t in _untied(model).items()}
    settings = {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]}
    settings |= sizes.model_dump(mode="json", exclude={"max_tokens"})
    settings |= {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
    with atomic_path(folder) as draft:
        draft.mkdir()
        save_tokenizer(tokenizer, draft)
        write_tensors(state, draft / "model.safetensors")
        write_json(draft / "config.json", settings | {"notes": notes})


@dataclass
class MaskedBatch(Movable):
    """What is seen [B, T], its mask, and the tokens to find [B, T], IGNORED elsewhere."""

    ids: list[str]
    inputs: Tensor
    mask: Tensor
    labels: Tensor


class MaskedTextTask:
    """Masked language modelling on captions, as the training loop wants it."""

    name = "clap_mlm"

    def __init__(
        self,
        model: XLMRobertaForMaskedLM,
        tokenizer: PreTrainedTokenizerFast,
        sizes: TextTowerConfig,
        settings: MaskedTextConfig,
        captions: list[str],
        seed: int,
    ):
        self.model, self.tokenizer, self.sizes = model, tokenizer, sizes
        self.settings, self.seed = settings, seed
        self.start = tensors_hash(dict(model.state_dict()))
        self.captions, self.tokens = captions, caption_tokens(tokenizer, captions, sizes.max_tokens)
        self.validate_on([])

    def validate_on(self, captions: list[str]) -> None:
        """Evaluate on these captions from now on."""
        self.heard = captions
        self.heard_tokens = caption_tokens(self.tokenizer, captions, self.sizes.max_tokens)
        words = self.tokenizer.backend_tokenizer.to_str()
        share = self.settings.mask_share
        self.inputs = digest(self.start, words, share, self.captions, captions)

    def deal(self, epoch: int) -> list[list[int]]:
        """The captions of each batch: like lengths together."""
        rng = generator(self.seed, self.name, "deal", epoch)
        lengths = [len(tokens) for tokens in self.tokens]
        return bucketed_batches(lengths, self.settings.training.batch_size, rng)

    def collate(self, epoch: int, members: list[int]) -> MaskedBatch:
        """Captions masked as a generator of seed, epoch and caption decides."""
        chosen = [(self.captions[member], self.tokens[member]) for member in members]
        return self._batch(chosen, epoch)

    def loss(self, batch: MaskedBatch) -> Tensor:
        """The cross-entropy per hidden token."""
        return functional.cross_entropy(self._scores(batch), batch.labels[batch.labels != IGNORED])

    def terms(self, batch: MaskedBatch) -> int:
        """How many tokens are hidden."""
        return int((batch.labels != IGNORED).sum())

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Loss and accuracy on the hidden tokens of the validation captions, always the same."""
        total = right = count = 0
        pairs = list(zip(self.heard, self.heard_tokens, strict=True))
        for places in even_batches(len(pairs), self.settings.training.batch_size):
            batch = self._batch([pairs[place] for place in places], None).to(device)
            scores, wanted = self._scores(batch), batch.labels[batch.labels != IGNORED]
            total += functional.cross_entropy(scores, wanted, reduction="sum").item()
            right += int((scores.argmax(dim=1) == wanted).sum())
            count += len(wanted)
        return {"loss": total / count, "accuracy": right / count} if count else {}

    def _scores(self, batch: MaskedBatch) -> Tensor:
        """The scores [hidden tokens, V]; others are not computed."""
        hidden = self.model.roberta(input_ids=batch.inputs, attention_mask=batch.mask)
        return self.model.lm_head(hidden.last_hidden_state[batch.labels != IGNORED]).float()

    def _batch(self, captions: list[tuple[str, np.ndarray]], epoch: int | None) -> MaskedBatch:
        when = "validation" if epoch is None else epoch
        masked = [
            mask_tokens(
                tokens,
                self.settings.mask_share,
                generator(self.seed, self.name, when, caption),
                self.tokenizer.mask_token_id,
                self.sizes.vocab_size,
            )
            for caption, tokens in captions
        ]
        inputs, mask = pad([seen for seen, _ in masked], PAD_ID)
        labels, _ = pad([wanted for _, wanted in masked], IGNORED)
        return MaskedBatch([caption for caption, _ in captions], inputs, mask, labels)


def mask_tokens(
    tokens: np.ndarray, share: float, rng: np.random.Generator, mask_id: int, vocabulary: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the model sees of tokens [T], and the labels [T]: hidden tokens, IGNORED elsewhere.

    Each token but the first and the last (`<s>`, `</s>`) is hidden with chance `share`; if none is,
    one is. Of the hidden ones 80 % become the mask, 10 % any token, 10 % stay.

    Source: BERT (arXiv 1810.04805, section 3.1)
    Differs: at least one token is hidden, for captions are short.
    """
    inner = np.arange(1, len(tokens) - 1)
    hidden = inner[rng.random(len(inner)) < share]
    if not len(hidden) and len(inner):
        hidden = inner[[rng.integers(len(inner))]]
    seen, labels = tokens.copy(), np.full_like(tokens, IGNORED)
    labels[hidden] = tokens[hidden]
    fate = rng.random(len(hidden))
    seen[hidden[fate < SHARES[0]]] = mask_id
    others = hidden[(fate >= SHARES[0]) & (fate < SHARES[1])]
    seen[others] = rng.integers(vocabulary, size=len(others))
    return seen, labels
