"""Pieces of one self-contained HTML page; whatever is not `Html` already is escaped."""

import html
from collections.abc import Iterable, Sequence

CSS = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 6%, transparent); --good: #2e8b57; }
* { box-sizing: border-box; }
body { font: 1rem/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 62rem;
  padding: 1rem clamp(.8rem, 3vw, 2rem) 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
.note { font-size: .88rem; opacity: .8; }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
th { font-weight: 600; background: var(--soft); }
td.number, th.number { text-align: right; }
.chance { opacity: .65; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1rem; }
figure { margin: 0; max-width: 44rem; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { font-size: .88rem; opacity: .8; }
pre { font: .78rem/1.4 ui-monospace, monospace; background: var(--soft); padding: .6rem;
  margin: .3rem 0; overflow: auto; max-height: 16rem; border-radius: .3rem; }
blockquote { margin: .4rem 0; padding: .1rem 0 .1rem .8rem; border-left: 3px solid var(--line);
  white-space: pre-line; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr));
  gap: .8rem; }
.answer { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .7rem; min-width: 0; }
.answer.right { border: 2px solid var(--good); }
.mark { color: var(--good); font-weight: 600; }
details > summary { cursor: pointer; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
"""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """The value as HTML text; `Html` stays as it is and None is empty."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else html.escape(str(value)))


def element(tag: str, *content: object, **attributes: str) -> Html:
    """<tag attributes>content</tag>; `class_` stands for the attribute `class`."""
    named = "".join(
        f' {name.rstrip("_")}="{html.escape(value)}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{named}>{joined(content)}</{tag}>")


def joined(parts: Iterable[object]) -> Html:
    """The parts one after the other."""
    return Html("".join(escaped(part) for part in parts))


def section(title: str, *content: object) -> Html:
    """A heading and what belongs to it; nothing where there is no content."""
    inside = joined(content)
    return Html(element("h2", title) + inside + "\n") if inside else Html("")


def note(*content: object) -> Html:
    """A paragraph in small print."""
    return element("p", *content, class_="note")


def chance(value: float | None) -> Html:
    """What chance gives, fainter than the figure beside it; empty where it is not known."""
    return element("span", "" if value is None else f"{value:.3f}", class_="chance")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, texts: int = 1) -> Html:
    """A table that scrolls sideways on a small screen; the first `texts` columns are text."""

    def cells(tag: str, row: Sequence[object]) -> list[Html]:
        return [
            element(tag, cell) if place < texts else element(tag, cell, class_="number")
            for place, cell in enumerate(row)
        ]

    lines = [element("tr", *cells("td", row)) for row in rows]
    if not lines:
        return Html("")
    top = element("thead", element("tr", *cells("th", head)))
    return element("div", element("table", top, element("tbody", *lines)), class_="wide")


def figure(svg: str, caption: object) -> Html:
    """An SVG from clamp3.retrieval.report.plots with its caption."""
    return element("figure", Html(svg), element("figcaption", caption))


def figures(parts: Sequence[Html]) -> Html:
    """Figures side by side where there is room."""
    return element("div", *parts, class_="figures") if parts else Html("")


def page(title: str, *content: object) -> str:
    """The whole page: one file that loads nothing else."""
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
    )
    return f"{head}<main>\n{joined(content)}</main>\n</body>\n</html>\n"
