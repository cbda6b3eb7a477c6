"""The valley of BaDe (the paper's figure 2): artificial and residual bias over the injection rate n % and, beyond
100 %, over the strength s, of every run of the store that differs from the shown one in these and the seed alone, and
what validation chooses among them."""

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
from fairness_core.calibration import EXPONENT, FULL, RATE, Path
from fairness_core.config import RunConfig, UserError
from fairness_core.store import ACTIVE, Run
from pages import backdoor_course, backdoor_words, choices, course, errors_by_bin, explorer
from pages.backdoor_course import METHOD

NEWEST = 1000  # runs that are looked through
FEWEST = 3  # strengths that make a valley
SEEDS, PICTURE_RATES = 3, (0.0, 25.0, 50.0, 75.0, 100.0)
AT_ONCE = 3  # strengths beyond the full rate that are offered before one looks again where the floor lies
TALL = 470  # pixels of the charts
WIDE = 1080  # pixels of a paragraph
PLACE = ("strength", RATE, EXPONENT)
COLUMNS = ("artificial", "gap", "level", "validation_gap", "validation_level", "teacher_gap")


@dataclasses.dataclass(frozen=True)
class Valley:
    """points: one row per finished run: id, strength (of calibration.Path), rate and exponent (n % and s), seed and
    COLUMNS, and of a number calibration.ERRORS on validation; table: means over seeds, with t intervals (_low and
    _high); floor: what gap chance alone makes on test; untreated: gap and level without a debiaser (means over its
    finished seeds); problem: why there is no choice; left: the ids that are still to come; n: test rows."""

    path: Path
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
    def strengths(self) -> list[float]:
        """Ascending."""
        return list(self.table["strength"])

    @property
    def beyond(self) -> list[float]:
        """The strengths beyond the full rate that belong to this valley: all up to the strongest that is trained and,
        where that may be the floor, the next few."""
        top = max(self.strengths, default=0.0)
        steps = [step for step in self.path.steps if step <= top]
        if self.choice is not None and top in self.choice.alike and top >= FULL:
            steps += [step for step in self.path.steps if step > top][:AT_ONCE]
        return sorted({*steps, *(x for x in self.strengths if x > FULL)})


# ------------------------------------------------------------------------------------------------------------- numbers


def alike(config: RunConfig) -> pd.DataFrame:
    """The runs of the store that differ from `config` in the seed and the place on its path alone, as Store.runs gives
    them; lam is the strength."""
    table = pages.store().runs(limit=NEWEST)
    own = table[(table["method"] == METHOD) & (table["dataset"] == config.dataset)]
    key, path = config.stack_key((RATE, EXPONENT)), Path.through(config.method_options)
    own = own[[_key(i) == key for i in own["id"]]]
    own = own.assign(lam=[path.strength(options) for options in own["options"]])
    return own[own["lam"].notna()].reset_index(drop=True)


@st.cache_data(max_entries=4096, show_spinner=False)
def _key(run_id: str) -> str:
    """The stack key of a run; its id is the hash of all that goes into it."""
    run = pages.store().run(run_id)
    return run.config.stack_key((RATE, EXPONENT)) if run else ""


def waited_for(config: RunConfig) -> list[str]:
    """The ids of the valley's runs that are waiting or training."""
    found = alike(config)
    return list(found.loc[found["status"].isin(ACTIVE), "id"])


def gather(catalogue: dict[str, Any], run: Run) -> Valley:
    found = alike(run.config)
    done = found[found["status"] == "done"]
    number, path = regression_results.is_regression(run), Path.through(run.config.method_options)
    points = _on_path(path, _numbers(done) if number else _classes(done))
    floor = _floors(done, number)
    choice, problem = None, ""
    if points["strength"].nunique() >= FEWEST:
        try:
            choice = _choice(points, floor["validation"], number)
        except UserError as error:
            problem = str(error)
    left = tuple(found.loc[found["status"].isin(ACTIVE), "id"])
    return Valley(
        path, points, over_seeds(points), choice, problem, floor["test"], _untreated(catalogue, run, points, number),
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
    points = points.rename(columns={"lam": "strength", "test_gap": "gap", "test_level": "level"})
    costs = [name for error in calibration.ERRORS if (name := f"validation_{error}") in points]
    return points[["id", "strength", "seed", *COLUMNS, *costs]].sort_values(["strength", "seed"], ignore_index=True)


def _on_path(path: Path, points: pd.DataFrame) -> pd.DataFrame:
    """With the n % and the s of every strength."""
    settings = [path.settings(strength) for strength in points["strength"]]
    for place, name in enumerate((RATE, EXPONENT), 2):
        points.insert(place, name, [float(own[name]) for own in settings])
    return points


def _choice(points: pd.DataFrame, floor: float, number: bool) -> calibration.Choice:
    level, choose = ("error", calibration.of_errors) if number else ("performance", calibration.of_classes)
    names = {
        "strength": "lam", "gap": "test_gap", "level": f"test_{level}", "validation_level": f"validation_{level}"
    }  # fmt: skip
    return choose(points.rename(columns=names), floor)


def over_seeds(points: pd.DataFrame) -> pd.DataFrame:
    """One row per strength: PLACE, seeds, and of COLUMNS the mean and its t interval (TRAINING noise)."""
    rows = []
    for place, own in points.groupby(list(PLACE)):
        row: dict[str, Any] = {**dict(zip(PLACE, place, strict=True)), "seeds": len(own)}
        for name in COLUMNS:
            told = metrics.over_seeds(own[name].to_numpy(float))
            row |= {name: float(told.mean), f"{name}_low": float(told.low), f"{name}_high": float(told.high)}
        rows.append(row)
    ends = [f"{name}{end}" for name in COLUMNS for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*PLACE, "seeds", *ends])


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
    """What to look for, the two charts, what is chosen and how, and a button that trains what is missing."""
    units = backdoor_course.units(run)
    st.subheader("The valley", anchor=False)
    st.markdown(backdoor_words.valley(valley.path), width=WIDE)
    if valley.strengths:
        _charts(catalogue, run, valley, units)
    with st.container(key="explain-valley-choice"):
        if valley.choice is not None:
            said = backdoor_words.choice(valley.choice, valley.path, units, valley.n, valley.strengths)
            st.markdown(said, width=WIDE)
            _link(run, valley, valley.choice.value)
        elif valley.problem:
            st.caption(f":material/warning: {valley.problem}")
        elif not valley.strengths:
            st.caption("A point appears as soon as a run is done.")
        else:
            many = _count(len(valley.strengths))
            st.caption(f"A rate is chosen once {FEWEST} rates are trained; so far there {many}.")
    _offer(catalogue, run, valley)


def _link(run: Run, valley: Valley, chosen: float) -> None:
    """The way to a run at the chosen strength, with this run's seed if there is one."""
    own = valley.points[valley.points["strength"] == chosen].sort_values("seed", key=lambda s: s != run.config.seed)
    if valley.path.strength(run.config.method_options) != chosen and len(own):
        st.page_link("explain.py", label=f"Open the run at {valley.path.told(chosen)}", icon=":material/arrow_forward:",
                     query_params={"run": str(own["id"].iloc[0])})  # fmt: skip


def _count(n: int) -> str:
    return "is one" if n == 1 else f"are {n}"


def _charts(catalogue: dict[str, Any], run: Run, valley: Valley, units: Units) -> None:
    stamp = f"{run.id}{zlib.crc32(valley.points.to_json().encode()):08x}{len(valley.untreated)}{valley.choice}"
    colour = pages.method_colour(catalogue, METHOD)
    blocks = _blocks(stamp, valley, valley.path.strength(run.config.method_options), units, colour)
    explorer.explorer(blocks, key="explain-valley", revision=run.id, stamp=stamp)


@st.cache_data(max_entries=16, show_spinner=False)
def _blocks(stamp: str, _valley: Valley, strength: float, _units: Units, colour: str) -> list[explorer.Block]:
    """`stamp` stands for all that the charts show."""
    valley, units = _valley, _units
    marks = {"chosen on validation": valley.choice.value} if valley.choice else {}
    marks["this run"] = strength
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
            "valley-artificial", backdoor_figures.mark_strengths(left, marks), area="left", height=TALL,
            heading=f"Artificial bias: what the triggers alone do to the teacher (test, {seeds})",
            alt=f"Artificial bias of the teacher over the injection rate and the strength; {twin}",
        ),
        explorer.chart(
            "valley-residual", backdoor_figures.mark_strengths(right, marks), area="right", height=TALL,
            heading=f"{what} (test, {seeds}{bars})",
            alt=f"Odds and EAcc of the student, and Odds of the teacher, over the injection rate and strength; {twin}",
        ),
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------------- training what lacks


def plans(catalogue: dict[str, Any], run: Run, valley: Valley) -> list[choices.Plan]:
    """The sweeps that this valley needs: over n %, every rate the method declares with three seeds, of pictures five
    rates with one, and over s at the full rate where it goes `beyond` that. The seeds are this run's and those that the
    valley has already, as far as there are."""
    pictures = catalogue["datasets"][run.config.dataset]["kind"] == "image"
    rates = list(PICTURE_RATES) if pictures else list(catalogue["methods"][METHOD]["grid"])
    known = sorted(set(valley.points["seed"].astype(int)))
    seeds = sorted(list(dict.fromkeys([run.config.seed, *known, *range(SEEDS)]))[: 1 if pictures else SEEDS])
    settings = {**run.config.method_options, **valley.path.settings(FULL)}
    base = dataclasses.replace(run.config, seed=0, method_options=settings).to_json()
    beyond = [valley.path.settings(strength)[EXPONENT] for strength in valley.beyond]
    wanted = {RATE: rates, **({EXPONENT: beyond} if beyond else {})}
    return [
        choices.from_spec(catalogue, {"over": over, "values": values, "seeds": seeds, "base": base})
        for over, values in wanted.items()
    ]


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
        wanted = plans(catalogue, run, valley)
        known = set(store.runs([c.id for p in wanted for c in p.runs]).query("status == 'done'")["id"])
        missing = {p.spec["over"]: own for p in wanted if (own := [c for c in p.runs if c.id not in known])}
        if not missing:
            return
        label, first = _label(valley, missing)
        if st.button(label, key="explain-valley-draw", type="primary" if first else "secondary",
                     icon=":material/play_arrow:"):  # fmt: skip
            choices.submit(store, wanted[0])
            store.submit(missing.get(EXPONENT, []), vary=(EXPONENT,))
            pages.wake_runner()
            st.rerun()
        st.caption(_cost(run, valley.path, missing))


def _label(valley: Valley, missing: Mapping[str, Sequence[RunConfig]]) -> tuple[str, bool]:
    """What the button says, and whether it is the next thing to do here."""
    if len(valley.strengths) < FEWEST:
        return "Draw the valley", True
    strengths = [valley.path.strength(c.method_options) for own in missing.values() for c in own]
    if min(strengths) > max(valley.strengths):
        at_edge = valley.choice is not None and valley.choice.edge
        return f"Follow the valley to {valley.path.told(max(strengths))}", at_edge
    return "Complete the valley", False


def _cost(run: Run, path: Path, missing: Mapping[str, Sequence[RunConfig]]) -> str:
    """What the button trains, and how long that may take."""
    configs = [c for own in missing.values() for c in own]
    rates = len({c.method_options[RATE] for c in missing.get(RATE, ())})
    beyond = sorted({path.strength(c.method_options) for c in missing.get(EXPONENT, ())})
    seeds = len({c.seed for c in configs})
    parts = [f"{rates} rate{'s' if rates > 1 else ''}"] if rates else []
    parts += [f"{path.told(*beyond)} at n = 100 %"] if beyond else []
    parts.append(f"{seeds} seed{'s' if seeds > 1 else ''}")
    each = float(run.info.get("seconds", math.nan))
    one = pages.duration(each) if each >= 1 else "less than a second"
    took = f"; this run took {one}, so about {pages.duration(each * len(configs))} at most" if each > 0 else ""
    together = ", less where several are trained together" if seeds > 1 else ""
    many = f"{len(configs)} model{'s' if len(configs) > 1 else ''}"
    return (
        f"Trains {many} ({', '.join(parts)}) with this run's settings, and what is missing of the untreated"
        f"{took}{together}. You can leave this page meanwhile."
    )
