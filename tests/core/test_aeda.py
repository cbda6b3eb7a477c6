"""AEDA: what is trained when, against which networks, how often twins are made, and that it debiases."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from fairness_core import metrics, probes
from fairness_core.config import Budget, UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.methods import METHODS
from fairness_core.methods.aeda import AEDA, Memory
from fairness_core.models import MLP, SmallCNN
from fairness_core.training import Job, train
from fairness_core.twins import joined
from tests.tiny import tiny_dataset

SHORT = Budget(epochs=3, batch_size=64)
BRIEF = Budget(epochs=2, batch_size=64, max_steps=14)  # ten steps an epoch
VARIANTS: list[dict[str, Any]] = [
    {"variant": "pre"},
    {"variant": "once"},
    {"variant": "online"},
    {"variant": "online", "refresh": 1},
    {"variant": "robust"},
    {"variant": "robust", "refresh": 1},
    {"variant": "robust", "refresh": 1, "adv_label": "attacked"},
    {"variant": "robust", "balance_mode": "fill_minority"},
    {"variant": "robust", "freeze_after": 1, "norm": "linf", "epsilon": 0.5},
]


def recipe(**options: Any) -> AEDA:
    made: AEDA = METHODS["aeda"](**options)
    return made


def job(recipes: list[AEDA], data: Dataset, seeds: list[int] | None = None, budget: Budget = SHORT, **more: Any) -> Job:
    seeds = seeds or [0] * len(recipes)
    build = MLP("8-8").build if data.train.x.ndim == 2 else SmallCNN("4-8", 16).build
    return Job(recipes, [build(data, seed) for seed in seeds], seeds, [data] * len(seeds), budget, **more)


def finish(made: Job) -> Memory:
    for _ in train(made):
        pass
    memory: Memory = made.learner.memory
    return memory


def coloured(n: int = 400, seed: int = 0) -> Dataset:
    """8x8 pictures with a white bar, mostly left for one class and right for the other, on red or on brown; in training
    the ground gives the class away, elsewhere it is chance."""
    rng = np.random.default_rng(seed)

    def split(rows: int, *, aligned: bool) -> Split:
        y = rng.integers(0, 2, rows)
        s = y if aligned else rng.integers(0, 2, rows)
        ground = np.array([(230, 20, 20), (150, 60, 60)])[s]
        x = np.repeat(np.repeat(ground[:, :, None, None], 8, 2), 8, 3).astype(float)
        for i, side in enumerate(np.where(rng.random(rows) < 0.15, 1 - y, y)):
            columns = slice(1, 3) if side == 0 else slice(5, 7)
            x[i, :, 2:6, columns] = 235
        x += rng.normal(0, 14, x.shape)
        return Split(x.clip(0, 255).astype(np.uint8), y.astype(np.int64), s.astype(np.int64))

    parts = (split(n, aligned=True), split(n // 2, aligned=False), split(n, aligned=False))
    return Dataset("coloured", *parts, ("left", "right"), ("red", "brown"), ())


# ------------------------------------------------------------------------------------------------- what is trained when


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("groups", [2, 3])
def test_a_stack_equals_its_single_runs_in_float64(options: dict[str, Any], groups: int) -> None:
    data = tiny_dataset(groups=groups)
    lams, seeds = [0.3, 0.3, 1.0, 1.0], [0, 1, 0, 1]
    recipes = [recipe(lam=lam, bias_hidden="16", **options) for lam in lams]
    together = job(recipes, data, seeds, BRIEF, dtype=torch.float64, live=False)
    finish(together)
    for r, seed in enumerate(seeds):
        alone = job([recipes[r]], data, [seed], BRIEF, dtype=torch.float64, live=False)
        finish(alone)
        for name, value in alone.learner.model.net.parameters.items():
            stacked = together.learner.model.net.parameters[name][r]
            assert torch.allclose(value[0], stacked, rtol=0, atol=1e-8), name


@pytest.mark.parametrize(
    ("options", "epochs", "made"),
    [
        ({"variant": "pre"}, 3, 1),
        ({"variant": "once", "warmup": 1}, 5, 1),
        ({"variant": "online", "refresh": 1, "warmup": 1}, 5, 4),  # before each epoch after the first
        ({"variant": "robust", "refresh": 2, "warmup": 1}, 6, 3),
        ({"variant": "robust", "refresh": 1, "warmup": 1, "freeze_after": 3}, 6, 3),
        ({"variant": "robust", "refresh": 1, "warmup": 1, "freeze_after": 9}, 4, 3),
    ],
)
def test_twins_are_made_anew_as_often_as_the_variant_says(options: dict[str, Any], epochs: int, made: int) -> None:
    memory = finish(job([recipe(**options)], tiny_dataset(n=200), budget=Budget(epochs=epochs, batch_size=64)))
    assert memory.generations == made


def test_frozen_twins_stay_and_others_do_not() -> None:
    data = tiny_dataset(n=200)
    for options, same in (({"variant": "once"}, True), ({"variant": "robust", "refresh": 1}, False)):
        one = job([recipe(**options)], data, budget=Budget(epochs=4, batch_size=64))
        seen = []
        training = train(one)
        for events in training:
            memory: Memory = one.learner.memory
            if events[0][1].stage == "training" and memory.judge is not None:
                method = one.recipes[0]
                assert isinstance(method, AEDA)
                seen.append(method._twins(one.learner, memory.sample).x.clone())  # type: ignore[union-attr]
        assert len(seen) >= 2
        assert torch.equal(seen[0], seen[-1]) is same


def test_the_bias_step_leaves_the_model_as_it_is_running_statistics_included() -> None:
    data = tiny_dataset()
    made = Job([recipe()], [MLP("8-8", norm="batch").build(data, 0)], [0], [data], SHORT)
    method, learner = made.recipes[0], made.learner
    assert isinstance(method, AEDA)
    learner.memory = method.begin(made)
    method._renew(learner)
    batch = made.rows("train")[0].take(torch.arange(64))
    method.update(learner, batch, 0.0)
    weights = [p.detach().clone() for p in learner.model.net.leaves]
    head = [p.detach().clone() for p in learner.adversary.net.leaves]
    buffers = copy.deepcopy(learner.model.net.buffers)
    twins = method._twins(learner, batch)
    assert twins is not None
    method._bias_step(learner, method._lesson(batch, joined(batch, twins), twins), 4)
    assert all(torch.equal(p, q) for p, q in zip(weights, learner.model.net.leaves, strict=True))
    assert all(torch.equal(buffers[0][k], v) for k, v in learner.model.net.buffers[0].items())
    assert not all(torch.equal(p, q) for p, q in zip(head, learner.adversary.net.leaves, strict=True))


def test_twins_lie_in_the_ball_and_the_attack_goes_towards_the_other_group() -> None:
    data = coloured()
    made = job([recipe(epsilon=0.2, lam=0.5)], data)
    memory = finish(made)
    method = made.recipes[0]
    assert isinstance(method, AEDA)
    twins = memory.keeper.twins(memory.sample, method._maker(made.learner), keep=False)
    x = memory.sample.x.unsqueeze(0)
    assert torch.equal(twins.aim[0], 1 - memory.sample.s)
    assert (twins.x - x).abs().max() <= 0.2 + 1e-6
    assert twins.x.min() >= 0
    assert twins.x.max() <= 1


@pytest.mark.parametrize("lam", [1.0, 0.3])
def test_at_lambda_one_the_class_plays_no_part(lam: float) -> None:
    made = job([recipe(lam=lam)], tiny_dataset())
    memory = finish(made)
    method = made.recipes[0]
    assert isinstance(method, AEDA)
    batch = memory.sample
    other = dataclasses.replace(batch, y=1 - batch.y)
    one, two = (memory.keeper.twins(b, method._maker(made.learner), keep=False).x for b in (batch, other))
    assert torch.equal(one, two) == (lam == 1.0)


def test_online_never_shows_its_twins_to_the_head() -> None:
    """With the twins left out of its lessons the head of online is that of a plain head on the same features."""
    data = tiny_dataset()
    told = {}
    for variant in ("online", "robust"):
        made = job([recipe(variant=variant)], data, budget=Budget(epochs=1, batch_size=64, max_steps=1))
        method, learner = made.recipes[0], made.learner
        assert isinstance(method, AEDA)
        learner.memory = method.begin(made)
        method._renew(learner)
        batch = made.rows("train")[0].take(torch.arange(64))
        twins = method._twins(learner, batch)
        assert twins is not None
        moved = dataclasses.replace(twins, x=twins.x + 100)
        method._bias_step(learner, method._lesson(batch, joined(batch, moved), moved), 4)
        told[variant] = torch.cat([p.detach().flatten() for p in learner.adversary.net.leaves])
        made = job([recipe(variant=variant)], data)
        learner = made.learner
        learner.memory = method.begin(made)
        method._renew(learner)
        method._bias_step(learner, method._lesson(batch, joined(batch, twins), twins), 4)
        again = torch.cat([p.detach().flatten() for p in learner.adversary.net.leaves])
        assert torch.equal(told[variant], again) is (variant == "online")


def test_pre_judges_with_networks_of_its_own_and_starts_afresh() -> None:
    data = tiny_dataset()
    budget = Budget(epochs=2, batch_size=64)
    made = job([recipe(variant="pre")], data, budget=budget)
    steps = []
    for events in train(made):
        steps += [event.of for _, event in events]
    assert set(steps) == {2 * 2 * -(-600 // 64)}
    adversary = made.learner.adversary.net
    assert set(adversary.parameters) == set(made.learner.model.net.parameters)  # g is a whole network


# ------------------------------------------------------------------------------------------------------ what it says


def test_gauges_and_exhibits_tell_of_every_look() -> None:
    data = coloured()
    looks = []
    for events in train(job([recipe(epsilon=0.3)], data)):
        looks += [event for _, event in events if event.stage == "training"]
    names = set(AEDA.gauges_help)
    assert all(names <= set(look.values) for look in looks)
    for look in looks:
        assert all(0 <= look.values[name] <= 1 for name in ("attack_success", "class_kept", "transferability"))
        assert look.values["chance"] == 0.5
        shown = look.exhibit
        assert shown is not None
        assert shown["x"].shape == shown["twin"].shape == (12, 3, 8, 8)
        assert shown["x"].dtype == np.uint8
        assert set(shown["class_after"]) <= {0, 1}
        assert np.array_equal(shown["aim"], 1 - shown["s"])
    assert any(np.abs(look.exhibit["x"].astype(int) - look.exhibit["twin"]).max() > 30 for look in looks)  # type: ignore[index]


def test_looking_changes_nothing() -> None:
    data = tiny_dataset()
    watched, alone = job([recipe()], data), job([recipe()], data, live=False)
    finish(watched)
    finish(alone)
    for p, q in zip(watched.learner.model.net.leaves, alone.learner.model.net.leaves, strict=True):
        assert torch.equal(p, q)


def test_a_probe_finds_a_group_that_is_there_and_none_that_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    s = torch.randint(2, (400,), generator=generator)
    h = torch.randn(2, 5, 400, generator=generator)
    h[0, 2] += 4.0 * s
    r = probes.transferability(h[:, :, :200], s[:200].expand(2, -1), h[:, :, 200:], s[200:], 2)
    assert r[0] > 0.95
    assert 0.35 < r[1] < 0.65


def test_feature_difference_is_equation_seven() -> None:
    h = torch.tensor([[[1.0, 0.0], [3.0, 2.0]]])
    moved = torch.tensor([[[2.0, 0.0], [3.0, 1.0]]])
    assert probes.feature_difference(h, moved).item() == pytest.approx((1 / 4 + 1 / 2) / 2)


def test_what_cannot_be_is_said_in_one_sentence() -> None:
    with pytest.raises(UserError, match="adv_label = attacked is a setting of variant robust"):
        recipe(variant="online", adv_label="attacked")


# ----------------------------------------------------------------------------------------------------- that it works


def gap_and_accuracy(made: Job) -> tuple[float, float]:
    (*_, (last,)) = train(made)
    told = metrics.evaluate(last[1].confusion, ["bias_mean", "bacc"])
    return float(told["bias_mean"]), float(told["bacc"])


@pytest.mark.parametrize("variant", ["pre", "online", "robust"])  # once depends on when: it may learn the texture
def test_it_takes_away_a_ground_that_gives_the_class_away(variant: str) -> None:
    data, budget = coloured(n=1200), Budget(epochs=6, batch_size=64, lr=2e-3)
    plain = Job([METHODS["erm"]()], [SmallCNN("4-8", 16).build(data, 0)], [0], [data], budget)
    before = gap_and_accuracy(plain)
    after = gap_and_accuracy(job([recipe(epsilon=0.4, variant=variant)], data, budget=budget))
    assert before[0] > 0.9  # the ground decides
    assert after[0] < 0.2
    assert after[1] > 0.75  # 0.85 is what the bar allows


def test_without_bias_it_makes_none() -> None:
    gaps = {}
    for name, options in (("erm", {}), ("aeda", {})):
        odds = []
        for seed in range(3):
            data = tiny_dataset(n=2000, bias=0.0, seed=seed)
            made = Job([METHODS[name](**options)], [MLP("8-8").build(data, seed)], [seed], [data], Budget(epochs=6))
            (*_, (last,)) = train(made)
            odds.append(float(metrics.evaluate(last[1].confusion, ["odds"])["odds"]))
        gaps[name] = np.mean(odds)
    assert gaps["aeda"] < gaps["erm"] + 3.0  # points; the noise of a test split of 2,000 rows
