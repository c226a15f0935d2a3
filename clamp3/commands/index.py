"""`clamp3 index`: indexes of embeddings, which answer `clamp3 search` fast."""

from pathlib import Path
from typing import Annotated

import typer

from clamp3.commands.options import tells_errors

app = typer.Typer()
index = typer.Typer(help="Build, extend and look into indexes that are searched fast.")
app.add_typer(index, name="index", no_args_is_help=True)

IndexFolder = Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of the index.")]
Tables = Annotated[
    list[str],
    typer.Argument(
        metavar="TABLE…", help="Tables of `clamp3 embed`, also by s3://…, or folders of such."
    ),
]
Metadata = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="TABLE",
        help="What to filter by: a table with a column id, file or path; may be repeated.",
    ),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="What ids are paths in: scores and sound to show and play; may be repeated.",
    ),
]
Pieces = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE",
        help="What to show: columns id, title, abc (text), midi, audio (paths in --files).",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="CONDITION", help="Only rows such as genre=jig; may be repeated."),
]


@index.command()
@tells_errors
def build(
    folder: IndexFolder,
    tables: Tables,
    metadata: Metadata = None,
    files: Files = None,
    pieces: Pieces = None,
    ann: Annotated[
        bool, typer.Option("--ann", help="Prepare `clamp3 search --approximate`; needs faiss.")
    ] = False,
    recall: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="What part of the 10 best --approximate has to find."),
    ] = 0.98,
    queries: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Embedded texts to measure that with; else own rows."),
    ] = None,
) -> None:
    """Make an index of tables of embeddings; one that is there is replaced."""
    from clamp3.data.raw_files.reading import local_copies
    from clamp3.retrieval.index.ann import AnnSettings
    from clamp3.retrieval.index.writer import build_index

    settings = AnnSettings(recall, queries) if ann else None
    known = {"metadata": metadata or (), "files": files or (), "pieces": pieces}
    with local_copies(tables) as copies:
        _tell(build_index(folder, copies, ann=settings, **known))


@index.command()
@tells_errors
def add(
    folder: IndexFolder,
    tables: Tables,
    metadata: Metadata = None,
    files: Files = None,
    pieces: Pieces = None,
) -> None:
    """Add the rows of tables; those of the same id, modality and field are replaced."""
    from clamp3.data.raw_files.reading import local_copies
    from clamp3.retrieval.index.writer import add_to_index

    known = {"metadata": metadata or (), "files": files or (), "pieces": pieces}
    with local_copies(tables) as copies:
        _tell(add_to_index(folder, copies, **known))


@index.command()
@tells_errors
def delete(
    folder: IndexFolder,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…")] = None,
    where: Where = None,
) -> None:
    """Delete the rows with these ids, or those that meet all conditions, or both."""
    from clamp3.retrieval.index.writer import delete_from_index

    typer.echo(f"{delete_from_index(folder, ids or (), where=where or ())} rows deleted")


@index.command()
@tells_errors
def info(
    folder: IndexFolder,
    check: Annotated[
        bool, typer.Option("--check", help="Read all files and compare their hashes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print how many rows an index has, of which model, and what they can be filtered by."""
    from clamp3.retrieval.index.reader import open_index

    opened = open_index(folder)
    if check:
        opened.check()
    facts = opened.info()
    if json:
        import json as form

        typer.echo(form.dumps(facts, ensure_ascii=False, indent=2))
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' ')}: {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    if isinstance(value, list):
        return "; ".join(map(_shown, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _tell(changes: object) -> None:
    repeated = f", {changes.repeated} repeated and left out" if changes.repeated else ""
    typer.echo(
        f"{changes.added} added, {changes.replaced} replaced, {changes.unchanged} unchanged"
        f"{repeated}: {changes.rows} rows now"
    )
