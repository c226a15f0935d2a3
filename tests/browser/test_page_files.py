"""The page's own files: whole, from here alone, and of others only what is said."""

import hashlib
import re
from pathlib import Path

import pytest
from repository import ROOT

PAGE = ROOT / "clamp3" / "service" / "page"
OWN = sorted(path for path in PAGE.iterdir() if path.is_file())
VENDORS = [PAGE / "vendor", Path(__file__).parent / "vendor"]
XML_NAMES = "http://www.w3.org/"


@pytest.mark.parametrize("folder", VENDORS, ids=["page", "tests"])
def test_files_of_others_are_those_that_are_named(folder: Path):
    text = (folder / "README.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", text, re.MULTILINE))
    there = {path.name for path in folder.iterdir()} - {"README.md"}
    assert set(named) == there
    for name, checksum in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum, name


def test_page_names_no_other_machine():
    for path in OWN:
        addresses = re.findall(r"https?://[^\s\"')]+", path.read_text(encoding="utf-8"))
        assert [one for one in addresses if not one.startswith(XML_NAMES)] == [], path.name


def test_what_the_page_loads_is_there():
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    for name in re.findall(r'(?:src|href)="static/([^"]+)"', html):
        assert (PAGE / name).is_file(), name
    for path in PAGE.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8")):
            assert (PAGE / name).is_file(), f"{path.name}: {name}"


def test_nothing_is_ever_parsed_as_markup():
    """Titles come from anywhere: they only ever become text."""
    for path in PAGE.glob("*.js"):
        code = path.read_text(encoding="utf-8")
        for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert danger not in code, f"{path.name}: {danger}"


def test_scripts_and_styles_are_files_of_their_own():
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert "<style" not in html
    assert " style=" not in html
    assert re.findall(r"<script(?![^>]* src=)", html) == []
    assert re.findall(r"\son[a-z]+=", html) == []


def test_modules_are_readable():
    for path in PAGE.glob("*.js"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 250, path.name
        assert max(map(len, lines)) <= 100, path.name
