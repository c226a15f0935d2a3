"""What M3 hides from itself."""

import math
from typing import Literal

import numpy as np

from clamp3.formats.patches import EOS_ID, MASK_ID

Treatment = Literal["mask", "shuffle", "keep"]
SHARES = {"mask": 0.8, "shuffle": 0.1, "keep": 0.1}


def mask_patches(
    patches: np.ndarray,
    ratio: float,
    rng: np.random.Generator,
    treatment: Treatment | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What the encoder sees of patches [P, C], and which patches the decoder must restore [P].

    ceil(ratio * P) patches are selected, special ones among them. All selected patches of a
    piece get one treatment, drawn 80 : 10 : 10 unless given: `mask` (every character becomes the
    mask id), `shuffle` (the characters between BOS and EOS change places) or `keep`.

    Source: sanderwood/clamp3@9016d2b code/utils.py (mask_patches).
    Differs: randomness comes from `rng`, because a piece must be masked alike in any process.
    """
    selected = np.zeros(len(patches), dtype=bool)
    chosen = rng.permutation(len(patches))[: math.ceil(ratio * len(patches))]
    selected[chosen] = True
    treatment = treatment or str(rng.choice(list(SHARES), p=list(SHARES.values())))
    seen = patches.copy()
    if treatment == "mask":
        seen[selected] = MASK_ID
    elif treatment == "shuffle":
        for row in np.flatnonzero(selected):
            seen[row] = _shuffled(seen[row], rng)
    return seen, selected


def _shuffled(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A patch [C] whose characters between BOS and EOS changed places.

    Without exactly one EOS (a patch cut at its size, a special patch) all but the first may move.
    """
    ends = np.flatnonzero(patch == EOS_ID)
    end = ends[0] if len(ends) == 1 else len(patch)
    return np.concatenate([patch[:1], rng.permutation(patch[1:end]), patch[end:]])
