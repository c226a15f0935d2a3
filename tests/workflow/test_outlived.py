"""What is taken over from jobs that outlived a killed Snakemake."""

import sys
from pathlib import Path

from repository import ROOT

sys.path.insert(0, str(ROOT / "workflow"))

import outlived
from dvc_bridge import Bridge


def test_files_of_a_folder_that_a_job_was_still_making_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data/interleaved/part-1.parquet", "data/abc/part-1.parquet"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("half")
    outs = [Path("data/interleaved"), Path("data/abc")]
    notes = Bridge({"stage": outs})
    notes.notes._mark_incomplete("data/interleaved", None)
    assert [*outlived.finished(notes, outs, since=0)] == ["data/abc/part-1.parquet"]
