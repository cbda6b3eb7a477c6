"""Adversarial examples: down the loss, inside the ball, inside the pixels, one row at a time."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fairness_core.attack_budget import ball
from fairness_core.attacks import Ball, distances, perturb
from fairness_core.datasets import Split

LINF = Ball("linf", 0.1, 0.03, 7, 0.0, 1.0)


def linear_loss(weight: Tensor, aim: Tensor) -> object:
    """Cross-entropy of a linear model on flattened rows, (1, rows)."""

    def losses(x: Tensor) -> Tensor:
        rows = x[0].flatten(1) if x.dim() == 5 else x[0].t()
        return F.cross_entropy(rows @ weight, aim, reduction="none").unsqueeze(0)

    return losses


@pytest.mark.parametrize(
    ("x", "ball"),
    [
        (torch.rand(1, 50, 3, 6, 6, generator=torch.Generator().manual_seed(0)), LINF),
        (torch.rand(1, 50, 3, 6, 6, generator=torch.Generator().manual_seed(0)), Ball("l2", 1.0, 0.3, 7, 0.0, 1.0)),
        (torch.randn(1, 108, 50, generator=torch.Generator().manual_seed(0)), Ball("l2", 1.0, 0.3, 7)),
        (torch.randn(1, 108, 50, generator=torch.Generator().manual_seed(0)), Ball("linf", 0.1, 0.03, 7)),
    ],
)
def test_the_loss_falls_and_the_ball_and_the_pixels_hold(x: Tensor, ball: Ball) -> None:
    weight = torch.randn(108, 2, generator=torch.Generator().manual_seed(1))
    aim = torch.randint(2, (50,), generator=torch.Generator().manual_seed(2))
    losses = linear_loss(weight, aim)
    kept = x.clone()
    moved = perturb(losses, x, ball)  # type: ignore[arg-type]
    before, after = losses(x), losses(moved)  # type: ignore[operator]
    assert (after < before).float().mean() >= 0.9
    largest, length = distances(x, moved)
    assert (largest if ball.norm == "linf" else length).max() <= ball.radius + 1e-5
    if ball.low is not None:
        assert moved.min() >= 0
        assert moved.max() <= 1
    assert torch.equal(x, kept)
    assert not moved.requires_grad


def test_the_first_steps_are_those_of_the_formula() -> None:
    x = torch.tensor([[[0.5], [0.5]]])  # one row of a table with two features

    def losses(z: Tensor) -> Tensor:
        return 3 * z[:, 0] - 4 * z[:, 1]

    assert torch.allclose(perturb(losses, x, Ball("linf", 1.0, 0.1, 2))[0, :, 0], torch.tensor([0.3, 0.7]))
    assert torch.allclose(perturb(losses, x, Ball("l2", 9.0, 0.5, 1))[0, :, 0], torch.tensor([0.5 - 0.3, 0.5 + 0.4]))
    assert torch.allclose(perturb(losses, x, Ball("l2", 0.1, 0.5, 3))[0, :, 0], torch.tensor([0.44, 0.58]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_first_steps_tint_a_picture_and_the_others_do_not(norm: str) -> None:
    weight = torch.tensor([4.0, -1.0, -1.0, -1.0]).view(2, 2) * torch.tensor([1.0, -1.0]).view(2, 1, 1)  # two channels

    def losses(z: Tensor) -> Tensor:
        return (z * weight).sum((2, 3, 4))

    x = torch.full((1, 3, 2, 2, 2), 0.5)
    way = Ball(norm, 0.4, 0.1, 2, 0.0, 1.0, tint=1)
    assert list(way.way()) == [(pytest.approx(0.15), True), (pytest.approx(0.06), False)]
    (change,) = perturb(losses, x, Ball(norm, 0.4, 0.1, 1, 0.0, 1.0, tint=1)) - x
    assert torch.equal(change.flatten(2).amax(2), change.flatten(2).amin(2))  # one number per picture and channel
    assert torch.equal(change[0, :, 0, 0].sign(), torch.tensor([-1.0, 1.0]))  # by the mean, not by most pixels
    if norm == "linf":
        torch.testing.assert_close(change.abs(), torch.full_like(change, 0.15))
    (further,) = perturb(losses, x, way) - x
    assert (further.flatten(2).amax(2) > further.flatten(2).amin(2)).all()


def test_steps_after_tinting_get_shorter_and_without_it_all_are_alike() -> None:
    lengths = [length for length, _ in Ball("linf", 0.4, 0.1, 7, tint=3).way()]
    assert lengths == pytest.approx([0.15, 0.15, 0.15, 0.06, 0.045, 0.03, 0.015])
    assert list(Ball("linf", 0.4, 0.1, 3).way()) == [(0.1, False)] * 3


@pytest.mark.parametrize(
    ("shape", "asked", "tinted"),
    [((3, 28, 28), "auto", 3), ((3, 64, 64), "auto", 0), ((3, 64, 64), 0.5, 4), ((3, 28, 28), 0.0, 0), ((5,), 1.0, 0)],
)
def test_small_pictures_are_tinted_unless_somebody_wants_otherwise(
    shape: tuple[int, ...], asked: float | str, tinted: int
) -> None:
    rows = np.random.default_rng(0).random((20, *shape), np.float32)
    train = Split(rows, np.arange(20) % 2, np.arange(20) // 10)
    assert ball(train, 0.3, 7, "auto", "auto", asked).tint == tinted


def test_a_rows_way_does_not_depend_on_the_other_rows() -> None:
    generator = torch.Generator().manual_seed(3)
    x, weight = torch.rand(1, 20, 3, 4, 4, generator=generator), torch.randn(48, 2, generator=generator)
    aim = torch.randint(2, (20,), generator=generator)
    together = perturb(linear_loss(weight, aim), x, LINF)  # type: ignore[arg-type]
    alone = perturb(linear_loss(weight, aim[:5]), x[:, :5], LINF)  # type: ignore[arg-type]
    assert torch.equal(together[:, :5], alone)


def test_distances_are_the_two_norms() -> None:
    x = torch.zeros(1, 2, 1, 2, 2)
    moved = x.clone()
    moved[0, 0, 0, 0] = torch.tensor([0.3, -0.4])
    largest, length = distances(x, moved)
    np.testing.assert_allclose(largest, [[0.4, 0]])
    np.testing.assert_allclose(length, [[0.5, 0]])
