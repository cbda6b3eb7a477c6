"""Charts of the thresholds page: what is drawn, what is named, and what leaves the chart is told in words."""

import numpy as np
import pandas as pd
import pytest

from fairness_core.threshold_figures import roc_curves, score_densities, threshold_curves, two_thresholds


def bars(names: list[str], first: float) -> pd.DataFrame:
    """Ten bins per group, `first` of its people in the lowest one."""
    rows = [
        {"group": name, "place": (k + 0.5) / 10, "share": first if k == 0 else (1 - first) / 9}
        for name in names
        for k in range(10)
    ]
    return pd.DataFrame(rows)


def told(figure) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def test_each_group_is_a_line_with_its_name_and_mark():
    figure = score_densities(bars(["women", "men"], 0.1))
    assert [t.meta for t in figure.data] == ["group:0", "group:1"]
    assert figure.data[0].line.dash != figure.data[1].line.dash
    assert told(figure) == ["● women", "■ men"]
    assert figure.layout.yaxis.range[1] >= 0.1


def test_bars_that_leave_the_chart_are_told_in_words():
    figure = score_densities(bars(["women", "men"], 0.91))
    assert figure.layout.yaxis.range[1] < 0.05
    assert "↑ in the lowest bin: women 91%, men 91%" in told(figure)
    many = score_densities(bars([f"a rather long group name {g}" for g in range(8)], 0.91))
    assert told(many) == ["↑ in the lowest bin: 91% to 91% of a group"]


def curve(trivial: np.ndarray, gap: float = 0.12) -> pd.DataFrame:
    tau = np.linspace(0, 1, 11)
    table = {"threshold": tau, "rho": 0.7, "rho_low": 0.68, "rho_high": 0.72, "gap": -gap, "gap_low": -gap - 0.02}
    return pd.DataFrame({**table, "gap_high": -gap + 0.02, "trivial": trivial})


def test_trivial_zones_are_hatched_in_both_rows_and_the_axis_of_the_gap_is_symmetric():
    trivial = np.zeros(11, bool)
    trivial[[0, 8, 9, 10]] = True
    figure = threshold_curves(curve(trivial))
    zones = [t for t in figure.data if t.meta == "trivial"]
    assert [(min(t.x), max(t.x)) for t in zones] == [(0, 0), (0, 0), (pytest.approx(0.8), 1), (pytest.approx(0.8), 1)]
    assert all(t.fillpattern.shape == "/" for t in zones)
    low, high = figure.layout.yaxis2.range
    assert low == -high
    assert high >= 0.14


def test_roc_has_chance_and_a_curve_per_group():
    table = pd.DataFrame(
        {"group": ["a", "a", "b", "b"], "fpr": [0, 1, 0, 1], "tpr": [0.2, 1, 0.5, 1], "threshold": 0.5}
    )
    figure = roc_curves(table)
    assert [t.meta for t in figure.data] == ["chance", "group:0", "group:1"]
    assert figure.layout.xaxis.title.text == "false positive rate"


def test_the_map_names_both_groups_and_escapes_them():
    figure = two_thresholds("<b>x</b>", "men")
    assert figure.layout.xaxis.title.text == "τ of &lt;b&gt;x&lt;/b&gt;"
    assert [t.meta for t in figure.data] == ["rho", "gaps"]
