"""What a real GPU makes of short runs, beside the processor: `pytest -m gpu`, on a machine that has one. Sums are
reordered there, and products of pictures rounded, so that what learns for long may drift apart; these do not yet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fairness_core import replay
from fairness_core.config import DEVICE_VARIABLE, Options
from fairness_core.datasets import Dataset
from tests.core.test_devices import OF_PICTURES, OF_ROWS, numbers, pictures, rows, several, told

pytestmark = pytest.mark.gpu
CASES: list[tuple[str, Options, Callable[[], Dataset]]] = [
    *((method, {}, rows) for method in OF_ROWS),
    *((method, options, pictures) for method, options in OF_PICTURES),
    *((method, {}, numbers) for method in ("erm", "bade")),
    *((method, {}, several) for method in ("erm", "aeda")),
]


@pytest.mark.parametrize(("method", "options", "make"), CASES)
def test_a_gpu_trains_as_the_processor_does(
    method: str, options: Options, make: Callable[[], Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    usual = told(method, options, make())
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    found = told(method, options, make())
    assert [(e.stage, e.step) for e in found] == [(e.stage, e.step) for e in usual]
    for one, other in zip(found, usual, strict=True):
        if one.confusion is not None and other.confusion is not None:
            assert np.abs(one.confusion - other.confusion).sum() <= 0.05 * other.confusion.sum()
        if "loss" in other.values:
            assert one.values["loss"] == pytest.approx(other.values["loss"], rel=0.01)


def test_a_replayed_function_does_what_it_does_by_itself() -> None:
    weights = torch.zeros(3, device="cuda")

    def add(x: torch.Tensor) -> replay.Named:
        weights.add_(x)
        return {"sum": weights.clone()}

    again = replay.Replay(add)
    found = [again(torch.full((3,), float(k), device="cuda"))["sum"] for k in range(1, 8)]
    assert [int(sums[0]) for sums in found] == [1, 3, 6, 10, 15, 21, 28]
    assert weights.tolist() == [28.0] * 3
