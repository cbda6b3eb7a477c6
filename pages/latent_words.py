"""What the section about DVGE says: where a run stands, its warnings (methods note 6.10), and what to look for."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

import pages
from fairness_core.store import ACTIVE, Run
from pages.latent_course import LIVE, TEST, Arrays, Names, Shown

NOISE = 0.55  # balanced accuracy of a classifier of two groups under which its focus is noise
CONFLICT = 0.7  # mean |cosine| from which fairness and utility conflict
FEW = 3  # numbers in use under which a code says little

FOCI = (
    "A *focus* is the gradient of a classifier's answer to the code: which numbers it listens to. Hatched bars are the "
    "classifier of the group, filled ones the model. Look for numbers where both bars are long: there the model leans "
    "on what gives the group away, and η_s pushes against it. On the right, how far each number goes with the group "
    "and with the target by itself. Bars are the mean |focus| over rows, each classifier's divided by its sum; an "
    "unused number varies by less than 0.01 over rows."
)
COSINES = (
    "For every row, the cosine between both foci. Near 0 the two questions are answered from different directions of "
    "the code, and one can be suppressed without the other. Beyond ±0.7 (hatched) they are nearly one question: "
    "there fairness costs accuracy."
)
UNTREATED = (
    "The untreated model of this comparison reads the rows themselves. What coding alone changes stands in the map "
    "below, at η_s = 0 and η_t = 0."
)
VALIDITY = (
    "Does the focus point at what matters? The k numbers with the largest sensitive focus, times their spread, are "
    "replaced by their means over training rows, and the group is told again. The line of the focus should fall sooner "
    "than that of random numbers (the mean of 20 orders); where both fall alike, or nothing falls, the focus says "
    "little."
)
PUSHED = (
    "Codes of test rows are pushed along the focus of their own row and decoded. Right: towards what is decided now, "
    "only more so; left: away from it. Along the *sensitive* focus look for what people would call the group; along "
    "the *task* focus for the target. What both blocks change is what the two share."
)
PUSHED_COLUMNS = (
    "Codes of test rows are pushed along the focus of their own row and decoded; bars are the mean change of a column "
    "against the decoded code before. Filled or hatched bars go towards what is decided now, hollow ones away from it. "
    "A column in both charts carries the group and the target alike."
)
FLIPS = (
    "How many test rows are decided otherwise after a push. The group classifier should change along the sensitive "
    "focus and the model along the task focus; where the model changes along the *sensitive* focus, it uses what gives "
    "the group away."
)
LOOK = (
    "Where a change of the picture would change the answer: gradients through the autoencoder, smoothed over 16 noisy "
    "copies (SmoothGrad); bright is the most of each picture. Look for places that are bright in both."
)
LOOK_COLUMNS = (
    "How much each column moves both answers: mean |gradient| through the autoencoder on test rows, each classifier's "
    "divided by its sum. Long bars in both are columns that serve the model and give the group away."
)
CODE = (
    "What the autoencoder made of the rows, without any label. It is kept, so runs with the same inputs share it, "
    "whatever their sensitive attribute, target, strength or seed."
)
GRID = (
    "Every cell is this run with other strengths, mean over seeds 0 to 2 on the test split: η_s along the sensitive "
    "focus, η_t along the task focus. Look for the corner with small gaps, and switch the measure to see what it costs "
    "in accuracy. More colour is more. The solid frame is the cell that validation chooses, the dotted one this run."
)


def setting(run: Run) -> str:
    """ "η_s = 1, η_t = 0.5, train_official"."""
    own = run.config.method_options
    return f"η_s = {own['eta_sensitive']:g}, η_t = {own['eta_task']:g}, {str(own['mode']).replace('_', ' ')}"


def coding(run: Run, losses: pd.DataFrame) -> str:
    """While the autoencoder trains."""
    newest, of = losses.iloc[-1], int(run.config.method_options["vae_steps"])
    return (
        f"First an autoencoder learns to turn rows into codes of {run.config.method_options['size']} numbers, without "
        f"any label: step {newest['step']:,.0f} of {of:,}, reconstruction {newest['reconstruction']:,.1f} nats per "
        f"row, KL {newest['kl']:.2f} nats. It is kept, so the next run on these rows starts without this step."
    )


def now(run: Run, told: Mapping[str, float], names: Names) -> str:
    """What an unfinished run does, by its newest look."""
    if not math.isfinite(told["sensitive_accuracy"]):
        if run.status not in ACTIVE:
            return "This run ended before its first look; train it again to see its foci."
        return "Rows become codes first; losses, foci and charts appear here by themselves."
    return (
        f"The model learns from codes that are moved along both foci ({setting(run)}). {codes(run, told, names)} "
        f"({LIVE}, seed {run.config.seed}). Gaps and intervals come with the test result."
    )


def codes(run: Run, told: Mapping[str, float], names: Names) -> str:
    """What the code tells, from the gauges."""
    return (
        f"From the code the {names.attribute} is told with a balanced accuracy of "
        f"{pages.percent(told['sensitive_accuracy'])} (chance {pages.percent(names.chance, 0)}); the mean |cosine| of "
        f"both foci is {told['focus_cosine']:.2f}; {told['active_units']:.0f} of "
        f"{run.config.method_options['size']} numbers of the code are in use"
    )


def cost(arrays: Arrays) -> str:
    """Whether the autoencoder was there already, and what its training took."""
    if "seconds" not in arrays:
        return ""
    took = pages.duration(float(arrays["seconds"][0]))
    if bool(arrays["reused"][0]):
        return f"The autoencoder was reused, which saved {took}."
    return f"The autoencoder was trained for this run in {took}; the next run on these rows reuses it."


def warnings(run: Run, told: Mapping[str, float], names: Names) -> list[str]:
    """What must be known before anything is read from the foci."""
    accuracy, cosine, used = (told[name] for name in ("sensitive_accuracy", "focus_cosine", "active_units"))
    size, found = int(run.config.method_options["size"]), []
    if accuracy < names.chance + NOISE - 0.5:
        found.append(
            f"The group classifier tells the {names.attribute} from the code hardly better than chance (balanced "
            f"accuracy {pages.percent(accuracy)}, chance {pages.percent(names.chance, 0)}), so its focus is noise. "
            "Give the code more numbers, train the autoencoder longer, or read this as a code that hides the group."
        )
    if cosine > CONFLICT:
        found.append(
            f"Both foci point the same way (mean |cosine| {cosine:.2f}, above {CONFLICT}): the task needs what gives "
            "the group away, and fairness and utility conflict. Expect η_s to cost accuracy."
        )
    if used < min(FEW, size) or used <= size / 4:
        found.append(
            f"Only {used:.0f} of {size} numbers of the code vary by more than 0.01 over rows: the code says little "
            "(posterior collapse). Train the autoencoder longer, or lower β or γ."
        )
    return found


def of(found: Shown, run: Run) -> str:
    """Which rows a chart speaks of: "test split, n = 1,000, seed 0"."""
    n = f", n = {found.n:,}" if found.n and found.split == TEST else ""
    return f"{found.split}{n}, seed {run.config.seed}"
