"""Measures of a regression: by hand, and end to end on a target whose groups are shifted."""

import numpy as np
import pytest
import torch

from fairness_core import regression
from fairness_core.config import Budget
from fairness_core.datasets import Dataset, Split
from fairness_core.methods import METHODS
from fairness_core.models import MLP
from fairness_core.training import Job, train


def test_measures_by_hand() -> None:
    y = np.array([1.0, 1.0, 3.0, 3.0])
    predicted = np.array([1.5, 0.0, 3.0, 5.0])
    s, bins = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    found = regression.evaluate(regression.sums(predicted, y, bins, s, 2, 2), float(y.var()))
    assert found["mean_absolute_error"] == pytest.approx(3.5 / 4)
    assert found["root_mean_square_error"] == pytest.approx(np.sqrt((0.25 + 1 + 0 + 4) / 4))
    assert found["r2"] == pytest.approx(1 - 5.25 / 4)
    assert found["eerr"] == pytest.approx((0.5 + 1 + 0 + 2) / 4)
    assert found["odds_regression"] == pytest.approx((1.5 + 2.0) / 2)  # 0.5 against -1, 0 against 2
    assert found["odds_absolute_regression"] == pytest.approx((0.5 + 2.0) / 2)
    assert found["statistical_parity_regression"] == pytest.approx(2.25 - 2.5)
    assert found["base_rate_regression"] == 0
    assert set(found) == set(regression.MEASURES)


def test_a_bin_that_one_group_lacks_is_left_out_of_the_odds() -> None:
    y, s = np.array([1.0, 1.0, 3.0]), np.array([0, 1, 0])
    M = regression.sums(y + np.array([0.0, 1.0, 9.0]), y, np.array([0, 0, 1]), s, 2, 2)
    assert regression.evaluate(M, 1.0)["odds_regression"] == pytest.approx(1.0)


def made(n: int = 2000) -> Dataset:
    """y in years around 40: a slope on x, and 5 years more for group 1 that no input tells."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> Split:
        x, s = rng.normal(size=(rows, 3)), rng.integers(0, 2, rows)
        y = 40 + 10 * x[:, 0] + 5 * s + rng.normal(size=rows)
        return Split(x.astype(np.float32), y.astype(np.float32), s.astype(np.int64))

    train, edges = split(n), (32.0, 40.0, 48.0)
    names = tuple(f"bin {i}" for i in range(4))
    return Dataset("years", train, split(500), split(n), names, ("a", "b"), (), "regression", edges=edges)


def test_it_trains_in_units_of_the_target_and_counts_by_bins() -> None:
    data = made()
    budget = Budget(epochs=20, batch_size=128, lr=1e-2)
    networks = [MLP(hidden="16").build(data, seed) for seed in (0, 1)]
    job = Job([METHODS["erm"]()] * 2, networks, [0, 1], [data] * 2, budget)
    training, events = train(job), []
    try:
        while True:
            events += next(training)
    except StopIteration as done:
        modules = done.value
    final = {r: event for r, event in events if event.stage == "test"}
    assert final[0].confusion is not None
    assert final[0].confusion.shape == (2, 4, 4)
    assert final[0].confusion.sum() == len(data.test)
    with torch.no_grad():
        predicted = modules[0](torch.from_numpy(data.test.x))[:, 0].numpy()
    assert final[0].values["mean_absolute_error"] == pytest.approx(np.abs(predicted - data.test.y).mean(), rel=1e-4)
    assert final[0].values["r2"] > 0.85
    assert final[0].values["odds_regression"] == pytest.approx(5, abs=1.2)  # what no input tells is the gap
    assert final[0].values["base_rate_regression"] == pytest.approx(
        data.test.y[data.test.s == 0].mean() - data.test.y[data.test.s == 1].mean(), abs=1e-3
    )
    hits = np.trace(final[0].confusion.sum(0))
    assert hits == (np.digitize(predicted, data.edges) == np.digitize(data.test.y, data.edges)).sum()
