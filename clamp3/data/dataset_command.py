"""A data set outside the pipeline: its pieces, texts and labels as files that commands read."""

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from clamp3.data.layouts import LABELLED, read_layout
from clamp3.data.m4_rag import LAYOUT as M4_RAG
from clamp3.data.m4_rag import parse_m4_rag
from clamp3.data.raw_files.addresses import local_path
from clamp3.data.raw_files.reading import RawFiles
from clamp3.data.rejected import Rejected
from clamp3.data.sources import Parsed, distinct
from clamp3.files import atomic_path, refuse_others_files, write_jsonl, write_text

_MUSIC = ("mxl_path", "mid_path", "audio_path")
_TEXTS = ("background", "analysis", "description", "scene")


def export_data_set(
    layout: str, path: Path, out: Path, *, music: Path | None = None, check_files: bool = True
) -> Parsed:
    """Read a data set and write it to the folder `out`; returns what was read.

        pieces.jsonl     what is known of each piece
        music/           its files by name, as links (copies where links cannot be made)
        texts/           <name>.<field>.txt; of several captions <name>.<field>.1.txt, …
        labels.csv       of labelled folders: id, label
        manifest.jsonl   of m4_rag instead of all that: its usable lines
        rejected.tsv     what could not be used, and why

    `clamp3 embed` reads both folders, `clamp3 evaluate` pairs them by name, `clamp3 classify` takes
    the labels. `layout`: one of clamp3.config.LAYOUTS, or m4_rag. Raises DataError as readers do,
    StorageError where music/ or texts/ is there and not from an earlier call.
    """
    out = Path(out)
    if layout == M4_RAG:
        parsed = parse_m4_rag(path, music=music, check_files=check_files)
        out.mkdir(parents=True, exist_ok=True)
        write_jsonl(out / "manifest.jsonl", parsed.columns.get("line", []))
    else:
        for folder in ("music", "texts"):
            refuse_others_files(out / folder, out / "pieces.jsonl")
        with RawFiles() as files:
            parsed = read_layout(layout, path, check_files=check_files, sizes_of=files.sizes)
            out.mkdir(parents=True, exist_ok=True)
            _write_pieces(parsed, layout, out, files)
    _write_rejected(out / "rejected.tsv", parsed.rejected)
    return parsed


def _write_pieces(parsed: Parsed, layout: str, out: Path, source: RawFiles) -> None:
    pieces, taken = parsed.pieces(), {}
    # Names without dots, since files are paired by their names up to the first one.
    plain = (piece["id"].split("/", 1)[1].replace(".", "_") for piece in pieces)
    files = {distinct(name, taken): piece for name, piece in zip(plain, pieces, strict=True)}
    known = [{key: value for key, value in piece.items() if value} for piece in pieces]
    write_jsonl(out / "pieces.jsonl", known)
    with atomic_path(out / "music") as folder:
        folder.mkdir()
        for name, piece in files.items():
            _put_music(folder, name, piece, source)
    with atomic_path(out / "texts") as folder:
        folder.mkdir()
        for name, piece in files.items():
            for field, text in _texts(piece, several=layout == "song_describer"):
                (folder / f"{name}.{field}.txt").write_text(text + "\n", encoding="utf-8")
    if layout in LABELLED:
        with (
            atomic_path(out / "labels.csv") as draft,
            open(draft, "w", encoding="utf-8", newline="") as file,
        ):
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("id", "label"))
            table.writerows((name, piece["genres"][0]) for name, piece in files.items())


def _put_music(folder: Path, name: str, piece: dict, source: RawFiles) -> None:
    if piece.get("leadsheet"):
        (folder / f"{name}.abc").write_text(piece["leadsheet"], encoding="utf-8")
    for address in (piece[key] for key in _MUSIC if piece.get(key)):
        path = Path(local_path(address)).absolute()
        target = folder / f"{name}{path.suffix.lower()}"
        if not path.exists() and source.sizes([address]) != [None]:  # in an archive, or elsewhere
            target.write_bytes(source.fetch(address))
            continue
        try:
            os.symlink(path, target)
        except OSError:
            shutil.copyfile(path, target)


def _texts(piece: dict, *, several: bool) -> Iterator[tuple[str, str]]:
    """(field, text); with `several`, (field.1, caption), … for a text of a caption a line."""
    for field in _TEXTS:
        text = piece.get(field)
        if text and several:
            captions = text.split("\n")
            yield from ((f"{field}.{i}", caption) for i, caption in enumerate(captions, start=1))
        elif text:
            yield field, text


def _write_rejected(path: Path, rejected: list[Rejected]) -> None:
    lines = ["\t".join(" ".join(str(cell).split()) for cell in row) for row in rejected]
    write_text(path, "\n".join(["\t".join(Rejected._fields), *lines]) + "\n")
