"""What the tables that take hours share: which of their lines are asked for, and how they say how far they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeVar

from fairness_core.config import UserError

T = TypeVar("T")


def lines(known: Mapping[str, T], only: str) -> dict[str, T]:
    """The line of a table that is called `only`, else those whose names contain it, in capitals or not; all when it is
    empty."""
    found = {name: line for name, line in known.items() if only.lower() == name.lower()}
    found = found or {name: line for name, line in known.items() if only.lower() in name.lower()}
    if not found:
        raise UserError(f"No line of this table has {only!r} in its name; its lines are: {'; '.join(known)}.")
    return found


def say(text: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
