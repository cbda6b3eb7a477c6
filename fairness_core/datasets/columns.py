"""What the columns of a table of text stand for: guessed from their values, each with the reason in words.

number, date, category and yes/no may be inputs of a model; identifier, free text, constant and mostly missing are left
out unless somebody wants them. Every rule is stated at `describe_column`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fairness_core.datasets.sniffing import listed

LEFT_OUT = ("identifier", "free text", "constant", "mostly missing")
MOST_CLASSES = 50  # distinct values of a column whose values are listed
CODES = 10  # whole numbers with at most so many different values are taken as codes
MOST_DISTINCT = 50_000  # past that a column's values are no longer counted one by one
SLICE = 120_000  # rows counted at a time
NUMERIC_SHARE = 0.98  # of the values there are, for a column of numbers or dates
FEWEST_VALUES = 0.05  # share of rows that have one
DISTINCT_SHARE = 0.9  # of text that names rows rather than kinds of rows
LONG_TEXT = 40  # characters on average
EXACT = 2.0**53  # past that two whole numbers may be one float

YES_NO = (  # (no, yes)
    ({"no", "n"}, {"yes", "y"}),
    ({"false", "f"}, {"true", "t"}),
    ({"nein", "n"}, {"ja", "j"}),
    ({"non", "n"}, {"oui", "o"}),
    ({"no", "n"}, {"si", "sí", "s"}),
    ({"nee", "n"}, {"ja", "j"}),
    ({"off"}, {"on"}),
    ({"0", "0.0", "-0", "-0.0", "0.00"}, {"1", "1.0", "1.00"}),
)
DATES = (  # format, how it is told; the first that fits
    ("%Y-%m-%d", "year-month-day"),
    ("%Y/%m/%d", "year/month/day"),
    ("%d.%m.%Y", "day.month.year"),
    ("%m/%d/%Y", "month/day/year"),
    ("%d/%m/%Y", "day/month/year"),
    ("%d-%m-%Y", "day-month-year"),
    ("%d %b %Y", "day month year"),
    ("%b %d, %Y", "month day, year"),
)
TIME_OF_DAY = r"[T ]\d{1,2}:\d{2}.*$"
PLAIN = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
THOUSANDS = r"^[-+]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?$"
COMMA = r"^[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?$"
FORMATS = {  # name -> (what a number looks like, how it is told)
    "plain": (PLAIN, "numbers"),
    "thousands": (THOUSANDS, "numbers with a comma between thousands"),
    "comma": (COMMA, "numbers with a decimal comma"),
}
INFINITE = pa.array(["inf", "-inf", "+inf", "Inf", "-Inf", "Infinity", "-Infinity", "infinity", "-infinity"])
NAMES_OF_PEOPLE = {"name", "firstname", "lastname", "surname", "email", "mail", "phone", "telephone", "ssn", "vorname"}
NAMES_OF_ROWS = {"id", "ids", "uuid", "guid", "nr", "no", "number", "index", "key", "rowid", "idx", "case"}


@dataclass(frozen=True)
class Column:
    """One column as it was understood.

    format: how its text becomes a number ("plain", "thousands", "comma", a date's strptime format) or "" for text.
    missing: rows without a value; distinct: different values (a lower bound if not `counted`). words: spellings that
    mean another value ("Yes" -> "yes"). levels: up to MOST_CLASSES values with their rows, most frequent first; () when
    there are more. low, middle, high: of a number; `middle` is where it is cut into two groups by default.
    """

    name: str
    kind: str
    reason: str
    format: str
    missing: int
    distinct: int
    counted: bool = True
    words: Mapping[str, str] = field(default_factory=dict)
    levels: tuple[tuple[str, int], ...] = ()
    low: float | None = None
    middle: float | None = None
    high: float | None = None

    @property
    def is_input(self) -> bool:
        """Whether a model sees it unless somebody says otherwise."""
        return self.kind not in LEFT_OUT

    @property
    def is_number(self) -> bool:
        """Whether it is encoded as a number; also of an identifier that somebody wants."""
        return self.format != "" and self.kind not in ("category", "yes/no")

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(value for value, _ in self.levels)


@dataclass(frozen=True)
class Tally:
    """The different values of a column with their rows: of all rows, or (`counted` false) of the first ones alone."""

    values: Any
    counts: np.ndarray
    missing: int
    rows: int
    counted: bool

    @property
    def known(self) -> int:
        return int(self.counts.sum())


def describe(path: Path, names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a file that `reading.read` wrote."""
    file = pq.ParquetFile(path)
    return tuple(describe_column(name, tally(file, f"c{i}")) for i, name in enumerate(names))


def tally(file: Any, column: str) -> Tally:
    """Counts the values of a column, a slice of rows at a time, until there are too many different ones."""
    rows, missing, counted = file.metadata.num_rows, 0, True
    found = pa.table({"value": pa.array([], pa.string()), "n": pa.array([], pa.int64())})
    for groups in _slices(file):
        if len(found) > MOST_DISTINCT:
            counted = False
            break
        column_now = file.read_row_groups(groups, columns=[column]).column(0)
        missing += column_now.null_count
        counts = pc.value_counts(column_now.drop_null().combine_chunks())
        more = pa.table({"value": counts.field(0), "n": counts.field(1)})
        found = more if not len(found) else _merged(found, more)
    if not counted:
        missing = _all_missing(file, column, missing)
    return Tally(found["value"].combine_chunks(), found["n"].to_numpy(), missing, rows, counted)


def _merged(first: Any, second: Any) -> Any:
    both = pa.concat_tables([first, second]).group_by("value", use_threads=False).aggregate([("n", "sum")])
    return both.rename_columns(["value", "n"]) if both.column_names[0] == "value" else both.select([1, 0])


def _slices(file: Any) -> list[list[int]]:
    """Row groups that together hold about SLICE rows."""
    found: list[list[int]] = [[]]
    rows = 0
    for group in range(file.num_row_groups):
        if rows >= SLICE:
            found.append([])
            rows = 0
        found[-1].append(group)
        rows += file.metadata.row_group(group).num_rows
    return found


def _all_missing(file: Any, column: str, otherwise: int) -> int:
    """Rows without a value, from the file's own statistics."""
    place = int(column[1:])
    stats = [file.metadata.row_group(g).column(place).statistics for g in range(file.num_row_groups)]
    return sum(s.null_count for s in stats) if all(s is not None and s.has_null_count for s in stats) else otherwise


# -- the rules


def describe_column(name: str, found: Tally) -> Column:
    """The first rule that fits decides.

    A value in fewer than 5 % of rows: mostly missing. One value everywhere: constant. The two sides of a yes/no, in any
    spelling: yes/no. 98 % numbers: running whole numbers, or distinct whole numbers under a name such as "id", are an
    identifier; at most 10 different whole numbers are codes, so a category; the others are numbers. 98 % dates: date.
    Text that nearly never repeats: identifier when short, free text when long. Everything else: category.
    """
    distinct, known = len(found.values), found.known
    seen = found.rows if found.counted else max(known, 1)
    if found.rows - found.missing < FEWEST_VALUES * found.rows or not distinct:
        share = 100 * (found.rows - found.missing) / max(found.rows, 1)
        return _column(name, "mostly missing", f"only {share:.1f} % of rows have a value", found)
    if distinct == 1 and known == seen:
        return _column(name, "constant", f"always {_short(found.values[0].as_py())!r}", found)
    words = yes_no(found)
    if words:
        return _column(name, "yes/no", f"two values: {' and '.join(sorted(set(words.values())))}", found, words=words)
    for format_ in FORMATS:
        numbers = parse(found.values, format_)
        if np.isfinite(numbers) @ found.counts >= NUMERIC_SHARE * known and not _leading_zeros(found.values):
            return _numeric(name, found, format_, numbers)
    for format_, said in DATES:
        days = parse(found.values, format_)
        if np.isfinite(days) @ found.counts >= NUMERIC_SHARE * known:
            reason = f"dates ({said}), used as a number of days"
            return _column(name, "date", reason, found, format_=format_, numbers=days)
    return _textual(name, found)


def yes_no(found: Tally) -> dict[str, str]:
    """Every spelling -> the most frequent one of its side, no first; {} when the column is not a yes/no."""
    if not 2 <= len(found.values) <= 12:
        return {}
    texts = found.values.to_pylist()
    for sides in YES_NO:
        of = {text: next((i for i, side in enumerate(sides) if text.casefold() in side), -1) for text in texts}
        if set(of.values()) == {0, 1}:
            best = [max((n, t) for t, n in zip(texts, found.counts, strict=True) if of[t] == i)[1] for i in (0, 1)]
            best = [f"{abs(float(b)):g}" for b in best] if sides[0] >= {"0"} else best
            return dict(sorted(((text, best[side]) for text, side in of.items()), key=lambda item: of[item[0]]))
    return {}


def _numeric(name: str, found: Tally, format_: str, numbers: np.ndarray) -> Column:
    finite = np.isfinite(numbers)
    whole = bool((numbers[finite] == np.round(numbers[finite])).all())
    different = np.unique(numbers[finite])
    if whole and finite.all() and found.counts.max() == 1 and len(finite) > CODES:
        if different[-1] - different[0] + 1 == len(finite):
            return _column(name, "identifier", "running numbers", found, format_=format_, numbers=numbers)
        if words_of(name) & NAMES_OF_ROWS or np.abs(different).max() > EXACT:
            reason = "a different whole number in every row"
            return _column(name, "identifier", reason, found, format_=format_, numbers=numbers)
    if len(different) <= CODES and whole:
        words = {} if not finite.all() else _alike(found.values.to_pylist(), numbers)
        reason = f"whole numbers with only {len(different)} different values, taken as codes"
        return _column(name, "category", reason, found, format_=format_, numbers=numbers, words=words)
    reason = FORMATS[format_][1]
    strange = found.values.filter(pa.array(~finite)).to_pylist()
    if strange:
        n = int(found.counts[~finite].sum())
        reason += f"; {n:,} values that are none count as missing ({listed([_short(s) for s in strange], 3)})"
    return _column(name, "number", reason, found, format_=format_, numbers=numbers)


def _alike(texts: Sequence[str], numbers: np.ndarray) -> dict[str, str]:
    """Codes written alike: "1.0" is "1"."""
    plain = {text: f"{number:g}" for text, number in zip(texts, numbers, strict=True)}
    return {text: code for text, code in plain.items() if text != code}


def _textual(name: str, found: Tally) -> Column:
    distinct, known = len(found.values), found.known
    lengths = pc.utf8_length(found.values).to_numpy(zero_copy_only=False)
    long = float(lengths @ found.counts) / known > LONG_TEXT
    rare = distinct > max(DISTINCT_SHARE * known, CODES)
    if words_of(name) & NAMES_OF_PEOPLE and distinct > MOST_CLASSES:
        return _column(name, "identifier", "names or addresses of people", found)
    if long and distinct > max(0.2 * known, CODES):
        return _column(name, "free text", "long texts that hardly repeat", found)
    if rare:
        return _column(name, "identifier", f"{_many(found)} different values in {known:,} rows", found)
    reason = f"text with {_many(found)} different value{'s' * (distinct > 1)}"
    return _column(name, "category", reason, found)


def _many(found: Tally) -> str:
    return f"{len(found.values):,}" if found.counted else f"more than {MOST_DISTINCT:,}"


def _leading_zeros(values: Any) -> bool:
    """Whole numbers such as 01234 are codes: postcodes, keys."""
    return bool(pc.any(pc.match_substring_regex(values, r"^0\d+$")).as_py())


def _column(
    name: str,
    kind: str,
    reason: str,
    found: Tally,
    *,
    format_: str = "",
    numbers: np.ndarray | None = None,
    words: Mapping[str, str] | None = None,
) -> Column:
    words = words or {}
    levels: tuple[tuple[str, int], ...] = ()
    if len(found.values) <= MOST_CLASSES:
        counts: dict[str, int] = {}
        for value, n in zip(found.values.to_pylist(), found.counts.tolist(), strict=True):
            counts[words.get(value, value)] = counts.get(words.get(value, value), 0) + n
        levels = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    low = middle = high = None
    if numbers is not None and np.isfinite(numbers).any():
        low, middle, high = _spread(numbers, found.counts)
    distinct = len(levels) or len(found.values)
    return Column(name, kind, reason, format_, found.missing, distinct, found.counted, words, levels, low, middle, high)


def _spread(numbers: np.ndarray, counts: np.ndarray) -> tuple[float, float, float]:
    """Smallest value, median (the next one if that is the smallest, so that a cut there makes two groups), largest."""
    finite = np.isfinite(numbers)
    order = np.argsort(numbers[finite])
    values, n = numbers[finite][order], counts[finite][order]
    middle = float(values[np.searchsorted(n.cumsum(), n.sum() / 2)])
    if middle == values[0] and values[-1] > values[0]:
        middle = float(values[values > values[0]][0])
    return float(values[0]), middle, float(values[-1])


# -- text to values


def parse(text: Any, format_: str) -> np.ndarray:
    """Numbers, or days since 1970 for a date format; NaN where the text is none, infinity included. float64 (n,)."""
    if format_ in FORMATS:
        text = _plain(text, format_)
        number = pc.if_else(pc.match_substring_regex(text, PLAIN), text, pa.scalar(None, pa.string()))
        return np.asarray(pc.cast(number, pa.float64()).to_numpy(zero_copy_only=False))
    dates = pc.replace_substring_regex(text, TIME_OF_DAY, "") if format_ == "%Y-%m-%d" else text
    seconds = pc.strptime(pc.replace_substring_regex(dates, TIME_OF_DAY, ""), format_, "s", error_is_null=True)
    days = pc.divide(pc.cast(pc.cast(seconds, pa.int64()), pa.float64()), 86_400.0)
    return np.asarray(np.floor(days.to_numpy(zero_copy_only=False)))


def _plain(text: Any, format_: str) -> Any:
    """Numbers as a computer writes them: no currency, percent or thousands mark, a point before the decimals."""
    try:
        pc.cast(text, pa.float64())
        return text  # nothing to do, as with most tables
    except pa.ArrowInvalid:
        pass
    text = pc.replace_substring_regex(text, r"^([-+]?)\s*[$€£¥]\s*|\s*[%€£$¥]$", r"\1")
    for _ in range(2):  # matches may not overlap, so that 1 234 567 needs two rounds
        text = pc.replace_substring_regex(text, r"(\d)[  '’](\d{3})\b", r"\1\2")
    if format_ == "plain":
        return text
    shape = FORMATS[format_][0]
    text = pc.if_else(pc.match_substring_regex(text, shape), text, pa.scalar(None, pa.string()))
    if format_ == "thousands":
        return pc.replace_substring(text, ",", "")
    return pc.replace_substring(pc.replace_substring(text, ".", ""), ",", ".")


def numbers(column: Column, text: Any) -> np.ndarray:
    """The values of a numeric column: float64 (n,), NaN where there is none."""
    return parse(text, column.format)


def labels(column: Column, text: Any) -> Any:
    """The values of any other column as a dictionary array of text, every spelling as the one that stands for it."""
    coded = text.dictionary_encode()
    if not column.words:
        return coded
    known = coded.dictionary.to_pylist()
    wanted = [column.words.get(value, value) for value in known]
    unique = list(dict.fromkeys(wanted))
    index = pa.array([unique.index(value) for value in wanted], pa.int32())
    return pa.DictionaryArray.from_arrays(index.take(coded.indices), pa.array(unique, pa.string()))


def words_of(name: str) -> set[str]:
    """ "MaritalStatus_2" -> {"marital", "status"}; the whole name is among them."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return {word for word in re.split(r"[\W\d_]+", parted.casefold()) if word} | {name.casefold()}


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
