"""What a model said about every row of the validation and the test split.

It is kept beside the run, so that thresholds, flips and groups can be looked at without training anything again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fairness_core.config import Event
from fairness_core.datasets.base import Split
from fairness_core.measures import confusion_tensor

MOST_ROWS = 100_000  # kept of one split; of more a fixed sample
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Scores:
    """A binary model's answers on one split.

    score: float32 (n,), P(y = 1) as the network gives it; y, s: int64 (n,), true class and group; decision: float32
    (n,), 1 where the favourable decision was taken (in between: the chance of it, where it is drawn); of: rows of the
    whole split, more than n if this is a sample.
    """

    score: np.ndarray
    y: np.ndarray
    s: np.ndarray
    decision: np.ndarray
    of: int

    def __len__(self) -> int:
        return len(self.score)

    def confusion(self, n_groups: int) -> np.ndarray:
        """(groups, 2, 2) of the decisions taken."""
        return confusion_tensor(self.y, (self.decision > 0.5).astype(np.int64), self.s, n_groups, 2)


@dataclass(frozen=True)
class Predictions:
    """A regression's answers on one split: predicted, y: float32 (n,) in units of the target; s and of as in Scores."""

    predicted: np.ndarray
    y: np.ndarray
    s: np.ndarray
    of: int

    def __len__(self) -> int:
        return len(self.y)


def of_event(event: Event, split: Split) -> Scores | None:
    """The answers a final event carries about `split`, in the order of its rows; None if it carries none."""
    if event.scores is None:
        return None
    decided = event.decisions
    if decided is None:
        decided = event.scores > event.values.get("tau", 0.5)
    n, rows = len(split), _kept(len(split))
    score, decision = (np.asarray(a, np.float32)[rows] for a in (event.scores, decided))
    return Scores(score, split.y[rows], split.s[rows], decision, n)


def numbers_of_event(event: Event, split: Split) -> Predictions | None:
    """What a final event of a regression predicts for `split`; None if it carries nothing."""
    if event.scores is None:
        return None
    rows = _kept(len(split))
    return Predictions(np.asarray(event.scores, np.float32)[rows], split.y[rows], split.s[rows], len(split))


def _kept(n: int) -> np.ndarray:
    """The rows that are kept of n: all, or a fixed sample of MOST_ROWS."""
    return np.arange(n) if n <= MOST_ROWS else np.sort(np.random.default_rng(0).permutation(n)[:MOST_ROWS])


def save(path: Path, answers: Mapping[str, Scores]) -> None:
    """Write the answers on some splits into one file; whoever reads it meanwhile sees the old one or the new one."""
    tensors: dict[str, np.ndarray] = {}
    for split, a in answers.items():
        tensors[f"{split}.score"] = a.score
        tensors[f"{split}.y"] = a.y.astype(np.uint8)
        tensors[f"{split}.s"] = a.s.astype(np.uint16)
        tensors[f"{split}.decision"] = a.decision.astype(np.float16 if _drawn(a.decision) else np.uint8)
        tensors[f"{split}.of"] = np.array([a.of], np.int64)
    _write(path, tensors)


def save_numbers(path: Path, answers: Mapping[str, Predictions]) -> None:
    """As `save`, of a regression."""
    tensors: dict[str, np.ndarray] = {}
    for split, a in answers.items():
        tensors |= {f"{split}.predicted": a.predicted.astype(np.float32), f"{split}.y": a.y.astype(np.float32)}
        tensors |= {f"{split}.s": a.s.astype(np.uint16), f"{split}.of": np.array([a.of], np.int64)}
    _write(path, tensors)


def _write(path: Path, tensors: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".part")
    save_file(tensors, written)
    written.replace(path)


def _drawn(decision: np.ndarray) -> bool:
    return bool(((decision != 0) & (decision != 1)).any())


def load(path: Path) -> dict[str, Scores]:
    """{split: answers} as `save` wrote them; empty when there is no such file or it is damaged."""
    held = _read(path)
    return {
        split: Scores(
            held[f"{split}.score"],
            held[f"{split}.y"].astype(np.int64),
            held[f"{split}.s"].astype(np.int64),
            held[f"{split}.decision"].astype(np.float32),
            int(held[f"{split}.of"][0]),
        )
        for split in SPLITS
        if f"{split}.score" in held
    }


def load_numbers(path: Path) -> dict[str, Predictions]:
    """{split: answers} as `save_numbers` wrote them; empty when there is no such file or it is damaged."""
    held = _read(path)
    return {
        split: Predictions(
            held[f"{split}.predicted"],
            held[f"{split}.y"],
            held[f"{split}.s"].astype(np.int64),
            int(held[f"{split}.of"][0]),
        )
        for split in SPLITS
        if f"{split}.predicted" in held
    }


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError):
        return {}
