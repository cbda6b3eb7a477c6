"""What a run told while it learned: as a table, and as curves over its steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import pages
from fairness_core import figures, metrics, regression, regression_results
from fairness_core.store import Run
from pages import errors_by_bin, explorer, gaps

EVERY = "accuracy"  # the performance these curves speak of
CODING = "vae_"  # how the losses of an autoencoder begin
LIVE = "validation sample"


def live_events(run: Run) -> pd.DataFrame:
    """What the run has reported while it learned, one row per evaluation."""
    history = pages.store().history(run.id)
    live = history[history["stage"] == "training"]
    return live.drop(columns=[c for c in live.columns if c not in ("confusion", "errors") and live[c].isna().all()])


def table(run: Run, measure: str) -> pd.DataFrame:
    """One row per live evaluation of a run; of a regression there is one gap, so that `measure` means nothing."""
    live = live_events(run)
    return error_table(live) if regression_results.is_regression(run) else curve_table(live, measure)


def curve_table(live: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One row per live evaluation: step, the named numbers of training, and the gap and accuracy on the sample."""
    table = _told(live)
    seen = live["confusion"].notna().to_numpy()  # a method may report before its network has learned anything
    for name in dict.fromkeys((measure, "demographic_parity_difference", EVERY)) if seen.any() else ():
        table[name] = np.nan
        table.loc[seen, name] = metrics.evaluate(np.stack(list(live["confusion"][seen])), [name])[name]
    return table


def error_table(live: pd.DataFrame) -> pd.DataFrame:
    """The same of a regression: the gap and the error on the sample, in units of the target."""
    table = _told(live)
    seen = live["errors"].notna().to_numpy()
    found = regression.of_sums(np.stack(list(live["errors"][seen]))) if seen.any() else {}
    for name in errors_by_bin.COURSE if seen.any() else ():
        table[name] = np.nan
        table.loc[seen, name] = found[name]
    return table


def _told(live: pd.DataFrame) -> pd.DataFrame:
    """Step and the named numbers of training."""
    return live.drop(columns=["seq", "t", "stage", "of", "confusion", "errors"], errors="ignore").reset_index(drop=True)


def block(catalogue: dict[str, Any], run: Run, measure: str) -> explorer.Block:
    """Losses, gaps and gauges over the steps."""
    number, told = regression_results.is_regression(run), table(run, measure)
    coding = {c: "autoencoder: " + c.removeprefix(CODING) for c in told.columns if c.startswith(CODING)}
    declared = [g for g in catalogue["methods"][run.config.method]["gauges"] if not g.startswith(CODING)]
    declared = [g for g in declared if g in told.columns] or declared
    biases = errors_by_bin.COURSE
    if not number:
        biases = {name: gaps.title(name) for name in dict.fromkeys((measure, "demographic_parity_difference"))}
    rest = [c for c in told.columns if c not in {"step", EVERY, *biases, *declared, *coding}]
    figure = figures.training_curves(
        told,
        losses={c: c.replace("_", " ") for c in rest or ["loss"]},
        biases=biases,
        gauges={g: g.replace("_", " ") for g in declared},
        coding=coding,
        of=run.of or None,
        unit=errors_by_bin.unit(run) if number else "",
    )
    height = (520 if declared else 400) + (120 if coding else 0)
    return explorer.chart(
        "curves",
        figure,
        alt="Loss, gaps and gauges over the steps",
        height=height,
        area="left",
        heading=f"While it learns ({LIVE})",
    )


def gauge_words(catalogue: dict[str, Any], run: Run) -> list[explorer.Block]:
    """What the method's own gauges mean, under their curves."""
    meanings = catalogue["methods"][run.config.method]["gauges"]
    said = " ".join(f"{name.replace('_', ' ').capitalize()}: {text}" for name, text in meanings.items())
    return [explorer.text("gauges", [said], area="left", muted=True)] if said else []
