"""The worker: whatever happens in a training, the store tells it. The training itself is a stand-in."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import load_file

from fairness_core import catalogue, experiment
from fairness_core.config import Event, UserError, resolve
from fairness_core.worker import Reporter, run_inline, train
from tests.core.conftest import COUNTS, STEPS, claim_and_start, config, eventually, fake_fit


def test_a_run_ends_with_events_weights_and_what_a_page_needs(store):
    (run_id,) = run_inline([config()], store, fit=fake_fit)
    run = store.run(run_id)
    assert run.status == "done"
    history = store.history(run_id)
    assert history["stage"].tolist() == ["training"] * 4 + ["validation", "test"]
    assert history["step"].tolist() == [10, 20, 30, 40, 40, 40]
    assert set(load_file(store.weights_path(run_id))) == {"weight", "bias"}
    assert run.info["groups"] == ["Female", "Male"]
    assert run.info["classes"] == ["<=50K", ">50K"]
    assert run.info["n_test"] == 16_281
    assert run.info["device"] == "cpu"
    assert run.info["job_seconds"] == run.info["seconds"] * run.info["job_runs"]


def test_what_the_model_said_about_every_row_is_kept(store):
    def fit(configs, **where):
        for stage, n in (("validation", 6512), ("test", 16_281)):
            scores = np.linspace(0, 1, n, dtype=np.float32)
            yield [(0, Event(stage, STEPS, STEPS, {"tau": 0.75}, COUNTS, scores))]
        return _networks(1)

    (run_id,) = run_inline([config()], store, fit=fit)
    kept = store.scores(run_id)
    assert (len(kept["validation"]), len(kept["test"])) == (6512, 16_281)
    assert kept["test"].decision.mean() == pytest.approx(0.25, abs=1e-3)
    assert kept["test"].y.mean() == pytest.approx(0.236, abs=1e-3)  # the rows of Adult's own test file


def test_a_run_that_starts_from_another_finds_its_weights(store):
    base = {"method": "erm", "method_options": {}}
    treated = dataclasses.replace(config(method="reject_option"), base=base)
    found = {}

    def fit(configs, weights, **where):
        for c in configs:
            found[c.method] = c.start and weights(c.start.id).exists()
        return (yield from fake_fit(configs))

    assert run_inline([treated], store, fit=fit) == [treated.id]
    assert found == {"erm": None, "reject_option": True}
    assert store.run(treated.start.id).status == "done"


def test_flags_are_those_of_the_test_split(store):
    (run_id,) = run_inline([config()], store, fit=fake_fit)
    assert "small_group:Female,<=50K" in store.run(run_id).info["flags"]


def test_a_stack_is_one_training_and_every_run_gets_its_own_events(store):
    calls = []

    def fit(configs, **where):
        calls.append(len(configs))
        return fake_fit(configs)

    ids = run_inline([config(0, lam) for lam in (0.0, 1.0, 2.0)], store, vary=["lam"], fit=fit)
    assert calls == [3]
    for factor, counts in enumerate(store.confusions(ids, "test").values(), 1):
        assert (counts == COUNTS * factor).all()
    assert store.run(ids[0]).info["job_runs"] == 3


def test_a_finished_run_is_not_trained_again(store):
    run_inline([config()], store, fit=fake_fit)

    def fit(configs, **where):
        raise AssertionError("trained again")

    assert run_inline([config()], store, fit=fit) == [config().id]
    assert store.run(config().id).status == "done"


def test_a_failed_run_is_trained_again(store):
    def broken(configs, **where):
        raise ValueError("no luck")
        yield

    run_inline([config()], store, fit=broken)
    assert store.run(config().id).status == "failed"
    run_inline([config()], store, fit=fake_fit)
    assert store.run(config().id).status == "done"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("λ = -1 is out of range."), "λ = -1 is out of range."),
        (RuntimeError("shapes differ\nsee above"), "RuntimeError: shapes differ"),
        (KeyError("sex"), "KeyError: 'sex'"),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_an_error_becomes_one_sentence_and_the_log_has_the_rest(store, capfd, error, sentence):
    def fit(configs, **where):
        yield [(0, Event("training", 1, STEPS, {"loss": 1.0}))]
        raise error

    (first, second) = run_inline([config(0), config(1)], store, fit=fit)
    for run_id in (first, second):
        assert (store.run(run_id).status, store.run(run_id).error) == ("failed", sentence)
    assert len(store.history(first)) == 1
    assert ("Traceback" in capfd.readouterr().err) is not isinstance(error, UserError)  # whose sentence says all


def test_one_diverged_run_is_marked_and_the_others_are_not(store):
    def fit(configs, **where):
        values = [{"diverged_at_step": 12.0}, {}]
        for stage in ("validation", "test"):
            yield [(i, Event(stage, STEPS, STEPS, values[i], COUNTS)) for i in range(2)]
        return _networks(2)

    ids = run_inline([config(0), config(1)], store, fit=fit)
    marks = [any(flag.startswith("diverged") for flag in store.run(i).info["flags"]) for i in ids]
    assert marks == [True, False]
    assert [store.run(i).status for i in ids] == ["done", "done"]


def _networks(n):
    from torch import nn

    return [nn.Linear(2, 1) for _ in range(n)]


def test_events_are_written_while_the_training_is_busy(store):
    def fit(configs, **where):
        yield [(0, Event("training", 1, STEPS, {"loss": 1.0}))]
        eventually(lambda: len(store.history(configs[0].id)) == 1)
        return (yield from fake_fit(configs))

    (run_id,) = run_inline([config()], store, fit=fit)
    assert store.run(run_id).status == "done"


def test_many_quick_events_are_few_writes(store, monkeypatch):
    store.submit([config()])
    (run,) = claim_and_start(store)
    writes = []
    append = store.append
    monkeypatch.setattr(store, "append", lambda rows, job: (writes.append(len(rows)), append(rows, job=job)))
    reporter = Reporter(store, run.job, [run.id], lambda: None)
    for step in range(300):
        reporter.add([(run.id, Event("training", step, 300))])
        time.sleep(0.001)
    reporter.close()
    assert sum(writes) == 300
    assert len(writes) < 60
    assert store.history(run.id)["step"].tolist() == list(range(300))


def _cancelling_fit(store, doomed, act):
    """A training during which `act` is applied to the runs `doomed`, and which then waits until that is noticed."""
    closed = []

    def fit(configs, **where):
        try:
            yield [(i, Event("training", 1, STEPS, {}, COUNTS)) for i in range(len(configs))]
            act([configs[i].id for i in doomed])
            job = store.run(configs[-1].id).job if len(doomed) < len(configs) else None
            eventually(lambda: all((r := store.run(configs[i].id)) is None or r.status == "cancelled" for i in doomed))
            assert job is None or store.wanted(job)
            return (yield from fake_fit(configs))
        finally:
            closed.append(True)

    return fit, closed


def test_a_cancelled_job_stops_and_is_cancelled(store):
    fit, closed = _cancelling_fit(store, [0, 1], store.cancel)
    ids = run_inline([config(0), config(1)], store, fit=fit)
    assert [store.run(i).status for i in ids] == ["cancelled"] * 2
    assert closed == [True]
    assert not store.weights_path(ids[0]).exists()


def test_cancelling_one_of_a_stack_leaves_the_other(store):
    fit, _ = _cancelling_fit(store, [0], store.cancel)
    ids = run_inline([config(0), config(1)], store, fit=fit)
    assert [store.run(i).status for i in ids] == ["cancelled", "done"]
    assert not store.weights_path(ids[0]).exists()
    assert store.weights_path(ids[1]).exists()


def test_a_run_deleted_while_it_trains_leaves_nothing(store):
    fit, _ = _cancelling_fit(store, [0], store.delete)
    ids = run_inline([config(0), config(1)], store, fit=fit)
    assert store.run(ids[0]) is None
    assert store.history(ids[0]).empty
    assert not store.weights_path(ids[0]).exists()
    assert store.run(ids[1]).status == "done"


def test_ctrl_c_cancels_all_and_goes_on(store):
    def fit(configs, **where):
        yield [(0, Event("training", 1, STEPS))]
        raise KeyboardInterrupt

    configs = [config(0), config(0, epochs=2)]
    with pytest.raises(KeyboardInterrupt):
        run_inline(configs, store, fit=fit)
    assert [store.run(c.id).status for c in configs] == ["cancelled", "cancelled"]


@pytest.mark.parametrize("method", ["erm", "drop_dims"])  # one that trains at once, and one that codes its rows first
def test_ctrl_c_between_two_turns_cancels_too(method, store, monkeypatch):
    """The thread that trains has begun its next turn, and nobody holds the turn yet."""

    class Interrupted(ThreadPoolExecutor):
        turns = 0

        def submit(self, *args, **options):
            turn = super().submit(*args, **options)
            self.turns += 1
            if self.turns == 3:
                while not turn.running() and not turn.done():
                    time.sleep(0.001)
                raise KeyboardInterrupt
            return turn

    monkeypatch.setattr(experiment, "ThreadPoolExecutor", Interrupted)
    known = catalogue.build()
    chosen = resolve(known, dataset="adult", method=method, training={"epochs": 50})
    with pytest.raises(KeyboardInterrupt):
        run_inline([chosen], store)
    assert store.run(chosen.id).status == "cancelled"


def test_a_run_that_another_process_trains_is_waited_for(store):
    (run_id,) = store.submit([config()])
    (run,) = claim_and_start(store, os.getpid())
    other = threading.Thread(target=train, args=(store, run.job, [run.config]), kwargs={"fit": fake_fit})
    seen = []

    def on_event(progress):
        if not seen:
            other.start()
        seen.append(progress)

    assert run_inline([config()], store, fit=None, on_event=on_event) == [run_id]
    other.join()
    assert store.run(run_id).status == "done"
    assert seen[0].counts["running"] == 1


def test_progress_is_told_while_it_trains(store):
    seen = []
    run_inline([config()], store, fit=fake_fit, on_event=seen.append)
    assert seen[0].all_steps >= 1
