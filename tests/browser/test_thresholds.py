"""The thresholds page in a real browser: every slider answers there, with the numbers that Python computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from fairness_core import metrics, strategies
from fairness_core.scores import Scores
from fairness_core.store import Store
from fairness_core.thresholds import GRID, MEASURES, counts
from tests import served, synthetic
from tests.served import Server, settled, wait_for

READY = ".eq-cut[data-ready]"
SENTENCE = ".eq-cut .eq-id-sentence"


class Cut:
    """An app with one finished model and its answers."""

    def __init__(self, server: Server, run_id: str, answers: dict[str, Scores], groups: int) -> None:
        self.server, self.run_id, self.groups = server, run_id, groups
        self.C = {split: counts(a.score, a.y, a.s, groups) for split, a in answers.items()}

    def at(self, split: str, *places: int) -> np.ndarray:
        """(G, 2, 2) with each group's threshold at a position of the grid."""
        return self.C[split][list(places), np.arange(self.groups)]

    def open(self, page: Page, parameters: str = "") -> None:
        page.goto(f"{self.server.url}/thresholds?run={self.run_id}{parameters}")
        expect(page.locator(READY)).to_be_visible(timeout=60_000)
        settled(page)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, catalogue: dict[str, Any]) -> Iterator[Cut]:
    root = tmp_path_factory.mktemp("cut") / "runs"
    store = Store(root)
    store.publish_catalogue(catalogue)
    config = synthetic.configured(catalogue, "erm")
    store.submit([config])
    synthetic.claim(store)
    answers = synthetic.scored(store, config)
    server = served.start(root)
    yield Cut(server, config.id, answers, 2)
    server.stop()


def move_to(page: Page, slider: str, position: int) -> None:
    """Drag a slider with the mouse towards a position, and the last steps with the keyboard."""
    handle = page.locator(f"#eq-{slider}")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    assert box is not None
    last, now = int(handle.get_attribute("max") or 0), int(handle.input_value())
    left, step, height = box["x"] + 11, (box["width"] - 22) / last, box["y"] + box["height"] / 2
    page.mouse.move(left + now * step, height)
    page.mouse.down()
    page.mouse.move(left + position * step, height, steps=6)
    page.mouse.up()
    for _ in range(20):
        off = position - int(handle.input_value())
        if not off:
            return
        handle.press("ArrowRight" if off > 0 else "ArrowLeft")
    raise AssertionError(f"slider {slider} stands at {handle.input_value()}, not at {position}")


def cells(page: Page) -> list[int]:
    """The people in the confusion matrices, group by group in reading order."""
    return [int(text.replace(",", "")) for text in page.locator(".eq-cut .eq-count").all_inner_texts()]


def signed(value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{abs(100 * value):.1f} points"


def test_dragging_one_threshold_moves_sentence_people_and_matrices(page, cut):
    cut.open(page)
    move_to(page, "tau-all", 180)
    C = cut.at("test", 180, 180)
    found = metrics.evaluate(C)
    expect(page.locator(SENTENCE)).to_contain_text("At τ = 0.36 for everybody")
    expect(page.locator(SENTENCE)).to_contain_text(signed(float(found[MEASURES[0]])))
    expect(page.locator(SENTENCE)).to_contain_text(f"ρ is {100 * float(found['balanced_accuracy']):.1f} %")
    assert cells(page) == C.ravel().tolist()
    per_1000 = [int(t) for t in page.locator(".eq-cut .eq-outcomes b").all_inner_texts()]
    rates = [1000 * C[g, y, d] / C[g].sum() for g in range(2) for y, d in ((1, 1), (0, 1), (1, 0), (0, 0))]
    assert per_1000 == pytest.approx(rates, abs=0.51)
    expect(page).to_have_url(re.compile(r"tau=0\.36"))
    page.reload()
    expect(page.locator(SENTENCE)).to_contain_text("At τ = 0.36 for everybody")


def test_the_interval_is_that_of_the_bootstrap(page, cut):
    cut.open(page, f"&tau=0.3,0.6&measure={MEASURES[1]}")
    text = page.locator(SENTENCE).inner_text()
    told = re.search(r"interval ([+−][\d.]+) to ([+−][\d.]+)", text)
    assert told is not None
    low, high = (float(end.replace("−", "-")) for end in told.groups())
    expected = metrics.bootstrap(cut.at("test", 150, 300), [MEASURES[1]], n=4000)[MEASURES[1]]
    width = 100 * float(expected[1] - expected[0])
    assert [low, high] == pytest.approx([100 * float(e) for e in expected], abs=0.15 * width)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("split", ["test", "validation"])
def test_every_measure_and_split_is_the_one_python_computes(page, cut, measure, split):
    cut.open(page, "&tau=0.7,0.35")
    page.locator("#eq-measure").select_option(measure)
    page.locator("#eq-split").select_option(split)
    expect(page.locator(SENTENCE)).to_contain_text(f"{split.capitalize()} split")
    found = metrics.evaluate(cut.at(split, 350, 175))
    expect(page.locator(SENTENCE)).to_contain_text(signed(float(found[measure])))
    expect(page).to_have_url(re.compile(f"measure={measure}" if measure != MEASURES[0] else "tau=0.7"))


def test_a_strategy_draws_the_lines_and_follows_epsilon_and_cost(page, cut):
    cut.open(page)
    page.get_by_role("button", name="Demographic parity").click()
    expect(page).to_have_url(re.compile("strategy=demographic_parity"))
    expect(page.get_by_text("It needs the group of every person")).to_be_visible()
    move_to(page, "eps", 2)  # 0.02
    move_to(page, "cost", 13)  # 3
    places = strategies.every(cut.C["validation"], GRID, MEASURES[0], np.array([0.02]), np.array([3.0]))
    expected = places["demographic_parity"][0, 0]
    assert [int(page.locator(f"#eq-tau-{g}").input_value()) for g in range(2)] == expected.tolist()
    assert cells(page) == cut.at("test", *expected).ravel().tolist()
    expect(page).to_have_url(re.compile(r"eps=0\.02.*cost=3|cost=3.*eps=0\.02"))
    page.reload()
    expect(page.locator("button[data-strategy=demographic_parity]")).to_have_attribute("aria-pressed", "true")
    assert int(page.locator("#eq-tau-0").input_value()) == expected[0]
    move_to(page, "tau-0", 60)
    expect(page.locator("button[data-strategy=demographic_parity]")).to_have_attribute("aria-pressed", "false")


def test_the_charts_hold_still_while_marks_move_and_a_zoom_is_kept(page, cut):
    cut.open(page)
    roc = ".eq-cut [aria-label^='ROC curve'].js-plotly-plot"
    page.evaluate("s => { document.querySelector(s).seen = true; }", roc)
    page.evaluate("s => window.Plotly.relayout(document.querySelector(s), {'xaxis.range': [0, 0.5]})", roc)
    marks = "s => [...document.querySelector(s).parentElement.querySelectorAll('circle')].map(c => c.cx.baseVal.value)"
    before = page.evaluate(marks, roc)
    move_to(page, "tau-all", 300)
    settled(page)
    after = page.evaluate(marks, roc)
    assert len(before) == len(after) == 2
    assert before != after
    assert page.evaluate("s => document.querySelector(s).seen", roc)
    assert page.evaluate("s => [...document.querySelector(s)._fullLayout.xaxis.range]", roc) == [0, 0.5]


def test_dark_mode_draws_in_the_dark_palette(open_context, cut):
    page = open_context(color_scheme="dark", viewport={"width": 800, "height": 900}).new_page()
    cut.open(page)
    expect(page.locator(".eq-cut.eq-dark")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 800


def test_a_treatment_is_trained_and_told_person_by_person(page, fresh, catalogue):
    model = synthetic.configured(catalogue, "erm", seed=21)
    fresh.store.submit([model])
    wait_for(lambda: fresh.store.run(model.id).status == "done", "the model was not trained")
    page.goto(f"{fresh.url}/thresholds?run={model.id}")
    expect(page.locator(READY)).to_be_visible(timeout=60_000)
    settled(page)
    method = page.locator(".st-key-treatment-method input")
    method.click()
    method.fill("Reject option")
    expect(page.get_by_test_id("stSelectboxVirtualDropdown")).to_contain_text("Reject option")
    method.press("Enter")
    expect(page.get_by_text("Needs the group at test time: yes")).to_be_visible()
    page.get_by_role("button", name="Treat this model").click()
    expect(page).to_have_url(re.compile("after="), timeout=60_000)
    expect(page.get_by_text("The gap in favourable decisions closed by")).to_be_visible(timeout=60_000)
    expect(page.locator("[role=figure][aria-label*='gained']")).to_be_visible()
