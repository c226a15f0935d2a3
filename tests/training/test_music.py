"""What is read and kept in memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_corpus import FEATURE_SIZE, make_corpus

from clamp3.data.pairs import load_pairs
from clamp3.errors import DataError
from clamp3.files import write_table
from clamp3.formats.patches import encode_patches, remove_instruments
from clamp3.training import music as music_module
from clamp3.training import music_cache
from clamp3.training.music import RecordedMusic, SymbolicMusic


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    manifests = make_corpus(tmp_path_factory.mktemp("corpus"), 4)
    return {kind: [p.filepaths[0] for p in load_pairs([m])] for kind, m in manifests.items()}


class Reader:
    """A stand-in that counts what is read."""

    def __init__(self, **pieces):
        self.pieces, self.reads = pieces, []

    def stream(self, paths):
        for path in paths:
            self.reads.append(path)
            yield path, self.pieces[path]


@pytest.mark.parametrize("kind", ["abc", "mtf"])
@pytest.mark.parametrize("bare", [True, False])
def test_patches_are_those_of_the_file(paths, kind, bare):
    music = SymbolicMusic(paths[kind], 64)
    for path in paths[kind]:
        text = Path(path).read_text()
        expected = encode_patches(remove_instruments(text) if bare else text)
        for _ in range(2):
            rows = music.rows(path, bare)
            assert rows.dtype == np.uint8
            np.testing.assert_array_equal(rows, expected)


def test_a_file_is_read_once_and_its_text_tells_trainings_apart():
    reader = Reader(a="X:1\nK:C\nCDEF|" + "g" * 80 + "|\n")
    music = SymbolicMusic(["a"], 64, reader)
    music.rows("a"), music.rows("a", bare=True)
    assert reader.reads == ["a"]
    assert music.digest == SymbolicMusic(["a"], 64, reader).digest
    assert music.digest != SymbolicMusic(["a"], 32, reader).digest
    assert music.digest != SymbolicMusic(["a"], 64, Reader(a="X:1\nK:D\nCDEF|\n")).digest


def test_frames_have_one_of_zeros_at_each_end(paths):
    music = RecordedMusic(paths["audio"])
    assert music.feature_size == FEATURE_SIZE
    for path in paths["audio"]:
        rows = music.rows(path)
        np.testing.assert_array_equal(rows[1:-1], np.load(path))
        assert not rows[[0, -1]].any()
    first, other = (RecordedMusic(["a"], Reader(a=np.full((2, 3), v))).digest for v in (1, 2))
    assert first != other


def test_frames_that_cannot_be_used_are_named():
    with pytest.raises(DataError, match="b: holds values that are no finite numbers"):
        RecordedMusic(["b"], Reader(b=np.array([[1.0, np.nan]])))
    with pytest.raises(DataError, match=r"different width \(c: 2, d: 3\)"):
        RecordedMusic(["c", "d"], Reader(c=np.ones((1, 2)), d=np.ones((1, 3))))
    assert RecordedMusic([]).feature_size == 0


def _built(monkeypatch):
    """A list that grows with every piece that is encoded."""
    encoded = []

    def counting(text, **how):
        encoded.append(text)
        return encode_patches(text, **how)

    monkeypatch.setattr(music_module, "encode_patches", counting)
    return encoded


def test_a_cache_is_used_again_until_a_file_changes(tmp_path, monkeypatch):
    encoded = _built(monkeypatch)
    paths = []
    for number in range(600):  # more than one batch of the cache
        paths.append(str(tmp_path / f"{number}.abc"))
        Path(paths[-1]).write_text(f"K:C\nCDEF|{'g' * (number % 90 + 1)}|\n")
    plain = SymbolicMusic(paths, 64)
    first = SymbolicMusic(paths, 64, cache=tmp_path / "music")
    count = len(encoded)
    again = SymbolicMusic(paths, 64, cache=tmp_path / "music")
    assert len(encoded) == count
    assert plain.digest == first.digest == again.digest
    for path in paths[::37]:
        np.testing.assert_array_equal(again.rows(path), plain.rows(path))
        assert again.length(path) == len(plain.rows(path))
    Path(paths[300]).write_text("K:C\nB|\n")
    changed = SymbolicMusic(paths, 64, cache=tmp_path / "music")
    assert len(encoded) > count
    assert changed.digest != first.digest
    assert len(changed.rows(paths[300])) == 4
    assert len(first.rows(paths[300])) == len(plain.rows(paths[300]))


def test_a_damaged_or_half_written_cache_is_written_again(paths, tmp_path):
    before = SymbolicMusic(paths["abc"], 64, cache=tmp_path).digest
    (file,) = tmp_path.glob("*.arrow")
    whole = file.read_bytes()
    draft = tmp_path / f".{file.name}.abc"
    draft.mkdir()
    (draft / file.name).write_bytes(b"half")
    for damaged in (b"", whole[:100], whole[: len(whole) // 2]):
        file.unlink()  # the mapped file itself never changes
        file.write_bytes(damaged)
        assert SymbolicMusic(paths["abc"], 64, cache=tmp_path).digest == before
        assert file.read_bytes() == whole
    assert not draft.exists()


def test_caches_in_use_stay_and_old_ones_go(paths, tmp_path):
    used = SymbolicMusic(paths["abc"], 64, cache=tmp_path)
    for size in range(20, 40):
        SymbolicMusic(paths["abc"], size, cache=tmp_path)
    names = {file.name for file in tmp_path.glob("*.arrow")}
    assert len(names) == music_cache.KEPT_FILES + 1
    assert SymbolicMusic(paths["abc"], 64, cache=tmp_path).digest == used.digest
    assert {file.name for file in tmp_path.glob("*.arrow")} == names


def test_stores_are_read_part_by_part_and_any_layout_is_the_same(tmp_path):
    texts = {f"pdmx/Qm{number}": f"K:C\n{'C' * (number % 9 + 1)}|\n" for number in range(700)}
    digests = set()
    for parts in (1, 3):
        folder = tmp_path / "data"
        for old in folder.glob("*.parquet"):
            old.unlink()
        names = list(texts)
        for number in range(parts):
            kept = names[number::parts]
            table = pa.table({"id": kept, "abc": [texts[name] for name in kept]})
            write_table(folder / f"part-{number}.parquet", table)
        files = [str(folder / f"{name}.abc") for name in names[:650]]
        music = SymbolicMusic(files, 64, cache=tmp_path / "music")
        digests.add(music.digest)
        for name, file in zip(names, files, strict=False):
            np.testing.assert_array_equal(music.rows(file), encode_patches(texts[name]))
    assert len(digests) == 1
    with pytest.raises(DataError, match="no piece"):
        SymbolicMusic([str(tmp_path / "data" / "pdmx" / "none.abc")], 64)


def test_recordings_come_from_the_cache_as_they_are(paths, tmp_path):
    plain = RecordedMusic(paths["audio"])
    for _ in range(2):
        cached = RecordedMusic(paths["audio"], cache=tmp_path)
        assert (cached.digest, cached.feature_size) == (plain.digest, plain.feature_size)
        for path in paths["audio"]:
            np.testing.assert_array_equal(cached.rows(path), plain.rows(path))
