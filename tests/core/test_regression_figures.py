"""Figures of a regression: every cell where its table says, few rows hollow, names from the data no markup."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairness_core import regression_figures

BINS, GROUPS = ("< 30", ">= 30"), ("<b>women</b>", "men")


@pytest.fixture
def cells() -> pd.DataFrame:
    frame = pd.DataFrame({"bin": np.repeat(BINS, 2), "group": np.tile(GROUPS, 2), "n": [50, 12, 40, 60]})
    frame["small"] = frame["n"] < 30
    for name, values in (("mean_error", [1.0, -2.0, 0.5, np.nan]), ("absolute_error", [2.0, 3.0, 1.5, np.nan])):
        frame[name] = values
        frame[f"{name}_low"], frame[f"{name}_high"] = frame[name] - 0.5, frame[name] + 1.0
    return frame


def trace(figure, meta):
    return next(t for t in figure.data if t.meta == meta)


def test_every_cell_stands_at_its_error_with_its_interval(cells):
    figure = regression_figures.errors_by_bin(cells, unit="years")
    men = trace(figure, "mean_error:men")
    assert men.x[0] == -2.0
    assert np.isnan(men.x[1])
    assert (men.error_x.arrayminus[0], men.error_x.array[0]) == (0.5, 1.0)
    assert trace(figure, "absolute_error:men").x[0] == 3.0
    assert figure.layout.yaxis.ticktext == ("&lt; 30", "&gt;= 30")
    assert figure.layout.xaxis.title.text == "signed mean error<br>years"


def test_few_rows_are_hollow_and_every_cell_says_how_many(cells):
    figure = regression_figures.errors_by_bin(cells, unit="years")
    assert list(trace(figure, "mean_error:men").marker.symbol) == ["square-open", "square"]
    assert "few rows" in trace(figure, "mean_error:men").hovertext[0]
    told = {a.text for a in figure.layout.annotations}
    assert {"n = 50", "n = 12", "n = 40", "n = 60"} <= told


def test_names_from_the_data_are_no_markup(cells):
    text = regression_figures.errors_by_bin(cells, unit="<i>years</i>").to_json()
    assert "<b>women" not in text
    assert "<i>years" not in text
    assert "&lt;b&gt;women" in text


def test_the_untreated_model_stands_beside_it_and_the_axes_hold_both(cells):
    before = cells.assign(mean_error=cells["mean_error"] * 10, absolute_error=9.0)
    figure = regression_figures.errors_by_bin(cells, unit="years", before=before)
    assert [t.meta for t in figure.data].count("before:mean_error") == 2
    low, high = figure.layout.xaxis.range
    assert low < -20
    assert high > 10
    assert figure.layout.xaxis2.range[0] == 0


def test_axes_stand_still_among_all_cells_of_a_sweep(cells):
    wide = cells.assign(mean_error_high=50.0)
    figure = regression_figures.errors_by_bin(cells, unit="years", among=wide)
    assert figure.layout.xaxis.range[1] > 50


def test_the_chart_grows_with_groups_and_bins(cells):
    more = pd.concat([cells, cells.assign(bin="40")])
    assert regression_figures.errors_height(more) > regression_figures.errors_height(cells)


@pytest.fixture
def points() -> pd.DataFrame:
    frame = pd.DataFrame({"position": [0, 1, 2], "gap": [3.0, 2.0, 1.0], "error": [4.0, 4.5, 6.0]})
    for name in ("gap", "error"):
        frame[f"{name}_low"], frame[f"{name}_high"] = frame[name] - 0.1, frame[name] + 0.1
    return frame.assign(
        front=[True, True, False], trivial=[False, False, True], hover="", series="s", title="M", index=0
    )


def drawn(points: pd.DataFrame, **more):
    anchors = pd.DataFrame([{"title": "untreated", "gap": 3.2, "error": 3.9, "hover": ""}])
    seeds = pd.DataFrame({"gap": [3.1], "error": [4.1]})
    return regression_figures.error_frontier(
        points,
        selected="s",
        anchors=anchors,
        seeds=seeds,
        epsilon=2.5,
        gap_title="gap, years",
        error_title="error, years",
        **more,
    )


def test_the_frontier_shows_front_ring_and_trivial_points(points):
    figure = drawn(points, position=1)
    assert trace(figure, "points:s").marker.symbol == ("circle-open", "circle", "x-thin-open")
    assert list(trace(figure, "front:s").x) == [2.0, 3.0]
    assert (trace(figure, "ring").x[0], trace(figure, "ring").y[0]) == (2.0, 4.5)
    assert trace(figure, "anchor:untreated").x[0] == 3.2
    assert figure.layout.xaxis.range[0] < 0 < figure.layout.yaxis.range[0]
    assert any(a.text == "◣ better" for a in figure.layout.annotations)
    (band,) = figure.layout.shapes
    assert (band.name, band.x1) == ("band", 2.5)
    assert figure.layout.xaxis.tickformat is None


def test_another_method_is_named_in_the_chart(points):
    other = points.assign(series="o", title="<b>Other</b>", index=1)
    figure = drawn(pd.concat([points, other]))
    assert any(a.text == "&lt;b&gt;Other&lt;/b&gt;" for a in figure.layout.annotations)
    assert trace(figure, "points:o").customdata is None


def test_before_any_point_the_frontier_is_empty_but_drawn(points):
    figure = drawn(points.iloc[:0])
    assert len(trace(figure, "ring").x) == 0
