"""A training in several processes: python -m clamp3.training.launch [NODES×]N SCRIPT [ARGUMENT …].

The processes share each batch, one per GPU where there are GPUs. One that fails ends all, and all
end with whoever started this one (a killed Snakemake leaves nothing behind).

`2x4` is four processes on each of two nodes. Inside a Slurm job of as many nodes this starts one
launcher on each of them. Elsewhere the same command is given on every node, with CLAMP3_NODE (0,
1 …) and CLAMP3_RENDEZVOUS (host:port, reachable from all, on node 0) in the environment; the folder
of the work tree is one that all of them see.
"""

import os
import re
import subprocess
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run

from clamp3.errors import ConfigError
from clamp3.logs import end_with_parent

NODE, RENDEZVOUS = "CLAMP3_NODE", "CLAMP3_RENDEZVOUS"
FIRST_PORT, PORTS = 20_000, 12_000  # of Slurm jobs, by their number
JOIN_SECONDS = 600


def launch(arguments: list[str]) -> None:
    """Run `COUNT SCRIPT [ARGUMENT …]`, or `COUNT -m MODULE …`, in several processes.

    When one of them fails the others are ended, and this one ends with status 1.

    Raises ConfigError where several nodes are asked for and nothing says which.
    """
    nodes, count = _counts(arguments[0])
    end_with_parent()
    if nodes > 1 and NODE not in os.environ:
        sys.exit(subprocess.run(_on_all_nodes(nodes, arguments), check=False).returncode)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a training sets its own number
    parser = get_args_parser()
    parser.allow_abbrev = False  # or it takes the script's --log for one of its own
    options = ["--standalone"] if nodes == 1 else _meeting(nodes)
    try:
        run(parser.parse_args([*options, "--nproc_per_node", str(count), *arguments[1:]]))
    except ChildFailedError:  # has said itself why
        sys.exit(1)


def _counts(word: str) -> tuple[int, int]:
    """Nodes, and processes on each."""
    found = re.fullmatch(r"(?:([1-9]\d*)x)?([1-9]\d*)", word)
    if not found:
        raise ConfigError(f"{word}: expected a number of processes, or 2x4: nodes x processes")
    return int(found[1] or 1), int(found[2])


def _meeting(nodes: int) -> list[str]:
    """How this node finds the others."""
    host, _, port = os.environ.get(RENDEZVOUS, "").rpartition(":")
    node = os.environ[NODE]
    if not (host and port.isdecimal() and node.isdecimal() and int(node) < nodes):
        raise ConfigError(
            f"{NODE}={node}, {RENDEZVOUS}={os.environ.get(RENDEZVOUS)}: expected the number of "
            f"this node from 0 to {nodes - 1}, and host:port of node 0"
        )
    return [
        f"--nnodes={nodes}",
        f"--node_rank={node}",
        f"--master_addr={host}",
        f"--master_port={port}",
        f"--rdzv_conf=timeout={JOIN_SECONDS}",
    ]


def _on_all_nodes(nodes: int, arguments: list[str]) -> list[str]:
    """The command that starts a launcher on each node of this Slurm job."""
    given = int(os.environ.get("SLURM_JOB_NUM_NODES", 0))
    if given < nodes:
        where = f"a Slurm job of {given} nodes" if given else "no Slurm job"
        raise ConfigError(
            f"{nodes} nodes asked for, in {where}: expected as many (sbatch --nodes={nodes}), or "
            f"{NODE} and {RENDEZVOUS} in the environment of the command on each node"
        )
    first = _told("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()[0]
    # The address that Slurm itself reaches it by; its name may mean nothing to anybody else.
    address = re.search(r"\bNodeAddr=(\S+)", _told("scontrol", "show", "node", first))
    port = FIRST_PORT + int(os.environ["SLURM_JOB_ID"]) % PORTS
    os.environ[RENDEZVOUS] = f"{address[1] if address else first}:{port}"
    # Of the step that this runs in, which may be one process on one node.
    for name in [name for name in os.environ if name.startswith(("SLURM_STEP", "SLURM_NTASKS"))]:
        del os.environ[name]
    own = 'export CLAMP3_NODE="$SLURM_NODEID"; exec "$@"'
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    command = [sys.executable, "-m", "clamp3.training.launch", *arguments]
    return [*srun, "--kill-on-bad-exit=1", "bash", "-c", own, "launch", *command]


def _told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    try:
        launch(sys.argv[1:])
    except ConfigError as error:
        sys.exit(f"Error: {error}")
