"""The thresholds page: what the browser is told, what the address says, and every state's words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import metrics, strategies
from fairness_core.config import RunConfig
from fairness_core.scores import Scores
from fairness_core.store import Store
from fairness_core.thresholds import GRID, MEASURES, Objective, counts, select
from pages import cut
from tests import synthetic


@pytest.fixture
def config(catalogue) -> RunConfig:
    return synthetic.configured(catalogue, "erm")


@pytest.fixture
def answers(store: Store, config: RunConfig) -> dict[str, Scores]:
    """A finished model with its answers."""
    store.submit([config])
    synthetic.claim(store)
    return synthetic.scored(store, config)


def told(at: AppTest) -> dict[str, Any]:
    """What the instrument was given."""
    assert not at.exception
    payloads = [json.loads(component.proto.json) for component in at.get("bidi_component")]
    return next(payload for payload in payloads if "strategies" in payload)


def test_a_first_visit_trains_the_untreated_model_without_being_asked(open_page, store, config):
    at = open_page("thresholds.py")
    assert not at.exception
    assert at.title[0].value == "Where should we draw the line?"
    assert store.run(config.id).status == "queued"
    assert any("A first model is being trained" in m.value for m in at.markdown)


def test_a_first_model_that_fails_says_why_and_can_be_trained_again(open_page, store, config, finish):
    finish(config, "failed", error="The disk is full; make room.")
    at = open_page("thresholds.py")
    assert at.error[0].value == "The disk is full; make room."
    at.button(key="again").click().run()
    assert store.run(config.id).status == "queued"


def test_the_browser_is_told_how_many_people_of_each_cell_exceed_every_threshold(open_page, answers, config):
    payload = told(open_page("thresholds.py"))
    for split, own in answers.items():
        given = payload["splits"][split]
        assert given["n"] == len(own)
        for m in (0, 137, 250, 500):
            C = metrics.confusion_tensor(own.y, (own.score > np.float32(GRID[m])).astype(int), own.s, 2, 2)
            favoured = np.array(given["favoured"])[..., m]
            assert np.array_equal(favoured, C[..., 1])
            assert np.array_equal(np.array(given["rows"]) - favoured, C[..., 0])
            for measure in MEASURES:
                assert given["curves"]["measures"][measure]["gap"][m] == pytest.approx(
                    float(metrics.evaluate(C)[measure]), abs=1e-4
                )
    assert payload["view"]["at"] == [250, 250]
    assert payload["view"]["split"] == "test"


def test_strategies_are_found_on_validation_for_every_epsilon_and_cost(open_page, answers):
    payload, own = told(open_page("thresholds.py")), answers["validation"]
    e, w = payload["epsilons"].index(0.05), payload["costs"].index(2.0)
    C = counts(own.score, own.y, own.s, 2)
    alone = strategies.every(C, GRID, MEASURES[0], np.array([0.05]), np.array([2.0]))
    assert set(payload["places"]) == set(alone)
    for name, places in alone.items():
        assert payload["places"][name][e][w] == places[0, 0].tolist()
    (choice,) = select(own.score[None], own.y, own.s, 2, Objective(MEASURES[1], 0.05, 0.0), n_boot=0)
    assert GRID[payload["under"][MEASURES[1]][e]] == choice.tau


def test_the_address_brings_the_view_back(open_page, answers, config):
    at = open_page(
        "thresholds.py", run=config.id, tau="0.3,0.7", eps="0.1", cost="3", measure=MEASURES[3], split="validation"
    )
    view, payload = told(at)["view"], told(at)
    assert view["at"] == [150, 350]
    assert not view["linked"]
    assert payload["epsilons"][view["epsilon"]] == 0.1
    assert payload["costs"][view["cost"]] == 3.0
    assert (view["measure"], view["split"], view["strategy"]) == (MEASURES[3], "validation", None)
    assert not at.warning


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"run": "nonsense"}, "There is no run 'nonsense' here"),
        ({"tau": "abc"}, "τ = abc cannot be shown; choose a number from 0 to 1."),
        ({"tau": "0.2,0.3,0.4"}, "The address gives 3 thresholds and there are 2 groups"),
        ({"eps": "7"}, "ε = 7 cannot be shown"),
        ({"cost": "0"}, "The cost ratio = 0 cannot be shown"),
        ({"measure": "luck"}, "There is no measure 'luck'"),
        ({"split": "training"}, "There is no split 'training'"),
        ({"strategy": "hope"}, "There is no strategy 'hope'"),
    ],
)
def test_a_bad_address_is_one_sentence_and_the_page_works(open_page, answers, parameters, sentence):
    at = open_page("thresholds.py", **parameters)
    assert len(at.warning) == 1
    assert sentence in at.warning[0].value
    assert told(at)["view"]["measure"] == MEASURES[0]


def test_a_run_without_scores_is_not_shown_and_the_page_says_so(open_page, store, catalogue, answers, finish):
    bare = synthetic.configured(catalogue, "parity", lam=1.0)
    finish(bare)
    at = open_page("thresholds.py", run=bare.id)
    assert "has no scores of two classes" in at.warning[0].value
    assert told(at)["groups"][0]["name"] == "Female"


def test_another_model_can_be_chosen_and_brings_its_own_view(open_page, store, catalogue, answers):
    other = synthetic.configured(catalogue, "parity", lam=1.0)
    store.submit([other])
    synthetic.claim(store)
    synthetic.scored(store, other, rows=900)
    at = open_page("thresholds.py", tau="0.3")
    assert told(at)["view"]["at"] == [150, 150]
    at.selectbox(key="thresholds:pick").set_value(other.id).run()
    assert told(at)["splits"]["test"]["n"] == 900
    assert told(at)["view"]["at"] == [250, 250]
    assert at.query_params["run"] == other.id


def test_more_groups_have_a_threshold_each(open_page, store, config):
    store.submit([config])
    synthetic.claim(store)
    synthetic.scored(store, config, groups=4)
    payload = told(open_page("thresholds.py"))
    assert len(payload["groups"]) == len(payload["view"]["at"]) == 4
    assert len(payload["places"]["equalized_odds"][0][0]) == 4


def test_the_table_says_what_every_strategy_gives_on_both_splits(answers):
    material = cut.Material.of(answers, synthetic.GROUPS, synthetic.CLASSES, "favoured")
    view = cut.View((0.5, 0.5), epsilon=0.05, cost=1.0)
    table = cut.strategy_table(material, view).set_index("strategy")
    own = answers["test"]
    C = metrics.confusion_tensor(own.y, (own.score > 0.5).astype(int), own.s, 2, 2)
    found = metrics.evaluate(C)
    assert table.loc["0.5", "balanced_accuracy, test"] == pytest.approx(float(found["balanced_accuracy"]))
    assert table.loc["0.5", "cost per 1,000, test"] == pytest.approx(1000 * (1 - float(found["accuracy"])))
    assert table.loc["Demographic parity", "needs group"] == "yes"
    assert abs(table.loc["Best under ε", f"{MEASURES[0]}, validation"]) < 0.05


def test_the_table_of_thresholds_holds_what_the_charts_draw(answers):
    material = cut.Material.of(answers, synthetic.GROUPS, synthetic.CLASSES, "favoured")
    table = cut.threshold_table(material, "test", MEASURES[0]).set_index("threshold")
    own = answers["test"]
    C = metrics.confusion_tensor(own.y, (own.score > np.float32(0.3)).astype(int), own.s, 2, 2)
    rates = metrics.group_rates(C)
    assert table.loc[0.3, "true positive rate, Male"] == pytest.approx(rates["tpr"][1])
    assert table.loc[0.3, "favoured, Female"] == pytest.approx(rates["selection_rate"][0])
    assert table.loc[0.3, MEASURES[0]] == pytest.approx(float(metrics.evaluate(C)[MEASURES[0]]))


def test_a_view_survives_the_way_to_the_browser_and_back():
    view = cut.View((0.25, 0.75), False, 0.1, 2.0, MEASURES[1], "validation", "equalized_odds")
    assert cut.View.from_json(json.loads(json.dumps(view.to_json()))) == view


def test_the_address_follows_what_is_shown_also_when_a_drawing_was_overtaken(open_page, answers, config):
    """The browser's next drawing brings the address of before along: it must not win."""
    at = open_page("thresholds.py", run=config.id, tau="0.7")
    at.session_state["thresholds:view"] = cut.View((0.7, 0.35), False, measure="average_odds_difference")
    at.session_state["thresholds:moved"] = True
    at.query_params["tau"] = "0.7"
    at.run()
    assert not at.exception
    assert at.query_params["measure"] == "average_odds_difference"
    assert at.query_params["tau"] == "0.7,0.35"


def test_an_address_stays_as_it_was_written_until_something_is_moved(open_page, answers, config):
    at = open_page("thresholds.py", run=config.id, tau="0.70", split="test")
    assert at.query_params["tau"] == "0.70"
    assert at.query_params["split"] == "test"
