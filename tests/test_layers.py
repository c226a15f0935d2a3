"""formats → data → models → training → retrieval → service: a layer uses only those to its left."""

import pytest
from repository import ROOT, imported

LAYERS = ["formats", "data", "models", "training", "retrieval", "service"]
# Within retrieval, likewise; its modules outside these packages are read and written by all of
# them (vectors, labels …), or put them together (search, zero_shot).
RETRIEVAL = ["features", "embedding", "classification", "evaluation", "space", "index", "report"]
# Beyond the order: what a layer must not use although it stands to its left.
FORBIDDEN = {
    "formats": {"torch"},
    "data": {"torch"},
    "models": {"data"},
    "retrieval": {"training"},
    "service": {"training"},
}
MODULES = sorted((ROOT / "clamp3").rglob("*.py"))


def layer_of(path):
    parts = path.relative_to(ROOT / "clamp3").parts
    return parts[0] if parts[0] in LAYERS else None


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_uses_only_layers_to_its_left(path):
    layer = layer_of(path)
    if layer is None:
        return
    to_the_right = set(LAYERS[LAYERS.index(layer) + 1 :]) | FORBIDDEN.get(layer, set())
    used = {name.split(".")[1] for name in imported(path) if name.startswith("clamp3.")}
    used |= {name.split(".")[0] for name in imported(path)} & {"torch"}
    assert not used & to_the_right


@pytest.mark.parametrize("package", RETRIEVAL)
def test_a_package_of_retrieval_uses_only_those_to_its_left(package):
    folder = ROOT / "clamp3" / "retrieval" / package
    used = {name for path in folder.glob("*.py") for name in imported(path)}
    to_the_right = RETRIEVAL[RETRIEVAL.index(package) + 1 :]
    parts = {tuple(name.split(".")[:3]) for name in used}
    assert not parts & {("clamp3", "retrieval", other) for other in to_the_right}


def test_the_foundation_uses_no_layer():
    for name in ("errors", "files", "randomness", "logs", "config", "job", "processes"):
        used = imported(ROOT / "clamp3" / f"{name}.py")
        assert not [m for m in used if m.startswith(tuple(f"clamp3.{layer}" for layer in LAYERS))]
