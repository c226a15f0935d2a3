"""A real Slurm of two nodes on this machine, for as long as its standard input stays open.

    python tests/cluster/slurm.py FOLDER [--accounting]

prints the PATH with which `sbatch`, `squeue` and the others reach it. munged, slurmctld and two
slurmd come from Debian's packages (installed where this is root and they are missing), listen on
free ports of the loopback, and keep all they write in FOLDER. No systemd or cgroups; a database
with --accounting.

A line `kill NAME` on its input ends a daemon as a crash would (of n1 and n2, the nodes, with all
jobs on it), `start NAME` brings it back; both are answered when it is so. At the end of input, so
also when whoever started it was killed, jobs are cancelled and everything that was started here
ends. FOLDER should be short: a socket's path has at most 107 characters.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import accounting
import debian
import psutil
from debian import SYSTEM_PATH

PACKAGES = ["slurm-wlm", "munge"]
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch"]
CLIENTS = ["sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr"]
MUNGE_FILES = ["socket", "key-file", "log-file", "pid-file", "seed-file"]
NODES = ["n1", "n2"]  # n2 has what passes for two GPUs
NODE = "NODE_OF_TEST"  # names its node to what a slurmd starts

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.soc
CommunicationParameters=EnableIPv6{loopback_only}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
PropagateResourceLimits=NONE
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,batch_sched_delay=0,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# What no partition could ever give is refused at once.
EnforcePartLimits=ALL
ReturnToService=2
KillWait=2
CompleteWait=0
# Ended jobs stay in squeue, which is asked about them since there is no accounting.
MinJobAge=3600
# Without cgroups memory is looked at every second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
{accounting}
JobCompType=jobcomp/none
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=DEFAULT CPUs=16 RealMemory=64000
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1_port}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2_port} Gres=gpu:2
PartitionName=cpu Nodes=n1 Default=YES DefaultTime=10 MaxTime=7200
PartitionName=gpu Nodes=n2 DefaultTime=10 MaxTime=14400
PartitionName=both Nodes=n1,n2 DefaultTime=10 MaxTime=14400
"""
# Any two device files will do.
GPUS = """\
NodeName=n2 Name=gpu File=/dev/null Flags=nvidia_gpu_env
NodeName=n2 Name=gpu File=/dev/zero Flags=nvidia_gpu_env
"""


def install(with_accounting: bool = False) -> str:
    """Install what is missing, if possible; why there can be no Slurm here, or nothing."""
    return debian.install(
        PROGRAMS + accounting.PROGRAMS * with_accounting,
        PACKAGES + accounting.PACKAGES * with_accounting,
    )


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def is_local(host: str) -> bool:
    """Whether the machine's name means the loopback; else daemons must listen everywhere."""
    with suppress(OSError):
        return socket.gethostbyname(host).startswith("127.")
    return False


def user() -> str:
    """Whom all daemons run as."""
    return "root" if os.geteuid() == 0 else os.environ["USER"]


def configure(folder: Path, with_accounting: bool = False) -> None:
    """Write Slurm's configuration, a key for munge, and commands that know where to find it."""
    host = socket.gethostname().split(".")[0]
    controller_port, database_port, *node_ports = free_ports(2 + len(NODES))
    no_accounting = "AccountingStorageType=accounting_storage/none"
    with_database = accounting.IN_SLURM_CONF.format(folder=folder, port=database_port)
    text = CONFIGURATION.format(
        folder=folder,
        host=host,
        user=user(),
        accounting=with_database if with_accounting else no_accounting,
        controller_port=controller_port,
        n1_port=node_ports[0],
        n2_port=node_ports[1],
        loopback_only=",NoCtldInAddrAny,NoInAddrAny" if is_local(host) else "",
    )
    for name in ["state", "bin", *(f"spool-{node}" for node in NODES)]:
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(text)
    if with_accounting:
        accounting.configure(folder, host=host, user=user(), port=database_port)
    (folder / "gres.conf").write_text(GPUS)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # looked for, not used
    key = folder / "munge.key"
    key.touch(mode=0o400)
    key.chmod(0o600)
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    # Jobs lose SLURM_CONF: Snakemake's plugin clears the variables of Slurm before it calls srun.
    for name in CLIENTS:
        command = folder / "bin" / name
        real = shutil.which(name, path=SYSTEM_PATH)
        lines = ["#!/bin/sh", f"export SLURM_CONF={folder}/slurm.conf", f'exec {real} "$@"']
        command.write_text("\n".join(lines) + "\n")
        command.chmod(0o755)


class Cluster:
    """The daemons, and what is left of their jobs."""

    def __init__(self, folder: Path, with_accounting: bool = False):
        self.folder = folder
        self.with_accounting = with_accounting
        self.environment = os.environ | {
            "PATH": f"{folder}/bin:{SYSTEM_PATH}",
            "SLURM_CONF": f"{folder}/slurm.conf",
            "MYSQL_UNIX_PORT": str(accounting.socket(folder)),
        }
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start the daemons; returns when both nodes wait for work."""
        self.daemon("munged")
        if self.with_accounting:
            self.daemon("mariadbd")
            self.daemon("slurmdbd")
            for command in accounting.registrations(user()):
                done = self.ask(*command)
                assert done.returncode == 0, done.stdout + done.stderr
        for name in ["slurmctld", *NODES]:
            self.daemon(name)

    def daemon(self, name: str) -> None:
        """Start a daemon that dies with this process; returns when it is at work."""
        with open(self.folder / f"{name}.out", "a") as output:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command(name)],
                env=self.environment | ({NODE: name} if name in NODES else {}),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.wait_for(lambda: self.is_at_work(name))

    def command(self, name: str) -> list[str]:
        configuration = f"{self.folder}/slurm.conf"
        munge = [f"--{word}={self.folder}/munge.{word[:3]}" for word in MUNGE_FILES]
        node = ["slurmd", "-D", "-f", configuration, "-N", name]
        return {
            "munged": ["munged", "--foreground", "--force", "--num-threads=2", *munge],
            "mariadbd": accounting.mariadbd(self.folder),
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D", "-f", configuration],
        }.get(name, node)

    def is_at_work(self, name: str) -> bool:
        idle = ("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N")
        return {
            "munged": (self.folder / "munge.soc").exists,
            "mariadbd": accounting.socket(self.folder).exists,
            "slurmdbd": lambda: self.succeeds("sacctmgr", "--noheader", "list", "cluster"),
            "slurmctld": lambda: self.succeeds("scontrol", "ping"),
        }.get(name, lambda: name in self.ask(*idle).stdout.split())()

    def succeeds(self, *command: str) -> bool:
        return self.ask(*command).returncode == 0

    def kill(self, name: str) -> None:
        """End a daemon by SIGKILL; a node with everything that it runs."""
        processes = [psutil.Process(each) for each in self.left_over(f"{NODE}={name}")]
        below = [child for process in processes for child in process.children(recursive=True)]
        for process in [*processes, *below]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def ask(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True)

    def wait_for(self, condition, seconds: int = 60) -> None:
        until = time.monotonic() + seconds
        while not condition():
            dead = [name for name, each in self.daemons.items() if each.poll() is not None]
            if dead or time.monotonic() > until:
                logs = [path.read_text()[-2000:] for path in self.folder.glob("*.[lo][ou][gt]")]
                raise SystemExit("\n".join([f"ended: {dead}", *logs]))
            time.sleep(0.1)

    def stop(self) -> None:
        """Cancel all jobs, then end daemons, then whatever of the jobs is still there."""
        with suppress(subprocess.SubprocessError, OSError):
            self.ask("scancel", "--user", str(os.geteuid()), "--state=PENDING")
            self.ask("scancel", "--user", str(os.geteuid()))
            self.wait_for_no_jobs(15)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for process in self.left_over():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def wait_for_no_jobs(self, seconds: int) -> None:
        until = time.monotonic() + seconds
        while self.ask("squeue", "-h").stdout and time.monotonic() < until:
            time.sleep(0.2)

    def left_over(self, *signs: str) -> list[int]:
        """The processes whose environment names this cluster's configuration, and what else is
        asked for."""
        signs = {sign.encode() for sign in (f"SLURM_CONF={self.folder}/slurm.conf", *signs)}
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if signs <= {*path.read_bytes().split(b"\0")}:
                    found.append(int(path.parent.name))
        return found


@dataclass
class Running:
    """A Slurm that another process started: the PATH to it, and a way to hurt it."""

    process: subprocess.Popen
    path: str

    def tell(self, words: str) -> None:
        """`kill slurmctld`, `start n1` …; returns when it is done."""
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer == words, answer


@contextmanager
def running(folder, *options):
    """A Slurm of its own in a folder that is to be made."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        path = process.stdout.readline().strip()
        assert path, "no Slurm"
        yield Running(process, path)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def main(folder: Path, with_accounting: bool) -> None:
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: sys.exit())
    configure(folder, with_accounting)
    cluster = Cluster(folder, with_accounting)
    act = {"kill": cluster.kill, "start": cluster.daemon}
    try:
        cluster.start()
        print(f"{folder}/bin:{SYSTEM_PATH}", flush=True)
        for line in sys.stdin:
            verb, name = line.split()
            act[verb](name)
            print(f"{verb} {name}", flush=True)
    finally:
        cluster.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), "--accounting" in sys.argv[2:])
