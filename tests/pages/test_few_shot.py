"""Classes with few examples on the page Explain: the offer, the waiting, and the result beside the untreated model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from fairness_core import exhibits
from fairness_core import few_shot as measured
from fairness_core.config import RunConfig
from pages import course, few_shot
from tests import synthetic_twins


def configured(catalogue: dict[str, Any], method: str = "aeda") -> RunConfig:
    options = measured.SETTINGS if method == "aeda" else {}
    return synthetic_twins.configured(catalogue, method, data=measured.DATA, **options)


def blocks(at: AppTest) -> dict[str, dict[str, Any]]:
    assert not at.exception
    payloads = [json.loads(component.proto.json) for component in at.get("bidi_component")]
    return {block["id"]: block for payload in payloads for block in payload["blocks"]}


def words(at: AppTest) -> str:
    return "\n".join(e.value for kind in ("markdown", "caption") for e in getattr(at, kind))


def subheaders(at: AppTest) -> list[str]:
    return [s.value for s in at.subheader]


@pytest.fixture
def plain(catalogue, store):
    """A finished run on digits of which there are as many as ever."""
    config = synthetic_twins.configured(catalogue)
    synthetic_twins.finish(store, config)
    return config


def test_other_digits_have_one_line_that_starts_the_experiment(open_page, store, catalogue, plain):
    at = open_page("explain.py", run=plain.id)
    assert "Classes with few examples" not in subheaders(at)
    assert "can pseudo samples stand for rows that are missing?" in words(at)
    at.button(key="explain-few").click().run()
    assert not at.exception
    config = store.run(at.query_params["run"]).config
    assert config.dataset_options["few_shot"] == "2, 4, 6, 8"
    assert config.dataset_options["digits"] == "5000"
    assert (config.method, config.method_options["balance_mode"]) == ("aeda", "fill_classes")
    assert (config.seed, config.model, config.model_options) == (plain.seed, plain.model, plain.model_options)
    assert config.training["epochs"] == few_shot.EPOCHS  # few rows need more passes
    assert store.run(course.untreated(catalogue, config).id).status == "queued"


def test_many_rows_keep_the_epochs_they_have(store, catalogue, plain):
    run = store.run(plain.id)
    run.info["n_train"] = 54_000
    assert few_shot.trial(catalogue, run).training == plain.training


def test_faces_have_no_such_part(open_page, store, catalogue):
    config = synthetic_twins.configured(catalogue, dataset="adult")
    synthetic_twins.finish(store, config)
    at = open_page("explain.py", run=config.id)
    assert "few examples" not in words(at)
    assert "explain-few" not in [b.key for b in at.button]


def test_a_run_that_is_training_says_what_will_be_there(open_page, store, catalogue):
    config = configured(catalogue)
    synthetic_twins.advance(store, config, 2)
    at = open_page("explain.py", run=config.id)
    assert "Classes with few examples" in subheaders(at)
    assert "The bars appear with the test result" in words(at)
    assert "few-shot" not in blocks(at)


def test_the_result_stands_beside_the_untreated_model_and_the_paper(open_page, store, catalogue):
    treated, untreated = configured(catalogue), configured(catalogue, "erm")
    assert untreated.id == course.untreated(catalogue, treated).id
    for config in (treated, untreated):
        synthetic_twins.finish(store, config)
    at = open_page("explain.py", run=treated.id)
    told = words(at)
    assert "4 examples of each digit below" in told
    assert "Original: 46.80, 70.37, 0.00, 0.00; AEDA robust: 69.25, 88.88, 42.50, 25.00" in told
    assert "95 % Wilson intervals" in told
    C = {m: store.confusions([c.id], "test")[c.id] for m, c in (("new", treated), ("old", untreated))}
    tables = {m: measured.by_class(c, [str(k) for k in range(10)], measured.DIGITS) for m, c in C.items()}
    old, new = (100 * tables[m]["precision"].mean() for m in ("old", "new"))
    assert f"precision {old:.1f} → {new:.1f} %" in told
    n = int(tables["new"]["n"].sum())
    assert f"test, n = {n:,}, seed 0" in told
    traces = {t["meta"]: t for t in blocks(at)["few-shot"]["figure"]["data"]}
    assert set(traces) == {"before_precision", "precision", "before_accuracy", "accuracy"}
    assert "n = " in traces["accuracy"]["hovertext"][0]


def test_without_the_untreated_model_the_run_stands_alone(open_page, store, catalogue):
    config = configured(catalogue)
    synthetic_twins.finish(store, config)
    at = open_page("explain.py", run=config.id)
    assert "mean over these digits: precision" in words(at)
    assert {t["meta"] for t in blocks(at)["few-shot"]["figure"]["data"]} == {"precision", "accuracy"}


def test_a_twin_that_stands_for_another_class_says_so(open_page, store, catalogue, plain):
    config = configured(catalogue)
    synthetic_twins.finish(store, config)
    step = synthetic_twins.steps(config)
    shown = synthetic_twins.twins(config, step)
    shown |= {"aim_class": np.full(12, 2), "aim": shown["s"], "group_after": shown["s"], "class_after": np.full(12, 2)}
    exhibits.save(store.exhibits_path(config.id), step, shown)
    at = open_page("explain.py", run=config.id)
    assert "Of these 12 twins 12 pass for the group they aim at and 12 are told the class they are to have" in words(at)
    assert "Here twins stand for rows that classes lack" in words(at)
    gallery = next(e.proto.body for e in at.get("html") if "eq-twins" in e.proto.body)
    assert "class 0: told 0 → 2  ● passes as 2" in gallery
    assert "colour red: told red → red  ● kept" in gallery
    assert "Here twins stand" not in words(open_page("explain.py", run=plain.id))


def test_the_table_holds_both_models_with_their_intervals(store, catalogue):
    config = configured(catalogue)
    synthetic_twins.finish(store, config)
    run = store.run(config.id)
    C = store.confusions([config.id], "test")[config.id]
    table = few_shot.long(run, C, C, ["2", "8"])
    assert table["model"].tolist() == ["untreated", "untreated", "this run", "this run"]
    assert list(table.columns) == few_shot.NUMBERS
    assert (table["accuracy_low"] <= table["accuracy"]).all()
