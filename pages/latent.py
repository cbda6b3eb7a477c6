"""What DVGE did (Zhang et al.): its sentence, the foci of both classifiers on the code, whether they are real, what
moves along them, where they look, the map over both strengths, and the autoencoder, also while it trains.

Every part says in one paragraph what to look for. What is drawn comes from the store alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import latent_figures, metrics
from fairness_core.store import ACTIVE, Run
from pages import course, explorer, latent_code, latent_course, latent_grid, latent_viewer, latent_words
from pages.latent_course import METHOD, Names, Shown

WIDE = 1080  # pixels of a paragraph, so that its lines can be read
TALL, FLAT = 320, 270  # pixels of a chart
MEASURE = "demographic_parity_difference"
WAIT = ":material/hourglass_top: Appears here once the code is made and the first look is taken."
LATER = ":material/hourglass_top: Appears here with the test result, at the end of the run."
Tables = dict[str, pd.DataFrame]


def section(catalogue: dict[str, Any], run: Run) -> None:
    """Everything about this run, as far as it has come."""
    names, found = latent_course.names_of(catalogue, run), latent_course.shown(run)
    final = pages.store().confusions([run.id], "test").get(run.id)
    losses = latent_course.live_losses(run)
    coding = latent_course.coding(run, losses)
    # Every part has a container of its own, so that what appears in one moves no chart of another to a new place.
    with st.container(key="explain-words"):
        _lead(catalogue, run, names, found, final, losses if coding else None)
    with st.container(key="explain-coding"):
        if coding:
            latent_code.training(catalogue, run, losses)
    with st.container(key="explain-foci"):
        tables = _foci(catalogue, run, names, found)
    with st.container(key="explain-pushes"):
        tables |= _pushes(catalogue, run, names, found)
    with st.container(key="explain-look"):
        tables |= _saliency(catalogue, run, names, found)
    with st.container(key="explain-map"):
        shown = latent_grid.part(catalogue, run)
    with st.container(key="explain-code-part"):
        if found is not None and found.final:
            tables |= latent_code.part(catalogue, run, found)
        elif len(losses):
            tables["Losses"] = losses
    _actions(catalogue, run, tables if shown is None else {**tables, "Map": shown})


# ------------------------------------------------------------------------------------------------------------ sentence


def _lead(
    catalogue: dict[str, Any], run: Run, names: Names, found: Shown | None, final: np.ndarray | None,
    losses: pd.DataFrame | None,
) -> None:  # fmt: skip
    """The sentence, what the code tells, and the warnings."""
    told = latent_course.gauges(run)
    if final is not None:
        untreated = course.untreated(catalogue, run.config).id
        before = pages.store().confusions([untreated], "test").get(untreated)
        said = course.sentence(catalogue, run, before, final, list(names.groups), MEASURE)
    elif losses is not None and not np.isfinite(told["sensitive_accuracy"]):
        said = latent_words.coding(run, losses)
    else:
        said = latent_words.now(run, told, names)
    blocks = [explorer.text("sentence", [said])]
    if final is not None and found is not None:
        where, cost = latent_words.of(found, run), latent_words.cost(found.arrays)
        blocks.append(explorer.text("codes", [f"{latent_words.codes(run, told, names)} ({where}). {cost}"]))
    explorer.explorer(blocks, key="explain-lead", revision=run.id)
    if final is not None:
        if before is not None:
            st.caption(latent_words.UNTREATED, width=WIDE)
        for flag in metrics.flags(final, names.groups, names.classes):
            if flag != "aod_cancels":  # this page speaks of no signed measure
                st.caption(f":material/warning: {metrics.explain(flag)}")
    if np.isfinite(told["sensitive_accuracy"]):
        for warning in latent_words.warnings(run, told, names):
            st.warning(warning, icon=":material/warning:")


# ---------------------------------------------------------------------------------------------------------------- foci


def _foci(catalogue: dict[str, Any], run: Run, names: Names, found: Shown | None) -> Tables:
    """The focus bars, and beside each other the cosines and the focus-validity test."""
    st.subheader("What both listen to in the code", anchor=False)
    st.markdown(latent_words.FOCI, width=WIDE)
    if found is None:
        st.caption(WAIT if run.status in ACTIVE else "This run ended before its first look.")
        return {}
    colour, where = pages.method_colour(catalogue, METHOD), latent_words.of(found, run)
    tables = {"Foci": latent_course.foci_table(found.arrays),
              "Cosines": pd.DataFrame({"cosine": found.arrays["cosines"].astype(float)})}  # fmt: skip
    stamp = f"{run.id}{run.created}{found.step}{found.split}"
    explorer.explorer(
        [_foci_block(stamp, tables["Foci"], colour, names.ratio, where)], key="explain-bars", revision=run.id,
        stamp=stamp,
    )  # fmt: skip
    st.subheader("Do the foci agree, and are they real?", anchor=False)
    st.markdown(f"**Cosine.** {latent_words.COSINES}", width=WIDE)
    st.markdown(f"**Focus-validity test.** {latent_words.VALIDITY}", width=WIDE)
    blocks = [_cosines_block(stamp, tables["Cosines"], colour, where)]
    if found.final:
        tables["Validity"] = latent_course.validity_table(found.arrays)
        blocks.append(_validity_block(stamp, tables["Validity"], colour, names.chance, where))
    else:
        blocks.append(explorer.text("validity-wait", ["The focus-validity test is made at the end."], area="right",
                                    muted=True))  # fmt: skip
    explorer.explorer(blocks, key="explain-cosines", revision=run.id, stamp=stamp)
    return tables


@st.cache_data(max_entries=32, show_spinner=False)
def _foci_block(stamp: str, _table: pd.DataFrame, colour: str, ratio: bool, where: str) -> explorer.Block:
    """`stamp` stands for all that the chart shows, here and below."""
    most = min(len(_table), latent_figures.MOST)
    some = f", {most} of {len(_table)} numbers" if most < len(_table) else ""
    return explorer.chart(
        "foci", latent_figures.foci(_table, colour=colour, ratio=ratio), area="top",
        height=latent_figures.height(len(_table)), heading=f"Latent focus ({where}{some})",
        alt="Share of both classifiers' focus on every number of the code, and its correlation with group and target; "
        "the table Foci holds the same numbers",
    )  # fmt: skip


@st.cache_data(max_entries=32, show_spinner=False)
def _cosines_block(stamp: str, _table: pd.DataFrame, colour: str, where: str) -> explorer.Block:
    values = _table["cosine"].to_numpy(float)
    beyond = pages.percent(float((np.abs(values) > latent_figures.CONFLICT).mean()), 0)
    return explorer.chart(
        "cosines", latent_figures.cosines(values, colour=colour), area="left", height=TALL,
        heading=f"Cosine of the two foci: {beyond} beyond ±0.7 ({len(values)} rows of the {where.split(',')[0]})",
        alt=f"Histogram of the cosine of both foci over {len(values)} rows; the table Cosines holds the same numbers",
    )  # fmt: skip


@st.cache_data(max_entries=32, show_spinner=False)
def _validity_block(stamp: str, _table: pd.DataFrame, colour: str, chance: float, where: str) -> explorer.Block:
    return explorer.chart(
        "validity", latent_figures.validity(_table, colour=colour, chance=chance), area="right", height=TALL,
        heading=f"Focus-validity test ({where})",
        alt="Balanced accuracy of the group classifier while numbers of the code are replaced, by focus and at random; "
        "the table Validity holds the same numbers",
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------- pushes and saliency


def _pushes(catalogue: dict[str, Any], run: Run, names: Names, found: Shown | None) -> Tables:
    """What moves when codes are pushed along each focus, and how many decisions change."""
    st.subheader("What moves along each focus", anchor=False)
    pictures = catalogue["datasets"][run.config.dataset]["kind"] == "image"
    st.markdown(latent_words.PUSHED if pictures else latent_words.PUSHED_COLUMNS, width=WIDE)
    if found is None or not found.final:
        _later(run)
        return {}
    arrays, stamp, where = found.arrays, f"{run.id}{run.created}", latent_words.of(found, run)
    colour, tables = pages.method_colour(catalogue, METHOD), {"Flips": latent_course.flips_table(found.arrays)}
    if "pictures" in arrays:
        st.html(latent_viewer.drawn("pushes", stamp, arrays, names))
    elif "columns" in arrays:
        moved = {which: latent_course.moved_table(arrays, which) for which in ("sensitive", "task")}
        tables |= {f"Moved, {which}": table for which, table in moved.items()}
        blocks = _moved_blocks(stamp, moved, colour, float(arrays["pushes"][-1]), where)
        explorer.explorer(blocks, key="explain-moved", revision=run.id, stamp=stamp)
    st.markdown(latent_words.FLIPS, width=WIDE)
    explorer.explorer([_flips_block(stamp, tables["Flips"], colour, where)], key="explain-flips", revision=run.id,
                      stamp=stamp)  # fmt: skip
    return tables


@st.cache_data(max_entries=32, show_spinner=False)
def _moved_blocks(
    stamp: str, _tables: Tables, colour: str, push: float, where: str
) -> list[explorer.Block]:  # fmt: skip
    return [
        explorer.chart(
            f"moved-{which}",
            latent_figures.moved(table, colour=colour, hatched=which == "sensitive", push=push), area=area,
            height=latent_figures.height(min(len(table), latent_figures.TOP)),
            heading=f"Along the {which} focus: {latent_figures.TOP} of {len(table)} columns ({where})",
            alt=f"Mean change of the columns that move most along the {which} focus; the table Moved, {which} holds "
            "the same numbers",
        )
        for (which, table), area in zip(_tables.items(), ("left", "right"), strict=True)
    ]  # fmt: skip


@st.cache_data(max_entries=32, show_spinner=False)
def _flips_block(stamp: str, _table: pd.DataFrame, colour: str, where: str) -> explorer.Block:
    return explorer.chart(
        "flips", latent_figures.flips(_table, colour=colour), area="top", height=FLAT,
        heading=f"Decisions that change, by length of the push in units of the code ({where})",
        alt="Share of rows whose decision changes, by push along either focus, for both classifiers; the table Flips "
        "holds the same numbers",
    )  # fmt: skip


def _later(run: Run) -> None:
    st.caption(LATER if run.status in ACTIVE else "This run ended before its test.")


def _saliency(catalogue: dict[str, Any], run: Run, names: Names, found: Shown | None) -> Tables:
    """Where both look in pictures, or in columns."""
    st.subheader("Where they look", anchor=False)
    pictures = catalogue["datasets"][run.config.dataset]["kind"] == "image"
    st.markdown(latent_words.LOOK if pictures else latent_words.LOOK_COLUMNS, width=WIDE)
    if found is None or not found.final:
        _later(run)
        return {}
    stamp = f"{run.id}{run.created}"
    if "pictures" in found.arrays:
        st.html(latent_viewer.drawn("saliency", stamp, found.arrays, names))
    elif "columns" in found.arrays:
        table = latent_course.saliency_table(found.arrays)
        block = _saliency_block(stamp, table, pages.method_colour(catalogue, METHOD), latent_words.of(found, run))
        explorer.explorer([block], key="explain-saliency", revision=run.id, stamp=stamp)
        return {"Columns": table}
    return {}


@st.cache_data(max_entries=32, show_spinner=False)
def _saliency_block(stamp: str, _table: pd.DataFrame, colour: str, where: str) -> explorer.Block:
    most = min(len(_table), latent_figures.LOOKED)
    return explorer.chart(
        "saliency", latent_figures.saliency(_table, colour=colour), area="top", height=latent_figures.height(most),
        heading=f"Gradients through the autoencoder: {most} of {len(_table)} columns ({where})",
        alt="Share of both classifiers' gradient on the columns that matter most; the table Columns holds the same "
        "numbers",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- actions


def _actions(catalogue: dict[str, Any], run: Run, tables: Tables) -> None:
    """Every chart as a table, the formulas, and how to have it again."""
    with st.container(horizontal=True, gap="small", key="explain-actions"):
        course.twins(run, tables)
        pages.measure_popover(*latent_grid.MEASURES)
        course.gauges_popover(catalogue["methods"][METHOD], "Method and gauges")
        course.again(catalogue, run)
