"""What AEDA did (Zhang and Sang 2020): its sentence, its twins, and the diagnoses of the paper, live while it trains.

Every part says in one paragraph what to look for and what the paper found. What is drawn comes from the store alone.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import aeda_figures, exhibits, metrics
from fairness_core.config import RunConfig
from fairness_core.store import Run
from pages import course, explorer, few_shot, label_switch, twin_course, twin_viewer, twin_words

METHOD = "aeda"
NEWEST = 200  # runs that are looked through for others to lay over
MOST = 6  # runs in one chart
TALL = 340  # pixels of a chart over the epochs
NAMED = 4  # targets that a warning lists
WIDE = 1080  # pixels of a paragraph, so that its lines can be read
WITH = "explain-with"


def section(catalogue: dict[str, Any], run: Run) -> None:
    """Everything about this run, as far as it has come."""
    final = pages.store().confusions([run.id], "test", pooled=False).get(run.id)
    before = _untreated(catalogue, run)
    looks = twin_course.looks(run)
    words = twin_words.result(before, final, run) if final is not None else twin_words.now(run, looks)
    names = twin_viewer.names_of(run, _classes(catalogue, run), _groups(run))
    # Every part has a container of its own, so that what appears in one moves no chart of another to a new place.
    with st.container(key="explain-words"):
        explorer.explorer([explorer.text("sentence", [words])], key="explain-lead", revision=run.id)
        if final is not None:
            _cautions(run, final)
    with st.container(key="explain-twins"):
        _twins(catalogue, run, names)
    with st.container(key="explain-how"):
        shown = [run, *_others(catalogue, run)]
        _diagnoses(catalogue, shown)
    with st.container(key="explain-results"):
        if final is not None:
            _matrices(run, before, final)
            _attributes(catalogue, run, before, final)
    with st.container(key="explain-few-classes"):
        few_shot.section(catalogue, run, before, final)
    label_switch.part(catalogue, run)
    _tables(catalogue, run, shown, before, final)


def _untreated(catalogue: dict[str, Any], run: Run) -> np.ndarray | None:
    """The untreated twin's test tensor, if it is trained."""
    twin = course.untreated(catalogue, run.config).id
    return pages.store().confusions([twin], "test", pooled=False).get(twin)


def _cautions(run: Run, final: np.ndarray) -> None:
    """What must be known beside the sentence: above all that a model which decides alike for all shows no bias."""
    if final.ndim == 4:
        alike = [t.replace("_", " ") for t, C in zip(run.info["targets"], final, strict=True) if metrics.is_trivial(C)]
        if alike:
            st.warning(
                f"{len(alike)} of {len(final)} targets are decided alike for nearly everybody or hardly better than by "
                f"guessing ({', '.join(alike[:NAMED])}{', …' if len(alike) > NAMED else ''}): a small bias means "
                "nothing there. Train for longer.",
                icon=":material/block:",
            )
        return
    for flag in metrics.flags(final, _groups(run), run.info.get("classes")):
        if flag != "aod_cancels":  # this page speaks of no signed measure
            st.caption(f":material/warning: {metrics.explain(flag)}")


def _groups(run: Run) -> list[str]:
    return list(run.info.get("groups") or course.group_names(run, 2))


def _classes(catalogue: dict[str, Any], run: Run) -> list[str]:
    return list(run.info.get("classes") or catalogue["datasets"][run.config.dataset]["classes"])


# ------------------------------------------------------------------------------------------------------------- twins


def _twins(catalogue: dict[str, Any], run: Run, names: twin_viewer.Names) -> None:
    st.subheader("The twins", anchor=False)
    steps = exhibits.steps(pages.store().exhibits_path(run.id))
    pictures = catalogue["datasets"][run.config.dataset]["kind"] == "image"
    many = (
        f"the class of {names.target}, the first of {len(run.info['targets'])} targets,"
        if run.info.get("targets")
        else "the class"
    )
    shown = (
        "Left a training picture, in the middle its adversarial twin, right ten times the difference (grey: unchanged)."
        if pictures
        else "Training rows and the four columns in which the twin differs most. Numbers are in training standard "
        "deviations from the mean; a category is 0 or 1, and a twin lies in between."
    )
    st.markdown(
        f"{shown} Look for twins that pass for the other group while {many} is kept: these are the rows that training "
        "lacks. The paper balances every class with such twins instead of dropping or weighting rows. How visible the "
        f"change is depends on ε and says little about whether it works. {few_shot.about_twins(run.config)}",
        width=WIDE,
    )
    epochs = dict(zip(steps, twin_course.epochs(run, steps), strict=True))
    step = twin_viewer.moment(run, epochs)
    if step is None:
        twin_viewer.placeholder(run, pictures=pictures)
    else:
        twin_viewer.draw(run, step, names, pages.method_colour(catalogue, run.config.method))


# --------------------------------------------------------------------------------------------------------- diagnoses


def _others(catalogue: dict[str, Any], run: Run) -> list[Run]:
    """The runs that are laid over this one, chosen among those with the same data, network and seed."""
    found = alike(run)
    state, ids = st.session_state, [r.id for r in found]
    if WITH not in state:
        state[WITH] = st.query_params.get("with", "").split(",")
    if gone := set(state[WITH]) - set(ids):  # setting it anew for nothing would disturb whoever is choosing
        state[WITH] = [i for i in state[WITH] if i not in gone]
    titles = {r.id: f"{twin_course.called(catalogue, r.config)} · {r.id[:6]}" for r in found}
    st.subheader("How it went", anchor=False)
    st.multiselect(
        "Lay other runs over it", ids, key=WITH, format_func=titles.__getitem__, on_change=_chosen,
        max_selections=MOST - 1,
        placeholder="none" if ids else "no other AEDA run on these data, with this network and seed", width=760,
        disabled=not ids, help="AEDA runs with the same data, network and seed: other variants or settings.",
    )  # fmt: skip
    return [r for r in found if r.id in state[WITH]]


def _chosen() -> None:
    if st.session_state[WITH]:
        st.query_params["with"] = ",".join(st.session_state[WITH])
    else:
        st.query_params.pop("with", None)


def alike(run: Run) -> list[Run]:
    """The other AEDA runs with the same data, network and seed that have something to show, newest first."""
    store, config = pages.store(), run.config
    table = store.runs(limit=NEWEST)
    same = table[
        (table["method"] == METHOD) & (table["dataset"] == config.dataset) & (table["seed"] == config.seed)
        & (table["step"] > 0) & (table["id"] != run.id)
    ]  # fmt: skip
    return [r for r in filter(None, map(store.run, same["id"])) if _setting(r.config) == _setting(config)]


def _setting(config: RunConfig) -> tuple[object, ...]:
    return config.dataset, dict(config.dataset_options), config.model, dict(config.model_options), config.data_hash


def _diagnoses(catalogue: dict[str, Any], runs: Sequence[Run]) -> None:
    told = twin_course.curves(catalogue, runs)
    run, numbers = runs[0], told.select_dtypes("number").to_numpy(float)
    stamp = f"{'-'.join(r.id for r in runs)}{zlib.crc32(numbers.tobytes()):08x}"
    rows = _course_blocks(stamp, told, tuple(runs))
    with st.container(key="explain-warning"):
        if warning := twin_words.low_success(run, told[told["series"] == run.id]):
            st.warning(warning, icon=":material/content_copy:")
    for key, blocks in rows.items():
        explorer.explorer(blocks, key=key, revision=run.id, stamp=stamp)


@st.cache_data(max_entries=32, show_spinner=False)
def _course_blocks(stamp: str, _told: pd.DataFrame, _runs: tuple[Run, ...]) -> dict[str, list[explorer.Block]]:
    """Four charts with their words, two in a row; `stamp` stands for all that they show."""
    told = _told
    ends = {"first": min(map(twin_course.first_epoch, _runs)), "last": max(map(twin_course.last_epoch, _runs))}
    chance = float(told["chance"].max()) if told["chance"].notna().any() else math.nan
    n = int(np.max(told["n"].to_numpy(float), initial=0.0))
    settings: dict[str, Any] = {**ends, "height": TALL}
    panels = {"attack_success": "attack success", "class_kept": "class kept"}
    name = "feature difference (Eq. 7)"
    first = [
        *_part("success", "Do the twins pass, and is the class kept?", twin_words.SUCCESS, "left",
               aeda_figures.shares(told, panels, **settings),
               "Attack success and share of classes kept per epoch, one line per run"),
        *_part("r", "Does what moves a twin carry over? (r)", twin_words.TRANSFER, "right",
               aeda_figures.over_epochs(told, "transferability", name="r", chance=chance, **settings),
               "Cross-task transferability r per epoch with its chance level"),
    ]  # fmt: skip
    second = [
        *_part("bias", "Does bias rise when r falls?", twin_words.BIAS.format(n=f" of {n:,} rows" if n else ""), "left",
               aeda_figures.bias_and_transfer(told, **ends),
               "Model bias in points, left axis, and transferability r, right axis, per epoch"),
        *_part("difference", "How far apart are row and twin inside?", twin_words.DIFFERENCE, "right",
               aeda_figures.over_epochs(told, "feature_difference", name=name, share=False, **settings),
               "Feature difference of rows and their twins per epoch"),
    ]  # fmt: skip
    return {"explain-first": first, "explain-second": second}


def _part(id: str, heading: str, words: str, area: str, figure: Any, alt: str) -> list[explorer.Block]:
    """A chart under what to look for in it."""
    return [
        explorer.text(f"{id}-words", [words], area=area, heading=heading),
        explorer.chart(id, figure, area=area, height=TALL, alt=f"{alt}; the table Looks holds the same numbers"),
    ]


# ----------------------------------------------------------------------------------------------------------- results


def _matrices(run: Run, before: np.ndarray | None, after: np.ndarray) -> None:
    """Confusion matrices per group, untreated and this run, on one colour scale."""
    pooled = [None if C is None else C.sum(0) if C.ndim == 4 else C for C in (before, after)]
    groups, classes = _groups(run), list(run.info["classes"])
    st.subheader("Who is told what", anchor=False)
    added = " All targets are added up." if after.ndim == 4 else ""
    st.markdown(
        "Each row is a true class, each cell the share of it in % that is told the column's class; one colour scale "
        "from 0 (no colour) to 100 % (full) for all. Look for cells off the diagonal that are full in one group and "
        "empty in the other. In the paper the untreated C-MNIST model fails on 5 to 9 on red and on 0 to 4 on brown, "
        f"and robust shows one diagonal in both.{added}",
        width=WIDE,
    )
    for key, C, place in zip(("before", "after"), pooled, st.columns(2, gap="large"), strict=True):
        heading = f"{'Untreated model' if key == 'before' else 'This run'} (test, % of the true class)"
        block = explorer.text(f"matrices-{key}", [UNKNOWN], heading=heading, muted=True)
        if C is not None:
            frame = _cells(C, pooled[0] if key == "after" else None, groups)
            block = explorer.matrices(f"matrices-{key}", [frame], heading=heading, classes=classes, area="top")
        with place:
            stamp = f"{run.id}{before is None}"
            explorer.explorer([block], key=f"explain-{key}", revision=run.id, stamp=stamp)


UNKNOWN = "Not trained yet with these settings: press Compare with the untreated model at the top."


def _cells(C: np.ndarray, before: np.ndarray | None, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Per group the cells in reading order, as explorer.matrices wants them."""
    share, old = (None if c is None else _share(c) for c in (C, before))
    assert share is not None
    change = None if old is None else share - old
    return [
        {"title": f"{group}, n = {C[g].sum():,}", "kind": "group", "counts": C[g].ravel(), "shares": share[g].ravel(),
         "changes": None if change is None else change[g].ravel()}
        for g, group in enumerate(groups)
    ]  # fmt: skip


def _share(C: np.ndarray) -> np.ndarray:
    rows = C.sum(-1, keepdims=True)
    return np.asarray(C / np.where(rows > 0, rows, np.nan))


def _attributes(catalogue: dict[str, Any], run: Run, before: np.ndarray | None, after: np.ndarray) -> None:
    """Every target of several by itself (figure 10c)."""
    if after.ndim != 4:
        return
    table, group = twin_course.attributes(run, before, after)
    st.subheader("Attribute by attribute", anchor=False)
    st.markdown(
        f"From top to bottom the share of {group} among the training rows that have the attribute grows; 50 % is "
        "balanced. Look whether bias shrinks most where the share is far from 50 %, and what it costs in accuracy. "
        "Over 17 attributes the paper's robust brings the sum of bias from 5.48 to 3.27 and bACC from 73.6 to 74.3 %. "
        "Bars: 95 % intervals from resampling rows.",
        width=WIDE,
    )
    figure = aeda_figures.by_attribute(table, colour=pages.method_colour(catalogue, run.config.method), group=group)
    chart = explorer.chart(
        "attributes", figure, area="top", height=96 + 34 * len(table),
        alt="Bias and group-balanced accuracy per attribute, this run and the untreated model; the table Attributes "
        "holds the same numbers",
    )  # fmt: skip
    stamp = f"{run.id}{before is None}"
    explorer.explorer([chart], key="explain-attributes", revision=run.id, stamp=stamp)


def _tables(
    catalogue: dict[str, Any], run: Run, shown: Sequence[Run], before: np.ndarray | None, final: np.ndarray | None
) -> None:
    """Every chart as a table, the formulas, and how to have it again."""
    with st.container(horizontal=True, gap="small", key="explain-actions"):
        looks = twin_course.curves(catalogue, shown).drop(columns=["colour", "dash", "marker"])
        pages.table_twin(looks, label="Looks", name=f"looks-{run.id}")
        if final is not None:
            table = twin_course.result_table(run, before, final)
            pages.table_twin(table, label="Results", name=f"results-{run.id}")
            if final.ndim == 4:
                pages.table_twin(
                    twin_course.attributes(run, before, final)[0], label="Attributes", name=f"attributes-{run.id}"
                )
        pages.measure_popover("bacc", "bias_mean")
        sums = f"**Model bias, sum** (`bias_sum`): {metrics.METRICS['bias_sum'].definition}"
        course.gauges_popover(catalogue["methods"][METHOD], "Attack and gauges", sums)
        course.again(catalogue, run)
