"""The package as it is given to others: built, installed apart from the checkout, and used."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest
from repository import ROOT, python, run
from retrieval.workplace import performance, score, tiny_model

from clamp3 import __version__
from clamp3.formats.mtf import mtf_to_midi
from clamp3.models.checkpoints import save_checkpoint

pytestmark = pytest.mark.long
WHEEL = f"clamp3-{__version__}-py3-none-any.whl"
SOURCES = f"clamp3-{__version__}.tar.gz"
MOST_BYTES = 2**20  # of the wheel; two thirds are for drawing scores
TEST_NEEDS = ("tests/conftest.py", "tests/golden", "params.yaml", "dvc.yaml", "Snakefile")
TEST_NEEDS += ("constraints.txt", "workflow/rules", "profiles/default", "presets", "docs")
TEST_NEEDS += ("benchmarks", "CITATION.cff", "THIRD-PARTY.md", "data/README.md", "Makefile")


def environment(home: Path) -> dict[str, str]:
    """What a shell has that knows nothing of this checkout."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    return kept | {"PATH": "/usr/bin:/bin", "HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a source distribution, and of the wheel that is made from it."""
    place = tmp_path_factory.mktemp("dist")
    build(ROOT, place, "sdist")
    with tarfile.open(place / SOURCES) as archive:
        archive.extractall(place / "sources", filter="data")
    build(sources(place), place, "wheel")
    return place


def build(root: Path, place: Path, target: str) -> None:
    python("-m", "hatchling", "build", "-t", target, "-d", place, cwd=root)


def sources(place: Path) -> Path:
    return place / "sources" / SOURCES.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def program(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clamp3` of an environment with the wheel and the packages that are installed here."""
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(place, symlinks=True, with_pip=False)
    [packages] = place.glob("lib/python*/site-packages")
    # What a .pth file there says, such as that of the checkout, is not followed.
    (packages / "installed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", place / "bin/python", *install, built / WHEEL],
        check=True,
    )
    return place / "bin/clamp3"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder but for a model and some music."""
    place = tmp_path_factory.mktemp("anywhere")
    loaded = tiny_model()
    save_checkpoint(loaded.model, place / "model", tokenizer=loaded.tokenizer)
    (place / "music").mkdir()
    for number in range(4):
        (place / f"music/{number}.abc").write_text(score(number), encoding="utf-8")
        (place / f"music/{number}.mid").write_bytes(mtf_to_midi(performance(number)))
    return place


def test_the_wheel_holds_the_package_and_nothing_else(built: Path):
    with zipfile.ZipFile(built / WHEEL) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        told = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
    own = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "clamp3").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    facts = f"clamp3-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(facts)} == own
    licences = {name.removeprefix(facts) for name in names if "/licenses/" in name}
    assert licences == {
        "licenses/LICENSE",
        "licenses/THIRD-PARTY.md",
        "licenses/clamp3/service/page/vendor/abcjs-LICENSE.md",
    }
    assert (built / WHEEL).stat().st_size < MOST_BYTES
    assert {"serve", "ann", "workflow"} <= set(re.findall(r"^Provides-Extra: (\w+)", told, re.M))


def test_the_source_distribution_holds_what_tests_need_and_no_results(built: Path):
    folder = sources(built)
    assert not [name for name in TEST_NEEDS if not (folder / name).exists()]
    assert [path.name for path in (folder / "data").iterdir()] == ["README.md"]
    for unwanted in (".git", ".snakemake", ".venv", "logs", "results/models", "dvc.lock"):
        assert not (folder / unwanted).exists(), unwanted
    tests = {p.relative_to(ROOT) for p in (ROOT / "tests").rglob("*.py")}
    assert {p.relative_to(folder) for p in (folder / "tests").rglob("*.py")} == tests


def test_tests_run_from_the_source_distribution(built: Path, program: Path, tmp_path: Path):
    some = ["tests/test_layers.py", "tests/test_config.py", "tests/formats/test_patches.py"]
    words = ["-m", "pytest", "-p", "no:cacheprovider", "-n0", *some]
    run(program.with_name("python"), *words, cwd=sources(built), env=environment(tmp_path))


def test_the_commands_work_anywhere(program: Path, place: Path, tmp_path: Path):
    def clamp3(*words: str, program: Path = program) -> str:
        return run(program, *words, cwd=place, env=environment(tmp_path)).stdout

    assert clamp3("--version") == f"clamp3 {__version__}\n"
    assert "convert" in clamp3("--help")
    clamp3("convert", "music", "--to", "mtf", "--out", "performances")
    assert len(list((place / "performances").glob("*.mtf"))) == 4
    clamp3("embed", "music", "vectors.parquet", "--model", "model")
    clamp3("index", "build", "INDEX", "vectors.parquet", "--files", "music")
    assert "2.abc" in clamp3("search", "music/2.abc", "INDEX", "--model", "model")
    code = "import clamp3; print(clamp3.__file__)"
    where = clamp3("-c", code, program=program.with_name("python"))
    assert Path(where.strip()).is_relative_to(program.parent.parent)


def test_the_service_works_anywhere(program: Path, place: Path, tmp_path: Path):
    index = place / "INDEX"
    if not index.is_dir():
        pytest.skip("the commands have made no index")
    words = ["serve", "--model", "model", "--index", "INDEX", "--port", "0", "--readers", "1"]
    with subprocess.Popen(
        [program, *words], cwd=place, env=environment(tmp_path), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            lines = iter(process.stderr.readline, "")
            address = next(line.split()[-1] for line in lines if "serving http" in line)
            assert "<title>" in got(address)
            for name in ("main.js", "style.css", "vendor/abcjs-basic-min.js"):
                assert len(got(f"{address}static/{name}")) > 1000
            info = json.loads(got(f"{address}api/info"))
            assert (info["version"], info["index"]["pieces"]) == (__version__, 8)
            found = json.loads(got(f"{address}api/search?text=a+slow+air&top_k=3"))
            assert len(found["results"]) == 3
        finally:
            process.terminate()
    assert process.returncode in (0, -15)


def got(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode("utf-8")
