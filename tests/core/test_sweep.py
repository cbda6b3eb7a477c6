"""Grids, fronts, operating points and the sentence, on tables small enough to check by hand."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

from fairness_core import metrics, sweep
from fairness_core.config import UserError
from tests.strict import STRICT

pytestmark = STRICT
PEOPLE = ["Female", "Male"]


def tensor(rates: list[list[int]], n: int = 1000) -> np.ndarray:
    """(2, 2, 2) with n rows per (s, y) cell, of which rates[s][y] are predicted favourable."""
    chosen = np.array(rates)
    return np.stack([n - chosen, chosen], -1)


BASE = tensor([[100, 500], [300, 700]])  # selection 0.3 and 0.5, accuracy 0.7
GENTLE = tensor([[150, 550], [250, 650]])  # selection 0.35 and 0.45, accuracy 0.7
STRONG = tensor([[380, 440], [390, 430]])  # selection 0.41 and 0.41, accuracy 0.525, nearly blind


class TestGrid:
    def test_range(self):
        assert sweep.grid("0:4:21") == [round(0.2 * i, 12) for i in range(21)]
        assert sweep.grid(" -1 : 1 : 3 ") == [-1, 0, 1]

    def test_list(self):
        assert sweep.grid("0,0.5, 1") == [0, 0.5, 1]
        assert sweep.grid("1e-3") == [0.001]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "''"), ("abc", "'abc'"), ("0,,1", "''"), ("0:4", "'0:4'"), ("0:1:2:3", "'0:1:2:3'"),
            ("0:4:1", "count"), ("0:4:2.5", "2.5"), ("0:4:100000", "100000"), ("4:0:5", "rise"), ("1:1:3", "rise"),
            ("0:nan:3", "'nan'"), ("0,inf", "'inf'"), ("0.5,0.50", "repeat"), (",".join(map(str, range(1001))), "1001"),
        ],
    )  # fmt: skip
    def test_bad_text_gets_one_sentence(self, text, said):
        with pytest.raises(UserError, match=re.escape(said)):
            sweep.grid(text)


class TestFront:
    def test_mask_by_hand(self):
        cost = [0.3, 0.2, 0.1, 0.2, 0.1, 0.4, np.nan, 0.3]
        gain = [0.9, 0.8, 0.7, 0.7, 0.7, 0.9, 1.0, 0.9]
        assert sweep.pareto_mask(cost, gain).tolist() == [True, True, True, False, True, False, False, True]

    def test_mask_without_points(self):
        assert sweep.pareto_mask([], []).tolist() == []
        assert sweep.pareto_mask([np.nan], [1.0]).tolist() == [False]

    @pytest.mark.parametrize("seed", range(10))
    def test_mask_is_the_definition(self, seed):
        rng = np.random.default_rng(seed)
        cost, gain = rng.integers(0, 8, 40) / 8, rng.integers(0, 8, 40) / 8
        no_worse = (cost[:, None] <= cost) & (gain[:, None] >= gain)
        better = (cost[:, None] < cost) | (gain[:, None] > gain)
        np.testing.assert_array_equal(sweep.pareto_mask(cost, gain), ~(no_worse & better).any(0))

    def test_hypervolume_by_hand(self):
        # steps: 0.1..0.3 at 0.6 and 0.3..1 at 0.8
        assert sweep.hypervolume([0.1, 0.3, 0.5], [0.6, 0.8, 0.7]) == pytest.approx(0.2 * 0.6 + 0.7 * 0.8)
        assert sweep.hypervolume([0.1, 0.3], [0.6, 0.8], (0.2, 0.5)) == pytest.approx(0.1 * 0.1)
        assert sweep.hypervolume([], []) == 0

    def test_dominated_points_add_no_volume(self):
        front = sweep.hypervolume([0.1, 0.3], [0.6, 0.8])
        assert sweep.hypervolume([0.1, 0.3, 0.31, np.nan], [0.6, 0.8, 0.79, 1]) == front
        assert sweep.hypervolume([0.1, 0.3, 0.2], [0.6, 0.8, 0.7]) > front


def made_points() -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Runs of erm and of three lam values, two seeds each; test tensors differ from validation ones."""
    tensors = {None: BASE, 0.0: BASE, 0.5: GENTLE, 1.0: STRONG}
    runs, validation, test = [], {}, {}
    for lam, C in tensors.items():
        for seed in (0, 1):
            name = f"{lam}/{seed}"
            method = "erm" if lam is None else "parity"
            runs.append({"id": name, "method": method, "lam": math.nan if lam is None else lam, "seed": seed})
            validation[name] = C + seed * np.array([[0, 0], [-10, 10]])
            test[name] = C + seed * np.array([[10, -10], [0, 0]])
    runs.append({"id": "queued", "method": "parity", "lam": 2.0, "seed": 0})
    return pd.DataFrame(runs), validation, test


class TestFrontier:
    def test_points(self):
        runs, validation, test = made_points()
        table = sweep.points(runs, validation, test)
        assert len(table) == 8  # the queued run has no tensors
        row = table.set_index("id").loc["0.5/1"]
        assert row["validation_gap"] == pytest.approx(0.1)
        assert row["validation_performance"] == pytest.approx(0.7 + 20 / 4000)
        assert row["test_performance"] == pytest.approx(0.7 + 20 / 4000)
        assert table.set_index("id")["trivial"]["1.0/0"]  # balanced accuracy 0.525

    def test_signed_and_ratio_measures_become_distances(self):
        runs, validation, test = made_points()
        signed = sweep.points(runs, validation, test, fairness="statistical_parity_difference").set_index("id")
        ratio = sweep.points(runs, validation, test, fairness="demographic_parity_ratio").set_index("id")
        assert signed.loc["0.0/0", "test_gap"] == pytest.approx(0.2)
        assert ratio.loc["0.0/0", "test_gap"] == pytest.approx(1 - 0.3 / 0.5)

    def test_no_runs_yet(self):
        runs, _, _ = made_points()
        empty = sweep.frontier(sweep.points(runs, {}, {}))
        assert len(empty) == 0
        assert sweep.operating_point(empty, 0.05) is None

    def test_means_and_t_intervals(self):
        runs, validation, test = made_points()
        table = sweep.frontier(sweep.points(runs, validation, test))
        assert table["method"].tolist() == ["erm", "parity", "parity", "parity"]
        row = table.set_index("lam").loc[0.5]
        assert row["seeds"] == 2
        assert row["test_performance"] == pytest.approx(0.7025)
        sd = 0.005 / math.sqrt(2)
        assert row["test_performance_sd"] == pytest.approx(sd)
        assert row["test_performance_high"] == pytest.approx(0.7025 + 12.7062047 * sd / math.sqrt(2))

    def test_one_seed_has_no_interval(self):
        runs, validation, test = made_points()
        table = sweep.frontier(sweep.points(runs[runs["seed"] == 0], validation, test))
        assert table["test_gap"].notna().all()
        assert table["test_gap_low"].isna().all()

    def test_front_is_decided_on_validation(self):
        runs, validation, _ = made_points()
        # on test lam = 0.5 would be dominated: it must stay on the front all the same
        test = {name: BASE if name.startswith("0.5") else C for name, C in validation.items()}
        table = sweep.frontier(sweep.points(runs, validation, test)).set_index("lam")
        assert table.loc[[0.5, 1.0], "on_front"].tolist() == [True, True]
        assert not table.loc[0.0, "on_front"]  # same accuracy as 0.5, wider gap
        assert table.loc[table["method"] == "erm", "on_front"].tolist() == [True]  # alone in its method


def made_frontier(gaps, performances, trivial=None) -> pd.DataFrame:
    n = len(gaps)
    return pd.DataFrame(
        {
            "method": "parity", "lam": np.arange(n, dtype=float), "seeds": 5, "trivial": trivial or [False] * n,
            "validation_gap": gaps, "validation_performance": performances,
            "test_gap": np.array(gaps) + 0.02, "test_performance": np.array(performances) - 0.01,
        }
    )  # fmt: skip


class TestOperatingPoint:
    def test_best_feasible_by_validation(self):
        found = sweep.operating_point(made_frontier([0.2, 0.049, 0.04, 0.01], [0.85, 0.83, 0.84, 0.8]), 0.05)
        assert (found.lam, found.feasible, found.trivial) == (2, True, False)
        assert (found.test_gap, found.test_performance) == (pytest.approx(0.06), pytest.approx(0.83))
        assert not found.holds_on_test

    def test_threshold_is_strict(self):
        assert not sweep.operating_point(made_frontier([0.05], [0.8]), 0.05).feasible

    def test_nothing_feasible(self):
        found = sweep.operating_point(made_frontier([0.3, 0.1, 0.1], [0.9, 0.7, 0.8]), 0.05)
        assert (found.lam, found.feasible) == (2, False)

    def test_trivial_only_when_nothing_else_is_feasible(self):
        table = made_frontier([0.2, 0.0, 0.04], [0.85, 0.84, 0.8], [False, True, False])
        assert sweep.operating_point(table, 0.05).lam == 2
        found = sweep.operating_point(table, 0.03)
        assert (found.lam, found.feasible, found.trivial) == (1, True, True)

    def test_undefined_gaps(self):
        table = made_frontier([np.nan, 0.3], [0.9, 0.8])
        assert sweep.operating_point(table, 0.05).lam == 1
        assert sweep.operating_point(table[:1], 0.05) is None


class TestOutcomes:
    def test_constant_classifier(self):
        C = np.stack([BASE, np.array([[[10, 0], [5, 25]], [[5, 5], [10, 20]]])])
        constant = sweep.constant_classifier(C)
        np.testing.assert_array_equal(constant.sum(-1), C.sum(-1))
        assert constant[1, :, :, 1].tolist() == [[10, 30], [10, 30]]  # class 1 is more frequent
        assert metrics.evaluate(constant)["demographic_parity_difference"].tolist() == [0, 0]
        assert metrics.is_trivial(constant).all()
        assert sweep.constant_classifier(BASE).dtype == BASE.dtype

    def test_by_seed(self):
        runs, _, test = made_points()
        assert sweep.by_seed(runs, test, "parity", 0.5).keys() == {0, 1}
        np.testing.assert_array_equal(sweep.by_seed(runs, test, "erm")[1], test["None/1"])
        assert sweep.by_seed(runs, test, "parity", 2.0) == {}

    def test_per_thousand_by_hand(self):
        table = sweep.per_thousand({0: BASE}, {0: GENTLE}, PEOPLE).set_index("group")
        assert table["n"].tolist() == [2000, 2000]
        assert table["before"].tolist() == [300, 500]
        assert table["change"].tolist() == pytest.approx([50, -50])
        low, high = metrics.newcombe(700, 2000, 600, 2000)
        assert table.loc["Female", "change_low"] == pytest.approx(1000 * low)
        assert table.loc["Female", "change_high"] == pytest.approx(1000 * high)
        assert table["clear"].tolist() == [True, True]

    def test_seeds_do_not_multiply_people(self):
        one = sweep.per_thousand({0: BASE}, {0: GENTLE}, PEOPLE)
        five = sweep.per_thousand(dict.fromkeys(range(5), BASE), dict.fromkeys(range(5), GENTLE), PEOPLE)
        pd.testing.assert_frame_equal(one, five, check_dtype=False)

    def test_empty_group_is_undefined(self):
        C = BASE.copy()
        C[0] = 0
        table = sweep.per_thousand({0: C}, {0: C}, PEOPLE)
        assert np.isnan(table.loc[0, "change"])
        assert not table.loc[0, "clear"]
        assert "women" not in sweep.sentence({0: C}, {0: C}, lam=1, groups=PEOPLE)


def jittered(C: np.ndarray, seeds: int = 5) -> dict[int, np.ndarray]:
    """The same model with a little noise of training: up to two decisions per cell move."""
    moves = np.random.default_rng(0).integers(-2, 3, (seeds, 2, 2))
    return {s: C + np.stack([-moves[s], moves[s]], -1) for s in range(seeds)}


class TestSentence:
    def test_reads_as_on_the_screen(self):
        text = sweep.sentence(
            dict.fromkeys(range(5), BASE), jittered(GENTLE), lam=1.4, groups=PEOPLE, favourable="approved"
        )
        assert text.startswith("At λ = 1.4 the gap in favourable decisions falls from 20.0 to ")
        assert "accuracy shows no clear change, 70.0 % before and 70.0 % now" in text
        assert "(test, 5 seeds, n = 4,000; 95 % intervals of the change over training seeds)" in text
        assert re.search(r"Of 1,000 women 50 more are approved \(\+\d+ to \+\d+\), of 1,000 men 50 fewer", text)
        assert text.endswith("95 % intervals from sampling.")

    def test_rises_when_it_rises(self):
        text = sweep.sentence(jittered(GENTLE), dict.fromkeys(range(5), BASE), lam=0, groups=PEOPLE)
        assert "gap in favourable decisions rises from" in text
        assert "falls" not in text

    @pytest.mark.parametrize("seeds", [1, 5])
    def test_no_clear_change(self, seeds):
        before = jittered(BASE, seeds)
        text = sweep.sentence(before, before, lam=0, groups=PEOPLE)
        assert "gap in favourable decisions shows no clear change" in text
        assert "No clear change in how many are favoured: among 1,000 women (" in text
        assert "falls" not in text
        assert "rises" not in text

    def test_one_group_moves_alone(self):
        text = sweep.sentence({0: BASE}, {0: np.stack([GENTLE[0], BASE[1]])}, lam=1, groups=PEOPLE)
        assert re.search(r"Of 1,000 women 50 more are favoured \([^)]+\), among 1,000 men no clear change \(", text)

    def test_difference_inside_the_seeds_is_no_change(self):
        swing = np.array([[[40, -40], [40, -40]], [[-40, 40], [-40, 40]]])
        after = {0: BASE + swing, 1: BASE - swing, 2: BASE + swing // 2, 3: BASE}
        text = sweep.sentence(dict.fromkeys(range(4), BASE), after, lam=0.1, groups=PEOPLE)
        assert "gap in favourable decisions shows no clear change" in text

    def test_one_seed_names_resampling(self):
        text = sweep.sentence({0: BASE}, {0: GENTLE}, lam=1, groups=PEOPLE, symbol="n", split="validation")
        assert "At n = 1 the gap in favourable decisions falls from 20.0 to 10.0 points" in text
        assert "(validation, 1 seed, n = 4,000; 95 % intervals of the change from resampling the rows)" in text

    def test_only_shared_seeds_count(self):
        assert "1 seed," in sweep.sentence({0: BASE}, jittered(GENTLE), lam=1, groups=PEOPLE)
        with pytest.raises(UserError, match=r"\[0\] and \[3\]"):
            sweep.sentence({0: BASE}, {3: BASE}, lam=1, groups=PEOPLE)

    def test_trivial_model_is_called_what_it_is(self):
        after = {0: sweep.constant_classifier(BASE)}
        assert "nearly everyone the same decision" in sweep.sentence({0: BASE}, after, lam=9, groups=PEOPLE)

    def test_undefined_gap(self):
        C = BASE.copy()
        C[0, 1] = 0
        text = sweep.sentence({0: C}, {0: C}, lam=1, groups=PEOPLE, fairness="equal_opportunity_gap")
        assert "the gap in true positive rates is not defined on these rows" in text

    def test_many_groups_name_the_two_ends(self):
        groups = ["a", "b", "c", "d", "e"]
        before = np.stack([BASE[0]] * 5)
        after = before + np.array([0, 50, -50, 100, -100])[:, None, None] * np.array([-1, 1])
        text = sweep.sentence({0: before}, {0: after}, lam=1, groups=groups)
        assert "people in group d 100 more" in text
        assert "people in group e 100 fewer" in text
        assert "group a" not in text

    @pytest.mark.parametrize("fairness", [n for n, m in metrics.METRICS.items() if m.kind == "fairness"])
    @pytest.mark.parametrize("performance", [n for n, m in metrics.METRICS.items() if m.kind == "performance"])
    def test_never_says_fair(self, fairness, performance):
        text = sweep.sentence({0: BASE}, {0: GENTLE}, lam=1, groups=PEOPLE, fairness=fairness, performance=performance)
        assert "fair" not in text.lower()
        assert "nan" not in text
