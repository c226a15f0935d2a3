"""Score-timewise documents as score-partwise ones."""

from xml.etree.ElementTree import Element, SubElement

from clamp3.errors import FormatError
from clamp3.formats.limits import Limits


def to_partwise(root: Element, limits: Limits) -> Element:
    """A score-partwise root with the same music; namespaces are dropped.

    Raises FormatError (not_musicxml) for any other document, and too_large.
    """
    if root.tag.startswith("{"):
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    if root.tag == "score-partwise":
        return root
    if root.tag != "score-timewise":
        expected = "expected <score-partwise> or <score-timewise>"
        raise FormatError("not_musicxml", f"not MusicXML: it is <{root.tag[:40]}>, {expected}")
    return _transposed(root, limits)


def _transposed(root: Element, limits: Limits) -> Element:
    """Measures of parts as parts of measures; a part that misses a measure gets an empty one."""
    partwise = Element("score-partwise")
    measures = root.findall("measure")
    partwise.extend(child for child in root if child.tag != "measure")
    by_measure = [
        {part.get("id", ""): part for part in reversed(measure.findall("part"))}
        for measure in measures
    ]
    identities = dict.fromkeys(
        part.get("id", "") for measure in measures for part in measure.findall("part")
    )
    if len(identities) * len(measures) > limits.max_voice_events:
        raise FormatError("too_large", f"{len(identities)} parts of {len(measures)} measures each")
    for identity in identities:
        whole = SubElement(partwise, "part", id=identity)
        for measure, parts in zip(measures, by_measure, strict=True):
            SubElement(whole, "measure", measure.attrib).extend(parts.get(identity, ()))
    return partwise
