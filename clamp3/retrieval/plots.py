"""Figures of the report, as SVG text whose bytes depend on the numbers alone.

Text, ticks and frames take the colour of the page around them, so a figure is readable on a
light and on a dark page.
"""

import io
import re
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#010203"  # no figure uses it otherwise; becomes the page's own text colour
COLOURS = ("#3b7dd8", "#d9662b", "#3f9d5a", "#b04aa8", "#c9a227", "#2aa5a5", "#d1495b", "#7a6ff0")
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


def line_figure(lines: dict[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> str:
    """An SVG with one line for each name: (x values, y values)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, (xs, ys)) in enumerate(lines.items()):
            marker = "o" if len(xs) < 2 else None
            axes.plot(xs, ys, color=colour_of(number), label=name, marker=marker, linewidth=1.8)
        axes.set(xlabel=x, ylabel=y)
        return _finished(figure, axes)


def scatter_figure(points: np.ndarray, labels: Sequence[str], order: Sequence[str]) -> str:
    """An SVG of points [N, 2]; one colour for each label, grey for those not in `order`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 4.8), layout="constrained")
        axes = figure.add_subplot()
        groups = np.asarray(labels, dtype=object)
        rest = [name for name in dict.fromkeys(labels) if name not in order]
        for name in [*rest, *order]:
            colour = GREY if name in rest else colour_of(list(order).index(name))
            kept = points[groups == name]
            axes.scatter(kept[:, 0], kept[:, 1], s=14, color=colour, alpha=0.75, linewidths=0)
            named = f"{name} ({len(kept)})".lstrip("_")  # no legend shows a leading underscore
            axes.scatter([], [], s=24, color=colour, linewidths=0, label=named)
        axes.set(xticks=[], yticks=[])
        return _finished(figure, axes)


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
        return _finished(figure, axes)


def colour_of(number: int) -> str:
    """The colour of the series with this number; they repeat after eight."""
    return COLOURS[number % len(COLOURS)]


def _finished(figure: Figure, axes: Axes) -> str:
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "clamp3"}), warnings.catch_warnings():
        # Names in scripts that matplotlib's font lacks: the reader's browser draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    return _for_a_page(buffer.getvalue())


def _for_a_page(svg: str) -> str:
    """The <svg> element without prolog, fixed size, unused ids and colours of its own."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    return re.sub(r' id="([^"]*)"', lambda m: m.group(0) if m.group(1) in used else "", svg)
