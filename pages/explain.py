"""What did the method do? One run from the inside: what it made, what it learned from that, and what came of it."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import streamlit as st

import pages
from fairness_core.config import RunConfig, UserError, resolve
from fairness_core.store import ACTIVE, Run
from pages import adversarial_examples, backdoor_course, course, label_switch, latent_course, sections
from pages.sections import SECTIONS

TICK = 1.0  # seconds between two looks at a run that is being trained
NEWEST = 400  # runs that are looked through
STATE = "explain"
FIRST = {"dataset": "cmnist", "method": adversarial_examples.METHOD, "dataset_options": {"digits": "5000"}}
FIRST_TABLE = {"dataset": "adult", "method": backdoor_course.METHOD}
CODED = ("south_german", "adult")  # what DVGE is shown on first: the first that is here


def main() -> None:
    st.title("What did the method do?", anchor=False)
    catalogue = pages.catalogue()
    table = _explained()
    run = _shown(catalogue, table)
    if run is None:
        _empty(catalogue)
        return
    _picker(catalogue, table, run)
    unfinished = _unfinished(catalogue, run)
    st.fragment(_live, run_every=TICK if unfinished else None)(catalogue, run.id, unfinished)


# ----------------------------------------------------------------------------------------------------------- which run


def _explained() -> pd.DataFrame:
    """The runs with something to explain, newest first."""
    table = pages.store().runs(limit=NEWEST)
    own = table[table["method"].isin(list(SECTIONS))]
    return own[own["status"].isin((*ACTIVE, "done")) | (own["step"] > 0)].reset_index(drop=True)


def _shown(catalogue: dict[str, Any], table: pd.DataFrame) -> Run | None:
    """The run of the address, else the last one looked at, else the newest; a sentence if the one that was asked for
    cannot be shown."""
    asked, last = st.query_params.get("run"), st.session_state.get(f"{STATE}:run")
    if asked and asked != last:
        for name in (adversarial_examples.WITH, "explain:viewed"):
            st.session_state.pop(name, None)
    first = table.sort_values("method", key=lambda names: names == label_switch.METHOD, kind="stable")["id"]
    for run_id in (asked, last, *first):
        run = pages.store().run(run_id) if run_id else None
        problem = _problem(catalogue, run, str(run_id)) if run_id else ""
        if run is not None and not problem:
            st.session_state[f"{STATE}:run"] = st.query_params["run"] = run.id
            return run
        if run_id == asked and problem:
            st.warning(problem, icon=":material/search_off:")
    st.query_params.pop("run", None)
    return None


def _problem(catalogue: dict[str, Any], run: Run | None, run_id: str) -> str:
    """Why the run cannot be shown here; empty if it can."""
    if run is None:
        return f"There is no run {run_id[:40]!r} here; it may have been deleted or belong to another computer."
    if run.config.method not in SECTIONS:
        known = ", ".join(pages.title(catalogue["methods"][name]) for name in SECTIONS)
        return f"Run {run.id} is of a method that has no explanation here yet; those that have one: {known}."
    if reason := course.outdated(catalogue, run.config):
        return f"Run {run.id} was made by other code and cannot be shown: {reason} Train it anew to see it."
    return ""


def _picker(catalogue: dict[str, Any], table: pd.DataFrame, run: Run) -> None:
    """Choose another run."""
    ids = list(table["id"]) if run.id in set(table["id"]) else [run.id, *table["id"]]
    rows = table.set_index("id").to_dict("index")
    st.session_state[f"{STATE}:pick"] = run.id

    def called(run_id: str) -> str:
        if run_id not in rows:
            return run_id
        row = rows[run_id]
        return course.listed(catalogue, row | {"id": run_id}, sections.kind(row["method"], row["options"]))

    st.selectbox("Run", ids, key=f"{STATE}:pick", format_func=called, on_change=_picked, width=760,
                 help="Every run of this store with something to explain, newest first; type to search.")  # fmt: skip


def _picked() -> None:
    st.query_params.clear()
    st.query_params["run"] = st.session_state[f"{STATE}:pick"]


def _empty(catalogue: dict[str, Any]) -> None:
    """Nothing to explain yet: what to do, and a button that does it."""
    with st.container(border=True):
        st.markdown("**No run here has left anything to explain yet.**")
        st.markdown(
            "This page opens a run of *AEDA*, which trains on rows and their adversarial twins, of *BaDe*, which "
            "cancels bias with triggers that only a teacher sees, or of *DVGE*, which moves codes of rows along what "
            "gives the group away, and shows them while they are made. A button trains it, and the untreated model to "
            "compare with; something is seen after some seconds."
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Train AEDA on coloured digits", key="explain-first", type="primary",
                         icon=":material/play_arrow:"):  # fmt: skip
                _train_first(catalogue, FIRST)
            if st.button("Train BaDe on census rows", key="explain-first-table", icon=":material/play_arrow:"):
                _train_first(catalogue, FIRST_TABLE)
            coded = next(name for name in CODED if not catalogue["datasets"][name]["missing"])
            if st.button(f"Train DVGE on {pages.title(catalogue['datasets'][coded])}", key="explain-first-codes",
                         icon=":material/play_arrow:"):  # fmt: skip
                _train_first(catalogue, {"dataset": coded, "method": latent_course.METHOD})
            st.page_link("train.py", label="Choose the settings first", icon=":material/model_training:")
    pages.load_chart_library()


def _train_first(catalogue: dict[str, Any], first: dict[str, Any]) -> None:
    try:
        config = resolve(catalogue, **first)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    _train(config, course.untreated(catalogue, config))


def _train(config: RunConfig, *others: RunConfig) -> None:
    pages.store().submit([config, *others])
    pages.wake_runner()
    st.query_params["run"] = config.id
    st.rerun()


# ------------------------------------------------------------------------------------------------------- while it lives


def _unfinished(catalogue: dict[str, Any], run: Run) -> set[str]:
    """The ids among this run, its untreated twin and the others in its section that are still to be waited for."""
    ids = [run.id, course.untreated(catalogue, run.config).id, *sections.waited_for(catalogue, run.config)]
    return {r.id for r in filter(None, map(pages.store().run, ids)) if r.status in ACTIVE}


def _live(catalogue: dict[str, Any], run_id: str, unfinished: set[str]) -> None:
    """Everything that can change while the run trains; the whole page follows once something has ended."""
    run = pages.store().run(run_id)
    if run is None or _unfinished(catalogue, run) != unfinished:
        st.rerun()
    _status(catalogue, run)
    SECTIONS[run.config.method](catalogue, run)


def _status(catalogue: dict[str, Any], run: Run) -> None:
    """One row: how the run stands and what can be done about it."""
    with st.container(horizontal=True, vertical_alignment="center", key="explain-status"):
        if run.status == "failed":
            pages.failure(run.error)
        elif run.status == "cancelled":
            st.warning(f"Stopped at step {run.step:,} of {run.of:,}: what was seen until then is shown.")
        elif run.status == "done":
            st.badge("done", icon=":material/check:", color="green")
            st.caption(f"trained in {run.info.get('seconds', float('nan')):.1f} s · run `{run.id}`")
        else:
            st.progress(run.step / run.of if run.of else 0.0, text=course.waiting(run, time.time()))
        if course.stop_or_again(run, "explain-"):
            _train(run.config)
        if catalogue["methods"][run.config.method]["family"] == "experiment":
            return  # there is no untreated model of it, and the page Train has no such method
        course.offer_comparison(course.untreated(catalogue, run.config), run.config, "explain-compare")
        st.page_link(
            "train.py", label="Settings", icon=":material/model_training:", query_params={"run": run.id},
            help="Open this run on the page Train, to change what it was trained with.",
        )  # fmt: skip


main()
