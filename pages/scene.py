"""The frontier explorer as blocks: what every position of the λ and ε sliders shows, in numbers and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from fairness_core import figures, metrics, palette, sweep
from fairness_core.measures import Counts
from fairness_core.metrics import METRICS
from pages import band, explorer, percent
from pages import evidence as known
from pages.evidence import Evidence, Untreated

EPSILONS = tuple(round(0.005 * i, 3) for i in range(1, 61))
KEY = (
    "Filled: gap below ε. Hollow: above, or unfinished. Crossed: trivial. Line: front chosen on validation. "
    "Bars: ± 1 sd over seeds. Small dots: single runs. Finished results are on test, others on a sample of validation."
)
SPLITS = {"test": "test", "training": "validation sample, unfinished"}


@dataclass(frozen=True)
class View:
    """What the reader chose to look at; none of it changes a trained weight."""

    measure: str
    performance: str
    lam: float | None
    epsilon: float
    favourable: str
    positive: int = -1  # the favourable class is the last one

    def position(self, values: Sequence[float]) -> int:
        """The slider position nearest to the chosen λ; the middle of the sweep if none was chosen."""
        if self.lam is None:
            return len(values) // 2
        return int(np.abs(np.asarray(values) - self.lam).argmin())

    @property
    def epsilon_position(self) -> int:
        return band.nearest(EPSILONS, self.epsilon)


def mount(
    main: Evidence, others: Sequence[Evidence], anchor: Untreated, view: View, *, on_position: Any, on_epsilon: Any
) -> Any:
    """Draw the whole explorer for `main`, with the fronts of `others` beside it."""
    fixed = dataclasses.replace(view, lam=None, epsilon=EPSILONS[0])  # the browser puts ring and band where they belong
    stamp = "-".join([anchor.stamp, *(e.stamp for e in (main, *others))])
    blocks, below = _drawn(stamp, fixed, main, tuple(others), anchor)
    best = below["frames"][view.epsilon_position]["best"]
    at = best if view.lam is None and best is not None else view.position(main.values)
    return explorer.explorer(
        blocks,
        key="explorer",
        revision="-".join([main.id, view.measure, view.performance]),
        stamp=stamp,
        slider=slider(main, at),
        band={**below, "position": view.epsilon_position},
        on_position=on_position,
        on_epsilon=on_epsilon,
    )


def slider(main: Evidence, at: int) -> dict[str, Any]:
    """The slider of what the sweep runs over, standing at position `at`."""
    low, high = main.values[0], main.values[-1]
    ends = ("0: untreated" if low == 0 else f"{low:g}: weakest", f"{high:g}: strongest")
    if main.symbol == "target ε":
        ends = (f"{low:g}: strictest", f"{high:g}: loosest")
    label = "Fairness weight λ" if main.symbol == "λ" else f"{main.title}: {main.symbol}"
    return explorer.slider(label, main.symbol, main.values, at, ends)


@st.cache_data(max_entries=32, show_spinner=False)
def _drawn(
    stamp: str, view: View, _main: Evidence, _others: Sequence[Evidence], _anchor: Untreated
) -> tuple[list[explorer.Block], dict[str, Any]]:
    """Blocks and band; `stamp` stands for all the counts, so that moving a slider of a finished sweep costs nothing."""
    main, anchor = _main, _anchor
    points = known.chart_points(main, view.measure, view.performance)
    beside = [known.chart_points(other, view.measure, view.performance) for other in _others]
    figure = _frontier(main, pd.concat([points, *beside], ignore_index=True), anchor, view)
    every = range(len(main.values))
    blocks = [
        explorer.text("sentence", [_sentence(main, anchor, view, i) for i in every]),
        _frontier_chart(main, figure, points, view),
        explorer.sliders(),
        explorer.text("key", [KEY], area="left", muted=True),
    ]
    if not main.empty:
        blocks += [
            _people(main, anchor, view),
            _accuracy(main, anchor),
            _matrices(main, anchor),
            explorer.text("flags", [_flags(main, i) for i in every], area=_place(main), muted=True),
        ]
    return blocks, _band(main, figure, points, view)


# ------------------------------------------------------------------------------------------------------------- frontier


def _frontier(main: Evidence, points: pd.DataFrame, anchor: Untreated, view: View) -> Any:
    return figures.frontier(
        points,
        selected=main.id,
        anchors=_anchors(main, anchor, view),
        epsilon=view.epsilon,
        gap_title=f"← smaller gap     {METRICS[view.measure].title}",
        gain_title=METRICS[view.performance].title,
        seeds=known.seed_points(main, view.measure, view.performance),
    )


def _anchors(main: Evidence, anchor: Untreated, view: View) -> pd.DataFrame:
    rows = []
    judged = anchor.tensors["test"]
    if judged:
        gap, gain = known.point(judged, view.measure, view.performance)
        hover = f"<b>Untreated model</b><br>test, {len(judged)} seeds<br>{_pair(view, gap, gain)}"
        rows.append({"title": "untreated", "gap": gap, "gain": gain, "symbol": "diamond", "hover": hover})
    people = judged or next((t for t in main.by_value["test"] if t), {})
    if people:
        constant = sweep.constant_classifier(next(iter(people.values())))
        gap, gain = known.point({0: constant}, view.measure, view.performance)
        hover = f"<b>Constant model</b><br>the same decision for everyone<br>{_pair(view, gap, gain)}"
        rows.append({"title": "constant model", "gap": gap, "gain": gain, "symbol": "x-thin", "hover": hover})
    return pd.DataFrame(rows, columns=["title", "gap", "gain", "symbol", "hover"]).dropna()


def _pair(view: View, gap: float, gain: float) -> str:
    return f"{METRICS[view.performance].title} {percent(gain)}<br>{METRICS[view.measure].title} {percent(gap)}"


def _frontier_chart(main: Evidence, figure: Any, points: pd.DataFrame, view: View) -> explorer.Block:
    ring = explorer.trace_index(figure, "ring")
    places = {int(p): (x, y) for p, x, y in zip(points["position"], points["gap"], points["gain"], strict=True)}
    frames = [
        {ring: {"x": [places[i][0]], "y": [places[i][1]]} if i in places else {"x": [], "y": []}}
        for i in range(len(main.values))
    ]
    return explorer.chart(
        "frontier",
        figure,
        alt=f"Accuracy-fairness frontier: {METRICS[view.performance].title} against {METRICS[view.measure].title}, "
        f"{len(points)} of {len(main.values)} values of {main.symbol}. The table below holds the same numbers.",
        height=390,
        area="left",
        frames=frames,
        click=True,
        ring=ring,
    )


def _band(main: Evidence, figure: Any, points: pd.DataFrame, view: View) -> dict[str, Any]:
    table, gain = known.frontier(main, view.measure, view.performance), METRICS[view.performance].title.lower()
    words = band.Words(
        gap=lambda value: f"{100 * value:.1f} points",
        result=lambda point: f"{gain} {percent(point.test_performance)}, gap {100 * point.test_gap:.1f} points",
        trivial="nearly one decision for everyone",
        epsilon=lambda value: f"{value:g}",
    )
    return band.payload(
        main, figure, points, table["validation_gap"], lambda epsilon: sweep.operating_point(table, epsilon), words,
        EPSILONS, view.epsilon_position,
    )  # fmt: skip


# ------------------------------------------------------------------------------------- one position of the slider


def _before(main: Evidence, anchor: Untreated, position: int) -> known.Tensors:
    """The untreated models on the same people, and of the same seeds, as those shown at this position."""
    stage, shown = main.stage(position), main.at(position)
    return {seed: C for seed, C in anchor.tensors[stage].items() if seed in shown} if stage else {}


def _sentence(main: Evidence, anchor: Untreated, view: View, position: int) -> str:
    lam, stage, after = main.values[position], main.stage(position), main.at(position)
    if stage is None:
        return f"{main.symbol} = {lam:g} has not been trained yet."
    before = _before(main, anchor, position)
    if not before:
        gap, gain = known.point(after, view.measure, view.performance)
        name, other = METRICS[view.performance].title.lower(), METRICS[view.measure].title.lower()
        return (
            f"At {main.symbol} = {lam:g} the {name} is {percent(gain)} and the {other} {100 * gap:.1f} points "
            f"({SPLITS[stage]}); the untreated model to compare with is still to come."
        )
    return known.sentence(
        dict(before), dict(after), lam=lam, groups=list(main.groups), fairness=view.measure,
        performance=view.performance, split=SPLITS[stage], positive=view.positive, symbol=main.symbol,
    )  # fmt: skip


def _people(main: Evidence, anchor: Untreated, view: View) -> explorer.Block:
    frames = []
    for i in range(len(main.values)):
        after, before = main.at(i), _before(main, anchor, i)
        now = _per_thousand(after, view.positive) if after else np.empty(0)
        then: Sequence[Any] = _per_thousand(before, view.positive).tolist() if before else [None] * len(now)
        rows = zip(main.groups, then, now, strict=True) if after else []
        frames.append([{"group": g, "before": a, "now": b} for g, a, b in rows if np.isfinite(b)])
    heading = f"Of 1,000 people per group, {view.favourable}: untreated → now"
    return explorer.people("people", frames, heading=heading, colour=palette.method_colour(main.index), area="right")


def _per_thousand(tensors: known.Tensors, positive: int) -> np.ndarray:
    """(G,): favourable decisions per 1,000 people of each group, mean over seeds."""
    return 1000 * metrics.group_rates(known.mean_counts(tensors), positive)["selection_rate"]


def _accuracy(main: Evidence, anchor: Untreated) -> explorer.Block:
    tables = [_group_table(main, anchor, i) for i in range(len(main.values))]
    empty = pd.DataFrame({"group": main.groups, "value": np.nan, "low": np.nan, "high": np.nan, "before": np.nan})
    drawn = next((t for t in tables if t is not None), empty)
    figure = figures.group_accuracy(drawn, colour=palette.method_colour(main.index))
    before, now, label = (explorer.trace_index(figure, meta) for meta in ("before", "now", "label"))
    bars = figure.data[now].error_x.to_plotly_json()
    frames: list[dict[int, dict[str, Any]]] = []
    for told in tables:
        table = empty if told is None else told
        value, low, high = (table[c].to_numpy(dtype=float) for c in ("value", "low", "high"))
        frames.append(
            {
                before: {"x": table["before"].to_numpy(dtype=float)},
                now: {"x": value, "error_x": {**bars, "array": high - value, "arrayminus": value - low}},
                label: {"text": [percent(v) for v in value]},
            }
        )
    return explorer.chart(
        "accuracy", figure, alt="Accuracy per group with 95 % intervals; grey: the untreated model.", area="right",
        height=46 + 34 * max(len(main.groups), 2), frames=frames,
        heading="Accuracy per group (95 % interval; grey: untreated)",
    )  # fmt: skip


def _group_table(main: Evidence, anchor: Untreated, position: int) -> pd.DataFrame | None:
    after, before = main.at(position), _before(main, anchor, position)
    if not after:
        return None
    C = known.mean_counts(after)
    right, n = np.trace(C, axis1=-2, axis2=-1), C.sum((-2, -1))
    low, high = metrics.wilson(right, n)
    then = metrics.group_rates(known.mean_counts(before))["accuracy"] if before else np.full(len(C), np.nan)
    small = (C.sum(-1) < metrics.SMALL).any(-1)
    names = [f"{g} (few)" if few else g for g, few in zip(main.groups, small, strict=True)]
    return pd.DataFrame({"group": names, "value": right / n, "low": low, "high": high, "before": then})


def _matrices(main: Evidence, anchor: Untreated) -> explorer.Block:
    frames = []
    for i in range(len(main.values)):
        after, before = main.at(i), _before(main, anchor, i)
        told = _shares(known.mean_counts(after)) if after else None
        frames.append([] if told is None else _tables(main, known.mean_counts(after), told, before))
    heading = "Confusion matrices: share of the true class in %, people, change from untreated in points"
    return explorer.matrices("matrices", frames, heading=heading, classes=main.classes, area=_place(main))


def _place(main: Evidence) -> str:
    """Beside the chart while the tables fit there, else under everything."""
    return "right" if len(main.groups) <= 3 and len(main.classes) <= 3 else "bottom"


def _shares(C: Counts) -> Counts:
    rows = C.sum(-1, keepdims=True)
    return np.asarray(C / np.where(rows > 0, rows, np.nan))


def _tables(main: Evidence, C: Counts, shares: Counts, before: Mapping[int, Counts]) -> list[dict[str, Any]]:
    changes = shares - _shares(known.mean_counts(before)) if before else np.full(shares.shape, np.nan)
    tables = [
        {"title": f"{g} · {C[k].sum():,.0f} people", "kind": "counts", "counts": C[k].ravel(),
         "shares": shares[k].ravel(), "changes": changes[k].ravel()}
        for k, g in enumerate(main.groups)
    ]  # fmt: skip
    if len(main.groups) == 2:
        gap = (shares[0] - shares[1]).ravel()
        title = f"{main.groups[0]} minus {main.groups[1]}"
        tables.append({"title": title, "kind": "difference", "counts": [], "shares": gap, "changes": []})
    return tables


def _flags(main: Evidence, position: int) -> str:
    """What a reader must know about the numbers at this position, in words."""
    after = main.at(position)
    if not after:
        return ""
    found = metrics.flags(np.round(known.mean_counts(after)).astype(np.int64), main.groups, main.classes)
    small = [flag.partition(":")[2].rpartition(",") for flag in found if flag.startswith("small_group:")]
    told = [metrics.explain(flag) for flag in found if not flag.startswith("small_group:")]
    for label in dict.fromkeys(cell[2] for cell in small):
        names = ", ".join(cell[0] for cell in small if cell[2] == label)
        told.append(
            f"Fewer than {metrics.SMALL} people have the true class {label} in: {names}. Read their rates as rough."
        )
    return " ".join(told)
