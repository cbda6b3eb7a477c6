"""Several targets at once, each with its own weights of the rows: counts, loss, stacks, twins, effect on the gap."""

import dataclasses

import numpy as np
import pytest
import torch

from fairness_core import experiment, metrics, twins
from fairness_core.batches import Batch, Rows, Scale, row_losses, task_loss
from fairness_core.config import Budget, controls_of
from fairness_core.datasets import Dataset, Split
from fairness_core.methods import METHODS
from fairness_core.preparation import NotApplicable, cell_counts
from fairness_core.twins import Twins
from tests.tiny import config, run, tiny_dataset

TARGETS = ("leaning", "upright")
WEIGHED = ["undersampling", "reweighing"]


def two_targets(n: int = 2000, bias: float = 1.5) -> Dataset:
    """tiny_dataset, and as a second target the sign of a feature that has nothing to do with the group."""
    data = tiny_dataset(n=n, bias=bias)

    def split(rows: Split) -> Split:
        return dataclasses.replace(rows, y=np.stack([rows.y, (rows.x[:, 3] > 0).astype(np.int64)], 1))

    parts = {role: split(getattr(data, role)) for role in ("train", "validation", "test")}
    return dataclasses.replace(data, **parts, task="multilabel", targets=TARGETS, classes=("no", "yes"))  # type: ignore[arg-type]


def alone(data: Dataset, target: int) -> Dataset:
    train = dataclasses.replace(data.train, y=data.train.y[:, target])
    return dataclasses.replace(data, train=train, task="binary", targets=())


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    made = two_targets()
    monkeypatch.setattr(experiment, "load", lambda *_: made)
    return made


@pytest.mark.parametrize("target", range(2))
def test_every_target_has_the_weights_it_has_alone(target: int) -> None:
    data = two_targets()
    w = METHODS["reweighing"]().prepare(data, 0).w
    assert w.shape == data.train.y.shape
    assert np.array_equal(w[:, target], METHODS["reweighing"]().prepare(alone(data, target), 0).w)


def test_a_row_that_is_left_out_of_one_target_counts_in_the_other() -> None:
    data = two_targets()
    made = METHODS["undersampling"]().prepare(data, 3)
    assert set(np.unique(made.w)) == {0.0, 1.0}
    assert np.array_equal(made.y, data.train.y)
    for target in range(2):
        own = alone(data, target)
        kept = cell_counts(own.train, 2, 2).min(1)
        seen = Split(own.train.x, own.train.y[made.w[:, target] > 0], own.train.s[made.w[:, target] > 0])
        assert cell_counts(seen, 2, 2).tolist() == [[n, n] for n in kept]
    assert (made.w[:, 0] != made.w[:, 1]).any()


@pytest.mark.parametrize("method", WEIGHED)
def test_an_empty_cell_names_its_target(method: str) -> None:
    data = two_targets()
    gone = (data.train.y[:, 1] == 1) & (data.train.s == 0)
    rows = {name: getattr(data.train, name)[~gone] for name in ("x", "y", "s")}
    with pytest.raises(NotApplicable, match="none with upright: yes and group 0; choose"):
        METHODS[method]().prepare(dataclasses.replace(data, train=Split(**rows)), 0)


def test_the_loss_weighs_every_row_in_every_target() -> None:
    torch.manual_seed(0)
    logits, y = torch.randn(2, 3, 5), torch.randint(0, 2, (1, 3, 5))
    w = torch.rand(1, 3, 5)
    x, s = torch.zeros(5, 1), torch.tensor([0, 1, 1, 0, 1])
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, y.expand(2, 3, 5).float(), reduction="none")
    found = task_loss(logits, Batch(x, y, s, w))
    assert torch.allclose(found, (each * w).sum((1, 2)) / w.sum(), atol=1e-6)
    assert torch.allclose(task_loss(logits, Batch(x, y, s, torch.ones(1, 3, 5))), task_loss(logits, Batch(x, y, s)))
    assert task_loss(logits, Batch(x, y, s, torch.zeros(1, 3, 5))).tolist() == [0.0, 0.0]  # nobody counts
    groups = torch.randn(2, 1, 5)  # where the group is to be told, a row counts as much as in its targets on average
    own = w[0].mean(0)
    expected = (row_losses(groups, s) * own).sum(1) / own.sum()
    assert torch.allclose(task_loss(groups, Batch(x, s, s, w)), expected, atol=1e-6)


@pytest.mark.parametrize("method", WEIGHED)
def test_a_sweep_equals_its_single_runs_in_float64(data: Dataset, method: str) -> None:
    tradeoff = next(c.name for c in controls_of(METHODS[method]) if c.tradeoff)
    sweep = [config(method, seed, **{tradeoff: value}) for seed in range(2) for value in (0.4, 1.0)]
    together, _ = run(sweep, dtype=torch.float64)
    for one, module in zip(sweep, together, strict=True):
        ((single,), _) = run([one], dtype=torch.float64)
        for name, value in single.state_dict().items():
            assert torch.allclose(value, module.state_dict()[name], rtol=0, atol=1e-7), name


@pytest.mark.parametrize("method", WEIGHED)
def test_the_gap_of_the_target_that_has_one_falls(data: Dataset, method: str) -> None:
    budget = Budget(epochs=12, batch_size=64, lr=5e-3)
    gaps = {}
    for name in ("erm", method):
        _, tested = run([config(name, seed, budget=budget) for seed in range(3)])
        each = [metrics.METRICS["demographic_parity_difference"].function(C) for C in tested]
        gaps[name] = np.mean(each, 0)
    assert gaps[method][0] < 0.8 * gaps["erm"][0]
    assert gaps[method][1] < gaps["erm"][1] + 0.03


@pytest.mark.parametrize("method", ["aeda", "adversarial_grl"])
def test_any_other_method_of_several_targets_trains_on_weighted_rows(data: Dataset, method: str) -> None:
    weighed, plain = (run([config(method, prepare=p)])[1][0] for p in ("reweighing", "none"))
    assert (weighed.sum((1, 2, 3)) == len(data.test)).all()
    assert not np.array_equal(weighed, plain)


def test_twins_count_as_much_as_their_rows_in_every_target() -> None:
    data = two_targets(40)
    rows = dataclasses.replace(data.train, w=np.random.default_rng(0).random(data.train.y.shape).astype(np.float32))
    batch = Rows.of(rows, torch.float32, Scale()).take(torch.arange(8))
    at = torch.tensor([1, 5])
    own = twins.chosen(batch, at, 2)
    assert own.w is not None
    made = Twins(own.x, own.y, own.s, own.w, own.rows, at=at, aim=torch.zeros(2, 2, dtype=torch.long))
    union = twins.joined(batch, made)
    assert union.w is not None
    assert union.w.shape == (2, 2, 10)
    assert np.allclose(union.w[1, :, 8:].numpy().T, rows.w[[1, 5]])
    bare = twins.joined(dataclasses.replace(batch, w=None), made)
    assert bare.w is not None
    assert torch.equal(bare.w[..., :8], torch.ones(2, 2, 8))
