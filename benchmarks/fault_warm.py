"""All modules that the pipeline's scripts use, loaded once; the forks of benchmarks/faults.py
begin with them. No program."""

import contextlib
import importlib
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LATER = (  # what the scripts' functions import when they are called
    *("clamp3.models.mert", "sklearn.linear_model", "sklearn.neighbors", "sklearn.preprocessing"),
    *("music21", "soxr", "matplotlib.pyplot", "accelerate", "accelerate.utils"),
)

for script in sorted((ROOT / "workflow" / "scripts").glob("*.py")):
    if script.stem not in {"apply_preset", "print_summary"}:
        runpy.run_path(str(script), run_name="loaded")
for name in LATER:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
sys.path.insert(0, str(ROOT / "benchmarks"))
