"""What a choice means for people: favourable decisions per 1,000 of each group, and the one sentence that opens a page.

The sentence carries two intervals and names each: gap and performance over training seeds (or, with a single seed, from
resampling the test rows), counts of people from sampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .config import UserError
from .measures import Counts
from .metrics import Metric, is_trivial, metric, newcombe, paired_difference, percentiles, resample, wilson

GAP_NAMES = {
    "demographic_parity_difference": "the gap in favourable decisions",
    "statistical_parity_difference": "the gap in favourable decisions",
    "demographic_parity_ratio": "the demographic parity ratio's distance from 1",
    "equal_opportunity_difference": "the gap in true positive rates",
    "equal_opportunity_gap": "the gap in true positive rates",
    "equalized_odds_difference": "the larger gap in true or false positive rate",
    "average_absolute_odds_difference": "the average gap in true and false positive rate",
    "odds": "the average gap in true and false positive rate",
    "accuracy_parity_difference": "the gap in accuracy",
}
PEOPLE = {"female": "women", "male": "men"}
MOST_NAMED = 3  # groups a sentence lists; with more, only the one that gains most and the one that loses most


def per_thousand(
    before: Mapping[int, Counts],
    after: Mapping[int, Counts],
    groups: Sequence[str],
    positive: int = -1,
    level: float = 0.95,
) -> pd.DataFrame:
    """Favourable decisions per 1,000 people of each group under two models; one row per group.

    before, after: {seed: (G, T, T)}. Columns: group, n, before, before_low, before_high, after, after_low, after_high,
    change, change_low, change_high, clear (the change's interval excludes 0). Counts are averaged over seeds, not added
    up: the seeds judge the same people, so n is one test set. Intervals are SAMPLING noise, Wilson for a share and
    Newcombe for the change; the latter takes the two models' decisions as independent and so errs on the wide side.
    positive: the favourable class, by default the last.
    """
    k1, n1 = _chosen(before, positive)
    k2, n2 = _chosen(after, positive)
    table = pd.DataFrame({"group": list(groups), "n": n2})
    for name, k, n in (("before", k1, n1), ("after", k2, n2)):
        low, high = wilson(k, n, level)
        table[name], table[f"{name}_low"], table[f"{name}_high"] = _rate(k, n), 1000 * low, 1000 * high
    low, high = newcombe(k2, n2, k1, n1, level)
    table["change"] = table["after"] - table["before"]
    table["change_low"], table["change_high"] = 1000 * low, 1000 * high
    table["clear"] = (low > 0) | (high < 0)
    return table


def _chosen(tensors: Mapping[int, Counts], positive: int) -> tuple[np.ndarray, np.ndarray]:
    """Favourable decisions and rows per group, means over seeds: (G,), (G,)."""
    C = np.mean(np.stack(list(tensors.values())), axis=0)
    return C[..., positive].sum(-1), C.sum((-1, -2))


def _rate(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.asarray(1000 * k / np.where(n > 0, n, np.nan))


def sentence(
    before: Mapping[int, Counts],
    after: Mapping[int, Counts],
    *,
    lam: float | None,
    groups: Sequence[str],
    symbol: str = "λ",
    fairness: str = "demographic_parity_difference",
    performance: str = "accuracy",
    favourable: str = "favoured",
    split: str = "test",
    positive: int = -1,
    level: float = 0.95,
) -> str:
    """The result in plain words: gap and performance before and after, their intervals, and who gains or loses.

    before: the untreated model's tensors {seed: (G, T, T)}; after: those at `lam` (None: of a method without a
    trade-off); only seeds that both have count, and a UserError says so if there is none. favourable completes "31 more
    of 1,000 women are ...". The verb is "falls" or "rises" only if the interval of the paired difference excludes 0,
    else "shows no clear change". It reports; it never calls a model fair.
    """
    measure, judge = metric(fairness), metric(performance)
    seeds = sorted(set(before) & set(after))
    if not seeds:
        raise UserError(
            f"Seeds {sorted(before)} and {sorted(after)} have none in common; train both with the same ones."
        )
    before, after = {s: before[s] for s in seeds}, {s: after[s] for s in seeds}
    gap_name = GAP_NAMES.get(fairness, f"the {_lower(measure.title)}")
    gap = _change(measure, before, after, level, gap_name, " points")
    cost = _change(judge, before, after, level, _lower(judge.title), " %")
    people = per_thousand(before, after, groups, positive, level)
    counted = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}, n = {people['n'].sum():,.0f}"
    noise = f"{100 * level:g} % intervals of the change " + (
        "over training seeds" if len(seeds) > 1 else "from resampling the rows"
    )
    gains = _gains(people, favourable, level)
    where = "With this method" if lam is None else f"At {symbol} = {lam:g}"
    text = f"{where} {gap}; {cost} ({split}, {counted}; {noise}). {gains}"
    if is_trivial(np.sum(list(after.values()), axis=0)):
        text += " This model gives nearly everyone the same decision or hardly beats guessing."
    return text


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]


def _change(
    judge: Metric, before: Mapping[int, Counts], after: Mapping[int, Counts], level: float, name: str, unit: str
) -> str:
    """ "the gap ... falls from 19.6 to 5.1 points (-15.2 to -13.9)"; before and after hold the same seeds."""

    def value(C: Counts) -> np.ndarray:
        return 100 * (judge.function(C) if judge.kind == "performance" else judge.disparity(judge.function(C)))

    old_tensors, new_tensors = np.stack(list(before.values())), np.stack(list(after.values()))
    old, new = value(old_tensors), value(new_tensors)
    if np.isnan(old - new).all():
        return f"{name} is not defined on these rows"
    if len(old) > 1:
        _, _, low, high, _ = paired_difference(new, old, level)
    else:
        # independent streams: that both models judge the same rows is not used, which errs on the wide side
        draws = [value(resample(C[0], 1000, seed)) for seed, C in enumerate((new_tensors, old_tensors))]
        low, high = percentiles(draws[0] - draws[1], level)
    first, last = f"{np.nanmean(old):.1f}", f"{np.nanmean(new):.1f}"
    interval = f"({_signed(low, 1)} to {_signed(high, 1)})"
    if not (low > 0 or high < 0):
        return f"{name} shows no clear change, {first}{unit} before and {last}{unit} now {interval}"
    return f"{name} {'rises' if low > 0 else 'falls'} from {first} to {last}{unit} {interval}"


def _gains(people: pd.DataFrame, favourable: str, level: float) -> str:
    """ "Of 1,000 women 31 more are favoured (+22 to +40), of 1,000 men 52 fewer (-60 to -44; ...)"."""
    rows = people.dropna(subset=["change"]).sort_values("change", ascending=False, kind="stable").to_dict("records")
    if len(rows) > MOST_NAMED:
        rows = [rows[0], rows[-1]]
    clauses, verb = [], f" are {favourable}"
    for row in rows:
        group = str(row["group"])
        among, moved = "among", "no clear change"
        if row["clear"]:
            among, moved = "of", f"{abs(row['change']):.0f} {'more' if row['change'] > 0 else 'fewer'}{verb}"
            verb = ""
        interval = f"({_signed(row['change_low'], 0)} to {_signed(row['change_high'], 0)})"
        clauses.append(f"{among} 1,000 {PEOPLE.get(group.lower(), f'people in group {group}')} {moved} {interval}")
    if not clauses:
        return "No group has rows to count decisions in."
    if verb:
        clauses = [clause.replace(" no clear change", "") for clause in clauses]
        clauses[0] = f"no clear change in how many are {favourable}: {clauses[0]}"
    text = ", ".join(clauses)
    return f"{text[0].upper()}{text[1:]}; {100 * level:g} % intervals from sampling."


def _signed(value: ArrayLike, digits: int) -> str:
    """ "+3.1", "-3.1" or "0.0", never "-0.0"; with a true minus sign."""
    rounded = round(float(np.asarray(value)), digits)
    return f"{rounded:+.{digits}f}".replace("-", "\N{MINUS SIGN}") if rounded else f"{0:.{digits}f}"
