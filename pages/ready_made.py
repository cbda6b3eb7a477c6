"""Decisions that somebody else's model has made, audited: nothing is trained."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from fairness_core import audit
from fairness_core.config import UserError
from fairness_core.datasets import own
from fairness_core.datasets.own import Table
from fairness_core.metrics import METRICS, group_rates, wilson
from pages import interval, measure_popover, percent, table_twin
from pages.anatomy import markdown

SHOWN = (
    *("accuracy", "balanced_accuracy", "worst_group_accuracy", "demographic_parity_difference"),
    *("equal_opportunity_difference", "equalized_odds_difference", "average_absolute_odds_difference"),
)
RATES = {
    "selection_rate": "Favourable decisions",
    "accuracy": "Accuracy",
    "tpr": "True positive rate",
    "fpr": "False positive rate",
}


def draw(table: Table) -> None:
    """The audit of the prediction that the table's choice names."""
    choice = table.choice
    st.markdown(f"**The ready-made decisions in {markdown(str(choice.prediction))}**")
    try:
        report = _report(table.data_hash, table)
    except UserError as error:
        st.warning(markdown(str(error)), icon=":material/error:")
        return
    st.markdown(_sentence(report, table))
    people, measures = _per_group(report), _measures(report)
    left, right = st.columns([3, 2])
    left.dataframe(people, hide_index=True, key="upload:groups", alt="Rates of each group")
    right.dataframe(measures, hide_index=True, key="upload:measures", alt="Measures with intervals")
    with st.container(horizontal=True):
        table_twin(people, label="Groups", name=f"{table.name}-groups")
        table_twin(measures, label="Measures", name=f"{table.name}-measures")
        measure_popover(*SHOWN)


@st.cache_data(max_entries=16, show_spinner="Counting decisions", hash_funcs={Table: lambda t: f"{t.folder}{t.choice}"})
def _report(data_hash: str, table: Table) -> dict[str, Any]:
    found = own.decisions(table)
    report = audit.of_decisions(found.y, found.predicted, found.s, found.classes, found.groups, found.score)
    return {**report, "left_out": found.left_out}


def _sentence(report: dict[str, Any], table: Table) -> str:
    """Who gets the favourable decision most and least often, with intervals."""
    people = _counts(report)
    known = people[people["n"] > 0].sort_values("rate")
    least, most = known.iloc[0], known.iloc[-1]
    lost = f" {report['left_out']:,} rows without all of it are left out." if report["left_out"] else ""
    gap = report["metrics"]["demographic_parity_difference"]
    low, high = report["intervals"]["demographic_parity_difference"]
    return (
        f"Of 1,000 in {markdown(most['group'])} {1000 * most['rate']:.0f} are decided to be "
        f"{markdown(table.choice.target)} = {markdown(report['classes'][-1])}, of 1,000 in {markdown(least['group'])} "
        f"{1000 * least['rate']:.0f}: a gap of {100 * gap:.1f} points (95 % interval {interval(low, high)}), in "
        f"{report['n']:,} rows.{lost}"
    )


def _counts(report: dict[str, Any]) -> pd.DataFrame:
    C = report["confusion"]
    n, favourable = C.sum((1, 2)), C[:, :, -1].sum(1)
    rates = group_rates(C, positive=C.shape[-1] - 1)["selection_rate"]
    return pd.DataFrame({"group": report["groups"], "n": n, "k": favourable, "rate": rates})


def _per_group(report: dict[str, Any]) -> pd.DataFrame:
    """One row per group: n and every rate with its 95 % Wilson interval."""
    C = report["confusion"]
    last = C.shape[-1] - 1
    found = group_rates(C, positive=last)
    hits = C.trace(axis1=1, axis2=2)
    of = {
        "selection_rate": (C[:, :, last].sum(1), C.sum((1, 2))),
        "accuracy": (hits, C.sum((1, 2))),
        "tpr": (C[:, last, last], C[:, last].sum(1)),
        "fpr": (C[:, :last, last].sum(1), C[:, :last].sum((1, 2))),
    }
    shown = pd.DataFrame({"Group": report["groups"], "n": C.sum((1, 2))})
    for name, heading in RATES.items():
        low, high = wilson(*of[name])
        shown[heading] = [
            f"{percent(float(v))} ({interval(float(a), float(b))})"
            for v, a, b in zip(found[name], low, high, strict=True)
        ]
    if "group_auc" in report:
        shown["Area under ROC"] = [f"{report['group_auc'][name]:.3f}" for name in report["groups"]]
    return shown


def _measures(report: dict[str, Any]) -> pd.DataFrame:
    rows = [
        {
            "Measure": METRICS[name].title,
            "Value": percent(report["metrics"][name]),
            "95 % interval": interval(*report["intervals"][name]),
        }
        for name in SHOWN
        if name in report["metrics"]
    ]
    return pd.DataFrame(rows)
