"""The runner's and the worker's side of the store: who trains which runs, and what they report.

A run moves queued -> starting -> running -> done | failed | cancelled, always by a compare-and-set UPDATE. Whoever
claims runs gets a job number; a write that names it changes nothing once the run is deleted, given up or started anew.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairness_core import exhibits
from fairness_core.config import Event
from fairness_core.database import AMONG, Database
from fairness_core.processes import kill, process_started
from fairness_core.records import Run, event_row, load_run, to_json

_HELD = "job = coalesce(?, job) AND status IN ('starting', 'running')"
_ADVANCE = f'UPDATE runs SET seq = seq + ?, step = ?, "of" = ? WHERE id = ? AND {_HELD} RETURNING seq'
_BASE = "(SELECT status FROM runs AS base WHERE base.id = runs.needs)"
_READY = f"(needs IS NULL OR {_BASE} = 'done')"
_ORPHANS = (
    "UPDATE runs SET status = 'failed', finished = ?, error = 'The run ' || needs || ', whose trained model it starts"
    f" from, ' || CASE {_BASE} WHEN 'failed' THEN 'failed' WHEN 'cancelled' THEN 'was stopped' ELSE 'was deleted' END"
    " || '; both can be trained again.' WHERE status = 'queued' AND needs IS NOT NULL"
    f" AND coalesce({_BASE}, '') NOT IN ('queued', 'starting', 'running', 'done')"
)
_END = f"UPDATE runs SET status = ?, finished = ?, error = ?, info = coalesce(?, info) WHERE id = ? AND {_HELD}"


class Jobs(Database):
    """Claims, events and endings of runs."""

    def claim(self, owner: int, among: Sequence[str] | None = None) -> list[Run]:
        """The oldest waiting run and all that stack with it, now "starting" under a fresh job number; [] if none.

        `owner` is the process that answers for them (runner or command line); `among` limits the choice to these ids.
        """
        where = f"status = 'queued' AND {_READY}" + ("" if among is None else f" AND id IN {AMONG}")
        asked = () if among is None else (to_json(list(among)),)
        if not self._db.execute(f"SELECT 1 FROM runs WHERE {where} LIMIT 1", asked).fetchone():
            return []  # the runner asks 20 times a second: no write lock for an empty queue
        with self._transaction() as db:
            first = db.execute(f"SELECT stack_key FROM runs WHERE {where} ORDER BY place LIMIT 1", asked).fetchone()
            if first is None:
                return []
            job = uuid.uuid4().hex
            db.execute(
                "UPDATE runs SET status = 'starting', started = ?, job = ?, owner = ?, owner_started = ?"
                f" WHERE {where} AND stack_key = ?",
                (time.time(), job, owner, process_started(owner), *asked, first[0]),
            )
            rows = db.execute("SELECT * FROM runs WHERE job = ? ORDER BY place", (job,)).fetchall()
        return [load_run(row, {}) for row in rows]

    def mark_running(self, run_ids: Sequence[str], worker: int, *, job: str | None = None) -> None:
        """Claimed runs go from starting to running in process `worker`."""
        query = (
            "UPDATE runs SET status = 'running', worker = ?, worker_started = ?"
            f" WHERE id IN {AMONG} AND job = coalesce(?, job) AND status = 'starting'"
        )
        with self._transaction() as db:
            db.execute(query, (worker, process_started(worker), to_json(list(run_ids)), job))

    def describe(self, run_ids: Sequence[str], info: Mapping[str, Any], *, job: str | None = None) -> None:
        """What is known of claimed runs before they are trained: names of groups and classes, sizes of splits."""
        query = f"UPDATE runs SET info = ? WHERE id IN {AMONG} AND {_HELD}"
        with self._transaction() as db:
            db.execute(query, (to_json(info), to_json(list(run_ids)), job))

    def append(self, rows: Sequence[tuple[str, Event]], *, job: str | None = None) -> None:
        """Adds (run id, event) rows in one transaction; rows of runs that are not running (in this job) are dropped."""
        now = time.time()
        by_run: dict[str, list[Event]] = {}
        for run_id, event in rows:
            by_run.setdefault(run_id, []).append(event)
        with self._transaction() as db:
            for run_id, events in by_run.items():
                last = events[-1]
                held = db.execute(_ADVANCE, (len(events), last.step, last.of, run_id, job)).fetchall()
                if held:
                    first = held[0][0] - len(events)
                    made = [event_row(run_id, first + i, now, event) for i, event in enumerate(events)]
                    db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", made)
                    for event in events:  # in here, so that whoever deletes the run comes later and takes them along
                        if event.exhibit is not None:
                            exhibits.save(self.exhibits_path(run_id), event.step, event.exhibit)

    def exhibits_path(self, run_id: str) -> Path:
        """The folder of what the run showed while it learned (exhibits.py)."""
        return self.root / "exhibits" / run_id

    def wanted(self, job: str) -> set[str]:
        """The ids that the job shall still train: its own, unfinished, neither cancelled nor deleted."""
        query = "SELECT id FROM runs WHERE job = ? AND cancel = 0 AND status IN ('starting', 'running')"
        return {row[0] for row in self._db.execute(query, (job,))}

    def finish(
        self,
        run_id: str,
        status: str,
        *,
        job: str | None = None,
        error: str | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> bool:
        """Ends an unfinished run as done, failed or cancelled; False if the job does not hold it any more."""
        row = (status, time.time(), error, None if info is None else to_json(info), run_id, job)
        with self._transaction() as db:
            ended = db.execute(_END, row)
        return ended.rowcount == 1

    def abandon(self, job: str, reason: str) -> None:
        """Ends what the job left unfinished: cancelled where that was asked for, else failed because of `reason`, a
        sentence without its end ("The training process was killed (signal 9)")."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT id, step, \"of\", cancel FROM runs WHERE job = ? AND status IN ('starting', 'running')", (job,)
            ).fetchall()
            for run_id, step, of, cancel in rows:
                where = f"at step {step:,} of {of:,}" if of else "before its first step"
                error = None if cancel else f"{reason} {where}; it can be trained again."
                status = "cancelled" if cancel else "failed"
                db.execute(
                    "UPDATE runs SET status = ?, finished = ?, error = ? WHERE id = ?",
                    (status, time.time(), error, run_id),
                )

    def reap(self) -> None:
        """Ends the runs whose owner (runner or command line) has died, after killing a worker it may have left, and
        those that wait for a trained model which will not come."""
        query = (
            "SELECT DISTINCT job, owner, owner_started, worker, worker_started FROM runs"
            " WHERE status IN ('starting', 'running')"
        )
        for job, owner, owner_started, worker, worker_started in self._db.execute(query).fetchall():
            if not owner_started or process_started(owner) != owner_started:
                if worker:
                    kill(worker, worker_started)
                self.abandon(job, "The runner ended")
        if self._db.execute("SELECT 1 FROM runs WHERE status = 'queued' AND needs IS NOT NULL LIMIT 1").fetchone():
            with self._transaction() as db:
                db.execute(_ORPHANS, (time.time(),))
