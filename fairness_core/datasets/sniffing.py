"""What a file of text is before it is read as a table: its encoding, its delimiter, where the header ends.

Nothing is guessed silently: whatever is not plain (comma, UTF-8, one header line) comes back as a note, one sentence
each, and a file that is no table is refused with one sentence.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairness_core.config import UserError

SAMPLE = 1 << 20  # bytes looked at for delimiter and header
CHUNK = 1 << 20  # bytes read at a time
RECORDS = 1000  # rows of the sample that are compared
MOST_PREAMBLE = 20  # lines before the header that are no table
LONGEST_NAME = 200
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}
ENCODINGS = {"cp1252": "Windows-1252 (Western European)", "latin-1": "Latin-1", "utf-16-le": "UTF-16"}
ENCODINGS |= {"utf-16-be": "UTF-16", "utf-32-le": "UTF-32", "utf-32-be": "UTF-32"}
BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
NOT_TABLES = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow (Feather) file",
    b"\x89HDF": "an HDF5 file",
    b"{\\rtf": "a text document (RTF)",
}
MARKUP = re.compile(r"\s*(<!doctype|<html|<\?xml|<svg)", re.IGNORECASE)
JSON = re.compile(r'\s*(\[\s*[\[{]|\{\s*")')
NUMBER = re.compile(r"[-+]?(\d[\d,.' ]*|[.,]\d+)([eE][-+]?\d+)?%?")
CONTROLS = bytes(b for b in range(32) if b not in b"\t\n\r\f")

csv.field_size_limit(SAMPLE)  # Python's own limit of 131,072 characters would refuse a long essay in a cell


@dataclass(frozen=True)
class Layout:
    """How the text of a table is written.

    start: byte where the first row of data begins; header: the names as written, "" where there is none; quotes:
    whether a quote occurs at all; odd: whether their number is odd, as with one that is never closed.
    """

    encoding: str
    delimiter: str
    start: int
    header: tuple[str, ...]
    quotes: bool
    odd: bool
    notes: tuple[str, ...] = ()


def digest(path: Path) -> str:
    """SHA-256 of the bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def layout(path: Path, called: str) -> Layout:
    """The layout of a text file; UserError when it is no table of at least two columns and one row."""
    with path.open("rb") as file:
        head = file.read(SAMPLE)
        whole = not file.read(1)
    refuse_other_formats(head, called)
    encoding, skip = encoding_of(path, head, called)
    quotes = count_quotes(path, encoding)
    sample = codecs.getincrementaldecoder(encoding)("replace").decode(head[skip:], final=whole)
    if MARKUP.match(sample) or JSON.match(sample):
        what = "JSON" if JSON.match(sample) else "a web page or XML"
        raise UserError(f"{called!r} is {what}, not a table; save it as CSV.")
    delimiter, forced = delimiter_of(sample, whole)
    rows = records(sample, delimiter, whole, forced)
    if not rows:
        raise UserError(f"{called!r} is empty; give a file with a header and rows.")
    first, header, notes = find_header(rows, delimiter, called)
    lines = io.StringIO(sample, newline="").readlines()
    start = skip + len("".join(lines[:first]).encode(encoding))
    if skip:
        notes = [*notes] if encoding == "utf-8" else [f"It was read as {ENCODINGS[encoding]}.", *notes]
    elif encoding != "utf-8":
        what = ENCODINGS[encoding]
        notes = [f"It is not in UTF-8 and was read as {what}; check letters such as ä, é or ł.", *notes]
    if delimiter != ",":
        notes = [f"Values are separated by {DELIMITERS[delimiter]}.", *notes]
    return Layout(encoding, delimiter, start, tuple(header), quotes > 0, quotes % 2 == 1, tuple(notes))


def refuse_other_formats(head: bytes, called: str) -> None:
    """UserError when the first bytes are those of a well-known format that is no table of text."""
    for magic, what in NOT_TABLES.items():
        if head.startswith(magic):
            if magic == b"PK\x03\x04" and (b"xl/" in head or b"[Content_Types]" in head):
                what = "an Excel workbook"
            advice = (
                "save it as CSV in a spreadsheet program"
                if "Excel" in what
                else "give the table itself as CSV, TSV or Parquet"
            )
            raise UserError(f"{called!r} is not a readable CSV file (it is {what}); {advice}.")


def encoding_of(path: Path, head: bytes, called: str) -> tuple[str, int]:
    """The encoding and the length of the byte order mark; every byte of the file is checked."""
    for mark, name in BOMS.items():
        if head.startswith(mark):
            if not decodes(path, name, len(mark)):
                raise UserError(f"{called!r} is not a readable CSV file (it breaks off as {name}); save it in UTF-8.")
            return name, len(mark)
    if b"\0" in head:
        for name, zeros in (("utf-16-le", head[1:4000:2]), ("utf-16-be", head[0:4000:2])):
            likely = zeros.count(0) > 0.6 * len(zeros) and head[:4000].count(0) < 0.7 * len(head[:4000])
            if likely and decodes(path, name, 0):
                return name, 0
    bytes_of = census(path)
    if bytes_of["zeros"] or bytes_of["controls"] > 0.01 * bytes_of["all"]:
        raise UserError(f"{called!r} is not a readable CSV file (it holds binary data); save it as CSV in UTF-8.")
    if decodes(path, "utf-8", 0):
        return "utf-8", 0
    return ("cp1252" if decodes(path, "cp1252", 0) else "latin-1"), 0


def census(path: Path) -> dict[str, int]:
    """How many bytes the file has, and how many of them are zero or control characters."""
    found = Counter[str]()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found["all"] += len(chunk)
            found["zeros"] += chunk.count(0)
            found["controls"] += len(chunk) - len(chunk.translate(None, CONTROLS))
    return found


def decodes(path: Path, encoding: str, skip: int) -> bool:
    """Whether every byte after the first `skip` is valid in this encoding."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        with path.open("rb") as file:
            file.seek(skip)
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def count_quotes(path: Path, encoding: str) -> int:
    """How many double quotes the file holds."""
    mark = '"'.encode(encoding)
    with path.open("rb") as file:
        return sum(chunk.count(mark) for chunk in iter(lambda: file.read(CHUNK), b""))


def records(sample: str, delimiter: str, whole: bool, after: int = 0) -> list[tuple[int, list[str]]]:
    """(lines read so far, values) of the sample's first rows that are not empty; `after` so many lines."""
    lines = io.StringIO(sample, newline="").readlines()
    reader = csv.reader(lines[after:], delimiter=delimiter)
    found: list[tuple[int, list[str]]] = []
    try:
        for values in reader:
            found.append((after + reader.line_num, values))
            if len(found) >= RECORDS:
                break
        else:
            found = found if whole else found[:-1]  # the sample may end within a row
    except csv.Error:
        pass  # a quote that is never closed; what came before it tells the delimiter
    return [(line, values) for line, values in found if any(v.strip() for v in values)]


def delimiter_of(sample: str, whole: bool) -> tuple[str, int]:
    """The delimiter by which most rows have the same number of values, and 1 if a first line "sep=;" names it."""
    named = re.match(r"sep=(.)\r?\n", sample)
    if named and named[1] in DELIMITERS:
        return named[1], 1
    scores: dict[str, tuple[float, int]] = {}
    for delimiter in DELIMITERS:
        widths = Counter(len(values) for _, values in records(sample, delimiter, whole))
        width, n = widths.most_common(1)[0] if widths else (1, 0)
        share = n / max(sum(widths.values()), 1)
        scores[delimiter] = (round(share, 3), width) if width > 1 else (0.0, 1)
    if scores[" "][0] < 1 or any(scores[d][0] >= 0.5 for d in ",;\t|"):
        scores[" "] = (0.0, 1)  # spaces occur in every text: only without a single exception
    return max(scores, key=lambda d: scores[d]), 0


def find_header(rows: list[tuple[int, list[str]]], delimiter: str, called: str) -> tuple[int, list[str], list[str]]:
    """Lines before the first row of data, the names of the columns as written ("" where there is none), and notes."""
    width = Counter(len(values) for _, values in rows).most_common(1)[0][0]
    if len(rows) < 3:
        width = max(len(values) for _, values in rows[:1])  # too few rows to outvote the first
    if width < 2:
        known = "commas, semicolons, tabs or vertical bars"
        raise UserError(f"{called!r} has one column only; give a table with at least two, separated by {known}.")
    notes: list[str] = []
    at = next(i for i, (_, values) in enumerate(rows) if len(values) == width)
    first = rows[0][1]
    if at and 2 <= len(first) == width - 1:  # as R writes row names, or a delimiter at every row's end
        last_empty = all(not values[-1].strip() for _, values in rows[1:] if len(values) == width)
        header = [*first, ""] if last_empty else ["", *first]
        notes.append("The header has one name less than the rows have values; the column without a name was numbered.")
        return rows[0][0], header, notes
    if at and len(first) == width + 1 and not first[-1].strip():
        return rows[0][0], first[:-1], ["The empty name at the end of the header was left out."]
    header = rows[at][1]
    headless = is_data(header, [values for _, values in rows[at + 1 :] if len(values) == width])
    if at and ((headless and len(first) > 1) or at > MOST_PREAMBLE):  # a single value is a title or a comment
        raise UserError(
            f"The header of {called!r} has {len(first)} names and its rows have {width} values; make them equal."
        )
    if at:
        notes.append(f"{at} line{'s' * (at > 1)} before the table left out.")
    if headless:
        notes.append("It has no header; the columns were numbered.")
        return (rows[at - 1][0] if at else 0), [""] * width, notes
    return rows[at][0], header, notes


def is_data(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds values, not names: a number in it, and no text above a column of numbers."""
    numbers = [bool(NUMBER.fullmatch(value.strip())) for value in first]
    for i, is_number in enumerate(numbers):
        below = [values[i].strip() for values in others[:50] if values[i].strip()]
        if not is_number and first[i].strip() and below and all(NUMBER.fullmatch(value) for value in below):
            return False
    return any(numbers)


def clean_names(header: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Names that are there, each once and on one line, and a note for every change."""
    names: dict[str, str] = {}  # name -> the name it is a copy of
    copies = Counter[str]()
    unnamed, shortened = [], 0
    for i, written in enumerate(header, 1):
        name = " ".join("".join(" " if invisible(c) else c for c in written).split())
        shortened += len(name) > LONGEST_NAME
        if not name:
            unnamed.append(f"column {i}")
        base = name = name[:LONGEST_NAME] if name else f"column {i}"
        while name in names:
            copies[base] += 1
            name = f"{base} ({copies[base] + 1})"
        names[name] = base
    numbered = [name for name, base in names.items() if name != base]
    capitals = Counter(name.casefold() for name in names)
    alike = [name for name in names if capitals[name.casefold()] > 1]
    notes = []
    if unnamed and len(unnamed) < len(header):
        notes.append(f"{count(unnamed, 'column')} without a name: {listed(unnamed)}.")
    if numbered:
        notes.append(f"{count(numbered, 'duplicate column name')} numbered: {listed(numbered)}.")
    if shortened:
        notes.append(f"{shortened} column names were cut to {LONGEST_NAME} characters.")
    if alike:
        notes.append(f"Column names that differ only in capitals: {listed(alike)}.")
    return tuple(names), notes


def invisible(character: str) -> bool:
    """Control and formatting characters, but for the joiner inside emoji."""
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character != "\u200d"


def count(things: Sequence[object], what: str) -> str:
    """ "1 column", "2 columns" """
    return f"{len(things)} {what}{'s' * (len(things) != 1)}"


def listed(names: Sequence[object], most: int = 8) -> str:
    """ "a, b, c, ..." """
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")
