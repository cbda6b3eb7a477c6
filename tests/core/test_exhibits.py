"""What a run shows while it learns: kept beside it, read back, and gone with it."""

from pathlib import Path

import numpy as np

from fairness_core import exhibits
from fairness_core.config import Event, RunConfig
from fairness_core.store import Store

CONFIG = RunConfig("adult", {}, "mlp", {}, "erm", {}, {}, 0)


def shown(k: int) -> dict[str, np.ndarray]:
    return {"x": np.full((2, 3, 4, 4), k, np.uint8), "y": np.arange(2)}


def claimed(store: Store) -> str:
    (run_id,) = store.submit([CONFIG])
    store.claim(1)
    store.mark_running([run_id], 1)
    return run_id


def test_moments_are_kept_in_order_and_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run_id = claimed(store)
    folder = store.exhibits_path(run_id)
    assert exhibits.steps(folder) == []
    events = [Event("training", step, 200, {}, exhibit=shown(k)) for k, step in enumerate((9, 20, 100))]
    store.append([(run_id, event) for event in [*events, Event("training", 150, 200, {})]])
    assert exhibits.steps(folder) == [9, 20, 100]
    assert np.array_equal(exhibits.load(folder, 20)["x"], shown(1)["x"])
    assert exhibits.load(folder, 150) == {}


def test_they_go_with_the_run_and_when_it_starts_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run_id = claimed(store)
    store.append([(run_id, Event("training", 1, 2, {}, exhibit=shown(0)))])
    store.finish(run_id, "failed", error="It broke.")
    assert exhibits.steps(store.exhibits_path(run_id)) == [1]
    claimed(store)
    assert exhibits.steps(store.exhibits_path(run_id)) == []
    store.append([(run_id, Event("training", 1, 2, {}, exhibit=shown(0)))])
    store.delete([run_id])
    assert not store.exhibits_path(run_id).exists()


def test_a_run_that_is_not_held_shows_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (run_id,) = store.submit([CONFIG])
    store.append([(run_id, Event("training", 1, 2, {}, exhibit=shown(0)))])
    assert exhibits.steps(store.exhibits_path(run_id)) == []


def test_a_damaged_moment_is_none(tmp_path: Path) -> None:
    exhibits.save(tmp_path, 3, shown(0))
    (tmp_path / "000000003.safetensors").write_bytes(b"not a file of arrays")
    assert exhibits.load(tmp_path, 3) == {}
