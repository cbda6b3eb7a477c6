"""Bootstrap of every metric from the confusion tensor against Fairlearn's MetricFrame, per resample, in one process.

Both start from the same 5,000 labels, predictions and groups and end with 95 % percentile intervals. Ours counts the
rows, draws 1,000 resamples and evaluates all of METRICS. Fairlearn's side is given less to do, in its favour: 100
resamples of the four rates that our gaps are made of (accuracy, selection rate, true and false positive rate), plus
the intervals of their group differences, which MetricFrame computes anyway. Its cost per resample does not depend on
their number. The sides alternate, and medians are compared; n_jobs and threads are left at each library's default.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score

from fairness_core import metrics

ROWS = 5000
MARK = 500


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, y_pred, s (ROWS,): two unequal groups with different base rates, predictions 80 % right."""
    rng = np.random.default_rng(seed)
    s = (rng.random(ROWS) < 0.67).astype(np.int64)
    y = (rng.random(ROWS) < np.where(s == 1, 0.3, 0.11)).astype(np.int64)
    return y, np.where(rng.random(ROWS) < 0.8, y, 1 - y), s


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(quick: bool = False) -> dict[str, Any]:
    """Medians over 5 alternated rounds (quick: 2, and Fairlearn with 20 resamples)."""
    rounds, theirs_n, ours_n = (2, 20, 1000) if quick else (5, 100, 1000)
    y, y_pred, s = _data()
    functions = {
        "accuracy": accuracy_score,
        "selection_rate": selection_rate,
        "tpr": true_positive_rate,
        "fpr": false_positive_rate,
    }

    def ours() -> None:
        metrics.bootstrap(metrics.confusion_tensor(y, y_pred, s, 2, 2), n=ours_n)

    def theirs() -> None:
        frame = MetricFrame(
            metrics=functions,
            y_true=y,
            y_pred=y_pred,
            sensitive_features=s,
            n_boot=theirs_n,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )
        frame.difference_ci()

    ours()  # the first call pays for imports and caches
    times: dict[str, list[float]] = {"ours": [], "fairlearn": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(rounds):
            times["ours"].append(_seconds(ours))
            times["fairlearn"].append(_seconds(theirs))
    per_resample = {
        "ours": statistics.median(times["ours"]) / ours_n,
        "fairlearn": statistics.median(times["fairlearn"]) / theirs_n,
    }
    return {
        "rows": ROWS,
        "rounds": rounds,
        "metrics_ours": len(metrics.METRICS),
        "metrics_fairlearn": len(functions),
        "resamples_ours": ours_n,
        "resamples_fairlearn": theirs_n,
        "seconds_per_resample_ours": per_resample["ours"],
        "seconds_per_resample_fairlearn": per_resample["fairlearn"],
        "ratio_per_resample": per_resample["fairlearn"] / per_resample["ours"],
        "mark": MARK,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Bootstrap: ours against Fairlearn's, per resample.")
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(run(parser.parse_args().quick)))
