"""A table of the user's own as it is kept: what was read, what its columns are, and what she chose to be decided.

It lives in a folder of its own, <tables>/<name>/: rows.parquet (see reading.py) and table.json, this module's values.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from fairness_core.config import Control, UserError, content_hash, controls_of
from fairness_core.datasets.base import parse_cuts
from fairness_core.datasets.columns import MOST_CLASSES, Column
from fairness_core.datasets.roles import (
    can_be_group,
    can_be_target,
    likely_positive,
    likely_sensitive,
    likely_target,
    ordered,
)
from fairness_core.datasets.sniffing import listed
from fairness_core.datasets.tabular import TableSource

FORMAT = 1  # raise it when the same bytes come to be understood differently: results then get new ids
NOTHING = "(nothing)"
MOST_ROWS = 200_000
AND, PLUS = " x ", " + "
ROWS_FILE, TABLE_FILE = "rows.parquet", "table.json"


@dataclass(frozen=True)
class Choice:
    """What is decided (`target`, its favourable class), about whom, and what stays out of the model.

    cuts: boundaries of numeric columns that serve as group or target. prediction, score: columns with ready-made
    decisions and scores, which are audited and never inputs.
    """

    target: str = ""
    positive: str = ""
    sensitive: tuple[str, ...] = ()
    cuts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    prediction: str | None = None
    score: str | None = None

    def __bool__(self) -> bool:
        return bool(self.target and self.sensitive)


@dataclass(frozen=True)
class Table:
    """One own table. title: the file's name; digest: SHA-256 of its bytes; notes: what was not plain about it;
    warnings: leaks, proxies and small groups found for `choice`; used: rows that `choice` can use."""

    folder: Path
    title: str
    digest: str
    rows: int
    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    created: float
    choice: Choice = Choice()
    warnings: tuple[str, ...] = ()
    used: int = 0

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def rows_file(self) -> Path:
        return self.folder / ROWS_FILE

    @property
    def data_hash(self) -> str:
        return content_hash({"bytes": self.digest, "format": FORMAT})

    def column(self, name: str) -> Column:
        """The column of this name; UserError when there is none."""
        found = next((c for c in self.columns if c.name == name), None)
        if found is None:
            known = listed([c.name for c in self.columns], 20)
            raise UserError(f"{self.title!r} has no column {name!r}; its columns are {known}.")
        return found

    def save(self) -> None:
        """Write table.json so that a reader sees the old one or the new one."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "folder"}
        partial = self.folder / f".{TABLE_FILE}"
        partial.write_bytes(orjson.dumps(data))
        partial.replace(self.folder / TABLE_FILE)


def from_json(folder: Path, data: Mapping[str, Any]) -> Table:
    """The inverse of Table.save; KeyError or TypeError when it is not one."""
    columns = tuple(Column(**{**c, "levels": tuple((v, n) for v, n in c["levels"])}) for c in data["columns"])
    given = data["choice"]
    cuts = {name: tuple(edges) for name, edges in given["cuts"].items()}
    choice = Choice(
        **{**given, "cuts": cuts, "sensitive": tuple(given["sensitive"]), "left_out": tuple(given["left_out"])}
    )
    plain = {name: data[name] for name in ("title", "digest", "rows", "created", "used")}
    return Table(folder, columns=columns, choice=choice, notes=tuple(data["notes"]), warnings=tuple(data["warnings"]),
                 **plain)  # fmt: skip


# -- choices


def proposal(table: Table) -> Choice:
    """What is filled in before the user has chosen: likely target, sensitive column, and what is left out."""
    target = likely_target(table.columns) or ""
    groups = [name for name in likely_sensitive(table.columns) if name != target]
    positive = likely_positive(table.column(target)) if target else ""
    return Choice(target, positive, tuple(groups[:1]), {}, tuple(c.name for c in table.columns if not c.is_input))


def complete(table: Table, choice: Choice) -> Choice:
    """The choice with default cuts and positive class filled in; UserError with one sentence for what cannot be."""
    if not choice.target:
        raise UserError(f"{table.title!r} has no target yet; choose the column that is to be predicted.")
    if not choice.sensitive:
        raise UserError(f"{table.title!r} has no sensitive column yet; choose whose results are to be compared.")
    if len(choice.sensitive) > 3 or len(set(choice.sensitive)) < len(choice.sensitive):
        raise UserError(f"Sensitive columns {listed(choice.sensitive)} are too many; choose one to three, each once.")
    if choice.target in choice.sensitive:
        raise UserError(f"Column {choice.target!r} is target and sensitive column at once; choose another for one.")
    for name in choice.left_out:
        table.column(name)
    choice = dataclasses.replace(choice, cuts=_cuts(table, choice))
    classes = class_names(table.column(choice.target), choice.cuts)
    positive = choice.positive or default_positive(table.column(choice.target), choice.cuts)
    if positive not in classes:
        raise UserError(f"{positive!r} is no value of {choice.target!r}; choose one of {listed(classes, 12)}.")
    ready_made = [name for name in (choice.prediction, choice.score) if name is not None]
    for name in ready_made:
        if table.column(name).name in (choice.target, *choice.sensitive):
            raise UserError(f"Column {name!r} is prediction or score and has another part too; choose another.")
    if choice.score is not None and table.column(choice.score).format == "":
        raise UserError(f"Column {choice.score!r} holds no numbers; choose a column of scores.")
    if choice.score is not None and (choice.prediction is None or len(classes) != 2):
        raise UserError(f"Score {choice.score!r} needs a prediction and a target with two classes; leave it out.")
    # A prediction is no input, and what is an input must follow from what a run's options say.
    left_out = tuple(dict.fromkeys((*choice.left_out, *ready_made)))
    return dataclasses.replace(choice, positive=positive, left_out=left_out)


def _cuts(table: Table, choice: Choice) -> dict[str, tuple[float, ...]]:
    """The boundaries of every numeric column that makes groups or classes."""
    found: dict[str, tuple[float, ...]] = {}
    target = table.column(choice.target)
    if not can_be_target(target):
        if target.kind != "number":
            why = "has more than 50 different values" if target.kind == "category" else f"is {target.kind}"
            raise UserError(
                f"Column {target.name!r} cannot be the target ({why}, {target.reason}); choose one with 2 to "
                f"{MOST_CLASSES} classes."
            )
        if target.name not in choice.cuts:
            raise UserError(
                f"Column {target.name!r} is a number with {target.distinct:,} different values; give a boundary that "
                f"makes classes of it, such as {target.name}={target.middle:g}."
            )
    for name in choice.sensitive:
        column = table.column(name)
        if not can_be_group(column):
            why = "has too many different values" if column.kind == "category" else f"is {column.kind}"
            raise UserError(f"Column {name!r} cannot make groups ({why}, {column.reason}); choose another.")
    for name in (choice.target, *choice.sensitive):
        column = table.column(name)
        if column.kind == "number":
            assert column.middle is not None  # a number has values
            found[name] = tuple(sorted(set(choice.cuts.get(name) or (column.middle,))))
    return found


def class_names(column: Column, cuts: Mapping[str, Sequence[float]]) -> list[str]:
    """The classes of a target in their natural order."""
    edges = cuts.get(column.name)
    if edges is None:
        return ordered(column.values)
    inner = [f"{a:g} to < {b:g}" for a, b in itertools.pairwise(edges)]
    return [f"< {edges[0]:g}", *inner, f">= {edges[-1]:g}"]


def default_positive(column: Column, cuts: Mapping[str, Sequence[float]]) -> str:
    """The class that is favourable unless the user says otherwise."""
    return class_names(column, cuts)[-1] if column.name in cuts else likely_positive(column)


# -- controls


def controls(table: Table) -> list[Control]:
    """The options of this table as a data set; its choice gives the defaults."""
    choice = table.choice or proposal(table)
    columns = table.columns
    targets = tuple(c.name for c in columns if can_be_target(c) or c.kind == "number")
    possible = [c.name for c in columns if can_be_group(c)]
    groups = (*choice.sensitive, *(name for name in possible if name not in choice.sensitive))  # the usual ones first
    others = (NOTHING, *(c.name for c in columns))
    left_out = PLUS.join(choice.left_out) or NOTHING
    base = controls_of(TableSource)
    return [
        Control("target", "choice", choice.target, choices=targets, help="The column that is predicted."),
        Control("positive", "text", choice.positive, help="The favourable class of the target; it is counted as 1."),
        Control(
            "sensitive", "several", AND.join(choice.sensitive), choices=groups, joiner=AND, most=3,
            help="The sensitive attribute: whose results are compared; several make intersections.",
        ),
        Control(
            "cuts", "text", cut_text(choice.cuts), group="advanced",
            help="Where numeric columns are cut into groups or classes: age=25,60;income=3000.",
        ),
        Control(
            "left_out", "several", left_out, choices=others, joiner=PLUS, most=len(others), group="advanced",
            help="Columns that the model never sees.",
        ),
        *base,
        Control(
            "most_rows", "int", MOST_ROWS, 100, 10_000_000, group="advanced",
            help="A larger table is sampled down to so many rows, with the same share of every class and group.",
        ),
    ]  # fmt: skip


def choice_from(table: Table, options: Mapping[str, Any]) -> Choice:
    """The choice that the options of a run describe, checked."""
    known = {c.name: c for c in controls(table)}
    left_out = known["left_out"].parts(options["left_out"])
    return complete(
        table,
        Choice(
            str(options["target"]),
            str(options["positive"]),
            tuple(known["sensitive"].parts(options["sensitive"])),
            parse_cut_text(table, str(options["cuts"])),
            tuple(name for name in left_out if name != NOTHING),
            table.choice.prediction,
            table.choice.score,
        ),
    )


def cut_text(cuts: Mapping[str, Sequence[float]]) -> str:
    """{"age": (25, 60)} -> "age=25,60" """
    return ";".join(f"{name}={','.join(f'{edge:.12g}' for edge in edges)}" for name, edges in cuts.items())


def parse_cut_text(table: Table, text: str) -> dict[str, tuple[float, ...]]:
    """The inverse of `cut_text`; names may hold the signs between, so the longest known one that fits is taken."""
    found: dict[str, tuple[float, ...]] = {}
    names = sorted((c.name for c in table.columns if c.kind == "number"), key=len, reverse=True)
    rest = text.strip()
    while rest:
        name = next((n for n in names if rest.startswith(f"{n}=")), None)
        if name is None:
            raise UserError(f"cuts = {text} names no numeric column; write {names[0] if names else 'age'}=25,60.")
        edges, _, rest = rest.removeprefix(f"{name}=").partition(";")
        found[name] = tuple(parse_cuts(f"The cut of {name}", edges))
        rest = rest.strip()
    return found
