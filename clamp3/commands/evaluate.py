"""`clamp3 evaluate` and `clamp3 score`: how good, and how alike, embeddings are."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from clamp3.commands.options import EmbeddingSource, PairKey, ReportFile, Seed, tells_errors
from clamp3.errors import ConfigError

app = typer.Typer()
TieRule = Literal["mean", "optimistic"]


@app.command()
@tells_errors
def evaluate(
    queries: EmbeddingSource,
    references: EmbeddingSource,
    by: PairKey = "name",
    hits_at: Annotated[str, typer.Option(help="Ranks at which hits are counted.")] = "1,5,10,100",
    ties: Annotated[
        TieRule, typer.Option(help="The rule of intervals, test and ranks; figures tell both.")
    ] = "mean",
    matched_only: Annotated[
        bool, typer.Option("--matched-only", help="Leave out references without a query.")
    ] = False,
    per: Annotated[
        str | None,
        typer.Option(metavar="folder|COLUMN", help="Figures also for each kind of query."),
    ] = None,
    against: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="QUERIES REFERENCES", help="The same by another model, to compare."),
    ] = None,
    json: ReportFile = None,
    ranks: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Where to write a row a query.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Print how well queries find their references: MRR, hits, nDCG, ranks, with 95 % intervals.

    What has no partner or cannot be read is counted here and listed in the file of --json.
    """
    from clamp3.retrieval.evaluation import command as evaluate_command

    numbers = [word.strip() for word in hits_at.split(",")]
    if not all(word.isdecimal() for word in numbers):
        raise ConfigError(f"--hits-at {hits_at}: expected ranks parted by commas, as 1,5,10,100")
    hits = tuple(map(int, numbers))
    task = evaluate_command.Task(by, hits, ties, matched_only, per, seed)
    report = evaluate_command.evaluate(queries, references, task, against=against, ranks=ranks)
    tell(report, evaluate_command.lines(report), json)


@app.command()
@tells_errors
def score(
    first: EmbeddingSource,
    second: EmbeddingSource,
    groups: Annotated[
        bool, typer.Option("--group", help="Compare the two as wholes, not pair by pair.")
    ] = False,
    by: PairKey = "name",
    json: ReportFile = None,
    seed: Seed = 0,
) -> None:
    """Print how alike two sets of embeddings are: by pairs, or with --group as distributions."""
    from clamp3.retrieval.evaluation import similarity

    report = similarity.score(first, second, by=by, groups=groups, seed=seed)
    tell(report, similarity.lines(report), json)


def tell(report: dict, lines: list[str], path: Path | None) -> None:
    """Print the lines, warn of files that were refused, and write the report if asked."""
    from clamp3.files import write_json

    typer.echo("\n".join(lines))
    for side, refused in report["refused"].items():
        for entry in refused:
            logging.warning("%s: %s: %s", side, entry["file"], entry["reason"])
    if path:
        write_json(path, report)
