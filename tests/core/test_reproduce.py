"""The tables: their shape quickly, their figures behind `make test-full`."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairness_core import reproduce
from fairness_core.__main__ import main
from fairness_core.datasets.celeba import AEDA_TARGETS
from tests.pictures import write_celeba

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_summary_is_in_percent_with_the_sample_standard_deviation() -> None:
    found = reproduce.summary([0.8, 0.9])
    assert found["mean"] == pytest.approx(85)
    assert found["sd"] == pytest.approx(7.0710678)
    assert found["seeds"] == 2


def test_ffb_adult_reports_paper_and_ours_side_by_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    confusion = np.array([[[80, 5], [5, 10]], [[60, 10], [10, 20]]])
    monkeypatch.setattr(reproduce, "test_confusions", lambda configs, data_dir: [confusion] * len(configs))
    assert main(["reproduce", "ffb-adult", "--quick", "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    (row,) = told["rows"]
    assert row["paper"]["accuracy"] == {"mean": 85.35, "sd": 0.34}
    assert row["ours"]["accuracy"]["mean"] == pytest.approx(85.0)
    assert row["ours"]["demographic_parity_difference"]["mean"] == pytest.approx(15.0)
    assert row["ours"]["accuracy"]["seeds"] == 3


def test_an_unknown_table_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "table-nope"]) == 2
    said = capsys.readouterr().err
    assert "table-nope" in said
    assert "Traceback" not in said


@pytest.mark.full
def test_ffb_adult_comes_within_half_a_point_of_the_printed_figures() -> None:
    found = reproduce.TABLES["ffb-adult"](False, None)["metrics"]
    assert found["accuracy"] == pytest.approx(85.35, abs=0.5)
    assert found["demographic_parity_difference"] == pytest.approx(16.67, abs=0.5)


@pytest.mark.full
@pytest.mark.parametrize("name", ["bootstrap", "events", "frontier", "drag", "start"])
def test_benchmarks_run(name: str) -> None:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert json.loads(json.dumps(module.run(quick=True)))


@pytest.mark.full
@pytest.mark.parametrize(
    ("table", "accuracy", "within", "parity", "spread"),
    [("ffb-compas", 67.13, 1.06, 16.83, 3.48), ("ffb-bank", 91.17, 0.57, 10.88, 4.27)],
)
def test_the_other_tables_come_within_the_benchmarks_own_spread(
    real_data: Path, table: str, accuracy: float, within: float, parity: float, spread: float
) -> None:
    found = reproduce.TABLES[table](False, real_data)["metrics"]
    assert found["accuracy"] == pytest.approx(accuracy, abs=within)
    assert found["demographic_parity_difference"] == pytest.approx(parity, abs=spread)


def test_figure_2_reports_a_correlation_over_34_points(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_cache: Path
) -> None:
    write_celeba(tmp_path, n=200)
    rng = np.random.default_rng(0)
    made = rng.integers(5, 30, (17, 2, 2, 2))
    monkeypatch.setattr(reproduce, "test_confusions", lambda configs, data_dir: [made] * len(configs))
    told = reproduce.TABLES["aeda-figure2"](False, tmp_path)
    assert len(told["rows"]) == 34
    assert {row["target"] for row in told["rows"]} == set(AEDA_TARGETS)
    assert -1 <= told["metrics"]["spearman_low"] <= told["metrics"]["spearman"] <= told["metrics"]["spearman_high"] <= 1
