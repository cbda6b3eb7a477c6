"""The explain page in a real browser: it opens from Train, its slider moves through the moments, and it lives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fairness_core import exhibits
from fairness_core.config import RunConfig, resolve
from fairness_core.store import Store
from tests import served, synthetic_twins
from tests.served import Server, settled, wait_for

PICTURES = ".eq-twins img"
CURVES = ".eq-id-r .js-plotly-plot"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, catalogue: dict[str, Any]) -> Iterator[Server]:
    """An app over a store with a run that this process trains, on paper."""
    yield from served.over_a_new_store(tmp_path_factory.mktemp("explain") / "runs", catalogue)


def report(store: Store, config: RunConfig, look: int) -> None:
    """One more look, with its twins."""
    event = list(synthetic_twins.events(config))[look]
    exhibits.save(store.exhibits_path(config.id), event.step, synthetic_twins.twins(config, event.step))
    store.append([(config.id, event)])


def first_twin(page: Page) -> str:
    return str(page.locator(PICTURES).nth(1).get_attribute("src"))


def points(page: Page, n: int) -> None:
    """Wait until the line of r has n points."""
    page.wait_for_function(f"n => document.querySelector('{CURVES}')?._fullData?.[0].x.length === n", arg=n)


def test_it_opens_from_train_follows_the_run_and_stays_where_the_slider_is_put(page, server, catalogue):
    config = synthetic_twins.configured(catalogue, seed=31)
    synthetic_twins.advance(server.store, config, 3)
    page.goto(f"{server.url}/train?run={config.id}")
    expect(page.locator(".eq-id-curves .js-plotly-plot")).to_be_visible()
    settled(page)
    page.get_by_test_id("stPageLink").get_by_role("link", name="Explain").click()
    expect(page).to_have_url(re.compile(rf"/explain\?run={config.id}"))
    expect(page.locator(PICTURES)).to_have_count(3 * synthetic_twins.SHOWN)
    points(page, 3)
    page.evaluate(f"document.querySelector('{CURVES}').kept = true")
    third = first_twin(page)
    report(server.store, config, 3)
    points(page, 4)
    fourth = first_twin(page)
    assert fourth != third
    slider = page.get_by_role("slider", name="Moment (epoch)")
    slider.focus()
    slider.press("ArrowLeft")
    expect(page).to_have_url(re.compile("moment="))
    expect(page.locator(PICTURES).nth(1)).to_have_attribute("src", third)
    report(server.store, config, 4)
    points(page, 5)
    assert first_twin(page) == third
    page.get_by_role("button", name="Follow the newest").click()
    expect(page.locator(PICTURES).nth(1)).not_to_have_attribute("src", third)
    assert page.evaluate(f"document.querySelector('{CURVES}').kept")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    server.store.finish(config.id, "cancelled")
    expect(page.get_by_text("Stopped at step")).to_be_visible()


def test_a_page_that_is_open_before_there_is_a_slider_follows_the_run(page, server, catalogue):
    config = synthetic_twins.configured(catalogue, seed=33)
    synthetic_twins.advance(server.store, config, 1)
    page.goto(f"{server.url}/explain?run={config.id}")
    expect(page.get_by_text("A slider through all moments appears here")).to_be_visible()
    for n in (1, 2, 3):
        before = first_twin(page)
        report(server.store, config, n)
        points(page, n + 1)
        expect(page.get_by_test_id("stSliderThumbValue")).to_have_text("latest")
        expect(page.locator(PICTURES).nth(1)).not_to_have_attribute("src", before)
        expect(page).not_to_have_url(re.compile("moment="))
    server.store.finish(config.id, "cancelled")
    expect(page.get_by_text("Stopped at step")).to_be_visible()


def test_a_real_run_is_explained_while_it_trains_and_ends_with_a_sentence(page, fresh, catalogue):
    config = resolve(
        catalogue, dataset="cmnist", method="aeda", seed=32, dataset_options={"digits": "5000"},
        model_options={"channels": "4-8", "width": 16}, method_options={"steps": 1, "bias_passes": 1},
        training={"epochs": 1},
    )  # fmt: skip
    fresh.store.submit([config])
    page.goto(f"{fresh.url}/explain?run={config.id}")
    expect(page.locator(PICTURES)).to_have_count(3 * synthetic_twins.SHOWN, timeout=60_000)
    wait_for(lambda: fresh.store.run(config.id).status == "done", "the run did not end")
    expect(page.locator(".eq-id-sentence")).to_contain_text("Test split, n = 2,000, seed 32")
    points(page, len(exhibits.steps(fresh.store.exhibits_path(config.id))))
    expect(page.locator(".eq-id-matrices-after table")).to_have_count(2)
    settled(page)
    assert page.locator(f"{PICTURES}:not([alt])").count() == 0
