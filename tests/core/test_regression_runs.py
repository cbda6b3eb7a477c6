"""A regression from the command line to the store and back: predictions kept, errors by bin told, sweeps as points."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairness_core import datasets, regression, regression_results, regression_sweep, scores
from fairness_core.catalogue import build
from fairness_core.config import UserError
from fairness_core.datasets import load
from fairness_core.experiment import fit
from fairness_core.regression import MEASURES
from fairness_core.scores import Predictions
from fairness_core.store import Store
from tests import synthetic_regression

EPOCHS = ("--epochs", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_regression.data_folder(tmp_path_factory.mktemp("published"))


@pytest.fixture
def call(cli, folder):
    def ask(*words: str):
        status, out, err = cli(*words, "--data-dir", str(folder))
        return status, (json.loads(out.splitlines()[-1]) if "--json" in words and out else out), err

    return ask


def test_train_tells_errors_by_bin_and_group(call, root) -> None:
    status, told, _ = call("train", "--dataset", "communities", "--method", "erm", *EPOCHS, "--json")
    assert status == 0
    assert set(told["metrics"]) == set(MEASURES)
    assert told["metrics_in_sd"]["eerr"] == pytest.approx(told["metrics"]["eerr"] / told["metrics"]["target_sd"])
    low, high = told["intervals"]["mean_absolute_error"]
    assert low < told["metrics"]["mean_absolute_error"] < high
    assert told["noise_floor"]["odds_regression"] > 0
    assert len(told["cells"]) == len(told["bins"]) * len(told["groups"])
    assert sum(cell["n"] for cell in told["cells"]) == 80
    assert told["unit"] == "scaled crimes per person"
    assert "accuracy" in told["binned_metrics"]
    assert "accuracy" not in told["metrics"]
    means = [cell["absolute_error"] for cell in told["cells"] if cell["n"]]
    assert told["metrics"]["eerr"] == pytest.approx(np.mean(means))
    kept = Store(root).numbers(told["id"])
    assert {split: len(own) for split, own in kept.items()} == {"validation": 81, "test": 80}
    again = regression.evaluate(regression_results.outcomes(Store(root), Store(root).run(told["id"]))["test"])
    assert again == pytest.approx(told["metrics"], rel=1e-5, abs=1e-6)
    assert not Store(root).scores_path(told["id"]).exists()  # there is no threshold of a number


def test_a_regression_tells_its_errors_while_it_learns(folder) -> None:
    config = synthetic_regression.configured(build(folder))
    events = [event for made in fit([config], data_dir=folder) for _, event in made]
    live = [event for event in events if event.stage == "training"]
    (validation,) = (event for event in events if event.stage == "validation")
    assert len(live) > 3
    for name, value in regression.of_sums(live[-1].errors).items():  # the sample is the whole validation split here
        data = load(config.dataset, config.dataset_options, folder)
        own = regression.of_split(validation.scores, data, "validation")
        unmerged = dataclasses.replace(own, bins=np.digitize(own.y, data.edges), edges=data.edges)
        assert value == pytest.approx(regression.evaluate(unmerged, [name])[name], rel=1e-4)
    assert validation.errors is None


def test_a_sweep_has_points_and_a_front_in_errors(call) -> None:
    words = ("sweep", "--dataset", "communities", "--method", "adversarial_grl", "--over", "lam=0,1", "--seeds", "2")
    status, told, _ = call(*words, *EPOCHS, "--json")
    assert status == 0
    assert (told["performance"], told["fairness"]) == ("mean_absolute_error", "odds_regression")
    assert [(p["lam"], p["seed"]) for p in told["points"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    by_id = {run["id"]: run["metrics"] for run in told["runs"]}
    for point in told["points"]:
        assert point["test_error"] == pytest.approx(by_id[point["id"]]["mean_absolute_error"])
        assert point["test_gap"] == pytest.approx(by_id[point["id"]]["odds_regression"])
    assert {row["lam"] for row in told["front"]} <= {0, 1}
    assert 0 <= told["metrics"]["hypervolume"] <= 1
    status, told, _ = call(*words, *EPOCHS, "--performance", "eerr", "--fairness", "ks_distance", "--json")
    assert (told["performance"], told["fairness"]) == ("eerr", "ks_distance")
    status, table, _ = call(*words, *EPOCHS)
    assert "mean_absolute_error" in table


def test_a_sweep_over_bades_strength_chooses_it_by_errors(call) -> None:
    words = ("sweep", "--dataset", "communities", "--method", "bade", "--over", "exponent=1,2", "--seeds", "1")
    status, told, _ = call(*words, *EPOCHS, "--json")
    assert status == 0
    chosen = told["chosen"]
    assert chosen["value"] in (1, 2)
    at = {run["config"]["method_options"]["exponent"]: run["metrics"] for run in told["runs"]}
    assert chosen["test_error"] == pytest.approx(at[chosen["value"]]["eerr"])
    status, printed, _ = call(*words, *EPOCHS)
    assert status == 0
    assert f"floor of the valley of Odds_reg on validation: s = {chosen['value']:g} (EErr " in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("communities", "--performance", "accuracy"), "The target of communities is a regression one"),
        (("adult", "--performance", "eerr"), "The target of adult is a binary one"),
        (("communities", "--performance", "eerr", "--fairness", "odds"), "A regression has no gap 'odds'"),
        (("communities", "--fairness", "nonsense"), "There is no metric 'nonsense'"),
    ],
)
def test_measures_of_another_kind_of_target_are_refused(call, words, sentence) -> None:
    status, _, err = call("sweep", "--method", "adversarial_grl", "--dataset", *words)
    assert status == 2
    assert sentence in err


def test_a_method_for_classes_says_what_can_be_done_instead(call) -> None:
    status, _, err = call("train", "--dataset", "communities", "--method", "adversarial", *EPOCHS)
    assert status != 0
    assert "cannot handle a number as target" in err


def test_list_names_the_measures_of_a_regression(call) -> None:
    _, told, _ = call("list", "--json")
    assert told["regression_metrics"]["odds_regression"]["better"] == "lower"


# ---------------------------------------------------------------------------------------------------------- data sets


def test_a_hit_is_within_half_a_standard_deviation_or_as_the_data_set_says(folder: Path) -> None:
    communities = datasets.load("communities", {}, folder)
    assert communities.unit == "scaled crimes per person"
    assert communities.tolerance == pytest.approx(0.5 * communities.train.y.std(), rel=0.05)
    ages = np.array([20, 30, 60], np.float32)
    source = datasets.SOURCES["utkface"]
    assert (source.unit, source(target="age", sensitive="gender").tolerance(ages)) == ("years", 5.0)
    assert source(target="gender", sensitive="race").tolerance(ages) == 0
    assert datasets.load("adult", {}).tolerance == 0


# --------------------------------------------------------------------------------------------------------------- store


def test_numbers_come_back_as_they_were_and_go_with_the_run(folder, tmp_path: Path) -> None:
    store, catalogue = Store(tmp_path), build(folder)
    config = synthetic_regression.configured(catalogue)
    synthetic_regression.finish(store, config)
    made, kept = synthetic_regression.predictions(config, "test"), store.numbers(config.id)["test"]
    for name in ("predicted", "y", "s"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(made, name))
    assert store.values([config.id], "test")[config.id] == pytest.approx(
        regression.evaluate(synthetic_regression.outcome(config, "test"))
    )
    assert store.values(["nobody"], "test") == {}
    store.delete([config.id])
    assert not store.numbers_path(config.id).exists()
    assert store.numbers(config.id) == {}


def test_an_older_run_tells_what_it_has(folder, tmp_path: Path) -> None:
    store, catalogue = Store(tmp_path), build(folder)
    config = synthetic_regression.configured(catalogue)
    synthetic_regression.finish(store, config, kept=False)
    run = store.run(config.id)
    assert run is not None
    assert set(regression_results.result(store, run)) == {"metrics"}
    assert regression_results.outcomes(store, run) == {}
    held = Predictions(np.zeros(2, np.float32), np.ones(2, np.float32), np.zeros(2, np.int64), 2)
    assert regression.of_numbers(held, run.info) is None


def test_of_very_many_rows_a_fixed_sample_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from fairness_core.config import Event
    from fairness_core.datasets import Split

    monkeypatch.setattr(scores, "MOST_ROWS", 10)
    y = np.arange(50, dtype=np.float32)
    split = Split(np.zeros((50, 1), np.float32), y, np.zeros(50, np.int64))
    kept = scores.numbers_of_event(Event("test", 1, 1, {}, None, y + 1), split)
    assert kept is not None
    assert (len(kept), kept.of) == (10, 50)
    np.testing.assert_array_equal(kept.predicted, kept.y + 1)
    assert scores.numbers_of_event(Event("test", 1, 1), split) is None


# -------------------------------------------------------------------------------------------------------------- sweeps


def judged(error: float, gap: float, r2: float = 0.5) -> dict[str, float]:
    return {"mean_absolute_error": error, "odds_regression": gap, "statistical_parity_regression": -gap, "r2": r2}


def test_the_front_is_chosen_on_validation_and_smaller_is_better() -> None:
    runs = pd.DataFrame({"id": list("abcd"), "method": "m", "lam": [0.0, 1.0, 2.0, 3.0], "seed": 0})
    validation = {"a": judged(1, 4), "b": judged(2, 2), "c": judged(3, 3), "d": judged(4, 1, r2=0.01)}
    test = {"a": judged(1.1, 4), "b": judged(9, 9), "c": judged(0.1, 0.1), "d": judged(4, 1)}
    points = regression_sweep.points(runs, validation, test)
    table = regression_sweep.frontier(points)
    assert list(table["on_front"]) == [True, True, False, True]
    assert list(points["trivial"]) == [False, False, False, True]
    assert list(table["test_error"]) == [1.1, 9, 0.1, 4]
    assert list(regression_sweep.points(runs, validation, test, gap="statistical_parity_regression")["test_gap"]) == [
        4, 9, 0.1, 1,
    ]  # fmt: skip


def test_the_front_carries_the_interval_over_seeds() -> None:
    runs = pd.DataFrame({"id": list("abc"), "method": "m", "lam": 1.0, "seed": [0, 1, 2]})
    values = {name: judged(error, 1) for name, error in zip("abc", (1.0, 2.0, 3.0), strict=True)}
    row = regression_sweep.frontier(regression_sweep.points(runs, values, values)).iloc[0]
    assert (row["seeds"], row["test_error"], row["test_error_sd"]) == (3, 2, 1)
    assert row["test_error_low"] < 2 < row["test_error_high"]
    assert row["test_error_high"] - 2 == pytest.approx(2 - row["test_error_low"])


def test_a_run_without_a_result_is_no_point() -> None:
    runs = pd.DataFrame({"id": list("ab"), "method": "m", "lam": 1.0, "seed": [0, 1]})
    assert list(regression_sweep.points(runs, {"a": judged(1, 1)}, {"a": judged(1, 1)})["id"]) == ["a"]
    assert regression_sweep.points(runs, {}, {}).empty


def test_unknown_measures_are_one_sentence() -> None:
    runs = pd.DataFrame({"id": [], "method": [], "lam": [], "seed": []})
    with pytest.raises(UserError, match="no error 'accuracy'"):
        regression_sweep.points(runs, {}, {}, error="accuracy")


def test_the_hypervolume_is_free_of_the_unit() -> None:
    table = pd.DataFrame({"test_gap": [0.5], "test_error": [0.5]})
    assert regression_sweep.hypervolume(table, "test", "odds_regression", 1.0) == pytest.approx(0.25)
    assert regression_sweep.hypervolume(12 * table, "test", "odds_regression", 12.0) == pytest.approx(0.25)
    assert np.isnan(regression_sweep.hypervolume(table, "test", "odds_regression", float("nan")))
