"""The palette keeps its promises: contrast with the background, and distance under every colour-vision deficiency."""

import pytest

from fairness_core import palette


@pytest.mark.parametrize(
    ("colours", "background"),
    [
        ((*palette.LIGHT, palette.UNTREATED, palette.INK, palette.FEASIBLE), palette.LIGHT_BACKGROUND),
        ((*palette.DARK, palette.UNTREATED_DARK, palette.INK_DARK, palette.FEASIBLE_DARK), palette.DARK_BACKGROUND),
    ],
)
def test_every_colour_reaches_three_to_one(colours, background):
    worst = min(colours, key=lambda c: palette.contrast(c, background))
    assert palette.contrast(worst, background) >= 3.0, worst


@pytest.mark.parametrize(
    ("colours", "grey"), [(palette.LIGHT, palette.UNTREATED), (palette.DARK, palette.UNTREATED_DARK)]
)
def test_colours_stay_apart_for_every_eye(colours, grey):
    assert palette.smallest_distance((*colours, grey)) >= 12.0
    assert palette.smallest_distance((*colours[:6], grey)) >= 19.0  # the ones that share a chart in practice


def test_contrast_of_black_on_white_is_twenty_one():
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert palette.contrast("#777777", "#777777") == pytest.approx(1.0)


def test_lab_of_white_and_of_red_match_the_published_values():
    assert palette.lab(palette.linear_rgb("#ffffff")) == pytest.approx([100, 0, 0], abs=0.02)
    assert palette.lab(palette.linear_rgb("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)


def test_deficiencies_leave_grey_grey():
    grey = palette.linear_rgb("#808080")
    for matrix in palette.DEFICIENCIES.values():
        assert grey @ matrix.T == pytest.approx(grey, abs=1e-4)


def test_streamlit_gets_ten_entries_and_every_light_colour_has_a_dark_one():
    assert len(palette.LIGHT) == len(palette.DARK) == 10  # Streamlit ignores a shorter palette
    assert set(palette.LIGHT) <= palette.on_dark().keys()


def test_few_methods_and_few_groups_share_no_colour():
    assert not {palette.method_colour(i) for i in range(5)} & {palette.group_colour(i) for i in range(5)}
    assert len({palette.method_marker(i) for i in range(10)}) == 10
