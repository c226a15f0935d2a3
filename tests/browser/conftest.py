"""A service over a small collection, and a real Chromium that looks at it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser.collection import build_collection
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from retrieval.workplace import tiny_model
from service.live import serving

from clamp3.formats.audio import MelFrontEnd
from clamp3.models.checkpoints import save_checkpoint
from clamp3.retrieval.embedding.embedder import Embedder, load_model

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_MILLISECONDS = 15_000  # other tests keep the machine busy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's Chromium; skips where there is none.

    Not for the session: it keeps an event loop, beside which later tests could have none.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    expect.set_options(timeout=WAIT_MILLISECONDS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """A tiny model that reads texts, scores, MIDI and sound."""
    folder = tmp_path_factory.mktemp("browser-model") / "clamp3"
    tiny = tiny_model(MelFrontEnd.feature_size)
    save_checkpoint(tiny.model, folder, tokenizer=tiny.tokenizer)
    return load_model(folder, device="cpu")


@pytest.fixture(scope="session")
def index(small_model: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_collection(tmp_path_factory.mktemp("collection"), small_model)


@pytest.fixture(scope="module")
def address(small_model: Embedder, index: Path) -> Iterator[str]:
    """Where the page is."""
    with serving(small_model, index) as live:
        yield f"http://127.0.0.1:{live.port}/"


@dataclass
class Watch:
    """What went wrong in pages without anybody looking."""

    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def look_at(self, page: Page) -> None:
        page.on("request", self._asked)
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self._said("error", str(error)))

    def _asked(self, request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "blob" and parts.hostname != "127.0.0.1":
            self.strangers.append(request.url)

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(part in text for part in self.expected):
            self.complaints.append(text)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Fails the test if a page asked another machine or wrote an error to the console."""
    watch = Watch()
    yield watch
    assert watch.strangers == []
    assert watch.complaints == []


@pytest.fixture(scope="module")
def contexts(browser: Browser) -> dict[tuple, BrowserContext]:
    """Profiles by how they look at pages: one that has read a script reads it faster again."""
    return {}


@pytest.fixture
def open_page(
    browser: Browser, contexts: dict[tuple, BrowserContext], address: str, watch: Watch
) -> Iterator[Callable[..., Page]]:
    """open_page("?text=reel", width=…, height=…, scheme="dark") once the page is ready."""
    pages = []

    def go(query: str = "", *, width: int = 1200, height: int = 900, scheme: str = "light") -> Page:
        look = (width, height, scheme)
        if look not in contexts:
            contexts[look] = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            contexts[look].set_default_timeout(WAIT_MILLISECONDS)
        page = contexts[look].new_page()
        pages.append(page)
        watch.look_at(page)
        page.goto(query if query.startswith("http") else address + query)
        page.wait_for_selector("body[data-ready]")
        return page

    yield go
    for page in pages:
        page.evaluate("localStorage.clear()")
        page.close()
