"""The explain page: every state of a run has its words, and what is drawn is what the run has left."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import costs, datasets, exhibits, metrics
from fairness_core.config import Event
from pages import adversarial_examples, twin_course, twin_viewer, twin_words
from tests import pictures, synthetic_twins
from tests.reading import blocks, decoded, sentence, traces, words
from tests.synthetic_twins import configured


@pytest.fixture
def robust(catalogue):
    return configured(catalogue)


@pytest.fixture
def untreated(catalogue):
    return configured(catalogue, "erm")


def gallery(at: AppTest) -> str:
    return next(e.proto.body for e in at.get("html") if "eq-twins" in e.proto.body)


# --------------------------------------------------------------------------------------------------------- which run


def test_an_empty_page_trains_the_offline_default_and_what_to_compare_it_with(open_page, store, robust, untreated):
    at = open_page("explain.py")
    assert at.title[0].value == "What did the method do?"
    assert "No run here has left anything to explain yet" in words(at)
    at.button(key="explain-first").click().run()
    assert not at.exception
    assert set(store.runs()["id"]) == {robust.id, untreated.id}
    assert at.query_params["run"] == robust.id
    assert store.run(robust.id).position == 1


def test_the_newest_run_is_shown_and_another_can_be_picked(open_page, store, catalogue, robust):
    synthetic_twins.finish(store, robust)
    newer = configured(catalogue, variant="pre")
    synthetic_twins.finish(store, newer)
    at = open_page("explain.py")
    picker = at.selectbox(key="explain:pick")
    assert picker.value == newer.id
    assert [", pre ·" in label for label in picker.options] == [True, False]
    picker.set_value(robust.id).run()
    assert at.query_params["run"] == robust.id


def test_a_run_that_cannot_be_shown_is_a_sentence_and_the_page_works(open_page, store, robust, untreated):
    for config in (robust, untreated):
        synthetic_twins.finish(store, config)
    at = open_page("explain.py", run="nonsense")
    assert "There is no run 'nonsense' here" in at.warning[0].value
    assert at.selectbox(key="explain:pick").value == robust.id
    at = open_page("explain.py", run=untreated.id)
    assert "has no explanation here yet" in at.warning[0].value
    assert "erm" not in str(at.selectbox(key="explain:pick").options)


def test_the_sentence_holds_both_models_with_intervals_n_and_seed(open_page, store, robust, untreated):
    for config in (robust, untreated):
        synthetic_twins.finish(store, config)
    told = sentence(open_page("explain.py", run=robust.id))
    C = {c.method: store.confusions([c.id], "test")[c.id] for c in (robust, untreated)}
    new, old = (metrics.evaluate(C[m], ["bacc", "bias_mean", "bias_sum"]) for m in ("aeda", "erm"))
    assert told.startswith("Against the untreated model bACC (mean accuracy over the cells of class and group) rises")
    assert f"rises from {100 * old['bacc']:.1f} to {100 * new['bacc']:.1f} %" in told
    assert f"falls from {100 * old['bias_mean']:.1f} to {100 * new['bias_mean']:.1f} points" in told
    assert f"added up over 10 classes, from {old['bias_sum']:.2f} to {new['bias_sum']:.2f}" in told
    assert "n = 2,000, seed 0" in told
    low, high = map(float, re.findall(r"by [\d.]+ points \(([\d.]+) to ([\d.]+)\)", told)[0])
    assert low < 100 * (new["bacc"] - old["bacc"]) < high
    assert "fair" not in told


def test_without_the_untreated_model_it_is_one_click_away(open_page, store, robust, untreated):
    synthetic_twins.finish(store, robust)
    at = open_page("explain.py", run=robust.id)
    assert sentence(at).startswith("bACC (mean accuracy over the cells of class and group) is ")
    assert blocks(at)["matrices-before"]["frames"] == [adversarial_examples.UNKNOWN]
    at.button(key="explain-compare").click().run()
    assert store.run(untreated.id).status == "queued"
    assert "The untreated model is next" in words(at)


def test_a_difference_that_may_be_chance_is_said_to_be_one(robust, store):
    synthetic_twins.finish(store, robust)
    run, C = store.run(robust.id), store.confusions([robust.id], "test")[robust.id]
    assert "cannot tell from none" in twin_words.result(C, C, run)
    assert "rises" not in twin_words.result(C, C, run)


def test_while_it_trains_it_says_what_it_does_and_can_be_stopped(open_page, store, robust):
    synthetic_twins.advance(store, robust, 3)
    at = open_page("explain.py", run=robust.id)
    looks = twin_course.looks(store.run(robust.id))
    told = sentence(at)
    assert "learns from every row and from its twin; 80 % of the twins pass" in told
    assert f"bACC (mean accuracy over the cells of class and group) is {100 * looks['bacc'].iloc[-1]:.1f} %" in told
    assert "epoch 1.0 of 2" in told
    job = store.run(robust.id).job
    assert store.wanted(job) == {robust.id}
    at.button(key="explain-stop").click().run()
    assert store.wanted(job) == set()


def test_pre_says_that_its_judges_are_trained_first(open_page, store, catalogue):
    config = configured(catalogue, variant="pre")
    synthetic_twins.advance(store, config, 2)
    at = open_page("explain.py", run=config.id)
    assert "will judge the twins are trained first" in sentence(at)
    assert "The first twins appear here" in words(at)
    assert gallery(at).count("<figure>") == twin_viewer.SHOWN


@pytest.mark.parametrize(("status", "said"), [("failed", "The disk is full."), ("cancelled", "Stopped at step")])
def test_a_run_that_ended_early_says_so_and_can_be_trained_again(open_page, store, robust, status, said):
    synthetic_twins.advance(store, robust, 3)
    store.finish(robust.id, status, error="The disk is full." if status == "failed" else None)
    at = open_page("explain.py", run=robust.id)
    assert said in words(at)
    assert gallery(at).count("<img") == 3 * synthetic_twins.SHOWN
    at.button(key="explain-again").click().run()
    assert store.run(robust.id).status == "queued"


# -------------------------------------------------------------------------------------------------------------- twins


def test_every_picture_is_told_and_success_has_a_mark_and_a_word(open_page, store, robust):
    synthetic_twins.finish(store, robust)
    at = open_page("explain.py", run=robust.id)
    told = gallery(at)
    assert "Of these 12 twins 9 pass for the group they aim at and 8 keep their class." in words(at)
    assert told.count("<img") == told.count("alt=") == 3 * synthetic_twins.SHOWN
    assert "class 0: told 0 → 1  ○ lost" in told
    assert "class 0: told 0 → 0  ● kept" in told
    assert "colour red: told red → red  ○ fails as brown" in told
    assert "colour brown: told brown → red  ● passes as red" in told
    assert told.count("● passes") == 9
    assert told.count("○ lost") == 4
    assert 'alt="Training picture 1: class 0, colour red"' in told


def test_the_difference_is_amplified_around_grey():
    x = np.full((3, 2, 2), 100, np.uint8)
    twin = x.copy()
    twin[0, 0, 0], twin[1, 0, 0], twin[2, 0, 0] = 103, 98, 255
    shown = twin_viewer.amplified(x, twin)
    assert shown[:, 0, 0].tolist() == [158, 108, 255]
    assert (shown[:, 1] == twin_viewer.GREY).all()


def slider(at):
    (found,) = [s for s in at.select_slider if s.label == "Moment (epoch)"]
    return found


def test_the_slider_follows_the_newest_moment_until_it_is_moved(open_page, store, robust):
    synthetic_twins.advance(store, robust, 3)
    shown = exhibits.steps(store.exhibits_path(robust.id))
    at = open_page("explain.py", run=robust.id)
    assert slider(at).value == twin_viewer.LATEST
    newest = gallery(at)
    slider(at).set_value(shown[0]).run()
    assert gallery(at) != newest
    assert at.query_params["moment"] == str(shown[0])
    for event in list(synthetic_twins.events(robust))[3:4]:
        exhibits.save(store.exhibits_path(robust.id), event.step, synthetic_twins.twins(robust, event.step))
    at.run()
    assert slider(at).value == shown[0]
    at.button(key="explain-follow").click().run()
    assert slider(at).value == twin_viewer.LATEST
    assert "moment" not in at.query_params
    slider(at).set_value(shown[1]).run()
    at.button(key="explain-follow").click().run()  # no newer moment has come meanwhile
    assert slider(at).value == twin_viewer.LATEST
    slider(at).set_value(shown[1]).run()
    slider(at).set_value(twin_viewer.LATEST).run()
    assert "moment" not in at.query_params


def test_a_link_brings_the_moment_back_and_a_wrong_one_is_dropped(open_page, store, robust):
    synthetic_twins.finish(store, robust)
    shown = exhibits.steps(store.exhibits_path(robust.id))
    at = open_page("explain.py", run=robust.id, moment=str(shown[1]))
    assert slider(at).value == shown[1]
    at = open_page("explain.py", run=robust.id, moment="77777")
    assert slider(at).value == twin_viewer.LATEST
    assert "moment" not in at.query_params


def test_a_table_shows_the_columns_that_moved_most_by_name(open_page, store, catalogue):
    config = configured(catalogue, dataset="adult")
    synthetic_twins.finish(store, config)
    at = open_page("explain.py", run=config.id)
    features = datasets.load("adult", config.dataset_options).features
    moved = blocks(at)["moved"]
    assert moved["figure"]["layout"]["yaxis"]["ticktext"][:2] == [features[3], features[0]]
    x, twin = (synthetic_twins.twins(config, synthetic_twins.steps(config))[k] for k in ("x", "twin"))
    assert f"<td>{features[3]}</td><td>{x[0, 3]:.2f} → {twin[0, 3]:.2f}</td>" in gallery(at)
    assert "<img" not in gallery(at)


def test_the_curves_are_the_looks_of_the_run(open_page, store, robust):
    synthetic_twins.finish(store, robust)
    drawn = blocks(open_page("explain.py", run=robust.id))
    looks = twin_course.looks(store.run(robust.id))
    history = store.history(robust.id)
    live = history[history["stage"] == "training"]
    assert looks["epoch"].iloc[-1] == robust.training["epochs"]
    for block, column in (("success", "attack_success"), ("success", "class_kept"), ("r", "transferability")):
        line = traces(drawn[block])[f"{column}:{robust.id}"]
        assert decoded(line["y"]) == pytest.approx(live[column].tolist())
        assert decoded(line["x"]) == pytest.approx(looks["epoch"].tolist())
    bias = [float(metrics.evaluate(C, ["bias_mean"])["bias_mean"]) for C in live["confusion"]]
    assert decoded(traces(drawn["bias"])[f"points:{robust.id}"]["y"]) == pytest.approx([100 * b for b in bias])
    assert "chance 50%" in json.dumps(drawn["r"]["figure"]["layout"])


def test_other_runs_are_laid_over_it_with_a_look_of_their_own(open_page, store, catalogue, robust):
    others = [configured(catalogue, variant="pre"), configured(catalogue, freeze_after=1, refresh=1)]
    strangers = [configured(catalogue, seed=1), configured(catalogue, dataset="adult")]
    strangers += [dataclasses.replace(robust, model_options={**robust.model_options, "width": 16})]
    for config in (*others, *strangers, robust):
        synthetic_twins.finish(store, config)
    at = open_page("explain.py", run=robust.id, **{"with": ",".join([others[0].id, "nonsense"])})
    choice = at.multiselect(key="explain-with")
    assert choice.value == [others[0].id]
    assert len(choice.options) == 2
    choice.set_value([c.id for c in others]).run()
    assert at.query_params["with"] == ",".join(c.id for c in others)
    drawn = blocks(at)
    looks = set()
    for block, column in (
        ("success", "attack_success"),
        ("r", "transferability"),
        ("difference", "feature_difference"),
    ):
        lines = traces(drawn[block])
        each = [lines[f"{column}:{c.id}"] for c in (robust, *others)]
        looks.add(tuple((line["line"]["color"], line["line"]["dash"], line["marker"]["symbol"]) for line in each))
        assert [line["name"] for line in each] == ["robust", "pre", "robust, frozen, refresh = 1"]
    assert len(looks) == 1
    assert len(set(next(iter(looks)))) == 3
    assert "twins made, the model starts" in json.dumps(drawn["r"]["figure"]["layout"])


def test_runs_of_pre_count_their_epochs_from_where_their_model_starts(store, catalogue):
    config = configured(catalogue, variant="pre")
    synthetic_twins.finish(store, config)
    looks = twin_course.looks(store.run(config.id))
    epochs = float(config.training["epochs"])
    assert looks["epoch"].iloc[-1] == pytest.approx(epochs)
    assert looks["epoch"].iloc[0] == pytest.approx(-epochs + 2 * epochs / synthetic_twins.LOOKS, abs=0.05)
    assert looks["phase"].tolist() == [0, 0, 0, 1, 1, 1]
    assert (looks["attack_success"].notna() == (looks["phase"] == 1)).all()


@pytest.mark.parametrize(("variant", "said"), [("robust", "can be a good sign"), ("online", "fake balance")])
def test_twins_that_do_not_pass_are_warned_of_in_the_words_of_the_variant(store, catalogue, variant, said):
    config = configured(catalogue, variant=variant)
    synthetic_twins.finish(store, config)
    run = store.run(config.id)
    looks = twin_course.looks(run)
    assert twin_words.low_success(run, looks) == ""
    looks.loc[looks.index[-1], "attack_success"] = 0.42
    warning = twin_words.low_success(run, looks)
    assert "42 % of the twins" in warning
    assert said in warning
    assert "larger ε" in warning


def test_the_matrices_hold_both_models_and_the_change(open_page, store, robust, untreated):
    for config in (robust, untreated):
        synthetic_twins.finish(store, config)
    drawn = blocks(open_page("explain.py", run=robust.id))
    before, after = (drawn[f"matrices-{when}"]["frames"][0] for when in ("before", "after"))
    C = store.confusions([untreated.id], "test")[untreated.id]
    assert [m["counts"] for m in before] == [C[g].ravel().tolist() for g in range(2)]
    assert before[0]["changes"] is None
    told = np.array(after[1]["shares"]) - np.array(before[1]["shares"])
    assert after[1]["changes"] == pytest.approx(told.tolist(), abs=2e-5)


@pytest.fixture
def folder(tmp_path_factory, monkeypatch) -> Path:
    """Where a tiny CelebA lies."""
    made = tmp_path_factory.mktemp("faces")
    pictures.write_celeba(made)
    monkeypatch.setenv("FAIRNESS_DATA_DIR", str(made))
    return made


@pytest.fixture
def faces(folder, catalogue) -> dict[str, Any]:
    """A catalogue that knows it."""
    return datasets.present(catalogue, folder, None)


@pytest.mark.parametrize("compared", [True, False])
def test_attributes_are_ordered_by_imbalance_and_judged_one_by_one(open_page, store, faces, folder, compared):
    config, plain = (configured(faces, method, dataset="celeba") for method in ("aeda", "erm"))
    for one in (config, plain)[: 2 if compared else 1]:
        synthetic_twins.finish(store, one)
    at = open_page("explain.py", run=config.id)
    drawn = traces(blocks(at)["attributes"])
    rows = datasets.explore("celeba", config.dataset_options, folder)
    share = [float((rows.s[rows.y[:, a] == 1] == 0).mean()) for a in range(3)]
    order = np.argsort(share, kind="stable")
    assert order.tolist() not in ([0, 1, 2], [2, 1, 0])  # else another order would do as well
    C = store.confusions([config.id], "test", pooled=False)[config.id]
    each = metrics.evaluate(C, ["bias_mean", "bacc"])
    assert decoded(drawn["bias"]["x"]) == pytest.approx((100 * each["bias_mean"][order]).tolist())
    assert decoded(drawn["bacc"]["x"]) == pytest.approx((100 * each["bacc"][order]).tolist())
    known = ["nan" not in str(v) and v is not None for v in decoded(drawn["before_bias"]["x"])]
    assert known == [compared] * 3
    over = metrics.over_targets(C, ["bias_sum"])["bias_sum"]
    assert f"added up over the 6 values of 3 targets, {'from' if compared else f'{over:.2f}'}" in sentence(at)
    assert "Arched Eyebrows absent: told absent" in gallery(at)


def test_targets_that_are_decided_alike_for_all_are_warned_of(open_page, store, faces):
    config = configured(faces, dataset="celeba")
    synthetic_twins.advance(store, config)
    C = synthetic_twins.counts(config, "test", 1.0)
    C[0, :, :, 0] = C[0].sum(-1)
    C[0, :, :, 1] = 0
    store.append([(config.id, Event("test", 9, 9, {}, C))])
    store.finish(config.id, "done", info={**synthetic_twins.info(config), "seconds": 1.0})
    at = open_page("explain.py", run=config.id)
    assert "1 of 3 targets are decided alike" in at.warning[0].value
    assert "Arched Eyebrows" in at.warning[0].value


# ------------------------------------------------------------------------------------------------- from the page Train


def test_train_leads_here_also_while_it_trains(open_page, store, robust, untreated):
    synthetic_twins.advance(store, robust, 2)
    link = open_page("train.py", run=robust.id).get("page_link")[0].proto
    assert (link.page, link.label, link.query_string) == ("explain", "Explain", f"run={robust.id}")
    synthetic_twins.finish(store, untreated)
    at = open_page("train.py", run=untreated.id)
    assert "explain" not in [b.key for b in at.button]
    assert not at.get("page_link")


def test_train_leads_here_after_the_end(open_page, store, robust):
    synthetic_twins.finish(store, robust)
    at = open_page("train.py", run=robust.id)
    at.button(key="explain").click().run()
    assert at.title[0].value == "What did the method do?"
    assert at.query_params["run"] == robust.id


def test_train_says_what_the_method_costs_before_it_is_started(open_page, store, robust, untreated):
    times = costs.relative("aeda", robust.method_options)
    synthetic_twins.advance(store, robust, 2)
    at = open_page("train.py", run=robust.id)
    assert f"About {times:.1f} × plain training" in [c.value for c in at.caption]
    synthetic_twins.finish(store, untreated)
    at = open_page("train.py", run=robust.id)
    assert f"About {times:.1f} × plain training, {6.5 * times:.0f} s here" in words(at)
    at.number_input(key="train-training-epochs").set_value(1).run()
    assert f", {6.5 * times / 2:.0f} s here" in words(at)
    at.selectbox(key="train-method").set_value("erm").run()
    assert "plain training" not in words(at)
