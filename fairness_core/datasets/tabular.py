"""What data sets made of a table of people have in common, pictures with attributes included: target, groups, splits.

A file beside this one says how its rows are read and what its columns are; everything after that happens here, in one
order: read, groups, split, bias dial, encode. Nothing that is encoded is learned outside the training rows.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fairness_core.config import UserError, control
from fairness_core.datasets import dial
from fairness_core.datasets.base import (
    Dataset,
    Pictures,
    Rows,
    Split,
    encode_table,
    group_codes,
    parse_cuts,
    stratified_split,
    take,
)
from fairness_core.datasets.download import Tell
from fairness_core.datasets.files import Files

ROLES = ("train", "validation", "test")
AS_IS = "as is"
FOLDS = 5
CROSS, HALVES = f"{FOLDS}-fold", "2-fold"
SPLITS = ("60:20:20", "40:30:30", CROSS, HALVES)
BINS = 5  # of a regression target
FEWEST_PER_BIN = 30  # training rows of any group in a bin


@dataclass(frozen=True)
class Prepared:
    """All rows of a data set before encoding; parts: row numbers of train, validation and test."""

    frame: pd.DataFrame
    y: np.ndarray
    s: np.ndarray
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    parts: tuple[np.ndarray, ...]
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class TableSource(ABC):
    """A data set made of one table. A subclass declares the class variables, a `sensitive` control, for a numeric
    sensitive column "age" a control `age_cut`, and gives `read` and `labels`."""

    kind: ClassVar[str] = "table"
    task: ClassVar[str] = "binary"
    cautions: ClassVar[tuple[str, ...]] = ()
    training: ClassVar[Mapping[str, float]] = {}
    files: ClassVar[Files]
    name: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    target: ClassVar[str]
    numeric: ClassVar[tuple[str, ...]] = ()
    categorical: ClassVar[tuple[str, ...]] = ()
    called: ClassVar[Mapping[str, str]] = {}  # sensitive column -> what it is called where groups are named
    unit: ClassVar[str] = ""  # what a regression target is counted in: "years"
    close: ClassVar[float | None] = None  # the error up to which a regression's prediction is a hit
    twins: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # sensitive column -> columns that say the same as it

    split: str = control(
        "60:20:20",
        choices=SPLITS,
        help="Shares of training, validation and test rows, stratified; 40:30:30 is the Fair Fairness Benchmark's. "
        "5-fold: one fold for testing, an eighth of the rest for validation. 2-fold: one half for testing, a quarter "
        "of the other for validation, stratified by the target alone, so that the rows are the same for every group.",
        group="advanced",
    )
    fold: int = control(
        0, 0, FOLDS - 1, help="Which fold is the test split, with split 5-fold or 2-fold.", group="advanced"
    )
    split_seed: int = control(0, 0, 2**31 - 1, help="Seed of the random part of the split.", group="advanced")
    sensitive_input: str = control(
        "drop",
        choices=("drop", "keep"),
        help="May the model see the sensitive attribute? Dropping it does not remove its proxies.",
        group="advanced",
    )
    association: float | str = control(
        AS_IS,
        0.0,
        1.0,
        unset=AS_IS,
        help="Strength of the association between target and group in training (Cramer's V), reached by taking rows "
        "away; validation and test stay as they are.",
        group="advanced",
    )

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        return cls.files.digest(data_dir)

    @classmethod
    def missing(cls, data_dir: Path | None) -> str:
        """ "" when all files are here, as always when they are bundled; else one sentence: which to put where."""
        return cls.files.missing(data_dir) if hasattr(cls, "files") else ""

    @classmethod
    def fetch(cls, data_dir: Path | None, tell: Tell | None = None) -> None:
        """Download the files if they are not here; UserError with one sentence when that cannot be done."""
        if hasattr(cls, "files"):
            cls.files.fetch(data_dir, tell)

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        """All rows as published, the target among the columns; UserError when a file is missing or broken. Numbers
        are numeric columns, everything else text, NA where a value is missing. Where the options decide which rows are
        read, `table` is given instead."""
        raise NotImplementedError

    @abstractmethod
    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        """The target of every row, as in Split.y."""

    def table(self, data_dir: Path | None) -> pd.DataFrame:
        """The rows that the chosen options keep; treat the frame as read-only."""
        return self.read(data_dir)

    def load(self, data_dir: Path | None) -> Dataset:
        rows = self.prepare(data_dir)
        x, features = self.encode(rows, data_dir)
        train, validation, test = (Split(take(x, part), rows.y[part], rows.s[part]) for part in rows.parts)
        return Dataset(
            self.name, train, validation, test, rows.classes, rows.groups, features, self.chosen_task,
            self.targets, rows.edges, self.unit, self.tolerance(train.y),
        )  # fmt: skip

    def explore(self, data_dir: Path | None, role: str = "train") -> Rows:
        rows = self.prepare(data_dir)
        part = rows.parts[ROLES.index(role)]
        frame = rows.frame.drop(columns=[c for c in self.target_columns if c in rows.frame]).iloc[part]
        return Rows(
            frame.reset_index(drop=True), rows.y[part], rows.s[part], rows.classes, rows.groups,
            ", ".join(self.target_columns), self.sensitive_columns, self.twin_columns, self.targets,
            self.pictures(rows, part, data_dir), rows.edges,
        )  # fmt: skip

    def prepare(self, data_dir: Path | None) -> Prepared:
        """Target, groups, split and bias dial."""
        frame = self.table(data_dir)
        y = self.labels(frame)
        s, groups = group_codes(frame, self.sensitive_columns, self.group_cuts(), self.called)
        codes = label_codes(y)
        parts = self.divide(frame, codes if self.split == HALVES else codes * len(groups) + s)
        if self.association != AS_IS:
            parts[0] = dial.subsample(codes, s, parts[0], float(self.association), self.split_seed)
        classes = self.chosen_classes
        edges: tuple[float, ...] = ()
        if self.chosen_task == "regression":
            edges = bin_edges(y[parts[0]], s[parts[0]])
            classes = bin_names(edges)
        return Prepared(frame, y, s, classes, groups, tuple(parts), edges)

    def divide(self, frame: pd.DataFrame, strata: np.ndarray) -> list[np.ndarray]:
        """Row numbers of train, validation and test. strata: the (target, group) cell of every row."""
        if self.split not in (CROSS, HALVES):
            return stratified_split(strata, [float(share) for share in self.split.split(":")], self.split_seed)
        number, inner = (FOLDS, (7, 1)) if self.split == CROSS else (2, (3, 1))
        if self.fold >= number:
            raise UserError(f"fold = {self.fold} does not exist with split {self.split}; give 0 to {number - 1}.")
        folds = stratified_split(strata, [1.0] * number, self.split_seed)
        rest = np.sort(np.concatenate([rows for i, rows in enumerate(folds) if i != self.fold]))
        train, validation = (rest[rows] for rows in stratified_split(strata[rest], inner, self.split_seed))
        return [train, validation, folds[self.fold]]

    def encode(self, rows: Prepared, data_dir: Path | None) -> tuple[np.ndarray, tuple[str, ...]]:
        """The inputs of all rows and their names; only training rows are looked at to learn anything."""
        hidden = set(self.target_columns)
        if self.sensitive_input == "drop":
            hidden |= {*self.sensitive_columns, *self.twin_columns}
        numeric, categorical = ([c for c in cs if c not in hidden] for cs in (self.numeric, self.categorical))
        return encode_table(rows.frame, numeric, categorical, rows.parts[0], self.levels(rows.frame))

    def levels(self, frame: pd.DataFrame) -> Mapping[str, Sequence[str]]:
        """The categories of those columns for which a published questionnaire fixes them. frame: all rows."""
        return {}

    def pictures(self, rows: Prepared, part: np.ndarray, data_dir: Path | None) -> Pictures | None:
        """Those of the row numbers `part`, where the rows are pictures."""
        return None

    @property
    def sensitive_columns(self) -> tuple[str, ...]:
        """The columns whose intersection makes the groups."""
        return tuple(str(getattr(self, "sensitive")).split(" x "))  # noqa: B009  (declared by subclasses)

    @property
    def twin_columns(self) -> tuple[str, ...]:
        return tuple(twin for column in self.sensitive_columns for twin in self.twins.get(column, ()))

    @property
    def target_columns(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of several targets at once; empty when there is one."""
        return ()

    @property
    def chosen_task(self) -> str:
        return self.task

    def tolerance(self, y: np.ndarray) -> float:
        """The error up to which a regression's prediction is a hit: `close`, or half a standard deviation of the
        training targets y, in two digits; 0 for classes."""
        if self.chosen_task != "regression":
            return 0.0
        return self.close if self.close is not None else float(f"{y.astype(np.float64).std() / 2:.2g}")

    @property
    def chosen_classes(self) -> tuple[str, ...]:
        return self.classes

    def group_cuts(self) -> Mapping[str, Sequence[float]]:
        """Where the chosen numeric sensitive columns are divided into groups."""
        cut = {c: getattr(self, f"{c}_cut", None) for c in self.sensitive_columns}
        return {c: parse_cuts(f"{c}_cut", text) for c, text in cut.items() if text is not None}


def label_codes(y: np.ndarray) -> np.ndarray:
    """One int64 class per row for strata and the bias dial: classes themselves, the first of several targets, or the
    halves of a regression target."""
    if y.ndim == 2:
        return y[:, 0].astype(np.int64)
    return (y > np.median(y)).astype(np.int64) if y.dtype.kind == "f" else y.astype(np.int64)


def bin_edges(y: np.ndarray, s: np.ndarray) -> tuple[float, ...]:
    """Inner boundaries of up to BINS quantile bins of a regression target, merged until every group has
    FEWEST_PER_BIN training rows in each (or two bins are left)."""
    for bins in range(BINS, 1, -1):
        edges = np.unique(np.quantile(y, np.arange(1, bins) / bins))
        cells = np.digitize(y, edges) * (s.max() + 1) + s
        if np.bincount(cells, minlength=(len(edges) + 1) * (s.max() + 1)).min() >= FEWEST_PER_BIN:
            break
    return tuple(float(edge) for edge in edges)


def bin_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Names of the bins between inner edges."""
    inner = [f"{low:.3g} to < {high:.3g}" for low, high in itertools.pairwise(edges)]
    return (f"< {edges[0]:.3g}", *inner, f">= {edges[-1]:.3g}")
