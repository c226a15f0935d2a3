"""Which pieces train, which validate, which test."""

from typing import Literal

from clamp3.config import Splits
from clamp3.randomness import stable_fraction

Split = Literal["train", "validation", "test"]


def split_of(piece_id: str, splits: Splits, seed: int) -> Split:
    """The split of a piece, by a hash of its id: no other piece and no order has a say.

    The shares hold on average. Test comes first, so a changed validation share moves no piece
    into or out of it.
    """
    fraction = stable_fraction(seed, "split", piece_id)
    if fraction < splits.test_share:
        return "test"
    if fraction < splits.test_share + splits.validation_share:
        return "validation"
    return "train"
