"""Where raw files lie: addresses of files on this machine, in archives, and elsewhere.

An address is one text: a path (`data/pdmx/mxl/1/11/Qm1.mxl`) or a URL that fsspec knows
(`s3://bucket/PDMX/mxl/1/11/Qm1.mxl`). An archive takes the place of a folder: its members are
addressed below the archive itself (`data/PDMX.tar.gz/mxl/…`) or below the folder that it would
unpack to (`data/pdmx/mxl/…` in `data/pdmx/mxl.tar.gz`); a folder that is there goes first.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from clamp3.errors import ConfigError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
_LOCAL = "file://"
# A password before the name of the server, or the signature of an address made for one person.
_SECRET = re.compile(
    r"(?<=://)[^/?#@]*:[^/?#@]*@|[?&](?:x-[a-z]+-)?(?:signature|sig|token|key|password)=.*", re.I
)


class Member(NamedTuple):
    """What is addressed inside an archive: `name` is empty for the archive as a whole."""

    archive: str
    name: str


def is_remote(address: str) -> bool:
    """Whether it is a URL of anything but this machine's own files."""
    return "://" in address and not address.startswith(_LOCAL)


def refuse_secret(address: str) -> None:
    """Raise ConfigError for an address with a password or a signature in it.

    Addresses stand in tables, logs and messages, which others may read.
    """
    if _SECRET.search(address):
        raise ConfigError(
            f"{_SECRET.sub('***', address)}: there is a secret in this address, which would stand "
            "in tables and logs; leave it to the environment or the settings of the server's "
            "client (for s3://: AWS_ACCESS_KEY_ID or ~/.aws, for others: fsspec's configuration)"
        )


def local_path(address: str) -> str:
    """The path of an address that is not remote."""
    return address.removeprefix(_LOCAL)


def parent(address: str) -> str:
    """The address of the folder that something lies in; `.` for a bare file name.

    The root of this machine, and a bucket, lie in themselves.
    """
    plain = address.rstrip("/")
    folder = plain.rpartition("/")[0]
    if folder.endswith((":", ":/")):
        return plain
    return folder or ("/" if address.startswith("/") else ".")


def below(folder: str, name: str) -> str:
    """The address of what has this name, as `a/b.mid`, below a folder."""
    return (
        f"{folder.rstrip('/')}/{name}"
        if is_remote(folder)
        else str(Path(local_path(folder)) / name)
    )


def find_member(
    address: str, is_file: Callable[[str], bool], is_folder: Callable[[str], bool]
) -> Member | None:
    """The archive that holds what has this address, or would if it were there; None: none does.

    Nothing of the archive but its presence is looked at.
    """
    floor = 0
    if is_remote(address):  # not above the bucket: one called bucket.tar is somebody else's
        floor = (address + "/").index("/", address.index("://") + 3)
    top, name = address.rstrip("/"), ""
    while len(top) > floor:
        if top.lower().endswith(ARCHIVES) and is_file(top):
            return Member(top, name)
        if is_folder(top):
            return None
        for archive in (top + suffix for suffix in ARCHIVES):
            if is_file(archive):
                return Member(archive, name)
        top, _, last = top.rpartition("/")
        name = f"{last}/{name}" if name else last
    return None


def find_local_member(address: str) -> Member | None:
    """`find_member` among the files of this machine."""
    return find_member(local_path(address), os.path.isfile, os.path.isdir)


def watched(address: str) -> list[str]:
    """The file, folder or archive whose change is a change of what the address holds.

    Nothing for a remote address, which cannot be watched; what is not there is itself.
    """
    if is_remote(address):
        return []
    path = local_path(address)
    member = None if Path(path).exists() else find_local_member(path)
    return [member.archive if member else path]
