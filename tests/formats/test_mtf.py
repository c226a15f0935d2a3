"""MIDI to MTF against mido, which defines it, and back."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import mido
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from clamp3.errors import FormatError
from clamp3.formats.limits import Limits
from clamp3.formats.mtf import TEXT_TYPES, midi_to_mtf, mtf_to_midi, read_midi

GOLDEN = Path(__file__).parent.parent / "golden" / "midi.parquet"


def mtf_by_mido(data, keep_metadata):
    """MTF made of mido's own messages, None where mido refuses the file."""
    try:
        midi = mido.MidiFile(file=io.BytesIO(data))
        messages = list(midi.merged_track)
    # mido raises OSError, EOFError, ValueError, IndexError, KeyError, TypeError and its own.
    except Exception:
        return None
    lines = [f"ticks_per_beat {midi.ticks_per_beat}"]
    for message in messages:
        if keep_metadata or message.type not in TEXT_TYPES:
            line = " ".join(str(value) for value in message.dict().values())
            lines.append(line.encode("unicode_escape").decode())
    return "\n".join(lines)


def mtf_or_none(data, keep_metadata):
    try:
        return midi_to_mtf(data, keep_metadata=keep_metadata)
    except FormatError:
        return None


def chunk(name, data):
    return name + len(data).to_bytes(4, "big") + data


def midi_file(*tracks, kind=1, ticks_per_beat=480):
    numbers = (kind, len(tracks), ticks_per_beat)
    header = b"".join((number & 0xFFFF).to_bytes(2, "big") for number in numbers)
    return chunk(b"MThd", header) + b"".join(chunk(b"MTrk", track) for track in tracks)


@pytest.fixture(scope="module")
def rows():
    return pyarrow.parquet.read_table(GOLDEN).to_pylist()


# Against the original


@pytest.mark.parametrize(("keep_metadata", "column"), [(False, "mtf_m3"), (True, "mtf_full")])
def test_recorded_files_become_what_the_original_wrote(rows, keep_metadata, column):
    assert len(rows) == 70
    for row in rows:
        assert midi_to_mtf(row["midi"], keep_metadata=keep_metadata) == row[column], row["id"]


def test_midi_written_back_is_the_originals(rows):
    differing = []
    for row in rows:
        digests = {
            hashlib.sha256(mtf_to_midi(row[column])).hexdigest()
            for column in ("mtf_m3", "mtf_full")
        }
        if row["roundtrip_midi_sha256"] not in digests:
            differing.append(row["id"])
    # The original refuses empty sysex events and drops meta events of unknown type.
    assert sorted(differing) == ["synth_all_channel.mid", "synth_all_meta.mid"]


def test_round_trip_keeps_every_event(rows):
    for row in rows:
        midi = mtf_to_midi(row["mtf_full"])
        assert midi_to_mtf(midi, keep_metadata=True) == row["mtf_full"], row["id"]


# Against mido, on made-up files

bytes_7 = st.integers(0, 127)
deltas = st.one_of(
    st.integers(0, 300).map(lambda n: bytes([n]) if n < 128 else bytes([128 | n >> 7, n & 127])),
    st.sampled_from([b"\x80\x00", b"\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x80\x01"]),
)
channel_events = st.builds(
    lambda status, values: bytes([status, *values[: 1 if 0xC0 <= status < 0xE0 else 2]]),
    st.integers(0x80, 0xEF),
    st.tuples(bytes_7, bytes_7),
)
# Data without status: the status before goes on.
running_events = st.lists(bytes_7, min_size=1, max_size=2).map(bytes)
meta_codes = st.sampled_from(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x20, 0x21, 0x2F, 0x4B, 0x51, 0x54, 0x58, 0x59, 0x7F]
)
meta_events = st.builds(
    lambda code, data: bytes([0xFF, code, len(data)]) + data, meta_codes, st.binary(max_size=6)
)
good_meta_events = st.sampled_from(
    [
        b"\xff\x51\x03\x07\xa1\x20",
        b"\xff\x58\x04\x06\x03\x18\x08",
        b"\xff\x59\x02\xfd\x01",
        b"\xff\x54\x05\x41\x3b\x3b\x00\x63",
        b"\xff\x03\x05a \\\xe9\n",
        b"\xff\x2f\x00",
        b"\xff\x0a\x02\x01\x02",
        b"\xff\x7f\x01\x05",
    ]
)
SYSTEM_EVENTS = "f0027ef7 f000 f003f001f7 f00180 f70105 f123 f20102 f305 f6 f8 fa fb fc fe f4 f9"
system_events = st.sampled_from([bytes.fromhex(event) for event in SYSTEM_EVENTS.split()])
events = st.one_of(channel_events, channel_events, channel_events, good_meta_events, running_events)
wild_events = st.one_of(events, meta_events, system_events)


def tracks_of(event):
    return st.lists(st.tuples(deltas, event).map(b"".join), max_size=12).map(b"".join)


def files_of(event):
    return st.builds(
        lambda tracks, kind, ticks: midi_file(*tracks, kind=kind, ticks_per_beat=ticks),
        st.lists(tracks_of(event), max_size=3),
        st.sampled_from([0, 1, 1, 1, 2, 3]),
        st.sampled_from([480, 96, 1, -6360]),
    )


def check_against_mido(data, keep_metadata):
    """The same text as mido's; what mido refuses is refused, or forgiven with a warning."""
    expected = mtf_by_mido(data, keep_metadata)
    try:
        mtf, warnings = read_midi(data, keep_metadata=keep_metadata)
    except FormatError:
        assert expected is None
        return
    kinds = {warning.kind for warning in warnings}
    if expected is None or "wrong_track_size" in kinds:
        assert kinds & FORGIVEN_BEYOND_MIDO
    else:
        assert mtf == expected
        assert kinds <= {"trailing_bytes", "extra_tracks"}


@given(st.one_of(files_of(channel_events), files_of(events), files_of(wild_events)), st.booleans())
@settings(max_examples=600, deadline=None)
def test_any_file_reads_as_mido_reads_it(data, keep_metadata):
    check_against_mido(data, keep_metadata)


@st.composite
def damaged_files(draw, files):
    """A recorded file with a few bytes changed, added or taken away."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        if draw(st.booleans()):
            place = min(place, 60)
        taken = draw(st.integers(0, 3))
        data[place : place + taken] = draw(st.binary(max_size=3))
    return bytes(data)


def test_damaged_files_meet_midos_verdict(rows):
    files = [row["midi"] for row in rows if len(row["midi"]) < 1500]
    assert len(files) > 15

    @given(damaged_files(files), st.booleans())
    @settings(max_examples=500, deadline=None)
    def check(data, keep_metadata):
        check_against_mido(data, keep_metadata)

    check()


@given(st.binary(max_size=60), st.booleans())
@settings(max_examples=200, deadline=None)
def test_bytes_without_sense_give_a_format_error(data, with_header):
    header = midi_file(b"")[:14]
    mtf_or_none(header + data if with_header else data, True)


def meta_blocks():
    """Content of each meta event that mido checks, at every value of every byte it looks at."""
    for value in range(256):
        yield 0x58, bytes([4, value, 24, 8])
        yield 0x58, bytes([value, 2, value, value])
        yield 0x20, bytes([value])
        yield 0x21, bytes([value])
        yield 0x00, bytes([value, 255 - value])
        yield from ((0x59, bytes([value, mode])) for mode in (0, 1, 2, 255))
        for place in range(5):
            block = bytearray(5)
            block[place] = value
            yield 0x54, bytes(block)
    for code in (0x00, 0x01, 0x20, 0x21, 0x2F, 0x51, 0x54, 0x58, 0x59, 0x7F, 0x0A):
        yield from ((code, bytes([1] * length)) for length in range(8))


def test_every_value_of_a_meta_event_meets_midos_verdict():
    refused = 0
    for code, block in meta_blocks():
        data = midi_file(bytes([0, 0xFF, code, len(block)]) + block)
        expected = mtf_by_mido(data, True)
        assert mtf_or_none(data, True) == expected, (code, block)
        refused += expected is None
    assert refused > 500


def test_sysex_repeated_without_status_loses_a_byte_as_in_mido():
    data = midi_file(b"\x00\xf0\x01\x05\x03\x33\x01\x7e")
    assert midi_to_mtf(data).split("\n")[1:3] == ["sysex 0 [5]", "sysex 3 [126]"]
    assert midi_to_mtf(data) == mtf_by_mido(data, False)


def test_events_may_hold_a_million_bytes():
    for length, fits in ((1_000_000, True), (1_000_001, False)):
        size = bytes([128 | length >> 14, 128 | length >> 7 & 127, length & 127])
        data = midi_file(b"\x00\xff\x01" + size + bytes(length))
        assert (mtf_or_none(data, False) is not None) == fits


# Hand-checked details


def test_an_event_of_each_kind():
    track = (
        b"\x00\xff\x58\x04\x06\x03\x18\x08"
        b"\x00\x93\x3c\x40"
        b"\x60\x3c\x00"
        b"\x00\xe1\x00\x00"
        b"\x00\xc0\x05"
        b"\x05\xf0\x03\x7e\x7f\xf7"
        b"\x00\xff\x59\x02\x03\x01"
        b"\x07\xff\x2f\x00"
    )
    assert midi_to_mtf(midi_file(track)).split("\n") == [
        "ticks_per_beat 480",
        "time_signature 6 8 24 8 0",
        "note_on 0 3 60 64",
        "note_on 96 3 60 0",
        "pitchwheel 0 1 -8192",
        "program_change 0 0 5",
        "sysex 5 [126, 127]",
        "key_signature F#m 0",
        "end_of_track 7",
    ]


def test_tracks_are_merged_in_time_and_file_order():
    first = b"\x0a\x90\x01\x01\x0a\x90\x02\x01\x00\xff\x2f\x00"
    second = b"\x0a\x91\x03\x01\x14\xff\x2f\x00"
    assert midi_to_mtf(midi_file(first, second)).split("\n")[1:] == [
        "note_on 10 0 1 1",
        "note_on 0 1 3 1",
        "note_on 10 0 2 1",
        "end_of_track 10",
    ]


def test_left_out_text_takes_its_time_with_it():
    track = b"\x0a\xff\x05\x02la\x05\x90\x01\x01"
    assert midi_to_mtf(midi_file(track)).split("\n")[1] == "note_on 5 0 1 1"
    full = midi_to_mtf(midi_file(track), keep_metadata=True)
    assert full.split("\n")[1:3] == ["lyrics la 10", "note_on 5 0 1 1"]


def test_a_path_is_read(tmp_path):
    path = tmp_path / "a.MID"
    path.write_bytes(midi_file(b""))
    assert midi_to_mtf(path) == "ticks_per_beat 480\nend_of_track 0"
    with refused("unreadable_file", r"b\.mid"):
        midi_to_mtf(tmp_path / "b.mid")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty_file"),
        (b"RIFF\x00\x00\x00\x00RMIDdata", "not_midi"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(99), "not_midi"),
        (bytes(300) + midi_file(b""), "not_midi"),
        (b"MThd\x00\x00", "truncated_midi"),
        (midi_file(b"")[:14], "truncated_midi"),
        (midi_file(b"\x00\x90\x3c")[:-1], "truncated_midi"),
        (midi_file(b"", kind=2), "type2_midi"),
        (midi_file(b"").replace(b"MTrk", b"Trak"), "bad_track"),
        (midi_file(b"\x00\x3c\x40"), "bad_status"),
        (midi_file(b"\x00\xf4"), "bad_status"),
        (midi_file(b"\x00\x90\x3c\x80"), "bad_data_byte"),
        (midi_file(b"\x00\xff\x59\x02\x08\x00"), "bad_meta"),
        (midi_file(b"\x00\xff\x01\xff\xff\x7f"), "oversized_event"),
        (midi_file(b"\xff" * 3000), "oversized_event"),
    ],
)
def test_refusals(data, kind):
    with refused(kind, "RIFF" if data.startswith(b"RIFF") else None):
        midi_to_mtf(data)


def test_size_limit(tmp_path):
    data = midi_file(FIRST)
    path = tmp_path / "a.mid"
    path.write_bytes(data)
    for source in (data, path):
        with refused("too_large", "expected at most 30"):
            midi_to_mtf(source, limits=Limits(max_midi_bytes=30))
    assert midi_to_mtf(path, limits=Limits(max_midi_bytes=len(data))) == midi_to_mtf(data)


# What is forgiven: everything but the fault is as in the whole file

END_OF_TRACK = b"\x00\xff\x2f\x00"
FIRST = b"\x00\x90\x3c\x40\x60\x3c\x00" + END_OF_TRACK
SECOND = b"\x10\x91\x30\x40\x60\x30\x00\x05\xff\x2f\x00"
WHOLE = midi_file(FIRST, SECOND)
HEADER, TRACKS = WHOLE[:14], [chunk(b"MTrk", FIRST), chunk(b"MTrk", SECOND)]
FORGIVEN_BEYOND_MIDO = {"wrapped", "foreign_bytes", "missing_tracks", "wrong_track_size"}


def riff(data, before=b"", after=b"", size=None):
    size = len(data) if size is None else size
    inside = b"RMID" + before + b"data" + size.to_bytes(4, "little") + data + after
    return b"RIFF" + len(inside).to_bytes(4, "little") + inside


def sized(track, size):
    return b"MTrk" + size.to_bytes(4, "big") + track


FORGIVEN = [
    ("riff", riff(WHOLE), ["wrapped"]),
    ("riff with more inside", riff(WHOLE, b"LIST\4\0\0\0INFO", b"\0DLS "), ["wrapped"]),
    ("riff without size", riff(WHOLE, size=0), ["wrapped"]),
    ("MacBinary", bytes(128) + WHOLE, ["wrapped"]),
    ("chunk first", HEADER + chunk(b"XFIH", b"ab") + b"".join(TRACKS), ["foreign_bytes"]),
    ("chunk between", HEADER + TRACKS[0] + chunk(b"XFKM", b"") + TRACKS[1], ["foreign_bytes"]),
    (
        "chunk that holds the name of tracks",
        HEADER + TRACKS[0] + chunk(b"junk", b"-MTrk-") + TRACKS[1],
        ["foreign_bytes"],
    ),
    ("bytes between", HEADER + TRACKS[0] + b"\0\xff\0" + TRACKS[1], ["foreign_bytes"]),
    ("in a track", midi_file(FIRST + b"\0\xff\xff", SECOND), ["foreign_bytes"]),
    ("in the last track", midi_file(FIRST, SECOND + b"\0\x90\xff"), ["foreign_bytes"]),
    ("after", WHOLE + b"\0\x1a", ["trailing_bytes"]),
    ("too many", midi_file(FIRST, SECOND).replace(b"\0\2", b"\0\7", 1), ["missing_tracks"]),
    ("too few", WHOLE + chunk(b"MTrk", FIRST), ["extra_tracks"]),
    ("size 0", HEADER + sized(FIRST, 0) + TRACKS[1], ["wrong_track_size"]),
    ("size 0 at the end", HEADER + TRACKS[0] + sized(SECOND, 0), ["wrong_track_size"]),
    ("no size", HEADER + TRACKS[0] + sized(SECOND, 2**32 - 1), ["wrong_track_size"]),
    (
        "all together",
        riff(HEADER + sized(FIRST, 2**31 - 1) + b"abc" + TRACKS[1]).replace(b"abc", b""),
        ["wrapped", "wrong_track_size"],
    ),
]


@pytest.mark.parametrize(
    ("data", "kinds"), [case[1:] for case in FORGIVEN], ids=[case[0] for case in FORGIVEN]
)
def test_what_is_forgiven_is_told_and_costs_no_note(data, kinds):
    for keep_metadata in (False, True):
        mtf, warnings = read_midi(data, keep_metadata=keep_metadata)
        assert mtf == midi_to_mtf(WHOLE) == mtf_by_mido(WHOLE, False)
        assert [warning.kind for warning in warnings] == kinds
        assert all(str(warning) == f"{warning.kind}: {warning.message}" for warning in warnings)
        check_against_mido(data, keep_metadata)


def test_whole_files_have_no_warning(rows):
    found = {row["id"]: [w.kind for w in read_midi(row["midi"]).warnings] for row in rows}
    # Its header counts one track, and it has two.
    assert found.pop("m21_test04.mid") == ["extra_tracks"]
    assert not any(found.values())


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (WHOLE[:-1], "truncated_midi"),
        (WHOLE[:-9], "truncated_midi"),
        (WHOLE[: len(HEADER + TRACKS[0]) + 3], "truncated_midi"),
        (WHOLE[: len(HEADER + TRACKS[0]) + 6], "truncated_midi"),
        (HEADER + sized(FIRST, len(FIRST) + 1) + TRACKS[1], "truncated_midi"),
        (HEADER + TRACKS[0] + sized(SECOND[1:], len(SECOND)), "bad_status"),
        (HEADER + chunk(b"MTrk", FIRST[:7]) + b"\0\x90\1" + TRACKS[1], "bad_track"),
        (HEADER + sized(FIRST, 0) + b"junk" + TRACKS[1], "bad_track"),
        (WHOLE[:10] + WHOLE[11:], "bad_track"),
        (midi_file(FIRST[:-4] + b"\0\x90\xff\1" + END_OF_TRACK, SECOND), "bad_data_byte"),
    ],
)
def test_what_may_have_cost_a_note_is_refused(data, kind):
    assert mtf_by_mido(data, False) is None
    with refused(kind):
        midi_to_mtf(data)


def test_reading_does_without_mido():
    script = (
        "import sys; from clamp3.formats.mtf import midi_to_mtf; "
        f"midi_to_mtf({midi_file(b'')!r}); sys.exit('mido' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# Back to MIDI


def notes_of(data):
    return [m.bytes() for m in mido.MidiFile(file=io.BytesIO(data)).tracks[0] if not m.is_meta]


def test_lines_merged_by_patches_are_read():
    merged = "ticks_per_beat 96\nnote_on 0 0 60 64\t5 0 62 64\nend_of_track 0\n"
    plain = "ticks_per_beat 96\nnote_on 0 0 60 64\nnote_on 5 0 62 64\nend_of_track 0"
    assert mtf_to_midi(merged) == mtf_to_midi(plain)
    assert notes_of(mtf_to_midi(merged)) == [[0x90, 60, 64], [0x90, 62, 64]]


def test_unknown_meta_events_are_kept_without_moving_the_notes():
    text = "ticks_per_beat 96\nunknown_meta 10 (1, 2) 7\nnote_on 3 0 60 64\nend_of_track 0"
    back = midi_to_mtf(mtf_to_midi(text))
    assert back.split("\n")[1:3] == ["unknown_meta 10 (1, 2) 0", "note_on 10 0 60 64"]


@pytest.mark.parametrize("words", ["a  b ", "tab\\tline\\n", "\\xe9\\\\", "", "(1, 2) [3]"])
def test_words_survive(words):
    text = f"ticks_per_beat 96\ntrack_name {words} 0\nend_of_track 0"
    assert midi_to_mtf(mtf_to_midi(text), keep_metadata=True) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "not_mtf"),
        ("X:1\nK:C\n", "not_mtf"),
        ("ticks_per_beat 96\nnote_on 0 0 60", "bad_event"),
        ("ticks_per_beat 96\nnote_on 0 0 60 128", "bad_event"),
        ("ticks_per_beat 96\nnote_on 0 0 sixty 64", "bad_event"),
        ("ticks_per_beat 96\nwhistle 0", "bad_event"),
        ("ticks_per_beat 96\nnote_on -5 0 60 64", "bad_midi"),
        ("ticks_per_beat 96\nclock 0", "bad_midi"),
        ("ticks_per_beat 99999\nend_of_track 0", "bad_midi"),
        ("ticks_per_beat 96\ntext \u4e2d 0", "bad_midi"),
    ],
)
def test_refusals_of_mtf(text, kind):
    with refused(kind):
        mtf_to_midi(text)


def test_what_is_wrong_with_a_line_is_said():
    with refused("bad_event", "3 values, expected time, channel, note, velocity"):
        mtf_to_midi("ticks_per_beat 96\nnote_on 0 0 60")
    with refused("bad_event", "no such event"):
        mtf_to_midi("ticks_per_beat 96\nwhistle 0")


def test_bad_line_is_numbered():
    with pytest.raises(FormatError, match="line 3"):
        mtf_to_midi("ticks_per_beat 96\nnote_on 0 0 60 64\nnote_on 0\n")


WORDS = (
    "ticks_per_beat 96,\n,note_on,sysex,text,key_signature,time_signature,unknown_meta,"
    "set_tempo,smpte_offset,sequencer_specific,midi_port,pitchwheel,reset,0,3,64,-1,29.97,"
    "F#m,[1],(,),\\x,\\,\t"
)


@given(st.lists(st.sampled_from(WORDS.split(",")), max_size=20).map(" ".join))
@settings(max_examples=400, deadline=None)
def test_any_mtf_gives_midi_or_a_format_error(text):
    for candidate in (text, "ticks_per_beat 96\n" + text.replace("\n ", "\n")):
        try:
            mtf_to_midi(candidate)
        except FormatError:
            continue
