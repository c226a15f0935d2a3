"""Small trainings of M3 and of CLaMP 3's symbolic stage that several processes can share.

    python real_trainings.py FOLDER m3|symbolic OUT [STEPS_UNTIL_DEATH [RANK]]

Without dropout, 24 steps of five pieces, which two processes cannot share evenly. With a number
each process, or that of the rank, dies after so many steps; the state is saved at every step then.
"""

import os
import sys
from pathlib import Path

import torch
from small_corpus import clamp_settings, m3_settings, make_corpus, make_start, stage

from clamp3.training import conditions
from clamp3.training.clamp import train_clamp_stage
from clamp3.training.contrast import ContrastiveTask
from clamp3.training.m3 import M3Task, train_m3

SPLITS = ("train", "validation")
HOW = {"dropout": 0.0, "batch_size": 5, "epochs": 9, "steps": 24, "keep": "last"}
PIECES = 19


def prepare(folder):
    """Everything that a training begins with."""
    train = make_corpus(folder, PIECES)
    make_corpus(folder, 5, "validation")
    make_start(folder, train["abc"])


def run(folder, kind, out):
    """Train into `out`, in this process or as one of several."""
    train, heard = ([folder / f"{name}-{m}.jsonl" for m in ("abc", "mtf")] for name in SPLITS)
    places = {"out": out / "model", "metrics": out / "metrics.tsv", "resume": out / "resume"}
    if kind == "m3":
        settings = m3_settings(**HOW)
        train_m3(manifests=train, validation=heard, settings=settings, seed=1, **places)
        return
    train_clamp_stage(
        stage=stage(**HOW),
        config=clamp_settings(),
        manifests_train=train,
        manifests_validation=heard,
        start=folder / "m3",
        tokenizer=folder / "tokenizer",
        seed=1,
        **places,
    )


def die_after(steps, rank=None):
    """End this process in the loss of a later step."""
    conditions.SAVE_SECONDS, conditions.SAVE_SHARE = 0.0, 1e9
    for task in (M3Task, ContrastiveTask):
        task.loss = _mortal(task.loss, int(steps), rank)


def _mortal(loss, steps, rank):
    done = []

    def dying(self, batch):
        if torch.is_grad_enabled():
            if len(done) == steps and os.environ.get("RANK") == (rank or os.environ.get("RANK")):
                os._exit(3)
            done.append(None)
        return loss(self, batch)

    return dying


if __name__ == "__main__":
    folder, kind, out, *death = sys.argv[1:]
    if death:
        die_after(*death)
    run(Path(folder), kind, Path(out))
