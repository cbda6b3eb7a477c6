"""What AEDA's runs reported, as tables: their looks over the epochs, their results with intervals, their attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import imbalance, metrics, palette
from fairness_core.config import RunConfig, UserError
from fairness_core.store import Run
from pages import anatomy

GAUGES = ("attack_success", "class_kept", "transferability", "chance", "feature_difference")
JUDGED = ("bacc", "bias_mean", "bias_sum")
VARIANTS = ("robust", "online", "once", "pre", "robust, frozen")  # the order of their colours
DRAWS = 400  # of a bootstrap


# ------------------------------------------------------------------------------------------------------ over the epochs


def epochs_per_step(run: Run) -> float:
    """What one gradient step is of an epoch."""
    epochs, capped = float(run.config.training["epochs"]), int(run.config.training["max_steps"])
    if run.of and not capped:
        return epochs * phases(run.config) / run.of
    rows = run.info.get("n_train")
    return 1.0 / -(-int(rows) // int(run.config.training["batch_size"])) if rows else math.nan


def phases(config: RunConfig) -> int:
    """pre first trains the networks that judge, then the model."""
    return 2 if config.method_options.get("variant") == "pre" else 1


def last_epoch(run: Run) -> float:
    """Where the training of the run's model ends, in epochs of its own."""
    if not int(run.config.training["max_steps"]):
        return float(run.config.training["epochs"])
    end = run.of * epochs_per_step(run) / phases(run.config)
    return end if math.isfinite(end) and end > 0 else 1.0


def first_epoch(run: Run) -> float:
    """Where its training begins: before 0 when other networks are trained first."""
    return -last_epoch(run) * (phases(run.config) - 1)


def epochs(run: Run, steps: Sequence[int]) -> list[float]:
    """Steps as epochs of the model's own training, so that runs can be laid over each other."""
    pace = epochs_per_step(run)
    return [step * pace + first_epoch(run) if math.isfinite(pace) else float(step) for step in steps]


def variant(config: RunConfig) -> str:
    """Which of VARIANTS a run is."""
    name = str(config.method_options["variant"])
    return "robust, frozen" if name == "robust" and int(config.method_options["freeze_after"]) else name


def called(catalogue: Mapping[str, Any], config: RunConfig) -> str:
    """A run among others of its kind: its variant and the settings that are not usual ("robust, λ = 0.9")."""
    entry = catalogue["methods"][config.method]
    symbols = {c.name: c.symbol or c.name.replace("_", " ") for c in pages.declared(entry)}
    own = pages.changed(config.method_options, entry)
    rest = [
        f"{symbols[n]} = {v:g}" if isinstance(v, float) else f"{symbols[n]} = {v}"
        for n, v in own.items()
        if n not in ("variant", "freeze_after")
    ]
    return ", ".join([variant(config), *rest])


def looks(run: Run) -> pd.DataFrame:
    """One row per look: step, epoch, phase, n, GAUGES and JUDGED on the validation sample; NaN where not known."""
    history = pages.store().history(run.id, pooled=False)
    live = history[history["stage"] == "training"].reset_index(drop=True)
    table = pd.DataFrame({"step": live["step"], "epoch": epochs(run, live["step"].tolist())})
    table["phase"] = (live["step"] > live["of"] / phases(run.config)).astype(float)
    known = list(live["confusion"])
    table["n"] = [0 if c is None else rows_in(c) for c in known]
    judged = [{} if c is None else values(c) for c in known]
    for name in JUDGED:
        table[name] = [found.get(name, math.nan) for found in judged]
    for name in GAUGES:
        table[name] = live.get(name, np.nan)
    return table.astype(float)


def curves(catalogue: Mapping[str, Any], runs: Sequence[Run]) -> pd.DataFrame:
    """The looks of several runs under each other, with the title, colour, dash and marker of each run: a variant has
    its own, and a second run of a variant those that are left."""
    start = pages.method_index(catalogue, runs[0].config.method)
    tables, taken = [], set[int]()
    for run in runs:
        place = VARIANTS.index(variant(run.config))
        if place in taken:
            place = next(k for k in range(len(VARIANTS), 99) if k not in taken)
        taken.add(place)
        look = {
            "series": run.id,
            "title": called(catalogue, run.config),
            "colour": palette.method_colour(start + place),
            "dash": palette.method_dash(place),
            "marker": palette.method_marker(place),
        }
        tables.append(looks(run).assign(**look))
    return pd.concat(tables, ignore_index=True)


# ---------------------------------------------------------------------------------------------------------- results


def values(C: np.ndarray) -> dict[str, float]:
    """JUDGED of one tensor (K, T, T), or of several targets (A, K, T, T)."""
    return metrics.over_targets(C, JUDGED) if C.ndim == 4 else metrics.evaluate(C, JUDGED)


def rows_in(C: np.ndarray) -> int:
    """How many rows were judged; every target judges the same ones."""
    return int(C[0].sum() if C.ndim == 4 else C.sum())


@st.cache_data(max_entries=64, show_spinner=False)
def draws(C: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """DRAWS bootstrap values of each of JUDGED, rows resampled within every cell; several targets independently."""
    tensors = C if C.ndim == 4 else C[None]
    drawn = np.stack([metrics.resample(c, DRAWS, 1000 * seed + a, "stratified") for a, c in enumerate(tensors)])
    each = metrics.evaluate(drawn, JUDGED)  # (A, DRAWS)
    return {name: np.sum(v, 0) if name == "bias_sum" else np.mean(v, 0) for name, v in each.items()}


def ends(drawn: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval."""
    low, high = metrics.percentiles(drawn)
    return float(low), float(high)


def floor(C: np.ndarray) -> float:
    """The bias_mean that chance alone makes on these rows when the groups do not differ."""
    return float(np.mean(metrics.noise_floor(C)["bias_mean"]))


def result_table(run: Run, before: np.ndarray | None, after: np.ndarray) -> pd.DataFrame:
    """model, metric, value, low, high, split, n, seed: what the sentence says."""
    rows = []
    for model, C, seed in (("untreated", before, 1), ("this run", after, 0)):
        if C is None:
            continue
        found, drawn = values(C), draws(C, seed)
        rows += [(model, name, found[name], *ends(drawn[name]), "test", rows_in(C), run.config.seed) for name in JUDGED]
    return pd.DataFrame(rows, columns=["model", "metric", "value", "low", "high", "split", "n", "seed"])


# ------------------------------------------------------------------------------------------------------- attributes


@st.cache_data(max_entries=16, show_spinner="Counting the training rows …")
def _training_counts(dataset: str, options: tuple[tuple[str, Any], ...], data_hash: str) -> np.ndarray:
    """Training rows per (attribute, absent or present, group)."""
    rows = anatomy.rows_of(dataset, dict(options))
    return imbalance.training_counts(rows.y, rows.s, 2, len(rows.groups))


def attributes(run: Run, before: np.ndarray | None, after: np.ndarray) -> tuple[pd.DataFrame, str]:
    """One row per attribute for aeda_figures.by_attribute, the one that the first group has least of first, and the
    name of that group. With unknown training rows the order is that of the run and the share NaN."""
    config, groups = run.config, run.info["groups"]
    try:
        counts = _training_counts(config.dataset, tuple(sorted(config.dataset_options.items())), config.data_hash)
        share = counts[:, 1, 0] / np.maximum(counts[:, 1].sum(1), 1)
    except UserError:
        share = np.full(len(after), np.nan)
    table = pd.DataFrame({"attribute": run.info["targets"], "share": share})
    for who, C in (("", after), ("before_", before)):
        names = {"bias": "bias_mean", "bacc": "bacc"}
        found = None if C is None else metrics.evaluate(C, names.values())
        between = None if C is None else metrics.bootstrap(C, names.values(), n=DRAWS, scheme="stratified")
        for column, name in names.items():
            table[f"{who}{column}"] = np.nan if found is None else found[name]
            for k, end in enumerate(("low", "high")):
                table[f"{who}{column}_{end}"] = np.nan if between is None else between[name][k]
    return table.sort_values("share", kind="stable", ignore_index=True), str(groups[0])
