"""Explain, DVGE: every state of a run has its words, and what is drawn is what the run has left."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fairness_core import exhibits, metrics
from pages import latent_course, latent_viewer, latent_words
from pages.latent_course import Names
from tests import synthetic_latent
from tests.reading import blocks, decoded, markup, sentence, traces, words
from tests.synthetic_latent import configured, finish


@pytest.fixture
def run(catalogue):
    return configured(catalogue, eta_sensitive=1.0, eta_task=0.5)


@pytest.fixture
def pictures(catalogue):
    return configured(catalogue, dataset="cmnist")


def titles(at) -> list[str]:
    return [s.value for s in at.subheader]


# ----------------------------------------------------------------------------------------------------- which run, words


@pytest.mark.parametrize("here", [False, True])
def test_an_empty_page_offers_dvge_on_what_is_here(open_page, store, catalogue, monkeypatch, here):
    known = {**catalogue["datasets"]["south_german"], "missing": "" if here else "it is not here"}
    monkeypatch.setattr("pages._published", lambda *_: {**catalogue["datasets"], "south_german": known})
    at = open_page("explain.py")
    assert "or of *DVGE*" in words(at)
    button = at.button(key="explain-first-codes")
    assert button.label == f"Train DVGE on {'South German Credit' if here else 'Adult (census income)'}"
    if not here:
        button.click().run()
        config = configured(catalogue)
        assert not at.exception
        assert set(store.runs()["id"]) == {config.id, configured(catalogue, "erm").id}
        assert at.query_params["run"] == config.id


def test_the_picker_tells_runs_apart_by_both_strengths(open_page, store, catalogue, run):
    for config in (run, configured(catalogue, eta_sensitive=0.25)):
        finish(store, config)
    labels = open_page("explain.py").selectbox(key="explain:pick").options
    told = [label.split(" · ")[0].partition(", ")[2] for label in labels]
    assert told == ["η_s = 0.25, η_t = 0.1", "η_s = 1, η_t = 0.5"]


def test_the_lead_says_the_result_what_the_code_tells_and_what_it_cost(open_page, store, catalogue, run):
    finish(store, run)
    synthetic_latent.finish_untreated(store, catalogue, run)
    at = open_page("explain.py", run=run.id)
    told = sentence(at)
    assert told.startswith("At η_s = 1 ")
    assert "n = 6,000" in told
    codes = blocks(at)["codes"]["frames"][0]
    assert "From the code the sex is told with a balanced accuracy of 81.0 % (chance 50 %)" in codes
    assert "mean |cosine| of both foci is 0.34; 9 of 10 numbers of the code are in use" in codes
    assert "(test split, n = 2,000, seed 0)" in codes
    assert "trained for this run in 3 min 32 s" in codes
    assert "reads the rows themselves" in words(at)
    assert "fair" not in told + codes
    assert not at.warning


def test_a_reused_autoencoder_says_what_that_saved(open_page, store, run):
    finish(store, run, reused=True)
    assert "was reused, which saved 3 min 32 s" in blocks(open_page("explain.py", run=run.id))["codes"]["frames"][0]


def test_without_the_untreated_model_it_is_one_click_away(open_page, store, catalogue, run):
    finish(store, run)
    at = open_page("explain.py", run=run.id)
    assert "accuracy" in sentence(at)
    assert "reads the rows themselves" not in words(at)
    at.button(key="explain-compare").click().run()
    assert store.run(configured(catalogue, "erm").id).status == "queued"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"sensitive_accuracy": 0.53},
            "hardly better than chance (balanced accuracy 53.0 %, chance 50 %), so its focus",
        ),
        ({"focus_cosine": 0.83}, "fairness and utility conflict"),
        ({"active_units": 2.0}, "Only 2 of 10 numbers of the code vary"),
    ],
)
def test_what_makes_foci_worthless_is_warned_of(open_page, store, run, changes, said):
    finish(store, run, told={**synthetic_latent.GOOD, **changes})
    warnings = [w.value for w in open_page("explain.py", run=run.id).warning]
    assert len(warnings) == 1
    assert said in warnings[0]


def test_chance_is_that_of_the_attributes_behind_the_groups(store, run):
    store.submit([run])
    four = Names(("no", "yes"), ("a & x", "a & y", "b & x", "b & y"), "group")
    three = dataclasses.replace(four, groups=("a", "b", "c"))
    assert (four.chance, three.chance) == (0.5, pytest.approx(1 / 3))
    assert (four.ratio, three.ratio) == (True, True)
    told = {**synthetic_latent.GOOD, "sensitive_accuracy": 0.45}
    assert not latent_words.warnings(store.run(run.id), told, three)
    assert latent_words.warnings(store.run(run.id), told, four)


# ------------------------------------------------------------------------------------------------------- while it lives


def test_first_its_autoencoder_is_what_is_spoken_of(open_page, store, run):
    synthetic_latent.code(store, run, 5)
    at = open_page("explain.py", run=run.id)
    assert sentence(at).startswith("First an autoencoder learns to turn rows into codes of 10 numbers")
    assert "step 750 of 3,000" in sentence(at)
    assert titles(at)[0] == "The autoencoder is being trained"
    drawn = traces(blocks(at)["vae-live"])
    assert len(decoded(drawn["reconstruction"]["y"])) == 5
    assert words(at).count("Appears here") == 3  # foci, pushes, saliency
    job = store.run(run.id).job
    at.button(key="explain-stop").click().run()
    assert store.wanted(job) == set()


def test_then_bars_and_cosines_move(open_page, store, run):
    synthetic_latent.advance(store, run, 3)
    at = open_page("explain.py", run=run.id)
    assert "The autoencoder is being trained" not in titles(at)
    assert "moved along both foci (η_s = 1, η_t = 0.5, train official)" in sentence(at)
    assert "(validation sample, seed 0)" in sentence(at)
    drawn = blocks(at)
    newest = synthetic_latent.bars(run, 102)
    share = 100 * newest["focus_task"] / newest["focus_task"].sum()
    assert decoded(traces(drawn["foci"])["task"]["x"]) == pytest.approx(share.tolist(), rel=1e-5)
    assert "validation sample" in drawn["foci"]["heading"]
    assert "validity" not in drawn
    assert "made at the end" in drawn["validity-wait"]["frames"][0]


def test_the_end_replaces_the_last_look_at_the_same_step(open_page, store, run):
    synthetic_latent.advance(store, run)
    assert exhibits.steps(store.exhibits_path(run.id))[-1] == synthetic_latent.steps(run)
    assert "flips" not in blocks(open_page("explain.py", run=run.id))
    finish(store, run, alone=False)
    assert {"flips", "validity"} <= set(blocks(open_page("explain.py", run=run.id)))


def test_a_reused_autoencoder_is_not_waited_for(open_page, store, run):
    synthetic_latent.advance(store, run, 0, reused=True)
    at = open_page("explain.py", run=run.id)
    assert sentence(at).startswith("Rows become codes first")
    assert "The autoencoder is being trained" not in titles(at)


def test_a_run_that_failed_early_says_so(open_page, store, run):
    synthetic_latent.code(store, run, 2)
    store.finish(run.id, "failed", error="The autoencoder's training diverged; lower vae_lr.")
    at = open_page("explain.py", run=run.id)
    assert "lower vae_lr" in words(at)
    assert "ended before its first look" in sentence(at)
    assert "Appears here" not in words(at)


# --------------------------------------------------------------------------------------------------------- what it left


def test_the_foci_are_drawn_as_shares_with_their_associations(open_page, store, run):
    finish(store, run)
    drawn = blocks(open_page("explain.py", run=run.id))["foci"]
    left = synthetic_latent.bars(run)
    told = traces(drawn)
    share = 100 * left["focus_sensitive"] / left["focus_sensitive"].sum()
    assert decoded(told["sensitive"]["x"]) == pytest.approx(share.tolist(), rel=1e-5)
    assert decoded(told["with_group"]["x"]) == pytest.approx(left["correlation_sensitive"].tolist(), abs=1e-5)
    assert drawn["figure"]["layout"]["yaxis"]["ticktext"][3] == "z3 (unused)"
    assert drawn["heading"] == "Latent focus (test split, n = 2,000, seed 0)"


def test_cosines_and_validity_are_those_of_the_test_split(open_page, store, run):
    finish(store, run)
    drawn = blocks(open_page("explain.py", run=run.id))
    cosines = synthetic_latent.bars(run)["cosines"]
    share = 100 * (np.abs(cosines) > 0.7).mean()
    assert (
        drawn["cosines"]["heading"] == f"Cosine of the two foci: {share:.0f} % beyond ±0.7 (500 rows of the test split)"
    )
    left = synthetic_latent.exhibit(run)
    told = traces(drawn["validity"])
    assert decoded(told["focus"]["y"]) == pytest.approx((100 * left["validity_focus"]).tolist(), abs=1e-3)
    assert max(decoded(told["band"]["y"])) > max(decoded(told["random"]["y"])[1:])


def test_a_table_shows_the_columns_that_move_and_those_looked_at(open_page, store, run):
    finish(store, run)
    at = open_page("explain.py", run=run.id)
    drawn = blocks(at)
    left = synthetic_latent.exhibit(run)["pushed_task"]
    most = np.abs(left).max(0).argsort()[::-1][0]
    assert decoded(traces(drawn["moved-task"])["forward"]["x"])[0] == pytest.approx(left[-1, most], abs=1e-4)
    assert drawn["moved-task"]["heading"] == "Along the task focus: 10 of 14 columns (test split, n = 2,000, seed 0)"
    names = drawn["saliency"]["figure"]["layout"]["yaxis"]["ticktext"]
    assert "education=&lt;b&gt;Bachelors&lt;/b&gt;" in names
    assert "<img" not in markup(at)
    flips = traces(drawn["flips"])
    assert decoded(flips["model:sensitive focus"]["y"]) == pytest.approx([40, 20, 0, 0, 0], abs=1e-3)
    assert decoded(traces(drawn["vae-explained"])["explained"]["x"])[0] == pytest.approx(95, abs=1e-3)


def test_pictures_are_pushed_along_both_foci_and_looked_at(open_page, store, pictures):
    finish(store, pictures)
    at = open_page("explain.py", run=pictures.id)
    told = markup(at)
    assert told.count("Along the") == 2
    assert told.count("<img") == told.count("alt=") == 4 * 6 * 2 + 4 * 3 + 4 + 2 * 10
    assert "Test picture 4, colour brown, decided 5 (wrongly): its code pushed by −3 along the task focus" in told
    assert "Where the group classifier looks in picture 1: mostly upper third, left" in told
    assert "Where the model looks in picture 1: mostly lower third, centre" in told
    drawn = blocks(at)
    assert "moved-task" not in drawn
    assert drawn["foci"]["figure"]["layout"]["xaxis2"]["title"]["text"] == "correlation ratio"


def test_an_autoencoder_that_was_deleted_is_missed_in_a_sentence(open_page, store, run):
    finish(store, run, kept=False)
    at = open_page("explain.py", run=run.id)
    assert "The autoencoder of this run is not here any more" in words(at)
    assert "vae-kl" not in blocks(at)


def test_the_code_itself_has_its_numbers_and_losses(open_page, store, run):
    finish(store, run)
    drawn = blocks(open_page("explain.py", run=run.id))
    assert drawn["vae-kl"]["figure"]["layout"]["yaxis"]["ticktext"][-1] == "z3 (unused)"
    assert len(decoded(traces(drawn["vae-losses"])["kl"]["y"])) == 20
    assert "vae-live" not in drawn


def test_a_run_of_a_stack_has_no_live_looks_and_all_the_rest(open_page, store, run):
    finish(store, run, alone=False)
    assert exhibits.steps(store.exhibits_path(run.id)) == [synthetic_latent.steps(run)]
    assert {"foci", "cosines", "validity", "flips", "saliency"} <= set(blocks(open_page("explain.py", run=run.id)))


def test_every_chart_has_its_table(open_page, store, run):
    finish(store, run)
    at = open_page("explain.py", run=run.id)
    tables = [list(frame.value.columns) for frame in at.dataframe]
    for columns in (["cosine"], ["k", "focus", "random", "low", "high"], ["along", "push", "sensitive", "model"],
                    ["column", "forward", "backward"], ["column", "explained"]):  # fmt: skip
        assert columns in tables


def test_names_of_groups_are_text_and_no_markup():
    arrays = synthetic_latent.exhibit(_coloured())
    names = Names(tuple("<b>no</b>" for _ in range(10)), ("<i>a</i>", "b"), "group")
    for made in (latent_viewer.pushes(arrays, names), latent_viewer.saliency(arrays, names)):
        assert "<b>" not in made
        assert "<i>a" not in made


def _coloured():
    class Run:
        dataset, id = "cmnist", "0123456789abcdef"

    return Run()


def test_the_heat_map_of_a_picture_is_told_by_lightness_alone():
    lightness = latent_viewer.hot(np.arange(256, dtype=np.uint8)[None]).astype(float).mean(0)[0]
    assert (np.diff(lightness) >= 0).all()
    assert (lightness[0], lightness[-1]) == (0, 255)
    assert latent_viewer.place(np.zeros((4, 4), np.uint8)) == "nowhere"


def test_the_gauges_are_the_newest_until_the_test_has_its_own(store, run):
    synthetic_latent.advance(store, run, 2)
    assert latent_course.gauges(store.run(run.id)) == synthetic_latent.GOOD
    nothing = configured_other(run)
    store.submit([nothing])
    assert np.isnan(list(latent_course.gauges(store.run(nothing.id)).values())).all()


def configured_other(run):
    return dataclasses.replace(run, seed=7)


def test_the_joint_rate_is_called_the_published_codes_variant():
    assert "equal_opportunity_joint" in metrics.METRICS
