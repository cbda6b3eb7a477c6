"""Broken and odd tables: one sentence, or what the table holds with a note for whatever was not plain."""

from __future__ import annotations

import errno

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fairness_core import datasets
from fairness_core.config import UserError
from fairness_core.datasets import own, reading
from tests import broken_tables
from tests.broken_tables import CASES, ROWS, Case


@pytest.fixture
def folder(tmp_path):
    """A folder with one table that nothing may harm."""
    path = tmp_path / "good.csv"
    path.write_bytes(broken_tables.PLAIN.replace(b"cook", b"baker"))
    own.add(tmp_path / "tables", path, "good.csv")
    return tmp_path / "tables"


def is_one_sentence(message):
    return message.endswith(".") and "\n" not in message and "Traceback" not in message and len(message) < 600


def test_there_are_enough_of_them_and_each_has_its_name():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_broken_table_is_one_sentence_or_a_table(folder, tmp_path, case: Case):
    path = tmp_path / "upload"
    path.write_bytes(case.content)
    before = sorted(p.relative_to(folder) for p in folder.rglob("*"))
    if case.refused:
        with pytest.raises(UserError) as told:
            own.add(folder, path, case.filename)
        assert case.refused in str(told.value)
        assert is_one_sentence(str(told.value))
        assert sorted(p.relative_to(folder) for p in folder.rglob("*")) == before
    else:
        check_table(case, folder, own.add(folder, path, case.filename))
    assert [t.title for t in own.tables(folder)][-1] == "good.csv"


def check_table(case, folder, made):
    names = [c.name for c in made.columns]
    assert made.rows == case.rows
    assert set(case.names) <= set(names)
    for part in case.notes:
        assert any(part in note for note in made.notes), made.notes
    assert {c.name: c.kind for c in made.columns if c.name in case.kinds} == case.kinds
    if not case.notes:
        assert not [note for note in made.notes if "left out" in note]
    if case.choice_refused:
        with pytest.raises(UserError) as told:
            load(case, folder, own.choose(folder, made.name, **case.choice))
        assert case.choice_refused in str(told.value)
        assert is_one_sentence(str(told.value))
        return
    chosen = own.choose(folder, made.name, **case.choice)
    if case.warns:
        assert any(case.warns in sentence for sentence in chosen.warnings), chosen.warnings
    assert all(is_one_sentence(sentence) for sentence in (*chosen.notes, *chosen.warnings))
    load(case, folder, chosen)


def load(case, folder, chosen):
    data = datasets.load(chosen.name, {}, tables=folder)
    assert len(data.train) + len(data.validation) + len(data.test) == chosen.used
    assert np.isfinite(data.train.x).all()
    assert case.groups in ((), data.groups)
    assert case.classes in ((), data.classes)


# -- what the reader itself promises


def read(tmp_path, content, **how):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return reading.read(path, tmp_path / "rows.parquet", "t.csv", **how)


def test_values_arrive_as_written_but_for_blanks_and_missing_words(tmp_path):
    import pyarrow.parquet as pq

    read(tmp_path, b'a,b\n 1 ,"x,\ny"\nNA,"say ""hi"""\n?,None\n')
    table = pq.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table == {"c0": ["1", None], "c1": ["x,\ny", 'say "hi"']}


def test_rows_are_numbered_as_in_the_file_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 4096)
    rows = [f"{i},abcdefghij" for i in range(5000)]
    rows[4321] = "one value"
    done = read(tmp_path, "\n".join(["n,text", *rows]).encode())
    assert done.rows == 4999
    assert done.wrong == (4322,)


def test_progress_goes_from_nothing_to_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 4096)
    shares: list[float] = []
    read(tmp_path, b"a,b\n" + b"1,2\n" * 20_000, progress=shares.append)
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_reading_that_is_broken_off_leaves_nothing(folder, tmp_path):
    class StopNowError(BaseException):
        pass

    def stop(share):
        raise StopNowError

    path = tmp_path / "new.csv"
    path.write_bytes(broken_tables.csv(broken_tables.people(ROWS + 1)))
    with pytest.raises(StopNowError):
        own.add(folder, path, "new.csv", stop)
    assert [t.title for t in own.tables(folder)] == ["good.csv"]
    assert len(list(folder.iterdir())) == 1


def test_a_missing_or_too_large_file_is_one_sentence(folder, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="There is no file"):
        own.add(folder, tmp_path / "nowhere.csv", "nowhere.csv")
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    path = tmp_path / "new.csv"
    path.write_bytes(broken_tables.csv(broken_tables.people(ROWS + 1)))
    with pytest.raises(UserError, match="give a table of at most"):
        own.add(folder, path, "new.csv")


def test_a_full_disk_is_not_blamed_on_the_file(tmp_path, monkeypatch):
    source = tmp_path / "people.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), source)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reading._Writer, "write", full)
    with pytest.raises(UserError, match=r"No space left on device\); make room on the disk"):
        reading.read(source, tmp_path / "rows.parquet", "people.parquet")
