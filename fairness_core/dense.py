"""A chain of dense layers for R replicas at once, with its gradient written out.

Autograd alone spends almost half of a step on memory: a fresh tensor per operation, read back cold. This function
keeps hidden activations and their gradients in buffers that stay in the processor's cache, and is still an ordinary
differentiable operation to whoever calls it. Equal to the plain formula to rounding (tests/core/test_stack.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

_relu_backward = torch.ops.aten.threshold_backward.grad_input


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
    if not torch.is_grad_enabled():
        for weight, bias, relu in layers:
            x = dense(x, weight, bias)
            x = torch.relu_(x) if relu else x
        return x
    tensors = [t for layer in layers for t in (layer.weight, layer.bias)]
    out: Tensor = _Chain.apply(x, Lease(pool), [layer.relu for layer in layers], *tensors)
    return out


def dense(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """weight (R, out, in), bias (R, out); x (rows, in) shared or (R, in, rows) own -> (R, out, rows)."""
    replicas, n_out, n_in = weight.shape
    if x.dim() == 2:  # one large product for all replicas
        flat = None if out is None else out.view(replicas * n_out, -1)
        return torch.addmm(bias.reshape(-1, 1), weight.reshape(-1, n_in), x.t(), out=flat).view(replicas, n_out, -1)
    if n_in == 1:
        return torch.addcmul(bias.unsqueeze(2), weight, x, out=out)
    return torch.baddbmm(bias.unsqueeze(2), weight, x, out=out)


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lease: Lease, relus: list[bool], *tensors: Tensor) -> Tensor:
        weights, biases = tensors[::2], tensors[1::2]
        rows = x.shape[0] if x.dim() == 2 else x.shape[2]
        hidden = [x]
        for i, (weight, bias, relu) in enumerate(zip(weights, biases, relus, strict=True)):
            shape = (*weight.shape[:2], rows)
            last = i == len(weights) - 1  # the result outlives the workspace
            out = None if last else lease.workspace.tensor(("h", i), shape, x)
            h = dense(hidden[-1], weight, bias, out)
            hidden.append(h.relu_() if relu else h)
        ctx.save_for_backward(x, hidden[-1], *weights)
        ctx.hidden, ctx.lease, ctx.relus = hidden[1:-1], lease, relus
        return hidden[-1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, last, *weights = ctx.saved_tensors
        inputs = [x, *ctx.hidden]
        outputs = [*ctx.hidden, last]
        grads: list[Tensor | None] = [None] * (2 * len(weights))
        g = grad
        for i in reversed(range(len(weights))):
            if ctx.relus[i]:
                g = _relu_backward(g, outputs[i], 0, grad_input=_scratch(ctx, i, outputs[i]))
            if ctx.needs_input_grad[3 + 2 * i]:
                grads[2 * i], grads[2 * i + 1] = _weight_gradient(g, inputs[i]), g.sum(2)
            if i > 0:
                g = _input_gradient(g, weights[i], _scratch(ctx, i - 1, inputs[i]))
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
        return torch.mm(g.reshape(-1, x.shape[0]), x).view(*g.shape[:2], -1)
    return torch.bmm(g, x.transpose(1, 2))


def _input_gradient(g: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
    """g (R, out, rows), weight (R, out, in) -> (R, in, rows)."""
    if weight.shape[1] == 1:
        return torch.mul(weight.transpose(1, 2), g, out=out)
    return torch.bmm(weight.transpose(1, 2), g, out=out)
