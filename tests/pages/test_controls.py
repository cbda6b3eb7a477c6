"""Forms drawn from declared controls: the right widget for each kind, and values that survive what they should."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

import pages
from fairness_core.config import Control
from pages import choices
from pages.controls import words
from tests import synthetic


def form() -> None:
    from dataclasses import dataclass

    import streamlit as st

    from fairness_core.config import Budget, control, controls_of
    from pages.controls import draw_controls

    @dataclass
    class Method:
        lam: float = control(1.0, 0, 1000, help="h", symbol="λ", tradeoff=True, grid=[0, 1, 2, 3, 4])
        steep: float = control(1.0, 0, 1000, help="h", grid=[0, 0.1, 1, 10])
        notion: str = control("equal_odds", help="h", choices=("equal_odds", "parity"))
        layers: str = control("64-64", help="h")
        steps: int = control(1, 1, 20, help="h")
        shares: str = control("", help="h")

    given = st.query_params.get("lam")
    values = {"lam": float(given), "epochs": 3} if given else None
    groups = ("method", "training", "advanced")
    st.json(draw_controls(controls_of(Method) + controls_of(Budget), prefix="f", groups=groups, values=values))


@pytest.fixture
def drawn() -> AppTest:
    return AppTest.from_function(form, default_timeout=30).run()


def values(at: AppTest) -> dict[str, object]:
    assert not at.exception
    return dict(json.loads(at.json[0].value))


def test_each_kind_has_its_widget(drawn):
    assert drawn.slider(key="f-lam").max == 4  # the grid, not all that is allowed
    assert drawn.select_slider(key="f-steep").options == ["0", "0.1", "1", "10"]
    assert drawn.selectbox(key="f-notion").options == ["equal odds", "parity"]
    assert drawn.text_input(key="f-layers").value == "64-64"
    assert drawn.slider(key="f-steps").step == 1
    assert drawn.number_input(key="f-weight_decay").value == 0.0


def test_a_wide_range_of_positive_numbers_is_dragged_by_decades(drawn):
    options = drawn.select_slider(key="f-lr").options
    assert options[:4] == ["1e-06", "2e-06", "5e-06", "1e-05"]
    assert options[-1] == "1"


def test_names_defaults_and_ranges_are_told(drawn):
    assert drawn.slider(key="f-lam").label == "λ trade-off (default 1)"
    assert "Range: from 1 to 20; default: 1." in drawn.slider(key="f-steps").help
    assert drawn.text_input(key="f-shares").label == "Shares (default empty)"
    assert drawn.text_input(key="f-shares").value == ""


def test_values_come_back_in_their_types(drawn):
    drawn.selectbox(key="f-notion").set_value("parity").run()
    assert values(drawn)["notion"] == "parity"
    assert values(drawn)["steps"] == 1
    assert values(drawn)["lam"] == 1.0


def test_an_edit_stays_until_other_values_are_given(drawn):
    drawn.number_input(key="f-epochs").set_value(33).run()
    assert values(drawn)["epochs"] == 33
    drawn.query_params["lam"] = "2"
    drawn.run()
    assert values(drawn)["epochs"] == 3
    drawn.number_input(key="f-epochs").set_value(34).run()
    assert values(drawn)["epochs"] == 34


def test_a_value_beyond_the_grid_stretches_the_slider(drawn):
    drawn.query_params["lam"] = "7.5"
    drawn.run()
    assert values(drawn)["lam"] == 7.5
    assert drawn.slider(key="f-lam").max == 7.5


def several() -> None:
    from dataclasses import dataclass

    import streamlit as st

    from fairness_core.config import control, controls_of
    from pages.controls import draw_controls

    @dataclass
    class Source:
        who: str = control("sex", help="h", choices=("sex", "race", "age"), joiner=" x ", most=2)
        dial: float = control("as is", 0, 1, help="h", unset="as is")  # type: ignore[assignment]

    st.json(draw_controls(controls_of(Source), prefix="s"))


def test_several_choices_are_picked_and_a_number_may_stay_unset():
    at = AppTest.from_function(several, default_timeout=30).run()
    assert values(at) == {"who": "sex", "dial": "as is"}
    at.multiselect(key="s-who").set_value(["sex", "age"])
    at.number_input(key="s-dial").set_value(0.4).run()
    assert values(at) == {"who": "sex x age", "dial": 0.4}
    at.multiselect(key="s-who").set_value([]).run()
    assert values(at)["who"] == "sex"


def test_choices_whose_names_are_no_words_are_called_otherwise(catalogue):
    control = choices.sensitive_control(catalogue, "communities")
    assert words(control, "racepctblack") == "Black share"
    assert words(control, "racepctblack x racePctHisp") == "Black share x Hispanic share"
    assert Control.from_json(json.loads(json.dumps(control.to_json()))) == control
    assert words(choices.sensitive_control(catalogue, "adult"), "sex x race") == "sex x race"


def test_a_frontier_is_named_by_what_its_method_runs_over(catalogue):
    symbols = {method: pages.tradeoff_symbol(catalogue, method) for method in catalogue["methods"]}
    assert symbols["adversarial"] == symbols["erm"] == "λ"
    assert symbols["reject_option"] == symbols["random_perturbation"] == "target ε"
    assert symbols["reweighing"] == "γ"


def test_a_run_says_where_it_stands_on_its_own_trade_off(catalogue, store):
    store.submit([synthetic.configured(catalogue, "adversarial", lam=2.0)])
    store.submit([synthetic.configured(catalogue, "adversarial_finetune").with_option("epsilon", 0.03)])
    table = store.runs(over=pages.tradeoffs(catalogue)).set_index("method")["lam"]
    told = {method: pages.setting(catalogue, method, value) for method, value in table.items()}
    assert told == {"erm": "", "adversarial": "λ = 2", "adversarial_finetune": "target ε = 0.03"}


@pytest.mark.parametrize(("name", "words"), [("bias_sum", "to the number of classes"), ("accuracy", "From 0 to 1")])
def test_every_measure_can_be_explained(name, words):
    def popover(measure):
        import pages

        pages.measure_popover(measure)

    at = AppTest.from_function(popover, args=(name,), default_timeout=30).run()
    assert not at.exception
    assert any(words in caption.value for caption in at.caption)
