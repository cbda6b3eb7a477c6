"""What has been trained? Every sweep and every run with its settings and its result: open, pass on, repeat, delete."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import metrics
from fairness_core.preparation import INAPPLICABLE
from fairness_core.store import ACTIVE, STATUSES
from pages import errors_by_bin, gaps

TICK = 1.0  # seconds between two looks while something is active
NEWEST = 500  # runs listed
FIRST = {"time": "Time", "data": "Data", "method": "Method"}
SWEEP_HEADINGS = {
    **FIRST,
    "over": "Over",
    "status": "Status",
    "done": "Done",
    "runs": "Runs",
    "failed": "Failed",
    "id": "Id",
}
RUN_HEADINGS = {
    **FIRST,
    "sensitive": "Group",
    "setting": "Setting",
    "seed": "Seed",
    "status": "Status",
    "accuracy": "Accuracy",
    "gap": "Gap",
    "error_size": "Mean error",
    "error_gap": "Error gap",
    "n": "n",
    "seconds": "Seconds",
    "error": "Why it ended",
    "id": "Id",
}
ERRORS = {"error_size": "mean_absolute_error", "error_gap": "odds_regression"}  # of runs whose target is a number
ERROR_HELP = "Of a run whose target is a number, on the test split, in units of the target"


def main() -> None:
    st.title("What has been trained?", anchor=False)
    catalogue = pages.catalogue()
    store = pages.store()
    if store.runs(limit=1).empty:
        _empty()
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Show", ["sweeps", "runs"], default="sweeps", required=True, key="show", bind="query-params"
        )
        chosen = _filters(catalogue)
        measure = gaps.picker(width=300)
    active = bool(_table(catalogue, kind, chosen, measure)["status"].isin(ACTIVE).any())
    st.fragment(_listing, run_every=TICK if active else None)(catalogue, str(kind), chosen, measure, active)


def _empty() -> None:
    with st.container(border=True):
        st.markdown("**Nothing has been trained in this store yet.**")
        st.markdown(
            "The frontier trains a first sweep by itself; a single run with settings of your own starts at *Train*."
        )
        with st.container(horizontal=True):
            st.page_link("frontier.py", label="Open the frontier", icon=":material/show_chart:")
            st.page_link("train.py", label="Train one run", icon=":material/model_training:")


def _filters(catalogue: dict[str, Any]) -> dict[str, list[str]]:
    """What the lists are limited to; an empty choice is no limit."""

    def called(name: str) -> str:
        return pages.title(catalogue["methods"].get(name, {"name": name}))

    methods = st.multiselect(
        "Method",
        list(catalogue["methods"]),
        key="method",
        format_func=called,
        placeholder="all",
        bind="query-params",
        width=280,
    )
    status = st.multiselect("Status", STATUSES, key="status", placeholder="all", bind="query-params", width=240)
    chosen = {"method": methods, "status": status}
    if len(catalogue["datasets"]) > 1:
        chosen["dataset"] = st.multiselect(
            "Data", list(catalogue["datasets"]), key="dataset", placeholder="all", bind="query-params", width=200
        )
    return chosen


# -------------------------------------------------------------------------------------------------------------- tables


def _table(catalogue: dict[str, Any], kind: str | None, chosen: dict[str, list[str]], measure: str) -> pd.DataFrame:
    """The rows to list, newest first, with their results on test."""
    table = pages.store().sweeps() if kind == "sweeps" else _runs(catalogue)
    for column, kept in chosen.items():
        if kept:
            table = table[table[column].isin(kept)]
    table = table.reset_index(drop=True)
    if kind == "sweeps":
        return table
    table = _with_results(table, measure)
    table.loc[table["method"].isin(_experiments(catalogue)), "gap"] = np.nan  # it has no decision to compare
    return table


def _runs(catalogue: dict[str, Any]) -> pd.DataFrame:
    """The newest runs, with where each stands on its method's trade-off in the column "setting"."""
    table = pages.store().runs(limit=NEWEST, over=pages.tradeoffs(catalogue))
    pairs = zip(table["method"], table["lam"].astype(float), strict=True)
    return table.assign(setting=[pages.setting(catalogue, method, value) for method, value in pairs])


def _with_results(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Adds accuracy, the gap and n of the test split: NaN for a run without a result."""
    tensors = pages.store().confusions(table["id"], "test")
    numbers = _numbers(table)
    rows = []
    for run_id in table["id"]:
        C = tensors.get(run_id)
        found = {} if C is None or run_id in numbers else metrics.evaluate(C, ["accuracy", measure])
        rows.append({"accuracy": found.get("accuracy", np.nan), "gap": found.get(measure, np.nan),
                     "n": np.nan if C is None else int(C.sum()), **numbers.get(run_id, {})})  # fmt: skip
    columns = ["accuracy", "gap", "n", *ERRORS]
    return pd.concat([table, pd.DataFrame(rows, columns=columns, index=table.index)], axis=1)


def _numbers(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Of the runs whose target is a number: how far they are off, and the gap between the groups' errors, as text."""
    known = pages.store().info(table["id"])
    units = {run_id: info.get("unit", "") for run_id, info in known.items() if info.get("task") == "regression"}
    found = pages.store().values(units, "test")
    told = {}
    for run_id, values in found.items():
        size, gap = (errors_by_bin.number(values.get(name, np.nan)) for name in ERRORS.values())
        told[run_id] = dict(zip(ERRORS, (f"{size} {units[run_id]}".strip(), gap), strict=True))
    return told


def shown(catalogue: dict[str, Any], table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """`table` as people read it: titles instead of names, percent, local time."""
    methods = {name: pages.title(entry) for name, entry in catalogue["methods"].items()}
    datasets = {name: pages.title(entry) for name, entry in catalogue["datasets"].items()}
    symbols = {name: pages.tradeoff_symbol(catalogue, name) for name in pages.tradeoffs(catalogue)}
    over = table["method"].map(symbols)
    time = [datetime.datetime.fromtimestamp(t).replace(microsecond=0) for t in table["created"]]
    table = table.assign(
        time=time,
        data=table["dataset"].map(lambda d: datasets.get(d, d)),
        method=table["method"].map(lambda m: methods.get(m, m)),
    )
    if kind == "sweeps":
        table = table.assign(over=over.fillna(table["over"]), done=100 * table["done"] / table["runs"])
        return table.rename(columns=SWEEP_HEADINGS)[list(SWEEP_HEADINGS.values())]
    table = table.assign(accuracy=100 * table["accuracy"], gap=100 * table["gap"])
    inapplicable = table["error"].fillna("").str.startswith(INAPPLICABLE)
    table["status"] = table["status"].mask(inapplicable, "– not applicable")
    return table.rename(columns=RUN_HEADINGS)[list(RUN_HEADINGS.values())]


def _order(catalogue: dict[str, Any], kind: str, table: pd.DataFrame) -> list[str]:
    """The headings from left to right; a single data set needs no column, nor do errors where no run has any."""
    headings = SWEEP_HEADINGS if kind == "sweeps" else RUN_HEADINGS
    absent = {name for name in ERRORS if name in headings and table[headings[name]].isna().all()}
    absent |= set() if len(catalogue["datasets"]) > 1 else {"data"}
    return [h for name, h in headings.items() if name not in absent]


def _columns(kind: str, measure: str) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    config = {"Time": st.column_config.DatetimeColumn(format="D MMM, HH:mm")}
    if kind == "sweeps":
        return {**config, "Done": st.column_config.ProgressColumn(format="%d %%", min_value=0, max_value=100)}
    return {
        **config,
        "Setting": st.column_config.TextColumn(width=118, help="Where the run stands on its method's own trade-off."),
        "Accuracy": number("Accuracy, %", format="%.1f", help="Share of the test split predicted correctly."),
        "Gap": number("Gap, points", format="%.1f", help=f"{gaps.title(measure)} on the test split."),
        "Mean error": st.column_config.TextColumn(help=f"{ERROR_HELP}; the measure: mean absolute error."),
        "Error gap": st.column_config.TextColumn(help=f"{ERROR_HELP}; the measure: odds of the signed error."),
        "n": number("n (test)", format="localized", help="People in the test split."),
        "Seconds": number(format="%.2f", help="Training time of this run; runs of a sweep share theirs."),
    }


# ------------------------------------------------------------------------------------------------------------- listing


def _listing(
    catalogue: dict[str, Any], kind: str, chosen: dict[str, list[str]], measure: str, was_active: bool
) -> None:
    """The list with its actions: what moves while something trains."""
    table = _table(catalogue, kind, chosen, measure)
    if was_active != bool(table["status"].isin(ACTIVE).any()):
        st.rerun()
    table = _held(table, kind)
    if table.empty and kind == "sweeps" and not any(chosen.values()):
        st.info("No sweep has been trained here yet, but single runs have: show *runs* above.", icon=":material/list:")
        return
    if table.empty:
        st.info("Nothing matches these filters; remove one to see more.", icon=":material/filter_alt_off:")
        return
    bar = st.container(horizontal=True, vertical_alignment="center", height=56, border=False)
    rows = shown(catalogue, table, kind)
    event = st.dataframe(
        rows,
        hide_index=True,
        key=f"list-{kind}",
        on_select="rerun",
        selection_mode="multi-row",
        column_config=_columns(kind, measure),
        column_order=_order(catalogue, kind, rows),
        height=min(640, 38 + 35 * len(table)),
        placeholder="-",
        alt=f"All {kind}",
    )
    picked = table.iloc[[row for row in event["selection"]["rows"] if row < len(table)]]
    st.session_state[f"runs:held-{kind}"] = list(table["id"]) if len(picked) else []
    with bar:
        _actions(catalogue, kind, picked)


def _held(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """While rows are selected nothing may move under the selection: the list keeps its rows and their order."""
    held = st.session_state.get(f"runs:held-{kind}", [])
    present = set(table["id"])
    if not held or not present.issuperset(held):
        return table
    place = {run_id: i for i, run_id in enumerate(held)}
    kept = table[table["id"].isin(place)]
    return kept.sort_values("id", key=lambda ids: ids.map(place)).reset_index(drop=True)


def _page(catalogue: dict[str, Any], picked: pd.DataFrame) -> str:
    """The page that shows the selected run: an experiment is explained where its twins are."""
    return "explain" if picked["method"].iloc[0] in _experiments(catalogue) else "train"


def _experiments(catalogue: dict[str, Any]) -> set[str]:
    return {name for name, entry in catalogue["methods"].items() if entry["family"] == "experiment"}


def _actions(catalogue: dict[str, Any], kind: str, picked: pd.DataFrame) -> None:
    ids, statuses = list(picked["id"]), set(picked["status"])
    if not ids:
        st.caption("Select rows to open, pass on, stop, repeat or delete them; click a heading to sort.")
        return
    if len(ids) == 1:
        page, name = ("frontier.py", "sweep") if kind == "sweeps" else (f"{_page(catalogue, picked)}.py", "run")
        if st.button("Open", key="open", type="primary", icon=":material/open_in_new:"):
            st.switch_page(page, query_params={name: ids[0]})
        _link("" if kind == "sweeps" else _page(catalogue, picked), name, ids[0])
    members = _members(kind, ids)
    if statuses & set(ACTIVE) and st.button("Stop", key="stop", icon=":material/stop:"):
        pages.store().cancel(members)
        st.rerun(scope="fragment")
    if statuses & {"failed", "cancelled"} and st.button("Train again", key="again", icon=":material/replay:"):
        _repeat(members)
    if st.button("Delete", key="delete", icon=":material/delete:"):
        _confirm_delete(kind, ids, len(members))
    st.caption(f"{len(ids)} selected")


def _members(kind: str, ids: Sequence[str]) -> list[str]:
    """The runs behind the selected rows."""
    if kind == "runs":
        return list(ids)
    sweeps = filter(None, map(pages.store().sweep, ids))
    return list(dict.fromkeys(run_id for sweep in sweeps for run_id in sweep.run_ids))


def _repeat(run_ids: Sequence[str]) -> None:
    """Queue again what failed or was stopped; sweeps train together again."""
    found = filter(None, map(pages.store().run, run_ids))
    configs = [run.config for run in found if run.status in ("failed", "cancelled")]
    pages.store().submit(configs, vary=("lam",))
    pages.wake_runner()
    st.rerun()


def _link(path: str, name: str, run_id: str) -> None:
    with st.popover("Link", icon=":material/link:"):
        st.markdown("The address that opens it, also on another screen of this computer:")
        base = (st.context.url or "").partition("/runs")[0].rstrip("/")
        st.code(f"{base}/{path}?{name}={run_id}", language=None, wrap_lines=True)


@st.dialog("Delete for good?")
def _confirm_delete(kind: str, ids: list[str], members: int) -> None:
    what = f"{len(ids)} {kind if len(ids) > 1 else kind[:-1]}"
    extra = f" with {members} runs" if kind == "sweeps" else ""
    st.markdown(
        f"{what}{extra} will be forgotten with curves, results and weights. What still trains is stopped first."
    )
    with st.container(horizontal=True):
        sure = st.button(
            "Delete",
            type="primary",
            icon=":material/delete:",
            key="delete-really",
            on_click=_delete,
            args=(kind, ids),
        )
        if sure or st.button("Keep"):
            st.rerun()


def _delete(kind: str, ids: list[str]) -> None:
    st.session_state[f"runs:held-{kind}"] = []
    if kind == "runs":
        pages.store().delete(ids)
        return
    for sweep_id in ids:
        pages.store().delete_sweep(sweep_id)


main()
