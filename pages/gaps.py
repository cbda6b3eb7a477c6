"""Which gap between groups the pages of single runs speak of."""

from __future__ import annotations

import streamlit as st

from fairness_core import metrics


def names() -> list[str]:
    """The measures of a gap, smallest is best, most asked for first."""
    first = ["demographic_parity_difference", "equalized_odds_difference", "average_absolute_odds_difference"]
    others = [m.name for m in metrics.METRICS.values() if m.kind == "fairness" and m.better == "lower"]
    return first + [name for name in others if name not in first]


def picker(width: int) -> str:
    """Choose the gap that train and runs speak of; it is part of their address (?measure=name)."""
    known = names()
    asked = st.query_params.get("measure", known[0])
    if asked not in known:
        st.warning(f"There is no gap {asked[:40]!r}; choose one from the list.", icon=":material/error:")
    elif "gap-picker" not in st.session_state:
        st.session_state["gap-picker"] = asked
    chosen = st.selectbox("Gap", known, key="gap-picker", format_func=title, persist_state="session", width=width)
    if chosen != known[0]:
        st.query_params["measure"] = chosen
    elif asked in known:
        st.query_params.pop("measure", None)
    return chosen


def title(name: str) -> str:
    return metrics.METRICS[name].title
