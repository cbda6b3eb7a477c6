"""The comparison of DVGE: what a line of points is worth, by hand, and that codes are shared along the way."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairness_core import dvge_tables
from fairness_core.config import UserError
from fairness_core.datasets import load, south_german
from fairness_core.dvge_tables import ACCURACY, ALLOWED, GAPS, MEASURES, WORST, Comparison, Line, Study, summaries
from tests.published import write_tables


def rows(line: str, points: list[tuple[float, float, float, float]], split: int = 0) -> list[dict[str, object]]:
    """points: accuracy and gap on validation, then on test."""
    return [
        {"line": line, "point": p, "split": split, "seed": 0, f"constant_{ACCURACY}": 0.5}
        | {f"{stage}_{name}": 0.0 for stage in ("validation", "test") for name in MEASURES}
        | {f"validation_{ACCURACY}": v, f"test_{ACCURACY}": t}
        | {f"validation_{gap}": vg for gap in GAPS} | {f"test_{gap}": tg for gap in GAPS}
        for p, (v, vg, t, tg) in enumerate(points)
    ]  # fmt: skip


def test_the_front_and_the_best_point_are_chosen_on_validation_and_told_on_test() -> None:
    points = [(0.80, 0.30, 0.79, 0.31), (0.79, 0.10, 0.77, 0.12), (0.70, 0.01, 0.90, 0.00), (0.75, 0.20, 0.99, 0.01)]
    table = pd.DataFrame([*rows("erm", points[:1]), *rows("some", points)])
    plain, some = summaries(table, ACCURACY)
    assert plain["hypervolume"]["mean"] == pytest.approx((WORST - 0.31) * 0.29)
    # the last point is dominated on validation, so its luck on test does not count
    assert some["hypervolume"]["mean"] == pytest.approx(WORST * 0.40)
    best = some["best"]
    assert best["point"] == 1
    assert best[GAPS[0]]["mean"] == pytest.approx(0.12)
    assert best["reduction"] == pytest.approx(1 - 0.12 / 0.31)
    assert ALLOWED == 0.02


def test_a_line_that_costs_too_much_everywhere_has_no_best_point_and_intervals_are_over_splits() -> None:
    told = []
    for split, accuracy in enumerate((0.70, 0.72)):
        told += rows("erm", [(0.8, 0.3, 0.8, 0.3)], split) + rows("dear", [(0.6, 0.0, accuracy, 0.0)], split)
    _, dear = summaries(pd.DataFrame(told), ACCURACY)
    assert dear["best"] is None
    assert dear["hypervolume"]["n"] == 2
    assert dear["hypervolume"]["mean"] == pytest.approx(WORST * 0.21)
    assert dear["hypervolume"]["low"] < dear["hypervolume"]["mean"] < dear["hypervolume"]["high"]


def test_lines_share_their_codes_and_a_second_attribute_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(south_german, "ROWS", 400)
    data = write_tables(tmp_path / "data", 400)
    lines = (
        Line("erm", "erm", ({},)),
        Line("dvge", "dvge", ({"eta_sensitive": 0.0, "eta_task": 0.0}, {"eta_sensitive": 1.0, "eta_task": 0.2})),
        Line("drop_dims", "drop_dims", ({"top_k": 0}, {"top_k": 3})),
        Line("erm, on rows", "erm", ({},), dvge_tables.ROWS),
    )
    study = Study(
        "south_german", {"sensitive_input": "keep"}, ({"split": "2-fold"},), lines,
        {"vae_steps": 40, "size": 4, "hidden": "8"}, {"max_steps": 20, "batch_size": 64},
        rows_training={"max_steps": 20, "batch_size": 64},
    )  # fmt: skip
    costs = []
    for sensitive in ("sex", "age"):
        found = Comparison(
            Study(**{**vars(study), "options": {**study.options, "sensitive": sensitive}}), tmp_path, data
        )
        table = pd.DataFrame(found.points())
        assert list(table.groupby("line", sort=False).size()) == [1, 2, 2, 1]
        assert np.isfinite(table[f"test_{ACCURACY}"]).all()
        at = table.set_index(["line", "point"])[f"test_{ACCURACY}"]
        assert at["erm", 0] == at["dvge", 0] == at["drop_dims", 0]  # the plain model on the same codes
        assert found.validity()["n"] == 1
        costs.append(found.seconds["codes"])
    assert len([*tmp_path.glob("*.safetensors")]) == 1
    assert costs[1] < costs[0]


def test_halves_are_the_same_rows_whatever_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(south_german, "ROWS", 400)
    folder = write_tables(tmp_path, 400)
    options = {"split": "2-fold", "sensitive_input": "keep"}
    sex, age, other = (
        load("south_german", {**options, "sensitive": s, "fold": fold}, folder)
        for s, fold in (("sex", 0), ("age", 0), ("sex", 1))
    )
    for role in ("train", "validation", "test"):
        assert np.array_equal(getattr(sex, role).x, getattr(age, role).x)
    assert [len(part) for part in (sex.train, sex.validation, sex.test)] == pytest.approx([150, 50, 200], abs=2)
    assert len(sex.test) + len(other.test) == 400
    with pytest.raises(UserError, match="does not exist with split 2-fold"):
        load("south_german", {**options, "fold": 2}, folder)
