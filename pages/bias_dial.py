"""The bias dial: how strong shall the association between group and target be in training? Counts before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import data_figures
from fairness_core.config import Catalogue, Control, Option, Options, UserError, resolve
from fairness_core.datasets import dial
from pages import choices, explorer
from pages.anatomy import Anatomy

STRENGTH, ALIGNMENT = "association", "p_align"  # the controls that a dial can turn
STATE = "data:dial"  # where this session keeps the value of the dial; "" is as published
STEP = 0.02
METHOD = "adversarial"  # whose frontier is offered; the page there has all others


@dataclass(frozen=True)
class Position:
    """One stop of the dial: its value, the training rows per (class, group) it leaves, (T, K), or why it has none."""

    value: Option
    label: str
    counts: np.ndarray | None
    problem: str = ""

    @property
    def number(self) -> float:
        return float(self.label.split()[0])


def control_of(entry: Mapping[str, Any]) -> Control | None:
    """The control of this data set that is a bias dial, if it has one."""
    found = {c.name: c for c in pages.declared(entry)}
    return found.get(STRENGTH) or found.get(ALIGNMENT)


def draw(catalogue: Catalogue, entry: Mapping[str, Any], known: Anatomy, options: Options) -> None:
    """Heading, explorer and buttons."""
    control = control_of(entry)
    if control is None:
        return
    st.subheader("Turn the bias up and down", anchor=False)
    stops, start = positions(_stamp(control, known), control, known)
    if not stops:
        st.caption("There is no dial here: all training rows have one class or one group.")
        return
    at = nearest(stops, st.session_state[STATE], start)
    _explorer(control, known, stops, start, at)
    _buttons(catalogue, entry, {**options, control.name: stops[at].value}, stops[at])


def nearest(stops: Sequence[Position], value: Option, otherwise: int = 0) -> int:
    """The stop with this value, or the closest one."""
    if isinstance(value, str):
        return next((i for i, stop in enumerate(stops) if stop.value == value), otherwise)
    return int(np.abs(np.array([stop.number for stop in stops]) - float(value)).argmin())


# ------------------------------------------------------------------------------------------------------ positions


@st.cache_data(max_entries=16, show_spinner=False)
def positions(stamp: str, _control: Control, _known: Anatomy) -> tuple[list[Position], int]:
    """All stops of the dial and the number of the one where the data stand as published."""
    make = aligned if _control.name == ALIGNMENT else associated
    return make(_control, _known.dial_counts)


def associated(control: Control, found: np.ndarray) -> tuple[list[Position], int]:
    """Strengths in even steps and, between them, the strength as found."""
    own = dial.cramers_v(found)
    if not np.isfinite(own):
        return [], 0
    stops = []
    for value in np.arange(0, 1 + STEP / 2, STEP):
        strength = round(float(value), 2)
        try:
            stops.append(Position(strength, f"{strength:.2f}", dial.wanted_counts(found, strength)))
        except UserError as error:
            stops.append(Position(strength, f"{strength:.2f}", None, str(error)))
    start = sum(stop.number < own for stop in stops)
    stops.insert(start, Position(control.unset, f"{own:.3f} (as found)", found))
    return stops, start


def aligned(control: Control, found: np.ndarray) -> tuple[list[Position], int]:
    """p_align: every digit stands on its own colour with probability p, so these counts are expected ones."""
    rows, own = found.sum(1), found.argmax(1)
    low, high = float(control.low or 0.5), float(control.high or 1.0)
    stops = []
    for value in np.arange(low, high + STEP / 2, STEP):
        p = round(float(value), 2)
        share = np.where(np.arange(found.shape[1]) == own[:, None], p, (1 - p) / (found.shape[1] - 1))
        stops.append(Position(p, f"{p:.2f}", np.rint(rows[:, None] * share).astype(np.int64)))
    return stops, nearest(stops, control.default)


# ------------------------------------------------------------------------------------------------------- explorer


def _explorer(control: Control, known: Anatomy, stops: Sequence[Position], start: int, at: int) -> None:
    stamp = _stamp(control, known)
    numbers = [stop.number for stop in stops]
    ends = (f"{numbers[0]:g}: none", f"{numbers[-1]:g}: full")
    symbol = "p" if control.name == ALIGNMENT else "strength"
    slider = explorer.slider("Strength of the bias in training", symbol, numbers, at, ends)
    explorer.explorer(
        _drawn(stamp, control, known, stops, start),
        key="dial",
        revision=stamp,
        stamp=stamp,
        slider={**slider, "labels": [stop.label for stop in stops]},
        on_position=lambda: _moved(stops),
    )


def _stamp(control: Control, known: Anatomy) -> str:
    """Stands for everything the dial shows."""
    return f"{control.name}|{known.groups}|{known.dial_classes}|{known.dial_counts.tolist()}"


@st.cache_data(max_entries=16, show_spinner=False)
def _drawn(
    stamp: str, _control: Control, _known: Anatomy, _stops: Sequence[Position], _start: int
) -> list[explorer.Block]:
    """The blocks with a frame per stop; `stamp` stands for them all."""
    blocks = [
        explorer.text("dial-words", [words(_control, stop, _stops[_start]) for stop in _stops]),
        explorer.sliders(),
        explorer.text("key", [_key(_control)], area="left", muted=True),
        _cells(_known, _stops, _start),
    ]
    if _control.name == STRENGTH:
        blocks.insert(2, _trade(_stops, _start))
    return blocks


def _cells(known: Anatomy, stops: Sequence[Position], start: int) -> explorer.Block:
    """Training rows of every cell, before and after."""
    found = stops[start].counts
    assert found is not None
    order = [(t, k) for k in range(len(known.groups)) for t in range(len(known.dial_classes)) if found[:, k].any()]
    before, after = _in_order(stops[start], order), [_in_order(stop, order) for stop in stops]
    names = {"group": [known.groups[k] for _, k in order], "label": [known.dial_classes[t] for t, _ in order]}
    figure = data_figures.dial(pd.DataFrame({**names, "before": before, "after": before}))
    bars, label = (explorer.trace_index(figure, meta) for meta in ("after", "label"))
    frames: list[dict[int, dict[str, Any]]] = [
        {bars: {"x": a}, label: {"x": np.fmax(before, a), "text": [f" {n:,.0f}" if n >= 0 else "" for n in a]}}
        for a in after
    ]
    return explorer.chart(
        "dial", figure, area="right", height=60 + 26 * len(order), frames=frames,
        alt="Training rows per group and class before and after the dial.",
        heading="Training rows: outline as found, filled with the dial",
    )  # fmt: skip


def _in_order(stop: Position, order: Sequence[tuple[int, int]]) -> np.ndarray:
    if stop.counts is None:
        return np.full(len(order), np.nan)
    return np.array([stop.counts[t, k] for t, k in order], dtype=float)


def _trade(stops: Sequence[Position], start: int) -> explorer.Block:
    """The training rows that are left at every stop."""
    numbers = [stop.number for stop in stops]
    left = [float("nan") if stop.counts is None else float(stop.counts.sum()) for stop in stops]
    figure = data_figures.trade(numbers[start], numbers, left, start)
    ring = explorer.trace_index(figure, "ring")
    return explorer.chart(
        "trade", figure, area="left", height=210, ring=ring,
        frames=[{ring: {"x": [x], "y": [y]}} for x, y in zip(numbers, left, strict=True)],
        alt="Training rows left at every strength of the dial.",
        heading="What it costs: training rows left",
    )  # fmt: skip


def words(control: Control, stop: Position, found: Position) -> str:
    """What this stop of the dial means, in a sentence."""
    if stop.counts is None:
        return stop.problem
    before, after = (int(p.counts.sum()) for p in (found, stop) if p.counts is not None)
    v = dial.cramers_v(stop.counts)
    if control.name == ALIGNMENT:
        return (
            f"With probability {stop.label} a training picture has its class's own colour: Cramér's V of class and "
            f"group {v:.2f}, {after:,} training pictures."
        )
    if stop is found:
        return f"As found: Cramér's V of target and group is {v:.2f} in {after:,} training rows; nothing is taken away."
    return (
        f"Cramér's V {v:.2f} instead of {found.number:.2f}: {after:,} of {before:,} training rows stay "
        f"({pages.percent(after / before)}), drawn by lot within every cell."
    )


def _key(control: Control) -> str:
    made = "Counts are expected ones; the colours are drawn by lot. " if control.name == ALIGNMENT else ""
    return f"{made}Validation and test rows stay untouched: what is trained here is judged on the data as they are."


def _moved(stops: Sequence[Position]) -> None:
    position = st.session_state["dial"].get("position")
    if isinstance(position, int) and 0 <= position < len(stops):
        st.session_state[STATE] = stops[position].value


# -------------------------------------------------------------------------------------------------------- onward


def _buttons(catalogue: Catalogue, entry: Mapping[str, Any], options: Options, stop: Position) -> None:
    """Train on exactly these rows; the address of the next page says what."""
    with st.container(horizontal=True, vertical_alignment="center", key="dial-onward"):
        barred = stop.counts is None
        if st.button(
            "Train its frontier", type="primary", icon=":material/show_chart:", disabled=barred, key="dial-sweep"
        ):
            _sweep(catalogue, str(entry["name"]), options)
        if st.button("Train one model", icon=":material/model_training:", disabled=barred, key="dial-train"):
            _train(catalogue, str(entry["name"]), options)
        st.caption(f"on the rows at {stop.label}" if not barred else "This strength cannot be reached.")


def _sweep(catalogue: Catalogue, dataset: str, options: Options) -> None:
    usual = choices.usual_spec(catalogue, METHOD, dataset)
    try:
        plan = choices.plan(
            catalogue, dataset=dataset, method=METHOD, values=usual["values"], seeds=len(usual["seeds"]),
            options={"dataset": options},
        )  # fmt: skip
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    st.switch_page("frontier.py", query_params={"sweep": choices.submit(pages.store(), plan)})


def _train(catalogue: Catalogue, dataset: str, options: Options) -> None:
    """One run without a debiaser: what a network makes of these rows by itself."""
    try:
        config = resolve(catalogue, dataset=dataset, method="erm", dataset_options=options)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    run_id = pages.store().submit([config])[0]
    pages.wake_runner()
    st.switch_page("train.py", query_params={"run": run_id})
