"""`clamp3 dataset`: a data set in its own layout to files that the other commands read."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clamp3.commands.options import tells_errors

app = typer.Typer()
# Those of clamp3.config.LAYOUTS, which would take pydantic to import, and one more.
Layout = Literal[
    "wikimt",
    "wikimt_x",
    "midicaps",
    "lakh",
    "song_describer",
    "musiccaps",
    "labelled_scores",
    "labelled_performances",
    "labelled_recordings",
    "m4_rag",
]


@app.command()
@tells_errors
def dataset(
    layout: Annotated[Layout, typer.Argument(help="How the data set lies (docs/datasets.md).")],
    path: Annotated[Path, typer.Argument(help="Its list, or its folder where it has none.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.")],
    music: Annotated[
        Path | None, typer.Option(metavar="DIR", help="m4_rag: files called like the ids.")
    ] = None,
    check_files: Annotated[
        bool, typer.Option("--check/--no-check", help="Reject pieces whose files are not there.")
    ] = True,
) -> None:
    """Write a data set's music, texts, labels and faulty rows to a folder.

    `clamp3 embed` reads OUT/music and OUT/texts, `clamp3 evaluate` pairs them by name.
    """
    from clamp3.data.dataset_command import export_data_set

    parsed = export_data_set(layout, path, out, music=music, check_files=check_files)
    kept = len(parsed.columns.get("id", []))
    told = f"{parsed.rows_in} in, {kept} out, {len(parsed.rejected)} rejected"
    typer.echo(f"{told}, {parsed.left_out} left out ({out})", err=True)
    if not kept:
        raise typer.Exit(1)
