"""What the store hands out (Run, Sweep, Progress), and how it and the events are written into rows and read back."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson

from fairness_core.config import Event, RunConfig

STATUSES = ("queued", "starting", "running", "done", "failed", "cancelled")
ACTIVE = ("queued", "starting", "running")
RUN_COLUMNS = [
    *("id", "dataset", "method", "model", "sensitive", "lam", "options", "seed", "status", "step", "of", "created"),
    *("started", "finished", "seconds", "error", "position", "flags"),
]
SWEEP_COLUMNS = ["id", "created", "dataset", "method", "over", "runs", "done", "failed", "status"]


@dataclass(frozen=True)
class Run:
    """One run as it stands. `position` is its place in the queue of jobs (1 = next), 0 when it does not wait;
    `info` holds groups, classes, n_train, n_validation, n_test, seconds, job_seconds and flags once it is done."""

    id: str
    config: RunConfig
    status: str
    created: float
    started: float | None
    finished: float | None
    step: int
    of: int
    error: str | None
    position: int
    info: dict[str, Any]
    job: str | None = None
    worker: int | None = None


@dataclass(frozen=True)
class Sweep:
    """A sweep: how it was made ("over", "values", "seeds", "base") and its runs in that order."""

    id: str
    spec: dict[str, Any]
    run_ids: list[str]
    created: float


class Progress(NamedTuple):
    """How far some runs are together. `seconds_left` is None until the running ones have shown their pace."""

    done_steps: int
    all_steps: int
    counts: dict[str, int]
    started: float | None
    seconds_left: float | None


def to_json(data: object) -> str:
    text: bytes = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)
    return text.decode()


def event_row(run_id: str, seq: int, now: float, event: Event) -> tuple[object, ...]:
    # JSON has no NaN or infinity; as text they survive.
    values = {k: float(v) if math.isfinite(v) else repr(float(v)) for k, v in event.values.items()}
    shape = blob = None
    if event.confusion is not None:
        shape = ",".join(map(str, event.confusion.shape))
        blob = np.ascontiguousarray(event.confusion, dtype="<i8").tobytes()
    errors = None if event.errors is None else np.ascontiguousarray(event.errors, dtype="<f8").tobytes()
    return (run_id, seq, now, event.stage, event.step, event.of, to_json(values), shape, blob, errors)


def load_values(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in orjson.loads(text).items()}


def load_confusion(shape: str | None, blob: bytes | None, pooled: bool = True) -> np.ndarray | None:
    """The stored tensor; `pooled` adds several targets up, (A, G, T, T) -> (G, T, T)."""
    if shape is None or blob is None:
        return None
    counts = np.frombuffer(blob, dtype="<i8").reshape([int(n) for n in shape.split(",")])
    return counts.sum(0) if pooled and counts.ndim == 4 else counts


def load_errors(shape: str | None, blob: bytes | None) -> np.ndarray | None:
    """regression.sums as stored, (groups, bins, 6); `shape` is that of the tensor beside them."""
    if shape is None or blob is None:
        return None
    n_groups, n_bins, _ = map(int, shape.split(","))
    return np.frombuffer(blob, dtype="<f8").reshape(n_groups, n_bins, -1)


def load_run(row: sqlite3.Row, positions: Mapping[str, int]) -> Run:
    return Run(
        id=row["id"],
        config=RunConfig.from_json(orjson.loads(row["config"])),
        **{name: row[name] for name in ("status", "created", "started", "finished", "step", "of", "error")},
        position=positions.get(row["stack_key"], 0) if row["status"] == "queued" else 0,
        info=orjson.loads(row["info"]) if row["info"] else {},
        job=row["job"],
        worker=row["worker"],
    )


def flat_run(run: Run, over: str | Mapping[str, str]) -> dict[str, Any]:
    config = run.config
    option = over.get(config.method, "") if isinstance(over, Mapping) else over
    return {
        **{name: getattr(run, name) for name in ("id", "status", "step", "of", "created", "started", "finished")},
        **{name: getattr(config, name) for name in ("dataset", "method", "model", "seed")},
        "sensitive": config.dataset_options.get("sensitive"),
        "lam": config.method_options.get(option, math.nan),
        "options": config.method_options,
        "seconds": run.info.get("seconds", math.nan),
        "error": run.error,
        "position": run.position,
        "flags": run.info.get("flags", []),
    }


def flat_sweep(row: sqlite3.Row) -> dict[str, Any]:
    spec = orjson.loads(row["spec"])
    if row["starting"] or row["running"]:
        status = "running"
    elif row["queued"]:
        status = "queued"
    elif row["done"] == row["runs"]:
        status = "done"
    else:
        status = "failed" if row["failed"] else "cancelled"
    base = spec.get("base", {})
    return {
        **{name: row[name] for name in ("id", "created", "runs", "done", "failed")},
        "dataset": base.get("dataset"),
        "method": base.get("method"),
        "over": spec.get("over"),
        "status": status,
    }
