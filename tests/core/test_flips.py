"""Flips and levelling down, against fixtures counted by hand and against the metrics they explain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from fairness_core import flips as module
from fairness_core.config import UserError
from fairness_core.flips import DOWN, NOBODY, PARTS, UNCLEAR, UNDEFINED, UP, WIDENED, flips, levelling_down
from fairness_core.metrics import METRICS
from fairness_core.postprocessing import draw
from fairness_core.scores import Scores
from tests.strict import STRICT

pytestmark = STRICT

GROUPS = ("Female", "Male")
SPD, EOD, AOD, AAOD = (
    "statistical_parity_difference",
    "equal_opportunity_difference",
    "average_odds_difference",
    "average_absolute_odds_difference",
)


def answers(y, s, decision) -> Scores:
    decision = np.asarray(decision, np.float32)
    return Scores(decision, np.asarray(y, np.int64), np.asarray(s, np.int64), decision, len(decision))


def made(cells) -> tuple[Scores, Scores]:
    """(before, after) from {(group, y): (both, lost, gained, neither)} people."""
    rows = [
        (y, s, old, new)
        for (s, y), numbers in cells.items()
        for (old, new), n in zip(((1, 1), (1, 0), (0, 1), (0, 0)), numbers, strict=True)
        for _ in range(n)
    ]
    y, s, old, new = np.array(rows).T
    return answers(y, s, old), answers(y, s, new)


def selected(women, men, n=1000) -> tuple[Scores, Scores]:
    """Half of each group deserving; (favoured before, after) of n women and n men, the fewest people moved."""
    cells = {}
    for g, (old, new) in enumerate((women, men)):
        both, lost, gained = min(old, new), max(old - new, 0), max(new - old, 0)
        numbers = np.array([both, lost, gained, n - both - lost - gained])
        cells[g, 0], cells[g, 1] = numbers // 2, numbers - numbers // 2
    return made(cells)


def random_pair(seed, n_groups=2, n=3000, chances=False) -> tuple[Scores, Scores]:
    rng = np.random.default_rng(seed)
    y, s = rng.integers(0, 2, n), rng.integers(0, n_groups, n)
    old, new = rng.random((2, n)) if chances else (rng.random((2, n)) < np.array([0.2, 0.5, 0.1, 0.4])[s] + 0.3 * y)
    return answers(y, s, old), answers(y, s, new)


# women: 4 deserving, 6 undeserving; men: 5 deserving, 5 undeserving. (both, lost, gained, neither)
BY_HAND = {(0, 1): (1, 0, 2, 1), (0, 0): (0, 1, 1, 4), (1, 1): (3, 2, 0, 0), (1, 0): (1, 1, 1, 2)}


class TestFlips:
    def test_counted_by_hand(self):
        table = flips(*made(BY_HAND), GROUPS).set_index("group")
        expected = {
            "n": (10, 10),
            "n_deserving": (4, 5),
            "n_undeserving": (6, 5),
            "before": (200, 700),
            "after": (400, 500),
            "change": (200, -200),
            "gained": (3, 1),
            "lost": (1, 3),
            "gained_deserving": (2, 0),
            "gained_undeserving": (1, 1),
            "lost_deserving": (0, 2),
            "lost_undeserving": (1, 1),
            "gained_per_1000": (300, 100),
            "lost_per_1000": (100, 300),
            "gained_deserving_per_1000": (500, 0),
            "lost_deserving_per_1000": (0, 400),
            "gained_undeserving_per_1000": (1000 / 6, 200),
            "lost_undeserving_per_1000": (1000 / 6, 200),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(table[name], values, err_msg=name)
        assert table["small"].all()
        assert not table["clear"].any()

    def test_shares_have_wilson_intervals(self):
        women = flips(*made(BY_HAND), GROUPS).iloc[0]
        for name, k, n in (("before", 2, 10), ("after", 4, 10), ("lost", 1, 10), ("gained_deserving", 2, 4)):
            expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
            found = women[f"{name}_low"], women[f"{name}_high"]
            np.testing.assert_allclose(found, (1000 * expected.low, 1000 * expected.high), atol=1e-9)

    def test_the_paired_interval_by_hand(self):
        """gained 3, lost 1 of 10: (4 - 2) / 12 ± 1.96 sqrt((6/12 - (2/12)²) / 12)."""
        women = flips(*made(BY_HAND), GROUPS).iloc[0]
        half = 1.959964 * np.sqrt((0.5 - 1 / 36) / 12)
        np.testing.assert_allclose(
            women[["change_low", "change_high"]].astype(float), 1000 * (1 / 6 + half * np.array([-1, 1])), atol=1e-3
        )

    def test_the_paired_interval_holds_what_it_promises(self):
        rng = np.random.default_rng(1)
        for up, down, n in ((0.05, 0.02, 200), (0.15, 0.15, 60), (0.01, 0.0, 500)):
            drawn = rng.multinomial(n, [up, down, 1 - up - down], size=4000).T.astype(float)
            low, high = module.paired_change(drawn[0], drawn[1], np.full(4000, float(n)))
            assert np.mean((low <= up - down) & (up - down <= high)) > 0.93, (up, down, n)

    def test_pairing_makes_the_change_clearer_than_two_samples_would(self):
        """40 of 1,000 gain and nobody loses: clear, although two independent samples of 1,000 would not show it."""
        table = flips(*selected((480, 520), (500, 500)), GROUPS)
        assert table["clear"].tolist() == [True, False]
        assert table["before_high"][0] > table["after_low"][0]

    def test_two_equal_models_flip_nobody(self):
        before, _ = random_pair(0, chances=True)
        table = flips(before, before, GROUPS)
        assert (table[["gained", "lost", "change"]] == 0).all(axis=None)
        assert not table["clear"].any()

    def test_chances_count_as_their_expectation(self):
        before, after = random_pair(3, n=400, chances=True)
        expected = flips(before, after, GROUPS)
        sums = np.zeros((len(GROUPS), 2))
        for seed in range(300):
            drawn = [answers(m.y, m.s, draw(m.decision, seed)) for m in (before, after)]
            sums += flips(*drawn, GROUPS)[["gained", "lost"]]
        np.testing.assert_allclose(sums / 300, expected[["gained", "lost"]], rtol=0.06)
        np.testing.assert_allclose(expected["change"] * expected["n"] / 1000, expected["gained"] - expected["lost"])

    def test_a_group_without_people_or_without_a_true_class_is_undefined_not_zero(self):
        before, after = made({(0, 1): (2, 0, 1, 0), (1, 1): (1, 1, 0, 1), (1, 0): (0, 1, 0, 1)})
        table = flips(before, after, ("a", "b", "c"))
        assert np.isnan(table.loc[2, ["before", "change", "change_low", "gained_per_1000"]].astype(float)).all()
        assert np.isnan(table.loc[0, "lost_undeserving_per_1000"])
        assert table["small"].all()
        assert not table.loc[2, "clear"]

    def test_other_people_are_refused_in_one_sentence(self):
        before, after = made(BY_HAND)
        with pytest.raises(UserError, match="not the same people"):
            flips(before, answers(1 - after.y, after.s, after.decision), GROUPS)
        with pytest.raises(UserError, match="not the same people"):
            flips(before, answers(after.y[:5], after.s[:5], after.decision[:5]), GROUPS)
        with pytest.raises(UserError, match="not the same people"):
            flips(before, replace(after, of=10**6), GROUPS)
        with pytest.raises(UserError, match="name every group"):
            flips(before, after, ("Female",))


class TestLevelling:
    def test_men_refused_more_often(self):
        """Gap 30 to 10 points; men fall by 15 of the 20, women rise by 5: 75 %."""
        found = levelling_down(*selected((100, 150), (400, 250)), GROUPS)
        assert found.verdict == DOWN
        assert found.warns
        np.testing.assert_allclose((found.gap_before, found.gap_after, found.closing), (0.3, 0.1, 0.2))
        np.testing.assert_allclose((found.lowered, found.raised), (0.75, 0.25))
        assert 0 < found.closing_low < 0.2 < found.closing_high
        assert 0.6 < found.lowered_low < 0.75 < found.lowered_high < 0.9
        assert "of which 15.0 (75 %) because men were refused more often: levelling down." in found.sentence
        assert found.sentence.startswith("The gap in favourable decisions closed by 20.0 points (95 % interval ")

    def test_women_favoured_more_often(self):
        found = levelling_down(*selected((100, 250), (400, 350)), GROUPS)
        assert (found.verdict, found.warns) == (UP, False)
        assert "of which 15.0 (75 %) because women were favoured more often: levelling up." in found.sentence

    @pytest.mark.parametrize("women", [(100, 100), (100, 60)])
    def test_nobody_gained(self, women):
        found = levelling_down(*selected(women, (400, 150)), GROUPS)
        assert (found.verdict, found.lowered, found.raised, found.warns) == (NOBODY, 1.0, 0.0, True)
        assert (
            "all of it because men were refused more often while women were not favoured more often: levelling down."
            in found.sentence
        )

    def test_nobody_lost(self):
        found = levelling_down(*selected((100, 300), (400, 420)), GROUPS)
        assert (found.verdict, found.lowered) == (UP, 0.0)
        assert "all of it because women were favoured more often" in found.sentence

    def test_exactly_half_is_not_more_than_half(self):
        assert levelling_down(*selected((100, 200), (400, 300)), GROUPS).verdict == UP
        assert levelling_down(*selected((100, 198), (400, 298)), GROUPS).verdict == DOWN

    def test_noise_is_no_closing(self):
        found = levelling_down(*selected((100, 101), (400, 399)), GROUPS)
        assert found.verdict == UNCLEAR
        assert np.isnan(found.lowered)
        assert "shows no clear change, 30.0 points before and 29.8 now" in found.sentence

    def test_a_wider_gap(self):
        found = levelling_down(*selected((100, 50), (400, 400)), GROUPS)
        assert found.verdict == WIDENED
        assert "widened by 5.0 points, from 30.0 to 35.0" in found.sentence

    def test_an_order_that_turns_over_shares_the_closing(self):
        """Men -20, women +20: the gap of 30 becomes 10 the other way round; half of its 20 points each."""
        found = levelling_down(*selected((100, 300), (400, 200)), GROUPS)
        np.testing.assert_allclose((found.closing, found.lowered), (0.2, 0.5))

    def test_true_positive_rates_look_at_the_deserving_alone(self):
        """Deserving women keep 200 of 500, deserving men fall from 400 to 250; undeserving ones do not count."""
        cells = {(0, 1): (200, 0, 0, 300), (0, 0): (0, 0, 400, 100)}
        cells |= {(1, 1): (250, 150, 0, 100), (1, 0): (0, 0, 400, 100)}
        found = levelling_down(*made(cells), GROUPS, EOD)
        assert found.verdict == NOBODY
        assert "because deserving men were refused more often while deserving women were not favoured" in found.sentence

    def test_odds_add_up_both_shares_judged_rightly(self):
        """TPR: men .8 to .6, women .4 to .5 (20 and 10 points); TNR: women .9 to .8, men .6 to .6 (10 and 0): f = 30,
        r = 10, halved; the gap goes from (40 + 30) / 2 = 35 to (10 + 20) / 2 = 15."""
        cells = {(0, 1): (400, 0, 100, 500), (1, 1): (600, 200, 0, 200)}
        cells |= {(0, 0): (100, 0, 100, 800), (1, 0): (400, 0, 0, 600)}
        found = levelling_down(*made(cells), GROUPS, AAOD)
        np.testing.assert_allclose((found.gap_before, found.gap_after, found.lowered), (0.35, 0.15, 0.75))
        assert "15.0 (75 %) because deserving men were refused more often and undeserving women were" in found.sentence

    def test_one_rate_that_widens_takes_no_part(self):
        """TPR gap 40 to 0 by lowering men; TNR gap 0 to 10 because women fell: that is no part of the closing."""
        cells = {(0, 1): (400, 0, 0, 600), (1, 1): (400, 400, 0, 200)}
        cells |= {(0, 0): (100, 0, 100, 800), (1, 0): (100, 0, 0, 900)}
        found = levelling_down(*made(cells), GROUPS, AAOD)
        np.testing.assert_allclose((found.closing, found.lowered), (0.15, 1.0))
        assert "undeserving" not in found.sentence

    def test_the_larger_of_two_gaps_is_followed_alone(self):
        """TPR gap 40 to 20 by lowering men; the TNR gap of 10, closed by raising women, was not the larger one."""
        cells = {(0, 1): (400, 0, 0, 600), (1, 1): (600, 200, 0, 200)}
        cells |= {(0, 0): (100, 100, 0, 800), (1, 0): (100, 0, 0, 900)}
        found = levelling_down(*made(cells), GROUPS, "equalized_odds_difference")
        np.testing.assert_allclose((found.gap_before, found.gap_after, found.lowered), (0.4, 0.2, 1.0))
        assert "undeserving" not in found.sentence

    def test_average_odds_counts_readiness_to_favour(self):
        """(TPR + FPR) / 2 of men from .6 to .4, of women from .3 to .35."""
        cells = {(0, 1): (400, 0, 100, 500), (0, 0): (200, 0, 0, 800)}
        cells |= {(1, 1): (600, 200, 0, 200), (1, 0): (200, 200, 0, 600)}
        found = levelling_down(*made(cells), GROUPS, AOD)
        np.testing.assert_allclose((found.gap_before, found.gap_after, found.lowered), (0.3, 0.05, 0.8))

    @pytest.mark.parametrize("measure", PARTS)
    @pytest.mark.parametrize("n_groups", [2, 4])
    def test_the_rates_make_up_the_gap(self, measure, n_groups):
        """What is followed is what the metric measures: weighted differences of the pairs are its value."""
        for seed in range(5):
            before, _ = random_pair(seed, n_groups)
            C = before.confusion(n_groups)
            rates, pairs = module._rates(C), module._pairs(C, measure)
            parts = [PARTS[measure][r] * (rates[r][better] - rates[r][worse]) for r, (better, worse) in pairs.items()]
            judge = METRICS[measure]
            np.testing.assert_allclose(sum(parts), judge.disparity(judge.function(C)), atol=1e-12)

    def test_four_groups_name_the_pair_that_made_the_gap(self):
        cells = {(g, y): (k, 0, 0, 500 - k) for g, k in enumerate((100, 250, 300)) for y in (0, 1)}
        cells |= {(3, y): (310, 140, 0, 50) for y in (0, 1)}
        found = levelling_down(*made(cells), ("a", "b", "c", "d"), "demographic_parity_difference")
        np.testing.assert_allclose((found.gap_before, found.gap_after), (0.7, 0.42))
        assert (
            "because people in group d were refused more often while people in group a were not favoured"
            in found.sentence
        )

    def test_no_closing_is_announced_where_models_differ_by_chance_alone(self):
        """Two models with the same law: the gap "closes" or "widens" clearly in about 5 % of cases."""
        verdicts = [levelling_down(*random_pair(seed, n=1000), GROUPS).verdict for seed in range(120)]
        assert verdicts.count(UNCLEAR) >= 105

    def test_without_rows_of_a_class_it_is_not_defined(self):
        cells = {(0, 0): (5, 1, 1, 5), (1, 0): (5, 1, 1, 5), (1, 1): (5, 1, 1, 5)}
        found = levelling_down(*made(cells), GROUPS, EOD)
        assert found.verdict == UNDEFINED
        assert found.sentence == "The gap in true positive rates is not defined on these rows."

    def test_a_mean_over_true_classes_follows_the_class_that_is_left(self):
        cells = {(0, 1): (100, 0, 50, 850), (1, 1): (250, 150, 0, 600), (1, 0): (5, 1, 1, 5)}
        found = levelling_down(*made(cells), GROUPS, "bias_mean")
        np.testing.assert_allclose((found.closing, found.lowered), (0.2, 0.75))
        assert levelling_down(*made(cells), GROUPS, AAOD).verdict == UNDEFINED
        del cells[1, 0]  # nobody undeserving at all
        np.testing.assert_allclose(levelling_down(*made(cells), GROUPS, "bias_mean").lowered, 0.75)

    def test_few_people_are_marked(self):
        assert levelling_down(*made(BY_HAND), GROUPS).small
        assert not levelling_down(*selected((100, 150), (400, 250)), GROUPS).small

    def test_chances_give_the_same_verdict_as_decisions(self):
        before, after = selected((100, 150), (400, 250))
        rates = np.array([[0.15], [0.25]])[:, 0]
        found = levelling_down(before, answers(after.y, after.s, rates[after.s]), GROUPS)
        np.testing.assert_allclose((found.gap_before, found.gap_after, found.lowered), (0.3, 0.1, 0.75), atol=1e-6)

    def test_the_seed_decides(self):
        pair = selected((100, 150), (400, 250))
        assert levelling_down(*pair, GROUPS, seed=1) == levelling_down(*pair, GROUPS, seed=1)
        assert levelling_down(*pair, GROUPS, seed=1) != levelling_down(*pair, GROUPS, seed=2)

    def test_a_measure_that_cannot_be_followed_is_refused(self):
        with pytest.raises(UserError, match="can be followed"):
            levelling_down(*made(BY_HAND), GROUPS, "demographic_parity_ratio")

    def test_no_sentence_calls_a_model_fair(self):
        for women, men in (((100, 150), (400, 250)), ((100, 250), (400, 350)), ((100, 100), (400, 400))):
            sentence = levelling_down(*selected(women, men), GROUPS).sentence
            assert "fair" not in sentence.lower()
            assert sentence.count(". ") == 0
