"""Explain, BaDe: every state of a run has its words, and what is drawn is what the run has left."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from fairness_core import datasets, metrics, pace, regression, trigger_law
from fairness_core.backdoor_figures import Units
from fairness_core.config import Budget, Event
from pages import backdoor_course, backdoor_viewer, backdoor_words, course
from tests import synthetic_backdoors, synthetic_regression
from tests.reading import blocks, decoded, markup, sentence, traces, words
from tests.synthetic_backdoors import advance, configured, finish


@pytest.fixture
def run(catalogue):
    return configured(catalogue, rate=50.0)


@pytest.fixture
def pictures(catalogue):
    return configured(catalogue, dataset="cmnist", rate=75.0)


@pytest.fixture
def untreated(catalogue):
    return configured(catalogue, "erm")


# ----------------------------------------------------------------------------------------------------- which run, words


def test_an_empty_page_offers_bade_too(open_page, store, catalogue):
    at = open_page("explain.py")
    assert "of *BaDe*" in words(at)
    at.button(key="explain-first-table").click().run()
    config = configured(catalogue)
    assert not at.exception
    assert set(store.runs()["id"]) == {config.id, configured(catalogue, "erm").id}
    assert at.query_params["run"] == config.id


def test_the_picker_tells_runs_apart_by_their_strength(open_page, store, catalogue, run):
    for config in (run, configured(catalogue, rate=12.5), configured(catalogue, exponent=1.5)):
        finish(store, config)
    labels = open_page("explain.py").selectbox(key="explain:pick").options
    told = [re.search(r", n = [\d.]+ %, s = [\d.]+", label).group() for label in labels]
    assert told == [", n = 100 %, s = 1.5", ", n = 12.5 %, s = 1", ", n = 50 %, s = 1"]


@pytest.mark.parametrize(
    ("law", "says"),
    [
        ("inverse", "the rarer a group is in a class, the more often that class carries this group's trigger"),
        ("exchanged", "as often as the *other* class has their groups"),
        ("manual", "as often as the shares say that somebody has written down for this run"),
    ],
)
def test_every_law_is_told_in_words(open_page, store, catalogue, law, says):
    config = configured(catalogue, law=law, shares="60 40; 15 85" if law == "manual" else "", exponent=1.5)
    finish(store, config)
    at = open_page("explain.py", run=config.id)
    assert says in words(at)
    assert "shares of the triggers at n = 100 %, s = 1.5, and what was drawn (seed 0)" in words(at)
    assert sentence(at).startswith("At n = 100 %, s = 1.5")


def test_the_sentence_holds_both_models_with_intervals_n_and_seed(open_page, store, run, untreated):
    for config in (run, untreated):
        finish(store, config)
    told = sentence(open_page("explain.py", run=run.id))
    C = {c.method: store.confusions([c.id], "test")[c.id] for c in (run, untreated)}
    new, old = (metrics.evaluate(C[m], ["odds", "eacc"]) for m in ("bade", "erm"))
    assert told.startswith("At n = 50 %, against the untreated model, Odds (")
    assert f"falls from {100 * old['odds']:.1f} to {100 * new['odds']:.1f} points" in told
    low, high = map(float, re.findall(r"by [\d.]+ points \(([\d.]+) to ([\d.]+)\)", told)[0])
    assert low < 100 * (old["odds"] - new["odds"]) < high
    floor = float(metrics.noise_floor(C["bade"])["odds"])
    assert f"chance alone makes {100 * floor:.1f} points of Odds" in told
    assert "n = 6,000, seed 0" in told
    assert "fair" not in told


def test_without_the_untreated_model_it_is_one_click_away(open_page, store, run, untreated):
    finish(store, run)
    at = open_page("explain.py", run=run.id)
    assert sentence(at).startswith("At n = 50 % Odds (mean gap")
    assert decoded(traces(blocks(at)["models"])["gap"]["y"]) == [0, 1]
    at.button(key="explain-compare").click().run()
    assert store.run(untreated.id).status == "queued"


def test_small_groups_are_marked(open_page, store, run):
    synthetic_backdoors.advance(store, run)
    C = synthetic_backdoors.counts(run, "test", 0.1)
    C[0, 1] = [10, 12]
    store.append([(run.id, Event("test", 9, 9, {}, C))])
    store.finish(run.id, "done", info={**synthetic_backdoors.info(run), "seconds": 1.0})
    at = open_page("explain.py", run=run.id)
    assert "Fewer than 30 rows of group Female have the true class >50K" in words(at)


# ------------------------------------------------------------------------------------------------------- while it lives


def test_while_the_teacher_trains_it_is_what_is_spoken_of(open_page, store, run):
    synthetic_backdoors.advance(store, run, 2)
    at = open_page("explain.py", run=run.id)
    gauges = synthetic_backdoors.gauges(run)
    told = sentence(at)
    assert told.startswith("First the teacher learns rows that carry triggers (n = 50 %).")
    assert f"{100 * gauges['teacher_odds_cancelling']:.1f} points with the triggers that cancel" in told
    assert "epoch 3.3 of 5" in told
    assert blocks(at)["views"]["heading"] == "Teacher (validation sample)"
    assert "The bars appear with the test result." in words(at)
    assert "once the teacher has learned" not in words(at)  # the order is as it should be
    job = store.run(run.id).job
    at.button(key="explain-stop").click().run()
    assert store.wanted(job) == set()


def test_then_the_student_is(open_page, store, run):
    synthetic_backdoors.advance(store, run, 5)
    at = open_page("explain.py", run=run.id)
    told = sentence(at)
    assert told.startswith("The student learns, from rows without triggers,")
    assert "agrees with it on 94.0 % of the rows" in told
    assert "epoch 6.7 of 10" in told
    looks = backdoor_course.looks(store.run(run.id))
    assert looks["phase"].tolist() == [0, 0, 0, 1, 1]
    assert looks["epoch"].iloc[2] == pytest.approx(0)
    drawn = blocks(at)
    odds = [v for v in decoded(traces(drawn["course-both"])["odds"]["y"]) if v is not None and np.isfinite(v)]
    assert odds == pytest.approx((100 * looks["odds"]).tolist())
    assert len(decoded(traces(drawn["course-teacher"])["artificial_bias"]["y"])) == 3  # repeated values are not drawn


def test_before_the_first_look_there_are_places_for_everything(open_page, store, pictures):
    synthetic_backdoors.start(store, pictures)
    at = open_page("explain.py", run=pictures.id)
    assert "The first look is taken after the first steps" in sentence(at)
    assert "appear here with the first look" in words(at)
    assert 'class="eq-one"' in markup(at)


def test_a_run_that_failed_early_says_so(open_page, store, run):
    synthetic_backdoors.start(store, run)
    store.finish(run.id, "failed", error="The disk is full.")
    store.append([])
    at = open_page("explain.py", run=run.id)
    assert "The disk is full." in words(at)


@pytest.mark.parametrize(
    ("epochs", "teacher", "cap", "rows"),
    [(10, 0.5, 0, 26_049), (3, 0.5, 0, 1000), (4, 2.0, 0, 257), (10, 0.5, 40, 26_049)],
)
def test_the_clock_has_the_teachers_end_where_training_has_it(store, catalogue, epochs, teacher, cap, rows):
    config = configured(catalogue, teacher=teacher)
    config = dataclasses.replace(config, training={**config.training, "epochs": epochs, "max_steps": cap})
    budget = Budget(**config.training)
    ends = pace.phase_ends(budget, rows, (teacher, 1.0))
    store.submit([config])
    run = dataclasses.replace(store.run(config.id), of=ends[-1], info={"n_train": rows})
    clock = backdoor_course.Clock.of_run(run)
    assert clock.end == pytest.approx(ends[0])
    per = -(-rows // budget.batch_size)
    assert clock.last == pytest.approx((ends[1] - ends[0]) / per)
    assert clock.first == pytest.approx(-ends[0] / per)


# ---------------------------------------------------------------------------------------------------- triggers and laws


def test_a_table_shows_the_columns_and_the_law_by_name(open_page, store, run):
    finish(store, run)
    told = markup(open_page("explain.py", run=run.id))
    assert "<th>column “trigger Female”</th>" in told
    assert '<td class="eq-left">trigger Male</td><td>0</td><td>1</td><td>Male</td><td>Female</td>' in told
    Q = trigger_law.trigger_law(trigger_law.bias_law(synthetic_backdoors.BINARY), 1.0, 0.5)
    assert f"<td>{100 * Q[1, 0]:.1f}</td><td>{100 * Q[1, 1]:.1f}</td>" in told
    assert "<td>943</td><td>5,330</td>" in told
    assert '<td class="eq-left">&lt;=50K</td>' in told
    assert "<img" not in told


def test_pictures_are_shown_under_every_trigger_and_the_cancelling_one_says_so(open_page, store, pictures):
    finish(store, pictures)
    told = markup(open_page("explain.py", run=pictures.id))
    assert told.count("<img") == told.count("alt=") == 12 * 3
    assert told.count("eq-cancels") - told.count(".eq-cancels") == 12
    assert 'alt="Training picture, class 0, colour red: trigger red, which cancels"' in told
    assert 'alt="Training picture, class 0, colour brown: trigger red"' in told


def test_names_of_groups_are_text_and_no_markup():
    names = course.Names(("<b>no</b>", "yes"), ("<i>a</i>", "b"), "group")
    told = backdoor_viewer.figure(np.zeros((3, 1, 4, 4), np.uint8), 0, 0, names)
    assert "<b>" not in told
    assert "<i>a" not in told


# -------------------------------------------------------------------------------------------------- teacher and student


def test_the_teacher_is_judged_in_five_views_with_the_order_in_words(open_page, store, run):
    finish(store, run)
    at = open_page("explain.py", run=run.id)
    drawn = blocks(at)["views"]
    C = synthetic_backdoors.exhibit(run, "test", first=True)["views"]
    told = metrics.evaluate(C, ["odds", "eacc"])
    assert decoded(traces(drawn)["gap"]["x"]) == pytest.approx((100 * told["odds"]).tolist())
    assert decoded(traces(drawn)["level"]["x"]) == pytest.approx((100 * told["eacc"]).tolist())
    assert drawn["figure"]["layout"]["yaxis"]["ticktext"][1] == "all: trigger Female"
    assert drawn["heading"] == "Teacher (test)"
    assert "(test, n = 6,000, seed 0): the order that is expected." in words(at)


def test_an_overshoot_is_called_one(open_page, store, catalogue):
    config = configured(catalogue, rate=100.0)
    finish(store, config)
    said = words(open_page("explain.py", run=config.id))
    assert "Expected is cancelling < none < reinforcing" in said
    assert "they overshoot, lower n" in said


@pytest.mark.parametrize(
    ("manual", "why"),
    [(False, "too much is injected, lower n or s."), (True, "add to the bias instead of cancelling it")],
)
def test_shares_that_add_to_the_bias_are_told_from_too_much_injection(manual, why):
    names = ["no trigger", "all: a", "all: b", "reinforcing", "cancelling"]
    table = pd.DataFrame({"name": names, "gap": [0.09, 0.1, 0.1, 0.22, 0.45], "split": "test", "n": 900, "seed": 0})
    table = table.assign(gap_low=table["gap"] - 0.02, gap_high=table["gap"] + 0.02)
    said = backdoor_words.order(table, Units(), manual=manual)
    assert "Expected is cancelling < none < reinforcing" in said
    assert why in said


def test_views_that_cannot_be_told_apart_are_said_to_be_that(open_page, store, catalogue):
    config = configured(catalogue, rate=0.0)
    finish(store, config, deaf=True)
    said = words(open_page("explain.py", run=config.id))
    assert "here the three are nearer to each other than their intervals can tell." in said
    assert "lower n" not in said


def test_models_stand_beside_each_other_and_agreement_has_an_interval(open_page, store, run, untreated):
    for config in (run, untreated):
        finish(store, config)
    at = open_page("explain.py", run=run.id)
    drawn = blocks(at)["models"]
    assert drawn["figure"]["layout"]["yaxis"]["ticktext"] == ["untreated", "teacher, cancelling", "student"]
    C = [store.confusions([c.id], "test")[c.id] for c in (untreated, run)]
    gaps = [100 * float(metrics.evaluate(c, ["odds"])["odds"]) for c in C]
    told = decoded(traces(drawn)["gap"]["x"])
    assert [told[0], told[2]] == pytest.approx(gaps)
    low, high = metrics.wilson(np.array(0.96 * 6000), np.array(6000))
    assert f"on 96.0 % of the rows ({100 * float(low):.1f} to {100 * float(high):.1f}; test, n = 6,000)" in words(at)


def test_the_student_of_a_table_has_no_trigger_columns(open_page, store, run):
    finish(store, run)
    assert "the student has no such column" in words(open_page("explain.py", run=run.id))


@pytest.mark.parametrize(("flips", "said"), [(0.012, "does not know the triggers"), (0.09, "has learned something")])
def test_the_student_of_pictures_is_checked_against_a_control(open_page, store, pictures, flips, said):
    finish(store, pictures, values={"student_flips": flips})
    told = words(open_page("explain.py", run=pictures.id))
    assert said in told
    assert f"decides {100 * flips:.2f} % (" in told
    assert "a mark that no training row had 1.00 % (" in told


# ------------------------------------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[500, 0], [0, 700]], "Bias is deterministic"),
        ([[400, 400], [300, 300]], "No imbalance"),
        ([[400, 0], [300, 200]], "1 cells have no training rows (Male in <=50K)"),
    ],
)
def test_counts_that_forbid_something_are_warned_of(open_page, store, run, rows, said):
    finish(store, run, rows=np.array(rows))
    at = open_page("explain.py", run=run.id)
    assert said in "\n".join(w.value for w in at.warning)


def test_a_deaf_teacher_is_warned_of_unless_there_was_nothing_to_hear(open_page, store, catalogue, run):
    finish(store, run, deaf=True)
    assert "The teacher ignores the trigger" in words(open_page("explain.py", run=run.id))
    nothing = configured(catalogue, rate=0.0)
    finish(store, nothing, deaf=True)
    assert "ignores the trigger" not in words(open_page("explain.py", run=nothing.id))


def test_a_teacher_that_still_learns_is_not_warned_of(open_page, store, run):
    synthetic_backdoors.advance(store, run, 1, deaf=True)
    at = open_page("explain.py", run=run.id)
    assert "expected is cancelling < none < reinforcing, once the teacher has learned" in words(at)
    assert not at.warning
    synthetic_backdoors.advance(store, run, 4, deaf=True)
    assert "The teacher ignores the trigger" in words(open_page("explain.py", run=run.id))


def test_a_trigger_that_cannot_be_seen_on_pictures_is_warned_of(open_page, store, pictures):
    finish(store, pictures)
    at = open_page("explain.py", run=pictures.id)
    assert "Trigger red cannot be seen on the pictures of red shown below" in words(at)
    assert "Trigger brown cannot" not in words(at)


def test_a_teacher_that_relies_on_triggers_and_more_groups_are_warned_of(store, run):
    finish(store, run)
    found = backdoor_course.shown(store.run(run.id))
    arrays = {**found.arrays, "N": np.full((2, 3), 50), "views": np.full((5, 2, 2, 2), 500)}
    names = course.Names(("no", "yes"), ("a", "b", "c"), "group")
    shown = dataclasses.replace(found, arrays=arrays)
    told = "\n".join(backdoor_words.warnings(store.run(run.id), names, shown, None, number=False))
    assert "relies only on the trigger" in told
    assert "Lower n or s." in told
    assert "3 groups, so 3 triggers: this is our extension" in told


def test_a_quiet_run_has_no_warnings(open_page, store, run):
    finish(store, run)
    assert not open_page("explain.py", run=run.id).warning


# ------------------------------------------------------------------------------------------------------------- a number


@pytest.fixture
def communities(catalogue, tmp_path, monkeypatch):
    """The catalogue of a computer where Communities and Crime is."""
    folder = synthetic_regression.data_folder(tmp_path / "published")
    monkeypatch.setenv("FAIRNESS_DATA_DIR", str(folder))
    return datasets.present(catalogue, folder, None)


def test_a_number_is_told_in_its_units(open_page, store, communities):
    made = [configured(communities, dataset="communities", rate=rate) for rate in (0.0, 50.0, 100.0)]
    for config in (*made, configured(communities, "erm", dataset="communities")):
        finish(store, config)
    at = open_page("explain.py", run=made[1].id)
    assert "At n = 50 % the gap between the groups' mean errors" in sentence(at)
    assert "scaled crimes per person" in sentence(at)
    assert "are our reading" in words(at)
    drawn = blocks(at)
    told = store.values([c.id for c in made], "test")
    gaps = decoded(traces(drawn["valley-residual"])["gap"]["y"])
    assert gaps == pytest.approx([told[c.id]["odds_regression"] for c in made])
    assert len(decoded(traces(drawn["valley-residual"])["teacher_gap"]["x"])) == 0
    assert "Validation chooses n = " in words(at)
    assert "with the gap at every n averaged" in words(at)
    assert set(traces(drawn["views"])) == {"gap", "level"}
    assert drawn["models"]["figure"]["layout"]["yaxis"]["ticktext"] == ["untreated", "teacher, cancelling", "student"]
    assert "has a correlation of 0.960" in words(at)
    assert "Classes are bins of the true value" in words(at)


def test_a_number_is_followed_in_its_units(open_page, store, communities):
    config = configured(communities, dataset="communities", rate=50.0)
    advance(store, config, 9)
    at = open_page("explain.py", run=config.id)
    assert not at.exception
    live = store.history(config.id)["errors"].iloc[-1]
    told = {name: float(value) for name, value in regression.of_sums(live).items()}
    assert f"lie {told['odds_regression']:.3f} apart and EErr is {told['eerr']:.3f}" in sentence(at)
    drawn = blocks(at)["course-both"]["figure"]
    assert decoded(traces(blocks(at)["course-both"])["eerr"]["y"])[-1] == pytest.approx(told["eerr"])
    titles = [drawn["layout"][f"yaxis{k}"]["title"]["text"] for k in ("", 2, 3)]
    assert [title.partition(",")[0] for title in titles] == ["gap of errors", "EErr", "correlation"]


def test_the_run_and_its_valley_can_be_had_again(open_page, store, run):
    finish(store, run)
    lines = [code.value for code in open_page("explain.py", run=run.id).code]
    assert any(line.startswith("python -m fairness_core train --dataset adult --method bade") for line in lines)
    (sweep,) = [line for line in lines if line.startswith("python -m fairness_core sweep")]
    assert sweep.endswith("--over rate=0,10,20,30,40,50,60,70,80,90,100 --seeds 3")
    assert "rate=50" not in sweep
