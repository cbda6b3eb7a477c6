"""Stores, configurations and stand-ins for training that the tests of the core share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairness_core.__main__ import main
from fairness_core.catalogue import build
from fairness_core.config import Event, RunConfig
from fairness_core.store import Run, Store

STEPS = 40
COUNTS = np.arange(1, 9).reshape(2, 2, 2)


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    """The folder of data sets in their original layouts, which do not belong to the project."""
    folder = Path(os.environ.get("FAIRNESS_DATA_DIR") or SHARED).expanduser().absolute()
    if not folder.is_dir():
        pytest.skip("FAIRNESS_DATA_DIR names no folder with the original files")
    return folder


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of downloads and decoded images that belongs to one test."""
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def config(seed: int = 0, lam: float = 1.0, method: str = "adversarial", **training: float) -> RunConfig:
    """A configuration that no test trains for real."""
    return RunConfig(
        dataset="adult",
        dataset_options={"sensitive": "sex", "split": "official", "split_seed": 0, "sensitive_input": "drop"},
        model="mlp",
        model_options={"hidden": "8", "dropout": 0.0},
        method=method,
        method_options={"lam": lam},
        training={"epochs": 1, **training},
        seed=seed,
        data_hash="0",
    )


def claim_and_start(store: Store, owner: int | None = None) -> list[Run]:
    """Claim the next job for this process and mark it as running."""
    claimed = store.claim(os.getpid() if owner is None else owner)
    store.mark_running([run.id for run in claimed], os.getpid(), job=claimed[0].job)
    return claimed


def finish_all(store: Store, runs: list[Run], status: str = "done", **how: Any) -> list[bool]:
    """End these runs all alike."""
    return [store.finish(run.id, status, job=run.job, **how) for run in runs]


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Returns once `condition` holds; fails after a generous time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {seconds:.0f} s")
        time.sleep(0.01)


def fake_fit(configs, **where) -> Iterator[list[tuple[int, Event]]]:
    """The shape of a training: live events, then both splits, then networks, without any training."""
    from torch import nn

    of = STEPS
    for step in range(10, of + 1, 10):
        values = {"loss": 1.0 / step}
        yield [(i, Event("training", step, of, values, COUNTS)) for i in range(len(configs))]
    for stage in ("validation", "test"):
        yield [(i, Event(stage, of, of, {}, COUNTS * (i + 1))) for i in range(len(configs))]
    return [nn.Linear(2, 1) for _ in configs]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A store that knows the catalogue, so that commands need not build it."""
    folder = tmp_path_factory.mktemp("cli")
    Store(folder).publish_catalogue(build())
    return folder


@pytest.fixture
def cli(root, capsys, monkeypatch):
    monkeypatch.delenv("FAIRNESS_DATA_DIR", raising=False)

    def call(*words):
        status = main([*words, "--store", str(root)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
