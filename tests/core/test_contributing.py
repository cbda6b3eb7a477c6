"""The worked examples in CONTRIBUTING.md run as they are written."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairness_core import catalogue
from fairness_core.config import Budget, RunConfig, complete, controls_of
from fairness_core.datasets import SOURCES
from fairness_core.generators import ran
from fairness_core.methods import METHODS
from fairness_core.models import MLP
from tests.tiny import tiny_dataset

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def example(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the guide's block as a module of its own; what it registers is taken back after the test."""
    (code,) = re.findall(rf"```python {kind}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    module = types.ModuleType(f"guide_{kind}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(GUIDE), "exec"), module.__dict__)


def fit_once(method: Any, data: Any, **options: Any) -> tuple[Any, list[Any]]:
    given = complete(controls_of(method), options, method.name)
    run = RunConfig(data.name, {}, "mlp", {}, method.name, given, vars(Budget(epochs=8, batch_size=64, lr=5e-3)), 0)
    training = method(**given).fit(MLP("8").build(data, 0), data, run)
    return ran(training)


def test_the_debiaser_of_the_guide_trains_and_lowers_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        example("debiaser", monkeypatch)
        data = tiny_dataset(n=2000)
        gaps = []
        for lam in (0.0, 10.0):
            confusion = fit_once(METHODS["covariance"], data, lam=lam)[1][-1].confusion
            rates = confusion[:, :, 1].sum(1) / confusion.sum((1, 2))
            gaps.append(np.ptp(rates))
        assert gaps[1] < 0.5 * gaps[0]
    finally:
        METHODS.pop("covariance", None)


def test_the_data_set_of_the_guide_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        example("dataset", monkeypatch)
        data = SOURCES["coins"]().load(None)
        assert data.groups == ("north", "south")
        assert [len(part) for part in (data.train, data.validation, data.test)] == [1800, 600, 600]
        assert fit_once(METHODS["erm"], data)[1][-1].confusion.sum() == 600
        both = SOURCES["coins"](sensitive="mint x weight").load(None)
        assert both.groups[0] == "north & weight < 0"
        assert catalogue.build()["datasets"]["coins"]["missing"] == ""
    finally:
        SOURCES.pop("coins", None)
