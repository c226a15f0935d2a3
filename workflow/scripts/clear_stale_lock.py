"""Remove the lock that a killed Snakemake left in this folder; refuse while one is running."""

import os
import subprocess
import sys
from pathlib import Path

RUNNING = Path(".snakemake/running")  # written by the Snakefile when a run starts
LOCKS = Path(".snakemake/locks")


def is_running(pid: int) -> bool:
    """Whether a process of that number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    pid = int(RUNNING.read_text()) if RUNNING.exists() else 0
    if pid and is_running(pid):
        sys.exit(f"process {pid} is running the pipeline in this folder: wait for it or end it")
    if LOCKS.is_dir() and any(LOCKS.iterdir()):
        print("a run was killed here: removing its lock and going on where it stopped")
        command = [sys.executable, "-m", "snakemake", "--unlock", "--quiet", "all"]
        sys.exit(subprocess.run(command).returncode)
