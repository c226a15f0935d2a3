"""The page for everybody: by keyboard, by screen reader, on a phone, in dark and in light."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

Open = Callable[..., Page]
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SMALLEST_TEXT_PIXELS = 12


def problems(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        """async (values) =>
            (await axe.run(document, { runOnly: { type: "tag", values } })).violations""",
        TAGS,
    )
    return [
        f"{rule['id']}: {rule['help']}: {[node['html'][:120] for node in rule['nodes'][:3]]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(open_page: Open, scheme: str):
    page = open_page(scheme=scheme)
    assert problems(page) == []
    page = open_page("?text=reel&where=genre%3Djig&modality=abc", scheme=scheme)
    expect(page.locator(".card svg .abcjs-notehead").first).to_be_visible()
    page.get_by_text("Add a condition").click()
    page.get_by_text("About it").first.click()
    page.locator(".card").nth(1).get_by_role("button", name="Sound").click()
    expect(page.locator(".card .wave").first).to_be_visible()
    page.locator(".card").nth(2).get_by_role("button", name="Piano roll").click()
    expect(page.locator(".card .roll").first).to_be_visible()
    assert problems(page) == []


def test_axe_on_a_fault(open_page: Open, watch):
    watch.expected = ("status of 4",)
    page = open_page("?text=reel&where=colour%3Dred")
    expect(page.get_by_role("alert")).to_be_visible()
    assert problems(page) == []


@pytest.mark.parametrize("query", ["", "?text=reel&where=genre%3Djig"])
def test_phone(open_page: Open, query: str):
    page = open_page(query, width=360, height=740)
    if query:
        expect(page.locator(".card svg .abcjs-notehead").first).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
            .filter((node) => node.getClientRects().length && !node.closest("svg, .unseen"))
            .filter((node) => node.getBoundingClientRect().right > 361)
            .map((node) => node.outerHTML.slice(0, 100))"""
    )
    assert outside == []


def test_keyboard(open_page: Open):
    page = open_page("?text=reel&modality=abc")
    expect(page.locator(".card svg .abcjs-notehead").first).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("jig")
    assert page.input_value("#text") == "jig"  # the old text was selected
    page.keyboard.press("Enter")
    expect(page).to_have_title("jig · clamp3 search")
    expect(page.locator("#results")).to_have_attribute("aria-busy", "false")
    cards = page.locator(".card")
    page.keyboard.press("ArrowDown")
    expect(cards.nth(0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(cards.nth(1)).to_be_focused()
    page.keyboard.press(" ")
    expect(cards.nth(1)).to_have_attribute("data-player", "playing")
    page.keyboard.press("Escape")
    expect(cards.nth(1)).to_have_attribute("data-player", "stopped")
    page.keyboard.press("End")
    expect(cards.last).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("ArrowDown")
    title = cards.first.locator("h3").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#about-what")).to_have_text(f"Like “{title}”")


def test_map_by_keyboard(open_page: Open):
    page = open_page("?text=reel")
    page.locator("#enlarge").focus()
    page.keyboard.press("Tab")
    expect(page.locator("#map")).to_be_focused()
    tip = page.locator("#tip")
    expect(tip).to_contain_text("(")
    before = tip.inner_text()
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("ArrowLeft")
    expect(tip).not_to_have_text(before)
    expect(tip).to_contain_text("(")
    title = tip.inner_text().rsplit(" (", 1)[0]
    page.keyboard.press("Enter")
    expect(page.locator("#about-what")).to_have_text(f"Like “{title}”")


def test_focus_can_be_seen(open_page: Open):
    page = open_page("?text=reel&modality=abc")
    expect(page.locator(".card .play").first).to_be_visible()
    seen = 0
    for _ in range(30):
        page.keyboard.press("Tab")
        style = page.evaluate(
            """() => {
                const node = document.activeElement;
                const marked = node.matches("input[type=radio]") ? node.nextElementSibling : node;
                return [node === document.body, getComputedStyle(marked).outlineStyle];
            }"""
        )
        if style[0]:
            break
        seen += 1
        assert style[1] != "none"
    assert seen > 10


def test_landmarks_and_status(open_page: Open):
    page = open_page("?text=reel")
    for role in ("banner", "main", "contentinfo", "search", "feed"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.locator("#status")).to_have_attribute("role", "status")
    first = page.locator(".card").first
    assert first.get_attribute("aria-posinset") == "1"
    assert int(first.get_attribute("aria-setsize")) == page.locator(".card").count()
    expect(page.get_by_role("article", name=first.locator("h3").inner_text())).to_have_count(1)


def test_theme(open_page: Open):
    page = open_page(scheme="dark")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Dark").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Dark").click()
    expect(root).to_have_attribute("data-theme", "dark")


def test_text_is_large_enough(open_page: Open):
    page = open_page("?text=reel")
    smallest = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll("body *")]
            .filter((node) => node.getClientRects().length && !node.closest("svg"))
            .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3))
            .map((node) => parseFloat(getComputedStyle(node).fontSize)))"""
    )
    assert smallest >= SMALLEST_TEXT_PIXELS
