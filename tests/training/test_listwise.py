"""Listwise losses against plain loops and against finite differences."""

import math

import pytest
import torch

from clamp3.errors import ConfigError
from clamp3.training.listwise import (
    LOSSES,
    cosines,
    graded_order,
    list_mle,
    ranking_loss,
    standard,
)


def unit(rows, width, seed):
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn.double(), dim=-1)


def plain_order(grades, row):
    """By grade, the own one before its equals, then as they stand."""
    columns = range(len(grades[row]))
    return sorted(columns, key=lambda c: (-round(grades[row][c], 5), c != row, c))


def plain_standard(row):
    mean = sum(row) / len(row)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / (len(row) - 1))
    return [(value - mean) / (deviation + 1e-6) for value in row]


def plain_list_mle(scores, grades):
    total = 0.0
    for row, own in enumerate(scores):
        left = plain_order(grades, row)
        while left:
            chosen = left[0]
            chances = sum(math.exp(own[column]) for column in left)
            total -= math.log(math.exp(own[chosen]) / chances)
            left = left[1:]
    return total / len(scores)


def plain_list_net(scores, grades):
    total = 0.0
    for row, own in enumerate(scores):
        wanted = [math.exp(value) for value in plain_standard(grades[row])]
        given = [math.exp(value) for value in own]
        for chance, score in zip(wanted, given, strict=True):
            total -= chance / sum(wanted) * math.log(score / sum(given))
    return total / len(scores)


def plain_info_nce(scores, grades):
    total = 0.0
    for row, own in enumerate(scores):
        rivals = [
            c for c in range(len(own)) if c == row or grades[row][c] < grades[row][row] - 1e-6
        ]
        total -= math.log(math.exp(own[row]) / sum(math.exp(own[c]) for c in rivals))
    return total / len(scores)


PLAIN = {"listmle": plain_list_mle, "listnet": plain_list_net, "infonce": plain_info_nce}


def plain_loss(name, audio, text, grades, scale, standardise):
    total = 0.0
    for queries, references in ((audio, text), (text, audio)):
        scores = [
            [scale * sum(a * b for a, b in zip(q, r, strict=True)) for r in references]
            for q in queries
        ]
        if standardise:
            scores = [plain_standard(row) for row in scores]
        total += PLAIN[name](scores, grades)
    return total


@pytest.fixture
def batch():
    """Six pieces, two of them with the same text."""
    texts = unit(6, 5, 3)
    texts[4] = texts[1]
    return unit(6, 4, 1), unit(6, 4, 2), cosines(texts).double()


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_values_are_those_of_plain_loops(batch, name, standardise):
    audio, text, grades = batch
    found = ranking_loss(audio, text, grades, loss=name, scale=3.0, standardise=standardise)
    rows = (audio.tolist(), text.tolist(), grades.tolist())
    assert found.item() == pytest.approx(plain_loss(name, *rows, 3.0, standardise), rel=1e-5)


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_are_those_of_plain_loops(batch, name, standardise):
    """Finite differences of the loops, in double precision, for every number."""
    audio, text, grades = batch
    audio.requires_grad_()
    ranking_loss(audio, text, grades, loss=name, scale=3.0, standardise=standardise).backward()
    step = 1e-5
    for row in range(3):
        for column in range(4):
            ends = []
            for sign in (1, -1):
                moved = audio.detach().clone()
                moved[row, column] += sign * step
                rows = (moved.tolist(), text.tolist(), grades.tolist())
                ends.append(plain_loss(name, *rows, 3.0, standardise))
            slope = (ends[0] - ends[1]) / (2 * step)
            assert audio.grad[row, column].item() == pytest.approx(slope, rel=2e-3, abs=2e-4)


def test_double_precision_gradients_of_list_mle(batch):
    _, _, grades = batch
    scores = torch.randn(6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda s: list_mle(s, grades), scores.requires_grad_())
    assert torch.autograd.gradcheck(lambda s: list_mle(standard(s), grades), scores)


def test_equal_texts_are_ordered_alike_everywhere():
    texts = unit(5, 3, 0).float()
    texts[3] = texts[1]
    grades = cosines(texts)
    order = graded_order(grades)
    assert order[1].tolist()[:2] == [1, 3]
    assert order[3].tolist()[:2] == [3, 1]
    noise = grades + 3e-7 * torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(graded_order(noise), order)
    assert graded_order(torch.zeros(3, 3)).tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1]]


def test_the_right_order_costs_least():
    grades = torch.tensor([[1.0, 0.6, 0.2]]).repeat(3, 1)
    falling = torch.tensor([[2.0, 1.0, 0.0]]).repeat(3, 1)
    assert list_mle(falling[:1], grades[:1]) < list_mle(falling[:1].flip(1), grades[:1])
    assert list_mle(torch.zeros(1, 3), grades[:1]).item() == pytest.approx(math.log(6))


def test_the_scale_is_of_no_consequence_once_rows_are_standardised(batch):
    audio, text, grades = batch
    once, again = (ranking_loss(audio, text, grades, scale=scale) for scale in (1.0, 50.0))
    assert once.item() == pytest.approx(again.item(), rel=1e-3)


def test_equal_scores_give_no_nan():
    audio = torch.ones(3, 2, requires_grad=True)
    for name in LOSSES:
        for standardise in (True, False):
            how = {"loss": name, "standardise": standardise}
            loss = ranking_loss(audio, torch.ones(3, 2), torch.ones(3, 3), **how)
            loss.backward()
            assert torch.isfinite(loss)
            assert torch.isfinite(audio.grad).all()


def test_huge_scores_give_no_infinity():
    audio = torch.eye(4, requires_grad=True)
    loss = ranking_loss(audio, torch.eye(4), torch.eye(4), scale=100.0, standardise=False)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(audio.grad).all()


def test_half_precision_is_computed_in_full():
    audio, text = unit(6, 4, 1).bfloat16(), unit(6, 4, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = ranking_loss(audio, text, cosines(text))
    assert found.dtype == torch.float32


def test_an_unknown_loss_is_told():
    with pytest.raises(ConfigError, match="loss: triplet; expected one of listmle"):
        ranking_loss(torch.ones(2, 2), torch.ones(2, 2), torch.ones(2, 2), loss="triplet")
