"""The page: what must be on it, that titles are data, that equal inputs give equal bytes."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from retrieval.folders import tables_in
from retrieval.workplace import Workplace

from clamp3.config import EmbedConfig, EvaluateConfig, ReportConfig, SpaceConfig
from clamp3.errors import DataError
from clamp3.retrieval.embedding.collection import embed_model
from clamp3.retrieval.evaluation.comparison import compare_models, read_evaluation
from clamp3.retrieval.evaluation.examples import choose_examples, nearest
from clamp3.retrieval.evaluation.held_out import evaluate_model
from clamp3.retrieval.report import plots
from clamp3.retrieval.report.html import element, page, table
from clamp3.retrieval.report.writing import write_report
from clamp3.retrieval.space.maps import (
    OTHER,
    common_labels,
    principal_map,
    sample_rows,
    without_group_means,
)
from clamp3.retrieval.vectors import Origin, Vectors

SPACE = SpaceConfig(
    columns=("key", "metre", "tags", "no_such"),
    layout="principal",
    map_points=60,
    sample=100,
    neighbours=3,
    pieces=2,
)
SETTINGS = ReportConfig(examples=12, space=SPACE)
VOID = {"meta", "path", "use", "br", "clipPath"}


class Outline(HTMLParser):
    """Collects text and headings, and checks that elements are closed in order."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def finished(workplace: Workplace) -> Workplace:
    """A work tree after everything but the report."""
    results = workplace.root / "results"
    settings = EmbedConfig(batch_tokens=512, threads=1)
    manifests, root = workplace.manifests, workplace.root
    evaluate = EvaluateConfig(text_field="analysis", hits_at=(1, 5), num_abc=None, num_mtf=None)
    for name in ("clamp3", "lora"):
        folder = results / "embeddings" / name
        embed_model(workplace.model, manifests, folder, settings, root=root, device="cpu")
        out = results / f"evaluation/{name}.json"
        ranks = results / f"evaluation/ranks/{name}.parquet"
        evaluate_model(tables_in(folder), manifests, out, evaluate, ranks=ranks)
    compare_models(
        *(results / f"evaluation/{name}.json" for name in ("clamp3", "lora", "comparison")),
        ranks=tuple(results / f"evaluation/ranks/{name}.parquet" for name in ("clamp3", "lora")),
    )
    for name in ("m3", "clamp3/symbolic", "lora/abc"):
        path = results / f"metrics/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "step\tepoch\tsplit\tloss\tlearning_rate\textra\n"
            "10\t1\ttrain\t2.5\t0.001\t\n12\t1\tvalidation\t2.4\t0.001\t7\n20\t2\ttrain\t2.0\t0.001\t\n",
            encoding="utf-8",
        )
    counts = {
        "pdmx": {
            "pieces": 13,
            "rejected": {"parse": {}},
            "abc": {
                "in": 13,
                "out": {"train": 0, "test": 12},
                "rejected": {"abc": {"no_notes": 1}},
            },
        }
    }
    (root / "data/manifests/counts.json").write_text(json.dumps(counts), encoding="utf-8")
    return workplace


def report_of(place: Workplace, name: str = "report.html", **options: object) -> str:
    out = place.root / "results" / name
    write_report(
        place.root / "data", place.root / "results", out, SETTINGS, root=place.root, **options
    )
    return out.read_text(encoding="utf-8")


def test_everything_is_on_the_page(finished: Workplace):
    found = Outline(report_of(finished, params={"seed": 42, "m3": {"mask_ratio": 0.45}}))
    for wanted in (
        "Held-out retrieval",
        "CLaMP 3 + LoRA against CLaMP 3",
        "Retrieved examples",
        "Map of the space",
        "by tags; two principal axes",
        "The space in figures",
        "text – audio",
        "Neighbours",
        "nearest to Tune",
        "Training",
        "What went in",
        "Parameters",
        "PDMX, text → abc",
        "WikiMT-X, text (analysis) → abc",
        "Equal similarities share their places",
        "additive <numpy>",
        "clamp3/symbolic",
        "abc no_notes: 1",
        "mask_ratio: 0.45",
        "the right one",
        "[V:1]",
    ):
        assert wanted in found.text, wanted
    # Adapters; modalities and tags, because all are in C and 4/4; three curves.
    assert len(found.all("svg")) == 1 + 2 + 3
    evaluation = read_evaluation(finished.root / "results/evaluation/clamp3.json")
    assert evaluation["fingerprints"]["abc"][:16] in found.text
    row = evaluation["collections"]["pdmx"]["text_to_abc"]
    assert f"{row['mrr']:.3f} [{row['intervals']['mrr'][0]:.3f}, " in found.text


def test_titles_and_texts_are_data(finished: Workplace):
    text = report_of(finished)
    assert "Tom &amp; Jerry&#x27;s &lt;Reel&gt;" in text
    assert "<Reel>" not in text
    assert "&lt;b&gt;3&lt;/b&gt;" in text  # of a query


def test_the_page_needs_nothing_else(finished: Workplace):
    found = Outline(report_of(finished))
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    for tag, attributes in found.tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    assert "@import" not in report_of(finished)
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert {"viewport"} <= {m.get("name") for m in found.all("meta")}
    assert all(len(name) > 8 for name in ids)  # only what is referred to, by hashed names


def test_the_same_inputs_give_the_same_bytes(finished: Workplace):
    assert report_of(finished) == report_of(finished, "again.html")


def test_parts_of_a_pipeline_can_be_looked_at(tmp_path: Path):
    write_report(tmp_path / "data", tmp_path / "results", tmp_path / "r.html", SETTINGS)
    found = Outline((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert found.all("h2") == []
    assert len(found.all("h1")) == 1


def test_what_is_needed_and_not_there_is_named(tmp_path: Path):
    places = (tmp_path / "data", tmp_path / "results", tmp_path / "r.html")
    with pytest.raises(DataError, match=r"counts\.json: no such file"):
        write_report(*places, SETTINGS, needed=[tmp_path, tmp_path / "data/counts.json"])
    assert not places[2].exists()


def test_a_part_of_the_catalogue_that_is_gone_is_named(finished: Workplace):
    folder = finished.root / "data/catalog"
    folder.mkdir(parents=True, exist_ok=True)
    part = f"part-00000-of-00001.parquet\t1\t{'0' * 64}\n"
    (folder / "parts.tsv").write_text(f"file\trows\tsha256\n{part}")
    for found in folder.glob("part-*.parquet"):
        found.unlink()
    with pytest.raises(DataError, match=r"part-00000-of-00001\.parquet: no such file"):
        report_of(finished, "broken.html")


@pytest.mark.parametrize(
    "content", [b"a\tb\n1\t2\n", b"", b"step\tsplit\tloss\n1\ttrain\t0.", b"\xff\n"]
)
def test_a_broken_table_of_figures_is_named(finished: Workplace, content: bytes):
    (finished.root / "results/metrics/m3.tsv").write_bytes(content)
    with pytest.raises(DataError, match=r"m3\.tsv: not a table of training figures"):
        report_of(finished, "broken.html")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]"])
def test_broken_counts_are_named(finished: Workplace, content: bytes):
    (finished.root / "data/manifests/counts.json").write_bytes(content)
    with pytest.raises(DataError, match=r"counts\.json: not the counts of pieces"):
        report_of(finished, "broken.html")


def test_figures_show_any_name_and_the_pages_own_colour():
    names = ["$x_1$", "_hidden", "小提琴", "<b>"]
    svg = plots.scatter_figure(np.eye(4)[:, :2], names, names)
    for shown in ("$x_1$ (1)", "hidden (1)", "小提琴 (1)", "&lt;b&gt; (1)"):
        assert shown in svg
    assert "currentColor" in svg
    assert plots.INK not in svg
    assert svg.startswith("<svg")
    assert "width=" not in svg[: svg.index(">")]


def test_figures_have_a_name_and_a_description_for_those_who_do_not_see_them():
    drawn = [
        plots.scatter_figure(np.eye(3)[:, :2], ["<a>", "b", "b"], ["<a>"], title="Map & all"),
        plots.line_figure({"train": ([1, 2], [2.0, 1])}, "step", "loss"),
        plots.bar_figure(["a → b"], {"CLaMP 3": [0.5]}, [0.1], "MRR"),
    ]
    for svg, title in zip(drawn, ("Map & all", "loss by step", "MRR"), strict=True):
        (head,) = Outline(svg).all("svg")
        assert head["role"] == "img"
        assert f'<title id="{head["aria-labelledby"]}">{title.replace("&", "&amp;")}</title>' in svg
        assert f'<desc id="{head["aria-describedby"]}">' in svg
    assert "3 points. &lt;a&gt;: 1; b: 2.</desc>" in drawn[0]


def test_each_point_of_a_map_tells_its_name():
    points = np.array([[0, 0], [1, 2], [1, 2], [3, 1], [2, 2]], float)
    labels, names = ["a", "b", "a", "c", "a"], ["one", "two <b>", "one", "four", "five"]
    svg = plots.scatter_figure(points, labels, ["a", "b"], names=names)
    tips = re.findall(r"<use [^>]*fill: (#\w+)[^>]*><title>(.*?)</title></use>", svg)
    first, second = plots.colour_of(0), plots.colour_of(1)
    assert sorted(tips) == sorted(
        [
            (first, "one"),
            (first, "one"),
            (first, "five"),
            (second, "two &lt;b&gt;"),
            (plots.GREY, "four"),
        ]
    )
    assert "<title>four" not in plots.scatter_figure(points, labels, ["a"])


# What red-, green- and blue-blind eyes see of linear light: Viénot and others 1999 for the first
# two; for the third the usual approximation in which blue and green are taken together.
BLINDNESS = {
    "none": np.eye(3),
    "protan": np.array([[0.112, 0.888, 0], [0.112, 0.888, 0], [0.004, -0.004, 1]]),
    "deutan": np.array([[0.293, 0.707, 0], [0.293, 0.707, 0], [-0.022, 0.022, 1]]),
    "tritan": np.array([[1, 0.15, -0.15], [0, 0.87, 0.13], [0, 0.87, 0.13]]),
}


def linear(colour: str) -> np.ndarray:
    light = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)


def perceived(colour: str, kind: str) -> np.ndarray:
    """Lightness and the two opponents of CIE L*a*b* after the eye's loss."""
    light = np.clip(BLINDNESS[kind] @ linear(colour), 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(to_xyz @ light / to_xyz.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_or_shapes_tell_series_apart_for_every_eye(kind: str):
    assert len(set(plots.SHAPES)) == len(plots.COLOURS) == 8
    seen = [perceived(colour, kind) for colour in plots.COLOURS]
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 10  # in CIE ΔE, of which 2 is just noticed side by side


def test_colours_stand_out_on_light_and_on_dark_pages():
    for colour in (*plots.COLOURS, plots.GREY):
        light = linear(colour) @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (light + 0.05) > 2, colour
        assert (light + 0.05) / 0.056 > 3, colour  # on #121212


def test_a_line_of_one_point_and_bars_of_one_model():
    assert "<svg" in plots.line_figure({"train": ([1], [2.0])}, "step", "loss")
    assert "chance" in plots.bar_figure(["a → b"], {"CLaMP 3": [0.5]}, [0.1], "MRR")


def test_a_map_shows_the_widest_two_axes():
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, 200)
    circle = np.zeros((200, 5))
    circle[:, 1], circle[:, 3] = np.cos(angles), np.sin(angles)
    found = principal_map(circle * rng.uniform(0.1, 9, (200, 1)))  # lengths do not matter
    assert sum(found.shown) == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(found.points + 0, axis=1), 1, atol=0.2)
    np.testing.assert_allclose(found.points, principal_map(circle).points, atol=1e-9)


@pytest.mark.parametrize("rows", [np.ones((4, 3)), np.zeros((2, 3)), np.eye(3)[:1]])
def test_a_map_of_nothing_that_differs_is_a_point(rows: np.ndarray):
    found = principal_map(rows)
    np.testing.assert_allclose(found.points, 0, atol=1e-7)
    assert found.points.shape == (len(rows), 2)


def test_without_group_means_groups_lie_on_each_other():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.standard_normal((20, 4)) + 5, rng.standard_normal((30, 4)) - 5])
    groups = ["a"] * 20 + ["b"] * 30
    left = without_group_means(rows, groups)
    np.testing.assert_allclose(left[:20].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(left[20:].mean(axis=0), 0, atol=1e-12)


def test_the_same_pieces_are_drawn_from_every_table():
    ids = [f"pdmx/{n}" for n in range(50)]
    order = np.random.default_rng(0).permutation(50)
    chosen = {ids[row] for row in sample_rows(ids, 10)}
    shuffled = [ids[row] for row in order]
    assert {shuffled[row] for row in sample_rows(shuffled, 10)} == chosen
    assert len(chosen) == 10
    assert sample_rows(ids[:3], 10) == [0, 1, 2]


def test_rare_labels_become_other():
    kinds = ["reel", "jig", None, "reel", "air"] * 2
    assert common_labels(kinds, 2)[:5] == ["reel", OTHER, OTHER, "reel", "air"]


def test_the_nearest_are_a_plain_sort_with_ties_in_order():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, 4)).astype(np.float32)
    rows[7] = rows[20] * 3
    query = rng.standard_normal(4).astype(np.float32)
    cosines = [float(r @ query / np.linalg.norm(r) / np.linalg.norm(query)) for r in rows]
    expected = sorted(range(30), key=lambda row: (-round(cosines[row], 6), row))
    found = nearest(query, rows, 40)
    assert [row for row, _ in found] == expected
    assert found[0][1] == pytest.approx(max(cosines), abs=1e-6)
    assert nearest(query, np.zeros((2, 4), np.float32), 5) == [(0, 0.0), (1, 0.0)]


def test_examples_do_not_depend_on_success_and_mark_the_right_answer():
    rng = np.random.default_rng(0)
    ids = [f"p/{n}" for n in range(20)]
    references = Vectors(ids, rng.standard_normal((20, 6)), Origin("", "", "", ""))
    good = Vectors(
        ["x", *ids], np.concatenate([np.ones((1, 6)), references.embeddings]), references.origin
    )
    bad = Vectors(["x", *ids], -good.embeddings, references.origin)
    found, worse = choose_examples(good, references, 4), choose_examples(bad, references, 4)
    assert [e.id for e in found] == [e.id for e in worse]
    for example in found:
        assert (example.rank, example.references) == (1, 20)
        assert [a.right for a in example.answers] == [True, False, False]
        assert example.answers[0].id == example.id
        assert example.answers[0].similarity == pytest.approx(1)
    assert all(example.rank == 20 for example in worse)
    assert choose_examples(good.take([0]), references, 4) == []


def test_tables_and_elements_escape():
    text = table(["<a>", "n"], [["x & y", 1], [element("b", "<"), None]])
    assert "<th>&lt;a&gt;</th>" in text
    assert "<td>x &amp; y</td>" in text
    assert "<b>&lt;</b>" in text
    assert table(["a"], []) == ""
    assert "<title>a &lt; b</title>" in page("a < b")
    assert element("p", "x", class_='"') == '<p class="&quot;">x</p>'
