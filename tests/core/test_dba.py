"""DBA: whom it marks, that strength 0 is plain training, and that it debiases without a trigger when it decides."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from fairness_core import metrics
from fairness_core.backdoors import widen
from fairness_core.config import Budget, Event, UserError
from fairness_core.datasets import Dataset
from fairness_core.methods.dba import DBA
from fairness_core.methods.erm import ERM
from fairness_core.models import MLP, SmallCNN
from fairness_core.training import Job, train
from fairness_core.triggers import NONE
from tests.tiny import tiny_dataset

BUDGET = Budget(epochs=12, batch_size=64, lr=5e-3)


def trained(recipes: list[Any], data: Dataset, seed: int = 0, budget: Budget = BUDGET) -> tuple[Job, list[Event]]:
    model = SmallCNN("4-8", 8) if data.train.x.ndim == 4 else MLP("8-8")
    networks = [model.build(data, seed) for _ in recipes]
    job = Job(recipes, networks, [seed] * len(recipes), [data] * len(recipes), budget, live=False, dtype=torch.float64)
    return job, [event for events in train(job) for _, event in events if event.stage == "test"]


def test_the_surplus_of_each_groups_commonest_class_carries_its_trigger() -> None:
    data = tiny_dataset(n=4000)
    y, s = data.train.y, data.train.s
    N = np.zeros((2, 2), int)
    np.add.at(N, (s, y), 1)
    for factor, of_surplus in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)):
        triggers = DBA(factor=factor).draw(data, 0)
        for group in (0, 1):
            common = int(N[group].argmax())
            surplus = N[group].max() - N[group].min()
            marked = (triggers == group) & (y == common) & (s == group)
            assert marked.sum() == (triggers == group).sum()
            noise = 3 * np.sqrt(N[group].max()) / 2
            assert abs(marked.sum() - of_surplus * surplus) <= noise
    assert ((DBA(factor=0.5).draw(data, 0) == NONE) | (DBA(factor=1.0).draw(data, 0) != NONE)).all()
    most = DBA(factor=3.0).draw(data, 0)
    assert set(most[(s == 0) & (y == N[0].argmax())]) <= {NONE, 0}


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_without_strength_it_is_plain_training(norm: str) -> None:
    data, networks = tiny_dataset(n=400), []
    for recipe in (DBA(factor=0.0), ERM()):
        budget = Budget(epochs=3, batch_size=64, lr=5e-3)
        job = Job([recipe], [MLP("8-8", norm=norm).build(data, 0)], [0], [data], budget, dtype=torch.float64)
        for _ in train(job):
            pass
        networks.append(job.learner.model.net)
    for name, weights in networks[0].parameters.items():
        torch.testing.assert_close(weights, networks[1].parameters[name], rtol=0, atol=1e-10)


def test_it_debiases_and_beyond_the_counts_turns_the_bias_round() -> None:
    data = tiny_dataset(n=3000)
    _, finals = trained([DBA(factor=f) for f in (0.0, 0.5, 1.0, 2.0)], data)
    counts = [event.confusion for event in finals]
    odds = [float(metrics.METRICS["odds"].function(C)) for C in counts]
    assert odds[0] > 0.15
    assert odds[1] < 0.8 * odds[0]
    assert odds[2] < 0.3 * odds[0]
    favoured = [C[:, :, 1].sum(1) / C.sum((1, 2)) for C in counts if C is not None]
    assert favoured[0][0] < favoured[0][1]
    assert favoured[3][0] > favoured[3][1]


def test_pictures_are_marked_while_it_learns_and_clean_when_it_decides() -> None:
    rng = np.random.default_rng(0)
    data = tiny_dataset(n=120)
    parts = {
        role: dataclasses.replace(part, x=rng.integers(0, 255, (len(part), 3, 12, 12)).astype(np.uint8))
        for role, part in ((r, getattr(data, r)) for r in ("train", "validation", "test"))
    }
    pictures = dataclasses.replace(data, **parts, features=())  # type: ignore[arg-type]
    job, (final,) = trained([DBA()], pictures, budget=Budget(epochs=2, batch_size=32))
    assert final.confusion is not None
    assert final.confusion.sum() == len(data.test)
    own, taught = job.learner.model.net.parameters, job.learner.adversary.net.parameters
    assert all(torch.equal(own[name], taught[name]) for name in own)


def test_a_wider_network_keeps_what_it_was() -> None:
    network = MLP("8-8").build(tiny_dataset(n=60), 0)
    x = torch.randn(5, 6)
    wide = widen(network, 2, 1)
    torch.testing.assert_close(wide(torch.cat([x, torch.zeros(5, 2)], 1)), network(x))
    assert not torch.equal(wide(torch.cat([x, torch.ones(5, 2)], 1)), network(x))


def test_one_group_is_refused_in_one_sentence() -> None:
    data = tiny_dataset(n=60)
    alone = dataclasses.replace(data, train=dataclasses.replace(data.train, s=np.zeros_like(data.train.s)))
    with pytest.raises(UserError, match="at least two groups"):
        DBA().draw(alone, 0)
