"""The runner as it really runs: a process of its own, which is cancelled, killed and started anew here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fairness_core import runner
from fairness_core.config import resolve
from fairness_core.processes import process_started, take_lock
from fairness_core.store import Store
from tests.core.conftest import config, eventually

ENDLESS = {"epochs": 1000}
SHORT = {"max_steps": 5}


class Served:
    """A store with a runner."""

    def __init__(self, root):
        self.store = Store(root)
        self.lock = runner.hold_server_lock(root)
        runner.ensure_running(root)
        eventually(self.store.catalogue)
        self.catalogue = self.store.catalogue()

    @property
    def pid(self):
        return int((self.store.root / "runner.lock").read_text())

    def config(self, training, seed=0):
        return resolve(self.catalogue, dataset="adult", method="erm", seed=seed, training=training)

    def start(self, training, seeds=1):
        """The ids of runs that have left their first event."""
        ids = self.store.submit([self.config(training, seed) for seed in range(seeds)])
        eventually(lambda: all(self.store.run(i).step for i in ids))
        return ids

    def statuses(self, ids):
        return [self.store.run(i).status for i in ids]

    def finished(self, ids):
        eventually(lambda: not {"queued", "starting", "running"} & set(self.statuses(ids)))
        return self.statuses(ids)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("served"))
    yield served
    served.lock.close()  # with an endless job it would not end by itself
    if process_started(served.pid):
        os.kill(served.pid, signal.SIGTERM)
    eventually(lambda: take_lock(served.store.root / "runner.lock"))


@pytest.fixture
def served(shared):
    """The shared runner, started again if a test has ended it, with an empty store."""
    runner.ensure_running(shared.store.root)
    yield shared
    shared.store.delete(shared.store.runs()["id"].tolist())


def test_a_job_is_trained(served):
    ids = served.store.submit([served.config(SHORT, seed) for seed in range(2)])
    assert served.finished(ids) == ["done", "done"]
    for run_id in ids:
        assert served.store.history(run_id)["stage"].tolist()[-2:] == ["validation", "test"]
        assert served.store.weights_path(run_id).exists()
    assert served.store.run(ids[0]).job == served.store.run(ids[1]).job


def test_an_error_in_a_job_is_told_and_the_next_job_is_fine(served):
    broken = replace(served.config(SHORT), method="nonsense")
    ids = served.store.submit([broken, served.config(SHORT)])
    assert served.finished(ids) == ["failed", "done"]
    assert served.store.run(ids[0]).error == "KeyError: 'nonsense'"


def test_cancel_stops_a_running_job(served):
    ids = served.start(ENDLESS, seeds=2)
    worker = served.store.run(ids[0]).worker
    served.store.cancel(ids)
    assert served.finished(ids) == ["cancelled", "cancelled"]
    assert served.store.run(ids[0]).error is None
    eventually(lambda: not process_started(worker))


def test_a_deaf_job_is_killed(served):
    (run_id,) = served.start(ENDLESS)
    worker = served.store.run(run_id).worker
    os.kill(worker, signal.SIGSTOP)
    served.store.cancel([run_id])
    assert served.finished([run_id]) == ["cancelled"]
    assert not process_started(worker)


def test_a_deleted_run_stops_and_leaves_nothing(served):
    (run_id,) = served.start(ENDLESS)
    worker = served.store.run(run_id).worker
    served.store.delete([run_id])
    eventually(lambda: not process_started(worker))
    assert served.store.run(run_id) is None
    assert served.store.history(run_id).empty


def test_a_killed_worker_fails_its_runs_and_only_those(served):
    before = served.store.submit([served.config(SHORT)])
    assert served.finished(before) == ["done"]
    ids = served.start(ENDLESS, seeds=2)
    waiting = served.store.submit([served.config({"max_steps": 6})])
    os.kill(served.store.run(ids[0]).worker, signal.SIGKILL)
    assert served.finished(ids) == ["failed", "failed"]
    for run_id in ids:
        run = served.store.run(run_id)
        where = f"at step {run.step:,} of {run.of:,}; it can be trained again."
        assert run.error == f"The training process was killed (signal 9) {where}"
        assert len(served.store.history(run_id)) > 0
    assert served.finished(waiting) == ["done"]
    assert served.statuses(before) == ["done"]


def test_a_second_runner_is_refused(served):
    command = [sys.executable, "-m", "fairness_core", "runner", "--store", str(served.store.root)]
    second = subprocess.run(command, cwd=runner.PACKAGE.parent, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert second.stderr == f"A runner serves {served.store.root} already; use that one, or name another store.\n"


def test_starting_it_again_while_it_runs_starts_nothing(served):
    eventually(lambda: (served.store.root / "runner.lock").read_text())
    pid = served.pid
    runner.ensure_running(served.store.root)
    assert served.pid == pid
    assert process_started(pid)


def test_a_killed_runner_leaves_no_worker_and_its_runs_are_reaped(served):
    ids = served.start(ENDLESS)
    worker, pid = served.store.run(ids[0]).worker, served.pid
    assert runner.alive(served.store.root)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not process_started(worker))
    os.waitpid(pid, 0)
    assert not runner.alive(served.store.root)
    runner.ensure_running(served.store.root)
    assert served.finished(ids) == ["failed"]
    assert served.store.run(ids[0]).error.startswith("The runner ended at step ")
    again = served.store.submit([served.config(SHORT)])
    assert served.finished(again) == ["done"]


def test_a_terminated_runner_cancels_its_job_keeps_the_queue_and_ends_well(served):
    ids = served.start(ENDLESS)
    waiting = served.store.submit([served.config(SHORT)])
    pid = served.pid
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert served.statuses(ids) == ["cancelled"]
    assert served.statuses(waiting) == ["queued"]


def test_it_ends_itself_when_no_server_is_left(tmp_path):
    lock = runner.hold_server_lock(tmp_path)
    command = [sys.executable, "-m", "fairness_core", "runner", "--store", str(tmp_path), "--idle", "0.1"]
    process = subprocess.Popen(command, cwd=runner.PACKAGE.parent, stderr=subprocess.PIPE, text=True)
    eventually(lambda: (tmp_path / "runner.lock").exists() and (tmp_path / "runner.lock").read_text())
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2.5 * runner.ROUNDS)
    lock.close()
    assert process.wait(timeout=60) == 0
    process.stderr.close()


@pytest.fixture
def quiet(store, monkeypatch):
    """A runner in this process that starts no forkserver and looks around at once."""
    made = runner.Runner(store, None, 1, 0.0)
    monkeypatch.setattr(made, "preload", lambda: None)
    monkeypatch.setattr(runner, "ROUNDS", 0.0)
    return made


def test_an_outdated_runner_starts_no_job(quiet):
    quiet.store.submit([config()])
    quiet.outdated = True
    quiet.start_jobs()
    assert quiet.store.run(config().id).status == "queued"


def test_changed_code_starts_the_runner_anew_when_it_has_rested(quiet, monkeypatch):
    now = [0.0]
    versions = iter(["old", "saving", "saving", "saved", "saved", "saved", "saved"])

    def code_hash():
        now[0] += 1
        return next(versions)

    quiet.code = quiet.seen = "old"
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(runner, "code_hash", code_hash)
    monkeypatch.setattr(runner, "SETTLED", 1.5)
    assert quiet.run() is True
    assert (quiet.seen, now[0]) == ("saved", 6)


def test_a_runner_that_nobody_needs_ends(quiet):
    quiet.idle = 1e-9
    assert quiet.run() is False
