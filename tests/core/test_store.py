"""The store: one state machine for many processes, and nothing lost."""

from __future__ import annotations

import dataclasses
import multiprocessing
import sqlite3
import threading

import numpy as np
import pytest

from fairness_core import scores
from fairness_core import store as store_module
from fairness_core.config import Event, UserError, content_hash
from fairness_core.datasets import Split
from fairness_core.store import Scores, Store, code_hash, keep_catalogue
from tests.core.conftest import COUNTS, claim_and_start, config, finish_all

# -- reading


def test_runs_lists_the_newest_first_or_the_given_order(store):
    ids = store.submit([config(seed, lam=0.5) for seed in range(3)])
    table = store.runs()
    assert table["id"].tolist() == ids[::-1]
    assert table.loc[0, ["method", "sensitive", "lam", "seed", "status"]].tolist() == [
        "adversarial",
        "sex",
        0.5,
        2,
        "queued",
    ]
    assert store.runs([ids[1], "unknown", ids[0]])["id"].tolist() == [ids[1], ids[0]]
    assert len(store.runs(limit=2)) == 2
    assert store.runs([]).columns.tolist() == table.columns.tolist()


def test_progress_adds_up_over_runs_of_which_some_wait(store):
    first, second = store.submit([config(0), config(0, epochs=2)])
    (run,) = claim_and_start(store)
    assert store.progress([first, second])[:2] == (0, 2)
    store.append([(first, Event("training", 25, 100))])
    progress = store.progress([first, second])
    assert progress[:2] == (25, 200)
    assert (progress.counts["running"], progress.counts["queued"]) == (1, 1)
    assert progress.started == run.started
    assert progress.seconds_left > 0
    store.finish(first, "done", job=run.job)
    assert store.progress([first, second])[:2] == (100, 200)
    assert store.progress([]).all_steps == 0


def test_info_of_finished_runs(store):
    first, second = store.submit([config(0), config(1)])
    runs = claim_and_start(store)
    store.finish(first, "done", job=runs[0].job, info={"groups": ["Female", "Male"], "n_test": np.int64(7)})
    assert store.info([first, second]) == {first: {"groups": ["Female", "Male"], "n_test": 7}}


# -- sweeps


def sweep_spec(values, seeds):
    return {"over": "lam", "values": values, "seeds": seeds, "base": config().to_json()}


def test_a_sweep_keeps_how_it_was_made_and_its_order(store):
    spec = sweep_spec([1.0, 0.0], [0, 1])
    configs = [config(seed, lam) for lam in (1.0, 0.0) for seed in (0, 1)]
    sweep_id = store.submit_sweep(spec, configs, ["lam"])
    assert sweep_id == content_hash(spec) == store.submit_sweep(spec, configs, ["lam"])
    found = store.sweep(sweep_id)
    assert (found.spec, found.run_ids) == (spec, [c.id for c in configs])
    assert store.sweep("unknown") is None
    assert len(store.claim(1)) == 4


def test_the_list_of_sweeps_tells_how_each_stands(store):
    assert store.sweeps().empty
    one = store.submit_sweep(sweep_spec([1.0], [0]), [config(0)], ["lam"])
    store.submit_sweep(sweep_spec([1.0], [0, 1]), [config(0), config(1)], ["lam"])
    assert store.sweeps()["status"].tolist() == ["queued", "queued"]
    runs = claim_and_start(store)
    assert store.sweeps()["status"].tolist() == ["running", "running"]
    store.finish(runs[0].id, "done", job=runs[0].job)
    store.finish(runs[1].id, "failed", job=runs[1].job, error="It broke.")
    table = store.sweeps()
    assert table["status"].tolist() == ["failed", "done"]
    assert table["id"].tolist()[1] == one
    first = table.loc[0, ["dataset", "method", "over", "runs", "done", "failed"]].tolist()
    assert first == ["adult", "adversarial", "lam", 2, 1, 1]


def test_deleting_a_sweep_leaves_the_runs_it_shares(store):
    keep = store.submit_sweep(sweep_spec([1.0], [0]), [config(0)], ["lam"])
    gone = store.submit_sweep(sweep_spec([1.0], [0, 1]), [config(0), config(1)], ["lam"])
    store.delete_sweep(gone)
    assert store.sweep(gone) is None
    assert store.run(config(0).id) is not None
    assert store.run(config(1).id) is None
    assert store.sweep(keep).run_ids == [config(0).id]


def test_deleting_removes_events_and_weights_even_of_a_running_run(store):
    (run_id,) = store.submit([config()])
    (run,) = claim_and_start(store)
    store.append([(run_id, Event("training", 1, 2))])
    store.weights_path(run_id).write_bytes(b"weights")
    store.delete([run_id, "unknown"])
    assert store.run(run_id) is None
    assert store.history(run_id).empty
    assert not store.weights_path(run_id).exists()
    assert store.wanted(run.job) == set()
    store.append([(run_id, Event("training", 2, 2))], job=run.job)
    assert store.history(run_id).empty


def test_forgetting_a_data_set_takes_all_that_is_derived_from_it_and_nothing_else(store):
    own = [dataclasses.replace(config(seed), dataset="people-0a1b2c3d") for seed in range(2)]
    other = dataclasses.replace(config(0), dataset="people-0a1b2c3d2")
    gone = store.submit_sweep({**sweep_spec([1.0], [0, 1]), "base": own[0].to_json()}, own, ["lam"])
    kept = store.submit_sweep(sweep_spec([1.0], [0]), [config(0)], ["lam"])
    store.submit([other])
    claim_and_start(store)
    store.append([(own[0].id, Event("training", 1, 2))])
    store.weights_path(own[0].id).write_bytes(b"weights")
    codes = store.encoders / "people-0a1b2c3d" / "0123456789abcdef.safetensors"
    codes.parent.mkdir(parents=True)
    codes.write_bytes(b"what rows of the table look like")
    assert store.forget_dataset("people-0a1b2c3d") == (2, 1)
    assert not codes.exists()
    assert store.sweep(gone) is None
    assert store.sweep(kept).run_ids == [config(0).id]
    assert set(store.runs()["id"]) == {config(0).id, other.id}
    assert store.history(own[0].id).empty
    assert not store.weights_path(own[0].id).exists()
    assert store.forget_dataset("people-0a1b2c3d") == (0, 0)


# -- the catalogue and the file


def test_the_catalogue_of_other_code_is_not_shown(store):
    assert store.catalogue() is None
    store.publish_catalogue({"version": "other", "methods": {}})
    assert store.catalogue() is None
    store.publish_catalogue({"version": code_hash(), "methods": {"erm": {}}})
    assert store.catalogue()["methods"] == {"erm": {}}


@pytest.fixture
def kept_in(monkeypatch, tmp_path):
    """Where catalogues are kept for new stores, in a folder of the test's own."""
    folder = tmp_path / "beside the code"
    monkeypatch.setattr("fairness_core.store._kept_catalogue", lambda version: folder / f"catalogue-{version}.json")
    return folder


def test_a_new_store_adopts_the_catalogue_that_was_kept(store, kept_in):
    store.adopt_catalogue()
    assert store.catalogue() is None  # none was kept
    keep_catalogue({"version": "other", "methods": {}})
    store.adopt_catalogue()
    assert store.catalogue() is None
    keep_catalogue({"version": code_hash(), "methods": {"erm": {}}})
    store.adopt_catalogue()
    assert store.catalogue()["methods"] == {"erm": {}}
    (kept,) = kept_in.iterdir()  # the other is gone
    assert kept.name == f"catalogue-{code_hash()}.json"


def test_a_kept_catalogue_that_is_damaged_is_none(store, kept_in):
    keep_catalogue({"version": code_hash(), "methods": {}})
    (kept,) = kept_in.iterdir()
    kept.write_bytes(kept.read_bytes()[:-2])
    store.adopt_catalogue()
    assert store.catalogue() is None


def test_where_nothing_can_be_written_no_catalogue_is_kept(store, kept_in):
    kept_in.write_text("a file where the folder should be")
    keep_catalogue({"version": code_hash(), "methods": {}})
    store.adopt_catalogue()
    assert store.catalogue() is None


def test_the_code_hash_changes_with_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "__file__", str(tmp_path / "store.py"))
    (tmp_path / "store.py").write_text("x = 1")
    before = code_hash()
    assert before == code_hash()
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "new.py").write_text("")
    assert code_hash() != before


def test_everything_is_there_after_a_restart(store):
    (run_id,) = store.submit([config()])
    runs = claim_and_start(store)
    store.append([(run_id, Event("test", 2, 2, {}, COUNTS))])
    finish_all(store, runs, info={"seconds": 2.0})
    again = Store(store.root)
    assert again.run(run_id) == store.run(run_id)
    np.testing.assert_array_equal(again.confusions([run_id], "test")[run_id], COUNTS)


@pytest.mark.parametrize("version", [4, 99])
def test_a_store_of_another_format_is_refused_in_one_sentence(store, version):
    with sqlite3.connect(store.root / "store.db") as db:
        db.execute(f"PRAGMA user_version={version}")
    with pytest.raises(UserError, match=f"has format {version} and this program reads format 3; name another folder"):
        Store(store.root)


def test_a_store_of_the_first_format_is_brought_up_to_date_with_its_runs(store):
    (run_id,) = store.submit([config()])
    store.close()
    with sqlite3.connect(store.root / "store.db") as db:
        old = "ALTER TABLE runs DROP COLUMN needs; ALTER TABLE events DROP COLUMN errors; PRAGMA user_version=1;"
        db.executescript(old)
    again = Store(store.root)
    assert again.run(run_id).status == "queued"
    assert [run.id for run in claim_and_start(again)] == [run_id]
    again.append([(run_id, Event("training", 1, 2, {}, COUNTS))])
    assert again.history(run_id)["errors"].tolist() == [None]


def test_the_errors_of_a_regression_come_back_with_their_event(store):
    (run_id,) = store.submit([config()])
    claim_and_start(store)
    errors = np.arange(len(COUNTS) * COUNTS.shape[1] * 6, dtype=np.float64).reshape(*COUNTS.shape[:2], 6) / 7
    store.append([(run_id, Event("training", 1, 2, {}, COUNTS, errors=errors))])
    np.testing.assert_array_equal(store.history(run_id)["errors"][0], errors)


def test_scores_come_back_as_they_were_saved_and_go_with_their_run(store):
    (run_id,) = store.submit([config()])
    assert store.scores(run_id) == {}
    rng = np.random.default_rng(0)
    score = rng.random(7, np.float32)
    y, s = rng.integers(0, 2, 7), np.array([0, 1, 299, 0, 1, 2, 3])
    sure, drawn = (score > 0.5).astype(np.float32), np.array([0, 0.25, 1, 1, 0, 0.5, 1], np.float32)
    answers = {"validation": Scores(score, y, s, sure, 7), "test": Scores(score, y, s, drawn, 70)}
    scores.save(store.scores_path(run_id), answers)
    found = store.scores(run_id)
    for split, kept in answers.items():
        for name in ("score", "y", "s", "decision"):
            np.testing.assert_array_equal(getattr(found[split], name), getattr(kept, name))
    assert (found["validation"].of, found["test"].of) == (7, 70)
    store.scores_path(run_id).write_bytes(b"spoilt")
    assert store.scores(run_id) == {}
    store.delete([run_id])
    assert not store.scores_path(run_id).exists()


def test_of_a_large_split_a_fixed_sample_of_rows_is_kept(monkeypatch):
    monkeypatch.setattr(scores, "MOST_ROWS", 4)
    rows = np.arange(9)
    split = Split(np.zeros((9, 1), np.float32), rows % 2, rows % 3)
    event = Event("test", 1, 1, {"tau": 0.25}, None, (rows / 8).astype(np.float32))
    kept = scores.of_event(event, split)
    assert (len(kept), kept.of) == (4, 9)
    places = (kept.score * 8).astype(int)
    assert (np.diff(places) > 0).all()
    np.testing.assert_array_equal(kept.y, places % 2)
    np.testing.assert_array_equal(kept.decision, places > 2)
    assert scores.of_event(Event("test", 1, 1), split) is None


def test_a_file_that_is_no_store_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "store.db").write_bytes(b"\x00\x01 nothing SQLite would know" * 100)
    with pytest.raises(UserError, match="cannot be read"):
        Store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        Store(tmp_path / "file")


def test_threads_write_side_by_side(store):
    ids = store.submit([config(seed) for seed in range(4)])
    claim_and_start(store)

    def write(run_id):
        for step in range(1, 26):
            store.append([(run_id, Event("training", step, 25, {"loss": 1.0}))])

    threads = [threading.Thread(target=write, args=(run_id,)) for run_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run_id in ids:
        assert store.history(run_id)["step"].tolist() == list(range(1, 26))


def _create(root, barrier, results):
    barrier.wait()
    results.put(len(Store(root).runs()))


def test_two_processes_may_create_the_store_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_create, args=(tmp_path / "new", barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [0, 0, 0]
    for process in processes:
        process.join()
        assert process.exitcode == 0
