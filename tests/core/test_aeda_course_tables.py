"""AEDA's table 3 and figure 10: what a line says, and that tiny budgets go all the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fairness_core import aeda_course_tables as tables
from fairness_core import aeda_tables, catalogue, reproduce
from fairness_core.aeda_tables import Row
from fairness_core.config import Event, RunConfig

TINY_NETWORK = {"channels": "4-8", "width": 8}


def digits(*, told: float) -> np.ndarray:
    """Ten digits, 100 pictures per colour; of 2, 4, 6 and 8 only a share is told, the rest as the next digit."""
    C = np.zeros((2, 10, 10), np.int64)
    for t in range(10):
        right = round(100 * told) if t in (2, 4, 6, 8) else 100
        C[:, t, t] = right
        C[:, t, (t + 1) % 10] += 100 - right
    return C


def test_table_3_prints_both_measures_of_every_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(config: RunConfig, data_dir: object) -> dict[str, Event]:
        assert config.dataset_options["few_shot"] == "2, 4, 6, 8"
        C = digits(told=0.6 if config.method == "aeda" else 0.0)
        return {stage: Event(stage, 1, 1, {}, C) for stage in ("validation", "test")}

    monkeypatch.setattr(aeda_tables, "last_events", trained)
    original, robust = tables.aeda_table3(False)["rows"]
    assert original["paper"]["precision 4"] == 70.37
    assert original["paper"]["precision"] == pytest.approx((46.80 + 70.37) / 4)
    assert original["ours"]["precision 6"]["mean"] == 0  # told of nobody
    assert robust["ours"]["precision 6"]["mean"] == 100
    assert robust["ours"]["accuracy 6"]["mean"] == pytest.approx(60)
    assert robust["ours"]["accuracy"]["by_seed"] == [60.0, 60.0, 60.0]
    assert robust["ours"]["seeds"] == 3


def test_table_3_fills_classes() -> None:
    config = tables.FEW_ROWS["AEDA robust"].config(catalogue.build(), {"digits": "5000"}, 0)
    assert config.method_options["balance_mode"] == "fill_classes"
    assert config.method_options["variant"] == "robust"


def test_figure_10_has_a_curve_per_variant_that_begins_with_its_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "COURSE_QUICK", {"epochs": 2, "batch_size": 1200})
    monkeypatch.setattr(tables, "COURSE_NETWORK_QUICK", TINY_NETWORK)
    several = {name: tables.COURSES[name] for name in ("pre", "once", "robust")}
    short = {name: replace(row, options={**row.options, "steps": 1}) for name, row in several.items()}
    monkeypatch.setattr(tables, "COURSES", short)
    told = tables.aeda_fig10(True)
    rows = {row["series"]: row for row in told["rows"]}
    assert list(rows) == ["pre", "once", "robust", "robust, frozen"]
    for row in rows.values():
        assert len(row["epoch"]) == len(row["r"]) == len(row["bias_sum"]) > 0
        assert all(0 <= r <= 1 for r in row["r"])
        assert (row["chance"], row["n"]) == (0.5, 500)
        assert row["epoch"][-1] == 2.0
    assert rows["pre"]["epoch"][0] >= 0  # the looks at the networks that judge are left out
    assert rows["once"]["epoch"][0] > 1
    assert told["metrics"]["robust r last"] == rows["robust"]["r"][-1]


def test_a_line_goes_before_the_training_of_its_table() -> None:
    config = Row("erm", training={"epochs": 3}).config(
        catalogue.build(), {"digits": "5000"}, 1, network={"width": 16}, training={"epochs": 9, "lr": 0.01}
    )
    assert (config.training["epochs"], config.training["lr"], config.model_options["width"]) == (3, 0.01, 16)


def test_they_can_be_asked_for_by_name() -> None:
    assert {"aeda-table3", "aeda-fig10"} <= set(reproduce.TABLES)
