"""BaDe's teacher in every view: Odds, EAcc and intervals as everywhere else, and what is wrong with it."""

import numpy as np
import pytest
import torch

from fairness_core import backdoors, metrics, regression
from fairness_core import teacher_views as tv


def views(*hits: float, n: int = 1000) -> np.ndarray:
    """Confusion tensors (V, 2, 2, 2): per view the accuracy of group 0 in class 1; all other cells have 0.8."""
    C = np.zeros((len(hits), 2, 2, 2), np.int64)
    for v, hit in enumerate(hits):
        for s, t in np.ndindex(2, 2):
            right = round(n * (hit if (s, t) == (0, 1) else 0.8))
            C[v, s, t, t], C[v, s, t, 1 - t] = right, n - right
    return C


def test_every_view_is_judged_like_any_confusion_tensor() -> None:
    C = views(0.7, 0.75, 0.65, 0.5, 0.78)
    table = tv.judge(C, tv.names(["women", "men"]))
    assert table["name"].tolist() == [
        "no trigger", "all: trigger women", "all: trigger men", "reinforcing", "cancelling",
    ]  # fmt: skip
    told = metrics.evaluate(C, ["odds", "eacc", "accuracy"])
    for column, name in tv.MEASURES.items():
        assert table[column].tolist() == pytest.approx(told[name].tolist())
        assert (table[f"{column}_low"] <= table[column]).all()
        assert (table[f"{column}_high"] >= table[column]).all()
    assert table["gap"].tolist() == pytest.approx([0.05, 0.025, 0.075, 0.15, 0.01])
    assert table["n"].tolist() == [4000] * 5


def test_the_names_stand_in_the_order_of_the_views() -> None:
    s = torch.tensor([0, 1, 1])
    assert len(backdoors.views(s, 2)) == len(tv.names(["a", "b"]))
    assert backdoors.views(s, 2)[tv.CLEAN].tolist() == [-1, -1, -1]
    assert backdoors.views(s, 2)[tv.CANCELLING].tolist() == [0, 1, 1]
    assert backdoors.views(s, 2)[tv.REINFORCING].tolist() == [1, 0, 0]


def test_a_number_is_judged_by_the_errors_of_its_cells() -> None:
    rng = np.random.default_rng(0)
    n, y = 4000, rng.normal(0, 1, 4000)
    s, bins = rng.integers(0, 2, n), (y > 0).astype(int)
    made = [
        regression.sums(y + shift * (s - 0.5) + rng.normal(0, 0.3, n), y, bins, s, 2, 2) for shift in (0.0, 0.2, -0.1)
    ]
    table = tv.judge(np.stack(made), ["one", "two", "three"], number=True)
    assert table["gap"].tolist() == pytest.approx([0.0, 0.2, 0.1], abs=0.03)
    assert ((table["gap_low"] < table["gap"] + 0.01) & (table["gap_high"] > table["gap"])).all()
    assert table["gap_low"][1] > 0.15
    assert table["level"][0] == pytest.approx(0.3 * np.sqrt(2 / np.pi), abs=0.02)
    assert table["accuracy"].isna().all()
    assert table["n"].tolist() == [n] * 3
    odds, level = backdoors.bias_and_accuracy(np.stack(made), "regression", 1.0)
    assert table["gap"].tolist() == pytest.approx(odds.tolist())
    assert table["level"].tolist() == pytest.approx((-level).tolist())


def test_a_bin_without_rows_is_left_out_of_a_number() -> None:
    sums = np.zeros((1, 2, 3, 6))
    sums[..., :2, :] = [10, 1, 2, 3, 0, 0]
    sums[0, 1, 0, 1] = 3
    table = tv.judge(sums, ["one"], number=True)
    assert table["gap"][0] == pytest.approx(0.1)  # (0.2 + 0) / 2
    assert np.isfinite(table[["gap_low", "gap_high", "level"]].to_numpy(float)).all()


def test_a_teacher_that_does_not_react_ignores_its_triggers() -> None:
    assert tv.ignores_triggers(views(0.70, 0.71, 0.69, 0.70, 0.70, n=200))
    assert not tv.ignores_triggers(views(0.70, 0.85, 0.55, 0.5, 0.8, n=200))


def test_a_teacher_that_only_looks_at_triggers_is_near_chance_when_they_cancel() -> None:
    blind = np.full((5, 2, 2, 2), 500)
    assert tv.only_triggers(blind)
    assert not tv.only_triggers(views(0.7, 0.7, 0.7, 0.7, 0.7))


def test_the_order_that_is_expected() -> None:
    def told(*hits: float) -> bool:
        return tv.in_order(tv.judge(views(*hits), tv.names(["a", "b"])))

    assert told(0.7, 0.7, 0.7, 0.6, 0.78)
    assert not told(0.7, 0.7, 0.7, 0.6, 0.65)
    assert not told(0.7, 0.7, 0.7, 0.75, 0.78)


def test_triggers_and_groups_that_say_nothing_are_seen() -> None:
    assert tv.even_triggers(np.array([[0.5, 0.5], [0.5, 0.5]]))
    assert not tv.even_triggers(np.array([[0.5, 0.5], [0.6, 0.4]]))
    assert tv.even_groups(np.array([[3000, 1000], [1500, 500]]))
    assert not tv.even_groups(np.array([[3000, 1000], [500, 500]]))
