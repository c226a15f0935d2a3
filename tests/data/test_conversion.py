"""Shards are converted piece by piece, and whatever is wrong with a piece costs that piece."""

import logging
import os
import zipfile

import mido
import pyarrow as pa
import pytest
import raw_corpus
from repository import ROOT
from samples import put

from clamp3.config import ConversionConfig, LimitsConfig, MtfConfig, load_params
from clamp3.data import interleaving, scores
from clamp3.data.catalog import SCHEMA
from clamp3.data.conversion import file_limits
from clamp3.data.interleaving import interleave_scores
from clamp3.data.performances import convert_performances
from clamp3.data.rejected import read_rejected
from clamp3.data.scores import convert_scores
from clamp3.errors import DataError, FormatError
from clamp3.files import read_table, sha256_of, write_table

ALL = ConversionConfig(max_rejected_share=1.0)
MIDI = MtfConfig(max_rejected_share=1.0, keep_metadata=False)
LEADSHEET = "X:1\nL:1/8\nM:4/4\nK:G\nGABc d2 d2|GABc d4|\n"
SCORE = raw_corpus.SCORE.format(fifths=1)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def catalogue(tmp_path, *rows):
    columns = {name: [row.get(name) for row in rows] for name in SCHEMA.names}
    write_table(tmp_path / "catalog.parquet", pa.table(columns, schema=SCHEMA))
    return tmp_path / "catalog.parquet"


def score_file(path, text=SCORE):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("score.xml", text)
    return str(path)


def midi_file(path):
    track = mido.MidiTrack([mido.Message("note_on", note=60, velocity=64, time=0)])
    track += [mido.MetaMessage("text", text="hello"), mido.Message("note_off", note=60, time=480)]
    mido.MidiFile(tracks=[track]).save(path)
    return str(path)


def run(step, source, tmp_path, settings=ALL, name="out"):
    table, rejected = tmp_path / f"{name}.parquet", tmp_path / f"{name}-rejected.parquet"
    step(source, table, rejected, settings)
    columns = list(read_table(table).to_pydict().values())
    texts = dict(zip(*columns[:2], strict=True))
    return texts, {row.id: (row.stage, row.kind) for row in read_rejected(rejected)}


def test_scores_become_abc(tmp_path):
    source = catalogue(
        tmp_path,
        {"id": "midicaps/a", "mid_path": "a.mid"},
        {"id": "pdmx/Qm1", "mxl_path": score_file(tmp_path / "a.mxl")},
        {"id": "wikimt_x/b", "leadsheet": LEADSHEET},
    )
    texts, rejects = run(convert_scores, source, tmp_path)
    assert rejects == {}
    assert set(texts) == {"pdmx/Qm1", "wikimt_x/b"}
    assert texts["wikimt_x/b"] == LEADSHEET
    assert "K:G" in texts["pdmx/Qm1"]
    assert "V:1" in texts["pdmx/Qm1"]


def test_abc_is_interleaved(tmp_path):
    source = catalogue(tmp_path, {"id": "wikimt_x/b", "leadsheet": LEADSHEET})
    run(convert_scores, source, tmp_path, name="abc")
    texts, rejects = run(interleave_scores, tmp_path / "abc.parquet", tmp_path)
    assert rejects == {}
    assert "\n[V:1]" in texts["wikimt_x/b"]


def test_midi_becomes_mtf(tmp_path):
    source = catalogue(
        tmp_path,
        {"id": "pdmx/Qm1", "mxl_path": "a.mxl"},
        {"id": "pdmx/Qm2", "mid_path": midi_file(tmp_path / "a.mid")},
    )
    texts, rejects = run(convert_performances, source, tmp_path, MIDI)
    assert rejects == {}
    assert set(texts) == {"pdmx/Qm2"}
    assert texts["pdmx/Qm2"].startswith("ticks_per_beat 480\nnote_on 0 0 60 64")
    assert "hello" not in texts["pdmx/Qm2"]
    kept = MIDI.model_copy(update={"keep_metadata": True})
    texts, _ = run(convert_performances, source, tmp_path, kept)
    assert "hello" in texts["pdmx/Qm2"]


def test_forgiven_faults_of_midi_files_are_told(tmp_path, caplog):
    whole = midi_file(tmp_path / "whole.mid")
    data = (tmp_path / "whole.mid").read_bytes()
    (tmp_path / "faulty.mid").write_bytes(bytes(128) + data + b"\x1a")
    rows = [{"id": "pdmx/1", "mid_path": whole}, {"id": "pdmx/2", "mid_path": "faulty.mid"}]
    settings = MtfConfig(max_rejected_share=0.0, keep_metadata=False)
    with caplog.at_level(logging.INFO):
        texts, _ = run(convert_performances, catalogue(tmp_path, *rows), tmp_path, settings)
    assert texts["pdmx/1"] == texts["pdmx/2"]
    warnings = read_table(tmp_path / "out.parquet").column("warning").to_pylist()
    assert warnings == [None, "wrapped: the MIDI file begins at byte 128, behind other bytes"]
    assert "mtf: 1 faulty files were read, for example pdmx/2: wrapped" in caplog.text


def test_files_beyond_the_limits_are_rejected(tmp_path):
    files = {"mxl_path": score_file(tmp_path / "a.mxl"), "mid_path": midi_file(tmp_path / "a.mid")}
    source = catalogue(tmp_path, {"id": "pdmx/1", **files})
    usual = load_params(ROOT / "params.yaml").limits
    assert file_limits(usual) == file_limits(None)
    tight = LimitsConfig(**dict.fromkeys(LimitsConfig.model_fields, 1))
    run(convert_scores, source, tmp_path, name="abc")
    for step, table, settings in (
        (convert_scores, source, ALL),
        (interleave_scores, tmp_path / "abc.parquet", ALL),
        (convert_performances, source, MIDI),
    ):
        for limits, refused in ((usual, []), (tight, ["too_large"])):
            step(table, tmp_path / "t.parquet", tmp_path / "r.parquet", settings, limits)
            assert [row.kind for row in read_rejected(tmp_path / "r.parquet")] == refused


def test_bad_scores_cost_themselves_only(tmp_path):
    (tmp_path / "folder.mxl").mkdir()
    files = {"missing": "missing.mxl", "folder": "folder.mxl"}
    for name, content in (("empty", ""), ("noise", "PK\x03\x04 no archive"), ("cut", SCORE[:300])):
        files[name] = put(tmp_path, f"{name}.xml", content).name
    files["silent"] = score_file(tmp_path / "s.mxl", SCORE.replace("note>", "forward>"))
    files["sound"] = score_file(tmp_path / "a.mxl")
    rows = [{"id": f"pdmx/{name}", "mxl_path": path} for name, path in files.items()]
    texts, rejects = run(convert_scores, catalogue(tmp_path, *rows), tmp_path)
    assert set(texts) == {"pdmx/sound"}
    assert set(rejects) == {f"pdmx/{name}" for name in files if name != "sound"}
    assert {stage for stage, _ in rejects.values()} == {"abc"}
    assert rejects["pdmx/empty"] == ("abc", "empty_file")
    assert rejects["pdmx/missing"] == rejects["pdmx/folder"] == ("abc", "missing_file")
    assert "internal_error" not in {kind for _, kind in rejects.values()}


def test_bad_midi_costs_itself_only(tmp_path):
    (tmp_path / "noise.mid").write_bytes(b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\xff\xff\0")
    (tmp_path / "text.mid").write_text("not midi")
    rows = [{"id": f"pdmx/{name}", "mid_path": f"{name}.mid"} for name in ("noise", "text", "none")]
    rows.append({"id": "pdmx/sound", "mid_path": midi_file(tmp_path / "a.mid")})
    texts, rejects = run(convert_performances, catalogue(tmp_path, *rows), tmp_path, MIDI)
    assert set(texts) == {"pdmx/sound"}
    assert set(rejects) == {"pdmx/noise", "pdmx/text", "pdmx/none"}
    assert "internal_error" not in {kind for _, kind in rejects.values()}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_rejected(tmp_path):
    path = score_file(tmp_path / "a.mxl")
    os.chmod(path, 0)
    source = catalogue(tmp_path, {"id": "pdmx/Qm1", "mxl_path": path})
    assert run(convert_scores, source, tmp_path)[1] == {"pdmx/Qm1": ("abc", "unreadable_file")}


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (FormatError("no_notes", "silence"), "no_notes", "silence"),
        (PermissionError(13, "denied", "a.mxl"), "unreadable_file", "[Errno 13] denied: 'a.mxl'"),
        (KeyError("P1"), "internal_error", "KeyError: 'P1'"),
        (RecursionError("too deep"), "internal_error", "RecursionError: too deep"),
        (ValueError("one\ntwo \udcff"), "internal_error", "ValueError: one\ntwo ?"),
    ],
)
def test_no_exception_stops_a_shard(tmp_path, monkeypatch, caplog, error, kind, reason):
    def convert(path, *, limits):
        if path.name == "bad.mxl":
            raise error
        return "X:1\n"

    monkeypatch.setattr(scores, "musicxml_to_abc", convert)
    rows = []
    for name in ("bad", "good"):
        (tmp_path / f"{name}.mxl").write_text("x")
        rows.append({"id": f"pdmx/{name}", "mxl_path": f"{name}.mxl"})
    with caplog.at_level(logging.ERROR):
        texts, _ = run(convert_scores, catalogue(tmp_path, *rows), tmp_path)
    assert texts == {"pdmx/good": "X:1\n"}
    (reject,) = read_rejected(tmp_path / "out-rejected.parquet")
    assert (reject.id, reject.kind, reject.reason) == ("pdmx/bad", kind, reason)
    assert bool(caplog.records) == (kind == "internal_error")


@pytest.mark.parametrize("nothing", ["", " \n"])
def test_a_text_with_nothing_in_it_is_no_result(tmp_path, monkeypatch, nothing):
    monkeypatch.setattr(interleaving, "interleave_abc", lambda text, limits: nothing)
    write_table(tmp_path / "abc.parquet", pa.table({"id": ["pdmx/Qm1"], "abc": ["X:1"]}))
    _, rejects = run(interleave_scores, tmp_path / "abc.parquet", tmp_path)
    assert rejects == {"pdmx/Qm1": ("interleave", "empty_piece")}


def test_an_interrupt_is_no_fault_of_a_piece(tmp_path, monkeypatch):
    def interrupt(text, *, limits):
        raise KeyboardInterrupt

    monkeypatch.setattr(interleaving, "interleave_abc", interrupt)
    write_table(tmp_path / "abc.parquet", pa.table({"id": ["pdmx/Qm1"], "abc": ["X:1"]}))
    with pytest.raises(KeyboardInterrupt):
        run(interleave_scores, tmp_path / "abc.parquet", tmp_path)
    assert not (tmp_path / "out.parquet").exists()


def test_too_many_rejects_fail_after_the_tables_are_written(tmp_path):
    source = catalogue(tmp_path, {"id": "pdmx/Qm1", "mxl_path": "missing.mxl"})
    with pytest.raises(DataError, match=r"abc: 1 in, 0 out, 1 rejected.*missing_file: 1"):
        run(convert_scores, source, tmp_path, ConversionConfig(max_rejected_share=0.5))
    assert len(read_rejected(tmp_path / "out-rejected.parquet")) == 1


def test_an_empty_shard_gives_empty_tables(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        texts, rejects = run(convert_scores, catalogue(tmp_path), tmp_path)
    assert (texts, rejects) == ({}, {})
    assert read_table(tmp_path / "out.parquet").schema.names == ["id", "abc"]
    assert caplog.messages == ["abc: 0 in, 0 out, 0 rejected"]


def test_the_same_shard_gives_the_same_bytes(tmp_path):
    source = catalogue(tmp_path, {"id": "wikimt_x/b", "leadsheet": LEADSHEET})
    for name in ("one", "two"):
        run(convert_scores, source, tmp_path, name=name)
    for end in (".parquet", "-rejected.parquet"):
        assert sha256_of(tmp_path / f"one{end}") == sha256_of(tmp_path / f"two{end}")
