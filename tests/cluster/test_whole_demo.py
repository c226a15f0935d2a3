"""The comparison of two runs' figures, which whole_demo.py makes of the whole demo."""

import pytest
import whole_demo


@pytest.fixture
def tree(tmp_path):
    """A folder with some figures."""
    for name, text in (("metrics/m3.tsv", "step\n1\n"), ("evaluation/a/b.json", "{}\n")):
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def test_figures_are_all_files_below_both_folders(tree):
    (tree / "results/metrics/.snakemake_timestamp").touch()
    (tree / "results/report.html").touch()
    assert list(whole_demo.figures(tree)) == [
        "results/evaluation/a/b.json",
        "results/metrics/m3.tsv",
    ]


def test_differences_name_file_and_line(tree):
    expected = whole_demo.figures(tree)
    assert whole_demo.differences(expected, whole_demo.figures(tree)) == []
    (tree / "results/metrics/m3.tsv").write_text("step\n2\n")
    (tree / "results/evaluation/a/b.json").rename(tree / "results/evaluation/c.json")
    told = whole_demo.differences(expected, whole_demo.figures(tree))
    assert told == [
        "results/evaluation/a/b.json: not made on the cluster",
        "results/evaluation/c.json: made on the cluster alone",
        "results/metrics/m3.tsv: line 2\n  here           b'1\\n'\n  on the cluster b'2\\n'",
    ]


def test_a_file_that_ends_sooner_differs():
    assert "line 2" in whole_demo.first_difference(b"a\nb\n", b"a\n")
