"""Where trainings take place. There is no GPU here: one that pretends (tests/pretend_gpu.py) refuses what a real one
would, and counts the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairness_core import catalogue, devices, experiment, probes
from fairness_core.__main__ import main
from fairness_core.commands import BAD
from fairness_core.config import (
    DEVICE_VARIABLE,
    Budget,
    Event,
    Options,
    RunConfig,
    UserError,
    complete,
    controls_of,
    resolve,
)
from fairness_core.datasets import Dataset, Split
from fairness_core.generators import ran
from fairness_core.methods import METHODS
from fairness_core.models import MLP, SmallCNN
from fairness_core.training import Job, train
from tests.pretend_gpu import CPU, GPU, pretend_gpu
from tests.tiny import tiny_dataset

OF_ROWS = sorted(name for name, method in METHODS.items() if method.on_gpu and name not in ("cyclegan", "label_switch"))
OF_PICTURES: list[tuple[str, Options]] = [
    ("erm", {}),
    *(("aeda", {"variant": variant, "steps": 2}) for variant in ("pre", "once", "online", "robust")),
    ("aeda", {"balance_mode": "fill_minority", "norm": "l2", "steps": 2}),
    ("aeda", {"balance_mode": "fill_classes", "steps": 2}),
    ("label_switch", {"steps": 2}),
    ("cyclegan", {"gan_steps": 2, "gan_width": 4, "gan_blocks": 1}),
    *(("bade", {"trigger": trigger, "choose": "balanced"}) for trigger in ("patch", "mosaic", "stripes")),
    ("dba", {}),
]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diagnoses that learn take two steps: everything on the pretending GPU takes twenty times as long."""
    monkeypatch.setattr(probes, "STEPS", 2)
    monkeypatch.setattr("fairness_core.methods.cyclegan.WITNESS_STEPS", 2)


def rows(n: int = 64) -> Dataset:
    return tiny_dataset(n)


def pictures(n: int = 64) -> Dataset:
    """Grey squares on a coloured ground; the colour is the group."""
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        y, s = (rng.random(n) < 0.3).astype(np.int64), rng.integers(0, 2, n)
        x = rng.integers(0, 60, (n, 3, 12, 12)).astype(np.uint8)
        x[np.arange(n), s] += 100
        x[y == 1, :, 3:9, 3:9] = 200
        return Split(x, y, s)

    return Dataset("squares", split(n), split(n), split(n), ("no", "yes"), ("red", "green"), ())


def numbers() -> Dataset:
    """The rows with a number as target."""
    data = rows()
    parts = {
        name: replace(split, y=(split.y + split.x[:, 0]).astype(np.float32))
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    return replace(data, **parts, task="regression", classes=("low", "high"), edges=(0.5,))  # type: ignore[arg-type]


def several() -> Dataset:
    """The pictures with a second target, the group."""
    data = pictures()
    parts = {
        name: replace(split, y=np.stack([split.y, split.s], 1))
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    return replace(data, **parts, task="multilabel", targets=("square", "green"))  # type: ignore[arg-type]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(devices, "here", lambda: GPU)
    with pretend_gpu():
        yield


def told(method: str, options: Options, data: Dataset) -> list[Event]:
    """The events of one short run, fitted without the threads of experiment.fit, which pretend nothing."""
    own = METHODS[method](**complete(controls_of(METHODS[method]), options, method))
    network = (MLP("8") if data.train.x.ndim == 2 else SmallCNN("4-4", 8)).build(data, 0)
    config = RunConfig(data.name, {}, "", {}, method, {}, {"epochs": 2, "batch_size": 32}, 0)
    return list(devices.making_on(experiment.place(method), own.fit(network, data, config)))


def same(ours: list[Event], theirs: list[Event]) -> None:
    assert [(e.stage, e.step) for e in ours] == [(e.stage, e.step) for e in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.confusion, other.confusion)
        assert one.values == pytest.approx(other.values, rel=1e-5, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("method", OF_ROWS)
def test_tables_train_on_a_gpu_as_on_the_processor(method: str, request: pytest.FixtureRequest) -> None:
    on_processor = told(method, {}, rows())
    request.getfixturevalue("gpu")
    same(told(method, {}, rows()), on_processor)


@pytest.mark.parametrize(("method", "options"), OF_PICTURES)
def test_pictures_train_on_a_gpu_as_on_the_processor(
    method: str, options: Options, request: pytest.FixtureRequest
) -> None:
    on_processor = told(method, options, pictures())
    request.getfixturevalue("gpu")
    same(told(method, options, pictures()), on_processor)


@pytest.mark.parametrize(("method", "make"), [("erm", numbers), ("bade", numbers), ("erm", several), ("aeda", several)])
def test_so_do_other_targets(method: str, make: Callable[[], Dataset], request: pytest.FixtureRequest) -> None:
    on_processor = told(method, {}, make())
    request.getfixturevalue("gpu")
    same(told(method, {}, make()), on_processor)


@pytest.mark.usefixtures("gpu")
def test_autoencoders_and_what_treats_a_trained_model_stay_on_the_processor() -> None:
    assert {name for name in METHODS if experiment.place(name) == CPU} >= {"dvge", "reject_option", "drop_dims"}
    job = Job([METHODS["dvge"]()], [MLP("8").build(rows(), 0)], [0], [rows()], Budget())
    assert job.device == job.learner.model.net.leaves[0].device == CPU


@pytest.mark.usefixtures("gpu")
def test_replicas_of_several_seeds_train_in_one_stack_and_their_weights_come_back() -> None:
    data, seeds = rows(), [0, 1, 0, 1, 0]
    networks = [MLP("8").build(data, seed) for seed in seeds]
    job = Job([METHODS["parity"](lam=k) for k in range(5)], networks, seeds, [data] * 5, Budget(epochs=1))
    assert job.learner.model.net.leaves[0].device == GPU
    trained, events = ran(train(job))
    assert {p.device for p in trained[0].parameters()} | {p.device for p in networks[0].parameters()} == {CPU}
    assert torch.zeros(1).device == CPU  # nothing is left behind for others
    finals = {r: event for batch in events for r, event in batch if event.stage == "test"}
    for r, seed in enumerate(seeds):
        alone = Job([METHODS["parity"](lam=r)], [MLP("8").build(data, seed)], [seed], [data], Budget(epochs=1))
        _, own = ran(train(alone))
        np.testing.assert_array_equal(own[-1][0][1].confusion, finals[r].confusion)


def test_a_gpu_takes_all_seeds_and_strengths_as_one_stack() -> None:
    known = catalogue.build()
    configs = [
        resolve(known, dataset="adult", method="adversarial", method_options={"lam": lam}, seed=seed)
        for seed in range(3)
        for lam in range(12)
    ]
    rows = [(100, c.seed) for c in configs]
    shapes = [(5,)] * len(configs)
    assert len(experiment.plan(configs, shapes, rows)) > 1
    assert experiment.plan(configs, shapes, rows, whole=True) == [list(range(36))]


def test_the_processor_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.here() == CPU
    for name, there in (("cpu", CPU), ("cuda", GPU), ("auto", GPU)):
        monkeypatch.setenv(DEVICE_VARIABLE, name)
        assert devices.here() == there
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.here() == CPU
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    with pytest.raises(UserError, match="no GPU here that PyTorch can use; choose the device cpu or auto"):
        devices.here()
    monkeypatch.setenv(DEVICE_VARIABLE, "abacus")
    with pytest.raises(UserError, match="EQUIPOISE_DEVICE = abacus is no device; choose one of cpu, cuda, auto"):
        devices.here()


def test_16_bits_where_the_device_has_units_for_them_or_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for names, has in (((), False), (("avx2",), False), (("avx2", "avx512_bf16"), True), (("neon", "bf16"), False)):
        known = {"amx_bf16": False, "architecture": "any"} | dict.fromkeys(names, True)
        monkeypatch.setattr(torch.cpu, "get_capabilities", known.copy)
        assert devices.in_16_bits("auto", CPU) is has
        assert devices.bits("auto") == (16 if has else 32)
        assert devices.in_16_bits("bfloat16", CPU)
        assert not devices.in_16_bits("float32", CPU)
    for has in (False, True):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert devices.in_16_bits("auto", GPU) is has


def test_a_gpu_that_is_not_there_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")  # so that it is as before afterwards
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in (["train"], ["sweep"], ["reproduce", "ffb-adult"], ["bench", "bootstrap"]):
        assert main([*command, "--device", "cuda", "--store", str(tmp_path)]) == BAD
        assert capsys.readouterr().err == (
            "There is no GPU here that PyTorch can use; choose the device cpu or auto.\n"
        )


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda here, there: here + there, RuntimeError),
        (lambda here, there: there.numpy(), TypeError),
        (lambda here, there: here[there.long()], RuntimeError),
        (lambda here, there: torch.rand(3, generator=torch.Generator(), device=there.device), RuntimeError),
    ],
)
def test_the_pretending_gpu_refuses_what_a_real_one_would(act: Any, error: type[Exception]) -> None:
    with pretend_gpu():
        here, there = torch.zeros(3), torch.zeros(3, device="cuda")
        with pytest.raises(error):
            act(here, there)
        assert (there + 1).cpu().numpy().tolist() == [1.0, 1.0, 1.0]
        assert there[here.long()].device == there.device == GPU
