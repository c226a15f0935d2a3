"""Each parameter of params.yaml, changed alone, reruns the same stages under both tools."""

import json
import shutil
from pathlib import Path

import pytest
from repository import ROOT, python
from trees import PARAMS, STAGES, Tree, dependencies, outs, planned_jobs, stages

SCHEMA = json.loads((ROOT / "workflow/schemas/params.schema.json").read_text())
# Paths must lead somewhere, and a folder of recordings is needed where none are rendered.
SPECIAL = {
    "corpus.source": {"corpus.source": "pdmx", "corpus.folder": "data/pdmx"},
    "corpus.folder": {"corpus.source": "pdmx", "corpus.folder": "data/pdmx"},
    "parse.collections.wikimt_x.path": {
        "parse.collections.wikimt_x.path": "data/pdmx/wikimt-x-public.jsonl"
    },
    "parse.collections.midicaps.path": {
        "parse.collections.midicaps.path": "data/pdmx/midicaps/train.json"
    },
    "clamp3.start": {"clamp3.start": "data/pdmx"},
    "clamp2.start": {"clamp2.start": "data/pdmx"},
    "clamp2.manifests": {"clamp2.manifests": "data/own"},
    "audio.source": {"audio.source": "folder", "audio.folder": "data/pdmx/mid"},
}


def leaves(schema, value, path=()):
    """(path, schema, value) of every parameter, sections opened up."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from leaves(inner, value[name], (*path, name))
    elif inner := of_any_name(schema):
        for name in value:
            yield from leaves(inner, value[name], (*path, name))
    else:
        yield ".".join(path), schema, value


def of_any_name(schema):
    """The schema of what stands under names that the schema does not know; none: False."""
    by_pattern = [*schema.get("patternProperties", {}).values()]
    return by_pattern[0] if by_pattern else schema.get("additionalProperties", False)


def another(schema, value):
    """A value that the schema allows, and that is not `value`."""
    kinds = schema.get("anyOf", [schema])
    if value is not None and any(kind.get("type") == "null" for kind in kinds):
        return None
    kind = next(kind for kind in kinds if kind.get("type") != "null")
    if "enum" in kind:
        return next(each for each in kind["enum"] if each != value)
    if kind["type"] == "array":
        return value[:-1]
    if kind["type"] == "boolean":
        return not value
    if kind["type"] == "string":
        return f"{value}x"
    return (value or 0) + 1 if kind["type"] == "integer" else (value or 1) / 2


CHANGES = {
    name: SPECIAL.get(name) or {name: another(schema, value)}
    for name, schema, value in leaves(SCHEMA, PARAMS)
}


def nested(changes):
    """{"a.b": 1} as {"a": {"b": 1}}."""
    values = {}
    for name, value in changes.items():
        *parents, key = name.split(".")
        section = values
        for parent in parents:
            section = section.setdefault(parent, {})
        section[key] = value
    return values


def downstream(changed_stages):
    """The stages and all that read, directly or not, what they make."""
    found = set(changed_stages)
    for stage in STAGES:  # in an order in which no stage stands before what it reads
        made = [out for other in found for out in outs(other)]
        if any(touches(dep, out) for dep in dependencies(stage) for out in made):
            found.add(stage)
    return [stage for stage in STAGES if stage in found]


def touches(one, other):
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What both tools would run for every change, in a finished tree of stand-ins."""
    tree = Tree.of_stand_ins(tmp_path_factory.mktemp("parameters") / "tree", shards=2)
    tree.make()
    shutil.copytree(tree.folder / "data/demo", tree.folder / "data/pdmx")
    shutil.copytree(tree.folder / "data/clamp2", tree.folder / "data/own")
    versions = {name: nested(changes) for name, changes in CHANGES.items()}
    program = Path(__file__).with_name("dry_runs.py")
    asked = json.dumps({"": {}} | versions)
    return json.loads(python(program, *SPECIAL, cwd=tree.folder, env=tree.environment, input=asked))


def test_every_parameter_is_here():
    assert len(CHANGES) > 80
    assert {name.split(".")[0] for name in CHANGES} == set(PARAMS)


@pytest.mark.slow
def test_nothing_changed_reruns_nothing(answers):
    assert planned_jobs(answers["snakemake"][""]) == {}
    assert answers["dvc"][""] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_parameter_reruns_the_same_stages_in_both(answers, name):
    by_snakemake = stages(planned_jobs(answers["snakemake"][name]))
    # dvc.yaml lists whole sections (test_contract.py): one parameter speaks for its section.
    spokesman = {other.split(".")[0]: other for other in answers["dvc"]}
    asked = name if name in answers["dvc"] else spokesman[name.split(".")[0]]
    assert by_snakemake == downstream(answers["dvc"][asked])
    assert by_snakemake, "no stage reads this parameter"
