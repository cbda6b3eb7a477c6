"""How far a regression is off, by bin of the true value and group: the sentence, the chart, its tables and words.

A run that was made before its predictions were kept has none of it; one sentence says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import regression, regression_figures, regression_noise, regression_results
from fairness_core.datasets.tabular import bin_names
from fairness_core.regression import MEASURES, SMALL, Outcome
from fairness_core.store import Run
from pages import explorer

WAIT = "Errors by bin of the true value and group appear here with the first numbers."
COURSE = {"odds_regression": "gap of the signed error", "mean_absolute_error": "mean absolute error"}  # while it learns
WORDS = (
    "Signed: prediction minus truth, so left of zero a group is predicted too low. A gap at the same true value is "
    "what the groups' difference in true values cannot explain."
)
SEEDS = 20  # seeds that are looked for beside the run's own
BETTER = {"lower": "lower is better", "higher": "higher is better", "zero": "zero is best"}


@dataclasses.dataclass(frozen=True)
class Errors:
    """What the page tells of one finished run. cells: as regression_noise.cells, of the test split; values and
    validation {measure: value}; ranges {measure: (low, high)} of sampling noise; floor: what a gap would measure if
    there were none."""

    test: Outcome
    cells: pd.DataFrame
    values: Mapping[str, float]
    validation: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    floor: Mapping[str, float]
    groups: tuple[str, ...]
    unit: str


def errors(run: Run) -> Errors | None:
    """What is known of a run; None where it is not done or its predictions were not kept."""
    path = pages.store().numbers_path(run.id)
    if run.status != "done" or not path.exists():
        return None
    return _counted(run.id, path.stat().st_mtime_ns)


@st.cache_resource(max_entries=24, show_spinner=False)
def _counted(run_id: str, written: int) -> Errors | None:
    """`errors` of a run whose file was last written at `written`; nobody changes it."""
    run = pages.store().run(run_id)
    found = {} if run is None else regression_results.outcomes(pages.store(), run)
    if run is None or "test" not in found:
        return None
    test, groups = found["test"], tuple(run.info["groups"])
    return Errors(
        test,
        regression_noise.cells(test, groups),
        regression.evaluate(test),
        regression.evaluate(found["validation"]) if "validation" in found else {},
        regression_noise.bootstrap(test),
        regression_noise.noise_floor(test),
        groups,
        unit(run),
    )


def unit(run: Run) -> str:
    """What errors are counted in."""
    return str(run.info.get("unit") or "units of the target")


# --------------------------------------------------------------------------------------------------------------- words


def number(value: float) -> str:
    """0.09092 -> "0.0909", 12345.6 -> "12,346"; a dash where there is no number."""
    if not math.isfinite(value):
        return "–"
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")


def _range(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}"


def sentence(own: Errors, run: Run, before: Errors | None, setting: str) -> str:
    """The result in words: how far off, how far the groups lie apart, against the untreated model if that is known."""
    v, unit = own.values, own.unit
    error, gap = v["mean_absolute_error"], v["odds_regression"]
    sure = (
        f"{_range(*own.ranges['odds_regression'])}; chance alone would make it {number(own.floor['odds_regression'])}"
    )
    error_range = _range(*own.ranges["mean_absolute_error"])
    where = f"test split, n = {len(own.test):,}, seed {run.config.seed}, 95% intervals from resampling the rows"
    if before is None:
        return (
            f"Predictions are off by {number(error)} {unit} on average "
            f"({error_range}; {number(error / v['target_sd'])} standard deviations of "
            f"the target; R² = {number(v['r2'])}). For a similar true value the groups' mean errors lie {number(gap)} "
            f"{unit} apart ({sure}); {where}."
        )
    old = before.values
    moved = "falls" if gap < old["odds_regression"] else "goes"
    return (
        f"{setting or 'With this method'} the gap between the groups' mean errors for a similar true value {moved} "
        f"from {number(old['odds_regression'])} to {number(gap)} {unit} ({sure}); the mean absolute error goes from "
        f"{number(old['mean_absolute_error'])} to {number(error)} ({error_range}); {where}."
    )


def notes(own: Errors, run: Run) -> list[str]:
    """What a reader must know beside the chart."""
    told = []
    if own.test.merged:
        had = own.test.n_bins + own.test.merged
        told.append(
            f"Bins are quantiles of the training rows; {had} of them were merged into {own.test.n_bins}, so that a bin "
            f"holds at least {SMALL} test rows of every group."
        )
    if own.cells["small"].any():
        told.append(f"Hollow: fewer than {SMALL} rows of this group in this bin, so its errors are very uncertain.")
    if regression.is_trivial(own.values["r2"]):
        told.append("The model hardly beats always naming the mean, so a small gap means nothing here.")
    told += [
        f"The loss stopped being finite at step {flag.partition(':')[2]}; the last good weights are shown."
        for flag in run.info.get("flags", [])
        if flag.startswith("diverged:")
    ]
    return told


# -------------------------------------------------------------------------------------------------------------- screen


def blocks(own: Errors, before: Errors | None, *, area: str = "right") -> list[explorer.Block]:
    """The chart of errors by bin and group, beside the untreated model's where its bins are the same."""
    then = before.cells if before is not None and before.test.labels == own.test.labels else None
    beside = "; ✕: the untreated model" if then is not None else ""
    return _drawn(own.cells, own.unit, then, f"test split, 95% intervals{beside}", area)


def live_blocks(summed: np.ndarray, run: Run, groups: Sequence[str], where: str) -> list[explorer.Block]:
    """The same while the run learns, of Event.errors, by the bins of its data set."""
    cells = regression_noise.errors_by_cell(summed, bin_names(run.info["edges"]), groups)
    return _drawn(cells, unit(run), None, f"{where}, 95% intervals; hollow: fewer than {SMALL} rows", "right")


def _drawn(cells: pd.DataFrame, unit: str, before: pd.DataFrame | None, where: str, area: str) -> list[explorer.Block]:
    chart = explorer.chart(
        "errors",
        regression_figures.errors_by_bin(cells, unit=unit, before=before),
        alt="Signed mean error and mean absolute error of every group in every bin of the true value, with intervals",
        height=regression_figures.errors_height(cells),
        area=area,
        heading=f"Errors by bin of the true value and group ({where})",
    )
    return [chart, explorer.text("errors-words", [WORDS], area=area, muted=True)]


def section(own: Errors, run: Run) -> None:
    """Every measure with its intervals, the tables behind the chart, the definitions, and the notes."""
    for note in notes(own, run):
        st.caption(f":material/info: {note}")
    seeds = _over_seeds(run)
    st.markdown(f"**Every measure of this regression**, errors in {own.unit}, δ = {number(own.test.tolerance)}")
    st.dataframe(
        _told(own, seeds), hide_index=True, height=38 + 35 * len(MEASURES), key="errors-measures", column_config=COLUMNS
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        pages.table_twin(_rounded(own.cells), label="Errors by bin", name=f"errors-{run.id}")
        pages.table_twin(measures_table(own, seeds), label="Measures", name=f"measures-{run.id}")
        definitions(own.test.tolerance, own.unit)


COLUMNS: dict[str, Any] = {
    "95% interval": st.column_config.TextColumn(help="Another test set of the same size: 1,000 resamples of its rows."),
    "In sd": st.column_config.TextColumn(help="Divided by the standard deviation of the true values."),
    "By chance": st.column_config.TextColumn(help="What the gap would measure on average if there were none."),
    "Over seeds": st.column_config.TextColumn(
        help="Mean and 95% t interval over the finished runs that differ in the seed alone: the noise of training."
    ),
}


def measures_table(own: Errors, seeds: pd.DataFrame) -> pd.DataFrame:
    """One row per measure as numbers: measure, title, value, low, high, in_sd, floor, validation, seed_mean, seed_low,
    seed_high, seeds."""
    scaled = regression.in_sd(dict(own.values))
    rows = [
        {
            "measure": name,
            "title": measure.title,
            "value": own.values[name],
            "low": own.ranges[name][0],
            "high": own.ranges[name][1],
            "in_sd": scaled.get(name, math.nan),
            "floor": own.floor.get(name, math.nan),
            "validation": own.validation.get(name, math.nan),
        }
        for name, measure in MEASURES.items()
    ]
    named = {"mean": "seed_mean", "low": "seed_low", "high": "seed_high"}
    return pd.DataFrame(rows).merge(seeds.rename(columns=named), on="measure")


def _told(own: Errors, seeds: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it."""
    rows = []
    for row in measures_table(own, seeds).to_dict("records"):
        over = "–"
        if row["seeds"] > 1:
            over = f"{number(row['seed_mean'])} ({_range(row['seed_low'], row['seed_high'])}), {row['seeds']} seeds"
        rows.append(
            {
                "Measure": row["title"],
                "Test": number(row["value"]),
                "95% interval": _range(row["low"], row["high"]),
                "By chance": number(row["floor"]),
                "In sd": number(row["in_sd"]),
                "Better": BETTER[MEASURES[row["measure"]].better].partition(" ")[0],
                "Validation": number(row["validation"]),
                "Over seeds": over,
            }
        )
    return pd.DataFrame(rows)


def _over_seeds(run: Run) -> pd.DataFrame:
    """The measures over the finished runs that differ from this one in the seed alone."""
    ids = {dataclasses.replace(run.config, seed=seed).id for seed in (*range(SEEDS), run.config.seed)}
    return regression_results.seeds_table(list(pages.store().values(ids, "test").values()))


def _rounded(cells: pd.DataFrame) -> pd.DataFrame:
    numbers = cells.select_dtypes("float").columns
    return cells.assign(**{name: cells[name].map(lambda v: float(f"{v:.5g}")) for name in numbers})


def definitions(tolerance: float, unit: str) -> None:
    """An (i) with formula, meaning, unit and direction of every measure of a regression."""
    with st.popover("Formula", icon=":material/function:", type="tertiary"):
        st.markdown(
            "s: group, q: bin of the true value (quantiles of the training rows, merged until every group has "
            f"{SMALL} rows), y: truth, ŷ: prediction, δ = {number(tolerance)} {unit}. No source defines fairness of a "
            "regression by bins; these are our readings of Odds and EAcc of the BaDe tables."
        )
        for measure in MEASURES.values():
            st.markdown(f"**{measure.title}** · `{measure.name}`")
            st.latex(measure.formula)
            told = unit if measure.scale == "target" else "a share"
            st.markdown(measure.definition)
            st.caption(f"In {told}; {BETTER[measure.better]}.")


def absent(run: Run) -> None:
    """A finished run of which the predictions were not kept: one sentence and the way out."""
    st.info(
        "This run was made before the errors by bin and group were kept; train it again to see them.",
        icon=":material/history:",
    )
    if st.button("Train again", key="errors-again", icon=":material/replay:"):
        pages.store().delete([run.id])
        pages.store().submit([run.config])
        pages.wake_runner()
        st.rerun(scope="app")
