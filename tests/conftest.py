"""What every test may use."""

import os
from pathlib import Path

import pytest
from repository import ROOT


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of recorded outputs of the original programs; skips where there is none."""
    folder = Path(os.environ.get("CLAMP3_GOLDENS", ROOT.parent / "shared" / "goldens"))
    if not folder.is_dir():
        pytest.skip(f"no goldens at {folder} (set CLAMP3_GOLDENS)")
    return folder
