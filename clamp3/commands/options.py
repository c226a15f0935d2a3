"""What several commands share: options, threads, and how errors are told."""

import functools
import logging
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clamp3.errors import Clamp3Error, ConfigError, leave_quietly, machine_fault

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE…",
        help="Files, folders or archives, also by s3://…: ABC, MusicXML, MIDI, MTF, text, …",
    ),
]
ModelSource = Annotated[
    str, typer.Option("--model", help="A model folder, or owner/name on the hub.")
]
AdapterFolders = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="[abc=|mtf=]FOLDER",
        help="A LoRA folder for scores (abc) or performances (mtf); may be given repeatedly.",
    ),
]
Mert = Annotated[
    str | None,
    typer.Option(help="A MERT (folder or owner/name), for sound files and models that need it."),
]
CaptionerSource = Annotated[
    str | None,
    typer.Option("--captioner", help="A BLIP (folder or owner/name) that describes images."),
]
BatchTokens = Annotated[
    int, typer.Option(min=1, help="Patches, text tokens or frames computed at once.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all by default.")]
EmbeddingSource = Annotated[
    str,
    typer.Argument(help="A table of embeddings, or a folder of .npy files; also by s3://…."),
]
PairKey = Annotated[
    str,
    typer.Option(
        metavar="name|folder|id|COLUMN",
        help="What pairs share: the path up to the name's first dot, the folder, the id, a column.",
    ),
]
ReportFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where to write the whole report as JSON.")
]
Seed = Annotated[int, typer.Option(help="Of the bootstrap and the test.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one by default.")]
LabelTable = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="TABLE",
        help="Columns id and label (.csv, .tsv, .jsonl, .parquet); else names as label_name.",
    ),
]
LabelColumn = Annotated[str, typer.Option(help="The table's column of labels.")]


class Precision(StrEnum):
    """What `clamp3 embed` can compute in."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"

    @property
    def dtype(self) -> str:
        """Its name in Python."""
        return {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[self.value]


def tells_errors(command: Callable) -> Callable:
    """The command, with an error that the user can mend as one line and exit status 1."""

    @functools.wraps(command)
    def wrapped(*args: object, **options: object) -> None:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
        try:
            _refuse_addresses(options)
            command(*args, **options)
        except Clamp3Error as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error
        except (ImportError, OSError, MemoryError, RuntimeError, SystemError) as error:
            told = machine_fault(error)
            if told is None:
                raise
            leave_quietly()
            typer.echo(f"error: {told}", err=True)
            raise typer.Exit(1) from error

    return wrapped


def _refuse_addresses(options: dict[str, object]) -> None:
    """Raise ConfigError for an address where a path of this machine is needed.

    What may lie elsewhere comes as text; a Path has lost a slash of `s3://`.
    """
    for name, value in options.items():
        for path in value if isinstance(value, list | tuple) else [value]:
            found = _ADDRESS.match(str(path)) if isinstance(path, Path) else None
            if found:
                raise ConfigError(
                    f"{name.replace('_', '-')} {found[1]}://{str(path)[found.end() :]}: expected "
                    "a path of this machine, which an address is not; what is written here can be "
                    "copied there afterwards, and what is there here before"
                )


def set_threads(count: int | None) -> None:
    if count:
        import torch

        torch.set_num_threads(count)
