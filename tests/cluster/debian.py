"""Debian's packages, installed where programs are missing."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def install(programs: list[str], packages: list[str]) -> str:
    """Install packages if a program is missing; why that cannot be done, or nothing."""
    missing = [name for name in programs if not shutil.which(name, path=SYSTEM_PATH)]
    if not missing:
        return ""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"no {', '.join(missing)}; as root on Debian the tests would install {packages}"
    with no_services():
        done = apt("install", "--no-install-recommends", *packages)
        if done.returncode:  # lists of packages too old, or none
            apt("update")
            done = apt("install", "--no-install-recommends", *packages)
    return f"apt-get cannot install {packages}: {done.stdout[-500:]}" if done.returncode else ""


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
