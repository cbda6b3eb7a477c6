"""What a run of DVGE has left, as tables: foci, what moves when codes are pushed, where it looks, its autoencoder."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import exhibits
from fairness_core.config import RunConfig
from fairness_core.store import ACTIVE, Run
from pages import course

METHOD, STRENGTH, TASK = "dvge", "eta_sensitive", "eta_task"
USED = 0.01  # variance over rows above which a number of the code is in use
LOSSES = {"reconstruction": "vae_reconstruction", "kl": "vae_kl"}
GAUGES = ("sensitive_accuracy", "focus_cosine", "active_units")
ALONG = ("sensitive focus", "task focus")
TEST, LIVE = "test split", "validation sample"
Arrays = Mapping[str, np.ndarray]


# ------------------------------------------------------------------------------------------------------------- the run


@dataclasses.dataclass(frozen=True)
class Names(course.Names):
    @property
    def parts(self) -> tuple[int, ...]:
        """How many levels each sensitive attribute has."""
        return _parts(self.groups)

    @property
    def chance(self) -> float:
        """Balanced accuracy of a guess, averaged over the attributes as the classifiers' is."""
        return float(np.mean([1 / n for n in self.parts]))

    @property
    def ratio(self) -> bool:
        """Are associations with the group, or the target, correlation ratios?"""
        return len(self.groups) > 2 or len(self.classes) > 2


def names_of(catalogue: Mapping[str, Any], run: Run) -> Names:
    return Names(**dataclasses.asdict(course.names_of(catalogue, run)))


def _parts(groups: tuple[str, ...]) -> tuple[int, ...]:
    """Intersections ("Female & Young") come apart where all groups are named alike, as in codes.attributes_of."""
    parts = [name.split(" & ") for name in groups]
    if len(set(map(len, parts))) > 1:
        return (max(2, len(groups)),)
    levels = [len(set(column)) for column in zip(*parts, strict=True)]
    return tuple(n for n in levels if n > 1) or (2,)


def strength(config: RunConfig) -> float:
    """η_s."""
    return float(config.method_options[STRENGTH])


# -------------------------------------------------------------------------------------------- what it has left to show


@dataclasses.dataclass(frozen=True)
class Shown:
    """The newest that a run has left: foci on the test split at the end, on the validation sample before it."""

    arrays: Arrays
    step: int
    split: str
    n: int

    @property
    def final(self) -> bool:
        return "pushes" in self.arrays

    @property
    def active(self) -> np.ndarray:
        return np.asarray(self.arrays["variance"] > USED)


def shown(run: Run) -> Shown | None:
    """None before the first look."""
    folder = pages.store().exhibits_path(run.id)
    steps = exhibits.steps(folder)
    arrays = _load(str(folder), steps[-1], folder.stat().st_mtime_ns) if steps else {}
    if not {"focus_sensitive", "focus_task", "variance", "cosines"} <= {*arrays}:
        return None
    final = "pushes" in arrays
    n = int(run.info.get("n_test" if final else "n_validation") or 0)
    return Shown(arrays, steps[-1], TEST if final else LIVE, min(n, 2000))


@st.cache_data(max_entries=32, show_spinner=False)
def _load(folder: str, step: int, changed: int) -> Arrays:
    """changed: when something was last written there, since the last look is replaced by the end's at the same step."""
    return exhibits.load(Path(folder), step)


def gauges(run: Run) -> dict[str, float]:
    """The newest GAUGES, of the test split once the run is done; NaN where not known."""
    told = pages.store().values([run.id], "test").get(run.id, {})
    if not told:
        history = pages.store().history(run.id)
        known = history[history["sensitive_accuracy"].notna()] if "sensitive_accuracy" in history else history.head(0)
        told = dict(known.iloc[-1]) if len(known) else {}
    return {name: float(told.get(name, math.nan)) for name in GAUGES}


# ---------------------------------------------------------------------------------------------------------------- foci


def foci_table(arrays: Arrays) -> pd.DataFrame:
    """One row per number of the code: number, sensitive, task (shares of the summed mean |focus|), with_group,
    with_target, variance, active."""
    return pd.DataFrame({
        "number": np.arange(len(arrays["variance"])), "sensitive": _share(arrays["focus_sensitive"]),
        "task": _share(arrays["focus_task"]), "with_group": arrays["correlation_sensitive"].astype(float),
        "with_target": arrays["correlation_task"].astype(float), "variance": arrays["variance"].astype(float),
        "active": arrays["variance"] > USED,
    })  # fmt: skip


def _share(values: np.ndarray) -> np.ndarray:
    total = float(values.sum(dtype=float))
    return values.astype(float) / total if total > 0 else np.zeros(len(values))


def flips_table(arrays: Arrays) -> pd.DataFrame:
    """along, push, sensitive, model (shares of the rows whose decision changes)."""
    rows = [
        {"along": way, "push": float(push), "sensitive": float(own[0]), "model": float(own[1])}
        for way, part in zip(ALONG, arrays["flips"], strict=True)
        for push, own in zip(arrays["pushes"], part, strict=True)
    ]
    return pd.DataFrame(rows)


def validity_table(arrays: Arrays) -> pd.DataFrame:
    """k, focus, random, low, high."""
    random, sd = arrays["validity_random"].astype(float), arrays["validity_random_sd"].astype(float)
    k = np.arange(len(random))
    focus = arrays["validity_focus"].astype(float)
    return pd.DataFrame({"k": k, "focus": focus, "random": random, "low": random - sd, "high": random + sd})


# -------------------------------------------------------------------------------------------------------------- tables


def columns(arrays: Arrays) -> list[str]:
    return [str(name) for name in json.loads(bytes(arrays["columns"]))]


def moved_table(arrays: Arrays, which: str) -> pd.DataFrame:
    """column, forward, backward: the mean change of a table's decoded columns at the strongest pushes."""
    pushed = arrays[f"pushed_{which}"].astype(float)
    return pd.DataFrame({"column": columns(arrays), "forward": pushed[-1], "backward": pushed[0]})


def saliency_table(arrays: Arrays) -> pd.DataFrame:
    """column, sensitive, task: shares of the summed mean |gradient|."""
    shares = {name: _share(arrays[f"saliency_{name}"]) for name in ("sensitive", "task")}
    return pd.DataFrame({"column": columns(arrays), **shares})


# ------------------------------------------------------------------------------------------------------ the autoencoder


def encoder(arrays: Arrays) -> Arrays:
    """What is kept of the autoencoder; empty if it was deleted, or if the run does not say which it was."""
    key = arrays.get("encoder")
    return _encoder(str(pages.store_root()), bytes(key).decode()) if key is not None else {}


@st.cache_data(max_entries=8, ttl=60, show_spinner=False)
def _encoder(root: str, key: str) -> Arrays:
    return pages.store().encoder(key)


def nats_table(kept: Arrays) -> pd.DataFrame:
    """number, kl, variance, active."""
    variance = kept["variance"].astype(float)
    return pd.DataFrame({"number": np.arange(len(variance)), "kl": kept["kl"].astype(float), "variance": variance,
                         "active": variance > USED})  # fmt: skip


def losses_table(kept: Arrays) -> pd.DataFrame:
    return pd.DataFrame(kept["losses"].astype(float), columns=["step", "reconstruction", "kl"])


def live_losses(run: Run) -> pd.DataFrame:
    """step, reconstruction, kl: what the autoencoder has reported in this run; empty where it was reused."""
    history = pages.store().history(run.id)
    if LOSSES["reconstruction"] not in history:
        return pd.DataFrame(columns=["step", *LOSSES])
    own = history[history[LOSSES["reconstruction"]].notna()]
    return pd.DataFrame({"step": own["step"], **{name: own[column] for name, column in LOSSES.items()}}).astype(float)


def coding(run: Run, losses: pd.DataFrame) -> bool:
    """Is the autoencoder being trained?"""
    return (
        run.status in ACTIVE
        and len(losses) > 0
        and losses["step"].iloc[-1] < int(run.config.method_options["vae_steps"])
    )


def explained_table(kept: Arrays, names: list[str]) -> pd.DataFrame:
    known = (
        names if len(names) == len(kept["explained"]) else [f"column {k + 1}" for k in range(len(kept["explained"]))]
    )
    return pd.DataFrame({"column": known, "explained": kept["explained"].astype(float)})
