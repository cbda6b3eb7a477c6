"""Composition root: `streamlit run app.py` serves the pages, keeps the runner alive and guards the browser."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import plotly
import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config as streamlit_config

from fairness_core import runner
from pages import PLOTLY_ROUTE, data_dir, store_root

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

# Streamlit's own bundle needs inline styles, blob: modules (components) and WebAssembly; nothing leaves the origin.
CONTENT_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' ws: wss: blob: data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class SecurityHeaders:
    """Adds HEADERS to every HTTP response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *given]}
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


async def plotly_js(request: Request) -> FileResponse:
    """plotly.js out of the installed plotly package, so that nothing is vendored and versions always match."""
    cached = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(PLOTLY_JS, media_type="text/javascript", headers=cached)


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    """Once per server: the runner is started, and sees from the lock that somebody may still submit."""
    settle_garbage_collection()
    root = store_root()
    lock = runner.hold_server_lock(root)
    runner.ensure_running(root, data_dir())
    try:
        yield
    finally:
        lock.close()


def settle_garbage_collection() -> None:
    """A full collection after every rerun is the largest part of its time; without the option, spare what is loaded."""
    try:
        collects = bool(streamlit_config.get_option("runner.postScriptGC"))
    except RuntimeError:  # an undocumented option: a later Streamlit may drop it
        collects = True
    if collects:
        gc.collect()
        gc.freeze()


app = st.App(
    Path(__file__).resolve().parent / "pages" / "navigation.py",
    routes=[Route(PLOTLY_ROUTE, plotly_js)],
    lifespan=lifespan,
    middleware=[Middleware(SecurityHeaders)],
)
