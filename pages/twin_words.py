"""What the section about AEDA says: the sentence about a run, what it does at this moment, and what to look for."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from fairness_core import aeda_figures
from fairness_core.store import Run
from pages import twin_course

ACCURACY = "mean accuracy over the cells of class and group"
GAP = "mean gap between groups within a class"
LEAST = 0.05  # points of bias by chance that are worth a word
LEARNS = {
    True: "The model learns from every row and from its twin",
    False: "Plain training: there are no twins yet",
}


def result(before: np.ndarray | None, after: np.ndarray, run: Run) -> str:
    """The result in words, against the untreated model where that is known."""
    new, drawn = twin_course.values(after), twin_course.draws(after)
    units, by_chance = _units(after), 100 * twin_course.floor(after)
    source = (
        f"Test split, n = {twin_course.rows_in(after):,}, seed {run.config.seed}; 95 % intervals from resampling rows "
        "within these cells"
    )
    source += f"; chance alone makes {by_chance:.1f} points of bias." if by_chance >= LEAST else "."
    if before is None:
        accuracy, bias = (own(new[name], drawn[name]) for name in ("bacc", "bias_mean"))
        return (
            f"bACC ({ACCURACY}) is {accuracy} % and bias by this metric ({GAP}) {bias} points; in the paper's unit, "
            f"added up over {units}, {new['bias_sum']:.2f}. {source}"
        )
    old, drawn_old = twin_course.values(before), twin_course.draws(before, 1)
    accuracy, bias = (
        against(old[name], new[name], drawn[name] - drawn_old[name], unit)
        for name, unit in (("bacc", " %"), ("bias_mean", " points"))
    )
    return (
        f"Against the untreated model bACC ({ACCURACY}) {accuracy}, and bias by this metric ({GAP}) {bias}; in the "
        f"paper's unit, added up over {units}, from {old['bias_sum']:.2f} to {new['bias_sum']:.2f}. {source}"
    )


def _units(C: np.ndarray) -> str:
    if C.ndim == 4:
        return f"the {2 * len(C)} values of {len(C)} targets"
    return f"{C.shape[-1]} classes"


def own(value: float, drawn: np.ndarray) -> str:
    low, high = twin_course.ends(drawn)
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def against(old: float, new: float, difference: np.ndarray, unit: str) -> str:
    """ "rises from 55.1 to 74.6 %, by 19.5 points (17.9 to 21.0)"; one that may be chance is said to be that."""
    low, high = (100 * end for end in twin_course.ends(difference))
    change = 100 * (new - old)
    if low <= 0 <= high:
        return (
            f"goes from {100 * old:.1f} to {100 * new:.1f}{unit}, a difference that these rows cannot tell from none "
            f"({low:+.1f} to {high:+.1f} points)".replace("-", "−")
        )
    verb = "rises" if change > 0 else "falls"
    first, second = sorted((abs(low), abs(high)))
    reach = f"by {abs(change):.1f} points ({first:.1f} to {second:.1f})"
    return f"{verb} from {100 * old:.1f} to {100 * new:.1f}{unit}, {reach}"


def now(run: Run, looks: pd.DataFrame) -> str:
    """What an unfinished run does, and where it stands by its newest look."""
    if looks.empty:
        return "The first look is taken after the first steps; twins, curves and matrices appear here by themselves."
    newest = looks.iloc[-1]
    before = newest["epoch"] <= 0 and twin_course.phases(run.config) == 2
    epoch = newest["epoch"] - (twin_course.first_epoch(run) if before else 0.0)
    of = f"epoch {epoch:.1f} of {twin_course.last_epoch(run):.0f}"
    where = f"on the validation sample (n = {newest['n']:,.0f}, seed {run.config.seed}, {of})"
    known = math.isfinite(newest["attack_success"])
    doing = LEARNS[known]
    if before:
        doing = "The two networks that will judge the twins are trained first"
    passing = f"; {100 * newest['attack_success']:.0f} % of the twins pass for another group" if known else ""
    return (
        f"{doing}{passing}. bACC ({ACCURACY}) is {100 * newest['bacc']:.1f} % and bias by this metric ({GAP}) "
        f"{100 * newest['bias_mean']:.1f} points {where}. Intervals come with the test result."
    )


def low_success(run: Run, looks: pd.DataFrame) -> str:
    """What it means, and what to do, when under half of the twins pass at the last look; empty if that is not so."""
    known = looks["attack_success"].dropna()
    if known.empty or known.iloc[-1] >= aeda_figures.LEAST_FILLED:
        return ""
    share = f"At the last look {100 * known.iloc[-1]:.0f} % of the twins pass for the other group."
    advice = "Train with a larger ε, more steps S or a larger λ and compare."
    if run.config.method_options.get("variant") == "robust":
        return (
            f"{share} In variant robust that can be a good sign: the bias head learns from the twins too, and one that "
            "has lost the group names it by chance. It is a bad sign if bias below stays high and r is near chance: "
            f"then the twins are little more than copies. {advice}"
        )
    return (
        f"{share} The rest are little more than copies of their rows, so the classes look balanced and are not: what "
        f"the paper calls fake balance. {advice}"
    )


# -------------------------------------------------------------------------------------------------- what to look for

SUCCESS = (
    "Look for a high attack success (dotted: a half) with the class kept. The paper needs both: a twin that does not "
    "pass adds a copy, one that loses its class adds a wrong label. In variant robust the bias head learns to resist, "
    "so success may fall towards chance once the model has lost the group."
)
TRANSFER = (
    "A fresh probe learns, from the twins' features, the group each was moved to; r is how often it then names the "
    "group of untouched rows, groups weighted alike. Above the dotted chance level the twins carry what makes the "
    "group. The paper: r of pre falls, once starts higher and falls too, online and robust stay high and steady."
)
BIAS = (
    "Bias is the mean gap in accuracy between groups within one class, on the validation sample{n}. Look "
    "whether it climbs where r drops. In the paper robust settles near 3.1 after about 15 epochs and pre climbs to "
    "about 5.3, added up over 34 values."
)
DIFFERENCE = (
    "The mean of |f(x) − f(twin)| as a share of |f(x)|. Look whether it decays: then the model has learned to ignore "
    "what the attack changes, and the twins are stale. The paper sees that for twins made once, and a steady value for "
    "twins made anew."
)
