"""`clamp3 embed`: files of any kind to vectors."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clamp3.commands.options import (
    AdapterFolders,
    BatchTokens,
    CaptionerSource,
    Mert,
    ModelSource,
    Precision,
    Sources,
    Threads,
    set_threads,
    tells_errors,
)
from clamp3.errors import ConfigError

app = typer.Typer()
VectorForm = Literal["parquet", "npy"]


@app.command()
@tells_errors
def embed(
    sources: Sources,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .parquet file, or the folder.")],
    model: ModelSource,
    temporal: Annotated[
        bool, typer.Option("--temporal", help="A vector for each patch, token or frame.")
    ] = False,
    form: Annotated[
        VectorForm, typer.Option("--format", help="One table, or a tree of .npy files.")
    ] = "parquet",
    precision: Annotated[Precision, typer.Option(help="What to compute in.")] = Precision.fp32,
    adapter: AdapterFolders = None,
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
    from clamp3.data.raw_files.folders import local_sources
    from clamp3.retrieval.embedding.command import embed_sources, listed_devices
    from clamp3.retrieval.embedding.embedder import load_model

    if (form == "parquet") != (out.suffix == ".parquet"):
        raise ConfigError(
            f"{out}: the last argument is the table to write and ends in .parquet, or with "
            "--format npy a folder"
        )
    set_threads(threads)
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
    with local_sources(sources) as files:
        rows_in, rejected = embed_sources(
            embedder,
            files,
            out,
            npy=form == "npy",
            temporal=temporal,
            workers=workers,
            devices=names if len(names) > 1 else (),
        )
    listing = out / "rejected.tsv" if form == "npy" else out.with_suffix(".rejected.tsv")
    _close(rows_in, rows_in - len(rejected), rejected, listing)


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
