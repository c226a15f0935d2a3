"""Write a preset's values over params.yaml, keeping its comments: apply_preset.py NAME."""

import re
import sys
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from clamp3.config import load_params
from clamp3.errors import ConfigError
from clamp3.files import atomic_path

ROOT = Path(__file__).resolve().parents[2]


def overlay(target: dict, values: dict, where: str = "") -> None:
    """Replace the values of `target` by those of `values`, key by key."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict) and key != "stages":
            overlay(target[key], value, f"{where}{key}.")
        else:
            target[key] = value


def represent_float(writer: RoundTripRepresenter, value: float) -> ScalarNode:
    """1.0e-05, because YAML 1.1 reads 1e-05 as text."""
    text = re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    return writer.represent_scalar("tag:yaml.org,2002:float", text)


def preset(name: str) -> dict:
    """The values of presets/<name>.yaml over those of its `base`, and so on.

    A stage that is a name stands for the base's stage of that name.
    """
    values = YAML(typ="safe", pure=True).load(ROOT / "presets" / f"{name}.yaml")
    below = preset(values.pop("base")) if "base" in values else {}
    stages = values.get("clamp3", {}).get("stages", {})
    for stage, like in stages.items():
        stages[stage] = below["clamp3"]["stages"][like] if isinstance(like, str) else like
    overlay(below, values)
    return below


def main(name: str) -> None:
    """Overlay presets/<name>.yaml; params.yaml stays as it is if the outcome is not valid."""
    known = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"no preset {name!r}; there are: {', '.join(known)}")
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100
    yaml.representer.ignore_aliases = lambda _: True
    yaml.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    yaml.representer.add_representer(float, represent_float)
    params = yaml.load(ROOT / "params.yaml")
    overlay(params, preset(name))
    with atomic_path(ROOT / "params.yaml") as draft:
        yaml.dump(params, draft)
        load_params(draft)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) == 2 else "")
    except ConfigError as error:
        sys.exit(str(error))
