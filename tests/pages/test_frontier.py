"""The frontier page: the first visit trains by itself, states have words, and the address brings a view back."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from pages import choices, evidence, scene
from tests import synthetic

VIEW = scene.View("demographic_parity_difference", "accuracy", None, 0.05, "approved")


@pytest.fixture
def sweep_id(store, catalogue) -> str:
    """The first visit's sweep, all trained."""
    values = choices.default_values(catalogue, "adversarial")
    return synthetic.fill(store, catalogue, lams=values).sweep_id


@pytest.fixture
def growing(store, catalogue) -> choices.Plan:
    """The first visit's sweep with its untreated models done and one λ of five seeds in the middle of training."""
    plan = choices.default_plan(catalogue, "adult", "sex", "adversarial")
    choices.submit(store, plan)
    claimed = store.claim(os.getpid())
    store.append([(run.id, event) for run in claimed for event in synthetic.events(run.config)])
    for run in claimed:
        store.finish(run.id, "done", info=synthetic.info())
    live = [c for c in plan.runs if c.method_options["lam"] == plan.spec["values"][2]]
    assert {c.id for c in live} <= {run.id for run in store.claim(os.getpid())}
    store.append([(c.id, next(iter(synthetic.events(c)))) for c in live])
    return plan


def payload(at: AppTest) -> dict[str, Any]:
    """What the explorer was given."""
    return json.loads(at.get("bidi_component")[0].proto.json)


def block(at: AppTest, id: str) -> dict[str, Any]:
    return next(b for b in payload(at)["blocks"] if b["id"] == id)


def words(at: AppTest) -> str:
    return "\n".join(e.value for kind in ("markdown", "caption", "warning", "error", "info") for e in getattr(at, kind))


# --------------------------------------------------------------------------------------------------------- first visit


def test_a_first_visit_trains_the_first_frontier_without_a_click(open_page, store, catalogue):
    at = open_page("frontier.py")
    assert not at.exception
    assert at.title[0].value == "How fair can it be, and what does it cost?"
    plan = choices.default_plan(catalogue, "adult", "sex", "adversarial")
    assert at.query_params["sweep"] == plan.id
    counted = store.progress([c.id for c in (*plan.anchors, *plan.runs)]).counts
    assert counted["queued"] == len(plan.anchors) + len(plan.runs) == 110
    assert "place 1 in the queue" in json.dumps([e.proto.text for e in at.get("progress")])


def test_the_untreated_models_are_trained_first(open_page, store):
    open_page("frontier.py")
    assert {run.config.method for run in store.claim(os.getpid())} == {"erm"}


def test_the_untreated_models_are_not_balanced_by_group_but_classes_count_as_in_the_sweep(catalogue):
    training = {"class_weights": "balanced", "prepare": "reweighing"}
    plan = choices.plan(
        catalogue, dataset="adult", method="adversarial", values=[1], seeds=2, options={"training": training}
    )
    assert [c.training["prepare"] for c in (*plan.runs, *plan.anchors)] == ["reweighing"] * 2 + ["none"] * 2
    assert {c.training["class_weights"] for c in (*plan.runs, *plan.anchors)} == {"balanced"}


def test_a_second_visit_trains_nothing_again(open_page, store, sweep_id):
    before = len(store.runs(limit=1000))
    at = open_page("frontier.py")
    assert at.query_params["sweep"] == sweep_id
    assert len(store.runs(limit=1000)) == before
    assert "nothing has to be trained" in words(at)


def test_a_sweep_from_the_command_line_gets_its_untreated_models(open_page, store, catalogue):
    plan = choices.default_plan(catalogue, "adult", "sex", "parity")
    made = store.submit_sweep(plan.spec, plan.runs, vary=["lam"])
    at = open_page("frontier.py", sweep=made)
    assert not at.exception
    assert list(store.runs([c.id for c in plan.anchors])["status"]) == ["queued"] * len(plan.anchors)
    assert len(store.runs(limit=1000)) == len(plan.runs) + len(plan.anchors)


def test_without_a_catalogue_the_page_waits_and_says_so(open_page, monkeypatch):
    monkeypatch.setattr("fairness_core.store.code_hash", lambda: "another")
    at = open_page("frontier.py")
    assert not at.exception
    assert "The engine is starting" in words(at)


# ------------------------------------------------------------------------------------------------------ what is shown


def test_every_position_of_the_slider_has_its_frame(open_page, sweep_id):
    at = open_page("frontier.py")
    told = payload(at)
    n = len(told["slider"]["labels"])
    assert n == 21
    for id in ("sentence", "frontier", "people", "accuracy", "matrices"):
        assert len(block(at, id)["frames"]) == n, id
    assert len(told["band"]["frames"]) == len(scene.EPSILONS)


def test_the_sentence_names_lambda_and_people_and_judges_nobody(open_page, sweep_id):
    sentences = block(open_page("frontier.py"), "sentence")["frames"]
    assert all("1,000 women" in s for s in sentences)
    assert sentences[0].startswith("At λ = 0 ")
    assert not any(" fair" in s.lower() for s in sentences)


def test_confusion_matrices_hold_one_table_per_group_and_their_difference(open_page, sweep_id):
    tables = block(open_page("frontier.py"), "matrices")["frames"][3]
    assert [t["kind"] for t in tables] == ["counts", "counts", "difference"]
    assert sum(sum(t["counts"]) for t in tables) == pytest.approx(synthetic.SIZES["test"], abs=2)
    female, male, gap = (t["shares"] for t in tables)
    assert gap == pytest.approx([a - b for a, b in zip(female, male, strict=True)], abs=1e-4)
    assert sum(female[:2]) == pytest.approx(1.0, abs=1e-4)


def test_the_best_point_is_chosen_on_validation_and_told_on_test(store, catalogue, open_page, sweep_id):
    at = open_page("frontier.py", eps="0.06")
    told = payload(at)
    frame = told["band"]["frames"][told["band"]["position"]]
    assert told["band"]["values"][told["band"]["position"]] == 0.06
    main = evidence.gather(store, store.sweep(sweep_id), catalogue)
    table = evidence.frontier(main, VIEW.measure, VIEW.performance)
    inside = table[table["validation_gap"] < 0.06]
    best = inside.loc[inside["validation_performance"].idxmax()]
    assert told["slider"]["labels"][frame["best"]] == f"{best['lam']:g}"
    assert f"accuracy {100 * best['test_performance']:.1f} %" in frame["sentence"]


def test_an_epsilon_nobody_reaches_claims_no_success(open_page, sweep_id):
    frame = payload(open_page("frontier.py"))["band"]["frames"][0]
    assert frame["best"] is None
    assert "No λ stays below" in frame["sentence"]


def test_a_growing_sweep_shows_live_points_of_the_validation_sample(open_page, growing):
    at = open_page("frontier.py")
    assert not at.exception
    points = next(t for t in block(at, "frontier")["figure"]["data"] if t["meta"].startswith("points:"))
    assert len(points["hovertext"]) == 1
    assert "unfinished, validation sample" in points["hovertext"][0]
    sentences = block(at, "sentence")["frames"]
    assert "unfinished" in sentences[2]
    assert "has not been trained yet" in sentences[3]


def test_a_growing_sweep_is_compared_with_untreated_models_of_its_own_seeds(open_page, store, catalogue, growing):
    live = [c for c in growing.runs if c.method_options["lam"] == growing.spec["values"][2]]
    for config in live[:2]:
        store.append([(config.id, event) for event in synthetic.events(config)])
        store.finish(config.id, "done", info=synthetic.info())
    at = open_page("frontier.py")
    untreated = evidence.untreated(store, growing.anchors).tensors["test"]
    own, of_all = (np.mean([untreated[seed] for seed in seeds], 0) for seeds in ([c.seed for c in live[:2]], untreated))
    for k, row in enumerate(block(at, "people")["frames"][2]):
        assert row["before"] == pytest.approx(1000 * own[k, :, 1].sum() / own[k].sum(), abs=0.005)
        assert row["before"] != pytest.approx(1000 * of_all[k, :, 1].sum() / of_all[k].sum(), abs=0.005)


def test_stop_cancels_what_waits_and_the_rest_can_be_trained(open_page, store, growing):
    at = open_page("frontier.py")
    at.button(key="stop").click().run()
    assert store.progress([c.id for c in growing.runs]).counts["queued"] == 0
    for run_id in store.runs(limit=1000).query("status == 'running' or status == 'starting'")["id"]:
        store.finish(run_id, "cancelled")
    at = at.run()
    assert "Training was stopped before its end. 5 of 110 models are done." in words(at)
    at.button(key="again").click().run()
    assert store.progress([c.id for c in growing.runs]).counts["queued"] == 105


def test_a_failed_run_shows_its_sentence(open_page, store, growing):
    for run_id in store.runs(limit=1000).query("status != 'done'")["id"]:
        store.finish(run_id, "failed", error="The worker was killed (signal 9).")
    at = open_page("frontier.py")
    assert "Training failed: The worker was killed (signal 9)." in words(at)


# ------------------------------------------------------------------------------------------------ controls and address


def test_another_method_without_a_frontier_offers_to_train_it(open_page, store, sweep_id):
    at = open_page("frontier.py")
    at.selectbox(key="frontier:method").set_value("parity").run()
    assert "No frontier yet" in words(at)
    assert "sweep" not in at.query_params
    at.button(key="train-empty").click().run()
    assert not at.exception
    assert store.sweep(at.query_params["sweep"]).spec["base"]["method"] == "parity"


def test_another_method_with_a_frontier_is_there_at_once(open_page, store, catalogue, sweep_id):
    other = synthetic.fill(store, catalogue, method="parity", lams=(0.0, 1.0), seeds=(0, 1)).sweep_id
    at = open_page("frontier.py")
    at.selectbox(key="frontier:method").set_value("parity").run()
    assert at.query_params["sweep"] == other
    assert payload(at)["slider"]["labels"] == ["0", "1"]
    at.selectbox(key="frontier:method").set_value("adversarial").run()
    assert at.query_params["sweep"] == sweep_id


def test_a_method_beside_it_draws_its_own_front(open_page, store, catalogue, sweep_id):
    other = synthetic.fill(store, catalogue, method="parity", lams=(0.0, 1.0, 2.0)).sweep_id
    at = open_page("frontier.py", compare="parity")
    drawn = {t["meta"] for t in block(at, "frontier")["figure"]["data"]}
    assert {f"points:{sweep_id}", f"points:{other}"} <= drawn


def test_a_link_brings_back_sweep_measure_lambda_and_epsilon(open_page, store, catalogue, sweep_id):
    other = synthetic.fill(store, catalogue, method="parity", lams=(0.0, 0.5, 1.0), seeds=(0, 1)).sweep_id
    at = open_page("frontier.py", sweep=other, measure="equalized_odds_difference", lam="0.5", eps="0.1")
    assert at.selectbox(key="frontier:method").value == "parity"
    assert at.selectbox(key="frontier:measure").value == "equalized_odds_difference"
    told = payload(at)
    assert told["slider"]["labels"][told["slider"]["position"]] == "0.5"
    assert told["band"]["labels"][told["band"]["position"]] == "0.1"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"sweep": "nonsense"}, "There is no sweep 'nonsense' in this store"),
        ({"method": "magic"}, "There is no method 'magic'; choose one from the list"),
        ({"data": "mars"}, "There is no data 'mars'; choose one"),
        ({"group": "shoe size"}, "There is no group 'shoe size'; choose one of"),
        ({"lam": "abc"}, "λ = abc cannot be shown"),
        ({"lam": "-1"}, "λ = -1 cannot be shown"),
        ({"lam": "1e9"}, "λ = 1e9 cannot be shown"),
        ({"lam": "NaN"}, "λ = NaN cannot be shown"),
        ({"eps": "much"}, "ε = much cannot be shown"),
        ({"measure": "luck"}, "There is no measure 'luck'"),
        ({"compare": "magic"}, "There is no method 'magic' to compare with"),
    ],
)
def test_a_bad_address_is_one_sentence_and_the_page_works(open_page, sweep_id, parameters, sentence):
    at = open_page("frontier.py", **parameters)
    assert not at.exception
    assert len(at.warning) == 1
    assert sentence in at.warning[0].value
    assert payload(at)["slider"]["labels"]


def test_changed_settings_are_called_what_they_are(open_page, store, sweep_id):
    at = open_page("frontier.py")
    at.number_input(key="frontier-training-epochs").set_value(3).run()
    assert "The chart shows earlier settings" in words(at)
    assert at.query_params["sweep"] == sweep_id
    next(b for b in at.button if b.label == "Train this frontier").click().run()
    made = store.sweep(at.query_params["sweep"])
    assert made.spec["base"]["training"]["epochs"] == 3


def test_unreadable_values_of_lambda_are_refused_in_one_sentence(open_page, sweep_id):
    at = open_page("frontier.py")
    next(t for t in at.text_input if t.label == "Values of λ").set_value("0:9").run()
    assert not at.exception
    assert "cannot be read" in at.error[0].value


def test_the_command_line_reproduces_the_sweep(open_page, sweep_id):
    code = "\n".join(c.value for c in open_page("frontier.py").code)
    assert "python -m fairness_core sweep --dataset adult --method adversarial --over" in code
    assert "--seeds 5" in code


# -------------------------------------------------------------------------------------------------------- small pieces


def test_the_stamp_changes_with_any_count(store, catalogue, sweep_id):
    found = store.sweep(sweep_id)
    before = evidence.gather(store, found, catalogue)
    assert before.stamp == evidence.gather(store, found, catalogue).stamp
    store.delete(found.run_ids[:1])
    assert evidence.gather(store, found, catalogue).stamp != before.stamp


def test_places_on_the_slider_are_the_nearest_ones():
    values = (0.0, 0.5, 1.0, 2.0)
    assert scene.View("m", "p", 0.7, 0.05, "").position(values) == 1
    assert scene.View("m", "p", 9.0, 0.05, "").position(values) == 3
    assert scene.EPSILONS[scene.View("m", "p", None, 0.0512, "").epsilon_position] == 0.05
