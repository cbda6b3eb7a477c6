"""What is known about a sweep right now: the store's confusion tensors, and one table row per λ.

Everything selected is selected on validation, everything reported is test. While a λ still trains, its place is that of
the fixed validation sample of the live events, and it is marked `live`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from fairness_core import metrics, sweep
from fairness_core.config import RunConfig
from fairness_core.measures import Counts
from fairness_core.metrics import METRICS
from fairness_core.store import Store, Sweep
from pages import interval, method_index, percent, title, tradeoff_symbol

STAGES = ("validation", "test", "training")
Tensors = Mapping[int, Counts]  # {seed: (groups, classes, classes)}


@dataclass(frozen=True)
class Evidence:
    """One sweep as far as it has come. runs: id, method, lam, seed, status; tensors[stage]: {run id: (G, T, T)}."""

    id: str
    base: RunConfig
    title: str
    symbol: str  # of what the sweep runs over
    index: int
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    runs: pd.DataFrame
    tensors: Mapping[str, Mapping[str, Counts]]

    @cached_property
    def by_value(self) -> dict[str, list[dict[int, Counts]]]:
        """Per stage and value: {seed: tensor}."""
        places = {value: i for i, value in enumerate(self.values)}
        where = {
            run: (places[float(lam)], int(seed))
            for run, lam, seed in zip(self.runs["id"], self.runs["lam"], self.runs["seed"], strict=True)
            if float(lam) in places
        }
        found: dict[str, list[dict[int, Counts]]] = {stage: [{} for _ in self.values] for stage in STAGES}
        for stage in STAGES:
            for run, tensor in self.tensors[stage].items():
                if run in where:
                    found[stage][where[run][0]][where[run][1]] = tensor
        return found

    def stage(self, position: int) -> str | None:
        """What is shown at this value: "test", "training" while nothing is tested, None before anything is known."""
        return next((s for s in ("test", "training") if self.by_value[s][position]), None)

    def at(self, position: int) -> Tensors:
        """{seed: tensor} that is shown at this value; empty before anything is known."""
        stage = self.stage(position)
        return self.by_value[stage][position] if stage else {}

    @property
    def stamp(self) -> str:
        """Changes whenever anything that is shown does."""
        return self.id + _checksum(self.tensors)

    @property
    def empty(self) -> bool:
        return all(self.stage(i) is None for i in range(len(self.values)))


@dataclass(frozen=True)
class Untreated:
    """The model without a debiaser, trained with the same settings and seeds: {stage: {seed: tensor}}."""

    run_ids: tuple[str, ...]
    tensors: Mapping[str, Tensors]
    groups: tuple[str, ...]

    @property
    def stamp(self) -> str:
        """Changes whenever anything that is shown does."""
        return _checksum(self.tensors)


def _checksum(tensors: Mapping[str, Mapping[Any, Counts]]) -> str:
    told = [f"{stage}{key}".encode() + c.tobytes() for stage, found in tensors.items() for key, c in found.items()]
    return f"{zlib.crc32(b''.join(told)):08x}"


def gather(store: Store, found: Sweep, catalogue: Mapping[str, Any], groups: Sequence[str] = ()) -> Evidence:
    """Read everything a chart needs about `found`; `groups` are the names to use until a run has told its own."""
    base = RunConfig.from_json(found.spec["base"])
    tensors = {stage: store.confusions(found.run_ids, stage) for stage in STAGES}
    info = next(iter(store.info(found.run_ids).values()), {})
    size = next((len(c) for stage in tensors.values() for c in stage.values()), 0)
    names = info.get("groups") or groups
    entry = catalogue["methods"][base.method]
    return Evidence(
        id=found.id,
        base=base,
        title=title(entry),
        symbol=tradeoff_symbol(catalogue, base.method),
        index=method_index(catalogue, base.method),
        values=tuple(map(float, found.spec["values"])),
        seeds=tuple(map(int, found.spec["seeds"])),
        groups=tuple(names if len(names) == size else [f"group {g + 1}" for g in range(size)]),
        classes=tuple(info.get("classes") or catalogue["datasets"][base.dataset]["classes"]),
        runs=store.runs(found.run_ids, limit=len(found.run_ids), over=found.spec["over"]),
        tensors=tensors,
    )


def untreated(store: Store, configs: Sequence[RunConfig]) -> Untreated:
    """What is known of the untreated runs `configs` (one per seed)."""
    ids = {c.id: c.seed for c in configs}
    tensors = {stage: {ids[run]: c for run, c in store.confusions(ids, stage).items()} for stage in STAGES}
    info = next(iter(store.info(ids).values()), {})
    return Untreated(tuple(ids), tensors, tuple(info.get("groups", ())))


# --------------------------------------------------------------------------------------------------------------- tables


def frontier(evidence: Evidence, measure: str, performance: str) -> pd.DataFrame:
    """sweep.frontier of the finished runs: one row per λ, selected on validation, reported on test."""
    runs = sweep.points(evidence.runs, evidence.tensors["validation"], evidence.tensors["test"], performance, measure)
    return sweep.frontier(runs)


def chart_points(evidence: Evidence, measure: str, performance: str) -> pd.DataFrame:
    """The rows figures.frontier draws: one per λ that is known; test results, or the live sample's while it trains."""
    done = frontier(evidence, measure, performance).set_index("lam").to_dict("index")
    rows = []
    for position, lam in enumerate(evidence.values):
        stage = evidence.stage(position)
        if stage == "test" and lam in done:
            row = done[lam]
            ends = {"gap": row["test_gap"], "gain": row["test_performance"]}
            sd = {"gap": row["test_gap_sd"], "gain": row["test_performance_sd"]}
            marks = {"front": bool(row["on_front"]), "trivial": bool(row["trivial"]), "live": False}
        elif stage == "training":
            ends, sd = _live(evidence.at(position), measure, performance)
            marks = {"front": False, "trivial": False, "live": True}
        else:
            continue
        spread = {
            f"{k}_{end}": ends[k] + sign * np.nan_to_num(sd[k])
            for k in ends
            for end, sign in (("low", -1), ("high", 1))
        }
        rows.append({"position": position, "lam": lam, **ends, **spread, **marks, "sd": sd})
    hovers = _hovers(evidence, rows, measure, performance)
    table = pd.DataFrame([{**row, "hover": hover} for row, hover in zip(rows, hovers, strict=True)], columns=COLUMNS)
    return table.assign(series=evidence.id, title=evidence.title, index=evidence.index)


COLUMNS = [
    "position",
    "lam",
    "gap",
    "gain",
    "gap_low",
    "gap_high",
    "gain_low",
    "gain_high",
    "front",
    "trivial",
    "live",
    "hover",
]


def _live(tensors: Tensors, measure: str, performance: str) -> tuple[dict[str, float], dict[str, float]]:
    C = np.stack(list(tensors.values()))
    values = {"gap": distance(C, measure), "gain": distance(C, performance)}
    means = {k: float(np.nanmean(v)) if not np.isnan(v).all() else float("nan") for k, v in values.items()}
    return means, {k: float(np.nanstd(v)) if len(v) > 1 and not np.isnan(v).all() else 0.0 for k, v in values.items()}


def distance(C: Counts, name: str) -> np.ndarray:
    """A metric as the axes show it: a performance as it is, a gap as its distance from parity."""
    judge = METRICS[name]
    values = judge.function(C)
    return values if judge.kind == "performance" else judge.disparity(values)


def point(tensors: Tensors, measure: str, performance: str) -> tuple[float, float]:
    """(gap, gain), means over seeds."""
    means, _ = _live(tensors, measure, performance)
    return means["gap"], means["gain"]


def seed_points(evidence: Evidence, measure: str, performance: str) -> pd.DataFrame:
    """gap, gain of every single tested run."""
    tensors = list(evidence.tensors["test"].values())
    if not tensors:
        return pd.DataFrame({"gap": [], "gain": []})
    C = np.stack(tensors)
    return pd.DataFrame({"gap": distance(C, measure), "gain": distance(C, performance)}).dropna()


def mean_counts(tensors: Tensors) -> Counts:
    """(G, T, T): counts averaged over seeds, so that they stay those of one split."""
    return np.asarray(np.mean(np.stack(list(tensors.values())), axis=0))


@st.cache_data(max_entries=256, show_spinner=False)
def sampling(C: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap interval (low, high), each (n,), of a metric's distance from parity (or of a performance) for
    counts (n, G, T, T): what another set of people of the same size would change."""
    resampled = [distance(metrics.resample(np.round(c).astype(np.int64), 400), name) for c in C]
    return metrics.percentiles(np.stack(resampled))


def _hovers(evidence: Evidence, rows: Sequence[Mapping[str, Any]], measure: str, performance: str) -> list[str]:
    """The whole story of each point. Sampling intervals wait for the test result: a live point is gone in a second."""
    if not rows:
        return []
    C = np.stack([mean_counts(evidence.at(row["position"])) for row in rows])
    final = ~np.array([row["live"] for row in rows])
    noise = {c: np.full((2, len(rows)), np.nan) for c in ("gap", "gain")}
    for column, name in (("gap", measure), ("gain", performance)):
        if final.any():
            noise[column][:, final] = sampling(C[final], name)
    return [
        _hover(evidence, row, C[k].sum((-2, -1)), {c: ends[:, k] for c, ends in noise.items()}, measure, performance)
        for k, row in enumerate(rows)
    ]


def _hover(
    evidence: Evidence,
    row: Mapping[str, Any],
    people: np.ndarray,
    noise: Mapping[str, np.ndarray],
    measure: str,
    performance: str,
) -> str:
    seeds = len(evidence.at(row["position"]))
    where = "unfinished, validation sample" if row["live"] else f"test, {seeds} of {len(evidence.seeds)} seeds"
    lines = [f"<b>{evidence.symbol} = {row['lam']:g}</b> · {evidence.title}", where]
    for column, name in (("gain", performance), ("gap", measure)):
        low, high = map(float, noise[column])
        sd = f" ± {100 * row['sd'][column]:.1f} (seeds)" if seeds > 1 else ""
        reach = "" if row["live"] else f", {interval(low, high)} (people)"
        lines.append(f"{METRICS[name].title}: {percent(row[column])}{sd}{reach}")
    lines.append(" · ".join(f"{g}: n = {n:,.0f}" for g, n in zip(evidence.groups, people, strict=True)))
    lines += ["on the validation front"] * row["front"] + ["trivial: nearly one decision for everyone"] * row["trivial"]
    return "<br>".join(lines)


@st.cache_data(max_entries=1024, show_spinner=False)
def sentence(before: Tensors, after: Tensors, **settings: Any) -> str:
    """sweep.sentence, remembered: a frame of a finished λ never changes."""
    return sweep.sentence(before, after, **settings)


def export(evidence: Evidence, measure: str, performance: str) -> pd.DataFrame:
    """The table behind the chart: one row per λ with means, spreads and selections, in the metrics' plain names."""
    table = frontier(evidence, measure, performance)
    names = {c: c.replace("performance", performance).replace("gap", measure) for c in table.columns if "_" in c}
    return table.rename(columns={k: v for k, v in names.items() if k.split("_")[0] in ("validation", "test")})
