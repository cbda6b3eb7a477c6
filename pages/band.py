"""The ε slider of a frontier: its band, which points lie below it, and which of those validation prefers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fairness_core import figures
from fairness_core.sweep import OperatingPoint
from pages import explorer
from pages.evidence import Evidence


@dataclass(frozen=True)
class Words:
    """How this frontier speaks. gap: of a value, with its unit; result: what a point is worth on test; trivial: what a
    trivial point is; epsilon: of a threshold, with its unit."""

    gap: Callable[[float], str]
    result: Callable[[OperatingPoint], str]
    trivial: str
    epsilon: Callable[[float], str]


def nearest(epsilons: Sequence[float], epsilon: float) -> int:
    """The position of the slider that stands nearest to ε."""
    return int(np.abs(np.asarray(epsilons) - epsilon).argmin())


def payload(
    main: Evidence,
    figure: Any,
    points: pd.DataFrame,
    validation_gaps: pd.Series,
    choose: Callable[[float], OperatingPoint | None],
    words: Words,
    epsilons: Sequence[float],
    at: int,
) -> dict[str, Any]:
    """What explorer.explorer takes as `band`. points: of the main sweep, as the figure draws them, with gap and gain;
    validation_gaps: one per trade-off value that is known; choose: the operating point under ε, which changes only
    where ε passes one of them."""
    own = explorer.trace_index(figure, f"points:{main.id}") if len(points) else None
    inside, outside = (figures.symbols(points, e) for e in (np.inf, -np.inf))
    places = {int(p): [x, y] for p, x, y in zip(points["position"], points["gap"], points["gain"], strict=True)}
    markers = {} if own is None else {own: {"gaps": points["gap"].tolist(), "inside": inside, "outside": outside}}
    gaps = np.sort(validation_gaps.dropna().to_numpy())
    chosen: dict[int, OperatingPoint | None] = {}
    frames = []
    for epsilon in epsilons:
        below = int(np.searchsorted(gaps, epsilon))  # strictly
        if below not in chosen:
            chosen[below] = choose(epsilon)
        frames.append(_best(main, chosen[below], words, epsilon, below, len(validation_gaps)))
    return {
        "label": "Largest gap you accept ε",
        "symbol": "ε",
        "labels": [f"{e:g}" for e in epsilons],
        "values": list(epsilons),
        "position": at,
        "ends": [f"{epsilons[0]:g}", f"{epsilons[-1]:g}"],
        "chart": "frontier",
        "best": explorer.trace_index(figure, "best"),
        "markers": explorer.plain(markers),
        "points": [explorer.plain(places.get(i)) for i in range(len(main.values))],
        "frames": frames,
    }


def _best(
    main: Evidence, chosen: OperatingPoint | None, words: Words, epsilon: float, below: int, of: int
) -> dict[str, Any]:
    """The position of the best point under ε and its sentence."""
    if chosen is None:
        return {
            "best": None,
            "sentence": f"Which {main.symbol} is best under ε is known when the first ones are trained.",
        }
    threshold = f"ε = {words.epsilon(epsilon)}"
    if not chosen.feasible:
        smallest = f"the smallest gap is {words.gap(chosen.validation_gap)}, at {main.symbol} = {chosen.lam:g}"
        return {"best": None, "sentence": f"No {main.symbol} stays below {threshold} on validation; {smallest}."}
    many = f"{below} of {of} values of {main.symbol} {'stays' if below == 1 else 'stay'}"
    text = f"{many} below {threshold} on validation; the best of them is {main.symbol} = {chosen.lam:g}. "
    text += f"On test: {words.result(chosen)}"
    text += ", below ε too." if chosen.test_gap < epsilon else f", which is not below {threshold}."
    if chosen.trivial:
        text += f" It is a trivial model: {words.trivial}."
    return {"best": main.values.index(chosen.lam), "sentence": text}
