"""`clamp3 convert`: scores and MIDI files to the forms that models read."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clamp3.commands.options import tells_errors
from clamp3.errors import ConfigError

app = typer.Typer()
Target = Literal["abc", "interleaved", "mtf", "midi"]


@app.command()
@tells_errors
def convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…",
            help="Files, folders or archives, also by s3://…: ABC, MusicXML, MIDI, MTF.",
        ),
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
    from clamp3.data.raw_files.folders import local_sources

    if keep_metadata and to != "mtf":
        raise ConfigError("--keep-metadata: only MTF can leave text events out (--to mtf)")
    try:
        with local_sources(sources) as files:
            report = convert_files(
                files,
                out,
                to,
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
