"""Steps that a GPU replays: when one is recorded, what takes the usual way, and that it trains as before. The GPU is
one that pretends (tests/pretend_gpu.py); tests/core/test_on_a_gpu.py asks a real one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fairness_core import devices, replay
from fairness_core.config import Budget, Options, complete, controls_of
from fairness_core.datasets import Dataset
from fairness_core.generators import ran
from fairness_core.methods import METHODS
from fairness_core.models import MLP
from fairness_core.training import Job, train
from tests.pretend_gpu import GPU, pretend_gpu, recorded
from tests.tiny import tiny_dataset

ALIKE = ("adversarial", "adversarial_zhang", "erm", "parity")  # methods whose every step does the same


def job(data: Dataset, method: str = "erm", options: Options | None = None, model: Any = None, **budget: Any) -> Job:
    own = METHODS[method](**complete(controls_of(METHODS[method]), options or {}, method))
    network = (model or MLP("8")).build(data, 0)
    return Job([own], [network], [0], [data], Budget(**{"epochs": 4, "batch_size": 32, **budget}), live=False)


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The shapes of what is recorded, on a pretending GPU, as it happens."""
    found: list[Any] = []

    def counted(function: replay.Function, given: replay.Given) -> Any:
        found.append([None if t is None else tuple(t.shape) for t in given])
        return recorded(function, given)

    monkeypatch.setattr("tests.pretend_gpu.recorded", counted)
    monkeypatch.setattr(devices, "here", lambda: GPU)
    return found


def test_the_first_calls_and_other_shapes_take_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def double(x: Tensor, y: Tensor | None) -> replay.Named:
        done.append(f"usual {len(x)}")
        return {"twice": 2 * x}

    def noted(function: replay.Function, given: replay.Given) -> Any:
        done.append(f"recorded {len(given[0])}")  # type: ignore[arg-type]
        return lambda again: {"twice": 2 * again[0], "replayed": again[0]}

    monkeypatch.setattr(replay, "aside", lambda act: act())
    monkeypatch.setattr(replay, "recorded", noted)
    again = replay.Replay(double)
    found = [again(torch.full((n,), float(k)), None) for k, n in enumerate([5, 5, 2, 5, 5, 2, 5, 2, 2, 2])]
    usual = ["usual 5", "usual 5", "usual 2", "usual 5", "recorded 5", "usual 2", *["usual 2"] * 3]
    assert done == usual
    assert [float(f["twice"][0]) for f in found] == [2.0 * k for k in range(10)]
    assert ["replayed" in f for f in found] == [k in (4, 6) for k in range(10)]


@pytest.mark.parametrize("method", METHODS)
def test_methods_say_whether_all_their_steps_are_alike(method: str) -> None:
    assert getattr(METHODS[method], "replayable", False) == (method in ALIKE)


@pytest.mark.parametrize("notion", ["demographic_parity", "equalized_odds", "equal_opportunity"])
@pytest.mark.parametrize("method", ALIKE)
def test_what_is_replayed_trains_as_on_the_processor(method: str, notion: str, recordings: list[Any]) -> None:
    options: Options = {} if method == "erm" else {"notion": notion, "lam": 0.5}
    decay = {"lr_decay": "linear"}  # a rate that changes between replays
    data = tiny_dataset(80)  # two batches of 32 and a rest of 16
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "here", lambda: devices.CPU)
        (usual,), _ = ran(train(job(data, method, options, **decay)))
    with pretend_gpu():
        (replayed,), _ = ran(train(job(data, method, options, **decay)))
    assert [shapes[1] for shapes in recordings] == [(32,)]
    for one, other in zip(replayed.parameters(), usual.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_dropout_draws_anew_and_is_not_replayed(recordings: list[Any]) -> None:
    with pretend_gpu():
        ran(train(job(tiny_dataset(80), model=MLP("8", dropout=0.5))))
        assert recordings == []
        ran(train(job(tiny_dataset(80), model=MLP("8", dropout=0.0))))
    assert len(recordings) == 1


def test_an_attack_on_networks_in_training_is_recorded_once(recordings: list[Any]) -> None:
    with pretend_gpu():
        ran(train(job(tiny_dataset(80), "aeda", {"steps": 2})))
        assert len(recordings) == 1
        ran(train(job(tiny_dataset(80), "aeda", {"steps": 2, "refresh": 1, "variant": "once"})))
    assert len(recordings) == 1  # twins that are kept are made once


def test_weighted_rows_are_replayed_with_their_weights(recordings: list[Any]) -> None:
    data = tiny_dataset(80)
    weights = torch.linspace(0.5, 1.5, len(data.train)).numpy()
    data = replace(data, train=replace(data.train, w=weights))
    with pretend_gpu():
        ran(train(job(data)))
    assert [shapes[3] for shapes in recordings] == [(32,)]


@pytest.mark.parametrize(
    "act",
    [
        lambda there: there.sum().item(),
        lambda there: there[there > 0],
        lambda there: there + torch.tensor(1.0, device=there.device),
        lambda there: there.cpu(),
    ],
)
def test_the_pretending_gpu_refuses_to_replay_what_waits_for_it_or_moves(act: Any) -> None:
    with pretend_gpu():
        x = torch.ones(3, device="cuda")
        act(x)  # otherwise it may
        again = recorded(lambda given: {"x": act(given)}, [x])
        with pytest.raises(RuntimeError, match=r"while (it|the GPU) replays"):
            again([x])
