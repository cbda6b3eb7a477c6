"""Who is in a data set, what is missing for whom, and what stands against drawing conclusions about groups from it.

The verdict says whether a study of bias can learn anything from these rows. It never says whether the rows, or what
they record, are just: that is not in the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from fairness_core.intervals import noise_floor, wilson

TINY = 30  # rows of a (group, class) cell; below, what is measured there is mostly chance
FEW_POSITIVES = 10  # test rows of a group with the favourable class; below, its true positive rate means nothing
FEW_ROWS = 2_000
UNEVEN = 10.0  # largest group or class against the smallest
MISSING_GAP = 0.05  # between the groups' shares of missing values in one column
LEAK, TWIN = 0.98, 0.95  # association of one attribute with the target, with the group
NAMED = 0.9  # share of a group that the other attributes name rightly
FLOOR = 0.03  # gap that chance alone makes on test
CLEAR = 2.46  # times the floor: a gap that chance alone passes once in twenty (1.96 / E|Z|, two groups)
MOST_NAMED = 3  # cells or columns a sentence lists

LEVELS = ("good", "caution", "unsuitable")
TITLES = {
    "good": "Nothing found that stands against a study of bias",
    "caution": "Use with care",
    "unsuitable": "Not fit for a study of bias as it is",
}
SPLITS = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Reason:
    """One finding: level is one of LEVELS ("good" is only worth knowing), text one or two sentences with figures."""

    level: str
    about: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """What the findings come to: the worst of their levels."""

    reasons: tuple[Reason, ...]

    @property
    def level(self) -> str:
        return max((reason.level for reason in self.reasons), key=LEVELS.index, default="good")

    @property
    def title(self) -> str:
        return TITLES[self.level]


# ------------------------------------------------------------------------------------------------- who is in it


def cell_counts(s: np.ndarray, y: np.ndarray, n_groups: int, n_classes: int) -> np.ndarray:
    """Rows per (group, class): int64 (n_groups, n_classes). s, y: int (n,)."""
    return np.bincount(s * n_classes + y, minlength=n_groups * n_classes).reshape(n_groups, n_classes)


def cells(counts: Mapping[str, np.ndarray], groups: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
    """One row per role, group and class, in this order: split, group, label, rows, of (the group's rows), share, low,
    high (Wilson). counts: {role: (G, T)}."""
    tables = []
    for role, table in counts.items():
        of = np.broadcast_to(table.sum(1, keepdims=True), table.shape)
        low, high = wilson(table, of)
        share = table / np.where(of > 0, of, np.nan)
        names = {"split": SPLITS.get(role, role), "group": np.repeat(list(groups), len(classes))}
        numbers = {"rows": table, "of": of, "share": share, "low": low, "high": high}
        flat = {name: values.ravel() for name, values in numbers.items()}
        tables.append(pd.DataFrame({**names, "label": list(classes) * len(groups), **flat}))
    return pd.concat(tables, ignore_index=True)


def missingness(frame: pd.DataFrame, s: np.ndarray, groups: Sequence[str]) -> pd.DataFrame:
    """Missing values per column and group, columns with the widest gap first: column, group, missing, of, share, low,
    high (Wilson), gap (largest minus smallest share of the groups that have rows). Complete columns are left out."""
    of = np.bincount(s, minlength=len(groups))
    tables = []
    for name in frame.columns:
        absent = frame[name].isna().to_numpy()
        if not absent.any():
            continue
        missing = np.bincount(s[absent], minlength=len(groups))
        share = missing / np.where(of > 0, of, np.nan)
        low, high = wilson(missing, of)
        gap = float(np.nanmax(share) - np.nanmin(share))
        numbers = {"missing": missing, "of": of, "share": share, "low": low, "high": high, "gap": gap}
        tables.append(pd.DataFrame({"column": str(name), "group": list(groups), **numbers}))
    if not tables:
        return pd.DataFrame(columns=["column", "group", "missing", "of", "share", "low", "high", "gap"])
    tables.sort(key=lambda table: -table["gap"].iloc[0])
    return pd.concat(tables, ignore_index=True)


def times_as_often(k1: int, n1: int, k2: int, n2: int, level: float = 0.95) -> tuple[float, float, float]:
    """(k1 / n1) / (k2 / n2) with its interval (Katz et al. 1978); NaN where a count is 0."""
    if not k1 or not k2:
        return float("nan"), float("nan"), float("nan")
    ratio = (k1 / n1) / (k2 / n2)
    spread = float(np.exp(ndtri((1 + level) / 2) * np.sqrt(1 / k1 - 1 / n1 + 1 / k2 - 1 / n2)))
    return ratio, ratio / spread, ratio * spread


# ------------------------------------------------------------------------------------------------------ verdict


def verdict(
    counts: Mapping[str, np.ndarray],
    groups: Sequence[str],
    classes: Sequence[str],
    *,
    attributes: pd.DataFrame,
    missing: pd.DataFrame,
    named: tuple[float, float] | None = None,
    cautions: Sequence[str] = (),
) -> Verdict:
    """All findings, the gravest first.

    counts: {"train", "validation", "test": int (G, T)}. attributes: as from associations.attributes. missing: as from
    `missingness`. named: how well the other attributes name the group, and chance. cautions: what the source says.
    """
    found = [Reason("caution", "known", text) for text in cautions]
    found += _empty_cells(counts, groups, classes)
    found += _tiny_cells(counts, groups, classes)
    if len(classes) == 2:
        found += _few_positives(counts["test"], groups, classes[-1])
    found += _noise(counts["test"])
    found += _few_rows(counts)
    found += _uneven(counts["train"], groups, classes)
    found += _missing_gap(missing)
    found += _tell_tale(attributes, named)
    return Verdict(tuple(sorted(found, key=lambda reason: -LEVELS.index(reason.level))))


def _names(pairs: np.ndarray, table: np.ndarray, groups: Sequence[str], classes: Sequence[str]) -> str:
    """ "Other & >50K (19), ..." for (group, class) index pairs, the smallest first."""
    ordered = sorted(map(tuple, pairs), key=lambda pair: table[pair])
    shown = [f"{groups[g]} with {classes[t]} ({table[g, t]:,})" for g, t in ordered[:MOST_NAMED]]
    return ", ".join(shown) + (f" and {len(ordered) - MOST_NAMED} more" if len(ordered) > MOST_NAMED else "")


def _empty_cells(counts: Mapping[str, np.ndarray], groups: Sequence[str], classes: Sequence[str]) -> list[Reason]:
    found = []
    train, test = counts["train"], counts["test"]
    occurring = train[train.sum(1) > 0][:, train.sum(0) > 0]
    if min(occurring.shape) > 1 and ((occurring > 0).sum(0) == 1).all():
        text = (
            "In training every class occurs in one group only, so group and label cannot be told apart there. Methods "
            "that resample or reweight have nothing to work with; those that make new samples do."
        )
        found.append(Reason("caution", "deterministic", text))
    elif len(empty := np.argwhere(train == 0)):
        text = f"Training has no row of {_names(empty, train, groups, classes)}: resampling cannot make any."
        found.append(Reason("caution", "empty in training", text))
    if len(empty := np.argwhere(test == 0)):
        text = f"Test has no row of {_names(empty, test, groups, classes)}: rates of these cells do not exist."
        found.append(Reason("unsuitable", "empty in test", text))
    return found


def _tiny_cells(counts: Mapping[str, np.ndarray], groups: Sequence[str], classes: Sequence[str]) -> list[Reason]:
    found = []
    for role in ("train", "test"):
        table = counts[role]
        if len(tiny := np.argwhere((table > 0) & (table < TINY))):
            meaning = "what is measured there is mostly chance" if role == "test" else "little can be learned there"
            text = f"Fewer than {TINY} {SPLITS[role]} rows: {_names(tiny, table, groups, classes)}; {meaning}."
            found.append(Reason("caution", f"tiny in {SPLITS[role]}", text))
    return found


def _few_positives(test: np.ndarray, groups: Sequence[str], positive: str) -> list[Reason]:
    scarce = np.flatnonzero((test[:, -1] > 0) & (test[:, -1] < FEW_POSITIVES))
    if not len(scarce):
        return []
    shown = ", ".join(f"{groups[g]} ({test[g, -1]})" for g in scarce[:MOST_NAMED])
    text = (
        f"Test has fewer than {FEW_POSITIVES} rows with {positive} of {shown}: the true positive rate of such a group "
        "moves by 10 points and more with a single row."
    )
    return [Reason("unsuitable", "positives", text)]


def _noise(test: np.ndarray) -> list[Reason]:
    """What a gap in selection rates measures on test when groups do not differ, beside the gap there is."""
    perfect = test[:, :, None] * np.eye(test.shape[1], dtype=np.int64)
    floors = noise_floor(perfect)
    floor = float(floors.get("demographic_parity_difference", floors["demographic_parity_mean"]))
    if not floor > FLOOR:
        return []
    rows = test.sum(1, keepdims=True)
    shares = (test / np.where(rows > 0, rows, np.nan))[rows[:, 0] > 0]
    spread = shares.max(0) - shares.min(0)
    gap = float(spread[-1] if test.shape[1] == 2 else spread.mean())
    text = (
        f"Groups that do not differ at all would show a gap of {100 * floor:.1f} points in this test split on average, "
        f"by chance alone; the labels themselves differ by {100 * gap:.1f}."
    )
    return [Reason("unsuitable" if gap < CLEAR * floor else "caution", "noise floor", text)]


def _few_rows(counts: Mapping[str, np.ndarray]) -> list[Reason]:
    total = sum(int(table.sum()) for table in counts.values())
    if total >= FEW_ROWS:
        return []
    text = f"There are {total:,} rows in all: another split of the same rows can change every result."
    return [Reason("caution", "rows", text)]


def _uneven(train: np.ndarray, groups: Sequence[str], classes: Sequence[str]) -> list[Reason]:
    found = []
    for what, names, sizes in (("group", groups, train.sum(1)), ("class", classes, train.sum(0))):
        present = sizes[sizes > 0]
        ratio = float(present.max() / present.min()) if len(present) else 1.0
        if ratio > UNEVEN:
            smallest = int(np.where(sizes > 0, sizes, sizes.max() + 1).argmin())
            text = (
                f"The largest {what} in training, {names[int(sizes.argmax())]}, has {ratio:.0f} times as many rows as "
                f"the smallest, {names[smallest]} ({sizes[smallest]:,})."
            )
            found.append(Reason("caution", f"uneven {what}", text))
    return found


def _missing_gap(missing: pd.DataFrame) -> list[Reason]:
    wide = missing[missing["gap"].astype(float) > MISSING_GAP]
    if wide.empty:
        return []
    own = wide[wide["column"] == wide["column"].iloc[0]].dropna(subset=["share"]).sort_values("share")
    least, most, columns = own.iloc[0], own.iloc[-1], wide["column"].nunique()
    text = (
        f"{most['column']} is missing for {100 * most['share']:.1f} % of {most['group']} and {100 * least['share']:.1f}"
        f" % of {least['group']}"
    )
    more = f"; the gap is as wide in {columns - 1} more columns" if columns > 1 else ""
    return [Reason("caution", "missing", f"{text}{more}: that a value is missing tells the group.")]


def _tell_tale(attributes: pd.DataFrame, named: tuple[float, float] | None) -> list[Reason]:
    found = []
    own = attributes[attributes["role"] == "attribute"]
    for what, limit, level, meaning in (
        ("target", LEAK, "unsuitable", "tells the target almost perfectly; it may have been recorded afterwards"),
        ("group", TWIN, "caution", "says nearly the same as the sensitive attribute, which is dropped without it"),
    ):
        told = own[own[what].astype(float) > limit].sort_values(what, ascending=False)
        if len(told):
            names = ", ".join(f"{a} ({v:.2f})" for a, v in zip(told["attribute"], told[what], strict=True))
            found.append(Reason(level, "leak" if what == "target" else "twin", f"{names} {meaning}."))
    if named is not None and named[0] > NAMED:
        text = (
            f"Dropping the sensitive column hides little: the other attributes together name the group rightly for "
            f"{100 * named[0]:.0f} % of each group's people on average; guessing reaches {100 * named[1]:.0f} %."
        )
        found.append(Reason("good", "proxies", text))
    return found
