"""Figures of what AEDA did (arXiv 2007.13632, figures 4, 10 and 11): DataFrame -> plotly Figure, under the rules of
figures.py.

curves, wherever it is asked for, holds one row per run and look: series (the run), title, colour, dash, marker, epoch,
phase (another one is another model: the line breaks) and one column per quantity. A run has one colour, dash and
marker, whichever figure it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fairness_core import palette
from fairness_core.data_figures import LETTER, axis_title, cut, error_bars, names_axis
from fairness_core.figures import GRID, PERCENT, axis_range, base_layout, plain, rgba

APART = 15.0  # pixels between the names of two lines
LEAST_FILLED = 0.5  # attack success under which twins are little more than copies
TOP = 1.04  # of an axis of shares, so that a line at 100 % is seen whole
SHORT = 26  # letters of a line's name
BARS = 12


def shares(
    curves: pd.DataFrame, panels: Mapping[str, str], *, last: float, first: float = 0.0, height: int = 380
) -> go.Figure:
    """One panel per column of `panels` (column: name), shares from 0 to 1 over the epochs; the first panel marks a
    half. first, last: the ends of the axis of epochs; before 0 other networks are trained."""
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for row, (column, name) in enumerate(panels.items(), 1):
        _draw_lines(figure, curves, column, name, ".1%", row=row, col=1)
        figure.update_yaxes(title=axis_title(name), range=[0, TOP], tickformat=".0%", nticks=5, row=row, col=1)
    _finish(figure, curves, (first, last), rows=len(panels))
    _name_lines(figure, curves, next(iter(panels)), (0, TOP), (height - 60) / len(panels))
    half = {"color": palette.UNTREATED, "dash": "dot", "width": 1.5}
    figure.add_hline(y=LEAST_FILLED, row=1, col=1, line=half)
    return figure


def over_epochs(
    curves: pd.DataFrame,
    column: str,
    *,
    name: str,
    last: float,
    chance: float = np.nan,
    share: bool = True,
    first: float = 0.0,
    height: int = 300,
) -> go.Figure:
    """One quantity over the epochs, a line per run; share: it runs from 0 to 1. chance: a dotted line with its name."""
    figure = go.Figure()
    _draw_lines(figure, curves, column, name, ".1%" if share else ".3f")
    known = curves[column].dropna().to_numpy(dtype=float)
    top = TOP if share else axis_range([0.0, *known], step=0.2)[1]
    figure.update_yaxes(title=axis_title(name), range=[0, top], tickformat=PERCENT if share else None, nticks=6)
    _finish(figure, curves, (first, last))
    marks = {}
    if np.isfinite(chance):
        figure.add_hline(y=chance, line={"color": palette.UNTREATED, "dash": "dot", "width": 1.5})
        marks = {f"chance {chance:.0%}": chance}
    _name_lines(figure, curves, column, (0, top), height - 60, marks)
    return figure


def bias_and_transfer(curves: pd.DataFrame, *, last: float, first: float = 0.0) -> go.Figure:
    """Bias in points (bias_mean, thick lines, filled markers, left axis) and r (transferability, thin lines, open
    markers, right axis) of every run."""
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    points = curves.assign(points=100 * curves["bias_mean"].astype(float))
    _draw_lines(figure, points, "points", "bias (points)", ".1f", secondary_y=False)
    _draw_lines(figure, curves, "transferability", "r", ".1%", thin=True, secondary_y=True)
    top = axis_range([0.0, *points["points"].to_numpy(float)], step=10.0)[1]
    quarters = {"tickmode": "array", "tickvals": [0, 0.25, 0.5, 0.75, 1], "tickformat": ".0%", "showgrid": False}
    figure.update_yaxes(title=axis_title("bias (points), thick"), range=[0, TOP * top], secondary_y=False, nticks=6)
    figure.update_yaxes(title=axis_title("r, thin and open"), range=[0, TOP], secondary_y=True, **quarters)
    _finish(figure, curves, (first, last))
    if curves["series"].nunique() > 1:
        _key(figure, curves, above=17 if first < 0 else 0)
    figure.update_layout(margin={"r": 62, "t": 40 if first < 0 else 24})
    return figure


def _draw_lines(
    figure: go.Figure, curves: pd.DataFrame, column: str, name: str, shape: str, *, thin: bool = False, **place: Any
) -> None:
    if curves.empty:  # without a trace plotly would leave out the axes, and they would appear later
        figure.add_scatter(x=[], y=[], meta=column, **place)
    for series, own in curves.groupby("series", sort=False):
        colour, marker, dash = (str(own[c].iloc[0]) for c in ("colour", "marker", "dash"))
        title = plain(own["title"].iloc[0])
        epoch, value = _broken(own, column)
        figure.add_scatter(
            x=epoch, y=value, mode="lines+markers", name=title, meta=f"{column}:{series}", cliponaxis=False,
            line={"color": rgba(colour, 0.6) if thin else colour, "width": 1.2 if thin else 2.4, "dash": dash},
            marker={"symbol": f"{marker}-open" if thin else marker, "size": 7, "color": colour},
            hovertext=[f"<b>{title}</b><br>epoch {e:.2f}<br>{name}: {v:{shape}}" for e, v in
                       zip(epoch, value, strict=True)],
            hoverinfo="text", **place,
        )  # fmt: skip


def _broken(own: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values of one run, with a gap before the first look at another model."""
    known = own[own[column].notna()]
    epoch, value, phase = (known[c].to_numpy(dtype=float) for c in ("epoch", column, "phase"))
    breaks = np.flatnonzero(np.diff(phase)) + 1
    return np.insert(epoch, breaks, np.nan), np.insert(value, breaks, np.nan)


def _finish(figure: go.Figure, curves: pd.DataFrame, ends: tuple[float, float], *, rows: int = 1) -> None:
    """The look all share, one axis of epochs that stands still, and where the model's own training begins."""
    figure.update_layout(base_layout(hovermode="closest", margin={"l": 62, "r": 18, "t": 20, "b": 46}))
    room = 0.01 * (ends[1] - ends[0])
    figure.update_xaxes(gridcolor=GRID, zeroline=False, range=[ends[0] - room, ends[1] + room], nticks=9)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    where: dict[str, Any] = {} if rows == 1 else {"row": rows, "col": 1}
    figure.update_xaxes(title=axis_title("epoch"), **where)
    if ends[0] < 0:
        figure.add_vline(x=0, line={"color": palette.UNTREATED, "dash": "dash", "width": 1.5})
        _note(figure, "← pre: its judges learn", x=0, xanchor="right", xshift=-4)
        _note(figure, "twins made, the model starts →", x=0, xanchor="left", xshift=4)
    if curves.empty or not curves["epoch"].notna().any():
        figure.update_xaxes(showticklabels=False)


def _note(figure: go.Figure, text: str, **place: Any) -> None:
    figure.add_annotation(
        text=text, xref="x", y=1, yref="paper", yanchor="bottom", showarrow=False,
        font={"size": 12, "color": palette.UNTREATED}, **place,
    )  # fmt: skip


def _name_lines(
    figure: go.Figure,
    curves: pd.DataFrame,
    column: str,
    span: tuple[float, float],
    pixels: float,
    marks: Mapping[str, float] | None = None,
) -> None:
    """The runs' names to the right of where their lines end, and those of `marks` (name: value), moved apart until none
    covers another. A run that is alone needs no name."""
    ends = [(value, name, palette.UNTREATED) for name, value in (marks or {}).items()]
    for _, own in curves.groupby("series", sort=False):
        known = own[column].dropna()
        if len(known) and curves["series"].nunique() > 1:
            ends.append((float(known.iloc[-1]), cut(str(own["title"].iloc[0]), SHORT), str(own["colour"].iloc[0])))
    if not ends:
        return
    ends.sort(key=lambda end: -end[0])
    wanted = [pixels * (span[1] - value) / (span[1] - span[0]) for value, _, _ in ends]
    for at, (value, name, colour), placed in zip(wanted, ends, spread(wanted, pixels), strict=True):
        figure.add_annotation(
            text=plain(name), x=1, xref="paper", y=value, yref="y", yshift=at - placed, xanchor="left", xshift=8,
            showarrow=False, font={"size": 12, "color": colour},
        )  # fmt: skip
    figure.update_layout(margin={"r": 18 + LETTER * max(len(name) for _, name, _ in ends)})


def spread(wanted: Sequence[float], pixels: float) -> list[float]:
    """Places from top to bottom, at least APART from each other and as near to the wanted ones as one pass down and one
    pass up get; wanted: ascending pixels from the top."""
    places: list[float] = []
    for at in wanted:
        places.append(max(at, places[-1] + APART) if places else at)
    bottom = max(pixels, APART * (len(places) - 1))
    for k in range(len(places) - 1, -1, -1):
        places[k] = min(places[k], bottom)
        bottom = places[k] - APART
    return places


def _key(figure: go.Figure, curves: pd.DataFrame, above: float) -> None:
    """Who is who, above the chart (by so many pixels) where both ends of the lines are taken by axes."""
    shift = 0.0
    for _, own in curves.groupby("series", sort=False):
        name = cut(str(own["title"].iloc[0]), SHORT)
        figure.add_annotation(
            text=plain(name), x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom", xshift=shift,
            yshift=above, showarrow=False, font={"size": 12, "color": str(own["colour"].iloc[0])},
        )  # fmt: skip
        shift += LETTER * len(name) + 18


# ------------------------------------------------------------------------------------------- columns and attributes


def moved_columns(table: pd.DataFrame, *, colour: str, most: int = BARS) -> go.Figure:
    """Mean change of the columns that were moved most, as bars. table: column, moved; most moved first."""
    own = table.head(most)
    names, moved = own["column"].astype(str).tolist(), own["moved"].to_numpy(dtype=float)
    figure = go.Figure()
    figure.add_bar(
        x=moved, y=np.arange(len(own)), orientation="h", width=0.62, meta="moved", marker={"color": colour},
        hovertext=[f"<b>{plain(n)}</b><br>{v:.3f}" for n, v in zip(names, moved, strict=True)], hoverinfo="text",
        text=[f" {v:.2f}" for v in moved], textposition="outside", cliponaxis=False,
    )  # fmt: skip
    figure.update_layout(base_layout())
    left = names_axis(figure, names)
    figure.update_layout(margin={"l": left, "r": 40, "t": 6, "b": 46})
    top = 1.12 * max(float(moved.max(initial=0.0)), 0.01)
    figure.update_xaxes(title=axis_title("mean |change| (training standard deviations)"), range=[0, top], nticks=6)
    return figure


def by_attribute(table: pd.DataFrame, *, colour: str, group: str) -> go.Figure:
    """Bias and group-balanced accuracy of every attribute, the untreated model grey (figure 10c); a row per attribute.

    table: attribute, share (of `group` among the training rows that have it) and, for "bias" and "bacc", the value of
    this run, its _low and _high, and the untreated model's under "before_"; NaN where there is none.
    """
    names = [
        f"{cut(str(a).replace('_', ' '))} ({s:.0%} {cut(group, 12)})"
        for a, s in zip(table["attribute"], table["share"], strict=True)
    ]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    places = np.arange(len(table))
    titles = {"bias": "bias (points)", "bacc": "bACC (%)"}
    for col, (column, title) in enumerate(titles.items(), 1):
        for who, paint, symbol, shift in (
            ("before_", palette.UNTREATED, "diamond", 0.16),
            ("", colour, "circle", -0.16),
        ):
            value, low, high = (100 * table[f"{who}{column}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
            called = "untreated" if who else "this run"
            figure.add_scatter(
                x=value, y=places + shift, mode="markers", meta=f"{who}{column}", row=1, col=col, hoverinfo="text",
                marker={"size": 9, "color": paint, "symbol": symbol}, error_x=error_bars(value, low, high),
                cliponaxis=False,
                hovertext=[f"<b>{plain(n)}</b><br>{called}, {title}: {v:.1f} ({lo:.1f} to {hi:.1f})" for n, v, lo, hi in
                           zip(names, value, low, high, strict=True)],
            )  # fmt: skip
        figure.update_xaxes(title=axis_title(title), gridcolor=GRID, zeroline=False, nticks=7, row=1, col=col)
    figure.update_layout(base_layout(hovermode="closest"))
    left = names_axis(figure, names)
    figure.update_layout(margin={"l": left, "r": 24, "t": 28, "b": 46})
    known = table["before_bias"].notna().any()
    for text, paint, shift in (("● this run", colour, 0), ("◆ untreated", palette.UNTREATED, 84))[: 2 if known else 1]:
        figure.add_annotation(
            text=text, x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom", xshift=shift,
            showarrow=False, font={"size": 12, "color": paint},
        )  # fmt: skip
    return figure
