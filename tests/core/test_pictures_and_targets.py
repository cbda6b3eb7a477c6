"""Networks for pictures and several targets at once: shapes, units, counts, and the same result in a stack."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fairness_core import metrics
from fairness_core.batches import Rows, Scale, row_losses
from fairness_core.config import Budget, Event, UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.experiment import check_task
from fairness_core.methods import METHODS
from fairness_core.models import MLP, MODELS, SmallCNN
from fairness_core.training import Job, train
from tests.tiny import tiny_dataset

QUICK = Budget(epochs=4, batch_size=32, lr=3e-3)
MIXED = replace(QUICK, precision="bfloat16")


def pictures(targets: int = 1, n: int = 240, size: int = 8) -> Dataset:
    """Bytes (n, 3, size, size): a bright left half means target 0, a bright upper half target 1; red is group 1."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> Split:
        y, s = rng.integers(0, 2, (rows, 2)), rng.integers(0, 2, rows)
        x = rng.integers(0, 60, (rows, 3, size, size))
        x[:, :, :, : size // 2] += 80 * y[:, 0, None, None, None]
        x[:, :, : size // 2] += 80 * y[:, 1, None, None, None]
        x[:, 0] += 30 * s[:, None, None]
        return Split(x.astype(np.uint8), y if targets > 1 else y[:, 0], s)

    task, names = ("multilabel", ("left", "upper")) if targets > 1 else ("binary", ())
    return Dataset("bright", split(n), split(80), split(100), ("no", "yes"), ("grey", "red"), (), task, targets=names)


def run(
    data: Dataset, method: str = "erm", model: Any = None, seeds: tuple[int, ...] = (0,), budget: Budget = QUICK
) -> dict[int, Event]:
    model = model or SmallCNN(channels="4", width=8, pixels="centred")
    networks = [model.build(data, seed) for seed in seeds]
    recipes = [METHODS[method]() for _ in seeds]
    events = [pair for batch in train(Job(recipes, networks, seeds, [data] * len(seeds), budget)) for pair in batch]
    return {r: event for r, event in events if event.stage == "test"}


def test_bytes_become_numbers_in_0_to_1_batch_by_batch() -> None:
    split = pictures().train
    rows = Rows.of(split, torch.float32, Scale())
    assert rows.x.dtype == torch.uint8
    batch = rows.take(slice(0, 5))
    assert torch.equal(batch.x, torch.from_numpy(split.x[:5]).float() / 255)
    assert rows.x.max() > 1  # what is kept stays bytes


@pytest.mark.parametrize("method", ["erm", "adversarial_grl", "aeda", "bade"])
def test_16_bits_learn_as_well_from_pictures_and_change_nothing_on_tables(method: str) -> None:
    exact, rounded = run(pictures(), method)[0], run(pictures(), method, budget=MIXED)[0]
    assert exact.confusion is not None
    assert rounded.confusion is not None
    assert not np.array_equal(rounded.scores, exact.scores)
    assert metrics.evaluate(rounded.confusion)["accuracy"] > metrics.evaluate(exact.confusion)["accuracy"] - 0.05
    tables = [run(tiny_dataset(), method, MLP("8"), budget=budget)[0] for budget in (QUICK, MIXED)]
    assert np.array_equal(tables[0].scores, tables[1].scores)


@pytest.mark.parametrize("units", [False, True])
def test_auto_takes_16_bits_where_there_are_units_for_them(units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": units})
    found, same = (run(pictures(), budget=b)[0] for b in (replace(QUICK, precision="auto"), MIXED if units else QUICK))
    assert np.array_equal(found.scores, same.scores)


@pytest.mark.parametrize("method", ["erm", "adversarial", "adversarial_grl", "parity"])
def test_every_method_learns_from_pictures(method: str) -> None:
    C = run(pictures(), method)[0].confusion
    assert C is not None
    assert metrics.evaluate(C)["accuracy"] > 0.85


@pytest.mark.parametrize("method", ["erm", "adversarial_grl"])
def test_several_targets_are_learned_and_counted_each(method: str) -> None:
    data = pictures(targets=2)
    C = run(data, method)[0].confusion
    assert C is not None
    assert C.shape == (2, 2, 2, 2)
    assert (C.sum((1, 2, 3)) == len(data.test)).all()
    truth = [
        [((data.test.s == g) & (data.test.y[:, a] == t)).sum() for t in range(2)] for a in range(2) for g in range(2)
    ]
    assert C.sum(3).reshape(4, 2).tolist() == truth
    assert metrics.over_targets(C)["accuracy"] > 0.85


def test_replicas_of_different_seeds_equal_their_single_runs() -> None:
    data = pictures(targets=2)
    together = run(data, seeds=(3, 4))
    for r, seed in enumerate((3, 4)):
        alone = run(data, seeds=(seed,))[0]
        assert np.abs(alone.confusion - together[r].confusion).sum() <= 4  # rounding may tip a row over the edge


def test_the_loss_of_several_targets_is_their_mean_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, y = torch.randn(2, 3, 5), torch.randint(0, 2, (1, 3, 5))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, y.expand(2, 3, 5).float(), reduction="none")
    assert torch.allclose(row_losses(logits, y), expected.mean(1), atol=1e-6)


def test_a_metric_over_several_targets_is_a_mean_and_bias_sum_a_sum() -> None:
    C = np.array([[[[9, 1], [2, 8]], [[8, 2], [2, 8]]], [[[5, 5], [5, 5]], [[10, 0], [0, 10]]]])
    each = [metrics.evaluate(c) for c in C]
    found = metrics.over_targets(C)
    assert found["accuracy"] == pytest.approx(np.mean([e["accuracy"] for e in each]))
    assert found["bias_sum"] == pytest.approx(sum(e["bias_sum"] for e in each))
    assert found["worst_group_accuracy"] == 0.5


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.takes == "image"])
def test_networks_for_pictures_have_features_and_a_head(name: str) -> None:
    data = pictures(size=32, n=4)
    network = MODELS[name]().build(data, 0)
    x = torch.rand(2, 3, 32, 32)
    assert network(x).shape == (2, 1)
    assert network.features(x).shape == (2, network.head.in_features)
    first, again, other = (MODELS[name]().build(data, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_tables_and_pictures_are_not_mixed_up() -> None:
    with pytest.raises(UserError, match="Model mlp takes tables"):
        MLP().build(pictures(), 0)
    with pytest.raises(UserError, match="Model small_cnn takes images"):
        SmallCNN().build(tiny_dataset(), 0)
    with pytest.raises(UserError, match="halves the picture away"):
        SmallCNN(channels="4-4-4-4").build(pictures(), 0)


def test_a_method_without_an_answer_says_which_have_one() -> None:
    with pytest.raises(
        UserError, match=r"Method parity cannot handle several targets at once.*adversarial_grl, erm|erm"
    ):
        check_task("parity", pictures(targets=2))
    check_task("erm", pictures(targets=2))
