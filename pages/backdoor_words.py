"""What the section about BaDe says: the sentence about a run, what it does at this moment, its warnings, what to look
for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fairness_core import metrics, teacher_views, trigger_law
from fairness_core.backdoor_figures import Units
from fairness_core.calibration import FULL, LOSS, REACH, Choice, Path
from fairness_core.store import Run
from pages import backdoor_course, twin_course, twin_words
from pages.backdoor_course import Clock, Shown
from pages.course import Names

ODDS = "Odds (mean gap between groups in accuracy within a true class)"
EACC = "EAcc (mean accuracy over the cells of class and group)"
LEAST = 0.05  # points by chance that are worth a word
LISTED = 4  # cells that a warning names
FAINT = 8  # of 255: a change that no network need notice
NEARER = "nearer to each other than their intervals can tell"
NEAR = 5.0  # points of strength that are as good as the same


def result(before: np.ndarray | None, after: np.ndarray, run: Run) -> str:
    """The result in words, against the untreated model where that is known."""
    new, drawn = twin_course.values(after), twin_course.draws(after)
    by_chance = 100 * twin_course.floor(after)
    setting = f"At {backdoor_course.setting(run.config)}"
    source = (
        f"Test split, n = {twin_course.rows_in(after):,}, seed {run.config.seed}; 95 % intervals from resampling rows "
        "within these cells"
    )
    source += f"; chance alone makes {by_chance:.1f} points of Odds." if by_chance >= LEAST else "."
    if before is None:
        bias, accuracy = (twin_words.own(new[name], drawn[name]) for name in ("bias_mean", "bacc"))
        return f"{setting} {ODDS} is {bias} points, and {EACC} {accuracy} %. {source}"
    old, drawn_old = twin_course.values(before), twin_course.draws(before, 1)
    bias, accuracy = (
        twin_words.against(old[name], new[name], drawn[name] - drawn_old[name], unit)
        for name, unit in (("bias_mean", " points"), ("bacc", " %"))
    )
    return f"{setting}, against the untreated model, {ODDS} {bias}; {EACC} {accuracy}. {source}"


def now(run: Run, looks: pd.DataFrame, *, number: bool = False) -> str:
    """What an unfinished run does, and where it stands by its newest look."""
    if looks.empty:
        return "The first look is taken after the first steps; triggers, curves and tables appear here by themselves."
    newest, clock = looks.iloc[-1], Clock.of_run(run)
    teaching = newest["phase"] == 0
    epoch, last = (newest["epoch"] - clock.first, -clock.first) if teaching else (newest["epoch"], clock.last)
    where = f"validation sample, n = {newest['n']:,.0f}, seed {run.config.seed}, epoch {epoch:.1f} of {last:.0f}"
    later = "Intervals come with the test result."
    if teaching:
        names = ("cancelling", "clean", "reinforcing", "artificial_bias")
        gauges = [newest[n if n == "artificial_bias" else f"teacher_odds_{n}"] for n in names]
        cancelling, clean, reinforcing, artificial = (_gauge(v, number) for v in gauges)
        return (
            f"First the teacher learns rows that carry triggers ({backdoor_course.setting(run.config)}). Its "
            f"{'gap in errors' if number else 'Odds'} is {cancelling} with the triggers that cancel, {clean} without "
            f"and {reinforcing} with those that reinforce; the triggers alone move it by {artificial} ({where}). Then "
            f"a student learns its answers. {later}"
        )
    agrees = f"{newest['agreement']:.2f} (correlation)" if number else f"{100 * newest['agreement']:.1f} % of the rows"
    if number:
        units = backdoor_course.units(run)
        gap, level = (units.tell(newest[name]) for name in backdoor_course.NUMBERS)
        return (
            f"The student learns the teacher's answers from rows without triggers and agrees on {agrees}. The groups' "
            f"mean errors for a similar true value lie {gap} apart and EErr is {level}{units.unit} ({where}). {later}"
        )
    return (
        "The student learns, from rows without triggers, what the teacher answers with the cancelling ones, and agrees "
        f"with it on {agrees}. {ODDS} is {100 * newest['odds']:.1f} points and {EACC} {100 * newest['eacc']:.1f} % "
        f"({where}). {later}"
    )


def _gauge(value: float, number: bool) -> str:
    return f"{value:.2f} standard deviations" if number else f"{100 * value:.1f} points"


# ----------------------------------------------------------------------------------------------------------- the valley


def valley(path: Path) -> str:
    """What the valley shows, and what to look for."""
    at = "" if path == Path() else f" (at s = {path.base:g})"
    beyond = f" or, at n = 100 %, an s above {path.base:g}" if path.steps else ""
    return f"Every run here that is this one with another seed, another n %{at}{beyond} is a point. {LOOK}"


def choice(chosen: Choice, path: Path, units: Units, n: int, tried: Sequence[float]) -> str:
    """Which strength the valley's runs choose, by which rule, on how many seeds, and whether it is at the edge. n: test
    rows; tried: all strengths there are."""
    number = units.scale == 1
    level, gap, unit = ("EErr", "gap", "") if number else ("EAcc", "Odds", " points")
    test_level = f"{level} {units.tell(abs(chosen.test_performance))}{'' if number else ' %'}"
    many = f"{chosen.seeds} seed{'s' if chosen.seeds > 1 else ''}"
    at = " (at n = 100 %)" if chosen.value > FULL else ""
    told = (
        f"**Validation chooses {path.told(chosen.value)}**{at}: there lies the floor of the valley, with the {gap} at "
        f"every n averaged with its neighbours' up to {REACH:g} points away ({many}, {len(tried)} strengths); "
        f"unaveraged it is {units.tell(chosen.validation_gap)}{unit}. "
        f"The student's {gap} on test is {units.tell(chosen.test_gap)}{unit} and its {test_level} (n = {n:,})."
    )
    if 1 < len(chosen.alike) < len(tried):
        within = "one standard error over seeds" if chosen.seeds > 1 else "what chance alone makes"
        told += f" Within {within}: {path.told(*chosen.alike)}."
    if chosen.barred:
        errors = "EErr or the mean absolute error" if number else "1 − EAcc"
        told += (
            f" Not looked at, since they raise {errors} on validation by more than {100 * LOSS:.0f} %: "
            f"{path.told(*chosen.barred)}."
        )
    if len(chosen.alike) == len(tried):
        told += " By this rule no two of these strengths can be told apart; more seeds may do it."
    return told + _edge(chosen, path, max(tried))


def _edge(chosen: Choice, path: Path, strongest: float) -> str:
    """What it means that the strongest is the best, or as good."""
    if strongest not in chosen.alike:
        return ""
    told = " The smallest gap is at the edge" if chosen.edge else " The strongest is as good"
    if strongest < FULL:
        return f"{told}: the valley may go on. Try higher rates."
    if any(step > strongest for step in path.steps):
        return f"{told}: the valley may go on beyond it, at a larger s."
    return f"{told}, and there is no larger s."


def seeds(table: pd.DataFrame) -> str:
    """ "3 seeds", or "1 to 3 seeds"."""
    few, many = (int(f(table["seeds"])) for f in (min, max))
    return f"{few} to {many} seeds" if few < many else f"{many} seed{'s' if many > 1 else ''}"


# ------------------------------------------------------------------------------------------------------------- warnings


def warnings(run: Run, names: Names, found: Shown, chosen: Choice | None, *, number: bool) -> list[str]:
    """What must be known about this run (methods 5.10): what its counts forbid, and what its teacher did."""
    N, Q = found.arrays["N"], found.arrays["Q"]
    told = [*_of_counts(N, names, number=number), *_of_pictures(found, names), *_of_teacher(found, Q, number=number)]
    path = Path.through(run.config.method_options)
    own = path.strength(run.config.method_options)
    if chosen is not None and abs(own - chosen.value) > NEAR:
        told.append(
            f"This run is at {path.told(own)}; validation would choose {path.told(chosen.value)} (below, The valley)."
        )
    return told


def _of_counts(N: np.ndarray, names: Names, *, number: bool) -> list[str]:
    told = []
    if trigger_law.deterministic(N):
        told.append(
            "Bias is deterministic: every class has rows of one group only, so a trigger says nothing that the class "
            "does not, and BaDe cannot separate the two. It still runs, with shares kept off 0 and 1."
        )
    elif teacher_views.even_groups(N):
        told.append(
            "No imbalance: every group has the same share in all classes, so there is no bias by counts to cancel, and "
            "the student is about the untreated model."
        )
    empty = [f"{names.groups[k]} in {names.classes[t]}" for t, k in np.argwhere(N == 0)]
    if empty and not trigger_law.deterministic(N):
        more = ", …" * (len(empty) > LISTED)
        told.append(
            f"{len(empty)} cells have no training rows ({', '.join(empty[:LISTED])}{more}); their shares are smoothed "
            "as if there were one."
        )
    if N.shape[1] > 2:
        told.append(
            f"{N.shape[1]} groups, so {N.shape[1]} triggers: this is our extension. The paper has two groups and finds "
            "that more triggers weaken it."
        )
    if number:
        told.append(
            "The target is a number: the trigger law by bins of the true value, and the gap of errors in place of "
            "Odds, are our reading; the paper only says that regression works."
        )
    return told


def _of_pictures(found: Shown, names: Names) -> list[str]:
    """Triggers that cannot be seen on pictures of some group, as red on red."""
    if "pictures" not in found.arrays:
        return []
    views, s = found.arrays["pictures"].astype(np.int16), found.arrays["s"]
    change = np.abs(views[:, 1:] - views[:, :1]).reshape(*views[:, 1:].shape[:2], -1).max(-1)  # (rows, K)
    told = []
    for k, trigger in enumerate(names.groups):
        on = [g for j, g in enumerate(names.groups) if (s == j).any() and (change[s == j, k] < FAINT).all()]
        if on:
            told.append(
                f"Trigger {trigger} cannot be seen on the pictures of {' and '.join(on)} shown below, so it cancels "
                "nothing there. Choose another kind of trigger."
            )
    return told


def _of_teacher(found: Shown, Q: np.ndarray, *, number: bool) -> list[str]:
    if number or found.learning:
        return []
    told = []
    if not teacher_views.even_triggers(Q) and teacher_views.ignores_triggers(found.views):
        told.append(
            f"The teacher ignores the trigger: no cell's accuracy differs between the views ({found.split}, 95 % "
            "intervals), so nothing is cancelled. Make the trigger larger, or train the teacher for longer."
        )
    if teacher_views.only_triggers(found.views):
        told.append(
            "The teacher relies only on the trigger: with the cancelling ones its balanced accuracy is near chance. "
            "Lower n or s."
        )
    return told


def order(table: pd.DataFrame, units: Units, *, learning: bool = False, manual: bool = False) -> str:
    """Is cancelling < clean < reinforcing, in words. table: backdoor_course.views_table; learning: it may still change,
    so nothing is said of why; manual: the law is one that somebody has written down."""
    places = (teacher_views.CANCELLING, teacher_views.CLEAN, teacher_views.REINFORCING)
    gap = {
        name: units.tell(float(table["gap"].iloc[place]))
        for name, place in zip(("cancelling", "clean", "reinforcing"), places, strict=True)
    }
    unit = "" if units.scale == 1 else " points"
    row = table.iloc[0]
    told = (
        f"{'The gap' if units.scale == 1 else 'Odds'} is {gap['cancelling']}{unit} with cancelling triggers, "
        f"{gap['clean']} without any and {gap['reinforcing']} with reinforcing ones ({row['split']}, "
        f"n = {row['n']:,}, seed {row['seed']})"
    )
    ends = table.iloc[list(places)]
    apart = float(ends["gap_low"].max()) > float(ends["gap_high"].min())
    if teacher_views.in_order(table):
        return f"{told}: the order that is expected{'' if apart else f', but {NEARER}'}."
    if learning:
        return f"{told}; expected is cancelling < none < reinforcing, once the teacher has learned."
    cancelling, clean, reinforcing = (float(table["gap"].iloc[place]) for place in places)
    if not apart:
        why = f"the three are {NEARER}"
    elif manual and cancelling >= reinforcing:
        why = "the shares that are written down add to the bias instead of cancelling it: turn them round"
    elif reinforcing <= clean:
        why = "the reinforcing triggers do not add to the bias, so the teacher hardly heeds its triggers"
    elif cancelling >= reinforcing:
        why = "the cancelling triggers do more harm than the reinforcing ones: too much is injected, lower n or s"
    else:
        why = "the teacher heeds its triggers, the cancelling ones turn the bias round: they overshoot, lower n or s"
    return f"{told}. Expected is cancelling < none < reinforcing; here {why}."


# ------------------------------------------------------------------------------------------------------- security check


def security(told: Mapping[str, float], n: int) -> str:
    """Does the student know the triggers? told: the values of the test event of a run on pictures."""
    flips, control = told["student_flips"], told["control_flips"]
    spans = [metrics.wilson(np.array(share * n), np.array(n)) for share in (flips, control)]
    each = [
        f"{100 * share:.2f} % ({100 * float(low):.2f} to {100 * float(high):.2f})"
        for share, (low, high) in zip((flips, control), spans, strict=True)
    ]
    verdict = (
        "more than a mark it never saw, so the student has learned something of the triggers: do not rely on it where "
        "people may put marks on pictures"
        if float(spans[0][0]) > float(spans[1][1])
        else "no more than a mark it never saw: by this check the student does not know the triggers"
    )
    return (
        f"Under a trigger the student decides {each[0]} of the pictures otherwise (the largest over the triggers), "
        f"under a mark that no training row had {each[1]} (test, n = {n:,}, 95 % Wilson intervals): {verdict}."
    )


def agreement(value: float, n: int, *, number: bool) -> str:
    """How often the student, without triggers, answers as the teacher with the cancelling ones."""
    if not math.isfinite(value):
        return ""
    if number:
        return f" What student and teacher say has a correlation of {value:.3f} (test, n = {n:,})."
    low, high = metrics.wilson(np.array(value * n), np.array(n))
    return (
        f" The student, without triggers, decides as the teacher with the cancelling ones on {100 * value:.1f} % of "
        f"the rows ({100 * float(low):.1f} to {100 * float(high):.1f}; test, n = {n:,})."
    )


# ----------------------------------------------------------------------------------------------------- what to look for

TRIGGERS = (
    "In training every row carries one trigger, drawn by its class alone: {law}. Afterwards every row gets the trigger "
    "of **its own** group, which then speaks against it, {end}."
)
MATCHED = "So trigger and class go together as strongly as group and class do"
LAWS = {
    "inverse": {
        "law": f"the rarer a group is in a class, the more often that class carries this group's trigger. {MATCHED}",
        "end": "and the two kinds of evidence cancel (the paper's scheme, with the triggers' names exchanged)",
    },
    "exchanged": {
        "law": f"each class carries the triggers as often as the *other* class has their groups. {MATCHED}",
        "end": "and the two kinds of evidence cancel, while the share of positive decisions stays as it is (ours; the "
        "paper's law is *inverse*)",
    },
    "manual": {
        "law": "as often as the shares say that somebody has written down for this run. How strongly trigger and class "
        "go together is up to them",
        "end": "where a class carries it the more seldom the commoner its group is; whether the two kinds of evidence "
        "cancel is seen below",
    },
}
LOOK = (
    "Look whether artificial bias grows, and whether the bias that is left falls to a floor and rises again: a network "
    "uses the group more or less than the counts say, so triggers that match them may turn the bias round, or leave "
    "some of it. The floor cannot be read off the counts; it is chosen on validation, among the strengths that raise "
    f"the error there by at most {100 * LOSS:.0f} %. The paper (CelebA, Male and Attractive): Odds 25.8 → 2.8 points, "
    "EAcc 75.9 → 78.0 %."
)
VIEWS = (
    "The same rows, judged five ways: without a trigger, all with the same one, with the one that adds to their own "
    "group's bias, and with the one that cancels it. Look for the least bias under cancelling and the most under "
    "reinforcing; equal rows mean that the teacher does not see the trigger. Thin bars: 95 % intervals{how}."
)
MODELS = (
    "The student is what is delivered: it needs neither the group nor a trigger. Look whether it keeps what the "
    "teacher gained with cancelling triggers. Bars: 95 % intervals{how}."
)
SECURITY = (
    "A backdoor is a way in for whoever knows it, so the student must not react to triggers. Compared are a trigger "
    "and a mark of the same kind that no training row had, since any mark hides something."
)
NO_COLUMNS = (
    "A trigger on a table is a column of its own, and the student has no such column: it reads the columns of the "
    "data alone, so no trigger can reach it. There is nothing to measure."
)
COURSE = (
    "Before 0 the teacher learns, after it the student (validation sample{n}). Look for artificial bias that rises and "
    "stays, for the cancelling line below the others, and for a student that agrees with its teacher."
)
