"""The command line: its JSON, its exit statuses, and one sentence for whatever is wrong."""

from __future__ import annotations

import functools
import json
import math
import os
import random
import signal
import subprocess
import sys

import pytest

from fairness_core import command_results, commands
from fairness_core.store import Store

QUICK = ["--set", "max_steps=5", "--set", "hidden=8"]


@pytest.fixture
def table(tmp_path):
    """A CSV of 200 decisions with a score, two sensitive columns and known counts."""
    draw = random.Random(0)
    rows = ["truth,decision,probability,sex,region,income"]
    for i in range(200):
        truth, sex = draw.randrange(2), draw.choice(["F", "M"])
        score = min(max(0.25 + 0.5 * truth + draw.gauss(0, 0.3), 0), 1)
        rows.append(f"{truth},{int(score > 0.5)},{score:.4f},{sex},{draw.choice('NS')},{i * 37}")
    path = tmp_path / "decisions.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def last_line(out):
    return json.loads(out.splitlines()[-1])


# -- what is wrong is told in one sentence

TRAIN = ["train", "--method", "adversarial", *QUICK]
SWEEP = ["sweep", "--method", "adversarial", *QUICK]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*TRAIN, "--method", "magic"], "There is no method 'magic'; choose one of erm"),
        ([*TRAIN, "--dataset", "moon"], "There is no dataset 'moon'; choose one of adult"),
        ([*TRAIN, "--model", "brain"], "There is no model 'brain'"),
        ([*TRAIN, "--set", "lam=abc"], "lam = abc is not a number"),
        ([*TRAIN, "--set", "lam=-1"], "lam = -1 is out of range"),
        ([*TRAIN, "--set", "lam=1e9"], "lam = 1e9 is out of range"),
        ([*TRAIN, "--set", "lam=nan"], "lam = nan is out of range"),
        ([*TRAIN, "--set", "lam=inf"], "lam = inf is out of range"),
        ([*TRAIN, "--set", "lam"], "--set 'lam' has no value; write NAME=VALUE"),
        ([*TRAIN, "--set", "lamb=1"], "method adversarial has no setting 'lamb'"),
        ([*TRAIN, "--set", "training.lam=1"], "training has no setting 'lam'"),
        ([*TRAIN, "--sensitive", "shoe size"], "sensitive = shoe size is not known; choose up to 3 of sex"),
        ([*TRAIN, "--target", "age"], "dataset adult has no setting 'target'"),
        ([*TRAIN, "--epochs", "0"], "epochs = 0 is out of range"),
        ([*TRAIN, "--batch-size", "2.5"], "batch_size = 2.5 is not a whole number"),
        ([*TRAIN, "--seed", "-1"], "seed = -1 is out of range"),
        ([*TRAIN, "--device", "abacus"], "Argument --device: invalid choice: 'abacus'"),
        ([*TRAIN, "--run", "0123456789abcdef"], "There is no run '0123456789abcdef'"),
        ([*TRAIN, "--bogus"], "Unrecognized arguments: --bogus"),
        ([*SWEEP, "--over", "lam"], "--over 'lam' has no values"),
        ([*SWEEP, "--over", "lam="], "'' in '' is not a number"),
        ([*SWEEP, "--over", "lam=0:4:0"], "The count of '0:4:0' is 0"),
        ([*SWEEP, "--over", "lam=0:4:x"], "'x' in '0:4:x' is not a number"),
        ([*SWEEP, "--over", "lam=-4:4:3"], "lam = -4.0 is out of range"),
        ([*SWEEP, "--over", "speed=0:4:3"], "method adversarial has no setting 'speed'"),
        ([*SWEEP, "--seeds", "1000000"], "--seeds 1000000 is not possible; give a whole number from 1 to "),
        ([*SWEEP, "--seeds", "0"], "--seeds 0 is not possible"),
        ([*SWEEP, "--seeds", "two"], "--seeds two is not possible"),
        ([*SWEEP, "--fairness", "karma"], "There is no metric 'karma'"),
        (["bench", "nothing"], "There is no benchmark 'nothing'"),
        (["bench", "_screenshots"], "There is no benchmark '_screenshots'"),
        (["runner", "--slots", "0"], "Argument --slots: '0' is not a whole number from 1 on"),
        (["juggle"], "Argument COMMAND: invalid choice: 'juggle'"),
        ([], "Argument COMMAND: invalid choice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_argument_is_one_sentence_and_status_2(cli, root, words, says):
    before = Store(root).runs()["id"].tolist()
    status, out, err = cli(*words) if words else cli("")
    assert status == 2
    assert err.startswith(says)
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert out == ""
    assert Store(root).runs()["id"].tolist() == before


EVALUATE = ["--target", "truth", "--prediction", "decision", "--sensitive", "sex"]


def spoil(path, how):
    text = path.read_text()
    if how == "missing":
        return path.with_name("nowhere.csv")
    if how == "folder":
        return path.parent
    contents = {
        "empty": b"",
        "header only": text.splitlines()[0].encode(),
        "cut off": text[: len(text) // 2 - 9].encode(),
        "open quote": (text + '1,0,0.5,"F').encode(),
        "binary": bytes(range(256)) * 40,
        "zeros": b"\0" * 1000,
        "empty cell": text.replace(",F,", ",,").encode(),
        "one class": b"truth,decision,sex\n1,1,F\n1,1,M\n",
    }
    path.write_bytes(contents[how])
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "There is no file"),
        ("folder", "There is no file"),
        ("empty", "is empty; give a file with a header and rows"),
        ("header only", "has no rows"),
        ("cut off", "the file seems to be cut off"),
        ("open quote", "is not a readable CSV file"),
        ("binary", "is not a readable CSV file"),
        ("zeros", "is not a readable CSV file (it holds binary data)"),
        ("empty cell", "has no value in 'sex'"),
        ("one class", "hold only '1'"),
    ],
)
def test_a_bad_file_is_one_sentence_and_status_2(cli, table, how, says):
    status, out, err = cli("evaluate", str(spoil(table, how)), *EVALUATE)
    assert status == 2
    assert says in err
    assert err.count("\n") == 1
    assert len(err) < 500
    assert out == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "Truth"], "has no column 'Truth'; its columns are truth, decision"),
        (["--sensitive", "sex,age"], "has no column 'age'"),
        (["--target", "income"], "have 201 different values"),
        (["--score", "sex"], "in 'sex'; give numbers only"),
        (["--positive", "yes"], "--positive 'yes' does not occur; choose one of 0, 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_column_is_one_sentence_and_status_2(cli, table, words, says):
    status, _, err = cli("evaluate", str(table), *EVALUATE, *words)
    assert status == 2
    assert says in err
    assert err.count("\n") == 1


def test_the_program_itself_shows_no_traceback(root):
    command = [sys.executable, "-m", "fairness_core", *TRAIN, "--set", "lam=abc", "--store", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=commands.BENCHMARKS.parent)
    assert done.returncode == 2
    assert done.stderr == "lam = abc is not a number; give one from 0 to 1000.\n"
    assert done.stdout == ""


# -- what is asked is done


def test_list_prints_what_exists(cli):
    status, out, _ = cli("list", "--json")
    found = last_line(out)
    assert status == 0
    assert {"erm", "adversarial"} <= set(found["methods"])
    assert "adult" in found["datasets"]
    assert found["metrics"]["demographic_parity_difference"]["formula"]
    assert {"name", "low", "high", "help"} <= set(found["methods"]["adversarial"]["controls"][0])
    status, out, _ = cli("list")
    assert status == 0
    assert "adversarial" in out


def test_train_prints_the_result_and_the_second_time_from_the_store(cli, root, monkeypatch):
    words = ["train", "--method", "adversarial", "--set", "lam=0.5", "--seed", "3", *QUICK, "--json"]
    status, out, err = cli(*words)
    assert status == 0, err
    found = last_line(out)
    assert found["split"] == "test"
    assert found["config"]["method_options"]["lam"] == 0.5
    assert found["config"]["model_options"]["hidden"] == "8"
    assert found["config"]["training"]["max_steps"] == 5
    assert found["config"]["seed"] == 3
    total = sum(n for group in found["confusion"] for row in group for n in row)
    hits = sum(group[t][t] for group in found["confusion"] for t in range(2))
    assert total == 16_281
    assert found["metrics"]["accuracy"] == pytest.approx(hits / total)
    assert found["groups"] == ["Female", "Male"]
    assert found["classes"] == ["<=50K", ">50K"]
    assert found["seconds"] > 0
    assert isinstance(found["flags"], list)

    monkeypatch.setattr("fairness_core.experiment.fit", None)
    status, again, _ = cli(*words)
    assert (status, last_line(again)) == (0, found)
    status, by_id, _ = cli("train", "--run", found["id"], "--json")
    assert (status, last_line(by_id)) == (0, found)


def test_a_setting_may_be_named_with_what_it_belongs_to(cli):
    prefixed = ["--set", "model.hidden=8", "--set", "training.max_steps=5", "--set", "dataset.sensitive=race"]
    _, out, _ = cli("train", "--json", *prefixed)
    _, plain, _ = cli("train", "--json", *QUICK, "--sensitive", "race")
    assert last_line(out)["id"] == last_line(plain)["id"]
    assert len(last_line(out)["groups"]) > 2


def test_sweep_prints_its_runs_and_its_front(cli, root):
    words = ["sweep", "--method", "parity", "--over", "lam=0:2:3", "--seeds", "2", *QUICK, "--json"]
    status, out, err = cli(*words)
    assert status == 0, err
    found = last_line(out)
    made = [(run["config"]["method_options"]["lam"], run["config"]["seed"]) for run in found["runs"]]
    assert made == [(lam, seed) for lam in (0.0, 1.0, 2.0) for seed in (0, 1)]
    assert 1 <= len(found["front"]) <= 3
    assert {"lam", "validation_gap", "test_performance"} <= set(found["front"][0])
    assert 0 <= found["metrics"]["hypervolume"] <= 1
    store = Store(root)
    assert store.sweep(found["id"]).run_ids == [run["id"] for run in found["runs"]]
    assert len({store.run(run["id"]).job for run in found["runs"]}) == 1


def test_a_sweep_of_bade_prints_what_validation_chooses(cli):
    words = ["sweep", "--method", "bade", "--over", "rate=0,50,100", "--seeds", "1", *QUICK]
    status, out, err = cli(*words, "--json")
    assert status == 0, err
    chosen = last_line(out)["chosen"]
    assert chosen["value"] in (0, 50, 100)
    assert {"edge", "barred", "alike", "validation_gap", "test_performance"} <= set(chosen)
    status, out, _ = cli(*words)
    assert status == 0
    assert f"floor of the valley of Odds on validation: n = {chosen['value']:g} % (EAcc " in out
    _, out, _ = cli("sweep", "--method", "bade", "--over", "alpha=0.5,0.9", "--seeds", "1", *QUICK, "--json")
    assert "chosen" not in last_line(out)


CHOSEN = {"value": 100.0, "alike": [90.0, 100.0], "edge": True, "test_performance": 0.7, "test_gap": 0.05}


@pytest.mark.parametrize(
    ("spec", "chosen", "says"),
    [
        ({"over": "rate", "values": [0.0, 100.0]}, {},
         "the floor is at the edge; go on with --over exponent=1,1.25,1.5,1.75,2,2.5,3"),
        ({"over": "rate", "values": [0.0, 100.0]}, {"value": 90.0, "edge": False},
         "the strongest is as good; go on with --over exponent=1,1.25,"),
        ({"over": "rate", "values": [0.0, 90.0]}, {"value": 90.0}, "the floor is at the edge; try higher rates"),
        ({"over": "exponent", "values": [1.0, 2.0]}, {"value": 2.0, "alike": [2.0]}, "--over exponent=2,2.5,3"),
        ({"over": "exponent", "values": [1.0, 3.0]}, {"value": 3.0, "alike": [3.0]}, "there is no larger s"),
        ({"over": "rate", "values": [0.0, 90.0, 100.0]}, {"value": 90.0, "alike": [90.0], "edge": False}, ""),
    ],
)  # fmt: skip
def test_where_the_strongest_is_as_good_as_the_floor_it_says_how_to_go_on(capsys, spec, chosen, says):
    base = {"method": "bade", "method_options": {"rate": 100.0, "exponent": 1.0}}
    command_results.print_chosen({**spec, "base": base}, {**CHOSEN, **chosen})
    first, *more = capsys.readouterr().out.splitlines()
    assert first.startswith("  floor of the valley of Odds on validation: ")
    assert len(more) == (1 if says else 0)
    assert says in "".join(more)


def test_a_method_without_trade_off_sweeps_over_seeds(cli):
    status, out, _ = cli("sweep", "--method", "erm", "--seeds", "2", *QUICK, "--json")
    assert status == 0
    assert [run["config"]["seed"] for run in last_line(out)["runs"]] == [0, 1]


def test_a_control_that_is_no_trade_off_is_not_stacked(cli, root):
    words = ["sweep", "--method", "adversarial", "--over", "adversary_hidden=4,8", *QUICK, "--json"]
    status, out, err = cli(*words)
    assert status == 0, err
    assert len({Store(root).run(run["id"]).job for run in last_line(out)["runs"]}) == 2


def test_a_failed_run_is_status_1(cli, root, monkeypatch, capsys):
    def fit(configs, **where):
        raise RuntimeError("no luck today")
        yield

    monkeypatch.setattr("fairness_core.experiment.fit", fit)
    status, out, err = cli("train", "--seed", "77", *QUICK)
    assert status == 1
    assert err.splitlines()[-1] == "RuntimeError: no luck today"
    assert out == ""


def test_ctrl_c_is_status_130_and_leaves_the_run_cancelled(root, tmp_path):
    command = [sys.executable, "-m", "fairness_core", "train", "--epochs", "200", "--store", str(root)]
    # a shell that starts the tests in the background has them ignore Ctrl-C, and children inherit that
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=commands.BENCHMARKS.parent, preexec_fn=heard
    )
    for line in process.stderr:  # the first line of progress
        assert "training" in line
        break
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "Cancelled."
    assert "Traceback" not in err
    table = Store(root).runs()
    assert table.loc[0, "status"] == "cancelled"


# -- evaluate


def test_evaluate_counts_what_is_in_the_file(cli, table):
    status, out, _ = cli("evaluate", str(table), *EVALUATE, "--score", "probability", "--json")
    assert status == 0
    found = last_line(out)
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    for s, sex in enumerate("FM"):
        for y in range(2):
            for decided in range(2):
                n = sum(row[:2] == [str(y), str(decided)] and row[3] == sex for row in rows)
                assert found["confusion"][s][y][decided] == n
    assert found["groups"] == ["F", "M"]
    assert found["classes"] == ["0", "1"]
    assert found["metrics"]["accuracy"] == pytest.approx(sum(row[0] == row[1] for row in rows) / 200)
    low, high = found["intervals"]["accuracy"]
    assert low < found["metrics"]["accuracy"] < high
    pairs = [(float(a[2]), float(b[2])) for a in rows if a[0] == "1" for b in rows if b[0] == "0"]
    wins = sum((a > b) + 0.5 * (a == b) for a, b in pairs)
    assert found["auc"] == pytest.approx(wins / len(pairs))
    assert set(found["group_auc"]) == {"F", "M"}


@pytest.mark.parametrize("sensitive", [["--sensitive", "sex", "--sensitive", "region"], ["--sensitive", "sex,region"]])
def test_several_sensitive_columns_are_crossed(cli, table, sensitive):
    _, out, _ = cli("evaluate", str(table), *EVALUATE[:4], *sensitive, "--json")
    found = last_line(out)
    assert sum(n for group in found["confusion"] for row in group for n in row) == 200
    assert found["groups"] == ["F x N", "F x S", "M x N", "M x S"]


def test_the_favourable_class_can_be_named(cli, table):
    _, plain, _ = cli("evaluate", str(table), *EVALUATE, "--json")
    _, out, _ = cli("evaluate", str(table), *EVALUATE, "--positive", "0", "--json")
    assert last_line(out)["classes"] == ["1", "0"]
    name = "statistical_parity_difference"
    assert last_line(out)["metrics"][name] == pytest.approx(-last_line(plain)["metrics"][name])


def test_numbers_written_differently_are_one_class(cli, tmp_path):
    path = tmp_path / "mixed.csv"
    path.write_text("truth,decision,sex\n1,1.0,F\n0,0.0,M\n1,0.0,M\n")
    _, out, _ = cli("evaluate", str(path), *EVALUATE, "--json")
    assert last_line(out)["classes"] == ["0", "1"]


def test_what_is_not_defined_is_null(cli, tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("truth,decision,sex\n1,1,F\n0,0,F\n0,0,M\n0,1,M\n")  # no man with class 1
    _, out, _ = cli("evaluate", str(path), *EVALUATE, "--json")
    found = last_line(out)
    assert found["metrics"]["equal_opportunity_difference"] is None
    assert not any(isinstance(v, float) and math.isnan(v) for v in found["metrics"].values())
    assert "empty_cell:M,1" in found["flags"]


# -- the commands whose work lies elsewhere


def test_bench_runs_the_script_of_that_name(cli, tmp_path, monkeypatch):
    (tmp_path / "quick_one.py").write_text("def run(quick):\n    return {'ratio': 2.5, 'quick': quick}\n")
    monkeypatch.setattr(commands, "BENCHMARKS", tmp_path)
    status, out, _ = cli("bench", "quick_one", "--quick", "--json")
    assert (status, last_line(out)) == (0, {"ratio": 2.5, "quick": True})
