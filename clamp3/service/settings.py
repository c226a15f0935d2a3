"""What a service allows: how much, how long, and whom."""

from dataclasses import dataclass
from pathlib import Path

from clamp3.processes import cpu_count

PAGE = Path(__file__).parent / "page"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
EXAMPLES = (
    "a lively Irish reel for the fiddle",
    "a slow and solemn chorale in four voices",
    "a waltz in G major",
    "a slip jig, 9/8",
    "a sad melody in a minor key",
    "a hornpipe in D major",
)


@dataclass(frozen=True)
class Settings:
    """The limits of a service, and who may use it.

    upload_bytes         of an uploaded file
    recording_seconds    of uploaded sound, whatever its file's size
    text_characters      of a typed query
    top_k                results of a search
    seconds              a request may take, its upload included
    requests_at_once     beyond them, "try again" is the answer
    readers              processes that read uploaded files; one that hangs is ended
    wait_seconds         how long a query waits for others to be embedded with
    batch                queries embedded at once
    token                what requests have to name, None: nothing
    hosts                names under which the service may be asked, None: any
    examples             queries that the page offers
    page                 the folder of the page
    """

    upload_bytes: int = 32 * 2**20
    recording_seconds: int = 1800
    text_characters: int = 4000
    top_k: int = 200
    seconds: float = 30.0
    requests_at_once: int = 256
    readers: int = min(4, cpu_count())
    wait_seconds: float = 0.003
    batch: int = 64
    token: str | None = None
    hosts: tuple[str, ...] | None = LOOPBACK_HOSTS
    examples: tuple[str, ...] = EXAMPLES
    page: Path = PAGE
