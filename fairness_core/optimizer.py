"""Adam over the weights of a stack.

torch.optim would do, but its first optimiser imports torch's compiler (2 to 4 seconds before the first step of a fresh
process), and its per-call bookkeeping costs a small network more than the arithmetic. This is the one operation beneath
it, which goes over memory once. Equal to torch.optim.Adam to rounding (tests/core/test_stack.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Kingma and Ba, ICLR 2015, with the L2 penalty added to the gradient; `lr` may be changed between steps."""

    def __init__(
        self, leaves: Sequence[Tensor], lr: float, weight_decay: float = 0.0, betas: tuple[float, float] = BETAS
    ) -> None:
        """leaves: the weights, each contiguous."""
        self._lr, self.weight_decay, self.betas = lr, weight_decay, betas
        device = leaves[0].device
        self._rate: float | Tensor = lr if device.type == "cpu" else torch.tensor(lr, device=device)
        self._leaves = list(leaves)
        self._means, self._squares = ([torch.zeros_like(p) for p in self._leaves] for _ in range(2))
        self._steps = torch.zeros((), device=self._leaves[0].device)

    @property
    def lr(self) -> float:
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        if not isinstance(self._rate, Tensor):
            self._rate = lr
        elif lr != self._lr:
            self._rate.fill_(lr)  # there a step that a GPU replays will find it
        self._lr = lr

    def zero_grad(self) -> None:
        for p in self._leaves:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights along their `.grad`; a weight without one counts as having gradient 0."""
        # contiguous, as the operation reads memory in order whatever the strides say
        grads = [torch.zeros_like(p) if p.grad is None else p.grad.contiguous() for p in self._leaves]
        self._steps += 1
        first, second = self.betas
        torch._fused_adam_(
            self._leaves, grads, self._means, self._squares, [], [self._steps] * len(grads),
            lr=self._rate, beta1=first, beta2=second, weight_decay=self.weight_decay, eps=EPSILON,
            amsgrad=False, maximize=False,
        )  # fmt: skip


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
