"""Figures of a treatment: what is drawn is what the table says, and names from the data are no markup."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairness_core import figures_after, flips
from fairness_core.scores import Scores


@pytest.fixture
def table() -> pd.DataFrame:
    """Women: 4 of 40 gain, 2 of them deserving; men: 10 of 40 lose, all undeserving."""
    y, s = np.tile([0, 1], 40), np.repeat([0, 1], 40)
    old, new = np.zeros(80, np.float32), np.zeros(80, np.float32)
    new[:4] = 1
    old[40:60:2] = 1
    return flips.flips(Scores(old, y, s, old, 80), Scores(new, y, s, new, 80), ("<b>women</b>", "men"))


def trace(figure, meta):
    return next(t for t in figure.data if t.meta == meta)


def test_flips_are_drawn_per_1000_of_the_whole_group(table):
    figure = figures_after.flipped(flips.shares(table), positive=">50K")
    assert trace(figure, "gained_deserving").x.tolist() == [50, 0]
    assert trace(figure, "gained_undeserving").x.tolist() == [50, 0]
    assert trace(figure, "lost_undeserving").x.tolist() == [0, -250]
    assert trace(figure, "change").x.tolist() == [100, -250]
    assert trace(figure, "lost_label").text == (" 0 ", " \N{MINUS SIGN}250 ")
    low, high = figure.layout.xaxis.range
    assert low < -table["lost_high"].max()
    assert high > table["gained_high"].max()
    assert figure.layout.yaxis.ticktext[0] == "&lt;b&gt;women&lt;/b&gt; (n = 40)"


def test_shares_of_a_group_without_people_are_not_defined(table):
    assert np.isnan(flips.shares(table.assign(n=[0, 40])).loc[0, "gained"])


def test_weights_moved_one_bar_per_tensor():
    figure = figures_after.weights_moved(pd.DataFrame({"parameter": ["a", "b"], "moved": [0.1, 1.2]}), colour="#007edc")
    assert trace(figure, "moved").x.tolist() == [0.1, 1.2]
    assert trace(figure, "moved").text == (" 10.0%", " 120.0%")


HISTORY = pd.DataFrame(
    {
        "stage": ["training"] * 4 + ["test"], "step": [1, 2, 3, 4, 4],
        "balanced_accuracy": [0.6, 0.7, 0.65, 0.8, np.nan], "gap": [0.04, 0.03, 0.06, 0.02, np.nan],
        "objective": [1.0, 2.0, -np.inf, 2.0, np.nan], "tau": 0.4,
        "trivial": [0.0, 0.0, 1.0, 0.0, np.nan], "confusion": None,
    }
)  # fmt: skip


def test_the_best_so_far_is_that_of_the_objective_and_of_equals_the_first():
    found = figures_after.searched(HISTORY)
    assert found["best_accuracy"].tolist() == [0.6, 0.7, 0.7, 0.7]
    assert found["best_gap"].tolist() == [0.04, 0.03, 0.03, 0.03]


def test_a_method_that_tries_nothing_has_no_search():
    assert figures_after.searched(HISTORY.drop(columns="objective")).empty


def test_trials_are_filled_under_epsilon_and_crossed_where_trivial():
    points = figures_after.cloud(figures_after.searched(HISTORY), before=(0.05, 0.7), kept=(0.02, 0.8))
    assert points["kind"].tolist() == ["first", "trial", "trial", "trial", "before", "kept"]
    figure = figures_after.trials(points, epsilon=0.025, gap_title="|μ|", colour="#007edc")
    assert trace(figure, "trials").marker.symbol == ("circle-open", "x-thin-open", "circle")
    assert trace(figure, "kept").x.tolist() == [0.02]
    assert trace(figure, "before").x.tolist() == [0.05]


def test_a_model_before_that_lies_far_off_is_told_instead_of_drawn():
    points = figures_after.cloud(figures_after.searched(HISTORY), before=(0.4, 0.7), kept=(0.02, 0.8))
    figure = figures_after.trials(points, epsilon=0.05, gap_title="|μ|", colour="#007edc")
    assert len(trace(figure, "before").x) == 0
    assert "before: gap 40.0%, ρ 70.0% (outside)" in [a.text for a in figure.layout.annotations]
    assert figure.layout.xaxis.range[1] < 0.2


@pytest.mark.parametrize("gauges", [{}, {"critic_r2": "critic R²", "unknown": "not yet"}])
def test_the_search_has_a_panel_for_gauges_if_there_are_any(gauges):
    curves = figures_after.searched(HISTORY).assign(critic_r2=0.1)
    figure = figures_after.search(curves, epsilon=0.05, gap_title="gap", gauges=gauges, colour="#007edc", of=10)
    assert trace(figure, "best_gap").y.tolist() == [0.04, 0.03, 0.03, 0.03]
    assert figure.layout.xaxis.range == (0, 10)
    assert {t.meta for t in figure.data} >= set(gauges)
    assert ("yaxis3" in figure.layout.to_plotly_json()) == bool(gauges)
