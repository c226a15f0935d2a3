"""Draw docs/images/pipeline.svg: the stages of dvc.yaml, each below what it needs.

    python docs/images/draw_pipeline.py

A stage stands one layer below the lowest of those it reads from; of its arrows those are left out
that a way through other stages tells already. The same graph gives the same bytes.
"""

import re
import sys
import textwrap
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from from_code.stages import data, outputs, stages  # noqa: E402

PICTURE = ROOT / "docs/images/pipeline.svg"
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 176, 58, 16, 28, 8  # pixels
LINE_HEIGHT, LETTERS_A_LINE, LINES = 12, 29, 3
SWEEPS = 24
# Pale boxes with dark letters, and grey arrows, can be read on a light page and on a dark one.
FILLS = {"data": "#dcebfa", "models": "#fbe8cf", "results": "#dff2e1"}
STYLE = """text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1b1f24 }
.name { font-size: 14px; font-weight: 600 } .what { font-size: 10.5px }
rect { stroke: #6b7480; stroke-width: 1 } path { fill: none; stroke: #848d97; stroke-width: 1.3 }
marker path { fill: #848d97; stroke: none }"""

Graph = dict[str, set[str]]  # what each stage reads from


class Node(NamedTuple):
    """A stage; or, with `to`, the part of an arrow between two stages that passes a row."""

    stage: str
    to: str = ""
    row: int = 0


def needs(root: Path) -> Graph:
    """The stages that each stage of dvc.yaml reads from, in its order."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    every = stages(root)
    written = {Path(path): name for name, stage in every.items() for path in outputs(stage)}
    return {
        name: {
            maker
            for path in data(stage)
            for made, maker in written.items()
            if maker != name and _overlap(Path(_filled(path, params)), made)
        }
        for name, stage in every.items()
    }


def _filled(path: str, params: dict) -> str:
    """The path with parameters such as ${corpus.folder} put in."""

    def value(match: re.Match) -> str:
        found = params
        for key in match[1].split("."):
            found = found[key]
        return str(found)

    return re.sub(r"\$\{([\w.]+)\}", value, path)


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents


def reduced(graph: Graph) -> Graph:
    """The graph without what follows from the rest of it."""
    above: Graph = {}
    for name in ordered(graph):
        above[name] = graph[name].union(*(above[one] for one in graph[name]))
    return {
        name: {one for one in own if not any(one in above[other] for other in own)}
        for name, own in graph.items()
    }


def ordered(graph: Graph) -> list[str]:
    """Every stage after all that it reads from; else in the graph's order."""
    done: list[str] = []
    while len(done) < len(graph):
        done += [name for name in graph if name not in done and graph[name] <= {*done}][:1]
    return done


def layers(graph: Graph) -> list[list[Node]]:
    """The rows of the picture, from the top."""
    level: dict[str, int] = {}
    for name in ordered(graph):
        level[name] = max((level[one] + 1 for one in graph[name]), default=0)
    rows: list[list[Node]] = [[] for _ in range(max(level.values()) + 1)]
    for name in ordered(graph):
        rows[level[name]].append(Node(name))
        for one in sorted(graph[name]):
            for row in range(level[one] + 1, level[name]):
                rows[row].append(Node(one, name, row))
    return rows


def links(graph: Graph) -> list[list[Node]]:
    """Each arrow as the nodes that it passes, from top to bottom."""
    nodes = [node for row in layers(graph) for node in row]
    return [
        [Node(one), *(node for node in nodes if (node.stage, node.to) == (one, name)), Node(name)]
        for name, own in graph.items()
        for one in sorted(own)
    ]


def places(graph: Graph) -> dict[Node, tuple[float, int]]:
    """Where each node stands: x of its middle in pixels, and its row.

    Rows are ordered by the mean place of their neighbours above and below in turn, then moved
    towards it as far as their order and the widths allow.
    """
    rows = layers(graph)
    beside = _neighbours(graph)
    x = {node: float(n) for row in rows for n, node in enumerate(row)}
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            row.sort(key=lambda node: (_mean(beside[node], x, x[node]), node))
            x |= {node: float(n) for n, node in enumerate(row)}
    width = max(sum(_width(node) for node in row) for row in rows)
    for row in rows:
        x |= _spread(row, dict.fromkeys(row, width / 2), width)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            x |= _spread(row, {node: _mean(beside[node], x, x[node]) for node in row}, width)
    return {node: (round(x[node], 1), n) for n, row in enumerate(rows) for node in row}


def _neighbours(graph: Graph) -> dict[Node, list[Node]]:
    beside: dict[Node, list[Node]] = {Node(name): [] for name in graph}
    for chain in links(graph):
        for upper, lower in pairwise(chain):
            beside.setdefault(upper, []).append(lower)
            beside.setdefault(lower, []).append(upper)
    return beside


def _mean(nodes: list[Node], x: dict[Node, float], otherwise: float) -> float:
    return sum(x[node] for node in nodes) / len(nodes) if nodes else otherwise


def _width(node: Node) -> float:
    return (4 if node.to else BOX_WIDTH) + GAP_X


def _spread(row: list[Node], wanted: dict[Node, float], width: float) -> dict[Node, float]:
    """Places of a row near the wanted ones, in the row's order, without overlap, within the width:
    the middle between pushing everything to the right as needed and pushing it to the left."""
    right, left = {}, {}
    edge = 0.0
    for node in row:
        right[node] = max(wanted[node], edge + _width(node) / 2)
        edge = right[node] + _width(node) / 2
    edge = width
    for node in reversed(row):
        left[node] = min(wanted[node], edge - _width(node) / 2)
        edge = left[node] - _width(node) / 2
    room = {node: _width(node) / 2 for node in row}
    placed, edge = {}, 0.0
    for node in row:
        placed[node] = max((right[node] + left[node]) / 2, edge + room[node])
        edge = placed[node] + room[node]
    excess = max(0.0, edge - width)
    return {node: at - excess for node, at in placed.items()}


def kind(stage: dict) -> str:
    """Whether a stage makes data, a model, or results."""
    made = outputs(stage)
    if any(path.startswith("results/models") for path in made):
        return "models"
    return "data" if made[0].startswith("data/") else "results"


def draw(root: Path) -> str:
    """The picture as SVG."""
    every, graph = stages(root), reduced(needs(root))
    at = places(graph)
    left = min(x for node, (x, _) in at.items() if not node.to) - BOX_WIDTH / 2 - MARGIN
    width = max(x for x, _ in at.values()) + BOX_WIDTH / 2 + MARGIN - left
    height = 2 * MARGIN + (max(row for _, row in at.values()) + 1) * (BOX_HEIGHT + GAP_Y) - GAP_Y
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="{left:g} 0 {width:g} '
        f'{height:g}" width="{width:g}" height="{height:g}">',
        "<title>The stages of the pipeline, each below what it reads</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        *(_arrow([at[node] for node in chain]) for chain in links(graph)),
        *(_box(name, every[name], *at[Node(name)]) for name in graph),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _top(row: int) -> float:
    return MARGIN + row * (BOX_HEIGHT + GAP_Y)


def _arrow(passed: list[tuple[float, int]]) -> str:
    """A line from the lower edge of the first box to the upper edge of the last, straight through
    the rows that it passes and bent between them."""
    x, row = passed[0]
    steps = [f"M{x:g},{_top(row) + BOX_HEIGHT:g}"]
    for number, (to, below) in enumerate(passed[1:], start=1):
        y = _top(below) - (2 if number == len(passed) - 1 else 0)
        start = _top(below - 1) + BOX_HEIGHT
        middle = (start + y) / 2
        steps.append(f"C{x:g},{middle:g} {to:g},{middle:g} {to:g},{y:g}")
        if number < len(passed) - 1:
            steps.append(f"V{_top(below) + BOX_HEIGHT:g}")
        x = to
    return f'<path d="{" ".join(steps)}" marker-end="url(#tip)"/>'


def _box(name: str, stage: dict, x: float, row: int) -> str:
    lines = textwrap.wrap(stage["desc"], LETTERS_A_LINE)
    if len(lines) > LINES:
        raise ValueError(f"{name}: its desc in dvc.yaml is longer than the box: {stage['desc']}")
    left, top = x - BOX_WIDTH / 2, _top(row)
    first = top + BOX_HEIGHT / 2 - LINE_HEIGHT / 2 * len(lines) + 4
    said = "".join(
        f'<text class="what" text-anchor="middle" x="{x:g}" y="{first + LINE_HEIGHT * n:g}">'
        f"{escape(line)}</text>"
        for n, line in enumerate(lines, start=1)
    )
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
        f'fill="{FILLS[kind(stage)]}"/><text class="name" text-anchor="middle" x="{x:g}" '
        f'y="{first:g}">{escape(name)}</text>{said}'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(ROOT), encoding="utf-8")
