"""`/api/search`, `/api/info` and `/api/map`: what the library finds, as JSON."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from service.conftest import index_of, sound, tune, write_scores
from service.live import Live, serving

from clamp3 import __version__
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.index.reader import open_index
from clamp3.retrieval.index.writer import add_to_index, build_index, delete_from_index
from clamp3.retrieval.vectors import Vectors, write_vectors
from clamp3.service.embedding import WarmModel
from clamp3.service.upload_reading import Upload

# Of a cosine, between a text embedded alone and padded in a batch.
BATCH_TOLERANCE = 1e-5
QUERY = dict.fromkeys(("text", "file", "caption"))  # what a search tells of its query


def ids(found: dict) -> list[str]:
    return [result["id"] for result in found["results"]]


def test_a_text_finds_what_the_library_finds(live: Live, model: Embedder, index: Path):
    found = live.search(text="a reel in D major", top_k=7)
    opened = open_index(index)
    hits = opened.search(model.embed_text("a reel in D major"), 7)
    assert ids(found) == [hit.id for hit in hits]
    assert [one["rank"] for one in found["results"]] == list(range(1, 8))
    cosines = [one["similarity"] for one in found["results"]]
    assert np.allclose(cosines, [hit.similarity for hit in hits], atol=BATCH_TOLERANCE)
    assert found["query"] == QUERY | {"kind": "text", "text": "a reel in D major"}
    assert found["model"] == model.space
    first, known = found["results"][0], hits[0]
    assert first["metadata"] == known.metadata
    assert first["title"] == known.metadata["title"]
    assert first["modality"] == known.labels["modality"]


def test_a_piece_finds_what_is_like_it_but_not_itself(live: Live, index: Path):
    opened = open_index(index)
    name = "scores/3.abc"
    hits = opened.search(opened.embedding(name), 6)
    assert hits[0].id == name
    found = live.search(like=name, top_k=5)
    assert ids(found) == [hit.id for hit in hits[1:]]
    assert found["query"]["kind"] == "like"


def test_results_can_be_filtered(live: Live):
    scores = live.search(text="a reel", modality="abc", top_k=200)
    assert {one["modality"] for one in scores["results"]} == {"abc"}
    assert len(scores["results"]) == 12
    jigs = live.search(text="a reel", where=["genre=jig", "modality=abc"], top_k=200)
    assert jigs["results"]
    assert all(one["metadata"]["genre"] == "jig" for one in jigs["results"])
    assert ids(jigs) == [
        one["id"] for one in scores["results"] if one["metadata"]["genre"] == "jig"
    ]
    assert live.search(text="a reel", where="genre=polka")["results"] == []


@pytest.mark.parametrize(
    ("name", "kind"), [("scores/2.abc", "abc"), ("1.mid", "mtf"), ("2.wav", "audio")]
)
def test_a_file_finds_itself(live: Live, music: Path, name: str, kind: str):
    answer = live.upload(Path(name).name, (music / name).read_bytes(), top_k=1)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["query"] == QUERY | {"kind": kind, "file": Path(name).name}
    assert ids(found) == [name]
    assert found["results"][0]["similarity"] == pytest.approx(1, abs=1e-6)


def test_files_are_told_by_what_they_hold(live: Live, music: Path):
    score = (music / "scores/2.abc").read_bytes()
    assert live.upload("", score).status_code in (200, 400)  # a part without a name is no file
    assert live.upload("x", score).json()["query"]["kind"] == "abc"
    assert live.upload("song.mp3", (music / "1.mid").read_bytes()).json()["query"]["kind"] == "mtf"
    text = live.upload("words.txt", b"a reel in D major")
    assert text.json()["query"]["kind"] == "text"
    assert ids(text.json()) == ids(live.search(text="a reel in D major"))
    xml = (
        '<score-partwise><part-list><score-part id="P1"><part-name/></score-part></part-list>'
        '<part id="P1"><measure number="1"><attributes><divisions>1</divisions></attributes><note>'
        "<pitch><step>C</step><octave>4</octave></pitch><duration>4</duration></note></measure>"
        "</part></score-partwise>"
    )
    assert live.upload("c.musicxml", xml.encode()).json()["query"]["kind"] == "abc"


def test_many_at_once_find_what_each_finds_alone(live: Live, model: Embedder, music: Path):
    texts = [f"{'a very ' * (number % 9)}slow air number {number}" for number in range(40)]
    alone = np.stack([model.embed_text(text) for text in texts])
    together = np.stack(live.service.model.texts(texts))
    assert np.abs(together - alone).max() < BATCH_TOLERANCE * np.abs(alone).max()
    before = _batches(live)
    with ThreadPoolExecutor(20) as pool:
        tasks = [pool.submit(live.search, text=text) for text in texts]
        files = [
            pool.submit(live.upload, "a.abc", (music / f"scores/{n}.abc").read_bytes(), top_k=1)
            for n in range(9)
        ]
        found = [task.result() for task in tasks]
    for text, one in zip(texts, found, strict=True):
        single = live.search(text=text)
        cosines = [result["similarity"] for result in single["results"]]
        assert np.allclose(
            [result["similarity"] for result in one["results"]], cosines, atol=BATCH_TOLERANCE
        )
    assert [ids(task.result().json())[0] for task in files] == [f"scores/{n}.abc" for n in range(9)]
    queries, batches = (after - was for after, was in zip(_batches(live), before, strict=True))
    assert queries == 80
    assert batches < 40 + 40  # some of the first forty went together


def _batches(live: Live) -> tuple[float, float]:
    """Texts embedded so far, and in how many batches."""
    registry = live.service.metrics.registry
    labels = {"what": "texts"}
    return tuple(
        registry.get_sample_value(f"clamp3_batch_size_{name}", labels) or 0.0
        for name in ("sum", "count")
    )


@pytest.mark.parametrize(
    ("asked", "status", "kind", "sentence"),
    [
        ({}, 400, "bad_request", "one of text and like"),
        ({"text": "a", "like": "b"}, 400, "bad_request", "one of text and like"),
        ({"text": " \t"}, 400, "bad_request", "the query is empty"),
        ({"text": ""}, 400, "bad_request", "text: "),
        ({"text": "a" * 4001}, 400, "bad_request", "at most 4000 characters"),
        ({"text": "a", "top_k": 0}, 400, "bad_request", "top_k: "),
        ({"text": "a", "top_k": 201}, 400, "bad_request", "less than or equal to 200"),
        ({"text": "a", "top_k": "ten"}, 400, "bad_request", "valid integer"),
        ({"text": "a", "modality": "smell"}, 400, "bad_request", "modality"),
        ({"text": "a", "where": "genre"}, 400, "bad_request", "such as genre=jig"),
        ({"text": "a", "where": "mood=sad"}, 400, "bad_request", "nothing is known of 'mood'"),
        ({"text": "a", "where": ["a=b"] * 21}, 400, "bad_request", "where: "),
        ({"like": "nobody.abc"}, 404, "unknown_id", "no piece with the id 'nobody.abc'"),
    ],
)
def test_a_wrong_request_gets_a_sentence(live: Live, asked, status, kind, sentence):
    said = live.search(status, **asked)
    assert set(said) == {"error", "kind"}
    assert said["kind"] == kind
    assert sentence in said["error"]


def test_one_wrong_request_harms_no_other(live: Live):
    with ThreadPoolExecutor(8) as pool:
        bad = [pool.submit(live.search, 400, text="a", where="mood=sad") for _ in range(8)]
        good = [pool.submit(live.search, text="a reel") for _ in range(8)]
        for task in bad + good:
            task.result()


def test_the_longest_text_is_answered(live: Live):
    assert live.search(text="調" * 4000)["results"]


def test_info_tells_what_there_is(live: Live, model: Embedder):
    info = live.client.get("/api/info").json()
    assert info["version"] == __version__
    assert info["model"] == {
        "name": "clamp3",
        "kind": "clamp3",
        "space": model.space,
        "modalities": ["text", "abc", "mtf", "audio"],
    }
    assert info["index"]["rows"] == info["index"]["pieces"] == 20
    assert info["index"]["modalities"] == {"abc": 12, "audio": 3, "mtf": 4, "text": 1}
    genre = next(one for one in info["index"]["properties"] if one["name"] == "genre")
    assert sorted(genre["values"]) == [["air", 6], ["jig", 7], ["reel", 7]]
    assert info["limits"]["top_k"] == 200
    assert info["examples"]
    assert info["has_map"] is True
    assert live.client.get("/api/health").json() == {"status": "ok"}


def test_the_map_has_a_point_a_row(live: Live):
    points = live.client.get("/api/map").json()["points"]
    assert {name: len(column) for name, column in points.items()} == dict.fromkeys(
        ("id", "modality", "x", "y"), 20
    )
    assert all(0 <= value <= 1 for value in points["x"] + points["y"])


def test_rows_of_several_fields_are_one_result(model: Embedder, tmp_path: Path):
    count = 30
    rng = np.random.default_rng(0)
    names = [f"p{number // 6}" for number in range(count)]
    fields = [f"field {number % 6}" for number in range(count)]
    labels = {"modality": ["text"] * count, "field": fields}
    matrix = rng.standard_normal((count, 16)).astype(np.float32)
    write_vectors(tmp_path / "v.parquet", Vectors(names, matrix, model.origin(["text"]), labels))
    build_index(tmp_path / "index", [tmp_path / "v.parquet"])
    with serving(model, tmp_path / "index") as live:
        assert sorted(ids(live.search(text="a reel", top_k=5))) == ["p0", "p1", "p2", "p3", "p4"]
        assert sorted(ids(live.search(like="p3", top_k=5))) == ["p0", "p1", "p2", "p4"]
        assert live.search(text="a reel", top_k=1)["results"][0]["formats"] == []


def test_a_broken_file_is_refused_by_its_own_name(live: Live, music: Path):
    cases = {
        "bad.mid": (b"MThd\x00\x00", "truncated_midi"),
        "bad.abc": (b"", "empty_file"),
        "bad.wav": (b"RIFF\x24\x00\x00\x00WAVEfmt ", None),
        "bad.musicxml": (b"<score-partwise>", None),
        "bad.mxl": (b"PK\x03\x04" + b"\x00" * 40, None),
        "bad.npy": (b"\x93NUMPY", None),
        "photo.png": (b"\x89PNG\r\n\x1a\n", "no_captioner"),
        "unknown.bin": (bytes(range(200, 256)) * 5, "unknown_format"),
        "latin.txt": ("é".encode("latin-1") * 9, "not_utf8"),
    }
    for name, (content, kind) in cases.items():
        answer = live.upload(name, content)
        said = answer.json()
        assert answer.status_code == 422, (name, said)
        assert kind in (None, said["kind"]), (name, said)
        for secret in (str(live.temporary), "clamp3-serve-", "upload.", "Traceback", "/tmp"):
            assert secret not in said["error"], (name, said)


def test_a_long_recording_is_refused(model: Embedder, tmp_path: Path):
    path = tmp_path / "a.flac"
    soundfile.write(path, sound(1, 12.0), 16_000)
    warm = WarmModel(model)
    read = warm.upload_reader(4)(Upload(path, "long.flac"))
    assert read.piece.kind == "too_long"
    assert str(read.piece) == "the recording lasts 10 s or more; at most 4 s are read"
    assert warm.upload_reader(12)(Upload(path, "long.flac")).piece.shape[0] == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "a tune " * 50_000, "it holds 350,000 characters; at most 262,144 are read"),
        ("a.abc", "X:1\nK:C\n" + "CDEF|\n" * 80_000, "rows; at most 65,536 are read"),
    ],
)
def test_what_would_keep_the_model_for_minutes_is_refused(
    model: Embedder, tmp_path: Path, name: str, content: str, said: str
):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    read = WarmModel(model).upload_reader(4)(Upload(path, name))
    assert read.piece.kind == "too_long"
    assert said in str(read.piece)


def test_what_is_written_to_the_index_is_found_without_a_restart(
    model: Embedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    music = write_scores(tmp_path / "music", map(tune, range(5)))
    folder = index_of(model, music, tmp_path)
    with serving(model, folder) as live:
        assert len(live.search(text="a reel")["results"]) == 5
        (music / "new.abc").write_text(tune(77), encoding="utf-8")
        found = model.embed_files(music / "new.abc")
        more = Vectors(["new.abc"], found.embeddings, model.origin(["abc"]), {"modality": ["abc"]})
        write_vectors(tmp_path / "more.parquet", more)
        add_to_index(folder, [tmp_path / "more.parquet"])
        assert "new.abc" in ids(live.search(text="a reel"))
        assert live.client.get("/api/info").json()["index"]["rows"] == 6
        assert live.client.get("/api/piece/new.abc").json()["title"] == "Tune 77"
        delete_from_index(folder, ["0.abc"])
        assert "0.abc" not in ids(live.search(text="a reel"))
        assert live.search(404, like="0.abc")["kind"] == "unknown_id"
        (folder / "index.json").rename(folder / "away.json")
        assert len(live.search(text="a reel")["results"]) == 5  # as it was
        assert "answering from the index as it was" in caplog.text
        (folder / "away.json").rename(folder / "index.json")
        assert len(live.search(text="a reel")["results"]) == 5
