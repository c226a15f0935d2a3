"""What the papers' tables can be made of: which weights, embeddings and data sets are here."""

import json
from pathlib import Path

import yaml

from clamp3.models.hub import is_hub_name

EMBEDDINGS = "results/tables/embeddings"


class Papers:
    """workflow/tables.yaml, and `manifests`: those of all held-out pieces, made or not.

    The functions of wildcards are inputs and parameters of rules.
    """

    def __init__(self, file: Path, manifests: list[str]):
        fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        spec = yaml.load(Path(file).read_text(encoding="utf-8"), fast)  # noqa: S506 - both are safe
        self.models, self.tables = spec["models"], spec["tables"]
        self.manifests = manifests

    @property
    def collections(self) -> list[str]:
        """The manifests of every collection but PDMX.

        The held-out part of PDMX alone may be larger than all of these together.
        """
        return [path for path in self.manifests if not Path(path).name.startswith("pdmx-")]

    def model_inputs(self, wildcards) -> list[str]:
        """The folders of a model's weights and adapters; names on the hub are none."""
        return [path for path in self._weights(wildcards.model) if not is_hub_name(path)]

    def table_inputs(self, wildcards) -> list[str]:
        """What a table is made of; of the pipeline's embeddings those that are there."""
        own = {folder for folders in self._folders(wildcards.table).values() for folder in folders}
        made = sorted(folder for folder in own if folder.startswith(EMBEDDINGS))
        found = [
            path for folder in sorted(own - {*made}) for path in Path(folder).glob("*/*.parquet")
        ]
        return [*made, *sorted(map(str, found)), *self._held_out(wildcards.table)]

    def folders_json(self, wildcards) -> str:
        """{model: folders of its embeddings} for each model of a table that can be run."""
        return json.dumps(self._folders(wildcards.table))

    def manifests_json(self, wildcards) -> str:
        """The manifests that a table is computed on."""
        return json.dumps(self._held_out(wildcards.table))

    def _weights(self, model: str) -> list[str]:
        given = self.models[model]
        named = [given.get("weights"), *given.get("adapters", {}).values()]
        return [path for path in named if path]

    def _has_weights(self, model: str) -> bool:
        folders = self._weights(model)
        return bool(folders) and all(is_hub_name(path) or Path(path).exists() for path in folders)

    def _rows(self, table: str) -> list[str]:
        blocks = self.tables[table]["blocks"]
        names = [
            name for block in blocks for name in [*block["rows"], *block.get("ours", ["here"])]
        ]
        return list(dict.fromkeys(names))

    def _folders(self, table: str) -> dict[str, list[str]]:
        found = {}
        for model in self._rows(table):
            pipeline = self.models[model].get("embeddings", [])
            if self._has_weights(model):
                found[model] = [f"{EMBEDDINGS}/{model}"]
            elif pipeline and all(Path(folder).exists() for folder in pipeline):
                found[model] = pipeline
        return found

    def _held_out(self, table: str) -> list[str]:
        """All, where there are weights to be run on them, or those that the pipeline has made."""
        wanted = any(map(self._has_weights, self._rows(table)))
        return [path for path in self.manifests if wanted or Path(path).exists()]
