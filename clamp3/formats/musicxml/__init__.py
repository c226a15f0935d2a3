"""MusicXML to standard ABC, in the dialect the published models were trained on."""

from clamp3.formats.musicxml.score import musicxml_to_abc

__all__ = ["musicxml_to_abc"]
