"""The instrument of the thresholds page: everything the browser needs to answer its sliders by itself.

The payload holds, per split, how many people of each cell score above each threshold, the figures of what does not
move, and for every ε and every cost ratio where each named strategy draws its lines (strategies.py, on validation).
The browser only looks up and adds: whatever it says about a choice is arithmetic on these counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from fairness_core import figures, palette, strategies, threshold_figures
from fairness_core.measures import Counts
from fairness_core.metrics import METRICS, SMALL, evaluate, is_trivial
from fairness_core.outcomes import PEOPLE
from fairness_core.scores import Scores
from fairness_core.strategies import STRATEGIES
from fairness_core.thresholds import GRID, MEASURES, bands, counts
from pages import PLOTLY_ROUTE, joined
from pages.explorer import plain

EPSILONS = (0.005, *(round(0.01 * k, 2) for k in range(1, 31)))
COSTS = (0.1, 0.125, 0.167, 0.2, 0.25, 0.333, 0.5, 0.667, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
BINS = 50  # of the chart of scores
RHO = "balanced_accuracy"

_component = st.components.v2.component(
    "equipoise_cut",
    js=joined("mount.js", "blocks.js", "slider.js", "judge.js", "cut.js"),
    css=joined("explorer.css", "cut.css"),
    isolate_styles=False,
)


@dataclass(frozen=True)
class View:
    """What is looked at. tau: one threshold per group; strategy: the one they follow, or none."""

    tau: tuple[float, ...]
    linked: bool = True
    epsilon: float = 0.05
    cost: float = 1.0
    measure: str = MEASURES[0]
    split: str = "test"
    strategy: str = ""

    def to_json(self) -> dict[str, Any]:
        """As positions, which is how the browser counts."""
        return {
            "at": [nearest(GRID, tau) for tau in self.tau],
            "linked": self.linked,
            "epsilon": nearest(EPSILONS, self.epsilon),
            "cost": nearest(COSTS, self.cost),
            "measure": self.measure,
            "split": self.split,
            "strategy": self.strategy or None,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> View:
        return cls(
            tuple(float(GRID[i]) for i in told["at"]), bool(told["linked"]), EPSILONS[told["epsilon"]],
            COSTS[told["cost"]], str(told["measure"]), str(told["split"]), str(told["strategy"] or ""),
        )  # fmt: skip


def nearest(values: Any, value: float) -> int:
    """The position of the value nearest to `value`."""
    return int(np.argmin(np.abs(np.asarray(values) - value)))


@dataclass(frozen=True)
class Material:
    """A run's answers, counted: counts at every threshold per split (M, G, 2, 2), what one threshold for everybody
    gives {split: {measure: table}}, and the strategies found on validation as positions {name: (ε, cost, G)}, with
    "epsilon" for each of MEASURES as {measure: (ε,)}."""

    groups: tuple[str, ...]
    classes: tuple[str, ...]
    favourable: str
    counts: dict[str, Counts]
    rows: dict[str, int]
    curves: dict[str, dict[str, pd.DataFrame]]
    places: dict[str, np.ndarray]
    under: dict[str, np.ndarray]

    @classmethod
    def of(cls, answers: Mapping[str, Scores], groups: list[str], classes: list[str], favourable: str) -> Material:
        C = {split: counts(a.score, a.y, a.s, len(groups)) for split, a in answers.items()}
        found = strategies.every(C["validation"], GRID, MEASURES[0], np.array(EPSILONS), np.array(COSTS))
        under = {m: strategies.under(C["validation"], GRID, m, np.array(EPSILONS)) for m in MEASURES}
        rows = {split: a.of for split, a in answers.items()}
        told = {split: curves(own) for split, own in C.items()}
        return cls(tuple(groups), tuple(classes), favourable, C, rows, told, found, under)


def mount(
    payload: Mapping[str, Any], view: View, *, revision: str, on_view: Callable[[], None], key: str = "cut"
) -> Any:
    """Draw the instrument; its state has `view` as JSON once somebody has moved something. revision: the browser keeps
    its own settings as long as it stays the same."""
    data = {**payload, "rev": revision, "view": view.to_json(), "plotly": PLOTLY_ROUTE}
    return _component(key=key, data=data, on_view_change=on_view)


def payload(material: Material, seed: int) -> dict[str, Any]:
    """What the browser needs to know about a run; half a second's work, so keep it."""
    names = material.groups
    groups = [
        {
            "name": name,
            "label": figures.plain(name),  # plotly reads markup
            "people": PEOPLE.get(name.lower(), f"people in group {name}"),
            "colour": palette.group_colour(g),
            "glyph": threshold_figures.GLYPHS[g % len(threshold_figures.GLYPHS)],
        }
        for g, name in enumerate(names)
    ]
    told = [
        {"name": s.name, "title": s.title, "meaning": s.meaning, "groups": s.needs_groups, "by": list(s.by)}
        for s in STRATEGIES
    ]
    return {
        "palette": palette.on_dark(),
        "ink": palette.INK,
        "feasible": palette.FEASIBLE,
        "groups": groups,
        "classes": list(material.classes),
        "favourable": material.favourable,
        "seed": seed,
        "small": SMALL,
        "measures": [{"name": m, "title": METRICS[m].title} for m in MEASURES],
        "epsilons": list(EPSILONS),
        "costs": list(COSTS),
        "strategies": told,
        "places": {name: places.tolist() for name, places in material.places.items()},
        "under": {measure: places.tolist() for measure, places in material.under.items()},
        "map": _drawn(threshold_figures.two_thresholds(names[0], names[1])) if len(names) > 1 else None,
        "splits": {split: _split(material, split) for split in material.counts},
    }


def _split(material: Material, split: str) -> dict[str, Any]:
    C = material.counts[split]
    return {
        "n": int(C[0].sum()),
        "of": material.rows[split],
        "rows": C[0].sum(-1).tolist(),  # (G, true class)
        "favoured": np.moveaxis(C[..., 1], 0, -1).tolist(),  # (G, true class, M)
        "scores": _drawn(threshold_figures.score_densities(densities(C, material.groups))),
        "roc": _drawn(threshold_figures.roc_curves(roc(C, material.groups))),
        "curves": _curves(material.curves[split]),
    }


def _curves(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The chart of the first measure, and what another one puts in its place: traces, range of the axis, gap (M,)."""
    drawn = _drawn(threshold_figures.threshold_curves(tables[MEASURES[0]]))
    columns = {k: trace["meta"] for k, trace in enumerate(drawn["data"]) if trace["meta"].startswith("gap")}
    moved = {
        measure: {
            "traces": {k: plain(own[column].to_numpy()) for k, column in columns.items()},
            "range": threshold_figures.gap_range(own),
            "gap": plain(own["gap"].to_numpy()),
        }
        for measure, own in tables.items()
    }
    return {**drawn, "measures": moved}


def _drawn(figure: Any) -> dict[str, Any]:
    """Traces and layout as JSON; long numbers are cut, for the payload's sake."""
    drawn: dict[str, Any] = json.loads(figure.to_json())
    return {"data": drawn["data"], "layout": drawn["layout"]}


def densities(C: Counts, groups: tuple[str, ...]) -> pd.DataFrame:
    """group, place, share: how each group's scores are spread over BINS bins; C (M, G, 2, 2)."""
    step = (len(GRID) - 1) // BINS
    above = C[..., 1].sum(-1)  # (M, G): people above each threshold
    edges = np.concatenate([C[:1].sum((-1, -2)), above[step::step]])  # those at 0 belong to the first bin
    share = -np.diff(edges, axis=0) / np.maximum(edges[0], 1)
    places = (np.arange(BINS) + 0.5) / BINS
    return pd.DataFrame(
        {"group": np.repeat(groups, BINS), "place": np.tile(places, len(groups)), "share": share.T.ravel()}
    )


def roc(C: Counts, groups: tuple[str, ...], step: int = 2) -> pd.DataFrame:
    """group, threshold, fpr, tpr at every second threshold, and at both ends of the curve."""
    fpr, tpr = (np.vstack([np.ones(len(groups)), rate[::step], np.zeros(len(groups))]) for rate in strategies.roc(C))
    tau = np.concatenate([[0.0], GRID[::step], [1.0]])
    return pd.DataFrame(
        {
            "group": np.repeat(groups, len(tau)),
            "threshold": np.tile(tau, len(groups)),
            "fpr": fpr.T.ravel(),
            "tpr": tpr.T.ravel(),
        }
    )


def curves(C: Counts) -> dict[str, pd.DataFrame]:
    """For each measure: threshold, rho, gap with their 95 % bands, trivial; one threshold for everybody."""
    names = (RHO, *MEASURES)
    found, around = evaluate(C, names), bands(C, names)
    trivial = np.asarray(is_trivial(C))
    tables = {}
    for measure in MEASURES:
        columns: dict[str, Any] = {"threshold": GRID, "trivial": trivial}
        for column, name in (("rho", RHO), ("gap", measure)):
            low, high = around[name]
            columns |= {column: np.asarray(found[name]), f"{column}_low": low, f"{column}_high": high}
        tables[measure] = pd.DataFrame(columns)
    return tables


def threshold_table(material: Material, split: str, measure: str, step: int = 5) -> pd.DataFrame:
    """One row per fifth threshold: ρ and the gap with their bands, and each group's rates at it."""
    C = material.counts[split]
    table = material.curves[split][measure].rename(columns={"rho": RHO, "gap": measure})
    fpr, tpr = strategies.roc(C)
    above = C[..., 1].sum(-1) / np.maximum(C.sum((-1, -2)), 1)
    for g, name in enumerate(material.groups):
        rates = {"favoured": above, "true positive rate": tpr, "false positive rate": fpr}
        table = table.assign(**{f"{rate}, {name}": values[:, g] for rate, values in rates.items()})
    return table.iloc[::step]


def strategy_table(material: Material, view: View) -> pd.DataFrame:
    """The named strategies at the view's ε and cost ratio: thresholds, and what they give on validation and test."""
    e, w = nearest(EPSILONS, view.epsilon), nearest(COSTS, view.cost)
    each = np.arange(len(material.groups))
    rows = []
    for strategy in STRATEGIES:
        places = material.places[strategy.name][e, w]
        if strategy.name == "epsilon":
            places = np.full(len(each), material.under[view.measure][e])
        row: dict[str, Any] = {"strategy": strategy.title, "needs group": "yes" if strategy.needs_groups else "no"}
        row |= {f"τ {name}": float(GRID[place]) for name, place in zip(material.groups, places, strict=True)}
        for split, C in material.counts.items():
            own = C[places, each]
            found = evaluate(own, [RHO, "accuracy", view.measure])
            row |= {f"{name}, {split}": float(value) for name, value in found.items()}
            row[f"cost per 1,000, {split}"] = float(1000 * strategies.errors(own, view.cost).sum() / own.sum())
            row[f"trivial, {split}"] = "yes" if bool(is_trivial(own)) else "no"
        rows.append(row)
    return pd.DataFrame(rows)
