"""The methods that the page Explain has a section for, what draws it, and how their runs are told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fairness_core.calibration import EXPONENT, RATE
from fairness_core.config import Options, RunConfig
from fairness_core.store import Run
from pages import (
    adversarial_examples,
    backdoor,
    backdoor_course,
    backdoor_valley,
    label_switch,
    latent,
    latent_course,
    latent_grid,
)

SECTIONS: Mapping[str, Callable[[dict[str, Any], Run], None]] = {
    adversarial_examples.METHOD: adversarial_examples.section,
    backdoor_course.METHOD: backdoor.section,
    label_switch.METHOD: label_switch.section,
    latent_course.METHOD: latent.section,
}
# What a picker says of a run beside its method: the options, as a symbol and a unit, or as they are named.
TOLD: Mapping[str, Mapping[str, tuple[str, str]]] = {
    adversarial_examples.METHOD: {"variant": ("", "")},
    backdoor_course.METHOD: {RATE: ("n = ", " %"), EXPONENT: ("s = ", "")},
    label_switch.METHOD: {"kind": ("", "")},
    latent_course.METHOD: {latent_course.STRENGTH: ("η_s = ", ""), latent_course.TASK: ("η_t = ", "")},
}


def kind(method: str, options: Options) -> str:
    """What a picker says of a run of this method with these options."""
    told = [(options[name], *around) for name, around in TOLD[method].items() if name in options]
    return "".join(f", {before}{v:g}{after}" if isinstance(v, float) else f", {before}{v}" for v, before, after in told)


def waited_for(catalogue: dict[str, Any], config: RunConfig) -> list[str]:
    """The ids of the other runs that a section shows and that may still be training."""
    if config.method == backdoor_course.METHOD:
        return backdoor_valley.waited_for(config)
    if config.method == latent_course.METHOD:
        return latent_grid.waited_for(catalogue, config)
    return label_switch.waited_for(catalogue, config)
