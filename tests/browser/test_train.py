"""Real trainings in a real browser: they show, stop, survive the death of their process, and return by their link."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests import served
from tests.served import Server, settled, wait_for

LONG = 400  # epochs of a run that is still training when the test has seen what it came for
STEPS = re.compile(r"Step [\d,]+ of [\d,]+")
WHERE_STOP_IS = """() => {
  window.places = new Set();
  const look = () => {
    const box = document.querySelector('.st-key-stop button')?.getBoundingClientRect();
    if (box?.width) window.places.add(Math.round(box.x));
    requestAnimationFrame(look);
  };
  look();
}"""  # remembers in every frame how far from the left the button Stop is


@pytest.fixture
def train_page(page: Page, fresh: Server) -> Page:
    page.goto(f"{fresh.url}/train")
    expect(page.locator(".st-key-train button")).to_be_enabled(timeout=60_000)
    settled(page)
    return page


def train(page: Page, *, epochs: int, seed: int) -> str:
    """Fill the form and press Train; the id of the run."""
    for key, value in (("train-training-epochs", epochs), ("train-seed", seed)):
        field = page.locator(f".st-key-{key} input")
        field.fill(str(value))
        field.press("Enter")
        settled(page)
    page.locator(".st-key-train button").click()
    expect(page).to_have_url(re.compile(r"[?&]run="))
    return re.split(r"[?&]run=", page.url)[1].split("&")[0]


def test_a_run_shows_its_curves_and_ends_with_a_sentence(train_page, fresh):
    run_id = train(train_page, epochs=1, seed=11)
    expect(train_page.locator(".eq-id-sentence")).to_contain_text("test split", timeout=60_000)
    assert fresh.store.run(run_id).status == "done"
    reported = int((fresh.store.history(run_id)["stage"] == "training").sum())
    train_page.wait_for_function(
        "n => document.querySelector('.eq-id-curves .js-plotly-plot')._fullData.every(t => t.x.length === n)",
        arg=reported,
    )
    train_page.reload()
    expect(train_page.locator(".eq-id-sentence")).to_contain_text("test split")


def test_a_running_run_can_be_stopped(train_page, fresh):
    run_id = train(train_page, epochs=LONG, seed=12)
    expect(train_page.get_by_text(STEPS)).to_be_visible(timeout=60_000)
    train_page.locator(".st-key-stop button").click()
    expect(train_page.get_by_text("Stopped at step")).to_be_visible()
    assert fresh.store.run(run_id).status == "cancelled"


def test_a_killed_process_is_told_and_training_again_works(train_page, fresh):
    run_id = train(train_page, epochs=LONG, seed=13)
    expect(train_page.get_by_text(STEPS)).to_be_visible(timeout=60_000)
    wait_for(lambda: served.worker_processes(fresh.root), "No training process was found.")
    for pid in served.worker_processes(fresh.root):
        served.kill(pid)
    expect(train_page.get_by_test_id("stAlert")).to_contain_text("killed")
    assert fresh.store.run(run_id).status == "failed"
    train_page.evaluate(WHERE_STOP_IS)
    train_page.locator(".st-key-again button").click()
    expect(train_page.get_by_text(STEPS)).to_be_visible(timeout=60_000)
    train_page.locator(".st-key-stop button").click()
    expect(train_page.get_by_text("Stopped at step")).to_be_visible()
    assert len(train_page.evaluate("[...window.places]")) == 1  # it has not moved away under the pointer


def test_a_killed_engine_is_started_again_while_somebody_watches(train_page, fresh):
    run_id = train(train_page, epochs=LONG, seed=15)
    expect(train_page.get_by_text(STEPS)).to_be_visible(timeout=60_000)
    for pid in served.runner_processes(fresh.root):
        served.kill(pid)
    expect(train_page.get_by_test_id("stAlert")).to_contain_text("The runner ended", timeout=60_000)
    assert fresh.store.run(run_id).status == "failed"


def test_zoom_into_the_curves_stays_while_they_grow(train_page, fresh):
    run_id = train(train_page, epochs=60, seed=14)
    plot = train_page.locator(".eq-id-curves .js-plotly-plot")
    expect(train_page.get_by_text(STEPS)).to_be_visible(timeout=60_000)
    box = plot.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    train_page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    train_page.mouse.down()
    train_page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=8)
    train_page.mouse.up()
    zoomed = plot.evaluate("plot => [...plot._fullLayout.xaxis.range]")
    count = len(fresh.store.history(run_id))
    wait_for(lambda: len(fresh.store.history(run_id)) > count, "No further events arrived.")
    train_page.wait_for_function(
        "n => document.querySelector('.eq-id-curves .js-plotly-plot')._fullData[0].x.length > n", arg=count
    )
    assert plot.evaluate("plot => [...plot._fullLayout.xaxis.range]") == pytest.approx(zoomed)
    fresh.store.cancel([run_id])
    expect(train_page.get_by_text("Stopped at step")).to_be_visible()


def test_a_link_opens_a_stored_run(page, finished):
    page.goto(f"{finished.url}/train?run={finished.filled.run_ids[7]}")
    expect(page.locator(".eq-id-sentence")).to_contain_text("λ = ")
    expect(page.locator(".st-key-train-seed input")).to_have_value("2")


def test_an_unknown_run_is_a_sentence_and_the_page_works(page, finished):
    page.goto(f"{finished.url}/train?run=nonsense&measure=nonsense")
    expect(page.get_by_text("There is no run 'nonsense' here")).to_be_visible()
    expect(page.locator(".st-key-train button")).to_be_enabled()


def test_the_history_opens_a_run(page, finished):
    page.goto(f"{finished.url}/runs?show=runs")
    grid = page.get_by_test_id("stDataFrame").first
    expect(grid).to_be_visible()
    settled(page)
    grid.click(position={"x": 18, "y": 36 + 18})
    page.locator(".st-key-open button").click()
    expect(page.locator(".eq-id-sentence")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/train\?run="))
