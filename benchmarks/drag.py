"""How long after λ moves do both charts show it? A real Chromium on a finished sweep of 21 values and 5 seeds.

From the browser's own time of the slider's input event to plotly's `plotly_afterplot` of the second of the two charts
(frontier, accuracy per group), while the mouse drags the slider one position at a time; and whether a zoom survives it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the server and the sweep are those of the tests

from fairness_core import catalogue as catalogues  # noqa: E402
from fairness_core.store import Store  # noqa: E402
from tests import served, synthetic  # noqa: E402

CHARTS = (".eq-id-frontier .js-plotly-plot", ".eq-id-accuracy .js-plotly-plot")
STEPS, QUICK_STEPS = 40, 10
WATCH = """charts => {
  const state = window.__drag = {input: 0, waiting: new Set(), steps: []};
  addEventListener('input', event => {
    if (event.target.id !== 'eq-lam') return;
    state.input = event.timeStamp;
    state.waiting = new Set(charts);
  }, true);
  for (const chart of charts) {
    document.querySelector(chart).on('plotly_afterplot', () => {
      if (state.waiting.delete(chart) && !state.waiting.size) state.steps.push(performance.now() - state.input);
    });
  }
}"""


def run(quick: bool = False) -> dict[str, Any]:
    """median_ms and p95_ms over the steps, zoom_kept, and what they were measured on."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        catalogue, store = catalogues.build(), Store(root)
        store.publish_catalogue(catalogue)
        filled = synthetic.fill(store, catalogue)
        server = served.start(root)
        try:
            with served.chromium() as browser:
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                page.goto(f"{server.url}/?sweep={filled.sweep_id}")
                expect(page.locator(CHARTS[1])).to_be_visible(timeout=60_000)
                served.settled(page)
                return _measure(page, QUICK_STEPS if quick else STEPS, len(filled.run_ids))
        finally:
            server.stop()


def _measure(page: Page, steps: int, models: int) -> dict[str, Any]:
    page.evaluate(WATCH, list(CHARTS))
    _drag(page, steps)
    times = np.array(page.evaluate("window.__drag.steps"))
    zoomed = _zoom(page)
    _drag(page, 4)
    return {
        "median_ms": round(float(np.median(times)), 1),
        "p95_ms": round(float(np.percentile(times, 95)), 1),
        "steps": len(times),
        "models": models,
        "zoom_kept": bool(np.allclose(_range(page), zoomed)),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def _range(page: Page) -> list[float]:
    found: list[float] = page.locator(CHARTS[0]).evaluate("plot => [...plot._fullLayout.xaxis.range]")
    return found


def _zoom(page: Page) -> list[float]:
    """Zoom into the middle of the frontier with the mouse; the range it has then."""
    box = page.locator(f"{CHARTS[0]} .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"], steps=6)
    page.mouse.up()
    page.wait_for_timeout(500)
    return _range(page)


def _drag(page: Page, steps: int) -> None:
    """To and fro over the slider's 21 positions without letting go, waiting for the charts at each."""
    slider = page.locator("#eq-lam")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    last = int(slider.get_attribute("max") or 0)
    now, way = int(slider.input_value()), 1
    left, width, height = box["x"] + 11, (box["width"] - 22) / last, box["y"] + box["height"] / 2
    page.mouse.move(left + now * width, height)
    page.mouse.down()
    drawn: int = page.evaluate("window.__drag.steps.length")
    for done in range(drawn + 1, drawn + steps + 1):
        way = -way if not 0 <= now + way <= last else way
        now += way
        page.mouse.move(left + now * width, height)
        page.wait_for_function("n => window.__drag.steps.length >= n", arg=done)
        page.wait_for_timeout(30)
    page.mouse.up()


if __name__ == "__main__":
    print(run("--quick" in sys.argv))
