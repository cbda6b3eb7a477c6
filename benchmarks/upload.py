"""A table of a million rows and thirty columns, from the file to arrays: seconds and peak memory of one process.

The file (about 200 MB, seeded: running numbers, 19 columns of numbers, dates, categories, sex, yes/no) is written to a
temporary folder first, which is not counted. A fresh process then adds it as an own table, as the page Data does after
an upload, chooses target and group, and loads it as a data set. Memory is the largest resident set of that process,
Python, pandas and pyarrow included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

ROWS, QUICK_ROWS = 1_000_000, 100_000
MARK_SECONDS, MARK_MEGABYTES = 30.0, 2000.0
ROOT = Path(__file__).resolve().parents[1]
MEASURED = """
import json, resource, sys, time
from pathlib import Path
from fairness_core import datasets
from fairness_core.datasets import own

file, tables = Path(sys.argv[1]), Path(sys.argv[2])
seconds = {}
def timed(name, action):
    start = time.perf_counter()
    made = action()
    seconds[name] = time.perf_counter() - start
    return made
table = timed("add", lambda: own.add(tables, file, file.name))
peak_of_add = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
timed("choose", lambda: own.choose(tables, table.name, target="decision", sensitive=["sex"]))
data = timed("load", lambda: datasets.load(table.name, {}, tables=tables))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "peak_of_add": peak_of_add / 1024, "peak": peak / 1024, "rows": table.rows,
                  "columns": len(table.columns), "inputs": data.train.x.shape[1]}))
"""


def write_table(path: Path, rows: int, seed: int = 0) -> None:
    """A CSV of `rows` people with 30 columns of every kind."""
    rng = np.random.default_rng(seed)
    words = np.array(["north", "south", "east", "west", "centre", "abroad", "unknown"])
    columns: dict[str, Any] = {"case": np.arange(rows)}
    columns |= {f"amount {i}": np.round(rng.normal(50, 20, rows), 3) for i in range(14)}
    columns |= {f"count {i}": rng.integers(0, 10 ** (i + 2), rows) for i in range(5)}
    columns |= {f"region {i}": words[rng.integers(0, len(words), rows)] for i in range(7)}
    columns["since"] = np.datetime_as_string(np.datetime64("2000-01-01") + rng.integers(0, 9000, rows))
    columns["sex"] = np.array(["female", "male"])[rng.integers(0, 2, rows)]
    columns["decision"] = np.array(["no", "yes"])[rng.integers(0, 2, rows)]
    pa_csv.write_csv(pa.table(columns), path, pa_csv.WriteOptions(quoting_style="needed"))


def run(quick: bool = False) -> dict[str, Any]:
    """One reading; quick: a tenth of the rows."""
    with tempfile.TemporaryDirectory() as room:
        path = Path(room) / "people.csv"
        write_table(path, QUICK_ROWS if quick else ROWS)
        size = path.stat().st_size
        start = time.perf_counter()
        command = [sys.executable, "-c", MEASURED, str(path), str(Path(room) / "tables")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        whole = time.perf_counter() - start
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "rows": found["rows"],
        "columns": found["columns"],
        "megabytes_of_file": size / 1e6,
        "seconds_to_add": found["seconds"]["add"],
        "seconds_to_choose": found["seconds"]["choose"],
        "seconds_to_load": found["seconds"]["load"],
        "seconds_with_start": whole,
        "peak_megabytes_of_add": found["peak_of_add"],
        "peak_megabytes": found["peak"],
        "mark_seconds": MARK_SECONDS,
        "mark_megabytes": MARK_MEGABYTES,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A large table: seconds and memory from the file to arrays.")
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(run(parser.parse_args().quick)))
