"""The user's own tables: add a file, choose what it decides about whom, train on it, delete it.

Every function takes `tables`, the folder in which each table has a folder of its own. Rows never leave that folder.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from fairness_core import config
from fairness_core.config import UserError
from fairness_core.datasets import columns, leaks, own_rows, own_table, reading
from fairness_core.datasets.own_rows import Decisions, OwnTable
from fairness_core.datasets.own_table import MOST_ROWS, ROWS_FILE, TABLE_FILE, Choice, Table, controls, proposal
from fairness_core.datasets.sniffing import digest

__all__ = ["Choice", "Table", "add", "choose", "decisions", "entry", "proposal", "remove", "source", "table", "tables"]

LONGEST_SLUG = 40
FEW_ROWS = 5000  # below, the usual number of steps would leave a network untrained


def add(tables: Path, path: Path, filename: str, progress: reading.Progress | None = None) -> Table:
    """Read the file at `path`, called `filename` by its owner; the same bytes again give the same table.

    progress: told the share that is read, from 0 to 1. UserError with one sentence when it is no table; then nothing is
    left behind, as when the reading is broken off.
    """
    if not path.is_file():
        raise UserError(f"There is no file {str(path)!r}; name a CSV, TSV or Parquet file.")
    content = digest(path)
    name = f"{_slug(filename)}-{content[:8]}"
    known = table(tables, name)
    if known is not None:
        return known
    try:
        tables.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=tables) as room:
            folder = Path(room) / name
            folder.mkdir()
            done = reading.read(path, folder / ROWS_FILE, filename, progress)
            described = columns.describe(folder / ROWS_FILE, done.names)
            Table(folder, filename, content, done.rows, described, done.notes, time.time()).save()
            shutil.rmtree(tables / name, ignore_errors=True)  # the remains of a table that cannot be read any more
            folder.replace(tables / name)
    except OSError as error:
        raise UserError(f"{filename!r} cannot be kept in {tables} ({error.strerror}); make room there.") from None
    made = table(tables, name)
    assert made is not None
    return made


def tables(tables: Path) -> list[Table]:
    """All own tables, the newest first."""
    folders = [path for path in tables.glob("[!.]*") if path.is_dir()] if tables.is_dir() else []
    found = [made for folder in folders if (made := table(tables, folder.name)) is not None]
    return sorted(found, key=lambda t: (-t.created, t.name))


def table(tables: Path, name: str) -> Table | None:
    """The table called `name`, or None if there is none, or none that can be read."""
    if not re.fullmatch(r"[a-z0-9-]+", name):
        return None
    try:
        stat = (tables / name / TABLE_FILE).stat()
    except OSError:
        return None
    return _load(tables / name, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=64)
def _load(folder: Path, *stamp: int) -> Table | None:
    try:
        return own_table.from_json(folder, orjson.loads((folder / TABLE_FILE).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def choose(
    tables: Path,
    name: str,
    *,
    target: str,
    positive: str | None = None,
    sensitive: Sequence[str] = (),
    cuts: Mapping[str, Sequence[float]] | None = None,
    left_out: Sequence[str] | None = None,
    prediction: str | None = None,
    score: str | None = None,
) -> Table:
    """The table with these choices, checked on its rows and kept as the defaults of its controls.

    positive: the favourable class (guessed when None). cuts: boundaries of numeric columns that make groups or classes;
    a numeric group is cut at its median without. left_out: columns that are no inputs, beside the target (when None,
    those that columns.py leaves out). prediction, score: ready-made decisions to audit, never inputs.
    Raises UserError with one sentence for whatever cannot be.
    """
    found = _known(tables, name)
    out = proposal(found).left_out if left_out is None else tuple(left_out)
    edges = {column: tuple(float(edge) for edge in given) for column, given in (cuts or {}).items()}
    wanted = Choice(target, positive or "", tuple(sensitive), edges, out, prediction, score)
    chosen = check(found, wanted)
    chosen.save()
    return chosen


def check(found: Table, choice: Choice) -> Table:
    """The table as it would be with this choice, which is completed and tried on the rows; nothing is kept. UserError
    with one sentence for whatever cannot be."""
    wanted = own_table.complete(found, choice)
    used = len(own_rows.usable(found, wanted).rows)
    if wanted.prediction is not None:
        own_rows.decisions(found, wanted)
    return dataclasses.replace(found, choice=wanted, used=used, warnings=leaks.warnings(found, wanted))


def remove(tables: Path, name: str) -> None:
    """Delete the table's rows and all that is known of it; runs are the store's to forget."""
    if re.fullmatch(r"[a-z0-9-]+", name):
        shutil.rmtree(tables / name, ignore_errors=True)


def decisions(found: Table) -> Decisions:
    """The ready-made predictions of a table whose choice names them; UserError when they cannot be audited."""
    return own_rows.decisions(found, found.choice)


def source(found: Table, options: Mapping[str, Any]) -> OwnTable:
    """The table with these options as a data set: load(data_dir) and explore(data_dir, role)."""
    full = config.complete(controls(found), options, f"dataset {found.name}")
    choice = own_table.choice_from(found, full)
    named = ("target", "positive", "sensitive", "cuts", "left_out")
    rest: dict[str, Any] = {k: v for k, v in full.items() if k not in named}
    return OwnTable(own=found, choice=choice, **rest)


def entry(found: Table) -> dict[str, Any]:
    """The table as a data set of the catalogue."""
    choice = found.choice
    ready = bool(choice)
    classes = list(own_rows.classes_of(found, choice)) if ready else []
    missing = "" if ready else f"{found.title!r} has no target and sensitive column yet; choose them on the page Data."
    lost = [f"{found.rows - found.used:,} of {found.rows:,} rows have no target or no group and are left out."]
    if found.used > MOST_ROWS:
        lost.append(f"Models see a sample of {MOST_ROWS:,} of its rows, each class and group in its share (most_rows).")
    return {
        "name": found.name,
        "title": found.title,
        "doc": f"Your own table: {found.rows:,} rows, {len(found.columns)} columns.",
        "controls": [c.to_json() for c in controls(found)] if ready else [],
        "kind": "table",
        "model": "mlp",
        "training": {"epochs": 40, "batch_size": 64} if found.used < FEW_ROWS else {},
        "task": "binary" if len(classes) < 3 else "multiclass",
        "classes": classes,
        "positive": classes[-1] if classes else "",
        "favourable": "predicted to have {target} = {positive}",
        "origin": f"Added by you; its rows stay on this computer, in {found.folder}.",
        "licence": "yours",
        "cautions": [
            *(lost if ready and found.used < found.rows else lost[1:]),
            *(n for n in found.notes if "left out" in n),
        ],
        "data_hash": found.data_hash,
        "missing": missing,
    }


def _known(tables: Path, name: str) -> Table:
    found = table(tables, name)
    if found is None:
        raise UserError(f"There is no own table {name!r}; add it again.")
    return found


def _slug(filename: str) -> str:
    """A file name as part of a folder's and a data set's name: people.csv -> people."""
    stem = filename.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or filename
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-") or "table"
