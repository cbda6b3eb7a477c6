"""BaDe's tables: the choice on validation, and one table trained for real on a small budget."""

from dataclasses import replace

import pytest

from fairness_core import bade_tables
from fairness_core.bade_tables import CELEBA, CLASSES, NUMBERS, TABULAR, Result, Study, bade_figure2


def test_a_quick_study_is_smaller_and_still_sees_both_ends() -> None:
    quick = TABULAR["MEPS, race"].quicker()
    assert (quick.seeds, quick.path, quick.laws) == (2, (0.0, 50.0, 100.0, 150.0), ("inverse",))
    assert CELEBA.quicker().seeds == 1


def result(gap: float, performance: float, *, floor: float = 1.0, study: Study) -> Result:
    names = study.yardstick.measures
    measured = dict(zip(names, (gap, performance, 80.0), strict=True))
    return Result({"validation": measured, "test": measured}, dict.fromkeys(bade_tables.SAID, 0.0), floor)


@pytest.mark.parametrize("yardstick", [CLASSES, NUMBERS])
def test_the_table_tells_what_validation_chose(
    monkeypatch: pytest.MonkeyPatch, yardstick: bade_tables.Yardstick
) -> None:
    study = Study("adult", {}, {"BaDe": (3.63, 81.67), "DBA": (4.0, 80.0)}, path=(0.0, 50.0, 100.0), laws=("inverse",),
                  seeds=2, yardstick=yardstick, factors=(0.5, 1.0))  # fmt: skip
    gaps = {None: 11.0, 0.0: 11.0, 50.0: 3.0, 100.0: 9.0, 0.5: 6.0, 1.0: 4.0}
    monkeypatch.setattr(bade_tables.catalogue, "build", lambda data_dir: {})
    monkeypatch.setattr(
        Study, "configs", lambda self, known, method, options, seeds: [next(iter(options.values()), None)] * seeds
    )
    monkeypatch.setattr(
        bade_tables,
        "trained",
        lambda study, configs, data_dir: [
            result(gaps[rate] + i % 2 / 10, 70.0, study=study) for i, rate in enumerate(configs)
        ],
    )
    plain, row, sibling = bade_tables.rows_of("made up", study, None)
    assert plain["noise_floor"] == pytest.approx(1.0)
    assert plain["bits"] == row["bits"] == 32
    assert row["chosen"]["strength"] == 50.0
    assert row["reduction_above_floor"] == pytest.approx(100 * (1 - 2.05 / 10.05))
    assert row["paper"] == {"odds": 3.63, "eacc": 81.67}
    assert [step["strength"] for step in row["valley"]] == [0.0, 50.0, 100.0]
    assert row["ours"][yardstick.gap]["by_seed"] == [3.0, 3.1]
    assert (sibling["method"], sibling["chosen"]["strength"]) == ("dba", 100.0)
    assert sibling["paper"] == {"odds": 4.0, "eacc": 80.0}


def test_a_small_table_is_trained_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(TABULAR["Adult, sex"], training={"epochs": 1, "lr": 5e-3})
    monkeypatch.setitem(TABULAR, "Adult, sex", small)
    table = bade_figure2(True)
    erm, bade = table["rows"]
    assert erm["ours"]["seeds"] == bade["ours"]["seeds"] == 2
    assert 0 < erm["noise_floor"] < 5
    assert len(bade["valley"]) == 3
    assert bade["ours"]["accuracy"]["mean"] > 70
    assert -1 <= table["metrics"]["spearman_artificial_bias"] <= 1
