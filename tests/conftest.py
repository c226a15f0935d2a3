"""What every test may use."""

import os
from pathlib import Path

import pytest
from repository import ROOT


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Folders that tests search are not kept in the user's cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of recorded outputs of the original programs; skips where there is none."""
    folder = Path(os.environ.get("CLAMP3_GOLDENS", ROOT.parent / "shared" / "goldens"))
    if not folder.is_dir():
        pytest.skip(f"no goldens at {folder} (set CLAMP3_GOLDENS)")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The workflow's long files first, so that two processes end together."""
    items.sort(key=lambda item: "workflow" not in item.path.parts[-2:])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Reports that can be sent between processes: some tests log file names that are no UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report
