"""The train page: its form makes the run that is asked for, and every state of a run has its words."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import pages
from fairness_core import metrics, runner
from fairness_core.config import RunConfig
from pages import course, curves
from tests import synthetic


@pytest.fixture
def adversarial(catalogue) -> RunConfig:
    return synthetic.configured(catalogue, "adversarial", lam=1.4, seed=2)


@pytest.fixture
def untreated(catalogue) -> RunConfig:
    return synthetic.configured(catalogue, "erm", seed=2)


def words(at: AppTest) -> str:
    """All text of the page, the live component's payload included."""
    told = [e.value for kind in ("title", "markdown", "caption", "warning", "error", "info") for e in getattr(at, kind)]
    drawn = [json.loads(component.proto.json) for component in at.get("bidi_component")]
    return "\n".join([*told, *(json.dumps(payload, ensure_ascii=False) for payload in drawn)])


def test_an_empty_page_says_what_to_do(open_page):
    at = open_page("train.py")
    assert not at.exception
    assert at.title[0].value == "What is happening while it learns?"
    assert "press *Train*" in words(at)


def test_train_submits_what_the_form_says_and_names_it_in_the_address(open_page, store):
    at = open_page("train.py")
    at.selectbox(key="train-method").set_value("parity").run()
    at.number_input(key="train-seed").set_value(7).run()
    at.number_input(key="train-training-epochs").set_value(3).run()
    at.button(key="train").click().run()
    assert not at.exception
    runs = store.runs()
    assert len(runs) == 1
    config = store.run(runs["id"][0]).config
    assert (config.method, config.seed, config.training["epochs"]) == ("parity", 7, 3)
    assert at.query_params["run"] == config.id


def test_a_method_on_codes_says_that_the_network_is_not_used(open_page):
    at = open_page("train.py")
    assert "reads codes" not in words(at)
    at.selectbox(key="train-method").set_value("dvge").run()
    assert not at.exception
    assert "reads codes, not rows" in words(at)


def test_the_same_settings_are_the_same_run(open_page, store):
    at = open_page("train.py")
    at.button(key="train").click().run()
    at.button(key="train").click().run()
    assert len(store.runs()) == 1


def test_a_link_fills_the_form(open_page, finish, adversarial):
    config = dataclasses.replace(adversarial, training={**adversarial.training, "epochs": 4})
    finish(config)
    at = open_page("train.py", run=config.id)
    assert at.selectbox(key="train-method").value == "adversarial"
    assert at.number_input(key="train-seed").value == 2
    assert at.number_input(key="train-training-epochs").value == 4


def test_edits_after_a_link_are_kept_and_said_to_be_newer(open_page, finish, adversarial):
    finish(adversarial)
    at = open_page("train.py", run=adversarial.id)
    assert "earlier setting" not in words(at)
    at.number_input(key="train-training-epochs").set_value(4).run()
    assert at.number_input(key="train-training-epochs").value == 4
    assert "earlier setting" in words(at)


def test_a_finished_run_opens_with_a_sentence_of_its_own(open_page, finish, adversarial, store):
    finish(adversarial)
    at = open_page("train.py", run=adversarial.id)
    C = store.confusions([adversarial.id], "test")[adversarial.id]
    gap = 100 * metrics.evaluate(C)["demographic_parity_difference"]
    assert f"The gap in favourable decisions is {gap:.1f} points" in words(at)
    assert "n = 16,281" in words(at)


def test_beside_the_untreated_model_the_sentence_compares(open_page, finish, adversarial, untreated):
    finish(untreated)
    finish(adversarial)
    told = words(open_page("train.py", run=adversarial.id))
    assert "At λ = 1.4 the gap in favourable decisions falls from" in told


def test_the_untreated_model_is_one_click_away(open_page, finish, adversarial, untreated, store):
    finish(adversarial)
    at = open_page("train.py", run=adversarial.id)
    at.button(key="compare").click().run()
    assert store.run(untreated.id).status == "queued"
    assert "untreated model is" in words(at)


def test_an_untreated_run_is_not_compared_with_itself(open_page, finish, untreated):
    finish(untreated)
    at = open_page("train.py", run=untreated.id)
    assert "compare" not in [b.key for b in at.button]
    assert "sweep" not in [b.key for b in at.button]


def test_sweep_this_control_keeps_the_other_settings(open_page, finish, adversarial, store):
    config = dataclasses.replace(adversarial, training={**adversarial.training, "epochs": 4})
    finish(config)
    at = open_page("train.py", run=config.id)
    at.button(key="sweep").click().run()
    spec = store.sweep(store.sweeps()["id"][0]).spec
    assert spec["over"] == "lam"
    assert spec["base"]["training"]["epochs"] == 4


def test_a_running_run_shows_how_far_it_is_and_can_be_stopped(open_page, half_trained, store):
    at = open_page("train.py", run=half_trained.id)
    assert not at.exception
    assert "Step 10 of 25" in at.get("progress")[0].proto.text
    at.button(key="stop").click().run()
    store.finish(half_trained.id, "cancelled")
    at.run()
    assert "Stopped at step 10 of 25." in words(at)


def test_a_waiting_run_says_how_many_jobs_are_ahead(open_page, catalogue, store):
    first, second = (synthetic.configured(catalogue, "erm", seed=seed) for seed in (0, 1))
    store.submit([dataclasses.replace(first, training={**first.training, "epochs": 3})])
    store.submit([second])
    at = open_page("train.py", run=second.id)
    assert at.get("progress")[0].proto.text == "Waiting: 1 job ahead"


def test_a_runner_that_is_gone_is_started_again_and_one_that_does_not_start_is_told(
    open_page, catalogue, store, monkeypatch
):
    config = synthetic.configured(catalogue, "erm")
    store.submit([config])
    started = []
    monkeypatch.setattr(runner, "alive", lambda *_: False)
    monkeypatch.setattr(runner, "ensure_running", lambda *_: started.append(None))
    at = open_page("train.py", run=config.id)
    assert at.get("progress")[0].proto.text == "Next in the queue"
    assert len(started) == 1
    at.run()
    said = "Next in the queue; the engine does not start, its log is runner.log in the store folder"
    assert at.get("progress")[0].proto.text == said
    assert len(started) == 1  # not at every look
    monkeypatch.setattr(pages, "RETRY", 0.0)
    at.run()
    assert len(started) == 2
    monkeypatch.setattr(runner, "alive", lambda *_: True)
    at.run()
    assert at.get("progress")[0].proto.text == "Next in the queue"


def test_a_method_that_is_not_applicable_is_a_dash_with_its_reason(open_page, finish, catalogue):
    config = synthetic.configured(catalogue, "reweighing")
    finish(config, "failed", error="Not applicable: reweighing needs training rows of every class and group.")
    at = open_page("train.py", run=config.id)
    assert not at.error
    assert at.info[0].value.startswith("**–** Not applicable: reweighing needs")


def test_a_failed_run_says_why_and_trains_again(open_page, finish, adversarial, store):
    finish(
        adversarial,
        "failed",
        error="The training process was killed (signal 9) at step 5 of 25; it can be trained again.",
    )
    at = open_page("train.py", run=adversarial.id)
    assert "killed (signal 9)" in at.error[0].value
    at.button(key="again").click().run()
    assert store.run(adversarial.id).status == "queued"


def test_an_unknown_run_is_one_sentence_and_the_form_stays(open_page):
    at = open_page("train.py", run="nonsense")
    assert not at.exception
    assert "There is no run 'nonsense'" in at.warning[0].value
    assert not at.button(key="train").disabled


def test_a_run_of_other_code_is_one_sentence(open_page, adversarial, store):
    old = dataclasses.replace(adversarial, method_options={**adversarial.method_options, "gone": 1})
    store.submit([old])
    at = open_page("train.py", run=old.id)
    assert not at.exception
    assert "made by other code" in at.warning[0].value
    assert "'gone'" in at.warning[0].value


def test_an_unknown_measure_is_one_sentence(open_page, finish, adversarial):
    finish(adversarial)
    at = open_page("train.py", run=adversarial.id, measure="nonsense")
    assert not at.exception
    assert "There is no gap 'nonsense'" in at.warning[0].value


def test_curves_hold_the_gap_of_every_evaluation(half_trained, store):
    live = store.history(half_trained.id)
    table = curves.curve_table(live, "equalized_odds_difference")
    assert len(table) == 10
    expected = metrics.evaluate(live["confusion"][3])["equalized_odds_difference"]
    assert table["equalized_odds_difference"][3] == pytest.approx(expected)


def test_curves_of_a_run_without_events_are_empty(store, adversarial):
    store.submit([adversarial])
    assert curves.curve_table(store.history(adversarial.id), "demographic_parity_difference").empty


def test_the_own_sentence_tells_an_undefined_gap_from_a_number(adversarial, store, finish):
    finish(adversarial)
    C = np.array([[[5, 0], [0, 5]], [[5, 0], [0, 0]]])
    assert "not defined" in course.own_sentence(C, store.run(adversarial.id), "equal_opportunity_gap")


def test_a_method_without_a_trade_off_is_compared_too(open_page, finish, catalogue, untreated):
    config = synthetic.configured(catalogue, "cyclegan", seed=2)
    finish(untreated)
    finish(config)
    assert "With this method the gap in favourable decisions" in words(open_page("train.py", run=config.id))


def test_looks_before_the_network_learns_have_losses_and_no_gap():
    C = np.array([[[8, 2], [1, 9]], [[6, 4], [5, 5]]])
    live = pd.DataFrame(
        {"seq": [0, 1], "t": 0.0, "stage": "training", "step": [1, 2], "of": 2, "loss": [np.nan, 0.5], "gan": [1, 2]}
    )
    live["confusion"] = pd.Series([None, C], dtype=object)
    table = curves.curve_table(live, "equalized_odds_difference")
    assert table["gan"].tolist() == [1, 2]
    assert np.isnan(table["accuracy"][0])
    assert table["accuracy"][1] == pytest.approx(28 / 40)
    live["confusion"] = pd.Series([None, None], dtype=object)
    assert "accuracy" not in curves.curve_table(live, "equalized_odds_difference")
