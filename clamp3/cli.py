"""The command line: `clamp3 embed`, `clamp3 search`, `clamp3 convert`.

Only what a command needs is imported, and only when it runs: `clamp3 --help` must not load torch.
"""

import functools
import logging
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clamp3.errors import Clamp3Error, ConfigError, FormatError

app = typer.Typer(
    help="Music retrieval across text, scores, performances and recordings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Sources = Annotated[
    list[Path],
    typer.Argument(metavar="SOURCE…", help="Files or folders: ABC, MusicXML, MIDI, MTF, text, …"),
]
ModelFolder = Annotated[Path, typer.Option("--model", help="A model folder.")]
AdapterFolder = Annotated[
    Path | None, typer.Option("--adapter", help="A LoRA folder for scores or performances.")
]
MertFolder = Annotated[
    Path | None,
    typer.Option("--mert", help="A MERT folder, for sound files and models that need it."),
]
BatchTokens = Annotated[
    int, typer.Option(min=1, help="Patches, text tokens or frames computed at once.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all by default.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one by default.")]


class Target(StrEnum):
    """What `clamp3 convert` can write."""

    abc = "abc"
    interleaved = "interleaved"
    mtf = "mtf"


class Modality(StrEnum):
    """What `clamp3 search` can be limited to."""

    text = "text"
    abc = "abc"
    mtf = "mtf"
    audio = "audio"


def _tells_errors(command: Callable) -> Callable:
    """The command, with an error that the user can mend as one line and exit status 1."""

    @functools.wraps(command)
    def wrapped(*args: object, **options: object) -> None:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
        try:
            command(*args, **options)
        except Clamp3Error as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error

    return wrapped


@app.callback()
def main() -> None:
    """Music retrieval across text, scores, performances and recordings."""


@app.command()
@_tells_errors
def embed(
    sources: Sources,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .parquet file to write.")],
    model: ModelFolder,
    adapter: AdapterFolder = None,
    mert: MertFolder = None,
    batch_tokens: BatchTokens = 8192,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Embed files of any kind into one table; those that fail are listed beside it.

    OUT gets the columns id (the path below the given folder), modality and embedding; what could
    not be embedded, and why, stands in OUT with the ending .rejected.tsv.
    """
    from clamp3.retrieval.search import Embedder, find_sources
    from clamp3.retrieval.vectors import write_vectors

    if out.suffix != ".parquet":
        raise ConfigError(f"{out}: the last argument is the table to write and ends in .parquet")
    _set_threads(threads)
    found, refused = find_sources(sources)
    vectors, failed = Embedder(
        model, adapter=adapter, mert=mert, batch_tokens=batch_tokens, device=device
    ).embed_sources(found)
    rejected = sorted([*refused, *failed], key=lambda row: row[0])
    if vectors.ids:
        write_vectors(out, vectors)
    _close(len(found) + len(refused), len(vectors.ids), rejected, out.with_suffix(".rejected.tsv"))


@app.command()
@_tells_errors
def search(
    query: Annotated[str, typer.Argument(help="A text, or a score, MIDI or sound file.")],
    where: Annotated[
        Path,
        typer.Argument(
            metavar="EMBEDDINGS", help="A table, a folder of tables, or a folder of music."
        ),
    ],
    model: ModelFolder,
    adapter: AdapterFolder = None,
    mert: MertFolder = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many results.")] = 10,
    modality: Annotated[Modality | None, typer.Option(help="Only results of this kind.")] = None,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Print what is nearest to the query: rank, cosine, id and modality, parted by tabs."""
    from clamp3.retrieval.search import Embedder, query_vector, read_tables
    from clamp3.retrieval.search import search as find_nearest

    _set_threads(threads)
    embedder = Embedder(model, adapter=adapter, mert=mert, device=device)
    tables = read_tables(where, embedder)
    vector = query_vector(query, embedder)
    for rank, hit in enumerate(find_nearest(vector, tables, top_k, modality=modality), start=1):
        labels = "\t".join(value for _, value in sorted(hit.labels.items(), reverse=True))
        typer.echo(f"{rank}\t{hit.similarity:.4f}\t{hit.id}\t{labels}")


@app.command()
@_tells_errors
def convert(
    sources: Sources,
    to: Annotated[Target, typer.Option(help="The form to write.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
) -> None:
    """Convert scores to ABC or interleaved ABC, and MIDI to MTF, one file for each.

    Files keep their place below the given folder; where two would get one name, each keeps its
    old suffix before the new one. Failures are listed in rejected.tsv of the folder.
    """
    from clamp3.files import write_text
    from clamp3.retrieval.sources import attempt, convert_piece, find_sources, target_names

    found, rejected = find_sources(sources)
    done = 0
    read = functools.partial(convert_piece, target=to.value)
    for source, name in target_names(found, to.value):
        try:
            write_text(out / name, attempt(read, source))
            done += 1
        except FormatError as error:
            rejected.append((source.id, error))
    _close(
        done + len(rejected), done, sorted(rejected, key=lambda row: row[0]), out / "rejected.tsv"
    )


def _set_threads(count: int | None) -> None:
    if count:
        import torch

        torch.set_num_threads(count)


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
