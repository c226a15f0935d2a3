"""How `clamp3 serve` bears many clients: errors, waiting times, throughput and memory.

    python benchmarks/serve.py [--model MODEL --index INDEX] [--clients 64] [--seconds 60]

Without a model, of a tiny one with random weights and a made collection. Clients ask one request
after the other over a connection that they keep: of ten seven are texts, two ask for what is like
a piece, one uploads a score or a MIDI file. They run in a process of their own, on the same cores
as the service; memory is the service's with its readers, after the first tenth and at the end.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil

MOODS = ("slow", "fast", "lively", "solemn", "sad", "Irish", "Bavarian", "French")
FORMS = ("waltz", "reel", "jig", "hymn", "chorale", "march", "song", "air")
PLAYERS = ("voice", "fiddle", "piano", "organ", "strings", "four voices")
KEYS = ("in D major", "in A minor", "in G dorian", "")
KINDS = ("text",) * 7 + ("like",) * 2 + ("upload",)
MEASURED_FROM = 0.1  # of the time: before, memory is still being filled
PIECES = 200  # of the made collection


@dataclass
class Tally:
    """What clients saw: seconds of each answer by kind, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, index = (given.model, given.index) if given.model else make_tiny(Path(folder))
        with served(model, index, Path(folder)) as (process, url):
            report = asyncio.run(load(url, process, given.clients, given.seconds))
    print(json.dumps(report, indent=2))
    if report["errors"]:
        sys.exit(1)


@contextlib.contextmanager
def served(model: Path, index: Path, folder: Path) -> Iterator[tuple[int, str]]:
    """The id and address of a running service."""
    words = ["serve", "--model", model, "--index", index, "--port", 0]
    with (folder / "serve.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen([sys.executable, "-m", "clamp3", *map(str, words)], stderr=log)
        try:
            yield process.pid, address(folder / "serve.log", process)
        finally:
            process.terminate()
            process.wait(30)


def address(log: Path, process: subprocess.Popen) -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"serving (http://\S+)", log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.1)
    raise SystemExit(f"the service did not start:\n{log.read_text(encoding='utf-8')}")


class Client:
    """One kept connection; what HTTP libraries for Python take would be most of the time."""

    def __init__(self, url: str):
        self._host, port = re.fullmatch(r"http://(.+):(\d+)/", url).groups()
        self._port = int(port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, path: str, **query: object) -> tuple[int, bytes]:
        """Status and content."""
        return await self._ask(f"GET {path}?{urlencode(query)} HTTP/1.1\r\n", b"")

    async def post(self, path: str, name: str, content: bytes) -> tuple[int, bytes]:
        """Those of the answer to an upload."""
        part = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = part.encode() + content + b"\r\n--x--\r\n"
        head = "Content-Type: multipart/form-data; boundary=x\r\n"
        head += f"Content-Length: {len(body)}\r\n"
        return await self._ask(f"POST {path} HTTP/1.1\r\n{head}", body)

    async def _ask(self, head: str, body: bytes) -> tuple[int, bytes]:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(f"{head}Host: {self._host}\r\n\r\n".encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = int(re.search(r"(?i)\r\ncontent-length: (\d+)", answer)[1])
        return int(answer.split(" ", 2)[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        """End the connection."""
        if self._writer:
            self._writer.close()


async def load(url: str, process: int, clients: int, seconds: float) -> dict:
    """What so many clients saw in so many seconds, and the service's memory before and after."""
    tally = Tally()
    content = await once(url, "/api/search", text="a tune", top_k=200)
    ids = [one["id"] for one in json.loads(content)["results"]]
    end = time.monotonic() + seconds
    tasks = [
        asyncio.create_task(ask_until(end, Client(url), random.Random(number), ids, tally))
        for number in range(clients)
    ]
    await asyncio.sleep(seconds * MEASURED_FROM)
    early = resident(process)
    await asyncio.gather(*tasks)
    late = resident(process)
    metrics = await once(url, "/metrics")
    return {
        "clients": clients,
        "seconds": seconds,
        "errors": dict(tally.errors),
        "requests_per_second": round(sum(map(len, tally.seconds.values())) / seconds, 1),
        "texts_embedded_together": mean_batch(metrics.decode()),
        "milliseconds": {kind: told(own) for kind, own in sorted(tally.seconds.items())},
        "megabytes": {"early": early, "late": late},
    }


async def once(url: str, path: str, **query: object) -> bytes:
    client = Client(url)
    _, content = await client.get(path, **query)
    client.close()
    return content


async def ask_until(
    end: float, client: Client, source: random.Random, ids: list[str], tally: Tally
) -> None:
    while time.monotonic() < end:
        kind = source.choice(KINDS)
        start = time.monotonic()
        try:
            status, content = await ask(client, kind, source, ids)
            if status != 200 or b'"rank":1' not in content:
                tally.errors[f"{kind}: {status} {content[:80]!r}"] += 1
        except (OSError, EOFError) as error:
            tally.errors[f"{kind}: {type(error).__name__}"] += 1
            return
        tally.seconds.setdefault(kind, []).append(time.monotonic() - start)
    client.close()


async def ask(
    client: Client, kind: str, source: random.Random, ids: list[str]
) -> tuple[int, bytes]:
    if kind == "upload":
        return await client.post("/api/search", *source.choice([tune, midi])(source))
    if kind == "like":
        return await client.get("/api/search", like=source.choice(ids))
    return await client.get("/api/search", text=sentence(source))


def sentence(source: random.Random) -> str:
    mood, form, player, key = map(source.choice, (MOODS, FORMS, PLAYERS, KEYS))
    return f"a {mood} {form} for {player} {key}".strip()


def tune(source: random.Random, bars: int = 32) -> tuple[str, bytes]:
    notes = "|".join("".join(source.choices("CDEFGABcdefg", k=8)) for _ in range(bars))
    return "tune.abc", f"X:1\nT:A tune\nM:4/4\nL:1/8\nK:C\n{notes}|]\n".encode()


def midi(source: random.Random, notes: int = 200) -> tuple[str, bytes]:
    events = b"".join(
        bytes([0, 0x90, pitch, 64, 60, 0x80, pitch, 0])
        for pitch in source.choices(range(40, 90), k=notes)
    )
    track = events + b"\x00\xff\x2f\x00"
    head = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x78MTrk" + len(track).to_bytes(4, "big")
    return "tune.mid", head + track


def resident(process: int) -> int:
    """Megabytes of a process and those it started."""
    found = 0
    for one in [psutil.Process(process), *psutil.Process(process).children()]:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += one.memory_info().rss
    return found // 10**6


def told(seconds: list[float]) -> dict:
    middle, late, last = np.percentile(np.array(seconds) * 1000, [50, 95, 100])
    return {
        "count": len(seconds),
        "p50": round(middle, 1),
        "p95": round(late, 1),
        "max": round(last, 1),
    }


def mean_batch(metrics: str) -> float:
    values = dict(re.findall(r'clamp3_batch_size_(sum|count)\{what="texts"\} (\S+)', metrics))
    return round(float(values["sum"]) / float(values["count"]), 1)


def make_tiny(folder: Path) -> tuple[Path, Path]:
    """A tiny model with random weights, and an index of made tunes."""
    from made_bodies import write_model

    from clamp3.retrieval.embedding.embedder import load_model
    from clamp3.retrieval.index.writer import build_index
    from clamp3.retrieval.vectors import Vectors, write_vectors

    write_model(folder / "model")
    music = folder / "music"
    music.mkdir()
    for number in range(PIECES):
        (music / f"{number}.abc").write_bytes(tune(random.Random(number))[1])
    model = load_model(folder / "model", device="cpu")
    found = model.embed_files(music)
    vectors = Vectors(found.ids, found.embeddings, model.origin(["abc"]))
    write_vectors(folder / "vectors.parquet", vectors)
    build_index(folder / "index", [folder / "vectors.parquet"], files=[music])
    return folder / "model", folder / "index"


if __name__ == "__main__":
    main()
