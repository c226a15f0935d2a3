"""The public Python names: what `from clamp3 import …` gives, and what else a user would import."""

from importlib import import_module
from pathlib import Path

import clamp3
from clamp3.retrieval.embedding.files import SourceEmbedder

# Modules beyond the package itself, with what of them a user would import.
MODULES = {
    "clamp3.errors": [
        "Clamp3Error",
        "ConfigError",
        "FormatError",
        "DataError",
        "StorageError",
        "CheckpointError",
    ],
    "clamp3.retrieval.embedding.clap_embedder": ["ClapEmbedder"],
    "clamp3.retrieval.index.writer": ["Changes"],
    "clamp3.retrieval.index.ann": ["AnnSettings"],
    "clamp3.retrieval.vectors": ["Vectors", "Origin", "read_vectors", "write_vectors"],
    "clamp3.retrieval.zero_shot": ["label_vectors"],
    "clamp3.retrieval.evaluation.distances": [
        "frechet_distance",
        "polynomial_distance",
        "gaussian_distance",
    ],
    "clamp3.retrieval.evaluation.graded": ["ndcg", "mean_ndcg", "caption_grades"],
    "clamp3.formats.modality": ["FileFormat", "Modality", "detect_format", "detect_modality"],
    "clamp3.formats.limits": ["Limits"],
    "clamp3.formats.musicxml": ["musicxml_to_abc"],
    "clamp3.formats.abc": ["interleave_abc", "deinterleave_abc"],
    "clamp3.formats.mtf": ["midi_to_mtf", "read_midi", "Performance", "mtf_to_midi"],
    "clamp3.formats.mtf.chunks": ["Forgiven"],
    "clamp3.formats.patches": ["encode_patches", "decode_patches", "remove_instruments"],
    "clamp3.data.store": ["Store"],
    "clamp3.data.piece_reader": ["PieceReader"],
    "clamp3.data.sources": ["Parsed"],
    "clamp3.data.rejected": ["Rejected"],
    "clamp3.data.clamp2_manifests": [
        "parse_clamp2",
        "clamp2_line",
        "to_clamp3_line",
        "from_clamp3_line",
        "with_summaries",
    ],
    "clamp3.training.loop": ["train"],
    "clamp3.training.task": ["Batch", "Task", "History"],
    "clamp3.service.app": ["create_app"],
    "clamp3.service.settings": ["Settings"],
    "clamp3.config": ["load_params"],
    "clamp3.randomness": ["generator"],
}


def markdown(root: Path) -> str:
    """A section for each module."""
    parts = [_section("clamp3", clamp3.__all__)]
    parts += [_section(module, names) for module, names in MODULES.items()]
    return "\n".join(parts)


def _section(module: str, names: list[str]) -> str:
    lines = [f"## `{module}`", "", "```{eval-rst}", f".. currentmodule:: {module}", ""]
    for name in names:
        named = getattr(import_module(module), name)
        is_class = isinstance(named, type)
        lines += [f".. auto{'class' if is_class else 'function'}:: {module}.{name}"]
        lines += ["   :members:"] if is_class else []
        if is_class and issubclass(named, SourceEmbedder):
            lines += ["   :inherited-members: ModelHubMixin"]
        lines += [""]
    return "\n".join([*lines, "```", ""])
