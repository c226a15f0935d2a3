"""What Snakemake and DVC take to find that nothing is to be done, in seconds.

    python benchmarks/workflow.py [--shards 1000]

The real Snakefile, dvc.yaml and bridge in a temporary Git repository, with outputs of a few bytes
in place of the real ones: `dvc repro` and `snakemake --dry-run` with all stages done, the share of
the bridge, what it takes to accept all outputs of a `dvc pull`, and a dry run with many shards
(four jobs a shard). CPU seconds tell more than seconds on a machine that does other things, too.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from measuring import ROOT, children_seconds

sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tests/workflow", "workflow")]

from dvc_bridge import TOUCH  # noqa: E402
from trees import Tree  # noqa: E402

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=int, default=1000)
    options = parser.parse_args()
    dry_run = ("snakemake", "--dry-run")
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree.of_stand_ins(Path(folder) / "tree", shards=3)
        print(f"{'':52}{'s':>7}{'CPU s':>7}")
        clock("make everything with stand-ins, record it in dvc.lock", tree, "snakemake", rounds=1)
        clock("nothing to do: dvc repro", tree, "dvc", "repro")
        clock("nothing to do: snakemake --dry-run", tree, *dry_run)
        clock("   without the bridge", tree, *dry_run, DVC_BRIDGE="off")
        shutil.rmtree(tree.folder / ".snakemake")
        clock("first dry run after a pull: accepts all outputs", tree, *dry_run, rounds=1)
        many = Tree.of_stand_ins(Path(folder) / "many", shards=options.shards)
        fill(many, tree, options.shards)
        accept = ("--touch", "--forceall", "--cores", "9999")
        many.run(sys.executable, "-c", TOUCH, *accept, DVC_BRIDGE="off")
        clock(f"{options.shards} shards, nothing to do: snakemake --dry-run", many, *dry_run)
        clock("   without the bridge", many, *dry_run, DVC_BRIDGE="off")


def clock(what: str, tree: Tree, *command: str, rounds: int = ROUNDS, **environment: str) -> None:
    """Print the best of some rounds."""
    seconds, cpu = [], []
    for _ in range(rounds):
        begun, spent = time.perf_counter(), children_seconds()
        tree.run(*command, **environment)
        seconds.append(time.perf_counter() - begun)
        cpu.append(children_seconds() - spent)
    print(f"{what:52}{min(seconds):7.2f}{min(cpu):7.2f}", flush=True)


def fill(tree: Tree, finished: Tree, shards: int) -> None:
    """Put outputs into a tree: those of a finished one, with other shards."""
    for top in ("data", "results"):
        shutil.copytree(finished.folder / top, tree.folder / top, dirs_exist_ok=True)
    for path in sorted(tree.folder.glob("data/*/*part-*")):
        if "-of-00003" not in path.name or "part-00000" not in path.name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in sorted(tree.folder.glob("data/*/*part-00000-of-00003*")):
        for number in range(shards):
            name = path.name.replace("00000-of-00003", f"{number:05d}-of-{shards:05d}")
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, path.with_name(name))
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
