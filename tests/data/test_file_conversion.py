"""`clamp3 convert`: forms, names, resuming, accounts, and processes that die."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import samples
from raw_corpus import files_of

from clamp3.data.file_conversion import convert_bytes, convert_files, form_of, running
from clamp3.data.file_conversion.ledger import Ledger, Record
from clamp3.data.file_conversion.listing import list_files
from clamp3.data.file_conversion.naming import output_names
from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.formats.modality import FileFormat
from clamp3.formats.mtf import mtf_to_midi

STANDARD = "X:1\nT:A tune\nM:4/4\nL:1/8\nK:C\nV:1 treble\nV:2 bass\nV:1\nC4 E4|G8|\nV:2\nC,8|G,8|\n"
INTERLEAVED = "M:4/4\nL:1/8\nK:C\nV:1 treble\nV:2 bass\n[V:1]C4 E4|[V:2]C,8|\n[V:1]G8|[V:2]G,8|\n"
MTF = "ticks_per_beat 480\nnote_on 0 0 60 64\nnote_off 480 0 60 0\nend_of_track 1"
WORDED = MTF.replace("note_on", "lyrics hello 0\nnote_on", 1)
MUSICXML = """<score-partwise><part-list><score-part id="P1"><part-name>Fl&#13;ute</part-name>
</score-part></part-list><part id="P1"><measure number="1"><attributes><divisions>1</divisions>
</attributes><note><pitch><step>{}</step><octave>4</octave></pitch><duration>4</duration>
<type>whole</type></note></measure></part></score-partwise>"""
SCORE = MUSICXML.format("C").encode()
OTHER = MUSICXML.format("D").encode()


def convert(sources: Path | list[Path], out: Path, target: str = "abc", **options):
    sources = sources if isinstance(sources, list) else [sources]
    return convert_files(sources, out, target, **{"workers": 0} | options)


def tree(folder: Path) -> dict[str, bytes]:
    """Every visible file and its content."""
    found = files_of(folder).items()
    return {name: data for name, data in found if not name.startswith(".clamp3")}


def put(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        samples.put(folder, name, content)
    return folder


@pytest.mark.parametrize(
    ("content", "name", "file_format"),
    [
        (STANDARD, "a.abc", FileFormat.ABC),
        (STANDARD, "notes.TXT", FileFormat.ABC),
        (STANDARD, "tune", FileFormat.ABC),
        (STANDARD, "README.md", FileFormat.TEXT),
        (SCORE, "wrong.abc", FileFormat.MUSICXML),
        (MTF, "wrong.mid", FileFormat.MTF),
        ("a reel", "a.txt", FileFormat.TEXT),
        ("<html/>", "a.xml", FileFormat.MUSICXML),
        (mtf_to_midi(MTF), "wrong.abc", FileFormat.MIDI),
    ],
)
def test_content_beyond_doubt_decides_then_the_name(content, name, file_format):
    data = content.encode() if isinstance(content, str) else content
    assert form_of(data, name) is file_format


def test_a_file_that_was_named_may_hold_abc_under_any_name():
    assert form_of(STANDARD.encode(), "README.md", trust_text=True) is FileFormat.ABC


@pytest.mark.parametrize(
    ("content", "file_format", "target", "expected"),
    [
        (STANDARD, FileFormat.ABC, "interleaved", INTERLEAVED),
        (INTERLEAVED, FileFormat.ABC, "interleaved", INTERLEAVED),
        (STANDARD.strip().replace("\n", "\r\n"), FileFormat.ABC, "abc", STANDARD),
        ("\ufeff" + STANDARD.replace("\n", "\r"), FileFormat.ABC, "abc", STANDARD),
        (MTF.replace("\n", "\r\n") + "\r\n", FileFormat.MTF, "mtf", MTF),
        (WORDED, FileFormat.MTF, "mtf", MTF),
    ],
)
def test_texts_become_normal(content, file_format, target, expected):
    assert convert_bytes(content.encode(), file_format, target) == expected.encode()


def test_utf_16_is_read():
    assert convert_bytes(STANDARD.encode("utf-16"), FileFormat.ABC, "abc") == STANDARD.encode()


def test_interleaved_becomes_a_tune_that_interleaves_to_the_same():
    tune = convert_bytes(INTERLEAVED.encode(), FileFormat.ABC, "abc")
    assert tune.startswith(b"X:1\n")
    assert b"[V:" not in tune
    assert convert_bytes(tune, FileFormat.ABC, "interleaved") == INTERLEAVED.encode()


def test_scores_come_without_carriage_returns():
    standard = convert_bytes(SCORE, FileFormat.MUSICXML, "abc").decode()
    assert 'nm="Fl ute"' in standard
    assert "\r" not in standard
    interleaved = convert_bytes(SCORE, FileFormat.MUSICXML, "interleaved")
    assert b"\r" not in interleaved
    assert b"[V:1]C8|" in interleaved.replace(b" ", b"")


def test_midi_and_mtf_there_and_back():
    midi = convert_bytes(WORDED.encode(), FileFormat.MTF, "midi")
    assert convert_bytes(midi, FileFormat.MIDI, "midi") == midi
    assert convert_bytes(midi, FileFormat.MIDI, "mtf") == MTF.encode()
    assert convert_bytes(midi, FileFormat.MIDI, "mtf", keep_metadata=True) == WORDED.encode()
    wrapped = b"RIFF" + (len(midi) + 12).to_bytes(4, "little") + b"RMIDdata"
    wrapped += len(midi).to_bytes(4, "little") + midi
    assert convert_bytes(wrapped, FileFormat.MIDI, "midi") == midi


@pytest.mark.parametrize(
    ("content", "file_format", "target", "kind"),
    [
        (mtf_to_midi(MTF), FileFormat.MIDI, "abc", "no_conversion"),
        (STANDARD.encode(), FileFormat.ABC, "mtf", "no_conversion"),
        (b"\x89PNG", FileFormat.IMAGE, "abc", "no_conversion"),
        (b"ID3\x03", FileFormat.AUDIO, "mtf", "no_conversion"),
        ("T:Zürich\nK:C\n".encode("latin-1"), FileFormat.ABC, "abc", "not_utf8"),
        (b"words", FileFormat.ABC, "abc", "no_key"),
        (b" \r\n", FileFormat.ABC, "abc", "empty_file"),
        (b"MThd", FileFormat.MIDI, "midi", "truncated_midi"),
        (b"words", FileFormat.MTF, "mtf", "not_mtf"),
    ],
)
def test_what_cannot_be_converted_says_why(content, file_format, target, kind):
    with pytest.raises(FormatError) as caught:
        convert_bytes(content, file_format, target)
    assert caught.value.kind == kind


def test_names_depend_on_no_order():
    ids = ["a.mxl", "a.xml", "b.mxl", "b.mid", "b.pdf", "c", "d/e.musicxml", "f.abc/g.mxl", "f.mxl"]
    ids += ["a.mxl.xml", "H.abc", "h.ABC", "I/x.mxl", "i/x.mxl", "\u00e9.mxl", "e\u0301.mxl"]
    names = output_names(ids, "abc")
    assert {k: names[k] for k in ids[:9]} == {
        "a.mxl": names["a.mxl"],
        "a.xml": "a.xml.abc",
        "b.mxl": "b.abc",
        "b.mid": "b.mid.abc",
        "b.pdf": "b.pdf.abc",
        "c": "c.abc",
        "d/e.musicxml": "d/e.abc",
        "f.abc/g.mxl": "f.abc/g.abc",
        "f.mxl": "f.mxl.abc",
    }
    keys = [name.casefold() for name in names.values()]
    assert len(set(keys)) == len(ids)
    for seed in range(5):
        shuffled = random.Random(seed).sample(ids, len(ids))
        assert output_names(shuffled, "abc") == names


def test_names_are_as_long_as_a_file_system_takes():
    ids = ["é" * 127, "é" * 127 + "x", "z" * 251 + ".mxl", "\udcff" * 255, "z" * 240 + ".musicxml"]
    names = output_names(ids, "abc")
    assert all(len(os.fsencode(name)) <= 255 for name in names.values())
    assert all(name.endswith(".abc") for name in names.values())
    assert len(set(names.values())) == len(ids)
    assert names[ids[2]] == "z" * 251 + ".abc"


def test_a_folder_is_searched_without_going_in_circles(tmp_path):
    music = put(tmp_path / "music", {"a.mxl": "", "sub/b.mid": "", ".git/c.mid": "", "._a.mxl": ""})
    (music / "sub/loop").symlink_to(music)
    (music / "gone.mid").symlink_to("nowhere")
    (music / "self.mid").symlink_to("self.mid")
    os.mkfifo(music / "pipe.mid")
    found = list_files([music], tmp_path / "out")
    assert list(found.found) == ["a.mxl", "gone.mid", "self.mid", "sub/b.mid"]
    assert {name: why.kind for name, why in found.skipped.items()} == {
        ".git": "hidden",
        "._a.mxl": "hidden",
        "pipe.mid": "special_file",
        "sub/loop": "linked_folder",
    }
    assert len(found) == 8


def test_sources_in_any_order_and_twice_give_the_same(tmp_path):
    put(tmp_path, {"p/x.abc": "", "q/x.abc": "", "q/y.abc": ""})
    sources = [tmp_path / "p", tmp_path / "q", tmp_path / "q/y.abc", tmp_path / "q/x.abc"]
    listed = [list_files(order, tmp_path / "out") for order in (sources, sources[::-1])]
    assert [list(listing.found) for listing in listed] == [["p/x.abc", "q/x.abc", "q/y.abc"]] * 2


def test_a_folder_that_cannot_be_read_is_rejected(tmp_path, monkeypatch):
    put(tmp_path / "in", {"a.abc": STANDARD, "closed/b.abc": STANDARD})
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("clamp3.data.file_conversion.listing.os.scandir", refuse)
    report = convert(tmp_path / "in", tmp_path / "out")
    reason = "the folder cannot be read: Permission denied"
    assert report.rejected["closed"] == ("unreadable_folder", reason)
    assert (report.files_in, report.files_out) == (2, 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing", "missing: no such file or folder"),
        ("empty", "empty: no file in it"),
        ("out/inside", "lies in the folder to write to"),
        ("out", "lies in the folder to write to"),
    ],
)
def test_sources_that_make_no_sense_leave_nothing_behind(tmp_path, source, message):
    (tmp_path / "empty").mkdir()
    put(tmp_path, {"out/inside/a.abc": STANDARD})
    with pytest.raises(ConfigError, match=message):
        convert(tmp_path / source, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["inside"]


@pytest.fixture
def messy(tmp_path) -> Path:
    names = ["[a] (1).mxl", "q'u\"o`te$.mxl", "new\nline.mxl", "tab\tand\\.mxl", "ä☃.MXL", "-f.xml"]
    folder = put(tmp_path / "messy", dict.fromkeys(names, SCORE))
    put(folder, {os.fsdecode(b"bad\xff.mxl"): SCORE, "sub/same.mxl": SCORE, "sub/same.xml": OTHER})
    put(folder, {"tab\there.mid": b"MThd", "empty.abc": "", "README.md": STANDARD, "cover.png": ""})
    return put(folder, {"html.xml": "<html/>", ".DS_Store": "", "fault\r.abc": b"\xff"})


def test_every_file_is_out_rejected_or_skipped(messy, tmp_path):
    report = convert(messy, tmp_path / "out")
    assert str(report) == (
        f"in 16, out 9, rejected 4 (see {tmp_path / 'out/rejected.tsv'}), "
        f"skipped 3 (see {tmp_path / 'out/skipped.tsv'})"
    )
    made = tree(tmp_path / "out")
    head, *lines = made.pop("rejected.tsv").decode().splitlines()
    assert head == "path\tkind\treason"
    assert [line.split("\t")[:2] for line in lines] == [
        ["empty.abc", "empty_file"],
        ["fault\\r.abc", "not_utf8"],
        ["html.xml", "not_musicxml"],
        ["tab\\there.mid", "no_conversion"],
    ]
    assert all(line.count("\t") == 2 for line in lines)
    skipped = made.pop("skipped.tsv").decode().splitlines()[1:]
    assert [line.split("\t")[0] for line in skipped] == [".DS_Store", "README.md", "cover.png"]
    assert set(made) == {
        "[a] (1).abc",
        "q'u\"o`te$.abc",
        "new\nline.abc",
        "tab\tand\\.abc",
        "ä☃.abc",
        "-f.abc",
        os.fsdecode(b"bad\xff.abc"),
        "sub/same.mxl.abc",
        "sub/same.xml.abc",
    }
    assert made["sub/same.mxl.abc"] == convert_bytes(SCORE, FileFormat.MUSICXML, "abc")
    assert made["sub/same.xml.abc"] == convert_bytes(OTHER, FileFormat.MUSICXML, "abc")


def test_names_that_are_no_utf8_are_told_readably(tmp_path):
    put(tmp_path / "in", {os.fsdecode(b"bad\xff.abc"): ""})
    convert(tmp_path / "in", tmp_path / "out")
    assert "bad\\xff.abc\tempty_file" in (tmp_path / "out/rejected.tsv").read_text("utf-8")


def test_a_second_run_does_only_what_is_new(messy, tmp_path):
    out = tmp_path / "out"
    convert(messy, out)
    before, books = tree(out), (out / ".clamp3-convert/ledger.jsonl").read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.abc")}
    report = convert(messy, out)
    assert (report.made, report.standing) == (0, 9)
    assert "out 9 (9 there already)" in str(report)
    assert tree(out) == before
    assert (out / ".clamp3-convert/ledger.jsonl").read_bytes() == books
    put(messy, {"-f.xml": OTHER, "new.xml": OTHER})
    (out / "ä☃.abc").unlink()
    report = convert(messy, out)
    assert (report.made, report.standing) == (3, 7)
    assert tree(out)["-f.abc"] == tree(out)["new.abc"]
    untouched = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns == stamp]
    assert len(untouched) == 7
    assert convert(messy, out, force=True).made == 10


def test_another_converter_or_option_makes_everything_again(tmp_path, monkeypatch):
    put(tmp_path / "in", {"a.mtf": WORDED})
    out = tmp_path / "out"
    assert convert(tmp_path / "in", out, "mtf").made == 1
    assert convert(tmp_path / "in", out, "mtf", keep_metadata=True).made == 1
    assert tree(out)["a.mtf"] == WORDED.encode()
    monkeypatch.setattr(running, "converter_version", lambda *_: "newer")
    assert convert(tmp_path / "in", out, "mtf").made == 1
    assert convert(tmp_path / "in", out, "mtf").standing == 1


def test_the_table_goes_when_nothing_is_rejected_any_more(tmp_path):
    music = put(tmp_path / "in", {"a.abc": "", "b.abc": STANDARD})
    convert(music, tmp_path / "out")
    put(music, {"a.abc": STANDARD})
    assert str(convert(music, tmp_path / "out")) == "in 2, out 2 (1 there already), rejected 0"
    assert set(tree(tmp_path / "out")) == {"a.abc", "b.abc"}


def test_what_an_input_gave_before_it_broke_goes(tmp_path):
    music = put(tmp_path / "in", {"a.mxl": SCORE, "b.mxl": SCORE})
    convert(music, tmp_path / "out")
    put(music, {"a.mxl": b"broken"})
    assert list(convert(music, tmp_path / "out").rejected) == ["a.mxl"]
    assert set(tree(tmp_path / "out")) == {"b.abc", "rejected.tsv"}


def test_an_output_moves_to_its_new_name_when_names_clash(tmp_path):
    music = put(tmp_path / "in", {"sub/a.mxl": SCORE})
    convert(music, tmp_path / "out")
    put(music, {"sub/a.xml": OTHER})
    convert(music, tmp_path / "out")
    assert set(tree(tmp_path / "out")) == {"sub/a.mxl.abc", "sub/a.xml.abc"}
    (music / "sub/a.mxl").unlink()
    convert(music, tmp_path / "out")
    assert set(tree(tmp_path / "out")) == {"sub/a.abc", "sub/a.mxl.abc"}  # one has no source now


def test_what_convert_did_not_write_is_never_written_over(tmp_path):
    music = put(tmp_path / "in", dict.fromkeys(("a.mxl", "b.mxl", "c.mxl", "d/e.mxl"), SCORE))
    out = put(tmp_path / "out", {"a.abc": "mine", "d": "a file where a folder should be"})
    (out / "c.abc").symlink_to("nowhere")
    for options in ({}, {"force": True}):
        report = convert(music, out, **options)
        assert report.files_out == 1
        assert {k: v.kind for k, v in report.rejected.items()} == {
            "a.mxl": "name_taken",
            "c.mxl": "name_taken",
            "d/e.mxl": "unwritable_output",
        }
        assert tree(out)["a.abc"] == b"mine"
    (out / "b.abc").write_text("edited by hand")
    assert convert(music, out, force=True).rejected["b.mxl"].kind == "name_taken"
    assert tree(out)["b.abc"] == b"edited by hand"


def test_two_runs_never_take_turns_on_one_output(tmp_path):
    for name, content in (("p", SCORE), ("q", OTHER)):
        put(tmp_path / name, {"a.mxl": content})
    out = tmp_path / "out"
    assert convert(tmp_path / "p", out).made == 1
    assert "was made from" in convert(tmp_path / "q", out).rejected["a.mxl"].reason
    assert convert(tmp_path / "p", out, "interleaved").rejected["a.mxl"].kind == "name_taken"
    assert convert(tmp_path / "p", out).standing == 1
    assert convert(tmp_path / "q", out, force=True).made == 1


def test_outputs_beside_their_sources_are_no_sources(tmp_path):
    put(tmp_path, {"a.mxl": SCORE, "b.abc": STANDARD})
    assert convert([tmp_path / "a.mxl", tmp_path / "b.abc"], tmp_path).rejected.keys() == {"b.abc"}
    names = [path for path in tmp_path.iterdir() if path.is_file()]
    report = convert(names, tmp_path)
    assert report.skipped.keys() == {"a.abc", "rejected.tsv"}
    assert (report.standing, set(report.rejected)) == (1, {"b.abc"})
    assert tree(tmp_path)["b.abc"] == STANDARD.encode()


def test_a_folder_to_write_to_within_the_sources_is_no_source(tmp_path):
    put(tmp_path, {"a.mxl": SCORE})
    for _ in range(2):
        report = convert(tmp_path, tmp_path / "deep/out")
        assert (report.files_in, report.files_out) == (1, 1)


def test_a_table_of_somebody_else_stays(tmp_path):
    put(tmp_path, {"in/a.mxl": SCORE, "out/rejected.tsv": "mine\n"})
    with pytest.raises(ConfigError, match=r"rejected\.tsv is no table of convert's"):
        convert(tmp_path / "in", tmp_path / "out")
    assert tree(tmp_path / "out") == {"rejected.tsv": b"mine\n"}


def test_a_source_folder_with_the_name_of_a_table(tmp_path):
    music = put(tmp_path / "in", {"rejected.tsv/a.mxl": SCORE, "b.mxl": SCORE})
    report = convert(music, tmp_path / "out")
    assert report.rejected["rejected.tsv/a.mxl"].kind == "name_taken"
    assert set(tree(tmp_path / "out")) == {"b.abc", "rejected.tsv"}


def test_one_folder_takes_one_run_at_a_time(tmp_path):
    music = put(tmp_path / "in", {"a.mxl": SCORE})
    with running._workplace(tmp_path / "out"), pytest.raises(ConfigError, match="another convert"):
        convert(music, tmp_path / "out")
    assert convert(music, tmp_path / "out").made == 1


def test_a_full_disk_stops_the_run_and_not_file_after_file(tmp_path, monkeypatch):
    music = put(tmp_path / "in", {"a.mxl": SCORE, "b.mxl": SCORE})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("clamp3.data.file_conversion.jobs.os.fsync", full)
        with pytest.raises(DataError, match=r"No space left.*the same command does the rest"):
            convert(music, tmp_path / "out")
    assert tree(tmp_path / "out") == {}
    assert convert(music, tmp_path / "out").made == 2


def test_a_fault_of_the_program_costs_one_file(tmp_path, monkeypatch):
    def fail(data: bytes, *_: object, **__: object) -> bytes:
        if b"<step>D" in data:
            raise ZeroDivisionError("a fault")
        return data

    monkeypatch.setattr("clamp3.data.file_conversion.jobs.convert_bytes", fail)
    report = convert(put(tmp_path / "in", {"a.mxl": SCORE, "b.mxl": OTHER}), tmp_path / "out")
    kind, reason = report.rejected["b.mxl"]
    assert kind == "internal_error"
    assert "ZeroDivisionError: a fault (test_file_conversion.py, line" in reason
    assert report.made == 1


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.mark.parametrize("moment", range(1, 8))
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_killed_at_any_moment_the_next_run_does_the_rest(tmp_path, monkeypatch, moment, batch):
    """`moment`: before which of the steps that leave a trace the process ends."""
    music = put(tmp_path / "in", {f"{name}.mxl": SCORE for name in "abc"} | {"d.abc": ""})
    expected = tmp_path / "expected"
    convert(music, expected)
    passed = 0

    def until_killed(step):
        def wrapped(*args, **options):
            nonlocal passed
            passed += 1
            if passed >= moment:
                raise Killed
            return step(*args, **options)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(running, "_BATCH_FILES", batch)
        patch.setattr(os, "replace", until_killed(os.replace))
        patch.setattr(os, "fsync", until_killed(os.fsync))
        with pytest.raises(Killed):
            convert(music, tmp_path / "out")
    done = len(list((tmp_path / "out").glob("*.abc")))
    report = convert(music, tmp_path / "out")
    assert (report.made, report.standing) == (3 - done, done)
    assert tree(tmp_path / "out") == tree(expected)
    assert not (tmp_path / "out/.clamp3-convert/drafts").exists()


def test_a_torn_line_of_the_ledger_costs_its_output_alone(tmp_path):
    path = tmp_path / "ledger.jsonl"
    records = [Record(f"{n}.abc", n, f"/in/{n}", "s", "abc", "v") for n in ("a", "\udcff", "c")]
    Ledger(path).add(records[:2])
    whole = path.read_bytes()
    for cut in range(len(whole.split(b"\n")[0]) + 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        Ledger(path).add(records[2:])
        read = Ledger(path)
        assert read.of_output("a.abc") == {"a": records[0]}
        assert read.of_output("\udcff.abc") == {}
        assert read.of_output("c.abc") == {"c": records[2]}


def test_processes_make_the_same_as_none(messy, tmp_path):
    report = convert(messy, tmp_path / "pool", workers=2)
    assert (report.files_in, report.files_out) == (16, 9)
    convert(messy, tmp_path / "none")
    assert tree(tmp_path / "pool") == tree(tmp_path / "none")


def test_a_real_kill_leaves_the_rest_to_the_next_run(tmp_path):
    music = put(tmp_path / "in", {f"{number:03}.mxl": SCORE for number in range(150)})
    out = tmp_path / "out"
    words = [sys.executable, "-m", "clamp3", "convert", music, "--to", "abc", "--out", out]
    running_command = subprocess.Popen([*words, "--workers", "1"], stderr=subprocess.DEVNULL)
    while running_command.poll() is None and not list(out.glob("*.abc")):
        time.sleep(0.002)
    running_command.kill()
    running_command.wait()
    done = len(list(out.glob("*.abc")))
    report = convert(music, out)
    assert 0 < done <= report.standing <= 150
    assert report.files_out == 150
    assert len(set(tree(out).values())) == 1
