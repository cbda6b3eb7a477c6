"""Pictures of every page in every state, light and dark, 1440 and 800 wide: `python benchmarks/_screenshots.py FOLDER`,
or of those states alone whose names begin like a second argument.

The states are synthetic (tests/synthetic.py): no training is waited for, and two runs of this script show the same.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the server and the sweep are those of the tests

from fairness_core import catalogue as catalogues  # noqa: E402
from fairness_core import datasets, few_shot  # noqa: E402
from fairness_core.calibration import STEPS  # noqa: E402
from fairness_core.config import resolve  # noqa: E402
from fairness_core.store import Store  # noqa: E402
from tests import (  # noqa: E402
    served,
    synthetic,
    synthetic_backdoors,
    synthetic_latent,
    synthetic_regression,
    synthetic_twins,
)

WIDTHS, SCHEMES = (1440, 800), ("light", "dark")
HEIGHT, TALL = 1500, 3000  # the main area scrolls by itself, so a whole page needs a tall window
TALLEST = 5600  # of the page with most parts, 800 pixels wide
LAST = {
    "explain-few": ".eq-id-few-shot .js-plotly-plot",
    "explain-empty": ".st-key-explain-first button",
    "explain-bad-address": "[data-testid=stAlert]",
    "explain-bade": ".eq-id-course-both .js-plotly-plot",
    "explain-dvge-coding": ".eq-id-vae-live .js-plotly-plot",
    "explain-dvge-live": ".eq-id-cosines .js-plotly-plot",
    "explain-dvge": ".eq-id-grid .js-plotly-plot",
    "explain": ".eq-id-difference .js-plotly-plot",
    "frontier-failed": ".st-key-again",
    "frontier": ".eq-id-frontier .js-plotly-plot",
    "train-done": ".eq-id-curves .js-plotly-plot",
    "train-number": ".eq-id-errors .js-plotly-plot",
    "train-running": ".eq-id-curves .js-plotly-plot",
    "train": ".st-key-train button",
    "data-absent": ".st-key-missing",
    "data-pictures": "table.eq-gallery img",
    "data": ".eq-id-dial .js-plotly-plot",
    "thresholds-treated": ".eq-id-flips .js-plotly-plot",
    "thresholds": ".eq-cut[data-ready]",
    "runs-empty": "[data-testid=stPageLink]",
    "runs": "[data-testid=stDataFrame]",
}
EMPTY = {"train-empty": "train", "runs-empty": "runs", "explain-empty": "explain"}
KILLED = "The training process was killed (signal 9) at step 5 of 25; it can be trained again."


def main(folder: Path, start: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    catalogue = catalogues.build()
    with tempfile.TemporaryDirectory() as place, served.chromium() as browser:
        with _served(Path(place) / "empty", catalogue) as (url, _):
            _shoot(browser, url, _named(EMPTY, start), folder)
        with _served(Path(place) / "full", catalogue) as (url, store):
            _shoot(browser, url, _named(_states(store, catalogue), start), folder)
        data = synthetic_regression.data_folder(Path(place) / "published")
        os.environ["FAIRNESS_DATA_DIR"] = str(data)  # of the servers to come
        with _served(Path(place) / "numbers", catalogue) as (url, store):
            _shoot(browser, url, _named(_numbers(store, datasets.present(catalogue, data, None)), start), folder)


def _named(addresses: Mapping[str, str], start: str) -> dict[str, str]:
    return {name: address for name, address in addresses.items() if name.startswith(start)}


@contextmanager
def _served(root: Path, catalogue: Mapping[str, Any]) -> Iterator[tuple[str, Store]]:
    store = Store(root)
    store.publish_catalogue(catalogue)
    server = served.start(root)
    try:
        yield server.url, store
    finally:
        server.stop()


def _states(store: Store, catalogue: Mapping[str, Any]) -> dict[str, str]:
    """Bring the store into every state a page can show; the addresses that show them."""
    done = synthetic.fill(store, catalogue)
    running, runs = synthetic.submit_sweep(store, catalogue, method="parity")
    synthetic.claim(store)
    for i, run in enumerate(map(store.run, runs)):
        assert run is not None
        if i < len(runs) // 2:
            synthetic.finish(store, run.config)
        else:
            synthetic.advance(store, run.config, 12)
    failed, runs = synthetic.submit_sweep(store, catalogue, method="adversarial_grl", seeds=(0, 1))
    synthetic.claim(store)
    for run_id in runs:
        store.finish(run_id, "failed", error=KILLED)
    live, dead = (
        dataclasses.replace(synthetic.configured(catalogue, "adversarial_zhang", lam=1.0), seed=seed) for seed in (7, 8)
    )
    store.submit([live, dead])
    synthetic.claim(store)
    synthetic.advance(store, live, 14)
    store.finish(dead.id, "failed", error=KILLED)
    judged, treated = _judged(store, catalogue)
    explained = _explained(store, catalogue)
    return {
        "frontier-done": f"?sweep={done.sweep_id}",
        "frontier-running": f"?sweep={running}",
        "frontier-failed": f"?sweep={failed}",
        "frontier-bad-address": "?sweep=nonsense&lam=abc",
        "train-done": f"train?run={done.run_ids[52]}",
        "train-running": f"train?run={live.id}",
        "train-failed": f"train?run={dead.id}",
        "train-bad-address": "train?run=nonsense",
        "explain-done": f"explain?run={explained['robust']}",
        "explain-variants": f"explain?run={explained['robust']}&with={explained['pre']},{explained['online']}",
        "explain-running": f"explain?run={explained['running']}",
        "explain-table": f"explain?run={explained['table']}",
        "explain-few": f"explain?run={explained['few']}",
        "explain-bad-address": "explain?run=nonsense",
        **{f"explain-bade-{name}": f"explain?run={run}" for name, run in _cancelled(store, catalogue).items()},
        **{f"explain-dvge-{name}": f"explain?run={run}" for name, run in _coded(store, catalogue).items()},
        "data-table": "data",
        "data-intersections": "data?group=sex x race&association=0.1",
        "data-pictures": "data?data=cmnist&digits=5000&p_align=0.8",
        "data-absent": "data?data=bank",
        "data-bad-address": "data?data=nonsense",
        "thresholds": f"thresholds?run={judged}",
        "thresholds-groups": f"thresholds?run={judged}&strategy=equal_opportunity&eps=0.02&cost=2",
        "thresholds-treated": f"thresholds?run={judged}&after={treated}",
        "thresholds-bad-address": f"thresholds?run={judged}&eps=7&tau=abc",
        "runs-sweeps": "runs",
        "runs-runs": "runs?show=runs",
    }


def _judged(store: Store, catalogue: Mapping[str, Any]) -> tuple[str, str]:
    """A model whose answers are kept, and a treatment of it; their ids."""
    model = synthetic.configured(catalogue, "erm", seed=9)
    treatment = resolve(catalogue, dataset="adult", method="random_perturbation", seed=9)
    for config, tau in ((model, 0.5), (treatment, 0.35)):
        store.submit([config])
        synthetic.claim(store)
        synthetic.scored(store, config, tau=tau)
    return model.id, treatment.id


def _explained(store: Store, catalogue: Mapping[str, Any]) -> dict[str, str]:
    """Runs of AEDA: three variants and the untreated model, one that is being trained, one on a table; their ids."""
    done = {v: synthetic_twins.configured(catalogue, variant=v) for v in ("robust", "pre", "online")}
    done |= {"untreated": synthetic_twins.configured(catalogue, "erm")}
    done |= {"table": synthetic_twins.configured(catalogue, dataset="adult")}
    for config in done.values():
        synthetic_twins.finish(store, config)
    filled: dict[str, Any] = dict(few_shot.SETTINGS)
    for name, method, options in (("few", "aeda", filled), ("few untreated", "erm", {})):
        done[name] = synthetic_twins.configured(catalogue, method, data=few_shot.DATA, **options)
        synthetic_twins.finish(store, done[name])
    running = synthetic_twins.configured(catalogue, seed=1)
    synthetic_twins.advance(store, running, 3)
    return {name: config.id for name, config in {**done, "running": running}.items()}


def _cancelled(store: Store, catalogue: Mapping[str, Any]) -> dict[str, str]:
    """Runs of BaDe: with a valley of n %, one that goes on in s and one that might, on pictures, and two that are being
    trained; their ids."""
    valley = synthetic_backdoors.fill_valley(store, catalogue)
    beyond = synthetic_backdoors.fill_valley(store, catalogue, law="exchanged", beyond=STEPS[:4])
    edge = synthetic_backdoors.fill_valley(store, catalogue, law="exchanged", temperature=2.0)
    picture = synthetic_backdoors.configured(catalogue, dataset="cmnist", rate=75.0)
    plain = [synthetic_backdoors.configured(catalogue, "erm", dataset=d) for d in ("adult", "cmnist")]
    for config in (picture, *plain):
        synthetic_backdoors.finish(store, config)
    teacher = synthetic_backdoors.configured(catalogue, dataset="cmnist", seed=1)
    student = synthetic_backdoors.configured(catalogue, alpha=0.5, seed=1)
    for config, looks in ((teacher, 2), (student, 5)):
        synthetic_backdoors.advance(store, config, looks)
    shown = {
        "done": valley[-1],
        "beyond": beyond[-1],
        "edge": edge[-1],
        "pictures": picture,
        "teacher": teacher,
        "student": student,
    }
    return {name: config.id for name, config in shown.items()}


def _coded(store: Store, catalogue: Mapping[str, Any]) -> dict[str, str]:
    """Runs of DVGE: with a map over both strengths, on pictures, and two that are being trained; their ids."""
    table = synthetic_latent.configured(catalogue, eta_sensitive=1.0, eta_task=0.4)
    pictures = synthetic_latent.configured(catalogue, dataset="cmnist")
    for config in (table, pictures):
        synthetic_latent.finish(store, config)
    synthetic_latent.fill_grid(store, catalogue, table)
    coding, live = (synthetic_latent.configured(catalogue, seed=seed) for seed in (5, 6))
    synthetic_latent.code(store, coding, 9)
    synthetic_latent.advance(store, live, 4)
    shown = {"table": table, "pictures": pictures, "coding": coding, "live": live}
    return {name: config.id for name, config in shown.items()}


def _numbers(store: Store, catalogue: Mapping[str, Any]) -> dict[str, str]:
    """Runs of a regression, beside the untreated model and alone, one that is being trained, and a sweep."""
    treated, plain, old = (
        synthetic_regression.configured(catalogue, method, lam=lam, seed=seed)
        for method, lam, seed in (("adversarial_grl", 1.0, 0), ("erm", None, 0), ("erm", None, 7))
    )
    for config in (treated, plain):
        synthetic_regression.finish(store, config)
    synthetic_regression.finish(store, old, kept=False)
    live = synthetic_regression.configured(catalogue, "adversarial_grl", lam=2.0, seed=4)
    synthetic_regression.start(store, live, 5)
    backdoor = synthetic_backdoors.fill_valley(store, catalogue, dataset="communities")[-1]
    return {
        "explain-bade-number": f"explain?run={backdoor.id}",
        "train-number": f"train?run={treated.id}",
        "train-number-untreated": f"train?run={plain.id}",
        "train-running-number": f"train?run={live.id}",
        "train-old-number": f"train?run={old.id}",
        "frontier-number": f"?sweep={synthetic_regression.sweep(store, catalogue)}",
        "thresholds-number": f"thresholds?run={plain.id}",
        "runs-numbers": "runs?show=runs",
    }


def _shoot(browser: Browser, url: str, addresses: Mapping[str, str], folder: Path) -> None:
    for width in WIDTHS:
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": HEIGHT},
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            for name, address in addresses.items():
                tall = TALLEST if name.startswith("explain") else TALL
                high = tall if name.startswith(("data", "thresholds", "explain")) else HEIGHT
                page.set_viewport_size({"width": width, "height": high})
                page.goto(f"{url}/{address}")
                _complete(page, name)
                page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
                print(f"{name}-{width}-{scheme}.png", flush=True)
            context.close()


def _complete(page: Page, name: str) -> None:
    """Wait for what this state shows last, then for the charts and for the end of the fade-in."""
    last = next(selector for start, selector in LAST.items() if name.startswith(start))
    expect(page.locator(last).first).to_be_visible(timeout=60_000)
    expect(page.locator(".eq-plot:not(.js-plotly-plot)")).to_have_count(0, timeout=30_000)
    page.wait_for_timeout(700)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"), *sys.argv[2:3])
