"""Captions of pieces."""

from collections.abc import Mapping, Sequence


def caption_of(texts: Mapping, keys: Sequence[str]) -> str:
    """The texts under these keys of a manifest's line, put together by commas; "" without any.

    A list such as `tags` gives its entries, text its lines; what is said twice is said once.
    """
    words = [word for key in keys for word in _words(texts.get(key))]
    return ", ".join(dict.fromkeys(words))


def _words(value: object) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    lines = [line for entry in entries if isinstance(entry, str) for line in entry.splitlines()]
    return [" ".join(line.split()) for line in lines if line.strip()]
