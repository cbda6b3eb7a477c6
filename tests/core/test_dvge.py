"""DVGE and its baselines on codes: foci, the three modes, and that they do what they promise."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fairness_core import codes, metrics
from fairness_core.config import Budget, Event, UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.foci import balanced_accuracy, focus, learn
from fairness_core.generators import ran
from fairness_core.latent_views import PUSHES, association
from fairness_core.methods.drop_dims import FFVAE, DropDims
from fairness_core.methods.dvge import DVGE, INFERENCE, LITERAL, MODES
from fairness_core.methods.erm import ERM
from fairness_core.models import MLP
from fairness_core.stack import Stack
from fairness_core.training import Job, train
from tests.tiny import tiny_dataset

BUDGET = Budget(epochs=8, batch_size=64, lr=3e-3)
FEW: dict[str, Any] = {"sensitive_epochs": 6}


def entangled(n: int = 900, agreement: float = 0.8, seed: int = 0) -> Dataset:
    """Ten latent numbers, of which one carries the class and one the group, rotated together (methods note, 14.4):
    class and group agree in this share of the rows."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(np.random.default_rng(99).normal(size=(10, 10)))[0]

    def split(rows: int) -> Split:
        y = rng.integers(0, 2, rows)
        s = np.where(rng.random(rows) < agreement, y, 1 - y)
        z = rng.normal(size=(rows, 10))
        z[:, 0] += 0.8 * (2 * y - 1)
        z[:, 1] += 1.5 * (2 * s - 1)
        return Split((z @ rotation).astype(np.float32), y.astype(np.int64), s.astype(np.int64))

    names = tuple(f"z{j}" for j in range(10))
    return Dataset("toy", split(n), split(n // 2), split(n), ("no", "yes"), ("a", "b"), names)


def trained(recipes: list[Any], data: Dataset, seeds: list[int], budget: Budget = BUDGET) -> tuple[Job, list[Event]]:
    """The job and the test event of every replica; the data stand for codes."""
    networks: list[nn.Module] = [MLP("16-16").build(data, seed) for seed in seeds]
    job = Job(recipes, networks, seeds, [data] * len(seeds), budget, live=False)
    finals = [event for events in train(job) for _, event in events if event.stage == "test"]
    return job, finals


def odds(event: Event) -> float:
    assert event.confusion is not None
    return float(metrics.METRICS["odds"].function(event.confusion))


# -- foci


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_focus_equals_finite_differences_of_the_predicted_logit(outputs: int) -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs)).double() for _ in range(2)]
    stack, z = Stack(nets), torch.randn(6, 4, dtype=torch.double)
    found = focus(stack, z)
    for r, net in enumerate(nets):
        logits = net(z)
        which = logits.argmax(1) if outputs > 1 else torch.zeros(6, dtype=torch.long)
        sign = torch.ones(6) if outputs > 1 else logits[:, 0].sign()
        for j in range(4):
            step = torch.zeros(4, dtype=torch.double)
            step[j] = 1e-6
            change = (net(z + step) - net(z - step)).gather(1, which[:, None])[:, 0] / 2e-6
            assert torch.allclose(found[r, j], sign * change, atol=1e-4)
    assert not found.requires_grad
    assert all(p.grad is None for p in stack.leaves)


def test_a_normalised_focus_has_length_one() -> None:
    net = Stack([nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))])
    lengths = focus(net, torch.randn(50, 4), "l2").norm(dim=1)
    assert torch.all(((lengths - 1).abs() < 1e-5) | (lengths == 0))


def test_balanced_accuracy_counts_levels_alike_and_leaves_absent_ones_out() -> None:
    truth, guess = torch.tensor([0, 0, 0, 1]), torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
    assert torch.allclose(balanced_accuracy(guess, truth, 3), torch.tensor([(2 / 3 + 1) / 2, 0.5]))


# -- the method


def test_without_strength_it_is_plain_training_bit_for_bit() -> None:
    data = entangled(400)
    plain, _ = trained([ERM()], data, [3])
    for mode in MODES:
        job, _ = trained([DVGE(eta_sensitive=0.0, eta_task=0.0, mode=mode, **FEW)], data, [3])
        own, theirs = job.learner.model.net.parameters, plain.learner.model.net.parameters
        assert all(torch.equal(own[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("normalise", ["none", "l2"])
def test_odds_fall_with_the_strength_on_entangled_codes(normalise: str) -> None:
    strengths = (0.0, 0.3, 1.0)
    recipes = [DVGE(eta_sensitive=s, eta_task=0.0, normalise=normalise, **FEW) for s in strengths for _ in range(3)]
    _, finals = trained(recipes, entangled(), [0, 1, 2] * 3)
    found = np.array([odds(event) for event in finals]).reshape(3, 3).mean(1)
    assert found[0] > 0.15
    assert found[0] > found[1] > found[2]
    assert found[2] < (0.5 if normalise == "none" else 0.75) * found[0]


def test_moving_codes_when_deciding_debiases_and_the_module_does_the_same() -> None:
    data = entangled()
    recipes = [DVGE(eta_sensitive=s, eta_task=0.2, mode=INFERENCE, normalise="l2", **FEW) for s in (0.0, 1.0)]
    job, (before, after) = trained(recipes, data, [0, 0])
    assert odds(after) < 0.6 * odds(before)
    network = recipes[1].finished(job.learner, 1, job.learner.model.net.network(1))
    logits = network(torch.from_numpy(data.test.x))
    assert logits.shape == (len(data.test), 1)
    assert after.confusion is not None
    own = metrics.confusion_tensor(data.test.y, (logits[:, 0] > 0).long().numpy(), data.test.s, 2, 2)
    assert np.array_equal(own, after.confusion)


def test_the_literal_signs_are_the_opposite_step() -> None:
    data, found = entangled(300), []
    for mode in MODES[:2]:
        recipe = DVGE(eta_sensitive=0.4, eta_task=0.3, mode=mode, **FEW)
        job, _ = trained([recipe], data, [0], Budget(epochs=1, batch_size=64))
        (rows,) = job.rows("train")
        batch = rows.take(torch.arange(20))
        job.learner.model.net = Stack([MLP("16-16").build(data, 5)])
        found.append(recipe._moved(job.learner, batch)[0].t() - batch.x)
    assert MODES[1] == LITERAL
    assert found[0].abs().max() > 0.01
    assert torch.allclose(found[0], -found[1], atol=1e-6)


def test_it_says_how_well_the_group_can_be_told_and_what_the_foci_share() -> None:
    _, (event,) = trained([DVGE(**FEW)], entangled(), [0])
    assert 0.85 < event.values["sensitive_accuracy"] < 1.0
    assert 0.0 <= event.values["focus_cosine"] <= 1.0
    assert event.values["active_units"] == 10
    _, (unknown,) = trained([DVGE(**FEW)], tiny_dataset(bias=0.0), [0])
    assert abs(unknown.values["sensitive_accuracy"] - 0.5) < 0.08


def test_rare_groups_are_not_talked_over() -> None:
    data = entangled()
    keep = np.flatnonzero((data.train.s == 0) | (np.arange(len(data.train)) % 12 == 0))
    rare = dataclasses.replace(data, train=Split(*(a[keep] for a in (data.train.x, data.train.y, data.train.s))))
    _, (event,) = trained([DVGE(**FEW)], rare, [0])
    assert event.values["sensitive_accuracy"] > 0.8


def test_the_focus_names_what_the_classifier_needs() -> None:
    _, (event,) = trained([DVGE(eta_sensitive=0.0, eta_task=0.0, **FEW)], entangled(), [0])
    shown = event.exhibit
    assert shown is not None
    assert shown["validity_focus"][0] == pytest.approx(event.values["sensitive_accuracy"], abs=1e-6)
    assert shown["validity_focus"][-1] == shown["validity_random"][-1] == pytest.approx(0.5, abs=0.01)
    assert np.all(shown["validity_focus"][1:6] <= shown["validity_random"][1:6])
    still = PUSHES.index(0.0)
    assert np.all(shown["flips"][:, still] == 0)
    assert shown["flips"][0, 0, 0] > shown["flips"][1, 0, 0]  # the group changes along its own focus
    assert shown["flips"][1, 0, 1] > shown["flips"][0, 0, 1]  # and the decision along the task's


def test_two_attributes_have_a_classifier_each() -> None:
    data = tiny_dataset(groups=4)
    data = dataclasses.replace(data, groups=("F & old", "F & young", "M & old", "M & young"))
    job, _ = trained([DVGE(**FEW)], data, [0])
    classifiers = job.learner.memory.classifiers
    assert len(classifiers.nets) == 2
    both = sum(focus(net, torch.from_numpy(data.train.x)) for net in classifiers.nets)
    assert torch.allclose(job.learner.memory.foci, both, atol=1e-6)


def test_one_group_is_refused_in_one_sentence() -> None:
    data = entangled(200)
    alone = dataclasses.replace(data, train=dataclasses.replace(data.train, s=np.zeros_like(data.train.s)))
    for recipe in (DVGE(**FEW), DropDims(size=10)):
        with pytest.raises(UserError, match="at least two groups"):
            trained([recipe], alone, [0])


def test_correlations_are_pearsons_or_the_correlation_ratio() -> None:
    rng = np.random.default_rng(0)
    z, two = rng.normal(size=(2, 300)), rng.integers(0, 2, 300)
    z[0] += two
    assert np.allclose(association(z, two), [np.corrcoef(row, two)[0, 1] for row in z], atol=1e-6)
    assert association(np.ones((1, 4)), np.array([0, 1, 0, 1])).tolist() == [0.0]
    three = np.repeat([0, 1, 2], 100)
    assert association(three[None].astype(float), three) == pytest.approx([1.0])


# -- its baselines


def test_dropped_numbers_are_those_that_go_with_the_group_and_the_network_is_blind_to_them() -> None:
    data = entangled()
    alone = dataclasses.replace(
        data, **{role: dataclasses.replace(part, x=np.eye(10, dtype=np.float32)[part.s + 4] + part.x)
                 for role, part in codes._splits(data).items()}
    )  # fmt: skip
    recipe = DropDims(size=10, top_k=2)
    job, _ = trained([recipe], alone, [0])
    gone = recipe.dropped(alone)
    assert job.learner.memory.masks[0, gone].abs().sum() == 0
    network = recipe.finished(job.learner, 0, job.learner.model.net.network(0))
    x = torch.randn(5, 10)
    moved = x.clone()
    moved[:, gone] += 100
    assert torch.equal(network(x), network(moved))


def test_the_more_numbers_are_dropped_the_less_the_group_shows() -> None:
    recipes = [DropDims(size=10, top_k=k) for k in (0, 5, 10)]
    _, finals = trained(recipes, entangled(), [0, 0, 0])
    assert [event.values["dropped"] for event in finals] == [0, 5, 10]
    assert odds(finals[2]) == 0
    assert odds(finals[0]) > odds(finals[1])


def test_ffvae_drops_its_sensitive_numbers() -> None:
    assert FFVAE(size=10).dropped(entangled(100)) == [9]
    assert FFVAE(size=10).dropped(tiny_dataset(groups=3)) == [7, 8, 9]


# -- through the same way as every run


def test_runs_on_codes_train_together_once_their_autoencoder_is_there(tmp_path: Path) -> None:
    from fairness_core import catalogue
    from fairness_core.config import resolve
    from fairness_core.experiment import fit

    known = catalogue.build()
    configs = [
        resolve(
            known, dataset="adult", method="dvge", seed=seed, training={"max_steps": 20, "batch_size": 512},
            method_options={"eta_sensitive": eta, "vae_steps": 40, "size": 4, "hidden": "8", "sensitive_epochs": 1},
        )
        for eta in (0.0, 1.0)
        for seed in (0, 1)
    ]  # fmt: skip

    def run() -> list[list[tuple[int, Event]]]:
        return [*fit(configs, encoders=tmp_path)]

    first, again = run(), run()
    assert len([*tmp_path.glob("adult/*.safetensors")]) == 1
    coding = [e for events in first for _, e in events if "vae_kl" in e.values]
    assert coding
    assert {e.of for e in coding} == {60}
    assert not [e for events in again for _, e in events if "vae_kl" in e.values]
    for told, of in ((first, 60), (again, 20)):
        last = {i: e for events in told for i, e in events if e.stage == "test"}
        assert sorted(last) == [0, 1, 2, 3]
        assert {e.step for e in last.values()} == {e.of for e in last.values()} == {of}
    one, two = ({i: e.confusion for events in told for i, e in events if e.stage == "test"} for told in (first, again))
    assert all(np.array_equal(one[i], two[i]) for i in one)


def test_stacks_of_one_seed_share_the_classifier_of_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    from fairness_core.methods import dvge
    from fairness_core.once import Once

    learned: list[Any] = []

    def counted(*args: Any) -> Any:
        learned.append(learn(*args))
        return learned[-1]

    monkeypatch.setattr(dvge, "learn", counted)
    data, common = entangled(300), Once()
    recipes = [DVGE(eta_sensitive=eta, hidden="8", **FEW) for eta in (0.0, 1.0, 2.0)]

    def networks(chosen: list[DVGE], seed: int, common: Once) -> list[nn.Module]:
        models: list[nn.Module] = [MLP("8").build(data, seed) for _ in chosen]
        job = Job(chosen, models, [seed] * len(chosen), [data] * len(chosen), BUDGET, live=False, common=common)
        return ran(train(job))[0]

    apart = [*networks(recipes[:2], 0, common), *networks(recipes[2:], 0, common)]
    assert len(learned) == 1
    for one, other in zip(apart, networks(recipes, 0, Once()), strict=True):
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q)
    networks(recipes[:1], 1, common)
    networks([dataclasses.replace(recipes[0], normalise="l2")], 0, common)
    assert len(learned) == 4, "one for the whole stack, one for another seed, one for another setting"


@pytest.mark.parametrize("pictures", [False, True])
def test_a_finished_run_leaves_what_the_page_shows(pictures: bool) -> None:
    data = tiny_dataset(n=200)
    if pictures:
        grey = np.random.default_rng(0)
        parts = {
            role: dataclasses.replace(part, x=grey.integers(0, 255, (len(part), 3, 16, 16)).astype(np.uint8))
            for role, part in codes._splits(data).items()
        }
        data = dataclasses.replace(data, **parts, features=())  # type: ignore[arg-type]
    recipe = DVGE(size=3, vae_steps=20, hidden="8", **FEW)
    coded, _ = ran(recipe.coded(data))
    _, (event,) = trained([recipe], coded, [0], Budget(epochs=2, batch_size=64))
    shown = event.exhibit
    assert shown is not None
    assert bytes(shown["encoder"]).decode() == coded.key
    shapes = {name: values.shape for name, values in shown.items()}
    if pictures:
        assert shapes["pictures"] == (4, 3, 16, 16)
        assert shapes["pushed_task"] == (4, len(PUSHES), 3, 16, 16)
        assert shapes["saliency_sensitive"] == (4, 16, 16)
        assert shown["saliency_task"].max(axis=(1, 2)).tolist() == [255] * 4
        cells = {(int(t), int(g)) for t, g in zip(shown["truth"], shown["group"], strict=True)}
        assert len(cells) == 4  # one of every class and group
    else:
        assert shapes["pushed_task"] == (len(PUSHES), 6)
        assert shapes["saliency_task"] == (6,)
        assert not shown["pushed_sensitive"][PUSHES.index(0.0)].any()
