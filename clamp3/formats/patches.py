"""Scores and performances as patches: rows of at most 64 characters, the input of symbolic models.

A patch is one header line or one bar of ABC, or a run of MTF events of one type. Its row holds
BOS, the characters' ASCII codes, EOS and PAD up to the patch size; a patch too long for that is
cut and has no EOS.
"""

import re

import numpy as np
from unidecode import unidecode

from clamp3.errors import FormatError

PATCH_SIZE = 64
PATCH_LENGTH = 512
VOCABULARY_SIZE = 128
PAD_ID, BOS_ID, EOS_ID, MASK_ID = range(4)

_BARLINE = re.compile(r"(\|:|::|:\||\[\||\|\||\|\]|\|)")
_HEADER_LINE = re.compile(r"[A-Za-z]:|%%")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")  # unidecode goes by single characters, slowly
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def encode_patches(
    text: str,
    *,
    patch_size: int = PATCH_SIZE,
    special: bool = True,
    keep_unit_length: bool = False,
) -> np.ndarray:
    """Patches of interleaved ABC or MTF text: uint8 [P, C] with C = `patch_size`.

    The text is MTF if its first word is `ticks_per_beat`, else ABC. It is transliterated to ASCII.
    With `special` one row of BOS stands first and one of EOS last. Lines should end in `\\n` alone,
    as they do in files read as text. `keep_unit_length`: `L:1/8` stays, as in CLaMP 2's extraction
    (sanderwood/clamp2@a3ebc75 code/extract_clamp2.py), though not in its training.

    Raises FormatError: `empty_text`, and `lone_barline` where the text ends in a line that is
    nothing but a bar line.

    Source: sanderwood/clamp3@9016d2b code/utils.py (M3Patchilizer.encode). Reproduced on purpose,
    because published models were trained so: `L:1/8` and its line end vanish anywhere; in ABC
    everything after the last bar line of a line, and lines without one, are lost; two bar lines
    in a row shift the pairing of bars and bar lines; in MTF an event joins the patch before if
    that begins with its type's letters.
    """
    rows = [f"\x01{patch}\x02" for patch in _split_patches(text, patch_size, keep_unit_length)]
    if special:
        rows = ["\x01" * patch_size, *rows, "\x01" + "\x02" * (patch_size - 1)]
    return np.array(rows, dtype=f"S{patch_size}").view(np.uint8).reshape(-1, patch_size)


def decode_patches(patches: np.ndarray) -> str:
    """The text of patches [P, C], without the special characters.

    It lacks what encoding left out; events of MTF that share a patch are parted by tabs.
    """
    patches = np.asarray(patches)
    return patches[patches > MASK_ID].astype(np.uint8).tobytes().decode("ascii")


def remove_instruments(text: str) -> str:
    """The text without its instruments: names of ABC voices, program numbers of MTF.

    In the line of a voice everything from the name on goes; programs become 0.
    Raises FormatError `empty_text`.

    Source: sanderwood/clamp3@9016d2b code/utils.py (remove_instrument_info).
    """
    lines = _lines(text)
    if _is_mtf(lines):
        return "".join(
            line.rpartition(" ")[0] + " 0\n" if line.startswith("program_change") else line
            for line in lines
        )
    return "".join(_without_name(line) if line.startswith("V:") else line for line in lines)


def truncate_patches(
    patches: np.ndarray, length: int = PATCH_LENGTH, generator: np.random.Generator | None = None
) -> np.ndarray:
    """At most `length` consecutive patches [P, C] (or items of any other sequence).

    With a generator the head, the tail and a uniformly drawn place after the head are equally
    likely; without one it is the head. Draws only where there is something to cut.

    Source: sanderwood/clamp3@9016d2b code/utils.py (encode with truncate, random_truncate).
    """
    surplus = len(patches) - length
    if surplus <= 0:
        return patches
    choice = 0 if generator is None else generator.integers(3)
    start = (0, surplus)[choice] if choice < 2 else generator.integers(1, surplus + 1)
    return patches[start : start + length]


def _split_patches(text: str, patch_size: int, keep_unit_length: bool) -> list[str]:
    if not keep_unit_length:
        text = text.replace("L:1/8\n", "")
    if not text.isascii():
        text = _NOT_ASCII.sub(_transliterated, text)
    lines = _lines(text)
    return _merge_events(lines, patch_size - 2) if _is_mtf(lines) else _cut_bars(lines)


def _transliterated(found: re.Match) -> str:
    # unidecode leaves lone surrogates out as well, but warns.
    return unidecode(_SURROGATES.sub("", found[0]))


def _lines(text: str) -> list[str]:
    """Lines with their `\\n`; only the last may lack it."""
    if not text:
        raise FormatError("empty_text", "the text is empty; expected ABC or MTF")
    *lines, last = text.split("\n")
    lines = [line + "\n" for line in lines]
    return [*lines, last] if last else lines


def _is_mtf(lines: list[str]) -> bool:
    return lines[0].partition(" ")[0] == "ticks_per_beat"


def _merge_events(lines: list[str], limit: int) -> list[str]:
    """Runs of MTF lines of one type, joined by tabs up to `limit` characters."""
    patches, patch = [], ""
    for line in lines:
        kind, _, values = line.partition(" ")
        if patch.startswith(kind) and len(patch) + len(values) <= limit:
            patch = f"{patch[:-1]}\t{values}"
        else:
            patches.append(patch)
            patch = line
    return [*patches[1:], patch]


def _cut_bars(lines: list[str]) -> list[str]:
    """Header lines as they are, other lines cut after each bar line."""
    patches = []
    for line in lines:
        if _HEADER_LINE.match(line):
            patches.append(line)
            continue
        pieces = [piece for piece in _BARLINE.split(line) if piece]
        if _BARLINE.fullmatch(pieces[0]):
            if len(pieces) == 1:
                raise FormatError(
                    "lone_barline", f"the text ends in a line that is only a bar line: {line!r}"
                )
            pieces[:2] = [pieces[0] + pieces[1]]
        bars = [text + barline for text, barline in zip(pieces[::2], pieces[1::2], strict=False)]
        if bars:
            bars[-1] += "\n"
            patches += bars
    return patches


def _without_name(line: str) -> str:
    for label in (" nm=", " snm="):
        kept, found, _ = line.partition(label)
        if found:
            return kept + "\n"
    return line
