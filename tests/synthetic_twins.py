"""Runs of AEDA without any training: looks, twins and results such as a real one leaves, written through the store.

The digits behind them are bars of light on red and brown, so a twin is the same bar on a ground that moves towards the
other colour; a table's twin moves in two columns. Everything follows from the run's id.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fairness_core import exhibits
from fairness_core.config import Event, Exhibit, Option, RunConfig, resolve
from fairness_core.store import Store
from tests import synthetic

LOOKS = 6
GROUND = np.array([[255, 0, 0], [165, 42, 42]])  # red, brown
CELL = {"training": 25, "validation": 40, "test": 100}  # rows of a cell of class and group
SHOWN = 12


def configured(
    catalogue: Mapping[str, Any],
    method: str = "aeda",
    *,
    dataset: str = "cmnist",
    seed: int = 0,
    data: Mapping[str, Option] | None = None,
    **options: Any,
) -> RunConfig:
    """A run on 5,000 coloured digits, a table, or the several targets of CelebA; options: those of the method, data:
    those of the data set besides."""
    known: dict[str, dict[str, Option]] = {
        "cmnist": {"digits": "5000"},
        "celeba": {"target": "Arched_Eyebrows, Smiling, Young", "size": 32},
    }
    return resolve(
        catalogue, dataset=dataset, method=method, seed=seed, method_options=options,
        dataset_options={**known.get(dataset, {}), **(data or {})},
    )  # fmt: skip


def info(config: RunConfig) -> dict[str, Any]:
    """What a store knows about the run as soon as it is claimed."""
    shape = {
        "cmnist": {"task": "multiclass", "groups": ["red", "brown"], "classes": [str(k) for k in range(10)]},
        "adult": {"task": "binary", "groups": synthetic.GROUPS, "classes": synthetic.CLASSES},
        "celeba": {"task": "multilabel", "groups": ["Female", "Male"], "classes": ["absent", "present"]},
    }[config.dataset]
    targets = str(config.dataset_options["target"]).split(", ") if config.dataset == "celeba" else []
    return {**shape, "targets": targets, "n_train": 3_600, "n_validation": 800, "n_test": 2_000}


def start(store: Store, config: RunConfig) -> None:
    """Submit the run and claim it, and whatever waits with it, in this process's name."""
    store.submit([config])
    while synthetic.claim(store):
        pass
    store.describe([config.id], info(config))


def advance(store: Store, config: RunConfig, looks: int = LOOKS) -> None:
    """Start the run and report its first looks with the twins that it shows."""
    start(store, config)
    for event in list(events(config))[:looks]:
        store.append([(config.id, event)])
        if math.isfinite(event.values.get("attack_success", math.nan)):
            exhibits.save(store.exhibits_path(config.id), event.step, twins(config, event.step))


def finish(store: Store, config: RunConfig) -> None:
    """Report everything and end the run."""
    advance(store, config)
    for stage in ("validation", "test"):
        store.append([(config.id, Event(stage, steps(config), steps(config), {}, counts(config, stage, 1.0)))])
    store.finish(config.id, "done", info={**info(config), "seconds": 6.5, "flags": []})


def steps(config: RunConfig) -> int:
    """Gradient steps of the run."""
    per = -(-3_600 // int(config.training["batch_size"]))
    return per * int(config.training["epochs"]) * (2 if config.method_options.get("variant") == "pre" else 1)


def events(config: RunConfig) -> Iterator[Event]:
    """The live looks: bias falls with robust and rises with pre; once, online and robust differ in r."""
    rng, of = np.random.default_rng(int(config.id, 16)), steps(config)
    variant = config.method_options.get("variant", "")
    treated = config.method == "aeda"
    for k in range(1, LOOKS + 1):
        step, learned = max(1, round(of * k / LOOKS)), k / LOOKS
        values = {"loss": 2.2 - 1.9 * learned}
        if treated and not (variant == "pre" and step <= of / 2):
            fading = {"robust": 0.05, "online": 0.1, "once": 0.4, "pre": 0.7}[str(variant)]
            values |= {
                "bias_loss": 0.5,
                "attack_success": 0.95 - 0.3 * learned,
                "class_kept": 0.4 + 0.5 * learned,
                "transferability": 0.9 - fading * learned + float(rng.normal(0, 0.01)),
                "chance": 0.5,
                "feature_difference": 0.8 - fading * learned,
            }
        yield Event("training", step, of, values, counts(config, "training", learned))


def counts(config: RunConfig, stage: str, learned: float) -> np.ndarray:
    """C (K, T, T), of several targets (A, K, T, T): the group that a class is seldom seen in is told wrongly, with AEDA
    less often, and the later targets less often than the first."""
    told = info(config)
    n_classes, n = len(told["classes"]), CELL[stage]
    lost = learned * (0.12 if config.method == "aeda" else 0.8)
    tensors = []
    for a in range(max(1, len(told["targets"]))):
        C = np.zeros((2, n_classes, n_classes), np.int64)
        for s, t in np.ndindex(2, n_classes):
            seldom = (t < n_classes / 2) == bool((s + a) % 2)
            right = round(n * (1 / n_classes + (0.95 - 1 / n_classes) * learned * (1 - lost * seldom / (1 + a))))
            C[s, t, t] += right
            C[s, t, (t + n_classes // 2) % n_classes] += n - right
        tensors.append(C)
    return np.stack(tensors) if told["targets"] else tensors[0]


def twins(config: RunConfig, step: int) -> Exhibit:
    """Twelve rows and their twins; every fourth twin fails, every third loses its class."""
    rng, k = np.random.default_rng([int(config.id, 16), step]), np.arange(SHOWN)
    x: np.ndarray
    n_classes, reach = len(info(config)["classes"]), step / steps(config)
    y, s = k * n_classes // SHOWN, k % 2
    aim = 1 - s
    if config.dataset == "adult":
        x = rng.normal(0, 1, (SHOWN, 105)).astype(np.float32)
        twin = x.copy()
        twin[:, 3] += 0.5 * reach
        twin[:, 0] -= 0.25 * reach
    else:
        edge = 28 if config.dataset == "cmnist" else 32
        x = np.broadcast_to(GROUND[s][:, :, None, None], (SHOWN, 3, edge, edge)).astype(np.uint8).copy()
        for i in k:
            x[i, :, 4:-4, 2 + 2 * i % 20 : 6 + 2 * i % 20] = 240
        moved = x + 0.9 * reach * (GROUND[aim] - GROUND[s])[:, :, None, None] + rng.normal(0, 4, x.shape)
        twin = np.clip(moved, 0, 255).astype(np.uint8)
    passes = k % 4 > 0
    return {
        "x": x, "twin": twin, "y": y, "s": s, "aim": aim, "class_before": y,
        "class_after": np.where(k % 3 > 0, y, (y + 1) % n_classes),
        "group_before": s, "group_after": np.where(passes, aim, s),
    }  # fmt: skip
