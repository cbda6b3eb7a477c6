"""The strength of an artificial bias, chosen on validation: the floor of the valley."""

import numpy as np
import pandas as pd
import pytest

from fairness_core import calibration, catalogue
from fairness_core.calibration import Path
from fairness_core.config import UserError


def points(gaps: dict[float, list[float]], performances: dict[float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"lam": rate, "seed": seed, "validation_gap": gap, "validation_performance": performances[rate],
             "test_gap": gap, "test_performance": performances[rate]}
            for rate, own in gaps.items() for seed, gap in enumerate(own)
        ]
    )  # fmt: skip


def test_the_choice_is_the_floor_of_the_smoothed_valley() -> None:
    gaps = {0.0: [0.20, 0.22], 40.0: [0.12, 0.11], 50.0: [0.06, 0.05], 60.0: [0.05, 0.06], 70.0: [0.15, 0.16]}
    found = calibration.choose(points(gaps, dict.fromkeys(gaps, 0.8)))
    assert (found.value, found.alike, found.edge, found.seeds) == (50.0, (50.0, 60.0), False, 2)
    assert found.smoothed == pytest.approx((0.115 + 2 * 0.055 + 0.055) / 4)
    assert found.test_gap == pytest.approx(0.055)


def test_a_lucky_rate_among_bad_ones_is_not_chosen() -> None:
    gaps = {50.0: [0.20], 60.0: [0.04], 70.0: [0.20], 80.0: [0.06], 90.0: [0.05], 100.0: [0.08]}
    assert calibration.choose(points(gaps, dict.fromkeys(gaps, 0.8))).value == 90.0


def test_values_far_apart_do_not_smooth_each_other() -> None:
    gaps = {100.0: [0.11], 125.0: [0.037], 150.0: [0.054], 160.0: [0.054]}  # a steep flank, a gentle one
    found = calibration.choose(points(gaps, dict.fromkeys(gaps, 0.8)))
    assert (found.value, found.smoothed) == (125.0, 0.037)
    assert calibration.choose(points({160.0: [0.06], 150.0: [0.02]}, {160.0: 0.8, 150.0: 0.8})).smoothed == 0.03


def test_of_a_number_what_costs_too_much_error_is_barred() -> None:
    gaps = {0.0: [0.20, 0.22], 50.0: [0.12, 0.10], 100.0: [0.05, 0.06]}
    table = points(gaps, {0.0: 1.0, 50.0: 1.05, 100.0: 1.06})
    table = table.rename(columns=lambda c: c.replace("performance", "error"))
    table = table.assign(validation_eerr=table["validation_error"], validation_mean_absolute_error=2.0)
    found = calibration.of_errors(table)
    assert (found.value, found.barred, found.edge) == (50.0, (100.0,), False)
    assert found.alike == (50.0,)
    assert (found.validation_performance, found.test_performance) == (-1.05, -1.05)
    untreated = {"eerr": 1.02, "mean_absolute_error": 2.0}
    assert calibration.of_errors(table, untreated=untreated).barred == (100.0,)  # the value 0 errs less than that
    known = calibration.of_errors(table[table["lam"] > 0], untreated=untreated)
    assert (known.value, known.barred) == (100.0, ())
    broken = table.assign(validation_error=table["validation_error"].where(table["lam"] > 0))
    broken["validation_eerr"] = broken["validation_error"]  # 0 is not known
    assert calibration.of_errors(broken).value == 100.0
    with pytest.raises(UserError, match="No rate"):
        calibration.of_errors(table.assign(validation_error=np.nan, validation_eerr=np.nan))
    worse = calibration.of_errors(table, untreated={"eerr": 0.5, "mean_absolute_error": 2.0})
    assert (worse.value, worse.barred) == (0.0, (50.0, 100.0))  # all cost too much: the best of them


def test_a_rate_may_cost_little_of_either_error() -> None:
    gaps = {0.0: [0.20], 50.0: [0.12], 100.0: [0.05]}
    table = points(gaps, dict.fromkeys(gaps, 1.0)).rename(columns=lambda c: c.replace("performance", "error"))
    errors = {0.0: 2.0, 50.0: 2.09, 100.0: 2.11}
    table = table.assign(validation_eerr=1.0, validation_mean_absolute_error=table["lam"].map(errors))
    assert (found := calibration.of_errors(table)).value == 50.0
    assert found.barred == (100.0,)
    assert calibration.of_errors(table.assign(validation_mean_absolute_error=2.0)).value == 100.0


def test_a_rate_may_cost_little_of_eacc() -> None:
    gaps = {0.0: [0.20, 0.22], 50.0: [0.12, 0.10], 100.0: [0.05, 0.06]}
    table = points(gaps, {0.0: 0.80, 50.0: 0.791, 100.0: 0.789})  # 1 - EAcc: 5 % is one point here
    found = calibration.of_classes(table)
    assert (found.value, found.barred, found.edge) == (50.0, (100.0,), False)
    assert found.validation_performance == pytest.approx(0.791)
    assert calibration.of_classes(table, untreated={"eacc": 0.81}).barred == (50.0, 100.0)
    assert calibration.of_classes(table, untreated={"eacc": 0.7}).barred == (100.0,)  # the value 0 is better than that
    above = table[table["lam"] > 0]
    assert calibration.of_classes(above).value == 100.0  # nothing to compare with but the smallest value
    assert calibration.of_classes(above, untreated={"eacc": 0.80}).value == 50.0
    assert calibration.choose(table).value == 100.0  # by the gap alone
    hopeless = calibration.of_classes(above, untreated={"eacc": 0.9})
    assert (hopeless.value, hopeless.barred) == (50.0, (100.0,))  # all cost too much: the best of them


def test_one_seed_is_judged_by_the_noise_floor_and_the_edge_is_told() -> None:
    table = points({0.0: [0.2], 100.0: [0.05]}, {0.0: 0.9, 100.0: 0.8})
    assert calibration.choose(table, floor=0.01).edge
    assert calibration.choose(table, floor=0.01).alike == (100.0,)
    assert calibration.choose(table, floor=0.16).alike == (0.0, 100.0)
    with pytest.raises(UserError, match="No rate"):
        calibration.choose(table.assign(validation_gap=np.nan))


def test_beyond_the_full_rate_the_path_goes_on_with_the_strength() -> None:
    path = Path()
    assert path.settings(40.0) == {"rate": 40.0, "exponent": 1.0}
    assert path.settings(100.0) == {"rate": 100.0, "exponent": 1.0}
    assert path.settings(250.0) == {"rate": 100.0, "exponent": 2.5}
    assert [path.strength(path.settings(x)) for x in (0.0, 40.0, 100.0, 110.0, 250.0)] == [0, 40, 100, 110, 250]
    assert np.isnan(path.strength({"rate": 50.0, "exponent": 2.0}))
    assert np.isnan(path.strength({"rate": 100.0, "exponent": 0.5}))
    assert path.told(80.0, 100.0, 125.0, 150.0) == "n = 80, 100 %; s = 1.25, 1.5"
    assert (path.told(0.0), path.told(300.0)) == ("n = 0 %", "s = 3")
    assert path.steps == calibration.STEPS


@pytest.mark.parametrize(
    ("rate", "exponent", "base"), [(60.0, 1.0, 1.0), (100.0, 1.5, 1.0), (60.0, 1.5, 1.5), (100.0, 0.5, 0.5)]
)
def test_a_run_lies_on_the_path_that_matches_the_counts_if_it_can(rate: float, exponent: float, base: float) -> None:
    options = {"rate": rate, "exponent": exponent}
    path = Path.through(options)
    assert path == Path(base)
    assert path.settings(path.strength(options)) == options


def test_a_path_with_its_own_s_ends_at_the_largest_there_is() -> None:
    assert Path(1.5).steps == (125.0, 150.0, 175.0, 200.0)
    assert Path(1.5).settings(200.0) == {"rate": 100.0, "exponent": 3.0}
    assert Path(1.5).told(200.0) == "s = 3"
    assert Path(0.0).steps == ()  # without a law there is nothing to strengthen
    assert np.isnan(Path(0.0).strength({"rate": 100.0, "exponent": 2.0}))


def test_the_path_is_about_controls_that_bade_has() -> None:
    controls = {c["name"]: c for c in catalogue.build(None)["methods"]["bade"]["controls"]}
    assert controls[calibration.RATE]["high"] == calibration.FULL
    assert controls[calibration.EXPONENT]["high"] == calibration.STRONGEST


def test_a_sweep_over_s_is_chosen_in_values_of_s() -> None:
    gaps = {0.9: [0.11], 1.0: [0.06], 1.1: [0.05], 1.2: [0.08]}
    found = calibration.of_sweep(points(gaps, dict.fromkeys(gaps, 0.8)), "exponent", calibration.of_classes)
    assert found is not None
    assert (found.value, found.alike, found.edge) == (1.1, (1.1,), False)
    assert found.smoothed == pytest.approx((0.06 + 2 * 0.05 + 0.08) / 4)  # neighbours a tenth of s away are near
    rates = points({0.0: [0.2], 50.0: [0.1]}, {0.0: 0.8, 50.0: 0.8})
    chosen = calibration.of_sweep(rates, "rate", calibration.of_classes)
    assert chosen is not None
    assert (chosen.value, chosen.edge) == (50.0, True)
    assert calibration.of_sweep(rates.assign(validation_gap=np.nan), "rate", calibration.of_classes) is None


@pytest.mark.parametrize(
    ("method", "over", "rate", "along"),
    [("bade", "rate", 100.0, True), ("bade", "exponent", 100.0, True), ("bade", "exponent", 50.0, False),
     ("bade", "alpha", 100.0, False), ("dba", "rate", 100.0, False)],
)  # fmt: skip
def test_which_sweeps_are_along_the_strengths(method: str, over: str, rate: float, along: bool) -> None:
    spec = {"over": over, "base": {"method": method, "method_options": {"rate": rate, "exponent": 1.0}}}
    assert calibration.is_path(spec) is along
