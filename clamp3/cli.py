"""The command line: one file per group of commands in clamp3/commands/.

Only what a command needs is imported, and only when it runs: `clamp3 --help` must not load torch.
"""

from typing import Annotated

import typer

from clamp3 import __version__
from clamp3.commands import (
    classify,
    convert,
    dataset,
    describe,
    download,
    embed,
    evaluate,
    index,
    search,
    serve,
    summarise,
    train,
    weights,
)

app = typer.Typer(
    help="Music retrieval across text, scores, performances and recordings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (
    embed,
    search,
    serve,
    index,
    convert,
    train,
    evaluate,
    describe,
    classify,
    weights,
    download,
    dataset,
    summarise,
):
    app.add_typer(group.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clamp3 {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="The version."),
    ] = False,
) -> None:
    """Music retrieval across text, scores, performances and recordings."""
