"""How soon is something seen? Real Chromium, real server, real trainings.

first_points_s: from opening the page on a fresh store, right after the server has started (so the runner is cold), to
the first points of the frontier. first_metric_s: with the runner warm, from pressing Train to the first point of the
run's curves on the page; median over runs of different seeds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the server is that of the tests

from tests import served  # noqa: E402

expect.set_options(timeout=20_000)

POINTS = """() => document.querySelector('.eq-id-frontier .js-plotly-plot')?._fullData
  ?.some(trace => trace.meta?.startsWith?.('points:') && trace.x.length > 0)"""
PRESSED = """() => {
  window.__pressed = null;
  document.querySelector('.st-key-train button').addEventListener(
    'click', () => { window.__pressed = performance.now(); }, {capture: true, once: true});
}"""
DRAWN = """old => {
  const plot = document.querySelector('.eq-id-curves .js-plotly-plot');
  const run = new URLSearchParams(location.search).get('run');
  const seen = run !== old && plot?._fullLayout?.uirevision === run && plot._fullData.some(trace => trace.x.length > 0);
  return seen && window.__pressed !== null ? performance.now() - window.__pressed : false;
}"""


def run(quick: bool = False) -> dict[str, Any]:
    """quick: one cold start and three runs; else three cold starts and nine runs."""
    cold, runs = (1, 3) if quick else (3, 9)
    firsts, metrics = [], []
    with served.chromium() as browser:
        for k in range(cold):
            with tempfile.TemporaryDirectory() as folder:
                server = served.start(Path(folder) / "runs")
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                try:
                    firsts.append(_first_points(page, server.url))
                    page.locator(".st-key-stop button").click()
                    expect(page.get_by_text("Training was stopped")).to_be_visible()
                    if k == cold - 1:
                        metrics = [_first_metric(page, server, seed) for seed in range(runs)]
                finally:
                    page.close()
                    server.stop()
    return {
        "first_points_s": round(float(np.median(firsts)), 2),
        "first_points_worst_s": round(max(firsts), 2),
        "first_metric_s": round(float(np.median(metrics)), 2),
        "first_metric_worst_s": round(max(metrics), 2),
        "cold_starts": cold,
        "runs": runs,
        "load": round(os.getloadavg()[0], 1),
    }


def _first_points(page: Page, url: str) -> float:
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_function(POINTS, timeout=120_000)
    return time.perf_counter() - start


def _first_metric(page: Page, server: served.Server, seed: int) -> float:
    """Seconds by the browser's own clock; returns once the run is over."""
    if seed == 0:
        page.goto(f"{server.url}/train")
        expect(page.locator(".st-key-train button")).to_be_enabled(timeout=60_000)
    served.settled(page)
    field = page.locator(".st-key-train-seed input")
    field.fill(str(1000 + seed))
    field.press("Enter")
    served.settled(page)
    old = page.evaluate("new URLSearchParams(location.search).get('run')")
    page.evaluate(PRESSED)
    page.locator(".st-key-train button").click()
    seconds = float(page.wait_for_function(DRAWN, arg=old, timeout=60_000).json_value()) / 1000
    run_id = page.url.partition("run=")[2].partition("&")[0]
    served.wait_for(lambda: _done(server, run_id), f"Run {run_id} did not end.")
    page.wait_for_timeout(1000)
    return seconds


def _done(server: served.Server, run_id: str) -> bool:
    run = server.store.run(run_id)
    return run is not None and run.status == "done"


if __name__ == "__main__":
    print(json.dumps(run("--quick" in sys.argv)))
