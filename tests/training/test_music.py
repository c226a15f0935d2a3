"""What is read and kept in memory."""

from pathlib import Path

import numpy as np
import pytest
from small_corpus import FEATURE_SIZE, make_corpus

from clamp3.data.pairs import load_pairs
from clamp3.errors import DataError
from clamp3.formats.patches import encode_patches, remove_instruments
from clamp3.training.music import RecordedMusic, SymbolicMusic


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    manifests = make_corpus(tmp_path_factory.mktemp("corpus"), 4)
    return {kind: [p.filepaths[0] for p in load_pairs([m])] for kind, m in manifests.items()}


class Reader:
    """A stand-in that counts what is read."""

    def __init__(self, **pieces):
        self.pieces, self.reads = pieces, []

    def read(self, path):
        self.reads.append(path)
        return self.pieces[path]


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
