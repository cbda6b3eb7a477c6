"""What a method costs before somebody starts it: passes through the network, counted against plain training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AEDA_VARIANTS = ("robust", "online", "once", "pre")
SWITCHES = ("hard", "adv", "adv_robust")
STEP = 3.0  # one training step of one row: forward, and backward to inputs and weights, each about as dear
LOOK = 2.0  # forward, and backward to the input alone


def relative(method: str, options: Mapping[str, Any]) -> float | None:
    """How many times as long as plain training with the same budget takes, roughly; None where it is about as long.

    Counted for networks whose layers dominate (pictures); a row's forward pass is 1.
    """
    if method == "aeda":
        return aeda(options) / STEP
    if method == "bade":  # the teacher, then the student
        return float(options["teacher"]) + 1
    return None


def aeda(options: Mapping[str, Any]) -> float:
    """Passes per training row and epoch, in the long run."""
    attack, twice = LOOK * float(options["steps"]), 2 * STEP
    variant, refresh = options["variant"], float(options["refresh"])
    if variant == "pre":  # two networks, then the model on rows and twins; the attack once
        return 2 * STEP + twice
    if variant == "once":
        return twice
    head = 2.0 if variant == "robust" else 1.0
    if refresh == 0:
        return twice + attack + head
    return twice + attack / refresh + head * float(options["bias_passes"])
