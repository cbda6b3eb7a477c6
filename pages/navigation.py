"""The main script of every session: page settings and the list of pages, one question each."""

from __future__ import annotations

import streamlit as st

from pages import ASSETS

ICON = ASSETS / "icon.svg"  # a named icon would be fetched from elsewhere

st.set_page_config(page_title="Equipoise", page_icon=str(ICON), layout="wide")

PAGES = [
    st.Page("frontier.py", title="Frontier", icon=":material/show_chart:", default=True),
    st.Page("thresholds.py", title="Thresholds", icon=":material/splitscreen_right:"),
    st.Page("train.py", title="Train", icon=":material/model_training:"),
    st.Page("explain.py", title="Explain", icon=":material/troubleshoot:"),
    st.Page("data.py", title="Data", icon=":material/database:"),
    st.Page("runs.py", title="Runs", icon=":material/history:"),
]

st.html(ASSETS / "style.css")
st.navigation(PAGES, position="top").run()
