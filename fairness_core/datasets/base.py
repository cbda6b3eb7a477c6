"""What every data set gives: three splits of plain arrays, and a registry the rest of the product reads.

A data set is a frozen dataclass whose fields are controls (which sensitive attribute, which split) with a `load`. To
add one, write a file beside this one with a class under `@register`; lists, forms and the command line follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import pandas as pd

from fairness_core.config import UserError


@dataclass(frozen=True)
class Split:
    """Rows of one role. x: float32 (n, ...), y: int64 (n,), s: int64 (n,), the sensitive attribute's group."""

    x: np.ndarray
    y: np.ndarray
    s: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """Three splits and the names of what their integers stand for; task is "binary" or "multiclass"."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    features: tuple[str, ...]
    task: str = "binary"


class Source(Protocol):
    """A data set that can be loaded; its dataclass fields are its options."""

    name: ClassVar[str]
    title: ClassVar[str]
    task: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    favourable: ClassVar[str]  # what the positive decision means, in words
    origin: ClassVar[str]  # where the rows come from, with a citation
    licence: ClassVar[str]

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        """A checksum of the raw rows."""

    def load(self, data_dir: Path | None) -> Dataset:
        """Read, encode and split; UserError with one sentence when a file is missing or broken."""


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


def encode_table(
    frame: pd.DataFrame, numeric: Sequence[str], levels: Mapping[str, Sequence[str]], train: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numeric columns standardised and categorical columns one-hot: float32 (n, D), and the D feature names.

    Mean and standard deviation come from the rows in `train` alone. `levels` fixes the categories (and so D) for every
    split; a value outside them is an all-zero block.
    """
    numbers = frame[list(numeric)].to_numpy(np.float64)
    mean, sd = numbers[train].mean(0), numbers[train].std(0)
    blocks = [(numbers - mean) / np.where(sd > 0, sd, 1.0)]
    names = list(numeric)
    for column, categories in levels.items():
        codes = pd.Index(categories).get_indexer(pd.Index(frame[column]))  # -1 where unknown
        blocks.append(codes[:, None] == np.arange(len(categories)))
        names += [f"{column}={category}" for category in categories]
    return np.concatenate(blocks, axis=1, dtype=np.float32, casting="unsafe"), tuple(names)


def group_codes(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The intersection of the columns as one group number per row, and the groups' names in sorted order.

    Only intersections that occur get a number. UserError when there is one group only.
    """
    joined = frame[columns[0]].astype(str)
    for column in columns[1:]:
        joined = joined + " & " + frame[column].astype(str)
    names, codes = np.unique(joined.to_numpy(str), return_inverse=True)
    if len(names) < 2:
        raise UserError(f"Column {' x '.join(columns)} holds one group only ({names[0]}); choose another column.")
    return codes.astype(np.int64), tuple(str(n) for n in names)
