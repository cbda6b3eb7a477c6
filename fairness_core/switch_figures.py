"""The figure of the label switch (AEDA, arXiv 2007.13632, figure 3): DataFrame -> plotly Figure, under the rules of
figures.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fairness_core import palette
from fairness_core.data_figures import axis_title, error_bars, names_axis
from fairness_core.figures import base_layout, plain

ROOM = 62  # pixels to the right of 100 % for the numbers
ROW, FRAME = 58, 74  # pixels of a bar, and of everything above and below the bars


def height(n_bars: int) -> int:
    """Pixels of the figure."""
    return FRAME + ROW * n_bars


def switches(table: pd.DataFrame, *, chance: float, colour: str) -> go.Figure:
    """How often the fresh network names the group right after each switch: a bar with its 95 % interval, chance as a
    dotted line, the paper's figure as a hollow diamond.

    table: name, value, low, high (in [0, 1]; NaN while there is none) and paper (in [0, 1]), from top to bottom.
    """
    names = table["name"].astype(str).tolist()
    value, low, high, paper = (table[c].to_numpy(dtype=float) for c in ("value", "low", "high", "paper"))
    places, known = np.arange(len(table)), np.isfinite(value)
    figure = go.Figure()
    figure.add_bar(
        x=value, y=places, orientation="h", width=0.5, meta="now", marker={"color": colour}, hoverinfo="text",
        error_x=error_bars(value, low, high), cliponaxis=False,
        hovertext=[f"<b>{plain(n)}</b><br>{v:.1%} ({lo:.1%} to {hi:.1%})" for n, v, lo, hi in
                   zip(names, value, low, high, strict=True)],
    )  # fmt: skip
    figure.add_scatter(
        x=paper, y=places - 0.38, mode="markers", meta="paper", hoverinfo="text", cliponaxis=False,
        marker={"symbol": "diamond-open", "size": 10, "color": palette.INK, "line": {"width": 2}},
        hovertext=[f"<b>{plain(n)}</b><br>paper: {p:.1%}" for n, p in zip(names, paper, strict=True)],
    )  # fmt: skip
    figure.add_scatter(
        x=np.full(len(table), 1.02), y=places, mode="text", meta="label", hoverinfo="skip", cliponaxis=False,
        text=[f"{v:.1%}" if k else "–" for v, k in zip(value, known, strict=True)],
        textposition="middle right", textfont={"size": 13},
    )  # fmt: skip
    figure.add_vline(x=chance, line={"color": palette.UNTREATED, "dash": "dot", "width": 1.5})
    _note(figure, f"chance {chance:.0%}", chance, palette.UNTREATED)
    figure.update_layout(base_layout(hovermode="closest"))
    left = names_axis(figure, names)
    figure.update_xaxes(title=axis_title("groups named right (mean over groups)"), range=[0, 1.02], tickformat=".0%",
                        tickvals=[0, 0.25, 0.5, 0.75, 1], zeroline=False, fixedrange=True)  # fmt: skip
    figure.update_yaxes(range=[len(table) - 0.5, -0.6])
    figure.update_layout(margin={"l": left, "r": ROOM, "t": 24, "b": 50})
    for place, share in zip(places, paper, strict=True):
        figure.add_annotation(
            text=f"paper {share:.1%}", x=share, y=place - 0.38, showarrow=False, xshift=9 if share < 0.8 else -9,
            xanchor="left" if share < 0.8 else "right", font={"size": 12, "color": palette.INK},
        )  # fmt: skip
    return figure


def _note(figure: go.Figure, text: str, x: float, colour: str) -> None:
    figure.add_annotation(
        text=text, x=x, y=1, xref="x", yref="paper", yanchor="bottom", showarrow=False,
        font={"size": 12, "color": colour},
    )  # fmt: skip
