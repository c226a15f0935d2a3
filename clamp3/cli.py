"""The command line: one file per group of commands in clamp3/commands/.

Only what a command needs is imported, and only when it runs: `clamp3 --help` must not load torch.
"""

import typer

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


@app.callback()
def main() -> None:
    """Music retrieval across text, scores, performances and recordings."""
