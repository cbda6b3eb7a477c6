"""Figures of the data page: what they draw, in whose colour, and that names from the data stay names."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from fairness_core import attribute_figures, data_figures, health, palette

COUNTS = np.array([[80, 20], [30, 70], [5, 5]])
GROUPS = ("women", "men", "<b>other</b>")


def trace(figure, meta: str):
    return next(t for t in figure.data if t.meta == meta)


def texts(figure) -> list[str]:
    return [a.text for a in figure.layout.annotations]


def attributes(n: int = 3, **columns) -> pd.DataFrame:
    x, y = np.linspace(0.6, 0.02, n), np.linspace(0.1, 0.5, n)
    table = {
        "attribute": [f"a{i}" for i in range(n)], "group": x, "group_low": x - 0.01, "group_high": x + 0.01,
        "group_measure": "Cramér's V", "target": y, "target_low": y, "target_high": y, "target_measure": "Cramér's V",
    }  # fmt: skip
    return pd.DataFrame({**table, **columns})


def test_two_classes_are_filled_and_pale_bars_and_a_share_with_its_interval():
    figure = data_figures.two_classes(health.cells({"train": COUNTS}, GROUPS, ("no", "yes")), positive="yes")
    assert trace(figure, "positive").x.tolist() == [20, 70, 5]
    assert trace(figure, "rest").x.tolist() == [80, 30, 5]
    share = trace(figure, "share")
    assert share.x.tolist() == [0.2, 0.7, 0.5]
    low = health.wilson(20, 100)[0]
    assert share.error_x.arrayminus[0] == pytest.approx(0.2 - float(low))
    assert list(share.marker.color) == [palette.group_colour(i) for i in range(3)]
    assert len(set(share.marker.symbol)) == 3  # never told by colour alone


def test_names_that_look_like_markup_stay_letters():
    figure = data_figures.two_classes(health.cells({"train": COUNTS}, GROUPS, ("no", "yes")), positive="yes")
    assert "&lt;b&gt;other&lt;/b&gt;" in figure.layout.yaxis.ticktext
    assert all("<b>other" not in told for told in trace(figure, "share").hovertext)
    assert data_figures.plain("a < b & c") == "a &lt; b &amp; c"


def test_a_group_without_rows_has_no_share():
    figure = data_figures.two_classes(
        health.cells({"train": np.array([[1, 1], [0, 0]])}, ("a", "b"), ("no", "yes")), positive="yes"
    )
    assert list(trace(figure, "share").text) == ["50.0%", "no rows"]


def test_many_classes_stand_one_under_the_other_with_a_mark_per_group():
    counts = np.array([[10, 0, 30], [5, 5, 10]])
    figure = data_figures.many_classes(
        health.cells({"train": counts}, ("red", "brown"), ("0", "1", "2")), target="digit"
    )
    assert trace(figure, "rows:red").x.tolist() == [10, 0, 30]
    assert trace(figure, "share:brown").x.tolist() == [0.25, 0.25, 0.5]
    assert trace(figure, "share:red").marker.symbol != trace(figure, "share:brown").marker.symbol
    assert any("red" in text for text in texts(figure))


def test_many_group_names_are_broken_into_lines():
    names = tuple(f"a rather long group name {i}" for i in range(8))
    figure = data_figures.many_classes(
        health.cells({"train": np.ones((8, 3), int)}, names, ("0", "1", "2")), target="digit"
    )
    shifts = {a.yshift for a in figure.layout.annotations}
    assert len(shifts) > 1
    assert figure.layout.margin.t > 17 * len(shifts)


def test_missing_values_are_drawn_per_column_and_group():
    frame = pd.DataFrame({"work": [None, "x", "x", "x"], "home": [None, None, None, "x"]})
    table = health.missingness(frame, np.array([0, 0, 1, 1]), ("women", "men"))
    figure = data_figures.missing(table)
    assert trace(figure, "missing:women").x.tolist() == table.loc[table["group"] == "women", "share"].tolist()
    assert list(figure.layout.yaxis.ticktext) == list(dict.fromkeys(table["column"]))


def test_attributes_are_points_with_words_for_the_quadrants():
    figure = attribute_figures.carriers(attributes(), group="sex", target="income")
    points = trace(figure, "attributes")
    assert points.x.tolist() == pytest.approx([0.6, 0.31, 0.02])
    assert {"a0", "a1", "a2"} <= set(texts(figure))
    assert sum("group" in text for text in texts(figure)) == 2  # proxy only, and both
    assert figure.layout.xaxis.range[1] == pytest.approx(0.7)


def test_the_measure_is_the_shape_of_the_point():
    table = attributes(group_measure=["Cramér's V", "correlation ratio η", "Spearman's |ρ|"])
    points = trace(attribute_figures.carriers(table, group="sex", target="income"), "attributes")
    assert list(points.marker.symbol) == ["circle", "diamond", "square"]


def test_labels_cover_neither_each_other_nor_the_points():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 480, 40), rng.uniform(20, 300, 40)
    names = [f"attribute {i}" for i in range(40)]
    spots = attribute_figures.place_labels(x, y, names, (480, 320))
    boxes = []
    for k, spot in enumerate(spots):
        if spot is not None:
            wide = data_figures.LETTER * len(names[k])
            left = x[k] + spot["xshift"] - {"left": 0, "right": wide, "center": wide / 2}[spot["xanchor"]]
            middle = y[k] - spot["yshift"]
            boxes.append((left, middle - 6, left + wide, middle + 6))
            assert not any(left < px < left + wide and middle - 6 < py < middle + 6
                           for j, (px, py) in enumerate(zip(x, y, strict=True)) if j != k)  # fmt: skip
    assert len(boxes) > 20
    for a, b in itertools.combinations(boxes, 2):
        assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


def test_proxies_are_ranked_and_hollow_where_they_say_nothing():
    figure = attribute_figures.proxies(attributes(12), group="sex", most=11)
    bars = trace(figure, "proxies")
    assert len(bars.x) == 11
    assert bars.marker.color[0] != bars.marker.color[-1]
    assert (bars.error_x.array >= 0).all()


def test_the_dial_draws_before_and_after_of_every_cell():
    cells = pd.DataFrame(
        {"group": ["a", "a", "b"], "label": ["no", "yes", "no"], "before": [9, 5, 7], "after": [3, 5, 0]}
    )
    figure = data_figures.dial(cells)
    assert trace(figure, "before").x.tolist() == [9, 5, 7]
    assert trace(figure, "after").x.tolist() == [3, 5, 0]
    assert trace(figure, "after").marker.color[2] == palette.group_colour(1)


def test_the_cost_of_the_dial_marks_where_the_data_stand():
    figure = data_figures.trade(0.22, [0.0, 0.22, 1.0], [50.0, 100.0, float("nan")], 1)
    assert trace(figure, "ring").y.tolist() == [100.0]
    assert any("as found" in text for text in texts(figure))


def test_every_colour_has_a_counterpart_on_dark_ground():
    """Only colours of the palette, so that the live component can exchange them."""
    table = health.cells({"train": COUNTS}, GROUPS, ("no", "yes"))
    figures = [
        data_figures.two_classes(table, positive="yes"), attribute_figures.proxies(attributes(), group="sex"),
        attribute_figures.carriers(attributes(), group="sex", target="income"),
    ]  # fmt: skip
    known = set(palette.on_dark())
    for figure in figures:
        for drawn in figure.data:
            colours = drawn.marker.color if drawn.marker.color is not None else []
            for colour in [colours] if isinstance(colours, str) else colours:
                assert colour in known or colour.startswith("rgba("), colour


def test_a_gap_is_drawn_over_the_groups_share_and_names_are_no_markup():
    columns = ["target", "value", "group", "share", "bias", "low", "high", "n_train", "n_group", "n_rest"]
    rows = [
        ("t", "<b>yes</b>", "f", 0.3, -0.1, -0.2, 0.0, 10, 40, 50),
        ("t", "no", "f", 0.6, 0.05, 0.0, 0.1, 20, 60, 70),
    ]
    figure = data_figures.bias_by_share(pd.DataFrame(rows, columns=columns))
    (drawn,) = figure.data
    assert drawn.x.tolist() == [30, 60]
    assert np.allclose(drawn.y, [-10, 5])
    assert np.allclose(drawn.error_y.array, [10, 5])
    assert drawn.marker.color == palette.UNTREATED
    assert "&lt;b&gt;yes" in drawn.hovertext[0]
    assert "-10.0 points" in drawn.hovertext[0]
    three = pd.DataFrame([(*row[:2], group, *row[3:]) for row in rows for group in "abc"], columns=columns)
    figure = data_figures.bias_by_share(three)
    assert len({t.marker.color for t in figure.data}) == len({t.marker.symbol for t in figure.data}) == 3
    assert figure.layout.showlegend
