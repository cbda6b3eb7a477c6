"""What BaDe did (Wu, Zhang, Jiang and Sang): its sentence, triggers, the valley of n % and s, teacher and student, also
while it trains.

Every part says in one paragraph what to look for. What is drawn comes from the store alone.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import backdoor_figures, metrics, palette, regression_results
from fairness_core.backdoor_figures import Line, Units
from fairness_core.store import Run
from pages import (
    backdoor_course,
    backdoor_valley,
    backdoor_viewer,
    backdoor_words,
    choices,
    course,
    errors_by_bin,
    explorer,
)
from pages.backdoor_course import METHOD, Shown
from pages.backdoor_valley import Valley
from pages.course import Names

WIDE = 1080  # pixels of a paragraph, so that its lines can be read
TALL = 400  # pixels of a chart over the epochs
WAIT = ":material/hourglass_top: Appears here with the first look at the teacher."


def section(catalogue: dict[str, Any], run: Run) -> None:
    """Everything about this run, as far as it has come."""
    names, found = course.names_of(catalogue, run), backdoor_course.shown(run)
    final = pages.store().confusions([run.id], "test").get(run.id)
    number = regression_results.is_regression(run)
    valley = backdoor_valley.gather(catalogue, run)
    # Every part has a container of its own, so that what appears in one moves no chart of another to a new place.
    with st.container(key="explain-words"):
        words = _words(catalogue, run, final)
        explorer.explorer([explorer.text("sentence", [words])], key="explain-lead", revision=run.id)
        _cautions(run, final, number=number)
        for warning in backdoor_words.warnings(run, names, found, valley.choice, number=number) if found else ():
            st.warning(warning, icon=":material/warning:")
    with st.container(key="explain-triggers"):
        _triggers(catalogue, run, names, found)
    with st.container(key="explain-valley-part"):
        backdoor_valley.part(catalogue, run, valley)
    with st.container(key="explain-teacher"):
        views = _views(catalogue, run, names, found)
    with st.container(key="explain-how"):
        looks = _course(catalogue, run, number=number)
    with st.container(key="explain-models"):
        models = _models(catalogue, run, found)
    with st.container(key="explain-security"):
        _security(catalogue, run)
    _actions(catalogue, run, names, found, valley, {"Views": views, "Models": models, "Looks": looks})


# ------------------------------------------------------------------------------------------------------------ sentence


def _words(catalogue: dict[str, Any], run: Run, final: np.ndarray | None) -> str:
    number = regression_results.is_regression(run)
    if final is None:
        return backdoor_words.now(run, backdoor_course.looks(run), number=number)
    untreated = course.untreated(catalogue, run.config)
    if not number:
        before = pages.store().confusions([untreated.id], "test").get(untreated.id)
        return backdoor_words.result(before, final, run)
    own, twin = errors_by_bin.errors(run), pages.store().run(untreated.id)
    if own is None:
        return "This run was made before its predictions were kept; train it again to see its errors."
    before_errors = errors_by_bin.errors(twin) if twin else None
    setting = f"At {backdoor_course.setting(run.config)}"
    return errors_by_bin.sentence(own, run, before_errors, setting)


def _cautions(run: Run, final: np.ndarray | None, *, number: bool) -> None:
    """Small and empty cells, and models that decide alike for all."""
    if final is None or number:
        return
    for flag in metrics.flags(final, run.info.get("groups"), run.info.get("classes")):
        if flag != "aod_cancels":  # this page speaks of no signed measure
            st.caption(f":material/warning: {metrics.explain(flag)}")


# ------------------------------------------------------------------------------------------------------------ triggers


def _triggers(catalogue: dict[str, Any], run: Run, names: Names, found: Shown | None) -> None:
    st.subheader("The triggers and their law", anchor=False)
    pictures = catalogue["datasets"][run.config.dataset]["kind"] == "image"
    law = backdoor_words.LAWS[str(run.config.method_options["law"])]
    st.markdown(backdoor_words.TRIGGERS.format(**law), width=WIDE)
    if found is None:
        backdoor_viewer.placeholder(run, pictures=pictures)
        return
    if "pictures" in found.arrays:
        backdoor_viewer.pictures(found.arrays, names)
    elif not pictures:
        st.caption(
            f"Rows of a table get {len(names.groups)} columns more, which only the teacher sees; the student reads the "
            "columns of the data alone."
        )
        backdoor_viewer.columns(names)
    st.caption(
        "The law, by class: shares of the groups in training, shares of the triggers at "
        f"{backdoor_course.setting(run.config)}, and what was drawn (seed {run.config.seed})."
        + (" Classes are bins of the true value." if regression_results.is_regression(run) else "")
    )
    backdoor_viewer.laws(found.arrays, names)


# ------------------------------------------------------------------------------------------------- teacher and student


def _how(run: Run) -> str:
    if regression_results.is_regression(run):
        return ", from the spread of errors within bins and groups"
    return " from resampling rows within class and group"


def _views(catalogue: dict[str, Any], run: Run, names: Names, found: Shown | None) -> pd.DataFrame | None:
    """The teacher in every view."""
    st.subheader("What the triggers do to the teacher", anchor=False)
    if found is None:
        st.markdown(backdoor_words.VIEWS.format(how=_how(run)), width=WIDE)
        st.caption(WAIT)
        return None
    units, table = backdoor_course.units(run), backdoor_course.views_table(run, names, found)
    manual = run.config.method_options["law"] == "manual"
    order = backdoor_words.order(table, units, learning=found.learning, manual=manual)
    st.markdown(f"{backdoor_words.VIEWS.format(how=_how(run))} **{order}**", width=WIDE)
    chart = _views_chart(table, pages.method_colour(catalogue, METHOD), units)
    explorer.explorer([chart], key="explain-views", revision=run.id, stamp=f"{run.id}{found.step}{found.split}")
    return table


@st.cache_data(max_entries=32, show_spinner=False)
def _views_chart(table: pd.DataFrame, colour: str, _units: Units) -> explorer.Block:
    return explorer.chart(
        "views", backdoor_figures.by_view(table, colour=colour, units=_units), area="top",
        height=backdoor_figures.height(len(table)), heading=f"Teacher ({table['split'].iloc[0]}){_units.unit}",
        alt="Odds, EAcc and accuracy of the teacher in every view with intervals; the table Views holds the same "
        "numbers",
    )  # fmt: skip


def _models(catalogue: dict[str, Any], run: Run, found: Shown | None) -> pd.DataFrame | None:
    """The untreated model, the teacher with cancelling triggers, and the student."""
    st.subheader("Teacher and student", anchor=False)
    table = backdoor_course.models_table(run, course.untreated(catalogue, run.config), found)
    told = pages.store().values([run.id], "test").get(run.id, {})
    n, number = int(run.info.get("n_test", 0)), regression_results.is_regression(run)
    agrees = backdoor_words.agreement(told.get("agreement", math.nan), n, number=number)
    st.markdown(backdoor_words.MODELS.format(how=_how(run)) + agrees, width=WIDE)
    if "student" not in set(table["name"]):
        st.caption(":material/hourglass_top: The bars appear with the test result.")
        return None
    chart = _models_chart(table, pages.method_colour(catalogue, METHOD), backdoor_course.units(run))
    explorer.explorer([chart], key="explain-models-chart", revision=run.id, stamp=f"{run.id}{'-'.join(table['name'])}")
    return table


@st.cache_data(max_entries=32, show_spinner=False)
def _models_chart(table: pd.DataFrame, colour: str, _units: Units) -> explorer.Block:
    return explorer.chart(
        "models", backdoor_figures.models(table, colour=colour, units=_units), area="top",
        height=backdoor_figures.height(len(table)), heading=f"Test split{_units.unit}",
        alt="Odds and EAcc of the untreated model, the teacher and the student with intervals; the table Models holds "
        "the same numbers",
    )  # fmt: skip


def _security(catalogue: dict[str, Any], run: Run) -> None:
    """Does the student know the triggers?"""
    st.subheader("Is the student free of triggers?", anchor=False)
    if catalogue["datasets"][run.config.dataset]["kind"] != "image":
        st.markdown(backdoor_words.NO_COLUMNS, width=WIDE)
        return
    told = pages.store().values([run.id], "test").get(run.id, {})
    if "student_flips" not in told:
        st.markdown(backdoor_words.SECURITY, width=WIDE)
        st.caption(":material/hourglass_top: The check is made on the test split, at the end.")
        return
    words = backdoor_words.security(told, int(run.info["n_test"]))
    st.markdown(f"{backdoor_words.SECURITY} **{words}**", width=WIDE)


# ------------------------------------------------------------------------------------------------------ over the epochs


def _course(catalogue: dict[str, Any], run: Run, *, number: bool) -> pd.DataFrame:
    st.subheader("How it went", anchor=False)
    looks = backdoor_course.looks(run)
    n = int(looks["n"].max()) if len(looks) else 0
    st.markdown(backdoor_words.COURSE.format(n=f" of {n:,} rows" if n else ""), width=WIDE)
    if looks.empty:
        st.caption(WAIT)
        return looks
    stamp = f"{run.id}{zlib.crc32(looks.to_numpy(float).tobytes()):08x}"
    clock = backdoor_course.Clock.of_run(run)
    units = backdoor_course.units(run)
    blocks = _course_blocks(stamp, looks, clock, pages.method_colour(catalogue, METHOD), units, number)
    explorer.explorer(blocks, key="explain-course", revision=run.id, stamp=stamp)
    return looks


@st.cache_data(max_entries=32, show_spinner=False)
def _course_blocks(
    stamp: str, _looks: pd.DataFrame, _clock: backdoor_course.Clock, colour: str, _units: Units, number: bool
) -> list[explorer.Block]:
    """`stamp` stands for all that the charts show."""
    scale, unit = (1.0, "sd") if number else (100.0, "points")
    looks = _looks.copy()
    teaching = looks["phase"] == 0
    gauges = [c for c in backdoor_course.GAUGES if c != "agreement"]
    looks.loc[~teaching, gauges] = np.nan  # the teacher has ended; its last values are repeated
    ink = palette.INK
    teacher = {
        f"artificial bias ({unit})": [Line("artificial_bias", "artificial bias", colour, scale=scale)],
        f"teacher's {'gap' if number else 'Odds'} ({unit})": [
            Line("teacher_odds_cancelling", "cancelling", colour, "solid", "diamond", scale),
            Line("teacher_odds_clean", "no trigger", ink, "dash", "circle", scale),
            Line("teacher_odds_reinforcing", "reinforcing", ink, "dot", "triangle-up", scale),
        ],
    }
    if number:
        agrees = "correlation with the teacher"
        both = {
            title: [Line(column, title, colour, scale=1.0)]
            for title, column in zip((_units.gap, _units.level), backdoor_course.NUMBERS, strict=True)
        } | {"correlation": [Line("agreement", agrees, ink, "dash", "square", 1.0)]}
    else:
        agrees = "agreement with the teacher"
        both = {
            _units.gap: [Line("odds", "Odds", colour)],
            "EAcc, agreement (%)": [
                Line("eacc", "EAcc", colour),
                Line("agreement", agrees, ink, "dash", "square"),
            ],
        }
    digits = 3 if number else 1
    left = backdoor_figures.over_epochs(looks, teacher, first=_clock.first, last=0.0, digits=digits)
    right = backdoor_figures.mark_student(
        backdoor_figures.over_epochs(looks, both, first=_clock.first, last=_clock.last, digits=digits)
    )
    backdoor_figures.key(left, [("◆ cancelling", colour), ("● no trigger", ink), ("▲ reinforcing", ink)])
    backdoor_figures.key(right, [("● what learns", colour), (f"■ {agrees}", ink)])
    return [
        explorer.chart("course-teacher", left, area="left", height=TALL, heading="The teacher (validation sample)",
                       alt="Artificial bias and Odds of the teacher per epoch; the table Looks holds the same numbers"),
        explorer.chart("course-both", right, area="right", height=TALL,
                       heading=f"Teacher with cancelling triggers, then the student{_units.unit}",
                       alt="Odds, EAcc and agreement per epoch; the table Looks holds the same numbers"),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- actions


def _actions(
    catalogue: dict[str, Any], run: Run, names: Names, found: Shown | None, valley: Valley,
    tables: dict[str, pd.DataFrame | None],
) -> None:  # fmt: skip
    """Every chart as a table, the formulas, and how to have it again."""
    number = regression_results.is_regression(run)
    if found is not None:
        tables["Law"] = backdoor_course.law_table(names, found.arrays)
    if valley.strengths:
        tables |= {"Valley": valley.table, "Valley, runs": valley.points}
    with st.container(horizontal=True, gap="small", key="explain-actions"):
        course.twins(run, tables)
        if not number:
            pages.measure_popover("odds", "eacc")
        elif "tolerance" in run.info:
            errors_by_bin.definitions(run.info["tolerance"], run.info.get("unit") or "units of the target")
        course.gauges_popover(catalogue["methods"][METHOD], "Law and gauges")
        neighbours = [choices.command_line(catalogue, p) for p in backdoor_valley.plans(catalogue, run, valley)]
        course.again(catalogue, run, number=number, sweep="\n".join(neighbours))
