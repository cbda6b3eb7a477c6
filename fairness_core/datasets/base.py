"""What every data set gives: three splits of plain arrays, and a registry the rest of the product reads.

A data set is a frozen dataclass whose fields are controls (which sensitive attribute, which split). To add one, write a
file beside this one with a class under `@register`; lists, forms and the command line follow. Most inherit the work
from TableSource (tabular.py) or ImageSource (images.py) and only say how their files are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import pandas as pd

from fairness_core.config import UserError

MISSING = "(missing)"  # how a value that is not there is called where categories are listed
OTHER = "(other)"  # the rare categories of a column together
MOST_CATEGORIES = 500  # of one column; what is rarer in training counts as OTHER


@dataclass(frozen=True)
class Split:
    """Rows of one role.

    x: float32 (n, D) for tables, float32 in [0, 1] or uint8 in 0..255 (n, channels, height, width) for images.
    y: int64 (n,) classes, int64 (n, A) of 0 and 1 for several targets at once, or float32 (n,) for regression.
    s: int64 (n,), the group. w: float32 (n,), how much each row counts in the task's loss, (n, A) where it counts
    differently in each of several targets, or None: all alike.
    """

    x: np.ndarray
    y: np.ndarray
    s: np.ndarray
    w: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """Three splits and the names of what their integers stand for.

    task: "binary", "multiclass", "multilabel" (A binary targets, named in `targets`) or "regression". A regression has
    classes too: bins of the target between the inner `edges`, so that every count by true and predicted class exists;
    it is counted in `unit`, and a prediction that is off by `tolerance` at most is a hit.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    features: tuple[str, ...]
    task: str = "binary"
    targets: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    unit: str = ""
    tolerance: float = 0.0


def groups_as_target(data: Dataset) -> Dataset:
    """The same rows with the group as the class that is to be told."""
    splits = {name: replace(split, y=split.s) for name, split in _splits(data)}
    task = "binary" if len(data.groups) == 2 else "multiclass"
    return replace(data, **splits, classes=data.groups, task=task, targets=(), edges=())  # type: ignore[arg-type]


def _splits(data: Dataset) -> tuple[tuple[str, Split], ...]:
    return ("train", data.train), ("validation", data.validation), ("test", data.test)


class Pictures(Protocol):
    """Pictures by row number, or by array or slice of row numbers, as uint8 arrays (..., channels, height, width)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True)
class Rows:
    """The rows of one role as people read them, before anything is encoded.

    frame: every attribute as published but the target, one row per person, NA where a value is missing; the columns of
    the sensitive attribute are among them. y, s: as in Split. images: uint8 (n, channels, height, width), perhaps read
    only when indexed, or None.
    twins: columns that say the same as the sensitive attribute and are dropped with it. edges: as in Dataset.
    """

    frame: pd.DataFrame
    y: np.ndarray
    s: np.ndarray
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    target: str
    sensitive: tuple[str, ...]
    twins: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    images: Pictures | None = None
    edges: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.y)


class Source(Protocol):
    """A data set that can be loaded; its dataclass fields are its options."""

    name: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[str]  # "table" or "image"
    task: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]  # of the default target
    favourable: ClassVar[str]  # what the positive decision means, in words
    origin: ClassVar[str]  # where the rows come from, with a citation
    licence: ClassVar[str]
    cautions: ClassVar[tuple[str, ...]]  # what is known against using it for studies of bias, each one sentence
    training: ClassVar[Mapping[str, float]]  # settings of config.Budget that suit its size better than the defaults

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        """A checksum of the raw rows; UserError with one sentence when they are not here."""

    def load(self, data_dir: Path | None) -> Dataset:
        """Read, encode and split; UserError with one sentence when a file is missing or broken."""

    def explore(self, data_dir: Path | None, role: str = "train") -> Rows:
        """The rows of one role ("train", "validation", "test"), not encoded."""


S = TypeVar("S")
SOURCES: dict[str, Any] = {}


def register(source: type[S]) -> type[S]:
    """Class decorator: makes the data set known under its name."""
    SOURCES[source.name] = source  # type: ignore[attr-defined]
    return source


def stratified_split(strata: np.ndarray, fractions: Sequence[float], seed: int) -> list[np.ndarray]:
    """Row numbers of disjoint parts with the given fractions of every stratum; the parts cover all rows.

    strata: int (n,). Each part is sorted, so that its order never depends on the stratum sizes.
    """
    rng = np.random.default_rng([seed, 20240])
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    edges = np.cumsum(fractions) / np.sum(fractions)
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        cuts = np.rint(edges[:-1] * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(rows, cuts), strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]


def take(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`values` of these rows: a view when they follow one another, so that memory-mapped pictures are not copied, else
    a copy."""
    in_a_row = len(rows) > 0 and bool((np.diff(rows) == 1).all())
    return np.asarray(values[rows[0] : rows[-1] + 1] if in_a_row else values[rows])


def encode_table(
    frame: pd.DataFrame,
    numeric: Sequence[str],
    categorical: Sequence[str],
    train: np.ndarray,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numeric columns standardised and categorical columns one-hot: float32 (n, D), and the D feature names.

    Everything is learned from the rows in `train` alone: mean and standard deviation, the median that stands for a
    missing number (a column "... is missing" says so), and the categories of a column unless `levels` fixes them, as a
    published questionnaire does. A category unknown in training is an all-zero block, or "(other)" if that is known.
    """
    blocks, names = [], []
    for column in numeric:
        values = frame[column].to_numpy(np.float64, na_value=np.nan)
        unknown = ~np.isfinite(values)
        known = values[train][~unknown[train]]
        values = np.where(unknown, np.median(known) if len(known) else 0.0, values)
        mean, sd = values[train].mean(), values[train].std()
        blocks.append(((values - mean) / (sd if sd > 0 else 1.0)).astype(np.float32)[:, None])
        names.append(column)
        if unknown[train].any():
            blocks.append(unknown.astype(np.float32)[:, None])
            names.append(f"{column} is missing")
    for column in categorical:
        text = frame[column].astype(object).where(frame[column].notna(), MISSING).astype(str)
        known_levels = list((levels or {}).get(column, ())) or train_levels(text.iloc[train])
        codes = pd.Index(known_levels).get_indexer(pd.Index(text))  # -1 where unknown
        if OTHER in known_levels:
            codes = np.where(codes < 0, known_levels.index(OTHER), codes)
        blocks.append((codes[:, None] == np.arange(len(known_levels))).astype(np.float32))
        names += [f"{column}={level}" for level in known_levels]
    if not blocks:
        raise UserError("No column is left as input; leave fewer columns out.")
    return np.concatenate(blocks, axis=1), tuple(names)


def train_levels(text: pd.Series[str]) -> list[str]:
    """The categories of a column, sorted; past MOST_CATEGORIES the rarest of them are "(other)"."""
    counts = text.value_counts()
    if len(counts) <= MOST_CATEGORIES:
        return sorted(counts.index)
    return [*sorted(counts.index[: MOST_CATEGORIES - 1]), OTHER]


def group_codes(
    frame: pd.DataFrame,
    columns: Sequence[str],
    cuts: Mapping[str, Sequence[float]] | None = None,
    called: Mapping[str, str] | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The intersection of the columns as one group number per row, and the groups' names in order.

    `cuts` divides numeric columns at the given boundaries ("age < 25", "age >= 25"); `called` is what to call them
    where their own names say too little. A missing value is a group of its own. Only intersections that occur get a
    number. UserError when there is one group only.
    """
    codes, names = np.zeros(len(frame), np.int64), [""]
    for column in columns:
        own, own_names = _column_groups(frame[column], (cuts or {}).get(column), (called or {}).get(column, column))
        codes = codes * len(own_names) + own
        names = [f"{a} & {b}" if a else b for a in names for b in own_names]
    occurring, codes = np.unique(codes, return_inverse=True)
    if len(occurring) < 2:
        only = names[occurring[0]] if len(occurring) else "no rows"
        raise UserError(f"Column {' x '.join(columns)} holds one group only ({only}); choose another column.")
    return codes.astype(np.int64), tuple(names[i] for i in occurring)


def _column_groups(column: pd.Series[Any], cuts: Sequence[float] | None, name: str) -> tuple[np.ndarray, list[str]]:
    if cuts is None:
        text = column.astype(object).where(column.notna(), MISSING).astype(str)
        found, codes = np.unique(text.to_numpy(str), return_inverse=True)
        return codes, [str(name) for name in found]
    edges = sorted(cuts)
    values = column.to_numpy(np.float64, na_value=np.nan)
    names = [f"{name} < {edges[0]:g}"]
    names += [f"{name} {low:g} to < {high:g}" for low, high in itertools.pairwise(edges)]
    names += [f"{name} >= {edges[-1]:g}", f"{name} {MISSING}"]
    return np.where(np.isfinite(values), np.digitize(values, edges), len(edges) + 1), names


def parse_cuts(name: str, text: str) -> list[float]:
    """The boundaries in "25" or "25, 60"; UserError otherwise."""
    try:
        edges = [float(part) for part in text.split(",")]
    except ValueError:
        edges = [np.nan]
    if not np.isfinite(edges).all() or sorted(set(edges)) != edges:
        raise UserError(f"{name} = {text} is not a boundary; give a number, or growing numbers such as 25,60.")
    return edges
