"""Images described in words, so that the text tower can embed them."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil
from transformers.utils import logging

from clamp3.errors import CheckpointError
from clamp3.files import sha256_of
from clamp3.models.weight_files import WEIGHTS, model_folder, read_settings
from clamp3.models.weights import DAMAGED, fault_of

SETTINGS = ("config.json", "preprocessor_config.json", "tokenizer_config.json")
VOCABULARY = ("tokenizer.json", "vocab.txt")  # one of them suffices
BATCH = 8  # images described at once
MOST_TOKENS = 20  # of a description, as by the originals
# Tied or computed: no file need hold them.
DERIVED = ("position_ids", "predictions.decoder.")


class Captioner:
    """A BLIP that says in a few words what an image shows: the likeliest word after word.

    Source: sanderwood/clamp3@6810466 inference/image_captioning.py
    Differs: images are described in batches, by the same words.
    """

    def __init__(self, folder: Path, device: str):
        self._device = device
        self._processor = _processor(folder)
        self._tokenizer = _tokenizer(folder)
        self._model = _model(folder).to(device)

    @classmethod
    def load(cls, source: str | Path, device: str | None = None) -> "Captioner":
        """The captioner of a folder or of a name on the hub, float32.

        `device`: None takes a GPU where there is one. No code of the folder is run.

        Raises CheckpointError where it is no BLIP, incomplete or damaged.
        """
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(captioner_folder(source), chosen)

    @torch.inference_mode()
    def describe(self, images: Sequence[np.ndarray]) -> list[str]:
        """A description of each image, uint8 [height, width, 3]; it may be empty."""
        found = []
        for first in range(0, len(images), BATCH):
            batch = list(images[first : first + BATCH])
            inputs = self._processor(
                images=batch, return_tensors="pt", input_data_format="channels_last"
            )
            tokens = self._model.generate(
                pixel_values=inputs["pixel_values"].to(self._device),
                max_length=MOST_TOKENS,
                num_beams=1,
                do_sample=False,
            )
            # The first one begins every description.
            found += self._tokenizer.batch_decode(tokens[:, 1:], skip_special_tokens=True)
        return [text.strip() for text in found]


def captioner_folder(source: str | Path) -> Path:
    """Where the files lie: `source`, or what the hub has of `owner/name`.

    Pickled weights are fetched only where there are no safetensors. Raises CheckpointError where
    the hub has no such model or cannot be reached.
    """
    return model_folder(source, (*SETTINGS, *VOCABULARY))


def captioner_hash(source: str | Path) -> str:
    """What tells one captioner from another: the hash of its files. Raises CheckpointError."""
    folder = captioner_folder(source)
    names = (_weights_name(folder), *SETTINGS, *VOCABULARY)
    hashes = [f"{name} {sha256_of(folder / name)}" for name in names if (folder / name).is_file()]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _weights_name(folder: Path) -> str:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return name
    raise CheckpointError(
        f"{folder}: holds neither {' nor '.join(WEIGHTS)}; expected the folder of a BLIP captioner"
    )


def _processor(folder: Path) -> BlipImageProcessorPil:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected the folder of a BLIP captioner")
    try:
        return BlipImageProcessorPil.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def _tokenizer(folder: Path) -> BertTokenizer:
    if not any((folder / name).is_file() for name in VOCABULARY):
        raise CheckpointError(f"{folder}: holds neither {' nor '.join(VOCABULARY)}")
    try:
        return BertTokenizer.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({error})") from error


def _model(folder: Path) -> BlipForConditionalGeneration:
    kind = read_settings(folder, expected="the folder of a BLIP captioner").get("model_type")
    if kind != "blip":
        raise CheckpointError(f"{folder}/config.json: model_type is {kind}, expected blip")
    name = _weights_name(folder)
    try:
        with _no_progress_bar():
            model, report = BlipForConditionalGeneration.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=name.endswith(".safetensors"),
                output_loading_info=True,
            )
    except DAMAGED as error:
        fault = fault_of(folder / name, error)
        raise CheckpointError(f"{folder / name}: cannot be read ({fault})") from error
    missing = sorted(n for n in report["missing_keys"] if not any(part in n for part in DERIVED))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"{folder / name}: lacks the tensor {missing[0]}{more}")
    return model.eval()


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading is quick; and a bar leaves a lock behind in a process that is ended."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
