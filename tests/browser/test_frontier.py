"""The frontier in a real browser: one slider moves everything, and the address brings everything back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from fairness_core import palette
from tests.served import settled

FRONTIER = ".eq-id-frontier .js-plotly-plot"
# plotly keeps what it was given in `data` (typed arrays as base64) and what it draws in `_fullData`
POINTS = "plot => plot._fullData.filter(t => t.meta?.startsWith('points:')).flatMap(t => [...t.x])"
RING = "plot => { const t = plot._fullData.find(t => t.meta === 'ring'); return [t.x[0], t.y[0]]; }"
RANGE = "plot => [...plot._fullLayout.xaxis.range]"
POINT = """(plot, at) => {
  const trace = plot._fullData.find(t => t.meta?.startsWith('points:') && t.customdata);
  const i = [...trace.customdata].indexOf(at);
  return [trace.x[i], trace.y[i]];
}"""
PLACE = """(plot, [x, y]) => {
  const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
  return [box.x + xaxis._offset + xaxis.d2p(x), box.y + yaxis._offset + yaxis.d2p(y)];
}"""


def open_frontier(page: Page, url: str, parameters: str = "") -> None:
    page.goto(f"{url}/{parameters}")
    expect(page.locator(FRONTIER)).to_be_visible()
    settled(page)


def move_to(page: Page, position: int) -> None:
    """Drag the λ slider with the mouse to one of its 21 positions."""
    page.locator("#eq-lam").scroll_into_view_if_needed()
    box = page.locator("#eq-lam").bounding_box()
    assert box is not None
    start, step = box["x"] + 11, (box["width"] - 22) / 20
    now = int(page.locator("#eq-lam").input_value())
    height = box["y"] + box["height"] / 2
    page.mouse.move(start + now * step, height)
    page.mouse.down()
    page.mouse.move(start + position * step, height, steps=8)
    page.mouse.up()


def test_a_first_visit_trains_a_frontier_by_itself(page, fresh):
    page.goto(fresh.url)
    expect(page.locator(FRONTIER)).to_be_visible(timeout=60_000)
    expect(page.locator(".eq-id-sentence")).to_contain_text("λ = ")
    page.wait_for_function(f"(({POINTS})(document.querySelector('{FRONTIER}'))).length > 0", timeout=60_000)
    page.locator(".st-key-stop button").click()
    expect(page.get_by_text("Training was stopped")).to_be_visible()


def test_dragging_the_slider_moves_charts_sentence_and_address(page, finished):
    open_frontier(page, finished.url)
    before = page.locator(FRONTIER).evaluate(RING)
    sentence = page.locator(".eq-id-sentence").inner_text()
    matrices = page.locator(".eq-id-matrices").inner_text()
    move_to(page, 19)
    expect(page).to_have_url(re.compile(r"[?&]lam="))
    expect(page.locator(".eq-id-sentence")).not_to_have_text(sentence)
    expect(page.locator(".eq-id-matrices")).not_to_have_text(matrices)
    assert page.locator(FRONTIER).evaluate(RING) != before
    assert page.locator("#eq-lam").input_value() == "19"


def test_a_click_on_a_point_is_the_same_as_the_slider(page, finished):
    open_frontier(page, finished.url)
    move_to(page, 0)
    point = page.locator(FRONTIER).evaluate(POINT, 20)
    page.mouse.click(*page.locator(FRONTIER).evaluate(PLACE, point))
    expect(page.locator("#eq-lam")).to_have_value("20")
    assert page.locator(FRONTIER).evaluate(RING) == pytest.approx(point, abs=1e-4)


def test_zoom_stays_while_the_slider_moves(page, finished):
    open_frontier(page, finished.url)
    box = page.locator(f"{FRONTIER} .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"], steps=8)
    page.mouse.up()
    zoomed = page.locator(FRONTIER).evaluate(RANGE)
    move_to(page, 3)
    expect(page).to_have_url(re.compile(r"[?&]lam="))
    settled(page)
    assert page.locator(FRONTIER).evaluate(RANGE) == pytest.approx(zoomed)


def test_a_reload_finds_the_page_as_it_was_left(page, finished):
    open_frontier(page, finished.url)
    move_to(page, 17)
    expect(page).to_have_url(re.compile(r"[?&]lam="))
    sentence = page.locator(".eq-id-sentence").inner_text()
    page.reload()
    expect(page.locator("#eq-lam")).to_have_value("17")
    expect(page.locator(".eq-id-sentence")).to_have_text(sentence)


def test_a_link_to_a_sweep_shows_it_to_somebody_else(open_context, finished):
    page = open_context().new_page()
    open_frontier(page, finished.url, f"?sweep={finished.filled.sweep_id}&lam=0")
    expect(page.locator("#eq-lam")).to_have_value("0")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("?lam=NaN&method=nonsense", "There is no method 'nonsense'"),
        ("?sweep=nonsense&measure=nonsense", "There is no sweep 'nonsense'"),
    ],
)
def test_an_address_that_cannot_be_had_is_a_sentence_and_the_page_works(page, finished, parameters, said):
    open_frontier(page, finished.url, parameters)
    expect(page.get_by_test_id("stAlert").first).to_contain_text(said)
    expect(page.locator(".eq-id-sentence")).to_contain_text("λ = ")


def test_dark_mode_reaches_the_charts(open_context, finished):
    page = open_context(color_scheme="dark").new_page()
    open_frontier(page, finished.url)
    assert "eq-dark" in page.locator(".eq-root").get_attribute("class")
    colours = page.locator(FRONTIER).evaluate("plot => plot._fullData.map(t => t.line?.color ?? t.marker?.color)")
    assert palette.DARK[0] in colours
    assert palette.LIGHT[0] not in colours
