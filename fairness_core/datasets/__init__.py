"""Data sets by name. Every file in this folder that registers a Source is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from pathlib import Path

from fairness_core.config import Options, UserError
from fairness_core.datasets.base import SOURCES, Dataset, Rows, Split

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["SOURCES", "Dataset", "Rows", "Split", "load", "preload"]


def load(name: str, options: Options, data_dir: Path | str | None = None) -> Dataset:
    """The data set with these options, read once per process; treat its arrays as read-only."""
    if name not in SOURCES:
        raise UserError(f"There is no dataset {name!r}; choose one of {', '.join(SOURCES)}.")
    return _load(name, tuple(sorted(options.items())), Path(data_dir) if data_dir else None)


@lru_cache(maxsize=16)
def _load(name: str, options: tuple[tuple[str, object], ...], data_dir: Path | None) -> Dataset:
    dataset: Dataset = SOURCES[name](**dict(options)).load(data_dir)
    return dataset


def preload() -> None:
    """Read the bundled data set with its default options, so that processes forked from here have it at once."""
    from fairness_core.config import complete, controls_of

    load("adult", complete(controls_of(SOURCES["adult"]), {}, "dataset adult"))
