"""Real scores against the recorded output of the reference converter, byte for byte."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from pyarrow import parquet

from clamp3.errors import FormatError
from clamp3.formats.musicxml import musicxml_to_abc

CURATED = Path(__file__).parent.parent / "golden" / "scores_curated.jsonl.gz"
CORPUS = Path(find_spec("music21").origin).parent / "corpus"

# Deliberate difference: two scores whose lyrics hold line breaks.
KNOWN_DIFFERENT = {"e193.mxl", "e194.mxl"}


def curated_rows() -> list[dict]:
    with gzip.open(CURATED, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def with_source(rows: list[dict]) -> Iterator[tuple[dict, bytes]]:
    """Rows whose bytes are at hand: carried along, or the same file in the installed music21."""
    for row in rows:
        data = row.get("source")
        if data is None:
            path = CORPUS / row["corpus_path"]
            data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() == row["source_sha256"]:
            yield row, data


def differing(pairs: Iterator[tuple[dict, bytes]]) -> tuple[int, list[str]]:
    """How many convertible rows there are, and the ids of those that come out otherwise."""
    count = 0
    wrong = []
    for row, data in pairs:
        if row["xml2abc_ok"]:
            count += 1
            if musicxml_to_abc(data) != row["standard_abc"]:
                wrong.append(row["id"])
    return count, wrong


def test_curated_scores_come_out_as_the_reference_writes_them():
    count, wrong = differing(with_source(curated_rows()))
    assert count >= 100
    assert wrong == []


def test_what_stops_the_reference_is_converted():
    pairs = [pair for pair in with_source(curated_rows()) if not pair[0]["xml2abc_ok"]]
    assert len(pairs) >= 15
    for row, data in pairs:
        abc = musicxml_to_abc(data)
        assert abc.startswith("X:1\n"), row["id"]
        assert "\nV:1\n" in abc, row["id"]


@pytest.mark.parametrize("name", ["scores_music21", "scores_extra"])
@pytest.mark.slow
def test_all_recorded_scores(goldens: Path, name: str):
    rows = parquet.read_table(goldens / "formats" / f"{name}.parquet").to_pylist()
    count, wrong = differing(with_source(rows))
    assert count >= 180
    assert set(wrong) <= KNOWN_DIFFERENT


def test_extra_scores_that_stop_the_reference(goldens: Path):
    rows = parquet.read_table(goldens / "formats" / "scores_extra.parquet").to_pylist()
    failing = [pair for pair in with_source(rows) if not pair[0]["xml2abc_ok"]]
    assert len(failing) == 25
    kinds = [kind_or_converted(data) for _, data in failing]
    assert kinds.count("converted") >= 21
    assert set(kinds) == {"converted", "no_notes"}


def kind_or_converted(data: bytes) -> str:
    try:
        return "converted" if "\nV:1\n" in musicxml_to_abc(data) else "empty"
    except FormatError as error:
        return error.kind
