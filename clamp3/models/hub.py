"""Models on the Hugging Face hub: which of their files are fetched, and what to say when none is.

Files that were fetched once are taken from huggingface_hub's cache; with HF_HUB_OFFLINE=1 nothing
but the cache is asked.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from clamp3.errors import CheckpointError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def is_hub_name(source: str | Path) -> bool:
    """Whether `source` is `owner/name` and no file or folder here."""
    return bool(_NAME.fullmatch(str(source))) and not Path(source).exists()


def resolve(source: str | Path, towers: Sequence[str] | None = None) -> Path:
    """The folder of a model: `source` itself, or where the hub's files of that name now lie.

    `towers`: the parts to fetch (None: all; none: config.json alone). A model's parts are files of
    their own, so a text-only load fetches neither the symbolic nor the audio tower.

    Raises CheckpointError where the hub has no such model or cannot be reached.
    """
    if not is_hub_name(source):
        return Path(source)
    if towers is None:
        return fetch(str(source), ["config.json", "*.safetensors", *_TOKENIZER])
    patterns = ["config.json", *(f"{tower}.safetensors" for tower in towers)]
    return fetch(str(source), [*patterns, *(_TOKENIZER if "text" in towers else ())])


def fetch(
    name: str, patterns: Sequence[str], *, instead: str = "give the folder of a copy"
) -> Path:
    """The folder of the hub's files of `owner/name` that match the patterns.

    `instead`: what the user can do where the hub cannot be reached, for the message.

    Raises CheckpointError as `resolve` does.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name}: neither a folder here nor a model on the hub (or one that is not public: "
            "log in with `hf auth login`)"
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{name}: no folder here, the hub cannot be reached, and the files were never fetched; "
            f"go online once, or {instead}"
        ) from error
    except (*HfHubHTTPError.__bases__, OSError, ValueError) as error:  # of HTTP, files, names
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{name}: cannot be fetched from the hub ({reason})") from error
