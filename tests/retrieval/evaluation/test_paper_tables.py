"""The papers' tables: what tables.yaml may say, cells against plain figures, what is not run."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from repository import ROOT
from retrieval.rankings import plain_cosines
from retrieval.workplace import Workplace

from clamp3.config import EmbedConfig, check
from clamp3.errors import ConfigError, DataError
from clamp3.files import write_jsonl
from clamp3.retrieval.evaluation.paper_cells import Asked, Bench
from clamp3.retrieval.evaluation.paper_embeddings import embed_paper_sets
from clamp3.retrieval.evaluation.paper_tables import PaperTables, make_table, read_tables
from clamp3.retrieval.vectors import Origin, Vectors, read_vectors, write_vectors

ORIGIN = Origin("m", "m", "", "")
SPEC = {
    "models": {
        "saas": {"title": "CLaMP 3 saas", "weights": "weights/saas"},
        "sa": {"title": "CLaMP 3 sa"},
        "here": {"title": "demo", "embeddings": ["results/embeddings/clamp3"]},
    },
    "tables": {
        "one": {
            "title": "A table",
            "blocks": [
                {
                    "title": "Scores",
                    "source": "Paper, table 2",
                    "remark": "A remark.",
                    "columns": [
                        {
                            "title": "Sheets",
                            "metric": "mrr",
                            "query": "sheets:background",
                            "reference": "sheets:abc",
                            "pieces": 9,
                        },
                        {
                            "title": "Sound",
                            "metric": "hit@1",
                            "query": "sheets:abc",
                            "reference": "sound:audio",
                            "stand_in": ["sheets:background", "sheets:abc"],
                        },
                    ],
                    "rows": {"saas": [0.3301, None], "sa": [0.3591, 0.1]},
                }
            ],
        }
    },
}


def matrix(rows: int, *seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)


def save(folder: Path, collection: str, name: str, ids: list[str], vectors: np.ndarray, **labels):
    made = Vectors(ids, vectors, ORIGIN, labels)
    write_vectors(folder / collection / f"{name}.parquet", made)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Twelve sheets with texts and two genres; the sound of nine of them in folders of genres."""
    names = [f"{number:02d}" for number in range(12)]
    genres = ["jazz", "folk"] * 6
    ids = [f"sheets/{name}" for name in names]
    rows = [{"id": n, "genres": [g]} for n, g in zip(ids, genres, strict=True)]
    write_jsonl(tmp_path / "sheets-abc-test.jsonl", rows)
    save(tmp_path, "sheets", "abc", ids, matrix(12, 1))
    texts = np.repeat(matrix(12, 1) + matrix(12, 2), 2, axis=0)
    fields = ["background", "scene"] * 12
    save(tmp_path, "sheets", "text", [n for n in ids for _ in "bs"], texts, field=fields)
    sounds = [f"sound/{g}_{n}" for n, g in zip(names, genres, strict=True)][:9]
    rows = [{"id": name, "genres": [name[6:10]]} for name in sounds]
    write_jsonl(tmp_path / "sound-audio-test.jsonl", rows)
    save(tmp_path, "sound", "audio", sounds, matrix(9, 3))
    return tmp_path


def bench(place: Path) -> Bench:
    return Bench([place / "missing", place], sorted(place.glob("*.jsonl")))


def plain_places(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The place of reference n for query n."""
    places = []
    for row, query in enumerate(queries):
        cosines = plain_cosines(query, references)
        places.append(1 + sum(cosines > cosines[row]))
    return np.array(places)


def test_the_repositorys_own_tables_make_sense():
    spec = read_tables(ROOT / "workflow/tables.yaml")
    assert list(spec.tables) == ["text_to_music", "multilingual", "crossmodal", "probes", "lora"]
    scores = spec.tables["text_to_music"].blocks[0]
    figures = dict(zip([c.title for c in scores.columns], scores.rows["saas"], strict=True))
    assert (figures["WikiMT-X background"], scores.rows["c2"][0]) == (0.3301, 0.4498)
    assert sum(len(block.rows) for block in spec.tables["multilingual"].blocks) == 7 + 7 + 6
    told = [
        figure
        for table in spec.tables.values()
        for block in table.blocks
        for row in block.rows.values()
        for figure in row
        if figure is not None
    ]
    assert all(0 < figure < 1 for figure in told)


def test_a_figure_is_that_of_a_plain_ranking(place: Path):
    asked = Asked("Sheets", "mrr", ("sheets:background", "sheets:abc"), 12)
    cell = bench(place).cell(asked)
    places = plain_places(matrix(12, 1) + matrix(12, 2), matrix(12, 1))
    assert cell.here == pytest.approx(np.mean(1 / places), abs=1e-6)
    assert cell.chance == pytest.approx(sum(1 / n for n in range(1, 13)) / 12, abs=1e-6)
    assert cell.interval[0] <= cell.here <= cell.interval[1]
    assert (cell.queries, cell.pieces, cell.note, cell.not_run) == (12, 12, "", "")
    hits = bench(place).cell(asked._replace(metric="hit@5"))
    assert hits.here == pytest.approx(np.mean(places <= 5), abs=1e-6)


def test_pieces_of_two_collections_belong_together_by_name(place: Path):
    cell = bench(place).cell(Asked("Sound", "mrr", ("sheets:abc", "sound:audio")))
    places = plain_places(matrix(12, 1)[:9], matrix(9, 3))
    assert cell.here == pytest.approx(np.mean(1 / places), abs=1e-6)
    assert (cell.queries, cell.pieces) == (9, 9)


def test_a_larger_gallery_is_cut_to_the_published_size_and_a_smaller_one_told(place: Path):
    asked = Asked("Sheets", "mrr", ("sheets:background", "sheets:abc"), 7)
    cell = bench(place).cell(asked)
    assert (cell.queries, cell.pieces, cell.note) == (7, 7, "")
    assert cell == bench(place).cell(asked)
    cell = bench(place).cell(asked._replace(pieces=1010))
    assert (cell.pieces, cell.note) == (12, "12 pieces, published 1,010")


def test_several_queries_of_a_piece_count_singly(place: Path):
    """As the captions of Song Describer: two lines of the first piece, one of the others."""
    ids = [f"sound/{n}" for n in ("jazz_00", "jazz_00", "folk_01", "jazz_02")]
    save(place, "sound", "lines", ids, matrix(4, 5), field=["description"] * 4)
    cell = bench(place).cell(Asked("Sound", "mrr", ("sound:lines", "sound:audio")))
    reciprocal = []
    for query, row in zip(matrix(4, 5), (0, 0, 1, 2), strict=True):
        cosines = plain_cosines(query, matrix(9, 3))
        reciprocal.append(1 / (1 + sum(cosines > cosines[row])))
    assert cell.here == pytest.approx(np.mean(reciprocal), abs=1e-6)
    assert (cell.queries, cell.pieces) == (4, 9)


def test_probes_tell_accuracy_beside_the_most_frequent_genre(place: Path):
    genres = np.array([1.0, -1.0] * 6)
    told = matrix(12, 4) + 9 * genres[:, None]
    save(place, "sheets", "abc", [f"sheets/{n:02d}" for n in range(12)], told)
    bench_ = bench(place)
    for metric in ("accuracy", "macro_f1"):
        cell = bench_.cell(Asked("Genre", metric, ("sheets:abc",)))
        assert (cell.here, cell.pieces) == (1, 12)
        assert cell.chance == pytest.approx({"accuracy": 0.5, "macro_f1": 1 / 3}[metric], abs=1e-6)


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        (("songs:lines", "songs:audio"), "parse.collections in params.yaml names no songs"),
        (("sheets:scene2", "sheets:abc"), "holds no scene2"),
        (("sheets:background", "sheets:mtf"), "no mtf of sheets is embedded"),
    ],
)
def test_what_is_missing_is_said(place: Path, sources: tuple, why: str):
    cell = bench(place).cell(Asked("?", "mrr", sources))
    assert cell.here is None
    assert why in cell.not_run


def test_a_table_has_published_figures_beside_those_of_here(place: Path, monkeypatch):
    monkeypatch.chdir(place)
    spec = check(PaperTables, SPEC, "spec")
    (place / "sound-audio-test.jsonl").unlink()
    manifests = [place / "sheets-abc-test.jsonl"]
    for name in ("a", "b"):
        out = {"markdown": place / f"{name}.md", "rows": place / f"{name}.tsv"}
        make_table("one", spec, {"here": [place]}, manifests, **out)
    assert (place / "a.md").read_bytes() == (place / "b.md").read_bytes()
    text = (place / "a.md").read_text(encoding="utf-8")
    asked = Asked("", "mrr", ("sheets:background", "sheets:abc"), 9)
    here = bench(place).cell(asked).here
    assert "| CLaMP 3 saas | 0.3301 / – | – / – |" in text
    assert f"| demo | – / {here:.4f} | – / " in text
    assert "on sheets:background to sheets:abc" in text
    assert "- not run: weights/saas: not there (`clamp3 import-weights`" in text
    assert "- not run: workflow/tables.yaml names no weights" in text
    assert "(CLaMP 3 sa)" in text
    lines = [line.split("\t") for line in (place / "a.tsv").read_text("utf-8").splitlines()]
    assert {len(cells) for cells in lines} == {len(lines[0])}
    assert len(lines) == 1 + 3 * 2
    row = dict(zip(lines[0], lines[1], strict=True))
    assert (row["figure"], row["model"], row["published"]) == ("Sheets", "CLaMP 3 saas", "0.3301")
    assert (row["here"], row["not_run"][:12]) == ("", "weights/saas")


def test_without_anything_every_figure_is_not_run(tmp_path: Path):
    out = {"markdown": tmp_path / "a.md", "rows": tmp_path / "a.tsv"}
    make_table("one", check(PaperTables, SPEC, "spec"), {}, [], **out)
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert "run here" not in text
    assert "results/embeddings/clamp3 is not there (`snakemake embed" in text


def faulty(**changes: object) -> dict:
    spec = yaml.safe_load(yaml.safe_dump(SPEC))
    spec["tables"]["one"]["blocks"][0].update(changes)
    return spec


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (faulty(rows={"saas": [0.3]}), "Scores, saas: 1 figures, 2 columns"),
        (faulty(rows={"other": [0.3, 0.1]}), "no other"),
        (faulty(columns=[{"title": "A", "metric": "mrr", "classify": "a:abc"}]), "`query` and"),
        (faulty(columns=[{"title": "A", "metric": "accuracy", "query": "a:abc"}]), "`classify`"),
        (
            faulty(columns=[{"title": "A", "metric": "accuracy", "classify": "abc"}]),
            "expected collection:modality",
        ),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path: Path, values: dict, why: str):
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(ConfigError, match=why):
        read_tables(tmp_path / "t.yaml")


SETTINGS = EmbedConfig(batch_tokens=512, threads=1)


def test_data_sets_are_embedded_and_captions_line_by_line(workplace: Workplace, monkeypatch):
    monkeypatch.chdir(workplace.root)
    out = workplace.root / "out"
    embed_paper_sets(
        workplace.model, workplace.manifests, out, SETTINGS, line_collections=["wikimt_x"]
    )
    assert sorted(path.stem for path in (out / "pdmx").iterdir()) == ["abc", "audio", "mtf", "text"]
    assert not (out / "pdmx/lines.parquet").exists()
    cell = Bench([out], workplace.manifests).cell(
        Asked("", "mrr", ("wikimt_x:analysis", "wikimt_x:abc"))
    )
    assert (cell.queries, cell.pieces) == (3, 3)
    rows = [row | {"description": "one caption\n\nanother"} for row in workplace.texts.values()]
    told = [row | {"filepaths": [f"data/interleaved/{row['id']}.abc"]} for row in rows[-3:]]
    write_jsonl(workplace.root / "data/manifests/wikimt_x-abc-test.jsonl", told)
    embed_paper_sets(
        workplace.model, workplace.manifests[3:], out, SETTINGS, line_collections=["wikimt_x"]
    )
    lines = read_vectors(out / "wikimt_x/lines.parquet")
    assert lines.ids == [row["id"] for row in told for _ in range(2)]
    assert lines.origin.space == read_vectors(out / "wikimt_x/abc.parquet").origin.space


def test_sound_of_another_front_end_costs_itself_alone(workplace: Workplace, monkeypatch, tiny):
    monkeypatch.chdir(workplace.root)
    broken = [{"id": "x/1", "filepaths": ["data/features/none.npy"], "genres": []}]
    path = workplace.root / "data/manifests/x-audio-test.jsonl"
    write_jsonl(path, broken)
    manifests = [*workplace.manifests[3:], path]
    embed_paper_sets(workplace.model, manifests, workplace.root / "out", SETTINGS)
    bench_ = Bench([workplace.root / "out"], manifests)
    assert bench_.cell(Asked("", "mrr", ("x:audio", "x:audio"))).not_run
    assert bench_.cell(Asked("", "mrr", ("wikimt_x:abc", "wikimt_x:analysis"))).here is not None


def test_a_model_that_reads_nothing_of_it_is_refused(workplace: Workplace):
    with pytest.raises(DataError, match="read none of the collections"):
        embed_paper_sets(workplace.model, [], workplace.root / "out", SETTINGS)


def test_chance_falls_with_the_gallery(place: Path):
    sources = ("sheets:background", "sheets:abc")
    chances = [bench(place).cell(Asked("", "mrr", sources, n)).chance for n in (3, 6, 12)]
    assert chances == sorted(chances, reverse=True)
    assert math.isclose(chances[0], (1 + 1 / 2 + 1 / 3) / 3, abs_tol=1e-6)
