"""The loop: batches, schedule, evaluation steps, and the guard against divergence."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from fairness_core.batches import Batch, minibatches, task_loss
from fairness_core.config import Budget
from fairness_core.datasets import Dataset, Split
from fairness_core.methods import METHODS
from fairness_core.methods.erm import ERM
from fairness_core.models import MLP, SmallCNN
from fairness_core.pace import evaluation_steps, total_steps
from fairness_core.training import Job, Learner, batches, schedule, train
from tests.tiny import tiny_dataset


def job(seeds: list[int], budget: Budget, **kwargs: Any) -> Job:
    data = tiny_dataset()
    models = [MLP("8").build(data, seed) for seed in seeds]
    return Job([METHODS["erm"]()] * len(seeds), models, seeds, [data] * len(seeds), budget, **kwargs)


def test_every_epoch_visits_every_row_once_in_another_order() -> None:
    stream = minibatches(10, 4, seed=3)
    epochs = [torch.cat([next(stream) for _ in range(3)]) for _ in range(2)]
    assert all(torch.equal(epoch.sort().values, torch.arange(10)) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_replicas_of_different_seeds_see_the_batches_of_their_own_runs() -> None:
    budget = Budget(epochs=1, batch_size=50)
    together = next(batches(job([0, 1], budget)))
    for r, seed in enumerate((0, 1)):
        alone = next(batches(job([seed], budget)))
        assert torch.equal(together.x[r].t(), alone.x)
        assert torch.equal(together.y[r], alone.y)


def pictures(n: int = 200) -> Dataset:
    def split(rows: int) -> Split:
        rng = np.random.default_rng(rows)
        x = rng.integers(0, 256, (rows, 3, 8, 8)).astype(np.uint8)
        return Split(x, rng.integers(0, 2, rows), rng.integers(0, 2, rows))

    return Dataset("noise", split(n), split(50), split(60), ("no", "yes"), ("a", "b"), (), "binary")


def test_pictures_are_turned_by_the_toss_of_a_coin_in_training_alone() -> None:
    data, budget = pictures(), Budget(epochs=2, batch_size=50, augment="horizontal_flip")

    def of(*seeds: int) -> Job:
        models = [SmallCNN("4", 8).build(data, seed) for seed in seeds]
        return Job([METHODS["erm"]()] * len(seeds), models, list(seeds), [data] * len(seeds), budget)

    stored = torch.from_numpy(data.train.x) / 255
    made = list(islice(batches(of(0)), 8))  # two epochs of four batches
    for batch in made:
        assert batch.rows is not None
        assert batch.flipped is not None
        for x, row, flipped in zip(batch.x, batch.rows, batch.flipped, strict=True):
            assert torch.equal(x, stored[row].flip(-1) if flipped else stored[row])
    tosses = torch.cat([batch.flipped for batch in made if batch.flipped is not None]).float()
    assert 0.4 < tosses.mean() < 0.6
    first, second = (torch.cat([b.flipped[b.rows.argsort()] for b in part]) for part in (made[:4], made[4:]))  # type: ignore[index, union-attr]
    assert not torch.equal(first, second)  # anew in every epoch
    together = next(batches(of(0, 1)))
    for r, seed in enumerate((0, 1)):
        assert torch.equal(together.x[r], next(batches(of(seed))).x)
    looked_at = of(0).rows("validation")[0].take(slice(None))
    assert torch.equal(looked_at.x, torch.from_numpy(data.validation.x) / 255)
    assert next(batches(job([0], budget))).flipped is None  # a table has no left and right


@pytest.mark.parametrize(("steps", "expected"), [(1, 1), (5, 4), (1000, 15), (10_000, 24)])
def test_evaluation_steps_start_early_end_at_the_end_and_are_fewer_in_short_runs(steps: int, expected: int) -> None:
    at = evaluation_steps(steps, trained_rows=steps * 256, live_rows=1000)
    assert at == sorted(set(at))
    assert at[-1] == steps
    assert 1 <= at[0] <= max(1, steps // 50)
    assert len(at) == expected


def test_stopping_ends_it_within_a_step() -> None:
    made = job([0], Budget(epochs=1000, batch_size=64))
    training = train(made)
    next(training)
    made.stop.set()
    assert list(training) == []


def test_budget_counts_steps() -> None:
    assert total_steps(Budget(epochs=3, batch_size=64), 100) == 6
    assert total_steps(Budget(epochs=3, batch_size=64, max_steps=4), 100) == 4


def test_learning_rate_falls_tenfold_at_each_step_size() -> None:
    budget = Budget(lr=0.01, lr_step=50)
    made = job([0], budget)
    seen = []
    for step in (0, 49, 50, 149):
        schedule(made.learner, budget, step, 150)
        seen.append(made.learner.model.optimizer.lr)
    assert np.allclose(seen, [0.01, 0.01, 0.001, 0.0001])


def test_learning_rate_falls_in_a_straight_line() -> None:
    budget = Budget(lr=0.01, lr_decay="linear")
    made = job([0], budget)
    seen = []
    for step in (0, 5, 9):
        schedule(made.learner, budget, step, 10)
        seen.append(made.learner.model.optimizer.lr)
    assert np.allclose(seen, [0.01, 0.005, 0.001])


def test_watching_changes_nothing_in_the_result() -> None:
    budget = Budget(epochs=2, batch_size=64)
    watched, alone = job([0, 0], budget), job([0, 0], budget, live=False)
    assert len(list(train(watched))) > len(list(train(alone))) == 2
    for p, q in zip(watched.learner.model.net.leaves, alone.learner.model.net.leaves, strict=True):
        assert torch.equal(p, q)


def test_a_diverged_replica_keeps_its_last_good_weights_and_says_when_while_the_others_go_on() -> None:
    budget = Budget(epochs=2, batch_size=64)
    poisoned, clean = job([0, 0], budget), job([0, 0], budget)
    training = train(poisoned)
    next(training)
    with torch.no_grad():
        poisoned.learner.model.net.leaves[0][1].fill_(float("nan"))
    events = [event for events in training for event in events]
    list(train(clean))
    finals = {r: e for r, e in events if e.stage == "test"}
    assert "diverged_at_step" not in finals[0].values
    assert finals[1].values["diverged_at_step"] > 1
    assert all(torch.isfinite(p).all() for p in poisoned.learner.model.net.leaves)
    for p, q in zip(poisoned.learner.model.net.leaves, clean.learner.model.net.leaves, strict=True):
        assert torch.equal(p[0], q[0])


def test_the_best_weights_on_validation_are_kept_and_never_do_worse_there() -> None:
    wild = {"epochs": 30, "batch_size": 64, "lr": 0.05}  # overfits
    last, best = job([0, 0], Budget(**wild)), job([0, 0], Budget(**wild, select="validation_loss"))
    losses = []
    for made in (last, best):
        list(train(made))
        batch = made.rows("validation")[0].take(slice(None))
        made.learner.model.net.training = False
        losses.append(task_loss(made.learner.model.net(batch.x), batch).detach())
    assert (losses[1] < losses[0]).all()


def test_the_best_weights_are_those_of_the_last_phase() -> None:
    class Ruined(ERM):
        phases = (1.0, 1.0)

        def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
            if learner.phase == 0:
                return super().update(learner, batch, progress)
            with torch.no_grad():
                for p in learner.model.net.leaves:
                    p.zero_()
            return {"loss": torch.zeros(1)}

    made = job([0], Budget(epochs=3, batch_size=64, select="validation_loss"))
    made.recipes = [Ruined()]
    for _ in train(made):
        pass
    assert not any(p.any() for p in made.learner.model.net.leaves)
