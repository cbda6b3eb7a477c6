"""Explain, DVGE: the map over both strengths is the runs of the store, and one click trains what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from fairness_core import metrics
from fairness_core.config import Event
from fairness_core.store import ACTIVE
from pages import latent_grid, sections
from tests import synthetic, synthetic_latent
from tests.reading import blocks, notes, traces, words
from tests.synthetic_latent import configured, fill_grid, finish, grid


@pytest.fixture
def run(store, catalogue):
    config = configured(catalogue, eta_sensitive=1.0, eta_task=0.4)
    finish(store, config)
    return config


def drawn(at):
    return traces(blocks(at)["grid"])["grid"]


def test_one_run_is_one_cell_and_a_button_trains_the_others(open_page, store, catalogue, run):
    at = open_page("explain.py", run=run.id)
    texts = [text for row in drawn(at)["text"] for text in row]
    assert len(texts) == 45
    assert [t for t in texts if t] == [f"{100 * accuracy(store, run):.1f}"]
    assert "⬚ this run" in notes(blocks(at)["grid"])
    assert "Trains 134 models" in words(at)
    assert "are kept" in words(at)
    at.button(key="explain-grid-train").click().run()
    assert not at.exception
    assert set(store.runs(limit=500).query("status == 'queued'")["id"]) == {c.id for c in grid(catalogue, run)} - {
        run.id
    }
    assert set(sections.waited_for(catalogue, run)) == {c.id for c in grid(catalogue, run)} - {run.id}
    claimed = synthetic.claim(store)
    assert len(claimed) == 134  # one pass
    assert "models done" in at.get("progress")[-1].proto.text


def accuracy(store, config):
    return float(metrics.evaluate(store.confusions([config.id], "test")[config.id], ["accuracy"])["accuracy"])


def test_while_it_trains_cells_are_those_of_the_validation_sample(open_page, store, run):
    at = open_page("explain.py", run=run.id)
    at.button(key="explain-grid-train").click().run()
    claimed = synthetic.claim(store)
    for one in claimed:
        C = synthetic_latent.counts(one.config, "training")
        store.append([(one.id, Event("training", 10, synthetic_latent.steps(one.config), {}, C))])
    at = open_page("explain.py", run=run.id)
    texts = [text for row in drawn(at)["text"] for text in row]
    assert sum(text.startswith("~") for text in texts) == 44
    assert "~ unfinished" in notes(blocks(at)["grid"])
    at.button(key="explain-grid-stop").click().run()
    assert store.wanted(claimed[0].job) == set()


def test_the_map_holds_means_over_seeds_of_the_chosen_measure(open_page, store, catalogue, run):
    made = fill_grid(store, catalogue, run)
    at = open_page("explain.py", run=run.id)
    assert "Accuracy" in blocks(at)["grid"]["heading"]
    picker = at.selectbox(key="latent-measure")
    assert picker.options[-1].endswith("(the published code's variant)")
    picker.select("equal_opportunity_gap").run()
    block = blocks(at)["grid"]
    assert (
        block["heading"]
        == "Equal opportunity gap EO (points, smaller is better; test split, n = 6,000, mean over seeds)"
    )
    C = store.confusions([c.id for c in made], "test")
    s, t = latent_grid.strengths(catalogue, "eta_sensitive")[-1], latent_grid.strengths(catalogue, "eta_task")[1]
    cell = [c for c in made if (c.method_options["eta_sensitive"], c.method_options["eta_task"]) == (s, t)]
    mean = np.mean([metrics.evaluate(C[c.id], ["equal_opportunity_gap"])["equal_opportunity_gap"] for c in cell])
    assert drawn(at)["text"][1][-1] == f"{100 * mean:.1f}"
    assert "▢ chosen on validation" in notes(block)
    assert not [b for b in at.button if b.key == "explain-grid-train"]


def test_the_cell_is_chosen_on_validation_with_its_rule(open_page, store, catalogue, run):
    made = fill_grid(store, catalogue, run)
    found = latent_grid.gather(catalogue, store.run(run.id))
    told = store.confusions([c.id for c in made], "validation")
    gaps, levels = {}, {}
    for c in made:
        cell = (c.method_options["eta_sensitive"], c.method_options["eta_task"])
        values = metrics.evaluate(told[c.id], ["demographic_parity_difference", "accuracy"])
        gaps.setdefault(cell, []).append(values["demographic_parity_difference"])
        levels.setdefault(cell, []).append(values["accuracy"])
    inside = [cell for cell, g in gaps.items() if np.mean(g) < latent_grid.LIMIT]
    assert found.feasible == bool(inside)
    if inside:
        assert found.chosen == max(inside, key=lambda cell: np.mean(levels[cell]))
    else:
        assert found.chosen == min(gaps, key=lambda cell: np.mean(gaps[cell]))
    at = open_page("explain.py", run=run.id)
    s, t = found.chosen
    assert f"Validation chooses η_s = {s:g}, η_t = {t:g}" in words(at)
    assert "(3 seeds)" in words(at)


def test_nothing_is_chosen_before_all_are_trained(open_page, store, catalogue, run):
    for config in grid(catalogue, run)[:30]:
        finish(store, config, alone=False)
    at = open_page("explain.py", run=run.id)
    assert "A cell is chosen once all 135 models are trained." in words(at)
    assert "▢ chosen on validation" not in notes(blocks(at)["grid"])


def test_runs_with_other_settings_are_no_part_of_it(open_page, store, catalogue, run):
    strange = configured(catalogue, seed=3, eta_sensitive=1.0, eta_task=0.4)
    for config in (configured(catalogue, mode="inference"), strange):
        finish(store, config)
    found = latent_grid.gather(catalogue, store.run(run.id))
    assert set(found.test) == {run.id}
    assert latent_grid.gather(catalogue, store.run(strange.id)).test.keys() == {run.id}
    assert not found.runs["status"].isin(ACTIVE).any()


def test_before_the_run_is_done_the_grid_waits(open_page, store, catalogue):
    config = configured(catalogue, seed=1)
    synthetic_latent.advance(store, config, 2)
    at = open_page("explain.py", run=config.id)
    assert "can be trained once this run is done" in words(at)
    assert not [b for b in at.button if b.key == "explain-grid-train"]


def test_a_run_beside_the_grid_says_so(open_page, store, catalogue, run):
    config = configured(catalogue, eta_sensitive=0.37)
    finish(store, config)
    assert "own strengths are not among those of the map" in words(open_page("explain.py", run=config.id))
    assert "own strengths are not" not in words(open_page("explain.py", run=run.id))
