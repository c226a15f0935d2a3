"""The demo corpus is what it says it is: real music in the real data sets' layouts."""

import csv
import hashlib
import io
import json
import re
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import mido
import music21
import pytest
from pdmx_rows import COLUMNS
from raw_corpus import files_of
from samples import put

from clamp3.config import CorpusConfig, Splits
from clamp3.data import demo_corpus
from clamp3.data.demo_corpus import build_demo_corpus
from clamp3.data.demo_corpus.music21_corpus import (
    RYANS_MAMMOTH,
    Source,
    bach_chorales,
    oneills_1850,
    ryans_mammoth,
    tidy_title,
    title_key,
)
from clamp3.data.demo_corpus.pieces import Piece, make_piece, same_music
from clamp3.data.splits import split_of
from clamp3.errors import ConfigError

SEED = 7
SPLITS = Splits(validation_share=0.1, test_share=0.5)
WIKIMT_X_KEYS = "id title artists genre background analysis description scene leadsheet"
MIDICAPS_KEYS = (
    "location caption genre genre_prob mood mood_prob key time_signature tempo tempo_word "
    "duration duration_word chord_summary chord_summary_occurence instrument_summary "
    "instrument_numbers_sorted all_chords all_chords_timestamps test_set"
)
TUNE = "X:1\nT:Test\nM:2/4\nL:1/8\nK:{key}\n" + "D|" + "GABc|dedB|" * 4 + "GABc|d2B|]\n"


def corpus(ryans: int, oneills: int, bach: int) -> CorpusConfig:
    counts = {"ryans_mammoth": ryans, "oneills_1850": oneills, "bach_chorales": bach}
    return CorpusConfig(source="demo", folder="data/demo", **counts)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A demo of 6 + 3 + 2 pieces."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    build_demo_corpus(folder, corpus(6, 3, 2), SPLITS, SEED, workers=1)
    return folder


@pytest.fixture(scope="module")
def rows(demo) -> list[dict[str, str]]:
    with open(demo / "PDMX.csv", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tune(abc: str, **changes) -> Source:
    source = Source(key="test", collection=RYANS_MAMMOTH, kind="reel", title="Test", abc=abc)
    return replace(source, **changes)


def musicxml_of(mxl: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(mxl)) as archive:
        return archive.read("score.xml").decode("utf-8")


def notes_of_musicxml(text: str) -> list[list[tuple[Fraction, Fraction, int]]]:
    """(onset, length, pitch) in quarter notes, part by part, as music21 reads them."""
    score = music21.converter.parseData(text, format="musicxml")
    return [
        sorted(
            (Fraction(note.offset), Fraction(note.quarterLength), pitch.midi)
            for note in part.stripTies().flatten().notes
            if not note.duration.isGrace
            for pitch in note.pitches
        )
        for part in score.parts
    ]


def notes_of_midi(file: mido.MidiFile) -> list[list[tuple[Fraction, Fraction, int]]]:
    parts = []
    for track in file.tracks[1:]:
        now, sounding, notes = 0, {}, []
        for message in track:
            now += message.time
            if message.type == "note_on":
                assert message.note not in sounding
                sounding[message.note] = now
            elif message.type == "note_off":
                onset = sounding.pop(message.note)
                ticks = file.ticks_per_beat
                notes.append((Fraction(onset, ticks), Fraction(now - onset, ticks), message.note))
        assert not sounding
        parts.append(sorted(notes))
    return parts


def test_the_table_is_a_pdmx_csv(demo, rows):
    text = (demo / "PDMX.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert len(rows) == 11
    for row in rows:
        assert "" not in row.values()
        assert not any("," in value for value in row.values())
        for column, value in row.items():
            if column.startswith(("is_", "has_", "subset:")) and value != "NA":
                assert value in {"True", "False"}
        for column in ("genres", "groups", "tags"):
            assert re.fullmatch(r"[a-z]+(-[a-z]+)*", row[column])
        programs = [int(program) for program in row["tracks"].split("-")]
        assert programs == sorted(programs)
        assert len(programs) == int(row["n_tracks"])
        assert row["complexity"] in {"0", "1", "2", "3"}
        assert float(row["rating"]) == 0
        assert row["subset:rated"] == "False"


def test_every_row_has_its_files_and_no_file_lacks_a_row(demo, rows):
    for column in ("mxl", "mid"):
        named = sorted(row[column] for row in rows)
        assert named == sorted(f"./{p}" for p in files_of(demo) if p.startswith(f"{column}/"))
        for path in named:
            assert re.fullmatch(
                rf"\./{column}/\d/\d\d?/Qm[1-9A-HJ-NP-Za-km-z]{{44}}\.{column}", path
            )


def test_the_three_collections_are_there(rows):
    counts = [sum(row["publisher"].startswith(name) for row in rows) for name in ("Ryan", "O'N")]
    assert counts == [6, 3]
    chorales = [row for row in rows if row["composer_name"] == "Johann Sebastian Bach"]
    assert len(chorales) == 2
    for row in chorales:
        assert row["n_tracks"] == "4"
        assert "BWV" in row["song_name"]
        assert row["subtitle"].startswith("Chorale in ")


def test_score_performance_and_row_agree(demo, rows):
    for row in rows:
        text = musicxml_of((demo / row["mxl"]).read_bytes())
        file = mido.MidiFile(demo / row["mid"])
        score = notes_of_musicxml(text)
        assert notes_of_midi(file) == score
        assert int(row["n_notes"]) == sum(map(len, score))
        assert file.length == pytest.approx(float(row["song_length.seconds"]), abs=0.02)
        programs = [m.program for track in file.tracks for m in track if m.type == "program_change"]
        assert [int(program) for program in row["tracks"].split("-")] == sorted(programs)
        assert [int(p) - 1 for p in re.findall("<midi-program>(.*?)<", text)] == programs
        key = re.search(r"<fifths>(.*?)</fifths>\s*<mode>(.*?)<", text)
        tonic, mode, meter = re.search(r" in (\S+) (\S+) (\S+)$", row["subtitle"]).groups()
        assert mode == key[2]
        assert music21.key.Key(tonic.replace("b", "-"), mode).sharps == int(key[1])
        beats, unit = re.search(r"<beats>(.*?)</beats>\s*<beat-type>(.*?)<", text).groups()
        assert meter == f"{beats}/{unit}"
        bar = Fraction(4 * int(beats), int(unit))
        length = max(onset + duration for part in score for onset, duration, _ in part)
        assert int(row["song_length.bars"]) == pytest.approx(length / bar, abs=1)


def test_nothing_depends_on_day_process_or_number_of_workers(demo, tmp_path):
    again = tmp_path / "demo"
    build_demo_corpus(again, corpus(6, 3, 2), SPLITS, SEED, workers=2)
    assert files_of(again) == files_of(demo)
    for path, content in files_of(demo).items():
        if path.endswith(".mxl"):
            text = musicxml_of(content)
            assert not re.search(r"encoding-date|[0-9a-f]{32}|>Music21<", text)
            with zipfile.ZipFile(demo / path) as archive:
                assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_another_seed_chooses_other_pieces(rows, tmp_path):
    build_demo_corpus(tmp_path / "demo", corpus(3, 0, 0), SPLITS, SEED + 1, workers=1)
    lines = (tmp_path / "demo" / "PDMX.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == 3
    assert {line.split(",")[0] for line in lines} != {row["path"] for row in rows}


def test_an_earlier_demo_is_replaced_and_other_files_stay(tmp_path):
    stale = put(tmp_path, "demo/mxl/1/stale.mxl", "")
    notes = put(tmp_path, "demo/my notes.txt", "keep")
    build_demo_corpus(tmp_path / "demo", corpus(1, 0, 0), SPLITS, SEED, workers=1)
    assert not stale.exists()
    assert notes.read_text(encoding="utf-8") == "keep"
    names = {path.name for path in notes.parent.iterdir()}
    made = {"PDMX.csv", "mid", "midicaps", "mxl", "wikimt-x-public.jsonl"}
    assert names == {"my notes.txt", *made}


def test_the_evaluation_sets_hold_the_test_split_and_nothing_else(demo, rows):
    names = {Path(row["mxl"]).stem: row for row in rows}
    held_out = {name for name in names if split_of(f"pdmx/{name}", SPLITS, SEED) == "test"}
    assert 0 < len(held_out) < len(names)
    scores = jsonl(demo / "wikimt-x-public.jsonl")
    assert {row["id"] for row in scores} == held_out
    performances = jsonl(demo / "midicaps" / "train.json")
    contents = {path.read_bytes() for path in (demo / "midicaps").rglob("*.mid")}
    assert contents == {(demo / names[name]["mid"]).read_bytes() for name in held_out}
    assert len(performances) == len(held_out)


def test_wikimt_x_lines(demo, rows):
    titles = {Path(row["mxl"]).stem: row["title"] for row in rows}
    for line in jsonl(demo / "wikimt-x-public.jsonl"):
        assert list(line) == WIKIMT_X_KEYS.split()
        assert all(isinstance(value, str) for value in line.values())
        assert line["genre"] in {"folk", "religious"}
        assert line["title"].replace(",", "") == titles[line["id"]]
        assert line["leadsheet"].startswith(f"X:1\nT:{line['title']}\n")
        assert "\nK:" in line["leadsheet"]
        assert "[V:" not in line["leadsheet"]  # not interleaved


def test_midicaps_lines(demo):
    for line in jsonl(demo / "midicaps" / "train.json"):
        assert list(line) == MIDICAPS_KEYS.split()
        content = (demo / "midicaps" / line["location"]).read_bytes()
        name = hashlib.md5(content, usedforsecurity=False).hexdigest()
        assert line["location"] == f"lmd_full/{name[0]}/{name}.mid"
        messages = [m for track in mido.MidiFile(file=io.BytesIO(content)).tracks for m in track]
        tempo = next(m.tempo for m in messages if m.type == "set_tempo")
        assert line["tempo"] == round(mido.tempo2bpm(tempo))
        programs = {m.program for m in messages if m.type == "program_change"}
        assert set(line["instrument_numbers_sorted"]) == programs
        assert len(line["instrument_summary"]) == len(programs)
        assert line["test_set"] is True
        assert str(line["tempo"]) in line["caption"]
        assert line["time_signature"] in line["caption"]


def test_the_rows_can_be_parsed_and_the_test_texts_are_other_sentences(demo):
    from clamp3.data.pdmx import parse_pdmx

    parsed = parse_pdmx(demo / "PDMX.csv", demo)
    assert not parsed.rejected
    assert parsed.rows_in == len(parsed.columns["id"]) == 11
    learnt = {
        sentence
        for field in ("background", "analysis", "description", "scene")
        for text in parsed.columns[field]
        for sentence in re.split(r"(?<=\.) ", text or "")
    }
    asked = [line["caption"] for line in jsonl(demo / "midicaps" / "train.json")]
    for line in jsonl(demo / "wikimt-x-public.jsonl"):
        asked += [line[field] for field in ("background", "analysis", "description", "scene")]
    assert len(learnt) > 11
    assert not learnt & {part for text in asked for part in re.split(r"(?<=\.) ", text)}


@pytest.mark.parametrize(
    ("key", "tonic", "mode", "fifths"),
    [
        ("G", "G", "major", 1),
        ("Bb", "Bb", "major", -2),
        ("F#m", "F#", "minor", 3),
        ("Amin", "A", "minor", 0),
        ("Edor", "E", "dorian", 2),
        ("DDor", "D", "dorian", 0),
        ("A Dorian", "A", "dorian", 1),
        ("Dmix", "D", "mixolydian", 1),
        ("AMix", "A", "mixolydian", 2),
    ],
)
def test_keys_and_modes(key, tonic, mode, fifths):
    piece = make_piece(tune(TUNE.format(key=key)), SEED)
    assert isinstance(piece, Piece), piece
    assert (piece.tonic, piece.mode) == (tonic, mode)
    assert f"<fifths>{fifths}</fifths>" in musicxml_of(piece.mxl)


def test_the_tunes_of_the_corpus_have_the_modes_of_their_headers():
    modes = {"dor": "dorian", "mix": "mixolydian"}
    modal = [(t, re.search(r"K: *([A-G]) ?(dor|mix)", t.abc, re.I)) for t in ryans_mammoth(SEED)]
    modal = [(source, found) for source, found in modal if found][:6]
    assert {found[2].lower() for _, found in modal} == {"dor", "mix"}
    for source, found in modal:
        piece = make_piece(source, SEED)
        assert isinstance(piece, Piece), piece
        assert (piece.tonic, piece.mode) == (found[1], modes[found[2].lower()])


def test_unclear_keys_stay_out():
    """Real headers: "GM" (music21 reads G minor), "Dmix=c", "Bn"."""
    tunes = [*ryans_mammoth(SEED), *oneills_1850(SEED)]
    keys = {re.search(r"(?m)^K: *(.*?) *$", source.abc)[1] for source in tunes}
    assert {"G", "Bb", "Edor", "Dmix", "Am"} <= keys
    assert not keys & {"GM", "EM", "Dmix=c", "Bn", "Glyd", "Dmixm", ""}


def test_tunes_that_change_key_metre_or_unit_stay_out():
    """music21 reads "K:D" or "L:1/16" between two lines of music as if it were not there."""
    for source in [*ryans_mammoth(SEED), *oneills_1850(SEED)]:
        for field in "KLM":
            values = re.findall(rf"(?m)(?:^|\[){field}: *(.*?) *(?:\]|$)", source.abc)
            assert len(set(values)) <= 1, source.abc
        assert not re.search(r"\[ ", source.abc), source.abc  # ["Coda" without its name


@pytest.mark.parametrize(
    ("abc", "reason"),
    [
        (TUNE.format(key="G").replace("dedB|GABc", "dedB|\nM:3/4\nGABcde", 1), "metre"),
        (TUNE.format(key="G").replace("M:2/4", "M:4/4"), "do not add up"),
        (TUNE.format(key="G").replace("GABc|dedB|", "", 3), "full bars"),
        (TUNE.format(key="G").replace("GABc|", "[G4G2]|", 1), "while it sounds"),
        ("not music", "test:"),
    ],
)
def test_what_would_make_its_texts_untrue_is_left_out(abc, reason):
    assert reason in make_piece(tune(abc), SEED)


def test_a_cut_bar_is_not_filled_with_rests():
    """An upbeat before a repeat splits a bar in two; a rest there would move all that follows."""
    abc = "X:1\nT:T\nM:2/4\nL:1/8\nK:G\nD|" + "GABc|dedB|" * 3 + "GABc|d2B:|\n|:c|"
    piece = make_piece(tune(abc + "GABc|dedB|" * 3 + "GABc|d2B:|\n"), SEED)
    assert "<rest" not in musicxml_of(piece.mxl)
    assert piece.bars == 16


def test_slurs_end_where_they_should():
    """music21 loses the end of a slur around a triplet and then slurs the rest of the tune."""
    triplets = [source for source in ryans_mammoth(SEED) if "(3" in source.abc][:6]
    sources = [*triplets, *oneills_1850(SEED)[:6]]
    for source in sources:
        text = musicxml_of(make_piece(source, SEED).mxl)
        began = {}
        notes = 0
        for found in re.finditer(r'<note|<slur number="(\d)"[^>]*type="(\w+)"', text):
            if found[2] is None:
                notes += 1
            elif found[2] == "start":
                began[found[1]] = notes
            else:
                assert notes - began.pop(found[1]) < 16, source.abc
        assert not began, source.abc


def test_tied_notes_sound_once_and_grace_notes_not_at_all():
    abc = TUNE.format(key="G").replace("dedB|GABc|", "dedB-|BA{d}Bc|", 1)
    plain, tied = make_piece(tune(TUNE.format(key="G")), SEED), make_piece(tune(abc), SEED)
    assert tied.notes == plain.notes - 1
    assert "<grace" in musicxml_of(tied.mxl)


@pytest.mark.parametrize(
    ("field", "title"),
    [
        ("BLACK-EYED LASSIE -- REEL., THE", "The Black-Eyed Lassie Reel"),
        (" O'CONNELL'S WELCOME -- JIG", "O'Connell's Welcome Jig"),
        ("MERRY LADS OF AYER -- REEL.", "Merry Lads of Ayer Reel"),
        ("Hiawat:ha -- Hornpipe", "Hiawatha Hornpipe"),
        ("COL. McBAIN'S -- REEL", "Col. Mcbain's Reel"),
        ('"Indeed! Then You Shant" -- Jig', "Indeed! Then You Shant Jig"),
        ("The Miller's Maid", "The Miller's Maid"),
        ("the Silver Crown", "The Silver Crown"),
    ],
)
def test_titles_are_tidied(field, title):
    assert tidy_title(field) == title


def test_settings_of_a_tune_have_one_title_key():
    assert title_key("Miller's Maid Reel, The") == title_key("THE MILLERS MAID")
    assert title_key("Wär' Gott nicht mit uns") == title_key("War Gott nicht mit uns")
    assert title_key("Miller's Maid") != title_key("Miller's Reel")
    assert title_key("The Reel") == "thereel"


def test_the_same_music_is_found_under_another_title_and_in_another_key():
    scale = "GABcdBcA"
    body = "".join(f"{scale[i]}{scale[j]}Bd|" for i in range(8) for j in range(3))
    other = "".join(f"{scale[j]}G{scale[i]}e|" for i in range(8) for j in range(3))
    head = "X:1\nT:T\nM:2/4\nL:1/8\nK:{}\n"
    up = str.maketrans("GABcde", "ABcdef")
    first = make_piece(tune(head.format("G") + body), SEED)
    moved = make_piece(tune(head.format("A") + body.translate(up)), SEED)
    different = make_piece(tune(head.format("G") + other), SEED)
    assert same_music(first, moved)
    assert not same_music(first, different)


def test_one_piece_per_title_and_melody(demo, rows):
    keys = [title_key(row["title"]) for row in rows]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("sources", [ryans_mammoth, oneills_1850])
def test_any_beginning_of_the_tunes_is_mixed(sources):
    tunes = sources(SEED)
    kinds = [source.kind for source in tunes]
    assert len(set(kinds[:20])) >= 4
    assert len(set(kinds[:100])) >= 6
    assert len({source.key for source in tunes}) == len(tunes)
    assert [source.key for source in sources(SEED)] == [source.key for source in tunes]


def test_chorales_have_titles_and_numbers():
    chorales = bach_chorales(SEED)
    assert len(chorales) > 300
    assert all(source.title and source.catalogue_number for source in chorales)
    known = {source.catalogue_number: source.title for source in chorales}
    assert known["BWV 358"] == "Jesu, meine Freude"


def test_asking_for_more_than_there_is_names_the_number(monkeypatch, tmp_path):
    few = [*ryans_mammoth(SEED)[:2], tune("not music", key="broken", title="Broken")]
    monkeypatch.setattr(demo_corpus, "ryans_mammoth", lambda seed: few)
    with pytest.raises(ConfigError, match=r"corpus\.ryans_mammoth: 5, .*only 2 "):
        build_demo_corpus(tmp_path / "demo", corpus(5, 0, 0), SPLITS, SEED, workers=1)
    assert not (tmp_path / "demo").exists()


def test_twins_are_taken_once(monkeypatch, tmp_path):
    first = ryans_mammoth(SEED)[0]
    twin = replace(first, key="twin", title="Quite Another Name")
    monkeypatch.setattr(demo_corpus, "ryans_mammoth", lambda seed: [first, twin])
    with pytest.raises(ConfigError, match="only 1 "):
        build_demo_corpus(tmp_path / "demo", corpus(2, 0, 0), SPLITS, SEED, workers=1)
