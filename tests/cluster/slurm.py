"""A real Slurm of two nodes on this machine, for as long as its standard input stays open.

    python tests/cluster/slurm.py FOLDER

prints the PATH with which `sbatch`, `squeue` and the others reach it. munged, slurmctld and two
slurmd come from Debian's packages (installed where this is root and they are missing), listen on
free ports of the loopback, and keep all they write in FOLDER. No systemd, cgroups or database.

At the end of input, so also when whoever started it was killed, jobs are cancelled and everything
that was started here ends. FOLDER should be short: a socket's path has at most 107 characters.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PACKAGES = ["slurm-wlm", "munge"]
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch"]
CLIENTS = ["sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr"]
MUNGE_FILES = ["socket", "key-file", "log-file", "pid-file", "seed-file"]
NODES = ["n1", "n2"]  # n2 has what passes for two GPUs
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

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
AccountingStorageType=accounting_storage/none
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


def install() -> str:
    """Install what is missing, if possible; why there can be no Slurm here, or nothing."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=SYSTEM_PATH)]
    if not missing:
        return ""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"no {', '.join(missing)}; as root on Debian the tests would install {PACKAGES}"
    with no_services():
        done = apt("install", "--no-install-recommends", *PACKAGES)
        if done.returncode:  # lists of packages too old, or none
            apt("update")
            done = apt("install", "--no-install-recommends", *PACKAGES)
    return f"apt-get cannot install {PACKAGES}: {done.stdout[-500:]}" if done.returncode else ""


def apt(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["apt-get", "--yes", "--quiet", "--option=DPkg::Lock::Timeout=120", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
    )


@contextmanager
def no_services():
    """Packages that are installed meanwhile start no daemons of their own."""
    policy = Path("/usr/sbin/policy-rc.d")
    is_ours = not policy.exists()
    if is_ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if is_ours:
            policy.unlink(missing_ok=True)


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


def configure(folder: Path) -> None:
    """Write Slurm's configuration, a key for munge, and commands that know where to find it."""
    host = socket.gethostname().split(".")[0]
    controller_port, *node_ports = free_ports(1 + len(NODES))
    text = CONFIGURATION.format(
        folder=folder,
        host=host,
        user="root" if os.geteuid() == 0 else os.environ["USER"],
        controller_port=controller_port,
        n1_port=node_ports[0],
        n2_port=node_ports[1],
        loopback_only=",NoCtldInAddrAny,NoInAddrAny" if is_local(host) else "",
    )
    for name in ["state", "bin", *(f"spool-{node}" for node in NODES)]:
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(text)
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

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {
            "PATH": f"{folder}/bin:{SYSTEM_PATH}",
            "SLURM_CONF": f"{folder}/slurm.conf",
        }
        self.daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        """Start the daemons; returns when both nodes wait for work."""
        munge = [f"--{name}={self.folder}/munge.{name[:3]}" for name in MUNGE_FILES]
        self.daemon(["munged", "--foreground", "--force", "--num-threads=2", *munge])
        self.wait_for((self.folder / "munge.soc").exists)
        self.daemon(["slurmctld", "-D", "-f", f"{self.folder}/slurm.conf"])
        self.wait_for(lambda: self.ask("scontrol", "ping").returncode == 0)
        for node in NODES:
            self.daemon(["slurmd", "-D", "-f", f"{self.folder}/slurm.conf", "-N", node])
        idle = ("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N")
        self.wait_for(lambda: {*self.ask(*idle).stdout.split()} == {*NODES})

    def daemon(self, command: list[str]) -> None:
        """Start a daemon that dies with this process."""
        with open(self.folder / f"{command[0]}.out", "a") as output:
            self.daemons.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "--", *command],
                    env=self.environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )

    def ask(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True)

    def wait_for(self, condition, seconds: int = 60) -> None:
        until = time.monotonic() + seconds
        while not condition():
            dead = [" ".join(each.args[4:]) for each in self.daemons if each.poll() is not None]
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
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
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

    def left_over(self) -> list[int]:
        """The processes whose environment names this cluster's configuration."""
        sign = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if sign in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found


@contextmanager
def running(folder):
    """A Slurm of its own in a folder that is to be made: its process and the PATH to it."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        path = process.stdout.readline().strip()
        assert path, "no Slurm"
        yield process, path
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def main(folder: Path) -> None:
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: sys.exit())
    configure(folder)
    cluster = Cluster(folder)
    try:
        cluster.start()
        print(f"{folder}/bin:{SYSTEM_PATH}", flush=True)
        sys.stdin.read()
    finally:
        cluster.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
