"""Finished runs and sweeps whose target is a number, as the command line prints them and the pages read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from fairness_core import calibration, regression, regression_noise, regression_sweep
from fairness_core.metrics import over_seeds
from fairness_core.records import Run, Sweep
from fairness_core.regression import MEASURES, Outcome
from fairness_core.store import Store

SPLITS = ("validation", "test")


def is_regression(run: Run) -> bool:
    """Is the target of this run a number? Known from the moment it starts."""
    return bool(run.info.get("task") == "regression")


def outcomes(store: Store, run: Run) -> dict[str, Outcome]:
    """What a finished run predicted per split; empty where that was not kept."""
    found = {split: regression.of_numbers(own, run.info) for split, own in store.numbers(run.id).items()}
    return {split: outcome for split, outcome in found.items() if outcome is not None}


def result(store: Store, run: Run) -> dict[str, Any]:
    """Of the test split: metrics; metrics_in_sd, those in units of the target divided by its standard deviation;
    intervals, 95 % of sampling noise; noise_floor; bins, the bins' names; merged_bins, how many fewer than the data set
    has; cells, one per (bin, group); unit and tolerance. Where the predictions were not kept, metrics alone."""
    told = store.values([run.id], "test").get(run.id, {})
    metrics = {name: told[name] for name in MEASURES if name in told}
    known = outcomes(store, run).get("test")
    if known is None:
        return {"metrics": metrics}
    return {
        "metrics": metrics,
        "metrics_in_sd": regression.in_sd(metrics),
        "intervals": regression_noise.bootstrap(known),
        "noise_floor": regression_noise.noise_floor(known),
        "bins": list(known.labels),
        "merged_bins": known.merged,
        "cells": regression_noise.cells(known, run.info["groups"]).to_dict("records"),
        "unit": run.info["unit"],
        "tolerance": known.tolerance,
    }


def sweep_result(store: Store, made: Sweep, error: str | None = None, gap: str | None = None) -> dict[str, Any]:
    """What is printed of a sweep: its points (regression_sweep.points), the rows of its front, metrics, performance and
    fairness, the names of the measures on the axes."""
    error, gap = error or regression_sweep.ERRORS[0], gap or regression_sweep.GAPS[0]
    validation, test = (store.values(made.run_ids, split) for split in SPLITS)
    points = regression_sweep.points(_runs(store, made), validation, test, error, gap)
    front = regression_sweep.frontier(points).query("on_front").drop(columns="on_front")
    volumes = {
        split: regression_sweep.hypervolume(front, split, gap, _sd(values))
        for split, values in (("validation", validation), ("test", test))
    }
    return {
        "points": points.to_dict("records"),
        "front": front.to_dict("records"),
        "metrics": {"hypervolume": volumes["test"], "hypervolume_validation": volumes["validation"]},
        "performance": error,
        "fairness": gap,
        **(_chosen(store, made, validation, test) if calibration.is_path(made.spec) else {}),
    }


def _chosen(
    store: Store, made: Sweep, validation: regression_sweep.Values, test: regression_sweep.Values
) -> dict[str, Any]:
    """BaDe's strength by the measures of its tables (calibration.of_errors), with errors as such."""
    points = calibration.error_points(_runs(store, made), validation, test)
    choice = calibration.of_sweep(points, made.spec["over"], calibration.of_errors)
    if choice is None:
        return {}
    told = asdict(choice)
    errors = {f"{split}_error": -told.pop(f"{split}_performance") for split in SPLITS}
    return {"chosen": told | errors}


def _runs(store: Store, made: Sweep) -> pd.DataFrame:
    return store.runs(made.run_ids, over=made.spec["over"] or "")


def _sd(values: Mapping[str, Mapping[str, float]]) -> float:
    """The standard deviation of the target in a split, from any run that knows it."""
    return next((own["target_sd"] for own in values.values() if "target_sd" in own), float("nan"))


def seeds_table(values: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """One row per measure over the runs of several seeds: measure, mean, low, high (t interval, TRAINING noise),
    seeds."""
    held = np.array([[own.get(name, np.nan) for own in values] for name in MEASURES], dtype=np.float64)
    told = over_seeds(held.reshape(len(MEASURES), -1))
    columns = {"mean": told.mean, "low": told.low, "high": told.high, "seeds": told.seeds}
    return pd.DataFrame({"measure": list(MEASURES), **columns})
