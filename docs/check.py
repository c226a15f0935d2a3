"""Run what README.md and docs/*.md tell people to type, in a copy of a tree with a finished run.

    python docs/check.py [--tree FOLDER] [PAGE …]

Blocks marked `sh` or `python` run in the order of the page, all pages in one folder, in which
docs/readers_folder.py lays what they name; those marked `yaml` whose keys are those of params.yaml
must be valid over it. A block below a line `<!-- not run: REASON -->` is left out and counted.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from readers_folder import prepare
from warm import CLIENT

from clamp3.config import Params, check
from clamp3.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
SHELL, PYTHON, YAML = "sh", "python", "yaml"
OTHER = ("text", "json", "{toctree}", "{eval-rst}")  # that are only shown
SECONDS = 180  # for one block
LINES_SHOWN = 15  # of what a block that failed printed
_MARK = re.compile(r"<!-- not run: (.+) -->")
# Blocks of Python go on with the names of those before them, and faults tell the page's lines.
_DRIVER = """
import json, sys
names = {"__name__": "__main__"}
sys.argv = ["example.py", "OUT"]
for page, line, code in json.load(sys.stdin):
    exec(compile("\\n" * line + code, page, "exec"), names)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its fence, `reason` why it is not run, if it is not."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None


def pages(root: Path) -> list[Path]:
    """The pages whose blocks are run."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def blocks(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page.

    Raises ValueError for one without a language, or with one that nobody has thought of.
    """
    found = []
    lines = enumerate(text.splitlines(), start=1)
    above = ""
    for number, line in lines:
        fence = re.fullmatch(r"( *)(`{3,})(.*)", line)
        if fence:
            body = list(_until(lines, fence[2]))
            mark = _MARK.fullmatch(above)
            code = textwrap.dedent("\n".join(body)) + "\n"
            found.append(Block(page, number, fence[3].strip(), code, mark and mark[1]))
        above = line.strip() or above
    for block in found:
        if block.language not in (SHELL, PYTHON, YAML, *OTHER):
            raise ValueError(
                f"{block.page}:{block.line}: a block of {block.language or 'no language'}; "
                f"expected {SHELL}, {PYTHON}, {YAML} or, for what is only shown, text"
            )
    return found


def _until(lines: Iterator[tuple[int, str]], fence: str) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == fence:
            return
        yield line


def check_yaml(block: Block, params: dict) -> bool:
    """Whether the block is parameters, then valid ones; False for those of other files.

    Raises ConfigError for parameters that are not valid.
    """
    values = yaml.safe_load(block.code)
    if not isinstance(values, dict) or not {*values} & {*Params.model_fields}:
        return False
    check(Params, overlaid(params, values), f"{block.page}:{block.line}")
    return True


def overlaid(below: dict, values: dict) -> dict:
    """The values over those below, section by section; names of one's choice are added."""
    merged = dict(below)
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and value
        merged[key] = overlaid(merged[key], value) if both else value
    return merged


def run_page(found: list[Block], place: Path) -> Iterator[tuple[Block, str]]:
    """Run a page's blocks; those that failed, with what they printed. Python runs all at once,
    where its first block stands."""
    scripts = [block for block in found if block.language == PYTHON]
    for block in found:
        if block.language == SHELL:
            failure = _run(["bash", "-euo", "pipefail", "-c", block.code], "", place)
        elif scripts and block is scripts[0]:
            told = json.dumps([(each.page, each.line, each.code) for each in scripts])
            failure = _run([sys.executable, "-c", _DRIVER], told, place)
        else:
            continue
        if failure is not None:
            yield block, failure


def environment(place: Path) -> dict[str, str]:
    """What commands run in: the tree's own package, this environment's programs, no network."""
    return {
        **os.environ,
        "PATH": f"{place.parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(place),
        "XDG_CACHE_HOME": str(place / "cache"),
        "HF_HUB_OFFLINE": "1",
        "DVC_BRIDGE": "off",
        "MPLBACKEND": "agg",
    }


@contextmanager
def warm_commands(place: Path) -> Iterator[None]:
    """While inside, `clamp3` is answered by one process (docs/warm.py)."""
    client, path = place.parent / "bin/clamp3", str(place.parent / "socket")
    client.parent.mkdir()
    client.write_text(CLIENT.format(python=sys.executable, socket=path), encoding="utf-8")
    client.chmod(0o755)
    command = [sys.executable, str(ROOT / "docs/warm.py"), path]
    settings = {"env": environment(place), "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **settings) as server:
        try:
            server.stdout.readline()
            yield
        finally:
            server.kill()


def _run(command: list[str], given: str, place: Path) -> str | None:
    """What a command printed if it failed."""
    options = {"cwd": place, "env": environment(place), "capture_output": True, "text": True}
    try:
        done = subprocess.run(command, input=given, timeout=SECONDS, check=False, **options)
    except subprocess.TimeoutExpired:
        return f"still running after {SECONDS} s"
    return (done.stdout + done.stderr) if done.returncode else None


def main() -> int:
    """Check the pages; 1 if a block failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, help="By default README.md and docs/*.md.")
    parser.add_argument("--tree", type=Path, default=ROOT, help="With data/ and results/.")
    given = parser.parse_args()
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    every = {name_of(path): read_blocks(path) for path in given.pages or pages(ROOT)}
    counts = dict.fromkeys(("ran", "marked as not run", "valid parameters", "of other files"), 0)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="clamp3-docs-") as folder:
        place = prepare(given.tree.resolve(), Path(folder) / "clamp3")
        with warm_commands(place):
            for name, found in every.items():
                failures += _check_page(name, found, place, params, counts)
    print("; ".join(f"{count} {what}" for what, count in counts.items()), f"; {failures} failed")
    return int(failures > 0)


def name_of(path: Path) -> str:
    """A page by its path in the repository, or its name where it is elsewhere."""
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def read_blocks(path: Path) -> list[Block]:
    """The fenced blocks of a file; see `blocks`."""
    return blocks(name_of(path), path.read_text(encoding="utf-8"))


def _check_page(
    name: str, every: list[Block], place: Path, params: dict, counts: dict[str, int]
) -> int:
    """Run a page and tell of it; the number of blocks that failed."""
    begun = time.monotonic()
    chosen = [each for each in every if each.reason is None]
    marked = [each for each in every if each.reason is not None]
    failed = [*_faulty_yaml(chosen, params, counts), *run_page(chosen, place)]
    runs = [each for each in chosen if each.language in (SHELL, PYTHON)]
    counts["ran"] += len(runs)
    counts["marked as not run"] += len(marked)
    _tell(name, runs, marked, failed, time.monotonic() - begun)
    return len(failed)


def _faulty_yaml(
    chosen: list[Block], params: dict, counts: dict[str, int]
) -> Iterator[tuple[Block, str]]:
    for block in chosen:
        if block.language == YAML:
            try:
                ours = check_yaml(block, params)
                counts["valid parameters" if ours else "of other files"] += 1
            except (ConfigError, yaml.YAMLError) as error:
                yield block, str(error)


def _tell(
    name: str,
    runs: list[Block],
    marked: list[Block],
    failed: list[tuple[Block, str]],
    seconds: float,
) -> None:
    if runs or marked or failed:
        print(f"{name}: {len(runs)} ran in {seconds:.0f} s, {len(marked)} marked as not run")
    for block in marked:
        print(f"    line {block.line}: {block.reason}")
    for block, printed in failed:
        print(f"    line {block.line} FAILED:")
        print(textwrap.indent("\n".join(printed.splitlines()[-LINES_SHOWN:]), "        "))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
