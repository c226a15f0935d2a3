"""`clamp3 classify` and `clamp3 zero-shot`: labels from embeddings."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from clamp3.commands.options import (
    AdapterFolders,
    CaptionerSource,
    Device,
    EmbeddingSource,
    LabelColumn,
    LabelTable,
    Mert,
    ModelSource,
    ReportFile,
    Sources,
    Threads,
    set_threads,
    tells_errors,
)

app = typer.Typer()
classify_app = typer.Typer(help="Labels from embeddings, by linear probes.", no_args_is_help=True)
app.add_typer(classify_app, name="classify")
ProbeRecipe = Literal["logistic", "original"]


@classify_app.command("train")
@tells_errors
def classify_train(
    features: EmbeddingSource,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where probe and report go.")],
    labels: LabelTable = None,
    label_column: LabelColumn = "label",
    recipe: Annotated[
        ProbeRecipe, typer.Option(help="Logistic regression, or the originals' recipe.")
    ] = "logistic",
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Every label counts alike, however rare.")
    ] = False,
    folds: Annotated[int, typer.Option(min=2, help="Of the cross-validation.")] = 5,
    test: Annotated[
        str | None, typer.Option(metavar="FEATURES", help="Test on these; no cross-validation.")
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
    from clamp3.retrieval.classification.command import report_lines, train_from_files
    from clamp3.retrieval.classification.training import Recipe

    settings = Recipe(recipe, inverse_l2, balanced, softmax_twice, epochs, learning_rate, seed)
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
@tells_errors
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
    from clamp3.retrieval.classification.command import predict_from_files

    lines, refused = predict_from_files(features, probe, out)
    for name, _, reason in refused:
        logging.warning("%s: %s", name, reason)
    if out is None:
        typer.echo(lines, nl=False)


@app.command("zero-shot")
@tells_errors
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
    adapter: AdapterFolders = None,
    mert: Mert = None,
    captioner: CaptionerSource = None,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Label pieces, or a table or an index of embeddings, by the nearest label text: no training.

    Prints id, label and the cosine with each label, parted by tabs.
    """
    from clamp3.data.raw_files.folders import local_sources
    from clamp3.files import write_json
    from clamp3.retrieval import zero_shot as shots
    from clamp3.retrieval.classification.command import report_lines
    from clamp3.retrieval.embedding.embedder import load_model

    classes = shots.read_classes(labels)
    set_threads(threads)
    embedder = load_model(model, adapter=adapter, mert=mert, captioner=captioner, device=device)
    with local_sources(sources) as files:
        found = shots.zero_shot(embedder, files, classes, prompts or shots.DEFAULT_PROMPTS)
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
