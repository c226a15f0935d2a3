"""M3's masking against the rule that the original follows."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from clamp3.formats.patches import BOS_ID, EOS_ID, MASK_ID, encode_patches
from clamp3.training.masking import mask_patches

GOLDEN = Path(__file__).parent.parent / "golden" / "training" / "mask_patches.json"


@pytest.fixture(scope="module")
def recorded():
    """What the original program did to one piece, and how often it did what."""
    return json.loads(GOLDEN.read_text())


def _rng(seed=0):
    return np.random.default_rng(seed)


def _treatment(patches, seen, selected):
    if (seen[selected] == MASK_ID).all():
        return "mask"
    return "keep" if (seen == patches).all() else "shuffle"


def test_selects_as_many_as_the_original(recorded):
    for count, selected in recorded["selected_count_by_n"].items():
        patches = np.ones((int(count), 64), dtype=np.uint8)
        assert mask_patches(patches, 0.45, _rng())[1].sum() == selected


def test_follows_the_original_distribution(recorded):
    patches = encode_patches(recorded["text"])
    assert len(patches) == recorded["n_patches"]
    runs = [(mask_patches(patches, 0.45, _rng(seed))) for seed in range(1500)]
    kinds = Counter(_treatment(patches, *run) for run in runs)
    assert kinds["mask"] / 1500 == pytest.approx(0.8, abs=0.04)
    assert kinds["shuffle"] / 1500 == pytest.approx(0.1, abs=0.03)
    per_patch = np.mean([selected for _, selected in runs], axis=0)
    assert per_patch.min() > 0.42
    assert per_patch.max() < 0.53  # 17 of 36, special patches like others


def test_shuffling_is_one_that_the_original_could_have_made(recorded):
    patches = encode_patches(recorded["text"])
    theirs = next(run for run in recorded["runs"] if run["choice_seen"] == "shuffle")
    seen, selected = mask_patches(patches, 0.45, _rng(), "shuffle")
    assert (seen[selected] != patches[selected]).any()
    ours = zip(np.flatnonzero(selected), seen[selected], strict=True)
    for row, patch in [*zip(theirs["selected"], theirs["shuffled_rows"], strict=True), *ours]:
        _assert_shuffled(patches[row], np.array(patch))


def _assert_shuffled(before, after):
    ends = np.flatnonzero(before == EOS_ID)
    end = ends[0] if len(ends) == 1 else len(before)
    assert after[0] == before[0] == BOS_ID
    assert (after[end:] == before[end:]).all()
    assert sorted(after[1:end]) == sorted(before[1:end])


def test_a_patch_cut_at_its_size_is_shuffled_to_its_last_character():
    patches = encode_patches("X:1\n" + "abcdefg" * 20 + "|\n", special=False)[1:]
    seen, _ = mask_patches(patches, 1.0, _rng(), "shuffle")
    assert EOS_ID not in patches
    assert seen[0, -1] != patches[0, -1]
    assert sorted(seen[0]) == sorted(patches[0])


def test_only_selected_patches_change_and_the_input_does_not():
    patches = encode_patches("X:1\nL:1/4\nCDEF|GABc|\n")
    before = patches.copy()
    for treatment in ("mask", "shuffle", "keep"):
        seen, selected = mask_patches(patches, 0.45, _rng(3), treatment)
        assert (seen[~selected] == patches[~selected]).all()
        assert (patches == before).all()
    assert (seen == patches).all()


def test_the_generator_decides_alone():
    patches = encode_patches("X:1\n" + "CDEF|" * 40 + "\n")
    first, again = (mask_patches(patches, 0.45, _rng(7)) for _ in range(2))
    other = mask_patches(patches, 0.45, _rng(8))
    assert (first[0] == again[0]).all()
    assert (first[1] != other[1]).any()
