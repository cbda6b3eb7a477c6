"""Audit of predictions that lie in a CSV file: who is treated how, whatever made the decisions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairness_core import metrics
from fairness_core.config import UserError

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
    counts = metrics.confusion_tensor(y, predicted, s, len(groups), len(classes))
    report = {
        "config": {"file": path.name, "target": target, "prediction": prediction, "sensitive": list(sensitive)},
        "split": f"{len(frame)} rows of {path.name}",
        "n": len(frame),
        "metrics": metrics.evaluate(counts),
        "intervals": metrics.bootstrap(counts),
        "confusion": counts,
        "groups": groups,
        "classes": classes,
        "seconds": 0.0,
        "flags": metrics.flags(counts, groups, classes),
    }
    if score is not None:
        report |= areas(number_column(frame, score, path), y, s, groups, classes)
    return report


def names(given: Sequence[str]) -> list[str]:
    """Column names from `--sensitive a --sensitive b` or `--sensitive a,b`."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The named columns as text, no cell empty; values that are all numbers are written alike ("1", not "1.0")."""
    if not columns or not path.is_file():
        raise UserError(f"There is no file {str(path)!r}; name a CSV file.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{str(path)!r} is not a readable CSV file ({error}); save it as CSV in UTF-8.") from None
    if "\0" in text:
        raise UserError(f"{str(path)!r} is not a readable CSV file (it holds binary data); save it as CSV in UTF-8.")
    for column in columns:
        if header.count(column) != 1:
            trouble = "has no column" if column not in header else "has several columns"
            raise UserError(f"{str(path)!r} {trouble} {column!r}; its columns are {', '.join(header[:20])}.")
    rows = [row for row in rows if row]
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise UserError(
                f"Row {number} of {str(path)!r} has {len(row)} of {len(header)} values; the file seems to be cut off."
            )
    frame = pd.DataFrame(rows, columns=header)[list(dict.fromkeys(columns))]
    if frame.empty:
        raise UserError(f"{str(path)!r} has no rows; give a file with a header and at least one row.")
    for column in frame.columns.astype(str):
        frame[column] = frame[column].str.strip()
        if (frame[column] == "").any():
            first = int((frame[column] == "").to_numpy().argmax()) + 1
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
