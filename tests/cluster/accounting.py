"""Accounting for the Slurm of slurm.py: slurmdbd, on a MariaDB that only a socket reaches."""

import os
import subprocess
from pathlib import Path

PACKAGES = ["slurmdbd", "mariadb-server-core"]
PROGRAMS = ["slurmdbd", "mariadbd"]
SYSTEM_TABLES = Path("/usr/share/mysql/mysql_system_tables.sql")
ACCOUNT = "my_account"  # the one in profiles/slurm

# Instead of the line of slurm.conf that says there is none. Commands give up soon while a daemon
# is away.
IN_SLURM_CONF = """\
MessageTimeout=2
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.soc
AccountingStorageEnforce=associations
"""
CONFIGURATION = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.soc
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
"""


def configure(folder: Path, **values) -> None:
    """Write slurmdbd's configuration and the tables that MariaDB keeps for itself."""
    configuration = folder / "slurmdbd.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(CONFIGURATION.format(folder=folder, **values))
    (folder / "tables").mkdir(mode=0o700)
    tables = "CREATE DATABASE mysql;\nUSE mysql;\n" + SYSTEM_TABLES.read_text()
    done = subprocess.run(
        [*mariadbd(folder), "--bootstrap"], input=tables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def mariadbd(folder: Path) -> list[str]:
    """MariaDB's command: no network, no passwords, no settings of this machine, little memory."""
    return [
        "mariadbd",
        "--no-defaults",
        *(["--user=root"] if os.geteuid() == 0 else []),
        f"--datadir={folder}/tables",
        f"--socket={socket(folder)}",
        "--skip-networking",
        "--skip-grant-tables",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",
        "--innodb-flush-log-at-trx-commit=0",
    ]


def socket(folder: Path) -> Path:
    """Where MariaDB listens."""
    return folder / "mariadb.soc"


def registrations(user: str) -> list[list[str]]:
    """The commands that make this cluster known, and who may use it."""
    add = ["sacctmgr", "--immediate", "--quiet", "add"]
    return [
        [*add, "cluster", "test"],
        [*add, "account", ACCOUNT, "Cluster=test", "Description=tests", "Organization=tests"],
        [*add, "user", user, f"Account={ACCOUNT}", "Cluster=test"],
    ]
