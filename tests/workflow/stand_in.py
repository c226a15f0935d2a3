"""What stands in for every script of the workflow: outputs that depend on all that went in.

    python <script> --name value [value …]

Each output holds a hash of the script's name, its parameters and the content of all its inputs.
Parameters that change no result are left out, as in the real scripts. STAND_IN_SECONDS makes
every job last so long, with half an output in place. Ends with its parent, as clamp3.logs does.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

OUTPUTS = (
    *("out", "table", "rejected", "parts", "listing", "metrics", "json", "ranks", "unmatched"),
    *("rows", "markdown"),
)
IDLE = ("threads", "max_rejected_share", "batch_tokens")
PLOTTED = "comparison.tsv"
UNREAD = "adapters"  # a folder of results for people alone; it may come after the report
ADAPTER_FILES = (
    "baseline_report.json",
    "lora_report.json",
    "comparison_report.json",
    "summary.txt",
)
CORPUS = ("PDMX.csv", "wikimt-x-public.jsonl", "midicaps/train.json")
SUMMARIES = ("summaries.parquet", "summaries.jsonl", "rejected.parquet", "summaries.json")
SPLITS = ("train", "validation", "test")
CORPUS_FOLDERS = ("mxl", "mid", "midicaps/lmd_full")


def arguments(words):
    """The words as {name: values}."""
    values = {}
    for word in words:
        if word.startswith("--"):
            found = values.setdefault(word.removeprefix("--"), [])
        else:
            found.append(word)
    return values


def that_matter(params):
    """The parameters without those that change no result."""
    if isinstance(params, dict):
        return {key: that_matter(params[key]) for key in params if key not in IDLE}
    return params


def content(path):
    """The bytes of a file, or of all visible files of a folder with their names."""
    path = Path(path)
    if path.is_file():
        return path.read_bytes()
    files = sorted(file for file in path.rglob("*") if is_read(file))
    return b"".join(str(file.relative_to(path)).encode() + file.read_bytes() for file in files)


def is_read(path):
    return path.is_file() and path.name[0] != "." and path.parent.name != UNREAD


def outputs(script, values):
    """The files that the script's rule declares; a folder gets one file."""
    out = Path((values.get("out") or ["."])[0])
    if script == "build_demo_corpus":
        return [out / name for name in (*CORPUS, *(f"{name}/1.txt" for name in CORPUS_FOLDERS))]
    if script == "build_manifests":
        listed = [f"pdmx-{m}-{s}.jsonl" for m in ("abc", "mtf", "audio") for s in SPLITS]
        others = [name for name in values["collections"] if name != "pdmx"]
        listed += [f"{c}-{m}-test.jsonl" for c in others for m in ("abc", "mtf", "audio")]
        return [out / name for name in (*listed, "counts.json", "rejected.parquet")]
    if script == "summarise_catalog":
        return [out / name for name in SUMMARIES]
    if script == "make_clamp2_manifests":
        return [out / f"{split}.jsonl" for split in SPLITS]
    if script == "interleave_scores":
        parts = sorted(Path(values["abc"][0]).parent.glob("*.parquet"))
        return [*(out / part.name for part in parts), out / "parts.tsv"]
    if script == "embed_clamp2":
        return [out / "vectors.txt"]
    if script == "evaluate_adapters":
        return [out / f"evaluation_{name}" for name in ADAPTER_FILES]
    if script.startswith("embed_"):
        pairs = [Path(name).stem.rsplit("-", 2)[:2] for name in values["manifests"]]
        texts = [(name, "text") for name, _ in pairs] if script == "embed_clamp3" else []
        tables = dict.fromkeys([*texts, *map(tuple, pairs)])
        return [
            *(out / f"{name}/{kind}.parquet" for name, kind in tables),
            out / "rejected.parquet",
        ]
    made = [Path(path) for name in OUTPUTS for path in values.get(name, [])]
    return [path if path.suffix else path / "weights.txt" for path in made]


def text(path, digest):
    """Content in the format that the suffix says."""
    if path.suffix == ".json":
        return json.dumps({"value": int(digest[:8], 16)}) + "\n"
    if path.name == PLOTTED:
        return f"direction\tmodel\tmrr\nthere\tone\t{int(digest[:8], 16)}\n"
    if path.suffix == ".tsv":
        return f"step\tloss\n1\t{int(digest[:8], 16)}\n"
    return digest + "\n"


def write(path, lines, seconds):
    """Write half of it, wait, write the rest; give up when the parent is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parent, until = os.getppid(), time.monotonic() + seconds
    with open(path, "w") as file:
        file.write(lines[: len(lines) // 2])
        file.flush()
        while time.monotonic() < until:
            time.sleep(0.02)
            if os.getppid() != parent:
                os._exit(1)
        file.write(lines[len(lines) // 2 :])


def main():
    script, values = Path(sys.argv[0]).stem, arguments(sys.argv[1:])
    seconds = float(os.environ.get("STAND_IN_SECONDS", 0))
    params = that_matter(json.loads(values.pop("params", ["{}"])[0]))
    Path(values.pop("log")[0]).write_text(f"{script}\n")
    values.pop("resume", None)
    made = outputs(script, values)
    if script == "write_report":
        Path(values["out"][0]).unlink(missing_ok=True)
    read = hashlib.sha256(json.dumps([script, params], sort_keys=True).encode())
    for name in sorted(set(values) - set(OUTPUTS)):
        for path in values[name]:
            read.update(content(path) if Path(path).exists() else path.encode())
    for path in made:
        digest = hashlib.sha256(read.digest() + str(path).encode()).hexdigest()
        write(path, text(path, digest), seconds / len(made))


if __name__ == "__main__":
    main()
