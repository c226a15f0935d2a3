"""The site's table of contents: the links of pages that are lists, under their headings."""

import posixpath
import re
from pathlib import PurePath

_LINK = re.compile(r"\]\(([^)#:]+)\.md\)")


def toctrees(page: str, folder: PurePath) -> str:
    """A hidden toctree for each heading of the second level that lists pages, or one for all.

    A page counts where it is linked to first.
    """
    parts = re.split(r"^## ", page, flags=re.MULTILINE)
    named = [part.partition("\n") for part in parts[1:]] or [("", "", page)]
    seen: set[str] = set()
    trees = []
    for caption, _, body in named:
        links = [posixpath.normpath(f"/{folder}/{link}") for link in _LINK.findall(body)]
        new = [link for link in dict.fromkeys(links) if link not in seen]
        seen.update(new)
        if new:
            head = ["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else [])]
            trees.append("\n".join([*head, "", *new, "```"]))
    return "\n\n" + "\n\n".join(trees) + "\n"
