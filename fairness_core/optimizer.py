"""Adam over the weights of a stack, kept as one flat vector.

torch.optim would do, but its first optimiser imports torch's compiler (2 to 4 seconds before the first step of a fresh
process), and its per-call bookkeeping costs a small network more than the arithmetic. Equal to torch.optim.Adam to
rounding (tests/core/test_stack.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Weights(Protocol):
    """Weights as leaf tensors that are all views of one vector, as a Stack holds them."""

    flat: Tensor

    @property
    def leaves(self) -> list[Tensor]: ...


class Adam:
    """Kingma and Ba, ICLR 2015, with the L2 penalty added to the gradient; `lr` may be changed between steps."""

    def __init__(self, net: Weights, lr: float, weight_decay: float = 0.0, betas: tuple[float, float] = BETAS) -> None:
        self.lr, self.weight_decay, self.betas, self.steps = lr, weight_decay, betas, 0
        self._leaves, self._flat = net.leaves, net.flat
        self._mean, self._square = torch.zeros_like(net.flat), torch.zeros_like(net.flat)
        self._grad, self._scratch = torch.empty_like(net.flat), torch.empty_like(net.flat)

    def zero_grad(self) -> None:
        for p in self._leaves:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights along their `.grad`; a weight without one counts as having gradient 0."""
        self.steps += 1
        grads = [_flat_grad(p) for p in self._leaves]
        g = torch.cat(grads, out=self._grad)
        if self.weight_decay:
            g.add_(self._flat, alpha=self.weight_decay)
        first, second = self.betas
        self._mean.lerp_(g, 1 - first)
        self._square.mul_(second).addcmul_(g, g, value=1 - second)
        spread = torch.sqrt(self._square, out=self._scratch)
        spread.div_(math.sqrt(1 - second**self.steps)).add_(EPSILON)
        self._flat.addcdiv_(self._mean, spread, value=-self.lr / (1 - first**self.steps))


def _flat_grad(p: Tensor) -> Tensor:
    return torch.zeros_like(p).flatten() if p.grad is None else p.grad.reshape(-1)


def project(task: Sequence[Tensor], adversary: Sequence[Tensor], lam: Tensor, scope: str) -> list[Tensor]:
    """g = task - proj_adversary(task) - lam * adversary, for every replica by itself.

    task, adversary: gradients (R, ...) of the same tensors; lam (R,). Where the adversary's gradient vanishes
    (squared norm under 1e-12) the projection is left out, since its direction is noise.
    """
    dots = [_dot(u, v) for u, v in zip(task, adversary, strict=True)]
    norms = [_dot(v, v) for v in adversary]
    if scope == "global":
        dots, norms = [torch.stack(dots).sum(0)] * len(dots), [torch.stack(norms).sum(0)] * len(norms)
    out = []
    for u, v, dot, norm in zip(task, adversary, dots, norms, strict=True):
        along = torch.where(norm < 1e-12, 0.0, dot / norm.clamp(min=1e-12))
        out.append(u - (along + lam).view(-1, *[1] * (v.dim() - 1)) * v)
    return out


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).flatten(1).sum(1)
