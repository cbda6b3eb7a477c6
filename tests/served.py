"""A real server over a store of its own, and a real Chromium: for browser tests, drag benchmark and screenshots."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from fairness_core.store import Store
from tests.find_browser import system_browser

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
# The shell starts the server, then waits for its standard input to end: that happens when this process closes it and
# also when this process is killed, so no server outlives whoever started it.
WATCHED = '"$@" </dev/null & trap "" TERM; cat >/dev/null; kill -TERM 0; sleep 2; kill -KILL 0'


@dataclass
class Server:
    """A running app with a store of its own."""

    url: str
    store: Store
    root: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the server, its runner and everything these have started."""
        runner = runner_processes(self.root)
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
        for pid in runner:
            kill(pid)


def start(root: Path) -> Server:
    """Start the app on a free port with its store in `root`, and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    log = root.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", WATCHED, "sh", *command],
            cwd=ROOT,
            env={**os.environ, "EQUIPOISE_STORE": str(root)},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: _answers(url), f"The server did not start: {log.read_text()}")
    return Server(url, Store(root), root, process)


def over_a_new_store(root: Path, catalogue: dict[str, Any]) -> Iterator[Server]:
    """An app over a store that knows what exists and has no runs, for as long as a fixture lasts."""
    Store(root).publish_catalogue(catalogue)
    running = start(root)
    yield running
    running.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def wait_for(condition: Callable[[], object], otherwise: str, patience: float = 60.0) -> None:
    """Return as soon as the condition holds; AssertionError with `otherwise` if it never does."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < patience, otherwise
        time.sleep(0.1)


def runner_processes(root: Path) -> list[int]:
    """The runner of this store and all its descendants, parents first; empty where there is no /proc."""
    folders = list(Path("/proc").glob("[0-9]*"))
    lines = {int(p.name): _read(p / "cmdline") for p in folders}
    parents = {int(p.name): _parent(p) for p in folders}
    found = [pid for pid, line in lines.items() if str(root) in line and "runner" in line]
    for pid in found:  # grows while it is walked: children of children follow
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def worker_processes(root: Path) -> list[int]:
    """The processes that train for this store: what the fork server has forked."""
    family = runner_processes(root)
    forkservers = {pid for pid in family if "forkserver" in _read(Path(f"/proc/{pid}/cmdline"))}
    return [pid for pid in family if _parent(Path(f"/proc/{pid}")) in forkservers]


def _parent(folder: Path) -> int:
    stat = _read(folder / "stat")
    return int(stat.rpartition(")")[2].split()[1]) if stat else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process ended while we looked
        return ""


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine, headless: $CHROMIUM, the system's, or Playwright's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system_browser(), args=FLAGS)
        yield browser
        browser.close()


def settled(page: Page) -> None:
    """Wait until the app is connected, no script runs and nothing on the page is stale."""
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-connection-state", "CONNECTED")
    expect(app).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.locator('[data-stale="true"]')).to_have_count(0)
