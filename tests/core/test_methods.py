"""The contract every debiaser inherits, and what each one promises beyond it."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from fairness_core import metrics
from fairness_core.config import Budget, Event, RunConfig, complete, controls_of
from fairness_core.datasets import Dataset
from fairness_core.generators import ran
from fairness_core.methods import METHODS, Latent, PostHoc, PreProcessing
from fairness_core.methods.adversarial_grl import Reversed
from fairness_core.methods.adversarial_zhang import project
from fairness_core.models import MLP
from fairness_core.training import Job, train
from tests.tiny import tiny_dataset

PICTURES = {"cyclegan"}  # test_cyclegan.py
EXPERIMENTS = {name for name, method in METHODS.items() if method.family == "experiment"}  # test_label_switch.py
ALL = sorted(
    name for name, method in METHODS.items() if not issubclass(method, PostHoc) and name not in PICTURES | EXPERIMENTS
)  # those: test_posthoc.py
GRADIENT = [name for name in ALL if not issubclass(METHODS[name], PreProcessing)]  # those: test_preparation.py
SHORT = Budget(epochs=2, batch_size=64)
LATENT = {name for name, method in METHODS.items() if issubclass(method, Latent)}  # more in test_dvge.py
QUICK: dict[str, dict[str, Any]] = {
    name: {"vae_steps": 30, "size": 6, "hidden": "8", **({"sensitive_epochs": 2} if name == "dvge" else {})}
    for name in LATENT
}


def config(method: str, seed: int = 0, budget: Budget = SHORT, **options: Any) -> RunConfig:
    given = complete(controls_of(METHODS[method]), QUICK.get(method, {}) | options, method)
    return RunConfig("tiny", {}, "mlp", {}, method, given, dataclasses.asdict(budget), seed)


def fit(method: str, data: Dataset, seed: int = 0, budget: Budget = SHORT, **options: Any) -> tuple[Any, list[Event]]:
    run = config(method, seed, budget, **options)
    training = METHODS[method](**run.method_options).fit(MLP("8-8").build(data, seed), data, run)
    return ran(training)


def stacked(
    method: str, data: Dataset, replicas: list[dict[str, Any]], seeds: list[int], budget: Budget = SHORT
) -> list[torch.nn.Module]:
    recipes = [METHODS[method](**config(method, **options).method_options) for options in replicas]
    models = [MLP("8-8").build(data, seed) for seed in seeds]
    if method in LATENT:  # whose steps take any rows for codes
        models = [recipe.network(data, seed) for recipe, seed in zip(recipes, seeds, strict=True)]
    job = Job(recipes, models, seeds, [data] * len(seeds), budget, dtype=torch.float64, live=False)
    for _ in train(job):
        pass
    return [{k: v.detach()[r] for k, v in job.learner.model.net.parameters.items()} for r in range(len(seeds))]  # type: ignore[misc]


@pytest.mark.parametrize("method", ALL)
def test_controls_are_explained_and_their_defaults_are_in_range(method: str) -> None:
    cls = METHODS[method]
    for control in controls_of(cls):
        assert control.help, control.name
        assert control.parse(control.default) == control.default
        assert all(control.parse(value) == value for value in control.grid)
    assert cls.__doc__
    assert cls.paper
    assert cls.formula
    assert sum(control.tradeoff for control in controls_of(cls)) == (0 if method == "erm" else 1)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(("groups", "classes"), [(2, 2), (3, 2), (2, 3), (4, 3)])
def test_events_cover_the_splits_and_the_result_is_a_module(method: str, groups: int, classes: int) -> None:
    data = tiny_dataset(groups=groups, classes=classes)
    before = [a.copy() for part in (data.train, data.validation, data.test) for a in (part.x, part.y, part.s)]
    model, events = fit(method, data)

    assert [e.stage for e in events][-2:] == ["validation", "test"]
    assert len([e for e in events if e.stage == "training"]) >= 4
    steps = [e.step for e in events]
    assert steps == sorted(steps)
    assert events[-1].step == events[-1].of
    for event, part in ((events[-2], data.validation), (events[-1], data.test)):
        assert event.confusion is not None
        assert event.confusion.dtype == np.int64
        assert event.confusion.shape == (groups, classes, classes)
        rows = np.zeros((groups, classes), np.int64)
        np.add.at(rows, (part.s, part.y), 1)
        assert np.array_equal(event.confusion.sum(2), rows)
    logits = model(torch.from_numpy(data.test.x))
    assert logits.shape == (len(data.test), 1 if classes == 2 else classes)
    predicted = (logits[:, 0] > 0).long() if classes == 2 else logits.argmax(1)
    own = metrics.confusion_tensor(data.test.y, predicted.numpy(), data.test.s, groups, classes)
    assert np.array_equal(own, events[-1].confusion)
    after = [a for part in (data.train, data.validation, data.test) for a in (part.x, part.y, part.s)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("method", ALL)
def test_same_seed_same_result_other_seed_another_and_global_state_untouched(method: str) -> None:
    data = tiny_dataset()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    one, _ = fit(method, data)
    two, _ = fit(method, data)
    other, _ = fit(method, data, seed=1)
    x = torch.from_numpy(data.test.x)
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", ALL)
def test_closing_the_generator_stops_it(method: str) -> None:
    data = tiny_dataset()
    run = config(method)
    training = METHODS[method](**run.method_options).fit(MLP("8-8").build(data, 0), data, run)
    next(training)
    training.close()
    assert list(training) == []


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    for method in GRADIENT:
        controls = {c.name: c for c in controls_of(METHODS[method])}
        small = {"bias_hidden": "16"} if "bias_hidden" in controls else {}
        for notion in controls["notion"].choices if "notion" in controls else [None]:
            for scope in controls["scope"].choices if "scope" in controls else [None]:
                yield method, {k: v for k, v in (("notion", notion), ("scope", scope)) if v} | small


@pytest.mark.parametrize(("method", "options"), list(variants()))
@pytest.mark.parametrize("groups", [2, 3])
def test_a_stack_equals_its_single_runs_in_float64(method: str, options: dict[str, Any], groups: int) -> None:
    data = tiny_dataset(groups=groups)
    lams: list[dict[str, float]] = [{}, {}]
    for control in controls_of(METHODS[method]):
        if control.tradeoff:
            lams = [{control.name: value} for value in (control.grid[len(control.grid) // 3], control.grid[-1])]
    replicas = [{**options, **lam} for lam in lams for _ in range(2)]
    seeds = [0, 1, 0, 1]
    together = stacked(method, data, replicas, seeds)
    for r, seed in enumerate(seeds):
        (alone,) = stacked(method, data, [replicas[r]], [seed])
        for name, value in alone.items():  # type: ignore[attr-defined]
            assert torch.allclose(value, together[r][name], rtol=0, atol=1e-8), name  # type: ignore[index]


@pytest.mark.parametrize(
    "method", [m for m in GRADIENT if m not in ("erm", "adversarial_zhang", "aeda", "bade", "dba", *LATENT)]
)
def test_lambda_zero_is_the_untreated_model(method: str) -> None:
    data = tiny_dataset()
    x = torch.from_numpy(data.test.x)
    assert torch.allclose(fit(method, data, lam=0.0)[0](x), fit("erm", data)[0](x), atol=1e-6)


LONG = Budget(epochs=12, batch_size=64, lr=5e-3)
STRONG = {"adversarial": 3.0, "adversarial_zhang": 1.0, "adversarial_grl": 3.0, "parity": 1.5}


def final_gap(method: str, data: Dataset, seed: int, measure: str, **options: Any) -> float:
    confusion = fit(method, data, seed, LONG, **options)[1][-1].confusion
    assert confusion is not None
    return float(metrics.METRICS[measure].function(confusion))


@pytest.mark.parametrize("method", list(STRONG))
def test_it_debiases(method: str) -> None:
    data = tiny_dataset(n=2000)
    measure = "demographic_parity_difference"
    before = np.array([final_gap("erm", data, seed, measure) for seed in range(3)])
    after = np.array([final_gap(method, data, seed, measure, lam=STRONG[method]) for seed in range(3)])
    assert before.min() > 0.2
    assert after.mean() < 0.6 * before.mean()


@pytest.mark.parametrize("method", [m for m in STRONG if m != "adversarial_grl"])
def test_each_notion_lowers_its_own_gap(method: str) -> None:
    data = tiny_dataset(n=2000)
    for notion, measure in (
        ("equalized_odds", "average_absolute_odds_difference"),
        ("equal_opportunity", "equal_opportunity_difference"),
    ):
        before = np.mean([abs(final_gap("erm", data, seed, measure)) for seed in range(3)])
        after = np.mean(
            [abs(final_gap(method, data, seed, measure, lam=STRONG[method], notion=notion)) for seed in range(3)]
        )
        assert after < 0.7 * before, notion


@pytest.mark.parametrize("method", list(STRONG))
def test_without_bias_it_makes_nothing_worse(method: str) -> None:
    data = tiny_dataset(n=2000, bias=0.0)
    measure = "average_absolute_odds_difference"
    plain = np.array([final_gap("erm", data, seed, measure) for seed in range(3)])
    treated = np.array([final_gap(method, data, seed, measure) for seed in range(3)])
    noise = float(metrics.noise_floor(fit("erm", data, 0, LONG)[1][-1].confusion)[measure])
    assert treated.mean() < plain.mean() + 2 * noise


def test_the_reversed_gradient_is_minus_lambda_times_the_plain_one() -> None:
    h = torch.randn(2, 3, 5, dtype=torch.double, requires_grad=True)
    upstream = torch.randn(2, 3, 5, dtype=torch.double)
    lam = torch.tensor([0.5, 2.0], dtype=torch.double).view(-1, 1, 1)
    (Reversed.apply(h, lam) * upstream).sum().backward()
    assert h.grad is not None
    assert torch.allclose(h.grad, -lam * upstream)


@pytest.mark.parametrize("scope", ["global", "per_tensor"])
def test_zhang_projection_leaves_only_minus_lambda_of_the_adversary(scope: str) -> None:
    torch.manual_seed(0)
    task = [torch.randn(3, 4, 2, dtype=torch.double), torch.randn(3, 4, dtype=torch.double)]
    adversary = [torch.randn_like(t) for t in task]
    lam = torch.tensor([0.0, 0.5, 3.0], dtype=torch.double)
    g = project(task, adversary, lam, scope)
    dots = torch.stack([(a * b).flatten(1).sum(1) for a, b in zip(g, adversary, strict=True)])
    norms = torch.stack([(b * b).flatten(1).sum(1) for b in adversary])
    if scope == "global":
        dots, norms = dots.sum(0), norms.sum(0)
    assert torch.allclose(dots, -lam * norms)


@pytest.mark.parametrize("scope", ["global", "per_tensor"])
def test_zhang_projection_with_a_vanished_adversary_keeps_the_task_gradient(scope: str) -> None:
    task = [torch.randn(2, 3), torch.randn(2, 4)]
    g = project(task, [torch.zeros_like(t) for t in task], torch.ones(2), scope)
    assert all(torch.equal(a, b) for a, b in zip(g, task, strict=True))
