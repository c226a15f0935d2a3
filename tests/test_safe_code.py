"""What no code of the package, the workflow or the benchmarks may do with what others wrote."""

import ast
import re
import tomllib

from repository import ROOT

TOPS = ("clamp3", "workflow", "benchmarks")
FILES = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))
# Calls by the end of their names.
NEVER = {
    "pickle.load": "executes what it reads",
    "pickle.loads": "executes what it reads",
    "np.load": "believes a header; see clamp3.files.read_array",
    "os.system": "starts a shell",
    "extractall": "believes the names in an archive; see clamp3.data.unpacking",
    "yaml.unsafe_load": "executes what it reads",
    "yaml.full_load": "executes some of what it reads",
}
OPTIONS = {"shell": False, "trust_remote_code": False, "allow_pickle": False, "weights_only": True}
# Vectors that it wrote a moment before.
EXEMPT = {("benchmarks/search.py", "np.load")}
# In commands of rules: numbers, words that common.smk makes of numbers, names of few letters.
UNQUOTED = {"threads", "params.launch", "wildcards.stage", "wildcards.adapter"}


def faults_of(path):
    """What is wrong with the calls in a file."""
    name = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        for ending, why in NEVER.items():
            if called.endswith(ending) and (name, ending) not in EXEMPT:
                yield f"{name}: {called} {why}"
        given = {one.arg: ast.unparse(one.value) for one in node.keywords}
        for option in OPTIONS.keys() & given.keys():
            if given[option] != str(OPTIONS[option]):
                yield f"{name}: {called}({option}={given[option]})"
        if called == "torch.load" and "weights_only" not in given:
            yield f"{name}: torch.load without weights_only"


def test_nothing_dangerous_is_called():
    assert [fault for path in FILES for fault in faults_of(path)] == []


def test_such_calls_would_be_found(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "bad.py"
    for bad in ("torch.load(f)", "np.load(f)", "subprocess.run(x, shell=True)", "z.extractall()"):
        path.write_text(bad)
        assert len(list(faults_of(path))) == 1, bad


def test_the_linter_watches_over_it_and_exceptions_have_reasons():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert "S" in lint["lint"]["select"]
    exempt = lint["lint"]["per-file-ignores"]
    assert [path for path, rules in exempt.items() if "S" in rules] == ["tests/*"]
    for path in FILES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "noqa: S" in line and "noqa: SIM" not in line:
                assert re.search(r"noqa: S\d+ (?:- |\()\w", line), f"{path}: {line}"


def test_commands_of_rules_quote_what_they_are_given():
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for shell in re.findall(r"shell:((?:\s+\"[^\"\n]*\")+)", path.read_text(encoding="utf-8")):
            for name in re.findall(r"(?<!\{)\{([^{}]+)\}", shell):
                assert name.endswith(":q") or name in UNQUOTED, f"{path.name}: {{{name}}}"
