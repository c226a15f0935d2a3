"""The settings and tensors of a transformers folder, whatever files they lie in."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from clamp3.errors import CheckpointError
from clamp3.files import parse_json
from clamp3.models.hub import fetch, is_hub_name
from clamp3.models.weights import Tensors, check_tensors, opened, refuse_changed, unpickled

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # each may be cut, with an .index.json
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")
# Weight norm as torch stored it before 2.0.
OLD_NAMES = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}


def model_folder(
    source: str | Path, others: Sequence[str] = ("config.json", *TOKENIZER_FILES)
) -> Path:
    """Where a model's files lie: `source`, or what the hub has of `owner/name`.

    `others`: what is fetched besides weights. Pickled weights are fetched only where there are no
    safetensors. Raises CheckpointError where the hub has no such model or cannot be reached.
    """
    if not is_hub_name(source):
        return Path(source)
    for name in WEIGHTS:
        stem, suffix = name.split(".")
        pattern = f"{stem}*.{suffix}"
        folder = fetch(str(source), [*others, pattern, f"{pattern}.index.json"])
        if any(folder.glob(pattern)):
            break
    return folder


def read_settings(folder: Path, *, expected: str = "the folder of a model") -> dict:
    """What config.json says. Raises CheckpointError where there is none; it was `expected`."""
    path = Path(folder) / "config.json"
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{path}: no such file; expected {expected}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: {type(values).__name__}, expected a JSON object")
    return values


class WeightFiles:
    """The tensors of a folder by name; only those that are asked for are read.

    `file_of`: the file of each, `held`: all names with those of their files; `listed`: the names of
    files by tensor that an index gives, if any.
    Raises CheckpointError where there are none or a file is damaged.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.file_of: dict[str, Path] = {}
        self.held: set[tuple[str, str]] = set()
        self.listed: dict[str, str] | None = None
        self._pickled: dict[Path, Tensors] = {}
        for path in self._paths():
            names = self._names(path)
            self.file_of |= dict.fromkeys(names, path)
            self.held |= {(name, path.name) for name in names}

    @property
    def names(self) -> Iterable[str]:
        """The names of all tensors."""
        return self.file_of.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(self.read([name])[name].shape)

    def part(
        self,
        shapes: dict[str, tuple[int, ...]],
        prefixes: Iterable[str],
        what: str,
        *,
        whole: bool = False,
    ) -> Tensors:
        """The float32 tensors of a part of the model under the names of `shapes`.

        The part begins with one of the `prefixes`: the first under which all names are there, else
        the one with most. Raises CheckpointError where a tensor is missing, has another shape or is
        not finite, or is not of the part, if that is the `whole`; `what` it is, for the message.
        """
        found = [{name: self._find(prefix, name) for name in shapes} for prefix in prefixes]
        best = max(
            found, key=lambda names: sum(stored in self.file_of for stored in names.values())
        )
        there = {own: stored for own, stored in best.items() if stored in self.file_of}
        if whole:
            there |= {name: name for name in self.file_of.keys() - set(there.values())}
        read = self.read(there.values())
        tensors = {own: read[stored].float() for own, stored in there.items()}
        places = {*self.file_of.values()}
        place = places.pop() if len(places) == 1 else self.folder
        check_tensors(tensors, shapes, f"{place} (as {what})")
        return tensors

    def _find(self, prefix: str, name: str) -> str:
        stored = prefix + name
        for new, old in OLD_NAMES.items():
            if stored.endswith(new) and stored not in self.file_of:
                return stored.removesuffix(new) + old
        return stored

    def _paths(self) -> list[Path]:
        for name in WEIGHTS:
            if (path := self.folder / name).is_file():
                return [path]
            if (index := self.folder / f"{name}.index.json").is_file():
                self.listed = _read_index(index)
                return [self.folder / file for file in sorted(set(self.listed.values()))]
        raise CheckpointError(f"{self.folder}: holds neither {' nor '.join(WEIGHTS)}")

    def _names(self, path: Path) -> list[str]:
        if path.suffix == ".safetensors":
            refuse_changed(path)
            with opened(path) as file:
                return list(file.keys())
        self._pickled[path] = _unpickled(path)
        return list(self._pickled[path])

    def read(self, names: Iterable[str]) -> Tensors:
        """The tensors of these names as they are stored."""
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self.file_of[name], []).append(name)
        read: Tensors = {}
        for path, own in by_file.items():
            if path in self._pickled:
                read |= {name: self._pickled[path][name] for name in own}
                continue
            with opened(path) as file:
                read |= {name: file.get_tensor(name) for name in own}
        return read


def _read_index(index: Path) -> dict[str, str]:
    try:
        listed = parse_json(index.read_text(encoding="utf-8"))["weight_map"]
        if not listed or any(Path(name).name != name for name in listed.values()):
            raise ValueError("weight_map names none, or others than files beside it")
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise CheckpointError(f"{index}: not a readable index of weights ({error})") from error
    return listed


def _unpickled(path: Path) -> Tensors:
    state = unpickled(path)
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, and of nothing else")
    return state
