"""Ten or so lines of each data set in its own layout, with the files they name."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

LEADSHEET = "X:1\nL:1/8\nM:4/4\nK:G\nV:1\nGABc d2d2|\nV:2\nG,4 D4|\n"
MIDI = b"MThd\x00\x00\x00\x06"
SDD_COLUMNS = (
    "caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration"
)
MUSICCAPS_COLUMNS = (
    "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,"
    "is_balanced_subset,is_audioset_eval"
)


# A line of CLaMP 3's training data.
CLAMP3 = {
    "id": "-dQw4w9WgXc",
    "filepaths": ["abc/1.abc", "mtf/1.mtf"],
    "title": "Ode",
    "artists": "B",
    "region": "Germany",
    "language": "German",
    "genres": ["classical"],
    "tags": ["ode", "choir"],
    "background": "Hintergrund.",
    "analysis": "Analyse.",
    "description": "Beschreibung.",
    "scene": "Ort.",
    "translations": {"language": "English", "background": "Background."},
}


@dataclass
class Sample:
    """A data set in a folder: `path` is what its reader is given.

    `rows` counts what is in it, of which `left_out` on purpose; `bad` is one more line that its
    reader must reject alone.
    """

    layout: str
    path: Path
    rows: int
    left_out: int
    bad: str

    def break_it(self):
        """Add the bad line, or for a folder the bad file."""
        if self.path.is_dir():
            file = self.path / self.bad
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"" if self.layout == "labelled_recordings" else MIDI)
        else:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(self.bad + "\n")


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def json_lines(rows):
    """JSON lines of objects; texts stand as they are."""
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def reading(parse, path, write=json_lines):
    """A reader of rows, which are written to `path` first."""

    def run(*rows, **options):
        return parse(put(path.parent, path.name, write(rows)), **options)

    return run


def fault(parsed):
    """Kind, place and reason of the one row that was rejected."""
    (reject,) = parsed.rejected
    assert reject.stage == "parse"
    return reject.kind, *reject.reason.split(": ", 1)


def csv_lines(columns, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.split(","))
    writer.writerows(rows)
    return text.getvalue()


def md5(number):
    """A name such as Lakh's files have; the first digit tells the number."""
    return f"{number:032x}"[::-1]


def wikimt(folder):
    rows = []
    for number in range(10):
        row = {"title": f"Song {number}: “one”", "artist": "A/B Band", "genre": "Jazz"}
        rows.append(row | {"description": f"The {number}. song.\nIt swings."})
        put(folder, f"scores/A_B Band - song {number}_ “one”.mxl", "PK")
    path = put(folder, "wikimusictext.jsonl", json_lines(rows))
    return Sample("wikimt", path, 10, 0, '{"title": "x", "artist": "y", "genre": 5}')


def wikimt_x(folder):
    texts = ("background", "analysis", "description", "scene")
    rows = [
        {"id": f"-dQw4w9Wg{number:02}", "title": "T", "artists": "A", "genre": "folk"}
        | {name: f"The {name} of {number}." for name in texts}
        | {"leadsheet": LEADSHEET}
        for number in range(10)
    ]
    path = put(folder, "wikimt-x-public.jsonl", json_lines(rows))
    return Sample("wikimt_x", path, 10, 0, '{"id": "x", "title": "y"')


def midicaps(folder):
    rows = []
    for number in range(10):
        name = f"lmd_full/{md5(number)[0]}/{md5(number)}.mid"
        put(folder, name, MIDI)
        row = {"location": name, "caption": f"A song, {number}.", "genre": ["pop", "rock"]}
        rows.append(row | {"mood": ["happy"], "key": "C major", "test_set": number < 7})
    path = put(folder, "train.json", json_lines(rows))
    return Sample("midicaps", path, 10, 3, '{"location": 5, "caption": "x", "test_set": true}')


def lakh_full(folder):
    for number in range(10):
        put(folder, f"lmd_full/{md5(number)[0]}/{md5(number)}.mid", MIDI)
    return Sample("lakh", folder / "lmd_full", 10, 0, "elsewhere.mid")


def lakh_matched(folder):
    """Five files; each stands under two tracks, more likely the second of them."""
    scores = {}
    for number in range(10):
        track = f"TRABC{number}12345678901"[:18].ljust(18, "0")
        put(folder, f"lmd_matched/A/B/C/{track}/{md5(number % 5)}.mid", MIDI)
        scores[track] = {md5(number % 5): 0.5 + number / 100}
    put(folder, "match_scores.json", json.dumps(scores))
    lines = [
        f"{track}<SEP>SO{place}<SEP>Björk<SEP>Jóga {place}" for place, track in enumerate(scores)
    ]
    put(folder, "unique_tracks.txt", "\n".join(lines) + "\n")
    return Sample("lakh", folder / "lmd_matched", 10, 5, "A/B/stray.mid")


def lakh_clean(folder):
    names = ["Yesterday", "Yesterday.1", "Yesterday.2", "Symphony No.5", "Symphony No.4"]
    for artist in ("The Beatles", "AC_DC"):
        for name in names:
            put(folder, f"clean_midi/{artist}/{name}.mid", MIDI)
    return Sample("lakh", folder / "clean_midi", 10, 4, "too/deep/x.mid")


def song_describer(folder):
    rows = []
    for number in range(10):  # five tracks with two captions each
        track = 1004030 + number % 5
        put(folder, f"audio/{track % 100}/{track}.2min.mp3", "ID3")
        caption = f'A “{number}” song, "slow"\nand sad'
        valid = ("True", "False", "")[number % 3]
        rows.append([number, track, caption, valid, 1, 7, 8, f"{track % 100}/{track}.mp3", 120.5])
    path = put(folder, "song_describer.csv", csv_lines(SDD_COLUMNS, rows))
    return Sample("song_describer", path, 10, 5, "11,1009999,No such file,True,1,7,8,99/x.mp3,1")


def musiccaps(folder):
    rows = []
    for number in range(10):
        name = f"-0Gj8-vB1{number:02}"
        aspects = "['low quality', \"it's slow\"]"
        row = [name, 30, 40, "/m/0140xf,/m/02cjck", aspects, f"Calm, {number}", 4, "False"]
        rows.append([*row, number < 6])
        put(folder, f"audio/{name}.wav" if number % 2 else f"audio/[{name}]-[30-40].wav", "RIFF")
    path = put(folder, "musiccaps-public.csv", csv_lines(MUSICCAPS_COLUMNS, rows))
    bad = "-1Gj8-vB1aa,30,40,/m/1,['x'],Not there any more,4,False,True"
    return Sample("musiccaps", path, 10, 4, bad)


def labelled_recordings(folder):
    for number in range(10):
        label = ("blues", "jazz")[number % 2]
        put(folder, f"genres/{label}/{label}.{number:05}.wav", "RIFF")
    put(folder, "genres/README.txt", "no music")
    return Sample("labelled_recordings", folder / "genres", 10, 0, "blues/blues.99999.wav")


def labelled_performances(folder):
    for number in range(10):
        put(folder, f"midi/{('Beyer', 'Hisaishi')[number % 2]}_{number}.mid", MIDI)
    return Sample("labelled_performances", folder / "midi", 10, 0, "unlabelled.mid")


def labelled_scores(folder):
    for number in range(10):
        suffix, content = (("abc", LEADSHEET), ("mxl", "PK"))[number % 2]
        put(folder, f"scores/{('Rock', 'Folk')[number % 2]}/{number}.{suffix}", content)
    return Sample("labelled_scores", folder / "scores", 10, 0, "unlabelled.musicxml")


_MAKERS = [wikimt, wikimt_x, midicaps, lakh_full, lakh_matched, lakh_clean, song_describer]
_MAKERS += [musiccaps, labelled_recordings, labelled_performances, labelled_scores]
SAMPLES = {make.__name__: make for make in _MAKERS}
