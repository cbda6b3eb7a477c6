"""Random perturbation: all copies of a network as one stacked batch and all thresholds at once, against one by one.

The trained network is the one of the paper's tables (ten layers of 32 with batch normalisation, on Adult and sex; few
epochs, since only its shape matters here). 101 perturbed copies of it get their best of 501 thresholds on the
validation rows, by balanced accuracy under |SPD| < 0.05, as a mean over 5 bootstrap resamples. Four ways, in one
process with one thread (as a run of the product has), the same perturbations and the same resamples:

* ours: what methods/random_perturbation.py does, all copies.
* one by one (`ratio`): the loops of the authors' published code (abacusai/intraprocessing_debiasing, random.py and
  utils.py). A copy of the network, its weights multiplied, one forward pass; then for every threshold and resample the
  decisions are drawn by index, six masked means give the gap and scikit-learn the balanced accuracy. In its favour the
  resamples are drawn once, not for every threshold. All copies cost it alike and each takes it seconds, so it treats
  three of them in full, and seconds per copy are compared.
* lean loops (`ratio_lean_loops`): the same loops over all copies, but each resample is counted once with bincount, and
  both measures are read off the counts: what a careful programmer would write without changing the order of the work.
* vectorised (`ratio_vectorised_peer`): one copy at a time, but its thresholds at once as ours are. This is what the
  stacked batch alone brings; the rest of the factor is the thresholds.

`equal`: among all copies the same one wins for ours, the lean loops and the vectorised peer, at the same threshold,
and each copy's objective agrees to 1e-9 with every peer that treated it. Scores of a stacked and a plain forward pass
differ by float32 rounding (`largest_score_difference`); a row within that distance of a threshold could be decided
otherwise and move the objective by one row's share, which `largest_value_difference` would show.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from fairness_core import catalogue
from fairness_core.datasets import Split, load
from fairness_core.intra_tables import TABLES, train_all
from fairness_core.methods.random_perturbation import RandomPerturbation
from fairness_core.thresholds import GRID, RESAMPLES, resamples, select

MARK = 20
GROUPS = 2
ROUNDS = 3
Best = tuple[float, float]  # (threshold, value of the objective) of one copy
Measures = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]]


def network() -> tuple[nn.Module, Split]:
    """The trained network and its validation rows."""
    (config,) = TABLES[0].starts(catalogue.build(), [0])
    config = replace(config, training={**config.training, "epochs": 3})
    (module,), _ = train_all([config], None, {})
    return module.eval(), load(config.dataset, config.dataset_options).validation


def stacked(method: RandomPerturbation, model: nn.Module, rows: Split) -> list[Best]:
    """Copies as one batch, thresholds at once: what RandomPerturbation.fit does."""
    found: list[Best] = []
    for scores in method.scores(model, rows, 0):
        found += [(c.tau, c.value) for c in select(scores, rows.y, rows.s, GROUPS, method.goal)]
    return found


def scores_alone(method: RandomPerturbation, model: nn.Module, rows: Split, trial: int) -> np.ndarray:
    """The scores of one copy, (n,), in one forward pass."""
    copied = method.copy(model, trial, 0)
    with torch.no_grad():
        return torch.sigmoid(copied(torch.from_numpy(rows.x))[:, 0]).numpy()


def vectorised(method: RandomPerturbation, model: nn.Module, rows: Split, trials: Iterable[int]) -> list[Best]:
    """One copy at a time, thresholds at once."""
    found: list[Best] = []
    for trial in trials:
        scores = scores_alone(method, model, rows, trial)
        found += [(c.tau, c.value) for c in select(scores[None], rows.y, rows.s, GROUPS, method.goal)]
    return found


def one_by_one(
    method: RandomPerturbation, model: nn.Module, rows: Split, trials: Iterable[int], measures: Measures
) -> list[Best]:
    """One copy, one threshold and one resample at a time."""
    drawn = [np.repeat(np.arange(len(rows)), times.astype(int)) for times in resamples(len(rows), RESAMPLES, 0)]
    nearest = np.argsort(np.abs(GRID - 0.5), kind="stable")  # of equal thresholds the one nearest 0.5
    found: list[Best] = []
    for trial in trials:
        scores = scores_alone(method, model, rows, trial)
        rho, mu = np.zeros(len(GRID)), np.zeros(len(GRID))
        for m, tau in enumerate(GRID):
            decided = scores > tau
            parts = [measures(decided[index], rows.y[index], rows.s[index]) for index in drawn]
            rho[m], mu[m] = np.mean(parts, axis=0)
        value = method.goal.value(rho, mu)
        at = nearest[np.argmax(value[nearest])]
        found.append((float(GRID[at]), float(value[at])))
    return found


def counted(decided: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[float, float]:
    """(balanced accuracy, |SPD|) of the decisions about some rows, from one count."""
    n = np.bincount((s * 2 + y) * 2 + decided, minlength=8).reshape(2, 2, 2)  # group, class, decision
    tnr, tpr = n[:, 0, 0].sum() / n[:, 0].sum(), n[:, 1, 1].sum() / n[:, 1].sum()
    selected = n[:, :, 1].sum(1) / n.sum((1, 2))
    return (tnr + tpr) / 2, abs(selected[0] - selected[1])


def published(decided: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[float, float]:
    """The same two measures as the published code takes them; of its six means it returns the difference of two."""
    means = [
        [decided[group * y == 1].mean(), decided[group * (1 - y) == 1].mean(), decided[group == 1].mean()]
        for group in (s, 1 - s)
    ]
    return float(balanced_accuracy_score(y, decided)), abs(float(means[1][2] - means[0][2]))


def run(quick: bool = False) -> dict[str, Any]:
    """All ways in 3 alternated rounds, medians of seconds per copy; in each round the lean loops treat another third of
    the copies, the published ones a copy (quick: 11 copies, and the published loops in the first round alone)."""
    threads = torch.get_num_threads()
    model, rows = network()
    torch.set_num_threads(1)
    try:
        return compare(RandomPerturbation(trials=11 if quick else 101), model, rows, 1 if quick else ROUNDS)
    finally:
        torch.set_num_threads(threads)


def compare(method: RandomPerturbation, model: nn.Module, rows: Split, few: int) -> dict[str, Any]:
    """All ways on the same rows; `few`: copies that the published loops treat."""
    ways: dict[str, Callable[[Sequence[int]], list[Best]]] = {
        "ours": lambda _: stacked(method, model, rows),
        "vectorised": lambda trials: vectorised(method, model, rows, trials),
        "lean": lambda trials: one_by_one(method, model, rows, trials, counted),
        "published": lambda trials: one_by_one(method, model, rows, trials, published),
    }
    copies = range(method.trials)
    ways["ours"](copies)  # the first call pays for caches
    times: dict[str, list[float]] = {name: [] for name in ways}
    answers = {name: np.full((method.trials, 2), np.nan) for name in ways}
    for turn in range(ROUNDS):
        parts = {
            "ours": copies,
            "vectorised": copies,
            "lean": copies[turn::ROUNDS],
            "published": copies[:few][turn:][:1],
        }
        for name, part in parts.items():
            if part:
                start = time.perf_counter()
                answers[name][list(part)] = ways[name](part)
                times[name].append((time.perf_counter() - start) / len(part))
    return {"rows": len(rows), **report(method, times, answers), "largest_score_difference": apart(method, model, rows)}


def report(
    method: RandomPerturbation, times: Mapping[str, list[float]], answers: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Ratios and whether all agree; answers: per way (copies, 2) of thresholds and values, NaN where not treated."""
    each = {name: statistics.median(own) for name, own in times.items()}  # seconds per copy
    ours = answers["ours"]
    best = int(np.argmax(ours[:, 1]))
    largest = max(float(np.nanmax(np.abs(ours[:, 1] - own[:, 1]))) for own in answers.values())
    winners = {(int(np.argmax(answers[name][:, 1])), answers[name][best, 0]) for name in ("ours", "vectorised", "lean")}
    return {
        "copies": method.trials,
        "thresholds": len(GRID),
        "resamples": RESAMPLES,
        "ratio": each["published"] / each["ours"],
        "ratio_lean_loops": each["lean"] / each["ours"],
        "ratio_vectorised_peer": each["vectorised"] / each["ours"],
        "seconds_per_copy": each,
        "seconds_all_copies": {name: seconds * method.trials for name, seconds in each.items()},
        "copies_treated": {name: int(np.isfinite(own[:, 1]).sum()) for name, own in answers.items()},
        "same_thresholds": {name: int((ours[:, 0] == own[:, 0]).sum()) for name, own in answers.items()},
        "equal": len(winners) == 1 and largest < 1e-9,
        "best": {"copy": best, "tau": float(ours[best, 0]), "value": float(ours[best, 1])},
        "largest_value_difference": largest,
        "mark": MARK,
    }


def apart(method: RandomPerturbation, model: nn.Module, rows: Split) -> float:
    """The largest difference between a score of a stacked and of a plain forward pass."""
    together = np.concatenate(list(method.scores(model, rows, 0)))
    alone = np.stack([scores_alone(method, model, rows, trial) for trial in range(method.trials)])
    return float(np.abs(together - alone).max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Random perturbation: one stacked batch against one by one.")
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(run(parser.parse_args().quick)))
