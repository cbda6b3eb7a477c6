"""Bank, COMPAS, South German Credit, MEPS and Communities: as published, and unmoved by what validation and test hold.

Counts are checked on the original files where they are; everything else on stand-ins in the same layout.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fairness_core import datasets
from fairness_core.config import UserError, complete, controls_of
from fairness_core.datasets import SOURCES, bank, communities, compas, meps, south_german
from fairness_core.datasets.base import MISSING, Dataset
from fairness_core.datasets.tabular import TableSource
from tests.published import ROWS, SOMEBODY, WRITERS, write_tables

MODULES = {"bank": bank, "compas": compas, "south_german": south_german, "meps": meps, "communities": communities}
NAMES = tuple(MODULES)
FIRST_FILE = {name: SOURCES[name].files.names[0] for name in NAMES}
FFB = {"split": "40:30:30"}


def source(name: str, **options: object) -> TableSource:
    made: TableSource = SOURCES[name](**complete(controls_of(SOURCES[name]), options, name))  # type: ignore[arg-type]
    return made


def load(name: str, folder: Path, **options: object) -> Dataset:
    return source(name, **options).load(folder)


@pytest.fixture
def tables(tmp_path: Path, empty_cache: Path) -> Path:
    return write_tables(tmp_path / "data")


def parts(data: Dataset) -> tuple[Any, ...]:
    return data.train, data.validation, data.test


@pytest.mark.parametrize(
    ("name", "options", "positive", "groups", "inputs"),
    [
        ("bank", {}, 4640, {"age < 25": 1068, "age >= 25": 40120}, 63),
        ("bank", {**FFB, "pdays": "999"}, 4640, {"age < 25": 1068, "age >= 25": 40120}, 62),
        ("compas", {**FFB, "charges": "all"}, 3363, {"Caucasian": 2103, "Not Caucasian": 4069}, 401),
        ("compas", {**FFB, "charges": "all", "sensitive": "sex"}, 3363, {"Female": 1175, "Male": 4997}, 405),
        (
            "compas",
            {"races": "African-American and Caucasian", "charges": "all"},
            2795,
            {"African-American": 3175, "Caucasian": 2103},
            377,  # 24 charges were faced by other people only
        ),
        ("south_german", {}, 700, {"man, not single": 598, "woman or single man": 402}, 68),
        ("south_german", {"sensitive": "age"}, 700, {"age < 26": 190, "age >= 26": 810}, 71),
        ("south_german", {"sensitive": "foreign_worker"}, 700, {"foreign worker": 37, "no foreign worker": 963}, 70),
        ("meps", {}, 2703, {"Non-White": 10105, "White": 5625}, 137),
    ],
)
def test_rows_labels_groups_and_inputs_are_the_published_ones(
    real_data: Path, name: str, options: dict[str, str], positive: int, groups: dict[str, int], inputs: int
) -> None:
    data = load(name, real_data, **options)
    y, s = (np.concatenate([getattr(part, what) for part in parts(data)]) for what in "ys")
    assert dict(zip(data.groups, np.bincount(s).tolist(), strict=True)) == groups
    assert (len(y), int(y.sum())) == (sum(groups.values()), positive)
    assert data.train.x.shape[1] == len(data.features) == inputs


def test_meps_keeps_the_published_files_apart(real_data: Path) -> None:
    data = load("meps", real_data)
    assert [len(part) for part in parts(data)] == [11362, 1200, 3168]
    cells = np.bincount(2 * data.train.s + data.train.y).tolist()
    assert cells == [6347, 916, 3054, 1045]


def test_communities_is_the_published_regression(real_data: Path) -> None:
    data = load("communities", real_data)
    y, s = (np.concatenate([getattr(part, what) for part in parts(data)]) for what in "ys")
    assert (y.dtype, len(y), round(float(y.mean()), 3)) == (np.float32, 1994, 0.238)
    assert dict(zip(data.groups, np.bincount(s), strict=True)) == {
        "Black share < 0.06": 956,
        "Black share >= 0.06": 1038,
    }
    assert data.task == "regression"
    assert len(data.classes) == len(data.edges) + 1
    assert len(communities.NUMERIC) == 122  # as communities.names says


def test_the_benchmarks_split_of_compas_has_its_sizes(real_data: Path) -> None:
    data = load("compas", real_data, **FFB)
    assert [len(part) for part in parts(data)] == [2469, 1851, 1852]
    assert np.ptp([part.y.mean() for part in parts(data)]) < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_loads_with_every_sensitive_attribute(tables: Path, name: str) -> None:
    for control in controls_of(SOURCES[name]):
        if control.name == "sensitive":
            for choice in control.choices:
                data = load(name, tables, sensitive=choice)
                assert len(data.groups) > 1
                assert all(np.isfinite(part.x).all() for part in parts(data))
                assert not [f for f in data.features if f.split("=")[0] == choice]
            both = load(name, tables, sensitive=" x ".join(control.choices[:2]))
            assert any(" & " in group for group in both.groups)


@pytest.mark.parametrize("name", NAMES)
def test_two_loads_give_the_same_arrays_and_hash(tables: Path, name: str) -> None:
    first, hash_before = load(name, tables), SOURCES[name].data_hash(tables)
    assert source(name).read(tables) is source(name).read(tables)
    MODULES[name]._read.cache_clear()
    again = load(name, tables)
    assert SOURCES[name].data_hash(tables) == hash_before
    for one, other in zip(parts(first), parts(again), strict=True):
        assert np.array_equal(one.x, other.x)
        assert np.array_equal(one.y, other.y)
        assert np.array_equal(one.s, other.s)


@pytest.mark.parametrize("name", NAMES)
def test_another_file_is_read_again_and_has_another_hash(tables: Path, name: str) -> None:
    before, hash_before = source(name).read(tables), SOURCES[name].data_hash(tables)
    WRITERS[name](tables / name, ROWS // 2, np.random.default_rng(1))
    assert len(source(name).read(tables)) < len(before)
    assert SOURCES[name].data_hash(tables) != hash_before


@pytest.mark.parametrize("name", NAMES)
def test_what_validation_and_test_hold_does_not_move_the_encoding_of_training(tables: Path, name: str) -> None:
    made = source(name)
    rows = made.prepare(tables)
    x, features = made.encode(rows, tables)
    frame = rows.frame.copy()
    held_out = np.concatenate(rows.parts[1:])
    for column in (*made.numeric, *made.categorical):
        changed = frame[column].to_numpy(object, copy=True)
        changed[held_out] = 1e6 if column in made.numeric else "never seen in training"
        frame[column] = pd.array(changed, dtype="Float64" if column in made.numeric else "str")
    x_changed, features_changed = made.encode(dataclasses.replace(rows, frame=frame), tables)
    assert features_changed == features
    assert np.array_equal(x_changed[rows.parts[0]], x[rows.parts[0]])
    assert not np.array_equal(x_changed[held_out], x[held_out])


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_one_sentence_with_its_folder(tables: Path, name: str) -> None:
    (tables / name / FIRST_FILE[name]).unlink()
    sentence = SOURCES[name].missing(tables)
    assert FIRST_FILE[name] in sentence
    assert str(tables / name) in sentence
    with pytest.raises(UserError) as raised:
        load(name, tables)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-2],
        lambda raw: b"",
        lambda raw: b"\x89PNG\r\n\x1a\n\x00\x00" * 50,
        lambda raw: b"\n",
        lambda raw: raw.replace(b";", b"|").replace(b",", b"|").replace(b" ", b"|"),
        lambda raw: raw.replace(b"\n", b"\nbroken line,", 40).replace(b"1", b"one"),
    ],
    ids=["half", "last-bytes", "empty", "picture", "blank", "delimiter", "text-for-numbers"],
)
def test_a_spoilt_file_is_one_sentence_that_names_it(tables: Path, name: str, spoil: Any) -> None:
    path = tables / name / FIRST_FILE[name]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError) as raised:
        load(name, tables)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["bank", "compas", "south_german", "meps"])
def test_a_header_without_rows_is_one_sentence(tables: Path, name: str) -> None:
    path = tables / name / FIRST_FILE[name]
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    with pytest.raises(UserError, match=f"{path} is not as published .0 rows of"):
        load(name, tables)


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("bank", b'"married"', b'"maried"', "marital holds maried"),
        ("compas", b",0\n", b",7\n", "two_year_recid is not 0 or 1"),
        ("meps", b",1,0,", b",1,1,", "exactly one value of"),
        ("meps", b",1,0,", b",3,0,", "zeros and ones"),
        ("south_german", b" 1\r\n", b" 9\r\n", "not in the code table"),
    ],
)
def test_a_value_outside_the_code_book_is_named(
    tables: Path, name: str, old: bytes, new: bytes, complaint: str
) -> None:
    path = tables / name / FIRST_FILE[name]
    head, _, body = path.read_bytes().partition(b"\n")
    assert old in body
    path.write_bytes(head + b"\n" + body.replace(old, new))
    with pytest.raises(UserError, match=complaint):
        load(name, tables)


def test_names_and_birthdays_of_compas_are_never_read(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SOMEBODY in (tables / "compas" / compas.FILE).read_text()
    asked: list[Any] = []
    read_csv = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *a, **how: asked.append(how.get("usecols")) or read_csv(*a, **how))
    compas._read.cache_clear()
    frame = source("compas").explore(tables).frame
    assert len(asked) == 1
    assert not {"name", "first", "last", "dob", "id"} & {*asked[0], *frame.columns}
    assert not frame.astype(str).isin([SOMEBODY, *SOMEBODY.split(), "1999-12-31"]).any(axis=None)


def test_propublicas_filter_takes_out_each_kind_of_row(tables: Path) -> None:
    raw = pd.read_csv(tables / "compas" / compas.FILE)
    kept = source("compas").read(tables)
    assert len(kept) == ROWS - ROWS // 10
    expected = raw.drop(index=np.arange(9, ROWS, 10))
    assert kept["age"].tolist() == expected["age"].tolist()
    assert kept["priors_count"].tolist() == expected["priors_count"].tolist()
    assert source("compas").labels(kept).tolist() == (1 - expected["two_year_recid"]).tolist()


def test_races_of_compas(tables: Path) -> None:
    assert load("compas", tables).groups == ("Caucasian", "Not Caucasian")
    two = load("compas", tables, races="African-American and Caucasian")
    assert two.groups == ("African-American", "Caucasian")
    assert sum(map(len, parts(two))) < sum(map(len, parts(load("compas", tables))))
    assert len(load("compas", tables, races="all six").groups) == 6
    assert "race=Hispanic" in load("compas", tables, sensitive="sex").features
    by_age = load("compas", tables, sensitive="age").features
    assert not any(name.startswith("age") for name in by_age)  # age_cat says the same


def test_the_benchmarks_split_looks_at_the_label_alone(tables: Path) -> None:
    for name, other in (("compas", "sex"), ("bank", "marital")):
        one = source(name, **FFB).prepare(tables).parts
        another = source(name, **FFB, sensitive=other).prepare(tables).parts
        assert all(np.array_equal(a, b) for a, b in zip(one, another, strict=True))


def test_all_charges_give_every_split_the_same_inputs(tables: Path) -> None:
    widths = {load("compas", tables, charges="all", split_seed=seed).features for seed in range(3)}
    assert len(widths) == 1


def test_unknown_and_never_called_are_gaps_of_bank(tables: Path) -> None:
    raw = pd.read_csv(tables / "bank" / bank.FILE, sep=";")
    frame = source("bank").read(tables)
    assert frame["pdays"].isna().tolist() == raw["pdays"].eq(bank.NEVER).tolist()
    assert frame["job"].isna().tolist() == raw["job"].eq("unknown").tolist()
    assert {"pdays is missing", f"job={MISSING}"} <= set(load("bank", tables).features)
    as_number = source("bank", pdays="999").table(tables)["pdays"]
    assert as_number.tolist() == raw["pdays"].tolist()
    assert "pdays is missing" not in load("bank", tables, pdays="999").features


def test_the_length_of_the_call_can_be_left_out(tables: Path) -> None:
    kept, dropped = load("bank", tables), load("bank", tables, duration="drop")
    assert [f for f in kept.features if f != "duration"] == list(dropped.features)
    left = [i for i, f in enumerate(kept.features) if f != "duration"]
    assert np.array_equal(kept.test.x[:, left], dropped.test.x)


def test_sex_in_south_german_is_what_the_code_table_can_say(tables: Path) -> None:
    frame = source("south_german").read(tables)
    pairs = set(zip(frame["personal_status_sex"], frame["sex"], strict=True))
    assert pairs == {
        ("male : divorced/separated", "man, not single"),
        ("male : married/widowed", "man, not single"),
        ("female : non-single or male : single", "woman or single man"),
        ("female : single", "woman or single man"),
    }
    assert not any(name.startswith(("sex", "personal_status_sex")) for name in load("south_german", tables).features)
    assert any(n.startswith("personal_status_sex") for n in load("south_german", tables, sensitive="age").features)


def test_meps_encodes_to_the_columns_it_was_read_from(tables: Path) -> None:
    raw = pd.read_csv(tables / "meps" / "meps_train.csv")
    data = load("meps", tables)
    assert sorted(data.features) == sorted(
        name.replace("=1", "=Male").replace("=2", "=Female") if name.startswith("SEX=") else name
        for name in (c if not c.startswith("REGION=") else f"REGION={meps.MEANING['REGION'][c[-1]]}" for c in raw)
        if name not in ("RACE", meps.TARGET)
    )
    assert np.array_equal(data.train.x[:, data.features.index("SEX=Female")], raw["SEX=2"])
    assert np.array_equal(data.train.x[:, data.features.index("POVCAT=5")], raw["POVCAT=5"])
    assert np.array_equal(data.train.s, raw["RACE"])
    assert np.array_equal(data.train.y, raw[meps.TARGET])


def test_communities_names_no_community(tables: Path) -> None:
    rows = source("communities").explore(tables)
    assert not {"state", "county", "community", "communityname", "fold", communities.TARGET} & set(rows.frame.columns)
    assert rows.frame["LemasSwornFT"].isna().any()
    data = load("communities", tables)
    assert {"LemasSwornFT", "LemasSwornFT is missing"} <= set(data.features)
    assert data.train.y.dtype == np.float32


@pytest.mark.parametrize("name", NAMES)
def test_every_table_says_where_it_is_from_and_what_is_known_against_it(name: str) -> None:
    made = SOURCES[name]
    assert made.cautions
    assert all(text.endswith(".") for text in made.cautions)
    assert all(getattr(made, what) for what in ("title", "origin", "licence", "favourable", "classes"))
    assert made.files.page.startswith("https://")


def test_datasets_load_reads_from_the_folder(tables: Path) -> None:
    data = datasets.load("south_german", complete(controls_of(SOURCES["south_german"]), {}, ""), tables)
    assert sum(map(len, parts(data))) == ROWS
