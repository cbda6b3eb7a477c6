"""DVGE on the explain page, in a real browser: it follows the autoencoder and the model, and its map fills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fairness_core import exhibits
from fairness_core.config import Event, resolve
from tests import served, synthetic_latent
from tests.served import Server, settled
from tests.synthetic_latent import CODING, LOOKS

LOSSES = ".eq-id-vae-live .js-plotly-plot"
FOCI, COSINES, MAP = (f".eq-id-{name} .js-plotly-plot" for name in ("foci", "cosines", "grid"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, catalogue: dict[str, Any]) -> Iterator[Server]:
    """An app over a store with runs that this process trains, on paper."""
    yield from served.over_a_new_store(tmp_path_factory.mktemp("latent") / "runs", catalogue)


def points(page: Page, chart: str, n: int) -> None:
    """Wait until the longest line of the chart has n points."""
    page.wait_for_function(
        """([chart, n]) => {
            const lines = document.querySelector(chart)?._fullData ?? [];
            return Math.max(0, ...lines.map((t) => (t.x ? t.x.length : 0))) === n;
        }""",
        arg=[chart, n],
    )


def cells(page: Page, n: int) -> None:
    """Wait until n cells of the map hold a number."""
    page.wait_for_function(
        """([chart, n]) => {
            const map = document.querySelector(chart)?._fullData?.find((t) => t.meta === "grid");
            return map && Array.from(map.z).flatMap((row) => Array.from(row)).filter(Number.isFinite).length === n;
        }""",
        arg=[MAP, n],
    )


def test_it_follows_autoencoder_and_model_and_the_map_fills(page, server, catalogue):
    store, config = server.store, synthetic_latent.configured(catalogue, eta_sensitive=0.5)
    synthetic_latent.code(store, config, 5)
    page.goto(f"{server.url}/explain?run={config.id}")
    points(page, LOSSES, 5)
    *more, final = ((config.id, event) for event in list(synthetic_latent.losses(config))[5:])
    store.append(more)
    points(page, LOSSES, CODING - 1)
    store.append([final])
    last = synthetic_latent.coding_steps(config)
    for look in (1, 2):
        step = last + 2000 * look // LOOKS
        exhibits.save(store.exhibits_path(config.id), step, synthetic_latent.bars(config, look))
        counts = synthetic_latent.counts(config, "training")
        values = {"loss": 0.5, **synthetic_latent.GOOD}
        store.append([(config.id, Event("training", step, synthetic_latent.steps(config), values, counts))])
        expect(page.get_by_text(f"step {step:,}").first).to_be_visible()
        if look == 1:
            page.wait_for_selector(COSINES)
            page.evaluate("chart => { document.querySelector(chart).kept = true }", FOCI)
    assert page.evaluate("chart => document.querySelector(chart).kept", FOCI)
    cells(page, 1)  # its own
    for one in synthetic_latent.grid(catalogue, config)[:6]:  # two cells, three seeds each
        synthetic_latent.finish(store, one, alone=False)
    cells(page, 3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    store.finish(config.id, "cancelled")
    expect(page.get_by_text("Stopped at step")).to_be_visible()


def test_a_real_run_ends_with_a_sentence_and_what_its_code_is(page, fresh, catalogue):
    config = resolve(
        catalogue, dataset="adult", method="dvge", seed=34, training={"epochs": 1, "batch_size": 2048},
        method_options={"vae_steps": 60, "sensitive_epochs": 1, "hidden": "8"},
    )  # fmt: skip
    fresh.store.submit([config])
    page.goto(f"{fresh.url}/explain?run={config.id}")
    expect(page.locator(".eq-id-codes")).to_contain_text("From the code the sex is told", timeout=60_000)
    expect(page.locator(".eq-id-sentence")).to_contain_text("n = 16,281")
    expect(page.locator(FOCI)).to_be_visible()
    expect(page.locator(".eq-id-validity .js-plotly-plot")).to_be_visible()
    page.get_by_text("The code itself").click()
    expect(page.get_by_text("reconstruct", exact=False).first).to_be_visible()
    settled(page)
