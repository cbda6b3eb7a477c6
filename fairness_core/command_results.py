"""Finished runs and sweeps as the command line prints them, as JSON or as lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from fairness_core import calibration, metrics, regression_results, sweep
from fairness_core.records import Run
from fairness_core.store import Store

Result = dict[str, Any]


def result(store: Store, run: Run) -> Result:
    """A finished run as --json prints it; metrics are those of the test split, as fractions."""
    counts = store.confusions([run.id], "test", pooled=False)[run.id]
    measured = metrics.evaluate(counts) if counts.ndim == 3 else metrics.over_targets(counts)
    told: Result = {"metrics": measured}
    if regression_results.is_regression(run):  # the counts are those of bins of the target
        told = {**regression_results.result(store, run), "binned_metrics": measured}
    return {
        "id": run.id,
        "config": run.config.to_json(),
        "split": "test",
        **told,
        "confusion": counts,
        **{name: run.info[name] for name in ("task", "groups", "classes", "targets", "seconds", "device", "flags")},
    }


def sweep_result(store: Store, sweep_id: str, performance: str | None, fairness: str | None) -> Result:
    """The runs of a sweep and, chosen on validation, the rows of its frontier."""
    made = store.sweep(sweep_id)
    assert made is not None
    runs = [run for run in map(store.run, made.run_ids) if run is not None]
    seconds = sum(run.info["seconds"] for run in runs)
    if any(map(regression_results.is_regression, runs)):
        told = regression_results.sweep_result(store, made, performance, fairness)
        return {"id": sweep_id, "spec": made.spec, "runs": [result(store, run) for run in runs], **told,
                "seconds": seconds}  # fmt: skip
    performance, fairness = performance or "accuracy", fairness or "demographic_parity_difference"
    validation, test = (store.confusions(made.run_ids, stage) for stage in ("validation", "test"))
    table = store.runs(made.run_ids, over=made.spec["over"])
    points = sweep.points(table, validation, test, performance, fairness)
    front = sweep.frontier(points).query("on_front").drop(columns="on_front")
    volumes = {
        split: sweep.hypervolume(front[f"{split}_gap"], front[f"{split}_performance"])
        for split in ("validation", "test")
    }
    choice = None
    if calibration.is_path(made.spec):
        measured = sweep.points(table, validation, test, performance="eacc", fairness="odds")
        choice = calibration.of_sweep(measured, made.spec["over"], calibration.of_classes)
    return {
        "id": sweep_id,
        "spec": made.spec,
        "runs": [result(store, run) for run in runs],
        "front": front.to_dict("records"),
        "metrics": {"hypervolume": volumes["test"], "hypervolume_validation": volumes["validation"]},
        "performance": performance,
        "fairness": fairness,
        **({"chosen": asdict(choice)} if choice else {}),
        "seconds": seconds,
    }


def print_json(data: object) -> None:
    """One line; NaN becomes null."""
    print(orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode(), flush=True)


def print_result(report: Result) -> None:
    print(f"run {report.get('id', '')} ({report['split']})".replace("run  ", ""))
    for name, value in report["metrics"].items():
        interval = report.get("intervals", {}).get(name)
        shown = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
        print(f"  {name:<36} {value:8.4f}{shown}")
    for cell in report.get("cells", []):
        errors = f"mean error {cell['mean_error']:+8.4g}, mean absolute error {cell['absolute_error']:8.4g}"
        print(f"  {cell['bin']:<18} {cell['group']:<28} n = {cell['n']:>7,}: {errors}")
    for flag in report["flags"]:
        print(f"  note: {flag}")


def print_front(report: Result) -> None:
    print(f"sweep {report['id']}: {len(report['runs'])} runs, frontier chosen on validation, shown on test")
    print(f"  {'lam':>8} {report['performance']:>24} {report['fairness']:>34}")
    for row in report["front"]:
        performance = row.get("test_performance", row.get("test_error"))
        print(f"  {row['lam']:8.3g} {performance:24.4f} {row['test_gap']:34.4f}")
    if chosen := report.get("chosen"):
        print_chosen(report["spec"], chosen)


def print_chosen(spec: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """What BaDe's validation chooses, and how to go on where the strongest of the sweep is as good."""
    numeric, over_rate, value = "test_error" in chosen, spec["over"] == calibration.RATE, chosen["value"]
    level, gap = ("EErr", "Odds_reg") if numeric else ("EAcc", "Odds")
    reached = chosen["test_error" if numeric else "test_performance"]
    setting = f"n = {value:g} %" if over_rate else f"s = {value:g}"
    told = f"{level} {reached:.4f}, {gap} {chosen['test_gap']:.4f} on test"
    print(f"  floor of the valley of {gap} on validation: {setting} ({told})")
    strongest = max(spec["values"])
    if strongest in chosen["alike"]:
        where = "the floor is at the edge" if chosen["edge"] else "the strongest is as good"
        print(f"  {where}; {_further(spec, strongest, over_rate=over_rate)}")


def _further(spec: Mapping[str, Any], strongest: float, *, over_rate: bool) -> str:
    """How to go on beyond the strongest of a sweep."""
    path = calibration.Path.through(spec["base"]["method_options"]) if over_rate else calibration.Path()
    strength = strongest if over_rate else calibration.FULL * strongest
    beyond = [step for step in path.steps if step > strength]
    if strength < calibration.FULL:
        return "try higher rates"
    if not beyond:
        return "there is no larger s"
    values = [path.settings(x)[calibration.EXPONENT] for x in (strength, *beyond)]
    return f"go on with --over {calibration.EXPONENT}={','.join(f'{s:g}' for s in values)}"
