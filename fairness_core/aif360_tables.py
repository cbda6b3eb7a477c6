"""AIF360's notebooks on Adult and sex: reweighing and the reject option, run with our code beside their figures.

Sources: demo_reweighing_preproc.ipynb and demo_reject_option_classification.ipynb of Trusted-AI/AIF360, and the
preparation of the columns in its load_preproc_data_adult. Thresholds, bands and weights are found on training and
validation rows alone; everything that is reported is measured on the test split.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from fairness_core import metrics
from fairness_core.config import Budget, Event, Option, RunConfig, complete, controls_of
from fairness_core.datasets import SOURCES, Dataset, Split, load
from fairness_core.datasets.adult import Adult, read_raw
from fairness_core.datasets.base import encode_table, group_codes, stratified_split
from fairness_core.experiment import cores
from fairness_core.generators import ran
from fairness_core.methods import METHODS
from fairness_core.models import MLP, Classifier, n_logits, seeded
from fairness_core.postprocessing import TAUS, RejectOption, disadvantaged
from fairness_core.thresholds import Objective, select

RHO, SPD, AOD = "balanced_accuracy", "statistical_parity_difference", "average_odds_difference"
UNTREATED, REWEIGHING, REJECT = "untreated", "reweighing", "reject_option"
PRINTED = {  # test split of one seed; untreated is the same in both notebooks
    UNTREATED: {RHO: 0.742, SPD: -0.358, AOD: -0.328},
    REWEIGHING: {RHO: 0.713, SPD: -0.091, AOD: -0.027},
    REJECT: {RHO: 0.597, SPD: -0.034, AOD: -0.015},
}
PRINTED_BAND = (TAUS[50], 0.18185)  # threshold and margin
SHARES = (0.7, 0.15, 0.15)  # training, validation and test, as the notebooks divide
BEST = Objective(epsilon=np.inf, margin=0.0, kind="threshold")  # of the largest ρ, whatever the gap
NOTES = (
    "signs: women minus men. The notebooks show one seed; ours are means over seeds, each with a split of its own.",
    "notebook columns: age by decade, years of education, race, sex, which stays an input, and a logistic regression, "
    "all 48,842 rows, 70:15:15. All columns: the product's own setting, 45,222 complete rows, 40:30:30, sex dropped, "
    "two layers of 64.",
    "bounded rows are ours: reweighing with the threshold, or the band, of the largest ρ whose gap on validation stays "
    "0.01 inside the printed one.",
    "printed band: the notebook's threshold 0.505 and margin 0.182 on our scores give its figures again. They are not "
    "the best of its own grid: on the same rows and scores AIF360 0.6.1 finds the band that ours finds.",
)


@dataclass(frozen=True)
class Setting:
    """Which columns, and what network learns from them; training: settings of config.Budget."""

    title: str
    data: Callable[[int], Dataset]
    network: Callable[[Dataset, int], nn.Module]
    training: Mapping[str, Option]


# ------------------------------------------------------------------------------------------------------------- columns


def notebook_columns(seed: int) -> Dataset:
    """Adult as load_preproc_data_adult makes it: decades of age up to 70, years of education from under 6 to over 12,
    white or not, and sex; every row that was published, divided 70:15:15."""
    raw, _ = read_raw()
    frame = pd.DataFrame(
        {
            "age": (raw["age"] // 10 * 10).clip(upper=70).astype(str),
            "education": raw["education-num"].clip(5, 13).astype(str),
            "race": np.where(raw["race"] == "White", "white", "other"),
            "sex": raw["sex"],
        }
    )
    y = Adult().labels(raw)
    s, groups = group_codes(frame, ["sex"])
    parts = stratified_split(s * 2 + y, SHARES, seed)
    x, features = encode_table(frame, (), list(frame.columns), parts[0])
    train, validation, test = (Split(x[part], y[part], s[part]) for part in parts)
    return Dataset(Adult.name, train, validation, test, Adult.classes, groups, features)


def all_columns(seed: int) -> Dataset:
    """Adult as the product offers it, without sex among the inputs."""
    given: dict[str, Option] = {"sensitive": "sex", "split": "random", "split_seed": seed}
    return load(Adult.name, complete(controls_of(SOURCES[Adult.name]), given, "dataset adult"))


def logistic(data: Dataset, seed: int) -> nn.Module:
    """No hidden layer: the logit is linear in the inputs."""
    with seeded(seed):
        return Classifier(nn.Sequential(), nn.Linear(data.train.x.shape[1], n_logits(data)))


def two_layers(data: Dataset, seed: int) -> nn.Module:
    return MLP().build(data, seed)


# Smaller steps at the end bring the scores within 0.002, on average, of those of scikit-learn's logistic regression.
CONVERGED: dict[str, Option] = {"epochs": 20, "lr": 1e-2, "lr_step": 1500}
SETTINGS = (
    Setting("notebook columns, logistic regression", notebook_columns, logistic, CONVERGED),
    Setting("all columns, 64-64 network", all_columns, two_layers, {"epochs": 10}),
)


# ---------------------------------------------------------------------------------------------------------- one split


def of_seed(setting: Setting, data: Dataset, network: nn.Module, seed: int) -> dict[str, np.ndarray]:
    """The confusion tensor on the test split of every row of the table, for one split and its network."""

    def fitted(name: str, start: nn.Module, **options: Option) -> tuple[nn.Module, dict[str, Event]]:
        training = complete(controls_of(Budget), setting.training, "training")
        run = RunConfig(data.name, {}, "mlp", {}, name, options, training, seed)
        return _finish(METHODS[name](**options).fit(start, data, run))

    plain, own = fitted("erm", network)
    _, weighted = fitted(REWEIGHING, network)
    group = disadvantaged(data.validation.y, data.validation.s, data.groups)
    band = RejectOption(*PRINTED_BAND, group, feasible=False, trivial=False)
    return {
        UNTREATED: with_threshold(data, own, BEST),
        REWEIGHING: with_threshold(data, weighted, BEST),
        f"{REWEIGHING}, bounded": with_threshold(data, weighted, Objective(SPD, -PRINTED[REWEIGHING][SPD], 0.01)),
        REJECT: _counts(fitted(REJECT, plain)[1]["test"]),
        f"{REJECT}, bounded": _counts(fitted(REJECT, plain, epsilon=-PRINTED[REJECT][SPD], margin=0.01)[1]["test"]),
        f"{REJECT}, printed band": _decided(data, band.decide(_scores(own["test"]), data.test.s)),
    }


def _finish(fitting: Any) -> tuple[nn.Module, dict[str, Event]]:
    """The module a method returns, and its last event of each stage."""
    module, events = ran(fitting)
    return module, {event.stage: event for event in events}


def with_threshold(data: Dataset, finals: Mapping[str, Event], objective: Objective) -> np.ndarray:
    """Test counts (G, 2, 2) at the threshold that is best by `objective` on validation."""
    y, s = data.validation.y, data.validation.s
    (choice,) = select(_scores(finals["validation"])[None], y, s, len(data.groups), objective)
    return _decided(data, _scores(finals["test"]) > choice.tau)


def _decided(data: Dataset, decisions: np.ndarray) -> np.ndarray:
    """Test counts (G, 2, 2) of decisions about the rows of the test split."""
    return metrics.confusion_tensor(data.test.y, decisions.astype(np.int64), data.test.s, len(data.groups), 2)


def _scores(event: Event) -> np.ndarray:
    assert event.scores is not None
    return event.scores


def _counts(event: Event) -> np.ndarray:
    assert event.confusion is not None
    return event.confusion


# --------------------------------------------------------------------------------------------------------------- table


def aif360_adult(quick: bool, data_dir: Path | str | None = None) -> dict[str, Any]:
    """Both notebooks' test figures, untreated and treated, beside ours over 5 splits (quick: 2): with the notebooks'
    own columns and model, and with all columns. A row is `met` when ours has at least the printed balanced accuracy and
    its gap, as the mean of |SPD| over the splits, is no larger than the printed one."""
    start = time.perf_counter()
    seeds = range(2 if quick else 5)
    rows = [line for setting in SETTINGS for line in _rows(setting, seeds)]
    return {
        "table": "aif360-adult",
        "unit": "fractions, test split; differences are women minus men",
        "rows": rows,
        "metrics": {
            f"{like['method']}_{measure}": like["ours"][measure]["mean"]
            for like in rows[: len(rows) // len(SETTINGS)]  # the notebooks' own columns
            if like["method"] in PRINTED
            for measure in (RHO, SPD)
        },
        "notes": list(NOTES),
        "seconds": time.perf_counter() - start,
    }


def _rows(setting: Setting, seeds: Sequence[int]) -> list[dict[str, Any]]:
    began = time.perf_counter()
    data = [setting.data(seed) for seed in seeds]
    networks = [setting.network(d, seed) for d, seed in zip(data, seeds, strict=True)]
    with ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(of_seed, [setting] * len(seeds), data, networks, seeds))
    sys.stderr.write(f"{setting.title}: {len(seeds)} splits in {time.perf_counter() - began:.0f} s\n")
    return [line(setting.title, name, [own[name] for own in found]) for name in found[0]]


def line(title: str, name: str, counts: Sequence[np.ndarray]) -> dict[str, Any]:
    """One line of the table from the test counts of every seed: mean, sd and t interval."""
    paper = PRINTED[name.partition(",")[0]]
    by_seed = [{m: float(v) for m, v in metrics.evaluate(C, [RHO, SPD, AOD]).items()} for C in counts]
    ours: dict[str, Any] = {}
    for measure in (RHO, SPD, AOD):
        told = metrics.over_seeds([values[measure] for values in by_seed])
        ours[measure] = {key: float(getattr(told, key)) for key in ("mean", "sd", "low", "high")}
    gap = np.mean([abs(values[SPD]) for values in by_seed])  # signs that differ between seeds must not cancel
    met = ours[RHO]["mean"] >= paper[RHO] and gap <= abs(paper[SPD])
    return {
        "inputs": title,
        "method": name,
        "paper": paper,
        "ours": {**ours, "seeds": len(counts), "device": "cpu"},
        "met": bool(met),
        "by_seed": by_seed,
    }
