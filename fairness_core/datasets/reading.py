"""Any table somebody has, as CSV, TSV or Parquet -> one clean columnar file, read as a stream.

The result is a Parquet file whose columns c0, c1, ... are text without blanks around it, null where a value is missing
(MISSING_WORDS); what the text stands for is decided by columns.py. Nothing is dropped or changed without a note, and
what cannot be read is refused with one sentence. Memory stays at some hundred megabytes whatever the file's size.
"""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from fairness_core.config import UserError
from fairness_core.datasets.sniffing import Layout, clean_names, count, layout, listed

MOST_COLUMNS = 2000
MOST_BYTES = 5 * 10**9
BLOCK = 4 << 20  # bytes of text parsed at a time, and so the longest row
PARQUET_ROWS = 65_536  # read at a time
TOLERATED = 0.05  # share of rows with a wrong number of values that may be left out ...
TOLERATED_ROWS = 3  # ... or this many, if that is more
HOPELESS = 100_000  # of them: no reason to read on
NAMED_ROWS = 20  # row numbers told
MISSING_WORDS = (
    *("", "NA", "na", "N/A", "n/a", "NaN", "nan", "NAN", "Null", "null", "NULL", "None", "?", "-", "--"),
    *("#N/A", "#NA", "<NA>", "n.a.", "N.A.", "NaT"),
)

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Reading:
    """What became of a file. names: of the columns c0, c1, ... in order; header: as written; wrong: numbers of the
    first rows that were left out because they had not as many values as the header (1 = the first row of data)."""

    rows: int
    names: tuple[str, ...]
    header: tuple[str, ...]
    notes: tuple[str, ...]
    wrong: tuple[int, ...] = ()


FULL = (errno.ENOSPC, errno.EDQUOT)


def read(path: Path, into: Path, called: str, progress: Progress | None = None) -> Reading:
    """Write the table in `path` to the Parquet file `into`; `called` is its name in messages.

    progress: told the share that is read, from 0 to 1. Raises UserError when the file cannot be read as a table.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise UserError(f"{called!r} is empty; give a file with a header and rows.")
        if size > MOST_BYTES:
            raise UserError(f"{called!r} has {size / 1e9:.1f} GB; give a table of at most {MOST_BYTES / 1e9:g} GB.")
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        done = (_read_parquet if parquet else _read_text)(path, into, called, progress or (lambda share: None))
    except OSError as error:
        remedy = "make room on the disk" if error.errno in FULL else "give another file"
        raise UserError(f"{called!r} cannot be read ({error.strerror or error}); {remedy}.") from None
    if done.rows == 0:
        raise UserError(f"{called!r} has no rows; give a file with a header and at least one row.")
    return done


# -- text


def _read_text(path: Path, into: Path, called: str, progress: Progress) -> Reading:
    found = layout(path, called)
    _check_width(len(found.header), called)
    if found.odd:
        _refuse_open_quote(path, found, called)
    wrong = _WrongRows(called)
    names, notes = clean_names(found.header)
    with _Writer(into, found.header) as writer:
        try:
            for batch in _batches(path, found, wrong, progress):
                if found.quotes:
                    _refuse_swallowed_rows(batch, found, called)
                writer.write(batch.columns)
        except pa.ArrowInvalid as error:
            raise UserError(_explained(error, called)) from None
    wrong.check(writer.seen)
    return Reading(writer.rows, names, found.header, (*found.notes, *notes, *wrong.notes(), *writer.notes()),
                   tuple(wrong.numbers))  # fmt: skip


def _batches(path: Path, found: Layout, wrong: _WrongRows, progress: Progress) -> Iterator[Any]:
    """Record batches of text, UTF-8 whatever the file is in."""
    columns = [f"c{i}" for i in range(len(found.header))]
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(found.start)
        if found.start >= size:
            return
        stream = file
        if found.encoding != "utf-8":
            stream = pa.transcoding_input_stream(pa.PythonFile(file, "r"), found.encoding, "utf-8")
        reader = pa.csv.open_csv(
            stream,
            read_options=pa.csv.ReadOptions(column_names=columns, block_size=BLOCK, use_threads=False),
            parse_options=pa.csv.ParseOptions(
                delimiter=found.delimiter, newlines_in_values=found.quotes, invalid_row_handler=wrong
            ),
            convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
        )
        for batch in reader:
            progress(min(file.tell() / size, 1.0))
            yield batch


class _WrongRows:
    """Counts the rows that have not as many values as the header; pyarrow asks it what to do with each."""

    def __init__(self, called: str) -> None:
        self.called = called
        self.count = 0
        self.numbers: list[int] = []
        self.first = ""

    def __call__(self, row: Any) -> str:
        if not row.text.strip():
            return "skip"  # a line of blanks is an empty line
        self.count += 1
        if self.count <= NAMED_ROWS:
            self.numbers.append(row.number or 0)
        if self.count == 1:
            self.first = f"row {row.number} has {row.actual_columns} of {row.expected_columns} values"
        return "skip" if self.count < HOPELESS else "error"

    def check(self, kept: int) -> None:
        """UserError when more rows are wrong than chance explains."""
        if self.count > max(TOLERATED_ROWS, TOLERATED * (kept + self.count)) or (self.count and self.count >= kept):
            raise UserError(
                f"{self.count} of {kept + self.count} rows of {self.called!r} do not fit the header ({self.first}); "
                "the file seems to be cut off, or its delimiter or quotes are wrong."
            )

    def notes(self) -> list[str]:
        if not self.count:
            return []
        rows = f"{self.count} row{'s' * (self.count > 1)} with a wrong number of values"
        return [f"{rows} left out: row{'s' * (self.count > 1)} {listed(self.numbers)}."]


def _explained(error: Exception, called: str) -> str:
    """pyarrow's message as one sentence for people."""
    text = str(error).splitlines()[0]
    if "straddling" in text or "out of sync" in text:
        return f"{called!r} has a row longer than {BLOCK >> 20} MB; a quote in it may never be closed."
    if "handler" in text or "Expected" in text:
        return f"More than {HOPELESS:,} rows of {called!r} do not fit its header; check delimiter and quotes."
    return f"{called!r} is not a readable CSV file ({text.rstrip('.')[:200]}); save it as CSV in UTF-8."


def _refuse_open_quote(path: Path, found: Layout, called: str) -> None:
    """UserError when a quote is opened and never closed; an odd one inside a value, as in 5" pipe, is no harm."""
    last = 0
    with path.open(encoding=found.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=found.delimiter, strict=True)
        try:
            for _ in reader:
                last = reader.line_num
        except csv.Error:
            raise UserError(
                f"{called!r} is not a readable CSV file (a quote in line {last + 1} is never closed); close it."
            ) from None


def _refuse_swallowed_rows(batch: Any, found: Layout, called: str) -> None:
    """UserError when a value holds whole rows: two quotes that were never closed, far apart."""
    width = len(found.header)
    for column in batch.columns:
        characters = column.buffers()[2]
        if characters is not None and b"\n" in characters.to_pybytes():
            texts = column.filter(pc.match_substring(column, "\n")).to_pylist()
            for text in texts[:1000]:
                if width > 2 and any(line.count(found.delimiter) == width - 1 for line in text.splitlines()[1:-1]):
                    begins = text[:40]
                    raise UserError(
                        f"{called!r} is not a readable CSV file (a quote before {begins!r} is never closed); close it."
                    )


# -- Parquet


def _read_parquet(path: Path, into: Path, called: str, progress: Progress) -> Reading:
    try:
        file = pq.ParquetFile(path)
        fields = list(file.schema_arrow)
        _check_width(len(fields), called)
        kept = [i for i, f in enumerate(fields) if _is_text_at_heart(f.type)]
        left_out = [f.name for i, f in enumerate(fields) if i not in kept]
        if len(kept) < 2:
            raise UserError(f"{called!r} has fewer than two columns of plain values; give a flat table.")
        header = tuple(fields[i].name for i in kept)
        names, notes = clean_names(header)
        if left_out:
            notes = [f"{count(left_out, 'column')} of nested or binary values left out: {listed(left_out)}.", *notes]
        with _Writer(into, header) as writer:
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                writer.write([_as_text(batch.column(i)) for i in kept])
                progress(min(writer.seen / max(file.metadata.num_rows, 1), 1.0))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's trouble, not the file's: pyarrow's own errors about contents carry no number
        reason = str(error).splitlines()[0].rstrip(".")[:200]
        raise UserError(f"{called!r} is a damaged or incomplete Parquet file ({reason}); save it again.") from None
    return Reading(writer.rows, names, header, (*notes, *writer.notes()))


def _is_text_at_heart(kind: Any) -> bool:
    """Whether values of this type can be written as text."""
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return False
    try:
        _as_text(pa.array([], kind))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return False
    return True


def _as_text(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string())


# -- writing


@dataclass
class _Writer:
    """Cleans batches of text and appends them to a Parquet file. rows: written; seen: given."""

    into: Path
    header: Sequence[str]
    rows: int = 0
    seen: int = 0
    empty: int = 0
    headers: int = 0
    missing: Any = field(default_factory=lambda: pa.array(MISSING_WORDS))

    def __enter__(self) -> _Writer:
        schema = pa.schema([(f"c{i}", pa.string()) for i in range(len(self.header))])
        # Without dictionaries a million rows are written in half the time, read in two thirds, and smaller.
        how: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}
        self._file = pq.ParquetWriter(self.into, schema, **how)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, columns: Sequence[Any]) -> None:
        """One batch: blanks around values and missing words go, so do empty rows and repetitions of the header."""
        cleaned = [self._clean(column) for column in columns]
        table = pa.table(dict(zip(self._file.schema.names, cleaned, strict=True)))
        self.seen += len(table)
        lost = self._header_again(cleaned)
        self.headers += pc.sum(lost).as_py() or 0
        empty = pc.equal(self._known(cleaned), 0)
        self.empty += pc.sum(empty).as_py() or 0
        table = table.filter(pc.invert(pc.or_(lost, empty)))
        self.rows += len(table)
        if len(table):
            self._file.write_table(table)

    def _clean(self, column: Any) -> Any:
        text = pc.utf8_trim_whitespace(column)
        return pc.if_else(pc.is_in(text, self.missing), pa.scalar(None, pa.string()), text)

    def _header_again(self, columns: Sequence[Any]) -> Any:
        """Which rows say in every column what the header says, as when files were put one after the other."""
        same = pa.repeat(pa.scalar(any(self.header)), len(columns[0]))
        for column, name in zip(columns, self.header, strict=True):
            if not pc.any(same).as_py():
                break
            wanted = self._clean(pa.array([name]))[0]
            alike = pc.equal(column, wanted) if wanted.is_valid else pc.is_null(column)
            same = pc.and_(same, pc.fill_null(alike, False))
        return same

    def _known(self, columns: Sequence[Any]) -> Any:
        """How many values of each row are there; 1 is enough to know."""
        known = pc.cast(pc.is_valid(columns[0]), pa.int32())
        for column in columns[1:]:
            if pc.min(known).as_py():
                break
            known = pc.add(known, pc.cast(pc.is_valid(column), pa.int32()))
        return known

    def notes(self) -> list[str]:
        notes = []
        if self.headers:
            notes.append(f"The header was repeated in {self.headers} row{'s' * (self.headers > 1)}, left out.")
        if self.empty:
            notes.append(f"{self.empty} row{'s' * (self.empty > 1)} without any value left out.")
        return notes


def _check_width(columns: int, called: str) -> None:
    if columns > MOST_COLUMNS:
        raise UserError(f"{called!r} has {columns:,} columns; give a table of at most {MOST_COLUMNS:,}.")
    if columns < 2:
        raise UserError(f"{called!r} has one column only; give a table with at least two.")
