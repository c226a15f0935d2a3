"""Losses over lists: a row of scores shall rank its columns as given grades do."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from clamp3.errors import ConfigError

TIE_TOLERANCE = 1e-6  # what single precision leaves of two equal cosines
SMALLEST_DEVIATION = 1e-6  # added to a row's deviation before scores are divided by it
ListLoss = Callable[[Tensor, Tensor], Tensor]


def ranking_loss(
    audio: Tensor,
    text: Tensor,
    grades: Tensor,
    *,
    loss: str = "listmle",
    scale: float = 1.0,
    standardise: bool = True,
) -> Tensor:
    """How badly recordings and texts rank each other, both ways: scalar, float32.

    `audio` and `text` [B, D] are unit vectors, row i of both the same piece; `grades` [B, B] say
    how alike two pieces' texts are. `loss` (see LOSSES) of `scale` times the similarities, each row
    standardised on request, which makes `scale` of no consequence. The sum of both ways.

    Raises ConfigError for an unknown loss.
    Source: yuhuacheng/clap_musicgen@af54eac src/train.py (compute_loss)
    """
    if loss not in LOSSES:
        raise ConfigError(f"loss: {loss}; expected one of {', '.join(LOSSES)}")
    with torch.autocast(audio.device.type, enabled=False):
        scores = scale * audio.float() @ text.float().T
        ways = [(scores, grades.float()), (scores.T, grades.float().T)]
        return sum(LOSSES[loss](standard(s) if standardise else s, g) for s, g in ways)


def standard(rows: Tensor) -> Tensor:
    """Each row [B, R] with mean 0 and deviation 1; a row of equal values becomes zeros."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    return centred / (rows.std(dim=1, keepdim=True) + SMALLEST_DEVIATION)


def cosines(vectors: Tensor) -> Tensor:
    """The grades [B, B] of vectors [B, D]: their cosines to each other."""
    with torch.autocast(vectors.device.type, enabled=False):
        unit = functional.normalize(vectors.float(), dim=-1)
        return unit @ unit.T


def graded_order(grades: Tensor) -> Tensor:
    """The columns [B, R] of each row from the highest grade to the lowest.

    Grades that differ by less than TIE_TOLERANCE can tie; of tied columns the row's own (of the
    same number) comes first, then the others as they stand.

    Differs: in the original the order of equal texts is chance.
    """
    steps = (grades / (2 * TIE_TOLERANCE)).round()
    own = torch.eye(*grades.shape, device=grades.device)
    return torch.argsort(2 * steps + own, dim=1, descending=True, stable=True)


def list_mle(scores: Tensor, grades: Tensor) -> Tensor:
    """Minus the log chance of the graded order when columns are drawn one after the other.

    That is the Plackett–Luce model: the next column is drawn with chances in proportion to the
    exponentials of the scores left. Summed over the list, averaged over the rows.

    Source: Xia et al. 2008 (ListMLE); yuhuacheng/clap_musicgen@af54eac src/train.py
    """
    ordered = scores.gather(1, graded_order(grades))
    left = torch.logcumsumexp(ordered.flip(1), dim=1).flip(1)
    return (left - ordered).sum(dim=1).mean()


def list_net(scores: Tensor, grades: Tensor) -> Tensor:
    """The cross-entropy between who comes first by grades and who does by scores.

    The grades are standardised row by row, for texts of one kind are all alike.

    Source: Cao et al. 2007 (ListNet, top one)
    """
    return functional.cross_entropy(scores, standard(grades).softmax(dim=1))


def info_nce(scores: Tensor, grades: Tensor) -> Tensor:
    """The cross-entropy of finding a row's own column; columns graded as high do not compete.

    Source: CLIP (arXiv 2103.00020)
    """
    own = torch.arange(len(scores), device=scores.device)
    alike = grades >= grades.diagonal()[:, None] - TIE_TOLERANCE
    return functional.cross_entropy(
        scores.masked_fill(alike.fill_diagonal_(False), -torch.inf), own
    )


LOSSES: dict[str, ListLoss] = {"listmle": list_mle, "listnet": list_net, "infonce": info_nce}
