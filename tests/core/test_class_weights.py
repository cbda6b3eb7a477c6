"""Classes that count alike in the loss: weights, their effect on a rare class, and what they leave alone."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_sample_weight
from torch.nn.functional import binary_cross_entropy_with_logits

from fairness_core import catalogue, experiment, training
from fairness_core.batches import Batch
from fairness_core.config import Budget, UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.preparation import HEAVIEST, class_weights
from tests import synthetic_regression
from tests.tiny import config, run, tiny_dataset

PLAIN = Budget(epochs=4, batch_size=64)
BALANCED = dataclasses.replace(PLAIN, class_weights="balanced")


def rare(n: int = 3000) -> Dataset:
    """tiny_dataset, of whose rows with class 1 one in six stays in training and validation."""
    data = tiny_dataset(n=n)

    def thinned(rows: Split) -> Split:
        kept = (rows.y == 0) | (np.arange(len(rows)) % 6 == 0)
        return Split(rows.x[kept], rows.y[kept], rows.s[kept])

    return dataclasses.replace(data, train=thinned(data.train), validation=thinned(data.validation))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    made = rare()
    monkeypatch.setattr(experiment, "load", lambda *_: made)
    return made


def rows(y: np.ndarray, w: np.ndarray | None = None) -> Split:
    return Split(np.zeros((len(y), 1), np.float32), y, np.zeros(len(y), np.int64), w)


@pytest.mark.parametrize("classes", [2, 4])
def test_weights_are_scikit_learns_alone_and_for_each_of_several_targets(classes: int) -> None:
    y = np.random.default_rng(classes).binomial(classes - 1, 0.4, (500, 3))
    each = [compute_sample_weight("balanced", own) for own in y.T]
    assert np.allclose(class_weights(rows(y[:, 0])), each[0])
    assert np.allclose(class_weights(rows(y)), np.stack(each, 1))


def test_rows_keep_their_shares_of_a_class_and_no_class_counts_more_than_so_many_times() -> None:
    y = np.array([0] * 6 + [2] * 2)  # there is no class 1
    before = np.array([0, 1, 1, 2, 2, 3, 1, 2], np.float32)
    w = class_weights(rows(y, before))
    assert w[:6].sum() == pytest.approx(w[6:].sum())
    assert np.allclose(w[:6] / w[1], before[:6])
    assert w[7] == pytest.approx(2 * w[6])
    several = class_weights(rows(np.stack([y // 2, 1 - y // 2], 1), before))  # one weight for all targets of a row
    assert np.allclose(several, np.stack([w, w], 1))
    assert class_weights(rows(np.array([0] * 999 + [1])))[-1] == HEAVIEST


def test_more_of_a_rare_class_is_found(data: Dataset) -> None:
    seeds = range(3)
    found = {}
    for budget in (PLAIN, BALANCED):
        _, tested = run([config("erm", seed, budget=budget) for seed in seeds])
        found[budget] = np.mean([C.sum(0)[1, 1] / C.sum(0)[1].sum() for C in tested])
    assert found[BALANCED] > found[PLAIN] + 0.15


@pytest.mark.parametrize("method", ["adversarial", "aeda"])
def test_a_sweep_equals_its_single_runs_in_float64(data: Dataset, method: str) -> None:
    swept = [config(method, seed, budget=BALANCED, lam=lam) for seed in range(2) for lam in (0.5, 1.0)]
    together, _ = run(swept, dtype=torch.float64)
    for one, module in zip(swept, together, strict=True):
        ((alone,), _) = run([one], dtype=torch.float64)
        assert torch.allclose(alone.state_dict()["head.weight"], module.state_dict()["head.weight"], rtol=0, atol=1e-7)


def test_rows_are_sampled_first_and_all_seeds_share_what_nothing_was_drawn_for(data: Dataset) -> None:
    asked = [config("undersampling", budget=BALANCED), *(config("erm", seed, budget=BALANCED) for seed in range(2))]
    sampled, *shared = experiment.prepared(asked, [data] * 3)
    for made in (sampled, *shared):
        w = made.train.w
        assert w is not None
        assert w[made.train.y == 0].sum() == pytest.approx(w[made.train.y == 1].sum(), rel=1e-5)
    assert shared[0] is shared[1]
    assert data.train.w is None
    (plain,) = experiment.prepared([config("erm")], [data])
    assert plain is data


def test_what_treats_a_trained_model_leaves_its_rows_alone(data: Dataset) -> None:
    (made,) = experiment.prepared([config("reject_option", budget=BALANCED)], [data])
    assert made is data


def test_the_kept_weights_have_the_lowest_weighted_loss_on_validation(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = dataclasses.replace(BALANCED, epochs=30, lr=0.05)  # overfits
    y, x = torch.as_tensor(data.validation.y).float(), torch.as_tensor(data.validation.x)
    w = torch.as_tensor(class_weights(data.validation))

    def weighted_loss(budget: Budget) -> float:
        ((network,), _) = run([config("erm", budget=budget)])
        with torch.no_grad():
            return float(binary_cross_entropy_with_logits(network.eval()(x).squeeze(1), y, weight=w))

    last, best = (weighted_loss(dataclasses.replace(wild, select=select)) for select in ("last", "validation_loss"))
    monkeypatch.setattr(training, "class_weights", lambda rows: np.ones(len(rows), np.float32))
    by_the_plain_loss = weighted_loss(dataclasses.replace(wild, select="validation_loss"))
    assert best < min(last, by_the_plain_loss)


@pytest.mark.parametrize("method", ["erm", "undersampling"])  # rows shared by all replicas, and rows of their own
def test_the_kept_weights_of_a_stack_are_those_of_its_single_runs(data: Dataset, method: str) -> None:
    budget = dataclasses.replace(BALANCED, select="validation_loss")
    stacked = [config(method, seed, budget=budget) for seed in range(2)]
    together, _ = run(stacked, dtype=torch.float64)
    for one, module in zip(stacked, together, strict=True):
        ((alone,), _) = run([one], dtype=torch.float64)
        assert torch.allclose(alone.state_dict()["head.weight"], module.state_dict()["head.weight"], rtol=0, atol=1e-7)


def test_what_a_batch_counts_together() -> None:
    x, y = torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)
    each = torch.tensor([1.0, 2.0, 0.0, 4.0])
    assert Batch(x, y, y).mass == 4
    assert Batch(x, y, y, each).mass == 7
    assert Batch(x, y, y, torch.stack([each, 2 * each])).mass.tolist() == [7, 14]  # type: ignore[union-attr]
    assert Batch(x, y, y, torch.stack([each, each]).unsqueeze(0)).mass.tolist() == [14]  # type: ignore[union-attr]


def test_a_number_as_target_has_no_classes(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = synthetic_regression.data_folder(tmp_path_factory.mktemp("published"))
    made = synthetic_regression.configured(catalogue.build(folder))
    asked = dataclasses.replace(made, training={**made.training, "class_weights": "balanced"})
    with pytest.raises(UserError, match=r"class_weights = balanced needs classes, and the target is a number"):
        list(experiment.fit([asked], data_dir=folder))
