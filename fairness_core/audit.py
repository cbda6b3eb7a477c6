"""Audit of ready-made predictions, in a file or as arrays: who is treated how, whatever made the decisions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fairness_core import metrics
from fairness_core.config import UserError
from fairness_core.datasets import reading

MOST_CLASSES = 50
MOST_GROUPS = 500


def audit(
    path: Path,
    target: str,
    prediction: str,
    sensitive: Sequence[str],
    score: str | None = None,
    positive: str | None = None,
) -> dict[str, Any]:
    """Confusion tensor, metrics and 95 % sampling intervals of the decisions in column `prediction`.

    Several sensitive columns are crossed. Classes are the values of target and prediction in order, the last (or
    `positive`) being the favourable one. With `score` also the area under the ROC curve, overall and per group (two
    classes only). Raises UserError for a file or column that cannot be used.
    """
    frame = read(path, [target, prediction, *sensitive, *([score] if score else [])])
    classes = class_names(frame, target, prediction, positive)
    group = frame[list(sensitive)].agg(" x ".join, axis=1) if len(sensitive) > 1 else frame[sensitive[0]]
    groups = sorted(group.unique())
    if len(groups) > MOST_GROUPS:
        raise UserError(f"{' x '.join(sensitive)} makes {len(groups)} groups; name columns with at most {MOST_GROUPS}.")
    y, predicted = (pd.Categorical(frame[column], classes).codes for column in (target, prediction))
    s = pd.Categorical(group, groups).codes
    config = {"file": path.name, "target": target, "prediction": prediction, "sensitive": list(sensitive)}
    scores = None if score is None else number_column(frame, score, path)
    return {
        "config": config,
        "split": f"{len(frame)} rows of {path.name}",
        **of_decisions(y, predicted, s, classes, groups, scores),
    }


def of_decisions(
    y: np.ndarray,
    predicted: np.ndarray,
    s: np.ndarray,
    classes: Sequence[str],
    groups: Sequence[str],
    score: np.ndarray | None = None,
) -> dict[str, Any]:
    """The audit of decisions that are numbers already. y, predicted: (n,) classes; s: (n,) groups; score: (n,) or None.

    n, metrics, intervals, confusion (int64 (G, T, T)), groups, classes, flags; with scores also auc and group_auc.
    """
    counts = metrics.confusion_tensor(y, predicted, s, len(groups), len(classes))
    report = {
        "n": len(y),
        "metrics": metrics.evaluate(counts),
        "intervals": metrics.bootstrap(counts),
        "confusion": counts,
        "groups": list(groups),
        "classes": list(classes),
        "seconds": 0.0,
        "flags": metrics.flags(counts, groups, classes),
    }
    return report if score is None else report | areas(score, y, s, groups, classes)


def names(given: Sequence[str]) -> list[str]:
    """Column names from `--sensitive a --sensitive b` or `--sensitive a,b`."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The named columns as text, no cell empty: an audit of some of the rows would be one of other decisions."""
    if not columns or not path.is_file():
        raise UserError(f"There is no file {str(path)!r}; name a CSV or Parquet file.")
    with tempfile.TemporaryDirectory() as room:
        rows = Path(room) / "rows.parquet"
        found = reading.read(path, rows, str(path))
        for column in columns:
            if column not in found.names or found.header.count(column) > 1:
                trouble = "has several columns" if column in found.header else "has no column"
                raise UserError(f"{str(path)!r} {trouble} {column!r}; its columns are {', '.join(found.names[:20])}.")
        if found.wrong:
            raise UserError(
                f"Row {found.wrong[0]} of {str(path)!r} has not as many values as the header; the file seems to be cut "
                "off."
            )
        stored = {column: f"c{found.names.index(column)}" for column in columns}
        frame = pq.read_table(rows, columns=list(stored.values())).to_pandas()
    frame = pd.DataFrame({column: frame[place] for column, place in stored.items()})
    for column in stored:
        if frame[column].isna().any():
            first = int(frame[column].isna().to_numpy().argmax()) + 1
            raise UserError(f"Row {first} of {str(path)!r} has no value in {column!r}; fill it or leave the row out.")
    return frame


def class_names(frame: pd.DataFrame, target: str, prediction: str, positive: str | None) -> list[str]:
    """The classes in order, the favourable one last."""
    for column in dict.fromkeys((target, prediction)):
        frame[column] = plain(frame[column])
    found = set(frame[target]) | set(frame[prediction])
    if len(found) > MOST_CLASSES:
        both = f"{target!r} and {prediction!r}"
        raise UserError(f"{both} have {len(found)} different values; name columns that hold classes, not numbers.")
    if len(found) < 2:
        raise UserError(
            f"{target!r} and {prediction!r} hold only {found.pop()!r}; an audit needs two classes at least."
        )
    if positive is not None and positive not in found:
        raise UserError(f"--positive {positive!r} does not occur; choose one of {', '.join(sorted(found))}.")
    as_number = all(isinstance(number(name), float) for name in found)
    ordered = sorted(found, key=lambda name: float(name) if as_number else 0.0) if as_number else sorted(found)
    return [name for name in ordered if name != positive] + ([positive] if positive is not None else [])


def number(text: str) -> float | None:
    """`text` as a finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def plain(column: pd.Series[str]) -> pd.Series[str]:
    """Numbers written alike, so that 1 and 1.0 are the same class; text as it is."""
    numbers = {text: number(text) for text in column.unique()}
    return column.map({text: text if value is None else f"{value:g}" for text, value in numbers.items()})


def number_column(frame: pd.DataFrame, name: str, path: Path) -> np.ndarray:
    values = [number(text) for text in frame[name]]
    if None in values:
        row = values.index(None)
        raise UserError(f"Row {row + 1} of {str(path)!r} has {frame[name].iloc[row]!r} in {name!r}; give numbers only.")
    return np.array(values, dtype=np.float64)


def areas(
    score: np.ndarray, y: np.ndarray, s: np.ndarray, groups: Sequence[str], classes: Sequence[str]
) -> dict[str, Any]:
    """Area under the ROC curve: overall ("auc") and per group ("group_auc"); NaN where a class is missing."""
    if len(classes) != 2:
        raise UserError(f"--score needs two classes and there are {len(classes)}; leave it out.")
    by_group = {name: area(score[s == k], y[s == k] == 1) for k, name in enumerate(groups)}
    return {"auc": area(score, y == 1), "group_auc": by_group}


def area(score: np.ndarray, positive: np.ndarray) -> float:
    """P(score of a positive > score of a negative), ties counting half: the Mann-Whitney statistic from ranks."""
    n_positive = int(positive.sum())
    pairs = n_positive * (len(score) - n_positive)
    if not pairs:
        return float("nan")
    ranks = pd.Series(score).rank().to_numpy()
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / pairs)
