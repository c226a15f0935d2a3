"""The programs in docs/ can be imported."""

import sys

from repository import ROOT

sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "docs/images")]
