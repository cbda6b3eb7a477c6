"""Classes with few examples: the data, the pseudo samples that stand for what is missing, and how they are told."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fairness_core import few_shot, few_shot_figures
from fairness_core.attacks import Ball, scattered
from fairness_core.balance import NONE, fillers
from fairness_core.config import Budget, UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.datasets.cmnist import ColouredMnist
from fairness_core.fillers import Fillers
from fairness_core.methods import METHODS
from fairness_core.methods.aeda import AEDA, Memory, dual_loss
from fairness_core.models import MLP
from fairness_core.training import Job, train
from tests.tiny import tiny_dataset

RNG = np.random.default_rng
SHORT = Budget(epochs=2, batch_size=64, max_steps=12)


def scarce(groups: int = 2, shots: int = 5, seed: int = 0) -> Dataset:
    """Three classes, of which the middle one has so many training rows."""
    data = tiny_dataset(groups=groups, classes=3, seed=seed)
    t = data.train
    kept = np.ones(len(t), bool)
    kept[np.flatnonzero(t.y == 1)[shots:]] = False
    return dataclasses.replace(data, train=Split(t.x[kept], t.y[kept], t.s[kept]))


def recipe(**options: Any) -> AEDA:
    made: AEDA = METHODS["aeda"](balance_mode="fill_classes", **options)
    return made


def job(recipes: list[AEDA], data: Dataset, seeds: list[int], budget: Budget = SHORT, **more: Any) -> Job:
    return Job(recipes, [MLP("8-8").build(data, seed) for seed in seeds], seeds, [data] * len(seeds), budget, **more)


def begun(data: Dataset, **options: Any) -> tuple[AEDA, Job, Memory]:
    """A stack of one whose twins are made against its networks as they begin."""
    method = recipe(**options)
    made = job([method], data, [0])
    made.learner.memory = method.begin(made)
    method._renew(made.learner)
    return method, made, made.learner.memory


def test_what_fills_a_class_is_not_tinted_unless_somebody_wants_it() -> None:
    x = RNG(0).integers(0, 256, (20, 3, 28, 28), dtype=np.uint8)
    train_split = Split(x, np.arange(20) % 2, np.arange(20) // 10)
    assert recipe().ball(train_split).tint == 0
    assert recipe(tint=1.0).ball(train_split).tint == 7
    assert dataclasses.replace(recipe(), balance_mode="flip_all").ball(train_split).tint == 3


# ------------------------------------------------------------------------------------------------------------ the data


@pytest.mark.usefixtures("empty_cache")
def test_training_keeps_so_many_of_the_named_digits_and_all_of_the_others() -> None:
    whole, few = ColouredMnist().load(None), ColouredMnist(few_shot="2, 4,6, 8", shots=4).load(None)
    full = len(whole.train) // 10
    assert np.bincount(few.train.y).tolist() == [full, full, 4, full, 4, full, 4, full, 4, full]
    for role in ("validation", "test"):
        assert np.array_equal(getattr(few, role).x, getattr(whole, role).x)
    others = ~np.isin(whole.train.y, [2, 4, 6, 8])
    assert np.array_equal(few.train.x[~np.isin(few.train.y, [2, 4, 6, 8])], whole.train.x[others])
    seen = {row.tobytes() for row in whole.train.x}
    assert {row.tobytes() for row in few.train.x} < seen


@pytest.mark.usefixtures("empty_cache")
def test_the_examples_follow_from_the_seed_of_the_split_and_from_nothing_else() -> None:
    options = {"few_shot": "7", "shots": 3}
    one, again = (ColouredMnist(**options).load(None).train for _ in range(2))  # type: ignore[arg-type]
    more = ColouredMnist(few_shot="1, 7", shots=3).load(None).train
    assert np.array_equal(one.x, again.x)
    assert np.array_equal(one.x[one.y == 7], more.x[more.y == 7])
    rows = ColouredMnist(**options).explore(None)  # type: ignore[arg-type]
    assert np.array_equal(rows.y, one.y)


@pytest.mark.parametrize("text", ["ten", "2; 4", "2, 2", "0,1,2,3,4,5,6,7,8,9", "12", "2,,4"])
def test_a_text_that_names_no_digits_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"few_shot = .* cannot be used; give up to nine different digits"):
        ColouredMnist(few_shot=text).load(None)


def test_nothing_named_is_nobody_left_out() -> None:
    assert ColouredMnist(few_shot="  ").few == ()


# ------------------------------------------------------------------------------------------------ what twins are to be


def test_classes_are_filled_up_to_the_median_and_no_further() -> None:
    y = np.repeat([0, 1, 2, 3], [40, 4, 30, 11])
    s = RNG(0).integers(0, 2, len(y))
    made = fillers(y, s, 2, RNG(1))
    assert (np.bincount(y) + np.bincount(made[:, 2], minlength=4)).tolist() == [40, 20, 30, 20]  # the median is 20.5


def test_one_half_is_the_class_in_another_group_and_one_half_other_classes_in_their_group() -> None:
    y = np.repeat([0, 1, 2], [60, 4, 60])
    s = RNG(0).integers(0, 3, len(y))
    source, group, label = fillers(y, s, 3, RNG(1)).T
    within = y[source] == label
    assert (within.sum(), (~within).sum()) == (28, 28)
    assert (group[within] != s[source[within]]).all()
    assert (group[~within] == s[source[~within]]).all()
    assert np.bincount(source[within])[60:64].tolist() == [7, 7, 7, 7]  # every shot as often
    assert len(set(source[~within])) == 28


def test_a_class_without_rows_stays_without() -> None:
    y = np.repeat([0, 2, 3], [9, 2, 9])
    assert set(fillers(y, np.zeros_like(y), 2, RNG(0))[:, 2]) == {2}


def test_fillers_come_once_an_epoch_whatever_the_number_of_steps() -> None:
    data = scarce()
    rows = job([recipe()], data, [0]).rows("train")
    for steps in (3, 7, 500):
        made = Fillers.of(rows, 2, 1, steps)
        for _ in range(2):
            found = [batch.rows for batch in (made.batch() for _ in range(steps)) if batch is not None]
            assert sorted(torch.cat(found).tolist()) == list(range(made.source.shape[1]))  # type: ignore[arg-type]


def test_replicas_that_lack_less_have_no_twin_in_the_places_that_are_left() -> None:
    one, other = scarce(), scarce(shots=15)
    rows = [job([recipe()], data, [0]).rows("train")[0] for data in (one, other)]
    made = Fillers.of(rows, 2, 2, 5)
    lacks = (made.aims != NONE).sum((1, 2))
    assert lacks[0] > lacks[1] > 0
    assert made.batch().x.shape[0] == 2  # type: ignore[union-attr]


# ----------------------------------------------------------------------------------------------------------- the twins


def test_twins_have_the_class_they_stand_for_and_the_group_of_their_row() -> None:
    method, made, memory = begun(scarce())
    batch = memory.fillers.take(torch.arange(memory.fillers.source.shape[1]))  # type: ignore[union-attr]
    twins = memory.keeper.twins(batch, method._maker(made.learner), keep=False)
    assert set(twins.y.flatten().tolist()) == {1}
    assert torch.equal(twins.s, batch.s)
    own = batch.y == 1
    assert (twins.aim[0][own] == 1 - batch.s[own]).all()
    assert torch.equal(twins.aim[0][~own], batch.s[~own])


def test_a_step_learns_from_every_row_and_from_pseudo_samples_beside_them() -> None:
    method, made, memory = begun(scarce())
    batch = made.rows("train")[0].take(torch.arange(64))
    twins = method._twins(made.learner, batch)
    assert twins is not None
    assert len(twins) == pytest.approx(memory.fillers.source.shape[1] / memory.fillers.steps, abs=1)  # type: ignore[union-attr]


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.3), ("l2", 0.7)])
def test_twins_of_one_row_differ_and_stay_in_the_ball(norm: str, radius: float) -> None:
    method, made, memory = begun(scarce(), norm=norm, epsilon=radius)
    fill = memory.fillers
    assert fill is not None
    first = fill.source[0, (fill.source[0] == fill.source[0, 0]).nonzero().flatten()]
    same = (fill.source[0] == first[0]).nonzero().flatten()
    batch = fill.take(same)
    twins = memory.keeper.twins(batch, method._maker(made.learner), keep=False)
    change = twins.x - batch.x.t()
    reach = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert len(same) > 1
    assert (reach <= radius + 1e-5).all()
    assert not torch.equal(twins.x[0, :, 0], twins.x[0, :, 1])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_random_start_lies_in_the_ball_and_is_the_same_for_all_replicas(norm: str) -> None:
    x = torch.rand(1, 5, 3, 4, 4).expand(2, -1, -1, -1, -1)
    start = scattered(x, Ball(norm, 0.2, 0.1, 3, 0.0, 1.0), seed=4)
    change = start - x
    reach = change.abs().amax((2, 3, 4)) if norm == "linf" else change.flatten(2).norm(dim=2)
    assert (reach <= 0.2 + 1e-6).all()
    assert (start >= 0).all()
    assert torch.equal(start[0], start[1])
    assert not torch.equal(change[0, 0], change[0, 1])


def test_lambda_weighs_what_is_moved() -> None:
    """Where the class is moved, a λ of 1 looks at the class alone; where the group is, at the group alone."""
    target, group = torch.randn(1, 3, 4), torch.randn(1, 2, 4)
    y, aim = torch.tensor([0, 1, 2, 0]), torch.tensor([[0, 1, 0, 1]])
    turned = torch.tensor([[True, False, True, False]])
    losses = dual_loss(lambda _: (target, group), torch.tensor([1.0]), y, aim, turned)(torch.empty(0))
    of_class = torch.nn.functional.cross_entropy(target[0].t(), y, reduction="none")
    of_group = torch.nn.functional.cross_entropy(group[0].t(), aim[0], reduction="none")
    assert torch.allclose(losses[0], torch.where(turned[0], of_class, of_group))


@pytest.mark.parametrize(
    "options", [{}, {"refresh": 1}, {"variant": "once"}, {"variant": "pre"}, {"norm": "linf", "epsilon": 0.5}]
)
@pytest.mark.parametrize("groups", [2, 3])
def test_a_stack_equals_its_single_runs_in_float64(options: dict[str, Any], groups: int) -> None:
    data = scarce(groups)
    lams, seeds = [0.3, 0.3, 1.0, 1.0], [0, 1, 0, 1]
    recipes = [recipe(lam=lam, bias_hidden="16", **options) for lam in lams]
    together = job(recipes, data, seeds, dtype=torch.float64, live=False)
    for _ in train(together):
        pass
    for r, seed in enumerate(seeds):
        alone = job([recipes[r]], data, [seed], dtype=torch.float64, live=False)
        for _ in train(alone):
            pass
        for name, value in alone.learner.model.net.parameters.items():
            stacked = together.learner.model.net.parameters[name][r]
            assert torch.allclose(value[0], stacked, rtol=0, atol=1e-8), name


def test_looking_at_them_changes_nothing() -> None:
    data = scarce()
    watched, alone = (job([recipe()], data, [0], live=live) for live in (True, False))
    for one in (watched, alone):
        for _ in train(one):
            pass
    for p, q in zip(watched.learner.model.net.leaves, alone.learner.model.net.leaves, strict=True):
        assert torch.equal(p, q)


def test_what_is_shown_says_which_class_a_twin_is_to_have() -> None:
    looks = [event for events in train(job([recipe()], scarce(), [0])) for _, event in events]
    shown = looks[-3].exhibit
    assert shown is not None
    assert set(shown["aim_class"]) == {1}
    assert set(shown["y"]) > {1}


def test_it_helps_a_class_that_has_few_rows() -> None:
    data, budget = scarce(shots=4), Budget(epochs=30, batch_size=64)
    recalls = {}
    for name, method in (("erm", METHODS["erm"]()), ("aeda", recipe(epsilon=1.0, lam=0.8))):
        made = Job([method], [MLP("8-8").build(data, 0)], [0], [data], budget)
        (*_, (last,)) = train(made)
        assert last[1].confusion is not None
        recalls[name] = few_shot.by_class(last[1].confusion, data.classes, ["class 1"])["accuracy"].item()
    assert recalls["aeda"] > recalls["erm"] + 0.05


def test_what_it_cannot_do_is_one_sentence() -> None:
    data = scarce(shots=1000)
    t, even = data.train, np.concatenate([np.flatnonzero(data.train.y == t)[:50] for t in range(3)])
    equal = job([recipe()], dataclasses.replace(data, train=Split(t.x[even], t.y[even], t.s[even])), [0])
    with pytest.raises(UserError, match="finds no class with fewer rows than the median class"):
        recipe().begin(equal)
    several = tiny_dataset()
    y = np.stack([several.train.y, 1 - several.train.y], 1)
    rows = Split(several.train.x, y, several.train.s)
    data = dataclasses.replace(several, train=rows, task="multilabel", targets=("a", "b"))
    with pytest.raises(UserError, match="fill_classes cannot balance several targets at once; choose flip_all"):
        recipe().begin(job([recipe()], data, [0]))


# ---------------------------------------------------------------------------------------------------- how they are told


def counted() -> np.ndarray:
    """Two groups, three classes; 1 is told 4 times, 3 of them rightly, of 10; 2 is never told."""
    one = np.array([[5, 0, 0], [2, 3, 0], [4, 1, 0]])
    return np.stack([one, np.array([[5, 0, 0], [5, 0, 0], [5, 0, 0]])])


def test_precision_and_accuracy_are_counted_by_hand() -> None:
    table = few_shot.by_class(counted(), ("0", "1", "2"), ("1", "2"))
    assert table["precision"].tolist() == [0.75, pytest.approx(np.nan, nan_ok=True)]
    assert table["accuracy"].tolist() == [0.3, 0.0]
    assert table[["told", "n"]].to_numpy().tolist() == [[4, 10], [0, 10]]
    assert table["accuracy_low"][0] < 0.3 < table["accuracy_high"][0]


def beside(*, untreated: bool) -> pd.DataFrame:
    own = few_shot.by_class(counted(), ("0", "1", "2"), ("1", "2"))
    return own.join((own if untreated else own.map(lambda _: np.nan)).add_prefix("before_"))


def test_bars_are_shares_with_intervals_and_a_share_of_nothing_says_so() -> None:
    figure = few_shot_figures.by_class(beside(untreated=True), colour="#007edc", target="digit")
    bars = {trace.meta: trace for trace in figure.data}
    assert set(bars) == {"before_precision", "precision", "before_accuracy", "accuracy"}
    assert list(bars["precision"].y) == [75.0, 0.0]
    assert "precision 75.0 %" in bars["precision"].hovertext[0]
    assert "no picture is told this class" in bars["precision"].hovertext[1]
    assert [a.text for a in figure.layout.annotations].count("none told") == 2
    assert figure.layout.yaxis.title.text == "precision (%)"
    assert max(bars["before_precision"].x) < max(bars["precision"].x)


def test_without_an_untreated_model_there_are_no_bars_of_one() -> None:
    figure = few_shot_figures.by_class(beside(untreated=False), colour="#007edc", target="digit")
    assert {trace.meta for trace in figure.data} == {"precision", "accuracy"}
    assert not any("untreated" in a.text for a in figure.layout.annotations)
