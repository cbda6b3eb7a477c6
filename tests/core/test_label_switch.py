"""The label switch: what the fresh network sees, what the attack makes, and the ordering it is there for."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fairness_core import aeda_experiments, attacks, datasets, experiment, metrics, reproduce, switch_figures, worker
from fairness_core.attack_budget import ball
from fairness_core.config import Budget, Event, RunConfig, UserError, complete, controls_of, resolve
from fairness_core.datasets import Dataset, Split, groups_as_target
from fairness_core.generators import ran
from fairness_core.methods import METHODS, InProcessing, judged
from fairness_core.methods.label_switch import Lessons, Memory
from fairness_core.models import MLP, SmallCNN
from fairness_core.store import Store
from fairness_core.training import Job, train
from tests.tiny import tiny_dataset

KINDS = ("hard", "adv", "adv_robust")
SHORT = Budget(epochs=2, batch_size=64)


def noisy(n: int = 800, groups: int = 2, seed: int = 0, width: int = 60) -> Dataset:
    """Rows whose group lies a little in each of many columns, so that a small change of each is seen and carries it;
    the class is chance."""
    rng = np.random.default_rng(seed)
    way = np.random.default_rng(99).normal(size=(groups, width))

    def split(rows: int) -> Split:
        s = rng.integers(0, groups, rows)
        x = rng.normal(size=(rows, width)) + 0.45 * way[s]
        return Split(x.astype(np.float32), rng.integers(0, 2, rows), s.astype(np.int64))

    names = tuple(f"group {g}" for g in range(groups))
    return Dataset("noisy", split(n), split(n // 2), split(n), ("no", "yes"), names, (), "binary")


def pictures(n: int = 200) -> Dataset:
    """8x8 pictures that are a little redder in one group."""
    rng = np.random.default_rng(0)

    def split(rows: int) -> Split:
        s = rng.integers(0, 2, rows)
        x = rng.normal(120, 30, (rows, 3, 8, 8))
        x[:, 0] += 30 * s[:, None, None]
        return Split(x.clip(0, 255).astype(np.uint8), rng.integers(0, 2, rows), s.astype(np.int64))

    return Dataset("pictures", split(n), split(n // 2), split(n), ("no", "yes"), ("a", "b"), ())


def config(data: Dataset, budget: Budget = SHORT, seed: int = 0, **options: Any) -> RunConfig:
    given = complete(controls_of(METHODS["label_switch"]), options, "label_switch")
    return RunConfig(data.name, {}, "mlp", {}, "label_switch", given, dataclasses.asdict(budget), seed)


def fit(data: Dataset, budget: Budget = SHORT, seed: int = 0, **options: Any) -> tuple[Any, list[Event]]:
    run = config(data, budget, seed, **options)
    model = MLP("16").build(data, seed) if data.train.x.ndim == 2 else SmallCNN("4-8", 16).build(data, seed)
    training = METHODS["label_switch"](**run.method_options).fit(model, data, run)
    return ran(training)


def accuracy(events: list[Event]) -> float:
    C = events[-1].confusion
    assert C is not None
    return float(metrics.evaluate(C, ["balanced_accuracy"])["balanced_accuracy"])


def lessons(data: Dataset, kind: str, budget: Budget = SHORT) -> Job:
    told = groups_as_target(data)
    reach = ball(data.train, "auto", 7, "auto", "auto")
    recipe = Lessons(kind, reach, dataclasses.replace(reach, radius=reach.radius / 2, step=reach.step / 2), 0)
    build = MLP("16").build if data.train.x.ndim == 2 else SmallCNN("4-8", 16).build
    return Job([recipe], [build(told, 0)], [0], [told], budget)


# -------------------------------------------------------------------------------------------------------- what it shows


def test_the_hard_switch_is_below_chance_and_attacked_rows_carry_the_group() -> None:
    budget = Budget(epochs=8, batch_size=64, lr=3e-3)
    found = {
        kind: [accuracy(fit(noisy(seed=s), budget, s, kind=kind, epsilon=3.0)[1]) for s in range(2)] for kind in KINDS
    }
    assert max(found["hard"]) < 0.2
    assert min(found["adv"]) > 0.75
    assert np.mean(found["adv_robust"]) > np.mean(found["adv"]) + 0.02


def test_without_an_attack_the_switch_is_hard() -> None:
    budget = Budget(epochs=8, batch_size=64, lr=3e-3)
    assert accuracy(fit(noisy(), budget, kind="adv", epsilon=0.0)[1]) < 0.25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [2, 3])
def test_events_count_groups_as_classes_and_steps_go_over_all_phases(kind: str, groups: int) -> None:
    data = tiny_dataset(groups=groups, classes=3)
    before = [a.copy() for part in (data.train, data.validation, data.test) for a in (part.x, part.y, part.s)]
    model, events = fit(data, kind=kind)
    steps = [e.step for e in events]
    assert steps == sorted(steps)
    assert {e.of for e in events} == {(1 if kind == "hard" else 2) * 2 * -(-len(data.train) // 64)}
    assert [e.stage for e in events][-2:] == ["validation", "test"]
    for event, part in ((events[-2], data.validation), (events[-1], data.test)):
        C = event.confusion
        assert C is not None
        assert C.shape == (groups,) * 3
        assert np.array_equal(C.sum(2), np.diag(np.bincount(part.s, minlength=groups)))
        assert event.scores is None
    assert model(torch.from_numpy(data.test.x)).shape == (len(data.test), 1 if groups == 2 else groups)
    after = [a for part in (data.train, data.validation, data.test) for a in (part.x, part.y, part.s)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    told = set(METHODS["label_switch"].gauges_help)
    live = [e for e in events if e.stage == "training"]
    assert all((told <= set(e.values)) is (kind != "hard" and e.step > e.of / 2) for e in live)


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_plays_no_part(kind: str) -> None:
    data = tiny_dataset()
    other: dict[str, Any] = {
        name: dataclasses.replace(s, y=1 - s.y) for name, s in vars(data).items() if isinstance(s, Split)
    }
    x = torch.from_numpy(data.test.x)
    assert torch.equal(fit(data, kind=kind)[0](x), fit(dataclasses.replace(data, **other), kind=kind)[0](x))


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_result_and_global_state_untouched(kind: str) -> None:
    data = tiny_dataset()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    x = torch.from_numpy(data.test.x)
    one, two, other = (fit(data, seed=seed, kind=kind)[0](x) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


# ---------------------------------------------------------------------------------------- what the fresh network learns


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [2, 3])
def test_the_fresh_network_never_sees_a_true_group(monkeypatch: pytest.MonkeyPatch, kind: str, groups: int) -> None:
    data = tiny_dataset(groups=groups)
    job = lessons(data, kind)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    module = "fairness_core.methods.label_switch"
    real = __import__(module, fromlist=["_learn"])._learn

    def watched(player: Any, lesson: Any) -> Any:
        if player is job.learner.model:
            seen.append((lesson.y, lesson.s))
        return real(player, lesson)

    monkeypatch.setattr(f"{module}._learn", watched)
    for _ in train(job):
        pass
    assert len(seen) == 2 * -(-len(data.train) // 64)
    assert all(bool((y != s).all()) for y, s in seen)
    assert {int(g) for y, _ in seen for g in y.flatten()} == set(range(groups))


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("data", [tiny_dataset(), pictures()], ids=["table", "pictures"])
def test_moved_rows_lie_in_the_ball_and_go_towards_the_wrong_group(kind: str, data: Dataset) -> None:
    job = lessons(data, kind)
    for _ in train(job):
        pass
    recipe, memory = job.recipes[0], job.learner.memory
    assert isinstance(recipe, Lessons)
    assert isinstance(memory, Memory)
    x = memory.sample.x.t().unsqueeze(0) if data.train.x.ndim == 2 else memory.sample.x.unsqueeze(0)
    moved = recipe._moved(job.learner, memory.sample, recipe.ball, keep=True)
    most, length = attacks.distances(x, moved.x)
    reach = most if recipe.ball.norm == "linf" else length
    assert reach.max() <= recipe.ball.radius + 1e-3  # half precision of what is kept
    assert reach.max() > 0.9 * recipe.ball.radius
    if data.train.x.ndim > 2:
        assert moved.x.min() >= 0
        assert moved.x.max() <= 1
    judge = job.learner.adversary.net.fixed()
    aim = moved.aim * 2.0 - 1
    assert (judge(moved.x)[:, 0] * aim).mean() > (judge(x)[:, 0] * aim).mean()


def test_only_the_robust_one_attacks_while_the_attacked_network_learns() -> None:
    data = noisy()
    budget = Budget(epochs=8, batch_size=64, lr=3e-3)

    def resists(kind: str, **options: Any) -> float:
        live = [e for e in fit(data, budget, kind=kind, epsilon=3.0, **options)[1] if e.stage == "training"]
        return live[-1].values["attack_success"]

    assert resists("adv_robust", robust_share=1.0) < resists("adv") - 0.2
    assert resists("adv_robust", robust_share=0.0) == resists("adv")


def test_a_few_rows_are_shown_beside_what_was_made_of_them_once() -> None:
    for kind in KINDS:
        _, events = fit(pictures(), kind=kind)
        shown = [e for e in events if e.exhibit is not None]
        assert len(shown) == (0 if kind == "hard" else 1)
        for event in shown:
            assert event.step > event.of / 2
            exhibit = event.exhibit
            assert exhibit is not None
            assert exhibit["x"].shape == exhibit["twin"].shape == (12, 3, 8, 8)
            assert np.array_equal(exhibit["aim"], 1 - exhibit["s"])
            assert set(exhibit["group_after"]) <= {0, 1}


# ------------------------------------------------------------------------------------------- where it stands and stops


def test_closing_the_generator_stops_it() -> None:
    data = tiny_dataset()
    run = config(data, kind="adv")
    training = METHODS["label_switch"](**run.method_options).fit(MLP("8-8").build(data, 0), data, run)
    next(training)
    training.close()
    assert list(training) == []


def test_one_group_only_and_choosing_by_true_groups_are_sentences() -> None:
    data = tiny_dataset()
    alone = dataclasses.replace(data, train=dataclasses.replace(data.train, s=np.zeros_like(data.train.s)))
    with pytest.raises(UserError, match="are all of group group 0, so no group can be switched"):
        fit(alone)
    with pytest.raises(UserError, match="choose last"):
        fit(data, Budget(epochs=1, select="validation_loss"))


def test_it_is_an_experiment_and_no_place_for_a_debiaser_offers_it() -> None:
    from fairness_core import catalogue
    from fairness_core.methods.base import STARTS

    method = METHODS["label_switch"]
    assert method.family == "experiment"
    assert not issubclass(method, InProcessing)
    assert "label_switch" not in STARTS
    known = catalogue.build()
    assert known["methods"]["label_switch"]["tradeoff"] is None
    prepare = next(c for c in known["training"]["controls"] if c["name"] == "prepare")
    assert "label_switch" not in prepare["choices"]
    for control in controls_of(method):
        assert control.help
        assert control.parse(control.default) == control.default
    aeda = {c.name: c for c in controls_of(METHODS["aeda"])}
    for name in ("steps", "alpha", "norm"):
        assert next(c for c in controls_of(method) if c.name == name) == aeda[name]


def test_the_store_keeps_it_with_groups_as_classes_and_no_scores(tmp_path: Any) -> None:
    from fairness_core import catalogue

    known = catalogue.build()
    run = resolve(known, dataset="cmnist", dataset_options={"digits": "5000"}, method="label_switch",
                  method_options={"kind": "hard"}, training={"epochs": 1, "max_steps": 4},
                  model_options={"channels": "4-8"})  # fmt: skip
    store = Store(tmp_path)
    worker.run_inline([run], store)
    kept = store.run(run.id)
    assert kept is not None
    assert kept.status == "done", kept.error
    assert kept.info["classes"] == kept.info["groups"] == ["red", "brown"]
    assert kept.info["task"] == "binary"
    assert not store.scores_path(run.id).exists()
    assert store.confusions([run.id], "test")[run.id].shape == (2, 2, 2)
    assert judged("erm", data := datasets.load("cmnist", run.dataset_options)) is data
    assert len(experiment.plan([run, run], [(3, 28, 28)] * 2)) == 2


# ------------------------------------------------------------------------------------------------- its table and figure


def counted(right: float) -> np.ndarray:
    """C (2, 2, 2): 200 and 50 rows of two groups, of which so many are named right."""
    C = np.zeros((2, 2, 2), np.int64)
    for g, n in enumerate((200, 50)):
        C[g, g, g], C[g, g, 1 - g] = round(n * right), n - round(n * right)
    return C


def test_the_table_holds_the_printed_figures_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    right = {"hard": 0.1, "adv": 0.6, "adv_robust": 0.9}
    seen: list[RunConfig] = []

    def trained(run: RunConfig, data_dir: object) -> dict[str, Event]:
        seen.append(run)
        kind = str(run.method_options["kind"])
        live = {} if kind == "hard" else {"attack_success": 0.8, "attacked_accuracy": 0.95}
        ends = {stage: Event(stage, 1, 1, {}, counted(right[kind])) for stage in ("validation", "test")}
        return {**ends, "training": Event("training", 1, 1, live)}

    monkeypatch.setattr(aeda_experiments, "last_events", trained)
    told = reproduce.TABLES["aeda-fig3"](True, None)
    assert [row["method"] for row in told["rows"]] == ["hard switch", "ADV switch", "ADV switch (robust)"]
    assert [row["paper"]["accuracy"] for row in told["rows"]] == [5.7, 55.6, 89.1]
    assert told["metrics"] == pytest.approx({kind: 100 * share for kind, share in right.items()})
    assert told["rows"][1]["ours"]["attack_success"] == [80.0]
    assert {run.dataset for run in seen} == {"cmnist"}
    assert {run.method for run in seen} == {"label_switch"}


def test_faces_are_trained_alike_for_every_kind_and_seed(tmp_path: Any) -> None:
    from fairness_core import catalogue
    from tests import pictures as made

    made.write_celeba(tmp_path)
    known = catalogue.build(tmp_path)
    runs = [aeda_experiments.config(known, kind, seed, quick=False) for kind in KINDS for seed in range(2)]
    assert {run.dataset for run in runs} == {"celeba"}
    alike = {(run.model, str(run.training), run.method_options["epsilon"], run.data_hash) for run in runs}
    assert len(alike) == 1
    assert {(run.method_options["kind"], run.seed) for run in runs} == {(k, s) for k in KINDS for s in range(2)}


def test_the_figure_has_a_bar_a_diamond_and_a_dash_where_nothing_is_known() -> None:
    table = pd.DataFrame({"name": ["hard <b>", "adv"], "value": [0.06, np.nan], "low": [0.05, np.nan],
                          "high": [0.08, np.nan], "paper": [0.057, 0.556]})  # fmt: skip
    figure = switch_figures.switches(table, chance=1 / 3, colour="#b37bc2")
    traces = {trace.meta: trace for trace in figure.data}
    assert traces["now"].x[0] == 0.06
    assert traces["now"].error_x.array[0] == pytest.approx(0.02)
    assert traces["now"].error_x.arrayminus[0] == pytest.approx(0.01)
    assert list(traces["paper"].x) == [0.057, 0.556]
    assert traces["paper"].marker.symbol.endswith("open")
    assert list(traces["label"].text) == ["6.0%", "–"]
    written = [a.text for a in figure.layout.annotations]
    assert {"chance 33%", "paper 5.7%", "paper 55.6%"} <= set(written)
    assert figure.layout.yaxis.ticktext[0] == "hard &lt;b&gt;"
    assert figure.layout.shapes[0].x0 == pytest.approx(1 / 3)
