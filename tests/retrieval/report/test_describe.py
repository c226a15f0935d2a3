"""`clamp3 describe`: any tables and folders of embeddings, with whatever is known of the pieces."""

import json
from pathlib import Path

import numpy as np
import pytest
from retrieval.commands import run
from retrieval.report.test_report import Outline

from clamp3.config import SpaceConfig
from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.report.command import Known, describe_files, lines
from clamp3.retrieval.vectors import Origin, Vectors, write_vectors

PIECES = 24
KEYS = ("C", "Gmin", "Ador")
SETTINGS = SpaceConfig(
    columns=(), layout="principal", map_points=50, sample=100, neighbours=3, pieces=2
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Scores in a table, performances as .npy files, ABC files, and a table of metadata.

    Pieces of one key lie in one direction; performances lie beside their scores.
    """
    rng = np.random.default_rng(0)
    scores = np.eye(6)[np.arange(PIECES) % 3] + rng.standard_normal((PIECES, 6)) * 0.05
    performances = scores + np.eye(6)[5]
    names = [f"set {row // 12}/piece{row}" for row in range(PIECES)]
    origin = Origin("f", "s", "abc", "tunes")
    table = Vectors([f"{name}.abc" for name in names], scores.astype(np.float32), origin)
    write_vectors(tmp_path / "scores.parquet", table)
    rows = ["file,title,composer"]
    for row, name in enumerate(names):
        for folder, suffix in (("abc", ".abc"), ("mtf", ".npy")):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            path = tmp_path / folder / f"{name}{suffix}"
            if suffix == ".abc":
                path.write_text(f"M:6/8\nK:{KEYS[row % 3]}\nABc|\n", encoding="utf-8")
            else:
                np.save(path, performances[row][None])
        rows.append(f"{name}.mid,Tune <{row}>,{'Bach' if row % 2 else 'Anna'}")
    (tmp_path / "known.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def described(place: Path, settings: SpaceConfig = SETTINGS, **options: object) -> dict:
    known = Known((place / "known.csv",), place / "abc")
    return describe_files([place / "scores.parquet", place / "mtf"], known, settings, **options)


def test_a_table_and_a_folder_with_all_that_is_known(place: Path):
    report = described(place)
    assert [(one["name"], one["embeddings"]) for one in report["sets"]] == [
        ("abc", PIECES),
        ("mtf", PIECES),
    ]
    assert report["columns"] == ["key", "tonic", "mode", "composer"]  # all are in 6/8
    (pair,) = report["pairs"]
    assert pair["pairs"] == PIECES
    assert pair["gap"] > 3 * pair["gap_by_chance"]
    assert pair["gap_share"] > 0.6
    for one in report["directions"]:
        assert one["purity"]["key"]["share"] == 1
        assert one["purity"]["key"]["chance"] == pytest.approx(7 / 23, abs=1e-6)
        assert one["purity"]["composer"]["share"] < 0.7  # composers lie anywhere
    for piece in report["pieces"]:
        assert piece["title"].startswith("Tune <")
        for nearest in piece["nearest"].values():
            assert len(nearest) == 3
            assert all(Path(one["id"]).stem != Path(piece["id"]).stem for one in nearest)
            assert all("key" in one["shared"] for one in nearest)
    assert json.loads(json.dumps(report)) == report
    assert described(place) == report


def test_the_lines_say_it_all(place: Path):
    told = "\n".join(lines(described(place)))
    for wanted in ("abc – mtf", "key: mtf → abc", "3 nearest have in common", "hubness"):
        assert wanted in told


def test_one_source_and_nothing_known(place: Path):
    report = describe_files([place / "mtf"], Known(), SETTINGS)
    assert (report["pairs"], report["columns"]) == ([], [])
    assert "mtf" in "\n".join(lines(report))


def test_the_page_shows_a_map_for_each_column(place: Path):
    described(place, out=place / "page.html")
    text = (place / "page.html").read_text(encoding="utf-8")
    found = Outline(text)
    assert len(found.all("svg")) == 1 + 4
    assert all(svg["role"] == "img" for svg in found.all("svg"))
    assert "A dorian (16)" in found.text
    assert "Tune <3>" in found.text
    assert "<3>" not in text
    described(place, out=place / "again.html")
    assert (place / "again.html").read_bytes() == (place / "page.html").read_bytes()


def test_fewer_rows_on_demand_are_the_same_pieces(place: Path):
    report = described(place, SETTINGS.model_copy(update={"sample": 10}))
    assert [one["computed_from"] for one in report["sets"]] == [10, 10]
    assert report["pairs"][0]["pairs"] == 10


def test_several_modalities_in_one_table_count_as_several(tmp_path: Path):
    rng = np.random.default_rng(0)
    table = Vectors(
        ["a", "a", "b", "b"],
        rng.standard_normal((4, 3)).astype(np.float32),
        Origin("f", "s", "abc,text", "c"),
        {"modality": ["abc", "text"] * 2},
    )
    write_vectors(tmp_path / "t.parquet", table)
    report = describe_files([tmp_path / "t.parquet"] * 2, Known(), SETTINGS, by="id")
    assert report["columns"] == []
    assert [one["name"] for one in report["sets"]] == ["abc", "text", "abc (2)", "text (2)"]


def test_what_cannot_be_done_is_said(place: Path):
    with pytest.raises(ConfigError, match=r"--colour no: not known.*composer.*key"):
        described(place, SETTINGS.model_copy(update={"columns": ("no",)}))
    (place / "wrong.csv").write_text("id,key\nother/piece,C\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"wrong\.csv: nothing about.*piece0.*'other/piece'"):
        describe_files([place / "mtf"], Known((place / "wrong.csv",)), SETTINGS)
    other = Vectors(["x"], np.ones((1, 6), np.float32), Origin("g", "t", "abc", "c"))
    write_vectors(place / "other.parquet", other)
    with pytest.raises(DataError, match="cannot be compared"):
        describe_files([place / "scores.parquet", place / "other.parquet"], Known(), SETTINGS)


def test_the_command(place: Path):
    options = ["--metadata", place / "known.csv", "--scores", place / "abc", "--colour", "mode"]
    options += ["--layout", "principal", "--out", place / "p.html", "--json", place / "r.json"]
    result = run("describe", place / "scores.parquet", place / "mtf", *options)
    assert result.exit_code == 0, result.output
    assert "mode: abc → abc" in result.output
    assert json.loads((place / "r.json").read_text(encoding="utf-8"))["columns"] == ["mode"]
    assert "<svg" in (place / "p.html").read_text(encoding="utf-8")
    assert run("describe", place / "nothing.parquet").exit_code == 1
