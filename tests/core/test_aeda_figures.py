"""Figures of what AEDA did: what is drawn is what the table says, names cover no other, and no name is markup."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from fairness_core import aeda_figures, palette


def run(series: str, title: str, place: int, r: list[float], phase: list[int] | None = None) -> pd.DataFrame:
    """The looks of one run, one per epoch."""
    n = len(r)
    return pd.DataFrame(
        {
            "series": series, "title": title, "colour": palette.method_colour(place),
            "dash": palette.method_dash(place), "marker": palette.method_marker(place),
            "epoch": np.arange(1.0, n + 1), "phase": phase or [0] * n, "transferability": r,
            "attack_success": np.linspace(0.9, 0.6, n), "class_kept": np.linspace(0.2, 0.8, n),
            "bias_mean": np.linspace(0.5, 0.1, n), "feature_difference": 0.4,
        }
    )  # fmt: skip


@pytest.fixture
def curves() -> pd.DataFrame:
    """robust, and pre, whose first two looks are of another model and have no r."""
    robust = run("a", "robust", 0, [0.9, 0.8, 0.85, 0.8])
    pre = run("b", "<b>pre</b>", 3, [np.nan, np.nan, 0.7, 0.3], [0, 0, 1, 1]).assign(epoch=[-1.5, -0.5, 1.0, 2.0])
    return pd.concat([robust, pre], ignore_index=True)


def trace(figure, meta):
    return next(t for t in figure.data if t.meta == meta)


def notes(figure) -> list[str]:
    return [a.text for a in figure.layout.annotations]


def test_a_run_looks_alike_in_every_figure(curves):
    figures = [
        (aeda_figures.shares(curves, {"attack_success": "s", "class_kept": "k"}, last=4), "class_kept"),
        (aeda_figures.over_epochs(curves, "transferability", name="r", last=4), "transferability"),
        (aeda_figures.bias_and_transfer(curves, last=4), "points"),
    ]
    for series, place in (("a", 0), ("b", 3)):
        for figure, column in figures:
            line = trace(figure, f"{column}:{series}")
            assert line.line.color == palette.method_colour(place)
            assert line.line.dash == palette.method_dash(place)
            assert line.marker.symbol == palette.method_marker(place)
    thin = trace(figures[2][0], "transferability:a")
    assert thin.marker.symbol == "circle-open"
    assert thin.line.width < trace(figures[2][0], "points:a").line.width
    assert thin.yaxis == "y2"


def test_values_stand_over_their_epochs_and_a_new_model_breaks_the_line(curves):
    figure = aeda_figures.bias_and_transfer(curves, first=-2, last=4)
    line = trace(figure, "points:b")
    assert line.x.tolist() == pytest.approx([-1.5, -0.5, np.nan, 1.0, 2.0], nan_ok=True)
    own = curves.loc[curves["series"] == "b", "bias_mean"].to_numpy() * 100
    assert line.y.tolist() == pytest.approx([*own[:2], np.nan, *own[2:]], nan_ok=True)
    r = trace(figure, "transferability:b")
    assert (r.x.tolist(), r.y.tolist()) == ([1.0, 2.0], [0.7, 0.3])


def test_chance_a_half_and_the_start_of_the_model_are_marked(curves):
    figure = aeda_figures.over_epochs(curves, "transferability", name="r", first=-2, last=4, chance=0.25)
    assert "chance 25%" in notes(figure)
    assert {s.y0 for s in figure.layout.shapes if s.y0 == s.y1} == {0.25}
    assert {s.x0 for s in figure.layout.shapes if s.x0 == s.x1} == {0}
    assert any("the model starts" in note for note in notes(figure))
    assert figure.layout.xaxis.range[0] < -2
    plain = aeda_figures.shares(curves[curves["series"] == "a"], {"attack_success": "s"}, last=4)
    assert [s.y0 for s in plain.layout.shapes] == [aeda_figures.LEAST_FILLED]
    assert notes(plain) == []


def test_the_axes_stand_still_while_the_lines_grow(curves):
    def axes(part):
        figures = (
            aeda_figures.shares(part, {"attack_success": "s", "class_kept": "k"}, last=4),
            aeda_figures.over_epochs(part, "transferability", name="r", last=4),
        )
        return [(f.layout.xaxis.range, f.layout.yaxis.range) for f in figures]

    own = curves[curves["series"] == "a"]
    assert axes(own.head(1)) == axes(own)
    assert axes(own.head(0)) == axes(own)
    empty = aeda_figures.shares(own.head(0), {"attack_success": "s", "class_kept": "k"}, last=4)
    assert {t.yaxis for t in empty.data} == {"y", "y2"}


def test_names_from_settings_are_no_markup(curves):
    figure = aeda_figures.over_epochs(curves, "transferability", name="r", last=4)
    assert "&lt;b&gt;pre&lt;/b&gt;" in notes(figure)
    assert trace(figure, "transferability:b").name == "&lt;b&gt;pre&lt;/b&gt;"


@pytest.mark.parametrize("wanted", [[10.0], [0, 0, 0], [5, 8, 90, 91, 92], [100, 100, 100, 100], []])
def test_names_are_moved_apart_and_stay_in_order_inside(wanted):
    placed = aeda_figures.spread(wanted, 100)
    assert len(placed) == len(wanted)
    assert all(b - a >= aeda_figures.APART - 1e-9 for a, b in itertools.pairwise(placed))
    assert all(-1e-9 <= at <= 100 for at in placed)
    if len(wanted) == 1:
        assert placed == wanted


def test_columns_that_moved_most_come_first_and_only_so_many():
    table = pd.DataFrame({"column": [f"<i>{k}</i>" for k in range(20)], "moved": np.linspace(2, 0.1, 20)})
    figure = aeda_figures.moved_columns(table, colour="#007edc")
    bars = trace(figure, "moved")
    assert len(bars.x) == aeda_figures.BARS
    assert bars.x.tolist() == table["moved"].head(aeda_figures.BARS).tolist()
    assert figure.layout.yaxis.ticktext[0] == "&lt;i&gt;0&lt;/i&gt;"


def attributes(known: bool) -> pd.DataFrame:
    numbers = {
        f"{who}{column}{end}": [v, v + 0.1]
        for who, column, v in (("", "bias", 0.1), ("", "bacc", 0.7), ("before_", "bias", 0.3), ("before_", "bacc", 0.6))
        for end in ("", "_low", "_high")
    }
    table = pd.DataFrame({"attribute": ["Big_Nose", "Smiling"], "share": [0.25, 0.65], **numbers})
    return table if known else table.assign(**{c: np.nan for c in table if c.startswith("before_")})


@pytest.mark.parametrize("known", [True, False])
def test_attributes_keep_their_order_and_the_untreated_model_is_grey(known):
    figure = aeda_figures.by_attribute(attributes(known), colour="#b37bc2", group="Female")
    assert trace(figure, "bias").x.tolist() == pytest.approx([10, 20])
    assert trace(figure, "bacc").x.tolist() == pytest.approx([70, 80])
    assert trace(figure, "before_bias").marker.color == palette.UNTREATED
    assert figure.layout.yaxis.ticktext[0] == "Big Nose (25% Female)"
    low, high = figure.layout.yaxis.range
    assert low > high  # the first row stands at the top
    assert ("◆ untreated" in notes(figure)) == known
