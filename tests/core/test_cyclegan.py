"""CycleGAN: the building block's shapes, pool and gradients, and the augmentation on pictures of two colours."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fairness_core import cyclegan
from fairness_core.config import Budget, Event, RunConfig, UserError, complete, controls_of
from fairness_core.cyclegan import Gan, Pool, Settings, Translator, discriminator, halvings, translate
from fairness_core.datasets import Dataset, Split
from fairness_core.generators import ran
from fairness_core.methods import METHODS
from fairness_core.methods import cyclegan as augmentation
from fairness_core.methods.cyclegan import CycleGAN, Routes, Witness, joined, wanted_twins
from fairness_core.models import SmallCNN
from fairness_core.preparation import NotApplicable
from tests.tiny import tiny_dataset

SMALL = Settings(steps=4, batch_size=2, width=4, blocks=1)
BUDGET = Budget(epochs=1, batch_size=32)
COLOURS = np.array([(220, 40, 40), (40, 40, 220), (40, 220, 40)])


def pictures(n: int = 120, groups: int = 2, pixels: int = 16, seed: int = 0, name: str = "bars") -> Dataset:
    """White bars, upright (class 0) or lying (class 1), on a ground whose colour is the group; bytes."""
    rng = np.random.default_rng(seed)

    def split(rows: int) -> Split:
        y, s = rng.integers(0, 2, rows), rng.integers(0, groups, rows)
        x = np.repeat(COLOURS[s][:, :, None, None], pixels, 2).repeat(pixels, 3).astype(np.uint8)
        for row, place in enumerate(rng.integers(2, pixels - 4, rows)):
            bar = np.s_[:, :, place : place + 3] if y[row] == 0 else np.s_[:, place : place + 3, :]
            x[row][bar] = 255
        return Split(x, y, s)

    names = tuple(f"group {g}" for g in range(groups))
    return Dataset(name, split(n), split(n // 2), split(n // 2), ("upright", "lying"), names, ())


def splits(data: Dataset) -> dict[str, Split]:
    return {"train": data.train, "validation": data.validation, "test": data.test}


def config(seed: int = 0, **options: Any) -> RunConfig:
    quick = {"gan_steps": 6, "gan_batch": 2, "gan_width": 4, "gan_blocks": 1}
    given = complete(controls_of(CycleGAN), {**quick, **options}, "cyclegan")
    return RunConfig("bars", {}, "small_cnn", {}, "cyclegan", given, dataclasses.asdict(BUDGET), seed)


def fit(data: Dataset, seed: int = 0, **options: Any) -> tuple[nn.Module, list[Event]]:
    run = config(seed, **options)
    training = CycleGAN(**run.method_options).fit(SmallCNN("4-8", 8).build(data, seed), data, run)  # type: ignore[arg-type]
    return ran(training)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "WITNESS_STEPS", 40)


def pair(seed: int = 0) -> tuple[Gan, torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(2, 3, 16, 16, generator=stream) * 2 - 1 for _ in range(2))
    return Gan(3, 16, SMALL, seed), a, b


def weights(*networks: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for network in networks for p in network.parameters()]


def same(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------------------------------ the building block


@pytest.mark.parametrize(("pixels", "patches"), [(28, 5), (32, 6), (64, 6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_generator_keeps_the_shape_and_a_discriminator_judges_patches(
    pixels: int, patches: int, channels: int
) -> None:
    x = torch.rand(2, channels, pixels, pixels) * 2 - 1
    made = Translator(channels, 4, 2)(x)
    assert made.shape == x.shape
    assert made.abs().max() <= 1
    assert discriminator(channels, 4, halvings(pixels))(x).shape == (2, 1, patches, patches)


@pytest.mark.parametrize("pixels", [13, 18, 31])
def test_edges_that_four_does_not_divide_are_cut(pixels: int) -> None:
    x = torch.rand(1, 3, pixels, pixels + 1)
    assert Translator(3, 4, 1)(x).shape == x.shape


@pytest.mark.parametrize(("n", "field"), [(2, 34), (3, 70)])
def test_a_patch_is_as_large_as_the_docstring_says(n: int, field: int) -> None:
    """The gradient of one judgement reaches exactly so many rows of the picture; without the norms, which see all."""
    torch.manual_seed(0)
    net = nn.Sequential(*(layer for layer in discriminator(1, 4, n) if not isinstance(layer, nn.InstanceNorm2d)))
    x = torch.rand(1, 1, 160, 160, requires_grad=True)
    out = net(x)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    assert x.grad is not None
    assert int((x.grad[0, 0].abs().sum(1) > 0).sum()) == field


def test_weights_are_drawn_as_in_the_paper_from_the_seed_alone() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, two, other = (Gan(3, 16, dataclasses.replace(SMALL, width=16), seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert same(weights(one.there, one.judge_b), weights(two.there, two.judge_b))
    assert not same(weights(one.there), weights(other.there))
    assert not same(weights(one.there), weights(one.back))
    flat = torch.cat([p.detach().flatten() for p in one.there.parameters() if p.dim() > 1])
    assert float(flat.std()) == pytest.approx(0.02, rel=0.02)
    assert abs(float(flat.mean())) < 0.001


def test_the_pool_gives_new_fakes_until_it_is_full_and_then_old_ones_half_of_the_time() -> None:
    pool = Pool(seed=0)
    fakes = torch.arange(250.0).reshape(250, 1, 1, 1).expand(250, 3, 2, 2)
    old = 0
    for start in range(0, 250, 10):
        new = fakes[start : start + 10]
        given = pool.exchange(new)
        assert given.shape == new.shape
        assert len(pool) == min(50, start + 10)
        if start < 50:
            assert torch.equal(given, new)
        old += int((given < start)[:, 0, 0, 0].sum())
    assert 70 < old < 130  # of 200


def test_the_pool_takes_more_fakes_at_once_than_it_holds_and_forgets_their_history() -> None:
    pool = Pool(seed=0, size=3)
    fakes = torch.rand(8, 1, 4, 4, requires_grad=True)
    given = pool.exchange(fakes * 2)
    assert given.shape == fakes.shape
    assert not given.requires_grad
    assert len(pool) == 3


def test_a_step_of_the_generators_leaves_the_discriminators_alone() -> None:
    gan, a, b = pair()
    judges, generators = weights(gan.judge_a, gan.judge_b), weights(gan.there, gan.back)
    losses, fake_a, fake_b = gan.step_generators(a, b)
    assert same(judges, weights(gan.judge_a, gan.judge_b))
    assert all(p.grad is None for judge in (gan.judge_a, gan.judge_b) for p in judge.parameters())
    assert all(p.requires_grad for judge in (gan.judge_a, gan.judge_b) for p in judge.parameters())
    for network in (gan.there, gan.back):
        assert not same(weights(network), generators[: len(weights(network))])
    assert set(losses) == {"generators", "cycle", "identity"}
    assert (fake_a.shape, fake_b.shape) == (b.shape, a.shape)


def test_a_step_of_the_discriminators_gets_detached_fakes() -> None:
    gan, a, b = pair()
    generators, judges = weights(gan.there, gan.back), weights(gan.judge_a, gan.judge_b)
    fake_b, fake_a = gan.there(a), gan.back(b)
    assert fake_a.requires_grad  # so that a gradient could reach the generators
    gan.step_judges(a, b, fake_a, fake_b)
    assert all(p.grad is None for network in (gan.there, gan.back) for p in network.parameters())
    assert same(generators, weights(gan.there, gan.back))
    assert not same(judges, weights(gan.judge_a, gan.judge_b))


def test_a_discriminator_that_is_trained_alone_tells_real_from_fake() -> None:
    gan, a, b = pair()
    fake_a, fake_b = torch.full_like(b, -0.5), torch.full_like(a, 0.5)
    losses = [gan.step_judges(a, b, fake_a, fake_b)["discriminators"] for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_learning_rate_is_full_for_half_of_the_steps_and_then_falls_to_nothing() -> None:
    rates = [cyclegan.rate(step, 100) for step in range(1, 101)]
    assert rates[:50] == [1.0] * 50
    assert all(a > b for a, b in itertools.pairwise(rates[50:]))
    assert 0 < rates[-1] < 0.03


def test_training_reports_means_and_ends_at_the_last_step() -> None:
    gan, _, _ = pair()
    x = torch.rand(9, 3, 16, 16)
    told = list(cyclegan.train(gan, x, torch.arange(4), torch.arange(4, 9), seed=0, every=3))
    assert [step for step, _ in told] == [3, 4]
    assert set(told[0][1]) == {"generators", "cycle", "identity", "discriminators"}
    assert all(np.isfinite(list(losses.values())).all() for _, losses in told)


def test_training_that_diverges_keeps_the_last_good_generators() -> None:
    gan, _, _ = pair()
    before = weights(gan.there, gan.back)
    x = torch.full((4, 3, 16, 16), float("nan"))
    told = list(cyclegan.train(gan, x, torch.arange(2), torch.arange(2, 4), seed=0, every=1))
    assert told == [(4, {"diverged_at_step": 1.0})]
    assert same(before, weights(gan.there, gan.back))


def test_translation_keeps_kind_and_range_and_the_networks_mode() -> None:
    gan, _, _ = pair()
    bytes_in = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    out = translate(gan.there, bytes_in, size=2)
    assert out.dtype == torch.uint8
    assert out.shape == bytes_in.shape
    numbers = translate(gan.there, bytes_in.float() / 255)
    assert not numbers.requires_grad
    assert 0 <= float(numbers.min()) <= float(numbers.max()) <= 1
    assert (numbers * 255 - out.float()).abs().max() <= 0.51
    assert gan.there.training


# ------------------------------------------------------------------------------------------ which rows


def rows_of(N: Sequence[Sequence[int]]) -> Split:
    y, s = (np.concatenate([np.full(n, i[k]) for i, n in np.ndenumerate(np.array(N))]) for k in (0, 1))
    return Split(np.zeros((len(y), 3, 12, 12), np.uint8), y, s)


@pytest.mark.parametrize(
    ("N", "mode", "twins"),
    [
        ([[5, 2], [0, 4]], "flip_all", [[2, 5], [4, 0]]),
        ([[5, 2], [0, 4]], "fill_minority", [[0, 3], [4, 0]]),
        ([[3, 3], [2, 2]], "fill_minority", [[0, 0], [0, 0]]),
        ([[4, 1, 2]], "fill_minority", [[0, 3, 2]]),
    ],
)
def test_so_many_rows_are_translated_into_each_group(N: Any, mode: str, twins: Any) -> None:
    split = rows_of(N)
    source, aim = wanted_twins(split, len(N[0]), mode, seed=0)
    found = np.zeros_like(np.array(N))
    np.add.at(found, (split.y[source], aim), 1)
    assert found.tolist() == twins
    assert (split.s[source] != aim).all()


def test_translations_keep_class_and_weight_and_change_their_group() -> None:
    split = dataclasses.replace(rows_of([[2, 1], [0, 1]]), w=np.array([1, 2, 3, 4], np.float32))
    union = joined(split, np.ones((2, 3, 12, 12), np.uint8), np.array([1, 3]), np.array([1, 0]))
    assert union.y.tolist() == [0, 0, 0, 1, 0, 1]
    assert union.s.tolist() == [0, 0, 1, 1, 1, 0]
    assert union.w is not None
    assert union.w.tolist() == [1, 2, 3, 4, 2, 4]
    assert union.x.dtype == np.uint8
    assert union.x[:, 0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1]


class Plus(nn.Module):
    """Adds a shade to a picture in [-1, 1]."""

    def __init__(self, shade: float) -> None:
        super().__init__()
        self.shade = shade

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.shade


def test_groups_that_are_no_pair_are_translated_by_way_of_the_largest() -> None:
    routes = Routes(1, there={0: Plus(0.2), 2: Plus(0.4)}, back={0: Plus(-0.2), 2: Plus(-0.4)})
    x = torch.full((4, 1, 12, 12), 0.5)
    out = routes.translate(x, np.array([1, 0, 0, 2]), np.array([2, 1, 2, 0]))
    assert out[:, 0, 0, 0].tolist() == pytest.approx([0.7, 0.4, 0.6, 0.4])
    assert (x == 0.5).all()


class Turned(nn.Module):
    """A generator that makes upright bars of lying ones."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(2, 3)


# ------------------------------------------------------------------------------------------ the method


@pytest.mark.parametrize("groups", [2, 3])
def test_a_run_reports_in_order_and_ends_with_both_splits(groups: int) -> None:
    data = pictures(groups=groups)
    if groups == 3:  # numbers in [0, 1] serve as well as bytes
        parts = {r: dataclasses.replace(p, x=p.x.astype(np.float32) / 255) for r, p in splits(data).items()}
        data = dataclasses.replace(data, **parts)  # type: ignore[arg-type]
    before = data.train.x.copy()
    network, events = fit(data)
    steps = [e.step for e in events]
    assert steps == sorted(steps)
    assert {e.of for e in events} == {1 + 6 * (groups - 1) + 8}  # witnesses, generators, 240 rows in batches of 32
    assert steps[-1] == events[-1].of
    assert [e.stage for e in events[-2:]] == ["validation", "test"]
    for event, part in ((events[-2], data.validation), (events[-1], data.test)):
        assert event.confusion is not None
        assert event.confusion.sum() == len(part)
    assert network(torch.zeros(60, 3, 16, 16)).shape == (60, 1)
    assert np.array_equal(before, data.train.x)
    gauges = set(CycleGAN.gauges_help)
    assert all(gauges <= set(e.values) for e in events if e.exhibit)
    named = {name for e in events for name in e.values}
    assert {"generators", "cycle", "identity", "discriminators", "loss"} <= named
    for shown in (e.exhibit for e in events if e.exhibit):
        assert all((shown[k].shape, shown[k].dtype) == ((12, 3, 16, 16), np.uint8) for k in ("x", "twin", "back"))
        assert (shown["s"] != shown["aim"]).all()
        assert np.mean(shown["group_before"] == shown["s"]) > 0.9
        assert {"y", "class_before", "class_after", "group_after"} <= set(shown)
    assert events[0].values["few_pictures"] == 1
    assert events[0].values["group_known"] > 0.9  # the ground is plain to see


def test_same_seed_same_result_other_seed_another_and_global_state_untouched() -> None:
    data = pictures(n=60)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    (one, first), (two, second), (other, _) = fit(data), fit(data), fit(data, seed=1)
    x = torch.from_numpy(data.test.x).float() / 255
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))
    assert [e.values for e in first] == [e.values for e in second]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()


def test_closing_cancels_in_both_halves() -> None:
    data = pictures(n=60)
    run = config()
    for n in (2, 12):
        training = CycleGAN(**run.method_options).fit(SmallCNN("4-8", 8).build(data, 0), data, run)  # type: ignore[arg-type]
        seen = [next(training) for _ in range(n)]
        assert (seen[-1].confusion is None) == (n == 2)
        training.close()
        assert list(training) == []


def test_after_some_steps_the_ground_is_translated_and_the_witnesses_say_so() -> None:
    told = fit(pictures(), gan_steps=40, gan_width=8, gan_lr=2e-3)[1]
    last = [e for e in told if e.exhibit][-1]
    assert last.values["group_moved"] > 0.9
    assert last.exhibit is not None
    grounds = np.median(last.exhibit["twin"], axis=(2, 3))
    assert np.array_equal(grounds.argmax(1), COLOURS[last.exhibit["aim"]].argmax(1))


def test_witnesses_see_that_nothing_was_translated_and_that_a_class_was_lost() -> None:
    data = pictures(n=300)
    witness = Witness(data, seed=0)
    known = witness.known()
    assert min(known.values()) > 0.9
    idle, _ = witness.look(Routes(0, {1: nn.Identity()}, {1: nn.Identity()}), np.arange(2))
    assert idle["group_moved"] == pytest.approx(1 - known["group_known"])
    assert idle["class_kept"] == pytest.approx(known["class_known"])
    turned, _ = witness.look(Routes(0, {1: Turned()}, {1: Turned()}), np.arange(2))
    assert turned["class_kept"] < 0.1


def test_several_targets_are_kept_as_they_are() -> None:
    data = pictures(n=60)

    def several(split: Split) -> Split:
        return dataclasses.replace(split, y=np.stack([split.y, 1 - split.y], 1))

    parts = {role: several(split) for role, split in splits(data).items()}
    data = dataclasses.replace(data, **parts, task="multilabel", targets=("upright", "lying"), classes=("no", "yes"))  # type: ignore[arg-type]
    events = fit(data)[1]
    assert events[-1].confusion is not None
    assert events[-1].confusion.shape == (2, 2, 2, 2)
    with pytest.raises(UserError, match="several targets at once; choose flip_all"):
        fit(data, balance_mode="fill_minority")


def test_what_cannot_be_translated_is_refused_with_one_sentence() -> None:
    run = config()
    method = CycleGAN(**run.method_options)  # type: ignore[arg-type]
    table = tiny_dataset()
    with pytest.raises(NotApplicable, match=r"^Not applicable: CycleGAN .* rows of tiny are none; choose another"):
        next(method.fit(nn.Identity(), table, run))
    with pytest.raises(UserError, match=r"at least 12 pixels, and those of bars have 10; choose a larger size\.$"):
        next(method.fit(nn.Identity(), pictures(pixels=10), run))
    data = pictures()
    lonely = dataclasses.replace(data.train, s=np.zeros_like(data.train.s))
    with pytest.raises(NotApplicable, match="of group 1 there are 0 training pictures"):
        next(method.fit(nn.Identity(), dataclasses.replace(data, train=lonely), run))


def test_controls_are_explained_and_there_is_no_trade_off() -> None:
    controls = controls_of(METHODS["cyclegan"])
    assert all(c.help and c.parse(c.default) == c.default for c in controls)
    assert not any(c.tradeoff for c in controls)
    assert CycleGAN.__doc__
