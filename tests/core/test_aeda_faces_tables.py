"""AEDA on faces: figure 2, and the lines of table 2, which are folds of methods: sums, changes, what has no answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fairness_core import aeda_faces_tables as tables
from fairness_core import reproduce
from fairness_core.aeda_tables import Row
from fairness_core.config import RunConfig, UserError
from fairness_core.datasets.celeba import AEDA_TARGETS
from tests.pictures import write_celeba


def counts(right: int, wrong: int) -> np.ndarray:
    """Two targets, 100 photographs per cell: of men's (group 1) `wrong` fewer are told right."""
    cell = np.array([[right, 100 - right], [100 - right, right]])
    other = np.array([[right - wrong, 100 - right + wrong], [100 - right + wrong, right - wrong]])
    return np.stack([np.stack([cell, other])] * 2)


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained, line by line; robust is better by 2, 4, 6, ... points and has no gap."""
    asked: list[str] = []

    def trained(line: str, setting: tables.Setting, method: str, fold: int, data_dir: object) -> np.ndarray:
        asked.append(line)
        if method == "CycleGAN":
            raise UserError("no answer")
        return counts(72 + 2 * fold, 0) if method == "AEDA robust" else counts(80, 20)

    monkeypatch.setattr(tables, "trained", trained)
    return asked


def test_folds_are_added_up_and_compared_with_the_untreated_ones(folds: list[str]) -> None:
    told = tables.aeda_table2(False, None)
    rows = {row["method"]: row for row in told["rows"]}
    assert list(rows) == list(tables.ROWS)
    assert len(folds) == 7 * 5 + 1  # what has no answer is asked once
    assert rows["CycleGAN"]["ours"] == {"not_applicable": "no answer"}
    original, robust = rows["Original"]["ours"], rows["AEDA robust"]["ours"]
    assert rows["Original"]["paper"] == {"bacc": 73.57, "bias_sum": 5.48}
    assert original["bacc"] == pytest.approx(70)
    assert original["bias_sum"] == pytest.approx(4 * 0.2)
    assert original["against_original"] is None
    assert robust["bacc"] == pytest.approx(76)
    assert (robust["folds"], robust["n"]) == (5, 5 * 400)
    assert robust["bacc_low"] < 76 < robust["bacc_high"]
    change = robust["against_original"]
    assert change["bacc"]["mean"] == pytest.approx(6)
    assert change["bacc"]["sd"] == pytest.approx(np.std([2, 4, 6, 8, 10], ddof=1))
    assert change["bias_sum"]["mean"] == pytest.approx(-0.8)
    assert robust["by_fold"][3]["bacc"] == pytest.approx(78)
    assert told["metrics"]["bacc"] == pytest.approx(76)


def test_a_fold_or_a_method_can_be_asked_for_alone(folds: list[str]) -> None:
    told = tables.aeda_table2_resnet18(False, None, "fold 2")
    assert {line.partition(", ")[2] for line in folds} == {"fold 2"}
    robust = told["rows"][-1]["ours"]
    assert robust["against_original"]["bacc"]["mean"] == pytest.approx(6)
    assert np.isnan(robust["against_original"]["bacc"]["low"])  # of one fold there is no interval
    folds.clear()
    (row,) = tables.aeda_table2(False, None, "aeda robust")["rows"]
    assert folds == [f"AEDA robust, fold {k}" for k in range(5)]
    assert row["ours"]["against_original"] is None
    with pytest.raises(UserError, match="No line of this table has 'fold 7'"):
        tables.aeda_table2(False, None, "fold 7")


def test_it_trains_every_kind_of_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_celeba(tmp_path, 240)
    monkeypatch.setattr(tables, "AEDA_TARGETS", ("Smiling", "Young"))
    network = {"channels": "4", "width": 4}
    tiny = tables.Setting(16, "small_cnn", network, {"epochs": 1, "batch_size": 64}, folds=1)
    monkeypatch.setattr(tables, "QUICK", {"small_cnn": tiny})
    short = {"AEDA robust": replace(tables.ROWS["AEDA robust"], options={"steps": 1}), "none": Row("parity")}
    names = ("Original", "Undersampling", "Reweighing")
    monkeypatch.setattr(tables, "ROWS", {**{name: tables.ROWS[name] for name in names}, **short})
    told = tables.aeda_table2(True, tmp_path)
    *_, robust, refused = (row["ours"] for row in told["rows"])
    assert "cannot handle several targets at once" in refused["not_applicable"]
    assert [row["ours"]["n"] for row in told["rows"][:4]] == [48] * 4
    assert np.isfinite(robust["by_chance"])
    assert 0 <= robust["trivial_targets"] <= 2
    assert told["network"] == "small_cnn 4 at 16 pixels, cpu"


@pytest.mark.parametrize(("method", "warmup", "steps"), [("Original", None, None), ("AEDA robust", 4, 4)])
def test_twins_of_resnet_begin_after_plain_epochs(
    method: str, warmup: int | None, steps: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_celeba(tmp_path, 120)
    asked: list[RunConfig] = []

    def judged(line: str, configs: list[RunConfig], data_dir: object) -> list[np.ndarray]:
        asked.extend(configs)
        return [counts(80, 20)]

    monkeypatch.setattr(tables, "judged", judged)
    tables.trained("a line", tables.RESNET, method, 3, tmp_path)
    (config,) = asked
    assert (config.method_options.get("warmup"), config.method_options.get("steps")) == (warmup, steps)
    assert (config.model, config.seed, config.dataset_options["fold"]) == ("resnet18", 3, 3)
    assert (config.training["lr_decay"], config.training["augment"]) == ("linear", "horizontal_flip")
    assert config.training["class_weights"] == "balanced"


def test_every_line_names_what_the_paper_prints_and_both_networks_share_the_targets() -> None:
    assert all(row.paper is not None for row in tables.ROWS.values())
    assert tables.ROWS["AEDA robust"].paper == (74.30, 3.27)
    assert (tables.RESNET.model, tables.RESNET.size) == ("resnet18", 64)
    assert tables.RESNET.data["target"] == tables.SMALL.data["target"]
    assert len(str(tables.SMALL.data["target"]).split(", ")) == 17
    assert {"aeda-table2", "aeda-table2-resnet18"} <= set(reproduce.LINED)


def test_figure_2_reports_a_correlation_over_34_points(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_cache: Path
) -> None:
    write_celeba(tmp_path, n=200)
    rng = np.random.default_rng(0)
    made = rng.integers(5, 30, (17, 2, 2, 2))
    monkeypatch.setattr(tables, "trained", lambda *_: made)
    told = reproduce.TABLES["aeda-figure2"](False, tmp_path)
    assert len(told["rows"]) == 34
    assert {row["target"] for row in told["rows"]} == set(AEDA_TARGETS)
    assert -1 <= told["metrics"]["spearman_low"] <= told["metrics"]["spearman"] <= told["metrics"]["spearman_high"] <= 1
