"""Score-timewise documents as score-partwise ones."""

from xml.etree.ElementTree import Element, SubElement

from clamp3.errors import FormatError


def to_partwise(root: Element) -> Element:
    """A score-partwise root with the same music; namespaces are dropped.

    Raises FormatError (not_musicxml) for any other document.
    """
    if root.tag.startswith("{"):
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    if root.tag == "score-partwise":
        return root
    if root.tag != "score-timewise":
        expected = "expected <score-partwise> or <score-timewise>"
        raise FormatError("not_musicxml", f"not MusicXML: it is <{root.tag[:40]}>, {expected}")
    return _transposed(root)


def _transposed(root: Element) -> Element:
    """Measures of parts as parts of measures; a part that misses a measure gets an empty one."""
    partwise = Element("score-partwise")
    measures = root.findall("measure")
    partwise.extend(child for child in root if child.tag != "measure")
    parts: dict[str, Element] = {}
    for measure in measures:
        for part in measure.findall("part"):
            parts.setdefault(part.get("id", ""), Element("part", id=part.get("id", "")))
    for identity, part in parts.items():
        for measure in measures:
            inside = measure.find(f"part[@id='{identity}']") if "'" not in identity else None
            SubElement(part, "measure", measure.attrib).extend(inside if inside is not None else ())
        partwise.append(part)
    return partwise
