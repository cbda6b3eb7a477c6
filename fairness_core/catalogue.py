"""What exists, as plain JSON: data sets, models, methods and their controls, for pages and command line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from fairness_core import datasets
from fairness_core.config import Budget, Control, controls_of
from fairness_core.datasets import SOURCES
from fairness_core.methods import METHODS, Latent
from fairness_core.methods.base import FAMILIES
from fairness_core.models import DEFAULT_MODELS, MODELS
from fairness_core.store import code_hash


def build(data_dir: Path | str | None = None) -> dict[str, Any]:
    """The catalogue of this code; `data_dir` is where data sets that are not bundled lie."""
    folder = Path(data_dir) if data_dir else None
    return {
        "version": code_hash(),
        "datasets": {name: _dataset(source, folder) for name, source in SOURCES.items()},
        "models": {name: {**_entry(model), "takes": model.takes} for name, model in MODELS.items()},
        "methods": {name: _method(method) for name, method in sorted(METHODS.items(), key=_by_family)},
        "training": {"controls": [c.to_json() for c in controls_of(Budget)]},
    }


def _by_family(item: tuple[str, Any]) -> tuple[int, str]:
    return (FAMILIES.index(item[1].family), item[0])


def _entry(cls: Any) -> dict[str, Any]:
    return {
        "name": cls.name,
        "title": cls.title,
        "doc": inspect.cleandoc(cls.__doc__),
        "controls": [c.to_json() for c in controls_of(cls)],
    }


def _dataset(source: Any, data_dir: Path | None) -> dict[str, Any]:
    return {
        **_entry(source),
        "kind": source.kind,
        "model": DEFAULT_MODELS[source.kind],
        "training": dict(source.training),
        "task": source.task,
        "classes": list(source.classes),
        "positive": source.classes[-1],
        "favourable": source.favourable,
        "origin": source.origin,
        "licence": source.licence,
        "cautions": list(source.cautions),
        **datasets.state(source.name, data_dir),
    }


def _method(method: Any) -> dict[str, Any]:
    tradeoff = next((c for c in controls_of(method) if c.tradeoff), None)
    return {
        **_entry(method),
        "family": method.family,
        "paper": method.paper,
        "formula": method.formula,
        "tradeoff": tradeoff.name if tradeoff else None,
        "grid": list(tradeoff.grid) if tradeoff else [],
        "gauges": dict(method.gauges_help),
        "tasks": list(method.tasks),
        "reads_codes": issubclass(method, Latent),
        "needs_sensitive_at_test": method.needs_sensitive_at_test,
    }


def control_named(entry: dict[str, Any], name: str) -> Control:
    """One control of a catalogue entry."""
    return next(Control.from_json(c) for c in entry["controls"] if c["name"] == name)
