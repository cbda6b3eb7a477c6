"""The composition root: headers on every response, plotly.js from its package, no collection after each rerun."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import plotly
import pytest
from streamlit import config as streamlit_config

import app

ROOT = Path(app.__file__).parent


async def _answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"kept")]})
    await send({"type": "http.response.body", "body": b"ok"})


def _headers() -> dict[str, str]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app.SecurityHeaders(_answer)({"type": "http"}, None, send))  # type: ignore[arg-type]
    return {k.decode(): v.decode() for k, v in sent[0]["headers"]}


def test_every_response_forbids_framing_sniffing_and_other_origins():
    headers = _headers()
    assert headers["x-own"] == "kept"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "object-src 'none'" in policy
    assert "http" not in policy  # no other origin is named anywhere


def test_plotly_is_the_one_that_is_installed():
    assert Path(plotly.__file__).parent in app.PLOTLY_JS.parents
    assert app.PLOTLY_JS.stat().st_size > 1_000_000


def test_the_hidden_option_still_exists():
    """Streamlit may drop runner.postScriptGC; then every rerun gets slower and app.py has to freeze instead."""
    assert streamlit_config.get_option("runner.postScriptGC") in (True, False)


@pytest.mark.parametrize(("answer", "frozen"), [(False, False), (True, True), (RuntimeError("gone"), True)])
def test_what_is_loaded_is_spared_when_streamlit_collects_after_each_rerun(monkeypatch, answer, frozen):
    def option(name: str) -> bool:
        if isinstance(answer, RuntimeError):
            raise answer
        return bool(answer)

    calls: list[str] = []
    monkeypatch.setattr(streamlit_config, "get_option", option)
    monkeypatch.setattr(gc, "freeze", lambda: calls.append("freeze"))
    app.settle_garbage_collection()
    assert bool(calls) is frozen


def test_the_server_answers_this_computer_only_and_tells_nobody():
    text = (ROOT / ".streamlit" / "config.toml").read_text()
    for line in ('address = "127.0.0.1"', "gatherUsageStats = false", "magicEnabled = false", "postScriptGC = false"):
        assert line in text, line
