"""BaDe on the explain page, in a real browser: it follows teacher and student, and its valley grows by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fairness_core import exhibits
from fairness_core.config import RunConfig, resolve
from fairness_core.store import Store
from tests import served, synthetic_backdoors
from tests.served import Server, settled

COURSE = ".eq-id-course-both .js-plotly-plot"
VALLEY = ".eq-id-valley-residual .js-plotly-plot"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, catalogue: dict[str, Any]) -> Iterator[Server]:
    """An app over a store with runs that this process trains, on paper."""
    yield from served.over_a_new_store(tmp_path_factory.mktemp("backdoor") / "runs", catalogue)


def report(store: Store, config: RunConfig, look: int) -> None:
    """One more look; those at the teacher with its views."""
    event = list(synthetic_backdoors.events(config))[look]
    if look < synthetic_backdoors.LOOKS // 2:
        shown = synthetic_backdoors.exhibit(config, "training", first=False)
        exhibits.save(store.exhibits_path(config.id), event.step, shown)
    store.append([(config.id, event)])


def points(page: Page, chart: str, trace: str, n: int) -> None:
    """Wait until this line of the chart has n points; a gap between teacher and student is none."""
    page.wait_for_function(
        """([chart, trace, n]) => {
            const line = document.querySelector(chart)?._fullData?.find((t) => t.meta === trace);
            return line && Array.from(line.x).filter(Number.isFinite).length === n;
        }""",
        arg=[chart, trace, n],
    )


def test_it_follows_teacher_and_student_and_the_valley_grows(page, server, catalogue):
    store = server.store
    for rate in (0.0, 40.0):
        synthetic_backdoors.finish(store, synthetic_backdoors.configured(catalogue, rate=rate))
    config = synthetic_backdoors.configured(catalogue, rate=60.0)
    synthetic_backdoors.advance(store, config, 2)
    page.goto(f"{server.url}/explain?run={config.id}")
    points(page, COURSE, "odds", 2)
    points(page, VALLEY, "gap", 2)
    expect(page.locator(".eq-id-sentence")).to_contain_text("First the teacher learns")
    for chart in (COURSE, VALLEY):
        page.evaluate("chart => { document.querySelector(chart).kept = true }", chart)
    for look in (2, 3):
        report(store, config, look)
        points(page, COURSE, "odds", look + 1)
    expect(page.locator(".eq-id-sentence")).to_contain_text("The student learns")
    synthetic_backdoors.finish(store, synthetic_backdoors.configured(catalogue, rate=100.0))
    points(page, VALLEY, "gap", 3)
    expect(page.get_by_text("Validation chooses n =")).to_be_visible()
    assert page.evaluate("chart => document.querySelector(chart).kept", COURSE)
    assert page.evaluate("chart => document.querySelector(chart).kept", VALLEY)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    store.finish(config.id, "cancelled")
    expect(page.get_by_text("Stopped at step")).to_be_visible()


def test_a_real_run_ends_with_a_sentence_and_its_valley_is_drawn(page, fresh, catalogue):
    config = resolve(
        catalogue, dataset="adult", method="bade", seed=33, model_options={"hidden": "8"},
        training={"epochs": 1, "batch_size": 2048},
    )  # fmt: skip
    fresh.store.submit([config])
    page.goto(f"{fresh.url}/explain?run={config.id}")
    expect(page.locator(".eq-id-sentence")).to_contain_text("Test split, n = 16,281, seed 33", timeout=60_000)
    expect(page.locator(".eq-id-models .js-plotly-plot")).to_be_visible()
    page.get_by_role("button", name="Draw the valley").click()
    expect(page.get_by_text("Validation chooses n =")).to_be_visible(timeout=120_000)
    points(page, VALLEY, "gap", 11)
    settled(page)
    runs = fresh.store.runs()
    assert (runs["method"] == "bade").sum() == 33
