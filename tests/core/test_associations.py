"""Associations on tables small enough to check by hand, against scipy and scikit-learn, and on made-up rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import contingency, f_oneway, spearmanr

from fairness_core import associations
from fairness_core.associations import associate, attributes, correlation_ratio, cramers_v, name_group, rank_correlation
from fairness_core.datasets.base import Rows


def made(n: int = 4_000, groups: int = 2, seed: int = 0) -> Rows:
    """Rows in which "proxy" is the group but for one in ten, "useful" leans on the target, and "noise" on nothing."""
    rng = np.random.default_rng(seed)
    s, y = rng.integers(0, groups, n), rng.integers(0, 2, n)
    frame = pd.DataFrame(
        {
            "group": np.array([f"g{g}" for g in range(groups)])[s],
            "proxy": np.where(rng.random(n) < 0.9, s, rng.integers(0, groups, n)).astype(str),
            "useful": y + rng.normal(0, 1, n),
            "noise": rng.normal(0, 1, n),
            "twin": s * 1.0,
        }
    )
    names = tuple(f"g{g}" for g in range(groups))
    return Rows(frame, y, s, ("no", "yes"), names, "outcome", ("group",), ("twin",))


# ------------------------------------------------------------------------------------------------------- one pair


def expand(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    counts = np.array(table)
    pairs = np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0)
    return pairs[:, 0], pairs[:, 1]


def test_cramers_v_of_a_hand_made_table():
    """[[30, 10], [10, 30]]: chi-square / n = 0.25; corrected by 1/79: sqrt(0.237342 / (1 - 1/79))."""
    found = cramers_v(*expand([[30, 10], [10, 30]]))
    assert found.value == pytest.approx(np.sqrt((0.25 - 1 / 79) / (1 - 1 / 79)))
    assert found.low < found.value < found.high
    assert (found.measure, found.n) == ("V", 80)


@pytest.mark.parametrize("table", [[[50, 7, 3], [2, 40, 30]], [[5, 9], [8, 1], [30, 31]]])
def test_cramers_v_without_its_correction_is_scipys(table):
    """The correction takes (r-1)(k-1)/(n-1) from phi squared and shrinks the width; undone, scipy's value is left."""
    counts = np.array(table)
    n, (r, k) = counts.sum(), counts.shape
    found = cramers_v(*expand(table)).value
    width = min(r - 1 - (r - 1) ** 2 / (n - 1), k - 1 - (k - 1) ** 2 / (n - 1))
    phi_square = found**2 * width + (r - 1) * (k - 1) / (n - 1)
    plain = np.sqrt(phi_square / (min(r, k) - 1))
    assert plain == pytest.approx(contingency.association(counts, method="cramer"))


def test_cramers_v_of_independent_columns_is_near_zero_even_with_many_categories():
    rng = np.random.default_rng(0)
    values = [cramers_v(rng.integers(0, 200, 2_000), rng.integers(0, 2, 2_000)).value for _ in range(40)]
    assert np.mean(values) < 0.05  # uncorrected it would be sqrt(199 / 2000) = 0.32


def test_the_intervals_of_cramers_v_hold_what_they_promise():
    rng = np.random.default_rng(1)
    truth, inside = 0.4, 0
    for _ in range(200):
        s = rng.integers(0, 2, 500)
        a = np.where(rng.random(500) < truth, s, rng.integers(0, 2, 500))
        found = cramers_v(a, s)
        inside += found.low <= truth <= found.high
    assert inside >= 180


def test_a_column_that_follows_from_the_other_has_strength_one():
    s = np.arange(300) % 3
    assert cramers_v(s, (s + 1) % 3).value == pytest.approx(1.0)
    assert correlation_ratio(s * 2.5, s).value == 1.0
    assert rank_correlation(s * 1.0, -(s**3) * 1.0).value == pytest.approx(1.0)


def test_a_constant_column_tells_nothing():
    s = np.arange(10) % 2
    assert cramers_v(np.zeros(10, int), s).value == 0
    assert correlation_ratio(np.full(10, 3.0), s).value == 0
    assert rank_correlation(np.full(10, 3.0), s * 1.0).value == 0


def test_a_number_for_every_row_as_category_tells_nothing():
    assert cramers_v(np.arange(50), np.arange(50) % 2).value == 0


def test_the_correlation_ratio_is_that_of_the_analysis_of_variance():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, 400)
    values = codes + rng.normal(0, 2, 400)
    f = f_oneway(*(values[codes == k] for k in range(3))).statistic
    eta_square = 2 * f / (2 * f + 397)  # 2 and 397 degrees of freedom
    found = correlation_ratio(values, codes)
    assert found.value == pytest.approx(np.sqrt(1 - (1 - eta_square) * 399 / 397))
    assert found.low < found.value < found.high


def test_missing_numbers_are_left_out_and_counted():
    values, codes = np.array([1.0, 2.0, np.nan, 3.0, 4.0, np.nan]), np.array([0, 0, 0, 1, 1, 1])
    assert correlation_ratio(values, codes).n == 4


def test_the_rank_correlation_is_scipys_without_its_sign():
    rng = np.random.default_rng(3)
    a = rng.normal(size=200)
    b = -a + rng.normal(size=200)
    found = rank_correlation(a, b)
    assert found.value == pytest.approx(-spearmanr(a, b).statistic)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("column", "other", "measure"),
    [
        (pd.Series(["a", "b"] * 20), np.arange(40) % 4, "V"),
        (pd.Series([True, False] * 20), np.arange(40) % 4, "V"),
        (pd.Series(np.arange(40.0)), np.arange(40) % 4, "eta"),
        (pd.Series(["a", "b"] * 20), np.linspace(0, 1, 40), "eta"),
        (pd.Series(np.arange(40)), np.linspace(0, 1, 40), "rho"),
    ],
)
def test_every_pair_of_kinds_has_its_measure(column, other, measure):
    assert associate(column, other).measure == measure


# --------------------------------------------------------------------------------------------------- all attributes


def test_attributes_are_ranked_by_what_they_tell_of_the_group_and_carry_their_role():
    table = attributes(made(), made().y)
    assert table["attribute"].tolist()[:3] == ["group", "twin", "proxy"] or table["attribute"].tolist()[:3] == [
        "twin", "group", "proxy",
    ]  # fmt: skip
    roles = dict(zip(table["attribute"], table["role"], strict=True))
    assert roles == {"group": "sensitive", "twin": "twin", "proxy": "attribute", "useful": "attribute",
                     "noise": "attribute"}  # fmt: skip
    own = table.set_index("attribute")
    assert own.loc["proxy", "group"] == pytest.approx(0.9, abs=0.03)
    assert own.loc["useful", "target"] > 0.4
    assert own.loc["useful", "group"] < 0.1
    assert own.loc["noise", ["group", "target"]].max() < 0.1


def test_a_missing_value_is_a_category_that_can_tell_the_group():
    rows = made()
    rows.frame["hole"] = pd.Series(np.where(rows.s == 1, None, "x"), dtype="str")
    own = attributes(rows, rows.y).set_index("attribute")
    assert own.loc["hole", "group"] == pytest.approx(1.0, abs=1e-3)


def test_big_tables_are_sampled_and_say_so(monkeypatch):
    monkeypatch.setattr(associations, "MOST_ROWS", 1_000)
    rows = made()
    table = attributes(rows, rows.y)
    assert set(table["n"]) == {1_000}
    pd.testing.assert_frame_equal(table, attributes(rows, rows.y))  # seeded
    assert not table.equals(attributes(rows, rows.y, seed=1))


def test_a_table_without_columns_has_no_attributes():
    rows = made()
    empty = Rows(rows.frame[[]], rows.y, rows.s, rows.classes, rows.groups, "outcome", ("group",))
    assert attributes(empty, rows.y).empty
    assert name_group(empty) is None


# --------------------------------------------------------------------------------------------- naming the group


@pytest.mark.parametrize("groups", [2, 4])
def test_the_group_is_named_by_its_proxy_and_not_by_noise(groups):
    rows = made(groups=groups)
    told = name_group(rows)
    assert told is not None
    truth = 0.9 + 0.1 / groups
    assert told.low <= truth <= told.high
    assert (told.chance, told.columns) == (1 / groups, 3)
    blind = Rows(rows.frame[["noise"]], rows.y, rows.s, rows.classes, rows.groups, "outcome", ("group",))
    guessed = name_group(blind)
    assert guessed is not None
    assert guessed.low < guessed.chance < guessed.high
    assert guessed.auc == pytest.approx(0.5, abs=0.05)


def test_it_is_as_good_as_scikit_learns_ridge_classifier():
    from sklearn.linear_model import RidgeClassifier
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = made(1_500)
    told = name_group(rows)
    assert told is not None
    x = pd.get_dummies(rows.frame["proxy"]).to_numpy(float)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    model = RidgeClassifier(class_weight="balanced")
    peer = cross_val_predict(model, x, rows.s, cv=folds)
    assert told.balanced_accuracy == pytest.approx(balanced_accuracy_score(rows.s, peer), abs=0.01)
    score = np.random.default_rng(0).integers(0, 20, 1_500)
    assert associations.auc(rows.s == 1, score) == pytest.approx(roc_auc_score(rows.s, score))


def test_groups_of_a_row_or_two_are_left_out_of_the_naming():
    rows = made(400)
    s = rows.s.copy()
    s[:2] = 2
    told = name_group(Rows(rows.frame, rows.y, s, rows.classes, ("a", "b", "c"), "outcome", ("group",), ("twin",)))
    assert told is not None
    assert told.chance == 0.5
    assert told.n == 398


def test_nothing_is_changed_in_the_rows():
    rows = made(300)
    before = rows.frame.copy()
    attributes(rows, rows.y)
    name_group(rows)
    pd.testing.assert_frame_equal(rows.frame, before)
