"""Classes with few examples (AEDA, table 3): how well each is told, with pseudo samples and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import few_shot, few_shot_figures
from fairness_core.config import Option, RunConfig, UserError, resolve
from fairness_core.store import Run
from pages import course, explorer

DATASET = "cmnist"
HEIGHT = 320
WIDE = 1080  # pixels of a paragraph, so that its lines can be read
EPOCHS, SMALL = 10, 10_000  # of the example, where training has fewer rows than that
NUMBERS = ["class", "model", "precision", "precision_low", "precision_high", "told", "accuracy", "accuracy_low",
           "accuracy_high", "n", "split", "seed"]  # fmt: skip
PAPER = "; ".join(
    f"{name}: " + ", ".join(f"{value:.2f}" for value in values) for name, values in few_shot.PAPER.items()
)


def section(catalogue: dict[str, Any], run: Run, before: np.ndarray | None, final: np.ndarray | None) -> None:
    """The part of a run on data with few-shot classes; on other digits one line that offers such a run."""
    if run.config.dataset != DATASET:
        return
    chosen = classes(run.config)
    if not chosen:
        _offer(catalogue, run)
        return
    st.subheader("Classes with few examples", anchor=False)
    shots = run.config.dataset_options["shots"]
    st.markdown(
        f"Training has {shots} example{'s' if shots != 1 else ''} of each digit below and all of the others. Precision "
        "is the share of pictures told a digit that show it, accuracy the share of its pictures told so (recall). Look "
        "whether pseudo samples (balance mode fill_classes: own examples moved to the other colour, other digits moved "
        f"to the class) raise both. The paper, precision in % of {', '.join(few_shot.DIGITS)} with 4 examples each: "
        f"{PAPER}. {_said(run, before, final, chosen)}",
        width=WIDE,
    )
    if final is None:
        st.caption(":material/hourglass_top: The bars appear with the test result.")
        return
    table = beside(run, before, final, chosen)
    figure = few_shot_figures.by_class(
        table, colour=pages.method_colour(catalogue, run.config.method), target="digit with few examples (test)"
    )
    chart = explorer.chart(
        "few-shot", figure, area="top", height=HEIGHT,
        alt="Precision and accuracy per digit with few examples, this run and the untreated model; the table Few "
        "examples holds the same numbers",
    )  # fmt: skip
    explorer.explorer([chart], key="explain-few-chart", revision=run.id, stamp=f"{run.id}{before is None}")
    pages.table_twin(long(run, before, final, chosen), label="Few examples", name=f"few-shot-{run.id}")


def about_twins(config: RunConfig) -> str:
    """What the twins of a run that fills classes are; empty for other runs."""
    if config.method_options.get("balance_mode") != few_shot.SETTINGS["balance_mode"]:
        return ""
    return (
        "Here twins stand for rows that classes lack: half are the class's own rows moved to another group, half are "
        "rows of other classes moved to the class, which keep their group. Attack success then counts twins that are "
        "taken for the group they are to have, and class kept those told the class they are to have."
    )


def classes(config: RunConfig) -> list[str]:
    """The classes that the run's training rows hold few examples of."""
    return [part.strip() for part in str(config.dataset_options.get("few_shot", "")).split(",") if part.strip()]


def beside(run: Run, before: np.ndarray | None, after: np.ndarray, chosen: Sequence[str]) -> pd.DataFrame:
    """few_shot.by_class of this run, and of the untreated model under "before_" (NaN where it is not trained)."""
    names = list(run.info["classes"])
    own = few_shot.by_class(after, names, chosen)
    old = few_shot.by_class(before, names, chosen) if before is not None else own.map(lambda _: np.nan)
    return own.join(old.add_prefix("before_"))


def long(run: Run, before: np.ndarray | None, after: np.ndarray, chosen: Sequence[str]) -> pd.DataFrame:
    """The same with one row per class and model."""
    found = {"untreated": before, "this run": after}
    tables = [
        few_shot.by_class(C, list(run.info["classes"]), chosen).assign(model=who, split="test", seed=run.config.seed)
        for who, C in found.items()
        if C is not None
    ]
    return pd.concat(tables, ignore_index=True)[NUMBERS]


def _said(run: Run, before: np.ndarray | None, after: np.ndarray | None, chosen: Sequence[str]) -> str:
    """The means over these classes in words; empty before the result."""
    if after is None:
        return ""
    names, parts = list(run.info["classes"]), []
    new = few_shot.by_class(after, names, chosen)
    old = None if before is None else few_shot.by_class(before, names, chosen)
    for name in few_shot.MEASURES:
        value = f"{100 * new[name].fillna(0).mean():.1f} %"
        parts.append(f"{name} {value}" if old is None else f"{name} {100 * old[name].fillna(0).mean():.1f} → {value}")
    against = "" if old is None else ", untreated → this run"
    n = int(new["n"].sum())
    return (
        f"**Here, mean over these digits{against}: {'; '.join(parts)}** (test, n = {n:,}, seed {run.config.seed}; a "
        "digit that is never told counts as 0 % precise; bars: 95 % Wilson intervals)."
    )


def _offer(catalogue: dict[str, Any], run: Run) -> None:
    """One line: the experiment, and a button that starts it with this run's network and seed."""
    with st.container(horizontal=True, vertical_alignment="center", key="explain-few-offer"):
        st.markdown(
            "**Classes with few examples**: can pseudo samples stand for rows that are missing?", width="content"
        )
        if st.button(
            f"Try it: digits {few_shot.DATA['few_shot']} with {few_shot.DATA['shots']} examples each",
            key="explain-few", icon=":material/play_arrow:",
            help="Trains AEDA with balance mode fill_classes and the untreated model on the same network and seed.",
        ):  # fmt: skip
            _train(catalogue, run)


def _train(catalogue: dict[str, Any], run: Run) -> None:
    try:
        config = trial(catalogue, run)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        return
    pages.store().submit([config, course.untreated(catalogue, config)])
    pages.wake_runner()
    st.query_params["run"] = config.id
    st.rerun()


def trial(catalogue: Mapping[str, Any], run: Run) -> RunConfig:
    """AEDA on the paper's few-shot digits, with the network and the seed of `run`."""
    own = run.config
    few_rows = int(run.info.get("n_train", SMALL)) < SMALL
    training: dict[str, Option] = {**own.training, "max_steps": 0, "prepare": "none", "class_weights": "none"}
    if few_rows:
        training["epochs"] = max(int(training["epochs"]), EPOCHS)
    return resolve(
        catalogue, dataset=own.dataset, dataset_options={**own.dataset_options, **few_shot.DATA}, model=own.model,
        model_options=own.model_options, method="aeda", method_options=few_shot.SETTINGS, training=training,
        seed=own.seed,
    )  # fmt: skip
