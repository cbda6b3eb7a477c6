"""Runs whose target is a number, on every page that shows runs: errors by bin and group, no confusion matrices."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import datasets, regression
from fairness_core.config import RunConfig
from fairness_core.regression import MEASURES
from pages import choices, errors_by_bin
from tests import synthetic, synthetic_regression
from tests.reading import decoded, traces


@pytest.fixture
def known(store, catalogue, tmp_path, monkeypatch) -> dict[str, Any]:
    """The catalogue of a computer where Communities and Crime is."""
    folder = synthetic_regression.data_folder(tmp_path / "published")
    monkeypatch.setenv("FAIRNESS_DATA_DIR", str(folder))
    return datasets.present(catalogue, folder, None)


@pytest.fixture
def untreated(known) -> RunConfig:
    return synthetic_regression.configured(known)


@pytest.fixture
def treated(known) -> RunConfig:
    return synthetic_regression.configured(known, "adversarial_grl", lam=1.0)


@pytest.fixture
def swept(store, known) -> choices.Plan:
    """A finished sweep of five λ with two seeds, and its untreated models."""
    plan = choices.plan(known, dataset="communities", method="adversarial_grl", values=[0, 0.5, 1, 1.5, 2], seeds=2)
    choices.submit(store, plan)
    while synthetic.claim(store):
        pass
    for config in (*plan.anchors, *plan.runs):
        synthetic_regression.finish(store, config)
    return plan


def payload(at: AppTest) -> dict[str, Any]:
    return json.loads(at.get("bidi_component")[0].proto.json)


def blocks(at: AppTest) -> dict[str, dict[str, Any]]:
    return {block["id"]: block for block in payload(at)["blocks"]}


def words(at: AppTest) -> str:
    told = [e.value for kind in ("title", "markdown", "caption", "warning", "error", "info") for e in getattr(at, kind)]
    return "\n".join([*told, *(str(b["frames"]) for b in blocks(at).values() if b["kind"] == "text")])


# --------------------------------------------------------------------------------------------------------------- train


def test_a_finished_run_shows_errors_by_bin_and_no_matrices(open_page, store, untreated):
    synthetic_regression.finish(store, untreated)
    at = open_page("train.py", run=untreated.id)
    assert not at.exception
    drawn = blocks(at)
    assert set(drawn) == {"sentence", "curves", "errors", "errors-words"}
    values = regression.evaluate(synthetic_regression.outcome(untreated, "test"))
    sentence = drawn["sentence"]["frames"][0]
    for name in ("mean_absolute_error", "odds_regression"):
        assert f"{errors_by_bin.number(values[name])} scaled crimes per person" in sentence
    assert "n = 399, seed 0" in sentence
    assert "4 of them were merged into 2" in words(at)
    traces = {trace["meta"]: trace for trace in drawn["errors"]["figure"]["data"]}
    group = regression_group(1)
    assert len(traces[f"mean_error:{group}"]["hovertext"]) == 2
    texts = [a["text"] for a in drawn["errors"]["figure"]["layout"]["annotations"]]
    assert sum(int(t.removeprefix("n = ")) for t in texts if t.startswith("n = ")) == 399
    assert "scaled crimes per<br>person" in json.dumps(drawn["errors"]["figure"]["layout"])
    assert not [s for s in at.selectbox if s.key == "gap-picker"]  # decisions have gaps, numbers have none


def regression_group(index: int) -> str:
    return synthetic_regression.GROUPS[index].replace(">", "&gt;").replace("<", "&lt;")


def test_every_measure_is_told_with_interval_and_seeds(open_page, store, known, untreated):
    for seed in range(3):
        synthetic_regression.finish(store, synthetic_regression.configured(known, seed=seed))
    at = open_page("train.py", run=untreated.id)
    table = next(frame.value for frame in at.dataframe if "95% interval" in frame.value)
    assert list(table["Measure"]) == [m.title for m in MEASURES.values()]
    row = table.set_index("Measure").loc["Odds of the signed error"]
    values = regression.evaluate(synthetic_regression.outcome(untreated, "test"))
    assert row["Test"] == errors_by_bin.number(values["odds_regression"])
    assert row["In sd"] == errors_by_bin.number(values["odds_regression"] / values["target_sd"])
    assert row["Over seeds"].endswith("3 seeds")
    assert row["By chance"] != "–"


def test_beside_the_untreated_model_the_sentence_compares(open_page, store, untreated, treated):
    synthetic_regression.finish(store, untreated)
    synthetic_regression.finish(store, treated)
    at = open_page("train.py", run=treated.id)
    old, new = (
        errors_by_bin.number(regression.evaluate(synthetic_regression.outcome(c, "test"))["odds_regression"])
        for c in (untreated, treated)
    )
    assert (
        f"At λ = 1 the gap between the groups' mean errors for a similar true value falls from {old} to {new}"
        in words(at)
    )
    assert "✕: the untreated model" in blocks(at)["errors"]["heading"]
    assert [trace["meta"] for trace in blocks(at)["errors"]["figure"]["data"]].count("before:mean_error") == 2


def test_a_running_run_shows_its_errors_in_their_unit(open_page, store, treated):
    synthetic_regression.start(store, treated, 5)
    at = open_page("train.py", run=treated.id)
    assert not at.exception
    assert set(blocks(at)) == {"curves", "gauges", "errors", "errors-words"}
    drawn = traces(blocks(at)["curves"])
    assert set(drawn) == {"loss", "odds_regression", "mean_absolute_error", "adversary_accuracy", "chance"}
    seen = regression.evaluate(synthetic_regression.outcome(treated, "validation"))
    assert decoded(drawn["mean_absolute_error"]["y"]) == pytest.approx([seen["mean_absolute_error"]] * 5)
    assert blocks(at)["curves"]["figure"]["layout"]["yaxis2"]["title"]["text"] == "scaled crimes per person"
    assert "validation sample" in blocks(at)["errors"]["heading"]
    held = synthetic_regression.predictions(treated, "validation")
    first = (held.s == 0) & (held.y < synthetic_regression.EDGES[0])
    bars = traces(blocks(at)["errors"])[f"mean_error:{regression_group(0)}"]
    assert decoded(bars["x"])[0] == pytest.approx((held.predicted - held.y)[first].mean(), abs=1e-6)


def test_before_its_first_look_a_run_says_what_comes(open_page, store, treated):
    synthetic_regression.start(store, treated, 0)
    assert errors_by_bin.WAIT in words(open_page("train.py", run=treated.id))


def test_a_run_of_before_says_so_and_is_trained_again(open_page, store, untreated):
    synthetic_regression.finish(store, untreated, kept=False)
    at = open_page("train.py", run=untreated.id)
    assert not at.exception
    assert "train it again" in at.info[0].value
    at.button(key="errors-again").click().run()
    assert store.run(untreated.id).status == "queued"


def test_a_failed_run_has_its_reason_and_its_curves(open_page, store, untreated):
    synthetic_regression.start(store, untreated, 3)
    store.finish(untreated.id, "failed", error="The training process was killed.")
    at = open_page("train.py", run=untreated.id)
    assert not at.exception
    assert "killed" in at.error[0].value
    assert set(blocks(at)) == {"curves", "errors", "errors-words"}


# ------------------------------------------------------------------------------------------------------ the other pages


def test_runs_lists_errors_in_their_unit(open_page, store, catalogue, untreated, finish):
    synthetic_regression.finish(store, untreated)
    finish(synthetic.configured(catalogue, "erm"))
    table = open_page("runs.py", show="runs").dataframe[0].value.set_index("Data")
    value = regression.evaluate(synthetic_regression.outcome(untreated, "test"))["mean_absolute_error"]
    numbers = table.loc["Communities and Crime"]
    assert numbers["Mean error"] == f"{errors_by_bin.number(value)} scaled crimes per person"
    assert numbers[["Accuracy", "Gap"]].isna().all()
    assert numbers["n"] == 399
    assert table.loc["Adult (census income)", "Accuracy"] > 0


def test_thresholds_says_that_a_number_has_none(open_page, store, untreated):
    synthetic_regression.finish(store, untreated)
    at = open_page("thresholds.py", run=untreated.id)
    assert not at.exception
    assert "predicts a number" in at.warning[0].value


# ------------------------------------------------------------------------------------------------------------ frontier


def test_the_frontier_of_a_number_is_error_against_the_gap_in_errors(open_page, swept, store):
    at = open_page("frontier.py", sweep=swept.id)
    assert not at.exception
    drawn = blocks(at)
    assert {"sentence", "frontier", "sliders", "errors"} <= set(drawn)
    assert "matrices" not in drawn
    points = next(t for t in drawn["frontier"]["figure"]["data"] if t["meta"] == f"points:{swept.id}")
    assert len(points["hovertext"]) == 5
    assert len(drawn["sentence"]["frames"]) == len(drawn["errors"]["frames"]) == 5
    assert "At λ = 1 the gap between the groups' mean errors" in drawn["sentence"]["frames"][2]
    assert payload(at)["slider"]["labels"] == ["0", "0.5", "1", "1.5", "2"]
    frame, own = drawn["errors"]["frames"][4], swept.runs[8]
    expected = regression.evaluate(synthetic_regression.outcome(own, "test"))
    assert frame["0"]["x"] != drawn["errors"]["frames"][0]["0"]["x"]
    assert own.method_options["lam"] == 2
    assert expected["odds_regression"] < 0.03


def test_the_band_below_epsilon_is_in_the_unit_of_the_gap(open_page, store, swept):
    at = open_page("frontier.py", sweep=swept.id)
    band = payload(at)["band"]
    ids = [run.id for run in swept.runs]
    gaps, errors = (
        {run: own[name] for run, own in store.values(ids, split).items()}
        for split, name in (("test", "odds_regression"), ("validation", "mean_absolute_error"))
    )
    assert band["values"][-1] > max(gaps.values())
    assert np.allclose(np.diff(band["values"]), band["values"][0])
    by_lam = {lam: [r.id for r in swept.runs if r.method_options["lam"] == lam] for lam in (0, 0.5, 1, 1.5, 2)}
    half = max(np.mean([gaps[i] for i in own]) for own in by_lam.values()) / 2
    assert band["values"][band["position"]] == pytest.approx(half, abs=band["values"][0])
    all_in = band["frames"][-1]
    assert all_in["sentence"].startswith("5 of 5 values of λ stay below ε = ")
    assert all_in["best"] == int(np.argmin([np.mean([errors[i] for i in own]) for own in by_lam.values()]))
    assert "scaled crimes per person" in all_in["sentence"]
    assert band["frames"][0]["best"] is None
    assert band["frames"][0]["sentence"].startswith("No λ stays below ε = ")


def test_epsilon_of_a_number_comes_with_the_address_and_goes_with_its_unit(open_page, swept):
    asked = open_page("frontier.py", sweep=swept.id, eps="0.03")
    assert not asked.warning
    band = payload(asked)["band"]
    assert band["values"][band["position"]] == pytest.approx(0.03, abs=band["values"][0] / 2)
    assert asked.session_state["frontier:eps"] == 0.03
    asked.selectbox(key="frontier:error-gap").set_value("ks_distance").run()
    assert asked.session_state["frontier:eps"] is None
    assert "eps" not in asked.query_params
    large = open_page("frontier.py", sweep=swept.id, eps="12")  # years, say
    assert not large.warning
    band = payload(large)["band"]
    assert band["position"] == len(band["values"]) - 1


def test_another_measure_of_the_gap_moves_the_points(open_page, swept):
    at = open_page("frontier.py", sweep=swept.id)
    before = blocks(at)["frontier"]["figure"]["data"]
    at.selectbox(key="frontier:error-gap").set_value("ks_distance").run()
    assert not at.exception
    after = blocks(at)["frontier"]["figure"]["data"]
    assert [t["x"] for t in before] != [t["x"] for t in after]
    assert "share" in json.dumps(blocks(at)["frontier"]["figure"]["layout"]["xaxis"]["title"])
    assert at.query_params["measure"] == "ks_distance"


def test_the_address_brings_the_measures_back(open_page, swept):
    at = open_page("frontier.py", sweep=swept.id, measure="ks_distance", performance="eerr")
    assert not at.exception
    assert not at.warning
    assert at.selectbox(key="frontier:error-gap").value == "ks_distance"
    assert "Equal error EErr" in json.dumps(blocks(at)["frontier"]["figure"]["layout"]["yaxis"]["title"])


def test_a_sweep_that_has_just_begun_waits_for_its_first_point(open_page, store, known):
    plan = choices.plan(known, dataset="communities", method="adversarial_grl", values=[0, 1], seeds=1)
    choices.submit(store, plan)
    at = open_page("frontier.py", sweep=plan.id)
    assert not at.exception
    assert "appear" in at.info[0].value


def test_only_methods_that_can_predict_a_number_are_offered_for_one(open_page, known):
    at = open_page("frontier.py", data="communities")
    assert not at.exception
    offered = at.selectbox(key="frontier:method").options
    assert 0 < len(offered) < len(choices.treated(known))
    assert set(choices.treated(known, "communities")) == {
        name for name, m in known["methods"].items() if m["tradeoff"] and "regression" in m["tasks"]
    }
    assert choices.treated(known, "adult") == choices.treated(known)
    assert "communities" in choices.trainable(known)


def test_changing_to_a_number_changes_the_method_too(open_page, known, store):
    at = open_page("frontier.py")
    at.selectbox(key="frontier:data").set_value("communities").run()
    assert not at.exception
    assert at.selectbox(key="frontier:method").value in choices.treated(known, "communities")


def test_the_form_offers_what_can_predict_the_target(open_page, known, store):
    at = open_page("train.py")
    everywhere = at.selectbox(key="train-method").options
    at.selectbox(key="train-dataset").set_value("communities").run()
    assert not at.exception
    assert not at.error
    chosen = at.selectbox(key="train-method")
    assert "regression" in known["methods"][chosen.value]["tasks"]
    assert len(chosen.options) < len(everywhere)
    assert "reject_option" not in choices.debiasers(known, "cmnist")  # it decides between two classes
    assert "reject_option" in choices.debiasers(known, "utkface")  # whose target may be gender or race
    at.selectbox(key="train-dataset").set_value("adult").run()
    assert at.selectbox(key="train-method").options == everywhere
