"""Finished and half-finished runs without any training: plausible confusion tensors, written through the store.

The model behind them is Adult's census table as everybody meets it: a test split of 16,281 people, a third of them
women, 11 % of the women and 30 % of the men over $50K. With growing λ both groups' rates move towards each other along
an exponential; every run draws its own counts from a generator seeded with its id, so the same run is always the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairness_core import scores
from fairness_core.config import Event, RunConfig, resolve
from fairness_core.scores import Scores
from fairness_core.store import Run, Store

SIZES = {"training": 2_000, "validation": 9_768, "test": 16_281}
SHARE = (1 / 3, 2 / 3)  # women, men
BASE = (0.11, 0.30)
UNTREATED = ((0.52, 0.030), (0.62, 0.090))  # (true, false positive rate) per group
TREATED = ((0.66, 0.085), (0.50, 0.048))  # where they go as λ grows
GROUPS = ["Female", "Male"]
CLASSES = ["<=50K", ">50K"]
STEPS = 25
SEEDS = tuple(range(5))


@dataclass(frozen=True)
class Filled:
    """What `fill` wrote: the sweep's id, its runs (by λ, then seed) and the untreated runs (by seed)."""

    sweep_id: str
    run_ids: tuple[str, ...]
    untreated_ids: tuple[str, ...]


def fill(
    store: Store,
    catalogue: Mapping[str, Any],
    *,
    lams: Sequence[float] | None = None,
    seeds: Sequence[int] = SEEDS,
    method: str = "adversarial",
) -> Filled:
    """A finished sweep of `method` over λ x seeds on Adult/sex and one untreated run per seed; λ takes the values that
    the method declares unless they are given, which makes it the sweep that a first visit asks for."""
    sweep_id, run_ids = submit_sweep(store, catalogue, lams=lams, seeds=seeds, method=method)
    untreated_ids = store.submit([configured(catalogue, "erm", seed=seed) for seed in seeds])
    while claimed := claim(store):
        for run in claimed:
            finish(store, run.config)
    return Filled(sweep_id, tuple(run_ids), tuple(untreated_ids))


def submit_sweep(
    store: Store,
    catalogue: Mapping[str, Any],
    *,
    lams: Sequence[float] | None = None,
    seeds: Sequence[int] = SEEDS,
    method: str = "adversarial",
) -> tuple[str, list[str]]:
    """Queue a sweep as the pages would; its id and its runs (by λ, then seed)."""
    values = list(catalogue["methods"][method]["grid"]) if lams is None else list(lams)
    grid = [configured(catalogue, method, lam=lam, seed=seed) for lam in values for seed in seeds]
    base = resolve(catalogue, dataset="adult", method=method)
    spec = {"over": "lam", "values": values, "seeds": list(seeds), "base": base.to_json()}
    return store.submit_sweep(spec, grid, vary=("lam",)), [config.id for config in grid]


def claim(store: Store) -> list[Run]:
    """Take what waits longest, in this process's name, so that no runner takes it while this process lives."""
    claimed = store.claim(os.getpid())
    store.mark_running([run.id for run in claimed], os.getpid())
    return claimed


def advance(store: Store, config: RunConfig, evaluations: int) -> None:
    """Report the first `evaluations` live events of a claimed run."""
    store.append([(config.id, event) for event in list(events(config))[:evaluations]])


def finish(store: Store, config: RunConfig) -> None:
    """Report everything of a claimed run and end it."""
    store.append([(config.id, event) for event in events(config)])
    store.finish(config.id, "done", info=info())


def scored(store: Store, config: RunConfig, rows: int = 4_000, groups: int = 2, tau: float = 0.5) -> dict[str, Scores]:
    """Report everything of a claimed run on `rows` people per split and end it, with the answers it returns kept; its
    decisions are those at the threshold tau."""
    names = GROUPS if groups == 2 else [f"group {g}" for g in range(groups)]
    made = {split: answers(rows, groups, seed, tau) for seed, split in enumerate(scores.SPLITS)}
    for stage, own in made.items():
        store.append([(config.id, Event(stage, STEPS, STEPS, {}, own.confusion(groups)))])
    scores.save(store.scores_path(config.id), made)
    store.finish(config.id, "done", info={**info(), "groups": names, "n_validation": rows, "n_test": rows})
    return made


def answers(rows: int, groups: int, seed: int, tau: float = 0.5) -> Scores:
    """Scores that are right on the whole and higher for later groups."""
    rng = np.random.default_rng([seed, rows])
    s = rng.integers(0, groups, rows)
    p = rng.beta(1.1 + 0.9 * s / (groups - 1), 2.2, rows).astype(np.float32)
    return Scores(p, (rng.random(rows) < p).astype(np.int64), s, (p > tau).astype(np.float32), rows)


def configured(catalogue: Mapping[str, Any], method: str, *, lam: float | None = None, seed: int = 0) -> RunConfig:
    options = {} if lam is None else {"lam": lam}
    return resolve(catalogue, dataset="adult", method=method, seed=seed, method_options=options)


def events(config: RunConfig) -> Iterator[Event]:
    """The events a training of `config` could have left: 25 live ones, then the validation and the test split."""
    rng = np.random.default_rng(int(config.id, 16))
    lam = float(config.method_options.get("lam", 0.0))
    adversary = config.method.startswith("adversarial")
    treated = 1 - math.exp(-lam / 1.2)
    wobble = rng.normal(0, 0.006, (2, 2))
    for step in range(1, STEPS + 1):
        learned = 1 - math.exp(-4 * step / STEPS)
        values = _values(rng, adversary, learned, treated)
        yield Event("training", step, STEPS, values, _counts(rng, "training", treated * learned, wobble))
    for stage in ("validation", "test"):
        yield Event(stage, STEPS, STEPS, {}, _counts(rng, stage, treated, wobble))


def info() -> dict[str, Any]:
    return {
        "task": "binary",
        "groups": GROUPS,
        "classes": CLASSES,
        "n_train": 22_793,
        "n_validation": SIZES["validation"],
        "n_test": SIZES["test"],
        "seconds": 0.42,
        "flags": [],
    }


def _values(rng: np.random.Generator, adversary: bool, learned: float, treated: float) -> dict[str, float]:
    loss = 0.69 - 0.37 * learned + 0.03 * treated + rng.normal(0, 0.004)
    values = {"loss": float(loss)}
    if adversary:
        values["adversary_loss"] = float(0.63 - 0.06 * learned * (1 - treated) + rng.normal(0, 0.002))
        values["adversary_accuracy"] = float(0.667 + 0.08 * learned * (1 - treated) + rng.normal(0, 0.003))
        values["chance"] = 0.667
    return values


def _counts(rng: np.random.Generator, stage: str, treated: float, wobble: np.ndarray) -> np.ndarray:
    """int64 (2, 2, 2): C[s, y, y_hat] with the rates `treated` of the way from UNTREATED to TREATED."""
    counts = np.zeros((2, 2, 2), dtype=np.int64)
    for s, (share, base) in enumerate(zip(SHARE, BASE, strict=True)):
        n = round(SIZES[stage] * share)
        positives = round(n * base)
        for y, (size, rate) in enumerate(zip((n - positives, positives), (1, 0), strict=True)):
            start, end = UNTREATED[s][rate], TREATED[s][rate]
            p = np.clip(start + treated * (end - start) + wobble[s, rate], 0.001, 0.999)
            predicted = int(rng.binomial(size, p))
            counts[s, y] = size - predicted, predicted
    return counts
