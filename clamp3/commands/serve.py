"""`clamp3 serve`: search over HTTP, and a page."""

import os
from pathlib import Path
from typing import Annotated

import typer

from clamp3.commands.options import (
    AdapterFolders,
    CaptionerSource,
    Device,
    Mert,
    Threads,
    set_threads,
    tells_errors,
)
from clamp3.errors import ConfigError

app = typer.Typer()
MODEL, INDEX = Path("results/models/clamp3"), Path("results/index")
TOKEN_VARIABLE = "CLAMP3_TOKEN"  # noqa: S105 - the name of a variable
NO_EXTRA = '{name} is not installed: pip install "clamp3[serve]"'
NO_DEMO = (
    "{path}: not there; `make run` makes the demo's, or name your own with --model and --index "
    "(clamp3 index build --help)"
)


@app.command()
@tells_errors
def serve(
    model: Annotated[
        str, typer.Option(help="A model folder, or owner/name on the hub.")
    ] = MODEL.as_posix(),
    index: Annotated[Path, typer.Option(help="The index to search.")] = INDEX,
    adapter: AdapterFolders = None,
    mert: Mert = None,
    captioner: CaptionerSource = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; by default only this machine reaches it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    token_variable: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The environment variable that holds the token to ask for; unset: none.",
        ),
    ] = TOKEN_VARIABLE,
    upload_mib: Annotated[float, typer.Option(min=0.001, help="The largest upload, in MiB.")] = 32,
    top_k: Annotated[int, typer.Option(min=1, help="The most results of a search.")] = 200,
    seconds: Annotated[float, typer.Option(min=0.1, help="The most that a request takes.")] = 30,
    requests: Annotated[int, typer.Option(min=1, help="The most at once; others get 503.")] = 256,
    readers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that read uploads; by default one a core, up to 4."),
    ] = None,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Log to this file, too.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Serve a page and an HTTP API to search an index; the demo's if nothing is named.

    Nothing is asked of the network, and only this machine reaches it unless --host says otherwise.
    """
    _check_installed()
    for path, default in ((Path(model), MODEL), (index, INDEX)):
        if path == default and not path.is_dir():
            raise ConfigError(NO_DEMO.format(path=path))
    from clamp3.retrieval.embedding.embedder import load_model
    from clamp3.service.running import Address, log_to
    from clamp3.service.running import serve as serve_until_stopped
    from clamp3.service.settings import Settings

    log_to(log)
    set_threads(threads)
    limits = {
        "upload_bytes": int(upload_mib * 2**20),
        "top_k": top_k,
        "seconds": seconds,
        "requests_at_once": requests,
    } | ({"readers": readers} if readers else {})
    settings = Settings(**limits, token=os.environ.get(token_variable) or None)
    embedder = load_model(model, adapter=adapter, mert=mert, captioner=captioner, device=device)
    serve_until_stopped(embedder, index, settings, Address(host, port), open_browser=open_page)


def _check_installed() -> None:
    """Raise ConfigError where the extra is missing."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(NO_EXTRA.format(name=error.name)) from error
