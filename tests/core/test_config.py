"""Controls refuse bad input in one sentence, and equal settings have equal ids."""

import dataclasses
import json
from typing import Any

import pytest

from fairness_core import catalogue
from fairness_core.config import Control, RunConfig, UserError, complete, resolve
from fairness_core.experiment import plan
from fairness_core.methods import METHODS


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    return catalogue.build()


def config(known: dict[str, Any], **changes: Any) -> RunConfig:
    return resolve(known, **{"dataset": "adult", "method": "adversarial", **changes})


@pytest.mark.parametrize("value", ["abc", None, "-1", "1e9", "nan", "inf", "", [1]])
def test_bad_lambda_is_one_sentence_with_the_value_and_the_range(known: dict[str, Any], value: object) -> None:
    with pytest.raises(UserError) as caught:
        config(known, method_options={"lam": value})
    text = str(caught.value)
    assert str(value) in text
    assert "from 0 to 1000" in text
    assert text.count(". ") == 0
    assert text.endswith(".")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "nope"}, "no dataset 'nope'"),
        ({"method": "nope"}, "no method 'nope'"),
        ({"model": "nope"}, "no model 'nope'"),
        ({"method_options": {"alpha": 1}}, "no setting 'alpha'"),
        ({"method_options": {"notion": "justice"}}, "notion = justice is not known"),
        ({"training": {"epochs": 2.5}}, "epochs = 2.5 is not a whole number"),
        ({"training": {"batch_size": 0}}, "batch_size = 0 is out of range"),
        ({"seed": -1}, "seed = -1 is out of range"),
        ({"dataset_options": {"sensitive": "income"}}, "sensitive = income is not known"),
    ],
)
def test_bad_settings_name_what_is_wrong(known: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        config(known, **changes)


def test_equal_settings_have_equal_ids_however_they_were_written(known: dict[str, Any]) -> None:
    assert config(known).id == config(known, method_options={"lam": "1"}, training={"epochs": 10.0}).id
    changed = [{"seed": 1}, {"method_options": {"lam": 2}}, {"training": {"lr": 0.01}}, {"method": "parity"}]
    ids = {config(known, **change).id for change in changed}
    assert len(ids | {config(known).id}) == 5
    assert dataclasses.replace(config(known), data_hash="other").id != config(known).id


def test_a_configuration_survives_json(known: dict[str, Any]) -> None:
    made = config(known)
    assert RunConfig.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_stack_key_ignores_seed_and_what_varies_and_nothing_else(known: dict[str, Any]) -> None:
    base = config(known).stack_key(["lam"])
    assert config(known, seed=3, method_options={"lam": 4}).stack_key(["lam"]) == base
    assert config(known, method_options={"lam": 4}).stack_key() != config(known).stack_key()
    assert config(known, method_options={"notion": "equalized_odds"}).stack_key(["lam"]) != base


def test_the_catalogue_is_plain_json_and_lists_every_method_with_its_sweep(known: dict[str, Any]) -> None:
    assert json.loads(json.dumps(known)) == known
    assert next(iter(known["methods"])) == "erm"
    for name, entry in known["methods"].items():
        assert entry["doc"]
        assert (entry["tradeoff"] is None) == (name in ("erm", "cyclegan", "label_switch"))
        assert len(set(entry["grid"])) == len(entry["grid"])
        assert len(entry["grid"]) in ((0,) if entry["tradeoff"] is None else range(5, 22))


def test_missing_options_get_their_defaults() -> None:
    controls = [Control("a", "int", 3, 0, 9), Control("b", "choice", "x", choices=("x", "y"))]
    assert complete(controls, {"b": "y"}, "thing") == {"a": 3, "b": "y"}


def test_runs_of_a_seed_are_stacked_together_and_single_seeds_across(known: dict[str, Any]) -> None:
    sweep = [config(known, seed=s, method_options={"lam": lam}) for s in range(3) for lam in range(20)]
    stacks = plan(sweep, [(105,)] * len(sweep))
    assert sorted(i for rows in stacks for i in rows) == list(range(60))
    assert all(len({sweep[i].seed for i in rows}) == 1 for rows in stacks)
    erm = [config(known, method="erm", seed=s) for s in range(5)]
    assert plan(erm, [(105,)] * 5) == [list(range(5))]
    assert plan(erm, [(105,), (105,), (99,), (105,), (99,)]) == [[0, 1, 3], [2, 4]]
    assert plan(erm, [(3, 8, 8)] * 5) == [[i] for i in range(5)]
    assert set(METHODS) == set(known["methods"])


SEVERAL = Control("who", "several", "sex", choices=("sex", "race", "age x gap", "a, b"), joiner=" x ", most=2)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("sex", ["sex"]),
        ("race x sex", ["race", "sex"]),
        ("sex,race", ["sex", "race"]),
        ("sex, a, b", ["sex", "a, b"]),
        ("age x gap x sex", ["age x gap", "sex"]),
    ],
)
def test_several_choices_are_told_apart_even_when_names_hold_the_separator(given: str, parts: list[str]) -> None:
    assert SEVERAL.parts(given) == parts
    assert SEVERAL.parse(given) == " x ".join(parts)


@pytest.mark.parametrize(
    ("given", "words"),
    [("sex x sex", "twice"), ("sex x race x a, b", "at most 2"), ("height", "not known"), ("", "not")],
)
def test_a_wrong_choice_of_several_is_one_sentence(given: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        SEVERAL.parse(given)


def test_a_run_says_in_its_shortest_form_what_it_starts_from_and_how_rows_are_prepared(known: dict[str, Any]) -> None:
    start = Control("start", "method", "erm", choices=("erm", "adversarial"), group="advanced")
    entry = {**known["methods"]["erm"], "controls": [start.to_json()]}
    here = {**known, "methods": {**known["methods"], "treat": entry}}
    plain = config(here, method="treat")
    assert plain.start == config(here, method="erm")
    made = config(here, method="treat", method_options={"start": "adversarial  lam=2.0 notion=demographic_parity"})
    assert made.method_options["start"] == "adversarial lam=2"
    assert made.start == config(here, method_options={"lam": 2})
    assert made.id != plain.id
    assert RunConfig.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert made.stack_key() != plain.stack_key()
    assert config(known).training["prepare"] == "none"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("parity", "'parity' is not a method that can stand here; choose one of erm, adversarial"),
        ("adversarial lam", "cannot be read at 'lam'"),
        ("adversarial lam=many", "lam = many is not a number"),
        ("adversarial speed=1", "has no setting 'speed'"),
        ("", "choose one of erm"),
    ],
)
def test_a_start_that_cannot_be_is_one_sentence(known: dict[str, Any], given: str, sentence: str) -> None:
    start = Control("start", "method", "erm", choices=("erm", "adversarial"))
    entry = {**known["methods"]["erm"], "controls": [start.to_json()]}
    with pytest.raises(UserError, match=sentence):
        config(
            {**known, "methods": {**known["methods"], "treat": entry}}, method="treat", method_options={"start": given}
        )


def test_a_number_may_be_left_out_where_a_word_stands_for_that() -> None:
    dial = Control("association", "float", "as is", 0, 1, unset="as is")
    assert dial.parse("as is") == "as is"
    assert dial.parse("0.3") == 0.3
    with pytest.raises(UserError, match="out of range"):
        dial.parse(2)


def test_a_data_set_decides_its_network_and_how_long_it_is_trained(known: dict[str, Any]) -> None:
    german = {**known["datasets"]["south_german"], "missing": "", "data_hash": "1"}
    faces = {**known["datasets"]["celeba"], "missing": "", "data_hash": "1"}
    here = {**known, "datasets": {**known["datasets"], "south_german": german, "celeba": faces}}
    made = resolve(here, dataset="south_german", method="erm", training={"lr": 0.01})
    assert (made.model, made.training["epochs"], made.training["lr"]) == ("mlp", 40, 0.01)
    assert resolve(here, dataset="celeba", method="erm").model == "small_cnn"
    with pytest.raises(UserError, match="Model mlp cannot read dataset celeba; choose small_cnn, resnet18"):
        resolve(here, dataset="celeba", method="erm", model="mlp")
    away = {**here, "datasets": {**here["datasets"], "celeba": {**faces, "missing": "Put it there."}}}
    with pytest.raises(UserError, match=r"Put it there\."):
        resolve(away, dataset="celeba", method="erm")
