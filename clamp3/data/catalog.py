"""The catalogue: one table of all pieces, whatever they come from, in parts by hashed id."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa

from clamp3.config import ParseConfig, Splits
from clamp3.data import pdmx
from clamp3.data.layouts import read_layout
from clamp3.data.raw_files.reading import RawFiles, local_copy
from clamp3.data.rejected import write_rejected
from clamp3.data.shards import shard_of
from clamp3.data.splits import split_of
from clamp3.files import write_table

_TEXT, _WORDS = pa.string(), pa.list_(pa.string())
SCHEMA = pa.schema(
    {
        "id": _TEXT,  # "pdmx/Qm…": collection and name
        "collection": _TEXT,
        "split": _TEXT,
        "mxl_path": _TEXT,  # from the root of the work tree; null where the source names none
        "mid_path": _TEXT,
        "audio_path": _TEXT,  # of recordings; those of PDMX are found or rendered by name
        "leadsheet": _TEXT,  # plain ABC, of pieces that come as text
        "mxl_bytes": pa.int64(),  # null where not looked for or not there
        "mid_bytes": pa.int64(),
        "title": _TEXT,
        "artists": _TEXT,
        "region": _TEXT,
        "language": _TEXT,
        "genres": _WORDS,
        "tags": _WORDS,
        "instruments": _WORDS,  # each once
        "programs": pa.list_(pa.int16()),  # General MIDI, one a track
        "background": _TEXT,
        "analysis": _TEXT,
        "description": _TEXT,
        "scene": _TEXT,
        "text": _TEXT,  # all in one, as the LoRA project writes it
        "license": _TEXT,
        "license_conflict": pa.bool_(),
        "subsets": _WORDS,
        "complexity": pa.int32(),
        "bars": pa.int32(),
        "tracks": pa.int32(),
        "rating": pa.float32(),  # null: not rated
    }
)
_CATEGORICAL = ("collection", "split", "region", "language", "license")
_LISTS = frozenset(name for name in SCHEMA.names if pa.types.is_list(SCHEMA.field(name).type))


def build_catalog(
    csv: Path | str,
    parts: Sequence[Path],
    rejected: Path,
    *,
    parse: ParseConfig,
    folder: Path | str,
    splits: Splits,
    seed: int,
) -> None:
    """Write the catalogue of PDMX and of `parse.collections`, and what was refused.

    `csv` is PDMX.csv and `folder` what its paths are relative to, both addresses (see
    clamp3.data.raw_files), so that they may lie in archives and elsewhere. Piece p lies in
    `parts[shard_of(p, len(parts))]`, each part sorted by id; a part may be empty. PDMX pieces are
    dealt to the splits by their ids, all others are test pieces.

    Raises DataError where a file is not what it should be, or where more than
    `parse.max_rejected_share` of a collection's rows were refused (then the tables are written).
    """
    collections = {}
    with RawFiles() as files:
        checks = {"check_files": parse.check_files, "sizes_of": files.sizes}
        with local_copy(str(csv)) as file:
            parsed = pdmx.parse_pdmx(file, folder, subset=parse.subset, **checks)
            collections[pdmx.COLLECTION] = parsed
        for name, given in parse.collections.items():
            collections[name] = read_layout(given.layout, given.path, collection=name, **checks)
    tables = [_fit(name, parsed.columns, splits, seed) for name, parsed in collections.items()]
    catalogue = {name: list(chain(*(table[name] for table in tables))) for name in SCHEMA.names}
    _write_parts(catalogue, parts)
    write_rejected(rejected, [row for parsed in collections.values() for row in parsed.rejected])
    for name, parsed in collections.items():
        parsed.close(name, parse.max_rejected_share)


def _fit(collection: str, columns: dict[str, list], splits: Splits, seed: int) -> dict[str, list]:
    """All columns of the catalogue, those that the source does not know empty."""
    ids = columns.get("id", [])
    fitted = {
        name: columns.get(name) or ([[]] if name in _LISTS else [None]) * len(ids)
        for name in SCHEMA.names
    }
    fitted["collection"] = [collection] * len(ids)
    dealt = collection == pdmx.COLLECTION
    fitted["split"] = [split_of(name, splits, seed) if dealt else "test" for name in ids]
    return fitted


def _write_parts(catalogue: dict[str, list], parts: Sequence[Path]) -> None:
    ids = catalogue["id"]
    rows: list[list[int]] = [[] for _ in parts]
    for row in sorted(range(len(ids)), key=ids.__getitem__):
        rows[shard_of(ids[row], len(parts))].append(row)
    for path, chosen in zip(parts, rows, strict=True):
        columns = {name: [values[row] for row in chosen] for name, values in catalogue.items()}
        write_table(path, pa.table(columns, schema=SCHEMA), dictionary=_CATEGORICAL)
