"""DataFrame -> plotly Figure, and nothing else: no store, no metrics, no Streamlit.

All figures are drawn in the light colours of palette.py on a transparent ground, so that a report can print them as
they are; the live component swaps each colour for its dark counterpart (palette.on_dark). Traces that the browser moves
carry a `meta` name ("ring", "best", "points:<series>"; "before", "now", "label").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fairness_core import palette

GRID = "rgba(128,138,150,0.22)"
FONT = {"family": "Source Sans, Source Sans Pro, system-ui, sans-serif", "size": 13, "color": palette.INK}
SEED_ALPHA = 0.28
PERCENT = ".1~%"  # of axes that follow their data: a narrow range has ticks between whole percents
PANEL_GAP = 0.09  # between curves one above the other, of the whole height
NAMES_WIDTH, NAME_HEIGHT = 348, 15  # pixels: of a row of names above curves


def rgba(colour: str, alpha: float) -> str:
    """ "#rrggbb" with an opacity, as CSS."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def plain(text: object) -> str:
    """Text as plotly shows it letter by letter: what looks like markup in somebody's column or group is none."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def axis_range(values: Iterable[float], step: float = 0.02, margin: float = 0.06) -> tuple[float, float]:
    """A range that holds every finite value, rounded outwards to multiples of `step`, so that it rarely changes
    while a sweep grows."""
    finite = np.array([v for v in values if np.isfinite(v)] or [0.0, 1.0])
    room = margin * max(float(np.ptp(finite)), step)
    low = np.floor((finite.min() - room) / step + 1e-9) * step
    high = np.ceil((finite.max() + room) / step - 1e-9) * step
    return float(low), float(max(high, low + step))


def axis(title: str = "", **changes: Any) -> dict[str, Any]:
    """The look every axis shares."""
    called = {"standoff": 8, "font": {"size": 13}, **({"text": title} if title else {})}
    return {"gridcolor": GRID, "zeroline": False, "linecolor": GRID, "ticks": "", "title": called, **changes}


def base_layout(**changes: Any) -> dict[str, Any]:
    """The look every figure shares."""
    return {
        "template": "none",
        "font": FONT,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
        "showlegend": False,
        "xaxis": axis(),
        "yaxis": axis(),
        "hoverlabel": {
            "align": "left",
            "bgcolor": palette.LIGHT_BACKGROUND,
            "bordercolor": palette.UNTREATED,
            "font": {**FONT, "size": 12},
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": palette.UNTREATED, "activecolor": palette.INK},
        **changes,
    }


def frontier(
    points: pd.DataFrame,
    *,
    selected: str,
    anchors: pd.DataFrame,
    epsilon: float,
    gap_title: str,
    gain_title: str,
    seeds: pd.DataFrame | None = None,
    position: int = 0,
    best: int | None = None,
    shares: bool = True,
) -> go.Figure:
    """The accuracy-fairness frontier: gap on x, performance on y, the better corner at the upper left. shares=False: an
    error on y, both in units of their own, the better corner at the lower left.

    points: one row per trade-off value with series, title, index (its place in the palette), position, gap, gain,
    gap_low, gap_high, gain_low, gain_high (spread over seeds), front, trivial, live (bool), hover.
    seeds: gap, gain of single runs of the selected series. anchors: title, gap, gain, symbol, hover.
    position: where the ring stands in the selected series; best: the position of the best point under epsilon.
    """
    figure = go.Figure()
    _draw_seeds(figure, seeds)
    for name, group in points.groupby("series", sort=False):
        _draw_front(figure, group, is_selected=name == selected, epsilon=epsilon)
    _draw_anchors(figure, anchors)
    own = points[points["series"] == selected].sort_values("position")
    colour = palette.method_colour(int(own["index"].iloc[0])) if len(own) else palette.INK
    for meta, at, line, size in (("best", best, palette.FEASIBLE, 26), ("ring", position, colour, 19)):
        figure.add_scatter(
            **_at(own, at), mode="markers", meta=meta, hoverinfo="skip", showlegend=False,
            marker={"symbol": "circle-open" if meta == "ring" else "square-open", "size": size,
                    "color": line, "line": {"width": 3 if meta == "ring" else 2}},
        )  # fmt: skip
    drawn = pd.concat([f[["gap", "gain"]].astype(float) for f in (points, anchors, seeds) if f is not None and len(f)])
    figure.update_layout(_frontier_layout(drawn, epsilon, gap_title, gain_title, shares=shares))
    figure.add_annotation(BETTER if shares else LOWER)
    if points["live"].any():
        figure.add_annotation(LIVE)
    return figure


def _at(own: pd.DataFrame, position: int | None) -> dict[str, np.ndarray]:
    row = own[own["position"] == position] if position is not None else own.iloc[:0]
    return {axis: row[column].to_numpy(dtype=float)[:1] for axis, column in (("x", "gap"), ("y", "gain"))}


def _draw_seeds(figure: go.Figure, seeds: pd.DataFrame | None) -> None:
    if seeds is None or seeds.empty:
        return
    figure.add_scatter(
        x=seeds["gap"].to_numpy(dtype=float), y=seeds["gain"].to_numpy(dtype=float), mode="markers", meta="seeds",
        hoverinfo="skip", marker={"size": 4, "color": palette.UNTREATED, "opacity": SEED_ALPHA},
    )  # fmt: skip


def symbols(points: pd.DataFrame, epsilon: float) -> list[str]:
    """What a marker's shape says: filled = under epsilon, hollow = over it or unfinished, crossed = trivial."""
    shape = palette.method_marker(int(points["index"].iloc[0])) if len(points) else "circle"
    inside = points["gap"].to_numpy(dtype=float) < epsilon
    hollow = ~inside | points["live"].to_numpy(dtype=bool)
    return [
        "x-thin-open" if trivial else shape + "-open" * bool(empty)
        for trivial, empty in zip(points["trivial"].to_numpy(dtype=bool), hollow, strict=True)
    ]


def _draw_front(figure: go.Figure, group: pd.DataFrame, *, is_selected: bool, epsilon: float) -> None:
    index, name = int(group["index"].iloc[0]), str(group["series"].iloc[0])
    colour = palette.method_colour(index)
    if is_selected:
        _draw_spread(figure, group, colour)
    line = group[group["front"].to_numpy(dtype=bool)].sort_values("gap")
    figure.add_scatter(
        x=line["gap"].to_numpy(dtype=float), y=line["gain"].to_numpy(dtype=float), mode="lines", meta=f"front:{name}",
        hoverinfo="skip",
        line={"color": colour, "width": 2 if is_selected else 1.5, "dash": palette.method_dash(index)},
    )  # fmt: skip
    figure.add_scatter(
        x=group["gap"].to_numpy(dtype=float),
        y=group["gain"].to_numpy(dtype=float),
        mode="markers",
        meta=f"points:{name}",
        name=str(group["title"].iloc[0]),
        customdata=group["position"].to_numpy() if is_selected else None,
        hovertext=group["hover"].tolist(),
        hoverinfo="text",
        marker={
            "symbol": symbols(group, epsilon), "size": 9 if is_selected else 7, "color": colour,
            "line": {"color": colour, "width": 1.5}, "opacity": np.where(group["live"].to_numpy(dtype=bool), 0.55, 1.0),
        },
    )  # fmt: skip
    if not is_selected and group["gap"].notna().any():  # the selected method is named above the chart already
        end = group.sort_values("gap").dropna(subset=["gap"]).iloc[-1]
        figure.add_annotation(
            x=float(end["gap"]), y=float(end["gain"]), text=plain(end["title"]), showarrow=False, xanchor="right",
            yshift=16, font={"color": colour, "size": 12},
        )  # fmt: skip


def _draw_spread(figure: go.Figure, group: pd.DataFrame, colour: str) -> None:
    """Both intervals of every point as one broken line: plotly's own error bars cost most of a redraw."""
    gap, gain = (group[c].to_numpy(dtype=float) for c in ("gap", "gain"))
    gap_low, gap_high, gain_low, gain_high = (
        group[f"{c}_{end}"].to_numpy(dtype=float) for c in ("gap", "gain") for end in ("low", "high")
    )
    stop = np.full(len(group), np.nan)
    figure.add_scatter(
        x=np.column_stack([gap_low, gap_high, stop, gap, gap, stop]).ravel(),
        y=np.column_stack([gain, gain, stop, gain_low, gain_high, stop]).ravel(),
        mode="lines", meta="spread", hoverinfo="skip", line={"color": rgba(colour, 0.45), "width": 1},
    )  # fmt: skip


def _draw_anchors(figure: go.Figure, anchors: pd.DataFrame) -> None:
    leftmost = anchors["gap"].astype(float).min() if len(anchors) else 0.0
    for row in anchors.itertuples():
        x, y = float(row.gap), float(row.gain)  # type: ignore[arg-type]
        figure.add_scatter(
            x=np.array([x]), y=np.array([y]), mode="markers", meta=f"anchor:{row.title}", name=str(row.title),
            hovertext=[row.hover], hoverinfo="text",
            marker={"symbol": row.symbol, "size": 11, "color": palette.UNTREATED,
                    "line": {"width": 2, "color": palette.UNTREATED}},
        )  # fmt: skip
        figure.add_annotation(
            x=x, y=y, text=str(row.title), showarrow=False, xanchor="left" if x == leftmost else "right",
            xshift=10 if x == leftmost else 0, yshift=-14 if x == leftmost else -18,
            font={"color": palette.UNTREATED, "size": 12},
        )  # fmt: skip


def _room(values: pd.Series, *, zero: bool = False) -> list[float]:
    """A range that holds every value with some room, from zero if it is to."""
    finite = values[np.isfinite(values)].to_numpy(dtype=float)
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    low = min(low, 0.0) if zero else low
    room = 0.09 * ((high - low) or abs(high) or 1.0)
    return [low - room / 3 if zero else low - room, high + room]


def _frontier_layout(
    drawn: pd.DataFrame, epsilon: float, gap_title: str, gain_title: str, *, shares: bool
) -> dict[str, Any]:
    """drawn: gap, gain of all that is in the chart."""
    layout = base_layout(hovermode="closest", dragmode="zoom")
    if shares:
        x_range = [min(0.0, float(drawn["gap"].min())) - 0.008, axis_range(drawn["gap"])[1]]
        y_range = list(axis_range(drawn["gain"]))
    else:
        x_range, y_range = _room(drawn["gap"], zero=True), _room(drawn["gain"])
        layout["margin"] |= {"l": 66}
    form = PERCENT if shares else None
    layout["xaxis"] |= {
        "title": {"text": gap_title, "standoff": 8, "font": {"size": 13}},
        "range": x_range,
        "tickformat": form,
    }
    layout["yaxis"] |= {
        "title": {"text": gain_title, "standoff": 10, "font": {"size": 13}},
        "range": y_range,
        "tickformat": form,
    }
    layout["shapes"] = [
        {
            "name": "band", "type": "rect", "xref": "x", "yref": "paper", "layer": "below", "x0": -1, "x1": epsilon,
            "y0": 0, "y1": 1, "fillcolor": rgba(palette.FEASIBLE, 0.09),
            "line": {"width": 1, "dash": "dot", "color": rgba(palette.FEASIBLE, 0.55)},
        }
    ]  # fmt: skip
    return layout


BETTER = {
    "text": "◤ better", "xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "top",
    "xshift": 6, "yshift": -4, "showarrow": False, "font": {"color": palette.FEASIBLE, "size": 12},
}  # fmt: skip

LOWER = BETTER | {"text": "◣ better", "y": 0, "yanchor": "bottom", "yshift": 4}

LIVE = {
    "text": "hollow, pale: unfinished, validation sample", "xref": "paper", "yref": "paper", "x": 1, "y": 0,
    "xanchor": "right", "yanchor": "bottom", "showarrow": False, "font": {"color": palette.UNTREATED, "size": 12},
}  # fmt: skip


def group_accuracy(groups: pd.DataFrame, *, colour: str, title: str = "accuracy") -> go.Figure:
    """Accuracy per group as bars with their interval, the untreated model as a grey bar behind.

    groups: group, value, low, high, before (NaN where there is no untreated model), all in [0, 1].
    """
    names = groups["group"].map(plain).tolist()
    value, low, high = (groups[c].to_numpy(dtype=float) for c in ("value", "low", "high"))
    before = groups["before"].to_numpy(dtype=float)
    told = [f"{n}: {v:.1%} ({lo:.1%} to {hi:.1%})" for n, v, lo, hi in zip(names, value, low, high, strict=True)]
    bars = {"type": "bar", "y": names, "orientation": "h"}
    left = 14 + 6.6 * max(map(len, groups["group"]), default=0)  # plotly's own automargin draws everything twice
    layout = base_layout(barmode="overlay", bargap=0.2, margin={"l": left, "r": 56, "t": 4, "b": 34})
    layout["xaxis"] |= {"range": [0, 1.02], "tickformat": ".0%", "fixedrange": True, "title": None, "nticks": 6}
    layout["yaxis"] |= {"autorange": "reversed", "fixedrange": True, "showgrid": False}
    return go.Figure(
        [
            {**bars, "x": before, "meta": "before", "width": 0.72, "hoverinfo": "skip",
             "marker": {"color": rgba(palette.UNTREATED, 0.28), "line": {"width": 0}}},
            {**bars, "x": value, "meta": "now", "width": 0.4, "marker": {"color": colour}, "hoverinfo": "text",
             "hovertext": told,
             "error_x": {"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
                         "color": palette.INK, "thickness": 1.5, "width": 4}},
            {"type": "scatter", "y": names, "x": np.full(len(names), 1.02), "mode": "text", "meta": "label",
             "text": [f"{v:.1%}" for v in value], "textposition": "middle right", "textfont": {"size": 13},
             "hoverinfo": "skip", "cliponaxis": False},
        ],
        layout,
    )  # fmt: skip


def training_curves(
    curves: pd.DataFrame,
    *,
    losses: Mapping[str, str],
    biases: Mapping[str, str],
    gauges: Mapping[str, str] | None = None,
    coding: Mapping[str, str] | None = None,
    of: int | None = None,
    unit: str = "",
    colours: Sequence[str] = palette.LIGHT,
) -> go.Figure:
    """Loss above, bias below, the method's own gauges under them: the same steps, one hover line through all. Above
    them the losses of an autoencoder that is trained first, in nats (`coding`).

    curves: a column "step" and one column per key of losses, biases, gauges and coding; their values are the lines'
    names, and "chance" is grey. of: the last step, so that the axis stands still while the lines grow. unit: what the
    biases of a regression are counted in; else they are shares.
    """
    panels = [
        ("nats", coding or {}, None),
        ("loss", losses, None),
        (unit or "gap", biases, None if unit else PERCENT),
        ("gauge", gauges or {}, PERCENT),
    ]
    panels = [panel for panel in panels if panel[1]]
    # told at once as data: built step by step with plotly's own calls it takes nine times as long, at every look
    traces: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    layout = base_layout(hovermode="x unified", annotations=labels)
    height, top = (1 - PANEL_GAP * (len(panels) - 1)) / len(panels), 24
    for k, (title, lines, shape) in enumerate(panels):
        suffix = str(k + 1) if k else ""
        places = _side_by_side(list(lines.values()))
        for (column, name), (shift, above) in zip(lines.items(), places, strict=True):
            colour = palette.UNTREATED if column == "chance" else colours[len(traces) % len(colours)]
            traces.append(_curve(curves, column, name, colour, palette.method_dash(len(traces)), suffix))
            labels.append(
                {"text": name, "xref": "paper", "yref": f"y{suffix} domain", "x": 0, "y": 1, "xanchor": "left",
                 "yanchor": "bottom", "xshift": shift, "yshift": NAME_HEIGHT * above, "showarrow": False,
                 "font": {"size": 12, "color": colour}}
            )  # fmt: skip
        if not k:
            top += NAME_HEIGHT * max((above for _, above in places), default=0)
        last = k == len(panels) - 1
        high = 1 - k * (height + PANEL_GAP)
        below = {} if last else {"matches": f"x{len(panels)}", "showticklabels": False}
        spikes = {"showspikes": True, "spikethickness": 1, "spikecolor": GRID}
        layout[f"xaxis{suffix}"] = axis("step" if last else "", anchor=f"y{suffix}", **spikes, **below)
        layout[f"yaxis{suffix}"] = axis(
            title,
            anchor=f"x{suffix}",
            domain=[max(high - height, 0), high],
            rangemode="tozero",
            nticks=5,
            tickformat=shape,
        )
        if of:
            layout[f"xaxis{suffix}"]["range"] = [0, of]
        if curves.empty:  # nothing is known, so the axes claim nothing
            for letter in "xy":
                layout[f"{letter}axis{suffix}"] |= {"range": [0, 1], "showticklabels": False}
    layout["margin"] = {"l": 56, "r": 16, "t": top, "b": 40}
    return go.Figure(traces, layout)


def _side_by_side(names: Sequence[str]) -> list[tuple[float, int]]:
    """Where the names of a panel's lines stand above it: pixels from the left, rows up. They fill rows from the top
    one, none wider than the narrowest chart that a page shows."""
    places, shift, row = [], 0.0, 0
    for name in names:
        width = 5.6 * len(name)  # in pixels, near enough
        if shift and shift + width > NAMES_WIDTH:
            shift, row = 0.0, row + 1
        places.append((shift, row))
        shift += width + 14
    return [(shift, row - mine) for shift, mine in places]


def _curve(curves: pd.DataFrame, column: str, name: str, colour: str, dash: str, suffix: str) -> dict[str, Any]:
    """A line in the panel whose axes end like this."""
    known = curves[column].to_numpy(dtype=float) if column in curves else np.array([])
    return {
        "type": "scatter", "x": curves["step"].to_numpy() if column in curves else known, "y": known, "mode": "lines",
        "name": name, "meta": column, "xaxis": f"x{suffix}", "yaxis": f"y{suffix}",
        "line": {"color": colour, "width": 2, "dash": dash}, "hovertemplate": "%{y:.3f}",
    }  # fmt: skip


def confusion(cells: pd.DataFrame, *, title: str = "") -> go.Figure:
    """One confusion matrix as a heat map for a printed report; colour = share of the true class, 0 to 1.

    cells: actual, predicted, share, count; one row per cell.
    """
    share = cells.pivot(index="actual", columns="predicted", values="share")
    count = cells.pivot(index="actual", columns="predicted", values="count")
    text = [[f"{s:.1%}<br>{c:,.0f}" for s, c in zip(*rows, strict=True)] for rows in
            zip(share.to_numpy(), count.to_numpy(), strict=True)]  # fmt: skip
    figure = go.Figure(
        go.Heatmap(
            z=share.to_numpy(dtype=float), x=[str(c) for c in share.columns], y=[str(i) for i in share.index],
            zmin=0, zmax=1, colorscale=[[0, "#ffffff"], [1, "#8db8d8"]], showscale=False, text=text,
            texttemplate="%{text}", hoverinfo="skip",
        )
    )  # fmt: skip
    figure.update_layout(base_layout(title={"text": title, "font": {"size": 14}}, margin={"l": 80, "t": 36}))
    figure.update_xaxes(title_text="predicted", type="category")
    figure.update_yaxes(title_text="actual", type="category", autorange="reversed")
    return figure
