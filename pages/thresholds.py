"""Where should we draw the line? Every threshold of a trained binary model, for everybody or per group, under one hand;
and what a treatment of the model changes, and for whom."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

import pages
from fairness_core import regression_results
from fairness_core.config import Catalogue, RunConfig, resolve
from fairness_core.metrics import EPSILON
from fairness_core.store import ACTIVE, Run
from fairness_core.strategies import STRATEGIES
from fairness_core.thresholds import MEASURES
from pages import choices, course, cut, treatment

TICK = 0.5  # seconds between two looks at the model that is trained on a first visit
NEWEST = 400  # runs that are looked through
STATE = "thresholds"
SPLITS = ("test", "validation")
USUAL = {"eps": f"{EPSILON:g}", "cost": "1", "measure": MEASURES[0], "split": "test", "strategy": ""}


def main() -> None:
    st.title("Where should we draw the line?", anchor=False)
    catalogue = pages.catalogue()
    table = _models(catalogue)
    run = _shown(catalogue, table)
    if run is None:
        _first_model(catalogue, table)
        return
    run = _picker(catalogue, table, run)
    written = pages.store().scores_path(run.id).stat().st_mtime_ns
    material, payload = _counted(run.id, written, pages.favourable(catalogue, run.config))
    view = _view(run, len(material.groups))
    _about(catalogue, run)
    revision = f"{run.id}:{written}:{st.session_state[f'{STATE}:visit']}"
    cut.mount(payload, view, revision=revision, on_view=_moved)
    _actions(catalogue, run, material, view)
    treatment.section(catalogue, run, view.measure, view.epsilon)


# --------------------------------------------------------------------------------------------------------- which model


def _models(catalogue: Catalogue) -> pd.DataFrame:
    """The finished runs whose answers are kept, newest first."""
    store = pages.store()
    table = store.runs(limit=NEWEST, over=pages.tradeoffs(catalogue))
    done = table[table["status"] == "done"]
    kept = [run_id for run_id in done["id"] if store.scores_path(run_id).exists()]
    return done[done["id"].isin(kept)].reset_index(drop=True)


def _shown(catalogue: Catalogue, table: pd.DataFrame) -> Run | None:
    """The run of the address, else the last one looked at, else the newest untreated one; a sentence if the one that
    was asked for cannot be shown."""
    store, asked = pages.store(), st.query_params.get("run")
    if asked and asked != st.session_state.get(f"{STATE}:run"):
        _forget_view()
    for run_id in (asked, st.session_state.get(f"{STATE}:run")):
        run = store.run(run_id) if run_id else None
        problem = _problem(catalogue, run, str(run_id)) if run_id else ""
        if run is not None and not problem:
            return _remember(run)
        if run_id == asked and problem:
            st.warning(f"{problem} Showing another model.", icon=":material/search_off:")
    known = [i for i, m in zip(table["id"], table["method"], strict=True) if m == "erm"] + list(table["id"])
    found = next(filter(None, map(store.run, known)), None)
    return _remember(found) if found else None


def _problem(catalogue: Catalogue, run: Run | None, run_id: str) -> str:
    """Why the run cannot be shown here; empty if it can."""
    if run is None:
        return f"There is no run {run_id[:40]!r} here; it may have been deleted or belong to another computer."
    if reason := course.outdated(dict(catalogue), run.config):
        return f"Run {run.id} was made by other code: {reason}"
    if run.status != "done":
        return f"Run {run.id} has not been trained to its end; see it on the page Train."
    if regression_results.is_regression(run):
        return (
            f"Run {run.id} predicts a number, and no threshold decides anything, so there is no line to draw; its "
            "errors by bin and group are on the page Train."
        )
    if run.info.get("task") != "binary" or not pages.store().scores(run.id):
        return f"Run {run.id} has no scores of two classes, so there is no line to draw."
    return ""


def _remember(run: Run) -> Run:
    state = st.session_state
    if state.get(f"{STATE}:run") != run.id:
        state[f"{STATE}:run"] = run.id
        state[f"{STATE}:visit"] = state.get(f"{STATE}:visit", 0) + 1
        state.pop(f"{STATE}:view", None)
    st.query_params["run"] = run.id
    return run


def _forget_view() -> None:
    """Another address was entered: its view counts, not the one before."""
    st.session_state.pop(f"{STATE}:view", None)
    st.session_state.pop(f"{STATE}:run", None)


def _picker(catalogue: Catalogue, table: pd.DataFrame, run: Run) -> Run:
    """Choose another model."""
    ids = list(table["id"]) if run.id in set(table["id"]) else [run.id, *table["id"]]
    rows = table.set_index("id").to_dict("index")
    st.session_state[f"{STATE}:pick"] = run.id

    def called(run_id: str) -> str:
        if run_id not in rows:
            return run_id
        row = rows[run_id]
        setting = f" {pages.setting(catalogue, row['method'], float(row['lam']))}".rstrip()
        return course.listed(catalogue, row | {"id": run_id}, setting, f", {row['sensitive']}")

    st.selectbox("Model", ids, key=f"{STATE}:pick", format_func=called, on_change=_picked, width=760,
                 help="Every trained model of two classes in this store, newest first; type to search.")  # fmt: skip
    return run


def _picked() -> None:
    st.query_params.clear()
    st.query_params["run"] = st.session_state[f"{STATE}:pick"]


def _first_model(catalogue: Catalogue, table: pd.DataFrame) -> None:
    """Nothing to look at yet: the untreated model of the first data set is trained without being asked."""
    store = pages.store()
    config = resolve(catalogue, dataset=next(iter(catalogue["datasets"])), method="erm")
    run = store.run(config.id)
    if run is None:
        store.submit([config])
        pages.wake_runner()
    elif run.status not in ACTIVE:
        pages.failure(run.error, "The training was stopped.")
        if st.button("Train again", icon=":material/replay:", key="again"):
            store.submit([config])
            pages.wake_runner()
            st.rerun()
        return
    st.fragment(_wait, run_every=TICK)(config)


def _wait(config: RunConfig) -> None:
    run = pages.store().run(config.id)
    if run is None or run.status not in ACTIVE:
        st.rerun()
    st.markdown("**A first model is being trained**; its thresholds can be moved as soon as it is done.")
    st.progress(run.step / run.of if run.of else 0.0, text=course.waiting(run, time.time()))


def _about(catalogue: Catalogue, run: Run) -> None:
    """What the thresholds act on when the run's own decisions are not a threshold on its score."""
    entry = catalogue["methods"][run.config.method]
    if entry["family"] == "post":
        st.caption(
            f":material/info: {pages.title(entry)} decides by score and group. The thresholds here act on the scores "
            "it was given; its own decisions are compared further down."
        )


# ------------------------------------------------------------------------------------------------------------ the view


@st.cache_resource(max_entries=12, show_spinner=False)
def _counted(run_id: str, written: int, favourable: str) -> tuple[cut.Material, dict[str, Any]]:
    """The run's answers, counted, and what the browser is told of them; nobody changes either. written: when the
    answers were, in nanoseconds."""
    run = pages.store().run(run_id)
    assert run is not None
    material = cut.Material.of(
        pages.store().scores(run_id), list(run.info["groups"]), list(run.info["classes"]), favourable
    )
    return material, cut.payload(material, run.config.seed)


def _view(run: Run, n_groups: int) -> cut.View:
    """What is looked at: as the browser last said, else as the address says; a sentence for what it says wrongly."""
    state = st.session_state
    if f"{STATE}:view" not in state:
        problems: list[str] = []
        state[f"{STATE}:view"] = _read(st.query_params.to_dict(), _own_threshold(run), n_groups, problems)
        state[f"{STATE}:problems"], state[f"{STATE}:moved"] = problems, False
    if state[f"{STATE}:moved"]:
        _tell_address(state[f"{STATE}:view"])
    if told := state.get(f"{STATE}:problems"):
        st.warning("  \n".join(told), icon=":material/error:")
    view: cut.View = state[f"{STATE}:view"]
    return view


def _own_threshold(run: Run) -> float:
    """Where the run itself draws the line: what its method found, else 0.5."""
    history = pages.store().history(run.id)
    last = history[history["stage"] == "validation"]
    found = float(last["tau"].iloc[-1]) if len(last) and "tau" in last else 0.5
    return found if 0 <= found <= 1 else 0.5


def _read(parameters: Mapping[str, str], usual: float, n_groups: int, problems: list[str]) -> cut.View:
    told = [part for part in parameters.get("tau", "").split(",") if part]
    taus = [choices.number({"tau": part}, "tau", "τ", 0, 1, problems) for part in told]
    known = [usual if tau is None else tau for tau in taus]
    if len(known) not in (0, 1, n_groups):
        problems.append(f"The address gives {len(known)} thresholds and there are {n_groups} groups; taking the first.")
        known = known[:1]
    linked = len(known) < 2
    tau = tuple(known * n_groups if linked and known else known or [usual] * n_groups)
    epsilon = choices.number(parameters, "eps", "ε", 0, 1, problems)
    cost = choices.number(parameters, "cost", "The cost ratio", cut.COSTS[0], cut.COSTS[-1], problems)
    return cut.View(
        tau, linked, EPSILON if epsilon is None else epsilon, 1.0 if cost is None else cost,
        choices.one_of(parameters, "measure", list(MEASURES), MEASURES[0], problems),
        choices.one_of(parameters, "split", list(SPLITS), SPLITS[0], problems),
        choices.one_of(parameters, "strategy", ["", *(s.name for s in STRATEGIES)], "", problems),
    )  # fmt: skip


def _moved() -> None:
    """The browser says what it shows now."""
    told = st.session_state["cut"].get("view")
    if not told:
        return
    st.session_state[f"{STATE}:view"], st.session_state[f"{STATE}:problems"] = cut.View.from_json(told), []
    st.session_state[f"{STATE}:moved"] = True


def _tell_address(view: cut.View) -> None:
    """The address follows what is shown, and what is as usual needs no word in it. At every drawing: one that a second
    change overtakes may never reach the browser, and the next one brings the old address along."""
    shown = view.tau[:1] if view.linked else view.tau
    now = {
        "tau": ",".join(f"{tau:g}" for tau in shown), "eps": f"{view.epsilon:g}", "cost": f"{view.cost:g}",
        "measure": view.measure, "split": view.split, "strategy": view.strategy,
    }  # fmt: skip
    for name, value in now.items():
        if value == USUAL.get(name) or (name == "tau" and view.strategy):
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = value


# -------------------------------------------------------------------------------------------------------------- onward


def _actions(catalogue: Catalogue, run: Run, material: cut.Material, view: cut.View) -> None:
    with st.container(horizontal=True, gap="small", key="actions"):
        table = cut.strategy_table(material, view)
        pages.table_twin(table, label="Strategies as a table", name=f"thresholds-{run.id}")
        every = cut.threshold_table(material, view.split, view.measure)
        pages.table_twin(every, label="Thresholds as a table", name=f"curve-{run.id}")
        pages.measure_popover(view.measure, cut.RHO)
        command = pages.command_line("train", run.config, catalogue, "--seed", str(run.config.seed))
        pages.reproduce_popover(command, python_lines(run, view))
        pages.link_popover()


def python_lines(run: Run, view: cut.View) -> str:
    """The numbers of the page as Python, from the answers that the store keeps."""
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "import numpy as np",
            "",
            "from fairness_core import metrics, thresholds",
            "from fairness_core.store import Store",
            "",
            f'answers = Store(Path("runs")).scores({run.id!r})[{view.split!r}]',
            f"groups = {list(run.info['groups'])!r}",
            "C = thresholds.counts(answers.score, answers.y, answers.s, len(groups))  # (501, groups, 2, 2)",
            f"at = [round(500 * tau) for tau in {list(view.tau)}]  # one threshold per group",
            "print(metrics.evaluate(C[at, np.arange(len(groups))]))",
        ]
    )


main()
