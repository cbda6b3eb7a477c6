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

from fairness_core import figures, palette
from fairness_core.data_figures import axis_title, error_bars, group_marker, left_margin, name_groups
from fairness_core.figures import GRID, base_layout, plain

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


def error_frontier(
    points: pd.DataFrame,
    *,
    selected: str,
    anchors: pd.DataFrame,
    seeds: pd.DataFrame,
    epsilon: float,
    gap_title: str,
    error_title: str,
    position: int = 0,
) -> go.Figure:
    """figures.frontier of an error against the gap in errors; the columns of gain are called error here, and no point
    is live."""
    turned = [table.rename(columns=lambda c: str(c).replace("error", "gain")) for table in (points, anchors, seeds)]
    return figures.frontier(
        turned[0].assign(live=False), selected=selected, anchors=turned[1].assign(symbol="diamond"), seeds=turned[2],
        epsilon=epsilon, gap_title=gap_title, gain_title=error_title, position=position, shares=False,
    )  # fmt: skip
