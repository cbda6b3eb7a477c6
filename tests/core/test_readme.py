"""The README names all there is: every method and data set with a row of its own, every table and benchmark."""

import re
from pathlib import Path

import pytest

from fairness_core import datasets, methods, reproduce

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def rows(heading: str) -> list[str]:
    """The names in backquotes in the first column of the table under a heading."""
    (part,) = re.findall(rf"^## {heading}\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)
    first = re.findall(r"^\| (`[^|]*) \|", part, re.MULTILINE)
    return re.findall(r"`(\w+)`", " ".join(first))


def listed(command: str, end: str) -> list[str]:
    """The names in the comment that follows a command."""
    (part,) = re.findall(rf"fairness_core {command} [^#]*(#.*?){end}", README, re.DOTALL)
    return re.findall(r"[a-z]+[\w-]*", part)


@pytest.mark.parametrize(
    ("named", "existing"),
    [
        (rows("Methods"), list(methods.METHODS)),
        (rows("Data sets"), list(datasets.SOURCES)),
        (listed("reproduce", r"\n\.venv"), list(reproduce.TABLES)),
        (listed("bench", "\n```"), [p.stem for p in (ROOT / "benchmarks").glob("[!_]*.py")]),
    ],
    ids=["methods", "data sets", "tables", "benchmarks"],
)
def test_everything_is_named_once(named: list[str], existing: list[str]) -> None:
    assert sorted(named) == sorted(existing)
