"""`clamp3 train`: one training outside the pipeline."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from clamp3.commands.options import tells_errors

app = typer.Typer()


@app.command()
@tells_errors
def train(
    task: Annotated[
        str,
        typer.Argument(
            help="m3, a stage of clamp3 by its name, lora-abc, lora-mtf, clap-text, clap-heads or "
            "clamp2."
        ),
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
    guard: Annotated[
        Path | None,
        typer.Option(help="For an adapter: a manifest of another collection, not to be spoiled."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="The model to begin with; the pipeline's by default.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="For a new text tower; the pipeline's by default.")
    ] = None,
    states: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="For clap-heads: a table of what MusicGen makes of recordings, or a parts.tsv of "
            "such tables; the pipeline's by default.",
        ),
    ] = None,
) -> None:
    """Train one model of params.yaml outside the pipeline: DIR/model and DIR/metrics.tsv.

    Stopped at any moment, the same command goes on where it was.
    """
    from clamp3.logs import is_first_process
    from clamp3.training.train_command import Given, run_training

    if not is_first_process():
        logging.getLogger().setLevel(logging.ERROR)
    given = Given(train_manifests or (), validation or (), guard, start, tokenizer, states or ())
    model = run_training(task, params, out, given)
    if "RANK" not in os.environ:  # of several processes none, but who launched them
        typer.echo(f"{model}", err=True)
