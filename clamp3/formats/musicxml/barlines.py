"""Bar lines, repeats and endings."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

_STYLES = {"light-light": "||", "light-heavy": "|]"}


@dataclass(slots=True)
class BarLine:
    """What stands at the two ends of one measure."""

    left: str = ""
    right: str = "|"
    volta: str = ""

    def read(self, element: Element) -> None:
        """Take one <barline> in."""
        location = element.get("location", "right")
        style = (element.findtext("bar-style") or "").strip()
        repeat = element.find("repeat")
        ending = element.find("ending")
        if repeat is not None:
            if repeat.get("direction") == "forward":
                self.left = ":"
            else:
                self.right = ":|"
        elif location == "right" and style in _STYLES:
            self.right = _STYLES[style]
        if ending is not None:
            kind = ending.get("type")
            if kind == "start":
                self.volta = ending.get("number", "").replace(" ", "")
            elif self.right == "|":
                self.right = "||"


def joined(right: str, following: BarLine | None) -> str:
    """A bar line with the repeat and the ending that the next measure begins with."""
    if following is None:
        return right
    text = right + following.left
    text = {":|:": "::", "||:": "|:"}.get(text, text)
    return text + following.volta
