"""`clamp3 import-weights` and `export-weights`: model folders and files of the originals."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clamp3.commands.options import Precision, tells_errors

app = typer.Typer()
WeightsKind = Literal["m3", "clamp2", "clamp3"]


@app.command("import-weights")
@tells_errors
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
        kind=kind,
        max_tokens=text_length,
        text_heads=text_heads,
        dtype=precision.dtype,
        licence=licence,
    )
    typer.echo(f"{out}: model {fingerprint[:16]}", err=True)


@app.command("export-weights")
@tells_errors
def export_weights(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A model folder.")],
    out: Annotated[Path, typer.Option(help="The .pth file to write, or the folder for it.")],
) -> None:
    """Write a model folder as a .pth file in the originals' layout."""
    from clamp3.models.exchange import export_weights as export_folder

    typer.echo(f"{export_folder(folder, out)}", err=True)
