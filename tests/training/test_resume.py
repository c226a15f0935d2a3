"""The folder of a saved state: atomic, keyed, and for one process at a time."""

import errno
import fcntl
import multiprocessing
import time

import pytest
import torch

from clamp3.errors import DataError
from clamp3.training.resume import ResumeFolder, digest


def test_a_state_comes_back_under_its_key_only(tmp_path):
    folder = ResumeFolder(tmp_path / "resume", "key")
    with folder.held():
        assert folder.load() is None
        folder.save({"step": 3, "weights": {"a": torch.ones(2)}})
        assert folder.load()["step"] == 3
        assert torch.equal(folder.load()["weights"]["a"], torch.ones(2))
        assert ResumeFolder(tmp_path / "resume", "other").load() is None
        folder.remove()
    assert not (tmp_path / "resume").exists()


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 cut"])
def test_a_damaged_state_says_what_to_do(tmp_path, content):
    folder = ResumeFolder(tmp_path, "key")
    folder.file.write_bytes(content)
    with pytest.raises(DataError, match=r"state\.pt: not a readable training state.*delete"):
        folder.load()


def test_a_flipped_bit_in_a_saved_state_is_found(tmp_path):
    folder = ResumeFolder(tmp_path, "key")
    folder.save({"weights": torch.full((1000,), 7.0)})
    content = bytearray(folder.file.read_bytes())
    content[content.index(b"\0\0\xe0\x40" * 8) + 18] ^= 1  # 7.0 as float32
    folder.file.write_bytes(content)
    with pytest.raises(DataError, match=r"not a readable training state.*delete"):
        folder.load()


def test_drafts_of_a_killed_process_are_cleared(tmp_path):
    draft = tmp_path / ".state.pt.abc"
    draft.mkdir()
    with ResumeFolder(tmp_path, "key").held():
        assert not draft.exists()


def _hold(folder, ready, free):
    with ResumeFolder(folder, "key").held():
        ready.set()
        free.wait(20)


@pytest.fixture
def other_process(tmp_path):
    """Another process that holds the folder until its event is set."""
    context = multiprocessing.get_context("spawn")
    ready, free = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "resume", ready, free))
    process.start()
    assert ready.wait(60)
    yield free
    free.set()
    process.join()


def test_a_second_process_is_told_or_waits(tmp_path, other_process):
    folder = ResumeFolder(tmp_path / "resume", "key")
    with pytest.raises(DataError, match="another process works here"), folder.held(0.3):
        pass
    begun = time.monotonic()
    other_process.set()
    with folder.held(20):
        assert time.monotonic() - begun < 15


def test_who_waited_for_a_finished_training_holds_the_new_folder(tmp_path):
    first, second = (ResumeFolder(tmp_path / "resume", "key") for _ in range(2))
    with first.held():
        first.remove()
    with second.held():
        second.save({"step": 1})
        with pytest.raises(DataError, match="another process"), first.held(0.3):
            pass


def test_a_lock_on_a_deleted_folder_is_worth_nothing(tmp_path, monkeypatch):
    """The holder finishes between the second process's opening of the lock and its locking."""
    first, second = (ResumeFolder(tmp_path / "resume", "key") for _ in range(2))
    holding = first.held()
    holding.__enter__()
    lock = fcntl.flock

    def finish_first(descriptor, operation):
        monkeypatch.setattr(fcntl, "flock", lock)
        first.remove()
        holding.__exit__(None, None, None)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    with second.held(5):
        assert (tmp_path / "resume" / "lock").exists()
        with pytest.raises(DataError, match="another process"), first.held(0.3):
            pass


def test_digests_tell_contents_and_borders_apart():
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(b"x", [1, None]) == digest(b"x", [1, None])


def test_without_locks_a_warning_says_so(tmp_path, monkeypatch, caplog):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with ResumeFolder(tmp_path, "key").held():
        assert "no locks here" in caplog.text
