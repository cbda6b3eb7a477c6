"""Runs of BaDe without any training: looks, views of the teacher and results such as a real one leaves, written through
the store.

Census rows (binary), coloured digits (pictures, ten classes) or communities (a number). The student's gap falls with n
% and s, turns round behind the law's FLOOR and grows again; everything follows from the run's id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fairness_core import exhibits, regression, scores, trigger_law
from fairness_core.calibration import Path
from fairness_core.config import Event, Exhibit, Option, RunConfig, resolve
from fairness_core.scores import Predictions
from fairness_core.store import Store
from tests import synthetic, synthetic_regression

LOOKS = 6  # half of them at the teacher
BIAS = 0.14  # Odds of the untreated model
FLOOR = {"inverse": 65.0, "exchanged": 160.0, "manual": 65.0}  # the strength at which nothing is left of it, by law
RIGHT = 0.78  # accuracy of a cell where nothing differs
CELL = {"training": 120, "validation": 700, "test": 1500}  # rows of a cell of class and group
BINARY = np.array([[7674, 12102], [943, 5330]])  # training rows per class and group: Adult
GROUND = np.array([[255, 0, 0], [165, 42, 42]])  # red, brown
MARKS = ((slice(0, 4), slice(0, 4), (255, 0, 0)), (slice(-4, None), slice(-4, None), (0, 0, 255)))


def configured(
    catalogue: Mapping[str, Any], method: str = "bade", *, dataset: str = "adult", seed: int = 0, **options: Option
) -> RunConfig:
    """A run on a table (adult, communities) or on 5,000 coloured digits (cmnist); options: those of the method."""
    known: dict[str, dict[str, Option]] = {"cmnist": {"digits": "5000"}}
    return resolve(
        catalogue, dataset=dataset, method=method, seed=seed, dataset_options=known.get(dataset, {}),
        method_options=options,
    )  # fmt: skip


def info(config: RunConfig) -> dict[str, Any]:
    """What a store knows about the run as soon as it is claimed."""
    if config.dataset == "communities":
        return dict(synthetic_regression.INFO)
    many = config.dataset == "cmnist"
    shape = {
        "task": "multiclass" if many else "binary",
        "groups": ["red", "brown"] if many else synthetic.GROUPS,
        "classes": [str(k) for k in range(10)] if many else synthetic.CLASSES,
    }
    cells = 2 * len(shape["classes"])
    sizes = {f"n_{split}": CELL[split] * cells for split in scores.SPLITS}
    return {**shape, "targets": [], "n_train": 3_600 if many else 26_049, **sizes}


def start(store: Store, config: RunConfig) -> None:
    """Submit the run and claim it, and whatever waits with it, in this process's name."""
    store.submit([config])
    while synthetic.claim(store):
        pass
    store.describe([config.id], info(config))


def advance(store: Store, config: RunConfig, seen: int = LOOKS, **how: Any) -> None:
    """Start the run and report its first `seen` looks with what they show; how: as for `exhibit`."""
    start(store, config)
    for look, event in enumerate(list(events(config))[:seen]):
        store.append([(config.id, event)])
        if config.method == "bade" and look < LOOKS // 2:
            exhibits.save(
                store.exhibits_path(config.id), event.step, exhibit(config, "training", first=look == 0, **how)
            )


def finish(store: Store, config: RunConfig, *, values: Mapping[str, float] | None = None, **how: Any) -> None:
    """Report everything and end the run; values: instead of those that its final events carry."""
    advance(store, config, **how)
    of, held = steps(config), {}
    for split in scores.SPLITS:
        told = {**final_values(config, split), **(values or {})}
        store.append([(config.id, Event(split, of, of, told, counts(config, split, gap(config))))])
        if config.dataset == "communities":
            held[split] = predictions(config, split)
    if held:
        scores.save_numbers(store.numbers_path(config.id), held)
    if config.method == "bade":
        exhibits.save(store.exhibits_path(config.id), of, exhibit(config, "test", first=True, **how))
    store.finish(config.id, "done", info={**info(config), "seconds": 6.5, "flags": []})


def fill_valley(
    store: Store, catalogue: Mapping[str, Any], *, seeds: int = 3, beyond: Sequence[float] = (), **which: Any
) -> list[RunConfig]:
    """Finished runs at every rate that BaDe declares, and `beyond` the full one; which: as for `configured`."""
    settings = map(Path().settings, (*catalogue["methods"]["bade"]["grid"], *beyond))
    made = [configured(catalogue, seed=seed, **{**which, **own}) for own in settings for seed in range(seeds)]
    for config in made:
        finish(store, config)
    return made


def steps(config: RunConfig) -> int:
    """Gradient steps of teacher and student."""
    per = -(-int(info(config)["n_train"]) // int(config.training["batch_size"]))
    epochs = int(config.training["epochs"])
    teacher = max(1, round(epochs * float(config.method_options["teacher"]))) if config.method == "bade" else 0
    return per * (teacher + epochs)


def gap(config: RunConfig) -> float:
    """The signed Odds of the trained model."""
    wobble = float(np.random.default_rng(int(config.id, 16)).normal(0, 0.004))
    if config.method != "bade":
        return BIAS + wobble
    return BIAS * (1 - strength(config) / FLOOR[str(config.method_options["law"])]) + wobble


def strength(config: RunConfig) -> float:
    return Path.through(config.method_options).strength(config.method_options)


def artificial(config: RunConfig) -> float:
    return 0.0016 * strength(config)


def events(config: RunConfig) -> Iterator[Event]:
    """The live looks: the first half at the teacher, the others at the student, which agrees more and more."""
    of, treated = steps(config), config.method == "bade"
    teacher = of // 3 if treated else 0
    half = LOOKS // 2 if treated else 0
    for k in range(LOOKS):
        teaching = k < half
        step = teacher * (k + 1) // half if teaching else teacher + (of - teacher) * (k - half + 1) // (LOOKS - half)
        values: dict[str, float] = {"loss": 0.6 - 0.05 * k}
        if teaching:
            values = {"teacher_loss": 0.6 - 0.1 * k, **gauges(config)}
        elif treated:
            values |= {"label_loss": 0.5, "distillation_loss": 0.4, "agreement": 0.9 + 0.01 * k, **gauges(config)}
        number = config.dataset == "communities"
        errors = synthetic_regression.sums(predictions(config, "validation")) if number else None
        yield Event("training", step, of, values, counts(config, "training", gap(config)), errors=errors)


def gauges(config: RunConfig) -> dict[str, float]:
    """What is told of the teacher."""
    odds = [abs(signed) for signed in teacher_gaps(config)]
    names = ("teacher_odds_clean", "teacher_odds_reinforcing", "teacher_odds_cancelling")
    return {"artificial_bias": artificial(config), **dict(zip(names, odds, strict=True))}


def teacher_gaps(config: RunConfig) -> tuple[float, float, float]:
    """Signed Odds without a trigger, with reinforcing and with cancelling ones."""
    return (BIAS + gap(config)) / 2 + 0.01, BIAS + artificial(config) / 2 + 0.02, gap(config)


def final_values(config: RunConfig, split: str) -> dict[str, float]:
    own: dict[str, float] = {}
    if config.dataset == "communities":
        held = predictions(config, split)
        known = regression.of_numbers(held, info(config))
        assert known is not None
        own = regression.evaluate(known)
    if config.method != "bade":
        return own
    own |= {**gauges(config), "agreement": 0.96}
    return own | ({"student_flips": 0.012, "control_flips": 0.010} if config.dataset == "cmnist" else {})


def counts(config: RunConfig, stage: str, signed: float, shifts: tuple[float, ...] = ()) -> np.ndarray:
    """C (2, T, T): within every class the groups' accuracies lie |signed| apart, in turn for and against a group;
    shifts: what is added to the accuracy of every class."""
    n_classes, n = len(info(config)["classes"]), CELL[stage]
    C = np.zeros((2, n_classes, n_classes), np.int64)
    for s, t in np.ndindex(2, n_classes):
        level = RIGHT + signed / 2 * (1 if s == t % 2 else -1) + (shifts[t] if shifts else 0.0)
        hits = round(n * min(max(level, 0.0), 1.0))
        C[s, t, t] += hits
        C[s, t, (t + 1) % n_classes] += n - hits
    return C


# ---------------------------------------------------------------------------------------------------- what it can show


def exhibit(
    config: RunConfig, stage: str, *, first: bool, rows: np.ndarray | None = None, deaf: bool = False
) -> Exhibit:
    """rows: N, the training rows per class and group; deaf: the teacher does not react to triggers."""
    told = info(config)
    n_classes = len(told["classes"])
    N = rows if rows is not None else _rows(config, n_classes)
    P = trigger_law.bias_law(N)
    Q = trigger_law.trigger_law(P, float(config.method_options["exponent"]), float(config.method_options["rate"]) / 100)
    drawn = np.round(Q * N.sum(1, keepdims=True)).astype(np.int64)
    views = _sums(config, stage) if config.dataset == "communities" else _views(config, stage, n_classes, deaf=deaf)
    law = {"N": N, "P": P, "Q": Q, "drawn": drawn, "views": views}
    return law | _pictures(n_classes) if first and config.dataset == "cmnist" else law


def _rows(config: RunConfig, n_classes: int) -> np.ndarray:
    if config.dataset == "adult":
        return BINARY
    share = np.linspace(0.15, 0.85, n_classes)
    return np.stack([np.round(300 * share), np.round(300 * (1 - share))], 1).astype(np.int64)


def _views(config: RunConfig, stage: str, n_classes: int, *, deaf: bool) -> np.ndarray:
    """Confusion tensors of the five views; a trigger for all moves the classes' accuracies in turn up and down."""
    clean, reinforcing, cancelling = teacher_gaps(config) if not deaf else (BIAS,) * 3
    moved = 0.0 if deaf else artificial(config) / 2
    turns = [tuple((1 if k == t % 2 else -1) * moved for t in range(n_classes)) for k in (0, 1)]
    every = [counts(config, stage, clean, shifts) for shifts in turns]
    ends = [counts(config, stage, signed) for signed in (reinforcing, cancelling)]
    return np.stack([counts(config, stage, clean), *every, *ends])


def predictions(config: RunConfig, split: str, signed: float | None = None) -> Predictions:
    """What is predicted of communities' rows: the groups' errors lie `signed` apart (a fifth of the run's gap)."""
    held = synthetic_regression.predictions(config, split)
    shift = (gap(config) if signed is None else signed) * 0.4 * (held.s - 0.5)
    noise = np.random.default_rng(int(config.id, 16)).normal(0, 0.06, held.of)
    predicted = 0.06 + 0.8 * held.y + shift + noise
    return Predictions(predicted.astype(np.float32), held.y, held.s, held.of)


def _sums(config: RunConfig, stage: str) -> np.ndarray:
    split = "test" if stage == "test" else "validation"
    gaps = teacher_gaps(config)
    every = (gaps[0], gaps[0], gaps[0], gaps[1], gaps[2])
    return np.stack([synthetic_regression.sums(predictions(config, split, signed)) for signed in every])


def _pictures(n_classes: int) -> dict[str, np.ndarray]:
    """Bars of light on red and brown, without a trigger and with a red or a blue square; four classes, both groups."""
    cells = [(t, s) for t in range(min(n_classes, 3)) for s in (0, 1) for _ in (0, 1)]
    pictures = np.zeros((len(cells), 3, 3, 28, 28), np.uint8)
    for i, (t, s) in enumerate(cells):
        clean = np.broadcast_to(GROUND[s][:, None, None], (3, 28, 28)).copy()
        clean[:, 5:-5, 6 + 5 * t : 10 + 5 * t] = 240
        pictures[i] = clean
        for k, (down, right, colour) in enumerate(MARKS, 1):
            pictures[i, k, :, down, right] = np.array(colour)[:, None, None]
    y, s = np.array(cells).T
    return {"pictures": pictures, "y": y, "s": s}
