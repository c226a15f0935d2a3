"""Music retrieval across text, scores, performances and recordings.

`load_model` gives an `Embedder`; both are imported when first asked for, so that importing the
package costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clamp3.retrieval.embedder import EmbeddedFiles, Embedder, load_model

__version__ = "0.1.0"
__all__ = ["EmbeddedFiles", "Embedder", "load_model"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clamp3.retrieval import embedder

    return getattr(embedder, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
