"""The label switch on the page Explain: before, while and after the experiments are trained; and everywhere else it
stays out of the way."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import exhibits, metrics
from fairness_core.config import Event, RunConfig
from fairness_core.store import Store
from pages import label_switch
from tests import synthetic_twins
from tests.synthetic_switch import RIGHT, advance, finish
from tests.synthetic_twins import configured


@pytest.fixture
def robust(catalogue: dict[str, Any], store: Store) -> RunConfig:
    """A finished run of AEDA on coloured digits."""
    config = configured(catalogue)
    synthetic_twins.finish(store, config)
    return config


@pytest.fixture
def three(catalogue: dict[str, Any], robust: RunConfig) -> dict[str, RunConfig]:
    return label_switch.experiments(catalogue, robust)


def blocks(at: AppTest) -> dict[str, dict[str, Any]]:
    assert not at.exception
    payloads = [json.loads(component.proto.json) for component in at.get("bidi_component")]
    return {block["id"]: block for payload in payloads for block in payload["blocks"]}


def words(at: AppTest) -> str:
    return "\n".join(e.value for kind in ("markdown", "caption", "warning", "error", "info") for e in getattr(at, kind))


def bars(at: AppTest) -> list[float]:
    """The lengths of the three bars, NaN where there is none yet."""
    figure = blocks(at)["switch"]["figure"]
    packed = next(trace for trace in figure["data"] if trace["meta"] == "now")["x"]
    return np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"]).tolist()


def test_before_there_is_a_button_that_trains_the_three_beside_this_run(open_page, store, robust, three):
    at = open_page("explain.py", run=robust.id)
    assert label_switch.HEADING in [s.value for s in at.subheader]
    assert "5.7, 55.6 and 89.1 %" in words(at)
    assert "Nothing measured here yet" in blocks(at)["switch-words"]["frames"][0]
    assert np.isnan(bars(at)).all()
    at.button(key="switch-train").click().run()
    assert not at.exception
    queued = store.runs()
    assert set(queued[queued["method"] == "label_switch"]["id"]) == {c.id for c in three.values()}
    assert at.query_params["run"] == robust.id
    for kind, config in three.items():
        assert config.method_options["kind"] == kind
        for name in label_switch.ATTACK[:-1]:
            assert config.method_options[name] == robust.method_options[name]
        for name in ("dataset", "dataset_options", "model", "model_options", "seed", "data_hash"):
            assert getattr(config, name) == getattr(robust, name)
        assert config.training == {**robust.training, "select": "last", "prepare": "none", "class_weights": "none"}


def test_while_they_train_it_says_how_far_they_are_and_can_stop_them(open_page, store, robust, three):
    finish(store, three["hard"])
    advance(store, three["adv"])
    store.submit([three["adv_robust"]])
    at = open_page("explain.py", run=robust.id)
    (told,) = [p.proto.text for p in at.get("progress")]
    assert re.fullmatch(
        r"hard switch: done · ADV switch: step 5 of 10, about .* left · ADV switch \(robust\): waiting", told
    )
    assert np.isnan(bars(at)).tolist() == [False, True, True]
    at.button(key="switch-stop").click().run()
    assert store.run(three["adv_robust"].id).status == "cancelled"
    assert store.run(three["hard"].id).status == "done"
    store.finish(three["adv"].id, "cancelled")  # its worker has seen it
    at = open_page("explain.py", run=robust.id)
    at.button(key="switch-train").click().run()
    assert store.run(three["adv_robust"].id).status == "queued"


def test_afterwards_bars_sentence_and_table_hold_the_same_numbers(open_page, store, robust, three):
    for config in three.values():
        finish(store, config)
    at = open_page("explain.py", run=robust.id)
    assert bars(at) == pytest.approx([RIGHT[kind] for kind in three], abs=0.01)
    told = blocks(at)["switch-words"]["frames"][0]
    for config in three.values():
        C = store.confusions([config.id], "test")[config.id]
        value = metrics.evaluate(C, ["balanced_accuracy"])["balanced_accuracy"]
        low, high = metrics.bootstrap(C, ["balanced_accuracy"], scheme="stratified")["balanced_accuracy"]
        assert f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})" in told
    assert "chance is 50 %" in told
    assert "what the ADV switch (robust) changes generalises" in told
    assert "n = 2,000, seed 0" in told
    assert "fair" not in told
    layout = json.dumps(blocks(at)["switch"]["figure"]["layout"])
    assert all(text in layout for text in ("chance 50%", "paper 5.7%", "paper 55.6%", "paper 89.1%"))
    assert "switch-train" not in [b.key for b in at.button]
    links = {link.proto.label: link.proto.query_string for link in at.get("page_link")}
    assert links["Rows of the ADV switch (robust)"] == f"run={three['adv_robust'].id}"


def test_what_the_result_means_follows_the_intervals():
    def row(kind: str, value: float, success: float = 0.9) -> dict[str, Any]:
        return {"experiment": label_switch.TITLES[kind], "value": value, "low": value - 0.03, "high": value + 0.03,
                "attack_success": success, "n": 1000}  # fmt: skip

    def told(adv: float, success: float = 0.9) -> str:
        return label_switch.sentence(pd.DataFrame([row("hard", 0.1), row("adv", adv, success)]), 2, 0)

    assert "Above chance: what the ADV switch changes" in told(0.6)
    assert "by more than these rows can tell" in told(0.51)
    assert "All are below chance" in told(0.3)
    assert "only 30 % of the moved rows pass" in told(0.3, 0.3)
    assert "only" not in told(0.6)


def test_a_failed_one_says_why_and_can_be_trained_again(open_page, store, robust, three):
    advance(store, three["adv"])
    store.finish(three["adv"].id, "failed", error="The training rows are all of group red.")
    at = open_page("explain.py", run=robust.id)
    assert "all of group red" in at.error[0].value
    at.button(key="switch-train").click().run()
    assert store.run(three["adv"].id).status == "queued"


# ---------------------------------------------------------------------------------------------------- one by itself


def test_one_opened_by_its_address_shows_what_it_learned_from_and_all_three(open_page, store, catalogue, robust, three):
    for config in three.values():
        finish(store, config)
    own = three["adv"]
    at = open_page("explain.py", run=own.id)
    assert blocks(at)["sentence"]["frames"][0].startswith("ADV switch. Each training row was moved")
    assert bars(at) == pytest.approx([RIGHT[kind] for kind in three], abs=0.01)
    gallery = next(e.proto.body for e in at.get("html") if "eq-twins" in e.proto.body)
    assert gallery.count("<figcaption>") == len(exhibits.load(store.exhibits_path(own.id), 5)["x"])
    assert "class" not in gallery.partition("</style>")[2].replace(' class="', "")
    assert "explain-compare" not in [b.key for b in at.button]
    assert "Settings" not in [link.proto.label for link in at.get("page_link")]
    assert {c.id for c in label_switch.experiments(catalogue, own).values()} == {c.id for c in three.values()}
    less = own.with_option("robust_share", 0.2)
    assert label_switch.experiments(catalogue, less)["adv"] == less
    hard = open_page("explain.py", run=three["hard"].id)
    assert not [e for e in hard.get("html") if "eq-twins" in e.proto.body]


def test_a_first_visit_shows_the_debiaser_and_not_the_newer_experiment(open_page, store, robust, three):
    finish(store, three["adv"])
    at = open_page("explain.py")
    assert at.query_params["run"] == robust.id
    picker = at.selectbox(key="explain:pick")
    assert any(", adv ·" in label for label in picker.options)


# ------------------------------------------------------------------------------------------------------ elsewhere


def test_nobody_can_pick_it_as_a_debiaser(open_page, store, robust):
    at = open_page("train.py")
    options = at.selectbox(key="train-method").options
    assert not any("Label switch" in option for option in options)
    assert any("AEDA" in option for option in options)


def test_train_and_thresholds_say_one_sentence(open_page, store, robust, three):
    finish(store, three["adv"])
    at = open_page("train.py", run=three["adv"].id)
    assert not at.exception
    assert "is an experiment that tells groups apart" in at.info[0].value
    assert at.get("page_link")[0].proto.query_string == f"run={three['adv'].id}"
    at = open_page("thresholds.py", run=three["adv"].id)
    assert not at.exception
    assert "no scores of two classes" in at.warning[0].value


def test_the_list_of_runs_opens_it_on_explain_and_gives_it_no_gap(open_page, store, robust, three):
    finish(store, three["adv"])
    at = open_page("runs.py", show="runs")
    table = at.dataframe[0].value
    row = list(table["Id"]).index(three["adv"].id)
    assert np.isnan(table["Gap"][row])
    assert table["Accuracy"][row] == pytest.approx(100 * RIGHT["adv"], abs=1)
    at.session_state["list-runs"] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    at.run()
    at.button(key="open").click().run()
    assert at.title[0].value == "What did the method do?"
    assert at.query_params["run"] == three["adv"].id


def test_a_live_run_has_its_part_too(open_page, store, catalogue):
    config = configured(catalogue, seed=3)
    synthetic_twins.advance(store, config, 2)
    at = open_page("explain.py", run=config.id)
    assert "switch-train" in [b.key for b in at.button]
    assert isinstance(next(iter(synthetic_twins.events(config))), Event)
