"""What do live events cost a run? The same training with and without them, in one process, turn and turn about.

On: live evaluations on the validation sample, and every event written to a store by the worker's own code. Off: the
same training, evaluated only at the end and written nowhere. overhead is the median of the paired ratios, less one,
and quartiles tell how far the pairs agree: on a machine with neighbours they differ by more than what is measured.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from fairness_core import catalogue, worker
from fairness_core.config import RunConfig, resolve
from fairness_core.experiment import fit
from fairness_core.store import Store


def watched(store: Store, configs: list[RunConfig]) -> float:
    """Seconds with events, through the store, which forgets the runs again."""
    start = time.perf_counter()
    ids = worker.run_inline(configs, store, vary=["lam"])
    seconds = time.perf_counter() - start
    assert all(run == "done" for run in store.runs(ids)["status"])
    store.delete(ids)
    return seconds


def unwatched(configs: list[RunConfig]) -> float:
    """Seconds of the training alone."""
    start = time.perf_counter()
    for _ in fit(configs, live=False):
        pass
    return time.perf_counter() - start


def overhead(store: Store, configs: list[RunConfig], rounds: int) -> dict[str, Any]:
    pairs = []
    for k in range(rounds):
        if k % 2:
            pairs.append((watched(store, configs), unwatched(configs)))
        else:
            alone = unwatched(configs)
            pairs.append((watched(store, configs), alone))
    on, off = np.array(pairs).T
    low, middle, high = np.percentile(on / off - 1, (25, 50, 75))
    return {
        "overhead": float(middle),
        "quartiles": [round(float(low), 3), round(float(high), 3)],
        "seconds_on": float(np.median(on)),
        "pairs": len(pairs),
    }


def run(quick: bool = False) -> dict[str, Any]:
    """One run and a sweep of 42, 10 epochs (quick: 2)."""
    known, epochs, rounds = catalogue.build(), 2 if quick else 10, 3 if quick else 9
    grid = known["methods"]["adversarial"]["grid"]
    configs = [
        resolve(
            known,
            dataset="adult",
            method="adversarial",
            method_options={"lam": lam},
            training={"epochs": epochs},
            seed=seed,
        )
        for seed in (0, 1)
        for lam in grid
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        unwatched(configs[:2])  # warm-up; a store's first run encodes the data, which its runner has done before
        watched(store, configs[:2])
        return {
            "one_run": overhead(store, configs[10:11], 3 * rounds),
            "sweep_of_42": overhead(store, configs, rounds),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(run(parser.parse_args().quick)))
