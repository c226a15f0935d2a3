"""What each output is called, by the names of all inputs alone."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from clamp3.data.file_conversion.forms import TARGETS
from clamp3.formats.modality import FORMAT_BY_SUFFIX

_MAX_NAME_BYTES = 255


def output_names(ids: Iterable[str], target: str) -> dict[str, str]:
    """For each input id the path of its output, no two alike even where case does not count.

    `a.mxl` becomes `a.abc`. Where that would meet another output or a folder, or where the old
    suffix tells no form from which `target` is made, the suffix is added: `a.mxl.abc`; where this
    is not enough, or too long, with eight digits of the id's SHA-256 before it. It depends neither
    on the order nor on what can be converted in the end.
    """
    steps = dict.fromkeys(ids, 0)
    folders = {_key(str(folder)) for name in steps for folder in PurePosixPath(name).parents}
    while True:
        names = {name: _name(PurePosixPath(name), target, step) for name, step in steps.items()}
        taken = Counter(map(_key, names.values()))
        clashing = [
            name
            for name, new in names.items()
            if taken[_key(new)] > 1 or _key(new) in folders or _too_long(new)
        ]
        if not clashing:
            return names
        for name in clashing:
            steps[name] += 1


def _key(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _too_long(name: str) -> bool:
    return len(os.fsencode(PurePosixPath(name).name)) > _MAX_NAME_BYTES


def _name(path: PurePosixPath, target: str, step: int) -> str:
    suffix = TARGETS[target].suffix
    if step == 0 and FORMAT_BY_SUFFIX.get(path.suffix.lower()) in TARGETS[target].sources:
        return str(path.parent / (path.stem + suffix))
    if step < 2:
        return str(path.parent / (path.name + suffix))
    ending = f".{hashlib.sha256(os.fsencode(str(path))).hexdigest()[: 8 * (step - 1)]}{suffix}"
    stem = os.fsencode(path.name)[: _MAX_NAME_BYTES - len(ending)]
    return str(path.parent / (_whole_characters(stem) + ending))


def _whole_characters(name: bytes) -> str:
    """The name without the character that a cut has torn; bytes that are no UTF-8 stay."""
    for cut in range(4):
        try:
            return name[: len(name) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return os.fsdecode(name)
