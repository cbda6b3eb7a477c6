"""Measures of a regression: by hand, against pandas and scipy, and end to end on a target whose groups are shifted."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from fairness_core import regression, regression_noise
from fairness_core.config import Budget
from fairness_core.datasets import Dataset, Split
from fairness_core.generators import ran
from fairness_core.methods import METHODS
from fairness_core.models import MLP
from fairness_core.regression import MEASURES, SMALL, Outcome
from fairness_core.training import Job, train


def outcome(predicted, y, s, edges=(2.0,), groups=2, tolerance=1.0) -> Outcome:
    return Outcome.of(predicted, y, s, n_groups=groups, edges=edges, tolerance=tolerance)


def drawn(n: int = 1500, groups: int = 2, seed: int = 0, gap: float = 4.0) -> Outcome:
    """Years around 40; the last group's are predicted `gap` years higher, and with more noise."""
    rng = np.random.default_rng(seed)
    s = rng.integers(0, groups, n)
    y = np.round(rng.normal(40, 10, n) + 3 * s, 1)
    predicted = np.round(y + gap * s + rng.normal(0, 3 + s, n), 1)  # with ties, as ages have
    return outcome(predicted, y, s, (32.0, 40.0, 48.0), groups, 5.0)


def test_measures_by_hand() -> None:
    y = np.array([1.0, 1.0, 3.0, 3.0])
    predicted = np.array([1.5, 0.0, 3.0, 5.0])
    found = regression.evaluate(outcome(predicted, y, np.array([0, 1, 0, 1])))
    assert found["mean_absolute_error"] == pytest.approx(3.5 / 4)
    assert found["root_mean_square_error"] == pytest.approx(np.sqrt((0.25 + 1 + 0 + 4) / 4))
    assert found["r2"] == pytest.approx(1 - 5.25 / 4)
    assert found["eerr"] == pytest.approx((0.5 + 1 + 0 + 2) / 4)
    assert found["odds_regression"] == pytest.approx((1.5 + 2.0) / 2)  # 0.5 against -1, 0 against 2
    assert found["odds_absolute_regression"] == pytest.approx((0.5 + 2.0) / 2)
    assert found["statistical_parity_regression"] == pytest.approx(2.25 - 2.5)
    assert found["base_rate_regression"] == pytest.approx(0, abs=1e-12)
    assert found["ks_distance"] == pytest.approx(0.5)
    assert found["accuracy_within"] == pytest.approx(3 / 4)  # an error of 1 is a hit, 2 is not
    assert found["eacc_within"] == pytest.approx(3 / 4)
    assert found["odds_within"] == pytest.approx((0 + 1) / 2)
    assert found["target_sd"] == pytest.approx(1)
    error, s = predicted - y, np.array([0, 1, 0, 1])
    assert found["residual_correlation"] == pytest.approx(abs(np.corrcoef(error, s)[0, 1]))
    assert set(found) == set(MEASURES)


@pytest.mark.parametrize("groups", [2, 3])
def test_measures_are_those_of_pandas_and_scipy(groups: int) -> None:
    o = drawn(groups=groups)
    rows = pd.DataFrame({"error": o.predicted - o.y, "given": o.predicted, "y": o.y, "s": o.s, "q": o.bins})
    rows["hit"] = rows["error"].abs() <= 5
    rows["off"] = rows["error"].abs()
    cells = rows.groupby(["q", "s"])[["error", "off", "hit"]].mean().unstack("s")
    found = regression.evaluate(o)
    spans = {name: (cells[name].max(axis=1) - cells[name].min(axis=1)).mean() for name in ("error", "off", "hit")}
    assert found["odds_regression"] == pytest.approx(spans["error"])
    assert found["odds_absolute_regression"] == pytest.approx(spans["off"])
    assert found["odds_within"] == pytest.approx(spans["hit"])
    assert found["eerr"] == pytest.approx(cells["off"].to_numpy().mean())
    assert found["eacc_within"] == pytest.approx(cells["hit"].to_numpy().mean())
    assert found["target_sd"] == pytest.approx(rows["y"].std(ddof=0))
    assert found["r2"] == pytest.approx(1 - (rows["error"] ** 2).mean() / rows["y"].var(ddof=0))
    own = [rows.loc[rows["s"] == g, "given"].to_numpy() for g in range(groups)]
    pairs = [stats.ks_2samp(own[a], own[b]).statistic for a in range(groups) for b in range(a)]
    assert found["ks_distance"] == pytest.approx(max(pairs))
    fitted = rows.groupby("s")["error"].transform("mean")
    assert found["residual_correlation"] == pytest.approx(fitted.std(ddof=0) / rows["error"].std(ddof=0))
    shifts = rows.groupby("s")["given"].mean()
    largest = max((shifts[g] - shifts[groups - 1] for g in range(groups - 1)), key=abs)
    assert found["statistical_parity_regression"] == pytest.approx(largest)


def test_errors_in_standard_deviations_do_not_depend_on_the_unit() -> None:
    years = drawn()
    quarters = outcome(4 * years.predicted, 4 * years.y, years.s, tuple(4 * e for e in years.edges), 2, 20.0)
    a, b = (regression.evaluate(o) for o in (years, quarters))
    assert regression.in_sd(a) == pytest.approx(regression.in_sd(b))
    assert a["odds_within"] == b["odds_within"]
    assert "ks_distance" not in regression.in_sd(a)


def test_a_bin_that_one_group_lacks_is_left_out_of_the_odds() -> None:
    y, s = np.array([1.0, 1.0, 3.0]), np.array([0, 1, 0])
    found = regression.evaluate(outcome(y + np.array([0.0, 1.0, 9.0]), y, s))
    assert found["odds_regression"] == pytest.approx(1.0)


def test_one_group_has_no_gaps_but_errors() -> None:
    found = regression.evaluate(outcome([1.0, 2.0], [1.0, 3.0], [0, 0]))
    assert found["mean_absolute_error"] == 0.5
    gaps = [name for name, measure in MEASURES.items() if measure.kind == "fairness"]
    assert np.isnan([found[name] for name in gaps]).all()


# ---------------------------------------------------------------------------------------------------------------- bins


def test_bins_are_merged_until_every_group_has_enough_rows() -> None:
    s = np.repeat([0, 1], [400, 160])
    bins = np.concatenate([np.repeat([0, 1, 2, 3], 100), np.repeat([0, 1, 2, 3], [10, 25, 65, 60])])
    kept = regression.merged_edges(bins, s, 2, (1.0, 2.0, 3.0))
    assert kept == (2.0, 3.0)  # 10 and 25 of group 1 are 35 together
    o = outcome(np.zeros(len(s)), bins + 0.5, s, (1.0, 2.0, 3.0))
    assert (o.edges, o.merged, o.n_bins) == (kept, 1, 3)
    assert o.labels == ("< 2", "2 to < 3", ">= 3")


def test_two_bins_are_left_however_few_rows_there_are() -> None:
    o = outcome(np.zeros(8), np.arange(8.0), np.arange(8) % 2, (2.0, 4.0, 6.0))
    assert o.n_bins == 2
    assert {flag.partition(":")[0] for flag in regression.flags(o, ["a", "b"])} == {"trivial", "small_group"}
    assert regression_noise.cells(o, ["a", "b"])["small"].all()


def test_a_group_without_rows_does_not_merge_the_bins_of_the_others() -> None:
    o = drawn()
    assert outcome(o.predicted, o.y, o.s, (32.0, 40.0, 48.0), 3).edges == (32.0, 40.0, 48.0)


# ---------------------------------------------------------------------------------------------------------- uncertainty


def test_cells_carry_the_t_interval_of_their_mean() -> None:
    o = drawn()
    table = regression_noise.cells(o, ["a", "b"])
    assert list(zip(table["bin"], table["group"], strict=True))[:3] == [
        ("< 32", "a"),
        ("< 32", "b"),
        ("32 to < 40", "a"),
    ]
    error = (o.predicted - o.y)[(o.s == 1) & (o.bins == 2)]
    row = table[(table["group"] == "b") & (table["bin"] == "40 to < 48")].iloc[0]
    low, high = stats.t.interval(0.95, len(error) - 1, error.mean(), stats.sem(error))
    assert (row["n"], row["mean_error"]) == (len(error), pytest.approx(error.mean()))
    assert (row["mean_error_low"], row["mean_error_high"]) == (pytest.approx(low), pytest.approx(high))
    low, high = stats.t.interval(0.95, len(error) - 1, np.abs(error).mean(), stats.sem(np.abs(error)))
    assert (row["absolute_error_low"], row["absolute_error_high"]) == (pytest.approx(low), pytest.approx(high))
    assert row["hits"] == pytest.approx((np.abs(error) <= 5).mean())


def test_the_bootstrap_agrees_with_the_normal_approximation() -> None:
    o = drawn(gap=8.0)
    ranges, table = regression_noise.bootstrap(o), regression_noise.cells(o, ["a", "b"])
    half = (table["mean_error_high"] - table["mean_error"]) / stats.t.ppf(0.975, table["n"] - 1)
    sd = np.sqrt((half**2).sum()) / o.n_bins  # every bin's gap is a difference of two cells
    low, high = ranges["odds_regression"]
    assert high - low == pytest.approx(2 * 1.96 * sd, rel=0.12)
    low, high = ranges["mean_absolute_error"]
    expected = 2 * 1.96 * stats.sem(np.abs(o.predicted - o.y))
    assert high - low == pytest.approx(expected, rel=0.12)
    values = regression.evaluate(o)
    assert all(low <= values[name] <= high for name, (low, high) in ranges.items() if name != "ks_distance")


def test_the_bootstrap_of_cells_keeps_their_sizes() -> None:
    o = drawn(300)
    weights = regression_noise.resampled(o, "cell", 5, np.random.default_rng(0))
    assert weights.shape == (5, 300)
    for cell in np.unique(o.cell):
        assert (weights[:, o.cell == cell].sum(1) == (o.cell == cell).sum()).all()
    assert (regression_noise.resampled(o, "rows", 5, np.random.default_rng(0)).sum(1) == 300).all()


@pytest.mark.parametrize("groups", [2, 3])
def test_the_noise_floor_is_what_groups_that_do_not_differ_measure(groups: int) -> None:
    """Many samples without any gap measure, on average, what each of them says chance alone would."""
    rng, measured, floors = np.random.default_rng(1), [], []
    for _ in range(300):
        y, s = rng.normal(40, 10, 600), rng.integers(0, groups, 600)
        o = outcome(y + rng.normal(0, 4, 600), y, s, (40.0,), groups, 5.0)
        values, floor = regression.evaluate(o), regression_noise.noise_floor(o)
        measured.append([values[name] for name in floor])
        floors.append(list(floor.values()))
    assert np.mean(measured, 0) == pytest.approx(np.mean(floors, 0), rel=0.08)
    assert len(floors[0]) == 4


def test_the_floor_of_one_bin_is_the_folded_normal() -> None:
    o = drawn()
    error = o.predicted - o.y
    parts = [[error[(o.s == g) & (o.bins == q)] for g in (0, 1)] for q in range(o.n_bins)]
    expected = np.mean([np.sqrt(2 / np.pi * sum(e.var(ddof=1) / len(e) for e in pair)) for pair in parts])
    assert regression_noise.noise_floor(o)["odds_regression"] == pytest.approx(expected)


# ----------------------------------------------------------------------------------------------------------- end to end


def made(n: int = 2000) -> Dataset:
    """y in years around 40: a slope on x, and 5 years more for group 1 that no input tells."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> Split:
        x, s = rng.normal(size=(rows, 3)), rng.integers(0, 2, rows)
        y = 40 + 10 * x[:, 0] + 5 * s + rng.normal(size=rows)
        return Split(x.astype(np.float32), y.astype(np.float32), s.astype(np.int64))

    names = tuple(f"bin {i}" for i in range(4))
    data = Dataset("years", split(n), split(500), split(n), names, ("a", "b"), (), "regression")
    return dataclasses.replace(data, edges=(32.0, 40.0, 48.0), unit="years", tolerance=5.0)


def test_it_trains_in_units_of_the_target_and_tells_what_it_predicts() -> None:
    data = made()
    budget = Budget(epochs=20, batch_size=128, lr=1e-2)
    networks = [MLP(hidden="16").build(data, seed) for seed in (0, 1)]
    job = Job([METHODS["erm"]()] * 2, networks, [0, 1], [data] * 2, budget)
    modules, told = ran(train(job))
    final = {r: event for events in told for r, event in events if event.stage == "test"}
    assert final[0].confusion is not None
    assert final[0].confusion.shape == (2, 4, 4)
    assert final[0].confusion.sum() == len(data.test)
    with torch.no_grad():
        predicted = modules[0](torch.from_numpy(data.test.x))[:, 0].numpy()
    assert final[0].scores == pytest.approx(predicted, abs=1e-3)
    assert final[0].values["mean_absolute_error"] == pytest.approx(np.abs(predicted - data.test.y).mean(), rel=1e-4)
    assert final[0].values["r2"] > 0.85
    assert final[0].values["odds_regression"] == pytest.approx(5, abs=1.2)  # what no input tells is the gap
    assert final[0].values["base_rate_regression"] == pytest.approx(
        data.test.y[data.test.s == 0].mean() - data.test.y[data.test.s == 1].mean(), abs=1e-3
    )
    assert final[0].values == pytest.approx(regression.evaluate(regression.of_split(predicted, data, "test")), rel=1e-3)
    hits = np.trace(final[0].confusion.sum(0))
    assert hits == (np.digitize(predicted, data.edges) == np.digitize(data.test.y, data.edges)).sum()
    assert regression.of_split(final[0].scores, data, "test").sums[regression.N].min() >= SMALL
