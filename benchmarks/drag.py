"""How long after λ moves do both charts show it? A real Chromium on a finished sweep of 21 values and 5 seeds.

From the browser's own time of the slider's input event to the first frame after both charts (frontier, accuracy per
group) have drawn, while the mouse drags the slider one position at a time; the same for the full redraw on release.
`moved` is the share of steps at which ring and bars really are somewhere else than before; zoom_kept says whether a
zoom survives a drag.
"""

from __future__ import annotations

import itertools
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
DRAGS, QUICK_DRAGS, STEPS = 5, 2, 8
WATCH = """charts => {
  const state = window.__drag = {waiting: new Set(), steps: [], releases: [], seen: []};
  const [frontier, accuracy] = charts.map(chart => document.querySelector(chart));
  const uid = frontier._fullData.find(t => t.meta === 'ring').uid;
  const shown = () => {
    const ring = frontier.querySelector(`.scatterlayer .trace${uid} .point`).getBoundingClientRect();
    const bars = [...accuracy.querySelectorAll('.bars path')].map(p => p.getAttribute('d'));
    return JSON.stringify([ring.x, ring.y, ...bars]);
  };
  for (const [kind, times] of [['input', 'steps'], ['change', 'releases']]) {
    addEventListener(kind, event => {
      if (event.target.id !== 'eq-lam') return;
      state.asked = event.timeStamp;
      state.times = state[times];
      state.waiting = new Set(charts);
    }, true);
  }
  [frontier, accuracy].forEach((plot, i) => plot.on('plotly_afterplot', () => {
    if (!state.waiting.delete(charts[i]) || state.waiting.size) return;
    const {asked, times} = state;
    requestAnimationFrame(() => {
      if (times === state.steps) state.seen.push(shown());
      times.push(performance.now() - asked);
    });
  }));
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
                return _measure(page, QUICK_DRAGS if quick else DRAGS, len(filled.run_ids))
        finally:
            server.stop()


def _measure(page: Page, drags: int, models: int) -> dict[str, Any]:
    page.evaluate(WATCH, list(CHARTS))
    for i in range(drags):
        _drag(page, STEPS, way=-1 if i % 2 else 1)
    told: dict[str, Any] = page.evaluate("({...window.__drag, waiting: null, times: null})")
    zoomed = _zoom(page)
    _drag(page, 3, way=1)
    steps, seen = np.array(told["steps"]), told["seen"]
    return {
        "median_ms": round(float(np.median(steps)), 1),
        "p95_ms": round(float(np.percentile(steps, 95)), 1),
        "release_median_ms": round(float(np.median(told["releases"])), 1),
        "steps": len(steps),
        "moved": float(np.mean([a != b for a, b in itertools.pairwise(seen)])),
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


def _drag(page: Page, steps: int, way: int) -> None:
    """Take the slider `steps` positions on, waiting for the charts at each, then let go and wait for them again."""
    slider = page.locator("#eq-lam")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    last, now = int(slider.get_attribute("max") or 0), int(slider.input_value())
    way = way if 0 <= now + way * steps <= last else -way
    left, width, height = box["x"] + 11, (box["width"] - 22) / last, box["y"] + box["height"] / 2
    page.mouse.move(left + now * width, height)
    page.mouse.down()
    for step in range(1, steps + 1):
        drawn = page.evaluate("window.__drag.steps.length")
        page.mouse.move(left + (now + way * step) * width, height)
        page.wait_for_function("n => window.__drag.steps.length > n", arg=drawn)
        page.wait_for_timeout(30)
    drawn = page.evaluate("window.__drag.releases.length")
    page.mouse.up()
    page.wait_for_function("n => window.__drag.releases.length > n", arg=drawn)
    page.wait_for_timeout(800)  # Python has followed by then


if __name__ == "__main__":
    print(run("--quick" in sys.argv))
