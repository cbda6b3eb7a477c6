"""How far an attack may move the rows of a data set: the settings that its methods share, and the ball they make."""

from __future__ import annotations

import math
from typing import Any

from fairness_core import probes
from fairness_core.attacks import NORMS, Ball
from fairness_core.config import control
from fairness_core.datasets import Split

SMALL = 32  # pixels; up to here the usual budget is that of digits, above it that of faces
DIGITS, FACES = 0.4, 8 / 255  # of a pixel's range
TINTED = 3 / 7  # of the steps
AUTO = "auto"


def epsilon_control(what: str) -> Any:
    """The control ε; what: the thing that is moved."""
    return control(
        AUTO,
        0.0,
        100.0,
        unset=AUTO,
        symbol="ε",
        help=f"How far {what} may lie from its row. auto: 0.4 of a pixel's range on pictures up to 32 pixels, 8/255 on "
        "larger ones, and on tables the distance between the groups' means.",
    )


def steps_control() -> Any:
    return control(7, 1, 40, symbol="S", help="Gradient steps of the attack.")


def alpha_control() -> Any:
    return control(
        AUTO,
        0.0,
        100.0,
        unset=AUTO,
        symbol="α",
        help="Length of one step of the attack. auto: 1.5 ε / S.",
        group="advanced",
    )


def norm_control() -> Any:
    return control(
        AUTO,
        choices=(AUTO, *NORMS),
        help="What ε bounds: every coordinate (linf) or the length of the change (l2). auto: linf on pictures, l2 on "
        "tables.",
        group="advanced",
    )


def tint_control() -> Any:
    return control(
        AUTO,
        0.0,
        1.0,
        unset=AUTO,
        help="Share of the S steps, the first ones, that tint a picture: move each of its channels as a whole. Those "
        "after them move pixels and get shorter. 0: none, as in the papers. auto: three of seven on pictures up to 32 "
        "pixels (where balance_mode fills classes: none), none on larger ones. Tables cannot be tinted.",
        group="advanced",
    )


def ball(
    train: Split,
    epsilon: float | str,
    steps: int,
    alpha: float | str,
    norm: str,
    tint: float | str = 0.0,
    *,
    of_group: bool = True,
) -> Ball:
    """What the settings mean on these training rows. of_group: is it the group that an attack moves, which may be the
    colour of a picture, and not the class?"""
    pictures = train.x.ndim > 2
    norm = ("linf" if pictures else "l2") if norm == AUTO else norm
    if epsilon != AUTO:
        radius = float(epsilon)
    elif pictures:
        radius = DIGITS if train.x.shape[-1] <= SMALL else FACES
        radius *= math.sqrt(math.prod(train.x.shape[1:])) if norm == "l2" else 1.0
    else:
        radius = probes.distance_of_means(train)
    step = 1.5 * radius / steps if alpha == AUTO else float(alpha)
    if not pictures:
        return Ball(norm, radius, step, steps)
    small = train.x.shape[-1] <= SMALL
    share = (TINTED if small and of_group else 0.0) if tint == AUTO else float(tint)
    return Ball(norm, radius, step, steps, 0.0, 1.0, round(share * steps))
