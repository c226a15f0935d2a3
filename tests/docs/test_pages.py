"""What pages name exists: files, headings, options, modules; and what they show can be checked."""

import ast
import re
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import check
import pytest
import yaml
from from_code import MARK, commands
from repository import ROOT

from clamp3.errors import ConfigError

PAGES = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "data/README.md",
    ROOT / "results/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/reference").glob("*.md")),
]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
# Options of other programs that pages speak of.
FOREIGN = {
    "--dry-run", "--forcerun", "--list", "--profile", "--sdm", "--group", "--queue", "--temp",
    "--only-changed", "--jobs", "--name", "--force", "--retries", "--flag", "--nolock", "--time",
    "--wrap", "--me", "--format", "--lint", "--m3_compatible", "--default", "--set-resources",
    "--local-dir",
    "--version", "--normalize",
}  # fmt: skip
LINK = re.compile(r"!?\[(?:[^\]\\]|\\.)*\]\(([^)\s]+)\)|<(https?://[^>\s]+)>")


def prose(text):
    """A page without its blocks, and without comments."""
    text = re.sub(r"^ *(`{3,})[^\n]*\n.*?^ *\1 *$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def without_code(text):
    return re.sub(r"`[^`\n]*(?:\n[^`\n]*)?`", "`code`", prose(text))


def code_words(text):
    """What stands between backticks on a page."""
    return re.findall(r"`([^`]+)`", prose(text))


def anchors(path):
    """The names of a page's headings, as code hosts and the site make them."""
    headings = re.findall(r"^#+ +(.+)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_lead_somewhere(path):
    wrong = []
    for found in LINK.finditer(without_code(path.read_text(encoding="utf-8"))):
        target = found[1] or found[2]
        if "://" in target:
            place = urlsplit(target)
            if place.scheme not in ("http", "https") or not re.search(r"[.:]\w", place.netloc):
                wrong.append(target)
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(target)
    assert not wrong


def test_a_wrong_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A *head*: 1\n[a](none.md) [b](#none) [c](#a-head-1) [d](http:/x)\n")
    with pytest.raises(AssertionError, match=r"\['none.md', '#none', 'http:/x'\]"):
        test_links_lead_somewhere(page)


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_files_that_a_page_names_exist(path):
    start = re.compile(r"(?:python )?((?:clamp3|workflow|tests|benchmarks|presets|docs)/[\w./-]+)")
    named = {
        match[1] for word in code_words(path.read_text("utf-8")) if (match := start.match(word))
    }
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_python_names_of_a_page_can_be_imported(path):
    named = re.findall(r"`(clamp3(?:\.\w+)+)", prose(path.read_text(encoding="utf-8")))
    assert sorted(name for name in {*named} if not _is_there(name)) == []


def _is_there(name):
    """Whether a dotted name is a module or something in one; or a parameter, or a file's name."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    found = params
    for key in name.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if found is not None or name.endswith((".json", ".parquet", ".tsv", ".sif")):
        return True
    module, _, attribute = name.rpartition(".")
    try:
        import_module(name)
    except ModuleNotFoundError:
        return bool(module) and _is_there(module) and hasattr(import_module(module), attribute)
    return True


def test_options_that_pages_name_are_there():
    known = {*re.findall(r"--[\w-]+", commands.markdown(ROOT))} | FOREIGN
    wrong = {
        (path.name, option)
        for path in PAGES
        if path.name not in ("CHANGELOG.md", "scale.md", "cluster.md", "faults.md")
        for word in code_words(path.read_text(encoding="utf-8"))
        if not word.startswith("python benchmarks/") and path.name != "clap-musicgen.md"
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", word)
        if option not in known
    }
    assert not wrong


@pytest.mark.parametrize("path", check.pages(ROOT), ids=check.name_of)
def test_blocks_are_of_a_language_that_is_checked(path):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for block in check.read_blocks(path):
        if block.reason is None and block.language == check.YAML:
            check.check_yaml(block, params)
        if block.language == check.PYTHON:
            ast.parse(block.code)


def test_what_is_wrong_with_a_block_is_told():
    with pytest.raises(ValueError, match=r"page\.md:2: a block of no language; expected sh"):
        check.blocks("page.md", "text\n```\nls\n```\n")
    (block,) = check.blocks("page.md", "<!-- not run: a reason -->\n```sh\nfalse\n```\n")
    assert (block.reason, block.code, block.line) == ("a reason", "false\n", 2)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (block,) = check.blocks("page.md", "```yaml\nlora: {rnak: 4}\n```\n")
    with pytest.raises(ConfigError, match=r"page\.md:1: lora\.rnak"):
        check.check_yaml(block, params)
    (other,) = check.blocks("page.md", "```yaml\nslurm_account: me\n```\n")
    assert not check.check_yaml(other, params)


def test_a_block_that_fails_is_told(tmp_path):
    text = "```sh\necho well\n```\n```python\nx = 1\n```\n```python\n\nraise ValueError(x)\n```\n"
    found = check.blocks("page.md", text + "```sh\necho bad; false\n```\n")
    ((first, printed), (second, told)) = check.run_page(found, tmp_path)
    assert (first.line, second.line) == (4, 11)
    assert 'File "page.md", line 9' in printed
    assert "ValueError: 1" in printed
    assert told == "bad\n"


def test_each_part_of_the_reference_has_a_page():
    marks = [mark for path in PAGES for mark in MARK.findall(path.read_text(encoding="utf-8"))]
    assert sorted(marks) == sorted({*marks})
    assert {*marks} <= {path.stem for path in Path(ROOT / "docs/from_code").glob("*.py")}
    own = {path.stem for path in (ROOT / "docs/reference").glob("*.md")}
    assert {*marks} == own | {"data_sets"}  # in the page on data sets
