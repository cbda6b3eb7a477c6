"""Counts, missing values and the verdict: every finding on counts made so that it, and only it, is there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairness_core import health
from fairness_core.health import cell_counts, cells, missingness, times_as_often, verdict

GROUPS, CLASSES = ("women", "men"), ("no", "yes")
PLENTY = np.array([[4_000, 1_000], [4_000, 2_000]])
COLUMNS = ["attribute", "role", "group", "target"]
NO_MISSING = missingness(pd.DataFrame({"a": [1, 2]}), np.array([0, 1]), GROUPS)


def judged(train=PLENTY, test=PLENTY, attributes=(), groups=GROUPS, classes=CLASSES, **more):
    counts = {"train": np.array(train), "validation": np.array(test), "test": np.array(test)}
    table = pd.DataFrame(list(attributes), columns=COLUMNS)
    return verdict(counts, groups, classes, attributes=table, **{"missing": NO_MISSING, **more})


def found(told: health.Verdict) -> dict[str, str]:
    return {reason.about: reason.level for reason in told.reasons}


# ---------------------------------------------------------------------------------------------------- who is in it


def test_cells_are_counted_by_group_and_class():
    s, y = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 2])
    assert cell_counts(s, y, 3, 3).tolist() == [[1, 1, 0], [0, 2, 1], [0, 0, 0]]


def test_shares_are_of_the_group_with_wilson_intervals_and_nothing_where_nobody_is():
    table = cells({"train": np.array([[3, 1], [0, 0]])}, GROUPS, CLASSES)
    assert table["split"].tolist() == ["training"] * 4
    assert table["group"].tolist() == ["women", "women", "men", "men"]
    assert table["share"].tolist()[:2] == [0.75, 0.25]
    assert table["share"].isna().tolist() == [False, False, True, True]
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx([0.3006, 0.9544], abs=1e-4)  # Wilson, 3 of 4


def test_missing_values_are_counted_per_group_widest_gap_first():
    s = np.array([0] * 10 + [1] * 10)
    frame = pd.DataFrame({"full": range(20), "some": [None] * 2 + ["x"] * 17 + [None], "most": [None] * 8 + ["x"] * 12})
    table = missingness(frame, s, GROUPS)
    assert list(dict.fromkeys(table["column"])) == ["most", "some"]
    assert table["missing"].tolist() == [8, 0, 2, 1]
    assert table["gap"].tolist() == pytest.approx([0.8, 0.8, 0.1, 0.1])


def test_times_as_often_is_katz_interval():
    ratio, low, high = times_as_often(30, 100, 10, 100)
    assert ratio == pytest.approx(3.0)
    spread = np.exp(1.959964 * np.sqrt(1 / 30 - 1 / 100 + 1 / 10 - 1 / 100))
    assert (low, high) == pytest.approx((3 / spread, 3 * spread))
    assert all(np.isnan(times_as_often(0, 10, 1, 10)))


# ------------------------------------------------------------------------------------------------------------ verdict


def test_plenty_of_everything_is_good_and_says_nothing():
    told = judged()
    assert (told.level, told.reasons) == ("good", ())
    assert "fair" not in told.title.lower()


def test_what_the_source_warns_of_is_a_caution():
    told = judged(cautions=["Its rows are too few."])
    assert (told.level, [r.text for r in told.reasons]) == ("caution", ["Its rows are too few."])


def test_the_worst_level_counts_and_comes_first():
    told = judged(test=[[4_000, 5], [4_000, 2_000]], cautions=["Known."])
    assert told.level == "unsuitable"
    assert [r.level for r in told.reasons] == sorted((r.level for r in told.reasons), key=health.LEVELS.index)[::-1]


def test_a_tiny_test_cell_is_named_with_its_size():
    told = judged(test=[[4_000, 1_000], [4_000, 29]])
    reason = next(r for r in told.reasons if r.about == "tiny in test")
    assert "men with yes (29)" in reason.text
    assert reason.level == "caution"
    assert "tiny in test" not in found(judged(test=[[4_000, 1_000], [4_000, 30]]))


def test_a_tiny_training_cell_is_told_too():
    assert found(judged(train=[[4_000, 1_000], [4_000, 12]]))["tiny in training"] == "caution"


def test_too_few_positives_of_a_group_make_it_unsuitable():
    assert found(judged(test=[[4_000, 9], [4_000, 2_000]]))["positives"] == "unsuitable"
    assert "positives" not in found(judged(test=[[4_000, 10], [4_000, 2_000]]))


def test_an_empty_cell_is_a_caution_in_training_and_unsuitable_in_test():
    assert found(judged(train=[[4_000, 0], [4_000, 2_000]]))["empty in training"] == "caution"
    assert found(judged(test=[[4_000, 0], [4_000, 2_000]]))["empty in test"] == "unsuitable"


def test_a_label_that_follows_from_the_group_is_called_so():
    told = found(judged(train=[[4_000, 0], [0, 2_000]]))
    assert told["deterministic"] == "caution"
    assert "empty in training" not in told


def test_two_classes_of_ten_in_one_group_are_not_deterministic():
    train = np.full((2, 10), 500)
    train[0, :2] = 0
    told = found(judged(train=train, test=np.full((2, 10), 500), classes=[str(d) for d in range(10)]))
    assert "deterministic" not in told
    assert told["empty in training"] == "caution"


def test_the_noise_floor_is_the_closed_form_of_two_groups():
    """p = 0.3, groups of 60 and 140: sqrt(0.21 (1/60 + 1/140)) sqrt(2 / pi) = 5.64 points."""
    told = judged(test=[[45, 15], [95, 45]])
    reason = next(r for r in told.reasons if r.about == "noise floor")
    assert "5.6 points" in reason.text
    assert "7.1" in reason.text  # 45 / 140 - 15 / 60
    assert reason.level == "unsuitable"


def test_a_floor_well_below_the_gap_there_is_is_a_caution():
    assert found(judged(test=[[90, 10], [40, 60]]))["noise floor"] == "caution"


def test_few_rows_are_told():
    assert found(judged(train=[[200, 100], [200, 100]], test=[[200, 100], [200, 100]]))["rows"] == "caution"


@pytest.mark.parametrize(
    ("train", "about"),
    [([[40_000, 4_000], [300, 100]], "uneven group"), ([[40_000, 100], [40_000, 100]], "uneven class")],
)
def test_more_than_ten_to_one_is_told(train, about):
    assert found(judged(train=train))[about] == "caution"


def test_a_gap_in_missing_values_is_told_with_both_shares():
    s = np.repeat([0, 1], 100)
    frame = pd.DataFrame({"income": [None] * 20 + ["x"] * 80 + [None] * 5 + ["x"] * 95})
    told = judged(missing=missingness(frame, s, GROUPS))
    assert "income is missing for 20.0 % of women and 5.0 % of men" in told.reasons[0].text


def test_a_column_that_gives_the_target_away_is_unsuitable():
    told = judged(attributes=[("paid", "attribute", 0.1, 0.99), ("sex", "sensitive", 1.0, 0.99)])
    assert found(told) == {"leak": "unsuitable"}
    assert "paid (0.99)" in told.reasons[0].text
    assert "sex" not in told.reasons[0].text


def test_a_column_that_is_the_group_under_another_name_is_told():
    assert found(judged(attributes=[("wife", "attribute", 0.97, 0.1), ("t", "twin", 1.0, 0.1)])) == {"twin": "caution"}


def test_a_group_that_everything_names_is_worth_knowing_and_no_more():
    told = judged(named=(0.95, 0.5))
    assert found(told) == {"proxies": "good"}
    assert told.level == "good"
    assert "95 %" in told.reasons[0].text
    assert "proxies" not in found(judged(named=(0.85, 0.5)))


def test_groups_without_rows_do_no_harm():
    told = judged(train=[[4_000, 1_000], [4_000, 2_000], [0, 0]], test=[[4_000, 1_000], [4_000, 2_000], [50, 40]],
                  groups=("a", "b", "c"))  # fmt: skip
    assert found(told)["empty in training"] == "caution"
