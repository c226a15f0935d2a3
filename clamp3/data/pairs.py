"""Text–music pairs: what manifests say of one piece, put together."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clamp3.data.manifests import read_manifest
from clamp3.errors import DataError


@dataclass(frozen=True, slots=True)
class Pair:
    """A piece with the files it is kept in and all that its manifest lines say of it."""

    id: str
    filepaths: tuple[str, ...]
    texts: dict

    def with_suffix(self, suffixes: tuple[str, ...]) -> "Pair":
        """The same piece with those of its files that end in one of `suffixes`."""
        kept = tuple(path for path in self.filepaths if path.endswith(suffixes))
        return Pair(self.id, kept, self.texts)


def load_pairs(manifests: Iterable[Path], suffixes: tuple[str, ...] = ()) -> list[Pair]:
    """The pieces of several manifests, sorted by id, each once with the files of all its lines.

    With `suffixes` (such as `.abc`) only files that end so count; a piece that has no file left is
    not returned. What two lines of a piece say twice must agree; what only one says is kept.

    Raises DataError naming the manifest that is no manifest or contradicts one before it.
    """
    pieces: dict[str, Pair] = {}
    for manifest in manifests:
        for line in read_manifest(manifest):
            pair = _pair(line)
            known = pieces.get(pair.id)
            pieces[pair.id] = _merged(known, pair, str(manifest)) if known else pair
    pairs = [pieces[piece_id] for piece_id in sorted(pieces)]
    if suffixes:
        pairs = [kept for pair in pairs if (kept := pair.with_suffix(suffixes)).filepaths]
    return pairs


def _pair(line: dict) -> Pair:
    texts = {key: value for key, value in line.items() if key not in ("id", "filepaths")}
    return Pair(line["id"], tuple(dict.fromkeys(line["filepaths"])), texts)


def _merged(first: Pair, second: Pair, where: str) -> Pair:
    texts = dict(first.texts)
    for key, value in second.texts.items():
        if value and texts.get(key) and texts[key] != value:
            raise DataError(
                f"{where}: {first.id} has another {key} than in a manifest before it; expected the "
                "same texts in every manifest of a piece. Likely they are of different runs"
            )
        texts[key] = texts.get(key) or value
    return Pair(first.id, tuple(dict.fromkeys(first.filepaths + second.filepaths)), texts)
