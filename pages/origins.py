"""Bias against the group's share, live while untreated classifiers train (AEDA, figure 2)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np
import streamlit as st

import pages
from fairness_core import data_figures, imbalance
from fairness_core.config import Catalogue, Option, Options, RunConfig, UserError, resolve
from fairness_core.datasets.celeba import AEDA_TARGETS
from fairness_core.imbalance import Correlation
from fairness_core.store import ACTIVE, Run
from pages import anatomy, course, explorer

TICK = 1.0  # seconds between two looks at a run that is being trained
PAPER, OWN = f"the {len(AEDA_TARGETS)} attributes of the AEDA paper", "as chosen above"
EXPLANATION = (
    "One point per value of {which} target: how large the group's share is among the training rows with that "
    "value, and by how much the group is then recognised more often than the others. Points that rise from the lower "
    "left to the upper right say that who is in the minority gets the errors; the sign should turn near one half."
)


def draw(catalogue: Catalogue, dataset: str, options: Options) -> None:
    """The section of the data page: train, watch, read the correlation."""
    entry = catalogue["datasets"][dataset]
    st.subheader("Does the majority get the better model?", anchor=False)
    several = any(c.name == "target" and c.kind == "several" and c.most > 1 for c in pages.declared(entry))
    st.caption(EXPLANATION.format(which="every" if several else "the"))
    try:
        config = _configuration(catalogue, dataset, _targets(several, options))
    except UserError as error:
        st.info(anatomy.markdown(str(error)), icon=":material/info:")
        return
    run = pages.store().run(config.id)
    active = run is not None and run.status in ACTIVE
    st.fragment(_live, run_every=TICK if active else None)(config, active)


def _targets(several: bool, options: Options) -> dict[str, Option]:
    """The options with the targets to draw: a data set with many attributes offers the paper's."""
    if not several:
        return dict(options)
    which = st.segmented_control("Targets", (PAPER, OWN), default=PAPER, key="origins:targets", required=True)
    sensitive = str(options["sensitive"]).split(" x ")
    wanted = [name for name in AEDA_TARGETS if name not in sensitive]
    return {**options, "target": ", ".join(wanted)} if which == PAPER else dict(options)


def _configuration(catalogue: Catalogue, dataset: str, options: Mapping[str, Option]) -> RunConfig:
    """The untreated run whose errors are drawn."""
    if catalogue["datasets"][dataset]["task"] == "regression" or options.get("target") == "age":
        raise UserError("The target is a number, so there are no classes to draw; choose a target with classes.")
    return resolve(catalogue, dataset=dataset, method="erm", dataset_options=options)


def _live(config: RunConfig, was_active: bool) -> None:
    """Everything that can change while it trains."""
    run = pages.store().run(config.id)
    if (run is not None and run.status in ACTIVE) != was_active:
        st.rerun()
    if run is None or run.status in ("failed", "cancelled"):
        _offer(config, run)
        return
    history = pages.store().history(run.id, pooled=False)
    seen = history[history["confusion"].notna()]
    with st.container(horizontal=True, vertical_alignment="center", key="origins-status"):
        _status(run)
    if len(seen):
        last = seen.iloc[-1]
        _draw(config, run, np.asarray(last["confusion"]), str(last["stage"]), int(last["step"]))


def _offer(config: RunConfig, run: Run | None) -> None:
    if run is not None and run.error:
        st.error(anatomy.markdown(run.error), icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Train untreated classifiers", icon=":material/play_arrow:", key="origins-train"):
            pages.store().submit([config])
            pages.wake_runner()
            st.rerun(scope="app")
        pictures = config.model != "mlp"
        st.caption(
            f"One {config.model} network, {config.training['epochs']} epochs: "
            + ("some minutes on a processor; points move from the first second on." if pictures else "a few seconds.")
        )


def _status(run: Run) -> None:
    if run.status in ACTIVE:
        st.progress(run.step / run.of if run.of else 0.0, text=course.waiting(run, time.time()))
        if st.button("Stop", key="origins-stop", icon=":material/stop:"):
            pages.store().cancel([run.id])
    else:
        st.badge("done", icon=":material/check:", color="green")
        st.caption(f"seed {run.config.seed}, trained in {run.info.get('seconds', math.nan):.1f} s · run `{run.id}`")


def _draw(config: RunConfig, run: Run, C: np.ndarray, stage: str, step: int) -> None:
    """The sentence, the chart and its table. C: (G, T, T), or (A, G, 2, 2) with several targets."""
    counts, names = _training(config.dataset, tuple(sorted(config.dataset_options.items())), config.data_hash)
    tensors = C if C.ndim == 4 else C[None]
    groups, classes = list(run.info["groups"]), list(run.info["classes"])
    table = imbalance.points(counts, tensors, names, classes, groups)
    found = _correlation(counts.tobytes(), counts.shape, tensors.tobytes(), tensors.shape)
    rows = f"{tensors[0].sum():,} {'validation' if stage == 'training' else stage} rows"
    where = f"{rows}, after step {step:,} of {run.of:,}" if stage == "training" else rows
    blocks = [
        explorer.text("origins-said", [said(found, where)]),
        explorer.chart(
            "origins", data_figures.bias_by_share(table), area="left", height=420,
            heading=f"Gap in recall, {where}",
            alt="Every value of every target as a point: the group's share among its training rows on x, how much more "
            "often the group is recognised than the others on y; the table has the numbers",
        ),
    ]  # fmt: skip
    explorer.explorer(blocks, key="origins", revision=config.id, stamp=f"{run.id}|{stage}|{step}")
    pages.table_twin(table.sort_values("share"), name=f"bias-by-share-{run.id}")


def said(found: Correlation, where: str) -> str:
    """The correlation in words."""
    if not math.isfinite(found.rho):
        return f"With {found.n} points there is no correlation to speak of ({where})."
    verdict = "rises with" if found.low > 0 else "falls with" if found.high < 0 else "shows no clear relation to"
    return (
        f"The gap {verdict} the group's share in training: Spearman's ρ = {found.rho:.2f} "
        f"(95 % interval {found.low:.2f} to {found.high:.2f}, {found.n} points; {where})."
    )


@st.cache_data(max_entries=16, show_spinner=False)
def _training(dataset: str, chosen: anatomy.Chosen, data_hash: str) -> tuple[np.ndarray, list[str]]:
    """Training rows per (target, class, group), and what the targets are called."""
    rows = anatomy.rows_of(dataset, dict(chosen))
    names = list(rows.targets) or [rows.target]
    return imbalance.training_counts(rows.y, rows.s, len(rows.classes), len(rows.groups)), names


@st.cache_data(max_entries=64, show_spinner=False)
def _correlation(train: bytes, shape: tuple[int, ...], C: bytes, of: tuple[int, ...]) -> Correlation:
    """imbalance.correlation, once per state of the training; fewer resamples than a report would take."""
    counts, tensors = (np.frombuffer(b, np.int64).reshape(s) for b, s in ((train, shape), (C, of)))
    return imbalance.correlation(counts, tensors, n=400)
