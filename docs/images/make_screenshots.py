"""The pictures of the search page: `python docs/images/make_screenshots.py` after `make run`.

Starts `clamp3 serve` on results/ and looks at it with the machine's Chromium.
"""

import argparse
import contextlib
import io
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

HERE = Path(__file__).parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COLOURS = 256
MOST_BYTES = 200_000
START_SECONDS = 120
DESK, PHONE = (1280, 900), (360, 740)


@dataclass(frozen=True)
class Picture:
    """A file, what is asked, and how the page is looked at."""

    name: str
    query: str
    scheme: str = "light"
    size: tuple[int, int] = DESK
    scale: float = 1.0


PICTURES = (
    Picture("search-light", "?text=a+slip+jig+in+G+major"),
    Picture("search-dark", "?text=a+chorale+in+four+voices&where=mode%3Dminor", "dark"),
    Picture("map", "?text=a+reel+in+D+major+for+fiddle", "light", (1280, 860)),
    Picture("phone", "?text=a+reel+in+D+major+for+fiddle", "light", PHONE, 2.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="results/models/clamp3")
    parser.add_argument("--index", default="results/index")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        sys.exit(f"none of {', '.join(NAMES)} is installed")
    with serving(options.model, options.index) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for picture in PICTURES:
            content = small_png(photograph(browser, address, picture))
            (options.out / f"{picture.name}.png").write_bytes(content)
            print(f"{picture.name}.png: {len(content):,} bytes", flush=True)
        browser.close()


@contextlib.contextmanager
def serving(model: str, index: str) -> Iterator[str]:
    """The address of a service at a free port, until the block ends."""
    command = [sys.executable, "-m", "clamp3", "serve", "--port", "0"]
    command += ["--model", model, "--index", index]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            yield address_of(service)
        finally:
            service.terminate()


def address_of(service: subprocess.Popen) -> str:
    """Where the service says that it is."""
    end = time.monotonic() + START_SECONDS
    lines = []
    while time.monotonic() < end and (line := service.stderr.readline()):
        lines.append(line)
        if found := re.search(r"serving (http://\S+)", line):
            return found[1]
    sys.exit(f"the service did not start:\n{''.join(lines)}")


def photograph(browser: Browser, address: str, picture: Picture) -> bytes:
    """The page as PNG, once its scores are drawn."""
    width, height = picture.size
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=picture.scheme,
        device_scale_factor=picture.scale,
    )
    page.goto(address + picture.query)
    page.wait_for_selector("body[data-ready]")
    page.wait_for_selector(".card svg .abcjs-notehead")
    if picture.name == "map":
        enlarge_map(page)
    elif picture.size == DESK:
        play(page)
    page.wait_for_timeout(300)
    content = page.screenshot()
    page.close()
    return content


def enlarge_map(page: Page) -> None:
    """The large map, with the name of an answer."""
    page.click("#enlarge")
    page.wait_for_timeout(300)
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip")).to_contain_text("answer")


def play(page: Page) -> None:
    """The first answer's notes, sounding."""
    page.locator(".play").first.click()
    page.wait_for_selector("[data-player=playing] svg .sounding")
    page.wait_for_timeout(1500)


def small_png(content: bytes) -> bytes:
    """The picture with few colours, which is enough for ink on paper."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    stream = io.BytesIO()
    few = picture.quantize(
        COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE, kmeans=1
    )
    few.save(stream, "PNG", optimize=True)
    if stream.tell() > MOST_BYTES:
        sys.exit(f"the picture has {stream.tell():,} bytes, more than {MOST_BYTES:,}")
    return stream.getvalue()


if __name__ == "__main__":
    main()
