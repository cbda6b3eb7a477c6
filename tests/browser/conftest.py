"""Servers and pages for the browser tests: one browser for the session, one context per test, nothing left behind.

A test fails when the page throws, logs an error or asks any host but its own for something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from fairness_core import catalogue as catalogues
from fairness_core.store import Store
from tests import served, synthetic
from tests.served import Server

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def catalogue() -> dict[str, Any]:
    return catalogues.build()


@dataclass
class Finished:
    """An app over a store in which the default sweep and its untreated runs are done, as if trained."""

    server: Server
    filled: synthetic.Filled

    @property
    def url(self) -> str:
        return self.server.url


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, catalogue: dict[str, Any]) -> Iterator[Finished]:
    root = tmp_path_factory.mktemp("finished") / "runs"
    store = Store(root)
    store.publish_catalogue(catalogue)
    filled = synthetic.fill(store, catalogue)
    server = served.start(root)
    yield Finished(server, filled)
    server.stop()


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An app over an empty store; what trains there is real."""
    server = served.start(tmp_path_factory.mktemp("fresh") / "runs")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with served.chromium() as launched:
        yield launched


@pytest.fixture
def open_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Make browser contexts that are watched: errors and foreign requests fail the test when it ends."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # Opened by a deep link, Streamlit first looks for its server below the page's own path and is told 404.
        probing = "/_stcore/" in message.location["url"]
        if message.type == "error" and not probing:
            wrong.append(f"console: {message.text}")

    def make(**options: Any) -> BrowserContext:
        settings: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce", **options}
        context = browser.new_context(**settings)
        context.on("page", lambda page: page.on("pageerror", lambda error: wrong.append(f"page error: {error.stack}")))
        context.on("console", note)
        context.on("request", lambda r: None if _local(r.url) else wrong.append(f"request to {r.url}"))
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert wrong == []


def _local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Page:
    return open_context().new_page()
