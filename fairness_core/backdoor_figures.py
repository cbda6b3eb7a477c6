"""Figures of what BaDe did (arXiv 2303.01504, figure 2 and tables): DataFrame -> plotly Figure, under the rules of
figures.py.

Gaps are in points, levels in %, of a number as target both in its units; the caller says which with `scale` and `unit`.
The student is a filled circle in the method's colour, the teacher with cancelling triggers a dashed square, the
untreated model grey, in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fairness_core import palette
from fairness_core.data_figures import LETTER, PALE, axis_title, cut, error_bars, names_axis
from fairness_core.figures import GRID, axis_range, base_layout, plain, rgba

FEWEST_SEEDS = 3  # whose t interval is drawn
SMALL_FONT = {"size": 12}
VIEW_MARKERS = {"no trigger": "circle", "reinforcing": "triangle-up", "cancelling": "diamond"}
ROW, FRAME = 34, 84  # pixels of a row, and of everything above and below the rows


@dataclass(frozen=True)
class Units:
    """How gaps and levels are told. scale: what a value is multiplied with; gap and level: titles of their axes; unit:
    what headings add, where the target is a number."""

    gap: str = "Odds (points)"
    level: str = "EAcc (%)"
    scale: float = 100.0
    digits: int = 1
    unit: str = ""

    def tell(self, value: float) -> str:
        return f"{self.scale * value:.{self.digits}f}" if np.isfinite(value) else "–"


def height(n_rows: int) -> int:
    """Pixels of `by_view` and `models`."""
    return FRAME + ROW * n_rows


# ----------------------------------------------------------------------------------------------------------- the valley


FULL = 100.0  # the strength beyond which n % has reached its end and s grows
SQUEEZE = 2.0  # so many percent of s take as much room as one of n
APART = 0.08  # of the axis, between two ticks of s


def artificial(table: pd.DataFrame, runs: pd.DataFrame, *, colour: str, name: str, scale: float = 100.0) -> go.Figure:
    """How far the triggers alone move the teacher, over the strength (figure 2, left).

    table: strength, rate, exponent (n % and s), seeds, artificial, artificial_low, artificial_high (means over seeds
    with t intervals; NaN of one seed). runs: strength, artificial of single runs.
    """
    figure = go.Figure()
    _singles(figure, runs, "artificial", scale)
    shape = ".1f" if scale > 1 else ".3f"
    _line(figure, table, "artificial", "artificial bias", scale, colour, None, "solid", "circle", shape)
    highest = _all(table[table["seeds"] >= FEWEST_SEEDS], "artificial_high")
    top = axis_range(scale * np.array([0.0, *_all(runs, "artificial"), *highest]), step=0.05 * scale)[1]
    figure.update_yaxes(title=axis_title(name), range=[0, top], gridcolor=GRID, zeroline=False, nticks=6)
    _strengths(figure, table, margin={"l": 58, "r": 18, "t": 74, "b": 46})
    return figure


def residual(
    table: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    colour: str,
    units: Units,
    floor: float = np.nan,
    untreated: Mapping[str, float] | None = None,
) -> go.Figure:
    """The bias that is left, above, and the level of the results, below, over the strength (figure 2, right).

    table: strength, rate, exponent, seeds, and gap, level, validation_gap, validation_level and teacher_gap, each with
    _low and _high (NaN where there is none). runs: strength, gap, level of single runs. floor: the gap that chance
    alone makes, a band. untreated: gap and level of the untreated model, means over so many seeds.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.62, 0.38])
    shape, known = f".{units.digits}f", untreated or {}
    for row, column in enumerate(("gap", "level"), 1):
        _singles(figure, runs, column, units.scale, row=row)
        if np.isfinite(known.get(column, np.nan)):
            figure.add_hline(
                y=units.scale * known[column], row=row, col=1,
                line={"color": palette.UNTREATED, "width": 2, "dash": "longdash"},
            )  # fmt: skip
        _line(figure, table, f"validation_{column}", "student, validation", units.scale, rgba(colour, 0.5), row, "dot",
              "circle-open", shape, thin=True)  # fmt: skip
        if column == "gap":
            _line(figure, table, "teacher_gap", "teacher, cancelling", units.scale, palette.INK, row, "dash", "square",
                  shape, thin=True)  # fmt: skip
        _line(figure, table, column, "student", units.scale, colour, row, "solid", "circle", shape)
    sure = table[table["seeds"] >= FEWEST_SEEDS]
    gaps = [0.0, floor, known.get("gap", np.nan), *_all(table, "gap", "validation_gap", "teacher_gap")]
    gaps += [*_all(sure, "gap_high"), *_all(runs, "gap")]
    levels = [known.get("level", np.nan), *_all(table, "level", "validation_level"), *_all(runs, "level")]
    levels += _all(sure, "level_low", "level_high")
    step = 0.05 * units.scale if units.scale > 1 else max(np.nanmax(gaps) / 5, 1e-9)
    top = axis_range(units.scale * np.array(gaps), step=step)[1]
    ends = axis_range(units.scale * np.array(levels), step=0.02 * units.scale if units.scale > 1 else step)
    figure.update_yaxes(title=axis_title(units.gap), range=[0, top], nticks=6, row=1, col=1)
    figure.update_yaxes(title=axis_title(units.level), range=ends, nticks=4, row=2, col=1)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    if np.isfinite(floor):
        figure.add_hrect(y0=0, y1=units.scale * floor, row=1, col=1, line_width=0, layer="below",
                         fillcolor=rgba(palette.UNTREATED, 0.2))  # fmt: skip
        _note(figure, "band: chance alone", x=0, xref="paper", y=units.scale * floor, yref="y", xanchor="left",
              yanchor="bottom", xshift=4, font={**SMALL_FONT, "color": palette.UNTREATED})  # fmt: skip
    _strengths(figure, table, rows=2, margin={"l": 58, "r": 18, "t": 74, "b": 46})
    entries = [("● student", colour), ("■ teacher, cancelling", palette.INK), ("○ student, validation", colour)]
    if not table["teacher_gap"].notna().any():
        del entries[1]
    if known:
        many = known.get("seeds", 1)
        entries.append((f"– – untreated, {many:g} seed{'s' if many > 1 else ''}", palette.UNTREATED))
    _key(figure, entries[:2], above=50)
    _key(figure, entries[2:], above=34)
    return figure


def mark_strengths(figure: go.Figure, marks: Mapping[str, float]) -> go.Figure:
    """Vertical lines at strengths that matter, each with its name above ("chosen on validation": 60); two at one
    strength share a name."""
    places: dict[float, list[str]] = {}
    for name, strength in marks.items():
        places.setdefault(_place(float(strength)), []).append(name)
    left, right = figure.layout.xaxis.range
    for k, (x, names) in enumerate(places.items()):
        chosen = any("chosen" in name for name in names)
        colour = palette.FEASIBLE if chosen else palette.INK
        figure.add_vline(x=x, line={"color": colour, "width": 1.5, "dash": "solid" if chosen else "dot"})
        share = (x - left) / (right - left)
        anchor = "left" if share <= 0.3 else "right" if share >= 0.7 else "center"
        _note(figure, " = ".join(names), x=x, xref="x", y=1, yref="paper", xanchor=anchor, yanchor="bottom",
              yshift=1 + 15 * k, font={**SMALL_FONT, "color": colour})  # fmt: skip
    return figure


def _place(strength: float) -> float:
    """Where a strength lies on the axis."""
    return min(strength, FULL) + max(strength - FULL, 0.0) / SQUEEZE


def _places(table: pd.DataFrame) -> list[float]:
    return [_place(float(strength)) for strength in table["strength"]]


def _line(
    figure: go.Figure, table: pd.DataFrame, column: str, name: str, scale: float, colour: str, row: int | None,
    dash: str, symbol: str, shape: str, *, thin: bool = False,
) -> None:  # fmt: skip
    """Means over seeds with their t intervals, which two seeds alone make too wide to be drawn."""
    known = table[table[column].notna()]
    value, low, high = _scaled(known, column, scale)
    few = known["seeds"].to_numpy(float) < FEWEST_SEEDS
    low, high = (np.where(few, np.nan, end) for end in (low, high))
    where: dict[str, Any] = {} if row is None else {"row": row, "col": 1}
    figure.add_scatter(
        x=_places(known), y=value, mode="lines+markers", meta=column, name=name, cliponaxis=False,
        line={"color": colour, "width": 1.4 if thin else 2.4, "dash": dash},
        marker={"symbol": symbol, "size": 7 if thin else 9, "color": colour},
        error_y={} if thin else {**error_bars(value, low, high), "color": colour},
        hovertext=[
            f"<b>{name}, {where_it_is}</b><br>{v:{shape}}"
            + (f" ({lo:{shape}} to {hi:{shape}}, t over seeds)" if np.isfinite(lo) else "") + f"<br>seeds: {int(s)}"
            for where_it_is, v, lo, hi, s in zip(_settings(known), value, low, high, known["seeds"], strict=True)
        ],
        hoverinfo="text", **where,
    )  # fmt: skip


def _singles(figure: go.Figure, runs: pd.DataFrame, column: str, scale: float, row: int | None = None) -> None:
    where = {} if row is None else {"row": row, "col": 1}
    figure.add_scatter(
        x=_places(runs), y=scale * runs[column].to_numpy(float), mode="markers", meta=f"runs:{column}",
        hoverinfo="skip", marker={"size": 4, "color": palette.UNTREATED, "opacity": 0.55}, **where,
    )  # fmt: skip


def _settings(table: pd.DataFrame) -> list[str]:
    """n % of every row, or s where n has reached its end."""
    rows = zip(table["strength"], table["rate"], table["exponent"], strict=True)
    return [f"n = {rate:g} %" if strength <= FULL else f"s = {s:g}" for strength, rate, s in rows]


def _strengths(figure: go.Figure, table: pd.DataFrame, *, rows: int = 1, margin: Mapping[str, int]) -> None:
    """The axis: n up to its end and, where there is more, s behind it."""
    ticks = {float(n): f"{n}" for n in range(0, 101, 20)}
    beyond, end = table[table["strength"] > FULL], max([FULL, *_places(table)])
    for x, s in zip(_places(beyond), beyond["exponent"], strict=True):
        if x - max(ticks) >= APART * end:
            ticks[x] = f"s {s:g}"
    figure.update_layout(base_layout(hovermode="closest", margin=dict(margin)))
    figure.update_xaxes(gridcolor=GRID, zeroline=False, range=[-0.03 * end, 1.03 * end], tickvals=list(ticks),
                        ticktext=list(ticks.values()))  # fmt: skip
    where: dict[str, Any] = {} if rows == 1 else {"row": rows, "col": 1}
    if end > FULL:
        figure.add_vrect(x0=FULL, x1=1.03 * end, line_width=0, layer="below", fillcolor=rgba(palette.UNTREATED, 0.1))
    title = "injection rate n (%)" + (", then strength s at n = 100 %" if len(beyond) else "")
    figure.update_xaxes(title=axis_title(title), **where)


def _all(table: pd.DataFrame, *columns: str) -> list[float]:
    return [float(v) for c in columns for v in table[c]]


# ------------------------------------------------------------------------------------------ the teacher, and the models


def by_view(table: pd.DataFrame, *, colour: str, units: Units) -> go.Figure:
    """Gap, level and (of classes) accuracy of the teacher in every view, as dots with their 95 % intervals.

    table: name and, for "gap", "level" and "accuracy", the value with its _low and _high.
    """
    panels = {"gap": units.gap, "level": units.level}
    if table["accuracy"].notna().any():
        panels["accuracy"] = "accuracy (%)"
    figure = make_subplots(rows=1, cols=len(panels), shared_yaxes=True, horizontal_spacing=0.05)
    names, places = table["name"].astype(str).tolist(), np.arange(len(table))
    for col, (column, title) in enumerate(panels.items(), 1):
        value, low, high = _scaled(table, column, units.scale)
        figure.add_scatter(
            x=value, y=places, mode="markers", meta=column, row=1, col=col, hoverinfo="text", cliponaxis=False,
            marker={"size": 11, "color": [colour if n == "cancelling" else palette.INK for n in names],
                    "symbol": [VIEW_MARKERS.get(n, "square-open") for n in names]},
            error_x=error_bars(value, low, high), hovertext=_told(names, title, value, low, high, units),
        )  # fmt: skip
        ends: dict[str, Any] = {}
        if column == "gap":
            least = 1.0 if units.scale > 1 else 1e-3
            ends = {"range": [0, 1.1 * max(float(np.nanmax(np.fmax(value, high), initial=0.0)), least)]}
        figure.update_xaxes(title=axis_title(title), row=1, col=col, nticks=6, **ends)
    return _in_rows(figure, names)


def models(table: pd.DataFrame, *, colour: str, units: Units) -> go.Figure:
    """Gap and level of the untreated model, the teacher with cancelling triggers and the student, as bars with their
    95 % intervals. table: name ("untreated", "teacher, cancelling", "student") and, for "gap" and "level", the value
    with its _low and _high."""
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.08)
    names, places = table["name"].astype(str).tolist(), np.arange(len(table))
    paints = {"untreated": palette.UNTREATED, "student": colour}
    edges = [paints.get(n, colour) for n in names]
    fills = [rgba(e, PALE) if n != "student" else e for n, e in zip(names, edges, strict=True)]
    for col, (column, title) in enumerate({"gap": units.gap, "level": units.level}.items(), 1):
        value, low, high = _scaled(table, column, units.scale)
        figure.add_bar(
            x=value, y=places, orientation="h", width=0.56, meta=column, row=1, col=col, hoverinfo="text",
            marker={"color": fills, "line": {"color": edges, "width": 1.5}}, error_x=error_bars(value, low, high),
            hovertext=_told(names, title, value, low, high, units), cliponaxis=False,
        )  # fmt: skip
        right = np.fmax(value, np.nan_to_num(high, nan=-np.inf))
        figure.add_scatter(
            x=right, y=places, mode="text", meta=f"label:{column}", hoverinfo="skip", cliponaxis=False, row=1, col=col,
            text=[f"  {v:.{units.digits}f}" for v in value], textposition="middle right", textfont={"size": 13},
        )  # fmt: skip
        top = 1.18 * max(float(np.nanmax(right, initial=0.0)), 1e-6)
        if units.scale > 1 and column == "level":
            top = 112.0
        figure.update_xaxes(title=axis_title(title), range=[0, top], row=1, col=col, nticks=6, fixedrange=True)
    return _in_rows(figure, names)


def _in_rows(figure: go.Figure, names: Sequence[str]) -> go.Figure:
    figure.update_layout(base_layout(hovermode="closest"))
    left = names_axis(figure, names)
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_layout(margin={"l": left, "r": 26, "t": 10, "b": 46})
    return figure


def _scaled(table: pd.DataFrame, column: str, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    value, low, high = (scale * table[f"{column}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    return value, low, high


def _told(
    names: Sequence[str], title: str, value: np.ndarray, low: np.ndarray, high: np.ndarray, units: Units
) -> list[str]:
    d = units.digits
    return [
        f"<b>{plain(n)}</b><br>{title}: {v:.{d}f} ({lo:.{d}f} to {hi:.{d}f})"
        for n, v, lo, hi in zip(names, value, low, high, strict=True)
    ]


# ------------------------------------------------------------------------------------------------------ over the epochs


@dataclass(frozen=True)
class Line:
    """One column of the looks, as it is drawn: its name, colour, dash, marker and what it is multiplied with."""

    column: str
    name: str
    colour: str
    dash: str = "solid"
    marker: str = "circle"
    scale: float = 100.0


def over_epochs(
    looks: pd.DataFrame, panels: Mapping[str, Sequence[Line]], *, first: float, last: float, digits: int = 1
) -> go.Figure:
    """A panel per title, under each other, its lines over the epochs; before 0 the teacher learns, then the student.

    looks: epoch, phase (another one is another model: the line breaks) and the columns of the lines.
    """
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.09)
    for row, (title, lines) in enumerate(panels.items(), 1):
        tops = [0.0]
        for line in lines:
            own = looks[looks[line.column].notna()]
            epoch, value, phase = (own[c].to_numpy(float) for c in ("epoch", line.column, "phase"))
            breaks = np.flatnonzero(np.diff(phase)) + 1
            epoch, value = np.insert(epoch, breaks, np.nan), line.scale * np.insert(value, breaks, np.nan)
            tops += value[np.isfinite(value)].tolist()
            figure.add_scatter(
                x=epoch, y=value, mode="lines+markers", meta=line.column, name=line.name, row=row, col=1,
                line={"color": line.colour, "width": 2, "dash": line.dash}, cliponaxis=False,
                marker={"symbol": line.marker, "size": 7, "color": line.colour}, hoverinfo="text",
                hovertext=[f"<b>{line.name}</b><br>epoch {e:.2f}: {v:.{digits}f}" for e, v in
                           zip(epoch, value, strict=True)],
            )  # fmt: skip
        top = 104.0 if "%" in title else axis_range(tops, step=0.05 * lines[0].scale)[1]
        figure.update_yaxes(title=axis_title(title), range=[0, top], nticks=6, row=row, col=1)
    figure.update_layout(base_layout(hovermode="closest", margin={"l": 58, "r": 18, "t": 44, "b": 46}))
    room = 0.01 * (last - first)
    figure.update_xaxes(gridcolor=GRID, zeroline=False, range=[first - room, last + room], nticks=9)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    figure.update_xaxes(title=axis_title("epoch"), row=len(panels), col=1)
    return figure


def mark_student(figure: go.Figure) -> go.Figure:
    """Where the teacher is done and the student starts."""
    figure.add_vline(x=0, line={"color": palette.UNTREATED, "dash": "dash", "width": 1.5})
    font = {**SMALL_FONT, "color": palette.UNTREATED}
    for text, anchor, shift in (("← teacher", "right", -4), ("student →", "left", 4)):
        _note(figure, text, x=0, xref="x", y=1, yref="paper", xanchor=anchor, yanchor="bottom", xshift=shift, font=font)
    return figure


def key(figure: go.Figure, entries: Sequence[tuple[str, str]]) -> go.Figure:
    """(text, colour) of every line, above the figure."""
    _key(figure, entries, above=20)
    return figure


def _key(figure: go.Figure, entries: Sequence[tuple[str, str]], above: float) -> None:
    shift = 0.0
    for text, colour in entries:
        _note(figure, plain(cut(text, 40)), x=0, xref="paper", y=1, yref="paper", xanchor="left", yanchor="bottom",
              xshift=shift, yshift=above, font={**SMALL_FONT, "color": colour})  # fmt: skip
        shift += LETTER * len(text) + 14


def _note(figure: go.Figure, text: str, **place: Any) -> None:
    figure.add_annotation(text=text, showarrow=False, **place)
