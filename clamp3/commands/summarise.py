"""`clamp3 summarise`: what the metadata of pieces say, as text in English and another language."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from clamp3.commands.options import tells_errors

app = typer.Typer()
Writer = Literal["template", "openai"]


@app.command()
@tells_errors
def summarise(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE…",
            help="A catalogue (parts or their folder), a folder of .json files, .jsonl.",
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write to; run again, it goes on.")],
    writer: Annotated[
        Writer | None, typer.Option(help="template (offline, five languages) or openai.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible server.")] = None,
    model: Annotated[str | None, typer.Option(help="As the server calls it.")] = None,
    key_variable: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable with the key.")
    ] = None,
    languages: Annotated[
        list[str] | None,
        typer.Option(
            "--language",
            metavar="NAME[=WEIGHT]",
            help="To choose from; repeat it. All by default.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and may cost; ask nothing.")
    ] = False,
    max_pieces: Annotated[int | None, typer.Option(min=0, help="Ask about no more.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=0, help="In and out together.")] = None,
    max_money: Annotated[float | None, typer.Option(min=0, help="By the settings' prices.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests at once.")] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="At most so many.")] = None,
    settings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML with a section `summaries`: all there is to set."),
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(metavar="FILE", help="OUT/ledger.jsonl by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses each piece's language, with its id.")] = 0,
) -> None:
    """Write an English summary and one in another language for every piece.

    OUT gets summaries.parquet, summaries.jsonl (as CLaMP 2 trains on it) and rejected.parquet.
    """
    from clamp3.data.summaries.command import run_summarise

    options = {
        "writer": writer,
        "base_url": base_url,
        "model": model,
        "key_variable": key_variable,
        "max_pieces": max_pieces,
        "max_tokens": max_tokens,
        "max_money": max_money,
        "concurrency": concurrency,
        "requests_per_minute": requests_per_minute,
        "ledger": ledger,
    }
    lines, done = run_summarise(
        source,
        out,
        options,
        languages or [],
        settings=settings,
        seed=seed,
        dry_run=dry_run,
    )
    for line in lines:
        typer.echo(line, err=not dry_run)
    if not done:
        raise typer.Exit(1)
