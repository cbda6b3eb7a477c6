"""Figures of attributes and what they tell: DataFrame -> plotly Figure, under the rules of figures.py.

Attributes are ink, because they are neither groups nor methods; the shape of a point says by which measure they were
compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fairness_core import palette
from fairness_core.data_figures import BARS, LETTER, PALE, axis_title, cut, error_bars, names_axis
from fairness_core.figures import base_layout, plain, rgba

WEAK = 0.1  # below, an association counts as none (Cohen's "small")
LINE = 12  # pixels a label is high
MARKERS = {"Cramér's V": "circle", "correlation ratio η": "diamond", "Spearman's |ρ|": "square"}


def carriers(table: pd.DataFrame, *, group: str, target: str, width: int = 560, height: int = 380) -> go.Figure:
    """Every attribute as a point: association with the group on x, with the target on y; what falls under WEAK on an
    axis counts as telling nothing there. Names stand where there is room, for a chart of about width x height pixels.

    table: attribute, group, group_measure, target, target_measure and the ends of both intervals.
    """
    x, y = (table[c].to_numpy(dtype=float) for c in ("group", "target"))
    names = table["attribute"].astype(str).tolist()
    right, top = (_reach(values) for values in (x, y))
    figure = go.Figure()
    figure.add_scatter(
        x=x, y=y, mode="markers", meta="attributes", hovertext=_told(table, group, target), hoverinfo="text",
        cliponaxis=False,
        marker={
            "size": 9, "color": palette.INK, "opacity": 0.85,
            "symbol": [MARKERS.get(m, "circle") for m in table["group_measure"]],
        },
    )  # fmt: skip
    layout = base_layout(hovermode="closest", margin={"l": 56, "r": 24, "t": 14, "b": 46})
    layout["xaxis"] |= {
        "range": [-0.012 * right, right],
        "nticks": 8,
        "title": axis_title(f"tells the group ({plain(cut(group))}) →"),
    }
    layout["yaxis"] |= {
        "range": [-0.02 * top, top],
        "nticks": 8,
        "title": axis_title(f"tells the target ({plain(cut(target))}) →"),
    }
    layout["shapes"] = [_band("x"), _band("y")]
    figure.update_layout(layout)
    for words in _quadrants():
        figure.add_annotation(words)
    inner = (width - 80, height - 60)
    spots = place_labels(x / right * inner[0], (1 - y / top) * inner[1], names, inner)
    for k, spot in enumerate(spots):
        if spot is not None:
            figure.add_annotation(
                x=x[k],
                y=y[k],
                text=plain(cut(names[k])),
                showarrow=False,
                font={"size": 12, "color": palette.INK},
                **spot,
            )
    return figure


def _reach(values: np.ndarray) -> float:
    """The end of an axis: a round number with some room beyond the largest value."""
    return float(min(1.06, max(0.4, np.ceil(10 * 1.12 * np.nanmax(values, initial=0.0)) / 10)))


def _band(axis: str) -> dict[str, Any]:
    other = "y" if axis == "x" else "x"
    return {
        "type": "rect", f"{axis}ref": axis, f"{other}ref": "paper", f"{axis}0": -1, f"{axis}1": WEAK, f"{other}0": 0,
        f"{other}1": 1, "layer": "below", "fillcolor": rgba(palette.UNTREATED, 0.10), "line": {"width": 0},
    }  # fmt: skip


def _quadrants() -> list[dict[str, Any]]:
    """Words for the quadrants, in grey behind the points."""
    look = {"showarrow": False, "font": {"size": 12, "color": palette.UNTREATED}, "xref": "paper", "yref": "paper"}
    return [
        {**look, "text": "both: a path from group to prediction", "x": 1, "y": 1, "xanchor": "right", "yanchor": "top",
         "xshift": -4, "yshift": -2},
        {**look, "text": "proxy: tells the group only", "x": 1, "y": 0, "xanchor": "right", "yanchor": "bottom",
         "xshift": -4, "yshift": 2},
        {**look, "text": "predictor only", "x": 0, "y": 1, "xanchor": "left", "yanchor": "top", "xshift": 2,
         "yshift": -2, "textangle": -90},
    ]  # fmt: skip


def place_labels(
    x: np.ndarray, y: np.ndarray, names: Sequence[str], size: tuple[float, float]
) -> list[dict[str, Any] | None]:
    """Where each name goes beside its point, as annotation settings; None where it would cover another name or point.

    x, y: pixels from the left and the top of a plot of `size`. Points far from the origin are named first.
    """
    taken = [(px - 5, py - 5, px + 5, py + 5) for px, py in zip(x, y, strict=True)]
    taken += [(size[0] - 230, 0, size[0], LINE + 4), (size[0] - 170, size[1] - LINE - 4, size[0], size[1])]
    spots: list[dict[str, Any] | None] = [None] * len(names)
    for k in np.argsort(-(x - y), kind="stable"):
        wide, own = LETTER * len(cut(names[k])), taken[k]
        for anchor, dx, dy in ANCHORS:
            left = x[k] + dx - (0 if anchor == "left" else wide if anchor == "right" else wide / 2)
            box = (left, y[k] + dy - LINE / 2, left + wide, y[k] + dy + LINE / 2)
            inside = box[0] >= 0 and box[2] <= size[0] + 20 and box[1] >= -4 and box[3] <= size[1]
            if inside and not any(_overlap(box, other) for other in taken if other is not own):
                taken.append(box)
                spots[k] = {"xanchor": anchor, "yanchor": "middle", "xshift": dx, "yshift": -dy}
                break
    return spots


ANCHORS = (
    *(("left", 9, 0), ("right", -9, 0), ("center", 0, -14), ("center", 0, 14), ("left", 7, -11), ("left", 7, 11)),
    *(("left", -6, -14), ("left", -6, 14), ("right", 6, -14), ("right", 6, 14)),
)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _told(table: pd.DataFrame, group: str, target: str) -> list[str]:
    lines = []
    for row in table.to_dict("records"):
        parts = [
            f"with {plain(name)}: {row[k]:.2f} ({row[f'{k}_low']:.2f} to {row[f'{k}_high']:.2f}), {row[f'{k}_measure']}"
            for k, name in (("group", group), ("target", target))
        ]
        lines.append(f"<b>{plain(row['attribute'])}</b><br>" + "<br>".join(parts))
    return lines


def proxies(table: pd.DataFrame, *, group: str, most: int = BARS) -> go.Figure:
    """The attributes that tell most about the group, as bars with their interval; hollow below WEAK.

    table: attribute, group, group_low, group_high, group_measure; strongest first.
    """
    own = table.head(most)
    names, places = own["attribute"].astype(str).tolist(), np.arange(len(own))
    value, low, high = (own[c].to_numpy(dtype=float) for c in ("group", "group_low", "group_high"))
    low, high = np.minimum(low, value), np.maximum(high, value)
    told = [
        f"<b>{plain(n)}</b><br>with {plain(group)}: {v:.2f} ({lo:.2f} to {hi:.2f}), {m}"
        for n, v, lo, hi, m in zip(names, value, low, high, own["group_measure"], strict=True)
    ]
    figure = go.Figure()
    figure.add_bar(
        x=value, y=places, orientation="h", width=0.62, meta="proxies", hovertext=told, hoverinfo="text",
        marker={
            "color": [rgba(palette.INK, 0.72 if v >= WEAK else PALE) for v in value],
            "line": {"color": palette.INK, "width": np.where(value >= WEAK, 0, 1)},
        },
        error_x=error_bars(value, low, high),
    )  # fmt: skip
    reach = 1.1 * max(float(high.max(initial=0.1)), 0.3)
    figure.add_scatter(
        x=high, y=places, mode="text", text=[f" {v:.2f}" for v in value], textposition="middle right",
        textfont={"size": 12}, hoverinfo="skip", meta="label", cliponaxis=False,
    )  # fmt: skip
    figure.update_layout(base_layout(shapes=[_band("x")]))
    left = names_axis(figure, names)
    figure.update_layout(margin={"l": left, "r": 36, "t": 6, "b": 44})
    figure.update_xaxes(title_text="association with the group, 0 to 1", range=[0, reach], nticks=7)
    return figure
