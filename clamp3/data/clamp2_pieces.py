"""What CLaMP 2 is trained and evaluated on: a folder of its manifests, one for each split.

They are made of the pipeline's manifests and summaries, or of manifests that a person has.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from clamp3.data.clamp2_manifests import normal_line, piece_name, with_summaries
from clamp3.data.manifests import read_manifest
from clamp3.data.sources import distinct, json_lines
from clamp3.errors import DataError
from clamp3.files import read_table, write_jsonl

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
SUFFIXES = (".abc", ".mtf")


def write_splits(
    out: Path,
    *,
    manifests: Sequence[Path] = (),
    summaries: Path | None = None,
    given: Sequence[Path] = (),
) -> None:
    """Write train.jsonl, validation.jsonl and test.jsonl to the folder `out`.

    Of `manifests`, those of the pipeline's scores and performances, and `summaries`, the table that
    `clamp3 summarise` writes: the line of each piece that has a summary. Or of `given`, files of
    these names (see `read_clamp2`); a split that is not among them has no lines.
    """
    for split in SPLITS:
        path = out / f"{split}.jsonl"
        if given:
            copy_manifests([source for source in given if Path(source).stem == split], path)
        else:
            own = [source for source in manifests if Path(source).stem.endswith(f"-{split}")]
            write_jsonl(path, _summarised(own, summaries, path.name))


def _summarised(manifests: Sequence[Path], summaries: Path, name: str) -> list[dict]:
    """The line of every piece of these manifests that has a summary, sorted by id."""
    lines = [line for manifest in manifests for line in read_manifest(manifest)]
    found = with_summaries(lines, {row["id"]: row for row in read_table(summaries).to_pylist()})
    count = len({line["id"] for line in lines})
    log.info("%s: %d pieces, %d without summary", name, len(found), count - len(found))
    return found


def copy_manifests(sources: Iterable[Path], out: Path) -> None:
    """Write the pieces of a person's manifests, as `read_clamp2` gives them, to one of ours."""
    write_jsonl(out, [line for source in sources for line in read_clamp2(source)])


def read_clamp2(path: Path) -> list[dict]:
    """The pieces of a CLaMP 2 manifest in its order, ready to train on.

    As in the originals any field may be missing or None, a text may stand where a list could, and
    paths are relative to the manifest's own folder; such as lie below the working folder instead
    are found there. Each piece has an id, equal ones told apart by a number. Files that are neither
    `.abc` nor `.mtf` are left out, and so are pieces without a file, counted in the log.

    Raises DataError naming a line that is no JSON object, and a file that is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a training manifest of CLaMP 2")
    taken: dict[str, int] = {}
    found, without = [], 0
    for number, line in json_lines(path):
        if isinstance(line, str):
            raise DataError(f"{path}, line {number}: {line}. Expected a line of a CLaMP 2 manifest")
        piece = normal_line(line)
        piece["filepaths"] = [_placed(name, path) for name in piece["filepaths"] if _is_music(name)]
        if piece["filepaths"]:
            name = distinct(piece_name(line, f"line {number}"), taken)
            found.append({"id": name} | piece | {"id": name})
        without += not piece["filepaths"]
    if without:
        log.warning("%s: %d lines name no .abc or .mtf file, left out", path, without)
    return found


def _is_music(name: str) -> bool:
    return PurePosixPath(name).suffix in SUFFIXES


def _placed(name: str, manifest: Path) -> str:
    beside = manifest.parent / name
    return str(beside) if beside.is_file() else name


def english_summary(line: Mapping) -> str | None:
    """The first summary in English of a line as it was read; None without one."""
    found = line.get("summary_en") or [None]
    return found if isinstance(found, str) else found[0]
