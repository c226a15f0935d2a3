"""The fields that a tune's header takes from its parts."""

from dataclasses import dataclass


@dataclass
class Header:
    """Key, meter and tempo at the beginning, and whether any note has no stem."""

    key: str | None = None
    meter: str | None = None
    tempo: str = ""
    stemless: bool = False
