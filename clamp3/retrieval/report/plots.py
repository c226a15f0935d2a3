"""Figures of the report, as SVG text whose bytes depend on the numbers alone.

Text, ticks and frames take the colour of the page around them, so a figure is readable on a
light and on a dark page.
"""

import hashlib
import html
import io
import re
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#010203"  # no figure uses it otherwise; becomes the page's own text colour
# Told apart with each kind of colour blindness, and visible on light and on dark pages; after Okabe
# and Ito, without their yellow and black. Points differ in shape as well.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#7048e8", "#77772b")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "p")
GREY = "#9aa0a6"
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names hold dollar signs
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "legend.frameon": False,
}
WIDTH_INCHES, HEIGHT_INCHES = 6.4, 3.6
POINTS = "points-"


def line_figure(lines: dict[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> str:
    """An SVG with one line for each name: (x values, y values)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, (xs, ys)) in enumerate(lines.items()):
            marker = "o" if len(xs) < 2 else None
            axes.plot(xs, ys, color=colour_of(number), label=name, marker=marker, linewidth=1.8)
        axes.set(xlabel=x, ylabel=y)
        return _finished(figure, axes, f"{y} by {x}", f"A line for each of {', '.join(lines)}.")


def scatter_figure(
    points: np.ndarray,
    labels: list[str],
    order: Sequence[str],
    *,
    title: str = "map",
    names: Sequence[str] | None = None,
) -> str:
    """An SVG of points [N, 2]: colour and shape by label, small and grey for those not in `order`.

    The legend counts the points of each label. With `names`, one a point, a pointing device shows
    the name of the point under it.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 4.8), layout="constrained")
        axes = figure.add_subplot()
        groups = np.asarray(labels, dtype=object)
        rest = [name for name in dict.fromkeys(labels) if name not in order]
        told = {}
        for number, name in enumerate([*rest, *order]):
            rows = np.flatnonzero(groups == name)
            drawn = axes.scatter(*points[rows].T, alpha=0.8, linewidths=0, **_look(name, order))
            drawn.set_gid(f"{POINTS}{number}")
            told[f"{POINTS}{number}"] = [names[row] for row in rows] if names is not None else []
        for name in [*order, *rest]:
            named = f"{name} ({labels.count(name)})".lstrip("_")  # else no legend shows it
            axes.scatter([], [], linewidths=0, label=named, **(_look(name, order) | {"s": 26}))
        axes.set(xticks=[], yticks=[])
        counts = "; ".join(f"{name}: {labels.count(name)}" for name in [*order, *rest])
        return _finished(figure, axes, title, f"{len(labels)} points. {counts}.", told)


def _look(name: str, order: Sequence[str]) -> dict:
    if name not in order:
        return {"color": GREY, "marker": ".", "s": 14}
    place = list(order).index(name)
    return {"color": colour_of(place), "marker": SHAPES[place % len(SHAPES)], "s": 17}


def bar_figure(
    names: Sequence[str], bars: dict[str, Sequence[float]], floor: Sequence[float], x: str
) -> str:
    """An SVG of horizontal bars: for each name one bar a series, and a tick where chance lies."""
    with matplotlib.rc_context(STYLE):
        height = 0.9 + 0.22 * len(names) * max(1, len(bars))
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = figure.add_subplot()
        places, thickness = np.arange(len(names)), 0.8 / max(1, len(bars))
        for number, (label, values) in enumerate(bars.items()):
            offset = (number - (len(bars) - 1) / 2) * thickness
            axes.barh(
                places + offset, values, thickness * 0.92, color=colour_of(number), label=label
            )
        axes.vlines(floor, places - 0.42, places + 0.42, color=INK, linewidth=1.6, label="chance")
        axes.set(yticks=places, yticklabels=names, xlabel=x)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        return _finished(figure, axes, x, f"Bars for {', '.join(names)}.")


def colour_of(number: int) -> str:
    """The colour of the series with this number; they repeat after eight."""
    return COLOURS[number % len(COLOURS)]


def _finished(
    figure: Figure,
    axes: Axes,
    title: str,
    description: str,
    told: dict[str, list[str]] | None = None,
) -> str:
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "clamp3"}), warnings.catch_warnings():
        # Names in scripts that matplotlib's font lacks: the reader's browser draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    svg = buffer.getvalue()
    for group, names in (told or {}).items():
        svg = _with_names(svg, group, names)
    return _with_words(_for_a_page(svg), title, description)


def _with_names(svg: str, group: str, names: list[str]) -> str:
    """The points of a group, in their order, each with its name as a tool tip."""
    start = svg.find(f'<g id="{group}">')
    points = list(re.finditer(r"<use ([^>]*)/>", svg[start : svg.find("</g>\n   </g>", start)]))
    if start < 0 or len(points) != len(names):
        return svg  # points that lie on each other may be drawn once
    for match, name in zip(reversed(points), reversed(names), strict=True):
        at = start + match.start(), start + match.end()
        tip = f"<use {match[1]}><title>{html.escape(name)}</title></use>"
        svg = svg[: at[0]] + tip + svg[at[1] :]
    return svg


def _with_words(svg: str, title: str, description: str) -> str:
    """The figure with its name and a description for those who do not see it."""
    name = "about-" + hashlib.sha256(f"{title}\n{description}\n{svg}".encode()).hexdigest()[:10]
    words = (
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(description)}</desc>'
    )
    opening = f'<svg role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc"'
    end = svg.index(">") + 1
    return svg[:end].replace("<svg", opening, 1) + words + svg[end:]


def _for_a_page(svg: str) -> str:
    """The <svg> element without prolog, fixed size, unused ids and colours of its own."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    return re.sub(r' id="([^"]*)"', lambda m: m.group(0) if m.group(1) in used else "", svg)
