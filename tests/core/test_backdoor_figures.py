"""BaDe's figures: what is drawn is what the tables hold, and whoever is who is told in more than colour."""

import numpy as np
import pandas as pd
import pytest

from fairness_core import backdoor_figures as bf
from fairness_core import palette
from fairness_core.backdoor_figures import Line, Units

COLOUR = palette.method_colour(3)


def valley(seeds: int = 3) -> pd.DataFrame:
    rates = np.array([0.0, 50.0, 100.0])
    table = pd.DataFrame({"strength": rates, "rate": rates, "exponent": 1.0, "seeds": seeds})
    means = {
        "artificial": [0.0, 0.08, 0.16], "gap": [0.14, 0.03, 0.07], "level": [0.75, 0.78, 0.77],
        "validation_gap": [0.15, 0.04, 0.06], "validation_level": [0.74, 0.78, 0.76], "teacher_gap": [0.13, 0.04, 0.08],
    }  # fmt: skip
    for name, values in means.items():
        table[name] = values
        half = 0.01 if seeds > 1 else np.nan
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - half, table[name] + half
    return table


def runs() -> pd.DataFrame:
    return pd.DataFrame({"strength": [0.0, 0.0, 50.0], "artificial": [0.0, 0.01, 0.08], "gap": [0.13, 0.15, 0.03],
                         "level": [0.75, 0.74, 0.78]})  # fmt: skip


def residual(**changes):
    settings = {
        "colour": COLOUR,
        "units": Units(),
        "floor": 0.012,
        "untreated": {"gap": 0.12, "level": 0.74, "seeds": 2},
    }
    return bf.residual(valley(), runs(), **{**settings, **changes})


def traces(figure):
    return {t.meta: t for t in figure.data}


def notes(figure) -> list[str]:
    return [a.text for a in figure.layout.annotations]


def test_the_valley_draws_means_intervals_and_single_runs() -> None:
    drawn = traces(bf.artificial(valley(), runs(), colour=COLOUR, name="artificial bias (points)"))
    assert list(drawn["artificial"].x) == [0, 50, 100]
    assert list(drawn["artificial"].y) == pytest.approx([0, 8, 16])
    assert list(drawn["artificial"].error_y.array) == pytest.approx([1, 1, 1])
    assert list(drawn["runs:artificial"].y) == pytest.approx([0, 1, 8])
    told = traces(residual())
    assert list(told["gap"].y) == pytest.approx([14, 3, 7])
    assert list(told["teacher_gap"].y) == pytest.approx([13, 4, 8])
    assert list(told["level"].y) == pytest.approx([75, 78, 77])
    assert told["level"].yaxis != told["gap"].yaxis
    assert "t over seeds" in told["gap"].hovertext[0]


def test_student_teacher_and_validation_differ_in_marker_and_dash() -> None:
    told = traces(residual())
    looks = [(told[n].marker.symbol, told[n].line.dash) for n in ("gap", "teacher_gap", "validation_gap")]
    assert len(set(looks)) == 3
    assert notes(residual())[-4:] == [
        "● student", "■ teacher, cancelling", "○ student, validation", "– – untreated, 2 seeds",
    ]  # fmt: skip


def test_one_seed_has_no_interval_and_what_is_unknown_is_not_drawn() -> None:
    table = valley(seeds=1).assign(teacher_gap=np.nan)
    figure = bf.residual(table, runs(), colour=COLOUR, units=Units(), floor=np.nan, untreated={})
    told = traces(figure)
    assert "t over seeds" not in told["gap"].hovertext[0]
    assert len(told["teacher_gap"].x) == 0
    assert "■ teacher, cancelling" not in notes(figure)
    assert not any("untreated" in text or "chance" in text for text in notes(figure))
    assert not figure.layout.shapes


def test_two_seeds_have_no_bars_since_theirs_would_be_too_wide() -> None:
    figure = bf.residual(valley(seeds=2), runs(), colour=COLOUR, units=Units())
    assert np.isnan(np.array(traces(figure)["gap"].error_y.array, float)).all()


def test_the_noise_floor_is_a_band_with_a_name() -> None:
    band = next(s for s in residual().layout.shapes if s.type == "rect")
    assert (band.y0, band.y1) == (0, pytest.approx(1.2))
    assert "band: chance alone" in notes(residual())


def test_rates_that_matter_are_marked_and_share_a_name_where_they_are_one() -> None:
    apart = bf.mark_strengths(residual(), {"chosen on validation": 60.0, "this run": 100.0})
    assert {"chosen on validation", "this run"} <= set(notes(apart))
    heights = [a.yshift for a in apart.layout.annotations if a.text in ("chosen on validation", "this run")]
    assert len(set(heights)) == 2
    lines = [s for s in apart.layout.shapes if s.x0 == s.x1]
    assert {s.x0 for s in lines} == {60, 100}
    assert len({s.line.dash for s in lines}) == 2
    one = bf.mark_strengths(residual(), {"chosen on validation": 50.0, "this run": 50.0})
    assert "chosen on validation = this run" in notes(one)


def test_beyond_the_full_rate_the_axis_goes_on_with_s() -> None:
    table = valley().assign(strength=[50.0, 100.0, 150.0], rate=[50.0, 100.0, 100.0], exponent=[1.0, 1.0, 1.5])
    single = runs().assign(strength=[50.0, 150.0, 150.0])
    figure = bf.residual(table, single, colour=COLOUR, units=Units())
    drawn = traces(figure)
    assert list(drawn["gap"].x) == [50, 100, 125]  # two percent of s take as much room as one of n
    assert list(drawn["runs:gap"].x) == [50, 125, 125]
    assert [text.split("<br>")[0] for text in drawn["gap"].hovertext] == [
        "<b>student, n = 50 %</b>", "<b>student, n = 100 %</b>", "<b>student, s = 1.5</b>"
    ]  # fmt: skip
    axis = figure.layout.xaxis2
    assert dict(zip(axis.tickvals, axis.ticktext, strict=True))[125.0] == "s 1.5"
    assert axis.title.text == "injection rate n (%), then strength s at n = 100 %"
    assert axis.range[0] < 0 < 125 < axis.range[1]
    marked = bf.mark_strengths(figure, {"chosen on validation": 150.0})
    assert 125 in {s.x0 for s in marked.layout.shapes}
    assert next(a.xanchor for a in marked.layout.annotations if a.text == "chosen on validation") == "right"
    alone = residual().layout.xaxis2
    assert (alone.title.text, list(alone.ticktext)[-1]) == ("injection rate n (%)", "100")


def test_names_of_s_that_would_touch_are_left_out() -> None:
    table = pd.concat([valley(), valley()], ignore_index=True)
    table["strength"] = [0.0, 100.0, 110.0, 150.0, 160.0, 300.0]
    table["rate"], table["exponent"] = np.minimum(table["strength"], 100), np.maximum(table["strength"] / 100, 1)
    ticks = bf.artificial(table, runs(), colour=COLOUR, name="bias").layout.xaxis.ticktext
    assert list(ticks)[5:] == ["100", "s 1.5", "s 3"]


def test_a_single_step_beyond_the_full_rate_has_its_name() -> None:
    table = valley().assign(strength=[50.0, 100.0, 125.0], rate=[50.0, 100.0, 100.0], exponent=[1.0, 1.0, 1.25])
    axis = bf.artificial(table, runs(), colour=COLOUR, name="bias").layout.xaxis
    assert (axis.tickvals[-1], axis.ticktext[-1]) == (112.5, "s 1.25")


def judged(*names: str, accuracy: float = 0.8) -> pd.DataFrame:
    table = pd.DataFrame({"name": names})
    for column, value in {"gap": 0.1, "level": 0.75, "accuracy": accuracy}.items():
        table[column] = value + 0.01 * np.arange(len(names))
        table[f"{column}_low"], table[f"{column}_high"] = table[column] - 0.02, table[column] + 0.02
    return table


VIEWS = ("no trigger", "all: trigger <b>x</b>", "all: trigger y", "reinforcing", "cancelling")


def test_views_have_a_row_each_and_a_panel_per_measure() -> None:
    figure = bf.by_view(judged(*VIEWS), colour=COLOUR, units=Units())
    told = traces(figure)
    assert set(told) == {"gap", "level", "accuracy"}
    assert list(told["gap"].x) == pytest.approx([10, 11, 12, 13, 14])
    assert told["gap"].marker.color[-1] == COLOUR
    assert len({told["gap"].marker.symbol[k] for k in (0, 1, 3, 4)}) == 4
    assert figure.layout.yaxis.ticktext[1] == "all: trigger &lt;b&gt;x&lt;/b&gt;"
    assert figure.layout.xaxis.range[0] == 0


def test_of_a_number_there_is_no_accuracy() -> None:
    figure = bf.by_view(judged(*VIEWS, accuracy=np.nan), colour=COLOUR, units=Units("gap of errors", "EErr", 1.0, 3))
    assert set(traces(figure)) == {"gap", "level"}
    assert "gap of errors: 0.100 (0.080 to 0.120)" in traces(figure)["gap"].hovertext[0]


def test_models_are_bars_with_their_numbers_and_the_untreated_is_grey() -> None:
    figure = bf.models(judged("untreated", "teacher, cancelling", "student"), colour=COLOUR, units=Units())
    told = traces(figure)
    assert list(told["gap"].x) == pytest.approx([10, 11, 12])
    assert told["gap"].marker.line.color[0] == palette.UNTREATED
    assert told["gap"].marker.color[2] == COLOUR
    assert [text.strip() for text in told["label:gap"].text] == ["10.0", "11.0", "12.0"]
    assert (np.array(told["label:gap"].x) >= np.array(told["gap"].x) + 1.9).all()  # beside the interval, not on it


def test_lines_over_the_epochs_break_where_the_student_starts() -> None:
    looks = pd.DataFrame({"epoch": [-1.0, 0.0, 1.0, 2.0], "phase": [0, 0, 1, 1], "odds": [0.2, 0.1, 0.12, 0.1],
                          "eacc": [0.7, 0.75, 0.74, np.nan]})  # fmt: skip
    panels = {"Odds (points)": [Line("odds", "Odds", COLOUR)], "EAcc (%)": [Line("eacc", "EAcc", COLOUR, "dash")]}
    figure = bf.mark_student(bf.over_epochs(looks, panels, first=-1, last=2))
    odds = traces(figure)["odds"]
    assert np.isnan(odds.y[2])
    assert [v for v in odds.y if not np.isnan(v)] == pytest.approx([20, 10, 12, 10])
    assert len(traces(figure)["eacc"].x) == 4
    assert figure.layout.yaxis2.range[1] == 104
    assert {"← teacher", "student →"} <= set(notes(figure))
