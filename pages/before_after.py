"""Two models that judged the same people, beside each other: the sentence, who gained and lost, the numbers, and what
the method did to get there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import figures_after, flips, metrics
from fairness_core.config import RunConfig, UserError
from fairness_core.flips import Levelling
from fairness_core.metrics import METRICS
from fairness_core.scores import Scores
from fairness_core.store import Run
from pages import course, explorer
from pages.anatomy import markdown

KINDS = {
    "intra": "The network's weights and its threshold are changed; nothing is trained anew.",
    "post": "The network stays as it is; only what is decided from its scores changes.",
}
NEEDS = {
    True: "**Needs the group at test time: yes.** Without everybody's group it cannot decide.",
    False: "**Needs the group at test time: no.**",
}


def compare(catalogue: dict[str, Any], before: Run, after: Run, measure: str, epsilon: float) -> None:
    old, new = (pages.store().scores(run.id).get("test") for run in (before, after))
    if old is None or new is None:
        missing = before if old is None else after
        st.info(f"What run {missing.id} said about each person is not kept here; delete it and train it again.")
        return
    groups = course.group_names(before, int(old.s.max()) + 1)
    try:
        table = flips.flips(old, new, groups)
        found = flips.levelling_down(old, new, groups, measure)
    except UserError as error:
        st.warning(markdown(str(error)), icon=":material/error:")
        return
    names = [markdown(label(catalogue, run.config, before)) for run in (before, after)]
    st.markdown(f"**Before:** {names[0]} · **After:** {names[1]}")
    C = pages.store().confusions([after.id], "test").get(after.id)
    _lead(found, measure, old, after.config.seed, trivial=C is not None and bool(metrics.is_trivial(C)))
    with st.container(horizontal=True, gap="large"):
        with st.container(width="stretch"):
            _flips(before, after, table, new)
            _needs(catalogue, after)
        with st.container(width=620):
            _numbers(before, after, measure, epsilon)
    _inside(catalogue, before, after)
    with st.container(horizontal=True, gap="small", key="treatment-actions"):
        pages.table_twin(table, label="Table of flips", name=f"flips-{before.id}-{after.id}")
        pages.measure_popover(measure, "balanced_accuracy", "phi")
        command = pages.command_line("train", after.config, catalogue, "--seed", str(after.config.seed))
        pages.reproduce_popover(command, course.python_lines(after.config))


def label(catalogue: Mapping[str, Any], config: RunConfig, beside: Run | None = None) -> str:
    """A run as a list names it: its method and the settings that are not usual, but for the model it treats where that
    is `beside`."""
    entry = catalogue["methods"].get(config.method)
    if entry is None:
        return config.method
    symbols = {c.name: c.symbol or c.name.replace("_", " ") for c in pages.declared(entry)}
    same = beside is not None and config.start is not None and config.start.id == beside.id
    own = {n: v for n, v in pages.changed(config.method_options, entry).items() if not (same and n == "start")}
    words = [
        f"{symbols.get(n, n)} = {v:g}" if isinstance(v, float) else f"{symbols.get(n, n)} = {v}" for n, v in own.items()
    ]
    return pages.title(entry) + (f" ({', '.join(words)})" if words else "")


def _lead(found: Levelling, measure: str, rows: Scores, seed: int, *, trivial: bool) -> None:
    """Did the gap close because somebody was made worse off, or because everybody is decided alike?"""
    said = (
        f"{markdown(found.sentence)} By this metric ({_magnitude(measure)}), on the test split, n = {len(rows):,}, "
        f"seed {seed}; interval from resampling people."
    )
    if found.lowered_low <= 0.5 <= found.lowered_high:
        low, high = 100 * found.lowered_low, 100 * found.lowered_high
        said += (
            f" Whether more than half of the closing made somebody worse off is not clear: 95 % interval of that share "
            f"{low:.0f} to {high:.0f} %."
        )
    if trivial:
        st.warning(f"{said} {metrics.explain('trivial')}", icon=":material/block:")
    elif found.warns:
        st.warning(said, icon=":material/trending_down:")
    else:
        st.info(said, icon=":material/compare_arrows:")


def _magnitude(measure: str) -> str:
    """The gap as the charts draw it: a signed measure without its sign."""
    title = METRICS[measure].title
    return f"|{title.removesuffix(' (signed)')}|" if METRICS[measure].better == "zero" else title


def _flips(before: Run, after: Run, table: pd.DataFrame, new: Scores) -> None:
    """Who gained and who lost, as a chart with its words."""
    positive = str(after.info["classes"][1])
    heading = "Who gained and who lost the favourable decision, per 1,000 people of each group (test)"
    chart = explorer.chart(
        "flips", figures_after.flipped(flips.shares(table), positive=positive), area="top", heading=heading,
        height=88 + 66 * len(table),
        alt="Bars per group: to the right how many of 1,000 gained the favourable decision, to the left how many lost "
        "it, with the net change; the table of flips has the numbers",
    )  # fmt: skip
    key = (
        f"Filled: people whose true class is {positive}. Hatched: the others. Diamond: net change. Thin bars: 95 % "
        "intervals; that of the net change counts only those whose decision changed."
    )
    blocks = [chart, explorer.text("flips-key", [key], area="top", muted=True)]
    explorer.explorer(blocks, key="treatment-flips", revision=f"{before.id}{after.id}", stamp=f"{before.id}{after.id}")
    if bool(((new.decision > 0) & (new.decision < 1)).any()):
        st.caption(
            ":material/casino: Decisions are partly drawn by lot. Counts are those to be expected over all draws, so "
            "people can be fractions."
        )
    elif after.config.method_options.get("mode") == "sampled":
        st.caption(
            f":material/casino: Some decisions were drawn by lot, once, with seed {after.config.seed}: another draw "
            "flips other people."
        )
    if few := [markdown(str(group)) for group in table.loc[table["small"], "group"]]:
        st.caption(
            f":material/warning: Fewer than {metrics.SMALL} people of one true class in {', '.join(few)}: what is said "
            "about them is very uncertain."
        )


def _numbers(before: Run, after: Run, measure: str, epsilon: float) -> None:
    """Both models on both splits."""
    rows = ["Balanced accuracy", "Accuracy", "Gap |μ|", f"φ at ε = {epsilon:g}", f"Gap under ε = {epsilon:g}",
            "One decision for nearly all", "People"]  # fmt: skip
    columns = {" ": [markdown(row) for row in rows]}
    for split in ("test", "validation"):
        tensors = pages.store().confusions([before.id, after.id], split)
        for name, run in (("before", before), ("after", after)):
            C = tensors.get(run.id)
            told = ["–"] * len(rows) if C is None else _told(flips.standing(C, measure, epsilon))
            columns[f"{split.capitalize()}, {name}"] = told
    st.table(pd.DataFrame(columns), border="horizontal", hide_index=True, alt="Both models on both splits")
    title = METRICS[measure].title.removesuffix(" (signed)")
    st.caption(
        f"Under each number: its 95 % interval from resampling people. μ, {title}: {METRICS[measure].definition} "
        "φ: balanced accuracy if the gap is under ε, else 0. Choices were made on validation; test is what counts."
    )


def _told(found: Mapping[str, Any]) -> list[str]:
    """One column of the table: flips.standing in words."""
    shares = [found[name] for name in ("balanced_accuracy", "accuracy", "gap")]
    between = [pages.interval(low, high).removesuffix(" %") for _, low, high in shares]
    cells = [f"{pages.percent(share[0])}  \n:gray[{ends}]" for share, ends in zip(shares, between, strict=True)]
    words = {None: "–", True: "yes", False: "no"}
    return [*cells, pages.percent(found["phi"]), words[found["feasible"]], words[found["trivial"]], f"{found['n']:,}"]


def _needs(catalogue: dict[str, Any], after: Run) -> None:
    """What the model after it needs, and what it was aimed at."""
    entry = catalogue["methods"][after.config.method]
    last = _final(after)
    said = [NEEDS[entry["needs_sensitive_at_test"]], KINDS.get(entry["family"], "It was trained anew.")]
    if math.isfinite(tau := last.get("tau", math.nan)):
        said.append(f"Threshold τ = {tau:.3f}.")
    options = after.config.method_options
    if "measure" in options and "epsilon" in options:
        aim = _magnitude(str(options["measure"]))
        said.append(f"It aimed at {markdown(aim)} under ε = {options['epsilon']:g} on validation rows.")
    seconds = after.info.get("seconds", math.nan)
    said.append(f"Took {seconds:.1f} s." if math.isfinite(seconds) else "")
    icon = ":material/groups:" if entry["needs_sensitive_at_test"] else ":material/info:"
    st.markdown(f"{icon} {' '.join(said)}")


def _final(run: Run) -> dict[str, float]:
    """The named numbers of the run's last event."""
    history = pages.store().history(run.id)
    rows = history[history["stage"] == "test"].drop(columns=["stage", "confusion", "errors"])
    return {} if rows.empty else {str(k): float(v) for k, v in rows.iloc[-1].items() if v is not None}


# ------------------------------------------------------------------------------------------------- what the method did


def search(catalogue: Mapping[str, Any], run: Run, tried: pd.DataFrame) -> explorer.Block:
    """How the search gets on, by its own measure."""
    gauges = catalogue["methods"][run.config.method]["gauges"]
    measure, epsilon = _aim(run.config)
    figure = figures_after.search(
        tried, epsilon=epsilon, gap_title="gap |μ|", gauges={g: g.replace("_", " ") for g in gauges}, of=run.of or None,
        colour=pages.method_colour(catalogue, run.config.method),
    )  # fmt: skip
    return explorer.chart(
        "search", figure, area="top", height=520 if gauges else 380,
        heading=f"How the search went, on validation rows; gap: {_magnitude(measure)}",
        alt="Balanced accuracy and gap of every trial, and of the best so far, over the trials",
    )  # fmt: skip


def _aim(config: RunConfig) -> tuple[str, float]:
    """The measure and the ε that a search went by."""
    return str(config.method_options["measure"]), float(config.method_options["epsilon"])


def _inside(catalogue: dict[str, Any], before: Run, after: Run) -> None:
    """Weights moved and the trials, for a method that has such."""
    moved = {name.removeprefix("moved:"): v for name, v in _final(after).items() if name.startswith("moved:")}
    tried = figures_after.searched(pages.store().history(after.id))
    blocks: list[explorer.Block] = []
    if moved:
        blocks += _weights(catalogue, after, moved)
    if len(tried) > 1:
        blocks += _cloud(catalogue, before, after, tried)
        if gauges := catalogue["methods"][after.config.method]["gauges"]:
            told = " ".join(f"{name.replace('_', ' ').capitalize()}: {text}" for name, text in gauges.items())
            blocks.append({**search(catalogue, after, tried), "area": "bottom"})
            blocks.append(explorer.text("search-key", [told], area="bottom", muted=True))
    if blocks:
        explorer.explorer(blocks, key="treatment-inside", revision=after.id, stamp=f"{before.id}{after.id}")


def _weights(catalogue: dict[str, Any], after: Run, moved: Mapping[str, float]) -> list[explorer.Block]:
    heading = "How far the weights moved, per layer"
    table = pd.DataFrame({"parameter": list(moved), "moved": list(moved.values())})
    if not table["moved"].any():
        words = "No weight was moved: the network is as it came, and the threshold alone made the difference."
        return [explorer.text("weights-key", [words], area="left", heading=heading)]
    figure = figures_after.weights_moved(table, colour=pages.method_colour(catalogue, after.config.method))
    chart = explorer.chart(
        "weights", figure, area="left", height=76 + 30 * len(table), heading=heading,
        alt="Bars: the length of each parameter tensor's change as a share of its own length",
    )  # fmt: skip
    words = "One bar per parameter tensor, from input to output; 0 % is as it came."
    return [chart, explorer.text("weights-key", [words], area="left", muted=True)]


def _cloud(catalogue: dict[str, Any], before: Run, after: Run, tried: pd.DataFrame) -> list[explorer.Block]:
    """All trials as points in (|μ|, ρ), by the measure of the search."""
    measure, epsilon = _aim(after.config)
    tensors = pages.store().confusions([before.id, after.id], "validation")
    ends = [_place(tensors.get(run.id), measure) for run in (before, after)]
    figure = figures_after.trials(
        figures_after.cloud(tried, before=ends[0], kept=ends[1]), epsilon=epsilon, gap_title=_magnitude(measure),
        colour=pages.method_colour(catalogue, after.config.method),
    )  # fmt: skip
    chart = explorer.chart(
        "cloud", figure, area="right", height=340,
        heading=f"All {len(tried)} trials, each with its best threshold (validation)",
        alt="Every trial as a point: gap on x, balanced accuracy on y; the kept one is ringed",
    )  # fmt: skip
    words = (
        f"Filled: gap under ε = {epsilon:g}. Hollow: not. Thin cross: one decision for nearly all. If the ring lies on "
        "the grey diamond, the weights as they came with a threshold of their own, moving the threshold was enough; "
        "what it lies above or to the left of it, the new weights earned. The kept one is judged on all validation "
        "rows; a method may judge its trials on a part of them."
    )
    return [chart, explorer.text("cloud-key", [words], area="right", muted=True)]


def _place(C: np.ndarray | None, measure: str) -> tuple[float, float]:
    """(gap, balanced accuracy); NaN where nothing is stored."""
    if C is None:
        return math.nan, math.nan
    found = flips.standing(C, measure, metrics.EPSILON)
    return found["gap"][0], found["balanced_accuracy"][0]
