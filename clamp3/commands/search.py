"""`clamp3 search`: what is nearest to a query."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clamp3.commands.options import (
    AdapterFolders,
    CaptionerSource,
    Device,
    Mert,
    ModelSource,
    Threads,
    set_threads,
    tells_errors,
)

app = typer.Typer()


class Modality(StrEnum):
    """What `clamp3 search` can be limited to."""

    text = "text"
    abc = "abc"
    mtf = "mtf"
    audio = "audio"
    image = "image"


@app.command()
@tells_errors
def search(
    query: Annotated[str, typer.Argument(help="A text, or a score, MIDI, sound or image file.")],
    where: Annotated[
        Path,
        typer.Argument(
            metavar="EMBEDDINGS", help="A table, a folder of tables, or a folder of music."
        ),
    ],
    model: ModelSource,
    adapter: AdapterFolders = None,
    mert: Mert = None,
    captioner: CaptionerSource = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many results.")] = 10,
    modality: Annotated[Modality | None, typer.Option(help="Only results of this kind.")] = None,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Print what is nearest to the query: rank, cosine, id and modality, parted by tabs."""
    from clamp3.retrieval.embedder import load_model
    from clamp3.retrieval.search import query_vector, read_tables
    from clamp3.retrieval.search import search as find_nearest

    set_threads(threads)
    embedder = load_model(model, adapter=adapter, mert=mert, captioner=captioner, device=device)
    tables = read_tables(where, embedder)
    vector = query_vector(query, embedder)
    for rank, hit in enumerate(find_nearest(vector, tables, top_k, modality=modality), start=1):
        labels = "\t".join(value for _, value in sorted(hit.labels.items(), reverse=True))
        typer.echo(f"{rank}\t{hit.similarity:.4f}\t{hit.id}\t{labels}")
