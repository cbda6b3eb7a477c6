"""What dense layers do besides matrix products: on the processor the loops of kernels.py, elsewhere torch's formulas.

h: activations (R, rows, width); weights (R, out, in); biases (R, width).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairness_core import kernels

FEW = 4  # inputs or outputs for which a loop over rows beats a matrix product
SPARSE = 4  # one entry in so many not zero, at most, and going through those beats a matrix product
WIDE = 256  # outputs of all replicas together from which on it is worth looking for them
_relu_backward = torch.ops.aten.threshold_backward.grad_input


def compiled(t: Tensor) -> bool:
    """Do compiled loops serve this tensor?"""
    return t.device.type == "cpu" and t.dtype in (torch.float32, torch.float64)


def add_relu_(h: Tensor, bias: Tensor) -> Tensor:
    """max(h + bias, 0), in place."""
    if compiled(h):
        kernels.add_relu(_array(h), _array(bias))
        return h
    return h.add_(bias.unsqueeze(1)).relu_()


def relu_backward_(g: Tensor, h: Tensor) -> Tensor:
    """g = g where h > 0, else 0, in place; returns its sum over rows, the gradient of the bias."""
    if compiled(h):
        g_bias = g.new_empty(len(g), g.shape[2])
        kernels.relu_backward(_array(g), _array(h), _array(g_bias))
        return g_bias
    return _relu_backward(g, h, 0, grad_input=g).sum(1)  # type: ignore[no-any-return]


def head(h: Tensor, bias: Tensor, weight: Tensor, head_bias: Tensor) -> Tensor:
    """h = max(h + bias, 0), in place; returns weight h + head_bias, (R, few, rows)."""
    if compiled(h):
        out = weight.new_empty(*weight.shape[:2], h.shape[1])
        kernels.head_forward(*map(_array, (h, bias, weight, head_bias, out)))
        return out
    return torch.baddbmm(head_bias.unsqueeze(2), weight, add_relu_(h, bias).transpose(1, 2))


def head_backward(g: Tensor, h: Tensor, weight: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From g (R, few, rows) the gradients of `head`: into `out`, shaped as h, that of what h was before the bias;
    returned, those of the bias, the weight and its bias."""
    if compiled(h):
        g_bias, g_weight, g_head_bias = (
            g.new_empty(len(h), h.shape[2]),
            torch.empty_like(weight),
            g.new_empty(g.shape[:2]),
        )
        kernels.head_backward(*map(_array, (g, h, weight, out, g_bias, g_weight, g_head_bias)))
        return g_bias, g_weight, g_head_bias
    g_weight = torch.bmm(g, h)
    torch.bmm(g.transpose(1, 2), weight, out=out)
    return relu_backward_(out, h), g_weight, g.sum(2)


class NonZeros(NamedTuple):
    """The entries of rows that are not zero, by row and by column, as kernels.compress finds them."""

    by_row: tuple[kernels.Array, kernels.Array, kernels.Array]
    by_column: tuple[kernels.Array, kernels.Array, kernels.Array]

    def product(self, weight: Tensor, out: Tensor) -> Tensor:
        """x weight^T, in `out` (R, rows, out)."""
        kernels.sparse_forward(*self.by_row, *map(_array, (weight, _scratch(weight), out)))
        return out

    def weight_gradient(self, g: Tensor, weight: Tensor) -> Tensor:
        """g^T x, shaped as the weight, of g (R, rows, out)."""
        g_weight = torch.empty_like(weight)
        kernels.sparse_backward(*self.by_column, *map(_array, (g, _scratch(weight), g_weight)))
        return g_weight


def nonzeros(x: Tensor, weight: Tensor) -> NonZeros | None:
    """What is not zero in rows x (rows, in) or (R, rows, in), if that is little, as in one-hot columns: the product
    with `weight` (R, out, in) and its gradient then go through that alone. None where a matrix product is faster, as
    it is where rows would first have to be laid one after the other."""
    if x.shape[-1] < SPARSE or weight.shape[0] * weight.shape[1] < WIDE or not (compiled(x) and x.is_contiguous()):
        return None
    parts = x.view(-1, *x.shape[-2:])
    starts = (torch.empty(len(parts), size + 1, dtype=torch.int32) for size in x.shape[-2:])
    room = x.numel() // SPARSE
    by_row, by_column = (
        (_array(each), _array(torch.empty(room, dtype=torch.int32)), _array(x.new_empty(room))) for each in starts
    )
    return NonZeros(by_row, by_column) if kernels.compress(_array(parts), *by_row, *by_column) else None


def _scratch(weight: Tensor) -> Tensor:
    return weight.new_empty(weight.shape[2], weight.shape[1])


def narrow(x: Tensor, last: Tensor) -> bool:
    """Does `Narrow` serve rows x in a network of one hidden layer, whose weights to the output are `last`?"""
    own = x.dim() == 3 and len(x) == len(last)
    return own and max(x.shape[1], last.shape[1]) <= FEW and compiled(x)


class Narrow(torch.autograd.Function):
    """w2 max(w1 x + b1, 0) + b2 with few inputs and few outputs, (R, few, rows): what an adversary on the prediction
    is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        x = x.contiguous()
        out = x.new_empty(*w2.shape[:2], x.shape[2])
        kernels.narrow_forward(*map(_array, (x, w1, b1, w2, b2, out)))
        ctx.save_for_backward(x, w1, b1, w2, b2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        of_x, *of_weights = ctx.needs_input_grad
        found = tuple(map(torch.empty_like, saved))
        given = map(_array, (g.contiguous(), *saved[:-1]))
        kernels.narrow_backward(*given, of_x, any(of_weights), *map(_array, found))
        return tuple(own if needed else None for own, needed in zip(found, ctx.needs_input_grad, strict=True))


def _array(t: Tensor) -> kernels.Array:
    return (t.detach() if t.requires_grad else t).numpy()  # every call of torch lets other threads in
