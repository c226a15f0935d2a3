"""`clamp3 download`: data sets from where their authors keep them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from clamp3.commands.options import tells_errors
from clamp3.errors import ConfigError

app = typer.Typer()


@app.command()
@tells_errors
def download(
    name: Annotated[str | None, typer.Argument(help="The data set; --list names all.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to put it; data/NAME by default.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask: the licence is accepted.")
    ] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the data sets and stop.")] = False,
    registry: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another list, such as a mirror's.")
    ] = None,
) -> None:
    """Fetch a data set: shows licence and size, asks, resumes, checks, unpacks.

    Stopped at any moment, the same command does the rest.
    """
    from clamp3.data.data_sets import find_data_set, read_registry
    from clamp3.data.download_command import advice, fetch_all, introduction, table

    known = read_registry(registry)
    if list_all:
        typer.echo("\n".join(table(known)))
        return
    if name is None:
        raise ConfigError("which data set? `clamp3 download --list` names all")
    plain, data_set = find_data_set(name, known)
    folder = out or Path("data") / plain
    typer.echo("\n".join(introduction(data_set, folder)))
    if data_set.files:
        if not yes:
            _ask(data_set.title)
        fetch_all(data_set, folder)
    typer.echo("\n".join(advice(plain, data_set, folder)))


def _ask(title: str) -> None:
    if not _is_terminal():
        raise ConfigError("there is no terminal to ask on; if you accept the licence, say --yes")
    typer.confirm(f"Download {title}?", abort=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()
