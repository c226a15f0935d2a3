"""The tokenizer of the text tower, in XLM-R's form: trained, loaded, saved and applied."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from clamp3.errors import CheckpointError, ConfigError, DataError
from clamp3.files import write_json, write_text

log = logging.getLogger(__name__)
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # their ids are 0, 1, 2, 3
MASK_TOKEN = "<mask>"  # the last id  # noqa: S105 - no password
SEPARATOR = "</s>"  # between the lines of a text; the tokenizer reads it as one token
NO_LIMIT = 10**30  # tokens; long texts are cut into windows or cropped elsewhere
ROLES = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": MASK_TOKEN,
}


def join_lines(text: str) -> str:
    """The distinct, non-empty lines of `text` in their order, joined by `</s>`.

    Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py
    Differs: the order is that of the text, because the originals' changes from run to run.
    """
    return SEPARATOR.join(dict.fromkeys(line for line in text.split("\n") if line))


def without_surrogates(text: str) -> str:
    """The text with `?` for halves of characters, which no tokenizer takes.

    Such are bytes of a command line that are no UTF-8, and emojis that were cut in two.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def encode_texts(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> list[list[int]]:
    """The token ids of each text, `<s> … </s>`, its lines joined; nothing is cut.

    An empty text is `<s> </s>`.

    Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py
    """
    joined = [without_surrogates(join_lines(text)) for text in texts]
    if not joined:
        return []
    return tokenizer(joined, padding=False, truncation=False)["input_ids"]


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A new tokenizer in XLM-R's form with at most `vocabulary_size` tokens.

    The same texts in the same order give the same tokenizer, byte for byte. Texts with little
    variety give fewer tokens than asked for; the rarest characters become `<unk>` where there are
    more characters than tokens.

    Raises DataError where the texts hold nothing to learn from, ConfigError where
    `vocabulary_size` leaves no room beside the special tokens.

    Differs: pieces are found by byte-pair merges, because the library's unigram trainer gives
    other pieces at every run.
    """
    room = vocabulary_size - len(SPECIAL_TOKENS) - 1
    if room < 1:
        raise ConfigError(
            f"vocabulary_size {vocabulary_size}: five tokens are special, expected at least 6"
        )
    backend, texts = _empty_backend(), list(texts)
    alphabet = _common_characters(backend, texts, room)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - 1,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    if backend.get_vocab_size() == len(SPECIAL_TOKENS):
        raise DataError("no text to train a tokenizer on: all texts are empty")
    backend.add_special_tokens([AddedToken(MASK_TOKEN, lstrip=True, special=True)])
    return _wrap(backend)


def _common_characters(backend: Tokenizer, texts: list[str], count: int) -> list[str]:
    """The most frequent characters; the library would choose among equals by chance."""
    found: Counter[str] = Counter()
    for text in filter(None, map(backend.normalizer.normalize_str, texts)):
        found.update(f" {text}".replace(" ", "▁"))
    return sorted(found, key=lambda character: (-found[character], character))[:count]


def _empty_backend() -> Tokenizer:
    backend = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 - no password
    # What XLM-R's own table of characters does, up to rare symbols.
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Strip(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return backend


def _wrap(backend: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=NO_LIMIT,
        clean_up_tokenization_spaces=False,
        **ROLES,
    )


def tokenizer_json(tokenizer: PreTrainedTokenizerFast) -> str:
    """The tokenizer as the text of a tokenizer.json, whatever it was used for before."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()  # a call with padding or truncation leaves its settings behind
    backend.no_truncation()
    return backend.to_str(pretty=True) + "\n"


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, as transformers reads them, into `folder`."""
    write_text(Path(folder) / "tokenizer.json", tokenizer_json(tokenizer))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": NO_LIMIT}
    write_json(Path(folder) / "tokenizer_config.json", settings | ROLES)


def check_tokenizer(tokenizer: PreTrainedTokenizerFast, vocabulary_size: int, where: str) -> None:
    """Raise CheckpointError for a tokenizer that would feed the text model nonsense.

    That is one with ids that the model does not know, one that knows no words, or one that reads
    `</s>` between two lines as letters. One that knows fewer tokens than the model is logged.
    """
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocabulary_size:
        raise CheckpointError(
            f"{where}: the tokenizer has the id {largest}, the text model {vocabulary_size} "
            "tokens; expected the tokenizer of that model"
        )
    if largest + 1 < vocabulary_size:  # of the published models, none
        log.warning(
            "%s: the tokenizer knows %d tokens, the text model %d: is it another model's?",
            where,
            largest + 1,
            vocabulary_size,
        )
    ids = encode_texts(tokenizer, ["a calm waltz\nin C major"])[0]
    inside = ids[1:-1]
    if (ids[:1], ids[-1:]) != ([0], [2]) or 2 not in inside:
        raise CheckpointError(
            f"{where}: a text of two lines becomes {ids}; expected <s> (0) … </s> (2) … </s> (2), "
            "as XLM-R's tokenizer gives"
        )
    if all(token in (2, 3) for token in inside):
        raise CheckpointError(
            f"{where}: the tokenizer knows none of the words in a plain English text, only <unk>; "
            "is its vocabulary empty, or another model's?"
        )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder with a tokenizer.json, ours or a published XLM-R's.

    Raises CheckpointError where the file is missing, unreadable or not in XLM-R's form.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a tokenizer in the fast format")
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"{path}: not a tokenizer ({error})") from error
    ids = {token: backend.token_to_id(token) for token in SPECIAL_TOKENS}
    if list(ids.values()) != list(range(len(SPECIAL_TOKENS))):
        raise CheckpointError(f"{path}: special tokens are {ids}; expected 0, 1, 2, 3, as in XLM-R")
    return _wrap(backend)
