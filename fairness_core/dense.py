"""A chain of dense layers for R replicas at once, with its gradient written out.

Autograd alone spends most of a step on memory: a fresh tensor per operation, read back cold. This function keeps hidden
activations and their gradients in buffers that stay in the processor's cache, passes over them as seldom as possible
(fused.py), and is still an ordinary differentiable operation to whoever calls it. Equal to the plain formula to
rounding (tests/core/test_stack.py, test_fused.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairness_core import fused


class Layer(NamedTuple):
    """weight (R, out, in), bias (R, out); relu: is it followed by one?"""

    weight: Tensor
    bias: Tensor
    relu: bool


class Workspace:
    """Scratch tensors by key; a key's tensor is made once and reused while its shape stays the same."""

    def __init__(self) -> None:
        self._tensors: dict[tuple[str, int], Tensor] = {}

    def tensor(self, key: tuple[str, int], shape: tuple[int, ...], like: Tensor) -> Tensor:
        held = self._tensors.get(key)
        if held is None or held.shape != shape:
            held = self._tensors[key] = like.new_empty(shape)
        return held


class Lease:
    """Holds a workspace for as long as one forward pass may still be differentiated, then returns it to its pool."""

    def __init__(self, pool: list[Workspace]) -> None:
        self._pool = pool
        self.workspace = pool.pop() if pool else Workspace()

    def __del__(self) -> None:
        self._pool.append(self.workspace)


def chain(x: Tensor, layers: list[Layer], pool: list[Workspace]) -> Tensor:
    """x (rows, in) shared by all replicas or (R, in, rows) -> (R, out, rows).

    pool: workspaces that earlier calls of the same network have returned; give the same list each time.
    """
    tensors = [t for layer in layers for t in (layer.weight, layer.bias)]
    relus = [layer.relu for layer in layers]
    if relus == [True, False] and fused.narrow(x, tensors[2]):
        small: Tensor = fused.Narrow.apply(x, *tensors)
        return small
    nonzeros = fused.nonzeros(_rows_first(x), tensors[0])
    if not torch.is_grad_enabled():
        return _forward(x, nonzeros, tensors[::2], tensors[1::2], relus, None)[-1]
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        pool = []  # what a GPU records (replay.py) has scratch of its own, which nobody else may take
    out: Tensor = _Chain.apply(x, nonzeros, Lease(pool), relus, *tensors)
    return out


def dense(x: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """The product alone: weight (R, out, in), x (rows, in) shared or (R, rows, in) own -> (R, rows, out)."""
    if weight.shape[2] == 1:
        return torch.mul(x, weight.transpose(1, 2), out=out)
    return torch.bmm(_own(x, weight), weight.transpose(1, 2), out=out)


def _own(x: Tensor, weight: Tensor) -> Tensor:
    """Rows (R, rows, in), be they shared or not."""
    return x.expand(len(weight), -1, -1) if x.dim() == 2 else x


def _rows_first(x: Tensor) -> Tensor:
    """What comes in, or the other way round goes out, in the form of hidden activations, (R, rows, width)."""
    return x if x.dim() == 2 else x.transpose(1, 2)


def _forward(
    x: Tensor,
    nonzeros: fused.NonZeros | None,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    relus: list[bool],
    workspace: Workspace | None,
) -> list[Tensor]:
    """What every hidden layer hands to the next, (R, rows, width), and the result, (R, out, rows), which outlives the
    workspace."""
    h, last = _rows_first(x), len(weights) - 1
    hidden: list[Tensor] = []
    for i, (weight, bias, relu) in enumerate(zip(weights, biases, relus, strict=True)):
        if i == last and i and _has_head(weights, relus):
            return [*hidden, fused.head(h, biases[i - 1], weight, bias)]
        shape = (len(weight), h.shape[-2], weight.shape[1])
        out = workspace.tensor(("h", i), shape, x) if workspace and i < last else x.new_empty(shape)
        h = nonzeros.product(weight, out) if nonzeros and i == 0 else dense(h, weight, out)
        if not relu:
            h += bias.unsqueeze(1)
        elif i < last - 1 or not _has_head(weights, relus):  # a head does it while it reads
            fused.add_relu_(h, bias)
        hidden.append(h)
    return [*hidden[:-1], _rows_first(h)]


def _has_head(weights: Sequence[Tensor], relus: list[bool]) -> bool:
    """Does it end with a hidden layer and few outputs of it?"""
    return relus[-2:] == [True, False] and weights[-1].shape[1] <= fused.FEW


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, nonzeros: fused.NonZeros | None, lease: Lease, relus: list[bool], *tensors: Tensor
    ) -> Tensor:
        weights, biases = tensors[::2], tensors[1::2]
        *hidden, out = _forward(x, nonzeros, weights, biases, relus, lease.workspace)
        ctx.save_for_backward(x, out, *weights)
        ctx.hidden, ctx.nonzeros, ctx.lease, ctx.relus = hidden, nonzeros, lease, relus
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, out, *weights = ctx.saved_tensors
        inputs: list[Tensor] = [_rows_first(x), *ctx.hidden]
        grads: list[Tensor | None] = [None] * (2 * len(weights))
        top = len(weights) - 1
        if _has_head(weights, ctx.relus):
            g = _scratch(ctx, top - 1, inputs[top])
            grads[-3:] = fused.head_backward(grad.contiguous(), inputs[top], weights[top], g)
            top -= 1
        elif ctx.relus[top]:
            g = _rows_first(grad).clone(memory_format=torch.contiguous_format)
            grads[-1] = fused.relu_backward_(g, _rows_first(out))
        else:
            g = _rows_first(grad).contiguous()
            grads[-1] = g.sum(1)
        for i in reversed(range(top + 1)):
            if ctx.needs_input_grad[4 + 2 * i]:
                grads[2 * i] = _weight_gradient(g, inputs[i], weights[i], ctx.nonzeros if i == 0 else None)
            if i > 0:
                g = _input_gradient(g, weights[i], _scratch(ctx, i - 1, inputs[i]))
                grads[2 * i - 1] = fused.relu_backward_(g, inputs[i]) if ctx.relus[i - 1] else g.sum(1)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _input_gradient(g, weights[0], None)
            grad_x = grad_x.sum(0) if x.dim() == 2 else _rows_first(grad_x)
        return grad_x, None, None, None, *grads


def _scratch(ctx: Any, i: int, like: Tensor) -> Tensor:
    out: Tensor = ctx.lease.workspace.tensor(("g", i), tuple(like.shape), like)
    return out


def _weight_gradient(g: Tensor, x: Tensor, weight: Tensor, nonzeros: fused.NonZeros | None) -> Tensor:
    """g (R, rows, out), what came in -> (R, out, in)."""
    return nonzeros.weight_gradient(g, weight) if nonzeros else torch.bmm(g.transpose(1, 2), _own(x, weight))


def _input_gradient(g: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
    """g (R, rows, out), weight (R, out, in) -> (R, rows, in)."""
    if weight.shape[1] == 1:
        return torch.mul(g, weight, out=out)
    return torch.bmm(g, weight, out=out)
