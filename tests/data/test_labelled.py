"""Labelled music: the label is the folder, or the start of the name."""

import pytest
from samples import LEADSHEET, MIDI, fault, put

from clamp3.data.labelled import parse_labelled
from clamp3.formats.modality import Modality
from clamp3.retrieval.labels import label_of_name


def parse(folder, modality=Modality.PERFORMANCE):
    return parse_labelled(folder, modality, collection="mine")


def test_a_folder_is_a_label(tmp_path):
    names = ("genres/blues/blues.00000.wav", "genres/hip hop/01.wav")
    paths = [str(put(tmp_path, name, "RIFF")) for name in names]
    assert parse(tmp_path, Modality.RECORDING).columns == {
        "id": ["mine/blues_blues.00000", "mine/hip hop_01"],
        "audio_path": paths,
        "genres": [["blues"], ["hip hop"]],
        "text": ["blues", "hip hop"],
    }


def test_names_begin_with_the_label(tmp_path):
    for name in ("Beyer_012.mid", "Beyer_a_b.midi", "Hisaishi_1.mid"):
        put(tmp_path, name, MIDI)
    columns = parse(tmp_path).columns
    assert columns["id"] == ["mine/Beyer_012", "mine/Beyer_a_b", "mine/Hisaishi_1"]
    assert columns["genres"] == [["Beyer"], ["Beyer"], ["Hisaishi"]]


def test_probes_find_the_label_in_the_id(tmp_path):
    put(tmp_path, "jazz/1.mid", MIDI)
    put(tmp_path, "pop_1.mid", MIDI)
    assert [label_of_name(name) for name in parse(tmp_path).columns["id"]] == ["jazz", "pop"]


def test_scores_are_files_or_text(tmp_path):
    put(tmp_path, "a/1.abc", LEADSHEET)
    put(tmp_path, "a/2.musicxml", "<score-partwise/>")
    put(tmp_path, "a/3.mid", MIDI)
    columns = parse(tmp_path, Modality.SCORE).columns
    assert columns["leadsheet"] == [LEADSHEET, None]
    assert columns["mxl_path"] == [None, str(tmp_path / "a/2.musicxml")]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("plain.mid", MIDI, "no_label"),
        ("_x.mid", MIDI, "no_label"),
        ("jazz_.mid", MIDI, "no_label"),
        ("jazz/empty.mid", b"", "empty_file"),
        ("jazz/1.midi", MIDI, "duplicate_id"),
        ("a\nb/1.mid", MIDI, "bad_value"),
    ],
)
def test_faults_cost_their_file(tmp_path, name, content, kind):
    put(tmp_path, "jazz/1.mid", MIDI)
    put(tmp_path, name, content)
    parsed = parse(tmp_path)
    assert parsed.columns["id"] == ["mine/jazz_1"]
    assert fault(parsed)[:2] == (kind, name)


def test_abc_that_is_no_text_is_rejected(tmp_path):
    put(tmp_path, "a/1.abc", b"\xff\xfe\x00")
    put(tmp_path, "a/2.abc", LEADSHEET)
    assert fault(parse(tmp_path, Modality.SCORE))[0] == "bad_value"
