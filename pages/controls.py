"""A form drawn from declared controls: one widget per hyper-parameter, with symbol, default, range and help.

No page knows the settings of a method. It hands the method's controls to `draw_controls` and gets their values back.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import streamlit as st

from fairness_core.config import Control, Option, UserError

TITLES = {"method": "What the paper turns", "training": "Training", "advanced": "Advanced"}
WORDS = {
    "lr": "learning rate",
    "sensitive": "group",
    "hidden": "hidden layers",
    "notion": "equalise",
    "p_align": "aligned digits",
    "racepctblack_cut": "black share, cut at",
    "racePctHisp_cut": "Hispanic share, cut at",
    "racePctAsian_cut": "Asian share, cut at",
}  # names that are shorter than what they mean


def draw_controls(
    controls: Sequence[Control],
    *,
    prefix: str,
    groups: Sequence[str] = ("method", "training"),
    values: Mapping[str, Option] | None = None,
    headings: bool | None = None,
) -> dict[str, Option]:
    """Draw the controls of `groups` and return the value of every control, drawn or not.

    prefix: keys of the widgets are "<prefix>-<name>", so the same prefix is the same form on every rerun, and two calls
        with one prefix draw two parts of one form.
    groups: shown in this order; a control of a group that is not named here keeps the value it has.
    values: what the form starts from. The widgets move to it whenever it differs from what was given last time, so
        a link that names a stored run fills the form, and edits made after that are kept.
    headings: name each group and fold "advanced" into a closed expander; without it the widgets stand alone. By default
        a single group has none.
    """
    _fill(controls, prefix, values or {})
    named = len(groups) > 1 if headings is None else headings
    for group in groups:
        members = [c for c in controls if c.group == group]
        if named and members:
            with heading(group):
                _draw_all(members, prefix)
        else:
            _draw_all(members, prefix)
    return {c.name: _value(c, prefix) for c in controls}


def heading(group: str) -> AbstractContextManager[object]:
    """The place of a group's widgets under its name; "advanced" is a closed expander."""
    name = TITLES.get(group, group.capitalize())
    if group == "advanced":
        return st.expander(name)
    place = st.container()
    place.markdown(f"**{name}**")
    return place


def _draw_all(controls: Sequence[Control], prefix: str) -> None:
    for control in controls:
        _draw(control, prefix)


def _value(control: Control, prefix: str) -> Option:
    """What the widget says; an emptied field means the default."""
    said = st.session_state[f"{prefix}-{control.name}"]
    if control.kind == "several":
        return control.parse(control.joiner.join(said) if said else control.default)
    if control.kind == "method":
        return str(said or control.default)  # what was typed is checked where there is a place for the sentence
    return control.parse(control.default if said is None else said)


def title(control: Control) -> str:
    """How a control is called on the screen: its symbol and its name in words."""
    name = "trade-off" if control.tradeoff else WORDS.get(control.name, control.name.replace("_", " "))
    return f"{control.symbol} {name}" if control.symbol else name[0].upper() + name[1:]


def _start(control: Control, values: Mapping[str, Option]) -> Option:
    """The value a form starts from: a usable given one, else the default."""
    try:
        return control.parse(values.get(control.name, control.default))
    except UserError:
        return control.default


def _fill(controls: Sequence[Control], prefix: str, values: Mapping[str, Option]) -> None:
    """Set widgets that have no value yet, and all of them when `values` is not what was given before."""
    memory = f"{prefix}:given"
    given = {c.name: _start(c, values) for c in controls}
    moved = bool(values) and st.session_state.get(memory, given) != given
    st.session_state[memory] = given if values else st.session_state.get(memory, given)
    for control in controls:
        key = f"{prefix}-{control.name}"
        if moved or key not in st.session_state:
            st.session_state[key] = _shown(control, given[control.name])


def _shown(control: Control, value: Option) -> Option | list[str] | None:
    """A value as its widget holds it: a list of choices, and nothing for a number that is not set."""
    if control.kind == "several":
        return control.parts(value)
    return None if control.unset and value == control.unset else value


def _draw(control: Control, prefix: str) -> None:
    key = f"{prefix}-{control.name}"
    label, help = f"{title(control)} (default {words(control, control.default)})", _help(control)
    now = st.session_state[key]
    called = functools.partial(words, control)
    if control.kind == "choice":
        st.selectbox(label, control.choices, key=key, help=help, format_func=called, persist_state="session")
    elif control.kind == "several":
        st.multiselect(
            label, control.choices, key=key, help=help, max_selections=control.most, persist_state="session",
            format_func=called,
        )  # fmt: skip
    elif control.unset:
        low, high = (None if end is None else float(end) for end in (control.low, control.high))
        st.number_input(
            label, low, high, step=0.05, key=key, help=help, placeholder=control.unset,
            persist_state="session",
        )  # fmt: skip
    elif control.kind == "method":
        offered = list(dict.fromkeys([*control.choices, *([str(now)] if now else [])]))
        st.selectbox(label, offered, key=key, help=help, accept_new_options=True, persist_state="session")
    elif control.kind == "text":
        st.text_input(label, key=key, help=help, persist_state="session")
    elif stops := _stops(control, now):
        st.select_slider(label, stops, key=key, help=help, format_func=_number, persist_state="session")
    elif bounds := _bounds(control, now):
        low, high, step = (int(b) if control.kind == "int" else float(b) for b in bounds)
        shape = _format(control, step)
        st.slider(label, low, high, step=step, key=key, help=help, format=shape, persist_state="session")
    else:
        _number_input(control, label, help, key)


def _number_input(control: Control, label: str, help: str, key: str) -> None:
    whole = control.kind == "int"
    low, high = control.low, control.high
    st.number_input(
        label,
        min_value=low if low is None else (int(low) if whole else float(low)),
        max_value=high if high is None else (int(high) if whole else float(high)),
        step=1 if whole else _round_step((float(control.default) or 0.01) * 5),
        format="%d" if whole else "%g",
        key=key,
        help=help,
        persist_state="session",
    )


def _stops(control: Control, now: float | None) -> list[Option] | None:
    """The positions of a slider whose steps are not even (a grid as declared, or 1-2-5 per decade), else None.

    The default and the present value are always among them.
    """
    if control.kind != "float":
        return None
    if control.grid and not _even(control.grid):
        stops = set(control.grid)
    elif control.low and control.high and control.high / control.low >= 100:
        decades = range(math.floor(math.log10(control.low)), math.ceil(math.log10(control.high)) + 1)
        stops = {float(f"{m}e{d}") for d in decades for m in (1, 2, 5)}
        stops = {s for s in stops if control.low <= s <= control.high}
    else:
        return None
    return sorted(stops | {float(control.default)} | ({now} if now is not None else set()))


def _bounds(control: Control, now: float | None) -> tuple[float, float, float] | None:
    """(low, high, step) of an even slider, or None where a range is open or too wide to drag."""
    low, high = control.low, control.high
    swept = control.tradeoff and bool(control.grid)
    if swept:
        ends = [*control.grid, *([] if now is None else [now])]
        low, high = min(ends), max(ends)
    if low is None or high is None:
        return None
    if control.kind == "int":
        return (low, high, 1) if high - low <= 64 else None
    if control.group == "advanced" and control.kind == "float":  # typed, not dragged: 1e-4 must be reachable
        return None
    if not swept and control.default and high - low > 100 * abs(float(control.default)):
        return None
    return low, high, _round_step(high - low)


def _even(grid: Sequence[float]) -> bool:
    steps = [b - a for a, b in itertools.pairwise(grid)]
    return max(steps) - min(steps) <= 1e-6 * max(map(abs, grid))


def _round_step(span: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that divides `span` into 50 parts or more."""
    raw = span / 50
    power = 10.0 ** math.floor(math.log10(raw))
    return float(f"{max(m for m in (1, 2, 5) if m * power <= raw * (1 + 1e-9)) * power:.6g}")


def _format(control: Control, step: float) -> str:
    if control.kind == "int":
        return "%d"
    return f"%.{max(0, -math.floor(math.log10(step)))}f"


def _number(value: Option) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or "empty"


def words(control: Control, value: Option) -> str:
    """What a value of the control is called; of several joined ones each."""
    if not control.called:
        return _number(value).replace("_", " ")
    parts = str(value).split(control.joiner) if control.joiner else [str(value)]
    return control.joiner.join(control.called.get(part, part) for part in parts)


def _help(control: Control) -> str:
    ends = [("from", control.low), ("to", control.high)]
    reach = " ".join(f"{word} {end:g}" for word, end in ends if end is not None)
    if control.kind in ("choice", "several", "text", "method"):
        return f"{control.help} Default: {_number(control.default)}. Name in the command line: `{control.name}`."
    return (
        f"{control.help} Range: {reach or 'any number'}; default: {_number(control.default)}. "
        f"Name in the command line: `{control.name}`."
    )
