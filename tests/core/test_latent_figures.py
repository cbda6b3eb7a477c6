"""DVGE's figures: what is drawn is what the tables hold, and group classifier and model differ in more than colour."""

import numpy as np
import pandas as pd
import pytest

from fairness_core import latent_figures as lf
from fairness_core import palette

COLOUR = palette.method_colour(6)


def foci(n: int = 4) -> pd.DataFrame:
    share = np.arange(1, n + 1) / np.arange(1, n + 1).sum()
    return pd.DataFrame({"number": np.arange(n), "sensitive": share, "task": share[::-1], "with_group": 0.1 * share,
                         "with_target": -share, "active": np.arange(n) != 1})  # fmt: skip


def grid(**changes) -> pd.DataFrame:
    rows = [(s, t) for s in (0.0, 1.0, 2.0) for t in (0.0, 0.5)]
    table = pd.DataFrame(rows, columns=["sensitive", "task"])
    told = {"value": 0.05 * np.arange(6), "sd": 0.01, "seeds": 3, "live": False, "chosen": False, "own": False}
    return table.assign(**{**told, **changes})


def traces(figure):
    return {t.meta: t for t in figure.data}


def notes(figure) -> list[str]:
    return [a.text for a in figure.layout.annotations]


def test_foci_are_shares_in_pairs_beside_their_associations() -> None:
    figure = lf.foci(foci(), colour=COLOUR)
    told = traces(figure)
    assert list(told["sensitive"].x) == pytest.approx([10, 20, 30, 40])
    assert list(told["task"].x) == pytest.approx([40, 30, 20, 10])
    assert told["sensitive"].marker.pattern.shape == "/"
    assert told["task"].marker.pattern.shape is None
    assert list(told["with_target"].x) == pytest.approx([-0.1, -0.2, -0.3, -0.4])
    assert told["with_group"].marker.symbol != told["with_target"].marker.symbol
    assert list(figure.layout.yaxis.ticktext) == ["z0", "z1 (unused)", "z2", "z3"]
    assert figure.layout.xaxis2.title.text == "correlation"
    assert {"▨ group classifier", "■ model", "□ with the group", "● with the target"} <= set(notes(figure))


def test_of_many_groups_the_association_has_no_sign() -> None:
    axis = lf.foci(foci(), colour=COLOUR, ratio=True).layout.xaxis2
    assert axis.title.text == "correlation ratio"
    assert axis.range[0] == 0


def test_of_a_long_code_the_largest_are_drawn_in_their_order() -> None:
    figure = lf.foci(foci(60), colour=COLOUR)
    names = list(figure.layout.yaxis.ticktext)
    assert len(names) == lf.MOST
    numbers = [int(name[1:].split()[0]) for name in names]
    assert numbers == sorted(numbers)
    assert {0, 59} <= set(numbers)
    assert lf.height(60) == lf.height(lf.MOST) > lf.height(4)


def test_cosines_are_counted_and_those_beyond_the_limit_hatched() -> None:
    values = np.array([-0.95, -0.72, 0.0, 0.05, 0.65, 0.75, 1.0])
    told = traces(lf.cosines(values, colour=COLOUR))
    assert sum(told["within"].y) == 3
    assert sum(told["beyond"].y) == 4
    assert told["beyond"].marker.pattern.shape == "/"
    lines = [s for s in lf.cosines(values, colour=COLOUR).layout.shapes if s.x0 == s.x1]
    assert sorted(s.x0 for s in lines) == [-0.7, 0.7]


def test_flips_have_a_panel_per_focus() -> None:
    table = pd.DataFrame({"along": ["sensitive focus"] * 2 + ["task focus"] * 2, "push": [-3.0, 3.0] * 2,
                          "sensitive": [0.9, 0.0, 0.3, 0.1], "model": [0.4, 0.2, 0.8, 0.0]})  # fmt: skip
    figure = lf.flips(table, colour=COLOUR)
    told = traces(figure)
    assert list(told["sensitive:sensitive focus"].y) == pytest.approx([90, 0])
    assert list(told["model:task focus"].y) == pytest.approx([80, 0])
    assert told["model:task focus"].xaxis != told["model:sensitive focus"].xaxis
    one, two = told["sensitive:task focus"], told["model:task focus"]
    assert (one.line.dash, one.marker.symbol) != (two.line.dash, two.marker.symbol)
    assert figure.layout.xaxis2.title.text == "push along the task focus"


def test_validity_has_both_orders_a_band_and_chance() -> None:
    table = pd.DataFrame({"k": [0, 1, 2], "focus": [0.8, 0.6, 0.5], "random": [0.8, 0.7, 0.5],
                          "low": [0.8, 0.65, 0.5], "high": [0.8, 0.75, 0.5]})  # fmt: skip
    figure = lf.validity(table, colour=COLOUR, chance=1 / 3)
    told = traces(figure)
    assert list(told["focus"].y) == pytest.approx([80, 60, 50])
    assert list(told["band"].y) == pytest.approx([80, 75, 50, 50, 65, 80])
    assert figure.layout.shapes[0].y0 == pytest.approx(100 / 3)
    assert "⋯ chance, 33 %" in notes(figure)
    assert figure.layout.yaxis.range[0] <= 100 / 3


def test_the_columns_that_move_most_come_first_and_their_names_are_text() -> None:
    names = [f"c{k}" for k in range(12)] + ["<b>x</b>"]
    table = pd.DataFrame({"column": names, "forward": 0.01 * np.arange(13), "backward": -0.02 * np.arange(13)})
    figure = lf.moved(table, colour=COLOUR, hatched=True, push=3.0)
    told = traces(figure)
    assert len(told["forward"].x) == lf.TOP
    assert told["forward"].x[0] == pytest.approx(0.12)
    assert told["backward"].x[0] == pytest.approx(-0.24)
    assert figure.layout.yaxis.ticktext[0] == "&lt;b&gt;x&lt;/b&gt;"
    assert told["forward"].marker.pattern.shape == "/"
    assert told["backward"].marker.pattern.shape is None
    assert notes(figure) == ["▨ pushed by +3", "□ pushed by −3"]
    plain = lf.moved(table, colour=COLOUR, hatched=False, push=3.0)
    assert traces(plain)["forward"].marker.pattern.shape is None


def test_saliency_shows_the_columns_either_looks_at_most() -> None:
    n = 30
    table = pd.DataFrame({"column": [f"c{k}" for k in range(n)], "sensitive": np.linspace(0, 0.1, n), "task": 0.01})
    table.loc[3, "task"] = 0.5
    figure = lf.saliency(table, colour=COLOUR)
    names = list(figure.layout.yaxis.ticktext)
    assert len(names) == lf.LOOKED
    assert names[0] == "c3"
    assert "c29" in names


def test_unused_numbers_of_the_code_are_hatched_and_named() -> None:
    table = pd.DataFrame({"number": [0, 1, 2], "kl": [0.5, 0.001, 1.5], "active": [True, False, True]})
    figure = lf.nats(table, colour=COLOUR)
    told = traces(figure)
    assert list(figure.layout.yaxis.ticktext) == ["z2", "z0", "z1 (unused)"]
    assert list(told["active"].x) == [1.5, 0.5]
    assert list(told["unused"].y) == [2]
    assert told["unused"].marker.pattern.shape == "/"


def test_of_many_columns_the_best_and_the_worst_are_kept() -> None:
    table = pd.DataFrame({"column": [f"c{k}" for k in range(60)], "explained": np.linspace(1, -0.5, 60)})
    table.loc[5, "explained"] = np.nan
    figure = lf.explained(table, colour=COLOUR)
    told = traces(figure)["explained"]
    assert len(told.x) == lf.MOST
    assert told.x[0] == 100
    assert min(told.x) == -10
    assert "-50.0 %" in told.hovertext[-1]


def test_losses_stand_on_the_axis_of_the_whole_training() -> None:
    table = pd.DataFrame({"step": [1.0, 2.0], "reconstruction": [9.0, 8.0], "kl": [0.1, 0.2]})
    figure = lf.losses(table, colour=COLOUR, of=20)
    assert tuple(figure.layout.xaxis.range) == (0, 20)
    assert list(traces(figure)["kl"].y) == [0.1, 0.2]
    assert traces(figure)["kl"].yaxis == "y2"


def test_the_map_prints_every_value_and_frames_two_cells() -> None:
    table = grid()
    table.loc[1, "chosen"], table.loc[4, "own"] = True, True
    table.loc[5, ["value", "seeds"]] = np.nan, 0
    table.loc[3, "live"] = True
    figure = lf.grid(table, colour=COLOUR)
    drawn = traces(figure)["grid"]
    assert [list(row) for row in drawn.text] == [["0.0", "10.0", "20.0"], ["5.0", "~15.0", ""]]
    shapes = {s.name: s for s in figure.layout.shapes}
    assert (shapes["chosen"].x0 + shapes["chosen"].x1) / 2 == 0
    assert (shapes["chosen"].y0 + shapes["chosen"].y1) / 2 == 1
    assert (shapes["own"].x0 + shapes["own"].x1) / 2 == 2
    assert shapes["own"].line.dash != shapes["chosen"].line.dash
    assert notes(figure) == ["▢ chosen on validation", "⬚ this run", "~ unfinished"]
    assert drawn.customdata[0][1].startswith("<b>η_s = 1, η_t = 0</b><br>10.00, seeds: 3")


def test_an_empty_map_and_one_of_equal_values_can_be_drawn() -> None:
    for value in (np.nan, 0.7):
        figure = lf.grid(grid(value=value), colour=COLOUR)
        drawn = traces(figure)["grid"]
        assert drawn.zmax > drawn.zmin
        assert notes(figure) == []
