"""`/api/piece`: what is known of a piece, its score, MIDI and sound; and nothing else."""

from pathlib import Path
from urllib.parse import quote

import pytest
from service.conftest import ODD_NAMES, tune
from service.live import Live


@pytest.mark.parametrize("name", ["scores/3.abc", *ODD_NAMES])
def test_a_score_is_described_and_given(live: Live, music: Path, name: str):
    known = live.client.get(f"/api/piece/{quote(name)}").json()
    assert known["id"] == name
    assert known["formats"] == ["abc"]
    assert known["title"].startswith("Piece ")
    assert known["metadata"]["genre"] in ("jig", "reel", "air")
    # With the slashes encoded, too.
    assert live.client.get(f"/api/piece/{quote(name, safe='')}").json() == known
    score = live.client.get(f"/api/piece/{quote(name)}", params={"as": "abc"})
    assert score.headers["content-type"] == "text/vnd.abc; charset=utf-8"
    assert score.text == (music / name).read_text(encoding="utf-8")
    assert score.text.startswith(tune(0)[:2])


def test_midi_is_given(live: Live, music: Path):
    answer = live.client.get("/api/piece/2.mid", params={"as": "midi"})
    assert answer.headers["content-type"] == "audio/midi"
    assert answer.content == (music / "2.mid").read_bytes()
    absent = live.client.get("/api/piece/2.mid", params={"as": "abc"})
    assert absent.status_code == 404
    assert absent.json() == {
        "error": "there is no abc of the piece '2.mid'",
        "kind": "no_such_form",
    }


def test_sound_is_given_in_parts(live: Live, music: Path):
    content = (music / "1.wav").read_bytes()
    whole = live.client.get("/api/piece/1.wav?as=audio")
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.content == content
    cases = {"bytes=0-99": content[:100], "bytes=500-": content[500:], "bytes=-10": content[-10:]}
    for wanted, expected in cases.items():
        part = live.client.get("/api/piece/1.wav?as=audio", headers={"Range": wanted})
        assert part.status_code == 206
        assert part.content == expected
    assert (
        part.headers["content-range"]
        == f"bytes {len(content) - 10}-{len(content) - 1}/{len(content)}"
    )
    beyond = live.client.get("/api/piece/1.wav?as=audio", headers={"Range": "bytes=9999999-"})
    assert beyond.status_code == 416


TRICKS = (
    "../../../../etc/passwd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%252e%252e%252fetc%252fpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "%2Fetc%2Fpasswd",
    "scores/../../vectors.parquet",
    "./scores/3.abc",
    "scores//3.abc",
    "scores/3.abc%00",
    "%00",
    "scores/3.abc/",
    "scores\\3.abc",
    "%5c%5cserver%5cshare",
    "file:///etc/passwd",
    "C:/windows/win.ini",
    "%ff%fe",
    "%ed%a0%80",
    "%e2%80%ae",
    "scores/%F0%9F%8E%B5.abc",
    "SCORES/3.ABC",
    "words",
    "*",
    "",
    "a" * 5000,
    "%E4" * 2000,
    "scores/3.abc;x=1",
    "~root",
    "${HOME}",
    "index.json",
)


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick[:30])
@pytest.mark.parametrize("form", ["", "?as=abc", "?as=midi", "?as=audio"])
def test_no_trick_leads_out_of_the_collection(live: Live, trick: str, form: str):
    status, content = live.raw("GET", f"/api/piece/{trick}{form}")
    assert status == 404, content
    assert b"root:" not in content
    assert b"Traceback" not in content
    assert str(live.service.collection.folder.parent).encode() not in content


def test_a_link_out_of_the_collection_is_not_followed(live: Live, music: Path, tmp_path: Path):
    (tmp_path / "secret.abc").write_text("X:1\nT:Secret\nK:C\nC|\n", encoding="utf-8")
    place = music / "scores/8.abc"
    before = place.read_bytes()
    place.unlink()
    try:
        assert live.client.get("/api/piece/scores/8.abc").json()["formats"] == []
        assert live.client.get("/api/piece/scores/8.abc?as=abc").status_code == 404
        place.symlink_to(tmp_path / "secret.abc")
        assert live.client.get("/api/piece/scores/8.abc").json()["formats"] == []
        assert live.client.get("/api/piece/scores/8.abc?as=abc").status_code == 404
    finally:
        place.unlink()
        place.write_bytes(before)


def test_a_file_that_became_unreadable_is_told_without_its_place(live: Live, music: Path):
    place = music / "scores/7.abc"
    before = place.read_bytes()
    try:
        place.write_bytes(b"X:1\nK:C\n" + bytes(range(128, 256)))
        answer = live.client.get("/api/piece/scores/7.abc?as=abc")
        assert answer.status_code in (404, 422)
        assert str(music) not in answer.text
    finally:
        place.write_bytes(before)


def test_another_form_is_refused(live: Live):
    answer = live.client.get("/api/piece/scores/3.abc?as=pdf")
    assert answer.status_code == 400
    assert answer.json()["kind"] == "bad_request"
    assert answer.json()["error"].startswith("as: ")
