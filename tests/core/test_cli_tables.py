"""Own tables and missing files on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture
def people(tmp_path):
    """A table nobody has seen before: text, gaps and numbers, whose target leans on the group."""
    rng = np.random.default_rng(0)
    n = 400
    town = rng.choice(["north", "south"], n)
    pay = rng.normal(30, 8, n) + 5 * (town == "north")
    hired = np.where(pay + rng.normal(0, 4, n) > 33, "yes", "no")
    job = np.where(rng.random(n) < 0.1, "", rng.choice(["cook", "smith"], n))
    path = tmp_path / "people.csv"
    rows = ["town,pay,job,hired", *(f"{t},{p:.1f},{j},{h}" for t, p, j, h in zip(town, pay, job, hired, strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_ones_own_table_trains_like_any_data_set(cli, root, people):
    words = ["train", "--table", str(people), "--target", "hired", "--positive", "yes", "--sensitive", "town", "--json"]
    status, out, err = cli(*words)
    assert status == 0, err
    told = json.loads(out.strip().splitlines()[-1])
    assert told["groups"] == ["north", "south"]
    assert told["classes"] == ["no", "yes"]
    assert told["metrics"]["accuracy"] > 0.6
    status, out, _ = cli(*words)
    assert json.loads(out.strip().splitlines()[-1])["id"] == told["id"]  # the same bytes are the same data
    assert told["config"]["dataset"] in cli("list")[1]


def test_a_method_that_is_not_applicable_is_one_sentence_and_status_2(cli, people):
    lines = [line for line in people.read_text().splitlines() if not (line.startswith("south") and "yes" in line)]
    people.write_text("\n".join(lines) + "\n")  # nobody from the south is hired
    words = ["train", "--table", str(people), "--target", "hired", "--positive", "yes", "--sensitive", "town"]
    status, _, err = cli(*words, "--method", "reweighing")
    assert status == 2
    assert err.splitlines()[-1].startswith("Not applicable: Reweighing needs training rows of every class and group")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "hired"], "--table needs --target and --sensitive"),
        (["--target", "nope", "--sensitive", "town"], "nope"),
        (["--target", "hired", "--sensitive", "town", "--positive", "maybe"], "maybe"),
    ],
    ids=" ".join,
)
def test_a_wrong_choice_of_columns_is_one_sentence(cli, people, words, says):
    status, _, err = cli("train", "--table", str(people), *words)
    assert status == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_data_set_that_is_not_here_says_which_file_to_put_where(cli, empty_cache, tmp_path):
    status, _, err = cli("train", "--dataset", "celeba", "--data-dir", str(tmp_path))
    assert status == 2
    assert "list_attr_celeba.txt" in err
    assert str(tmp_path) in err
    status, _, err = cli("fetch", "nope")
    assert status == 2
    assert "There is no dataset 'nope'" in err
