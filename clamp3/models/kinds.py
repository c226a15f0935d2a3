"""What kind of model lies in a folder, told without reading weights or knowing how to."""

from pathlib import Path

from clamp3.files import parse_json
from clamp3.models.hub import resolve

CLAP = "clap_musicgen"  # the kind in config.json of our own
PUBLISHED_CLAP = frozenset({"audio_encoder_config", "text_encoder_config"})  # keys of the original


def is_clap(source: str | Path) -> bool:
    """Whether a folder or hub name holds a CLAP-MusicGen, ours or the original's.

    Raises CheckpointError where a hub name cannot be fetched.
    """
    try:
        text = (resolve(source, ()) / "config.json").read_text(encoding="utf-8")
        settings = parse_json(text)
    except (OSError, ValueError):
        return False
    if not isinstance(settings, dict):
        return False
    return settings.get("kind") == CLAP or settings.keys() >= PUBLISHED_CLAP
