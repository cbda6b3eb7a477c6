"""Figures of what a treatment did: who gained and who lost, weights moved, and the trials of a search. DataFrame ->
plotly Figure, under the rules of figures.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fairness_core import palette
from fairness_core.data_figures import axis_title, error_bars, left_margin, names_axis
from fairness_core.figures import BETTER, GRID, PERCENT, axis_range, base_layout, plain, rgba

PALE = 0.3
SEEN = 0.55  # opacity of a trial that was not kept
LEAST = 0.35  # of the longer side is the shorter one of the chart of flips, for its words


def flipped(bars: pd.DataFrame, *, positive: str) -> go.Figure:
    """Who gained (to the right) and who lost (to the left) the favourable decision, and the net change.

    bars: group, n, gained_deserving, gained_undeserving, lost_deserving, lost_undeserving, gained, gained_low,
    gained_high, lost, lost_low, lost_high, change, change_low, change_high; all per 1,000 people of the group. Filled:
    people whose true class is `positive`; hatched: the others. The diamond is the net change with its paired interval.
    """
    groups = bars["group"].astype(str).tolist()
    places = np.arange(len(groups))
    colours = [palette.group_colour(i) for i in range(len(groups))]
    figure = go.Figure()
    for sign, way in ((1, "gained"), (-1, "lost")):
        for kind in ("deserving", "undeserving"):
            share = bars[f"{way}_{kind}"].to_numpy(dtype=float)
            figure.add_bar(
                x=sign * share, y=places, orientation="h", width=0.5, meta=f"{way}_{kind}", hoverinfo="text",
                hovertext=_told_flips(bars, way, kind, positive), marker=_filling(colours, kind == "deserving"),
            )  # fmt: skip
        total, low, high = (bars[f"{way}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        ends = error_bars(total, low, high) if sign > 0 else error_bars(-total, -high, -low)
        figure.add_scatter(
            x=sign * total, y=places, mode="markers", meta=way, hoverinfo="skip", error_x=ends,
            marker={"size": 1, "color": palette.INK}, cliponaxis=False,
        )  # fmt: skip
        figure.add_scatter(
            x=sign * high, y=places, mode="text", meta=f"{way}_label", hoverinfo="skip", cliponaxis=False,
            text=[f" {_whole(sign * v)} " if np.isfinite(v) else "" for v in total],
            textposition="middle right" if sign > 0 else "middle left",
        )  # fmt: skip
    _draw_net(figure, bars, places)
    figure.update_layout(base_layout(barmode="relative", bargap=0.3))
    left = names_axis(figure, [f"{g} (n = {n:,.0f})" for g, n in zip(groups, bars["n"], strict=True)])
    figure.update_layout(margin={"l": left, "r": 26, "t": 26, "b": 46})
    _two_sides(figure, bars)
    return figure


def _two_sides(figure: go.Figure, bars: pd.DataFrame) -> None:
    """The axis of losses and gains, each side as long as it has to be, with its name."""
    lost, gained = (_reach(bars, way) for way in ("lost", "gained"))
    figure.update_xaxes(
        title=axis_title("people per 1,000 of the group"), gridcolor=GRID, nticks=6, tickangle=0, tickformat=",~f",
        range=[-max(lost, LEAST * gained), max(gained, LEAST * lost)],
        zeroline=True, zerolinecolor=palette.INK, zerolinewidth=1.5,
    )  # fmt: skip
    for text, x, anchor in (("◀ lost it", 0, "left"), ("gained it ▶", 1, "right")):
        figure.add_annotation(
            text=text, xref="paper", yref="paper", x=x, y=1, xanchor=anchor, yanchor="bottom", yshift=4,
            showarrow=False, font={"size": 12, "color": palette.UNTREATED},
        )  # fmt: skip


def _reach(bars: pd.DataFrame, way: str) -> float:
    """How far the axis goes to this side, with room for a label."""
    return 1.35 * float(np.nanmax(bars[f"{way}_high"].to_numpy(dtype=float), initial=4.0))


def _whole(value: float) -> str:
    """A rounded number with its sign; nothing but zero is "0"."""
    rounded = round(value)
    return f"{rounded:+d}".replace("-", "\N{MINUS SIGN}") if rounded else "0"


def _filling(colours: list[str], filled: bool) -> dict[str, Any]:
    if filled:
        return {"color": colours, "line": {"width": 0}}
    pale = [rgba(c, PALE) for c in colours]
    hatch = {"shape": "/", "fgcolor": colours, "bgcolor": pale, "size": 6, "solidity": 0.25, "fillmode": "replace"}
    return {"color": pale, "line": {"width": 1, "color": colours}, "pattern": hatch}


def _draw_net(figure: go.Figure, bars: pd.DataFrame, places: np.ndarray) -> None:
    change, low, high = (bars[f"change{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
    figure.add_scatter(
        x=change, y=places + 0.38, mode="markers", meta="change", error_x=error_bars(change, low, high),
        marker={"symbol": "diamond", "size": 9, "color": palette.INK}, cliponaxis=False, hoverinfo="text",
        hovertext=[f"net change {c:+.1f} per 1,000 ({a:+.1f} to {b:+.1f})" for c, a, b in
                   zip(change, low, high, strict=True)],
    )  # fmt: skip


def _told_flips(bars: pd.DataFrame, way: str, kind: str, positive: str) -> list[str]:
    truth = plain(positive) if kind == "deserving" else f"not {plain(positive)}"
    return [
        f"<b>{plain(row['group'])}</b>, {truth}<br>{row[f'{way}_{kind}']:.1f} per 1,000 {way} the favourable decision"
        f"<br>{way} in all: {row[way]:.1f} ({row[f'{way}_low']:.1f} to {row[f'{way}_high']:.1f})"
        for row in bars.to_dict("records")
    ]


def weights_moved(table: pd.DataFrame, *, colour: str) -> go.Figure:
    """How far every parameter tensor moved, as a share of its size; one bar per tensor from input to output.

    table: parameter, moved (||after - before|| / ||before||).
    """
    names, moved = table["parameter"].astype(str).tolist(), table["moved"].to_numpy(dtype=float)
    figure = go.Figure()
    figure.add_bar(
        x=moved, y=np.arange(len(names)), orientation="h", width=0.62, meta="moved", marker={"color": colour},
        text=[f" {m:.1%}" for m in moved], textposition="outside", cliponaxis=False, hoverinfo="text",
        hovertext=[f"{plain(n)}: moved by {m:.2%} of its norm" for n, m in zip(names, moved, strict=True)],
    )  # fmt: skip
    figure.update_layout(base_layout())
    left = names_axis(figure, names) if names else left_margin(names)[0]
    figure.update_layout(margin={"l": left, "r": 58, "t": 4, "b": 46})
    figure.update_xaxes(
        title=axis_title("length of the change / length of the weights"), tickformat=PERCENT, nticks=6,
        range=[0, 1.05 * max(float(np.nanmax(moved, initial=0.0)), 1e-3)],
    )  # fmt: skip
    return figure


def trials(points: pd.DataFrame, *, epsilon: float, gap_title: str, colour: str, marker: str = "circle") -> go.Figure:
    """Every trial of a search as a point in (|μ|, ρ) on validation rows, the feasible band shaded.

    points: kind ("trial", "first", "kept" or "before"), gap, gain, trivial, hover. Filled: under ε; hollow: not;
    crossed: nearly one decision for everyone. "first": the weights it came with; "kept": ringed; "before": grey.
    """
    figure = go.Figure()
    own = points[points["kind"] == "trial"]
    gap = own["gap"].to_numpy(dtype=float)
    shapes = [
        "x-thin-open" if trivial else marker + "-open" * bool(g >= epsilon)
        for g, trivial in zip(gap, own["trivial"].to_numpy(dtype=bool), strict=True)
    ]
    figure.add_scatter(
        x=gap, y=own["gain"].to_numpy(dtype=float), mode="markers", meta="trials", hoverinfo="text",
        hovertext=own["hover"].tolist(),
        marker={"symbol": shapes, "size": 8, "color": colour, "opacity": SEEN, "line": {"color": colour, "width": 1.5}},
    )  # fmt: skip
    near = points[points["kind"] != "before"]
    x_range = (-0.008, axis_range([*near["gap"].astype(float), epsilon])[1])
    y_range = axis_range(near["gain"].astype(float), margin=0.15)
    for kind, name, mark in (
        ("first", "weights as they came", {"symbol": "diamond", "size": 10, "color": palette.UNTREATED}),
        ("before", "before", {"symbol": "diamond-open", "size": 11, "color": palette.UNTREATED, "line": {"width": 2}}),
        ("kept", "kept", {"symbol": "circle-open", "size": 19, "color": colour, "line": {"width": 3}}),
    ):
        own = points[points["kind"] == kind]
        inside = own["gap"].between(*x_range) & own["gain"].between(*y_range)
        _mark(figure, own[inside], kind, name, mark, middle=sum(x_range) / 2)
    layout = base_layout(hovermode="closest", margin={"l": 56, "r": 16, "t": 26, "b": 44})
    layout["xaxis"] |= {"title": axis_title(gap_title), "range": list(x_range), "tickformat": PERCENT}
    layout["yaxis"] |= {"title": axis_title("balanced accuracy ρ"), "tickformat": PERCENT,
                        "range": list(y_range)}  # fmt: skip
    layout["shapes"] = [_band(epsilon)]
    figure.update_layout(layout)
    figure.add_annotation(BETTER)
    _tell_outside(figure, points[points["kind"] == "before"], x_range, y_range)
    return figure


def _tell_outside(
    figure: go.Figure, before: pd.DataFrame, x_range: tuple[float, float], y_range: tuple[float, float]
) -> None:
    """Words where the model before lies too far off to be drawn without crushing the trials."""
    for gap, gain in zip(before["gap"], before["gain"], strict=True):
        if np.isfinite(gap + gain) and not (x_range[0] <= gap <= x_range[1] and y_range[0] <= gain <= y_range[1]):
            figure.add_annotation(
                text=f"before: gap {gap:.1%}, ρ {gain:.1%} (outside)", xref="paper", yref="paper", x=1, y=1,
                xanchor="right", yanchor="bottom", yshift=4, showarrow=False,
                font={"size": 12, "color": palette.UNTREATED},
            )  # fmt: skip


def _band(epsilon: float) -> dict[str, Any]:
    return {
        "name": "band", "type": "rect", "xref": "x", "yref": "paper", "layer": "below", "x0": -1, "x1": epsilon,
        "y0": 0, "y1": 1, "fillcolor": rgba(palette.FEASIBLE, 0.09),
        "line": {"width": 1, "dash": "dot", "color": rgba(palette.FEASIBLE, 0.55)},
    }  # fmt: skip


def _mark(figure: go.Figure, own: pd.DataFrame, kind: str, name: str, mark: Mapping[str, Any], middle: float) -> None:
    """One special point with its name, on the side where there is room."""
    figure.add_scatter(
        x=own["gap"].to_numpy(dtype=float), y=own["gain"].to_numpy(dtype=float), mode="markers", meta=kind,
        marker=dict(mark), hovertext=own["hover"].tolist(), hoverinfo="text",
    )  # fmt: skip
    for x, y in zip(own["gap"], own["gain"], strict=True):
        if np.isfinite(x) and np.isfinite(y):
            side = "right" if x > middle else "left"
            beside = {"xanchor": side, "xshift": -9 if side == "right" else 9}
            figure.add_annotation(
                x=float(x), y=float(y), text=name, showarrow=False, font={"size": 12, "color": mark["color"]},
                bgcolor=rgba(palette.LIGHT_BACKGROUND, 0.7), **({"yshift": 18} if kind == "kept" else beside),
            )  # fmt: skip


def searched(history: pd.DataFrame) -> pd.DataFrame:
    """The trials among a run's events, with best_accuracy and best_gap beside them: those of the trial whose objective
    was the largest until then, of several the first. Empty for a method that tries nothing."""
    if "objective" not in history:
        return pd.DataFrame()
    own = (
        history[history["stage"] == "training"]
        .drop(columns=["confusion", "errors"], errors="ignore")
        .reset_index(drop=True)
    )
    value = own["objective"].fillna(-np.inf).to_numpy(dtype=float)
    before = np.maximum.accumulate(np.append(-np.inf, value))[:-1]
    at = np.maximum.accumulate(np.where(value > before, np.arange(len(value)), 0))
    best = {f"best_{to}": own[of].to_numpy()[at] for to, of in (("accuracy", "balanced_accuracy"), ("gap", "gap"))}
    return own.assign(**best)


def cloud(tried: pd.DataFrame, *, before: tuple[float, float], kept: tuple[float, float]) -> pd.DataFrame:
    """The points that `trials` draws. tried: from `searched`, the first of them the weights as they came; before, kept:
    (gap, balanced accuracy) of the decisions before and after."""
    points = tried[["gap", "balanced_accuracy", "tau", "trivial"]].assign(kind="trial")
    points.loc[points.index[:1], "kind"] = "first"
    names = ["weights as they came", *(f"trial {k}" for k in range(2, len(points) + 1))]
    ends = pd.DataFrame([("before", *before), ("kept", *kept)], columns=["kind", "gap", "balanced_accuracy"])
    made = pd.concat([points, ends], ignore_index=True).rename(columns={"balanced_accuracy": "gain"})
    made["hover"] = [
        f"<b>{name}</b><br>balanced accuracy {gain:.1%}<br>gap {gap:.1%}" + (f"<br>τ = {tau:.3f}" if tau == tau else "")
        for name, gain, gap, tau in zip([*names, *ends["kind"]], made["gain"], made["gap"], made["tau"], strict=True)
    ]
    return made.assign(trivial=made["trivial"].fillna(0) > 0).drop(columns="tau")


def search(
    curves: pd.DataFrame, *, epsilon: float, gap_title: str, gauges: Mapping[str, str], colour: str, of: int | None
) -> go.Figure:
    """How a search got on: the best so far as a line and every trial as a dot; balanced accuracy above, the gap with
    its band below, the method's own gauges under them.

    curves: step, balanced_accuracy, gap, best_accuracy, best_gap, and one column per gauge. of: the last step.
    """
    panels = 2 + bool(gauges)
    figure = make_subplots(rows=panels, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    step = curves["step"].to_numpy(dtype=float)
    for row, (each, best, title) in enumerate(
        (("balanced_accuracy", "best_accuracy", "balanced accuracy ρ"), ("gap", "best_gap", gap_title)), 1
    ):
        figure.add_scatter(
            x=step, y=curves[each].to_numpy(dtype=float), mode="markers", meta=each, row=row, col=1, name="this trial",
            marker={"size": 6, "color": rgba(colour, SEEN)}, hovertemplate="%{y:.1%}",
        )  # fmt: skip
        figure.add_scatter(
            x=step, y=curves[best].to_numpy(dtype=float), mode="lines", meta=best, row=row, col=1, name="best so far",
            line={"color": colour, "width": 2, "shape": "hv"}, hovertemplate="%{y:.1%}",
        )  # fmt: skip
        figure.update_yaxes(title=axis_title(title), tickformat=PERCENT, row=row, col=1)
    figure.add_hline(y=epsilon, row=2, col=1, line={"color": palette.FEASIBLE, "dash": "dot", "width": 1.5})
    _draw_gauges(figure, curves, gauges)
    figure.update_layout(base_layout(hovermode="x unified", margin={"l": 62, "r": 16, "t": 24, "b": 40}))
    figure.update_xaxes(gridcolor=GRID, zeroline=False, range=[0, of] if of else None)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, nticks=5)
    figure.update_yaxes(rangemode="tozero", row=2, col=1)
    figure.update_xaxes(title=axis_title("trial"), row=panels, col=1)
    figure.add_annotation(
        text="line: best so far by the method's objective; dots: single trials; dotted: ε", xref="paper", yref="paper",
        x=0, y=1, xanchor="left", yanchor="bottom", showarrow=False, font={"size": 12, "color": palette.UNTREATED},
    )  # fmt: skip
    return figure


def _draw_gauges(figure: go.Figure, curves: pd.DataFrame, gauges: Mapping[str, str]) -> None:
    shift = 0.0
    for number, (column, name) in enumerate(gauges.items(), 1):
        colour = palette.UNTREATED if column == "chance" else palette.method_colour(number)
        known = column in curves
        figure.add_scatter(
            x=curves["step"].to_numpy(dtype=float) if known else [], y=curves[column].to_numpy(dtype=float) if known
            else [], mode="lines", name=name, meta=column, row=3, col=1, hovertemplate="%{y:.3f}",
            line={"color": colour, "width": 2, "dash": palette.method_dash(number)},
        )  # fmt: skip
        figure.add_annotation(
            text=name, xref="paper", yref="y3 domain", x=0, y=1, xanchor="left", yanchor="bottom", xshift=shift,
            showarrow=False, font={"size": 12, "color": colour},
        )  # fmt: skip
        shift += 6.6 * len(name) + 16
    if gauges:
        figure.update_yaxes(title=axis_title("gauge"), row=3, col=1)
