"""The rows of an own table: which of them a choice can use, as a data set to train on, as decisions to audit."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fairness_core.config import UserError, control
from fairness_core.datasets import columns
from fairness_core.datasets.base import OTHER, Dataset, encode_table
from fairness_core.datasets.columns import Column
from fairness_core.datasets.own_table import MOST_ROWS, Choice, Table, class_names
from fairness_core.datasets.roles import can_be_target
from fairness_core.datasets.sniffing import listed
from fairness_core.datasets.tabular import Prepared, TableSource

FEWEST_ROWS = 20  # with a target and a group
MOST_GROUPS = 100
MOST_LEVELS = 100  # categories of a column that are told apart as inputs
MOST_CELLS = 100_000_000  # inputs of all rows together: 400 MB


@dataclass(frozen=True)
class Usable:
    """Row numbers with target and group, and of these rows the class and the (class, group) cell; groups: names."""

    rows: np.ndarray
    y: np.ndarray
    cells: np.ndarray
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    without_target: int
    without_group: int


@dataclass(frozen=True, kw_only=True)
class OwnTable(TableSource):
    """A data set made of an own table and a complete choice."""

    name: ClassVar[str] = "table"

    own: Table
    choice: Choice
    most_rows: int = control(MOST_ROWS, help="Most rows used.")

    def table(self, data_dir: Path | None) -> pd.DataFrame:
        """The usable rows, sampled down to `most_rows` and to MOST_CELLS; target, groups and inputs."""
        found = usable(self.own, self.choice)
        rows = found.rows[sampled(found.cells, self._cap(), self.split_seed)]
        wanted = [self.own.column(c) for c in (self.choice.target, *self.choice.sensitive)]
        wanted += [c for c in self.inputs if c not in wanted]
        return frame(self.own, wanted, rows)

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        target = self.choice.target
        edges = self.choice.cuts.get(target)
        if edges is None:
            values = frame[target].to_numpy(str)
        else:
            named = np.asarray(class_names(self.own.column(target), self.choice.cuts))
            values = named[np.digitize(frame[target].to_numpy(np.float64), edges)]
        return pd.Index(self.chosen_classes).get_indexer(pd.Index(values)).astype(np.int64)

    def load(self, data_dir: Path | None) -> Dataset:
        return dataclasses.replace(super().load(data_dir), name=self.own.name)

    def encode(self, rows: Prepared, data_dir: Path | None) -> tuple[np.ndarray, tuple[str, ...]]:
        hidden = {self.choice.target, *(self.choice.sensitive if self.sensitive_input == "drop" else ())}
        inputs = [c for c in self.inputs if c.name not in hidden]
        numeric = [c.name for c in inputs if c.is_number]
        categorical = [c.name for c in inputs if not c.is_number]
        levels = {name: common_levels(rows.frame[name].iloc[rows.parts[0]]) for name in categorical}
        return encode_table(rows.frame, numeric, categorical, rows.parts[0], {k: v for k, v in levels.items() if v})

    def group_cuts(self) -> Mapping[str, Sequence[float]]:
        return {name: edges for name, edges in self.choice.cuts.items() if name in self.choice.sensitive}

    @property
    def inputs(self) -> list[Column]:
        """The columns a model may see, the sensitive ones among them if nobody has left them out."""
        out = {self.choice.target, *self.choice.left_out}
        return [c for c in self.own.columns if c.name not in out]

    @property
    def sensitive_columns(self) -> tuple[str, ...]:
        return self.choice.sensitive

    @property
    def target_columns(self) -> tuple[str, ...]:
        return (self.choice.target,)

    @property
    def chosen_task(self) -> str:
        return "binary" if len(self.chosen_classes) == 2 else "multiclass"

    @property
    def chosen_classes(self) -> tuple[str, ...]:
        return classes_of(self.own, self.choice)

    def _cap(self) -> int:
        width = sum(1 if c.is_number else min(c.distinct, MOST_LEVELS) for c in self.inputs)
        return max(min(self.most_rows, MOST_CELLS // max(width, 1)), FEWEST_ROWS)


def classes_of(table: Table, choice: Choice) -> tuple[str, ...]:
    """The classes in order, the favourable one last."""
    known = class_names(table.column(choice.target), choice.cuts)
    return (*(name for name in known if name != choice.positive), choice.positive)


def usable(table: Table, choice: Choice) -> Usable:
    """The rows that have a target and every group value; UserError when they are too few, or all alike."""
    names = (choice.target, *choice.sensitive)
    found = read(table, [table.column(name) for name in names])
    classes = classes_of(table, choice)
    y = _class_codes(table.column(choice.target), found[choice.target], choice, classes)
    s, groups = np.zeros(table.rows, np.int64), [""]
    for name in choice.sensitive:
        own, own_names = _codes(table.column(name), found[name], choice)
        s = np.where((s < 0) | (own < 0), -1, s * len(own_names) + own)
        groups = [f"{a} & {b}" if a else b for a in groups for b in own_names]
        present, packed = np.unique(s[s >= 0], return_inverse=True)
        s[s >= 0] = packed
        groups = [groups[i] for i in present]
    rows = np.flatnonzero((y >= 0) & (s >= 0))
    _refuse_too_little(table, choice, y, s, rows, classes, groups)
    cells = y[rows] * len(groups) + s[rows]
    return Usable(rows, y[rows], cells, classes, tuple(groups), int((y < 0).sum()), int(((s < 0) & (y >= 0)).sum()))


def _refuse_too_little(
    table: Table, choice: Choice, y: np.ndarray, s: np.ndarray, rows: np.ndarray, classes: Sequence[str],
    groups: Sequence[str],
) -> None:  # fmt: skip
    if len(rows) < FEWEST_ROWS:
        raise UserError(
            f"Only {len(rows)} of {table.rows} rows have both {choice.target!r} and {' and '.join(choice.sensitive)!r};"
            f" give a table with at least {FEWEST_ROWS}."
        )
    occurring = np.unique(y[rows])
    if len(occurring) < 2:
        raise UserError(
            f"Column {choice.target!r} holds one class only ({classes[occurring[0]]}); choose another target."
        )
    if len(np.unique(s[rows])) < 2:
        what = " x ".join(choice.sensitive)
        raise UserError(f"Column {what!r} holds one group only ({groups[s[rows[0]]]}); choose another column.")
    if len(groups) > MOST_GROUPS:
        what = " x ".join(choice.sensitive)
        raise UserError(f"{what} makes {len(groups)} groups; choose columns that make at most {MOST_GROUPS}.")


def _class_codes(column: Column, text: Any, choice: Choice, classes: Sequence[str]) -> np.ndarray:
    codes, names = _codes(column, text, choice)
    if column.name in choice.cuts:
        names = class_names(column, choice.cuts)
    places = np.array([classes.index(name) if name in classes else -1 for name in names] + [-1])
    return np.asarray(places[codes])


def _codes(column: Column, text: Any, choice: Choice) -> tuple[np.ndarray, list[str]]:
    """A number per row, -1 where nothing is known, and what the numbers stand for."""
    edges = choice.cuts.get(column.name)
    if edges is not None:
        values = columns.numbers(column, text)
        names = [f"{column.name} {part}" for part in class_names(column, choice.cuts)]
        return np.where(np.isfinite(values), np.digitize(values, edges), -1), names
    coded = columns.labels(column, text)
    names = coded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.append(np.argsort(order), -1)  # the last is that of a missing value
    codes = pc.fill_null(coded.indices, len(names)).to_numpy(zero_copy_only=False)
    return place[codes], [names[i] for i in order]


def sampled(cells: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Places of at most about `most` rows, sorted: the same share of every cell, and one row of each at least."""
    if len(cells) <= most:
        return np.arange(len(cells))
    rng = np.random.default_rng([seed, 70051])
    shuffled = rng.permutation(len(cells))
    order = shuffled[np.argsort(cells[shuffled], kind="stable")]
    sizes = np.bincount(cells)
    rank = np.arange(len(cells)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < np.ceil(sizes * most / len(cells))[cells[order]]])


def common_levels(text: pd.Series[Any]) -> list[str]:
    """The most frequent categories and "(other)" when there are more than MOST_LEVELS; else [] (no need to choose)."""
    counts = text.value_counts()
    if len(counts) <= MOST_LEVELS:
        return []
    return [*sorted(counts.index[: MOST_LEVELS - 1]), OTHER]


# -- reading


def read(table: Table, wanted: Sequence[Column], rows: np.ndarray | None = None) -> dict[str, Any]:
    """Columns as text arrays by name: all rows, or those of the sorted row numbers `rows`, group of rows by group."""
    places = {c.name: i for i, c in enumerate(table.columns)}
    stored = [f"c{places[c.name]}" for c in wanted]
    try:
        file = pq.ParquetFile(table.rows_file)
        found = file.read(columns=stored) if rows is None else pa.concat_tables(_taken(file, stored, rows))
    except (OSError, pa.ArrowInvalid):
        raise UserError(
            f"The rows of {table.title!r} are damaged or gone; delete the table and add it again."
        ) from None
    return {c.name: found.column(place).combine_chunks() for c, place in zip(wanted, stored, strict=True)}


def _taken(file: Any, stored: Sequence[str], rows: np.ndarray) -> list[Any]:
    sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    pieces: list[Any] = []
    for group, (start, end) in enumerate(itertools.pairwise(starts)):
        local = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)] - start
        if len(local) or not pieces:
            pieces.append(file.read_row_group(group, columns=list(stored)).take(pa.array(local)))
    return pieces


def frame(table: Table, wanted: Sequence[Column], rows: np.ndarray) -> pd.DataFrame:
    """The columns as people read them: numbers as float64, everything else as text, NA where a value is missing."""
    found = read(table, wanted, rows)
    return pd.DataFrame(
        {
            c.name: columns.numbers(c, found[c.name])
            if c.is_number
            else columns.labels(c, found[c.name]).cast(pa.string()).to_pandas()
            for c in wanted
        }
    )


# -- decisions


@dataclass(frozen=True)
class Decisions:
    """Ready-made predictions of the rows that have target, groups and prediction; y, predicted, s: int64 (n,); score:
    float64 (n,) or None; left_out: how many rows have not all of them."""

    y: np.ndarray
    predicted: np.ndarray
    s: np.ndarray
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    score: np.ndarray | None
    left_out: int


def decisions(table: Table, choice: Choice) -> Decisions:
    """The column `choice.prediction` against the target; UserError when it holds other values than the target."""
    assert choice.prediction is not None
    found = usable(table, choice)
    column = table.column(choice.prediction)
    text = read(table, [column], found.rows)[column.name]
    predicted = _predicted(table, choice, column, text, found.classes)
    kept = predicted >= 0
    score = None
    if choice.score is not None:
        score = columns.numbers(
            table.column(choice.score), read(table, [table.column(choice.score)], found.rows)[choice.score]
        )
        kept &= np.isfinite(score)
        score = score[kept]
    if kept.sum() < FEWEST_ROWS:
        raise UserError(
            f"Only {kept.sum()} rows have target, group, prediction and score; an audit needs {FEWEST_ROWS}."
        )
    s = found.cells % len(found.groups)
    return Decisions(found.y[kept], predicted[kept], s[kept], found.classes, found.groups, score,
                     table.rows - int(kept.sum()))  # fmt: skip


def _predicted(table: Table, choice: Choice, column: Column, text: Any, classes: Sequence[str]) -> np.ndarray:
    """The class of every prediction, -1 where there is none; spelling and "1.0" for "1" make no difference."""
    target = table.column(choice.target)
    edges = choice.cuts.get(target.name)
    if edges is not None and column.format:
        values = columns.numbers(column, text)
        places = np.array([classes.index(name) for name in class_names(target, choice.cuts)])
        return np.where(np.isfinite(values), places[np.digitize(np.nan_to_num(values), edges)], -1)
    if not can_be_target(column):
        raise UserError(
            f"Column {column.name!r} holds no decisions ({column.reason}); choose one with a class per row."
        )
    meant = {_alike(name): i for i, name in enumerate(classes)}
    meant |= {_alike(spelled): meant[_alike(name)] for spelled, name in target.words.items() if _alike(name) in meant}
    if column.kind == target.kind == "yes/no":
        sides = list(dict.fromkeys(target.words.values()))
        meant |= {_alike(v): classes.index(sides[i]) for i, v in enumerate(dict.fromkeys(column.words.values()))}
    codes, names = _codes(column, text, choice)
    strange = [name for name in names if _alike(name) not in meant]
    if strange:
        raise UserError(
            f"Column {column.name!r} predicts {listed(strange, 5)}, which {target.name!r} never is; choose the column "
            "whose values are those of the target."
        )
    places = np.array([meant[_alike(name)] for name in names] + [-1])
    return np.asarray(places[codes])


def _alike(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.casefold()
