"""Figures of the data page: DataFrame -> plotly Figure, under the rules of figures.py.

A group has its colour and its marker everywhere. Text from the data reaches plotly through `plain` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fairness_core import palette
from fairness_core.figures import GRID, base_layout, plain, rgba

BARS = 12  # columns or attributes shown, those that matter most
LETTER = 6.4  # pixels a letter is wide, near enough at 12 px
PALE = 0.22


def cut(name: str, most: int = 22) -> str:
    """A name of at most `most` letters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def axis_title(text: str) -> dict[str, Any]:
    """The title of an axis in the size that all have."""
    return {"text": text, "standoff": 8, "font": {"size": 13}}


def group_marker(index: int) -> str:
    """The marker that repeats what palette.group_colour says."""
    return palette.MARKERS[index % len(palette.MARKERS)]


def left_margin(names: Sequence[str], most: int = 42) -> tuple[float, list[str]]:
    """Room for the names of a vertical axis, and the names cut to `most` letters."""
    short = [cut(name, most) for name in names]
    return 18 + LETTER * max(map(len, short), default=0), short


def names_axis(figure: go.Figure, names: Sequence[str]) -> float:
    """Rows from top to bottom, each with its name; they stand at 0, 1, 2, ... Returns the left margin."""
    left, short = left_margin(names)
    figure.update_yaxes(
        tickvals=np.arange(len(names)), ticktext=[plain(name) for name in short], range=[len(names) - 0.45, -0.55],
        showgrid=False, zeroline=False, fixedrange=True,
    )  # fmt: skip
    return left


def error_bars(share: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """The interval of each share as a thin bar."""
    return {
        "type": "data", "symmetric": False, "array": high - share, "arrayminus": share - low, "thickness": 1.5,
        "width": 4, "color": palette.INK,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------- who is in it


def two_classes(cells: pd.DataFrame, *, positive: str) -> go.Figure:
    """Rows of every group, the positive class filled and the other pale, beside the share of the positive class.

    cells: group, label, rows, of, share, low, high; one row per group and label.
    """
    own = cells[cells["label"] == positive].reset_index(drop=True)
    groups = own["group"].astype(str).tolist()
    places = np.arange(len(groups))
    rows, of, share, low, high = (own[c].to_numpy(dtype=float) for c in ("rows", "of", "share", "low", "high"))
    colours = [palette.group_colour(i) for i in range(len(groups))]
    told = [
        f"<b>{plain(g)}</b><br>{n:,.0f} rows, {k:,.0f} of them {plain(positive)}<br>{s:.1%} ({lo:.1%} to {hi:.1%})"
        for g, n, k, s, lo, hi in zip(groups, of, rows, share, low, high, strict=True)
    ]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.13, column_widths=[0.54, 0.46])
    bar: dict[str, Any] = {"y": places, "orientation": "h", "width": 0.6, "hovertext": told, "hoverinfo": "text"}
    figure.add_bar(x=rows, meta="positive", marker={"color": colours}, **bar, row=1, col=1)
    figure.add_bar(
        x=of - rows, meta="rest", **bar, row=1, col=1, text=[f" {n:,.0f}" for n in of], textposition="outside",
        cliponaxis=False, marker={"color": [rgba(c, PALE) for c in colours]},
    )  # fmt: skip
    figure.add_scatter(
        x=share, y=places, mode="markers+text", meta="share", row=1, col=2, hovertext=told, hoverinfo="text",
        text=[f"{s:.1%}" if np.isfinite(s) else "no rows" for s in share], textposition="top center",
        marker={"size": 10, "color": colours, "symbol": [group_marker(i) for i in range(len(groups))]},
        error_x=error_bars(share, low, high), cliponaxis=False,
    )  # fmt: skip
    figure.update_layout(base_layout(barmode="stack"))
    left = names_axis(figure, groups)
    figure.update_layout(margin={"l": left, "r": 34, "t": 14, "b": 46})
    _count_axis(figure, f"rows; filled: {plain(cut(positive))}", of, 1)
    _share_axis(figure, f"share with {plain(cut(positive))}", high, 2)
    return figure


def many_classes(cells: pd.DataFrame, *, target: str) -> go.Figure:
    """Rows of every class, divided by group, beside each class's share within each group.

    cells: as for two_classes; a row of the chart is a class, a colour and marker a group.
    """
    labels = list(dict.fromkeys(cells["label"].astype(str)))
    groups = list(dict.fromkeys(cells["group"].astype(str)))
    places = np.arange(len(labels))
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.08, column_widths=[0.54, 0.46])
    for i, group in enumerate(groups):
        own = cells[cells["group"].astype(str) == group]
        rows, of, share, low, high = (own[c].to_numpy(dtype=float) for c in ("rows", "of", "share", "low", "high"))
        told = [
            f"<b>{plain(label)} in {plain(group)}</b><br>{k:,.0f} of {n:,.0f} rows<br>{s:.1%} ({lo:.1%} to {hi:.1%})"
            for label, k, n, s, lo, hi in zip(labels, rows, of, share, low, high, strict=True)
        ]
        colour = palette.group_colour(i)
        said: dict[str, Any] = {"name": plain(group), "hovertext": told, "hoverinfo": "text"}
        figure.add_bar(
            x=rows, y=places, orientation="h", width=0.6, meta=f"rows:{group}", marker={"color": colour}, **said,
            row=1, col=1,
        )  # fmt: skip
        apart = 0.0 if len(groups) == 1 else 0.44 * (i / (len(groups) - 1) - 0.5)
        figure.add_scatter(
            x=share, y=places + apart, mode="markers", meta=f"share:{group}", **said,
            error_x=error_bars(share, low, high), row=1, col=2,
            marker={"size": 8, "color": colour, "symbol": group_marker(i)},
        )  # fmt: skip
    figure.update_layout(base_layout(barmode="stack"))
    left = names_axis(figure, labels)
    figure.update_layout(margin={"l": left, "r": 22, "t": name_groups(figure, groups), "b": 46})
    _count_axis(figure, f"rows per {plain(cut(target))}", cells.groupby("label")["rows"].sum().to_numpy(dtype=float), 1)
    _share_axis(figure, "share within the group", cells["high"].to_numpy(dtype=float), 2)
    return figure


def _count_axis(figure: go.Figure, title: str, totals: np.ndarray, col: int) -> None:
    top = 1.16 * max(float(np.nanmax(totals, initial=1.0)), 1.0)
    figure.update_xaxes(
        title=axis_title(title),
        range=[0, top],
        tickformat="~s",
        nticks=6,
        gridcolor=GRID,
        zeroline=False,
        row=1,
        col=col,
    )


def _share_axis(figure: go.Figure, title: str, high: np.ndarray, col: int) -> None:
    top = min(1.04, 1.18 * max(float(np.nanmax(high, initial=0.05)), 0.05))
    figure.update_xaxes(
        title=axis_title(title),
        range=[0, top],
        tickformat=".1~%",
        nticks=6,
        gridcolor=GRID,
        zeroline=False,
        row=1,
        col=col,
    )


def name_groups(figure: go.Figure, groups: Sequence[str]) -> int:
    """The groups' names above the chart, each with its marker and in its colour: a legend read as a sentence, in as
    many lines as it needs. Returns the room it takes."""
    shift, line = 0.0, 0
    spots = []
    for i, group in enumerate(groups):
        text = f"{SIGNS[i % len(SIGNS)]} {cut(group, 30)}"
        wide = LETTER * len(text) + 14
        if shift and shift + wide > NAMES_WIDTH:
            shift, line = 0.0, line + 1
        spots.append((text, shift, line))
        shift += wide
    for i, (text, across, down) in enumerate(spots):
        figure.add_annotation(
            text=plain(text), xref="paper", yref="paper", x=0, y=1, xanchor="left", yanchor="bottom", xshift=across,
            yshift=4 + 17 * (line - down), showarrow=False, font={"size": 12, "color": palette.group_colour(i)},
        )  # fmt: skip
    return 30 + 17 * line


NAMES_WIDTH = 470  # pixels
SIGNS = "●■◆▲⬟★⬢▼⧓✖"  # palette.MARKERS as letters


def missing(table: pd.DataFrame, most: int = BARS) -> go.Figure:
    """Share of missing values per column and group, the widest gap on top.

    table: column, group, share, low, high; as from health.missingness.
    """
    columns = list(dict.fromkeys(table["column"]))[:most]
    groups = list(dict.fromkeys(table["group"].astype(str)))
    figure = go.Figure()
    for i, group in enumerate(groups):
        own = table[(table["group"].astype(str) == group) & table["column"].isin(columns)]
        share, low, high = (own[c].to_numpy(dtype=float) for c in ("share", "low", "high"))
        told = [
            f"<b>{plain(c)}</b><br>missing for {s:.1%} of {plain(group)} ({lo:.1%} to {hi:.1%})"
            for c, s, lo, hi in zip(own["column"], share, low, high, strict=True)
        ]
        apart = 0.0 if len(groups) == 1 else 0.4 * (i / (len(groups) - 1) - 0.5)
        figure.add_scatter(
            x=share, y=own["column"].map(columns.index).to_numpy(dtype=float) + apart, mode="markers",
            name=plain(group), meta=f"missing:{group}", hovertext=told, hoverinfo="text",
            error_x=error_bars(share, low, high),
            marker={"size": 9, "color": palette.group_colour(i), "symbol": group_marker(i)},
        )  # fmt: skip
    figure.update_layout(base_layout())
    left = names_axis(figure, columns)
    figure.update_layout(margin={"l": left, "r": 22, "t": name_groups(figure, groups), "b": 44})
    top = min(1.04, 1.15 * max(float(table["high"].astype(float).max()), 0.02))
    figure.update_xaxes(title_text="share missing", range=[0, top], tickformat=".1~%", nticks=6)
    return figure


# --------------------------------------------------------------------------------------------------- the bias dial


def dial(table: pd.DataFrame) -> go.Figure:
    """Training rows per cell: hollow as found, filled after the dial; the browser moves the filled bars ("after").

    table: group, label, before, after; one row per cell, in the order drawn from top to bottom.
    """
    names = [f"{cut(g, 20)} · {cut(label, 19)}" for g, label in zip(table["group"], table["label"], strict=True)]
    order = list(dict.fromkeys(table["group"]))
    colours = [palette.group_colour(order.index(group)) for group in table["group"]]
    before, after = (table[c].to_numpy(dtype=float) for c in ("before", "after"))
    places = np.arange(len(names))
    figure = go.Figure()
    figure.add_bar(
        x=before, y=places, orientation="h", width=0.72, meta="before", hoverinfo="text",
        hovertext=[f"{plain(n)}: {b:,.0f} as found" for n, b in zip(names, before, strict=True)],
        marker={"color": "rgba(0,0,0,0)", "line": {"color": colours, "width": 1.5}},
    )  # fmt: skip
    figure.add_bar(
        x=after, y=places, orientation="h", width=0.46, meta="after", hoverinfo="x", marker={"color": colours}
    )
    figure.add_scatter(
        x=np.fmax(before, after), y=places, mode="text", meta="label", hoverinfo="skip",
        text=[f" {a:,.0f}" if np.isfinite(a) else "" for a in after],
        textposition="middle right", textfont={"size": 12}, cliponaxis=False,
    )  # fmt: skip
    figure.update_layout(base_layout(barmode="overlay"))
    left = names_axis(figure, names)
    figure.update_layout(margin={"l": left, "r": 64, "t": 6, "b": 44})
    figure.update_xaxes(
        title_text="training rows", range=[0, 1.02 * max(before.max(initial=1.0), 1.0)], tickformat="~s", nticks=7
    )
    return figure


def trade(found: float, values: Sequence[float], rows: Sequence[float], position: int) -> go.Figure:
    """How many training rows are left at every strength of the dial; a line where the data stand as found.

    values: strengths; rows: training rows left, NaN where a strength cannot be reached. The ring stands at `position`.
    """
    x, y = np.asarray(values, dtype=float), np.asarray(rows, dtype=float)
    figure = go.Figure()
    figure.add_scatter(
        x=x, y=y, mode="lines", meta="rows", line={"color": palette.INK, "width": 2}, connectgaps=False,
        hovertemplate="strength %{x:.2f}: %{y:,.0f} rows<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=x[position : position + 1], y=y[position : position + 1], mode="markers", meta="ring", hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 17, "color": palette.INK, "line": {"width": 3}},
    )  # fmt: skip
    layout = base_layout(margin={"l": 56, "r": 20, "t": 24, "b": 46})
    layout["xaxis"] |= {"range": [x.min() - 0.02, x.max() + 0.02], "title": axis_title("strength of the association")}
    layout["yaxis"] |= {"rangemode": "tozero", "tickformat": "~s", "title": axis_title("training rows left")}
    layout["shapes"] = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": found, "x1": found, "y0": 0, "y1": 1,
         "line": {"color": palette.UNTREATED, "width": 1.5, "dash": "dot"}}
    ]  # fmt: skip
    figure.update_layout(layout)
    figure.add_annotation(
        x=found, y=1, xref="x", yref="paper", text=f"as found: {found:.2f}", showarrow=False, yanchor="bottom",
        font={"size": 12, "color": palette.UNTREATED},
    )  # fmt: skip
    return figure


def bias_by_share(points: pd.DataFrame) -> go.Figure:
    """Signed gap in recall (percentage points) against the group's share (percent) among the training rows of a value.

    points: target, value, group, share, bias, low, high, n_train, n_group, n_rest. Untreated models are grey; with more
    than two groups each has its own colour and marker.
    """
    figure = go.Figure()
    groups = list(dict.fromkeys(points["group"]))
    for i, (name, own) in enumerate(points.groupby("group", sort=False)):
        y, low, high = (100 * own[c].to_numpy(float) for c in ("bias", "low", "high"))
        colour = palette.UNTREATED if len(groups) == 1 else palette.group_colour(i)
        figure.add_scatter(
            x=100 * own["share"].to_numpy(float), y=y, mode="markers", name=plain(name), meta=f"group:{name}",
            error_y={"type": "data", "array": high - y, "arrayminus": y - low, "thickness": 1, "width": 0,
                     "color": rgba(colour, 0.35)},
            marker={"size": 9, "color": colour, "symbol": palette.MARKERS[i % len(palette.MARKERS)]},
            hovertext=[_told_share(row) for row in own.to_dict("records")], hoverinfo="text",
        )  # fmt: skip
    layout = base_layout(hovermode="closest", margin={"l": 60, "r": 20, "t": 20, "b": 46}, showlegend=len(groups) > 1)
    who = plain(groups[0]) if len(groups) == 1 else "the group"
    layout["xaxis"] |= {"range": [-3, 103], "title": {**layout["xaxis"]["title"], "text": f"share of {who} (%)"}}
    layout["yaxis"] |= {"title": {**layout["yaxis"]["title"], "text": f"recall of {who} minus others (points)"}}
    middle = {"color": GRID, "width": 2, "dash": "dot"}
    layout["shapes"] = [
        {"type": "line", "x0": 50, "x1": 50, "y0": 0, "y1": 1, "yref": "paper", "line": middle, "layer": "below"},
        {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0, "y1": 0, "line": middle, "layer": "below"},
    ]
    figure.update_layout(layout)
    return figure


def _told_share(row: Mapping[Any, Any]) -> str:
    """The whole story of a point."""
    target, value, group = (plain(row[name]) for name in ("target", "value", "group"))
    return (
        f"{target} = {value}<br>{group}: {100 * row['share']:.1f} % of {row['n_train']:,} "
        f"training rows<br>recall {100 * row['bias']:+.1f} points against the others "
        f"({100 * row['low']:+.1f} to {100 * row['high']:+.1f})<br>over {row['n_group']:,} and {row['n_rest']:,} rows"
    )
