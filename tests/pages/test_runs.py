"""The runs page: what it lists, what its filters leave, and what its actions do to the store."""

from __future__ import annotations

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import metrics
from tests import synthetic


@pytest.fixture
def filled(store, catalogue) -> synthetic.Filled:
    return synthetic.fill(store, catalogue, lams=(0.0, 1.0, 2.0), seeds=(0, 1))


def listed(at: AppTest) -> pd.DataFrame:
    return at.dataframe[0].value


def select(at: AppTest, kind: str, *rows: int) -> AppTest:
    at.session_state[f"list-{kind}"] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return at.run()


def test_an_empty_store_says_what_to_do(open_page):
    at = open_page("runs.py")
    assert not at.exception
    assert "Nothing has been trained" in at.markdown[0].value
    assert not at.dataframe


def test_sweeps_are_listed_first(open_page, filled):
    table = listed(open_page("runs.py"))
    assert list(table["Id"]) == [filled.sweep_id]
    assert list(table["Status"]) == ["done"]
    assert list(table["Runs"]) == [6]


def test_runs_carry_their_result_on_test(open_page, filled, store):
    table = listed(open_page("runs.py", show="runs")).set_index("Id")
    assert set(table.index) == {*filled.run_ids, *filled.untreated_ids}
    run_id = filled.run_ids[2]
    values = metrics.evaluate(store.confusions([run_id], "test")[run_id])
    assert table.loc[run_id, "Accuracy"] == pytest.approx(100 * values["accuracy"])
    assert table.loc[run_id, "Gap"] == pytest.approx(100 * values["demographic_parity_difference"])
    assert table.loc[run_id, "n"] == 16_281


def test_the_gap_is_the_one_in_the_address(open_page, filled, store):
    table = listed(open_page("runs.py", show="runs", measure="equalized_odds_difference")).set_index("Id")
    run_id = filled.run_ids[0]
    values = metrics.evaluate(store.confusions([run_id], "test")[run_id])
    assert table.loc[run_id, "Gap"] == pytest.approx(100 * values["equalized_odds_difference"])


def test_a_run_without_a_result_has_none(open_page, half_trained):
    table = listed(open_page("runs.py", show="runs"))
    assert list(table["Status"]) == ["running"]
    assert table["Accuracy"].isna().all()


def test_filters_leave_what_they_name(open_page, filled):
    at = open_page("runs.py", show="runs")
    at.multiselect(key="method").set_value(["erm"]).run()
    assert set(listed(at)["Id"]) == set(filled.untreated_ids)
    at.multiselect(key="status").set_value(["failed"]).run()
    assert not at.dataframe
    assert "Nothing matches" in at.info[0].value


def test_without_a_sweep_it_says_where_the_single_runs_are(open_page, half_trained):
    at = open_page("runs.py")
    assert not at.dataframe
    assert "single runs have: show *runs* above" in at.info[0].value


def test_open_goes_to_the_run(open_page, filled):
    at = select(open_page("runs.py", show="runs"), "runs", 0)
    newest = listed(at)["Id"][0]
    at.button(key="open").click().run()
    assert not at.exception
    assert at.title[0].value == "What is happening while it learns?"
    assert at.query_params["run"] == newest


def test_the_link_names_the_run(open_page, filled):
    at = select(open_page("runs.py", show="runs"), "runs", 1)
    assert at.code[0].value.endswith(f"/train?run={listed(at)['Id'][1]}")


def test_nothing_is_deleted_without_a_second_click(open_page, filled, store):
    at = select(open_page("runs.py", show="runs"), "runs", 0, 1)
    gone = list(listed(at)["Id"][:2])
    at.button(key="delete").click().run()
    assert len(store.runs()) == 8
    at.button(key="delete-really").click().run()
    assert len(store.runs()) == 6
    assert store.run(gone[0]) is None


def test_a_sweep_is_deleted_with_its_runs(open_page, filled, store):
    at = select(open_page("runs.py"), "sweeps", 0)
    at.button(key="delete").click().run()
    at.button(key="delete-really").click().run()
    assert store.sweeps().empty
    assert set(store.runs()["id"]) == set(filled.untreated_ids)


def test_what_trains_can_be_stopped(open_page, half_trained, store):
    at = select(open_page("runs.py", show="runs"), "runs", 0)
    at.button(key="stop").click().run()
    store.finish(half_trained.id, "cancelled")
    assert store.run(half_trained.id).status == "cancelled"


def test_what_failed_is_trained_again(open_page, finish, catalogue, store):
    config = synthetic.configured(catalogue, "erm")
    finish(config, "failed", error="The training process was killed.")
    at = select(open_page("runs.py", show="runs"), "runs", 0)
    at.button(key="again").click().run()
    assert store.run(config.id).status == "queued"


def test_a_new_run_does_not_slide_under_the_selection(open_page, filled, catalogue, store):
    at = select(open_page("runs.py", show="runs"), "runs", 0)
    before = list(listed(at)["Id"])
    store.submit([synthetic.configured(catalogue, "parity", lam=1.0)])
    at.run()
    assert list(listed(at)["Id"]) == before
    select(at, "runs")
    at.run()
    assert len(listed(at)) == len(before) + 1


def test_a_method_that_is_not_applicable_is_listed_as_a_dash_with_its_reason(open_page, finish, catalogue):
    reason = "Not applicable: reweighing needs training rows of every class and group."
    finish(synthetic.configured(catalogue, "reweighing"), "failed", error=reason)
    at = open_page("runs.py", show="runs")
    listed = at.dataframe[0].value.iloc[0]
    assert (listed["Status"], listed["Why it ended"]) == ("– not applicable", reason)
