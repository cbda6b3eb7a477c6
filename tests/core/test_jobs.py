"""Who trains which run, and what is written about it: the runner's and the worker's side of the store."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

from fairness_core.config import Event, RunConfig
from fairness_core.store import Store
from tests.core.conftest import COUNTS, claim_and_start, config, finish_all

# -- the state machine


def test_a_run_goes_from_queued_to_done(store):
    (run_id,) = store.submit([config()])
    assert store.run(run_id).status == "queued"
    (claimed,) = store.claim(os.getpid())
    assert store.run(run_id).status == "starting"
    store.mark_running([run_id], 4711, job=claimed.job)
    running = store.run(run_id)
    assert (running.status, running.worker) == ("running", 4711)
    assert store.finish(run_id, "done", job=claimed.job, info={"seconds": 1.5})
    ended = store.run(run_id)
    assert (ended.status, ended.info, ended.error) == ("done", {"seconds": 1.5}, None)
    assert ended.created <= ended.started <= ended.finished


def test_names_are_known_while_it_trains_and_after_it_was_stopped(store):
    (run_id,) = store.submit([config()])
    runs = claim_and_start(store)
    store.describe([run_id], {"groups": ["a", "b"]}, job=runs[0].job)
    assert store.run(run_id).info == {"groups": ["a", "b"]}
    assert store.finish(run_id, "cancelled", job=runs[0].job)
    assert store.run(run_id).info == {"groups": ["a", "b"]}
    store.describe([run_id], {"groups": []}, job=runs[0].job)
    assert store.run(run_id).info == {"groups": ["a", "b"]}


def test_an_ended_run_is_not_ended_again(store):
    store.submit([config()])
    runs = claim_and_start(store)
    assert finish_all(store, runs) == [True]
    assert finish_all(store, runs, "failed", error="Too late.") == [False]
    assert store.run(runs[0].id).status == "done"


def test_the_run_comes_back_as_it_was_submitted(store):
    asked = config(seed=3, lam=0.25)
    (run_id,) = store.submit([asked])
    assert run_id == asked.id
    assert store.run(run_id).config == asked
    assert store.run("0" * 16) is None


def test_submitting_again_changes_nothing_while_queued_running_or_done(store):
    for prepare in (lambda: None, lambda: claim_and_start(store), lambda: finish_all(store, [store.run(config().id)])):
        store.submit([config()])
        prepare()
        before = store.run(config().id)
        assert store.submit([config(), config()]) == [config().id] * 2
        assert store.run(config().id) == before
    assert store.run(config().id).status == "done"


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_failed_or_cancelled_run_starts_anew_without_its_old_events(store, ending):
    (run_id,) = store.submit([config()])
    runs = claim_and_start(store)
    store.append([(run_id, Event("training", 5, 10, {"loss": 1.0}, COUNTS))])
    finish_all(store, runs, ending, error="It broke.")
    store.submit([config()])
    again = store.run(run_id)
    assert (again.status, again.error, again.step, again.of, again.finished) == ("queued", None, 0, 0, None)
    assert store.history(run_id).empty


def test_the_late_writer_of_a_run_that_started_anew_changes_nothing(store):
    (run_id,) = store.submit([config()])
    (old,) = claim_and_start(store)
    store.cancel([run_id])
    store.submit([config()])  # Stop, then Train, before the old process has noticed
    assert store.run(run_id).status == "queued"
    (new,) = claim_and_start(store)
    store.append([(run_id, Event("training", 9, 10))], job=old.job)
    assert not store.finish(run_id, "cancelled", job=old.job)
    assert store.wanted(old.job) == set()
    assert store.wanted(new.job) == {run_id}
    assert store.run(run_id).status == "running"
    assert store.history(run_id).empty


def test_cancel_ends_a_waiting_run_at_once_and_asks_a_running_one(store):
    store.submit([config(0)])
    (running,) = claim_and_start(store)
    (waiting,) = store.submit([config(0, epochs=2)])
    store.cancel([running.id, waiting])
    assert store.run(waiting).status == "cancelled"
    assert store.run(running.id).status == "running"
    assert store.wanted(running.job) == set()
    store.abandon(running.job, "Unused")
    ended = store.run(running.id)
    assert (ended.status, ended.error) == ("cancelled", None)


def test_abandon_says_how_far_each_run_was(store):
    first, second, third = store.submit([config(s) for s in range(3)])
    runs = claim_and_start(store)
    store.append([(first, Event("training", 120, 1130))])
    store.finish(third, "done", job=runs[0].job)
    store.abandon(runs[0].job, "The training process was killed (signal 9)")
    expected = "The training process was killed (signal 9) at step 120 of 1,130; it can be trained again."
    assert store.run(first).error == expected
    assert "before its first step" in store.run(second).error
    assert store.run(third).status == "done"


def test_reap_ends_the_runs_of_a_dead_owner_only(store):
    dead = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (orphan,) = store.submit([config(0)])
    store.claim(dead.pid)
    (kept,) = store.submit([config(0, epochs=2)])
    store.claim(os.getpid())
    store.reap()
    assert store.run(orphan).status == "starting"
    dead.kill()
    dead.wait()
    store.reap()
    assert store.run(orphan).status == "failed"
    assert store.run(orphan).error == "The runner ended before its first step; it can be trained again."
    assert store.run(kept).status == "starting"


# -- claiming


def test_a_claim_takes_the_oldest_run_and_what_stacks_with_it(store):
    lone = config(0, 1.0, epochs=7)
    stack = [config(seed, lam) for lam in (0.0, 0.5) for seed in (0, 1)]
    other = config(0, 0.0, method="parity")
    store.submit([lone])
    store.submit(stack[:2], vary=["lam"])
    store.submit([other], vary=["lam"])
    store.submit(stack[2:], vary=["lam"])
    claims = [[run.id for run in store.claim(1)] for _ in range(4)]
    assert claims == [[lone.id], [c.id for c in stack], [other.id], []]


def test_without_vary_only_seeds_stack(store):
    store.submit([config(seed, lam) for lam in (0.0, 0.5) for seed in (0, 1)])
    assert [len(store.claim(1)) for _ in range(3)] == [2, 2, 0]


def test_a_waiting_run_joins_the_stack_of_a_sweep_that_contains_it(store):
    store.submit([config(0, 0.5)])
    store.submit([config(0, lam) for lam in (0.0, 0.5, 1.0)], vary=["lam"])
    assert len(store.claim(1)) == 3


def test_a_claim_among_ids_leaves_the_others(store):
    ids = store.submit([config(seed) for seed in range(4)])
    assert [run.id for run in store.claim(1, among=ids[1:3])] == ids[1:3]
    assert store.run(ids[0]).status == "queued"


def _claim_all(root, barrier, results):
    barrier.wait()
    store = Store(root)
    taken = []
    while runs := store.claim(os.getpid()):
        taken += [run.id for run in runs]
    results.put(taken)


def test_two_processes_that_claim_at_once_get_disjoint_runs(store):
    ids = store.submit([config(0, epochs=e) for e in range(1, 41)])
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_claim_all, args=(store.root, barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = results.get(timeout=60), results.get(timeout=60)
    for process in processes:
        process.join()
    assert not set(first) & set(second)
    assert sorted(first + second) == sorted(ids)


def test_positions_count_jobs_not_runs(store):
    first = store.submit([config(seed) for seed in range(5)])
    (second,) = store.submit([config(0, epochs=2)])
    assert [store.run(i).position for i in (first[0], first[4], second)] == [1, 1, 2]
    store.claim(1)
    assert [store.run(i).position for i in (first[0], second)] == [0, 1]
    assert store.runs([second])["position"].tolist() == [1]


# -- events


def test_events_come_back_in_order_with_their_numbers(store):
    (run_id,) = store.submit([config()])
    claim_and_start(store)
    store.append([(run_id, Event("training", s, 30, {"loss": 1 / s}, COUNTS * s)) for s in (10, 20)])
    store.append([(run_id, Event("training", 30, 30, {"adversary": 0.5}))])
    history = store.history(run_id)
    assert history.columns.tolist() == ["seq", "t", "stage", "step", "of", "confusion", "errors", "loss", "adversary"]
    assert history["seq"].tolist() == [0, 1, 2]
    assert history["step"].tolist() == [10, 20, 30]
    np.testing.assert_array_equal(history["confusion"][1], COUNTS * 20)
    assert history["confusion"][1].dtype == np.int64
    assert history["confusion"][2] is None
    np.testing.assert_allclose(history["loss"], [0.1, 0.05, math.nan])
    assert store.history(run_id, after=1)["seq"].tolist() == [2]
    assert (store.run(run_id).step, store.run(run_id).of) == (30, 30)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e-300, -0.0])
def test_every_number_survives(store, value):
    (run_id,) = store.submit([config()])
    claim_and_start(store)
    store.append([(run_id, Event("training", 1, 2, {"loss": value}))])
    found = store.history(run_id)["loss"][0]
    np.testing.assert_array_equal(found, value)
    assert math.copysign(1, found) == math.copysign(1, value)


def test_an_empty_history_has_its_columns(store):
    assert store.history("unknown").columns.tolist() == ["seq", "t", "stage", "step", "of", "confusion", "errors"]


def test_events_of_a_run_that_does_not_run_are_dropped(store):
    (run_id,) = store.submit([config()])
    store.append([(run_id, Event("training", 1, 2)), ("unknown", Event("training", 1, 2))])
    assert store.history(run_id).empty
    assert store.history("unknown").empty


def test_confusions_are_the_newest_of_their_stage(store):
    first, second, silent = store.submit([config(s) for s in range(3)])
    claim_and_start(store)
    for step in (1, 2):
        store.append([(i, Event("training", step, 2, {}, COUNTS * step)) for i in (first, second)])
    store.append([(first, Event("training", 2, 2, {"loss": 1.0})), (first, Event("test", 2, 2, {}, COUNTS * 7))])
    live = store.confusions([second, first, silent, "unknown"], "training")
    assert list(live) == [second, first]
    np.testing.assert_array_equal(live[first], COUNTS * 2)
    assert list(store.confusions([first, second], "test")) == [first]


# -- runs that start from another run's trained model


def treated(seed: int = 0) -> RunConfig:
    """A run that starts from the untreated one with the same seed."""
    base = {"method": "erm", "method_options": {}}
    return dataclasses.replace(config(seed, method="reject_option"), base=base)


def test_a_run_brings_the_run_it_starts_from_along_and_waits_for_it(store):
    (run_id,) = store.submit([treated()])
    (first,) = claim_and_start(store)
    assert first.config == treated().start
    assert store.claim(os.getpid()) == []
    finish_all(store, [first])
    assert [run.id for run in store.claim(os.getpid())] == [run_id]
    store.submit([treated(), treated(1)])
    assert store.run(first.id).status == "done"  # what is trained is not trained again


def test_of_a_stack_those_whose_start_is_done_may_begin(store):
    ids = store.submit([treated(0), treated(1)], vary=["epsilon"])
    starts = claim_and_start(store)
    assert {run.config.seed for run in starts} == {0, 1}
    finish_all(store, [run for run in starts if run.config.seed == 1])
    assert [run.id for run in store.claim(os.getpid())] == [ids[1]]


@pytest.mark.parametrize(
    ("ending", "word"), [("failed", "failed"), ("cancelled", "was stopped"), (None, "was deleted")]
)
def test_a_start_that_will_not_come_ends_the_run_with_a_sentence(store, ending, word):
    (run_id,) = store.submit([treated()])
    started = claim_and_start(store)
    store.reap()
    assert store.run(run_id).status == "queued"
    if ending:
        finish_all(store, started, ending)
    else:
        store.delete([started[0].id])
    store.reap()
    ended = store.run(run_id)
    assert ended.status == "failed"
    assert ended.error == (
        f"The run {started[0].id}, whose trained model it starts from, {word}; both can be trained again."
    )
    store.submit([treated()])
    assert store.run(started[0].id).status == "queued"
    assert store.run(run_id).status == "queued"
