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

from fairness_core import devices, fused

WIDE = 256  # rows of a product that make a call of oneDNN worth its while


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
    if not torch.is_grad_enabled():
        return _forward(x, tensors[::2], tensors[1::2], relus, None)[-1]
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        pool = []  # what a GPU records (replay.py) has scratch of its own, which nobody else may take
    out: Tensor = _Chain.apply(x, Lease(pool), relus, *tensors)
    return out


def dense(x: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """The product alone: weight (R, out, in), x (rows, in) shared or (R, in, rows) own -> (R, out, rows)."""
    replicas, n_out, n_in = weight.shape
    if x.dim() == 2:  # one large product for all replicas
        flat = None if out is None else out.view(replicas * n_out, -1)
        return _by_rows(weight.reshape(-1, n_in), x, flat).view(replicas, n_out, -1)
    if n_in == 1:
        return torch.mul(weight, x, out=out)
    return torch.bmm(weight, x, out=out)


def _by_rows(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Rows a (m, k) times rows b (n, k) -> (m, n), by MKL in `out` or, where oneDNN is the faster one, by that in a new
    tensor, without autograd: gradients are written out here anyway."""
    if len(a) >= WIDE and a.dtype == torch.float32 and a.device.type == "cpu" and devices.mkl_idles():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
        return product
    return torch.mm(a, b.t(), out=out)


def _forward(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], relus: list[bool], workspace: Workspace | None
) -> list[Tensor]:
    """What every layer hands to the next, and the result, which outlives the workspace."""
    given, last = [x], len(weights) - 1
    for i, (weight, bias, relu) in enumerate(zip(weights, biases, relus, strict=True)):
        if i == last and _has_head(weights, relus):
            return [*given, fused.head(given[-1], biases[i - 1], weight, bias)]
        out = None
        if workspace and i < last:
            out = workspace.tensor(("h", i), (*weight.shape[:2], x.shape[0] if x.dim() == 2 else x.shape[2]), x)
        h = dense(given[-1], weight, out)
        if not relu:
            h += bias.unsqueeze(2)
        elif i < last - 1 or not _has_head(weights, relus):  # a head does it while it reads
            fused.add_relu_(h, bias)
        given.append(h)
    return given


def _has_head(weights: Sequence[Tensor], relus: list[bool]) -> bool:
    """Does it end with a hidden layer and few outputs of it?"""
    return relus[-2:] == [True, False] and weights[-1].shape[1] <= fused.FEW


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lease: Lease, relus: list[bool], *tensors: Tensor) -> Tensor:
        weights, biases = tensors[::2], tensors[1::2]
        given = _forward(x, weights, biases, relus, lease.workspace)
        ctx.save_for_backward(x, given[-1], *weights)
        ctx.hidden, ctx.lease, ctx.relus = given[1:-1], lease, relus
        return given[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, out, *weights = ctx.saved_tensors
        inputs: list[Tensor] = [x, *ctx.hidden]
        grads: list[Tensor | None] = [None] * (2 * len(weights))
        top, g = len(weights) - 1, grad.contiguous()
        if _has_head(weights, ctx.relus):
            below = _scratch(ctx, top - 1, inputs[top])
            grads[-3:] = fused.head_backward(g, inputs[top], weights[top], below)
            top, g = top - 1, below
        elif ctx.relus[top]:
            g = g.clone()
            grads[-1] = fused.relu_backward_(g, out)
        else:
            grads[-1] = g.sum(2)
        for i in reversed(range(top + 1)):
            if ctx.needs_input_grad[3 + 2 * i]:
                grads[2 * i] = _weight_gradient(g, inputs[i])
            if i > 0:
                g = _input_gradient(g, weights[i], _scratch(ctx, i - 1, inputs[i]))
                grads[2 * i - 1] = fused.relu_backward_(g, inputs[i]) if ctx.relus[i - 1] else g.sum(2)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _input_gradient(g, weights[0], None)
            grad_x = grad_x.sum(0).t() if x.dim() == 2 else grad_x
        return grad_x, None, None, *grads


def _scratch(ctx: Any, i: int, like: Tensor) -> Tensor:
    out: Tensor = ctx.lease.workspace.tensor(("g", i), tuple(like.shape), like)
    return out


def _weight_gradient(g: Tensor, x: Tensor) -> Tensor:
    """g (R, out, rows) -> (R, out, in)."""
    if x.dim() == 2:
        return _by_rows(g.reshape(-1, x.shape[0]), x.t()).view(*g.shape[:2], -1)
    return torch.bmm(g, x.transpose(1, 2))


def _input_gradient(g: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
    """g (R, out, rows), weight (R, out, in) -> (R, in, rows)."""
    if weight.shape[1] == 1:
        return torch.mul(weight.transpose(1, 2), g, out=out)
    return torch.bmm(weight.transpose(1, 2), g, out=out)
