"""Where the repository is, how tests run what it holds, and what its files import."""

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command, cwd=ROOT, env=None, **options):
    """A program that must succeed, and what it said."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def python(*words, **options):
    """What a Python that must succeed has printed."""
    return run(sys.executable, *words, **options).stdout


def snakemake(*arguments, **environment):
    """All that a Snakemake run which must succeed has said."""
    done = run(sys.executable, "-m", "snakemake", *arguments, env={**os.environ, **environment})
    return done.stdout + done.stderr


def imported(path):
    """Every module name that a file imports, anywhere in it; what it takes from one may be one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
