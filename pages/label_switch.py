"""Do adversarial twins carry features of the group? The three label switches beside a run of AEDA, and one by itself.

An experiment has the data, network, seed, budget and attack of the run it is asked for at.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import exhibits, metrics, switch_figures
from fairness_core.config import RunConfig, resolve
from fairness_core.costs import SWITCHES
from fairness_core.store import ACTIVE, Run
from pages import course, explorer, twin_viewer

METHOD = "label_switch"
DEBIASER = "aeda"
BESIDE = (DEBIASER, METHOD)  # the methods whose runs have this part
ATTACK = ("epsilon", "steps", "alpha", "norm", "robust_share")  # the last one AEDA has not
TITLES = dict(zip(SWITCHES, ("hard switch", "ADV switch", "ADV switch (robust)"), strict=True))
PAPER = dict(zip(SWITCHES, (0.057, 0.556, 0.891), strict=True))
MEASURE = "balanced_accuracy"
LEAST = 0.5  # attack success under which most moved rows are copies
STATE = 76  # pixels of its row, whatever stands there
WIDE = 1080  # pixels of a paragraph
HEADING = "Do adversarial twins carry features of the group?"
LOOK_FOR = (
    "A fresh network learns the group from training rows that all bear a **wrong** one, and is tested on untouched "
    "rows with the true one. Hard switch: the rows as they are, so it learns the reverse and stays far below chance. "
    "ADV switch: each row is first moved until a trained network takes it for the wrong group. To people it may still "
    "look like the old one, so what the fresh network gets right it learned from the change itself. Look for bars "
    "above chance: adversarial examples are then features that generalise (Ilyas et al. 2019), not noise that fools "
    "one network. Robust: the network that is attacked has learned from attacked rows itself. The paper, for gender "
    "on CelebA: 5.7, 55.6 and 89.1 %."
)
KINDS = {
    "hard": "The training rows are as they are and bear a wrong group.",
    "adv": "Each training row was moved until a network that names the group took it for the wrong one, which it "
    "bears.",
    "adv_robust": "Each training row was moved until a network that names the group, and has learned from moved rows, "
    "took it for the wrong one, which it bears.",
}


def experiments(catalogue: dict[str, Any], config: RunConfig) -> dict[str, RunConfig]:
    """The three runs that belong to a run, by kind: its data, network, seed, training and attack."""
    attack = {name: config.method_options[name] for name in ATTACK if name in config.method_options}
    return {
        kind: resolve(
            catalogue, dataset=config.dataset, method=METHOD, model=config.model, seed=config.seed,
            dataset_options=config.dataset_options, model_options=config.model_options,
            training={**config.training, "select": "last", "prepare": "none", "class_weights": "none"},
            method_options={**attack, "kind": kind},
        )
        for kind in SWITCHES
    }  # fmt: skip


def waited_for(catalogue: dict[str, Any], config: RunConfig) -> list[str]:
    """The ids of the runs that this part shows beside a run."""
    return [c.id for c in experiments(catalogue, config).values()] if config.method in BESIDE else []


def section(catalogue: dict[str, Any], run: Run) -> None:
    """One experiment by itself: what it did, the rows it learned from, and its result beside the others'."""
    kind = str(run.config.method_options["kind"])
    words = (
        f"{TITLES[kind][:1].upper()}{TITLES[kind][1:]}. {KINDS[kind]} It is an experiment about twins, not a debiaser."
    )
    explorer.explorer([explorer.text("sentence", [words])], key="explain-lead", revision=run.id)
    part(catalogue, run)
    steps = exhibits.steps(pages.store().exhibits_path(run.id))
    if kind == SWITCHES[0]:
        return
    st.subheader("The rows it learned from", anchor=False)
    if catalogue["datasets"][run.config.dataset]["kind"] == "image":
        st.markdown(
            "Left a training picture, in the middle as the fresh network saw it, right ten times the difference (grey: "
            "unchanged). Told: the group that the attacked network names before and after.",
            width=WIDE,
        )
    if steps:
        groups = run.info.get("groups") or course.group_names(run, 2)
        twin_viewer.draw(
            run, steps[-1], twin_viewer.names_of(run, (), groups), pages.method_colour(catalogue, DEBIASER)
        )
    else:
        st.caption("A few of them appear here when the network that is attacked has been trained.")


def part(catalogue: dict[str, Any], run: Run) -> None:
    """The three experiments beside `run`: what to look for, a button that trains them, how far they are, the bars."""
    wanted = experiments(catalogue, run.config)
    found = {kind: pages.store().run(config.id) for kind, config in wanted.items()}
    tensors = pages.store().confusions([c.id for c in wanted.values()], "test")
    table = results(wanted, {k: tensors[c.id] for k, c in wanted.items() if c.id in tensors})
    with st.container(key="explain-switch"):
        st.subheader(HEADING, anchor=False)
        st.markdown(LOOK_FOR, width=WIDE)
        _state(catalogue, run, wanted, found)
        n_groups = len(run.info.get("groups") or course.group_names(run, 2))
        figure = switch_figures.switches(
            table.rename(columns={"experiment": "name"}), chance=1 / n_groups,
            colour=pages.method_colour(catalogue, DEBIASER),
        )  # fmt: skip
        words = explorer.text("switch-words", [sentence(table, n_groups, run.config.seed)])
        chart = explorer.chart(
            "switch", figure, area="top", height=switch_figures.height(len(table)),
            heading="Groups named right by the fresh network (test; thin bars: 95 % intervals; ◇: the paper)",
            alt="Balanced accuracy after the three label switches with intervals, chance and the paper's figures; the "
            "table Experiments holds the same numbers",
        )  # fmt: skip
        stamp = f"{run.id}{table.to_json()}"
        explorer.explorer([words], key="explain-switch-words", revision=run.id, stamp=stamp)
        explorer.explorer([chart], key="explain-switch-chart", revision=run.id, stamp=stamp)
        _onward(catalogue, wanted, table)


# ------------------------------------------------------------------------------------------------------------- results


def results(wanted: Mapping[str, RunConfig], tensors: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row per experiment: balanced accuracy with its interval, accuracy, what the attack did; NaN where it is not
    trained. tensors: C (K, K, K) by kind."""
    rows = []
    for kind, config in wanted.items():
        row: dict[str, Any] = {"experiment": TITLES[kind], "value": np.nan, "low": np.nan, "high": np.nan}
        row |= {"accuracy": np.nan, "attack_success": np.nan, "attacked_accuracy": np.nan, "n": 0}
        if (C := tensors.get(kind)) is not None:
            told = metrics.evaluate(C, [MEASURE, "accuracy"])
            low, high = metrics.bootstrap(C, [MEASURE], scheme="stratified")[MEASURE]
            row |= {"value": float(told[MEASURE]), "low": low, "high": high, "accuracy": float(told["accuracy"])}
            row |= {"n": int(C.sum()), **_attack(config.id)}
        rows.append({**row, "split": "test", "seed": config.seed, "paper": PAPER[kind], "run": config.id})
    return pd.DataFrame(rows)


def _attack(run_id: str) -> dict[str, float]:
    """What the run last said about the network that is attacked."""
    history = pages.store().history(run_id)
    return {
        name: float(history[name].dropna().iloc[-1])
        for name in ("attack_success", "attacked_accuracy")
        if name in history and history[name].notna().any()
    }


def sentence(table: pd.DataFrame, n_groups: int, seed: int) -> str:
    """What was found, with intervals, and what it means; what will stand here while there is nothing."""
    known: list[dict[str, Any]] = table[table["value"].notna()].to_dict("records")  # type: ignore[assignment]
    if not known:
        return "Nothing measured here yet: the diamonds are the paper's figures, the bars come with the test results."
    told = ", ".join(
        f"{100 * row['value']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f}) after the {row['experiment']}"
        for row in known
    )
    return (
        f"On untouched rows the fresh network names the right group in {told}; chance is {100 / n_groups:.0f} %. "
        f"{_meaning(known, 1 / n_groups)} Test split, n = {known[0]['n']:,}, seed {seed}; mean over groups; 95 % "
        "intervals from resampling rows within groups."
    )


def _meaning(known: list[dict[str, Any]], chance: float) -> str:
    """What the attacked rows taught, by the interval of the better of the two attacks."""
    attacked = [row for row in known if row["experiment"] != TITLES["hard"]]
    if not attacked:
        return "The attacked rows follow."
    best = max(attacked, key=lambda row: float(row["value"]))
    failed = "".join(
        f" In the {row['experiment']} only {100 * row['attack_success']:.0f} % of the moved rows pass for the wrong "
        "group, so most are copies with a wrong label."
        for row in attacked
        if row["attack_success"] < LEAST
    )
    if best["low"] > chance:
        return f"Above chance: what the {best['experiment']} changes generalises to untouched rows.{failed}"
    if best["high"] < chance:
        return (
            "All are below chance: the old group that is still in the rows weighs more than what the attack changed; a "
            f"larger ε changes more.{failed}"
        )
    return f"No attack is above chance by more than these rows can tell from none.{failed}"


# --------------------------------------------------------------------------------------------------------------- state


def _state(
    catalogue: dict[str, Any], run: Run, wanted: Mapping[str, RunConfig], found: Mapping[str, Run | None]
) -> None:
    """How the three stand, and what can be done about it."""
    missing = [wanted[kind] for kind, one in found.items() if one is None or one.status in ("failed", "cancelled")]
    active = {kind: one for kind, one in found.items() if one is not None and one.status in ACTIVE}
    for kind, one in found.items():
        if one is not None and one.status == "failed":
            pages.failure(one.error, f"The {TITLES[kind]} failed.")
    with st.container(height=STATE, border=False, key="switch-state"):
        if active:
            told = " · ".join(f"{TITLES[kind]}: {_stands(one)}" for kind, one in found.items() if one is not None)
            steps, of = (
                sum(getattr(one, name) for one in found.values() if one is not None) for name in ("step", "of")
            )
            with st.container(horizontal=True, vertical_alignment="center"):
                st.progress(min(1.0, steps / of) if of else 0.0, text=told, width="stretch")
                if st.button("Stop the experiments", key="switch-stop", icon=":material/stop:"):
                    pages.store().cancel([one.id for one in active.values()])
        elif missing:
            with st.container(horizontal=True, vertical_alignment="center"):
                some = "the three experiments" if len(missing) == len(wanted) else "what is missing"
                if st.button(f"Train {some}", key="switch-train", icon=":material/science:"):
                    pages.store().submit(missing)
                    pages.wake_runner()
                    st.rerun()
                st.caption(f"{_cost(catalogue, run, missing)} Same data, network, seed, budget and attack as this run.")
        else:
            _to_rows(wanted)


def _stands(run: Run) -> str:
    """How far one experiment is, in a word or two."""
    if run.status == "running" and run.step:
        return course.waiting(run, time.time()).replace("Step", "step")
    return {"queued": "waiting", "starting": "starting", "running": "starting"}.get(run.status, run.status)


def _to_rows(wanted: Mapping[str, RunConfig]) -> None:
    """The ways to the rows that the fresh networks learned from."""
    shown = st.query_params.get("run")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge("done", icon=":material/check:", color="green")
        for kind in SWITCHES[1:]:
            if wanted[kind].id != shown:
                st.page_link("explain.py", label=f"Rows of the {TITLES[kind]}", query_params={"run": wanted[kind].id},
                             icon=":material/image_search:")  # fmt: skip


def _cost(catalogue: dict[str, Any], run: Run, missing: list[RunConfig]) -> str:
    """How long they take, roughly: passes through the network, counted against plain training."""
    times = sum(relative(c) for c in missing)
    plain = pages.store().run(course.untreated(catalogue, run.config).id)
    seconds = float(plain.info.get("seconds", 0.0)) if plain is not None and plain.status == "done" else 0.0
    here = f", {pages.duration(seconds * times)} here" if seconds else ""
    return f"About {times:.0f} × plain training{here}."


def relative(config: RunConfig) -> float:
    """What an experiment costs in plain trainings: the fresh network, the attacked one, and its attacks."""
    kind, epochs = config.method_options["kind"], float(config.training["epochs"])
    attack = 2 * float(config.method_options["steps"]) / 3  # forward and backward to the input, against a whole step
    return {"hard": 1.0, "adv": 2 + attack / epochs, "adv_robust": 2 + attack + attack / epochs}[str(kind)]


def _onward(catalogue: dict[str, Any], wanted: Mapping[str, RunConfig], table: pd.DataFrame) -> None:
    """The numbers as a table, the measure, and how to have an experiment again."""
    with st.container(horizontal=True, gap="small", key="switch-actions"):
        pages.table_twin(table, label="Experiments", name="label-switch")
        pages.measure_popover(MEASURE)
        command = pages.command_line("train", wanted["adv"], catalogue, "--seed", str(wanted["adv"].seed))
        pages.reproduce_popover(command, course.python_lines(wanted["adv"]))
