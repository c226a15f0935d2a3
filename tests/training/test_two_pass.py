"""Gradients in chunks are those of the whole batch, in memory for one chunk."""

import os
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.multiprocessing as mp
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from small_corpus import FEATURE_SIZE, clamp_settings, m3_settings, make_corpus
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from clamp3.models.clamp import build_clamp
from clamp3.models.tokenizer import train_tokenizer
from clamp3.training.clamp import _with_audio
from clamp3.training.contrast import Contrast, ContrastiveTask, read_pieces
from clamp3.training.loop import _Objective
from clamp3.training.optimization import freeze, set_dropout, set_training_mode
from clamp3.training.two_pass import Side, backward_in_chunks, vectors_in_chunks

WORDS = ["A reel in G major.", "This jig is in Bb major and 6/8 time.", "Its number is 1234567890."]
PLAIN = Contrast("symbolic", 64, "clamp3", 0.5, "dot", 1.0, chunk=8)


@contextmanager
def opened(**settings):
    """An accelerator whose global state is forgotten after the block."""
    try:
        yield Accelerator(**settings)
    finally:
        AcceleratorState._reset_state()


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), 64)


def _model(words, modality="symbolic"):
    torch.manual_seed(0)
    config = clamp_settings()
    model = build_clamp(config, words, architecture=m3_settings().architecture)
    return _with_audio(model, config, FEATURE_SIZE) if modality == "audio" else model


def freeze_tower(task, tower):
    freeze(task.model.encoder(tower))
    freeze(task.model.projection(tower))


def _task(manifests, contrast=PLAIN, dropout=0.0):
    words = train_tokenizer(WORDS, 120)
    task = ContrastiveTask("test", _model(words, contrast.modality), words, contrast, 1, "")
    kinds = ("audio",) if contrast.modality == "audio" else ("abc", "mtf")
    pieces = read_pieces([manifests[kind] for kind in kinds], contrast.modality, 64)
    task.learn_from(pieces, pieces)
    if contrast.modality == "audio":
        freeze_tower(task, "symbolic")
    set_dropout(task.model, dropout)
    set_training_mode(task.model)
    return task


def _gradients(task, batch, accelerator, objective, size):
    """The loss and every gradient, of the whole batch (size None) or in chunks."""
    task.model.zero_grad(set_to_none=True)
    if size:
        loss = backward_in_chunks(task, objective, batch, size, accelerator)
    else:
        loss = objective(batch)
        accelerator.backward(loss)
    named = task.model.named_parameters()
    return loss.detach(), {n: p.grad.clone() for n, p in named if p.grad is not None}


def _both(task, members, size=8):
    """(loss, gradients) of the whole batch and in chunks, in one process."""
    with opened() as accelerator:
        objective = accelerator.prepare(_Objective(task))
        batch = task.collate(0, members)
        ways = (None, size)
        return [_gradients(task, batch, accelerator, objective, each) for each in ways]


def _assert_equal(ours, theirs, atol=1e-6):
    assert ours[0].item() == pytest.approx(theirs[0].item(), abs=atol)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, atol=atol, rtol=1e-5, msg=name)


CASES = {
    "published": {},
    "learned scale": {"similarity": "cosine", "learn_scale": True, "logit_scale": 14.0},
    "duplicates": {"mask_duplicates": True, "text_dropout": "none"},
    "audio": {"modality": "audio"},
}


@pytest.mark.parametrize("case", CASES)
def test_chunks_have_the_gradients_of_the_whole(manifests, case):
    task = _task(manifests, replace(PLAIN, **CASES[case]))
    whole, chunked = _both(task, list(range(64)))
    assert max(gradient.abs().max() for gradient in whole[1].values()) > 1e-3
    assert ("log_scale" in whole[1]) is (case == "learned scale")
    _assert_equal(chunked, whole)


@pytest.mark.parametrize("size", [1, 7, 64, 100])
def test_any_size_of_chunk_will_do(manifests, size):
    whole, chunked = _both(_task(manifests), list(range(20)), size)
    _assert_equal(chunked, whole)


@pytest.mark.parametrize("tower", ["text", "symbolic"])
def test_a_frozen_tower_is_computed_once_and_gets_no_gradient(manifests, tower):
    task = _task(manifests)
    freeze_tower(task, tower)
    whole, chunked = _both(task, list(range(16)))
    assert not any(name.startswith(tower) for name in chunked[1])
    _assert_equal(chunked, whole)


def test_both_passes_drop_the_same(manifests):
    task = _task(manifests, dropout=0.3)
    seen = {"text": [], "symbolic": []}

    def recorded(tower, encode):
        def encoded(values, mask):
            seen[tower].append(encode(values, mask))
            return seen[tower][-1]

        return encoded

    task.model.encode_text = recorded("text", task.model.encode_text)
    task.encode_music = recorded("symbolic", task.encode_music)
    with opened() as accelerator:
        batch = task.collate(0, list(range(24)))
        losses = [
            backward_in_chunks(task, _Objective(task), batch, 8, accelerator) for _ in range(2)
        ]
    assert losses[0] != losses[1], "each step draws anew"
    for vectors in seen.values():
        first, second = vectors[: len(vectors) // 4], vectors[len(vectors) // 4 : len(vectors) // 2]
        assert not any(v.requires_grad for v in first)
        assert all(v.requires_grad for v in second)
        for before, after in zip(first, second, strict=True):
            torch.testing.assert_close(after.detach(), before, atol=0, rtol=0)


def test_half_precision_gives_about_the_same(manifests):
    task = _task(manifests)
    batch = task.collate(0, list(range(16)))
    with opened(mixed_precision="bf16") as accelerator:
        objective = accelerator.prepare(_Objective(task))
        whole, chunked = (
            _gradients(task, batch, accelerator, objective, size) for size in (None, 4)
        )
    assert chunked[0].item() == pytest.approx(whole[0].item(), rel=1e-2)
    ours, theirs = (torch.cat([g.flatten() for g in way[1].values()]) for way in (chunked, whole))
    assert (ours - theirs).norm() < 0.05 * theirs.norm()


class Scaled(Accelerator):
    """Multiplies losses before they go backward, as a GPU's fp16 scaler does."""

    def backward(self, loss):
        super().backward(1024 * loss)


def test_a_scaled_loss_scales_every_gradient_once(manifests):
    task = _task(manifests, replace(PLAIN, **CASES["learned scale"]))
    whole, _ = _both(task, list(range(20)))
    batch = task.collate(0, list(range(20)))
    with opened():
        loss, scaled = _gradients(task, batch, Scaled(), _Objective(task), 8)
    assert scaled.keys() == whole[1].keys()
    _assert_equal((loss, {name: g / 1024 for name, g in scaled.items()}), whole)


def _held(task, members, size):
    """The most bytes that the towers' graphs keep for the backward pass at once."""
    held = {"now": 0, "most": 0}

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor.detach()
            held["now"] += tensor.nbytes
            held["most"] = max(held.values())

        def __del__(self):
            held["now"] -= self.tensor.nbytes

    def watched(encode):
        def encoded(values, mask):
            with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
                return encode(values, mask)

        return encoded

    task.model.encode_text = watched(task.model.encode_text)
    task.encode_music = watched(task.encode_music)
    with opened() as accelerator:
        batch = task.collate(0, members)
        _gradients(task, batch, accelerator, _Objective(task), size)
    return held["most"]


def test_memory_depends_on_the_chunk_and_not_on_the_batch(manifests):
    members = [9] * 64  # all of one length, for chunks of one size
    small, large = (_held(_task(manifests), members * times, 8) for times in (1, 8))
    assert large == small
    assert large < _held(_task(manifests), members, None) / 4


def _count_and_reduce(told, bucket):
    told.append(bucket.buffer().numel())
    return allreduce_hook(torch.distributed.group.WORLD, bucket)


def _process(rank, folder, manifests, shares):
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "ACCELERATE_USE_CPU": "true"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    task = _task(manifests, replace(PLAIN, similarity="cosine", learn_scale=True, logit_scale=5.0))
    found = []
    with opened() as accelerator:
        assert accelerator.num_processes == 2
        objective = accelerator.prepare(_Objective(task))
        told = []
        objective.register_comm_hook(told, _count_and_reduce)
        for share in shares:
            batch = task.collate(0, list(range(64))[slice(*share[rank])])
            for size in (None, 8):
                told.clear()
                found.append((*_gradients(task, batch, accelerator, objective, size), sum(told)))
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradients_of_one(manifests, tmp_path):
    shares = [((0, 32), (32, 64)), ((0, 41), (41, 64))]
    mp.spawn(_process, (str(tmp_path), manifests, shares), nprocs=2)
    task = _task(manifests, replace(PLAIN, similarity="cosine", learn_scale=True, logit_scale=5.0))
    whole, _ = _both(task, list(range(64)))
    numbers = sum(gradient.numel() for gradient in whole[1].values())
    for rank in (0, 1):
        for *found, told in torch.load(tmp_path / f"{rank}.pt"):
            _assert_equal(found, whole)
            assert told == numbers, "each gradient goes to the other process once"


def test_a_side_is_split_into_parts_that_hold_each_member_once(manifests):
    task = _task(manifests)
    batch = task.collate(0, list(range(21)))
    for side in task.sides(batch):
        assert isinstance(side, Side)
        parts = side.split(4)
        assert [len(part.rows) for part in parts] == [4, 4, 4, 4, 4, 1]
        assert sorted(torch.cat([part.rows for part in parts]).tolist()) == list(range(21))
        with torch.no_grad():
            whole = side.vectors()
            torch.testing.assert_close(vectors_in_chunks(side, 4), whole, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(vectors_in_chunks(side, None), whole, atol=0, rtol=0)
