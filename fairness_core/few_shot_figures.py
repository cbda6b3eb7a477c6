"""Figure of classes with few examples (AEDA, arXiv 2007.13632, table 3): DataFrame -> plotly Figure, under the rules of
figures.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fairness_core import palette
from fairness_core.data_figures import PALE, axis_title, cut, error_bars
from fairness_core.figures import GRID, base_layout, plain, rgba

WIDTH = 0.36  # of a bar, of the room of a class
TOP = 1.08  # of an axis of shares: room for the upper end of an interval
PANELS = {"precision": "precision (%)", "accuracy": "accuracy (%)"}


def by_class(table: pd.DataFrame, *, colour: str, target: str) -> go.Figure:
    """Precision and accuracy of every class as bars with their intervals, the untreated model pale and on the left.

    table: class, told, n and, for both measures, the value, its _low and _high; the untreated model's under "before_",
    NaN where there is none. A share of nothing has no bar, and says so.
    """
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.1)
    known = bool(table["before_n"].notna().any())
    for col, (column, title) in enumerate(PANELS.items(), 1):
        for who in ("before_", "") if known else ("",):
            _bars(figure, table, who, column, colour, col, shift=0.0 if not known else 0.2 if not who else -0.2)
        figure.update_yaxes(title=axis_title(title), range=[0, 100 * TOP], nticks=6, row=1, col=col)
    figure.update_layout(base_layout(hovermode="closest", margin={"l": 58, "r": 16, "t": 30, "b": 46}))
    names = [plain(cut(str(name))) for name in table["class"]]
    figure.update_xaxes(
        tickvals=np.arange(len(names)), ticktext=names, range=[-0.6, len(names) - 0.4], title=axis_title(target),
        showgrid=False, zeroline=False, fixedrange=True, ticks="", linecolor=GRID,
    )  # fmt: skip
    figure.update_yaxes(gridcolor=GRID, zeroline=False, showticklabels=True, ticks="", linecolor=GRID)
    for text, paint, shift in (("□ untreated", palette.UNTREATED, 0), ("■ this run", colour, 90))[0 if known else 2 :]:
        figure.add_annotation(
            text=text, x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom", xshift=shift, yshift=6,
            showarrow=False, font={"size": 12, "color": paint},
        )  # fmt: skip
    return figure


def _bars(
    figure: go.Figure, table: pd.DataFrame, who: str, column: str, colour: str, col: int, *, shift: float
) -> None:
    """One model's bars of one measure."""
    paint, called = (palette.UNTREATED, "untreated") if who else (colour, "this run")
    value, low, high = (100 * table[f"{who}{column}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    of = table[f"{who}{'told' if column == 'precision' else 'n'}"].to_numpy(float)
    places = np.arange(len(table)) + shift
    figure.add_bar(
        x=places, y=np.nan_to_num(value), width=WIDTH, meta=f"{who}{column}", row=1, col=col, hoverinfo="text",
        marker={"color": rgba(paint, PALE) if who else paint, "line": {"color": paint, "width": 1.5}},
        error_y=error_bars(value, low, high),
        hovertext=[f"<b>{plain(c)}</b>, {called}<br>{_told(column, v, lo, hi, n)}" for c, v, lo, hi, n in
                   zip(table["class"], value, low, high, of, strict=True)],
    )  # fmt: skip
    for x in places[~np.isfinite(value)]:
        figure.add_annotation(
            text="none told", x=x, y=0, textangle=-90, yanchor="bottom", showarrow=False, row=1, col=col,
            font={"size": 11, "color": paint},
        )  # fmt: skip


def _told(column: str, value: float, low: float, high: float, n: float) -> str:
    if not np.isfinite(value):
        return "no picture is told this class, so there is no precision"
    return f"{column} {value:.1f} % ({low:.1f} to {high:.1f}), n = {n:,.0f}"
