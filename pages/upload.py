"""Use your own table: add a file, see what was read, click what is decided about whom, and delete it again.

A part of the page Data. Whatever comes from the file (names, values) is written where Markdown and HTML mean nothing,
or with `markdown` around it.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

import pages
from fairness_core.config import UserError
from fairness_core.datasets import own
from fairness_core.datasets.base import parse_cuts
from fairness_core.datasets.own import Choice, Table
from fairness_core.datasets.own_table import class_names, default_positive
from fairness_core.datasets.roles import can_be_group, can_be_target
from pages import ready_made
from pages.anatomy import markdown

TYPES = ("csv", "tsv", "txt", "tab", "dat", "data", "asc", "parquet")
NONE = "(none)"
CHUNK = 1 << 20  # bytes written at a time


def draw(tables: Path | None = None) -> str | None:
    """Everything about own tables; the name of the one that is in hand, if it is ready to be trained on.

    tables: the folder they are kept in, that of the store if not given.
    """
    folder = tables or pages.store().tables
    st.caption(
        f"CSV, TSV or Parquet, up to 1 GB. Rows stay on this computer in {markdown(str(folder))} until you delete them."
    )
    _add(folder)
    known = own.tables(folder)
    if not known:
        return None
    table = _in_hand(folder, known)
    _what_was_read(table)
    wanted = _choices(table)
    checked = _findings(folder, table, wanted)
    _use(folder, table, checked)
    if table.choice and table.choice.prediction is not None:
        ready_made.draw(table)
    return table.name if table.choice else None


# -- adding


def _add(folder: Path) -> None:
    """The uploader; a new one after every table, so that the file is not kept in memory."""
    state = st.session_state
    turn = state.setdefault("upload:turn", 0)
    file = st.file_uploader("A table of your own", TYPES, key=f"upload:file-{turn}")
    if file is None:
        return
    told = state.get("upload:told")
    if told is None or told[0] != file.file_id:
        told = (file.file_id, _import(folder, file))
        state["upload:told"] = told
    if told[1]:
        st.error(markdown(told[1]), icon=":material/error:")
        return
    state["upload:turn"] = turn + 1
    st.rerun()


def _import(folder: Path, file: Any) -> str:
    """Keep the file's rows and take the table in hand; "" or the sentence that says why that cannot be."""
    bar = st.progress(0.0, f"Reading {markdown(file.name)}")

    def show(share: float) -> None:
        bar.progress(share, f"Reading {markdown(file.name)}: {100 * share:.0f} %")

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".upload-", dir=folder) as room:
            path = Path(room) / "file"
            with path.open("wb") as copy:
                file.seek(0)
                shutil.copyfileobj(file, copy, CHUNK)
            made = own.add(folder, path, file.name, show)
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{file.name!r} cannot be kept in {folder} ({error.strerror}); make room there."
    finally:
        bar.empty()
    st.session_state["upload:table"] = made.name
    return ""


# -- the table in hand


def _in_hand(folder: Path, known: Sequence[Table]) -> Table:
    """Which of the own tables is looked at, and the way to delete it."""
    by_name = {table.name: table for table in known}
    if st.session_state.get("upload:table") not in by_name:
        st.session_state["upload:table"] = known[0].name
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Your tables", list(by_name), key="upload:table", format_func=lambda n: _called(by_name[n]), width=420,
            persist_state="session",
        )  # fmt: skip
        if st.button("Delete this table", icon=":material/delete:", key="upload:delete"):
            _confirm_delete(folder, by_name[name])
    return by_name[name]


def _called(table: Table) -> str:
    return f"{table.title} · {table.rows:,} rows · {table.name.rpartition('-')[2]}"


@st.dialog("Delete for good?")
def _confirm_delete(folder: Path, table: Table) -> None:
    st.markdown(
        f"{markdown(table.title)} with its {table.rows:,} rows, and every run and sweep trained on it with curves, "
        "results and weights. What still trains is stopped first."
    )
    with st.container(horizontal=True):
        how: dict[str, Any] = {"on_click": _delete, "args": (folder, table.name)}
        sure = st.button("Delete", type="primary", icon=":material/delete:", key="upload:delete-really", **how)
        if sure or st.button("Keep"):
            st.rerun()


def _delete(folder: Path, name: str) -> None:
    own.remove(folder, name)
    pages.store().forget_dataset(name)
    for key in [key for key in st.session_state if str(key).startswith(f"upload:{name}:")]:
        del st.session_state[key]


def _what_was_read(table: Table) -> None:
    """Rows, notes, and every column with what it was taken for and why."""
    n = len(table.columns)
    st.markdown(f"**{markdown(table.title)}**: {table.rows:,} rows, {n:,} columns.")
    if table.notes:
        st.caption("  \n".join(map(markdown, table.notes)))
    shown = pd.DataFrame(
        {
            "Column": [c.name for c in table.columns],
            "Taken for": [c.kind for c in table.columns],
            "Why": [c.reason for c in table.columns],
            "Values": [c.distinct for c in table.columns],
            "Missing": [100 * c.missing / max(table.rows, 1) for c in table.columns],
        }
    )
    about = "Different values; of a column with more than 50,000, those in its first rows."
    number = st.column_config.NumberColumn
    st.dataframe(
        shown, hide_index=True, height=min(353, 38 + 35 * n), key="upload:columns", alt="The columns that were read",
        column_config={
            "Column": st.column_config.TextColumn(width="medium"),
            "Taken for": st.column_config.TextColumn(width="small"),
            "Why": st.column_config.TextColumn(width="large"),
            "Values": number(width="small", format="localized", help=about),
            "Missing": number("Missing, %", width="small", format="%.1f"),
        },
    )  # fmt: skip


# -- choosing


def _choices(table: Table) -> Choice | str:
    """What the widgets say; a sentence when that is no choice at all."""
    start = table.choice or own.proposal(table)
    left, middle, right = st.columns(3)
    cuts: dict[str, tuple[float, ...]] = {}
    try:
        with left:
            target, positive = _target(table, start, cuts)
        with middle:
            sensitive = _sensitive(table, start, target, cuts)
        with right:
            left_out = _left_out(table, start, target)
            prediction, score = _ready_made(table, start, (target, *sensitive))
    except UserError as error:
        return str(error)
    return Choice(target, positive, tuple(sensitive), cuts, tuple(left_out), prediction, score)


def _kept(table: Table, what: str, default: Any, options: Sequence[Any] | None = None) -> str:
    """The key of a widget that starts from `default` and stays on what can still be chosen."""
    key = f"upload:{table.name}:{what}"
    if key not in st.session_state:
        st.session_state[key] = default
    if options is not None and not isinstance(default, list) and st.session_state[key] not in options:
        st.session_state[key] = default if default in options else next(iter(options), None)
    if isinstance(default, list):
        st.session_state[key] = [v for v in st.session_state[key] if options is None or v in options]
    return key


def _target(table: Table, start: Choice, cuts: dict[str, tuple[float, ...]]) -> tuple[str, str]:
    options = [c.name for c in table.columns if can_be_target(c) or c.kind == "number"]
    if not options:
        raise UserError("No column can be predicted: a target needs two values at least; add another table.")
    key = _kept(table, "target", start.target, options)
    target = str(
        st.selectbox("Target", options, key=key, help="What is decided, or predicted.", persist_state="session")
    )
    column = table.column(target)
    if not can_be_target(column):
        cuts[target] = _cut(table, target, start)
    classes = class_names(column, cuts)
    default = start.positive if start.target == target and start.positive in classes else default_positive(column, cuts)
    key = _kept(table, f"positive of {target}", default, classes)
    meaning = "The class that is good to get; a gap in it is what the measures are about."
    return target, str(st.selectbox("Favourable class", classes, key=key, help=meaning, persist_state="session"))


def _sensitive(table: Table, start: Choice, target: str, cuts: dict[str, tuple[float, ...]]) -> list[str]:
    options = [c.name for c in table.columns if can_be_group(c) and c.name != target]
    key = _kept(table, "sensitive", [name for name in start.sensitive if name != target], options)
    chosen = st.multiselect(
        "Sensitive attribute", options, key=key, max_selections=3, persist_state="session",
        help="Whose results are compared; several make intersections.",
    )  # fmt: skip
    for name in chosen:
        if table.column(name).kind == "number":
            cuts[name] = _cut(table, name, start)
    if not chosen:
        raise UserError("Choose one sensitive attribute at least: whose results are to be compared.")
    return list(chosen)


def _cut(table: Table, name: str, start: Choice) -> tuple[float, ...]:
    """One boundary or several of a numeric column."""
    column = table.column(name)
    assert column.middle is not None
    given = start.cuts.get(name, (column.middle,))
    key = _kept(table, f"cut of {name}", ",".join(f"{edge:g}" for edge in given))
    said = st.text_input(
        f"Cut {markdown(name)} at", key=key, persist_state="session",
        help=f"From {column.low:g} to {column.high:g}; several boundaries with commas between them: 25,60.",
    )  # fmt: skip
    return tuple(parse_cuts(f"The cut of {name}", said))


def _left_out(table: Table, start: Choice, target: str) -> list[str]:
    options = [c.name for c in table.columns if c.name != target]
    key = _kept(table, "left out", [name for name in start.left_out if name != target], options)
    meaning = "Columns the model never sees. Keys, names, free text and constants are left out unless you take them in."
    return list(st.multiselect("Leave out", options, key=key, help=meaning, persist_state="session"))


def _ready_made(table: Table, start: Choice, taken: Sequence[str]) -> tuple[str | None, str | None]:
    """Columns with decisions and scores that somebody else's model has made."""
    decisions = [NONE, *(c.name for c in table.columns if c.name not in taken and can_be_target(c))]
    decisions += [c.name for c in table.columns if c.kind == "number" and c.name not in taken]
    key = _kept(table, "prediction", start.prediction or NONE, decisions)
    meaning = "A column with ready-made decisions: they are audited, nothing is trained."
    prediction = str(st.selectbox("Ready-made prediction", decisions, key=key, help=meaning, persist_state="session"))
    if prediction == NONE:
        return None, None
    scores = [NONE, *(c.name for c in table.columns if c.format and c.name not in (*taken, prediction))]
    key = _kept(table, "score", start.score or NONE, scores)
    score = str(st.selectbox("Its score", scores, key=key, persist_state="session", help="For two classes."))
    return prediction, None if score == NONE else score


# -- what follows from the choice


def _findings(folder: Path, table: Table, wanted: Choice | str) -> Table | None:
    """Leaks, proxies, small groups, or the sentence that says why this cannot be; the table with the choice."""
    if isinstance(wanted, str):
        st.warning(markdown(wanted), icon=":material/touch_app:")
        return None
    try:
        checked = _checked(str(folder), table.name, table.data_hash, wanted)
    except UserError as error:
        st.warning(markdown(str(error)), icon=":material/touch_app:")
        return None
    if checked.used < table.rows:
        lost = table.rows - checked.used
        st.caption(f"{lost:,} of {table.rows:,} rows have no target or no group and are left out.")
    if checked.warnings:
        st.warning("  \n".join(map(markdown, checked.warnings)), icon=":material/warning:")
    return checked


@st.cache_data(
    max_entries=64,
    show_spinner="Looking for leaks and proxies",
    hash_funcs={Choice: lambda c: repr(dataclasses.astuple(c))},
)
def _checked(folder: str, name: str, data_hash: str, wanted: Choice) -> Table:
    found = own.table(Path(folder), name)
    if found is None:
        raise UserError("This table was deleted meanwhile; add it again.")
    return own.check(found, wanted)


def _use(folder: Path, table: Table, checked: Table | None) -> None:
    """Keep the choice, and the ways on from there."""
    ready = checked is not None and bool(table.choice) and checked.choice == table.choice
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Use this table",
            type="primary",
            icon=":material/check:",
            key="upload:use",
            disabled=checked is None or ready,
        ):
            assert checked is not None
            _keep(folder, checked.choice, table.name)
            st.query_params.from_dict({"data": table.name})
            st.rerun()
        if ready:
            if st.button("Train on it", icon=":material/show_chart:", key="upload:frontier"):
                st.switch_page("frontier.py", query_params={"data": table.name})
            st.caption("In use as a data set.")
        elif table.choice:
            st.caption("Changed since you last used it.")


def _keep(folder: Path, choice: Choice, name: str) -> None:
    own.choose(
        folder, name, target=choice.target, positive=choice.positive, sensitive=choice.sensitive, cuts=choice.cuts,
        left_out=choice.left_out, prediction=choice.prediction, score=choice.score,
    )  # fmt: skip
