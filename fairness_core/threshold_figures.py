"""Figures of where the line is drawn: scores, what every threshold gives, ROC, and the map of two thresholds. DataFrame
-> plotly Figure, under the rules of figures.py.

They hold what does not move. The browser draws on top of them what follows the sliders: lines at the thresholds, the
band of ε, the chosen points (assets/cut.js).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fairness_core import palette
from fairness_core.data_figures import axis_title
from fairness_core.figures import GRID, PERCENT, base_layout, plain, rgba

MARGIN = {"l": 56, "r": 18, "t": 26, "b": 44}  # the sliders under a chart are aligned with these
ROOM = 480  # pixels for names over a chart
MOST_TOLD = 60  # characters
WHITE = "#fefefe"  # on the map's own colours, in either theme; pure white is the ground, which changes with it


def score_densities(bars: pd.DataFrame) -> go.Figure:
    """How the scores of each group are spread, as steps.

    bars: group, place (middle of a bin of scores), share (of the group's people in that bin).
    """
    figure = go.Figure()
    names = list(dict.fromkeys(bars["group"].astype(str)))
    for number, name in enumerate(names):
        own = bars[bars["group"].astype(str) == name]
        colour = palette.group_colour(number)
        figure.add_scatter(
            x=_column(own["place"]), y=_column(own["share"]), mode="lines", name=plain(name),
            meta=f"group:{number}", line={"color": colour, "width": 2, "dash": palette.method_dash(number), "shape":
            "hvh"}, fill="tozeroy", fillcolor=rgba(colour, 0.1),
            hovertemplate=f"{plain(name)}: %{{y:.1%}} of the group score about %{{x:.2f}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(base_layout(margin=MARGIN, hovermode="closest"))
    share = np.stack([_column(own["share"]) for _, own in bars.groupby("group", sort=False)])  # (G, bins)
    top = _room(share)
    figure.update_xaxes(title=axis_title("score: the model's probability of the favourable class"), range=[0, 1])
    figure.update_yaxes(title=axis_title("share of the group"), tickformat=PERCENT, range=[0, top], nticks=5)
    _name_lines(figure, names)
    _tell_cut_off(figure, share, top, names)
    return figure


def _room(share: np.ndarray) -> float:
    """The height of the score chart: nearly everybody may lie in the bins at both ends, and those are then cut off."""
    inner, highest = float(share[:, 1:-1].max(initial=0.0)), float(share.max(initial=0.0))
    return max(min(1.08 * highest, 1.6 * inner), 0.02)


def _tell_cut_off(figure: go.Figure, share: np.ndarray, top: float, names: list[str]) -> None:
    """In words how high the bars are that leave the chart."""
    for place, x, anchor, where in ((0, 0.0, "left", "lowest"), (-1, 1.0, "right", "highest")):
        if (share[:, place] > top).any():
            told = ", ".join(f"{plain(n)} {v:.0%}" for n, v in zip(names, share[:, place], strict=True))
            if len(told) > MOST_TOLD:
                told = f"{share[:, place].min():.0%} to {share[:, place].max():.0%} of a group"
            figure.add_annotation(
                text=f"↑ in the {where} bin: {told}", xref="paper", yref="paper", x=x, y=1, xanchor=anchor,
                yanchor="top", xshift=14 if x == 0 else -14, showarrow=False,
                font={"size": 12, "color": palette.UNTREATED},
            )  # fmt: skip


def _name_lines(figure: go.Figure, names: list[str]) -> None:
    """The groups' names over the chart, each with the mark that stands for it in its own colour. Where they do not fit
    the page names them beside the same marks."""
    shift = 0.0
    if sum(7.0 * (len(name) + 2) + 14 for name in names) > ROOM:
        return
    for number, name in enumerate(names):
        text = f"{GLYPHS[number % len(GLYPHS)]} {plain(name)}"
        figure.add_annotation(
            text=text, xref="paper", yref="paper", x=0, y=1, xanchor="left", yanchor="bottom", xshift=shift,
            yshift=4, showarrow=False, font={"size": 12, "color": palette.group_colour(number)},
        )  # fmt: skip
        shift += 7.0 * (len(name) + 2) + 14


def _column(values: pd.Series) -> np.ndarray:
    """A column as the browser gets it: single precision is finer than a screen."""
    return values.to_numpy(dtype=np.float32)


GLYPHS = ("●", "■", "◆", "▲", "⬟", "★", "⬢", "▼", "⧓", "✖")  # as palette.MARKERS


def threshold_curves(table: pd.DataFrame) -> go.Figure:
    """ρ(τ) above and μ(τ) below, each with its 95 % band, for one threshold for everybody; hatched where nearly
    everybody is decided alike.

    table: threshold, rho, rho_low, rho_high, gap, gap_low, gap_high, trivial.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.12)
    x = _column(table["threshold"])
    for row, name, colour in ((1, "rho", palette.INK), (2, "gap", palette.INK)):
        low, high = (_column(table[f"{name}_{end}"]) for end in ("low", "high"))
        figure.add_scatter(
            x=x, y=low, mode="lines", meta=f"{name}_low", line={"width": 0}, hoverinfo="skip", row=row, col=1
        )
        figure.add_scatter(
            x=x, y=high, mode="lines", meta=f"{name}_high", line={"width": 0}, hoverinfo="skip", fill="tonexty",
            fillcolor=rgba(colour, 0.14), row=row, col=1,
        )  # fmt: skip
        figure.add_scatter(
            x=x, y=_column(table[name]), mode="lines", meta=name, line={"color": colour, "width": 2},
            hovertemplate="τ = %{x:.3f}: %{y:.1%}<extra></extra>", row=row, col=1,
        )  # fmt: skip
    figure.update_layout(base_layout(margin=MARGIN, hovermode="closest"))
    for start, end in _runs(x, table["trivial"].to_numpy(dtype=bool)):
        for row in (1, 2):
            _hatch(figure, start, end, row)
    figure.update_xaxes(gridcolor=GRID, zeroline=False, range=[0, 1])
    figure.update_yaxes(gridcolor=GRID, zeroline=False, tickformat=PERCENT, nticks=5)
    figure.update_xaxes(title=axis_title("threshold τ, one for everybody"), row=2, col=1)
    figure.update_yaxes(title=axis_title("ρ"), range=[0.45, _round_up(table["rho_high"])], row=1, col=1)
    figure.update_yaxes(title=axis_title("μ"), range=gap_range(table), row=2, col=1, zeroline=True, zerolinecolor=GRID)
    return figure


def gap_range(table: pd.DataFrame) -> list[float]:
    """The axis of μ: both signs alike, with room for the band."""
    reach = max(_round_up(table[["gap_low", "gap_high"]].abs().to_numpy()), 0.1)
    return [-reach, reach]


def _round_up(values: Any) -> float:
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return float(np.ceil(20 * finite.max() + 0.4) / 20) if len(finite) else 1.0


def _runs(x: np.ndarray, inside: np.ndarray) -> list[tuple[float, float]]:
    """Where `inside` holds without a break: (first x, last x)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return [(float(x[a]), float(x[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _hatch(figure: go.Figure, start: float, end: float, row: int) -> None:
    """A hatched zone over the whole height: the rates there are those of a constant decision."""
    figure.add_scatter(
        x=[start, end, end, start], y=[-2, -2, 2, 2], mode="lines", meta="trivial", fill="toself", hoverinfo="skip",
        line={"width": 0}, fillpattern={"shape": "/", "fgcolor": rgba(palette.UNTREATED, 0.45),
        "bgcolor": rgba(palette.UNTREATED, 0.05), "size": 7, "solidity": 0.12}, row=row, col=1,
    )  # fmt: skip


def roc_curves(table: pd.DataFrame) -> go.Figure:
    """The ROC curve of each group; the browser marks the chosen points. table: group, fpr, tpr, threshold."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", meta="chance", hoverinfo="skip",
        line={"color": palette.UNTREATED, "width": 1, "dash": "dot"},
    )  # fmt: skip
    names = list(dict.fromkeys(table["group"].astype(str)))
    for number, name in enumerate(names):
        own = table[table["group"].astype(str) == name]
        figure.add_scatter(
            x=_column(own["fpr"]), y=_column(own["tpr"]), mode="lines", name=plain(name),
            meta=f"group:{number}", customdata=_column(own["threshold"]),
            line={"color": palette.group_colour(number), "width": 2, "dash": palette.method_dash(number)},
            hovertemplate=f"{plain(name)}, τ = %{{customdata:.3f}}<br>true positives %{{y:.1%}}, false positives "
            "%{x:.1%}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(base_layout(margin=MARGIN, hovermode="closest"))
    figure.update_xaxes(title=axis_title("false positive rate"), range=[0, 1], tickformat=".0%")
    figure.update_yaxes(title=axis_title("true positive rate"), range=[0, 1.02], tickformat=".0%")
    _name_lines(figure, names)
    return figure


def two_thresholds(first: str, second: str) -> go.Figure:
    """Balanced accuracy over the thresholds of two groups, with contours of the gap; the browser fills in the values
    and draws the contour at ε."""
    figure = go.Figure()
    figure.add_heatmap(
        z=[[0.5]], x=[0.0], y=[0.0], meta="rho", colorscale="Cividis", zmin=0.5, hoverinfo="text",
        hovertemplate=f"{plain(first)} %{{x:.2f}}, {plain(second)} %{{y:.2f}}<br>ρ %{{z:.1%}}<extra></extra>",
        colorbar={"title": {"text": "ρ", "side": "top"}, "tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
    )  # fmt: skip
    figure.add_contour(
        z=[[0.0]], x=[0.0], y=[0.0], meta="gaps", showscale=False, hoverinfo="skip",
        line={"width": 1, "color": WHITE},
        contours={"coloring": "none", "start": 0.1, "end": 0.9, "size": 0.1, "showlabels": True,
                  "labelfont": {"size": 10, "color": WHITE}, "labelformat": ".0%"},
    )  # fmt: skip
    figure.update_layout(base_layout(margin={**MARGIN, "r": 4}, hovermode="closest"))
    figure.update_xaxes(title=axis_title(f"τ of {plain(first)}"), range=[0, 1])
    figure.update_yaxes(title=axis_title(f"τ of {plain(second)}"), range=[0, 1])
    return figure
