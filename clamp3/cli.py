"""The command line: embed, search, evaluate, score, classify, zero-shot, convert, train, …

Only what a command needs is imported, and only when it runs: `clamp3 --help` must not load torch.
"""

import functools
import logging
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clamp3.errors import Clamp3Error, ConfigError

app = typer.Typer(
    help="Music retrieval across text, scores, performances and recordings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Sources = Annotated[
    list[Path],
    typer.Argument(metavar="SOURCE…", help="Files or folders: ABC, MusicXML, MIDI, MTF, text, …"),
]
ModelSource = Annotated[
    str, typer.Option("--model", help="A model folder, or owner/name on the hub.")
]
AdapterFolder = Annotated[
    Path | None, typer.Option("--adapter", help="A LoRA folder for scores or performances.")
]
Mert = Annotated[
    str | None,
    typer.Option(help="A MERT (folder or owner/name), for sound files and models that need it."),
]
CaptionerSource = Annotated[
    str | None,
    typer.Option("--captioner", help="A BLIP (folder or owner/name) that describes images."),
]
BatchTokens = Annotated[
    int, typer.Option(min=1, help="Patches, text tokens or frames computed at once.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all by default.")]
EmbeddingSource = Annotated[
    Path, typer.Argument(help="A table of embeddings, or a folder of .npy files.")
]
PairKey = Annotated[
    str,
    typer.Option(
        metavar="name|folder|id|COLUMN",
        help="What pairs share: the path up to the name's first dot, the folder, the id, a column.",
    ),
]
ReportFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where to write the whole report as JSON.")
]
Seed = Annotated[int, typer.Option(help="Of the bootstrap and the test.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one by default.")]

LabelTable = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="TABLE",
        help="Columns id and label (.csv, .tsv, .jsonl, .parquet); else names as label_name.",
    ),
]
LabelColumn = Annotated[str, typer.Option(help="The table's column of labels.")]

classify_app = typer.Typer(help="Labels from embeddings, by linear probes.", no_args_is_help=True)
app.add_typer(classify_app, name="classify")


class ProbeRecipe(StrEnum):
    """How `clamp3 classify train` can train."""

    logistic = "logistic"
    original = "original"


class Target(StrEnum):
    """What `clamp3 convert` can write."""

    abc = "abc"
    interleaved = "interleaved"
    mtf = "mtf"
    midi = "midi"


class Modality(StrEnum):
    """What `clamp3 search` can be limited to."""

    text = "text"
    abc = "abc"
    mtf = "mtf"
    audio = "audio"
    image = "image"


class TieRule(StrEnum):
    """How `clamp3 evaluate` ranks equal similarities."""

    mean = "mean"
    optimistic = "optimistic"


class WeightsKind(StrEnum):
    """What a file of the originals can hold."""

    m3 = "m3"
    clamp2 = "clamp2"
    clamp3 = "clamp3"


class VectorForm(StrEnum):
    """What `clamp3 embed` can write."""

    parquet = "parquet"
    npy = "npy"


class Precision(StrEnum):
    """What `clamp3 embed` can compute in."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"

    @property
    def dtype(self) -> str:
        """Its name in Python."""
        return {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[self.value]


def _tells_errors(command: Callable) -> Callable:
    """The command, with an error that the user can mend as one line and exit status 1."""

    @functools.wraps(command)
    def wrapped(*args: object, **options: object) -> None:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
        try:
            command(*args, **options)
        except Clamp3Error as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error

    return wrapped


@app.callback()
def main() -> None:
    """Music retrieval across text, scores, performances and recordings."""


@app.command()
@_tells_errors
def embed(
    sources: Sources,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .parquet file, or the folder.")],
    model: ModelSource,
    temporal: Annotated[
        bool, typer.Option("--temporal", help="A vector for each patch, token or frame.")
    ] = False,
    form: Annotated[
        VectorForm, typer.Option("--format", help="One table, or a tree of .npy files.")
    ] = VectorForm.parquet,
    precision: Annotated[Precision, typer.Option(help="What to compute in.")] = Precision.fp32,
    adapter: AdapterFolder = None,
    mert: Mert = None,
    captioner: CaptionerSource = None,
    abc_as_is: Annotated[
        bool, typer.Option("--abc-as-is", help="Do not interleave standard ABC.")
    ] = False,
    keep_unit_length: Annotated[
        bool | None,
        typer.Option(
            "--keep-unit-length/--drop-unit-length",
            help="L:1/8 in scores; kept for CLaMP 2 and dropped else, as by the originals.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read files; by their number.")
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option("--device", "--devices", help="cpu, cuda, or several: cuda:0,cuda:1."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Copies of the model that compute side by side.")
    ] = 1,
    batch_tokens: BatchTokens = 8192,
    threads: Threads = None,
) -> None:
    """Embed files of any kind; those that fail are listed beside the result.

    OUT is a table with the columns id (the path below the given folder), modality, sha256 and
    embedding; or, with --format npy, a folder with a file [1, D] or [1, N, D] for each file. What
    could not be embedded, and why, stands in OUT with the ending .rejected.tsv, or in rejected.tsv
    of the folder. Stopped at any moment, the same command does the rest.
    """
    from clamp3.retrieval.embed_command import embed_sources, listed_devices
    from clamp3.retrieval.embedder import load_model

    if (form is VectorForm.parquet) != (out.suffix == ".parquet"):
        raise ConfigError(
            f"{out}: the last argument is the table to write and ends in .parquet, or with "
            "--format npy a folder"
        )
    _set_threads(threads)
    names = listed_devices(devices, processes)
    embedder = load_model(
        model,
        device=names[0],
        dtype=precision.dtype,
        adapter=adapter,
        mert=mert,
        captioner=captioner,
        batch_tokens=batch_tokens,
        abc_as_is=abc_as_is,
        keep_unit_length=keep_unit_length,
    )
    rows_in, rejected = embed_sources(
        embedder,
        sources,
        out,
        npy=form is VectorForm.npy,
        temporal=temporal,
        workers=workers,
        devices=names if len(names) > 1 else (),
    )
    listing = out / "rejected.tsv" if form is VectorForm.npy else out.with_suffix(".rejected.tsv")
    _close(rows_in, rows_in - len(rejected), rejected, listing)


@app.command("import-weights")
@_tells_errors
def import_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE.pth", help="A file of the originals.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    text_model: Annotated[
        str, typer.Option(help="Where the tokenizer is: a folder, or owner/name on the hub.")
    ] = "FacebookAI/xlm-roberta-base",
    kind: Annotated[WeightsKind | None, typer.Option(help="What the file should hold.")] = None,
    text_length: Annotated[
        int | None, typer.Option(min=1, help="Longest text in tokens; by the file's name, or 128.")
    ] = None,
    text_heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads of the text tower.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="What to store.")] = Precision.fp32,
    licence: Annotated[str | None, typer.Option(help="Noted in the folder.")] = None,
) -> None:
    """Write the weights of M3, CLaMP 2 or CLaMP 3 as a model folder that all commands read.

    The kind and the sizes follow from the weights. Nothing in the file is executed.
    """
    from clamp3.models.exchange import import_weights as import_file

    fingerprint = import_file(
        file,
        out,
        text_model=text_model,
        kind=kind.value if kind else None,
        max_tokens=text_length,
        text_heads=text_heads,
        dtype=precision.dtype,
        licence=licence,
    )
    typer.echo(f"{out}: model {fingerprint[:16]}", err=True)


@app.command("export-weights")
@_tells_errors
def export_weights(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A model folder.")],
    out: Annotated[Path, typer.Option(help="The .pth file to write, or the folder for it.")],
) -> None:
    """Write a model folder as a .pth file in the originals' layout."""
    from clamp3.models.exchange import export_weights as export_folder

    typer.echo(f"{export_folder(folder, out)}", err=True)


@app.command()
@_tells_errors
def search(
    query: Annotated[str, typer.Argument(help="A text, or a score, MIDI, sound or image file.")],
    where: Annotated[
        Path,
        typer.Argument(
            metavar="EMBEDDINGS", help="A table, a folder of tables, or a folder of music."
        ),
    ],
    model: ModelSource,
    adapter: AdapterFolder = None,
    mert: Mert = None,
    captioner: CaptionerSource = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many results.")] = 10,
    modality: Annotated[Modality | None, typer.Option(help="Only results of this kind.")] = None,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Print what is nearest to the query: rank, cosine, id and modality, parted by tabs."""
    from clamp3.retrieval.embedder import load_model
    from clamp3.retrieval.search import query_vector, read_tables
    from clamp3.retrieval.search import search as find_nearest

    _set_threads(threads)
    embedder = load_model(model, adapter=adapter, mert=mert, captioner=captioner, device=device)
    tables = read_tables(where, embedder)
    vector = query_vector(query, embedder)
    for rank, hit in enumerate(find_nearest(vector, tables, top_k, modality=modality), start=1):
        labels = "\t".join(value for _, value in sorted(hit.labels.items(), reverse=True))
        typer.echo(f"{rank}\t{hit.similarity:.4f}\t{hit.id}\t{labels}")


@app.command()
@_tells_errors
def train(
    task: Annotated[
        str, typer.Argument(help="m3, a stage of clamp3 by its name, lora-abc or lora-mtf.")
    ],
    params: Annotated[Path, typer.Option(help="Its settings.")] = Path("params.yaml"),
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="By default results/trainings/TASK.")
    ] = None,
    train_manifests: Annotated[
        list[Path] | None, typer.Option("--train", help="A manifest; the pipeline's by default.")
    ] = None,
    validation: Annotated[
        list[Path] | None, typer.Option(help="A manifest to evaluate on.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="The model to begin with; the pipeline's by default.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="For a new text tower; the pipeline's by default.")
    ] = None,
) -> None:
    """Train one model of params.yaml outside the pipeline: DIR/model and DIR/metrics.tsv.

    Stopped at any moment, the same command goes on where it was.
    """
    from clamp3.logs import is_first_process
    from clamp3.training.train_command import Given, run_training

    if not is_first_process():
        logging.getLogger().setLevel(logging.ERROR)
    given = Given(train_manifests or (), validation or (), start, tokenizer)
    model = run_training(task, params, out, given)
    if "RANK" not in os.environ:  # of several processes none, but who launched them
        typer.echo(f"{model}", err=True)


@app.command()
@_tells_errors
def convert(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE…", help="Files or folders: ABC, MusicXML, MIDI, MTF."),
    ],
    to: Annotated[Target, typer.Option(help="The form to write.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.")],
    keep_metadata: Annotated[
        bool, typer.Option("--keep-metadata", help="Keep text events in MTF.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per core by default.")
    ] = None,
    seconds_per_file: Annotated[
        float, typer.Option(min=0.1, help="After these it is rejected.")
    ] = 60,
    force: Annotated[bool, typer.Option("--force", help="Make again what is up to date.")] = False,
) -> None:
    """Convert scores to ABC or interleaved ABC, and MIDI to MTF or back, one file for each.

    Outputs keep their place below the given folder; where two would get one name, each keeps its
    old suffix before the new one. What fails is listed in rejected.tsv of DIR, what is no music
    in skipped.tsv. Stopped at any moment, the same command does the rest.
    """
    from clamp3.data.file_conversion import convert_files

    if keep_metadata and to is not Target.mtf:
        raise ConfigError("--keep-metadata: only MTF can leave text events out (--to mtf)")
    try:
        report = convert_files(
            sources,
            out,
            to.value,
            keep_metadata=keep_metadata,
            workers=workers,
            seconds_per_file=seconds_per_file,
            force=force,
        )
    except KeyboardInterrupt:
        typer.echo("stopped; what is done stays, and the same command does the rest", err=True)
        raise typer.Exit(130) from None
    typer.echo(str(report), err=True)
    if not report.files_out:
        raise typer.Exit(1)


@app.command()
@_tells_errors
def evaluate(
    queries: EmbeddingSource,
    references: EmbeddingSource,
    by: PairKey = "name",
    hits_at: Annotated[str, typer.Option(help="Ranks at which hits are counted.")] = "1,5,10,100",
    ties: Annotated[
        TieRule, typer.Option(help="The rule of intervals, test and ranks; figures tell both.")
    ] = TieRule.mean,
    matched_only: Annotated[
        bool, typer.Option("--matched-only", help="Leave out references without a query.")
    ] = False,
    per: Annotated[
        str | None,
        typer.Option(metavar="folder|COLUMN", help="Figures also for each kind of query."),
    ] = None,
    against: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="QUERIES REFERENCES", help="The same by another model, to compare."),
    ] = None,
    json: ReportFile = None,
    ranks: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Where to write a row a query.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Print how well queries find their references: MRR, hits, nDCG, ranks, with 95 % intervals.

    What has no partner or cannot be read is counted here and listed in the file of --json.
    """
    from clamp3.retrieval import evaluate_command

    numbers = [word.strip() for word in hits_at.split(",")]
    if not all(word.isdecimal() for word in numbers):
        raise ConfigError(f"--hits-at {hits_at}: expected ranks parted by commas, as 1,5,10,100")
    hits = tuple(map(int, numbers))
    task = evaluate_command.Task(by, hits, ties.value, matched_only, per, seed)
    report = evaluate_command.evaluate(queries, references, task, against=against, ranks=ranks)
    _tell(report, evaluate_command.lines(report), json)


@app.command()
@_tells_errors
def score(
    first: EmbeddingSource,
    second: EmbeddingSource,
    groups: Annotated[
        bool, typer.Option("--group", help="Compare the two as wholes, not pair by pair.")
    ] = False,
    by: PairKey = "name",
    json: ReportFile = None,
    seed: Seed = 0,
) -> None:
    """Print how alike two sets of embeddings are: by pairs, or with --group as distributions."""
    from clamp3.retrieval import similarity

    report = similarity.score(first, second, by=by, groups=groups, seed=seed)
    _tell(report, similarity.lines(report), json)


@classify_app.command("train")
@_tells_errors
def classify_train(
    features: EmbeddingSource,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where probe and report go.")],
    labels: LabelTable = None,
    label_column: LabelColumn = "label",
    recipe: Annotated[
        ProbeRecipe, typer.Option(help="Logistic regression, or the originals' recipe.")
    ] = ProbeRecipe.logistic,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Every label counts alike, however rare.")
    ] = False,
    folds: Annotated[int, typer.Option(min=2, help="Of the cross-validation.")] = 5,
    test: Annotated[
        Path | None, typer.Option(metavar="FEATURES", help="Test on these; no cross-validation.")
    ] = None,
    inverse_l2: Annotated[
        float | None, typer.Option("--c", help="C of the L2 penalty; by inner folds else.")
    ] = None,
    softmax_twice: Annotated[
        bool, typer.Option("--softmax-twice", help="The original recipe's loss as it was.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="At most; original recipe.")] = 1000,
    learning_rate: Annotated[float, typer.Option(help="Original recipe.")] = 1e-5,
    seed: Annotated[int, typer.Option(help="Of the folds and the original recipe.")] = 0,
) -> None:
    """Train a linear probe on labelled embeddings, and print what it is worth on unseen ones.

    DIR gets the probe (trained on all), evaluation.json, predictions.tsv and rejected.tsv.
    """
    from clamp3.retrieval.classify_command import report_lines, train_from_files
    from clamp3.retrieval.probe_training import Recipe

    settings = Recipe(
        recipe.value, inverse_l2, balanced, softmax_twice, epochs, learning_rate, seed
    )
    report = train_from_files(
        features,
        out,
        settings,
        labels=labels,
        label_column=label_column,
        folds=folds,
        test=test,
    )
    typer.echo("\n".join(report_lines(report)))
    used, refused = report["rows_in"], report["rejected"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in refused.items())
    note = f" ({kinds}: {out / 'rejected.tsv'})" if kinds else ""
    typer.echo(f"{used} in, {sum(refused.values())} rejected{note}", err=True)


@classify_app.command("predict")
@_tells_errors
def classify_predict(
    features: EmbeddingSource,
    probe: Annotated[
        Path, typer.Option(metavar="DIR", help="Of `classify train`, or an original's .pth file.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .tsv, .csv or .parquet; else printed.")
    ] = None,
) -> None:
    """Print for each embedding its label and the probability of every label."""
    from clamp3.retrieval.classify_command import predict_from_files

    lines, refused = predict_from_files(features, probe, out)
    for name, _, reason in refused:
        logging.warning("%s: %s", name, reason)
    if out is None:
        typer.echo(lines, nl=False)


@app.command("zero-shot")
@_tells_errors
def zero_shot(
    sources: Sources,
    labels: Annotated[Path, typer.Option(metavar="FILE.txt", help="The labels, one a line.")],
    model: ModelSource,
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", help="Text with {} for the label; may be given repeatedly."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(metavar="TABLE|names", help="True labels, to judge by; or in the names."),
    ] = None,
    label_column: LabelColumn = "label",
    json: ReportFile = None,
    adapter: AdapterFolder = None,
    mert: Mert = None,
    captioner: CaptionerSource = None,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Label pieces, or a table of embeddings, by the nearest label text: no training.

    Prints id, label and the cosine with each label, parted by tabs.
    """
    from clamp3.files import write_json
    from clamp3.retrieval import zero_shot as shots
    from clamp3.retrieval.classify_command import report_lines
    from clamp3.retrieval.embedder import load_model

    classes = shots.read_classes(labels)
    _set_threads(threads)
    embedder = load_model(model, adapter=adapter, mert=mert, captioner=captioner, device=device)
    found = shots.zero_shot(embedder, sources, classes, prompts or shots.DEFAULT_PROMPTS)
    report = {"prompts": list(prompts or shots.DEFAULT_PROMPTS)}
    report["judged"] = shots.judged(found, truth, label_column) if truth else None
    typer.echo("\n".join(shots.lines(found)))
    if truth:
        typer.echo("\n".join(report_lines(report["judged"])))
    for name, _, reason in found.refused:
        logging.warning("%s: %s", name, reason)
    if json:
        rejected = [list(row) for row in found.refused]
        write_json(json, report | {"pieces": shots.result_rows(found), "rejected": rejected})


def _tell(report: dict, lines: list[str], path: Path | None) -> None:
    """Print the lines, warn of files that were refused, and write the report if asked."""
    from clamp3.files import write_json

    typer.echo("\n".join(lines))
    for side, refused in report["refused"].items():
        for entry in refused:
            logging.warning("%s: %s: %s", side, entry["file"], entry["reason"])
    if path:
        write_json(path, report)


def _set_threads(count: int | None) -> None:
    if count:
        import torch

        torch.set_num_threads(count)


def _close(rows_in: int, rows_out: int, rejected: list, path: Path) -> None:
    """List the failures, print the balance, and fail when nothing was done."""
    from clamp3.files import write_text

    lines = ["id\tkind\treason"]
    lines += ["\t".join(map(_one_cell, (name, e.kind, e))) for name, e in rejected]
    write_text(path, "\n".join(lines) + "\n")
    typer.echo(f"{rows_in} in, {rows_out} out, {len(rejected)} rejected ({path})", err=True)
    if not rows_out:
        raise typer.Exit(1)


def _one_cell(value: object) -> str:
    return " ".join(str(value).split())
