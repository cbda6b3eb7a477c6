"""Loops over activations, compiled by numba: each goes over memory once, where a formula of array operations does so
once per operation. That, not the matrix products, was most of a small network's step.

Arrays are contiguous: activations h and their gradients (R, width, rows), weights (R, out, in), biases (R, width). Sums
may be reordered, but the rules for infinities and NaN hold, since divergence is seen by them. Compiled code is kept in
__pycache__ (or where NUMBA_CACHE_DIR says), so that only the first training on a machine waits for it; where no folder
can be written to, the first of every process waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]


def compiled(function: Function) -> Function:
    """Without the interpreter's lock, so that other stacks train meanwhile."""
    made: Function = njit(nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")(function)
    with suppress(RuntimeError):  # there is no folder to keep it in
        made.enable_caching()  # type: ignore[attr-defined]
    return made


@compiled
def add_relu(h: Array, bias: Array) -> None:
    """h = max(h + bias, 0), in place."""
    zero = bias.dtype.type(0)
    for r in range(h.shape[0]):
        for j in range(h.shape[1]):
            b, own = bias[r, j], h[r, j]
            for n in range(own.size):
                value = own[n] + b
                own[n] = zero if value <= zero else value


@compiled
def relu_backward(g: Array, h: Array, g_bias: Array) -> None:
    """g = g where h > 0, else 0, in place; g_bias = its sum over rows."""
    zero = g_bias.dtype.type(0)
    for r in range(h.shape[0]):
        for j in range(h.shape[1]):
            own, incoming, total = h[r, j], g[r, j], zero
            for n in range(own.size):
                value = zero if own[n] <= zero else incoming[n]
                incoming[n] = value
                total += value
            g_bias[r, j] = total


@compiled
def head_forward(h: Array, bias: Array, weight: Array, head_bias: Array, out: Array) -> None:
    """h = max(h + bias, 0), in place, and out = weight h + head_bias (R, few, rows)."""
    zero = bias.dtype.type(0)
    for r in range(h.shape[0]):
        for o in range(out.shape[1]):
            out[r, o, :] = head_bias[r, o]
        for j in range(h.shape[1]):
            b, own = bias[r, j], h[r, j]
            for n in range(own.size):
                value = own[n] + b
                own[n] = zero if value <= zero else value
            for o in range(out.shape[1]):
                w, answer = weight[r, o, j], out[r, o]
                for n in range(own.size):
                    answer[n] += w * own[n]


@compiled
def head_backward(
    g: Array, h: Array, weight: Array, out: Array, g_bias: Array, g_weight: Array, g_head_bias: Array
) -> None:
    """From g (R, few, rows), the gradients of head_forward: out of what h was before the bias, and of its weights."""
    zero = g_bias.dtype.type(0)
    for r in range(h.shape[0]):
        for o in range(g.shape[1]):
            g_head_bias[r, o] = g[r, o].sum()
        for j in range(h.shape[1]):
            own, outgoing, total = h[r, j], out[r, j], zero
            for o in range(g.shape[1]):
                w, incoming, along = weight[r, o, j], g[r, o], zero
                for n in range(own.size):
                    value = zero if own[n] <= zero else w * incoming[n]
                    along += own[n] * incoming[n]
                    total += value
                    outgoing[n] = value + outgoing[n] if o else value
                g_weight[r, o, j] = along
            g_bias[r, j] = total


@njit(inline="always")
def _weigh(x: Array, weight: Array, bias: Any, h: Array) -> None:
    """h (rows,) = weight (few,) x (few, rows) + bias."""
    h[:] = bias
    for i in range(x.shape[0]):
        w, own = weight[i], x[i]
        for n in range(h.size):
            h[n] += w * own[n]


@compiled
def narrow_forward(x: Array, w1: Array, b1: Array, w2: Array, b2: Array, out: Array) -> None:
    """out (R, few, rows) = w2 max(w1 x + b1, 0) + b2, of x (R, few, rows); what is between is never stored."""
    zero, h = b1.dtype.type(0), np.empty(x.shape[2], x.dtype)
    for r in range(x.shape[0]):
        for o in range(out.shape[1]):
            out[r, o, :] = b2[r, o]
        for j in range(b1.shape[1]):
            _weigh(x[r], w1[r, j], b1[r, j], h)
            for o in range(out.shape[1]):
                w, answer = w2[r, o, j], out[r, o]
                for n in range(h.size):
                    answer[n] += w * (zero if h[n] <= zero else h[n])


@compiled
def narrow_backward(
    g: Array, x: Array, w1: Array, b1: Array, w2: Array, g_x: Array, g_w1: Array, g_b1: Array, g_w2: Array, g_b2: Array
) -> None:
    """From g (R, few, rows), all gradients of narrow_forward."""
    zero, h, g_h = b1.dtype.type(0), np.empty(x.shape[2], x.dtype), np.empty(x.shape[2], x.dtype)
    g_x[:] = zero
    for r in range(x.shape[0]):
        for o in range(g.shape[1]):
            g_b2[r, o] = g[r, o].sum()
        for j in range(b1.shape[1]):
            _weigh(x[r], w1[r, j], b1[r, j], h)
            g_h[:] = zero
            for o in range(g.shape[1]):
                w, incoming, along = w2[r, o, j], g[r, o], zero
                for n in range(h.size):
                    along += incoming[n] * (zero if h[n] <= zero else h[n])
                    g_h[n] += zero if h[n] <= zero else w * incoming[n]
                g_w2[r, o, j] = along
            g_b1[r, j] = g_h.sum()
            for i in range(x.shape[1]):
                w, own, outgoing, along = w1[r, j, i], x[r, i], g_x[r, i], zero
                for n in range(h.size):
                    along += g_h[n] * own[n]
                    outgoing[n] += w * g_h[n]
                g_w1[r, j, i] = along


def prepare() -> None:
    """Compile everything for single precision, or load what is kept, so that the first training need not wait."""
    one, three = np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    add_relu(three, one)
    relu_backward(three, three, one)
    head_forward(three, one, three, one, three)
    head_backward(three, three, three, three, one, three, one)
    narrow_forward(three, three, one, three, one, three)
    narrow_backward(three, three, three, one, three, three, three, one, three, one)
