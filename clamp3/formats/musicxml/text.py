"""Text inside ABC."""


def quoted(text: str) -> str:
    """`text` fit to stand between double quotes."""
    return text.replace('"', '\\"').replace("\n", "\\n")
