"""Pages under AppTest: a store of its own for every test, a published catalogue, and nobody who trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import catalogue as catalogues
from fairness_core import runner
from fairness_core.config import RunConfig
from fairness_core.store import Store
from tests import synthetic

NAVIGATION = Path(__file__).resolve().parents[2] / "pages" / "navigation.py"
OpenPage = Callable[..., AppTest]


@pytest.fixture(scope="session")
def catalogue() -> dict[str, Any]:
    return catalogues.build()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalogue: dict[str, Any]) -> Store:
    """The empty store that the pages of this test see."""
    monkeypatch.setenv("EQUIPOISE_STORE", str(tmp_path))
    monkeypatch.setattr(runner, "ensure_running", lambda *_: None)
    monkeypatch.setattr(runner, "alive", lambda *_: True)
    # a source file saved while the tests run would make the published catalogue that of another code
    monkeypatch.setattr("fairness_core.store.code_hash", lambda: catalogue["version"])
    made = Store(tmp_path)
    made.publish_catalogue(catalogue)
    return made


@pytest.fixture
def open_page(store: Store) -> OpenPage:
    """open_page("train.py", run="...") is a visit of that page with these parameters in its address."""

    def visit(name: str, **parameters: str) -> AppTest:
        at = AppTest.from_file(NAVIGATION, default_timeout=30)
        at.query_params.update(parameters)
        at.switch_page(name)
        return at.run()

    return visit


@pytest.fixture
def half_trained(store: Store, catalogue: dict[str, Any]) -> RunConfig:
    """A run that a worker has claimed and that has reported ten of its evaluations."""
    config = synthetic.configured(catalogue, "adversarial", lam=1.0)
    store.submit([config])
    synthetic.claim(store)
    synthetic.advance(store, config, 10)
    return config


@pytest.fixture
def finish(store: Store) -> Callable[..., None]:
    """finish(config) trains it, on paper; finish(config, "failed", error="...") does not get that far."""

    def end(config: RunConfig, status: str = "done", error: str | None = None) -> None:
        store.submit([config])
        while synthetic.claim(store):
            pass
        if status == "done":
            synthetic.finish(store, config)
        else:
            synthetic.advance(store, config, 5)
            store.finish(config.id, status, error=error)

    return end
