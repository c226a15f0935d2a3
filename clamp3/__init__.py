"""Music retrieval across text, scores, performances and recordings.

`load_model` gives an `Embedder`, `open_index` an `Index` to search, which `build_index` and others
write; all are imported when first asked for, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clamp3.retrieval.embedding.embedder import Embedder, load_model
    from clamp3.retrieval.embedding.files import EmbeddedFiles
    from clamp3.retrieval.index.hits import Hit
    from clamp3.retrieval.index.reader import Index, open_index
    from clamp3.retrieval.index.writer import add_to_index, build_index, delete_from_index

__version__ = "0.1.0"
_MODULES = {
    "EmbeddedFiles": "embedding.files",
    "Embedder": "embedding.embedder",
    "Hit": "index.hits",
    "Index": "index.reader",
    "add_to_index": "index.writer",
    "build_index": "index.writer",
    "delete_from_index": "index.writer",
    "load_model": "embedding.embedder",
    "open_index": "index.reader",
}
__all__ = [
    "EmbeddedFiles",
    "Embedder",
    "Hit",
    "Index",
    "add_to_index",
    "build_index",
    "delete_from_index",
    "load_model",
    "open_index",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"clamp3.retrieval.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
