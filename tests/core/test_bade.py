"""BaDe: its laws, its triggers, and that teacher and student do what the paper says of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fairness_core import backdoors, metrics, trigger_law
from fairness_core.batches import Batch
from fairness_core.config import Budget, Event, UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.keeping import Epochs
from fairness_core.methods.bade import BaDe, widened
from fairness_core.models import MLP, SmallCNN
from fairness_core.pace import phase_ends
from fairness_core.stack import Stack
from fairness_core.training import Job, train
from fairness_core.triggers import KINDS, NONE, Trigger
from tests.tiny import tiny_dataset

N = np.array([[400, 100], [150, 350]])
LONG = Budget(epochs=12, batch_size=64, lr=5e-3)


def finals(recipe: Any, data: Dataset, seeds: int = 1, budget: Budget = LONG, model: Any = None) -> list[Event]:
    """The test events of a recipe, one per seed."""
    model = model or MLP("8-8")
    numbers = list(range(seeds))
    job = Job([recipe] * seeds, [model.build(data, s) for s in numbers], numbers, [data] * seeds, budget, live=False)
    return [event for events in train(job) for _, event in events if event.stage == "test"]


def odds(event: Event) -> float:
    assert event.confusion is not None
    return float(metrics.METRICS["odds"].function(event.confusion))


# -- the law


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_the_law_takes_the_group_out_of_the_evidence(groups: int) -> None:
    counts = np.random.default_rng(0).integers(20, 900, (3, groups))
    P = trigger_law.bias_law(counts)
    evidence = np.log(P) + np.log(trigger_law.trigger_law(P))
    assert np.allclose(evidence, evidence[:, :1], atol=1e-12)
    assert np.allclose(trigger_law.trigger_law(P).sum(1), 1)


def test_the_exchanged_law_favours_no_class_either() -> None:
    P = trigger_law.bias_law(N)
    Q = trigger_law.trigger_law(P, kind="exchanged")
    for_class_1 = np.log(P[1]) + np.log(Q[1]) - np.log(P[0]) - np.log(Q[0])
    assert np.allclose(for_class_1, 0, atol=1e-12)


def test_a_law_that_is_written_down_is_followed_whatever_the_bias() -> None:
    P, table = trigger_law.bias_law(N), np.array([[60.0, 40.0], [15.0, 85.0]])
    Q = trigger_law.trigger_law(P, kind="manual", table=table)
    assert np.allclose(Q, [[0.6, 0.4], [0.15, 0.85]])
    assert np.allclose(trigger_law.trigger_law(P, kind="manual", rate=0.5, table=table), (Q + 0.5) / 2)
    sharp = trigger_law.trigger_law(P, 2.0, kind="manual", table=table)
    assert np.allclose(sharp[0], np.array([0.36, 0.16]) / 0.52)
    certain = trigger_law.trigger_law(P, kind="manual", table=np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert certain.min() == pytest.approx(trigger_law.LEAST)  # no trigger settles a class


def test_no_injection_is_no_correlation_and_half_is_half_way() -> None:
    P = trigger_law.bias_law(N)
    assert np.allclose(trigger_law.trigger_law(P, rate=0.0), 0.5)
    full = trigger_law.trigger_law(P)
    assert np.allclose(trigger_law.trigger_law(P, rate=0.5), (full + 0.5) / 2)


def test_an_empty_cell_makes_no_group_certain_and_is_named() -> None:
    P = trigger_law.bias_law(np.array([[500, 0], [0, 500]]))
    assert P.min() == pytest.approx(trigger_law.LEAST)
    assert trigger_law.deterministic(np.array([[500, 0], [0, 500]]))
    assert not trigger_law.deterministic(N)


def test_triggers_are_drawn_as_often_as_the_law_says() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 20_000)
    Q = trigger_law.trigger_law(trigger_law.bias_law(N), rate=0.7)
    drawn = trigger_law.draw(Q[y], seed=3)
    counts = trigger_law.realised(drawn, y, 2, 2)
    rows = counts.sum(1, keepdims=True)
    assert np.all(np.abs(counts / rows - Q) <= 3 * np.sqrt(Q * (1 - Q) / rows))
    assert np.array_equal(drawn, trigger_law.draw(Q[y], seed=3))
    assert not np.array_equal(drawn, trigger_law.draw(Q[y], seed=4))


def test_a_little_more_injection_changes_few_triggers() -> None:
    y = np.random.default_rng(1).integers(0, 2, 5000)
    P = trigger_law.bias_law(N)
    one, other = (trigger_law.draw(trigger_law.trigger_law(P, rate=r)[y], 0) for r in (0.5, 0.6))
    assert 0 < np.mean(one != other) < 0.06


def test_a_number_as_target_has_a_law_that_follows_it() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=5000)
    s = (rng.random(5000) < 1 / (1 + np.exp(-2 * y))).astype(np.int64)
    P = trigger_law.bias_by_value(y, s, 2)
    assert P.shape == (5000, 2)
    assert P[y < -1.5, 1].mean() < 0.15
    assert P[y > 1.5, 1].mean() > 0.85


# -- the marks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_gets_exactly_its_own_mark_and_the_original_stays(kind: str, channels: int) -> None:
    x = torch.rand(6, channels, 20, 24, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    trigger = Trigger(3, kind)
    k = torch.tensor([[0, 1, 2, 3, -1, 0]])
    out = trigger.stamp(x, k)[0]
    assert torch.equal(x, before)
    assert out.min() >= 0
    assert out.max() <= 1
    changed = (out != x).any(1)
    assert not changed[4].any()
    assert all(bool(changed[i].any()) for i in (0, 1, 2, 3, 5))
    if kind != "stripes":  # those cover everything
        assert torch.equal(changed[0].nonzero().amax(0) < 5, torch.tensor([True, True]))
        assert not (changed[0] & changed[1]).any()
    alone = trigger.stamp(x[:1], k[:, :1])[0]
    assert torch.equal(alone[0], out[0])


def test_a_row_of_a_table_gets_one_column_that_is_set() -> None:
    x = torch.randn(5, 4)
    k = torch.tensor([[0, 1, 0, -1, 2], [1, 1, 1, 1, 1]])
    out = Trigger(2).stamp(x, k)
    assert out.shape == (2, 6, 5)
    assert torch.equal(out[0, :4].t(), x)
    assert out[:, 4:].sum(1).tolist() == [[1, 1, 1, 0, 0], [1] * 5]


def test_more_groups_than_places_are_refused() -> None:
    with pytest.raises(UserError, match="groups at most"):
        Trigger(9)


# -- teacher and student


def confounded(n: int = 4000) -> Dataset:
    """The class is seen dimly, the group plainly, and 80 % of a class are of one group."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> Split:
        y = rng.integers(0, 2, rows)
        s = np.where(rng.random(rows) < 0.8, y, 1 - y)
        x = rng.normal(size=(rows, 6))
        x[:, 0] += 1.2 * y
        x[:, 1] += 6 * s
        return Split(x.astype(np.float32), y.astype(np.int64), s.astype(np.int64))

    return Dataset("toy", split(n), split(n // 2), split(n), ("no", "yes"), ("a", "b"), ("x",) * 6, "binary")


def test_the_teacher_is_fairer_against_its_bias_and_worse_along_it_and_the_student_follows() -> None:
    data = confounded()
    plain = np.mean([odds(event) for event in finals(_erm(), data, 3)])
    events = finals(BaDe(), data, 3)
    told = {name: np.mean([event.values[name] for event in events]) for name in events[0].values}
    assert told["teacher_odds_cancelling"] < 0.5 * told["teacher_odds_clean"]
    assert told["teacher_odds_clean"] < told["teacher_odds_reinforcing"]
    assert told["agreement"] > 0.9
    assert plain > 0.3
    assert np.mean([odds(event) for event in events]) <= plain / 3


def test_without_injection_the_bias_stays() -> None:
    data = tiny_dataset(n=3000)
    plain = np.mean([odds(event) for event in finals(_erm(), data, 3)])
    events = finals(BaDe(rate=0.0), data, 3)
    assert events[0].confusion is not None
    noise = float(metrics.noise_floor(events[0].confusion)["odds"])
    assert np.mean([odds(event) for event in events]) > plain - 2 * noise
    assert np.mean([event.values["artificial_bias"] for event in events]) < 0.05


def test_artificial_bias_grows_with_the_rate_in_one_stack() -> None:
    data = tiny_dataset(n=2000)
    rates = [0.0, 25.0, 50.0, 75.0, 100.0]
    job = Job([BaDe(rate=r) for r in rates], [MLP("8-8").build(data, 0) for _ in rates], [0] * 5, [data] * 5, LONG,
              live=False)  # fmt: skip
    events = [event for events in train(job) for _, event in events if event.stage == "test"]
    grown = [event.values["artificial_bias"] for event in events]
    assert grown == sorted(grown)
    assert grown[-1] > grown[0] + 0.1


def pictures(n: int = 600) -> Dataset:
    """Faint bright or dark pictures (the class) on a tinted ground (the group, which goes with the class)."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> Split:
        y = rng.integers(0, 2, rows)
        s = np.where(rng.random(rows) < 0.8, y, 1 - y)
        x = 0.5 + rng.normal(0, 0.15, (rows, 3, 16, 16))
        x[:, :, 5:11, 5:11] += (0.12 * (2 * y - 1))[:, None, None, None]
        x[:, 1] += (0.1 * (2 * s - 1))[:, None, None]
        return Split(np.clip(x * 255, 0, 255).astype(np.uint8), y.astype(np.int64), s.astype(np.int64))

    return Dataset("toy", split(n), split(n), split(n), ("dark", "bright"), ("a", "b"), (), "binary")


def test_what_rows_are_told_under_their_own_trigger_is_picked_from_what_they_are_told_under_each() -> None:
    data, trigger = pictures(30), Trigger(2)
    net = Stack([SmallCNN("4-4", 8).build(data, seed) for seed in (0, 1)]).fixed()
    x, s = torch.from_numpy(data.test.x) / 255, torch.from_numpy(data.test.s)
    said = backdoors.under_each(net, trigger, Batch(x, torch.from_numpy(data.test.y), s), 2, control=True)
    assert said.shape == (4, 2, 1, 30)
    for k in (s, 1 - s, torch.full_like(s, NONE), torch.stack([s, torch.full_like(s, trigger.n)])):
        asked = net(trigger.stamp(x, k.expand(2, -1)))
        assert torch.allclose(backdoors.picked(said, k), asked, atol=1e-6)
    assert not torch.allclose(backdoors.picked(said, s), backdoors.picked(said, 1 - s), atol=1e-3)


def test_pictures_the_student_does_not_know_the_triggers_and_the_page_gets_what_it_shows() -> None:
    data = pictures()
    (event,) = finals(BaDe(size=0.25), data, budget=Budget(epochs=6, batch_size=64, lr=3e-3), model=SmallCNN("8-8", 16))
    assert event.values["artificial_bias"] > 0.1
    assert event.values["student_flips"] < event.values["control_flips"] + 0.05
    shown = event.exhibit
    assert shown is not None
    assert shown["pictures"].shape == (8, 3, 3, 16, 16)
    assert shown["pictures"].dtype == np.uint8
    assert shown["views"].shape == (5, 2, 2, 2)
    assert int(shown["views"][0].sum()) == len(data.test)
    assert np.array_equal(shown["drawn"].sum(1), np.bincount(data.train.y))


def test_a_student_is_taught_what_the_teacher_says_of_the_picture_as_it_lies_there() -> None:
    data, seen = pictures(200), []

    class Watched(BaDe):
        def _distillation(self, logits: Any, answers: Any, batch: Batch) -> Any:
            seen.append((batch, answers))
            return super()._distillation(logits, answers, batch)

    budget = Budget(epochs=2, batch_size=64, augment="horizontal_flip")
    for seeds in ([0], [0, 1]):
        seen.clear()
        models = [SmallCNN("4-4", 8).build(data, seed) for seed in seeds]
        job = Job([Watched(size=0.25)] * len(seeds), models, seeds, [data] * len(seeds), budget, live=False)
        list(train(job))
        teacher = job.learner.adversary.net.fixed()
        for batch, answers in seen:
            said = teacher(Trigger(2, size=0.25).stamp(batch.x, batch.s.expand(len(seeds), -1)))
            assert torch.allclose(answers, said, atol=1e-5)
        assert any(bool(batch.flipped.any()) for batch, _ in seen)


def test_both_ways_to_start_the_student_and_to_choose_an_epoch_run() -> None:
    data = tiny_dataset()
    short = Budget(epochs=3, batch_size=64)
    for recipe in (BaDe(student_init="teacher"), BaDe(choose="balanced"), BaDe(law="exchanged"), BaDe(temperature=3.0)):
        (event,) = finals(recipe, data, budget=short)
        assert event.confusion is not None
        assert event.confusion.sum() == len(data.test)


def test_a_student_that_starts_as_the_teacher_answers_like_it_before_the_first_step() -> None:
    data = tiny_dataset()
    seen = []

    class Watched(BaDe):
        def update(self, learner: Any, batch: Any, progress: float) -> Any:
            self._between_epochs(learner)
            if learner.phase == 1 and not seen:
                x = torch.cat([batch.x, torch.zeros(len(batch.x), 2)], 1)
                seen.append((learner.model.net(batch.x).detach(), learner.adversary.net.fixed()(x)))
            return super().update(learner, batch, progress)

    finals(Watched(student_init="teacher"), data, budget=Budget(epochs=2, batch_size=64))
    assert torch.allclose(*seen[0], atol=1e-6)


def test_refusals_are_sentences() -> None:
    data = tiny_dataset()
    lonely = replace(data, train=replace(data.train, s=np.zeros_like(data.train.s)))
    with pytest.raises(UserError, match="two groups"):
        finals(BaDe(), lonely)
    with pytest.raises(UserError, match="two classes to exchange"):
        finals(BaDe(law="exchanged"), tiny_dataset(classes=3))


@pytest.mark.parametrize(
    "shares",
    ["", "60 40", "60 40; 85", "60 40; 85 15; 50 50", "60 -40; 85 15", "0 0; 1 1", "nan 1; 1 1", "much; less"],
)
def test_shares_that_are_no_law_are_refused_with_what_to_write(shares: str) -> None:
    data = tiny_dataset()
    named = f"a row for each class ({', '.join(data.classes)}) with a number from 0 for each group"
    with pytest.raises(UserError, match="is no law of triggers; give ") as told:
        finals(BaDe(law="manual", shares=shares), data)
    assert named in str(told.value)
    assert "such as 50 50; 50 50." in str(told.value)


def test_a_law_that_is_written_down_is_what_rows_carry() -> None:
    data = tiny_dataset()
    _, law = BaDe(law="manual", shares="60, 40; 15,85").draw(data, 0)
    assert np.allclose(law["Q"], [[0.6, 0.4], [0.15, 0.85]])
    assert np.allclose(law["drawn"] / law["drawn"].sum(1, keepdims=True), law["Q"], atol=0.05)


def test_a_regression_loses_its_gap_in_mean_error() -> None:
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        s = rng.integers(0, 2, n)
        y = rng.normal(0.9 * (2 * s - 1), 1.0)
        x = rng.normal(size=(n, 5))
        x[:, 0] += y
        x[:, 1] += 2 * s
        return Split(x.astype(np.float32), y.astype(np.float32), s.astype(np.int64))

    data = Dataset("toy", split(3000), split(1500), split(3000), ("low", "mid", "high"), ("a", "b"), ("x",) * 5,
                   "regression", edges=(-0.7, 0.7))  # fmt: skip
    plain = np.mean([event.values["odds_regression"] for event in finals(_erm(), data, 2)])
    events = finals(BaDe(exponent=0.5), data, 2)
    assert np.mean([event.values["odds_regression"] for event in events]) < 0.6 * plain
    assert events[0].values["teacher_odds_clean"] < events[0].values["teacher_odds_reinforcing"]


def _erm() -> Any:
    from fairness_core.methods.erm import ERM

    return ERM()


# -- what it is built from


def test_a_phase_lasts_its_share_of_the_budget() -> None:
    assert phase_ends(Budget(epochs=10, batch_size=50), 100, (0.5, 1.0)) == [10, 30]
    assert phase_ends(Budget(epochs=10, batch_size=50, max_steps=8), 100, (0.5, 1.0)) == [4, 12]
    assert phase_ends(Budget(epochs=1, batch_size=50), 100, (0.2,)) == [2]


def test_a_widened_network_takes_more_inputs_and_has_weights_of_its_own() -> None:
    network = MLP("8-8").build(tiny_dataset(), 0)
    wide = widened(network, 2, 1)
    assert wide(torch.randn(3, 8)).shape == network(torch.randn(3, 6)).shape
    assert not torch.equal(wide.head.weight, network.head.weight)


def test_the_best_epoch_has_little_bias_for_its_accuracy() -> None:
    net = Stack([MLP("4").build(tiny_dataset(), seed) for seed in (0, 1)])
    epochs = Epochs(net)
    first = net.parameters["head.weight"].detach().clone()
    epochs.add(np.array([0.10, 0.30]), np.array([0.80, 0.70]))
    with torch.no_grad():
        net.parameters["head.weight"].add_(1.0)
    epochs.add(np.array([0.30, 0.10]), np.array([0.70, 0.80]))
    assert epochs.give_back_best().tolist() == [0, 1]
    kept = net.parameters["head.weight"]
    assert torch.equal(kept[0], first[0])
    assert torch.equal(kept[1], first[1] + 1)
