"""The methods that the page Explain has a section for, and what draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fairness_core.store import Run
from pages import adversarial_examples

SECTIONS: Mapping[str, Callable[[dict[str, Any], Run], None]] = {
    adversarial_examples.METHOD: adversarial_examples.section
}
