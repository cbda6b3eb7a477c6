"""The SQLite file under the store: its tables, its connections, its transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from fairness_core.config import UserError
from fairness_core.processes import take_lock

SCHEMA = 3  # raise it when the tables below change, and say in _CHANGES how an older store gets there

_TABLES = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, config BLOB NOT NULL, stack_key TEXT NOT NULL, status TEXT NOT NULL, place INTEGER NOT NULL,
    created REAL NOT NULL, started REAL, finished REAL, error TEXT, info BLOB, step INTEGER NOT NULL DEFAULT 0,
    "of" INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0, cancel INTEGER NOT NULL DEFAULT 0,
    job TEXT, owner INTEGER, owner_started TEXT, worker INTEGER, worker_started TEXT, needs TEXT);
CREATE INDEX runs_status ON runs (status, place);
CREATE INDEX runs_job ON runs (job);
CREATE INDEX runs_created ON runs (created);
CREATE TABLE events (
    run_id TEXT NOT NULL, seq INTEGER NOT NULL, t REAL NOT NULL, stage TEXT NOT NULL, step INTEGER NOT NULL,
    "of" INTEGER NOT NULL, "values" BLOB NOT NULL, shape TEXT, confusion BLOB, errors BLOB,
    PRIMARY KEY (run_id, seq)) WITHOUT ROWID;
CREATE TABLE sweeps (id TEXT PRIMARY KEY, spec BLOB NOT NULL, created REAL NOT NULL);
CREATE TABLE sweep_runs (
    sweep_id TEXT NOT NULL, place INTEGER NOT NULL, run_id TEXT NOT NULL, PRIMARY KEY (sweep_id, place)) WITHOUT ROWID;
CREATE INDEX sweep_runs_run ON sweep_runs (run_id);
CREATE TABLE catalogues (version TEXT PRIMARY KEY, published REAL NOT NULL, content BLOB NOT NULL);
"""
_CHANGES = {  # from this format to the next
    1: "ALTER TABLE runs ADD COLUMN needs TEXT;",
    2: "ALTER TABLE events ADD COLUMN errors BLOB;",
}
AMONG = "(SELECT value FROM json_each(?))"  # a list of ids as one JSON parameter: no limit on its length


class Database:
    """Opens, or creates, the store in folder `root`; UserError if what lies there is not a store of this version."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()
        self._local = threading.local()
        try:
            (self.root / "weights").mkdir(parents=True, exist_ok=True)
            with contextlib.closing(_connect(self.root / "store.db")) as db:
                self._check_schema(db)
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"The store {self.root / 'store.db'} cannot be read ({error}); name another folder."
            ) from None
        except OSError as error:
            raise UserError(
                f"The store's folder {self.root} cannot be used ({error.strerror}); name another."
            ) from None

    def _check_schema(self, db: sqlite3.Connection) -> None:
        # Looking belongs under the lock, too: the change to WAL fails while anybody reads the new file.
        with take_lock(self.root / "store.lock", wait=True) or contextlib.nullcontext():
            if _format(db) == 0:
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={SCHEMA}; COMMIT;")
            while 0 < (found := _format(db)) < SCHEMA:
                db.executescript(f"BEGIN; {_CHANGES[found]} PRAGMA user_version={found + 1}; COMMIT;")
        if found != SCHEMA:
            raise UserError(
                f"The store {self.root} has format {found} and this program reads format {SCHEMA}; name another folder."
            )

    @property
    def _db(self) -> sqlite3.Connection:
        """This thread's connection; a forked child opens its own, since SQLite's do not survive a fork."""
        held: tuple[int, sqlite3.Connection] | None = getattr(self._local, "held", None)
        if held is None or held[0] != os.getpid():
            held = (os.getpid(), _connect(self.root / "store.db"))
            self._local.held = held
        return held[1]

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        if getattr(self._local, "held", None) is not None:
            self._db.close()
            self._local.held = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        with db:
            db.execute("BEGIN IMMEDIATE")
            yield db


def _format(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous=NORMAL")  # in WAL mode safe against a crash of the program
    return db
