"""The report's table of CLAP-MusicGen."""

import json
import re

import pytest

from clamp3.errors import DataError
from clamp3.retrieval.report.clap import clap_section


def direction(mrr):
    return {
        "figures": {"mean": {"mrr": mrr, "hit@1": 0.1, "hit@5": 0.4}},
        "intervals": {"mrr": [mrr - 0.05, mrr + 0.05]},
        "chance": {"mrr": 0.07, "hit@1": 0.01, "hit@5": 0.06},
        "graded": {"ndcg@5": 0.6, "chance": {"ndcg@5": 0.5}},
    }


@pytest.fixture
def path(tmp_path):
    alike = {"graded": {"ndcg@5": 0.7, "chance": {"ndcg@5": 0.5}}}
    report = {"pieces": 9, "captions": 6, "audio_to_audio": alike}
    report |= {"text_to_audio": direction(0.25), "audio_to_text": direction(0.2)}
    (tmp_path / "clap.json").write_text(json.dumps(report))
    return tmp_path / "clap.json"


def rows(html):
    found = re.findall(r"<tr>(.*?)</tr>", str(html))
    return [re.findall(r"<t[hd][^>]*>(?:<span[^>]*>)?([^<]*)", row) for row in found]


def test_every_figure_stands_beside_its_chance(path):
    head, text, audio, alike = rows(clap_section(path))
    assert head[:5] == ["direction", "MRR [95 %]", "chance", "Hit@1", "chance"]
    assert text[:3] == ["text → recording", "0.250 [0.200, 0.300]", "0.070"]
    assert text[-2:] == ["0.600", "0.500"]
    assert audio[1] == "0.200 [0.150, 0.250]"
    assert alike == ["recording → recording", *[""] * 6, "0.700", "0.500"]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"collections": {}}')
    with pytest.raises(DataError, match=r"x.json: not an evaluation of CLAP-MusicGen"):
        clap_section(tmp_path / "x.json")
