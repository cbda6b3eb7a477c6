"""Figures are drawn from tables alone, in the palette's colours, and name the traces that the browser moves."""

import itertools

import numpy as np
import pandas as pd
import pytest

from fairness_core import figures, palette


def points(series: str = "a", *, index: int = 0, **columns) -> pd.DataFrame:
    """Three values of λ from (gap 0.2, gain 0.85) down to (0.02, 0.80)."""
    gap, gain = np.array([0.20, 0.08, 0.02]), np.array([0.85, 0.84, 0.80])
    table = {
        "series": series, "title": f"method {series}", "index": index, "position": range(3), "gap": gap, "gain": gain,
        "gap_low": gap - 0.01, "gap_high": gap + 0.01, "gain_low": gain - 0.02, "gain_high": gain + 0.02,
        "front": True, "trivial": False, "live": False, "hover": ["one", "two", "three"],
    }  # fmt: skip
    return pd.DataFrame({**table, **columns})


ANCHORS = pd.DataFrame(
    {
        "title": ["untreated", "constant model"],
        "gap": [0.19, 0.0],
        "gain": [0.853, 0.76],
        "symbol": ["diamond", "x-thin"],
        "hover": ["u", "c"],
    }
)


def drawn(table: pd.DataFrame, **options):
    settings = {"anchors": ANCHORS, "epsilon": 0.05, "gap_title": "gap", "gain_title": "accuracy", **options}
    return figures.frontier(table, selected="a", **settings)


def trace(figure, meta: str):
    return next(t for t in figure.data if t.meta == meta)


def texts(figure) -> list[str]:
    return [a.text for a in figure.layout.annotations]


def test_the_frontier_draws_points_line_anchors_and_the_better_corner():
    figure = drawn(points())
    assert trace(figure, "points:a").x.tolist() == [0.20, 0.08, 0.02]
    assert trace(figure, "front:a").x.tolist() == [0.02, 0.08, 0.20]  # a line runs from left to right
    assert trace(figure, "anchor:constant model").y.tolist() == [0.76]
    assert any("better" in text for text in texts(figure))
    assert "untreated" in texts(figure)


def test_only_points_chosen_on_validation_are_joined():
    figure = drawn(points(front=[True, False, True]))
    assert trace(figure, "front:a").x.tolist() == [0.02, 0.20]


def test_the_ring_stands_at_the_position_and_the_square_at_the_best_point():
    figure = drawn(points(), position=1, best=2)
    assert (trace(figure, "ring").x.tolist(), trace(figure, "ring").y.tolist()) == ([0.08], [0.84])
    assert trace(figure, "best").x.tolist() == [0.02]
    assert trace(drawn(points()), "best").x.tolist() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["circle-open", "circle-open", "circle"]),
        ({"live": True}, ["circle-open", "circle-open", "circle-open"]),
        ({"trivial": [False, False, True]}, ["circle-open", "circle-open", "x-thin-open"]),
        ({"index": 1}, ["square-open", "square-open", "square"]),
    ],
)
def test_marker_shapes_say_feasible_live_and_trivial(changes, expected):
    assert figures.symbols(points(**changes), 0.05) == expected


def test_a_gap_of_exactly_epsilon_is_outside():
    assert figures.symbols(points(), 0.02)[2] == "circle-open"


def test_the_band_ends_at_epsilon():
    band = next(s for s in drawn(points(), epsilon=0.1).layout.shapes if s.name == "band")
    assert band.x1 == 0.1


def test_a_sweep_that_still_trains_is_labelled():
    assert any("unfinished" in text for text in texts(drawn(points(live=[False, False, True]))))
    assert not any("unfinished" in text for text in texts(drawn(points())))


def test_the_slider_belongs_to_the_selected_method_alone():
    both = pd.concat([points("a"), points("b", index=1)], ignore_index=True)
    figure = drawn(both)
    assert trace(figure, "points:a").customdata.tolist() == [0, 1, 2]
    assert trace(figure, "points:b").customdata is None
    assert "method b" in texts(figure)
    assert trace(figure, "points:a").marker.color != trace(figure, "points:b").marker.color


def test_spread_reaches_from_low_to_high():
    lines = trace(drawn(points()), "spread")
    first = np.column_stack([lines.x, lines.y])[:5]
    assert first[:2] == pytest.approx(np.array([[0.19, 0.85], [0.21, 0.85]]))
    assert np.isnan(first[2]).all()  # the pen is lifted between the two
    assert first[3:] == pytest.approx(np.array([[0.20, 0.83], [0.20, 0.87]]))
    both = pd.concat([points("a"), points("b", index=1)], ignore_index=True)
    assert sum(t.meta == "spread" for t in drawn(both).data) == 1


def test_a_frontier_without_any_point_is_still_a_chart():
    figure = drawn(points().iloc[:0])
    assert trace(figure, "ring").x.tolist() == []
    assert figure.layout.xaxis.range[0] < 0 < figure.layout.xaxis.range[1]


def test_axes_hold_every_point_and_stay_while_points_are_added_inside():
    few, all_of_them = drawn(points().iloc[[0, 2]]), drawn(points())
    assert few.layout.xaxis.range == all_of_them.layout.xaxis.range
    low, high = all_of_them.layout.yaxis.range
    assert low < 0.76
    assert high > 0.853


def test_axis_range_ignores_what_is_not_a_number():
    assert figures.axis_range([0.1, np.nan, 0.2], step=0.1) == pytest.approx((0.0, 0.3))
    assert figures.axis_range([]) == pytest.approx(figures.axis_range([0.0, 1.0]))


def test_every_solid_colour_has_a_dark_counterpart():
    figure = drawn(points(), seeds=pd.DataFrame({"gap": [0.1], "gain": [0.8]}))
    solid = {c for t in figure.data for c in (t.marker.color, t.line.color) if c}
    assert {c for c in solid if c.startswith("#")} <= palette.on_dark().keys()


def test_group_bars_carry_value_interval_and_baseline():
    groups = pd.DataFrame(
        [("Female", 0.9, 0.88, 0.91, 0.92), ("Male", 0.8, 0.79, 0.82, np.nan)],
        columns=["group", "value", "low", "high", "before"],
    )
    figure = figures.group_accuracy(groups, colour=palette.LIGHT[0])
    assert trace(figure, "now").x.tolist() == [0.9, 0.8]
    assert trace(figure, "now").error_x.arrayminus == pytest.approx([0.02, 0.01])
    assert trace(figure, "label").text == ("90.0%", "80.0%")
    assert figure.layout.xaxis.range[0] == 0  # bars that do not start at zero lie


def test_training_curves_share_their_steps_and_draw_nothing_for_what_is_missing():
    curves = pd.DataFrame({"step": [1, 2], "loss": [0.7, 0.5], "gap": [0.1, 0.2]})
    figure = figures.training_curves(curves, losses={"loss": "loss", "other": "other"}, biases={"gap": "gap"})
    assert [len(t.x) for t in figure.data if t.meta == "other"] in ([], [0])
    assert trace(figure, "loss").y.tolist() == [0.7, 0.5]
    assert trace(figure, "gap").yaxis == "y2"
    assert figure.layout.hovermode == "x unified"
    assert figure.layout.xaxis.matches == "x2"


def test_names_of_many_lines_take_a_second_row_and_the_margin_grows_with_them():
    names = [
        "artificial bias",
        "teacher odds clean",
        "teacher odds cancelling",
        "teacher odds reinforcing",
        "agreement",
    ]
    curves = pd.DataFrame({"step": [1], "loss": [0.7], "gap": [0.1], **{name: [0.5] for name in names}})
    lines = {name: name for name in names}
    figure = figures.training_curves(curves, losses={"loss": "loss"}, biases={"gap": "gap"}, gauges=lines)
    placed = {a.text: (a.xshift, a.yshift) for a in figure.layout.annotations}
    assert [placed[name][1] for name in names] == [15, 15, 15, 0, 0]
    assert placed[names[0]][0] == placed[names[3]][0] == 0
    assert 0 < placed[names[1]][0] < placed[names[2]][0] < 348 - 5 * len(names[2])
    assert figure.layout.margin.t == 24
    assert figure.layout.yaxis2.tickformat == figure.layout.yaxis3.tickformat == figures.PERCENT == ".1~%"
    above = figures.training_curves(curves, losses=lines, biases={"gap": "gap"})
    assert above.layout.margin.t == 39


def test_the_losses_of_an_autoencoder_have_a_panel_of_their_own_in_nats():
    curves = pd.DataFrame({"step": [1, 2], "loss": [np.nan, 0.5], "gap": [np.nan, 0.2], "vae_kl": [3.0, np.nan]})
    figure = figures.training_curves(curves, losses={"loss": "loss"}, biases={"gap": "gap"}, coding={"vae_kl": "kl"})
    assert figure.layout.yaxis.title.text == "nats"
    assert trace(figure, "vae_kl").yaxis == "y"
    assert (trace(figure, "loss").yaxis, trace(figure, "gap").yaxis) == ("y2", "y3")


def test_a_printed_confusion_matrix_shows_share_and_count():
    cells = pd.DataFrame(
        [("no", "no", 0.9, 90), ("no", "yes", 0.1, 10), ("yes", "no", 0.4, 8), ("yes", "yes", 0.6, 12)],
        columns=["actual", "predicted", "share", "count"],
    )
    heat = figures.confusion(cells).data[0]
    assert np.asarray(heat.z).tolist() == [[0.9, 0.1], [0.4, 0.6]]
    assert heat.text[1][1] == "60.0%<br>12"
    assert (heat.zmin, heat.zmax) == (0, 1)


def test_drawing_leaves_the_tables_as_they_were():
    table, anchors = points(), ANCHORS.copy()
    before = table.copy()
    drawn(table, anchors=anchors)
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(anchors, ANCHORS)


def test_markers_differ_wherever_colours_do():
    first = [palette.method_marker(i) for i in range(6)]
    assert all(a != b for a, b in itertools.combinations(first, 2))
