"""Before and after a treatment, person by person: who gained and who lost a favourable decision, and whether the gap
closed because somebody was made worse off.

Both models judge the same rows, so decisions are paired; every interval here is SAMPLING noise (another test set of
this size). A decision in between 0 and 1 is the chance of the favourable one. It is drawn with the same random number
per person under both models (postprocessing.draw), so a person gains with chance max(after - before, 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from .config import UserError
from .measures import Counts, Values, ratio
from .metrics import SMALL, is_trivial, metric, percentiles, phi, resample, wilson
from .outcomes import GAP_NAMES, PEOPLE
from .scores import Scores

RESAMPLES = 1000
NOTHING = 1e-9  # below this a rate has not moved but for rounding
CLASSES = {"": slice(None), "_deserving": slice(1, 2), "_undeserving": slice(0, 1)}  # true classes a column counts in


def paired_counts(before: Scores, after: Scores, n_groups: int) -> Values:
    """J (G, 2, 2, 2), indexed [group, true class, decision before, decision after]: (expected) people in each cell."""
    same = len(before) == len(after) and before.of == after.of
    if not (same and np.array_equal(before.y, after.y) and np.array_equal(before.s, after.s)):
        raise UserError(
            f"The {len(before):,} rows before and the {len(after):,} rows after are not the same people; "
            "compare two runs with the same data settings and seed, on the same split."
        )
    if len(before) and before.s.max() >= n_groups:
        raise UserError(f"The rows hold group {before.s.max()}, but {n_groups} groups are named; name every group.")
    old, new = (np.asarray(model.decision, np.float64) for model in (before, after))
    masses = (1 - np.maximum(old, new), np.maximum(new - old, 0), np.maximum(old - new, 0), np.minimum(old, new))
    cell = before.s * 2 + before.y
    counted = [np.bincount(cell, mass, minlength=n_groups * 2) for mass in masses]
    return np.asarray(np.stack(counted, -1).reshape(n_groups, 2, 2, 2), np.float64)


def paired_change(gained: Values, lost: Values, n: Values, level: float = 0.95) -> tuple[Values, Values]:
    """Interval (low, high) of the net change (gained - lost) / n of a share among the same n people, elementwise.

    Adjusted Wald for paired shares (Bonett and Price 2012): one person more in each discordant cell; only those who
    changed count, as in McNemar's test. With drawn decisions it covers the draw as well. NaN where n is 0.
    """
    size = np.where(n > 0, n + 2, np.nan)
    up, down = (gained + 1) / size, (lost + 1) / size
    half = float(ndtri((1 + level) / 2)) * np.sqrt((up + down - (up - down) ** 2) / size)
    return np.maximum(up - down - half, -1.0), np.minimum(up - down + half, 1.0)


def flips(before: Scores, after: Scores, groups: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """Who gained and who lost the favourable decision; one row per group.

    n, n_deserving (true class 1), n_undeserving: people. before, after: favoured per 1,000 of the group; change: after
    minus before, with the paired interval of `paired_change`; clear: it excludes 0. gained, lost: (expected) people,
    each also as gained_deserving, gained_undeserving, ...; the same name + _per_1000 is the rate among the people of
    that group and true class. NAME_low, NAME_high: interval per 1,000 (Wilson, except change). small: fewer than
    metrics.SMALL people of one true class. Rates without people are NaN.
    """
    J = paired_counts(before, after, len(groups))
    n = J.sum((1, 2, 3))
    columns: dict[str, Any] = {"group": list(groups), "n": n.round().astype(np.int64)}
    for suffix in ("_deserving", "_undeserving"):
        columns[f"n{suffix}"] = J[:, CLASSES[suffix]].sum((1, 2, 3)).round().astype(np.int64)
    for name, favoured in (("before", J[:, :, 1].sum((1, 2))), ("after", J[..., 1].sum((1, 2)))):
        columns |= _per_1000(name, name, favoured, n, level)
    moved = {"gained": J[:, :, 0, 1], "lost": J[:, :, 1, 0]}  # (G, true class)
    low, high = paired_change(moved["gained"].sum(1), moved["lost"].sum(1), n, level)
    columns["change"] = columns["after"] - columns["before"]
    columns |= {"change_low": 1000 * low, "change_high": 1000 * high, "clear": (low > 0) | (high < 0)}
    for name, people in moved.items():
        for suffix, classes in CLASSES.items():
            count = people[:, classes].sum(1)
            columns[name + suffix] = count
            columns |= _per_1000(f"{name}{suffix}_per_1000", name + suffix, count, J[:, classes].sum((1, 2, 3)), level)
    columns["small"] = J.sum((2, 3)).min(1) < SMALL
    return pd.DataFrame(columns)


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """`flips` as figures_after.flipped draws it: who gained and lost, all per 1,000 people of the whole group, so that
    deserving and undeserving add up."""
    people = table["n"].where(table["n"] > 0)
    names = [f"{way}{suffix}" for way in ("gained", "lost") for suffix in CLASSES]
    return table.assign(**{name: 1000 * table[name] / people for name in names})


def _per_1000(rate: str, interval: str, k: Values, n: Values, level: float) -> dict[str, Values]:
    low, high = wilson(k, n, level)
    return {rate: 1000 * ratio(k, n), f"{interval}_low": 1000 * low, f"{interval}_high": 1000 * high}


def standing(C: Counts, measure: str, epsilon: float) -> dict[str, Any]:
    """How one model stands, C (G, 2, 2): balanced_accuracy, accuracy and gap (|measure|), each (value, low, high) with
    the interval from resampling people; phi at epsilon; feasible (the gap is below it; None if undefined); trivial; n.
    """
    found: dict[str, Any] = {}
    drawn = resample(C)
    for name, judge in (*((n, metric(n)) for n in ("balanced_accuracy", "accuracy")), ("gap", metric(measure))):
        values = [judge.function(counts) for counts in (C, drawn)]
        value, draws = values if judge.kind == "performance" else map(judge.disparity, values)
        low, high = percentiles(draws)
        found[name] = float(value), float(low), float(high)
    gap = found["gap"][0]
    feasible = None if math.isnan(gap) else gap < epsilon
    n, trivial = int(C.sum()), bool(is_trivial(C))
    return {**found, "phi": float(phi(C, epsilon, measure)), "feasible": feasible, "trivial": trivial, "n": n}


# ------------------------------------------------------------------------------------------------------ levelling down

DOWN, NOBODY, UP = "levelling down", "nobody gained", "levelling up"
UNCLEAR, WIDENED, UNDEFINED = "no clear change", "gap widened", "not defined"

# The rates of a group a gap is made of, each with its weight. For the gaps in odds these are the two shares of people
# judged rightly (TPR and 1 - FPR), so there "worse off" means "judged wrongly more often".
PARTS: dict[str, dict[str, float]] = {
    "statistical_parity_difference": {"selection": 1.0},
    "demographic_parity_difference": {"selection": 1.0},
    "equal_opportunity_difference": {"tpr": 1.0},
    "equal_opportunity_gap": {"tpr": 1.0},
    "average_odds_difference": {"readiness": 1.0},
    "average_absolute_odds_difference": {"tpr": 0.5, "tnr": 0.5},
    "odds": {"tpr": 0.5, "tnr": 0.5},
    "bias_mean": {"tpr": 0.5, "tnr": 0.5},
    "bias_sum": {"tpr": 1.0, "tnr": 1.0},
    "equalized_odds_sum": {"tpr": 1.0, "tnr": 1.0},
    "equalized_odds_difference": {"tpr": 1.0, "tnr": 1.0},  # the larger of the two alone; see _pairs
    "accuracy_parity_difference": {"accuracy": 1.0},
}
FELL = {
    "selection": "{} were refused more often",
    "tpr": "deserving {} were refused more often",
    "tnr": "undeserving {} were favoured more often",
    "readiness": "{} were refused more often within the true classes",
    "accuracy": "{} were judged wrongly more often",
}
ROSE = {
    "selection": "{} were favoured more often",
    "tpr": "deserving {} were favoured more often",
    "tnr": "undeserving {} were refused more often",
    "readiness": "{} were favoured more often within the true classes",
    "accuracy": "{} were judged rightly more often",
}


class Gaps(NamedTuple):
    """A gap under both models, before - after, and the interval of that difference; fractions."""

    before: float
    after: float
    closing: float
    low: float
    high: float


class Part(NamedTuple):
    """One rate of a gap: the groups that were furthest apart in it before, and how far the upper one fell and the
    lower one rose, times the rate's weight; over any resamples (...,), 0 where this rate's gap did not narrow."""

    rate: str
    better: int
    worse: int
    fell: Values
    rose: Values


@dataclass(frozen=True)
class Levelling:
    """How a gap closed. gap_before, gap_after, closing (before - after): fractions; lowered: share of the closing that
    came from the better-off group's fall, raised: the rest, from the worse-off group's rise, NaN unless the gap closed;
    *_low, *_high: intervals from resampling people; small: a group has few people of one true class."""

    verdict: str
    sentence: str
    gap_before: float
    gap_after: float
    closing: float
    closing_low: float
    closing_high: float
    lowered: float = math.nan
    lowered_low: float = math.nan
    lowered_high: float = math.nan
    raised: float = math.nan
    small: bool = False

    @property
    def warns(self) -> bool:
        """Most of the closing came from making somebody worse off."""
        return self.verdict in (DOWN, NOBODY)


def levelling_down(
    before: Scores,
    after: Scores,
    groups: Sequence[str],
    measure: str = "statistical_parity_difference",
    level: float = 0.95,
    seed: int = 0,
) -> Levelling:
    """Did the gap close because somebody was made worse off? measure: one of PARTS.

    The gap "closed" if the interval of |before| - |after|, from resampling the people (both decisions of a person stay
    together), lies above 0. Better and worse off are the groups whose rates made the gap before. The better-off
    group's fall f and the worse-off group's rise r, each at least 0, are added up over the measure's rates whose own
    gap narrowed; lowered = f / (f + r). DOWN if more than half of the closing was lowered, NOBODY if the worse-off did
    not rise at all, else UP. Where the order of the groups turned over, f + r is more than the closing and the share
    stands for both. Our definition, after the "levelling down" of Mittelstadt, Wachter and Russell 2023.
    """
    if measure not in PARTS:
        raise UserError(f"{measure} is not made of rates that can be followed; choose one of {', '.join(PARTS)}.")
    J = paired_counts(before, after, len(groups))
    drawn = _resample(J, seed)
    gap = _closing(J, drawn, measure, level)
    small = bool((J.sum((2, 3)) < SMALL).any())
    if not gap.low > 0:
        verdict = UNDEFINED if math.isnan(gap.closing) else WIDENED if gap.high < 0 else UNCLEAR
        return Levelling(verdict, _other_sentence(verdict, measure, gap, level), *gap, small=small)
    pairs = _pairs(J.sum(-1), measure)
    parts = _parts(J, measure, pairs)
    lowered = float(_lowered(parts))
    low, high = percentiles(_lowered(_parts(drawn, measure, pairs)), level)
    verdict = NOBODY if lowered == 1 else DOWN if lowered > 0.5 + NOTHING else UP
    words = _sentence(verdict, measure, parts, lowered, groups, gap, level)
    return Levelling(verdict, words, *gap, lowered, float(low), float(high), 1 - lowered, small)


def _closing(J: Counts, drawn: Counts, measure: str, level: float) -> Gaps:
    """The gap of both models on these people, and the interval of its closing over the resamples."""
    old, new = float(_gap(J.sum(-1), measure)), float(_gap(J.sum(-2), measure))
    low, high = percentiles(_gap(drawn.sum(-1), measure) - _gap(drawn.sum(-2), measure), level)
    return Gaps(old, new, old - new, float(low), float(high))


def _gap(C: Counts, measure: str) -> Values:
    """|measure| of C (..., G, 2, 2): (...,)."""
    judge = metric(measure)
    return judge.disparity(judge.function(C))


def _resample(J: Values, seed: int) -> NDArray[np.int64]:
    """RESAMPLES test sets (B, G, 2, 2, 2) of as many people, drawn with the (expected) shares of J."""
    flat = J.ravel() / max(J.sum(), 1)
    return np.random.default_rng(seed).multinomial(round(J.sum()), flat, size=RESAMPLES).reshape(RESAMPLES, *J.shape)


def _rates(C: Counts) -> dict[str, Values]:
    """{rate: (..., G)} of C (..., G, 2, 2)."""
    C = np.asarray(C, np.float64)
    rows = C.sum(-1)
    negative, positive = np.moveaxis(ratio(C[..., 1], rows), -1, 0)  # P(favoured | true class, group)
    return {
        "selection": ratio(C[..., 1].sum(-1), rows.sum(-1)),
        "tpr": positive,
        "tnr": 1 - negative,
        "readiness": (positive + negative) / 2,
        "accuracy": ratio(C[..., 0, 0] + C[..., 1, 1], rows.sum(-1)),
    }


def _pairs(C: Counts, measure: str) -> dict[str, tuple[int, int]]:
    """{rate: (better, worse)}: the groups between which the measure finds its gap; C (G, 2, 2)."""
    found = {}
    for rate in PARTS[measure]:
        values = _rates(C)[rate]
        if (~np.isnan(values)).sum() < 2:
            continue  # a mean over true classes does without this one
        if metric(measure).better == "zero":  # signed: against the last group, the largest in magnitude
            other = int(np.nanargmax(np.abs(values[:-1] - values[-1])))
            pair = (other, len(values) - 1)
            found[rate] = pair if values[other] >= values[-1] else pair[::-1]
        else:
            found[rate] = int(np.nanargmax(values)), int(np.nanargmin(values))
    if measure == "equalized_odds_difference":
        widest = max(found, key=lambda rate: float(np.abs(np.diff(_rates(C)[rate][list(found[rate])])[0])))
        found = {widest: found[widest]}
    return found


def _parts(J: Counts, measure: str, pairs: dict[str, tuple[int, int]]) -> list[Part]:
    """One part per rate of `pairs`; J (..., G, 2, 2, 2)."""
    parts = []
    first, last = _rates(J.sum(-1)), _rates(J.sum(-2))
    for rate, (better, worse) in pairs.items():
        a, b = first[rate], last[rate]
        fell, rose = a[..., better] - b[..., better], b[..., worse] - a[..., worse]
        narrowed = np.abs(b[..., better] - b[..., worse]) < np.abs(a[..., better] - a[..., worse])
        shares = [np.where(narrowed & (moved > NOTHING), PARTS[measure][rate] * moved, 0.0) for moved in (fell, rose)]
        parts.append(Part(rate, better, worse, *shares))
    return parts


def _lowered(parts: list[Part]) -> Values:
    """Share of the closing that came from lowering, (...,); NaN where no rate's gap narrowed."""
    fell = np.sum([part.fell for part in parts], axis=0)
    rose = np.sum([part.rose for part in parts], axis=0)
    return ratio(fell, fell + rose)


# ------------------------------------------------------------------------------------------------------------ sentences


def _sentence(
    verdict: str,
    measure: str,
    parts: list[Part],
    lowered: float,
    groups: Sequence[str],
    gap: Gaps,
    level: float,
) -> str:
    """ "The gap ... closed by 14.2 points (...), of which 11.9 (84 %) because men were refused more often: ..." """
    closing, low, high = (100 * v for v in gap[2:])
    down = verdict in (DOWN, NOBODY)
    clauses = [
        (FELL if down else ROSE)[part.rate].format(_people(groups[part.better if down else part.worse]))
        for part in parts
        if (part.fell if down else part.rose) > 0
    ]
    share = lowered if down else 1 - lowered
    much = "all of it" if share == 1 else f"of which {share * closing:.1f} ({100 * share:.0f} %)"
    text = f"{_gap_name(measure)} closed by {closing:.1f} points ({100 * level:g} % interval {low:.1f} to {high:.1f}), "
    text += f"{much} because {' and '.join(clauses)}"
    if verdict == NOBODY:
        unmoved = [ROSE[part.rate].format(_people(groups[part.worse])) for part in parts if part.fell > 0]
        text += f" while {' and '.join(unmoved)}".replace(" were ", " were not ")
        return _capital(f"{text}: {DOWN}.")
    return _capital(f"{text}: {verdict}.")


def _other_sentence(verdict: str, measure: str, gap: Gaps, level: float) -> str:
    """The sentence where the gap did not close."""
    if verdict == UNDEFINED:
        return _capital(f"{_gap_name(measure)} is not defined on these rows.")
    old, new, closing, low, high = (100 * v for v in gap)
    if verdict == WIDENED:
        text = f"widened by {-closing:.1f} points, from {old:.1f} to {new:.1f} ({100 * level:g} % interval "
        return _capital(f"{_gap_name(measure)} {text}{-high:.1f} to {-low:.1f}).")
    interval = f"{100 * level:g} % interval of the change {_signed(-high)} to {_signed(-low)}"
    return _capital(
        f"{_gap_name(measure)} shows no clear change, {old:.1f} points before and {new:.1f} now ({interval})."
    )


def _gap_name(measure: str) -> str:
    title = metric(measure).title
    return GAP_NAMES.get(measure, f"the {title[0].lower()}{title[1:]}")


def _people(group: str) -> str:
    return PEOPLE.get(group.lower(), f"people in group {group}")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _signed(value: float) -> str:
    """One decimal with its sign, never "-0.0"; with a true minus sign."""
    rounded = round(value, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"
