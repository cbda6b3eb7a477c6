"""What BaDe's runs reported, as tables: how the teacher and the student came about, and what both are worth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import exhibits, metrics, regression, regression_results, teacher_views
from fairness_core.backdoor_figures import Units
from fairness_core.calibration import EXPONENT, RATE
from fairness_core.config import RunConfig
from fairness_core.store import ACTIVE, Run
from pages.course import Names

METHOD = "bade"
GAUGES = (
    *("artificial_bias", "teacher_odds_clean", "teacher_odds_reinforcing", "teacher_odds_cancelling", "agreement"),
)
LAW = ("N", "P", "Q", "drawn")
CLASSES, NUMBERS = ("odds", "eacc"), ("odds_regression", "eerr")  # gap and level, of a look
MODELS = ("untreated", "teacher, cancelling", "student")
Arrays = Mapping[str, np.ndarray]


# ------------------------------------------------------------------------------------------------------------ the run


def units(run: Run) -> Units:
    """How gaps and levels are told: points and %, or the units of a number as target."""
    if not regression_results.is_regression(run):
        return Units()
    unit = run.info.get("unit") or "units of the target"
    return Units("gap of errors", "EErr", 1.0, 3, f", in {unit}")


def setting(config: RunConfig) -> str:
    """The strength of the artificial bias: "n = 40 %", with s where that is not 1."""
    rate, s = (config.method_options[name] for name in (RATE, EXPONENT))
    return f"n = {rate:g} %" + (f", s = {s:g}" if s != 1 else "")


# --------------------------------------------------------------------------------------------- what it has left to show


@dataclasses.dataclass(frozen=True)
class Shown:
    """The newest that a run has left: LAW, views (fairness_core.backdoors) of the test split at the end, of the
    validation sample before it, and pictures, y, s where the rows are pictures."""

    arrays: Arrays
    step: int
    split: str

    learning: bool = False  # will the teacher still change?

    @property
    def views(self) -> np.ndarray:
        return self.arrays["views"]


def shown(run: Run) -> Shown | None:
    """None before the first look."""
    folder = pages.store().exhibits_path(run.id)
    steps = exhibits.steps(folder)
    if not steps:
        return None
    arrays = dict(_load(str(folder), steps[-1], run.created))
    if "pictures" not in arrays:
        first = _load(str(folder), steps[0], run.created)
        arrays |= {name: first[name] for name in ("pictures", "y", "s") if name in first}
    if not {*LAW, "views"} <= {*arrays}:
        return None
    at_end = run.status not in ACTIVE and steps[-1] == run.of
    learning = run.status in ACTIVE and steps[-1] < round(Clock.of_run(run).end)
    return Shown(arrays, steps[-1], "test" if at_end else "validation sample", learning)


@st.cache_data(max_entries=32, show_spinner=False)
def _load(folder: str, step: int, created: float) -> Arrays:
    """created: when the run was submitted, since a run that is trained again leaves other arrays."""
    return exhibits.load(Path(folder), step)


# ------------------------------------------------------------------------------------------------------ over the epochs


@dataclasses.dataclass(frozen=True)
class Clock:
    """Steps as epochs of the student; before 0 the teacher learns. end: the last step of that; pace: epochs a step."""

    end: float
    of: int
    pace: float

    @classmethod
    def of_run(cls, run: Run) -> Clock:
        training, lengths = run.config.training, (float(run.config.method_options["teacher"]), 1.0)
        epochs, cap = int(training["epochs"]), int(training["max_steps"])
        whole = [max(1, round(epochs * length)) for length in lengths]
        per = math.ceil(int(run.info.get("n_train") or 0) / int(training["batch_size"]))
        steps = [float(w * (per or 1)) for w in whole]
        if cap:
            steps = [
                min(s, math.ceil(cap * length)) if per else cap * length
                for s, length in zip(steps, lengths, strict=True)
            ]
        student = steps[1] / per if per else float(whole[1])
        of = run.of or round(sum(steps))
        end = of * steps[0] / sum(steps)
        return cls(end, of, student / max(of - end, 1e-9))

    def epoch(self, step: float) -> float:
        return (step - self.end) * self.pace

    @property
    def first(self) -> float:
        return self.epoch(0)

    @property
    def last(self) -> float:
        return self.epoch(self.of)


def looks(run: Run) -> pd.DataFrame:
    """One row per look on the validation sample: step, epoch, phase (0 teacher, 1 student), n, odds and eacc of what is
    learning (of a number as target odds_regression and eerr, in its units) and GAUGES; NaN where not known."""
    history = pages.store().history(run.id)
    live = history[history["stage"] == "training"].reset_index(drop=True)
    number = regression_results.is_regression(run)
    clock, known = Clock.of_run(run), list(live["confusion"])
    table = pd.DataFrame({"step": live["step"].astype(float)})
    table["epoch"] = [clock.epoch(step) for step in live["step"]]
    teaching = live["teacher_loss"].notna() if "teacher_loss" in live else live["step"] <= clock.end
    table["phase"] = np.where(teaching, 0.0, 1.0)
    table["n"] = [0 if c is None else int(c.sum()) for c in known]
    judge: Callable[[np.ndarray], Mapping[str, Any]] = (
        regression.of_sums if number else lambda C: metrics.evaluate(C, CLASSES)
    )
    judged = [{} if c is None else judge(c) for c in (live["errors"] if number else known)]
    for name in NUMBERS if number else CLASSES:
        table[name] = [float(found.get(name, math.nan)) for found in judged]
    for name in GAUGES:
        table[name] = live.get(name, np.nan)
    return table.astype(float)


# ---------------------------------------------------------------------------------------------------------- results


def views_table(run: Run, names: Names, found: Shown) -> pd.DataFrame:
    """teacher_views.judge of every view, and which split it is."""
    table = _judged(found.views, tuple(teacher_views.names(names.groups)), regression_results.is_regression(run))
    return table.assign(split=found.split, seed=run.config.seed)


@st.cache_data(max_entries=64, show_spinner=False)
def _judged(counts: np.ndarray, called: tuple[str, ...], number: bool) -> pd.DataFrame:
    return teacher_views.judge(counts, called, number=number)


def models_table(run: Run, untreated: RunConfig, found: Shown | None) -> pd.DataFrame:
    """teacher_views.judge of MODELS on the test split; those that are not known are left out."""
    number = regression_results.is_regression(run)
    ids = {"untreated": untreated.id, "student": run.id}
    counts = {name: _sums(i) if number else pages.store().confusions([i], "test").get(i) for name, i in ids.items()}
    if found is not None and found.split == "test":
        counts["teacher, cancelling"] = found.views[teacher_views.CANCELLING]
    known = {name: c for name in MODELS if (c := counts.get(name)) is not None}
    if not known:
        return pd.DataFrame(columns=["name"])
    table = _judged(np.stack(list(known.values())), tuple(known), number)
    return table.assign(split="test", seed=run.config.seed)


def _sums(run_id: str) -> np.ndarray | None:
    """regression.sums of what a finished run predicted for the test rows, by the bins of its data set."""
    run, held = pages.store().run(run_id), pages.store().numbers(run_id).get("test")
    if run is None or held is None or "edges" not in run.info:
        return None
    bins, sizes = np.digitize(held.y, run.info["edges"]), (len(run.info["groups"]), len(run.info["edges"]) + 1)
    return regression.sums(held.predicted.astype(np.float64), held.y.astype(np.float64), bins, held.s, *sizes)


def law_table(names: Names, arrays: Arrays) -> pd.DataFrame:
    """One row per class and group: class, group, rows, share (P), trigger share (Q), rows that carry the trigger."""
    rows = [
        {
            "class": names.classes[t], "group": names.groups[k], "training rows": int(arrays["N"][t, k]),
            "P(group | class)": float(arrays["P"][t, k]), "Q(trigger | class)": float(arrays["Q"][t, k]),
            "rows with its trigger": int(arrays["drawn"][t, k]),
        }
        for t, k in np.ndindex(*arrays["N"].shape)
    ]  # fmt: skip
    return pd.DataFrame(rows)
