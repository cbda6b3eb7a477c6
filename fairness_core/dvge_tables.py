"""DVGE's comparison on South German Credit and CelebA, run with our code: its sources print curves, but no numbers.

Every method is a line of points; what a line is worth is its hypervolume and the smallest gap it reaches within two
points of accuracy of the untreated model on the same codes. Fronts and points are chosen on validation and told on
test. Methods that read codes read the same ones; some read the rows themselves, to show what coding costs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairness_core import catalogue, metrics
from fairness_core.codes import Coded
from fairness_core.config import Budget, Event, Options, resolve
from fairness_core.datasets import Dataset, load
from fairness_core.experiment import STACK_SIZE, fit
from fairness_core.generators import ran
from fairness_core.methods import METHODS, Latent
from fairness_core.sweep import constant_classifier, hypervolume, pareto_mask
from fairness_core.table_lines import say
from fairness_core.training import Job, train

ACCURACY, GAPS = "accuracy", ("demographic_parity_difference", "equal_opportunity_difference")
MEASURES = (ACCURACY, "balanced_accuracy", *GAPS, "equal_opportunity_joint", "odds")
ALLOWED = 0.02  # of accuracy, that a point may cost
WORST = 0.5  # gap beyond which nothing counts in a hypervolume
ROWS = "rows"
LAMBDAS = (0.25, 0.5, 1.0, 2.0, 4.0)
ETAS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Line:
    """A method at several settings, the plain model first. reads: "codes" or "rows"."""

    name: str
    method: str
    points: tuple[Options, ...]
    reads: str = "codes"


@dataclass(frozen=True)
class Study:
    """One data set and group; a run per split and seed. code: settings of the autoencoder; performance: the measure
    that a front sets against the gap; model_options, rows_training: of what reads rows."""

    dataset: str
    options: Options
    splits: tuple[Options, ...]
    lines: tuple[Line, ...]
    code: Options
    training: Options
    seeds: int = 1
    model_options: Options = field(default_factory=dict)
    rows_training: Options = field(default_factory=dict)
    performance: str = ACCURACY


def lines(gammas: Sequence[float], tops: Sequence[int], rows: Sequence[float]) -> tuple[Line, ...]:
    strengths = tuple({"eta_sensitive": s, "eta_task": t} for t in (0.0, 0.4) for s in ETAS)
    lams = tuple({"lam": lam} for lam in LAMBDAS)
    on_rows = tuple({"lam": lam} for lam in rows)
    return (
        Line("erm", "erm", ({},)),
        Line("dvge", "dvge", strengths),
        Line("drop_dims", "drop_dims", tuple({"top_k": k} for k in tops)),
        Line("drop_dims, FactorVAE", "drop_dims", tuple({"top_k": k, "vae": "factor"} for k in tops)),
        Line("ffvae", "ffvae", tuple({"gamma": g} for g in gammas)),
        Line("adversarial", "adversarial", lams),
        Line("parity", "parity", lams),
        Line("erm, on rows", "erm", ({},), ROWS),
        Line("adversarial, on rows", "adversarial", on_rows, ROWS),
        Line("parity, on rows", "parity", on_rows, ROWS),
    )


TWICE: tuple[Options, ...] = tuple(
    {"split": "2-fold", "fold": fold, "split_seed": seed} for seed in range(5) for fold in range(2)
)
GERMAN = Study(
    "south_german", {"sensitive_input": "keep"}, TWICE, lines((1.0, 20.0), range(8), LAMBDAS),
    {"vae_steps": 1500}, {"epochs": 40, "batch_size": 64}, rows_training={"epochs": 40, "batch_size": 64},
    performance="balanced_accuracy",  # whoever is called a good risk is right 700 times in 1,000
)  # fmt: skip
CELEBA = Study(
    "celeba", {"target": "Attractive", "size": 48}, ({"split": "official"},), lines((1.0, 20.0), range(8), (1.0, 4.0)),
    {"vae_steps": 2500}, {"epochs": 20, "batch_size": 128}, seeds=3, model_options={"channels": "16-32"},
    rows_training={"epochs": 6, "batch_size": 64},
)  # fmt: skip


def dvge_german(quick: bool, data_dir: Path | str | None = None) -> dict[str, Any]:
    """South German Credit by sex and by age: 5 x 2 cross-validation (quick: one split in halves)."""
    study = replace(GERMAN, splits=GERMAN.splits[:2]) if quick else GERMAN
    return _table("dvge-german", study, ("sex", "age"), quick, data_dir)


def dvge_celeba(quick: bool, data_dir: Path | str | None = None) -> dict[str, Any]:
    """CelebA, Attractive by Male and by Male and Young: the published split, 3 seeds (quick: one, fewer steps)."""
    study = replace(CELEBA, seeds=1, code={"vae_steps": 200}) if quick else CELEBA
    return _table("dvge-celeba", study, ("Male", "Male x Young"), quick, data_dir)


def _table(name: str, study: Study, groups: Sequence[str], quick: bool, data_dir: Path | str | None) -> dict[str, Any]:
    start = time.perf_counter()
    rows: list[dict[str, Any]] = []
    reuse = {}
    with tempfile.TemporaryDirectory() as folder:
        for sensitive in groups:
            own = replace(study, options={**study.options, "sensitive": sensitive})
            own = replace(own, lines=tuple(_quicker(line) for line in own.lines)) if quick else own
            found = Comparison(own, Path(folder), data_dir)
            table = pd.DataFrame(found.points())
            rows += [{"sensitive": sensitive, **row} for row in summaries(table, own.performance)]
            reuse[sensitive] = found.seconds
            rows[-1] |= {"focus_validity": found.validity()}
            say("\n".join(_short(row) for row in rows if row["sensitive"] == sensitive))
    first, second = (sum(reuse[g].values()) for g in groups)
    return {
        "table": name,
        "unit": "fractions; test split, chosen on validation; 95 % t intervals over splits and seeds",
        "rows": rows,
        "reuse": {"seconds": reuse, "second_over_first": second / first},
        "metrics": {row["method"]: row["hypervolume"]["mean"] for row in rows if row["sensitive"] == groups[0]},
        "seconds": time.perf_counter() - start,
    }


def _quicker(line: Line) -> Line:
    return replace(line, points=line.points[:: max(1, len(line.points) // 4)])


class Comparison:
    """Trains all lines of a study. seconds: of the first autoencoder and of one DVGE run on its codes, on the first
    split, as somebody meets them who changes the sensitive attribute."""

    def __init__(self, study: Study, folder: Path, data_dir: Path | str | None) -> None:
        self.study, self._folder, self._data_dir = study, folder, data_dir
        self.seconds: dict[str, float] = {}
        self._validity: list[np.ndarray] = []

    def points(self) -> list[dict[str, Any]]:
        """One row per line, point, split and seed: the measures on validation and test."""
        rows = []
        for i, split in enumerate(self.study.splits):
            data = load(self.study.dataset, {**self.study.options, **split}, self._data_dir)
            for line in self.study.lines:
                began = time.perf_counter()
                for point, seed, finals in self._trained(line, data, {**self.study.options, **split}):
                    rows.append({"line": line.name, "point": point, "split": i, "seed": seed, **told(finals)})
                say(f"split {i}, {line.name}: {time.perf_counter() - began:.0f} s")
        return rows

    def _trained(self, line: Line, data: Dataset, options: Options) -> Iterator[tuple[int, int, dict[str, Event]]]:
        seeds = range(self.study.seeds)
        if line.reads == ROWS:
            yield from self._on_rows(line, options)
            return
        by_code: dict[Any, list[int]] = {}
        recipes = [self._recipe(line, point) for point in line.points]
        for p, recipe in enumerate(recipes):
            by_code.setdefault(recipe.settings if isinstance(recipe, Latent) else None, []).append(p)
        for places in by_code.values():
            first = recipes[places[0]]
            coded = self._coded(first if isinstance(first, Latent) else self._recipe(Line("", "dvge", ()), {}), data)
            for seed in seeds:
                began = time.perf_counter()
                for start in range(0, len(places), STACK_SIZE):
                    part = places[start : start + STACK_SIZE]
                    finals = self._job([recipes[p] for p in part], coded, seed)
                    yield from ((p, seed, own) for p, own in zip(part, finals, strict=True))
                if line.method == "dvge" and "debiaser" not in self.seconds:
                    self.seconds["debiaser"] = (time.perf_counter() - began) / len(places)

    def _recipe(self, line: Line, point: Options) -> Any:
        method = METHODS[line.method]
        return method(**{**(self.study.code if issubclass(method, Latent) else {}), **point})

    def _coded(self, recipe: Latent, data: Dataset) -> Coded:
        began = time.perf_counter()
        coded, _ = ran(recipe.coded(data, self._folder))
        self.seconds.setdefault("codes", time.perf_counter() - began)
        return coded

    def _job(self, recipes: Sequence[Any], coded: Coded, seed: int) -> list[dict[str, Event]]:
        reader = METHODS["dvge"](**self.study.code)
        networks = [reader.network(coded, seed) for _ in recipes]
        budget = Budget(**self.study.training)  # type: ignore[arg-type]
        n = len(recipes)
        job = Job(recipes, networks, [seed] * n, [coded] * n, budget, live=False)
        finals: list[dict[str, Event]] = [{} for _ in recipes]
        for events in train(job):
            for r, event in events:
                finals[r][event.stage] = event
        exhibit = finals[0]["test"].exhibit
        if exhibit is not None:
            self._validity.append(exhibit["validity_random"] - exhibit["validity_focus"])
        return finals

    def _on_rows(self, line: Line, options: Options) -> Iterator[tuple[int, int, dict[str, Event]]]:
        known = catalogue.build(self._data_dir)
        asked = [(p, seed) for p in range(len(line.points)) for seed in range(self.study.seeds)]
        configs = [
            resolve(
                known, dataset=self.study.dataset, dataset_options=options, method=line.method,
                method_options=line.points[p], model_options=self.study.model_options,
                training=self.study.rows_training, seed=seed,
            )
            for p, seed in asked
        ]  # fmt: skip
        finals: list[dict[str, Event]] = [{} for _ in configs]
        for events in fit(configs, data_dir=self._data_dir, live=False):
            for i, event in events:
                finals[i][event.stage] = event
        yield from ((p, seed, own) for (p, seed), own in zip(asked, finals, strict=True))

    def validity(self) -> dict[str, Any]:
        """By how much the accuracy of the sensitive classifier falls faster when the numbers with the largest focus go
        than when random ones do: the mean over k, per split and seed."""
        gaps = np.array([own[1:-1].mean() for own in self._validity])
        return _interval(gaps) | {"by_k": np.mean(self._validity, 0).round(4).tolist()}


def told(finals: dict[str, Event]) -> dict[str, float]:
    """All measures of both splits, gaps as magnitudes, and the accuracy of the constant classifier on test."""
    out: dict[str, float] = {}
    for stage in ("validation", "test"):
        C = finals[stage].confusion
        assert C is not None
        found = metrics.evaluate(C, list(MEASURES))
        out |= {f"{stage}_{name}": abs(float(value)) for name, value in found.items()}
    C = finals["test"].confusion
    assert C is not None
    constant = metrics.evaluate(constant_classifier(C), [ACCURACY, "balanced_accuracy"])
    return out | {f"constant_{name}": float(value) for name, value in constant.items()}


def summaries(table: pd.DataFrame, performance: str) -> list[dict[str, Any]]:
    """Per line: its points (means over splits and seeds), its hypervolumes, and its best point whose performance is
    within ALLOWED of the untreated model's on codes."""
    plain = table[table["line"] == "erm"]
    rows = []
    for name, own in table.groupby("line", sort=False):
        volumes = {gap: _interval(_volumes(own, gap, performance)) for gap in GAPS}
        rows.append({
            "method": name,
            "hypervolume": volumes[GAPS[0]], "hypervolume_equal_opportunity": volumes[GAPS[1]],
            **_within(own, plain, performance),
            "points": [_point(p, own[own["point"] == p]) for p in sorted(map(int, own["point"].unique()))],
        })  # fmt: skip
    return rows


def _volumes(own: pd.DataFrame, gap: str, performance: str) -> np.ndarray:
    """The hypervolume of every split and seed: the front is chosen on validation and measured on test."""
    found = []
    for _, part in own.groupby(["split", "seed"]):
        front = part[pareto_mask(part[f"validation_{gap}"], part[f"validation_{performance}"])]
        worst = (WORST, float(front[f"constant_{performance}"].iloc[0]))
        found.append(hypervolume(front[f"test_{gap}"], front[f"test_{performance}"], worst))
    return np.array(found)


def _within(own: pd.DataFrame, plain: pd.DataFrame, performance: str) -> dict[str, Any]:
    """The point with the smallest validation gap among those whose mean validation performance is at most ALLOWED
    below the untreated model's; None where there is none."""
    judge, gap = f"validation_{performance}", f"validation_{GAPS[0]}"
    means = own.groupby("point")[[judge, gap]].mean()
    able = means[means[judge] >= plain[judge].mean() - ALLOWED]
    if able.empty:
        return {"best": None}
    best = int(able.index.to_numpy()[able[gap].to_numpy().argmin()])
    told = _point(best, own[own["point"] == best])
    before = plain[f"test_{GAPS[0]}"].mean()
    return {"best": told | {"reduction": 1 - told[GAPS[0]]["mean"] / before}}


def _point(point: int, part: pd.DataFrame) -> dict[str, Any]:
    return {"point": point} | {name: _interval(part[f"test_{name}"].to_numpy()) for name in MEASURES}


def _interval(values: np.ndarray) -> dict[str, Any]:
    """Mean, sd and t interval over splits and seeds."""
    over = metrics.over_seeds(values[:, None], 0.95, axis=0)
    return {part: float(getattr(over, part)[0]) for part in ("mean", "sd", "low", "high")} | {"n": len(values)}


def _short(row: dict[str, Any]) -> str:
    best: dict[str, Any] | None = row["best"]
    volume = row["hypervolume"]
    text = f"{row['sensitive']}, {row['method']}: hypervolume {volume['mean']:.4f} "
    text += f"[{volume['low']:.4f}, {volume['high']:.4f}]; "
    if best is None:
        return f"{text}no point within {ALLOWED:.0%}"
    text += f"point {best['point']}: accuracy {best[ACCURACY]['mean']:.4f}, "
    text += f"balanced {best['balanced_accuracy']['mean']:.4f}, "
    return text + f"DP {best[GAPS[0]]['mean']:.4f} ({-best['reduction']:+.0%})"
