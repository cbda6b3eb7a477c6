"""The two strengths of DVGE: a heat map over η_s and η_t of every run that is the shown one with other strengths, and a
button that trains them."""

from __future__ import annotations

import dataclasses
import itertools
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import latent_figures, metrics, sweep
from fairness_core.config import RunConfig
from fairness_core.store import ACTIVE, Run
from pages import explorer, latent_words
from pages.latent_course import METHOD, STRENGTH, TASK

SEEDS = (0, 1, 2)
MEASURES = (
    *("accuracy", "demographic_parity_difference", "equal_opportunity_gap", "equal_opportunity_joint"),
)  # fmt: skip
RULE, LIMIT = "demographic_parity_difference", 0.05  # the cell is chosen by this gap on validation
TALL, WIDE = 330, 1080  # pixels of the chart and of a paragraph
STATE = "latent-measure"
PACE = 8.0  # seconds before a grid shows how fast it is; a stack's first steps are slow


@dataclasses.dataclass(frozen=True)
class Grid:
    """runs: one row per run of the grid: id, sensitive, task, seed, status; test, live: confusion tensors by id."""

    runs: pd.DataFrame
    test: Mapping[str, np.ndarray]
    live: Mapping[str, np.ndarray]
    chosen: tuple[float, float] | None
    feasible: bool
    point: sweep.OperatingPoint | None

    @property
    def missing(self) -> list[str]:
        return list(self.runs.loc[~self.runs["status"].isin([*ACTIVE, "done"]), "id"])

    @property
    def active(self) -> list[str]:
        return list(self.runs.loc[self.runs["status"].isin(ACTIVE), "id"])


# ------------------------------------------------------------------------------------------------------------- numbers


def strengths(catalogue: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """The values that the method declares for STRENGTH or TASK."""
    return next(c.grid for c in pages.declared(catalogue["methods"][METHOD]) if c.name == name)


def configs(catalogue: Mapping[str, Any], config: RunConfig) -> dict[str, RunConfig]:
    """The runs of the grid by their ids: `config` with every pair of strengths and every seed."""
    made = [
        dataclasses.replace(config.with_option(STRENGTH, s).with_option(TASK, t), seed=seed)
        for s, t, seed in itertools.product(strengths(catalogue, STRENGTH), strengths(catalogue, TASK), SEEDS)
    ]
    return {c.id: c for c in made}


@st.cache_data(max_entries=64, show_spinner=False)
def _cells(version: str, run_id: str, _catalogue: Mapping[str, Any], _config: RunConfig) -> pd.DataFrame:
    """id, sensitive, task, seed of the grid; a run's id is the hash of all that goes into it."""
    rows = [
        (i, float(c.method_options[STRENGTH]), float(c.method_options[TASK]), c.seed)
        for i, c in configs(_catalogue, _config).items()
    ]
    return pd.DataFrame(rows, columns=["id", "sensitive", "task", "seed"])


def waited_for(catalogue: Mapping[str, Any], config: RunConfig) -> list[str]:
    """The ids of the grid's runs that are waiting or training."""
    cells = _cells(str(catalogue["version"]), config.id, catalogue, config)
    found = pages.store().runs(list(cells["id"]))
    return list(found.loc[found["status"].isin(ACTIVE), "id"])


def gather(catalogue: Mapping[str, Any], run: Run) -> Grid:
    cells, store = _cells(str(catalogue["version"]), run.config.id, catalogue, run.config), pages.store()
    known = store.runs(list(cells["id"])).set_index("id")["status"]
    runs = cells.assign(status=[str(known.get(i, "")) for i in cells["id"]])
    done, active = (list(runs.loc[runs["status"].isin(s), "id"]) for s in (("done",), ACTIVE))
    test = store.confusions(done, "test")
    point = _choose(runs, store.confusions(done, "validation"), test)
    at = None if point is None else cells[["sensitive", "task"]].drop_duplicates().iloc[int(point.lam)]
    chosen = None if at is None else (float(at["sensitive"]), float(at["task"]))
    return Grid(runs, test, store.confusions(active, "training"), chosen, bool(point and point.feasible), point)


def _choose(
    runs: pd.DataFrame, validation: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]
) -> sweep.OperatingPoint | None:
    """The cell with the best accuracy on validation among those whose gap there is below LIMIT (methods 2.6); lam is
    its number. None before every cell has all its seeds: a choice among some of them would change all the time."""
    if len(test) < len(runs):
        return None
    cell = runs.groupby(["sensitive", "task"], sort=False).ngroup()
    table = pd.DataFrame({"id": runs["id"], "method": METHOD, "lam": cell.astype(float), "seed": runs["seed"]})
    points = sweep.points(table, validation, test, performance="accuracy", fairness=RULE)
    return sweep.operating_point(sweep.frontier(points), LIMIT)


def table(grid: Grid, measure: str, own: RunConfig) -> pd.DataFrame:
    """One row per cell: sensitive, task, value (mean over seeds), sd, seeds, live, chosen, own; gaps without sign."""
    judge = metrics.METRICS[measure]
    tensors = {**grid.live, **grid.test}
    ids = [i for i in grid.runs["id"] if i in tensors]
    values = judge.function(np.stack([tensors[i] for i in ids])) if ids else np.zeros(0)
    told = dict(zip(ids, values if judge.kind == "performance" else judge.disparity(values), strict=True))
    rows = []
    for (s, t), part in grid.runs.groupby(["sensitive", "task"], sort=True):
        final = [float(told[i]) for i in part["id"] if i in grid.test]
        known = final or [float(told[i]) for i in part["id"] if i in told]
        rows.append({
            "sensitive": s, "task": t, "value": float(np.mean(known)) if known else np.nan,
            "sd": float(np.std(known, ddof=1)) if len(known) > 1 else np.nan, "seeds": len(known),
            "live": bool(known) and not final, "chosen": grid.chosen == (s, t),
            "own": s == float(own.method_options[STRENGTH]) and t == float(own.method_options[TASK]),
        })  # fmt: skip
    return pd.DataFrame(rows)


# -------------------------------------------------------------------------------------------------------------- screen


def part(catalogue: dict[str, Any], run: Run) -> pd.DataFrame | None:
    """What to look for, the measure, the map, which cell is chosen and how, and the button; the map as a table."""
    st.subheader("Both strengths at once", anchor=False)
    st.markdown(latent_words.GRID, width=WIDE)
    grid = gather(catalogue, run)
    shown = None
    if grid.test or grid.live:
        measure = st.selectbox("Measure of the map", MEASURES, key=STATE, format_func=_called, width=420)
        shown = table(grid, measure, run.config)
        _chart(catalogue, run, grid, shown, measure)
        _chosen(grid)
    own = (float(run.config.method_options[name]) for name in (STRENGTH, TASK))
    if tuple(own) not in set(zip(grid.runs["sensitive"], grid.runs["task"], strict=True)):
        st.caption("This run's own strengths are not among those of the map, so no cell is framed as this run.")
    _offer(catalogue, run, grid)
    return shown


def _called(name: str) -> str:
    title = metrics.METRICS[name].title
    return f"{title} (the published code's variant)" if name == "equal_opportunity_joint" else title


def _chart(catalogue: dict[str, Any], run: Run, grid: Grid, shown: pd.DataFrame, measure: str) -> None:
    judge = metrics.METRICS[measure]
    colour = pages.method_colour(catalogue, METHOD)
    rises = judge.better == "higher"
    unit = "%, larger is better" if rises else "points, smaller is better"
    n = next((int(C.sum()) for C in grid.test.values()), 0)
    where = f"test split, n = {n:,}, mean over seeds" if n else "validation sample, unfinished"
    block = explorer.chart(
        "grid", latent_figures.grid(shown, colour=colour), area="top", height=TALL,
        heading=f"{judge.title} ({unit}; {where})",
        alt=f"{judge.title} over both strengths as a heat map with its value in every cell; the table Map holds the "
        "same numbers",
    )  # fmt: skip
    stamp = f"{run.id}{measure}{zlib.crc32(shown.to_json().encode()):08x}"
    explorer.explorer([block], key="explain-grid", revision=f"{run.id}{measure}", stamp=stamp)


def _chosen(grid: Grid) -> None:
    if grid.chosen is None or grid.point is None:
        st.caption(f"A cell is chosen once all {len(grid.runs)} models are trained.")
        return
    point, (s, t) = grid.point, grid.chosen
    rule = (
        f"the highest accuracy among cells whose demographic parity difference is below {LIMIT:g}"
        if grid.feasible
        else f"the smallest demographic parity difference, since no cell is below {LIMIT:g}"
    )
    kept = "" if point.holds_on_test or not grid.feasible else ", which is not below that limit,"
    known = " It is nearly constant: read it with care." if point.trivial else ""
    st.markdown(
        f"**Validation chooses η_s = {s:g}, η_t = {t:g}**: {rule} there ({point.seeds} seeds). On test that gap is "
        f"{100 * point.test_gap:.1f} points{kept} and the accuracy {pages.percent(point.test_performance)}.{known}",
        width=WIDE,
    )


def _offer(catalogue: dict[str, Any], run: Run, grid: Grid) -> None:
    """How far the grid is, or a button that trains what is missing."""
    store = pages.store()
    others = [i for i in grid.active if i != run.id]
    with st.container(horizontal=True, vertical_alignment="center", key="explain-grid-offer"):
        if others:
            told = store.progress(list(grid.runs["id"]))
            known = told.seconds_left is not None and time.time() - (told.started or time.time()) > PACE
            left = f", {pages.duration(told.seconds_left or 0)} left" if known else ""
            if told.done_steps >= told.all_steps:
                left = "; all have learned, now each is tested and looked at, which takes a while"
            st.progress(min(1.0, told.done_steps / max(1, told.all_steps)),
                        text=f"The grid: {told.counts['done']} of {len(grid.runs)} models done{left}")  # fmt: skip
            if st.button("Stop", key="explain-grid-stop", icon=":material/stop_circle:"):
                store.cancel(others)
                st.rerun()
        elif run.status == "done" and grid.missing:
            if st.button("Train the grid", key="explain-grid-train", icon=":material/play_arrow:",
                         type="secondary" if grid.test else "primary"):  # fmt: skip
                train(catalogue, run, grid.missing)
            st.caption(_cost(len(grid.missing)))
        elif grid.missing:
            st.caption("The grid can be trained once this run is done.")


def train(catalogue: Mapping[str, Any], run: Run, missing: Sequence[str]) -> None:
    wanted = configs(catalogue, run.config)
    pages.store().submit([wanted[i] for i in missing], vary=(STRENGTH, TASK))
    pages.wake_runner()
    st.rerun()


def _cost(missing: int) -> str:
    return (
        f"Trains {missing} models, every pair of strengths with {len(SEEDS)} seeds, in one pass. The autoencoder and "
        "its codes are kept, so only small networks are trained: about a minute where rows are few, several minutes "
        "where they are many. You can leave this page meanwhile."
    )
