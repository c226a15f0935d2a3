"""Text–music pairs as JSON lines, in CLaMP 3's training layout, and the books of the pipeline.

A line has id, filepaths, title, artists, region, language, genres, tags, background, analysis,
description, scene and translations, as the originals' training reads them. There is one file for
each collection, modality and split, whether or not it has lines.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path, PurePosixPath

from clamp3.config import ManifestConfig
from clamp3.data import pdmx
from clamp3.data.rejected import Rejected, read_rejected, write_rejected
from clamp3.data.sources import STAGE as PARSE_STAGE
from clamp3.data.sources import PlacedLine, guess_file, placed_json_lines
from clamp3.errors import DataError
from clamp3.files import read_table, write_json, write_jsonl

log = logging.getLogger(__name__)

MODALITIES = {"abc": ".abc", "mtf": ".mtf", "audio": ".npy"}
_TEXTS = ("title", "artists", "region", "language")
_LISTS = ("genres", "tags")
_LONG_TEXTS = ("background", "analysis", "description", "scene")
_KEYS = (*_TEXTS, *_LISTS, *_LONG_TEXTS)
# Which modality a piece loses when a stage rejects it; recordings have several stages.
_MODALITY_OF = {PARSE_STAGE: None, "abc": "abc", "interleave": "abc", "mtf": "mtf"}


def splits_of(collection: str) -> tuple[str, ...]:
    """The splits of a collection's pieces: only PDMX is trained on."""
    return ("train", "validation", "test") if collection == pdmx.COLLECTION else ("test",)


def manifest_names(collections: Iterable[str]) -> list[str]:
    """The file names of all manifests of these collections: pdmx-abc-train.jsonl, …"""
    return [
        f"{collection}-{modality}-{split}.jsonl"
        for collection in collections
        for modality in MODALITIES
        for split in splits_of(collection)
    ]


def build_manifests(
    catalog: Sequence[Path],
    folder: Path,
    *,
    collections: Sequence[str],
    interleaved: Sequence[Path],
    mtf: Sequence[Path],
    features: Sequence[Path],
    rejected: Iterable[Path],
    settings: ManifestConfig,
) -> None:
    """Write all manifests of the `collections`, with `counts.json` and `rejected.parquet` (of all
    stages), to `folder`.

    `catalog`, `interleaved`, `mtf` and `features` are the parts of these tables (features may be
    none), `rejected` the rejected tables of all stages. A filepath is the folder of the parts,
    the id and a suffix, such as `data/interleaved/pdmx/Qm1.abc`: a PieceReader finds the row, and
    the exported files will lie there. Lines are sorted by id.

    `counts.json` holds for each collection what parsing rejected, by kind, and for each modality
    how many pieces came `in` (the catalogue names a score or a MIDI file; a recording was tried),
    how many went `out` to each split, and how many were `rejected` by each stage, by kind.

    Raises DataError when the books do not balance: a piece that came in went neither out nor to
    a rejected table or to both, or a store has a piece that the catalogue does not name.
    """
    refused = sorted(set(read_rejected(rejected)))
    rows = {row["id"]: row for row in _read_catalog(catalog, collections)}
    lines: dict[str, list[tuple[str, Path]]] = {name: [] for name in manifest_names(collections)}
    counts = _count_parsing(collections, rows, refused)
    stores = {"abc": interleaved, "mtf": mtf, "audio": features}
    for modality, parts in stores.items():
        lost = {r.id: r for r in refused if _MODALITY_OF.get(r.stage, "audio") == modality}
        stored = _stored_ids(parts)
        tried = stored.keys() | lost.keys()
        named = {name for name, row in rows.items() if _names(row, modality, name in tried)}
        _check_books(modality, named, stored.keys(), lost.keys())
        for piece_id in sorted(stored):
            row = rows[piece_id]
            name = f"{row['collection']}-{modality}-{row['split']}.jsonl"
            lines[name].append((piece_id, stored[piece_id]))
        _count_modality(counts, modality, rows, named, stored, lost)
    for name, pieces in lines.items():
        suffix = MODALITIES[name.split("-")[1]]
        content = (_line(rows[i], str(PurePosixPath(at, i + suffix)), settings) for i, at in pieces)
        write_jsonl(folder / name, content)
    write_rejected(folder / "rejected.parquet", refused)
    write_json(folder / "counts.json", counts)


def _read_catalog(parts: Sequence[Path], collections: Sequence[str]) -> list[dict]:
    columns = ["id", "collection", "split", "mxl_path", "mid_path", "leadsheet", *_KEYS]
    rows = read_table(parts, columns=columns).to_pylist()
    for row in rows:
        known = row["collection"] in collections
        if not known or row["split"] not in splits_of(row["collection"]):
            raise DataError(
                f"the catalogue has {row['id']} in {row['collection']}, {row['split']}; known are "
                + "; ".join(f"{name}: {', '.join(splits_of(name))}" for name in collections)
            )
    return rows


def _names(row: dict, modality: str, tried: bool) -> bool:
    """Whether the catalogue names something to make this modality of; recordings it does not
    name, so those count that were tried."""
    if modality == "abc":
        return bool(row["mxl_path"] or row["leadsheet"])
    return bool(row["mid_path"]) if modality == "mtf" else tried


def _stored_ids(parts: Sequence[Path]) -> dict[str, Path]:
    """The folder of the part that holds each piece, by id."""
    folders: dict[str, Path] = {}
    for part in parts:
        for piece_id in read_table(part, columns=["id"])["id"].to_pylist():
            if piece_id in folders:
                raise DataError(f"{part}: {piece_id} stands in two rows of {folders[piece_id]}")
            folders[piece_id] = Path(part).parent
    return folders


def _check_books(modality: str, named: Set[str], stored: Set[str], lost: Set[str]) -> None:
    for wrong, what in (
        (named - stored - lost, "came in, but are neither in the store nor rejected"),
        (stored & lost, "are in the store and rejected"),
        ((stored | lost) - named, "are in the store or rejected, but the catalogue names none"),
    ):
        if wrong:
            examples = ", ".join(sorted(wrong)[:3])
            raise DataError(
                f"{modality}: {len(wrong)} pieces {what}: {examples}. Were catalogue, stores and "
                "rejected tables made in one run?"
            )


def _count_parsing(
    collections: Sequence[str], rows: dict[str, dict], refused: list[Rejected]
) -> dict[str, dict]:
    pieces = Counter(row["collection"] for row in rows.values())
    kinds = defaultdict(Counter)
    for row in refused:
        if row.stage == PARSE_STAGE:
            kinds[row.id.split("/")[0]][row.kind] += 1
    return {
        name: {"pieces": pieces[name], "rejected": {PARSE_STAGE: dict(sorted(kinds[name].items()))}}
        for name in collections
    }


def _count_modality(
    counts: dict[str, dict],
    modality: str,
    rows: dict[str, dict],
    named: Set[str],
    stored: Iterable[str],
    lost: dict[str, Rejected],
) -> None:
    came = Counter(rows[name]["collection"] for name in named)
    splits = Counter((rows[name]["collection"], rows[name]["split"]) for name in stored)
    kinds = Counter((rows[name]["collection"], row.stage, row.kind) for name, row in lost.items())
    for collection in counts:
        out = {split: splits[collection, split] for split in splits_of(collection)}
        rejects: dict[str, dict[str, int]] = {}
        for (owner, stage, kind), count in sorted(kinds.items()):
            if owner == collection:
                rejects.setdefault(stage, {})[kind] = count
        books = {"in": came[collection], "out": out, "rejected": rejects}
        counts[collection][modality] = books
        kept = sum(out.values())
        line = f"{collection}, {modality}: {came[collection]} in, {kept} out"
        log.info("manifest: %s, %d rejected", line, came[collection] - kept)


def _line(row: dict, filepath: str, settings: ManifestConfig) -> dict:
    values = {key: row[key] for key in _KEYS}
    values["language"] = row["language"] or settings.language
    return {"id": row["id"], "filepaths": [filepath], **values, "translations": {}}


def read_manifest(path: Path) -> list[dict]:
    """The lines of a manifest, ours or one of the originals', in its order.

    Each has id, filepaths (a list) and all keys of the layout: None where a text or list is
    missing, {} for missing translations; keys beyond the layout stay. An id that is missing is
    the first filepath without its suffix. A text given as a list is joined line by line, as the
    originals' text dropout takes it apart again. A file without lines gives an empty list.

    Raises DataError naming the line that is not of this layout, and what the file looks like.
    """
    return [line.content for line in placed_lines(path)]


def placed_lines(path: Path) -> Iterator[PlacedLine]:
    """The lines of `read_manifest` one by one, and where in the file they lie. Raises as it."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a training manifest (JSON lines)")
    is_known = False
    for line in placed_json_lines(path):
        try:
            row = read_line(line.content)
        except ValueError as error:
            looks = "" if is_known else f"; it looks like {guess_file(path)}"
            where = f"{path}, line {line.number}"
            raise DataError(
                f"{where}: {error}. Expected a line of a training manifest{looks}"
            ) from error
        is_known = True
        yield line._replace(content=row)


def read_line(line: dict | str) -> dict:
    """A line of a training manifest with all keys of the layout, as `read_manifest` gives it.

    Raises ValueError for one that is not of the layout, or for the sentence that `json_lines`
    gives instead of an object.
    """
    if isinstance(line, str):
        raise ValueError(line)
    filepaths = line.get("filepaths")
    filepaths = [filepaths] if isinstance(filepaths, str) else filepaths
    if not isinstance(filepaths, list) or not filepaths:
        raise ValueError("no filepaths")
    if not all(isinstance(name, str) and name for name in filepaths):
        raise ValueError(f"filepaths is {filepaths!r}, expected a list of paths")
    piece_id = line.get("id")
    if piece_id in (None, ""):
        piece_id = str(PurePosixPath(filepaths[0]).with_suffix(""))
    texts = {key: _read_text(key, line.get(key)) for key in (*_TEXTS, *_LONG_TEXTS)}
    lists = {key: _read_words(key, line.get(key)) for key in _LISTS}
    translations = line.get("translations") or {}
    if not isinstance(translations, dict):
        raise ValueError(f"translations is {type(translations).__name__}, expected an object")
    known = texts | lists
    row = {"id": str(piece_id), "filepaths": filepaths, **{key: known[key] for key in _KEYS}}
    row["translations"] = translations
    return row | {key: value for key, value in line.items() if key not in row}


def _read_words(key: str, value: object) -> list[str] | None:
    if value is None:
        return None
    words = [word for word in (value if isinstance(value, list) else [value]) if word is not None]
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"{key} is {value!r:.80}, expected a list of texts")
    return words


def _read_text(key: str, value: object) -> str | None:
    words = _read_words(key, value)
    return "\n".join(words) or None if words else None
