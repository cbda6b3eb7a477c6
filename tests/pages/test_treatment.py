"""Before and after: what a treatment changes, said in one sentence; every state of a treatment has its words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import scores
from fairness_core.config import Event, RunConfig, resolve
from fairness_core.scores import Scores
from fairness_core.store import Store
from pages import treatment
from tests import synthetic

EOD = "equal_opportunity_difference"
RATES = {"start": (0.10, 0.40), "down": (0.11, 0.15), "up": (0.36, 0.40), "both": (0.2, 0.3)}
RATES["everyone"] = 1.0, 1.0  # favoured women, men
N = 4000  # rows of a split


def host() -> None:
    """A page that holds nothing but the section."""
    import streamlit as st

    import pages
    from pages import treatment

    asked = st.query_params
    run = pages.store().run(asked["run"])
    assert run is not None
    measure = asked.get("measure", "statistical_parity_difference")
    treatment.section(pages.catalogue(), run, measure, float(asked.get("epsilon", 0.05)))


@pytest.fixture
def visit(store: Store) -> Callable[..., AppTest]:
    """visit(run=id, after=id, ...) draws the section with these parameters in the address."""

    def draw(**parameters: str) -> AppTest:
        at = AppTest.from_function(host, default_timeout=30)
        at.query_params.update(parameters)
        at.run()
        assert not at.exception
        return at

    return draw


def words(at: AppTest) -> str:
    """All text of the page, that of the live components included."""
    told = [e.value for kind in ("markdown", "caption", "warning", "error", "info") for e in getattr(at, kind)]
    drawn = [component.proto.json for component in at.get("bidi_component")]
    return "\n".join([*map(unescaped, told), *(json.dumps(json.loads(text), ensure_ascii=False) for text in drawn)])


def unescaped(text: str) -> str:
    """Text as Markdown shows it."""
    return text.replace("\\", "")


def table(at: AppTest) -> pd.DataFrame:
    """The numbers of both models by the names of their rows."""
    own = at.table[0].value
    return own.set_index(own[" "].map(unescaped))


def configured(catalogue, method: str, **options) -> RunConfig:
    return resolve(catalogue, dataset="adult", method=method, seed=0, method_options=options)


def answers(kind: str, rows: int = N, share: float | None = None) -> Scores:
    """Half of each group deserving; the share of each that RATES says is favoured, the deserving first, always in the
    same order. share: the decision where it is not 1."""
    s, y, turn = np.arange(rows) % 2, np.arange(rows) // 2 < rows // 4, np.arange(rows) // 2 / (rows / 2)
    y, decision = y.astype(np.int64), (turn < np.array(RATES[kind])[s]).astype(np.float32) * (share or 1)
    return Scores(decision, y, s, decision, rows)


@pytest.fixture
def finished(store: Store) -> Callable[..., RunConfig]:
    """finished(config, "down") ends a run whose decisions are those of RATES; values: of its last events."""

    def end(
        config: RunConfig, kind: str, values: Mapping[str, float] | None = None, trials: int = 0, **more
    ) -> RunConfig:
        store.submit([config])
        while synthetic.claim(store):
            pass
        told = answers(kind, **more)
        C = told.confusion(2)
        searched = [tried(k, trials) for k in range(1, trials + 1)]
        final = [Event(stage, 1, 1, values or {}, C) for stage in ("validation", "test")]
        store.append([(config.id, event) for event in [*searched, *final]])
        store.finish(config.id, "done", info=synthetic.info())
        scores.save(store.scores_path(config.id), {"validation": told, "test": told})
        return config

    return end


def tried(k: int, of: int) -> Event:
    value = float(k % 3)
    told = {"balanced_accuracy": 0.6 + value / 100, "gap": 0.04, "tau": 0.3, "objective": value, "best": 2.0}
    return Event("training", k, of, {**told, "trivial": 0.0})


@pytest.fixture
def untreated(catalogue, finished) -> RunConfig:
    return finished(configured(catalogue, "erm"), "start")


def test_the_first_words_say_that_somebody_was_made_worse_off(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "down")
    at = visit(run=untreated.id, after=treated.id)
    said = unescaped(at.warning[0].value)
    assert said.startswith("The gap in favourable decisions closed by 26.0 points")
    assert "of which 25.0 (96 %) because men were refused more often: levelling down." in said
    assert "By this metric (|Statistical parity difference SPD|), on the test split, n = 4,000, seed 0" in said


def test_raising_the_worse_off_is_no_warning(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "up")
    at = visit(run=untreated.id, after=treated.id)
    assert not at.warning
    assert "because women were favoured more often: levelling up" in unescaped(at.info[0].value)
    assert "fair" not in at.info[0].value.lower()


def test_a_share_near_one_half_is_said_to_be_unclear(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "both")
    at = visit(run=untreated.id, after=treated.id)
    said = unescaped((at.warning or at.info)[0].value)
    assert "Whether more than half of the closing made somebody worse off is not clear" in said


def test_flips_and_numbers_of_both_models(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "down")
    at = visit(run=untreated.id, after=treated.id)
    flipped = at.dataframe[0].value.set_index("group")
    assert flipped.loc["Male", "lost"] == 500
    assert flipped.loc["Male", "gained"] == 0
    assert flipped.loc["Female", "gained"] == 20
    numbers = table(at)
    assert numbers.loc["Gap |μ|", "Test, before"].startswith("30.0 %")
    assert numbers.loc["Gap |μ|", "Test, after"].startswith("4.0 %")
    assert numbers.loc["Gap under ε = 0.05", ["Test, before", "Test, after"]].tolist() == ["no", "yes"]
    assert numbers.loc["People", "Validation, after"] == "4,000"


def test_epsilon_decides_what_is_under_it(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "down")
    at = visit(run=untreated.id, after=treated.id, epsilon="0.03")
    assert table(at).loc["Gap under ε = 0.03", "Test, after"] == "no"


def test_one_decision_for_everyone_is_said_first(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "everyone")
    at = visit(run=untreated.id, after=treated.id)
    assert "gives nearly everyone the same decision" in at.warning[0].value


def test_weights_and_trials_of_an_intra_method(visit, catalogue, untreated, finished):
    values = {"tau": 0.31, "moved:head.weight": 0.12, "moved:head.bias": 0.0}
    treated = finished(configured(catalogue, "random_perturbation"), "down", values, trials=9)
    told = words(visit(run=untreated.id, after=treated.id))
    assert "How far the weights moved, per layer" in told
    assert "head.weight" in told
    assert "All 9 trials" in told
    assert "Needs the group at test time: no." in told
    assert "Threshold τ = 0.310." in told


def test_unmoved_weights_are_a_sentence_instead_of_an_empty_chart(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "down", {"tau": 0.4, "moved:head.bias": 0.0})
    assert "No weight was moved" in words(visit(run=untreated.id, after=treated.id))


def test_post_processing_says_that_it_needs_the_group(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "reject_option"), "up")
    at = visit(run=untreated.id, after=treated.id)
    assert at.selectbox(key="treatment-method").value == "reject_option"
    assert words(at).count("Needs the group at test time: yes.") == 2
    assert "moved" not in words(at)


def test_decisions_drawn_by_lot_are_expected_counts(visit, catalogue, untreated, finished):
    expected = finished(configured(catalogue, "equalized_odds", mode="expected"), "up", share=0.75)
    told = words(visit(run=untreated.id, after=expected.id))
    assert "partly drawn by lot" in told
    sampled = finished(configured(catalogue, "equalized_odds"), "up")
    assert "drawn by lot, once, with seed 0" in words(visit(run=untreated.id, after=sampled.id))


def test_a_treatment_is_compared_with_the_model_it_started_from(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "down")
    at = visit(run=treated.id)
    assert "levelling down" in at.warning[0].value
    at.button(key="treatment-other").click().run()
    assert (at.query_params["run"], at.query_params["after"]) == (untreated.id, treated.id)
    assert at.selectbox(key="treatment-after").value == treated.id


def test_a_treatment_whose_start_is_gone_offers_to_train_it(visit, catalogue, untreated, finished, store):
    treated = finished(configured(catalogue, "random_perturbation"), "down")
    store.delete([untreated.id])
    at = visit(run=treated.id)
    at.button(key="treatment-start").click().run()
    assert store.run(untreated.id).status == "queued"


def test_nothing_to_compare_says_what_to_do(visit, untreated):
    at = visit(run=untreated.id)
    assert "press *Treat this model*" in words(at)
    assert "treatment-after" not in [s.key for s in at.selectbox]


def test_treat_submits_the_aim_of_the_page_and_the_model_of_the_run(visit, catalogue, finished, store):
    trained = finished(configured(catalogue, "adversarial", lam=2.0), "start")
    at = visit(run=trained.id, epsilon="0.03", measure=EOD)
    at.selectbox(key="treatment-method").set_value("random_perturbation").run()
    at.slider(key="treat-random_perturbation-sigma").set_value(0.2).run()
    at.button(key="treat").click().run()
    config = store.run(at.query_params["after"]).config
    options = config.method_options
    assert (config.method, options["epsilon"], options["measure"]) == ("random_perturbation", 0.03, EOD)
    assert (options["sigma"], options["start"]) == (0.2, "adversarial lam=2")
    assert config.start.id == trained.id


def test_an_epsilon_without_a_measure_keeps_its_own_default(visit, untreated, store):
    at = visit(run=untreated.id, epsilon="0.03")
    at.selectbox(key="treatment-method").set_value("equalized_odds").run()
    at.button(key="treat").click().run()
    assert store.run(at.query_params["after"]).config.method_options["epsilon"] == 0


def test_what_is_going_on_shows_how_far_it_is_and_can_be_stopped(visit, catalogue, untreated, store):
    config = configured(catalogue, "random_perturbation")
    store.submit([config])
    synthetic.claim(store)
    store.append([(config.id, tried(k, 101)) for k in range(1, 21)])
    at = visit(run=untreated.id, after=config.id)
    assert "Step 20 of 101" in at.get("progress")[0].proto.text
    assert "How the search went" in words(at)
    at.button(key="treatment-stop").click().run()
    store.finish(config.id, "cancelled")
    at.run()
    assert "Stopped at step 20 of 101." in words(at)
    at.button(key="treatment-again").click().run()
    assert store.run(config.id).status == "queued"


def test_a_failed_treatment_shows_its_sentence(visit, catalogue, untreated, store):
    config = configured(catalogue, "calibrated_equalized_odds")
    store.submit([config])
    synthetic.claim(store)
    store.finish(config.id, "failed", error="It compares 2 groups and there are 5; choose another.")
    at = visit(run=untreated.id, after=config.id)
    assert "It compares 2 groups and there are 5; choose another" in unescaped(at.error[0].value)
    assert not at.table


def test_other_people_are_one_sentence(visit, catalogue, untreated, finished):
    other = finished(configured(catalogue, "adversarial", lam=1.0), "up", rows=400)
    at = visit(run=untreated.id, after=other.id)
    assert "are not the same people" in at.warning[0].value
    assert not at.table


def test_another_model_of_the_same_data_is_offered_after_the_treatments(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "reject_option", epsilon=0.02), "up")
    other = finished(configured(catalogue, "adversarial", lam=1.0), "down")
    elsewhere = resolve(catalogue, dataset="adult", method="erm", dataset_options={"sensitive": "race"})
    finished(elsewhere, "up")
    at = visit(run=untreated.id)
    assert at.selectbox(key="treatment-after").options == ["Reject option (ε = 0.02)", "Adversarial (prediction)"]
    at.selectbox(key="treatment-after").set_value(other.id).run()
    assert at.query_params["after"] == other.id
    assert "It was trained anew." in words(at)
    assert treated.id not in at.query_params["after"]


def test_another_run_above_forgets_what_was_compared(visit, catalogue, untreated, finished):
    treated = finished(configured(catalogue, "random_perturbation"), "down")
    other = finished(configured(catalogue, "adversarial", lam=1.0), "start")
    at = visit(run=untreated.id, after=treated.id)
    at.query_params["run"] = other.id
    at.run()
    assert "after" not in at.query_params
    assert at.selectbox(key="treatment-after").value is None


def test_an_unknown_run_to_compare_with_is_one_sentence(visit, untreated):
    assert "There is no run 'nonsense'" in visit(run=untreated.id, after="nonsense").warning[0].value


def test_scores_that_are_not_kept_are_one_sentence(visit, catalogue, untreated, finished, store):
    treated = finished(configured(catalogue, "random_perturbation"), "down")
    store.scores_path(treated.id).unlink()
    assert f"What run {treated.id} said about each person" in visit(run=untreated.id, after=treated.id).info[0].value


def test_a_model_that_cannot_be_treated_says_so(visit, catalogue, untreated, store):
    methods = json.loads(json.dumps(catalogue["methods"]))
    for control in (c for entry in methods.values() for c in entry["controls"] if c["name"] == "start"):
        control["choices"] = ["parity"]
    store.publish_catalogue({**catalogue, "methods": methods})
    at = visit(run=untreated.id)
    assert "A model of Untreated (ERM) cannot be treated" in words(at)
    assert "treat" not in [b.key for b in at.button]


def test_other_data_cannot_be_treated(catalogue, untreated, store):
    run = store.run(untreated.id)
    changed = {**catalogue["datasets"], "adult": {**catalogue["datasets"]["adult"], "data_hash": "other"}}
    with pytest.raises(treatment.UserError, match="cannot be treated; train it anew"):
        treatment.treating({**catalogue, "datasets": changed}, run, "reject_option", {})
