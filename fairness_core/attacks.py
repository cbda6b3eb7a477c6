"""Adversarial examples: inputs moved a bounded way down the gradient of a loss (iterative FGSM, Kurakin et al. 2017).

A targeted attack *descends* its loss. Networks are constants here (Stack.fixed): one backward pass per step, to the
input alone.

An attack may begin with steps that tint a picture, which the papers do not have: the gradient is averaged over each
channel, so that a whole colour moves. Pixel by pixel it does not get there without leaving a grain behind, by which a
network then tells moved pictures from others; after tinting the steps go pixel by pixel and get shorter, which hides
it. Averaging the gradient over neighbours (Dong et al. 2019, Evading defenses by translation-invariant attacks) is the
same idea at a smaller scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

NORMS = ("linf", "l2")
TINY = 1e-12
TINTING, AFTER = 1.5, 0.6  # lengths in units of a step: of those that tint, and of the first one after them


@dataclass(frozen=True)
class Ball:
    """How far an input may be moved, and in what steps.

    norm: "linf" bounds every coordinate by `radius` and steps along the gradient's sign; "l2" bounds the length of the
    whole change and steps along the gradient. low, high: what a coordinate may be (pixels: 0 and 1), or None. tint: how
    many of the steps, the first ones, tint pictures.
    """

    norm: str
    radius: float
    step: float
    steps: int
    low: float | None = None
    high: float | None = None
    tint: int = 0

    def way(self) -> Iterator[tuple[float, bool]]:
        """Length of every step, and whether it tints."""
        for _ in range(self.tint):
            yield TINTING * self.step, True
        rest = self.steps - self.tint
        for k in range(rest):
            yield (AFTER * self.step * (1 - k / rest) if self.tint else self.step), False


def perturb(losses: Callable[[Tensor], Tensor], x: Tensor, ball: Ball, start: Tensor | None = None) -> Tensor:
    """x moved down `losses` inside `ball`, without gradient; AEDA (arXiv 2007.13632), Eq. 3 by iterative FGSM.

    x: own rows of each replica, (R, D, rows) or (R, rows, C, H, W). losses: x -> (R, rows), summed here, so that a
    row's way does not depend on the other rows. start: where in the ball the way begins, x if None.
    """
    linf = ball.norm == "linf"
    low, high = _box(x, ball) if linf else (None, None)
    moved = (x if start is None else start).detach()
    for length, tints in ball.way():
        moved = moved.detach().requires_grad_()
        (g,) = torch.autograd.grad(losses(moved).sum(), moved)
        moved = moved.detach()
        if tints:
            g = g.mean((-2, -1), keepdim=True)
        if linf:
            moved = torch.clamp(moved.sub(g.sign_(), alpha=length), low, high)
        else:
            g = g.expand_as(moved)
            moved = _into_l2(moved - length * g / (_lengths(g) + TINY), x, ball)
    return moved


def scattered(x: Tensor, ball: Ball, seed: int) -> Tensor:
    """x at a random place inside `ball`, drawn for the rows and alike for all replicas."""
    stream = torch.Generator("cpu").manual_seed(seed)
    noise = 2 * torch.rand(x.shape[1:], generator=stream, dtype=x.dtype, device="cpu").to(x.device) - 1
    if ball.norm == "l2":
        noise = (noise / (_lengths(noise.unsqueeze(0)) + TINY)).squeeze(0)
    moved = x + ball.radius * noise
    return moved if ball.low is None and ball.high is None else moved.clamp(ball.low, ball.high)


def _box(x: Tensor, ball: Ball) -> tuple[Tensor, Tensor]:
    """The lowest and highest values that every coordinate may take."""
    low, high = x - ball.radius, x + ball.radius
    if ball.low is not None or ball.high is not None:
        low, high = low.clamp(ball.low, ball.high), high.clamp(ball.low, ball.high)
    return low, high


def _into_l2(moved: Tensor, x: Tensor, ball: Ball) -> Tensor:
    change = moved - x
    moved = x + change * (ball.radius / (_lengths(change) + TINY)).clamp(max=1)
    return moved if ball.low is None and ball.high is None else moved.clamp(ball.low, ball.high)


def _lengths(change: Tensor) -> Tensor:
    """The Euclidean length of every row's change, in the shape of x with ones for what was summed over."""
    lengths: Tensor = torch.linalg.vector_norm(change, dim=_own_axes(change), keepdim=True)
    return lengths


def _own_axes(x: Tensor) -> tuple[int, ...]:
    """The axes of one row: features stand before the rows of a table, after those of pictures."""
    return (1,) if x.dim() == 3 else tuple(range(2, x.dim()))


def distances(x: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    """How far every row was moved, (R, rows) each: the largest change of a coordinate, and the length of the change."""
    change = (moved - x).detach()
    axes = _own_axes(change)
    return change.abs().amax(axes), torch.linalg.vector_norm(change, dim=axes)
