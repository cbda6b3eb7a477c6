"""AEDA (Zhang and Sang, ACM MM 2020, arXiv 2007.13632) on faces: figure 2, and table 2 by two networks, with our code.

The paper does not list its 17 attributes (ours: datasets.celeba.AEDA_TARGETS), gives no hyper-parameters, and trains
VGG-16 on all of CelebA. Settings were chosen on the validation photographs of fold 0, never on test.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fairness_core import catalogue, devices, imbalance, intervals, metrics
from fairness_core.aeda_tables import Row, judged, printed, tell
from fairness_core.config import Option, Options, UserError
from fairness_core.datasets import load
from fairness_core.datasets.celeba import AEDA_TARGETS
from fairness_core.table_lines import lines

DRAWS = 400  # of a bootstrap
ANCHOR = "Original"
MEASURES = ("bacc", "bias_sum")  # what the paper prints
Folds = Mapping[int, np.ndarray]  # fold -> confusion tensor (A, K, 2, 2) of its test photographs
MILD: dict[str, Option] = {"lam": 0.5, "epsilon": 16 / 255}
ROWS = {
    ANCHOR: Row("erm", paper=(73.57, 5.48)),
    "Undersampling": Row("undersampling", paper=(66.35, 2.35)),
    "Reweighing": Row("reweighing", paper=(73.82, 4.39)),
    "Adversarial (GRL)": Row("adversarial_grl", {"lam": 0.3}, paper=(72.82, 4.23)),
    "CycleGAN": Row("cyclegan", paper=(73.65, 4.75)),
    "AEDA pre": Row("aeda", {"variant": "pre", **MILD}, paper=(73.68, 5.23)),
    "AEDA online": Row("aeda", {"variant": "online", **MILD}, paper=(74.03, 4.22)),
    "AEDA robust": Row("aeda", {"variant": "robust", **MILD}, paper=(74.30, 3.27)),
}


@dataclass(frozen=True)
class Setting:
    """How all methods train: size of the photographs, network, budget, folds of 5; aeda: more settings of its lines."""

    size: int
    model: str
    network: Options
    training: Options
    folds: int = 5
    aeda: Options = field(default_factory=dict)

    @property
    def data(self) -> Options:
        return {"target": ", ".join(AEDA_TARGETS), "sensitive": "Male", "split": "5-fold", "size": self.size}

    @property
    def title(self) -> str:
        shape = f" {self.network['channels']}" if "channels" in self.network else ""
        return f"{self.model}{shape} at {self.size} pixels, {devices.title()}"


BUDGET: Options = {"batch_size": 64, "precision": "auto"}
SMALL = Setting(48, "small_cnn", {"channels": "16-32-64", "pixels": "centred"}, {**BUDGET, "epochs": 30})
FIGURE = replace(SMALL, training={"batch_size": 64, "epochs": 10})
# bACC counts the classes of an attribute alike, and so does the loss of every line: a plain one finds few of the rare
# ones (bACC of Original on validation: 66, against 70), and more only by learning the photographs by heart, which twins
# hinder. Turning photographs left to right hinders it as well. An epoch with twins costs as much as five plain ones;
# those come first, as the paper's first epoch does.
RESNET = Setting(
    64, "resnet18", {},
    {**BUDGET, "epochs": 12, "lr_decay": "linear", "augment": "horizontal_flip", "class_weights": "balanced"},
    aeda={"warmup": 4, "steps": 4},
)  # fmt: skip
QUICK: Mapping[str, Setting] = {
    "small_cnn": Setting(32, "small_cnn", {"channels": "8-16-32", "width": 64, "pixels": "centred"},
                         {**BUDGET, "epochs": 4}, folds=1),
    "resnet18": Setting(32, "resnet18", {}, {**BUDGET, "epochs": 1}, folds=1),
}  # fmt: skip


def aeda_table2(quick: bool, data_dir: Path | str | None = None, only: str = "") -> dict[str, Any]:
    """Table 2, CelebA: bACC over the 68 cells of 17 attributes, and the sum of the 34 biases, one network for all 17; 5
    folds of the photographs that are here, their counts added up (quick: one fold, a small network). Lines are folds of
    methods: "AEDA robust, fold 0"."""
    return _table("aeda-table2", QUICK["small_cnn"] if quick else SMALL, data_dir, only)


def aeda_table2_resnet18(quick: bool, data_dir: Path | str | None = None, only: str = "") -> dict[str, Any]:
    """The same by ResNet-18 at 64 pixels, from random weights. Hours on a processor."""
    return _table("aeda-table2-resnet18", QUICK["resnet18"] if quick else RESNET, data_dir, only)


def aeda_figure2(quick: bool, data_dir: Path | str | None = None) -> dict[str, Any]:
    """Figure 2: of 17 attributes of CelebA, the gap in recall between women and men against the share of women in
    training; 34 points and their rank correlation.

    One untreated network for all 17, 5-fold cross-validation over the photographs that are here (quick: one fold), the
    folds' counts added up. The paper prints no correlation, only its sign.
    """
    start = time.perf_counter()
    folds = 1 if quick else FIGURE.folds
    C = np.sum([trained(f"{ANCHOR}, fold {fold}", FIGURE, ANCHOR, fold, data_dir) for fold in range(folds)], 0)
    data = load("celeba", {**FIGURE.data, "fold": 0}, data_dir)
    train = imbalance.training_counts(data.train.y, data.train.s, 2, 2)
    found = imbalance.correlation(train, C)
    table = imbalance.points(train, C, data.targets, data.classes, data.groups)
    measured = metrics.over_targets(C, ["bacc", "bias_sum", "bias_mean", "accuracy"])
    return {
        "table": "aeda-figure2",
        "unit": f"fractions; {C[0].sum():,} test photographs, {folds} folds",
        "network": FIGURE.title,
        "rows": table.to_dict("records"),
        "metrics": {"spearman": found.rho, "spearman_low": found.low, "spearman_high": found.high, **measured},
        "seconds": time.perf_counter() - start,
    }


def _table(name: str, setting: Setting, data_dir: Path | str | None, only: str) -> dict[str, Any]:
    start = time.perf_counter()
    asked = lines({f"{method}, fold {fold}": (method, fold) for method in ROWS for fold in range(setting.folds)}, only)
    found: dict[str, Folds] = {}
    rows: list[dict[str, Any]] = []
    for method in dict.fromkeys(method for method, _ in asked.values()):
        row: dict[str, Any] = {"method": method, "paper": printed(ROWS[method])}
        try:
            found[method] = {
                fold: trained(line, setting, method, fold, data_dir)
                for line, (own, fold) in asked.items() if own == method
            }  # fmt: skip
            row["ours"] = told(found[method], {} if method == ANCHOR else found.get(ANCHOR, {}))
        except UserError as reason:
            row["ours"] = {"not_applicable": str(reason)}
        rows.append(row)
    best = rows[-1]["ours"]
    return {
        "table": name,
        "unit": "bacc in percent of 68 cells, bias_sum in fractions of 34; test folds added up, 95 % intervals from "
        "resampling photographs within cells; against_original: fold by fold, with a 95 % t interval over folds; "
        "by_chance: the bias_sum of groups that do not differ; trivial_targets: those decided alike for nearly "
        "everybody or hardly better than by guessing: a small bias means nothing there",
        "network": setting.title,
        "rows": rows,
        "metrics": {measure: best[measure] for measure in MEASURES if measure in best},
        "seconds": time.perf_counter() - start,
    }


def trained(line: str, setting: Setting, method: str, fold: int, data_dir: Path | str | None) -> np.ndarray:
    """The confusion tensor (A, K, 2, 2) of one method on the test photographs of one fold."""
    row = ROWS[method]
    if row.method == "aeda":
        row = replace(row, options={**row.options, **setting.aeda})
    config = row.config(
        catalogue.build(data_dir), {**setting.data, "fold": fold}, fold, source="celeba", model=setting.model,
        network=setting.network, training=setting.training,
    )  # fmt: skip
    return judged(line, [config], data_dir)[0]


def told(folds: Folds, anchor: Folds) -> dict[str, Any]:
    """What the tensors of a method's folds say, and what changes against those of `anchor`."""
    C = np.sum(list(folds.values()), 0)
    drawn = np.stack([metrics.resample(c, DRAWS, a, "stratified") for a, c in enumerate(C)])
    each = metrics.evaluate(drawn, MEASURES)  # (A, DRAWS)
    ends = {
        "bacc": metrics.percentiles(100 * each["bacc"].mean(0)),
        "bias_sum": metrics.percentiles(each["bias_sum"].sum(0)),
    }
    return {
        **_measured(C),
        **{f"{measure}_{end}": float(v) for measure, found in ends.items() for end, v in
           zip(("low", "high"), found, strict=True)},
        "by_chance": float(np.sum(metrics.noise_floor(C)["bias_sum"])),
        "trivial_targets": int(metrics.is_trivial(C).sum()),
        "by_fold": {fold: _measured(c) for fold, c in folds.items()},
        "against_original": _change(folds, anchor),
        "folds": len(folds), "n": int(C[0].sum()), "device": devices.title(),
    }  # fmt: skip


def _measured(C: np.ndarray) -> dict[str, float]:
    """In percent, but for bias_sum."""
    return {name: value * (1 if name == "bias_sum" else 100) for name, value in tell(C).items()}


def _change(folds: Folds, anchor: Folds) -> dict[str, Any] | None:
    """Mean and t interval over the folds that both have; None where there are none."""
    both = [fold for fold in folds if fold in anchor]
    if not both:
        return None
    changes: dict[str, Any] = {"folds": len(both)}
    for measure in MEASURES:
        after, before = ([_measured(C[fold])[measure] for fold in both] for C in (folds, anchor))
        over = intervals.paired_difference(after, before)
        changes[measure] = {part: float(getattr(over, part)) for part in ("mean", "sd", "low", "high")}
    return changes
