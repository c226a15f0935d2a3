"""The report's section on summaries."""

import json
import re

import pytest

from clamp3.errors import DataError
from clamp3.retrieval.report.summaries import summaries_section

REPORT = {
    "writer": "template",
    "model": None,
    "version": 1,
    "pieces": 12,
    "accepted": 9,
    "rejected": {"over_budget": 1, "too_little": 2},
    "languages": {"Dutch": 4, "German": 5},
    "tokens": 0,
    "money": 0.0,
}


def told(tmp_path, **changes):
    path = tmp_path / "summaries.json"
    path.write_text(json.dumps(REPORT | changes))
    return str(summaries_section(path))


def rows(html):
    found = re.findall(r"<tr>(.*?)</tr>", html)
    return [re.findall(r"<t[hd][^>]*>([^<]*)", row) for row in found]


def test_writer_languages_and_rejects(tmp_path):
    html = told(tmp_path)
    assert "<h2>Summaries</h2>" in html
    assert "sentences from a table of music terms" in html
    assert "9 of 12 pieces" in html
    assert "(2 of them)" in html
    assert "tokens</p>" not in html
    assert rows(html) == [
        ["language", "pieces"],
        ["German", "5"],
        ["Dutch", "4"],
        ["rejected", "why", "pieces"],
        ["too_little", "the metadata say too little about the music", "2"],
        ["over_budget", "beyond the limits on pieces, tokens or money", "1"],
    ]


def test_a_model_is_named_and_its_cost(tmp_path):
    html = told(tmp_path, writer="openai", model="<b>", tokens=1234, money=0.5, rejected={})
    assert "the language model <code>&lt;b&gt;</code>" in html
    assert "Spent so far: 1234 tokens, 0.50 in money." in html
    assert "No piece was rejected." in html


def test_many_languages_are_folded_up(tmp_path):
    assert "<details>" not in told(tmp_path)
    html = told(tmp_path, languages={f"L{number}": number for number in range(100)})
    assert "<details>" in html
    assert len(rows(html)) == 104


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"languages": {}, "rejected": []}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x.json: not the report of the stage summaries"):
        summaries_section(tmp_path / "x.json")
