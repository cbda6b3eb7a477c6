"""Figures of what DVGE did: DataFrame -> plotly Figure, under the rules of figures.py.

What belongs to the classifier of the group is INK and hatched, or a dashed line with squares; what belongs to the model
of the task has the method's colour, filled, or a solid line with circles. The numbers of a code are z0, z1, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fairness_core import palette
from fairness_core.data_figures import LETTER, PALE, axis_title, cut, left_margin
from fairness_core.figures import GRID, axis_range, base_layout, plain, rgba

SENSITIVE, MODEL = "group classifier", "model"
MOST = 24  # numbers of a code, or columns, that have a row
TOP = 10  # columns that change most
LOOKED = 16  # columns that are looked at most
CONFLICT = 0.7  # |cosine| from which fairness and utility conflict
ROW, FRAME = 30, 96  # pixels of a row, and of everything above and below the rows
SMALL = {"size": 12}
HATCH = {"shape": "/", "size": 6, "solidity": 0.35}


def height(n_rows: int) -> int:
    """Pixels of a figure with a row for each of up to MOST names."""
    return FRAME + ROW * min(max(n_rows, 1), MOST)


def busiest(table: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """The rows with the largest share of either focus, in their old order."""
    largest = table[["sensitive", "task"]].fillna(0).max(axis=1)
    return table.loc[sorted(largest.sort_values(ascending=False, kind="stable").index[:most])]


# ---------------------------------------------------------------------------------------------------------------- foci


def foci(table: pd.DataFrame, *, colour: str, ratio: bool = False) -> go.Figure:
    """Which numbers of the code both classifiers listen to, beside how far each goes with the group and the target.

    table: number, sensitive, task (shares of the summed mean |focus|, 0 to 1), with_group, with_target, active. ratio:
    the associations are correlation ratios, from 0 to 1.
    """
    own = busiest(table)
    names = [f"z{n}" if active else f"z{n} (unused)" for n, active in zip(own["number"], own["active"], strict=True)]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06, column_widths=[0.58, 0.42])
    top = _pairs(figure, own, names, colour, where={"row": 1, "col": 1})
    places = np.arange(len(own))
    for column, symbol, paint, name in (
        ("with_group", "square-open", palette.INK, "the group"), ("with_target", "circle", colour, "the target"),
    ):  # fmt: skip
        value = own[column].to_numpy(float)
        figure.add_scatter(
            x=value, y=places, mode="markers", meta=column, row=1, col=2, hoverinfo="text", cliponaxis=False,
            marker={"symbol": symbol, "size": 9, "color": paint, "line": {"color": paint, "width": 2}},
            hovertext=[f"{n} with {name}: {v:+.2f}" for n, v in zip(names, value, strict=True)],
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": palette.UNTREATED, "width": 1}, row=1, col=2)
    most = max(0.5, float(np.nanmax(np.abs(own[["with_group", "with_target"]].to_numpy(float)), initial=0.0)) + 0.05)
    figure.update_xaxes(title=axis_title("share of the focus (%)"), range=[0, top], row=1, col=1)
    title = "correlation ratio" if ratio else "correlation"
    figure.update_xaxes(title=axis_title(title), range=[0 if ratio else -most, most], nticks=7, row=1, col=2)
    _rows(figure, names, above=30)
    _key(figure, [(f"▨ {SENSITIVE}", palette.INK), (f"■ {MODEL}", colour)], above=8)
    _key(figure, [("□ with the group", palette.INK), ("● with the target", colour)], above=8, x=0.61)
    return figure


def saliency(table: pd.DataFrame, *, colour: str) -> go.Figure:
    """The columns both look at most. table: column, sensitive, task (shares of the summed mean |gradient|, 0 to 1)."""
    own = busiest(table, LOOKED)
    own = own.sort_values(["task", "sensitive"], ascending=False, kind="stable")
    figure, names = go.Figure(), own["column"].astype(str).tolist()
    top = _pairs(figure, own, names, colour)
    figure.update_xaxes(title=axis_title("share of the gradient (%)"), range=[0, top])
    _rows(figure, names, above=30)
    _key(figure, [(f"▨ {SENSITIVE}", palette.INK), (f"■ {MODEL}", colour)], above=8)
    return figure


def _pairs(
    figure: go.Figure, own: pd.DataFrame, names: Sequence[str], colour: str, where: dict[str, Any] | None = None
) -> float:
    """A hatched and a filled bar per row, in %; the end of the axis."""
    value = 100 * own[["sensitive", "task"]].to_numpy(float)
    for k, (column, name) in enumerate({"sensitive": SENSITIVE, "task": MODEL}.items()):
        figure.add_bar(
            x=value[:, k], y=np.arange(len(own)) + 0.38 * k - 0.19, orientation="h", width=0.34, meta=column,
            marker=_fill(colour, hatched=column == "sensitive"), hoverinfo="text",
            hovertext=[f"<b>{plain(n)}</b><br>{name}: {v:.1f} %" for n, v in zip(names, value[:, k], strict=True)],
            **(where or {}),
        )  # fmt: skip
    return 1.08 * max(float(np.nanmax(value, initial=0.0)), 1.0)


def _fill(colour: str, *, hatched: bool) -> dict[str, Any]:
    if not hatched:
        return {"color": colour, "line": {"color": colour, "width": 1.5}}
    pattern = {**HATCH, "fgcolor": palette.INK, "bgcolor": rgba(palette.INK, 0.06)}
    return {"color": rgba(palette.INK, PALE), "pattern": pattern, "line": {"color": palette.INK, "width": 1.2}}


def cosines(values: np.ndarray, *, colour: str) -> go.Figure:
    """Rows by the cosine of their two foci (n,); beyond CONFLICT the bars are hatched."""
    edges = np.round(np.linspace(-1, 1, 21), 2)
    counts, _ = np.histogram(values, edges)
    middle = (edges[:-1] + edges[1:]) / 2
    beyond = np.abs(middle) > CONFLICT
    figure = go.Figure()
    for meta, mask in (("within", ~beyond), ("beyond", beyond)):
        figure.add_bar(
            x=middle[mask], y=counts[mask], width=0.094, meta=meta, marker=_fill(colour, hatched=meta == "beyond"),
            hoverinfo="text",
            hovertext=[f"cosine {x - 0.05:.1f} to {x + 0.05:.1f}: {n} rows" for x, n in
                       zip(middle[mask], counts[mask], strict=True)],
        )  # fmt: skip
    for x, anchor in ((-CONFLICT, "right"), (CONFLICT, "left")):
        figure.add_vline(x=x, line={"color": palette.INK, "width": 1.5, "dash": "dash"})
        _note(figure, f"{'−' if x < 0 else ''}{CONFLICT}", x=x, xref="x", y=1, yref="paper", xanchor=anchor,
              yanchor="bottom", font=SMALL)  # fmt: skip
    layout = base_layout(margin={"l": 58, "r": 18, "t": 26, "b": 46})
    layout["xaxis"] |= {"range": [-1, 1], "title": axis_title("cosine of the two foci"), "nticks": 9}
    layout["yaxis"] |= {"title": axis_title("rows"), "rangemode": "tozero", "nticks": 5}
    figure.update_layout(layout)
    return figure


# ------------------------------------------------------------------------------------------------- pushes and validity


def flips(table: pd.DataFrame, *, colour: str) -> go.Figure:
    """Rows whose decision changes when their code is pushed along a focus.

    table: along, push (lengths in code units), sensitive, model (shares of the rows, 0 to 1).
    """
    ways = list(dict.fromkeys(table["along"]))
    figure = make_subplots(rows=1, cols=len(ways), shared_yaxes=True, horizontal_spacing=0.06)
    for col, (way, own) in enumerate(table.groupby("along", sort=False), 1):
        for column in ("sensitive", "model"):
            _pair_line(figure, own, "push", column, colour, f"push of {{x:+g}} along the {plain(way)}: {{y:.1f}} % of"
                       " the rows decided otherwise", where={"row": 1, "col": col}, meta=f"{column}:{way}")  # fmt: skip
        figure.update_xaxes(title=axis_title(f"push along the {cut(str(way), 40)}"), row=1, col=col)
    top = 100 * float(np.nanmax(table[["sensitive", "model"]].to_numpy(float), initial=0.0))
    figure.update_layout(base_layout(hovermode="closest", margin={"l": 58, "r": 18, "t": 30, "b": 46}))
    figure.update_xaxes(gridcolor=GRID, zeroline=False, tickvals=sorted(set(table["push"].astype(float))))
    figure.update_yaxes(gridcolor=GRID, zeroline=False, range=[-2, max(1.1 * top, 10.0)], nticks=5)
    figure.update_yaxes(title=axis_title("decisions that change (%)"), row=1, col=1)
    _key(figure, [(f"■ {SENSITIVE}", palette.INK), (f"● {MODEL}", colour)], above=8)
    return figure


def validity(table: pd.DataFrame, *, colour: str, chance: float) -> go.Figure:
    """The focus-validity test: balanced accuracy of the group classifier without k numbers of the code.

    table: k, focus, random, low, high (random orders, mean and one standard deviation about it), 0 to 1.
    """
    k, low, high = (table[c].to_numpy(float) for c in ("k", "low", "high"))
    figure = go.Figure()
    figure.add_scatter(
        x=np.concatenate([k, k[::-1]]), y=100 * np.concatenate([high, low[::-1]]), mode="lines", fill="toself",
        meta="band", hoverinfo="skip", line={"width": 0}, fillcolor=rgba(palette.UNTREATED, 0.25),
    )  # fmt: skip
    for column, name, paint, dash, symbol in (
        ("random", "random numbers", palette.UNTREATED, "dash", "square"),
        ("focus", "largest focus first", colour, "solid", "circle"),
    ):
        value = 100 * table[column].to_numpy(float)
        figure.add_scatter(
            x=k, y=value, mode="lines+markers", meta=column, cliponaxis=False, hoverinfo="text",
            line={"color": paint, "width": 2, "dash": dash}, marker={"symbol": symbol, "size": 7, "color": paint},
            hovertext=[f"{name}, {n:g} replaced: {v:.1f} %" for n, v in zip(k, value, strict=True)],
        )  # fmt: skip
    figure.add_hline(y=100 * chance, line={"color": palette.INK, "width": 1.5, "dash": "dot"})
    ends = axis_range(100 * np.array([chance, *low, *high, *table["focus"]]), step=5.0)
    layout = base_layout(hovermode="closest", margin={"l": 58, "r": 18, "t": 30, "b": 46})
    layout["xaxis"] |= {"title": axis_title("numbers of the code replaced by their means (k)"), "dtick": _step(k)}
    layout["yaxis"] |= {"title": axis_title("balanced accuracy (%)"), "range": list(ends), "nticks": 6}
    figure.update_layout(layout)
    entries = [("● by focus", colour), ("■ random, ± 1 sd", palette.UNTREATED)]
    _key(figure, [*entries, (f"⋯ chance, {100 * chance:.0f} %", palette.INK)], above=8)
    return figure


def _step(k: np.ndarray) -> int:
    return max(1, -(-len(k) // 12))


def _pair_line(
    figure: go.Figure, own: pd.DataFrame, x: str, column: str, colour: str, told: str, *, where: dict[str, Any],
    meta: str,
) -> None:  # fmt: skip
    sensitive = column == "sensitive"
    paint, dash, symbol = (palette.INK, "dash", "square") if sensitive else (colour, "solid", "circle")
    at, value = own[x].to_numpy(float), 100 * own[column].to_numpy(float)
    who = SENSITIVE if sensitive else MODEL
    figure.add_scatter(
        x=at, y=value, mode="lines+markers", meta=meta, cliponaxis=False, hoverinfo="text",
        line={"color": paint, "width": 2, "dash": dash}, marker={"symbol": symbol, "size": 8, "color": paint},
        hovertext=[f"<b>{who}</b><br>{told.format(x=a, y=v)}" for a, v in zip(at, value, strict=True)], **where,
    )  # fmt: skip


def moved(table: pd.DataFrame, *, colour: str, hatched: bool, push: float) -> go.Figure:
    """The TOP columns of a table that change most when codes are pushed by `push` and by -push along one focus.

    table: column, forward, backward (mean changes). hatched: the focus is that of the group classifier.
    """
    own = table.assign(most=table[["forward", "backward"]].abs().max(axis=1))
    own = own.sort_values("most", ascending=False, kind="stable").head(TOP)
    figure, names = go.Figure(), own["column"].astype(str).tolist()
    paint = palette.INK if hatched else colour
    for k, column in enumerate(("forward", "backward")):
        value, sign = own[column].to_numpy(float), push if column == "forward" else -push
        figure.add_bar(
            x=value, y=np.arange(len(own)) + 0.38 * k - 0.19, orientation="h", width=0.34, meta=column,
            marker=_fill(colour, hatched=hatched) if k == 0 else {"color": rgba(paint, 0.04),
                                                                  "line": {"color": paint, "width": 1.5}},
            hoverinfo="text",
            hovertext=[f"<b>{plain(n)}</b><br>push {sign:+g}: {v:+.3f}" for n, v in zip(names, value, strict=True)],
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": palette.UNTREATED, "width": 1})
    figure.update_xaxes(title=axis_title("mean change (sd of a number, share of a category)"), nticks=7)
    _rows(figure, names, above=30)
    filled = "▨" if hatched else "■"
    _key(figure, [(f"{filled} pushed by +{push:g}", paint), (f"□ pushed by −{push:g}", paint)], above=8)
    return figure


# ------------------------------------------------------------------------------------------------------ the autoencoder


def nats(table: pd.DataFrame, *, colour: str) -> go.Figure:
    """What every number of the code says. table: number, kl (nats), active; the largest first, unused ones hatched."""
    own = table.sort_values("kl", ascending=False, kind="stable").head(MOST)
    figure, value = go.Figure(), own["kl"].to_numpy(float)
    active = own["active"].to_numpy(bool)
    names = [f"z{n}" if a else f"z{n} (unused)" for n, a in zip(own["number"], active, strict=True)]
    for meta, mask in (("active", active), ("unused", ~active)):
        figure.add_bar(
            x=value[mask], y=np.flatnonzero(mask), orientation="h", width=0.6, meta=meta, hoverinfo="text",
            marker=_fill(colour, hatched=meta == "unused"),
            hovertext=[f"{n}: {v:.3f} nats" for n, v, m in zip(names, value, mask, strict=True) if m],
        )  # fmt: skip
    figure.update_xaxes(title=axis_title("KL to the prior (nats per row)"), rangemode="tozero", nticks=6)
    _rows(figure, names)
    return figure


def explained(table: pd.DataFrame, *, colour: str) -> go.Figure:
    """How much of every column the code keeps, the best and the worst. table: column, explained (1 is all)."""
    own = table.dropna().sort_values("explained", ascending=False, kind="stable")
    if len(own) > MOST:
        own = pd.concat([own.head(MOST // 2), own.tail(MOST // 2)])
    figure, names, value = go.Figure(), own["column"].astype(str).tolist(), 100 * own["explained"].to_numpy(float)
    figure.add_bar(
        x=value.clip(-10), y=np.arange(len(own)), orientation="h", width=0.6, meta="explained", hoverinfo="text",
        marker={"color": colour}, hovertext=[f"<b>{plain(n)}</b><br>{v:.1f} %" for n, v in
                                             zip(names, value, strict=True)],
    )  # fmt: skip
    figure.update_xaxes(title=axis_title("variance explained (%)"), range=[-12, 103], nticks=6)
    _rows(figure, names)
    return figure


def losses(table: pd.DataFrame, *, colour: str, of: int | None = None) -> go.Figure:
    """Both losses of the autoencoder over its steps. table: step, reconstruction, kl (nats per row)."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.12)
    for row, (column, dash) in enumerate({"reconstruction": "solid", "kl": "dash"}.items(), 1):
        figure.add_scatter(
            x=table["step"].to_numpy(float), y=table[column].to_numpy(float), mode="lines+markers", meta=column,
            row=row, col=1, line={"color": colour, "width": 2, "dash": dash}, marker={"size": 5, "color": colour},
            hovertemplate="step %{x}: %{y:.4g} nats<extra></extra>",
        )  # fmt: skip
        title = "KL to the prior" if column == "kl" else column
        figure.update_yaxes(title=axis_title(f"{title} (nats)"), row=row, col=1)
    figure.update_layout(base_layout(hovermode="closest", margin={"l": 66, "r": 18, "t": 12, "b": 46}))
    figure.update_xaxes(gridcolor=GRID, zeroline=False, range=[0, of] if of else None)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, nticks=5)
    figure.update_xaxes(title=axis_title("step of the autoencoder"), row=2, col=1)
    return figure


# ------------------------------------------------------------------------------------------------------------ the grid


def grid(table: pd.DataFrame, *, colour: str, scale: float = 100.0) -> go.Figure:
    """One measure over both strengths, its value in every cell; more colour is more.

    table: sensitive, task (the strengths), value (mean over seeds; NaN: not trained yet), sd, seeds, live, chosen, own
    (the shown run).
    """
    value = table.pivot(index="task", columns="sensitive", values="value")
    live = table.pivot(index="task", columns="sensitive", values="live").to_numpy(bool)
    shown = scale * value.to_numpy(float)
    text = [["" if not np.isfinite(v) else f"{'~' if wait else ''}{v:.1f}" for v, wait in zip(*rows, strict=True)]
            for rows in zip(shown, live, strict=True)]  # fmt: skip
    xs, ys = ([f"{v:g}" for v in axis] for axis in (value.columns, value.index))
    finite = shown[np.isfinite(shown)]
    ends = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    figure = go.Figure(
        go.Heatmap(
            z=np.zeros(shown.shape), x=np.arange(len(xs)), y=np.arange(len(ys)), xgap=2, ygap=2, meta="places",
            colorscale=[[0, rgba(palette.UNTREATED, 0.08)], [1, rgba(palette.UNTREATED, 0.08)]], showscale=False,
            hoverinfo="skip",
        )
    )  # fmt: skip
    figure.add_trace(
        go.Heatmap(
            z=shown, x=np.arange(len(xs)), y=np.arange(len(ys)), zmin=ends[0], zmax=max(ends[1], ends[0] + 1e-6),
            colorscale=[[0, rgba(colour, 0.04)], [1, rgba(colour, 0.4)]], showscale=False, text=text, xgap=2, ygap=2,
            texttemplate="%{text}", textfont={"color": palette.INK, "size": 13}, meta="grid", hoverongaps=False,
            customdata=_cells(table, scale), hovertemplate="%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    for column, dash, width in (("own", "dot", 2), ("chosen", "solid", 3)):
        for row in table[table[column]].itertuples():
            x, y = xs.index(f"{row.sensitive:g}"), ys.index(f"{row.task:g}")
            paint = palette.FEASIBLE if column == "chosen" else palette.INK
            room = 0.47 if column == "chosen" else 0.4
            figure.add_shape(type="rect", name=column, x0=x - room, x1=x + room, y0=y - room, y1=y + room,
                             line={"color": paint, "width": width, "dash": dash})  # fmt: skip
    figure.update_layout(base_layout(hovermode="closest", margin={"l": 58, "r": 18, "t": 30, "b": 46}))
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True}
    figure.update_xaxes(title=axis_title("η_s, along the sensitive focus"), tickvals=np.arange(len(xs)), ticktext=xs,
                        range=[-0.5, len(xs) - 0.5], **axis)  # fmt: skip
    figure.update_yaxes(title=axis_title("η_t, along the task focus"), tickvals=np.arange(len(ys)), ticktext=ys,
                        range=[-0.5, len(ys) - 0.5], **axis)  # fmt: skip
    entries = [("▢ chosen on validation", palette.FEASIBLE)] * bool(table["chosen"].any())
    entries += [("⬚ this run", palette.INK)] * bool(table["own"].any())
    entries += [("~ unfinished", palette.UNTREATED)] * bool(live.any())
    _key(figure, entries, above=8)
    return figure


def _cells(table: pd.DataFrame, scale: float) -> np.ndarray:
    """What hovering over each cell says."""
    numbers = table[["sensitive", "task", "value", "sd", "seeds"]].to_numpy(float)
    told = [
        f"<b>η_s = {s:g}, η_t = {t:g}</b><br>{scale * v:.2f}, seeds: {n:.0f}"
        + (f", sd over them {scale * sd:.2f}" if np.isfinite(sd) else "")
        for s, t, v, sd, n in numbers
    ]
    whole = table.assign(told=told).pivot(index="task", columns="sensitive", values="told")
    return np.asarray(whole.to_numpy(dtype=object))


# --------------------------------------------------------------------------------------------------------------- pieces


def _rows(figure: go.Figure, names: Sequence[str], above: float = 10) -> None:
    """Rows from top to bottom with their names, the space for a key above."""
    left, short = left_margin(names, 34)
    figure.update_layout(base_layout(barmode="overlay", hovermode="closest"))
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(
        tickvals=np.arange(len(names)), ticktext=[plain(name) for name in short], range=[len(names) - 0.45, -0.55],
        showgrid=False, zeroline=False, fixedrange=True,
    )  # fmt: skip
    figure.update_layout(margin={"l": left, "r": 22, "t": above, "b": 46})


def _key(figure: go.Figure, entries: Sequence[tuple[str, str]], above: float, x: float = 0.0) -> None:
    shift = 0.0
    for text, colour in entries:
        _note(figure, text, x=x, xref="paper", y=1, yref="paper", xanchor="left", yanchor="bottom", xshift=shift,
              yshift=above, font={**SMALL, "color": colour})  # fmt: skip
        shift += LETTER * len(text) + 14


def _note(figure: go.Figure, text: str, **place: Any) -> None:
    figure.add_annotation(text=text, showarrow=False, **place)
