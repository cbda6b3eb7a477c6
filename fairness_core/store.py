"""The one memory that pages, command line and runner share: runs, their events, sweeps and the catalogue in SQLite.

All times are Unix seconds. A Store may be used from many processes and threads. What runner and worker do with it is
in jobs.py.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from fairness_core import exhibits, scores
from fairness_core.config import RunConfig, content_hash
from fairness_core.database import AMONG
from fairness_core.jobs import Jobs
from fairness_core.records import (
    ACTIVE,
    RUN_COLUMNS,
    STATUSES,
    SWEEP_COLUMNS,
    Progress,
    Run,
    Sweep,
    flat_run,
    flat_sweep,
    load_confusion,
    load_errors,
    load_run,
    load_values,
    to_json,
)
from fairness_core.scores import Predictions, Scores

__all__ = [
    "ACTIVE",
    "STATUSES",
    "Predictions",
    "Progress",
    "Run",
    "Scores",
    "Store",
    "Sweep",
    "code_hash",
    "keep_catalogue",
]


def code_hash() -> str:
    """16 hexadecimal digits over this package's source files: the catalogue of other code is not ours."""
    folder = Path(__file__).parent
    files = sorted(folder.rglob("*.py"))
    stats = [f.stat() for f in files]
    return _code_hash(folder, tuple((f, s.st_mtime_ns, s.st_size) for f, s in zip(files, stats, strict=True)))


@functools.lru_cache(maxsize=4)
def _code_hash(folder: Path, stamp: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, _, _ in stamp:
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def keep_catalogue(catalogue: Mapping[str, Any]) -> None:
    """Leave it beside the compiled code, so that a new store has it at once; where nothing can be written a new store
    waits for its runner instead."""
    place = _kept_catalogue(catalogue["version"])
    written = place.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        written.write_bytes(orjson.dumps(catalogue))
        written.replace(place)
        for old in set(place.parent.glob(_kept_catalogue("*").name)) - {place}:
            old.unlink(missing_ok=True)


def _kept_catalogue(version: str) -> Path:
    return Path(__file__).parent / "__pycache__" / f"catalogue-{version}.json"


class Store(Jobs):
    """Opens, or creates, the store in folder `root`; UserError if what lies there is not a store of this version."""

    # -- what users ask for

    def submit(self, configs: Sequence[RunConfig], *, vary: Sequence[str] = ()) -> list[str]:
        """The ids of `configs`, each queued unless it is queued, running or done already.

        Failed, cancelled and being-cancelled runs start anew, without their old events. Runs that differ only in the
        seed and the method options named in `vary` are claimed, and trained, together. A run that starts from another
        run's trained model brings that one along, and waits until it is done.
        """
        with self._transaction() as db:
            return self._submit(db, configs, vary)

    def _submit(self, db: sqlite3.Connection, configs: Sequence[RunConfig], vary: Sequence[str]) -> list[str]:
        starts = {c.start.id: c.start for c in configs if c.start}
        if starts:
            self._submit(db, list(starts.values()), ())
        ids = [c.id for c in configs]
        again = "(status IN ('failed', 'cancelled') OR status IN ('starting', 'running') AND cancel = 1)"
        stale = [r[0] for r in db.execute(f"SELECT id FROM runs WHERE id IN {AMONG} AND {again}", (to_json(ids),))]
        _delete_runs(db, stale)
        for run_id in stale:
            exhibits.forget(self.exhibits_path(run_id))
        place = db.execute("SELECT coalesce(max(place), 0) FROM runs").fetchone()[0]
        now = time.time()
        rows = [
            (i, to_json(c.to_json()), c.stack_key(vary), place + k, now, c.start.id if c.start else None)
            for k, (i, c) in enumerate(zip(ids, configs, strict=True), 1)
        ]
        # A run that waits alone joins the stack of a sweep that contains it, never the other way round.
        join = "DO UPDATE SET stack_key = excluded.stack_key" if vary else "DO NOTHING"
        db.executemany(
            "INSERT INTO runs (id, config, stack_key, status, place, created, needs)"
            f" VALUES (?, ?, ?, 'queued', ?, ?, ?) ON CONFLICT (id) {join}",
            rows,
        )
        return ids

    def submit_sweep(self, spec: Mapping[str, Any], configs: Sequence[RunConfig], vary: Sequence[str]) -> str:
        """The sweep's id (the content hash of `spec`), its runs submitted as by `submit`."""
        sweep_id = content_hash(spec)
        with self._transaction() as db:
            ids = self._submit(db, configs, vary)
            db.execute("INSERT OR IGNORE INTO sweeps VALUES (?, ?, ?)", (sweep_id, to_json(spec), time.time()))
            db.executemany(
                "INSERT OR IGNORE INTO sweep_runs VALUES (?, ?, ?)", [(sweep_id, i, r) for i, r in enumerate(ids)]
            )
        return sweep_id

    def cancel(self, run_ids: Iterable[str]) -> None:
        """Waiting runs are cancelled at once; running ones are asked to stop, which takes some tenths of a second."""
        ids = to_json(list(run_ids))
        with self._transaction() as db:
            db.execute(
                f"UPDATE runs SET status = 'cancelled', finished = ? WHERE id IN {AMONG} AND status = 'queued'",
                (time.time(), ids),
            )
            db.execute(f"UPDATE runs SET cancel = 1 WHERE id IN {AMONG} AND status IN ('starting', 'running')", (ids,))

    def delete(self, run_ids: Iterable[str]) -> None:
        """Forgets runs with their events and weights; a job that still trains them notices and drops them."""
        ids = list(run_ids)
        with self._transaction() as db:
            _delete_runs(db, ids)
        for run_id in ids:
            self.weights_path(run_id).unlink(missing_ok=True)
            self.scores_path(run_id).unlink(missing_ok=True)
            self.numbers_path(run_id).unlink(missing_ok=True)
            exhibits.forget(self.exhibits_path(run_id))

    def delete_sweep(self, sweep_id: str) -> None:
        """Forgets a sweep and those of its runs that no other sweep shares."""
        shared = "SELECT run_id FROM sweep_runs WHERE sweep_id <> ?"
        query = f"SELECT run_id FROM sweep_runs WHERE sweep_id = ? AND run_id NOT IN ({shared})"
        with self._transaction() as db:
            own = [r[0] for r in db.execute(query, (sweep_id, sweep_id))]
            db.execute("DELETE FROM sweep_runs WHERE sweep_id = ?", (sweep_id,))
            db.execute("DELETE FROM sweeps WHERE id = ?", (sweep_id,))
        self.delete(own)

    def forget_dataset(self, dataset: str) -> tuple[int, int]:
        """Forgets every run and sweep of this data set with events, weights and codes; how many runs and sweeps there
        were."""
        derived = "json_extract(CAST({} AS TEXT), '$.{}') = ?"
        with self._transaction() as db:
            runs = [
                r[0] for r in db.execute(f"SELECT id FROM runs WHERE {derived.format('config', 'dataset')}", (dataset,))
            ]
            sweeps = [
                r[0]
                for r in db.execute(f"SELECT id FROM sweeps WHERE {derived.format('spec', 'base.dataset')}", (dataset,))
            ]
            db.execute(f"DELETE FROM sweep_runs WHERE sweep_id IN {AMONG}", (to_json(sweeps),))
            db.execute(f"DELETE FROM sweeps WHERE id IN {AMONG}", (to_json(sweeps),))
        self.delete(runs)
        shutil.rmtree(self.encoders / dataset, ignore_errors=True)
        return len(runs), len(sweeps)

    # -- what pages read

    def run(self, run_id: str) -> Run | None:
        """The run with this id, or None."""
        row = self._db.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if row is None else load_run(row, self._positions())

    def runs(
        self, ids: Sequence[str] | None = None, limit: int = 200, over: str | Mapping[str, str] = "lam"
    ) -> pd.DataFrame:
        """One row per run: the newest `limit` first, or those of `ids` in that order (unknown ids are left out). The
        column "options" holds the method's options, "lam" that named `over` (of each method its own: {method:
        option}), NaN where it has none."""
        if ids is None:
            rows = self._db.execute("SELECT * FROM runs ORDER BY created DESC, place DESC LIMIT ?", (limit,)).fetchall()
        else:
            found = self._db.execute(f"SELECT * FROM runs WHERE id IN {AMONG}", (to_json(list(ids)),))
            by_id = {row["id"]: row for row in found}
            rows = [by_id[i] for i in ids if i in by_id]
        positions = self._positions() if any(row["status"] == "queued" for row in rows) else {}
        return pd.DataFrame([flat_run(load_run(row, positions), over) for row in rows], columns=RUN_COLUMNS)

    def _positions(self) -> dict[str, int]:
        query = "SELECT stack_key FROM runs WHERE status = 'queued' GROUP BY stack_key ORDER BY min(place)"
        return {row[0]: i for i, row in enumerate(self._db.execute(query), 1)}

    def history(self, run_id: str, after: int = -1, *, pooled: bool = True) -> pd.DataFrame:
        """The run's events with seq > `after`: seq, t, stage, step, of, confusion (int64 (G, T, T) or None), errors
        (Event.errors or None), then a float column per value (NaN where an event does not carry it). Several targets
        are added up; with pooled=False their tensor is (A, G, T, T)."""
        query = "SELECT * FROM events WHERE run_id = ? AND seq > ? ORDER BY seq"
        rows = self._db.execute(query, (run_id, after)).fetchall()
        values = [load_values(row["values"]) for row in rows]
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("seq", "t", "stage", "step", "of")}
        confusions = [load_confusion(row["shape"], row["confusion"], pooled) for row in rows]
        columns["confusion"] = pd.Series(confusions, dtype=object)
        columns["errors"] = pd.Series([load_errors(row["shape"], row["errors"]) for row in rows], dtype=object)
        for name in dict.fromkeys(name for row in values for name in row):
            columns[name] = np.array([row.get(name, math.nan) for row in values])
        return pd.DataFrame(columns)

    def confusions(self, run_ids: Iterable[str], stage: str, *, pooled: bool = True) -> dict[str, np.ndarray]:
        """The newest confusion tensor of `stage` ("training", "validation", "test") of each run that has one, (G, T,
        T); with pooled=False that of several targets is (A, G, T, T)."""
        newest = (
            "SELECT seq FROM events WHERE run_id = asked.value AND stage = ? AND confusion IS NOT NULL"
            " ORDER BY seq DESC LIMIT 1"
        )
        rows = self._db.execute(
            "SELECT run_id, shape, confusion FROM json_each(?) AS asked"
            f" CROSS JOIN events ON run_id = asked.value AND seq = ({newest})",
            (to_json(list(run_ids)), stage),
        )
        found = {row[0]: load_confusion(row[1], row[2], pooled) for row in rows}
        return {run_id: c for run_id, c in found.items() if c is not None}

    def values(self, run_ids: Iterable[str], stage: str) -> dict[str, dict[str, float]]:
        """The named numbers of the newest event of `stage` of each run that has one."""
        newest = "SELECT seq FROM events WHERE run_id = asked.value AND stage = ? ORDER BY seq DESC LIMIT 1"
        rows = self._db.execute(
            f'SELECT run_id, "values" FROM json_each(?) AS asked CROSS JOIN events ON run_id = asked.value'
            f" AND seq = ({newest})",
            (to_json(list(run_ids)), stage),
        )
        return {row[0]: load_values(row[1]) for row in rows}

    def info(self, run_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Of each finished run: groups, classes, n_train, n_validation, n_test, seconds, job_seconds, flags."""
        query = f"SELECT id, info FROM runs WHERE id IN {AMONG} AND info IS NOT NULL"
        return {row[0]: orjson.loads(row[1]) for row in self._db.execute(query, (to_json(list(run_ids)),))}

    def progress(self, run_ids: Iterable[str]) -> Progress:
        """How far these runs are together and, from the pace of the running ones, how long the rest takes."""
        query = f'SELECT status, step, "of", started FROM runs WHERE id IN {AMONG}'
        rows = self._db.execute(query, (to_json(list(run_ids)),)).fetchall()
        known = [row["of"] for row in rows if row["of"]]
        guess = sum(known) / len(known) if known else 1.0  # a waiting run is taken to be as long as the others
        counts = {status: sum(row["status"] == status for row in rows) for status in STATUSES}
        total = sum(row["of"] or guess for row in rows)
        left = sum((row["of"] or guess) - row["step"] for row in rows if row["status"] in ACTIVE)
        active = [row for row in rows if row["status"] in ("starting", "running") and row["started"]]
        started = min((row["started"] for row in active), default=None)
        made = sum(row["step"] for row in active)
        pace = made / max(time.time() - started, 1e-9) if started else 0.0
        return Progress(round(total - left), round(total), counts, started, left / pace if pace else None)

    def sweep(self, sweep_id: str) -> Sweep | None:
        """The sweep with this id, or None."""
        row = self._db.execute("SELECT * FROM sweeps WHERE id = ?", (sweep_id,)).fetchone()
        if row is None:
            return None
        ids = self._db.execute(
            "SELECT run_id FROM sweep_runs WHERE sweep_id = ? ORDER BY place", (sweep_id,)
        ).fetchall()
        return Sweep(row["id"], orjson.loads(row["spec"]), [r[0] for r in ids], row["created"])

    def sweeps(self) -> pd.DataFrame:
        """One row per sweep, newest first: id, created, dataset, method, over, runs, done, failed, status."""
        count = ", ".join(f"coalesce(sum(status = '{s}'), 0) AS {s}" for s in STATUSES)
        rows = self._db.execute(
            f"SELECT sweeps.id, spec, sweeps.created, count(*) AS runs, {count} FROM sweeps"
            " JOIN sweep_runs ON sweep_id = sweeps.id LEFT JOIN runs ON runs.id = run_id"
            " GROUP BY sweeps.id ORDER BY sweeps.created DESC, sweeps.rowid DESC"
        )
        return pd.DataFrame([flat_sweep(row) for row in rows], columns=SWEEP_COLUMNS)

    @property
    def tables(self) -> Path:
        """The folder of the tables that users have added (datasets/own.py)."""
        return self.root / "tables"

    @property
    def encoders(self) -> Path:
        """Where the autoencoders lie that runs share, each with the codes of its rows (codes.py), in a folder per data
        set."""
        return self.root / "encoders"

    def encoder(self, key: str) -> Mapping[str, np.ndarray]:
        """What is told of a kept autoencoder (codes.py, `told`); empty if it is not there."""
        return next((exhibits.told(path) for path in self.encoders.glob(f"*/{key}.safetensors")), {})

    def weights_path(self, run_id: str) -> Path:
        """Where the run's trained weights lie (safetensors) once it is done."""
        return self.root / "weights" / f"{run_id}.safetensors"

    def scores_path(self, run_id: str) -> Path:
        """Where the run's answers on the validation and test rows lie (scores.py), if its task is binary."""
        return self.root / "scores" / f"{run_id}.safetensors"

    def scores(self, run_id: str) -> dict[str, Scores]:
        """The run's answers per split ("validation", "test"); empty if it has none."""
        return scores.load(self.scores_path(run_id))

    def numbers_path(self, run_id: str) -> Path:
        """Where what the run predicted for the validation and test rows lies (scores.py), if its task is a
        regression."""
        return self.root / "numbers" / f"{run_id}.safetensors"

    def numbers(self, run_id: str) -> dict[str, Predictions]:
        """What a regression predicted per split ("validation", "test"); empty if there is nothing."""
        return scores.load_numbers(self.numbers_path(run_id))

    def publish_catalogue(self, catalogue: Mapping[str, Any]) -> None:
        """Keeps `catalogue` under its version, the hash of the code that built it."""
        content = orjson.dumps(catalogue)
        with self._transaction() as db:
            row = (catalogue["version"], time.time(), content)
            db.execute("INSERT OR REPLACE INTO catalogues VALUES (?, ?, ?)", row)

    def adopt_catalogue(self) -> None:
        """Publish what `keep_catalogue` has left of the present code, if it has and it can be read."""
        with contextlib.suppress(OSError, orjson.JSONDecodeError):
            self.publish_catalogue(orjson.loads(_kept_catalogue(code_hash()).read_bytes()))

    def catalogue(self) -> dict[str, Any] | None:
        """The catalogue that the present code published, or None if the runner has not come so far."""
        row = self._db.execute("SELECT content FROM catalogues WHERE version = ?", (code_hash(),)).fetchone()
        return None if row is None else orjson.loads(row[0])


def _delete_runs(db: sqlite3.Connection, ids: Sequence[str]) -> None:
    db.execute(f"DELETE FROM events WHERE run_id IN {AMONG}", (to_json(ids),))
    db.execute(f"DELETE FROM runs WHERE id IN {AMONG}", (to_json(ids),))
