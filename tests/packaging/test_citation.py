"""One version, told the same everywhere, and a citation that tools can read."""

import re
from importlib import metadata

import yaml
from repository import ROOT, python

from clamp3 import __version__

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
# What the format's schema (1.2.0) knows of the kinds of entries used here.
SOFTWARE = {"abstract", "authors", "cff-version", "keywords", "license", "message", "references"}
SOFTWARE |= {"title", "type", "version"}
REFERENCE = {"authors", "collection-title", "doi", "end", "repository-code", "start", "title"}
REFERENCE |= {"type", "url", "year"}
PERSON, ENTITY = {"family-names", "given-names"}, {"name"}


def test_the_version_is_the_same_everywhere():
    assert metadata.version("clamp3") == __version__
    assert CITATION["version"] == __version__
    assert python("-m", "clamp3", "--version") == f"clamp3 {__version__}\n"
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changes, re.MULTILINE)
    assert newest[1] in ("Unreleased", __version__)
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'path = "clamp3/__init__.py"' in settings


def test_the_citation_has_what_the_format_asks_for():
    assert CITATION["cff-version"] == "1.2.0"
    assert set(CITATION) <= SOFTWARE
    assert {"message", "title", "authors"} <= set(CITATION)
    assert CITATION["authors"] == [{"name": "The clamp3 developers"}]
    for reference in CITATION["references"]:
        assert set(reference) <= REFERENCE
        assert {"type", "title", "authors"} <= set(reference)
        assert reference["type"] in ("conference-paper", "software")
        for author in reference["authors"]:
            assert set(author) in (PERSON, ENTITY, {"alias"})
        assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", reference["repository-code"])
        assert re.fullmatch(r"10\.\d+/\S+", reference.get("doi", "10.1/x"))


def test_the_systems_that_are_reworked_are_cited():
    text = (ROOT / "THIRD-PARTY.md").read_text(encoding="utf-8")
    for reference in CITATION["references"]:
        assert reference["repository-code"].removeprefix("https://github.com/") in text
        assert reference.get("url", "").rpartition("/")[2] in text
