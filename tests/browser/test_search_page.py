"""Searching in the page: words, files, conditions, links, faults."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from browser.collection import (
    HOSTILE,
    PIECES,
    midi_of,
    musicxml_of,
    name_of,
    title_of,
    wav_of,
)
from browser.conftest import Watch
from playwright.sync_api import Page, expect
from service.live import serving

from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.index.reader import open_index

Open = Callable[..., Page]
DROP = """async ({ name, bytes }) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name));
    for (const kind of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(
            new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
}"""


def ask(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def drop(page: Page, name: str, content: bytes) -> None:
    page.evaluate(DROP, {"name": name, "bytes": list(content)})


def titles(page: Page) -> list[str]:
    expect(page.locator("#results")).to_have_attribute("aria-busy", "false")
    return page.locator(".card h3").all_inner_texts()


def test_words_find_cards_with_scores(open_page: Open):
    page = open_page()
    expect(page.locator("#examples button")).not_to_have_count(0)
    ask(page, "a reel in D major")
    cards = page.locator(".card")
    expect(cards.first.locator("svg .abcjs-notehead").first).to_be_visible()
    expect(page.locator("#status")).to_have_text(re.compile(rf"^\d+ pieces of {PIECES}, found in"))
    assert cards.first.locator("svg .abcjs-bar").count() >= 8
    assert "similarity" in cards.first.locator(".figure").first.text_content()
    assert float(cards.first.locator(".figure").first.inner_text().split()[-1]) <= 1
    expect(page).to_have_url(re.compile(r"\?text=a\+reel\+in\+D\+major$"))
    expect(page).to_have_title("a reel in D major · clamp3 search")


def test_whole_score(open_page: Open):
    card = open_page("?text=air").locator(".card").first
    expect(card.locator("svg .abcjs-notehead").first).to_be_visible()
    before = card.locator("svg .abcjs-notehead").count()
    card.get_by_role("button", name="Whole score").click()
    assert card.locator("svg .abcjs-notehead").count() == 64 == 2 * before
    card.get_by_role("button", name="First bars").click()
    assert card.locator("svg .abcjs-notehead").count() == before


def test_example(open_page: Open):
    page = open_page()
    example = page.locator("#examples button").first
    text = example.inner_text()
    example.click()
    expect(page.locator(".card").first).to_be_visible()
    assert page.input_value("#text") == text


@pytest.mark.parametrize(
    ("name", "make", "kind"),
    [
        ("a.musicxml", musicxml_of, "score"),
        ("b.mid", midi_of, "performance"),
        ("c ü.wav", wav_of, "recording"),
    ],
)
def test_dropped_file(
    open_page: Open,
    small_model: Embedder,
    index: Path,
    name: str,
    make: Callable[[int], bytes],
    kind: str,
):
    page = open_page("?modality=abc")
    drop(page, name, make(5))
    expect(page.locator("#about-what")).to_have_text(f"Like the file “{name}”")
    expect(page.locator(".card svg .abcjs-notehead").first).to_be_visible()
    query = small_model.embed(**{kind: make(5)})
    hits = open_index(index).search(query, 12, where=["modality=abc"])
    known = {name_of(number): title_of(number) for number in range(PIECES)}
    assert titles(page) == [known[hit.id] for hit in hits]
    page.get_by_role("button", name="Start anew").click()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#examples")).to_be_visible()


def test_file_of_the_dialog_and_its_link(open_page: Open):
    page = open_page()
    page.set_input_files(
        "#file", {"name": "my.mid", "mimeType": "audio/midi", "buffer": midi_of(2)}
    )
    expect(page.locator(".card svg .abcjs-notehead").first).to_be_visible()
    again = open_page(page.url)
    expect(again.get_by_role("alert")).to_contain_text("“my.mid”, which only you have: drop it")
    expect(again.locator(".card")).to_have_count(0)


def test_fault_of_a_file(open_page: Open, watch: Watch):
    watch.expected = ("status of 4",)
    page = open_page()
    drop(page, "broken.mid", b"MThd\x00\x00")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("broken.mid: the header needs 14 bytes")
    expect(page.locator(".card")).to_have_count(0)
    page.get_by_role("button", name="Dismiss").click()
    expect(alert).to_be_hidden()


def test_fault_of_a_condition(open_page: Open, watch: Watch):
    watch.expected = ("status of 4",)
    page = open_page("?text=reel&where=colour%3Dred")
    expect(page.get_by_role("alert")).to_contain_text("nothing is known of 'colour'")


def test_no_answer(open_page: Open, watch: Watch):
    watch.expected = ("net::ERR_FAILED",)
    page = open_page()
    page.route("**/api/search*", lambda route: route.abort())
    ask(page, "reel")
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")


def test_conditions(open_page: Open):
    page = open_page("?text=reel&top_k=60")
    assert len(titles(page)) == PIECES
    kinds = page.locator(".card").first.locator(".similarity .kind").all_inner_texts()
    assert sorted(kinds) == ["MIDI", "score", "sound"]
    page.get_by_text("Add a condition").click()
    page.select_option("#property", "genre")
    page.fill("#value", "jig")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#conditions li")).to_have_text(["genre is jig"])
    expect(page.locator(".card")).to_have_count(5)
    page.get_by_text("Add a condition").click()
    page.select_option("#property", "year")
    assert page.input_value("#operator") == ">="
    page.fill("#value", "1850")
    page.press("#value", "Enter")
    expect(page.locator(".card")).to_have_count(3)
    assert set(titles(page)) == {"Tune 7", "Tune 10", "Tune 13"}
    assert page.url.endswith("where=genre%3Djig&where=year%3E%3D1850")
    page.get_by_role("button", name="Remove: genre is jig").click()
    expect(page.locator(".card")).not_to_have_count(3)
    page.locator(".card .facts button", has_text="air").first.click()
    expect(page.locator("#conditions li")).to_have_text(["year at least 1850", "genre is air"])


def test_nothing_fits(open_page: Open):
    page = open_page("?text=reel&where=genre%3Dtango")
    expect(page.locator(".nothing")).to_be_visible()


def test_modality(open_page: Open):
    page = open_page("?text=reel")
    page.get_by_role("radio", name="Sound").check()
    expect(page.locator(".card .wave").first).to_be_visible()
    assert set(page.locator(".similarity .kind").all_inner_texts()) == {"sound"}
    assert "modality=audio" in page.url


def test_links_and_history(open_page: Open):
    page = open_page("?text=jig&where=genre%3Djig&modality=mtf")
    first = titles(page)
    assert first
    assert page.input_value("#text") == "jig"
    expect(page.get_by_role("radio", name="MIDI")).to_be_checked()
    ask(page, "another thing")
    expect(page).to_have_title("another thing · clamp3 search")
    page.go_back()
    expect(page).to_have_title("jig · clamp3 search")
    assert page.input_value("#text") == "jig"
    assert titles(page) == first
    page.go_forward()
    assert page.input_value("#text") == "another thing"
    assert titles(open_page(page.url)) == titles(page)


def test_more_like_this(open_page: Open):
    page = open_page("?text=reel")
    title = titles(page)[0]
    page.locator(".card").first.get_by_role("button", name="More like this").click()
    expect(page.locator("#about-what")).to_have_text(f"Like “{title}”")
    expect(page.locator(".card").first).to_be_focused()
    assert title not in titles(page)


def test_more_results(open_page: Open):
    page = open_page("?text=reel&modality=abc")
    assert len(titles(page)) == 12
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card")).to_have_count(PIECES)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_markup_in_titles_stays_text(open_page: Open):
    page = open_page(f"?like={quote(name_of(3))}")
    expect(page.locator("#about-what")).to_have_text(f"Like “{HOSTILE}”")
    page = open_page("?text=reel&modality=abc&where=year%3D1830")
    card = page.locator(".card")
    expect(card.locator("h3")).to_have_text(HOSTILE)
    expect(card.locator("svg .abcjs-notehead").first).to_be_visible()
    card.get_by_text("About it").click()
    expect(card.locator(".told")).to_contain_text(HOSTILE)
    assert page.locator("main img").count() == 0
    assert page.evaluate("document.body.dataset.broken") is None


def test_map(open_page: Open):
    page = open_page("?text=reel")
    expect(page.locator("#legend li")).to_have_text(["score", "MIDI", "sound"])
    lone = page.evaluate(
        """async () => {
            const { points } = await (await fetch("api/map")).json();
            const { clientWidth: w, clientHeight: h } = document.getElementById("map");
            return [14 + points.x[0] * (w - 28), 14 + (1 - points.y[0]) * (h - 28)];
        }"""
    )
    canvas = page.locator("#map")
    canvas.hover(position={"x": lone[0], "y": lone[1]})
    expect(page.locator("#tip")).to_contain_text("(")
    title = page.locator("#tip").inner_text().rsplit(" (", 1)[0]
    canvas.click(position={"x": lone[0], "y": lone[1]})
    expect(page.locator("#about-what")).to_have_text(f"Like “{title}”")


def test_token_and_limit(open_page: Open, small_model: Embedder, index: Path, watch: Watch):
    watch.expected = ("status of 401",)
    with serving(small_model, index, token="secret", upload_bytes=2**17) as live:
        page = open_page_without_waiting(open_page, f"http://127.0.0.1:{live.port}/?text=reel")
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Token").fill("wrong")
        dialog.get_by_role("button", name="Go on").click()
        expect(page.locator("#token-wrong")).to_be_visible()
        dialog.get_by_label("Token").fill("secret")
        page.keyboard.press("Enter")
        expect(page.locator(".card svg .abcjs-notehead").first).to_be_visible()
        page.reload()
        expect(page.locator(".card").first).to_be_visible()
        page.locator(".card").first.get_by_role("button", name="Sound").click()
        expect(page.locator(".card .wave").first).to_be_visible()
        drop(page, "long.wav", wav_of(1, seconds=8.0))
        sentence = "long.wav holds 0.2 MiB; the service takes at most 0.1 MiB."
        expect(page.get_by_role("alert")).to_contain_text(sentence)


def open_page_without_waiting(open_page: Open, address: str) -> Page:
    """A page that cannot be ready before a token is given."""
    page = open_page()
    page.goto(address)
    return page
