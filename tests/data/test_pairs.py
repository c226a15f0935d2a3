"""Manifests of several modalities, put together piece by piece."""

import pytest

from clamp3.data.pairs import load_pairs
from clamp3.errors import DataError
from clamp3.files import write_jsonl


def _line(number, suffix, **texts):
    return {"id": f"pdmx/Qm{number}", "filepaths": [f"data/Qm{number}.{suffix}"], **texts}


def _manifest(folder, name, lines):
    write_jsonl(folder / name, lines)
    return folder / name


def test_lines_of_one_piece_become_one_pair_in_order_of_ids(tmp_path):
    scores = _manifest(tmp_path, "abc", [_line(2, "abc", title="b"), _line(1, "abc", title="a")])
    midis = _manifest(tmp_path, "mtf", [_line(3, "mtf", title="c"), _line(1, "mtf", title="a")])
    pairs = load_pairs([scores, midis])
    assert [pair.id for pair in pairs] == ["pdmx/Qm1", "pdmx/Qm2", "pdmx/Qm3"]
    assert pairs[0].filepaths == ("data/Qm1.abc", "data/Qm1.mtf")
    assert pairs[0].texts["title"] == "a"
    assert "filepaths" not in pairs[0].texts
    assert load_pairs([midis, scores])[0].filepaths == ("data/Qm1.mtf", "data/Qm1.abc")


def test_a_file_named_twice_counts_once(tmp_path):
    manifest = _manifest(tmp_path, "abc", [_line(1, "abc"), _line(1, "abc")])
    assert load_pairs([manifest, manifest])[0].filepaths == ("data/Qm1.abc",)


def test_only_the_suffixes_asked_for(tmp_path):
    line = _line(1, "abc") | {"filepaths": ["Qm1.abc", "Qm1.mtf", "Qm1.npy"]}
    manifest = _manifest(tmp_path, "all", [line, _line(2, "npy")])
    pairs = load_pairs([manifest], (".abc", ".mtf"))
    assert [(pair.id, pair.filepaths) for pair in pairs] == [("pdmx/Qm1", ("Qm1.abc", "Qm1.mtf"))]
    assert load_pairs([], (".abc",)) == []


def test_what_one_line_lacks_another_may_say(tmp_path):
    first = _manifest(tmp_path, "one", [_line(1, "abc", title=None, tags=["jig"])])
    second = _manifest(tmp_path, "two", [_line(1, "mtf", title="a", tags=[])])
    texts = load_pairs([first, second])[0].texts
    assert (texts["title"], texts["tags"]) == ("a", ["jig"])


def test_contradictions_name_manifest_piece_and_field(tmp_path):
    first = _manifest(tmp_path, "one", [_line(1, "abc", title="a")])
    second = _manifest(tmp_path, "two", [_line(1, "mtf", title="b")])
    with pytest.raises(DataError, match=r"two: pdmx/Qm1 has another title than"):
        load_pairs([first, second])
