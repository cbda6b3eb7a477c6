"""Loops over activations, compiled by numba: each goes over memory once, where a formula of array operations does so
once per operation. That, not the matrix products, was most of a small network's step.

Arrays are contiguous: activations h and their gradients (R, rows, width), weights (R, out, in), biases (R, width). Sums
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


@njit(inline="always")
def _lift(own: Array, bias: Array) -> None:
    """own = max(own + bias, 0), in place, of one row."""
    zero = bias.dtype.type(0)
    for j in range(own.size):
        value = own[j] + bias[j]
        own[j] = zero if value <= zero else value


@compiled
def add_relu(h: Array, bias: Array) -> None:
    """h = max(h + bias, 0), in place."""
    for r in range(h.shape[0]):
        for n in range(h.shape[1]):
            _lift(h[r, n], bias[r])


@compiled
def relu_backward(g: Array, h: Array, g_bias: Array) -> None:
    """g = g where h > 0, else 0, in place; g_bias = its sum over rows."""
    zero = g_bias.dtype.type(0)
    for r in range(h.shape[0]):
        total = g_bias[r]
        total[:] = zero
        for n in range(h.shape[1]):
            own, incoming = h[r, n], g[r, n]
            for j in range(own.size):
                value = zero if own[j] <= zero else incoming[j]
                incoming[j] = value
                total[j] += value


@compiled
def head_forward(h: Array, bias: Array, weight: Array, head_bias: Array, out: Array) -> None:
    """h = max(h + bias, 0), in place, and out = weight h + head_bias (R, few, rows)."""
    zero = bias.dtype.type(0)
    for r in range(h.shape[0]):
        for n in range(h.shape[1]):
            own = h[r, n]
            _lift(own, bias[r])
            for o in range(out.shape[1]):
                w, answer = weight[r, o], zero
                for j in range(own.size):
                    answer += w[j] * own[j]
                out[r, o, n] = answer + head_bias[r, o]


@compiled
def head_backward(
    g: Array, h: Array, weight: Array, out: Array, g_bias: Array, g_weight: Array, g_head_bias: Array
) -> None:
    """From g (R, few, rows), the gradients of head_forward: out of what h was before the bias, and of its weights."""
    zero = g_bias.dtype.type(0)
    for r in range(h.shape[0]):
        total = g_bias[r]
        total[:] = zero
        for o in range(g.shape[1]):
            g_head_bias[r, o] = g[r, o].sum()
            w, along = weight[r, o], g_weight[r, o]
            along[:] = zero
            for n in range(h.shape[1]):
                own, outgoing, incoming = h[r, n], out[r, n], g[r, o, n]
                for j in range(own.size):
                    value = zero if own[j] <= zero else w[j] * incoming
                    along[j] += own[j] * incoming
                    total[j] += value
                    outgoing[j] = value + outgoing[j] if o else value


@compiled
def compress(
    x: Array, row_starts: Array, columns: Array, by_row: Array, column_starts: Array, rows: Array, by_column: Array
) -> bool:
    """The entries of x (S, rows, in) that are not zero, row by row and column by column: those of row n of part s, in
    order, are places row_starts[s, n] to row_starts[s, n + 1] of `columns` (where) and `by_row` (what). False where
    there is no room for all; that is told after a few rows where it shows by then."""
    found, seen = 0, 0
    for s in range(x.shape[0]):
        own, ends = x[s], column_starts[s]
        ends[:] = 0
        for n in range(own.shape[0]):
            row_starts[s, n] = found
            for i in range(own.shape[1]):
                value = own[n, i]
                if value != 0:
                    if found == columns.size:
                        return False
                    columns[found], by_row[found] = i, value
                    ends[i] += 1
                    found += 1
            seen += own.shape[1]
            if (found - own.shape[1]) * x.size > seen * columns.size:
                return False
        row_starts[s, own.shape[0]] = found
        last = found
        for i in range(own.shape[1] - 1, -1, -1):  # each column's own end: from there it is filled backwards
            ends[i], last = last, last - ends[i]
        ends[own.shape[1]] = found
        for n in range(own.shape[0] - 1, -1, -1):
            for k in range(row_starts[s, n + 1] - 1, row_starts[s, n] - 1, -1):
                ends[columns[k]] -= 1
                place = ends[columns[k]]
                rows[place], by_column[place] = n, by_row[k]
    return True


@njit(inline="always")
def _add_up(first: int, last: int, places: Array, values: Array, vectors: Array, total: Array) -> None:
    """total = the sum of values[k] * vectors[places[k]] for k from first to before last."""
    total[:] = 0
    k = first
    while k + 4 <= last:  # four at a time: total is read and written a quarter as often
        a, b, c, d = values[k], values[k + 1], values[k + 2], values[k + 3]
        one, two = vectors[places[k]], vectors[places[k + 1]]
        three, four = vectors[places[k + 2]], vectors[places[k + 3]]
        for j in range(total.size):
            total[j] += (a * one[j] + b * two[j]) + (c * three[j] + d * four[j])
        k += 4
    while k < last:
        a, one = values[k], vectors[places[k]]
        for j in range(total.size):
            total[j] += a * one[j]
        k += 1


@compiled
def sparse_forward(starts: Array, columns: Array, values: Array, weight: Array, turned: Array, h: Array) -> None:
    """h (R, rows, out) = x weight^T of rows x as `compress` gives them, R parts or one for all; turned (in, out):
    scratch."""
    for r in range(weight.shape[0]):
        start = starts[r % len(starts)]
        for i in range(turned.shape[0]):
            for j in range(turned.shape[1]):
                turned[i, j] = weight[r, j, i]
        for n in range(h.shape[1]):
            _add_up(start[n], start[n + 1], columns, values, turned, h[r, n])


@compiled
def sparse_backward(starts: Array, rows: Array, values: Array, g: Array, turned: Array, g_weight: Array) -> None:
    """g_weight (R, out, in) = g^T x, of g (R, rows, out); turned (in, out): scratch."""
    for r in range(g.shape[0]):
        start = starts[r % len(starts)]
        for i in range(turned.shape[0]):
            _add_up(start[i], start[i + 1], rows, values, g[r], turned[i])
        for j in range(turned.shape[1]):
            for i in range(turned.shape[0]):
                g_weight[r, j, i] = turned[i, j]


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
    g: Array,
    x: Array,
    w1: Array,
    b1: Array,
    w2: Array,
    of_x: bool,
    of_weights: bool,
    g_x: Array,
    g_w1: Array,
    g_b1: Array,
    g_w2: Array,
    g_b2: Array,
) -> None:
    """From g (R, few, rows), the gradients of narrow_forward that are asked for."""
    zero, h, g_h = b1.dtype.type(0), np.empty(x.shape[2], x.dtype), np.empty(x.shape[2], x.dtype)
    if of_x:
        g_x[:] = zero
    for r in range(x.shape[0]):
        for o in range(g.shape[1]):
            g_b2[r, o] = g[r, o].sum()
        for j in range(b1.shape[1]):
            _weigh(x[r], w1[r, j], b1[r, j], h)
            for o in range(g.shape[1]):
                w, incoming = w2[r, o, j], g[r, o]
                for n in range(h.size):
                    value = zero if h[n] <= zero else w * incoming[n]
                    g_h[n] = value + g_h[n] if o else value
                if of_weights:
                    along = zero
                    for n in range(h.size):
                        along += incoming[n] * (zero if h[n] <= zero else h[n])
                    g_w2[r, o, j] = along
            if of_weights:
                g_b1[r, j] = g_h.sum()
            for i in range(x.shape[1]):
                own = x[r, i]
                if of_weights:
                    along = zero
                    for n in range(h.size):
                        along += g_h[n] * own[n]
                    g_w1[r, j, i] = along
                if of_x:
                    w, outgoing = w1[r, j, i], g_x[r, i]
                    for n in range(h.size):
                        outgoing[n] += w * g_h[n]


def prepare() -> None:
    """Compile everything for single precision, or load what is kept, so that the first training need not wait."""
    one, three = np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    add_relu(three, one)
    relu_backward(three, three, one)
    places = np.zeros((1, 2), np.int32)
    compress(three, places, places[0], one[0], places, places[0], one[0])
    sparse_forward(places, places[0], one[0], three, one, three)
    sparse_backward(places, places[0], one[0], three, one, three)
    head_forward(three, one, three, one, three)
    head_backward(three, three, three, three, one, three, one)
    narrow_forward(three, three, one, three, one, three)
    narrow_backward(three, three, three, one, three, True, True, three, three, one, three, one)
