"""Runs of DVGE without any training: losses of the autoencoder, looks, exhibits and results such as a real one leaves,
written through the store.

Census rows (binary) or coloured digits (pictures, ten classes). The gap and the accuracy fall with η_s and rise with
η_t; everything follows from the run's id.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from fairness_core import exhibits
from fairness_core.config import Event, Exhibit, Option, RunConfig, resolve
from fairness_core.store import Store
from tests import synthetic_backdoors

CODING, LOOKS = 20, 6  # events of the autoencoder, and of the model after it
SIZE = 10
UNUSED = (3,)  # numbers of the code that vary too little
PUSHES = (-3.0, -1.5, 0.0, 1.5, 3.0)
KEY = "0123456789abcdef"
COLUMNS = [
    "age", "hours_per_week", "education=<b>Bachelors</b>", "education=HS-grad", "marital_status=Married",
    "marital_status=Never-married", "relationship=Husband", "relationship=Wife", "occupation=Craft-repair",
    "occupation=Adm-clerical", "capital_gain", "workclass=Private", "race=White", "race=Black",
]  # fmt: skip
STRENGTHS = ("eta_sensitive", "eta_task")
GOOD: Mapping[str, float] = {"sensitive_accuracy": 0.81, "focus_cosine": 0.34, "active_units": 9.0}


def configured(
    catalogue: Mapping[str, Any], method: str = "dvge", *, dataset: str = "adult", seed: int = 0, **options: Option
) -> RunConfig:
    return synthetic_backdoors.configured(catalogue, method, dataset=dataset, seed=seed, **options)


def info(config: RunConfig) -> dict[str, Any]:
    return synthetic_backdoors.info(config)


def coding_steps(config: RunConfig) -> int:
    return int(config.method_options["vae_steps"])


def steps(config: RunConfig) -> int:
    return coding_steps(config) + 2000


def start(store: Store, config: RunConfig) -> None:
    """Submit the run and claim it, and whatever waits with it, in this process's name."""
    synthetic_backdoors.start(store, config)


def code(store: Store, config: RunConfig, seen: int = CODING) -> None:
    """Start the run and report the first `seen` losses of its autoencoder."""
    start(store, config)
    store.append([(config.id, event) for event in list(losses(config))[:seen]])


def advance(
    store: Store, config: RunConfig, seen: int = LOOKS, *, reused: bool = False, told: Mapping[str, float] = GOOD
) -> None:
    """Report the autoencoder's losses, unless it is reused, and the first `seen` looks at the model."""
    code(store, config, 0 if reused else CODING)
    for k in range(seen):
        step = coding_steps(config) + 2000 * (k + 1) // LOOKS
        values = {"loss": 0.6 - 0.04 * k, **told}
        C = counts(config, "training")
        store.append([(config.id, Event("training", step, steps(config), values, C))])
        exhibits.save(store.exhibits_path(config.id), step, bars(config, 100 + k))


def finish(
    store: Store, config: RunConfig, *, reused: bool = False, told: Mapping[str, float] = GOOD, kept: bool = True,
    alone: bool = True,
) -> None:  # fmt: skip
    """Report everything and end the run. told: its gauges; kept: is the autoencoder still there? alone: not in a stack,
    whose runs leave no exhibits while they train."""
    if alone:
        advance(store, config, reused=reused, told=told)
    else:
        start(store, config)
    of = steps(config)
    for split in ("validation", "test"):
        C = counts(config, split)
        store.append([(config.id, Event(split, of, of, dict(told), C))])
    exhibits.save(store.exhibits_path(config.id), of, exhibit(config, reused=reused))
    if kept:
        keep(store, config)
    store.finish(config.id, "done", info={**info(config), "seconds": 14.2, "flags": []})


def finish_untreated(store: Store, catalogue: Mapping[str, Any], config: RunConfig) -> RunConfig:
    """The untreated twin of a run, done."""
    twin = resolve(
        catalogue, dataset=config.dataset, method="erm", model=config.model, seed=config.seed,
        dataset_options=config.dataset_options, model_options=config.model_options,
        training={**config.training, "prepare": "none"},
    )  # fmt: skip
    synthetic_backdoors.finish(store, twin)
    return twin


def grid(catalogue: Mapping[str, Any], config: RunConfig, seeds: Sequence[int] = (0, 1, 2)) -> list[RunConfig]:
    """The run at every pair of the strengths that the method declares with every seed."""
    declared = {c["name"]: c["grid"] for c in catalogue["methods"]["dvge"]["controls"]}
    return [
        dataclasses.replace(config.with_option("eta_sensitive", s).with_option("eta_task", t), seed=seed)
        for s, t, seed in itertools.product(*(declared[name] for name in STRENGTHS), seeds)
    ]


def fill_grid(store: Store, catalogue: Mapping[str, Any], config: RunConfig) -> list[RunConfig]:
    """The whole grid, done."""
    made = grid(catalogue, config)
    for one in made:
        if (known := store.run(one.id)) is None or known.status != "done":
            start(store, one)
            for split in ("validation", "test"):
                C = counts(one, split)
                store.append([(one.id, Event(split, steps(one), steps(one), dict(GOOD), C))])
            store.finish(one.id, "done", info={**info(one), "seconds": 0.4, "flags": []})
    return made


def counts(config: RunConfig, stage: str) -> np.ndarray:
    """C (2, T, T): what is taken off the gap costs accuracy."""
    own, n_classes = config.method_options, len(info(config)["classes"])
    level = 0.01 * float(own["eta_task"]) - 0.02 * float(own["eta_sensitive"])
    return synthetic_backdoors.counts(config, stage, gap(config), (level,) * n_classes)


def gap(config: RunConfig) -> float:
    """The signed gap between the groups' accuracies."""
    wobble = float(np.random.default_rng(int(config.id, 16)).normal(0, 0.004))
    own = config.method_options
    return 0.14 - 0.06 * float(own["eta_sensitive"]) + 0.03 * float(own["eta_task"]) + wobble


def losses(config: RunConfig) -> Iterator[Event]:
    """What the autoencoder reports."""
    for row in _curve(config):
        values = {"vae_reconstruction": float(row[1]), "vae_kl": float(row[2])}
        yield Event("training", int(row[0]), steps(config), values)


def _curve(config: RunConfig) -> np.ndarray:
    step = coding_steps(config) * np.arange(1, CODING + 1) // CODING
    left = np.exp(-4 * step / coding_steps(config))
    return np.stack([step, 14 + 5 * left, 2.4 * (1 - left)], 1).astype(np.float32)


# ---------------------------------------------------------------------------------------------------- what it can show


def bars(config: RunConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """What a look leaves."""
    rng = np.random.default_rng([int(config.id, 16) % 2**32, seed])
    variance = rng.uniform(0.2, 1.2, SIZE)
    variance[list(UNUSED)] = 0.002
    low = -0.5 if config.dataset == "adult" else 0.0
    drawn = {
        "focus_sensitive": rng.uniform(0.1, 0.5, SIZE), "focus_task": rng.uniform(0.1, 2.0, SIZE),
        "correlation_sensitive": rng.uniform(low, 0.5, SIZE), "correlation_task": rng.uniform(low, 0.5, SIZE),
        "variance": variance, "cosines": np.clip(rng.normal(0.2, 0.35, 500), -1, 1),
    }  # fmt: skip
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def exhibit(config: RunConfig, *, reused: bool = False) -> Exhibit:
    """What the end leaves."""
    k = np.arange(SIZE + 1)
    away = np.clip(-np.array(PUSHES) / 3, 0, 1)
    flips = np.stack([np.stack([0.9 * away, 0.4 * away], 1), np.stack([0.3 * away, 0.8 * away], 1)])
    own: dict[str, np.ndarray] = {
        "pushes": np.array(PUSHES, np.float32), "flips": flips.astype(np.float32),
        "validity_focus": (0.5 + 0.31 * np.exp(-k / 2)).astype(np.float32),
        "validity_random": (0.5 + 0.31 * (1 - k / SIZE)).astype(np.float32),
        "validity_random_sd": (0.03 * k * (SIZE - k) / 25).astype(np.float32),
        "encoder": np.frombuffer(KEY.encode(), np.uint8).copy(), "reused": np.array([reused], np.uint8),
        "seconds": np.array([212.0], np.float32),
    }  # fmt: skip
    return bars(config) | own | (_pictures() if config.dataset == "cmnist" else _columns())


def _columns() -> dict[str, np.ndarray]:
    rng, n = np.random.default_rng(3), len(COLUMNS)
    moved = {name: rng.normal(0, 0.3, n) * np.array(PUSHES)[:, None] / 3 for name in ("sensitive", "task")}
    looked = {name: rng.uniform(0, 1, n) ** 2 for name in moved}
    return {
        "columns": np.frombuffer(json.dumps(COLUMNS).encode(), np.uint8).copy(),
        **{f"pushed_{name}": values.astype(np.float32) for name, values in moved.items()},
        **{f"saliency_{name}": values.astype(np.float32) for name, values in looked.items()},
    }


def _pictures() -> dict[str, np.ndarray]:
    """Bars of light that move with the push, and a bright place where each classifier looks."""
    pictures = np.stack([_bar(i, 0) for i in range(4)])
    pushed = [np.stack([[_bar(i, p, colour) for p in PUSHES] for i in range(4)]) for colour in (0, 1)]
    looked = [np.zeros((4, 28, 28), np.uint8) for _ in (0, 1)]
    looked[0][:, :8, :8], looked[1][:, 18:, 10:20] = 220, 255
    return {
        "pictures": pictures, "pushed_sensitive": pushed[0], "pushed_task": pushed[1],
        "saliency_sensitive": looked[0], "saliency_task": looked[1], "truth": np.array([0, 1, 2, 3]),
        "decision": np.array([0, 1, 2, 5]), "group": np.array([0, 1, 0, 1]),
    }  # fmt: skip


def _bar(i: int, push: float, colour: int = 0) -> np.ndarray:
    made = np.full((3, 28, 28), 30, np.uint8)
    made[colour, :, :] = 120
    at = 6 + 4 * i + round(push)
    made[:, 5:-5, at : at + 4] = 240
    return made


def keep(store: Store, config: RunConfig) -> None:
    """Write what a kept autoencoder tells."""
    rng = np.random.default_rng(5)
    variance = np.full(SIZE, 0.8)
    variance[list(UNUSED)] = 0.002
    told = {"variance": variance, "kl": np.where(variance > 0.01, rng.uniform(0.2, 2, SIZE), 0.001),
            "losses": _curve(config), "seconds": np.array([212.0]), "positions": np.arange(-3.0, 4.0)}  # fmt: skip
    arrays = {name: np.asarray(values, np.float32) for name, values in told.items()}
    if config.dataset == "cmnist":
        shown = np.stack([_bar(i, 0) for i in range(4)])
        walked = np.stack([[[_bar(i, p) for p in range(-3, 4)] for _ in range(SIZE)] for i in range(2)])
        arrays |= {"pictures": shown, "reconstructions": shown // 2, "traversals": walked}
    else:
        arrays |= {"explained": np.linspace(0.95, -0.05, len(COLUMNS)).astype(np.float32),
                   "traversals": np.zeros((SIZE, 7, len(COLUMNS)), np.float32)}  # fmt: skip
    (store.encoders / "some").mkdir(parents=True, exist_ok=True)
    written = {f"told.{name}": np.ascontiguousarray(values) for name, values in arrays.items()}
    save_file(written, store.encoders / "some" / f"{KEY}.safetensors")
