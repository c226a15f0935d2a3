"""Tensors by name: read, written, checked and hashed."""

import hashlib
import json
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from clamp3.errors import CheckpointError, machine_fault

HASH = "sha256"  # of the tensors, in the metadata of a file that this package wrote
LISTED = 10  # names in an error message; the others are counted

Tensors = dict[str, torch.Tensor]

# What torch, safetensors and transformers raise for a damaged file; for one that is no archive,
# almost anything.
DAMAGED = (pickle.UnpicklingError, EOFError, OSError, RuntimeError, ValueError, struct.error)
DAMAGED += (LookupError, AssertionError, TypeError, AttributeError, SafetensorError)
# What lies in place of a file that was not fetched, by its first bytes.
INSTEAD = {
    b"version https://git-lfs": "a Git LFS pointer in its place: fetch the file by `git lfs pull`",
    b"<": "a web page in its place, perhaps one to log in; fetch the file again",
}
# A loss kept as a numpy number is harmless, but torch refuses it unless it is named.
NUMBERS = [
    np._core.multiarray.scalar,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
]


def fault_of(path: Path, error: Exception) -> str:
    """Why a file of weights could not be read, in a few words."""
    if told := machine_fault(error):
        return told
    with suppress(OSError):
        with open(path, "rb") as file:
            head = file.read(256).lstrip()
        for sign, what in INSTEAD.items():
            if head.startswith(sign):
                return what
        if not head:
            return "it is empty"
    # What torch says of a pickle advises to switch the protection off.
    told = "" if isinstance(error, pickle.UnpicklingError) else str(error).strip()
    reason = re.split(r"\n|\. ", told)[0] or type(error).__name__
    return f"{reason}; was the download cut off?"


def unpickled(path: Path) -> object:
    """What a file of torch.save holds, mapped into memory where it can be.

    Nothing in it is executed. Raises CheckpointError where it is damaged, or holds anything but
    numbers in plain containers.
    """
    archive = zipfile.is_zipfile(path)  # else as torch wrote it before 1.6
    try:
        quiet = warnings.catch_warnings(action="ignore", category=UserWarning)  # of odd pickles
        with torch.serialization.safe_globals(NUMBERS), quiet:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except DAMAGED as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named or (archive and isinstance(error, pickle.UnpicklingError)):
            raise CheckpointError(
                f"{path}: holds something other than numbers, which could be a program; only "
                f"weights are read ({named[1] if named else 'not a plain dictionary'})"
            ) from error
        size = path.stat().st_size
        raise CheckpointError(
            f"{path}: not a readable file of weights, {size} bytes ({fault_of(path, error)})"
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[safe_open]:
    """An open safetensors file. Raises CheckpointError where there is none or it is damaged."""
    try:
        open(path, "rb").close()  # safetensors takes a file that may not be read for none
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        fault = fault_of(path, error)
        raise CheckpointError(f"{path}: not a readable safetensors file ({fault})") from error


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, mapped into memory and read as they are used.

    Raises CheckpointError where there is no such file or it is damaged.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such file; the folder is not complete")
    with opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write_tensors(tensors: Tensors, path: Path) -> None:
    """Write a safetensors file that carries the hash of its tensors; see `refuse_changed`.

    For formats whose description has no place for it. The bytes depend on the tensors alone.
    """
    save_file(tensors, path, metadata={"format": "pt", HASH: tensors_hash(tensors)})
    with open(path, "r+b") as file:  # the library writes its metadata in any order
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        file.seek(8)
        file.write(text.ljust(size))


def refuse_changed(path: Path) -> None:
    """Raise CheckpointError where a file carries the hash of its tensors and holds others.

    Files of other programs carry none.
    """
    with opened(path) as file:
        expected = (file.metadata() or {}).get(HASH)
    if expected and tensors_hash(read_tensors(path)) != expected:
        raise CheckpointError(f"{path}: not the weights that were saved; the file is damaged")


def check_tensors(tensors: Tensors, shapes: dict[str, tuple[int, ...]], where: str) -> None:
    """Raise CheckpointError unless `tensors` have exactly these names and shapes, all finite."""
    _check_names(tensors, shapes, where)
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape)
        if found != shape:
            hint = "; it looks transposed" if found == shape[::-1] else ""
            raise CheckpointError(
                f"{where}: {name} has the shape {list(found)}, expected {list(shape)}{hint}"
            )
        if not tensors[name].is_floating_point():
            raise CheckpointError(f"{where}: {name} is {tensors[name].dtype}, expected floats")
    refuse_not_finite(tensors, where)


def _check_names(tensors: Tensors, shapes: dict[str, tuple[int, ...]], where: str) -> None:
    missing = sorted(shapes.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - shapes.keys())
    if missing or unknown:
        faults = [("lacks the tensor", missing), ("holds the unknown tensor", unknown)]
        told = " and ".join(f"{fault} {_list(names)}" for fault, names in faults if names)
        raise CheckpointError(f"{where} {told}; is it the file of another model?")


def _list(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def refuse_not_finite(tensors: Tensors, where: str) -> None:
    """Raise CheckpointError where a value is infinite or not a number."""
    for name, tensor in tensors.items():
        # The extremes of a tensor with a NaN are NaN: one pass without a temporary.
        if tensor.numel() and not all(torch.isfinite(end) for end in torch.aminmax(tensor)):
            raise CheckpointError(
                f"{where}: {name} holds values that are not finite; the file is damaged or the "
                "training diverged"
            )


def tensors_hash(tensors: Tensors) -> str:
    """The SHA-256 of the tensors' names, types, shapes and bytes; their order does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
