"""Own tables: same bytes same name, choices kept and checked, rows encoded honestly, and deletion complete."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fairness_core import audit, datasets
from fairness_core.config import Control, UserError, complete, resolve
from fairness_core.datasets import own, own_rows
from fairness_core.datasets.base import OTHER
from fairness_core.datasets.leaks import tells
from tests.broken_tables import ROWS, csv, people


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tables"


@pytest.fixture
def add(folder, tmp_path):
    def put(table=None, filename="People 2024.csv", **choice):
        path = tmp_path / "upload"
        path.write_bytes(csv(table or people()))
        made = own.add(folder, path, filename)
        return own.choose(folder, made.name, **choice) if choice else made

    return put


def load(folder, table, **options):
    return datasets.load(table.name, options, tables=folder)


# -- what is kept


def test_the_same_bytes_have_the_same_name_and_keep_their_choice(add, folder):
    first = add(target="y", sensitive=["sex"])
    assert first.name.startswith("people-2024-")
    assert len(first.name) == len("people-2024-") + 8
    assert add().choice == first.choice
    assert add(filename="../../evil name;rm -rf.csv").name.startswith("evil-name-rm-rf-")
    assert add(filename="表.csv").name.startswith("table-")
    assert len(own.tables(folder)) == 3


def test_a_name_never_leaves_the_folder(folder, add, tmp_path):
    made = add()
    for name in ("..", ".", "", "../upload", f"{made.name}/..", "/etc"):
        assert own.table(folder, name) is None
        own.remove(folder, name)
    assert own.table(folder, made.name) is not None
    assert (tmp_path / "upload").exists()


def test_a_damaged_table_is_not_listed_and_comes_back_by_adding_it_again(add, folder):
    kept = add(filename="other.csv")
    made = add()
    (made.folder / "table.json").write_text("{")
    assert [t.name for t in own.tables(folder)] == [kept.name]
    assert add().rows == ROWS
    (made.folder / "rows.parquet").unlink()
    with pytest.raises(UserError, match="damaged or gone; delete the table and add it again"):
        own.choose(folder, made.name, target="y", sensitive=["sex"])


def test_removing_takes_the_rows(add, folder):
    made = add(target="y", sensitive=["sex"])
    own.remove(folder, made.name)
    assert not made.folder.exists()
    assert own.tables(folder) == []
    with pytest.raises(UserError, match="There is no dataset"):
        load(folder, made, split_seed=77)


# -- what is guessed and chosen


def test_a_likely_target_and_group_are_proposed(add):
    made = own.proposal(add())
    assert (made.target, made.positive, made.sensitive, made.left_out) == ("y", "yes", ("sex",), ())
    table = people(Geschlecht=people()["sex"], id=range(ROWS), approved=people()["y"])
    del table["sex"], table["y"]
    made = own.proposal(add(table))
    assert (made.target, made.sensitive, made.left_out) == ("approved", ("Geschlecht",), ("id",))


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"target": "", "sensitive": ["sex"]}, "has no target yet"),
        ({"target": "y", "sensitive": []}, "has no sensitive column yet"),
        ({"target": "y", "sensitive": ["sex", "job", "age", "y"]}, "choose one to three"),
        ({"target": "y", "sensitive": ["sex", "sex"]}, "each once"),
        ({"target": "y", "sensitive": ["sex"], "left_out": ["z"]}, "has no column 'z'"),
        ({"target": "y", "sensitive": ["sex"], "prediction": "y"}, "has another part too"),
        ({"target": "y", "sensitive": ["sex"], "score": "age"}, "needs a prediction"),
        ({"target": "y", "sensitive": ["sex"], "prediction": "job", "score": "job"}, "holds no numbers"),
    ],
)
def test_an_impossible_choice_is_one_sentence_and_keeps_the_old_one(add, folder, choice, says):
    made = add(target="y", sensitive=["job"])
    with pytest.raises(UserError, match=says):
        own.choose(folder, made.name, **choice)
    assert own.table(folder, made.name).choice == made.choice


def test_the_entry_says_what_every_page_needs_and_its_defaults_are_the_choice(add, folder):
    table = people(points=np.random.default_rng(3).normal(size=ROWS))
    choice = {"target": "y", "positive": "no", "sensitive": ["sex", "age"], "cuts": {"age": [30, 50]}}
    made = add(table, **choice, left_out=["job"])
    entry = json.loads(json.dumps(own.entry(made)))
    assert (entry["classes"], entry["positive"], entry["task"]) == (["yes", "no"], "no", "binary")
    assert entry["missing"] == ""
    assert entry["data_hash"] == made.data_hash
    defaults = {c["name"]: c["default"] for c in entry["controls"]}
    assert defaults["sensitive"] == "sex x age"
    assert defaults["cuts"] == "age=30,50"
    assert defaults["left_out"] == "job"
    options = complete(map(Control.from_json, entry["controls"]), {}, "table")
    assert own.source(made, options).load(None).classes == ("yes", "no")
    untouched = own.entry(add(people(61)))
    assert "choose them on the page Data" in untouched["missing"]


def test_a_run_of_an_own_table_is_resolved_like_any_other(add):
    made = add(target="y", sensitive=["sex"])
    control = {"controls": [], "takes": "table", "kind": "table"}
    known = {"datasets": {made.name: own.entry(made)}, "methods": {"erm": control}, "models": {"mlp": control}}
    config = resolve(known, dataset=made.name, method="erm", dataset_options={"sensitive": "job,sex"})
    assert config.dataset_options["sensitive"] == "job x sex"
    assert config.data_hash == made.data_hash


def test_wide_tables_have_controls_that_can_be_read_back(add):
    rng = np.random.default_rng(1)
    made = add(people(**{f"x{i}": rng.integers(0, 99, ROWS) for i in range(1900)}), target="y", sensitive=["sex"],
               left_out=[f"x{i}" for i in range(1800)])  # fmt: skip
    assert len(own.source(made, {}).load(None).features) == 1 + 3 + 100


# -- what is loaded


def test_rows_are_split_by_class_and_group_and_encoded_as_they_were_read(add, folder):
    data = load(folder, add(people(600), target="y", sensitive=["sex"]))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [360, 120, 120]
    assert data.features == ("age", "job=clerk", "job=cook", "job=nurse")
    assert (data.name, data.classes, data.groups) == (own.tables(folder)[0].name, ("no", "yes"), ("F", "M"))
    rates = [part.y.mean() for part in (data.train, data.validation, data.test)]
    assert np.ptp(rates) < 0.02
    table = people(600)
    everyone = np.concatenate([part.y for part in (data.train, data.validation, data.test)])
    assert everyone.sum() == table["y"].count("yes")


def test_rows_without_target_or_group_are_left_out_and_counted(add, folder):
    table = people(y=["no", "yes", "NA"] * 20, sex=["F", "M", "F", "", "F", "M"] * 10)
    made = add(table, target="y", sensitive=["sex"])
    assert made.used == 30
    assert "30 of 60 rows have no target or no group" in own.entry(made)["cautions"][0]
    data = load(folder, made)
    assert sum(len(part) for part in (data.train, data.validation, data.test)) == 30
    assert data.groups == ("F", "M")


def test_the_options_of_a_run_win_over_the_choice(add, folder):
    made = add(people(600), target="y", sensitive=["sex"])
    data = load(folder, made, target="job", positive="cook", sensitive="age x sex", cuts="age=40", left_out="(nothing)")
    assert data.classes == ("clerk", "nurse", "cook")
    assert data.task == "multiclass"
    assert data.groups[0] == "age < 40 & F"
    assert data.features == ("y=no", "y=yes")
    kept = load(folder, made, sensitive_input="keep")
    assert "sex=F" in kept.features
    with pytest.raises(UserError, match="is no value of 'job'"):
        load(folder, made, target="job")
    with pytest.raises(UserError, match="names no numeric column"):
        load(folder, made, cuts="job=3")


def test_a_large_table_is_sampled_with_the_shares_of_every_cell(add, folder):
    made = add(people(4000, sex=["X"] * 3 + ["F"] * 1000 + ["M"] * 2997), target="y", sensitive=["sex"])
    data = load(folder, made, most_rows=400)
    s = np.concatenate([part.s for part in (data.train, data.validation, data.test)])
    assert 400 <= len(s) <= 406
    assert np.bincount(s)[0] == pytest.approx(100, abs=2)
    assert np.bincount(s)[2] >= 1
    again = own.source(made, {"most_rows": 400}).load(None)
    assert np.array_equal(again.train.x, data.train.x)
    other = load(folder, made, most_rows=400, split_seed=1)
    assert not np.array_equal(other.train.x, data.train.x)


def test_rare_categories_are_one_and_learned_from_training_rows_alone(add, folder, monkeypatch):
    monkeypatch.setattr(own_rows, "MOST_LEVELS", 3)
    table = people(600, town=[f"t{min(i % 50, 5)}" for i in range(600)])
    data = load(folder, add(table, target="y", sensitive=["sex"]))
    towns = [name for name in data.features if name.startswith("town=")]
    assert len(towns) == 3
    assert towns[-1] == f"town={OTHER}"
    block = data.test.x[:, [data.features.index(name) for name in towns]]
    assert (block.sum(1) == 1).all()


def test_the_data_page_sees_the_rows_as_people_read_them(add, folder):
    made = add(people(600, id=range(600)), target="y", sensitive=["sex"])
    rows = datasets.explore(made.name, {}, tables=folder)
    assert list(rows.frame.columns) == ["sex", "age", "job"]
    assert rows.frame["age"].dtype == np.float64
    assert set(rows.frame["sex"]) == {"F", "M"}
    assert (rows.target, rows.sensitive, len(rows)) == ("y", ("sex",), 360)


def test_the_bias_dial_turns_training_rows_only(add, folder):
    made = add(people(2000), target="y", sensitive=["sex"])
    before, after = load(folder, made), load(folder, made, association=0.6)
    assert len(after.train) < len(before.train)
    assert np.array_equal(after.test.y, before.test.y)
    agreement = abs(np.corrcoef(after.train.y, after.train.s)[0, 1])
    assert agreement == pytest.approx(0.6, abs=0.02)


# -- leaks


def test_telling_is_judged_on_rows_that_were_not_learned_from():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4000)
    assert tells(y, y) == 1.0
    assert tells(rng.integers(0, 900, 4000), y) == pytest.approx(0.5, abs=0.05)
    assert tells(np.arange(4000), y) == 0.0
    rare = (rng.random(4000) < 0.02).astype(np.int64)
    assert tells(np.zeros(4000, np.int64), rare) == 0.5


# -- ready-made decisions


def test_decisions_are_counted_like_those_of_a_file(add, folder, tmp_path):
    table = people(300)
    rng = np.random.default_rng(2)
    table["decision"] = [v if rng.random() < 0.8 else "no" for v in table["y"]]
    table["p"] = [round(0.7 * (v == "yes") + 0.3 * rng.random(), 3) for v in table["decision"]]
    made = add(table, target="y", sensitive=["sex"], prediction="decision", score="p")
    found = own.decisions(made)
    report = audit.of_decisions(found.y, found.predicted, found.s, found.classes, found.groups, found.score)
    of_file = audit.audit(tmp_path / "upload", "y", "decision", ["sex"], "p", "yes")
    assert report["metrics"] == of_file["metrics"]
    assert report["confusion"].tolist() == of_file["confusion"].tolist()
    assert (report["auc"], report["group_auc"]) == (of_file["auc"], of_file["group_auc"])
    assert not {"decision", "p"} & {name.split("=")[0] for name in load(folder, made).features}


def test_a_prediction_may_be_spelled_in_another_way(add):
    truth = ["yes", "no", "yes", "no"] * 15
    for spelled in (["1", "0"], ["1.0", "0.0"], ["YES", "No"], ["true", "false"]):
        decided = [spelled[0] if v == "yes" else spelled[1] for v in truth]
        made = add(people(y=truth, decided=decided), target="y", sensitive=["sex"], prediction="decided")
        found = own.decisions(made)
        assert np.array_equal(found.y, found.predicted), spelled


def test_numbers_predicted_are_cut_where_the_target_is(add):
    table = people(200)
    table["guess"] = [age + 0.5 for age in table["age"]]
    made = add(table, target="age", cuts={"age": [40]}, sensitive=["sex"], prediction="guess")
    found = own.decisions(made)
    assert np.array_equal(found.y, found.predicted)
    assert found.classes == ("< 40", ">= 40")
