"""A function of tensors on a GPU, recorded once and replayed: what a step of a small network costs there is not the
arithmetic but the launching of some hundred operations, one by one, from Python.

The function must depend on its tensors alone, ask nothing back of the GPU, bring it nothing, and keep what it changes
(weights, an optimiser's memory) where it lies. What it makes on its way lies in the recording's own memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fairness_core.batches import Batch

CALLS = 3  # of one kind before it is recorded, by which all is made that is made once

Named = dict[str, Tensor]
Function = Callable[..., Named]
Given = Sequence[Tensor | None]


def where_it_pays(function: Function, device: torch.device) -> Function:
    """The function, replayed where it works on a GPU."""
    return Replay(function) if device.type == "cuda" else function


def step(update: Callable[[Batch, float], Named]) -> Callable[[Batch, float], Named]:
    """The same step of training, replayed; it must not depend on the progress."""
    replay = Replay(lambda *parts: update(Batch(*parts), 0.0))
    return lambda batch, progress: replay(batch.x, batch.y, batch.s, batch.w, batch.rows, batch.flipped)


class Replay:
    """The same function, replayed for the first shapes of its tensors that come often; others, such as the last few
    rows of an epoch, take the usual way."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._calls: Counter[Any] = Counter()
        self._kind: Any = None
        self._recording: Callable[[Given], Named] | None = None

    def __call__(self, *given: Tensor | None) -> Named:
        kind = tuple(None if t is None else (t.shape, t.dtype) for t in given)
        if self._recording is None:
            self._calls[kind] += 1
            if self._calls[kind] <= CALLS:
                return aside(lambda: self._function(*given))
            self._kind, self._recording = kind, recorded(self._function, given)
        return self._recording(given) if kind == self._kind else self._function(*given)


def aside(act: Callable[[], Named]) -> Named:
    """In another stream than the usual one, as is asked of what is to be recorded."""
    usual, other = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    other.wait_stream(usual)
    with torch.cuda.stream(other):
        found = act()
    usual.wait_stream(other)
    return found


def recorded(function: Function, given: Given) -> Callable[[Given], Named]:
    """Record what `function` does with such tensors, without doing it; what it returns when replayed is one's own."""
    inputs = [None if t is None else t.detach().clone() for t in given]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = function(*inputs)

    def replay(given: Given) -> Named:
        for own, t in zip(inputs, given, strict=True):
            if own is not None and t is not None:
                own.copy_(t)
        graph.replay()
        return {name: t.clone() for name, t in outputs.items()}

    return replay
