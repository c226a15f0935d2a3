"""A corpus in archives and elsewhere makes the same tables; hostile and broken archives do not."""

import gzip
import json
import os
import shutil
import stat
import tarfile
import threading
import time
import zipfile
from contextlib import contextmanager

import fsspec
import pytest
from raw_corpus import (
    NAMES,
    files_of,
    run_stages,
    use_bucket,
    write_pdmx,
    write_tar,
    write_zip,
)
from s3_server import s3_server

from clamp3.data.raw_files import archive_index, places
from clamp3.data.raw_files.addresses import is_remote, parent, watched
from clamp3.data.raw_files.archive_index import cache_home
from clamp3.data.raw_files.archives import Archive
from clamp3.data.raw_files.reading import RawFiles, local_copy
from clamp3.errors import DataError, FormatError, StorageError
from clamp3.files import read_table

RATIO = 300


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "WAITS_SECONDS", (0.01, 0.01, 0.01))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_pdmx(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory):
    made = run_stages(str(corpus), tmp_path_factory.mktemp("expected"))
    for kind in ("missing_file", "empty_file", "corrupt_zip", "too_large"):
        assert kind in made["rejected abc"]
    assert "too_large" in made["rejected mtf"]
    assert made["rejected"] == "[]"
    return made


def as_published(corpus, folder, suffix):
    """PDMX.csv beside an archive for each folder, as on Zenodo."""
    folder.mkdir()
    shutil.copy(corpus / "PDMX.csv", folder)
    for kind in ("mxl", "mid"):
        own = files_of(corpus / kind).items()
        write(folder / f"{kind}{suffix}", {f"{kind}/{name}": data for name, data in own})
    return folder


def upload(address, files):
    system = fsspec.filesystem(address.partition(":")[0])
    for name, data in files.items():
        system.pipe_file(f"{address}/{name}", data)


@contextmanager
def changed(path):
    """The bytes of a file, to be changed in the block."""
    data = bytearray(path.read_bytes())
    yield data
    path.write_bytes(data)


def write(path, files):
    if path.name.endswith(".zip"):
        return write_zip(path, files)
    return write_tar(path, files, "w" if path.name.endswith(".tar") else "w:gz")


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_archives_beside_the_csv_give_the_same_tables(corpus, expected, tmp_path, suffix):
    folder = as_published(corpus, tmp_path / "pdmx", suffix)
    assert run_stages(str(folder), tmp_path) == expected
    left = {path.name for path in folder.iterdir()}
    assert left == {"PDMX.csv", f"mid{suffix}", f"mxl{suffix}"}, "nothing is unpacked there"


@pytest.mark.parametrize("name", ["PDMX.tar", "PDMX.tar.gz", "PDMX.zip"])
@pytest.mark.parametrize("top", ["", "./", "PDMX/"])
def test_one_archive_of_everything_gives_the_same_tables(corpus, expected, tmp_path, name, top):
    files = {f"{top}{path}": data for path, data in files_of(corpus).items()}
    archive = write(tmp_path / name, files)
    assert run_stages(str(archive), tmp_path) == expected
    without_suffix = str(archive).removesuffix(".gz").removesuffix(".tar").removesuffix(".zip")
    assert run_stages(without_suffix, tmp_path) == expected


@pytest.fixture
def memory(corpus):
    """An address in fsspec's memory file system, and its files."""
    upload("memory://bucket/PDMX", files_of(corpus))
    yield "memory://bucket/PDMX"
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("check_files", [True, False])
def test_a_place_elsewhere_gives_the_same_tables(memory, corpus, tmp_path, check_files):
    here = run_stages(str(corpus), tmp_path / "here", check_files=check_files)
    assert run_stages(memory, tmp_path / "there", check_files=check_files) == here


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_archives_elsewhere_give_the_same_tables(corpus, expected, tmp_path, suffix):
    address = f"memory://archives{suffix}"
    upload(address, files_of(as_published(corpus, tmp_path / "local", suffix)))
    assert run_stages(address, tmp_path) == expected


def test_file_urls_are_paths(corpus, expected, tmp_path):
    assert run_stages(f"file://{corpus}", tmp_path) == expected


def collections(folder):
    return {
        "midicaps": {"layout": "midicaps", "path": f"{folder}/caps/train.json"},
        "sheets": {"layout": "wikimt_x", "path": f"{folder}/wikimt-x-public.jsonl"},
    }


def test_lists_of_collections_lie_there_too(corpus, tmp_path, memory):
    whole = tmp_path / "whole"
    shutil.copytree(corpus, whole)
    (whole / "caps/lmd_full/1").mkdir(parents=True)
    for name in ("a", "b"):
        shutil.copy(whole / f"mid/1/11/{NAMES[0]}.mid", whole / f"caps/lmd_full/1/{name}.mid")
    rows = [
        {"location": f"lmd_full/1/{name}.mid", "caption": f"Caption {name}", "test_set": True}
        for name in ("a", "b", "lost")
    ]
    (whole / "caps/train.json").write_text("\n".join(map(json.dumps, rows)))
    sheet = {"id": "1", "title": "T", "leadsheet": "X:1\nL:1/8\nK:C\nCDEF|\n"}
    (whole / "wikimt-x-public.jsonl").write_text(json.dumps(sheet))
    here = run_stages(str(whole), tmp_path / "1", collections=collections(whole))
    assert "CORPUS/caps/lmd_full/1/lost.mid not found" in here["rejected"]
    assert len(read_table(tmp_path / "1/mtf.parquet")) == len(NAMES) - 1 + 2

    packed = write_zip(tmp_path / "packed.zip", files_of(whole))
    assert run_stages(str(packed), tmp_path, collections=collections(packed)) == here
    files = {path: data for path, data in files_of(whole).items() if "lmd_full" not in path}
    lakh = write_tar(tmp_path / "lmd_full.tar", files_of(whole / "caps" / "lmd_full"))
    upload(memory, files | {"caps/lmd_full.tar": lakh.read_bytes()})
    assert run_stages(memory, tmp_path, collections=collections(memory)) == here


# Archives


def read(path, name, max_bytes=1000, ratio=RATIO):
    return Archive(str(path)).read(name, max_bytes, ratio)


def refused(path, name, **limits):
    with pytest.raises(FormatError) as error:
        read(path, name, **limits)
    return error.value.kind, str(error.value)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_members_in_any_order_and_in_a_folder_or_not(tmp_path, suffix):
    files = {"a/b/1.mid": b"one", "a/2.mid": b"", "a/ü ñ.mid": b"three" * 300, "a/z.mid": b"z" * 99}
    path = write(tmp_path / f"x{suffix}", files)
    archive = Archive(str(path))
    for name in sorted(files, reverse=True):
        assert archive.read(name, 5000, RATIO) == files[name]
        assert archive.size(name) == len(files[name])
        assert archive.read(name.removeprefix("a/"), 5000, RATIO) == files[name]
    assert archive.size("3.mid") is None
    assert sorted(archive.names_below("")) == sorted(name.removeprefix("a/") for name in files)
    assert refused(path, "3.mid")[0] == "missing_file"
    said = "a file of 1500 bytes; expected at most 1000"
    assert refused(path, "ü ñ.mid") == ("too_large", said)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_names_that_lead_out_are_passed_over(tmp_path, suffix, caplog):
    bad = ["/etc/passwd", "../x.mid", "a/../../x.mid", "a\\b.mid", "c:/x.mid", "a\nb.mid"]
    path = write(tmp_path / f"x{suffix}", dict.fromkeys(bad, b"bad") | {"ok/1.mid": b"good"})
    archive = Archive(str(path))
    assert archive.names_below("") == ["1.mid"]
    assert "6 members are passed over" in caplog.text
    for name in [*bad, "etc/passwd", "x.mid", "b.mid"]:
        assert archive.size(name) is None


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_name_that_stands_twice_is_neither(tmp_path, suffix):
    names = ("1.mid", "1.mid" if suffix == ".tar" else "./1.mid")
    path = write(tmp_path / f"x{suffix}", zip(names, (b"first", b"second"), strict=True))
    kind, reason = refused(path, "1.mid")
    assert (kind, "one of several members of this name" in reason) == ("bad_member", True)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_and_devices_are_not_followed(tmp_path, kind, mode):
    path = tmp_path / ("x.tar" if mode == "w" else "x.tar.gz")
    write_tar(path, {"1.mid": {"type": kind, "linkname": "/etc/passwd"}}, mode)
    assert refused(path, "1.mid")[0] == "bad_member"


def test_zip_links_encrypted_members_and_other_methods_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as opened:
        link = zipfile.ZipInfo("link.mid")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
        opened.writestr("lzma.mid", b"x" * 99, zipfile.ZIP_LZMA)
        opened.writestr("secret.mid", b"x")
    with changed(path) as data:
        data[data.rindex(b"PK\x01\x02") + 8] |= 1
    assert "a link" in refused(path, "link.mid")[1]
    assert "method 14" in refused(path, "lzma.mid")[1]
    assert "encrypted" in refused(path, "secret.mid")[1]


def test_zip_bombs_are_not_unpacked(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"bomb.mid": bytes(10_000_000), "liar.mid": bytes(9_999)})
    assert refused(path, "bomb.mid", max_bytes=10**9)[0] == "too_large"
    # One that says it were small is cut off where it goes on, and fails its check.
    with changed(path) as data:
        at = data.rindex(b"PK\x01\x02") + 24
        data[at : at + 4] = (10).to_bytes(4, "little")
    said = f"{path}: liar.mid: 11 bytes, expected 10"
    assert refused(path, "liar.mid") == ("bad_member", said)


def test_a_flipped_byte_costs_a_zip_member_alone(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"1.mid": b"abc" * 99, "2.mid": bytes(range(256))})
    with changed(path) as data:
        data[data.index(b"2.mid") + 60] ^= 255
    assert read(path, "1.mid") == b"abc" * 99
    assert refused(path, "2.mid")[0] == "bad_member"


def cut(data):
    """Ways to lose the rest of an archive: in a member, in a header, between two, at the end."""
    return [data[: len(data) * share // 10] for share in (1, 4, 7, 9)] + [b""]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_an_archive_that_was_cut_is_damaged(tmp_path, suffix):
    files = {f"{number}.mid": os.urandom(700) for number in range(60)}
    whole = write(tmp_path / f"x{suffix}", files).read_bytes()
    ends = cut(whole)
    if suffix == ".tar":
        ends += [whole[:1536], whole[: 1536 * 30], whole[: 1536 * 60], whole[: 1536 * 30 + 512]]
    for number, data in enumerate(ends):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"damaged .*; delete it and download it again"):
            Archive(str(path))
    assert not list((cache_home() / "archives").glob("*/")), "no half index is left"


def test_a_tar_that_is_overwritten_in_the_middle_is_damaged(tmp_path):
    path = write_tar(tmp_path / "x.tar", {f"{number}.mid": b"x" * 700 for number in range(60)})
    with changed(path) as data:
        data[1536 * 30 : 1536 * 30 + 600] = os.urandom(600)
    with pytest.raises(DataError, match="damaged"):
        Archive(str(path))


def test_a_wrong_gzip_checksum_is_found(tmp_path):
    path = write_tar(tmp_path / "x.tar.gz", {"1.mid": b"x" * 700}, "w:gz")
    with changed(path) as data:
        data[-5] ^= 1
    with pytest.raises(DataError, match="damaged"):
        Archive(str(path))


def test_a_compressed_tar_of_nothing_but_zeros_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_index, "_MIN_LIMIT_BYTES", 1 << 20)
    path = write_tar(tmp_path / "x.tar.gz", {"1.mid": bytes(1 << 22)}, "w:gz")
    with pytest.raises(DataError, match="unpacks to more than 1048576 bytes"):
        Archive(str(path))


def test_no_stage_reads_pdf_so_the_copy_leaves_it_out(tmp_path):
    path = write_tar(tmp_path / "x.tar.gz", {"1.pdf": b"pdf", "1.mid": b"midi"}, "w:gz")
    assert read(path, "1.mid") == b"midi"
    assert "left out of .tar.gz" in refused(path, "1.pdf")[1]
    copies = list((cache_home() / "archives").glob("*/members"))
    assert [copy.read_bytes() for copy in copies] == [b"midi"]


def test_something_else_called_tar_gz(tmp_path):
    for name in ("x.tar", "x.tar.gz", "x.zip"):
        (tmp_path / name).write_bytes(b"<html>404</html>")
        with pytest.raises(DataError, match=f"{name}: damaged"):
            Archive(str(tmp_path / name))
    (tmp_path / "y.tar.gz").write_bytes(gzip.compress(b"a table, not a tar" * 100))
    with pytest.raises(DataError, match="damaged"):
        Archive(str(tmp_path / "y.tar.gz"))


# What is kept of an archive


@pytest.fixture
def made(monkeypatch):
    """The archives that were gone through."""
    names = []
    original = archive_index._make
    monkeypatch.setattr(
        archive_index, "_make", lambda *args: (names.append(args[0].name), original(*args))
    )
    return names


def test_an_archive_is_gone_through_once_until_it_changes(tmp_path, made):
    path = write_tar(tmp_path / "x.tar.gz", {"1.mid": b"one"}, "w:gz")
    for _ in range(3):
        assert read(path, "1.mid") == b"one"
    assert made == [str(path)]
    os.utime(path, ns=(1, 1))
    assert read(path, "1.mid") == b"one"
    write_tar(path, {"1.mid": b"two"}, "w:gz")
    assert read(path, "1.mid") == b"two"
    assert len(made) == 3
    assert [entry.name for entry in (cache_home() / "archives").glob(".x*")] == []


def test_jobs_that_start_together_wait_for_one(tmp_path, made):
    path = write_tar(tmp_path / "x.tar.gz", {f"{n}.mid": b"x" * n for n in range(200)}, "w:gz")
    found = []
    jobs = [threading.Thread(target=lambda: found.append(read(path, "7.mid"))) for _ in range(6)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert found == [b"x" * 7] * 6
    assert len(made) == 1


def test_what_a_killed_process_left_is_removed(tmp_path):
    path = write_tar(tmp_path / "x.tar.gz", {"1.mid": b"one"}, "w:gz")
    read(path, "1.mid")
    (place,) = (cache_home() / "archives").glob("x.tar.gz-*/")
    rest = place.parent / f".{place.name}.abc"
    rest.mkdir()
    (rest / "members").write_bytes(b"half")
    os.utime(path, ns=(1, 1))
    read(path, "1.mid")
    assert not rest.exists()


def test_a_reader_keeps_the_archive_it_has_opened(tmp_path):
    path = write_tar(tmp_path / "x.tar.gz", {"1.mid": b"one"}, "w:gz")
    archive = Archive(str(path))
    path.unlink()
    write_tar(path, {"0.mid": b"zero", "1.mid": b"two"}, "w:gz")
    assert Archive(str(path)).read("1.mid", 99, RATIO) == b"two"
    assert archive.read("1.mid", 99, RATIO) == b"one"


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "x.tar", {"1.mid": b"one"})
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="XDG_CACHE_HOME names another cache"):
        Archive(str(path))


# Addresses


def test_addresses():
    assert [is_remote(a) for a in ("s3://b/x", "gs://b", "memory://x")] == [True] * 3
    assert [is_remote(a) for a in ("data/x", "/x", "file:///x")] == [False] * 3
    assert (parent("s3://b/P/x.csv"), parent("x.csv"), parent("a/x")) == ("s3://b/P", ".", "a")
    assert (parent("/x.csv"), parent("s3://b/"), parent("s3://b/x")) == ("/", "s3://b", "s3://b")


def test_what_is_watched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tar(tmp_path / "mxl.tar.gz", {"mxl/1.mxl": b"x"}, "w:gz")
    (tmp_path / "mid").mkdir()
    write_zip(tmp_path / "mid.zip", {"mid/1.mid": b"x"})
    write_zip(tmp_path / "all.zip", {"PDMX.csv": b"x"})
    assert watched("mxl") == watched("mxl/1/11") == ["mxl.tar.gz"]
    assert watched("mid") == ["mid"], "a folder goes before an archive"
    assert watched("all.zip/PDMX.csv") == watched("all/mxl") == ["all.zip"]
    assert watched("all.zip") == ["all.zip"]
    assert watched("data/demo/mxl") == ["data/demo/mxl"], "what is yet to be made"
    assert watched("s3://bucket/PDMX/mxl") == []
    assert watched(f"file://{tmp_path}/mid") == [f"{tmp_path}/mid"]


def test_a_folder_that_is_there_goes_before_the_archive(tmp_path):
    write_tar(tmp_path / "mid.tar", {"mid/1/a.mid": b"packed", "mid/2/b.mid": b"packed"})
    (tmp_path / "mid" / "1").mkdir(parents=True)
    for name, said in (("1/a.mid", "no such"), ("2/b.mid", "no such"), ("1", "not a")):
        with RawFiles() as files, pytest.raises(FormatError, match=f"{said} file"):
            files.fetch(f"{tmp_path}/mid/{name}")


def test_local_copy_speaks_of_the_address(tmp_path, memory):
    for address in (memory, str(write_zip(tmp_path / "x.zip", {"PDMX.csv": b"a"}))):
        wrong = pytest.raises(DataError, match=f"^{address}/PDMX.csv: wrong$")
        with wrong, local_copy(f"{address}/PDMX.csv") as path:
            raise DataError(f"{path}: wrong")
        assert not path.exists()
        missing = pytest.raises(DataError, match=f"^{address}/none.csv: no such file$")
        with missing, local_copy(f"{address}/none.csv"):
            pass


# Places that do not answer


class Flaky:
    """Makes a method of the memory file system fail for so many calls, from a certain one on."""

    def __init__(self, monkeypatch, name, error, *, first=0, times=10**9):
        system = fsspec.get_filesystem_class("memory")
        original, self.calls = getattr(system, name), 0

        def method(*args, **kwargs):
            self.calls += 1
            if first < self.calls <= first + times:
                raise error
            return original(*args, **kwargs)

        monkeypatch.setattr(system, name, method)


def test_a_place_that_answers_late_costs_nothing(memory, expected, tmp_path, monkeypatch, caplog):
    flaky = Flaky(monkeypatch, "cat_file", TimeoutError("no answer"), first=2, times=3)
    assert run_stages(memory, tmp_path) == expected
    assert flaky.calls > 5
    assert "no answer; asking again in 0.01 s" in caplog.text


def test_a_network_that_is_gone_ends_the_job_and_no_piece_is_blamed(memory, tmp_path, monkeypatch):
    run_stages(memory, tmp_path)
    (tmp_path / "abc.parquet").unlink()
    Flaky(monkeypatch, "cat_file", ConnectionError("network\nunreachable"), first=9)
    message = r"^memory://bucket/PDMX/\S+: cannot be reached, 4 times \(network unreachable\); when"
    with pytest.raises(StorageError, match=message):
        run_stages(memory, tmp_path)
    assert not (tmp_path / "abc.parquet").exists(), "no table without its pieces"


def test_no_permission_is_told_at_once(memory, tmp_path, monkeypatch):
    flaky = Flaky(monkeypatch, "info", PermissionError("Access Denied"))
    with pytest.raises(StorageError, match=r"no permission \(Access Denied\); are these the right"):
        run_stages(memory, tmp_path)
    assert flaky.calls == 1


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"^memory://nowhere/PDMX.csv: no such file$"):
        run_stages("memory://nowhere", tmp_path)
    with pytest.raises(DataError, match=r"none.zip/PDMX.csv: no such file"):
        run_stages(f"{tmp_path}/none.zip", tmp_path)
    with pytest.raises(DataError, match=r"^nfs3://x/PDMX.csv: not a place that fsspec knows"):
        run_stages("nfs3://x", tmp_path)


def test_a_package_that_lacks_is_named(tmp_path, monkeypatch):
    def without(*args, **kwargs):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", without)
    with pytest.raises(DataError, match=r"Install s3fs .* pip install 'clamp3\[s3\]'"):
        run_stages("s3://bucket/PDMX", tmp_path)


def test_an_archive_is_looked_for_once_a_folder_and_not_above_the_bucket(memory, monkeypatch):
    system = fsspec.get_filesystem_class("memory")
    original, asked = system.info, []
    monkeypatch.setattr(
        system, "info", lambda self, path, **more: (asked.append(path), original(self, path))[1]
    )
    with RawFiles() as files:
        for number in range(3):
            with pytest.raises(FormatError, match="no such file"):
                files.fetch(f"{memory}/mid/2/{number}.mid")
    assert asked.count("/bucket/PDMX/mid/2.zip") == 1
    assert asked.count("/bucket/PDMX/mid.zip") == 0, "mid is a folder"
    with RawFiles() as files, pytest.raises(FormatError, match="no such file"):
        files.fetch("memory://elsewhere/PDMX/1.mid")
    assert "/elsewhere/PDMX.zip" in asked
    assert not [path for path in asked if path.startswith("/elsewhere") and path.count("/") < 2]


def test_files_are_fetched_ahead(memory, monkeypatch):
    system = fsspec.get_filesystem_class("memory")
    original, busy, most = system.cat_file, [], []

    def slow(*args, **kwargs):
        busy.append(1)
        most.append(len(busy))
        time.sleep(0.02)
        busy.pop()
        return original(*args, **kwargs)

    monkeypatch.setattr(system, "cat_file", slow)
    wanted = [f"{memory}/mid/1/11/{name}.mid" for name in NAMES]
    with RawFiles(wanted) as files:
        found = [files.fetch(address) for address in wanted]
    assert [files.fetch(address) for address in wanted] == found
    assert max(most) > 4


# A bucket


@pytest.fixture(scope="module")
def s3():
    """The address of an S3-compatible server on this machine, and a way to stop it."""
    with s3_server("s3fs") as started:
        yield started


@pytest.fixture
def bucket(s3, corpus, monkeypatch):
    """The corpus in a bucket: in folders, and in archives."""
    use_bucket(monkeypatch, s3[0])
    system = fsspec.filesystem("s3")
    if not system.exists("s3://music"):
        system.mkdir("s3://music")
        upload("s3://music/PDMX", files_of(corpus))
    return system


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_bucket_gives_the_same_tables(bucket, corpus, expected, tmp_path):
    assert run_stages("s3://music/PDMX", tmp_path) == expected
    for suffix in (".tar", ".tar.gz", ".zip"):
        local = as_published(corpus, tmp_path / f"local{suffix}", suffix)
        upload(f"s3://music/packed{suffix}", files_of(local))
        assert run_stages(f"s3://music/packed{suffix}", tmp_path) == expected
    packed = write_zip(tmp_path / "x.zip", files_of(corpus))
    upload("s3://music", {"PDMX.zip": packed.read_bytes()})
    assert run_stages("s3://music/PDMX.zip", tmp_path) == expected


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_archive_that_changes_in_a_bucket_is_gone_through_again(bucket, tmp_path):
    for content in (b"one", b"two"):
        path = write_tar(tmp_path / "x.tar.gz", {"1.mid": content}, "w:gz")
        bucket.pipe_file("s3://music/x.tar.gz", path.read_bytes())
        assert read("s3://music/x.tar.gz", "1.mid") == content


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_bucket_and_a_server_that_dies(bucket, s3, tmp_path):
    with pytest.raises(DataError, match=r"s3://none/PDMX/PDMX\.csv: no such file"):
        run_stages("s3://none/PDMX", tmp_path)
    _, server = s3
    with RawFiles() as files:
        assert files.fetch("s3://music/PDMX/mid/1/11/Qm00.mid")
        server.kill()
        server.wait()
        with pytest.raises(StorageError, match=r"Qm01\.mid: cannot be reached"):
            files.fetch("s3://music/PDMX/mid/1/11/Qm01.mid")
