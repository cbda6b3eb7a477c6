"""A GPU that only pretends: its tensors lie on the processor and are marked, and whatever a real one would refuse is
refused here: operations on tensors of both places, `.numpy()`, and random numbers from a generator of the processor;
while it replays (replay.py), also whatever would wait for the GPU or bring something to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from fairness_core import replay

GPU, CPU = torch.device("cuda"), torch.device("cpu")
LOOKS_UP = ("aten.index.Tensor", "aten.index_put_", "aten.index_put", "aten._index_put_impl_")
MOVES = ("aten._to_copy", "aten.copy_", "aten.clone")
WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select")
Packet = Callable[..., Any]


class Marks:
    """Which tensors are on the GPU, by what they are stored in; those marked are kept alive, so that no other tensor
    gets their place."""

    def __init__(self) -> None:
        self._held: dict[int, Tensor] = {}

    def add(self, found: Any) -> None:
        for t in _tensors(found):
            if _place(t):
                self._held[_place(t)] = t.detach()

    def __contains__(self, t: Tensor) -> bool:
        return _place(t) in self._held


class _Asks(TorchFunctionMode):
    """What is asked for by the name of a device."""

    def __init__(self, marks: Marks) -> None:
        super().__init__()
        self._marks = marks

    def __torch_function__(
        self, func: Packet, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return GPU if args[0] in self._marks else CPU
        if func in (torch.device, torch._C._nn._parse_to):  # they only name one
            return func(*args, **kwargs)
        if func is Tensor.numpy and args[0] in self._marks:
            raise TypeError("can't convert a tensor of the GPU to numpy; use .cpu() first")
        named = [_device(v) for v in (*args, *kwargs.values())]
        asked = next((d for d in named if d is not None), None)
        if func is Tensor.cpu:
            asked = CPU
        if func is Tensor.to and asked is None and len(args) > 1 and isinstance(args[1], Tensor):
            asked = GPU if args[1] in self._marks else CPU
        if asked is None:
            return func(*args, **kwargs)
        if asked == GPU and kwargs.get("generator") is not None:
            raise RuntimeError("a generator of the processor cannot draw on the GPU")
        there = bool(args) and isinstance(args[0], Tensor) and args[0] in self._marks
        if _RECORDING and (func in (torch.tensor, torch.as_tensor) or _moved(args, there, asked)):
            raise RuntimeError(f"{func.__name__}: nothing moves between GPU and processor while the GPU replays")
        args, kwargs = tree_map(lambda v: CPU if _device(v) == GPU else v, (tuple(args), kwargs))
        found = func(*args, **kwargs)
        if isinstance(found, Tensor) and (asked == GPU) != there:
            with torch._C.DisableTorchFunction(), _quiet():
                found = found.detach().clone().requires_grad_(found.requires_grad) if found.is_leaf else found.clone()
        if asked == GPU:
            self._marks.add(found)
        return found


class _Runs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What is computed, backward passes included."""

    def __init__(self, marks: Marks) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._marks = marks

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        found = func(*args, **kwargs)
        if _SILENT:
            return found
        given, name = [t for t in _tensors((args, kwargs)) if _place(t)], str(func)
        by_truth = name.startswith(LOOKS_UP) and any(t.dtype == torch.bool for t in given[1:])
        if _RECORDING and (name.startswith(WAITS) or by_truth):
            raise RuntimeError(f"{name}: nothing waits for the GPU while it replays")
        there = [t in self._marks for t in given]
        if any(there) and not all(there) and not name.startswith(MOVES):
            looked_up = name.startswith(LOOKS_UP) and there[0]
            if not looked_up and any(t.dim() for t, on in zip(given, there, strict=True) if not on):
                raise RuntimeError(f"{name}: tensors on the GPU and on the processor")
        if any(there) and not name.startswith("aten.copy_"):
            self._marks.add(found)
        return found


_SILENT: list[bool] = []
_RECORDING: list[bool] = []


def _moved(args: Sequence[Any], there: bool, asked: torch.device) -> bool:
    return bool(args) and isinstance(args[0], Tensor) and there != (asked == GPU)


def recorded(function: replay.Function, given: replay.Given) -> Callable[[replay.Given], replay.Named]:
    """Nothing is kept but the function, which is called whenever it is replayed."""
    inputs = [None if t is None else t.detach().clone() for t in given]

    def again(given: replay.Given) -> replay.Named:
        for own, t in zip(inputs, given, strict=True):
            if own is not None and t is not None:
                own.copy_(t)
        _RECORDING.append(True)
        try:
            return function(*inputs)
        finally:
            _RECORDING.pop()

    return again


@contextmanager
def _quiet() -> Iterator[None]:
    _SILENT.append(True)
    try:
        yield
    finally:
        _SILENT.pop()


@contextmanager
def pretend_gpu() -> Iterator[Marks]:
    marks = Marks()
    pretended = patch.multiple(replay, aside=lambda act: act(), recorded=recorded)
    with pretended, _Asks(marks), _Runs(marks):
        yield marks


def _tensors(found: Any) -> list[Tensor]:
    return [t for t in tree_leaves(found) if isinstance(t, Tensor)]


def _place(t: Tensor) -> int:
    """Where its numbers are stored; 0 for a tensor without any."""
    with torch._C.DisableTorchFunction():
        return t.untyped_storage().data_ptr() if t.layout == torch.strided else 0


def _device(value: Any) -> torch.device | None:
    if isinstance(value, torch.device):
        return value
    return torch.device(value) if isinstance(value, str) and value in ("cpu", "cuda") else None
