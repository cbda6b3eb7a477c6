"""What the data page knows about one data set before any model is trained: counts, gaps, proxies, verdict, and words.

`study` reads the rows once per choice and keeps only what is drawn: tables of a few hundred lines, never the rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import associations, attribute_figures, data_figures, datasets, health, outcomes
from fairness_core.associations import Association, Named
from fairness_core.config import Option, Options
from fairness_core.datasets import Rows
from fairness_core.datasets.tabular import ROLES, label_codes
from fairness_core.health import Verdict
from pages import explorer, interval, percent

Chosen = tuple[tuple[str, Option], ...]  # the options of a data set, sorted: a key of a cache
WIDTH = 560  # of a chart in one of two columns, in pixels, near enough
TALL = 420  # pixels of charts on the left from which on the ranking of proxies stands on the right


@dataclass(frozen=True)
class Anatomy:
    """counts: rows per role, group and class, {role: (G, T)}.

    dial_counts: training rows per (target, group) as the bias dial counts them, (T, K); dial_classes: what its targets
    are called. means: per group the mean of a numeric target, else empty. target: what is predicted, in the data's own
    word; targets: all of several. strength: how far group and target go together.
    """

    counts: Mapping[str, np.ndarray]
    dial_counts: np.ndarray
    dial_classes: tuple[str, ...]
    means: pd.DataFrame
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    target: str
    targets: tuple[str, ...]
    sensitive: tuple[str, ...]
    twins: tuple[str, ...]
    strength: Association
    missing: pd.DataFrame
    attributes: pd.DataFrame
    named: Named | None
    pictures: bool

    @property
    def numeric(self) -> bool:
        return not self.means.empty

    @property
    def group_name(self) -> str:
        return " x ".join(self.sensitive)


def rows_of(name: str, options: Options, role: str = "train") -> Rows:
    """The rows of one role as published; UserError with one sentence when they cannot be read."""
    return datasets.explore(name, options, pages.data_dir(), pages.store().tables, role)


@st.cache_data(max_entries=32, show_spinner="Reading the rows …")
def study(name: str, chosen: Chosen, data_hash: str, look: str = "") -> Anatomy:
    """Everything about this data set with these options; `look` names one of several targets."""
    parts = {role: rows_of(name, dict(chosen), role) for role in ROLES}
    train = parts["train"]
    column = train.targets.index(look) if look in train.targets else 0
    whole = label_codes(np.concatenate([rows.y for rows in parts.values()]))  # halves of a number: of all its rows
    numeric = train.y.dtype.kind == "f"
    target = train.y[:, column] if train.y.ndim == 2 else train.y
    codes = {role: classes_of(rows, look) for role, rows in parts.items()}
    classes = _named_classes(train, column)
    shape = (len(train.groups), len(classes))
    s = pd.Series(train.s).astype(str)
    return Anatomy(
        counts={role: health.cell_counts(parts[role].s, codes[role], *shape) for role in ROLES},
        dial_counts=health.cell_counts(train.s, whole[: len(train)], shape[0], int(whole.max()) + 1).T,
        dial_classes=("lower half", "upper half") if numeric else _named_classes(train, 0),
        means=_means(train, train.y) if numeric else pd.DataFrame(),
        groups=train.groups,
        classes=classes,
        target=train.targets[column] if train.targets else train.target,
        targets=train.targets,
        sensitive=train.sensitive,
        twins=train.twins,
        strength=associations.associate(s, target),
        missing=health.missingness(train.frame, train.s, train.groups),
        attributes=associations.attributes(train, target),
        named=associations.name_group(train),
        pictures=train.images is not None,
    )


@st.cache_data(max_entries=32, show_spinner=False)
def remarks(name: str, data_hash: str) -> tuple[str, ...]:
    """What is particular about the files of a published data set as they are here."""
    return datasets.remarks(name, pages.data_dir())


def classes_of(rows: Rows, look: str = "") -> np.ndarray:
    """The class of every row, int (n,): of several targets the one called `look`, of a number its bin."""
    if rows.y.ndim == 2:
        column = rows.targets.index(look) if look in rows.targets else 0
        return np.asarray(rows.y[:, column])
    return np.digitize(rows.y, rows.edges) if rows.y.dtype.kind == "f" else rows.y


def _named_classes(rows: Rows, column: int) -> tuple[str, ...]:
    """The classes' names; of several targets "not Smiling" and "Smiling"."""
    if rows.targets:
        return f"not {rows.targets[column]}", rows.targets[column]
    return rows.classes


def _means(rows: Rows, y: np.ndarray) -> pd.DataFrame:
    """group, n, mean, low, high (normal 95 % interval of the mean), median."""
    own = pd.DataFrame({"group": np.array(rows.groups, object)[rows.s], "y": y.astype(np.float64)})
    told = own.groupby("group", sort=False)["y"].agg(["size", "mean", "sem", "median"]).reindex(rows.groups)
    half = 1.96 * told["sem"]
    numbers = {"n": told["size"], "mean": told["mean"], "low": told["mean"] - half, "high": told["mean"] + half}
    return pd.DataFrame({**numbers, "median": told["median"]}).rename_axis("group").reset_index()


def judge(known: Anatomy, cautions: Sequence[str]) -> Verdict:
    """What stands against a study of bias on these rows."""
    named = None if known.named is None else (known.named.balanced_accuracy, known.named.chance)
    return health.verdict(
        known.counts, known.groups, known.classes, attributes=known.attributes, missing=known.missing, named=named,
        cautions=cautions,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- words


def sentence(known: Anatomy, entry: Mapping[str, Any], options: Options) -> str:
    """The one sentence the page opens with: how far apart the groups are, in the training rows, with its interval."""
    n = sum(int(k) for k in known.counts["train"].sum(1))
    source = f"training split, n = {n:,}, 95 % interval"
    if known.numeric:
        return _of_numbers(known, source)
    if len(known.classes) == 2:
        return _of_two(known, _verb(known, entry, options), source)
    return _of_many(known, source)


def _verb(known: Anatomy, entry: Mapping[str, Any], options: Options) -> str:
    """ "predicted to be a good risk, ..." -> "are a good risk"; where the words speak of another target than the one
    chosen, "are labelled ..."."""
    words = str(entry["favourable"])
    fixed = "{" not in words and tuple(entry["classes"]) != known.classes
    for name, value in options.items():
        one_of_several = known.targets and name == "target"
        words = words.replace(f"{{{name}}}", known.target if one_of_several else str(value))
    told = words.partition(", ")[0].removeprefix("predicted to ")
    if fixed or told == words.partition(", ")[0]:
        return f"are labelled {known.target if known.targets else known.classes[-1]}"
    return f"are {told.removeprefix('be ')}" if told.startswith("be ") else told


def people(n: int, group: str) -> str:
    """ "8,617 women", "1,262 in group Caucasian": rows need not be people."""
    word = outcomes.PEOPLE.get(group.lower())
    return f"{n:,} {word}" if word else f"{n:,} in group {group}"


def _of_two(known: Anatomy, verb: str, source: str) -> str:
    table = known.counts["train"]
    present = np.flatnonzero(table.sum(1))
    share = table[present, -1] / table[present].sum(1)
    low, high = present[share.argmin()], present[share.argmax()]
    (k1, n1), (k2, n2) = ((int(table[g, -1]), int(table[g].sum())) for g in (high, low))
    ratio, below, above = health.times_as_often(k1, n1, k2, n2)
    first = "Of" if len(present) == 2 else f"Furthest apart of {len(present)} groups: of"
    text = f"{first} {people(n2, known.groups[low])} {percent(k2 / n2)} {verb}, "
    text += f"of {people(n1, known.groups[high])} {percent(k1 / n1)}"
    if not np.isfinite(ratio):
        return f"{text} ({source.removesuffix(', 95 % interval')})."
    return f"{text}: {ratio:.1f} times as often ({below:.1f} to {above:.1f}; {source})."


def _of_many(known: Anatomy, source: str) -> str:
    table = known.counts["train"]
    rows = table.sum(1, keepdims=True)
    share = np.where(rows > 0, table / np.maximum(rows, 1), np.nan)
    apart = np.nanmax(share, 0) - np.nanmin(share, 0)
    t = int(apart.argmax())
    low, high = int(np.nanargmin(share[:, t])), int(np.nanargmax(share[:, t]))
    v = known.strength
    return (
        f"Group and {known.target} go together with a strength of {v.value:.2f} on a scale from 0 to 1 (Cramér's V, "
        f"{v.low:.2f} to {v.high:.2f}; {source}). Furthest apart is {known.classes[t]}: {percent(share[high, t])} of "
        f"{people(int(rows[high, 0]), known.groups[high])}, {percent(share[low, t])} of "
        f"{people(int(rows[low, 0]), known.groups[low])}."
    )


def _of_numbers(known: Anatomy, source: str) -> str:
    told = known.means.dropna(subset=["mean"]).sort_values("mean")
    low, high = told.iloc[0], told.iloc[-1]
    first = "Mean" if len(told) == 2 else f"Furthest apart of {len(told)} groups: mean"
    ends = (
        f"{row['mean']:.3g} ({row['low']:.3g} to {row['high']:.3g}) for {people(int(row['n']), row['group'])}"
        for row in (high, low)
    )
    return f"{first} {known.target} is {', and '.join(ends)} ({source}s)."


def naming(known: Anatomy) -> str:
    """Who carries the group's information when its column is dropped."""
    own = known.attributes[known.attributes["role"] == "attribute"]
    names = [*known.sensitive, *known.twins]
    hidden = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    if known.named is None or own.empty:
        what = "the pictures themselves" if known.pictures else "nothing"
        return f"Without {hidden} no attribute is left that could tell the group; {what} can still do so."
    told, best = known.named, own.iloc[0]
    count = f"the other {told.columns} attributes still name" if told.columns > 1 else "the one other still names"
    text = (
        f"Without {hidden}, {count} the group rightly for {percent(told.balanced_accuracy)} of each group's "
        f"rows on average ({interval(told.low, told.high)}); guessing reaches {percent(told.chance)}. Most of it is "
        f"told by {best['attribute']} ({best['group']:.2f})."
    )
    return f"{text} The pictures themselves are not looked at." if known.pictures else text


def method(known: Anatomy) -> str:
    """How the numbers of the chart were made."""
    n = int(known.attributes["n"].iloc[0]) if len(known.attributes) else 0
    total = int(known.counts["train"].sum())
    rows = f"all {n:,} training rows" if n == total else f"{n:,} of {total:,} training rows, drawn at random"
    measures = dict.fromkeys([*known.attributes["group_measure"], *known.attributes["target_measure"]])
    signs = {"circle": "round", "diamond": "diamond", "square": "square"}
    shapes = [
        f"{signs[attribute_figures.MARKERS[m]]}: {m}" for m in measures if m in set(known.attributes["group_measure"])
    ]
    naming = "" if known.named is None else f" Naming: linear, 3-fold cross-validated on {known.named.n:,} rows."
    return f"{'; '.join(shapes)}, 0 to 1; {rows}. Grey: below {attribute_figures.WEAK:g}, counted as none.{naming}"


def markdown(text: str) -> str:
    """Text that Markdown, LaTeX and Streamlit's own directives leave as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+\-.!|$~:^])", r"\\\1", text)


# --------------------------------------------------------------------------------------------------------- blocks


@st.cache_data(max_entries=32, show_spinner=False)
def blocks(stamp: str, _known: Anatomy) -> list[explorer.Block]:
    """The charts: who is in it and what is missing on the left, who carries the group on the right.

    stamp: stands for all that is known, so that turning the dial draws nothing anew.
    """
    known = _known
    told = [_who(known)]
    own = known.attributes[known.attributes["role"] == "attribute"].reset_index(drop=True)
    if not known.missing.empty:
        told.append(_gaps(known))
    told.append(explorer.text("naming", [naming(known)], area="right", heading="Who carries the group's information"))
    if not own.empty:
        tall = sum(int(block["height"]) for block in told if block["kind"] == "chart")
        told += [_carriers(known, own), _ranking(known, own, "right" if tall > TALL else "left")]
        told.append(explorer.text("key", [method(known)], area="right", muted=True))
    return told


def _who(known: Anatomy) -> explorer.Block:
    table = health.cells({"train": known.counts["train"]}, known.groups, known.classes)
    if len(known.classes) == 2:
        figure = data_figures.two_classes(table, positive=known.classes[-1])
        height = 76 + 46 * len(known.groups)
    else:
        figure = data_figures.many_classes(table, target=known.target)
        height = 92 + max(30, 9 * len(known.groups) + 12) * len(known.classes)
    return explorer.chart(
        "who", figure, area="left", height=height,
        alt="Training rows per group and label, and the share of each label within the groups with 95 % intervals. "
        "The table Counts holds the same numbers.",
        heading=f"Who is in it: training rows by {known.group_name} and {known.target} (95 % intervals)",
    )  # fmt: skip


def _gaps(known: Anatomy) -> explorer.Block:
    columns = known.missing["column"].nunique()
    shown = min(columns, data_figures.BARS)
    heading = "Missing values per group (training rows, 95 % intervals"
    return explorer.chart(
        "missing", data_figures.missing(known.missing), area="left",
        height=80 + 4 * len(known.groups) + max(34, 8 * len(known.groups) + 10) * shown,
        alt="Share of missing values per column and group. The table Missing values holds the same numbers.",
        heading=f"{heading}; {shown} of {columns} columns)" if columns > shown else f"{heading})",
    )  # fmt: skip


def _carriers(known: Anatomy, own: pd.DataFrame) -> explorer.Block:
    figure = attribute_figures.carriers(own, group=known.group_name, target=known.target, width=WIDTH, height=400)
    return explorer.chart(
        "carriers", figure, area="right", height=400,
        alt=f"Every attribute by its association with the group and with the target, {len(own)} attributes. The table "
        "Attributes holds the same numbers.",
    )  # fmt: skip


def _ranking(known: Anatomy, own: pd.DataFrame, area: str) -> explorer.Block:
    shown = min(len(own), data_figures.BARS)
    return explorer.chart(
        "proxies", attribute_figures.proxies(own, group=known.group_name), area=area, height=60 + 25 * shown,
        alt="The attributes that tell most about the group, as bars. The table Attributes holds the same numbers.",
        heading=f"Proxies: who tells the group ({shown} of {len(own)} attributes, 95 % intervals)",
    )  # fmt: skip
