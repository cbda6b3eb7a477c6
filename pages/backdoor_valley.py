"""The valley of BaDe (the paper's figure 2): artificial and residual bias over the injection rate, of every run of the
store that differs from the shown one in rate and seed alone, and the rate that validation chooses among them."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import pages
from fairness_core import backdoor_figures, calibration, metrics, regression_results, sweep
from fairness_core.backdoor_figures import Units
from fairness_core.config import RunConfig, UserError
from fairness_core.store import ACTIVE, Run
from pages import backdoor_course, backdoor_words, choices, course, errors_by_bin, explorer
from pages.backdoor_course import METHOD, RATE

NEWEST = 1000  # runs that are looked through
FEWEST = 3  # rates that make a valley
SEEDS, PICTURE_RATES = 3, (0.0, 25.0, 50.0, 75.0, 100.0)
TALL = 470  # pixels of the charts
WIDE = 1080  # pixels of a paragraph
COLUMNS = ("artificial", "gap", "level", "validation_gap", "validation_level", "teacher_gap")


@dataclasses.dataclass(frozen=True)
class Valley:
    """points: one row per finished run: id, rate, seed and COLUMNS, and of a number calibration.ERRORS on validation;
    table: means over seeds, with t intervals (_low and _high); floor: what gap chance alone makes on test; untreated:
    gap and level without a debiaser (means over its finished seeds); problem: why there is no choice; left: the ids
    that are still to come; n: test rows."""

    points: pd.DataFrame
    table: pd.DataFrame
    choice: calibration.Choice | None
    problem: str
    floor: float
    untreated: Mapping[str, float]
    ids: tuple[str, ...]
    left: tuple[str, ...]
    n: int

    @property
    def rates(self) -> int:
        return len(self.table)


# ------------------------------------------------------------------------------------------------------------- numbers


def alike(config: RunConfig) -> pd.DataFrame:
    """The runs of the store that differ from `config` in rate and seed alone, as Store.runs gives them; lam is n %."""
    table = pages.store().runs(limit=NEWEST, over=RATE)
    own = table[(table["method"] == METHOD) & (table["dataset"] == config.dataset)]
    key = config.stack_key((RATE,))
    return own[[_key(i) == key for i in own["id"]]].reset_index(drop=True)


@st.cache_data(max_entries=4096, show_spinner=False)
def _key(run_id: str) -> str:
    """The stack key of a run; its id is the hash of all that goes into it."""
    run = pages.store().run(run_id)
    return run.config.stack_key((RATE,)) if run else ""


def waited_for(config: RunConfig) -> list[str]:
    """The ids of the valley's runs that are waiting or training."""
    found = alike(config)
    return list(found.loc[found["status"].isin(ACTIVE), "id"])


def gather(catalogue: dict[str, Any], run: Run) -> Valley:
    found = alike(run.config)
    done = found[found["status"] == "done"]
    number = regression_results.is_regression(run)
    points = _numbers(done) if number else _classes(done)
    floor = _floors(done, number)
    choice, problem = None, ""
    if points["rate"].nunique() >= FEWEST:
        try:
            choice = _choice(points, floor["validation"], number)
        except UserError as error:
            problem = str(error)
    left = tuple(found.loc[found["status"].isin(ACTIVE), "id"])
    return Valley(
        points, over_seeds(points), choice, problem, floor["test"], _untreated(catalogue, run, points, number),
        tuple(found["id"]), left, int(run.info.get("n_test", 0)),
    )  # fmt: skip


def _classes(done: pd.DataFrame) -> pd.DataFrame:
    store = pages.store()
    validation, test = (store.confusions(done["id"], split) for split in regression_results.SPLITS)
    told = store.values(done["id"], "test")
    points = sweep.points(done, validation, test, performance="eacc", fairness="odds")
    points["teacher_gap"] = [told.get(i, {}).get("teacher_odds_cancelling", math.nan) for i in points["id"]]
    return _renamed(points.rename(columns=lambda c: c.replace("performance", "level")), told)


def _numbers(done: pd.DataFrame) -> pd.DataFrame:
    validation, test = (pages.store().values(done["id"], split) for split in regression_results.SPLITS)
    points = calibration.error_points(done, validation, test)
    points["teacher_gap"] = math.nan  # the teacher's is told in other bins
    levels = {f"{split}_error": f"{split}_level" for split in regression_results.SPLITS}
    return _renamed(points.rename(columns=levels), test)


def _renamed(points: pd.DataFrame, told: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    points["artificial"] = [told.get(i, {}).get("artificial_bias", math.nan) for i in points["id"]]
    points = points.rename(columns={"lam": "rate", "test_gap": "gap", "test_level": "level"})
    costs = [name for error in calibration.ERRORS if (name := f"validation_{error}") in points]
    return points[["id", "rate", "seed", *COLUMNS, *costs]].sort_values(["rate", "seed"], ignore_index=True)


def _choice(points: pd.DataFrame, floor: float, number: bool) -> calibration.Choice:
    level, choose = ("error", calibration.of_errors) if number else ("performance", calibration.of_classes)
    names = {
        "rate": "lam", "gap": "test_gap", "level": f"test_{level}", "validation_level": f"validation_{level}"
    }  # fmt: skip
    return choose(points.rename(columns=names), floor)


def over_seeds(points: pd.DataFrame) -> pd.DataFrame:
    """One row per rate: rate, seeds, and of COLUMNS the mean and its t interval (TRAINING noise)."""
    rows = []
    for rate, own in points.groupby("rate"):
        row: dict[str, Any] = {"rate": rate, "seeds": len(own)}
        for name in COLUMNS:
            told = metrics.over_seeds(own[name].to_numpy(float))
            row |= {name: float(told.mean), f"{name}_low": float(told.low), f"{name}_high": float(told.high)}
        rows.append(row)
    ends = [f"{name}{end}" for name in COLUMNS for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["rate", "seeds", *ends])


def _floors(done: pd.DataFrame, number: bool) -> dict[str, float]:
    """What gap chance alone makes on each split, by the newest finished run; NaN where there is none."""
    newest = list(done["id"].head(1))
    if number:
        own = errors_by_bin.errors(run) if newest and (run := pages.store().run(newest[0])) else None
        known = math.nan if own is None else float(own.floor["odds_regression"])
        return dict.fromkeys(regression_results.SPLITS, known)
    found = {}
    for split in regression_results.SPLITS:
        C = next(iter(pages.store().confusions(newest, split).values()), None)
        found[split] = math.nan if C is None else float(metrics.noise_floor(C)["bias_mean"])
    return found


def _untreated(catalogue: dict[str, Any], run: Run, points: pd.DataFrame, number: bool) -> dict[str, float]:
    """gap, level and seeds of the untreated models beside the points; empty where none is trained."""
    seeds = sorted({*points["seed"].tolist(), run.config.seed})
    ids = [course.untreated(catalogue, dataclasses.replace(run.config, seed=int(seed))).id for seed in seeds]
    if number:
        pairs = [(v["odds_regression"], v["eerr"]) for v in pages.store().values(ids, "test").values() if "eerr" in v]
    else:
        tensors = pages.store().confusions(ids, "test").values()
        pairs = [tuple(metrics.evaluate(C, ["odds", "eacc"]).values()) for C in tensors]
    if not pairs:
        return {}
    gap, level = np.mean(pairs, 0)
    return {"gap": float(gap), "level": float(level), "seeds": len(pairs)}


# -------------------------------------------------------------------------------------------------------------- screen


def part(catalogue: dict[str, Any], run: Run, valley: Valley) -> None:
    """What to look for, the two charts, which rate is chosen and how, and a button that trains what is missing."""
    units = backdoor_course.units(run)
    st.subheader("The valley", anchor=False)
    st.markdown(backdoor_words.VALLEY, width=WIDE)
    if valley.rates:
        _charts(catalogue, run, valley, units)
    with st.container(key="explain-valley-choice"):
        if valley.choice is not None:
            st.markdown(backdoor_words.choice(valley.choice, valley.table, units, valley.n), width=WIDE)
            _link(run, valley, valley.choice.value)
        elif valley.problem:
            st.caption(f":material/warning: {valley.problem}")
        elif not valley.rates:
            st.caption("A point appears as soon as a run is done.")
        else:
            st.caption(f"A rate is chosen once {FEWEST} rates are trained; so far there {_count(valley.rates)}.")
    _offer(catalogue, run, valley)


def _link(run: Run, valley: Valley, chosen: float) -> None:
    """The way to a run at the chosen rate, with this run's seed if there is one."""
    own = valley.points[valley.points["rate"] == chosen].sort_values("seed", key=lambda s: s != run.config.seed)
    if backdoor_course.rate(run.config) != chosen and len(own):
        st.page_link("explain.py", label=f"Open the run at n = {chosen:g} %", icon=":material/arrow_forward:",
                     query_params={"run": str(own["id"].iloc[0])})  # fmt: skip


def _count(n: int) -> str:
    return "is one" if n == 1 else f"are {n}"


def _charts(catalogue: dict[str, Any], run: Run, valley: Valley, units: Units) -> None:
    stamp = f"{run.id}{zlib.crc32(valley.points.to_json().encode()):08x}{len(valley.untreated)}{valley.choice}"
    colour = pages.method_colour(catalogue, METHOD)
    blocks = _blocks(stamp, valley, backdoor_course.rate(run.config), units, colour)
    explorer.explorer(blocks, key="explain-valley", revision=run.id, stamp=stamp)


@st.cache_data(max_entries=16, show_spinner=False)
def _blocks(stamp: str, _valley: Valley, rate: float, _units: Units, colour: str) -> list[explorer.Block]:
    """`stamp` stands for all that the charts show."""
    valley, units = _valley, _units
    marks = {"chosen on validation": valley.choice.value} if valley.choice else {}
    marks["this run"] = rate
    numbers = units.scale == 1
    name = "artificial bias (sd of the target)" if numbers else "artificial bias (points of accuracy)"
    what = f"Residual gap and error{units.unit}" if numbers else "Residual bias and accuracy"
    left = backdoor_figures.artificial(valley.table, valley.points, colour=colour, name=name, scale=units.scale)
    right = backdoor_figures.residual(
        valley.table, valley.points, colour=colour, units=units, floor=valley.floor, untreated=valley.untreated
    )
    seeds = backdoor_words.seeds(valley.table)
    several = int(valley.table["seeds"].max()) >= backdoor_figures.FEWEST_SEEDS
    bars = "; bars: 95 % t intervals" if several else ""
    twin = "the table Valley holds the same numbers"
    return [
        explorer.chart(
            "valley-artificial", backdoor_figures.mark_rates(left, marks), area="left", height=TALL,
            heading=f"Artificial bias: what the triggers alone do to the teacher (test, {seeds})",
            alt=f"Artificial bias of the teacher over the injection rate; {twin}",
        ),
        explorer.chart(
            "valley-residual", backdoor_figures.mark_rates(right, marks), area="right", height=TALL,
            heading=f"{what} (test, {seeds}{bars})",
            alt=f"Odds and EAcc of the student, and Odds of the teacher, over the injection rate; {twin}",
        ),
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------------- training what lacks


def plan(catalogue: dict[str, Any], run: Run, known: Sequence[int] = ()) -> choices.Plan:
    """The sweep over n % that a valley needs: every rate the method declares with three seeds, of pictures five rates
    with one. The seeds are this run's and those that the valley has already, as far as there are."""
    pictures = catalogue["datasets"][run.config.dataset]["kind"] == "image"
    entry = catalogue["methods"][METHOD]
    values = list(PICTURE_RATES) if pictures else list(entry["grid"])
    offered = dict.fromkeys([run.config.seed, *sorted(known), *range(SEEDS)])
    seeds = sorted(list(offered)[: 1 if pictures else SEEDS])
    base = dataclasses.replace(run.config, seed=0).with_option(RATE, pages.defaults(entry)[RATE])
    return choices.from_spec(catalogue, {"over": RATE, "values": values, "seeds": seeds, "base": base.to_json()})


def _offer(catalogue: dict[str, Any], run: Run, valley: Valley) -> None:
    """How far the valley is, or a button that trains what is missing, and how long that may take."""
    store = pages.store()
    with st.container(horizontal=True, vertical_alignment="center", key="explain-valley-offer"):
        others = [i for i in valley.left if i != run.id]
        if others:
            told = store.progress(valley.ids)
            left = "" if told.seconds_left is None else f", {pages.duration(told.seconds_left)} left"
            st.progress(told.done_steps / max(1, told.all_steps),
                        text=f"The valley: {told.counts['done']} of {len(valley.ids)} models done{left}")  # fmt: skip
            if st.button("Stop", key="explain-valley-stop", icon=":material/stop_circle:"):
                store.cancel(others)
                st.rerun()
            return
        if run.status != "done":
            return
        wanted = plan(catalogue, run, sorted(set(valley.points["seed"].astype(int))))
        known = set(store.runs([c.id for c in wanted.runs]).query("status == 'done'")["id"])
        missing = [c for c in wanted.runs if c.id not in known]
        if not missing:
            return
        few = valley.rates < FEWEST
        if st.button("Draw the valley" if few else "Complete the valley", key="explain-valley-draw",
                     type="primary" if few else "secondary", icon=":material/play_arrow:"):  # fmt: skip
            choices.submit(store, wanted)
            st.rerun()
        st.caption(_cost(run, wanted, missing))


def _cost(run: Run, wanted: choices.Plan, missing: Sequence[RunConfig]) -> str:
    """What the button trains, and how long that may take."""
    values, seeds = (len(wanted.spec[name]) for name in ("values", "seeds"))
    each = float(run.info.get("seconds", math.nan))
    one = pages.duration(each) if each >= 1 else "less than a second"
    took = f"; this run took {one}, so about {pages.duration(each * len(missing))} at most" if each > 0 else ""
    together = ", less where several are trained together" if seeds > 1 else ""
    many = f"{len(missing)} model{'s' if len(missing) > 1 else ''}"
    return (
        f"Trains {many} ({values} rates, {seeds} seed{'s' if seeds > 1 else ''}) with this run's settings, and what is "
        f"missing of the untreated{took}{together}. You can leave this page meanwhile."
    )
