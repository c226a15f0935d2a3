"""How the documentation site is made: `make docs`.

The sources are the pages as they lie in the repository, so that links between them hold on the site
as they do on a code host. What docs/from_code/ takes out of the code is put in on the way.
"""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]
os.environ["TERM"] = "dumb"  # of command lines' help: no colours, whatever the terminal

import from_code  # noqa: E402

import clamp3  # noqa: E402

project = "clamp3"
version = release = clamp3.__version__
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "data/README.md",
    "results/README.md",
    "clamp3/service/page/vendor/README.md",
    "tests/browser/vendor/README.md",
    "docs/*.md",
    "docs/reference/*.md",
]
exclude_patterns = [".*", "data/*/*", "results/*/*", "docs/_build"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_heading_anchors = 4
default_role = "literal"  # of docstrings, which mark code with single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Types that signatures name and no page describes: those of other packages, whose sites are not
# asked because nothing here needs a network, and some that only the package itself makes.
INSIDE = (
    "config",
    "retrieval.(embedding.(clap_engine|outputs|reading|sources)|index.(filters|segment|store))",
)
nitpick_ignore_regex = [("py:.*", r"(?!clamp3\b).*")]
nitpick_ignore_regex += [("py:class", rf"clamp3\.{module}\.\w+") for module in INSIDE]

html_theme = "furo"
html_title = "clamp3"
html_copy_source = False
html_show_sphinx = False


def setup(app):
    """What this project adds to Sphinx."""
    app.connect("source-read", from_code.fill)
    app.connect("autodoc-process-docstring", from_code.plain)
    app.connect("build-finished", from_code.write_front_door)
