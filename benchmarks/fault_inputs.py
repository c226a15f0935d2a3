"""Inputs that go away or are damaged.

No program: benchmarks/faults.py uses it.
"""

import shutil
import threading
from pathlib import Path

from fault_bench import Bench, Result, SkippedError, one_of_each_kind


def vanish(bench: Bench, stage: str, result: Result) -> None:
    """An input of each kind that goes away before or while the stage runs."""
    dice = bench.dice("vanish", stage)
    seconds = sum(bench.seconds(stage))
    for name in one_of_each_kind(bench, stage, "vanish"):
        for moment in (0, dice.uniform(0, 0.7) * seconds):
            with bench.place(stage) as tree:
                kept = (tree / name).read_bytes()
                timer = threading.Timer(moment, (tree / name).unlink)
                timer.start()
                if not moment:
                    timer.join()
                words = (
                    "no such file",
                    "not there",
                    "missing",
                    "no piece",
                    "not among",
                    "no recording",
                    "holds neither",
                )
                told = bench.disturbed(result, stage, tree, words, names=_known_by(name))
                timer.join()
                (tree / name).write_bytes(kept)
                told += bench.recovered(tree, stage)
                result.add(f"{name} gone after {moment:.1f} s", told)


def _known_by(name: str) -> tuple[str, ...]:
    """What an error may call a file: its name, or a folder that it should be in."""
    path = Path(name)
    return (path.name, path.parent.as_posix(), path.parent.parent.as_posix())


def corrupt_parquet(bench: Bench, stage: str, result: Result) -> None:
    """A Parquet input of each folder: a byte flipped, cut in half, empty."""
    corrupt(bench, stage, result, (".parquet",))


def corrupt_weights(bench: Bench, stage: str, result: Result) -> None:
    """Weights, their descriptions and tokenizers: a byte flipped, cut in half, empty."""
    corrupt(bench, stage, result, (".safetensors", "config.json", "tokenizer.json"))


def corrupt_lists(bench: Bench, stage: str, result: Result) -> None:
    """Other lists that a stage reads (.csv, .tsv, .jsonl, .json): cut in half, empty, noise."""
    names = (".csv", ".tsv", ".jsonl", "counts.json", "train.json", "summaries.json")
    corrupt(bench, stage, result, names)


def corrupt(bench: Bench, stage: str, result: Result, suffixes: tuple[str, ...]) -> None:
    names = one_of_each_kind(bench, stage, "corrupt", suffixes=suffixes)
    if not names:
        raise SkippedError("no such input")
    for name in names:
        for how, change in DAMAGES.items():
            if how == "empty" and name.endswith(".jsonl"):
                continue  # a list of nothing is a list
            with bench.place(stage) as tree:
                whole = (tree / name).read_bytes()
                (tree / name).write_bytes(change(whole, name))
                words = ("",)
                told = bench.disturbed(result, stage, tree, words, names=_known_by(name))
                (tree / name).write_bytes(whole)
                if how == "cut in half":  # nothing of the trials is in the way of the next run
                    told += bench.recovered(tree, stage)
                result.add(f"{name} {how}", told)


def flipped(data: bytes, name: str) -> bytes:
    """Another bit in the middle; in text a byte that is no UTF-8."""
    middle = len(data) // 2
    is_text = name.endswith((".csv", ".tsv", ".jsonl", ".json"))
    byte = 0xFF if is_text else data[middle] ^ 0x40
    return data[:middle] + bytes([byte]) + data[middle + 1 :]


DAMAGES = {
    "with a byte flipped": flipped,
    "cut in half": lambda data, name: data[: len(data) // 2],
    "empty": lambda data, name: b"",
}


def corrupt_state(bench: Bench, stage: str, result: Result) -> None:
    """What a killed run left to go on from: damaged, then away."""
    jobs, seconds, dice = (
        bench.toy.jobs[stage],
        sum(bench.seconds(stage)),
        bench.dice("state", stage),
    )
    if not any("--resume" in job.command for job in jobs):
        raise SkippedError("no state to go on from")
    for how, change in DAMAGES.items():
        for _ in range(12):
            with bench.place(stage) as tree:
                bench.runner.run(tree, jobs, kill_after=dice.uniform(0.3, 0.95) * seconds)
                kept = [path for path in (tree / "results/resume").rglob("*.p*") if path.is_file()]
                kept = [
                    path
                    for path in kept
                    if path.suffix in (".pt", ".parquet") and not _hidden(path)
                ]
                if not kept:
                    continue
                path = dice.choice(sorted(kept))
                path.write_bytes(change(path.read_bytes(), path.name))
                told = bench.disturbed(
                    result, stage, tree, ("delete",), names=(path.name, path.parent.name)
                )
                shutil.rmtree(tree / "results/resume", ignore_errors=True)
                result.add(f"{path.name} {how}", told + bench.recovered(tree, stage))
                break


def _hidden(path: Path) -> bool:
    return any(part[0] == "." for part in path.parts)
