"""What comes before training: exact counts, independent weights, and an effect on the gap."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from aif360.algorithms.preprocessing import Reweighing as AIFReweighing
from aif360.datasets import BinaryLabelDataset

from fairness_core import experiment, metrics, preparation
from fairness_core.batches import Batch, row_losses, task_loss
from fairness_core.config import Budget, UserError, controls_of
from fairness_core.datasets import Dataset, Split
from fairness_core.methods import METHODS, PreProcessing
from fairness_core.preparation import NotApplicable, cell_counts, oversampled, sampled, undersampled, weights
from tests.tiny import config, run, tiny_dataset

N = np.array([[60, 20], [5, 40]])
PRE = sorted(name for name, method in METHODS.items() if issubclass(method, PreProcessing))


def split_of(N: np.ndarray) -> Split:
    y, s = (np.concatenate([np.full(n, i[k]) for i, n in np.ndenumerate(N)]) for k in (0, 1))
    return Split(np.arange(len(y), dtype=np.float32)[:, None], y, s)


@pytest.mark.parametrize(
    ("ratio", "equal", "under", "over"),
    [
        (1.0, False, [[20, 20], [5, 5]], [[60, 60], [40, 40]]),
        (0.5, False, [[40, 20], [5, 10]], [[60, 30], [20, 40]]),
        (0.1, False, [[60, 20], [5, 40]], [[60, 20], [5, 40]]),
        (1.0, True, [[5, 5], [5, 5]], [[60, 60], [60, 60]]),
    ],
)
def test_sampling_makes_exact_counts(ratio: float, equal: bool, under: Any, over: Any) -> None:
    assert undersampled(N, ratio, equal).tolist() == under
    assert oversampled(N, ratio, equal).tolist() == over
    split = split_of(N)
    for sizes in (under, over):
        made = sampled(split, np.array(sizes), seed=1)
        assert cell_counts(made, 2, 2).tolist() == sizes
        assert (np.diff(made.x[:, 0]) >= 0).all()
    assert len(set(sampled(split, np.array(under), 1).x[:, 0])) == np.sum(under)  # no row twice
    assert set(split.x[:, 0]) == set(sampled(split, np.array(over), 1).x[:, 0])  # no row lost
    assert np.array_equal(sampled(split, np.array(under), 1).x, sampled(split, np.array(under), 1).x)


def test_kamiran_calders_weights_make_class_and_group_independent_and_keep_the_shares() -> None:
    table = weights(N, heaviest=np.inf) * N
    joint = table / table.sum()
    assert np.abs(joint - joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)).max() < 1e-12
    assert table.sum() == pytest.approx(N.sum())
    assert np.allclose(table.sum(0), N.sum(0))
    assert np.allclose(table.sum(1), N.sum(1))


def test_the_other_modes_balance_what_they_say_and_temperature_softens() -> None:
    inside = weights(N, "class_conditional", heaviest=np.inf) * N
    assert np.allclose(inside, N.sum(1, keepdims=True) / 2)
    assert np.allclose(weights(N, "group_balanced", heaviest=np.inf) * N, N.sum() / 4)
    assert np.allclose(weights(N, "group_balanced", 0.0), 1)
    half = weights(N, "group_balanced", 0.5, np.inf)
    assert (half * N).sum() == pytest.approx(N.sum())
    assert np.allclose(half / half[0, 0], np.sqrt(N[0, 0] / N))
    assert weights(N, "group_balanced", 1.0, 2.0).max() == 2
    with pytest.raises(UserError, match="no way of reweighing 'x'"):
        weights(N, "x")


@pytest.mark.parametrize("seed", range(3))
def test_weights_equal_those_of_aif360(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"s": rng.integers(0, 2, 300), "y": rng.integers(0, 2, 300).astype(float)})
    frame.loc[(frame["s"] == 0) & (rng.random(300) < 0.6), "y"] = 0.0
    theirs = BinaryLabelDataset(df=frame, label_names=["y"], protected_attribute_names=["s"])
    fitted = AIFReweighing([{"s": 0}], [{"s": 1}]).fit_transform(theirs).instance_weights
    split = Split(np.zeros((300, 1), np.float32), frame["y"].to_numpy(np.int64), frame["s"].to_numpy(np.int64))
    table = weights(cell_counts(split, 2, 2), heaviest=np.inf)
    assert np.abs(table[split.y, split.s] - fitted).max() < 1e-9


@pytest.mark.parametrize("method", PRE)
def test_an_empty_cell_is_not_applicable_and_says_which(method: str) -> None:
    data = tiny_dataset(groups=3)
    gone = (data.train.y == 1) & (data.train.s == 2)
    train = Split(data.train.x[~gone], data.train.y[~gone], data.train.s[~gone])
    with pytest.raises(NotApplicable, match=r"^Not applicable: .*none with class 1 and group 2; choose"):
        METHODS[method]().prepare(dataclasses.replace(data, train=train), 0)


def test_weighted_loss_is_the_weighted_mean_over_the_batch() -> None:
    logits, y = torch.randn(2, 1, 5), torch.tensor([0, 1, 1, 0, 1])
    w = torch.tensor([[1.0, 2, 0, 4, 1], [1, 1, 1, 1, 1]])
    found = task_loss(logits, Batch(torch.zeros(5, 1), y, y, w))
    each = row_losses(logits, y)
    assert found[0] == pytest.approx(float((each[0] * w[0]).sum() / 8), abs=1e-6)
    assert found[1] == pytest.approx(float(each[1].mean()), abs=1e-6)


# ----------------------------------------------------------------------------------------------- through the experiment


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    data = tiny_dataset(n=2000)
    monkeypatch.setattr(experiment, "load", lambda *_: data)
    return data


def settings(method: str) -> list[dict[str, float]]:
    name = next(c.name for c in controls_of(METHODS[method]) if c.tradeoff)
    return [{name: value} for value in (0.3, 1.0)]


@pytest.mark.parametrize("method", PRE)
def test_a_sweep_equals_its_single_runs_in_float64(tiny: Dataset, method: str) -> None:
    sweep = [config(method, seed, **options) for seed in range(2) for options in settings(method)]
    together, _ = run(sweep, dtype=torch.float64)
    for one, module in zip(sweep, together, strict=True):
        ((alone,), _) = run([one], dtype=torch.float64)
        for name, value in alone.state_dict().items():
            assert torch.allclose(value, module.state_dict()[name], rtol=0, atol=1e-7), name


@pytest.mark.parametrize("prepare", ["undersampling", "oversampling ratio=0.8", "reweighing mode=group_balanced"])
def test_rows_can_be_prepared_for_any_other_method(tiny: Dataset, prepare: str) -> None:
    sweep = [config("adversarial", seed, prepare, lam=lam) for seed in range(2) for lam in (0.5, 2.0)]
    together, tested = run(sweep, dtype=torch.float64)
    assert [C.sum() for C in tested] == [len(tiny.test)] * 4  # what is judged stays as it was
    ((alone,), _) = run(sweep[-1:], dtype=torch.float64)
    ((plain,), _) = run([config("adversarial", 1, lam=2.0)], dtype=torch.float64)
    weight = together[-1].state_dict()["head.weight"]
    assert torch.allclose(weight, alone.state_dict()["head.weight"], rtol=0, atol=1e-7)
    assert not torch.allclose(weight, plain.state_dict()["head.weight"], atol=1e-3)


def test_two_preparations_at_once_are_refused(tiny: Dataset) -> None:
    with pytest.raises(UserError, match=r"Reweighing prepares the rows itself, and prepare = undersampling"):
        run([config("reweighing", prepare="undersampling")])


def test_reweighing_at_temperature_zero_is_the_untreated_model(tiny: Dataset) -> None:
    ((plain,), _) = run([config("erm")])
    ((soft,), _) = run([config("reweighing", temperature=0.0)])
    assert torch.allclose(soft.state_dict()["head.weight"], plain.state_dict()["head.weight"], atol=1e-5)


@pytest.mark.parametrize("method", PRE)
@pytest.mark.parametrize("bias", [1.5, 0.0])
def test_it_lowers_the_gap_where_there_is_one_and_makes_none(
    monkeypatch: pytest.MonkeyPatch, method: str, bias: float
) -> None:
    data = tiny_dataset(n=2000, bias=bias)
    monkeypatch.setattr(experiment, "load", lambda *_: data)
    budget = Budget(epochs=12, batch_size=64, lr=5e-3)
    gaps = {}
    for name in ("erm", method):
        _, tested = run([config(name, seed, budget=budget) for seed in range(3)])
        gaps[name] = np.mean([metrics.METRICS["demographic_parity_difference"].function(C) for C in tested])
    if bias:
        assert gaps[method] < 0.8 * gaps["erm"]
    else:
        assert gaps[method] < gaps["erm"] + 0.03


def test_preparation_leaves_the_data_as_they_were(tiny: Dataset) -> None:
    before = [a.copy() for a in (tiny.train.x, tiny.train.y, tiny.train.s)]
    for method in PRE:
        METHODS[method]().prepare(tiny, 0)
    after = (tiny.train.x, tiny.train.y, tiny.train.s)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert preparation.MODES[0] == METHODS["reweighing"]().mode
