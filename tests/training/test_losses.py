"""The contrastive loss against recorded values, a plain oracle and two processes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from clamp3.training.losses import bounded_scale, contrastive_loss

# What the original program computed, with its gradients.
GOLDEN = Path(__file__).parent.parent / "golden" / "training" / "clip_loss.npz"
CASES = ("small", "scale100_unit", "n1", "large_logits")


def _golden(name):
    with np.load(GOLDEN) as file:
        return {key.split("/")[1]: file[key] for key in file if key.startswith(f"{name}/")}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_original_with_its_gradients(case):
    golden = _golden(case)
    text = torch.tensor(golden["text"], requires_grad=True)
    music = torch.tensor(golden["music"], requires_grad=True)
    loss = contrastive_loss(text, music, float(golden["scale"]))
    loss.backward()
    assert loss.item() == pytest.approx(float(golden["loss"]), abs=1e-5)
    np.testing.assert_allclose(text.grad, golden["grad_text"], atol=1e-5)
    np.testing.assert_allclose(music.grad, golden["grad_music"], atol=1e-5)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_equals_the_definition(similarity):
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(2, 5, 7))
    scale = 3.0

    def similar(a, b):
        lengths = np.linalg.norm(a) * np.linalg.norm(b) if similarity == "cosine" else 1
        return scale * a @ b / lengths

    scores = np.array([[similar(q, r) for r in references] for q in queries])
    towards = [np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(scores)]
    back = [np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(scores.T)]
    loss = contrastive_loss(torch.tensor(queries), torch.tensor(references), scale, similarity)
    assert loss.item() == pytest.approx((np.mean(towards) + np.mean(back)) / 2, abs=1e-5)


@pytest.mark.parametrize("keys", [[1, 2, 1, 3, 1], [1, 2, 3, 4, 5], [7, 7, 7, 7, 7]])
def test_pieces_of_one_text_are_not_set_against_each_other(keys):
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(2, 5, 7))
    total = 0.0
    for ours, theirs in ((queries, references), (references, queries)):
        for i, row in enumerate(ours):
            others = [theirs[j] for j in range(5) if j == i or keys[j] != keys[i]]
            scores = [2.0 * row @ other for other in others]
            total += np.log(np.exp(scores).sum()) - 2.0 * row @ theirs[i]
    sides = torch.tensor(queries, requires_grad=True), torch.tensor(references, requires_grad=True)
    loss = contrastive_loss(*sides, 2.0, keys=torch.tensor(keys))
    assert loss.item() == pytest.approx(total / 10, abs=1e-5)
    loss.backward()
    assert all(side.grad.isfinite().all() for side in sides)
    if len(set(keys)) == 5:
        assert loss == contrastive_loss(*sides, 2.0)


def test_a_learned_scale_has_the_gradient_of_its_definition_and_a_bound():
    rows = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)).double()
    log_scale = torch.tensor(np.log(14.0), requires_grad=True)

    def loss(at):
        return contrastive_loss(rows[0], rows[1], bounded_scale(at), "cosine")

    loss(log_scale).backward()
    with torch.no_grad():
        step = torch.tensor(1e-2)
        numeric = (loss(log_scale + step) - loss(log_scale - step)) / (2 * step)
    assert log_scale.grad.item() == pytest.approx(numeric.item(), rel=1e-3)
    above = torch.tensor(np.log(120.0), requires_grad=True)
    assert bounded_scale(above).item() == pytest.approx(100.0)
    assert above.item() == pytest.approx(np.log(100.0)), "it can go down from here at once"
    loss(above).backward()
    assert above.grad != 0


def test_cosine_ignores_lengths_and_dot_does_not():
    queries, references = torch.eye(4), torch.eye(4)
    assert contrastive_loss(queries, references, 5.0, "cosine") == pytest.approx(
        contrastive_loss(9 * queries, references, 5.0, "cosine")
    )
    assert contrastive_loss(9 * queries, references) < contrastive_loss(queries, references)


def test_similarities_stay_exact_under_autocast():
    rows = torch.randn(6, 32, generator=torch.Generator().manual_seed(0)) * 4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(rows, rows)
    assert loss.item() == contrastive_loss(rows, rows).item()


KEYS = [1, 2, 3, 1, 4, 1]  # the first, fourth and last piece have one text


def _share(rank, folder, shares):
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=len(shares))
    rows = torch.load(f"{folder}/rows.pt")
    weight = torch.load(f"{folder}/weight.pt").requires_grad_()
    own = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    text, music = (rows[side][own] for side in (0, 1))
    keys = torch.tensor(KEYS)[own]
    loss = contrastive_loss(text @ weight, music @ weight, keys=keys, across_processes=True)
    loss.backward()
    dist.all_reduce(weight.grad, dist.ReduceOp.SUM)
    torch.save((loss.detach(), weight.grad / len(shares)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("shares", [(3, 3), (4, 2)])
def test_two_processes_learn_like_one(tmp_path, shares):
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(2, 6, 8, generator=generator)
    weight = torch.randn(8, 8, generator=generator)
    torch.save(rows, tmp_path / "rows.pt")
    torch.save(weight, tmp_path / "weight.pt")
    mp.spawn(_share, (str(tmp_path), shares), nprocs=2)
    weight.requires_grad_()
    whole = contrastive_loss(rows[0] @ weight, rows[1] @ weight, keys=torch.tensor(KEYS))
    assert whole != contrastive_loss(rows[0] @ weight, rows[1] @ weight)
    whole.backward()
    for rank in (0, 1):
        loss, gradient = torch.load(tmp_path / f"{rank}.pt")
        assert loss.item() == pytest.approx(whole.item(), abs=1e-5)
        torch.testing.assert_close(gradient, weight.grad, atol=1e-5, rtol=1e-4)
