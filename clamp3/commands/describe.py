"""`clamp3 describe`: the shape of an embedding space, and what neighbours in it share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clamp3.commands.evaluate import tell
from clamp3.commands.options import PairKey, ReportFile, Seed, tells_errors

app = typer.Typer()
Layout = Literal["neighbours", "principal"]


@app.command()
@tells_errors
def describe(
    embeddings: Annotated[
        list[str],
        typer.Argument(
            metavar="EMBEDDINGS…",
            help="Tables of embeddings, folders of .npy files; also by s3://….",
        ),
    ],
    metadata: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TABLE", help="What is known of the pieces, by a column id, file or path."
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="ABC files or a store: key, mode and metre are read."),
    ] = None,
    colour: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="What to colour by; what tells most by default."),
    ] = None,
    by: PairKey = "name",
    layout: Annotated[
        Layout, typer.Option(help="Maps by t-SNE, or by principal axes.")
    ] = "neighbours",
    neighbours: Annotated[int, typer.Option(min=1, help="Nearest pieces looked at.")] = 10,
    pieces: Annotated[int, typer.Option(min=0, help="Pieces whose nearest are listed.")] = 5,
    points: Annotated[int, typer.Option(min=3, help="Drawn on a map, of all together.")] = 1000,
    sample: Annotated[
        int, typer.Option(min=2, help="Rows of each modality computed from, at most.")
    ] = 5000,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Where to write maps and tables.")
    ] = None,
    json: ReportFile = None,
    seed: Seed = 0,
) -> None:
    """Print how far modalities lie apart, how even the space is, and what neighbours share.

    With --out also maps coloured by metadata, and the nearest of some pieces, as one HTML page.
    """
    from clamp3.config import SpaceConfig
    from clamp3.retrieval.report import command as describe_command

    settings = SpaceConfig(
        columns=tuple(colour or ()),
        layout=layout,
        map_points=points,
        sample=sample,
        neighbours=neighbours,
        pieces=pieces,
    )
    known = describe_command.Known(tuple(metadata or ()), scores)
    report = describe_command.describe_files(embeddings, known, settings, by=by, out=out, seed=seed)
    tell(report, describe_command.lines(report), json)
