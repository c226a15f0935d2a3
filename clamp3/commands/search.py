"""`clamp3 search`: what is nearest to a query."""

from pathlib import Path
from typing import Annotated, Literal

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
Modality = Literal["text", "abc", "mtf", "audio", "image"]


@app.command()
@tells_errors
def search(
    query: Annotated[str, typer.Argument(help="A text, or a score, MIDI, sound or image file.")],
    collection: Annotated[
        Path,
        typer.Argument(help="An index, a table, a folder of tables, or a folder of music."),
    ],
    model: ModelSource,
    adapter: AdapterFolders = None,
    mert: Mert = None,
    captioner: CaptionerSource = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many results.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Only results such as genre=jig or year>=1900; may be given repeatedly.",
        ),
    ] = None,
    modality: Annotated[Modality | None, typer.Option(help="Only results of this kind.")] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Faster, in an index built with --ann.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with all metadata.")] = False,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Print what is nearest to the query: rank, cosine, id, modality, title, parted by tabs.

    A folder of music is embedded when it is first searched, and later what has changed in it.
    """
    from clamp3.retrieval.embedding.embedder import load_model
    from clamp3.retrieval.search import search_collection

    set_threads(threads)
    conditions = [*(where or []), *([f"modality={modality}"] if modality else [])]
    embedder = load_model(model, adapter=adapter, mert=mert, captioner=captioner, device=device)
    hits = search_collection(
        query, collection, embedder, top_k, where=conditions, approximate=approximate
    )
    if json:
        _tell_json(query, embedder.space, hits)
        return
    for rank, hit in enumerate(hits, start=1):
        labels = "\t".join(value for _, value in sorted(hit.labels.items(), reverse=True))
        title = hit.metadata.get("title") or []
        titles = [title] if isinstance(title, str) else title[:1]
        titles = [" ".join(title.split()) for title in titles]  # one line, one cell
        typer.echo("\t".join([str(rank), f"{hit.similarity:.4f}", hit.id, labels, *titles]))


def _tell_json(query: str, space: str, hits: list) -> None:
    import json

    results = [
        {"rank": rank, "id": hit.id, "similarity": hit.similarity}
        | hit.labels
        | {"metadata": hit.metadata}
        for rank, hit in enumerate(hits, start=1)
    ]
    found = {"query": query, "model": space, "results": results}
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
