"""Data sets by name: every file in this folder that registers a Source, found by itself, and the user's own tables."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from fairness_core.config import Catalogue, Options, UserError, complete, controls_of
from fairness_core.datasets import own
from fairness_core.datasets.base import SOURCES, Dataset, Rows, Split, groups_as_target
from fairness_core.datasets.download import Tell

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "SOURCES", "Dataset", "Rows", "Split", "entries", "explore", "fetch", "fetchable", "groups_as_target", "load",
    "preload", "present", "remarks", "state",
]  # fmt: skip

Folder = Path | str | None
MOST_BYTES = 2_000_000_000  # of inputs that a process keeps; what was loaded first goes first


def load(name: str, options: Options, data_dir: Folder = None, tables: Folder = None) -> Dataset:
    """The data set with these options, read once per process; treat its arrays as read-only.

    data_dir: where published files lie, beside the cache; tables: the folder of the user's own tables.
    """
    key = (name, tuple(sorted(options.items())), _path(data_dir), _path(tables))
    if key not in _loaded:
        _loaded[key] = source(name, dict(options), _path(tables)).load(_path(data_dir))
        while len(_loaded) > 1 and sum(map(_bytes, _loaded.values())) > MOST_BYTES:
            del _loaded[next(iter(_loaded))]
    return _loaded[key]


_loaded: dict[tuple[object, ...], Dataset] = {}


def _bytes(dataset: Dataset) -> int:
    return sum(split.x.nbytes for split in (dataset.train, dataset.validation, dataset.test))


def explore(name: str, options: Options, data_dir: Folder = None, tables: Folder = None, role: str = "train") -> Rows:
    """The rows of one role ("train", "validation", "test") as people read them."""
    rows: Rows = source(name, dict(options), _path(tables)).explore(_path(data_dir), role)
    return rows


def source(name: str, options: dict[str, Any], tables: Path | None) -> Any:
    """The Source called `name` with these options; UserError when there is none."""
    if name in SOURCES:
        return SOURCES[name](**options)
    table = own.table(tables, name) if tables else None
    if table is None:
        raise UserError(f"There is no dataset {name!r}; choose one of {', '.join(SOURCES)}, or add your own table.")
    return own.source(table, options)


def state(name: str, data_dir: Path | None) -> dict[str, str]:
    """What a catalogue entry says about the files of a published data set: "data_hash" and, if they are not here, the
    sentence "missing"."""
    missing = SOURCES[name].missing(data_dir)
    return {"missing": missing, "data_hash": "" if missing else SOURCES[name].data_hash(data_dir)}


def fetchable(name: str) -> bool:
    """Can the files of this data set be downloaded, without anybody agreeing to terms first?"""
    return bool(getattr(getattr(SOURCES.get(name), "files", None), "urls", {}))


def fetch(name: str, data_dir: Folder = None, tell: Tell | None = None) -> None:
    """Download the files of a published data set if they are not here; UserError when that cannot be."""
    if name not in SOURCES:
        raise UserError(f"There is no dataset {name!r}; choose one of {', '.join(SOURCES)}.")
    SOURCES[name].fetch(_path(data_dir), tell)


def remarks(name: str, data_dir: Folder = None) -> tuple[str, ...]:
    """What is particular about the files found here, each one sentence; takes seconds where there are many."""
    told = getattr(SOURCES.get(name), "remarks", None)
    return () if told is None else tuple(told(_path(data_dir)))


def present(catalogue: Catalogue, data_dir: Folder, tables: Folder) -> dict[str, Any]:
    """The catalogue with what may change while the code stays the same: which files are here, and the user's tables."""
    folder = _path(data_dir)
    published = {n: {**entry, **state(n, folder)} for n, entry in catalogue["datasets"].items() if n in SOURCES}
    own_tables = entries(Path(tables)) if tables else {}
    return {**catalogue, "datasets": {**published, **own_tables}}


def entries(tables: Path) -> dict[str, dict[str, Any]]:
    """The catalogue entries of the user's own tables."""
    return {table.name: own.entry(table) for table in own.tables(tables)}


def preload(data_dir: Folder, tables: Folder) -> None:
    """Read the bundled data set with its default options, so that processes forked from here, which look in the same
    folders, have it at once."""
    load("adult", complete(controls_of(SOURCES["adult"]), {}, "dataset adult"), data_dir, tables)


def _path(folder: Folder) -> Path | None:
    return Path(folder) if folder else None
