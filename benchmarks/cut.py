"""How long after a threshold or ε moves do all charts of the thresholds page show it? A real Chromium, a model that has
judged 50,000 people per split.

From the handling of the slider's input event in the browser to the first frame after everything was drawn (scores,
curves, ROC, map, people, matrices, sentence), while the mouse drags one position at a time. `moved` is the share of
steps at which the page really shows something else than before; `seconds_to_open` is from the address to all charts.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the server and the run are those of the tests

from fairness_core import catalogue as catalogues  # noqa: E402
from fairness_core.store import Store  # noqa: E402
from tests import served, synthetic  # noqa: E402

ROWS = 50_000
READY = ".eq-cut[data-ready]"
MARK = 130  # milliseconds, median
SHOWN = """() => document.querySelector(".eq-cut").innerText
  + [...document.querySelectorAll(".eq-over")].map(s => s.innerHTML)"""
LAST = "() => window.__equipoiseLast?.drawn ?? 0"


def run(quick: bool = False) -> dict[str, Any]:
    """Per slider median_ms, p95_ms, steps and moved; the largest median, the mark, and what it was measured on."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        catalogue, store = catalogues.build(), Store(root)
        store.publish_catalogue(catalogue)
        config = synthetic.configured(catalogue, "erm")
        store.submit([config])
        synthetic.claim(store)
        synthetic.scored(store, config, rows=ROWS)
        server = served.start(root)
        try:
            with served.chromium() as browser:
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                began = time.perf_counter()
                page.goto(f"{server.url}/thresholds?run={config.id}&tau=0.4,0.6")
                expect(page.locator(READY)).to_be_visible(timeout=90_000)
                opened = time.perf_counter() - began
                served.settled(page)
                return {"seconds_to_open": round(opened, 1), **_measure(page, 8 if quick else 30)}
        finally:
            server.stop()


def _measure(page: Page, steps: int) -> dict[str, Any]:
    found: dict[str, Any] = {name: _drag(page, name, steps) for name in ("tau-0", "tau-1", "eps")}
    page.locator("button[data-strategy=demographic_parity]").click()
    page.wait_for_timeout(1000)
    found["eps_with_strategy"] = _drag(page, "eps", steps)
    found["cost_with_strategy"] = _drag(page, "cost", steps)
    return {
        **found,
        "median_ms": max(own["median_ms"] for own in found.values()),
        "mark": MARK,
        "rows": ROWS,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def _drag(page: Page, name: str, steps: int) -> dict[str, Any]:
    """Drag the slider to and fro without letting go, waiting at each position until everything is drawn."""
    slider = page.locator(f"#eq-{name}")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    last, now = int(slider.get_attribute("max") or 0), int(slider.input_value())
    left, width, height = box["x"] + 11, (box["width"] - 22) / last, box["y"] + box["height"] / 2
    stride = max(1, round(4 / width))  # at least a few pixels
    page.mouse.move(left + now * width, height)
    page.mouse.down()
    times, seen, way = [], [page.evaluate(SHOWN)], 1
    for _ in range(steps):
        way = way if 0 <= now + way * stride <= last else -way
        now += way * stride
        drawn = page.evaluate(LAST)
        page.mouse.move(left + now * width, height)
        page.wait_for_function("drawn => (window.__equipoiseLast?.drawn ?? 0) > drawn", arg=drawn)
        times.append(page.evaluate("() => window.__equipoiseLast.drawn - window.__equipoiseLast.input"))
        seen.append(page.evaluate(SHOWN))
    page.mouse.up()
    page.wait_for_timeout(1200)  # Python has followed by then
    return {
        "median_ms": round(float(np.median(times)), 1),
        "p95_ms": round(float(np.percentile(times, 95)), 1),
        "steps": len(times),
        "moved": float(np.mean([a != b for a, b in itertools.pairwise(seen)])),
    }


if __name__ == "__main__":
    print(run("--quick" in sys.argv))
