"""The one background process of a store: it claims waiting runs, gives each job a process, watches, cancels and reaps.

A lock on runner.lock makes it the only one. Jobs are forked from a server process that has torch loaded, so this
process stays small and a job starts at once. It ends itself when no page server and no job is left, and starts anew
(same process number, same lock) when the code has changed: a method file dropped into methods/ appears by itself.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import IO, Any

from fairness_core.config import UserError
from fairness_core.processes import kill, process_started, take_lock
from fairness_core.store import Store, code_hash

POLL = 0.05  # seconds between two looks at the queue
ROUNDS = 1.0  # seconds between two looks at everything that changes rarely
GRACE = 3.0  # seconds between asking a job to stop and killing it
SETTLED = 3.0  # seconds that changed code must rest before the runner starts anew with it
SLOTS = 2  # jobs at a time: a single run need not wait for a long sweep, nor a sweep for its untreated anchor
IDLE = 5.0  # seconds without server and job before the runner ends itself
PACKAGE = Path(__file__).parent


def hold_server_lock(root: Path | str) -> IO[str]:
    """Says that a page server lives, for as long as the returned file is open. Call it before `ensure_running`."""
    held = take_lock(Path(root).expanduser().absolute() / "servers.lock", shared=True, wait=True)
    assert held is not None
    return held


def ensure_running(root: Path | str, data_dir: Path | str | None = None) -> None:
    """Start the runner of store `root` in the background, unless it runs: under a millisecond then, so pages may call
    it whenever they submit or wait. Its output goes to runner.log in the store."""
    root = Path(root).expanduser().absolute()
    lock = take_lock(root / "runner.lock")
    if lock is None:
        return
    # The child inherits the locked file itself: there is no moment in which a second runner could start.
    with lock, (root / "runner.log").open("a") as log:
        subprocess.Popen(
            _command(root, data_dir, lock.fileno()),
            cwd=PACKAGE.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )


def alive(root: Path | str) -> bool:
    """Does a runner serve store `root`? The lock is tried for a moment, in which none could be started."""
    lock = take_lock(Path(root).expanduser().absolute() / "runner.lock")
    if lock is not None:
        lock.close()
    return lock is None


def _command(root: Path, data_dir: Path | str | None, lock_fd: int, *options: str) -> list[str]:
    command = [sys.executable, "-m", "fairness_core", "runner", "--store", str(root), "--lock-fd", str(lock_fd)]
    if data_dir is not None:
        command += ["--data-dir", str(Path(data_dir).expanduser().absolute())]
    return [*command, *options]


def serve(
    root: Path | str,
    data_dir: Path | None = None,
    *,
    slots: int = SLOTS,
    idle: float = IDLE,
    lock_fd: int | None = None,
) -> None:
    """Run jobs until nobody needs them; UserError if another runner serves this store already.

    `slots` jobs run at a time; without server and job it ends after `idle` seconds (0: never). `lock_fd` is the
    inherited, already locked runner.lock.
    """
    store = Store(root)
    lock = take_lock(store.root / "runner.lock") if lock_fd is None else os.fdopen(lock_fd, "a+")
    if lock is None:
        raise UserError(f"A runner serves {store.root} already; use that one, or name another store.")
    with lock:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        runner = Runner(store, data_dir, slots, idle)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, runner.stop)
        if runner.run():
            os.set_inheritable(lock.fileno(), True)
            command = _command(store.root, data_dir, lock.fileno(), "--slots", str(slots), "--idle", str(idle))
            os.execv(command[0], command)


@dataclass
class Job:
    """One process and the runs it trains. asked: when it was seen that none of its runs is wanted any more."""

    number: str
    process: Any
    run_ids: list[str]
    started: str
    asked: float | None = None


class Runner:
    """The loop of `serve`."""

    def __init__(self, store: Store, data_dir: Path | None, slots: int, idle: float) -> None:
        self.store, self.data_dir, self.slots, self.idle = store, data_dir, slots, idle
        self.jobs: list[Job] = []
        self.stopping = False
        self.code = code_hash()
        self.needed_at = time.monotonic()  # when a server or a job was last seen
        self.outdated = False  # shall it start anew?
        self.seen, self.changed_at = self.code, self.needed_at  # the code on disk, and since when
        self._context = multiprocessing.get_context("forkserver")

    def stop(self, *signal_and_frame: object) -> None:
        self.stopping = True

    def run(self) -> bool:
        """True if the runner shall start anew because the code has changed, False if it has come to its end."""
        self.preload()
        next_round = 0.0
        while not self.stopping:
            if time.monotonic() >= next_round:
                next_round = time.monotonic() + ROUNDS
                self.store.reap()
                if not self._needed():
                    return False
                self.outdated = self.outdated or self._code_changed()
            if self.outdated and not self.jobs:
                return True
            self.start_jobs()
            self._watch()
        self._stop_all()
        return False

    def preload(self) -> None:
        """Start the forkserver, which loads torch (seconds) while this process goes on. Meanwhile pages read the kept
        catalogue, if there is one."""
        from fairness_core.worker import PRELOAD_FOR

        self.store.adopt_catalogue()
        data_dir = str(self.data_dir) if self.data_dir else None
        os.environ[PRELOAD_FOR] = json.dumps([str(self.store.root), data_dir])
        # It imports what it preloads before it learns this process's import path.
        paths = [str(PACKAGE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))
        self._context.set_forkserver_preload(["fairness_core.warm"])
        forkserver.ensure_running()

    def _code_changed(self) -> bool:
        """Has the code changed, and rested since, so that nobody is in the middle of saving?"""
        found = code_hash()
        if found != self.seen:
            self.seen, self.changed_at = found, time.monotonic()
        return found != self.code and time.monotonic() - self.changed_at > SETTLED

    def start_jobs(self) -> None:
        from fairness_core.worker import work

        while len(self.jobs) < self.slots and not self.stopping and not self.outdated:
            runs = self.store.claim(os.getpid())
            if not runs:
                return
            number = runs[0].job
            assert number is not None
            arguments = (self.store.root, number, [run.config for run in runs], self.data_dir)
            process = self._context.Process(target=work, args=arguments)
            process.start()
            assert process.pid is not None
            self.jobs.append(Job(number, process, [run.id for run in runs], process_started(process.pid)))

    def _watch(self) -> None:
        """Wait a moment for a job to end; ask after the cancelled ones."""
        ended = connection.wait([job.process.sentinel for job in self.jobs], POLL)
        for job in list(self.jobs):
            if job.process.sentinel in ended:
                self._end(job)
            elif self.store.wanted(job.number):
                job.asked = None
            elif job.asked is None:
                job.asked = time.monotonic()
            elif time.monotonic() - job.asked > GRACE:
                self._end(job)

    def _end(self, job: Job) -> None:
        """The last word on a job, after making sure that its process is gone."""
        if job.process.is_alive() or job.process.exitcode == 255:  # 255: the forkserver died and cannot tell
            kill(job.process.pid, job.started)
        job.process.join()
        code = job.process.exitcode
        how = f"was killed (signal {-code})" if code < 0 else f"ended too early (exit status {code})"
        self.store.abandon(job.number, f"The training process {how}")
        self.jobs.remove(job)

    def _needed(self) -> bool:
        """Is there a job or a page server, or was there one a moment ago?"""
        servers = None if self.jobs else take_lock(self.store.root / "servers.lock")
        if servers is None:
            self.needed_at = time.monotonic()
            return True
        with servers:
            self.start_jobs()
            return bool(self.jobs) or self.idle <= 0 or time.monotonic() - self.needed_at < self.idle

    def _stop_all(self) -> None:
        """Cancel the jobs that run; the waiting ones wait for the next runner."""
        self.store.cancel([run_id for job in self.jobs for run_id in job.run_ids])
        while self.jobs:
            self._watch()
