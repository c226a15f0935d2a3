"""Whatever is of others is named, with its licence: files in the tree and packages used."""

import hashlib
import re
import tomllib
from importlib import metadata

import pytest
from repository import ROOT

TEXT = (ROOT / "THIRD-PARTY.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^\| (\S+/vendor/\S+) \| `([0-9a-f]{64})` \|$", TEXT, re.MULTILINE))
PACKAGES = {
    name: (licence, extra)
    for name, licence, extra in re.findall(
        r"^\| ([\w.-]+)[^|]* \| ([^|]+) \| (?:extra `(\w+)` )?\|$", TEXT, re.MULTILINE
    )
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
    if "==" in line and not line.startswith("#")
)
# What licences are called in metadata older than SPDX.
FAMILIES = {
    "apache": "apache",
    "mit": r"\bmit\b",
    "bsd": r"\b0?bsd\b",
    "isc": r"\bisc\b",
    "mozilla": r"\bmpl\b|mozilla",
    "gnu": r"\bl?gpl|gnu",
    "python": r"\bpsf\b|python software",
}


def direct() -> dict[str, str]:
    """The extra (empty: none) of each package that pyproject.toml names."""
    named = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    found = {}
    for extra, requirements in named.items():
        for requirement in requirements:
            name = re.match(r"[\w.-]+", requirement)[0].lower()
            if name != "clamp3":
                found.setdefault(name, extra)
    return found


def families(text: str) -> set[str]:
    return {name for name, form in FAMILIES.items() if re.search(form, text, re.IGNORECASE)}


def test_files_of_others_are_all_named_and_whole():
    there = {
        path.relative_to(ROOT).as_posix()
        for top in ("clamp3", "tests", "workflow")
        for folder in (ROOT / top).rglob("vendor")
        for path in folder.rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    assert set(FILES) == there
    for name, checksum in FILES.items():
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == checksum, name


def test_every_folder_of_others_files_holds_a_licence_and_names_its_files():
    for folder in {(ROOT / name).parent for name in FILES}:
        assert any("LICENSE" in path.name for path in folder.iterdir()), folder
        readme = (folder / "README.md").read_text(encoding="utf-8")
        own = folder.relative_to(ROOT).as_posix()
        row = re.search(rf"^\| \[{own}\]\S+ \| ([\w-]+)[^|]*\| (\S+) \| (\S+) \|", TEXT, re.M)
        product, version, licence = row.groups()
        assert f"{product} {version}" in readme
        assert licence in readme
        for path in folder.iterdir():
            assert path.name == "README.md" or f"`{path.name}`" in readme


def test_every_package_used_is_named_and_pinned():
    assert {name: extra for name, (_, extra) in PACKAGES.items()} == direct()
    assert not set(direct()) - set(PINNED)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_licences_are_those_that_the_packages_tell(name: str):
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        pytest.skip("not installed here")
    licence, _ = PACKAGES[name]
    if spdx := told.get("License-Expression"):
        assert licence == spdx
        return
    words = [(told.get("License") or "").partition("\n")[0], *told.get_all("Classifier", [])]
    known = families(" ".join(line for line in words if "::" not in line or "License" in line))
    assert known & families(licence), (licence, words)
