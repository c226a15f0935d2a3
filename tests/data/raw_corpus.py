"""A small PDMX: as folders, in archives and elsewhere, and what the stages make of it."""

import io
import tarfile
import zipfile
from pathlib import Path

import mido
from pdmx_rows import FULL, row, write_csv

from clamp3.config import ConversionConfig, LimitsConfig, MtfConfig, ParseConfig, Splits
from clamp3.data.catalog import build_catalog
from clamp3.data.performances import convert_performances
from clamp3.data.rejected import read_rejected
from clamp3.data.scores import convert_scores
from clamp3.files import read_table

NAMES = [f"Qm{number:02d}" for number in range(24)]
LIMITS = LimitsConfig(
    max_document_bytes=20_000,
    max_compression_ratio=300,
    max_tags=4_000_000,
    max_voice_events=10_000_000,
    max_midi_bytes=4_000,
    max_abc_characters=8_000_000,
)
SCORE = """<?xml version="1.0"?>
<score-partwise version="4.0">
  <part-list><score-part id="P1"><part-name>Flute</part-name></score-part></part-list>
  <part id="P1"><measure number="1">
    <attributes><divisions>1</divisions><key><fifths>{fifths}</fifths></key>
      <time><beats>2</beats><beat-type>4</beat-type></time>
      <clef><sign>G</sign><line>2</line></clef></attributes>
    <note><pitch><step>G</step><octave>4</octave></pitch><duration>1</duration></note>
    <note><pitch><step>B</step><octave>4</octave></pitch><duration>1</duration></note>
  </measure></part>
</score-partwise>
"""


def write_pdmx(folder: Path) -> Path:
    """The corpus as folders: mostly sound pieces, and one of each fault."""
    rows = [row(name, FULL) for name in NAMES]
    for number, name in enumerate(NAMES):
        score, midi = (folder / kind / "1" / "11" / f"{name}.{kind}" for kind in ("mxl", "mid"))
        for path in (score, midi):
            path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(score, "w") as archive:
            info = zipfile.ZipInfo("score.xml", (2020, 1, 1, 0, 0, 0))
            archive.writestr(info, SCORE.format(fifths=number % 7))
        track = mido.MidiTrack([mido.Message("note_on", note=40 + number, velocity=64)])
        mido.MidiFile(tracks=[track, [mido.Message("note_off", time=480)]]).save(midi)
    top = folder / "mxl" / "1" / "11"
    (top / "Qm03.mxl").unlink()
    (top / "Qm04.mxl").write_bytes(b"")
    (top / "Qm05.mxl").write_bytes(b"PK\x03\x04 no archive")
    (top / "Qm06.mxl").write_bytes(b"<" * 20_001)
    (folder / "mid" / "1" / "11" / "Qm07.mid").write_bytes(b"MThd" + bytes(4_000))
    write_csv(folder / "PDMX.csv", rows)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of all files by path below the folder, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_tar(path: Path, entries: dict | list[tuple], mode: str = "w") -> Path:
    """A tar of (name, content or what to change of its TarInfo); `mode` w:gz compresses."""
    with tarfile.open(path, mode) as archive:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            info = tarfile.TarInfo(name)
            data = content if isinstance(content, bytes) else b""
            changes = {"size": len(data)} if isinstance(content, bytes) else content
            for key, value in changes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, entries: dict | list[tuple]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            archive.writestr(name, content)
    return path


def use_bucket(monkeypatch, endpoint: str) -> None:
    """s3:// means an S3-compatible server on this machine."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def run_stages(
    corpus: str, out: Path, *, check_files: bool = True, collections: dict | None = None
) -> dict[str, bytes | str]:
    """What parse, abc and mtf write of a corpus, by file; addresses begin with CORPUS."""
    parse = ParseConfig(
        subset="all",
        check_files=check_files,
        collections=collections or {},
        max_rejected_share=1.0,
    )
    build_catalog(
        f"{corpus}/PDMX.csv",
        [out / "catalog.parquet"],
        out / "rejected.parquet",
        parse=parse,
        folder=corpus,
        splits=Splits(validation_share=0.2, test_share=0.2),
        seed=3,
    )
    steps = {
        "abc": (convert_scores, ConversionConfig(max_rejected_share=1.0)),
        "mtf": (convert_performances, MtfConfig(max_rejected_share=1.0, keep_metadata=False)),
    }
    made = {}
    for name, (step, settings) in steps.items():
        table, rejected = out / f"{name}.parquet", out / f"rejected-{name}.parquet"
        step(out / "catalog.parquet", table, rejected, settings, LIMITS)
        made[name] = table.read_bytes()
        made[f"rejected {name}"] = _without(corpus, read_rejected(rejected))
    made["catalog"] = _without(corpus, read_table(out / "catalog.parquet").to_pylist())
    made["rejected"] = _without(corpus, read_rejected(out / "rejected.parquet"))
    return made


def _without(corpus: str, rows: list) -> str:
    return repr(rows).replace(corpus, "CORPUS")
