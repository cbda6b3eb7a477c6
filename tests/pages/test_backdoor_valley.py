"""Explain, BaDe: the valley of n % and s is the runs of the store; what is chosen, and what trains the rest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from fairness_core import calibration, metrics
from fairness_core.backdoor_figures import Units
from fairness_core.calibration import Path
from pages import backdoor_valley, backdoor_words
from tests.reading import blocks, decoded, notes, traces, words
from tests.synthetic_backdoors import configured, fill_valley, finish


@pytest.fixture
def run(catalogue):
    return configured(catalogue, rate=50.0)


@pytest.fixture
def pictures(catalogue):
    return configured(catalogue, dataset="cmnist", rate=75.0)


@pytest.fixture
def untreated(catalogue):
    return configured(catalogue, "erm")


@pytest.fixture
def valley(store, catalogue):
    return fill_valley(store, catalogue)


def test_the_valley_is_the_runs_that_differ_in_rate_and_seed_alone(open_page, store, catalogue, valley, untreated):
    strangers = [configured(catalogue, rate=50.0, exponent=1.5), configured(catalogue, dataset="cmnist"),
                 configured(catalogue, "adversarial")]  # fmt: skip
    for config in (*strangers, untreated):
        finish(store, config)
    at = open_page("explain.py", run=valley[0].id)
    drawn = blocks(at)
    told = traces(drawn["valley-residual"])
    rates = [float(v) for v in catalogue["methods"]["bade"]["grid"]]
    assert decoded(told["gap"]["x"]) == rates
    C = store.confusions([c.id for c in valley], "test")
    own = {r: [abs(float(metrics.evaluate(C[c.id], ["odds"])["odds"])) for c in valley
               if c.method_options["rate"] == r] for r in rates}  # fmt: skip
    assert decoded(told["gap"]["y"]) == pytest.approx([100 * np.mean(v) for v in own.values()])
    assert len(decoded(told["runs:gap"]["x"])) == 33
    artificial = decoded(traces(drawn["valley-artificial"])["artificial"]["y"])
    assert artificial == pytest.approx([0.16 * r for r in rates])
    assert "– – untreated, 1 seed" in notes(drawn["valley-residual"])
    assert "3 seeds" in drawn["valley-residual"]["heading"]
    assert not [b for b in at.button if b.key == "explain-valley-draw"]


def test_the_chosen_rate_is_marked_and_said_with_its_rule(open_page, store, catalogue, valley):
    at = open_page("explain.py", run=valley[-1].id)
    own = backdoor_valley.gather(catalogue, store.run(valley[-1].id))
    chosen = own.choice
    assert chosen.value in (60.0, 70.0)
    assert f"**Validation chooses n = {chosen.value:g} %**: there lies the floor of the valley" in words(at)
    if len(chosen.alike) > 1:
        assert "Within one standard error over seeds: n = " in words(at)
    assert "(3 seeds, 11 strengths)" in words(at)
    assert "edge" not in words(at)
    assert {"chosen on validation", "this run"} <= set(notes(blocks(at)["valley-residual"]))
    assert f"This run is at n = 100 %; validation would choose n = {chosen.value:g} %" in words(at)
    link = next(p.proto for p in at.get("page_link") if "Open the run" in p.proto.label)
    config = store.run(link.query_string.removeprefix("run=")).config
    assert (config.method_options["rate"], config.seed) == (chosen.value, valley[-1].seed)


def test_rates_that_cost_too_much_error_are_named(open_page, store, catalogue, valley):
    table = backdoor_valley.gather(catalogue, store.run(valley[-1].id)).points
    errors = pd.DataFrame({"lam": table["strength"], "seed": table["seed"]})
    for split, column in (("validation", "validation_gap"), ("test", "gap")):
        errors[f"{split}_gap"], errors[f"{split}_error"] = table[column], 10.0 + table["rate"] / 100
    errors = errors.assign(validation_eerr=errors["validation_error"], validation_mean_absolute_error=9.0)
    chosen = calibration.of_errors(errors)
    units = Units("gap of errors", "EErr", 1.0, 3, ", in years")
    said = backdoor_words.choice(chosen, Path(), units, 400, sorted(set(table["strength"])))
    assert "Validation chooses n = 50 %" in said
    assert "Not looked at, since they raise EErr or the mean absolute error on validation by more than 5 %:" in said
    assert "by more than 5 %: n = 60, 70, 80, 90, 100 %." in said
    assert "its EErr 10.500" in said


def test_rates_that_cost_too_much_of_eacc_are_named(open_page, store, catalogue, valley):
    at = open_page("explain.py", run=valley[-1].id)
    assert "Not looked at" not in words(at)
    table = backdoor_valley.gather(catalogue, store.run(valley[-1].id)).points
    runs = pd.DataFrame({"lam": table["strength"], "seed": table["seed"]})
    for split in ("validation", "test"):
        runs[f"{split}_gap"], runs[f"{split}_performance"] = 0.2 - table["rate"] / 1000, 0.8 - table["rate"] / 7500
    said = backdoor_words.choice(calibration.of_classes(runs), Path(), Units(), 400, sorted(set(table["strength"])))
    assert "Validation chooses n = 70 %" in said
    assert "Not looked at, since they raise 1 − EAcc on validation by more than 5 %: n = 80, 90, 100 %." in said


def test_an_edge_and_one_seed_are_said(open_page, store, catalogue):
    made = [configured(catalogue, rate=rate) for rate in (0.0, 20.0, 40.0)]
    for config in made:
        finish(store, config)
    at = open_page("explain.py", run=made[0].id)
    assert "(1 seed, 3 strengths)" in words(at)
    assert "The smallest gap is at the edge: the valley may go on. Try higher rates." in words(at)
    assert at.button(key="explain-valley-draw").label == "Complete the valley"


def test_too_few_rates_are_trained_by_a_button_that_says_what_it_costs(open_page, store, catalogue, run):
    finish(store, run)
    at = open_page("explain.py", run=run.id)
    assert "A rate is chosen once 3 rates are trained; so far there is one." in words(at)
    assert at.button(key="explain-valley-draw").label == "Draw the valley"
    assert "Trains 32 models (11 rates, 3 seeds)" in words(at)
    assert "this run took 6 s, so about 3 min 28 s at most" in words(at)
    at.button(key="explain-valley-draw").click().run()
    table = store.runs(over="rate")
    own = table[(table["method"] == "bade") & (table["status"] == "queued")]
    assert len(own) == 32
    assert set(own["lam"]) == set(catalogue["methods"]["bade"]["grid"])
    assert set(own["seed"]) == {0, 1, 2}
    assert (table["method"] == "erm").sum() == 3
    assert store.run(run.id).status == "done"
    assert "The valley: 1 of 33 models done" in str(at.get("progress")[0].proto.text)
    assert len(store.claim(1)) == 3  # the untreated wait first; then all rates and seeds are one job
    assert len(store.claim(1)) == 32
    at.run()
    at.button(key="explain-valley-stop").click().run()
    assert not store.wanted(store.run(own["id"].iloc[0]).job)


def test_pictures_get_few_rates_and_one_seed(open_page, store, pictures):
    finish(store, pictures)
    at = open_page("explain.py", run=pictures.id)
    assert "Trains 4 models (4 rates, 1 seed)" in words(at)


def test_where_the_floor_is_at_the_full_rate_the_valley_is_followed_in_s(open_page, store, catalogue):
    made = fill_valley(store, catalogue, law="exchanged")
    run = made[0]
    at = open_page("explain.py", run=run.id)
    assert "**Validation chooses n = 100 %**" in words(at)
    assert "The smallest gap is at the edge: the valley may go on beyond it, at a larger s." in words(at)
    assert at.button(key="explain-valley-draw").label == "Follow the valley to s = 1.75"
    assert "Trains 9 models (s = 1.25, 1.5, 1.75 at n = 100 %, 3 seeds)" in words(at)
    sweeps = len(store.sweeps())
    at.button(key="explain-valley-draw").click().run()
    assert len(store.sweeps()) == sweeps + 1  # that over n %, which trains nothing anew
    table = store.runs(over="exponent")
    own = table[(table["method"] == "bade") & (table["status"] == "queued")]
    assert sorted(set(own["lam"])) == [1.25, 1.5, 1.75]
    assert len(own) == 9
    assert {options["rate"] for options in own["options"]} == {100.0}
    assert set(backdoor_valley.waited_for(run)) == set(own["id"])


def test_beyond_the_full_rate_s_is_chosen_and_named(open_page, store, catalogue):
    made = fill_valley(store, catalogue, law="exchanged", beyond=(125.0, 150.0, 175.0))
    run = next(c for c in made if c.method_options["rate"] == 100.0 and c.seed == 2)
    at = open_page("explain.py", run=run.id)
    chosen = backdoor_valley.gather(catalogue, store.run(run.id)).choice
    assert chosen.value in (150.0, 175.0)
    s = chosen.value / 100
    assert f"**Validation chooses s = {s:g}** (at n = 100 %): there lies the floor of the valley" in words(at)
    assert f"This run is at n = 100 %; validation would choose s = {s:g} (below, The valley)" in words(at)
    link = next(p.proto for p in at.get("page_link") if "Open the run" in p.proto.label)
    assert link.label == f"Open the run at s = {s:g}"
    opened = store.run(link.query_string.removeprefix("run=")).config
    assert (opened.method_options["exponent"], opened.seed) == (s, run.seed)
    drawn = traces(blocks(at)["valley-residual"])
    assert decoded(drawn["gap"]["x"])[-4:] == [100, 112.5, 125, 137.5]
    if chosen.value == 150.0:
        assert "edge" not in words(at)
    followed = [b for b in at.button if b.key == "explain-valley-draw"]
    assert len(followed) == (175.0 in chosen.alike)  # where the strongest may be the floor, the valley may go on
    commands = next(c.value for c in at.code if "sweep" in c.value).split("\n")
    assert "--over exponent=1.25,1.5,1.75" in commands[1]
    assert "--over rate=0,10," in commands[0]


def test_the_whole_path_is_one_valley_from_each_of_its_runs(store, catalogue):
    made = [configured(catalogue, rate=50.0), configured(catalogue), configured(catalogue, exponent=2.0)]
    other = [configured(catalogue, rate=50.0, exponent=2.0), configured(catalogue, exponent=0.5)]
    for config in (*made, *other):
        finish(store, config)
    for config in made:
        found = backdoor_valley.gather(catalogue, store.run(config.id))
        assert (found.path, found.strengths) == (Path(), [50.0, 100.0, 200.0])
    # at the full rate a larger s is on the path of every smaller one
    for config, places in zip(other, ([50.0, 100.0], [100.0, 200.0, 400.0]), strict=True):
        found = backdoor_valley.gather(catalogue, store.run(config.id))
        assert found.strengths == places
        assert f"at s = {config.method_options['exponent']:g}" in backdoor_words.valley(found.path)


def test_where_the_strongest_is_as_good_as_the_floor_the_valley_may_be_followed_too(store, catalogue):
    made = fill_valley(store, catalogue, law="exchanged")
    found = backdoor_valley.gather(catalogue, store.run(made[0].id))
    for alike, beyond in (((90.0, 100.0), [125.0, 150.0, 175.0]), ((80.0, 90.0), [])):
        choice = dataclasses.replace(found.choice, value=90.0, alike=alike, edge=False)
        assert dataclasses.replace(found, choice=choice).beyond == beyond
        said = backdoor_words.choice(choice, Path(), Units(), 400, found.strengths)
        assert ("The strongest is as good: the valley may go on beyond it, at a larger s." in said) is bool(beyond)


def test_a_valley_with_a_hole_is_completed(open_page, store, catalogue):
    made = fill_valley(store, catalogue)
    finish(store, strong := configured(catalogue, exponent=1.5))
    at = open_page("explain.py", run=made[0].id)
    assert at.button(key="explain-valley-draw").label == "Complete the valley"
    assert "Trains 5 models (s = 1.25, 1.5 at n = 100 %, 3 seeds)" in words(at)
    assert backdoor_valley.gather(catalogue, store.run(strong.id)).beyond == [125.0, 150.0]


def test_the_valley_is_waited_for(store, catalogue, run):
    finish(store, run)
    other = configured(catalogue, rate=20.0, seed=4)
    store.submit([other, configured(catalogue, rate=20.0, exponent=2.0)])
    assert backdoor_valley.waited_for(run) == [other.id]
