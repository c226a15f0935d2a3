"""The contrastive loss against recorded values, a plain oracle and two processes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from clamp3.training.losses import contrastive_loss

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


def _share(rank, folder, shares):
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=len(shares))
    rows = torch.load(f"{folder}/rows.pt")
    weight = torch.load(f"{folder}/weight.pt").requires_grad_()
    own = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    text, music = (rows[side][own] for side in (0, 1))
    loss = contrastive_loss(text @ weight, music @ weight, across_processes=True)
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
    whole = contrastive_loss(rows[0] @ weight, rows[1] @ weight)
    whole.backward()
    for rank in (0, 1):
        loss, gradient = torch.load(tmp_path / f"{rank}.pt")
        assert loss.item() == pytest.approx(whole.item(), abs=1e-5)
        torch.testing.assert_close(gradient, weight.grad, atol=1e-5, rtol=1e-4)
