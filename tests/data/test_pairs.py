"""Manifests of several modalities, put together piece by piece."""

import json
import multiprocessing
import pickle
import random
import tracemalloc

import pytest

from clamp3.data.manifests import read_manifest
from clamp3.data.pairs import Pair, _merged, _pair, load_pairs, look_through
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
    assert list(load_pairs([], (".abc",))) == []


def test_what_one_line_lacks_another_may_say(tmp_path):
    first = _manifest(tmp_path, "one", [_line(1, "abc", title=None, tags=["jig"])])
    second = _manifest(tmp_path, "two", [_line(1, "mtf", title="a", tags=[])])
    texts = load_pairs([first, second])[0].texts
    assert (texts["title"], texts["tags"]) == ("a", ["jig"])


def test_numbers_that_are_none_stand_for_what_is_missing(tmp_path):
    line = _line(1, "abc", title=float("nan"), genres=["jig", float("nan")])
    pair = load_pairs([_manifest(tmp_path, "one", [line])])[0]
    assert (pair.texts["title"], pair.texts["genres"]) == (None, ["jig"])


def test_contradictions_name_manifest_piece_and_field(tmp_path):
    first = _manifest(tmp_path, "one", [_line(1, "abc", title="a")])
    second = _manifest(tmp_path, "two", [_line(1, "mtf", title="b")])
    with pytest.raises(DataError, match=r"two: pdmx/Qm1 has another title than"):
        load_pairs([first, second])


def _all_in_memory(manifests, suffixes=()):
    """The same with every text held, plainly."""
    pieces = {}
    for manifest in manifests:
        for line in read_manifest(manifest):
            pair = _pair(line)
            known = pieces.get(pair.id)
            pieces[pair.id] = _merged(known, pair, str(manifest)) if known else pair
    pairs = [pieces[piece_id] for piece_id in sorted(pieces)]
    return [p for p in (p.with_suffix(suffixes) if suffixes else p for p in pairs) if p.filepaths]


def _odd_manifests(folder, seed):
    """Ids in several alphabets or missing, lines apart and twice, all ends of line, marks."""
    dice = random.Random(seed)
    names = [dice.choice(["a", "é", "音", "𝄞", "Z"]) * dice.randint(1, 3) for _ in range(30)]
    manifests = []
    for number in range(3):
        text = "\ufeff" if number == 1 else ""
        for _ in range(40):
            name = dice.choice(names)
            files = [f"{name}{k}.{dice.choice(['abc', 'mtf', 'npy'])}" for k in range(2)]
            line = {"id": name, "filepaths": files, "title": dice.choice([None, "t " + name])}
            line |= {"tags": dice.choice([[], ["x", name]]), "own": dice.choice([0, 7])}
            if dice.random() < 0.2:
                del line["id"]
            text += json.dumps(line, ensure_ascii=dice.random() < 0.5)
            text += dice.choice(["\n", "\r\n", "\r", "\n\n", " \n"])
        manifests.append(folder / f"{number}.jsonl")
        manifests[-1].write_bytes(text.rstrip().encode())
    return manifests


@pytest.mark.parametrize("seed", range(8))
def test_pieces_are_those_of_manifests_in_memory(tmp_path, seed):
    manifests = _odd_manifests(tmp_path, seed)
    for suffixes in ((), (".abc",), (".mtf", ".npy")):
        expected = _all_in_memory(manifests, suffixes)
        pairs, seen = look_through(manifests, suffixes, lambda pair: pair)
        assert list(pairs) == seen == expected
        assert [list(pair.texts) for pair in pairs] == [list(pair.texts) for pair in expected]
        assert list(pairs[3:9:2]) == expected[3:9:2]
        assert [*pairs.take([5, 0]), pairs[-1]] == [expected[5], expected[0], expected[-1]]


def test_texts_are_not_held(tmp_path):
    lines = [_line(number, "abc", title=f"{number} " * 2000) for number in range(500)]
    manifest = _manifest(tmp_path, "long", lines)
    del lines
    tracemalloc.start()
    try:
        pairs = load_pairs([manifest])
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(pairs), len(pairs[7].texts["title"])) == (500, 8000)
    assert held < 200 * len(pairs)  # of 8 kB each
    assert most < manifest.stat().st_size / 4


def test_a_manifest_that_another_takes_the_place_of_stays_what_it_was(tmp_path):
    manifest = _manifest(tmp_path, "m", [_line(1, "abc", title="old")])
    pairs = load_pairs([manifest])
    _manifest(tmp_path, "m", [_line(1, "abc", title="new")])  # written beside and moved there
    assert pairs[0].texts["title"] == "old"
    assert load_pairs([manifest])[0].texts["title"] == "new"


@pytest.mark.parametrize("change", [lambda data: data.replace(b"old", b"new"), lambda data: b""])
def test_a_manifest_that_changes_in_place_is_refused(tmp_path, change):
    manifest = _manifest(tmp_path, "m", [_line(1, "abc", title="old")])
    pairs = load_pairs([manifest])
    manifest.write_bytes(change(manifest.read_bytes()))
    with pytest.raises(DataError, match=r"m: changed while it is in use; run the same"):
        pairs[0]


def _digits(pairs, start):
    return [pairs[(start + step) % len(pairs)].texts["title"] for step in range(300)]


def test_processes_read_at_the_same_time(tmp_path):
    manifest = _manifest(tmp_path, "m", [_line(n, "abc", title=str(n) * 50) for n in range(100)])
    pairs = load_pairs([manifest])
    expected = [_digits(pairs, start) for start in (0, 37, 74)]
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:  # pickled: each process opens the manifest itself
        assert pool.starmap(_digits, [(pairs, start) for start in (0, 37, 74)]) == expected
    found = context.SimpleQueue()
    workers = [  # forked: one open file for all
        context.Process(target=lambda start=start: found.put((start, _digits(pairs, start))))
        for start in (0, 37, 74)
    ]
    for worker in workers:
        worker.start()
    assert dict(found.get() for _ in workers) == dict(zip((0, 37, 74), expected, strict=True))
    for worker in workers:
        worker.join()
    assert list(pickle.loads(pickle.dumps(pairs))) == list(pairs)


def test_the_first_contradiction_is_told(tmp_path):
    lines = [_line(number, "abc", title="a") for number in (2, 1)]
    first = _manifest(tmp_path, "one", lines)
    second = _manifest(tmp_path, "two", [line | {"title": "b"} for line in lines])
    with pytest.raises(DataError, match=r"two: pdmx/Qm2 has another title"):
        look_through([first, second], (".mtf",), Pair.with_suffix)
