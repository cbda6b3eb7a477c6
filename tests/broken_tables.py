"""Broken and odd tables as people really have them: what is in each file, and what must become of it.

A case is either refused with one sentence when it is added, or read with the rows and notes given here; then `choice`
is made of it, which works and loads, or is refused with one sentence as well.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 60


@dataclass(frozen=True)
class Case:
    """content: the file's bytes. refused: part of the sentence when it is added; else rows, names (some of the columns
    expected), notes (parts of them), kinds by column. choice: arguments of own.choose; choice_refused: part of its
    sentence; warns: part of a warning; groups: of the loaded data set."""

    name: str
    content: bytes
    filename: str = "table.csv"
    refused: str = ""
    rows: int = ROWS
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    choice: Mapping[str, Any] = field(default_factory=lambda: {"target": "y", "sensitive": ("sex",)})
    choice_refused: str = ""
    warns: str = ""
    groups: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def people(n: int = ROWS, **more: Sequence[object]) -> dict[str, list[object]]:
    """Columns of a plain table: age, sex, job and the decision y; `more` replaces or adds columns."""
    rng = np.random.default_rng(7)
    return {
        "age": [int(v) for v in rng.integers(18, 80, n)],
        "sex": [("F", "M")[v] for v in rng.integers(0, 2, n)],
        "job": [("cook", "clerk", "nurse")[v] for v in rng.integers(0, 3, n)],
        "y": [("no", "yes")[v] for v in rng.integers(0, 2, n)],
        **{name: list(values) for name, values in more.items()},
    }


def lines(table: Mapping[str, Sequence[object]], delimiter: str = ",") -> list[str]:
    """Header and rows, unquoted."""
    rows = zip(*table.values(), strict=True)
    return [delimiter.join(table), *(delimiter.join(map(str, row)) for row in rows)]


def text(rows: Sequence[str], end: str = "\n") -> bytes:
    return (end.join(rows) + end).encode()


def csv(table: Mapping[str, Sequence[object]], delimiter: str = ",") -> bytes:
    return text(lines(table, delimiter))


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def zipped(*members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member in members:
            archive.writestr(member, "a,b\n1,2\n")
    return out.getvalue()


def wide(columns: int) -> bytes:
    """So many number columns beside people's."""
    rng = np.random.default_rng(3)
    return csv(people(**{f"x{i}": rng.integers(0, 99, ROWS) for i in range(columns - 4)}))


def changed(rows: Sequence[str], at: int, to: str) -> list[str]:
    return [*rows[:at], to, *rows[at + 1 :]]


BASE = lines(people())
PLAIN = text(BASE)
FRAME = pd.DataFrame(people())
YES = people()["y"]
EACH = range(ROWS)


def no_tables() -> list[Case]:
    """Nothing that could be a table."""
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    return [
        Case("empty", b"", refused="is empty"),
        Case("blank lines only", b"\n\n  \n\n", refused="is empty"),
        Case("header only", text(BASE[:1]), refused="has no rows"),
        Case("one column", text(["y", *map(str, YES)]), refused="has one column only"),
        Case("unknown delimiter", PLAIN.replace(b",", b"^"), refused="has one column only"),
        Case("zip", zipped("a.csv"), refused="a ZIP archive"),
        Case("xlsx", zipped("[Content_Types].xml", "xl/workbook.xml"), refused="an Excel workbook"),
        Case("old xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512, refused="an old Excel workbook"),
        Case("png", png, refused="a PNG image"),
        Case("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", refused="a PDF document"),
        Case("gzip", gzip.compress(PLAIN, mtime=0), refused="a gzip archive"),
        Case("sqlite", b"SQLite format 3\0" + b"\0" * 100, refused="an SQLite database"),
        Case("web page", b"<!DOCTYPE html>\n<html><body>404</body></html>\n", refused="a web page"),
        Case("json", json.dumps([{"a": 1, "b": 2}]).encode(), refused="is JSON"),
        Case("json lines", b'{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n', refused="is JSON"),
        Case("NUL bytes", PLAIN.replace(b"cook", b"co\0k"), refused="binary data"),
        Case("only zeros", b"\0" * 1000, refused="binary data"),
        Case("every byte", bytes(range(1, 256)) * 40, refused="binary data"),
        Case("utf-16 broken off", b"\xff\xfe" + PLAIN.decode().encode("utf-16-le")[:-1], refused="breaks off"),
        Case("truncated parquet", parquet(pa.Table.from_pandas(FRAME))[:900], refused="damaged or incomplete Parquet"),
        Case("parquet without rows", parquet(pa.Table.from_pandas(FRAME.iloc[:0])), refused="has no rows"),
        Case("parquet of one column", parquet(pa.table({"y": YES})), refused="one column only"),
        Case("3,000 columns", wide(3000), refused="has 3,000 columns"),
        Case("unclosed quote", text(changed(BASE, 9, '33,"F,cook,yes')), refused="a quote in line 10 is never closed"),
        Case("two unclosed quotes", text(changed(changed(BASE, 9, '33,F,"cook,yes'), 30, '33,F,"cook,yes')),
             refused="never closed"),
        Case("very long row", text(changed(BASE, 9, f"33,F,{'x' * (9 << 20)},yes")), refused="longer than 4 MB"),
        Case("half the rows ragged", text([BASE[0], *(r + ",1" * (i % 2) for i, r in enumerate(BASE[1:]))]),
             refused="do not fit the header"),
        Case("rows wider than the header", text([BASE[0], *(r + ",1,2" for r in BASE[1:])]), refused="make them equal"),
        Case("mixed delimiters", text([BASE[0], *BASE[1::2], *(r.replace(",", ";") for r in BASE[2::2])]),
             refused="do not fit the header"),
    ]  # fmt: skip


def repaired() -> list[Case]:
    """Tables behind oddities of the file, each told in a note."""
    german = csv(people(job=["Köchin", "Bäcker", "Arzt"] * 20))
    comma = lines(people(income=[f"{1000 + 37 * i},5" for i in EACH]), ";")
    pipe = [*BASE[:20], *BASE[:1], *BASE[20:]]
    return [
        Case("plain", PLAIN, names=("age", "sex", "job", "y"), kinds={"age": "number", "y": "yes/no"}),
        Case("no line end at the end", PLAIN.rstrip(b"\n")),
        Case("windows line ends", text(BASE, "\r\n")),
        Case("old mac line ends", text(BASE, "\r")),
        Case("tsv", csv(people(), "\t"), "table.tsv", notes=("separated by tabs",)),
        Case("semicolons", csv(people(), ";"), notes=("separated by semicolons",)),
        Case("vertical bars", csv(people(), "|"), "table.txt", notes=("separated by vertical bars",)),
        Case("spaces", csv(people(), " "), "table.asc", notes=("separated by spaces",)),
        Case("sep line", b"sep=;\n" + csv(people(), ";"), names=("age",), notes=("semicolons",)),
        Case("BOM", b"\xef\xbb\xbf" + PLAIN, names=("age",)),
        Case("BOM and semicolons", b"\xef\xbb\xbf" + csv(people(), ";"), names=("age",), notes=("semicolons",)),
        Case("utf-16", PLAIN.decode().encode("utf-16"), notes=("read as UTF-16",)),
        Case("utf-16 big endian", b"\xfe\xff" + PLAIN.decode().encode("utf-16-be"), notes=("UTF-16",)),
        Case("utf-16 without BOM", PLAIN.decode().encode("utf-16-le"), notes=("UTF-16",)),
        Case("utf-32", PLAIN.decode().encode("utf-32"), notes=("UTF-32",)),
        Case("windows-1252", german.decode().encode("cp1252"), notes=("Windows-1252",), kinds={"job": "category"}),
        Case("latin-1", german.decode().encode("latin-1").replace(b"Arzt", b"Arz\x81"), notes=("Latin-1",)),
        Case("decimal comma", text(comma), kinds={"income": "number"}, notes=("semicolons",)),
        Case("cut off in the last row", PLAIN[:-8], rows=ROWS - 1, notes=("wrong number of values left out: row 60",)),
        Case("two ragged rows", text([*BASE[:5], "1,2", *BASE[5:9], "1,2,3,4,5", *BASE[9:]]),
             notes=("2 rows with a wrong number of values left out: rows 5, 10",)),
        Case("blank lines", text([*BASE[:5], "", "  ", *BASE[5:]]), rows=ROWS),
        Case("rows without values", text([*BASE[:5], ",,,", ", ,NA,", *BASE[5:]]), notes=("2 rows without any value",)),
        Case("comment lines first", text(["# made by a machine", "# on a Monday", *BASE]), notes=("2 lines before",)),
        Case("title first", text(["People, and what was decided", "", *BASE][:1] + BASE), notes=("1 line before",)),
        Case("comment line in the middle", text([*BASE[:9], "# here", *BASE[9:]]), notes=("1 row with a wrong",)),
        Case("header repeated", text(pipe), notes=("header was repeated in 1 row",)),
        Case("no header", text(["39,F,cook,no", *BASE[1:]]), rows=ROWS + 1, names=("column 1", "column 4"),
             notes=("no header",), choice={"target": "column 4", "sensitive": ("column 2",)}),
        Case("trailing delimiter in the rows", text([BASE[0], *(r + "," for r in BASE[1:])]),
             kinds={"column 5": "mostly missing"}, notes=("one name less",)),
        Case("trailing delimiter everywhere", text([r + "," for r in BASE]), kinds={"column 5": "mostly missing"}),
        Case("trailing delimiter in the header", text([BASE[0] + ",", *BASE[1:]]), notes=("empty name at the end",)),
        Case("row names of R", text([BASE[0], *(f"r{i},{r}" for i, r in enumerate(BASE[1:]))]),
             kinds={"column 1": "identifier"}, notes=("one name less",)),
        Case("index column", text(["," + BASE[0], *(f"{i},{r}" for i, r in enumerate(BASE[1:]))]),
             kinds={"column 1": "identifier"}, notes=("1 column without a name",)),
        Case("quoted line breaks", text(changed(BASE, 9, '33,F,"cook\nand nurse",yes'))),
        Case("quote inside a value", text(changed(BASE, 9, '33,F,5" pipe,yes'))),
        Case("long cell", text(changed(BASE, 9, f"33,F,{'x' * 200_000},yes"))),
        Case("duplicate names", PLAIN.replace(b"age,sex,job", b"sex,sex,sex"), names=("sex", "sex (2)", "sex (3)"),
             notes=("2 duplicate column names numbered",), choice={"target": "y", "sensitive": ("sex (2)",)}),
        Case("names that differ in capitals", PLAIN.replace(b"age,sex,job", b"Sex,sex,SEX"),
             names=("Sex", "sex", "SEX"), notes=("differ only in capitals",)),
        Case("blank names", PLAIN.replace(b"age,sex,job", b" ,sex,\t "), names=("column 1", "sex", "column 3"),
             notes=("2 columns without a name",)),
        Case("spaces around everything", PLAIN.replace(b",", b" , "), names=("age", "sex", "job", "y"),
             kinds={"y": "yes/no", "age": "number"}),
        Case("parquet", parquet(pa.Table.from_pandas(FRAME)), "table.parquet", kinds={"age": "number"}),
        Case("parquet with another name", parquet(pa.Table.from_pandas(FRAME)), "table.csv"),
        Case("parquet with a nested column",
             parquet(pa.Table.from_pandas(FRAME).append_column("tags", pa.array([["a"]] * ROWS))),
             notes=("1 column of nested or binary values left out: tags",)),
        Case("parquet of every type", parquet(pa.table({
            "flag": pa.array([True, False] * 30), "sex": pa.array(FRAME["sex"]).dictionary_encode(),
            "when": pa.array(pd.date_range("2020-01-01", periods=ROWS)), "amount": pa.array(np.linspace(0, 9, ROWS)),
            "y": pa.array([0.0, 1.0] * 30)})), kinds={"flag": "yes/no", "when": "date", "amount": "number"},
             classes=("0", "1")),
    ]  # fmt: skip


def strange_columns() -> list[Case]:
    """Values and names that tempt a program to do something foolish."""
    once = {"target": "y", "sensitive": ("sex",)}
    rng = np.random.default_rng(5)
    script, formula, emoji = "<script>alert(1)</script>", "=cmd|'/c calc'!A1", "decision 🙂👩‍👩‍👧 | *bold* `x`"
    dates = [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2020" for i in EACH]
    cities = people(2000, city=[f"city {i % 1500}" for i in rng.permutation(2000)])
    return [
        Case("html in names", csv(people(**{script: YES})), names=(script,), choice={**once, "left_out": (script,)}),
        Case("formula in names", csv(people(**{formula: people()["age"]})), names=(formula,)),
        Case("emoji and markdown in names", csv(people(**{emoji: people()["job"]})), names=(emoji,)),
        Case("html as sensitive column", PLAIN.replace(b"sex", script.encode()),
             choice={"target": "y", "sensitive": (script,)}),
        Case("names with the signs between names",
             csv(people(**{"a x b": people()["sex"], "c;d=e + f": people()["age"]})),
             choice={"target": "y", "sensitive": ("a x b", "c;d=e + f"), "cuts": {"c;d=e + f": [40]}},
             groups=("F & c;d=e + f < 40", "F & c;d=e + f >= 40", "M & c;d=e + f < 40", "M & c;d=e + f >= 40")),
        Case("name of 5,000 characters", PLAIN.replace(b"job", b"j" * 5000), names=("j" * 200,), notes=("cut to 200",)),
        Case("text direction tricks in names", PLAIN.replace(b"job", "j\u202eob".encode()), names=("j ob",)),
        Case("2,000 columns", wide(2000), names=("x1995",)),
        Case("10,000 categories", csv(people(10_000, code=[f"k{i}" for i in range(10_000)])), rows=10_000,
             kinds={"code": "identifier"}),
        Case("1,500 cities", csv(cities), rows=2000, kinds={"city": "category"}),
        Case("sensitive column of 1,500 values", csv(cities), rows=2000,
             choice={"target": "y", "sensitive": ("city",)}, choice_refused="cannot make groups"),
        Case("dates", csv(people(born=dates)), kinds={"born": "date"}),
        Case("times", csv(people(at=[f"2020-01-{1 + i % 28:02d} 06:{i:02d}:00" for i in EACH])), kinds={"at": "date"}),
        Case("booleans as text", csv(people(y=["TRUE", "False", "true"] * 20)), kinds={"y": "yes/no"}),
        Case("every spelling of yes", csv(people(y=["yes", "No", "YES", "no", "Y", "n"] * 10)), kinds={"y": "yes/no"},
             classes=("no", "yes")),
        Case("spaces inside the target", csv(people(y=["yes", " yes", "no", "no "] * 15)), classes=("no", "yes")),
        Case("german yes and no", csv(people(y=["ja", "nein"] * 30)), classes=("nein", "ja")),
        Case("target 0.0 and 1.0", csv(people(y=["0.0", "1.0"] * 30)), classes=("0", "1")),
        Case("negative zero", csv(people(y=["-0.0", "0", "1"] * 20)), classes=("0", "1")),
        Case("codes with and without decimals", csv(people(y=["1", "1.0", "2", "3.0"] * 15)), classes=("1", "2", "3")),
        Case("mixed types", csv(people(height=[*range(100, 218, 2), "tall"])), kinds={"height": "number"}),
        Case("half text, half numbers", csv(people(mixed=["a", 1, 2.5, "b"] * 15)), kinds={"mixed": "category"}),
        Case("infinite values", csv(people(x=[*np.linspace(0, 9, 59), "inf"])), kinds={"x": "number"}),
        Case("thousands marks", csv(people(pay=[f'"{i + 1},{i + 100},500"' for i in EACH])),
             kinds={"pay": "number"}),
        Case("currency and percent", csv(people(pay=[f"€ {i}.5" for i in EACH], share=[f"{i % 20} %" for i in EACH])),
             kinds={"pay": "number", "share": "number"}),
        Case("numbers with spaces", csv(people(pay=[f" {i + 1} {i + 100} " for i in EACH])), kinds={"pay": "number"}),
        Case("huge integers", csv(people(big=[9_007_199_254_740_993_000 + 7 * i for i in EACH])),
             kinds={"big": "identifier"}),
        Case("running numbers", csv(people(row=list(EACH))), kinds={"row": "identifier"}),
        Case("postcodes", csv(people(zip=[f"0{1000 + i % 9}" for i in EACH])), kinds={"zip": "category"}),
        Case("free text", csv(people(essay=[f"I have worked for {i} years in a very large kitchen" for i in EACH])),
             kinds={"essay": "free text"}),
        Case("a constant", csv(people(land=["x"] * ROWS)), kinds={"land": "constant"}),
        Case("a column without values", csv(people(gone=["NA", "", "?"] * 20)), kinds={"gone": "mostly missing"}),
        Case("mostly missing", csv(people(rare=["1", "2", *[""] * 58])), kinds={"rare": "mostly missing"}),
        Case("every word for missing", csv(people(sex=["F", "M", "N/A", "?", "-", "null"] * 10)), groups=("F", "M")),
    ]  # fmt: skip


def strange_choices() -> list[Case]:
    """Tables whose target or group cannot be used, or gives itself away."""

    def chosen(**how: Any) -> dict[str, Any]:
        return {"target": "y", "sensitive": ("sex",), **how}

    few = people(y=["no", "yes", *["NA"] * 58])
    ages = people(2000)
    return [
        Case("target without values", csv(people(y=["NaN"] * ROWS)), choice_refused="cannot be the target"),
        Case("infinite target", csv(people(y=["inf"] * 30 + ["-inf"] * 30)), choice=chosen(), classes=("-inf", "inf")),
        Case("target with gaps", csv(people(y=["no", "yes", "nan"] * 20))),
        Case("target in two rows", csv(few), choice_refused="cannot be the target"),
        Case("one class", csv(people(y=["yes"] * ROWS)), choice_refused="cannot be the target"),
        Case("one class where the group is known",
             csv(people(y=["yes"] * 30 + ["no"] * 30, sex=["F", "M"] * 15 + [""] * 30)),
             choice_refused="holds one class only (yes)"),
        Case("one group", csv(people(sex=["F"] * ROWS)), choice_refused="cannot make groups"),
        Case("group of one row", csv(people(sex=["X", *["F", "M"] * 29, "F"])), warns="fewer than 30 rows",
             groups=("F", "M", "X")),
        Case("ten rows", csv(people(10)), rows=10, choice_refused="Only 10 of 10 rows"),
        Case("number as target", csv(ages), rows=2000, choice=chosen(target="age"),
             choice_refused="give a boundary that makes classes of it, such as age="),
        Case("number as target, cut", csv(ages), rows=2000, choice=chosen(target="age", cuts={"age": [30, 50]}),
             classes=("< 30", "30 to < 50", ">= 50")),
        Case("number as group", csv(ages), rows=2000, choice=chosen(sensitive=("age",), cuts={"age": [25]}),
             groups=("age < 25", "age >= 25")),
        Case("group cut outside its values", csv(ages), rows=2000,
             choice=chosen(sensitive=("age",), cuts={"age": [200]}), choice_refused="holds one group only"),
        Case("target is the group", PLAIN, choice=chosen(sensitive=("y",)), choice_refused="at once"),
        Case("no such target", PLAIN, choice=chosen(target="z"), choice_refused="has no column 'z'"),
        Case("no such positive class", PLAIN, choice=chosen(positive="maybe"), choice_refused="is no value of 'y'"),
        Case("no inputs left", PLAIN, choice=chosen(left_out=("age", "job")), choice_refused="No column is left"),
        Case("target also among the inputs", csv(people(copy=YES)), warns="is a copy of the target"),
        Case("perfect leak", csv(people(400, score=[9 if v == "yes" else 1 for v in people(400)["y"]])), rows=400,
             warns="'score' tells the target 'y' nearly by itself"),
        Case("perfect proxy", csv(people(400, title=["Ms" if v == "F" else "Mr" for v in people(400)["sex"]])),
             rows=400, warns="'title' tells 'sex' nearly by itself"),
        Case("column named after the target", csv(people(income=YES, income_group=people()["job"])),
             choice=chosen(target="income"), warns="is named after the target"),
        Case("prediction with other classes", csv(people(guess=["a", "b"] * 30)), choice=chosen(prediction="guess"),
             choice_refused="predicts a, b"),
        Case("scores as prediction", csv(people(guess=np.linspace(0, 1, ROWS))), choice=chosen(prediction="guess"),
             choice_refused="holds no decisions"),
    ]  # fmt: skip


CASES = (*no_tables(), *repaired(), *strange_columns(), *strange_choices())
