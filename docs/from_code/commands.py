"""Every command of the command line with its arguments and options."""

import re
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from clamp3.cli import app


def markdown(root: Path) -> str:
    """What `clamp3 COMMAND --help` prints, for all commands."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="clamp3")
    text = get_docs_for_click(obj=command, ctx=context, name="clamp3")
    beginning = text.index("## `clamp3 ")  # before it stand the list of commands and --help
    # `$ clamp3 …` is there to be copied.
    return re.sub(r"^\$ (?=clamp3)", "", text[beginning:], flags=re.MULTILINE).replace(
        "```console", "```text"
    )
