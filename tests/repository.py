"""Where the repository is, and how tests run its workflow."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def snakemake(*arguments, cwd=ROOT, **environment):
    """The output of a Snakemake run that must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
