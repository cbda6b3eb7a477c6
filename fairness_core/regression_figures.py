"""Figures of a regression: errors by bin of the true value and group. DataFrame -> plotly Figure, under the rules of
figures.py."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fairness_core import palette
from fairness_core.data_figures import axis_title, error_bars, group_marker, left_margin, name_groups
from fairness_core.figures import GRID, SEED_ALPHA, base_layout, plain, rgba

ROW, AROUND = 17, 16  # pixels of a group in a bin, and between bins
UNIT, LINE = 18, 17  # characters of a unit on one line under a panel, and pixels of a further line
FRAME = 128  # pixels of the groups' names above and the axis below
HALF = 0.36  # how far from the middle of its bin a group can stand
PANELS = (("mean_error", "signed mean error"), ("absolute_error", "mean absolute error"))


def errors_height(cells: pd.DataFrame) -> int:
    """How many pixels the chart of these cells needs."""
    groups, bins = cells["group"].nunique(), cells["bin"].nunique()
    return int(FRAME + 17 * (groups // 3) + bins * (ROW * groups + AROUND))


def errors_by_bin(
    cells: pd.DataFrame, *, unit: str, before: pd.DataFrame | None = None, among: pd.DataFrame | None = None
) -> go.Figure:
    """Left the signed mean error, right the mean absolute error of every (bin, group) cell with its interval; a row of
    the chart is a bin, a colour and marker a group, hollow where a cell has few rows.

    cells: bin, group, n, small, mean_error, mean_error_low, mean_error_high, absolute_error, absolute_error_low,
    absolute_error_high; bins and groups in order. before: the same of the untreated model, drawn as grey crosses.
    among: all cells that may stand here, so that the axes hold still.
    """
    groups, bins = (list(dict.fromkeys(cells[c].astype(str))) for c in ("group", "bin"))
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    shifts = np.linspace(-HALF, HALF, len(groups) + 2)[1:-1]
    for i, group in enumerate(groups):
        own = cells[cells["group"].astype(str) == group]
        if before is not None:
            _draw_before(figure, before[before["group"].astype(str) == group], shifts[i])
        _draw_group(figure, own, i, np.arange(len(own)) + shifts[i], unit)
    figure.update_layout(base_layout(hovermode="closest"))
    left, short = left_margin(bins)
    counted = textwrap.wrap(unit, UNIT)
    bottom = 62 + LINE * (len(counted) - 1)
    figure.update_layout(margin={"l": left, "r": 66, "t": name_groups(figure, groups), "b": bottom})
    figure.update_yaxes(
        tickvals=np.arange(len(bins)), ticktext=[plain(name) for name in short], range=[len(bins) - 0.5, -0.5],
        showgrid=False, zeroline=False, fixedrange=True,
    )  # fmt: skip
    _separate(figure, len(bins))
    for column, (name, title) in enumerate(PANELS, 1):
        figure.update_xaxes(
            title=axis_title("<br>".join([title, *map(plain, counted)])), gridcolor=GRID, nticks=5, tickangle=0,
            range=_reach(cells if among is None else among, before, name), zeroline=name == "mean_error",
            zerolinecolor=palette.UNTREATED, zerolinewidth=1.5, row=1, col=column,
        )  # fmt: skip
    _count_rows(figure, cells, groups, shifts)
    return figure


def _draw_group(figure: go.Figure, own: pd.DataFrame, index: int, places: np.ndarray, unit: str) -> None:
    colour, marker = palette.group_colour(index), group_marker(index)
    shapes = [f"{marker}-open" if small else marker for small in own["small"]]
    told = [_told(row, unit) for row in own.to_dict("records")]
    name = plain(own["group"].iloc[0])
    for column, (measure, _) in enumerate(PANELS, 1):
        value, low, high = (own[f"{measure}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        figure.add_scatter(
            x=value, y=places, mode="markers", name=name, meta=f"{measure}:{name}", hovertext=told, hoverinfo="text",
            row=1, col=column, marker={"size": 9, "color": colour, "symbol": shapes,
            "line": {"width": 2, "color": colour}},
            error_x={**error_bars(value, low, high), "color": colour},
        )  # fmt: skip


def _draw_before(figure: go.Figure, then: pd.DataFrame, shift: float) -> None:
    for column, (measure, _) in enumerate(PANELS, 1):
        figure.add_scatter(
            x=then[measure].to_numpy(dtype=float), y=np.arange(len(then)) + shift, mode="markers", hoverinfo="skip",
            meta=f"before:{measure}", row=1, col=column, marker={"size": 8, "color": palette.UNTREATED,
            "symbol": "x-thin", "line": {"width": 2, "color": palette.UNTREATED}},
        )  # fmt: skip


def _count_rows(figure: go.Figure, cells: pd.DataFrame, groups: list[str], shifts: np.ndarray) -> None:
    """The rows of every cell at the right edge."""
    for i, group in enumerate(groups):
        for q, n in enumerate(cells.loc[cells["group"].astype(str) == group, "n"]):
            figure.add_annotation(
                text=f"n = {n:,}", xref="paper", yref="y", x=1, y=q + shifts[i], xanchor="left", xshift=4,
                showarrow=False, font={"size": 11, "color": palette.UNTREATED},
            )  # fmt: skip


def _separate(figure: go.Figure, bins: int) -> None:
    for q in range(1, bins):
        figure.add_hline(y=q - 0.5, line={"color": GRID, "width": 1})


def _reach(cells: pd.DataFrame, before: pd.DataFrame | None, name: str) -> list[float]:
    """The range of a panel: every interval, and zero."""
    ends = [cells[f"{name}{end}"].to_numpy(dtype=float) for end in ("_low", "_high", "")]
    values = np.concatenate([*ends, [0.0], [] if before is None else before[name].to_numpy(dtype=float)])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.06 * ((high - low) or 1.0)
    return [low - room if low < 0 else 0.0, high + room]


def _told(row: Mapping[Any, Any], unit: str) -> str:
    few = "<br>few rows: very uncertain" if row["small"] else ""
    return (
        f"<b>{plain(row['group'])}</b>, true value {plain(row['bin'])}, n = {row['n']:,}"
        f"<br>signed mean error {row['mean_error']:+.3g} ({row['mean_error_low']:+.3g} to "
        f"{row['mean_error_high']:+.3g}) {plain(unit)}<br>mean absolute error {row['absolute_error']:.3g} "
        f"({row['absolute_error_low']:.3g} to {row['absolute_error_high']:.3g}) {plain(unit)}{few}"
    )


# ------------------------------------------------------------------------------------------------------------ frontier

BETTER = {
    "text": "◣ better", "xref": "paper", "yref": "paper", "x": 0, "y": 0, "xanchor": "left", "yanchor": "bottom",
    "xshift": 6, "yshift": 4, "showarrow": False, "font": {"color": palette.FEASIBLE, "size": 12},
}  # fmt: skip


def error_frontier(
    points: pd.DataFrame,
    *,
    selected: str,
    anchors: pd.DataFrame,
    seeds: pd.DataFrame,
    gap_title: str,
    error_title: str,
    position: int = 0,
) -> go.Figure:
    """Error against the gap in errors, both better when smaller: the better corner at the lower left.

    points: one row per trade-off value with series, title, index (its place in the palette), position, gap, error,
    gap_low, gap_high, error_low, error_high (spread over seeds), front, trivial, hover. seeds: gap, error of single
    runs. anchors: title, gap, error, hover. position: where the ring stands in the selected series.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=seeds["gap"].to_numpy(dtype=float), y=seeds["error"].to_numpy(dtype=float), mode="markers", meta="seeds",
        hoverinfo="skip", marker={"size": 4, "color": palette.UNTREATED, "opacity": SEED_ALPHA},
    )  # fmt: skip
    for name, group in points.groupby("series", sort=False):
        _draw_front(figure, group, is_selected=name == selected)
    for row in anchors.to_dict("records"):
        figure.add_scatter(
            x=[row["gap"]], y=[row["error"]], mode="markers+text", meta=f"anchor:{row['title']}", text=[row["title"]],
            textposition="top center", textfont={"color": palette.UNTREATED, "size": 12}, hovertext=[row["hover"]],
            hoverinfo="text", marker={"symbol": "diamond", "size": 11, "color": palette.UNTREATED},
        )  # fmt: skip
    own = points[points["series"] == selected]
    at = own[own["position"] == position]
    colour = palette.method_colour(int(own["index"].iloc[0])) if len(own) else palette.INK
    figure.add_scatter(
        x=at["gap"].to_numpy(dtype=float)[:1], y=at["error"].to_numpy(dtype=float)[:1], mode="markers", meta="ring",
        hoverinfo="skip", marker={"symbol": "circle-open", "size": 19, "color": colour, "line": {"width": 3}},
    )  # fmt: skip
    drawn = pd.concat([points[["gap", "error"]], seeds[["gap", "error"]], anchors[["gap", "error"]]]).astype(float)
    figure.update_layout(base_layout(hovermode="closest", margin={"l": 66, "r": 16, "t": 14, "b": 46}))
    figure.update_xaxes(title=axis_title(gap_title), range=_room(drawn["gap"], zero=True), gridcolor=GRID)
    figure.update_yaxes(title=axis_title(error_title), range=_room(drawn["error"]), gridcolor=GRID)
    figure.add_annotation(BETTER)
    return figure


def _draw_front(figure: go.Figure, group: pd.DataFrame, *, is_selected: bool) -> None:
    index, name = int(group["index"].iloc[0]), str(group["series"].iloc[0])
    colour, marker = palette.method_colour(index), palette.method_marker(index)
    gap, error = (group[c].to_numpy(dtype=float) for c in ("gap", "error"))
    if is_selected:
        ends = [group[f"{c}_{end}"].to_numpy(dtype=float) for c in ("gap", "error") for end in ("low", "high")]
        stop = np.full(len(group), np.nan)
        figure.add_scatter(
            x=np.column_stack([ends[0], ends[1], stop, gap, gap, stop]).ravel(),
            y=np.column_stack([error, error, stop, ends[2], ends[3], stop]).ravel(),
            mode="lines", meta="spread", hoverinfo="skip", line={"color": rgba(colour, 0.45), "width": 1},
        )  # fmt: skip
    line = group[group["front"].to_numpy(dtype=bool)].sort_values("gap")
    figure.add_scatter(
        x=line["gap"].to_numpy(dtype=float), y=line["error"].to_numpy(dtype=float), mode="lines", meta=f"front:{name}",
        hoverinfo="skip", line={"color": colour, "width": 2, "dash": palette.method_dash(index)},
    )  # fmt: skip
    figure.add_scatter(
        x=gap, y=error, mode="markers", meta=f"points:{name}", name=plain(group["title"].iloc[0]),
        customdata=group["position"].to_numpy() if is_selected else None, hovertext=group["hover"].tolist(),
        hoverinfo="text", marker={
            "symbol": ["x-thin-open" if t else marker for t in group["trivial"]], "size": 9 if is_selected else 7,
            "color": colour, "line": {"color": colour, "width": 1.5},
        },
    )  # fmt: skip
    if not is_selected and len(group):
        end = group.iloc[int(np.nanargmax(gap))]
        figure.add_annotation(
            x=float(end["gap"]), y=float(end["error"]), text=plain(end["title"]), showarrow=False, xanchor="right",
            yshift=16, font={"color": colour, "size": 12},
        )  # fmt: skip


def _room(values: pd.Series, *, zero: bool = False) -> list[float]:
    """A range that holds every value with some room, from zero if it is to."""
    finite = values[np.isfinite(values)].to_numpy(dtype=float)
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    low = min(low, 0.0) if zero else low
    room = 0.09 * ((high - low) or abs(high) or 1.0)
    return [low - room / 3 if zero else low - room, high + room]
