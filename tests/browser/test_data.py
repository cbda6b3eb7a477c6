"""The data page in a real browser: it draws, its dial answers while it is turned, and it trains what the dial says."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.served import settled

SENTENCE = ".eq-id-sentence"


@pytest.fixture
def data_page(page: Page, finished) -> Page:
    page.goto(f"{finished.url}/data")
    expect(page.locator(SENTENCE)).to_contain_text("women")
    expect(page.locator(".eq-plot:not(.js-plotly-plot)")).to_have_count(0)
    settled(page)
    return page


def bars(page: Page) -> list[float]:
    """The training rows that the dial shows now."""
    read = "plot => Array.from(plot._fullData.find(t => t.meta === 'after').x)"
    found = page.locator(".eq-id-dial .js-plotly-plot").evaluate(read)
    return [float(n) for n in found]


def test_another_group_is_another_sentence_and_another_address(data_page):
    expect(data_page.get_by_role("figure", name=re.compile("Every attribute by its association"))).to_be_visible()
    field = data_page.locator(".st-key-data-adult-sensitive input")
    field.click()
    data_page.get_by_role("option", name="race").click()
    expect(data_page).to_have_url(re.compile("group=sex"))
    expect(data_page.locator(SENTENCE)).to_contain_text("Furthest apart of 10 groups")
    expect(data_page.get_by_text("Not fit for a study of bias as it is")).to_be_visible()
    address = data_page.url
    data_page.goto("about:blank")
    data_page.goto(address)
    expect(data_page.locator(SENTENCE)).to_contain_text("Furthest apart of 10 groups")


def test_the_dial_answers_in_the_browser_and_the_model_is_trained_on_its_rows(data_page, finished):
    before = bars(data_page)
    dial = data_page.get_by_role("slider", name="Strength of the bias in training")
    dial.focus()
    for _ in range(6):
        dial.press("ArrowRight")
    expect(data_page).to_have_url(re.compile("association=0.32"))
    settled(data_page)
    after = bars(data_page)
    assert sum(after) < sum(before)
    assert all(a <= b for a, b in zip(after, before, strict=True))
    expect(data_page.locator(".eq-id-dial-words")).to_contain_text("training rows stay")
    data_page.locator(".st-key-dial-train button").click()
    expect(data_page).to_have_url(re.compile(r"/train\?run="))
    run = finished.server.store.run(data_page.url.partition("run=")[2].partition("&")[0])
    assert run is not None
    assert run.config.dataset_options["association"] == 0.32
    finished.server.store.delete([run.id])  # the history of this store is what other tests look at


def test_pictures_are_seen_and_named(page, finished):
    page.goto(f"{finished.url}/data?data=cmnist&digits=5000")
    grid = page.locator("table.eq-gallery img")
    expect(grid).to_have_count(10)
    expect(grid.first).to_have_attribute("alt", re.compile("training pictures: 0, red"))
    assert grid.first.evaluate("img => img.naturalWidth") > 300
