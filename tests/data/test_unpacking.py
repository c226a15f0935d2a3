"""Archives are unpacked whole or not at all, and nothing in them reaches beyond the folder."""

import gzip
import os
import stat
import tarfile
import zipfile

import pyarrow as pa
import pytest
from raw_corpus import files_of, write_tar, write_zip
from samples import put

from clamp3.data.unpacking import unpack
from clamp3.errors import DataError

FILES = {"lmd_full/1/a.mid": b"MThd one", "lmd_full/2/b.mid": b"MThd two", "readme": b""}


def tar(path, entries, mode="w:gz"):
    return write_tar(path, list(entries), mode)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar(tmp_path, mode):
    entries = {"lmd_full": {"type": tarfile.DIRTYPE}} | FILES
    archive = write_tar(tmp_path / "a.tar", entries, mode)
    assert unpack(archive, tmp_path / "out") == 3
    assert files_of(tmp_path / "out") == FILES
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["lmd_full", "readme"]


def test_a_zip(tmp_path):
    archive = write_zip(tmp_path / "a.zip", [("audio/", ""), *FILES.items()])
    assert unpack(archive, tmp_path / "out") == 3
    assert files_of(tmp_path / "out") == FILES
    assert (tmp_path / "out" / "audio").is_dir()


def test_compressed_files(tmp_path):
    with pa.output_stream(str(tmp_path / "s.jsonl.zst"), compression="zstd") as stream:
        stream.write(b'{"a": 1}\n')
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n"))
    assert unpack(tmp_path / "s.jsonl.zst", tmp_path / "out") == 1
    assert unpack(tmp_path / "t.csv.gz", tmp_path / "out") == 1
    assert files_of(tmp_path / "out") == {"s.jsonl": b'{"a": 1}\n', "t.csv": b"a,b\n"}


def test_what_a_killed_run_left_is_removed(tmp_path):
    put(tmp_path, "out/.unpacking.a.tar.gz/half", "x")
    unpack(tar(tmp_path / "a.tar.gz", FILES.items()), tmp_path / "out")
    assert files_of(tmp_path / "out") == FILES


def test_other_files_stay_and_files_of_the_same_name_are_replaced(tmp_path):
    out = tmp_path / "out"
    put(out, "lmd_full/1/a.mid", "old")
    put(out, "lmd_full/1/mine.mid", "mine")
    unpack(tar(tmp_path / "a.tar.gz", FILES.items()), out)
    assert files_of(out) == FILES | {"lmd_full/1/mine.mid": b"mine"}


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "C:/evil", "..", "a/.."]
)
@pytest.mark.parametrize("make", [tar, write_zip])
def test_names_that_leave_the_folder_are_refused(tmp_path, make, name):
    archive = make(tmp_path / "archive", [*FILES.items(), (name, b"x")])
    with pytest.raises(DataError, match="would leave the folder"):
        unpack(archive, tmp_path / "deep" / "out")
    assert files_of(tmp_path) == {"archive": archive.read_bytes()}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc"}, "a link"),
        ({"type": tarfile.SYMTYPE, "linkname": "readme"}, "a link"),
        ({"type": tarfile.LNKTYPE, "linkname": "readme"}, "a link"),
        ({"type": tarfile.FIFOTYPE}, "a device or pipe"),
        ({"type": tarfile.CHRTYPE}, "a device or pipe"),
    ],
)
def test_links_and_devices_are_refused(tmp_path, changes, kind):
    archive = tar(tmp_path / "a.tar.gz", [*FILES.items(), ("odd", changes)])
    with pytest.raises(DataError, match=rf"'odd' is {kind}; expected files and folders"):
        unpack(archive, tmp_path / "out")
    assert files_of(tmp_path / "out") == {}


def test_links_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("odd")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = write_zip(tmp_path / "a.zip", [("readme", b""), (link, "/etc")])
    with pytest.raises(DataError, match="'odd' is a link"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("make", [tar, write_zip])
def test_what_unpacks_to_too_much_is_refused(tmp_path, make):
    archive = make(tmp_path / "archive", [("zeros", bytes(100_000))])
    assert archive.stat().st_size < 5000
    with pytest.raises(DataError, match="unpacks to more than 99999 bytes"):
        unpack(archive, tmp_path / "out", limit_bytes=99_999)
    assert files_of(tmp_path / "out") == {}
    assert unpack(archive, tmp_path / "out", limit_bytes=100_000) == 1


@pytest.mark.parametrize("make", [tar, write_zip])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_damaged_archive_leaves_nothing(tmp_path, make, share):
    archive = make(tmp_path / "archive", [("noise", os.urandom(200_000)), *FILES.items()])
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match="archive: "):
        unpack(archive, tmp_path / "out")
    assert files_of(tmp_path / "out") == {}


def test_a_flipped_byte_in_a_zip_is_noticed(tmp_path):
    archive = write_zip(tmp_path / "a.zip", [("noise", bytes(range(256)) * 400)])
    damaged = bytearray(archive.read_bytes())
    damaged[200] ^= 0xFF
    archive.write_bytes(damaged)
    with pytest.raises(DataError, match="damaged"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("start", [b"", b"<html>not found</html>", b"plain text, no archive"])
def test_what_is_no_archive(tmp_path, start):
    (tmp_path / "a.bin").write_bytes(start)
    with pytest.raises(DataError, match="neither tar, zip, gzip nor zstd"):
        unpack(tmp_path / "a.bin", tmp_path / "out")
