"""The table of intra- and post-processing: what a line says, and how the two families are compared."""

import dataclasses
import math

import numpy as np
import pytest

from fairness_core import intra_tables, metrics
from fairness_core.config import Event
from fairness_core.datasets import Dataset
from fairness_core.intra_tables import INTRA, POST, TREATMENTS, Result, best_threshold, finding, row
from tests.tiny import tiny_dataset

GOOD = Result(0.7, 0.01, 0.7, True, False, 1.0)
TRIVIAL = Result(0.5, 0.0, 0.5, True, True, 1.0)
WIDE = Result(0.8, 0.2, 0.0, False, False, 1.0)


def test_a_result_reads_rho_mu_and_phi_off_the_test_counts() -> None:
    C = np.array([[[60, 20], [5, 15]], [[40, 20], [10, 30]]])  # TPR .75, .75; FPR .25, .333; selection .35, .5
    found = Result.of(C, "statistical_parity_difference", 2.0)
    assert found.rho == pytest.approx((45 / 60 + 100 / 140) / 2)
    assert found.mu == pytest.approx(0.15)
    assert (found.phi, found.feasible, found.trivial, found.seconds) == (0.0, False, False, 2.0)
    assert Result.of(C, "equal_opportunity_difference", 2.0).phi == pytest.approx(found.rho)


def test_a_line_has_means_intervals_and_counts_of_flags() -> None:
    told = row(intra_tables.TABLES[0], "Random", [GOOD, TRIVIAL, WIDE])
    assert (told["family"], told["feasible"], told["trivial"], told["seeds"]) == ("intra", 2, 1, 3)
    assert told["phi"]["mean"] == pytest.approx(0.4)
    half = 4.302652729911275 * np.std([0.7, 0.5, 0.0], ddof=1) / math.sqrt(3)
    assert told["phi"]["high"] - told["phi"]["mean"] == pytest.approx(half)
    assert [run["feasible"] for run in told["by_seed"]] == [True, True, False]


def test_the_families_are_compared_pair_by_pair_and_trivial_runs_once_more_as_failures() -> None:
    results = {**{name: [WIDE, TRIVIAL] for name in POST}, **{name: [GOOD, GOOD] for name in INTRA}}
    told = finding([results, results])
    assert told["feasible_intra"]["runs"] == told["feasible_intra"]["of"] == 12
    assert (told["feasible_post"]["runs"], told["feasible_post_nontrivial"]["runs"]) == (6, 0)
    assert (told["feasible_post"]["low"], told["feasible_post"]["high"]) == pytest.approx(metrics.wilson(6, 12))
    assert told["phi_ahead"]["mean"] == pytest.approx(np.mean([0.7, 0.2]))
    assert told["phi_ahead_nontrivial"]["mean"] == pytest.approx(0.7)


def test_default_takes_the_threshold_of_validation_and_never_that_of_test(monkeypatch: pytest.MonkeyPatch) -> None:
    data: Dataset = tiny_dataset()
    monkeypatch.setattr(intra_tables, "load", lambda *_: data)
    ideal = np.where(data.validation.y == 1, 0.4, 0.2).astype(np.float32)
    finals = {
        "validation": Event("validation", 1, 1, {}, None, ideal),
        "test": Event("test", 1, 1, {}, None, np.where(data.test.y == 1, 0.9, 0.45).astype(np.float32)),
    }
    (config,) = intra_tables.TABLES[0].starts(intra_tables.catalogue.build(), [0])
    C = best_threshold(config, finals, None)
    assert C[:, :, 1].sum() == len(data.test)  # all above the threshold of validation, which lies below 0.4


def test_every_treatment_of_the_table_exists_and_gets_the_measure_where_it_takes_one() -> None:
    known = intra_tables.catalogue.build()
    problem = dataclasses.replace(intra_tables.TABLES[0], measure="average_odds_difference")
    (start,) = problem.starts(known, [3])
    for name in TREATMENTS:
        (config,) = problem.treated(known, name, [3])
        assert config.start == start
        assert config.method_options.get("measure", problem.measure) == problem.measure
