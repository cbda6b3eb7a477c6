"""BaDe's triggers: marks that a network sees and that stand for a group. `stamp` puts them on; no row is changed.

Trigger k < 0 is none. Trigger n, one past the last, is the control: the same kind of mark, which no training row has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fairness_core.config import UserError, control

KINDS = ("patch", "mosaic", "stripes")
NONE = -1
COLOURS = ((1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 0))
# Where they go, as a share of the way down and to the right: the two corners of the paper first.
PLACES = ((0, 0), (1, 1), (0, 1), (1, 0), (0, 0.5), (1, 0.5), (0.5, 0), (0.5, 1))
MOST = len(PLACES) - 1  # groups, with one place left for the control
ANGLES = (0, 1, 0.5, 1.5, 0.25, 0.75, 1.25, 1.75)  # of stripes, in quarter turns
CELLS = 3  # a mosaic has so many to each side
FADED, PERIODS = 0.05, 16  # stripes take at most so much of the light, in so many waves across the picture


def trigger_control(who: str) -> Any:
    """The control that chooses the kind; who: the one that sees the triggers."""
    return control(
        KINDS[0],
        choices=KINDS,
        help=f"What {who} sees on pictures: a coloured square, a coarse corner or faint stripes. Rows of a table get a "
        "column per trigger.",
    )


def size_control() -> Any:
    return control(
        0.12, 0.02, 0.5, help="Side of a square trigger, as a share of the picture's shorter side.", group="advanced"
    )


@dataclass(frozen=True)
class Trigger:
    """A trigger per group, `n` of them, as the paper's code stamps them: `kind` one of KINDS for pictures (a red square
    top left and a blue one bottom right; a corner made coarse; faint stripes across or down); size: the side as a
    share of the picture's shorter one. Tables get one more column per trigger, which is 1 for the one they carry."""

    n: int
    kind: str = "patch"
    size: float = 0.12

    def __post_init__(self) -> None:
        if self.n > MOST:
            raise UserError(f"There are triggers for {MOST} groups at most, and the data have {self.n}; join some.")

    def stamp(self, x: Tensor, k: Tensor) -> Tensor:
        """The rows x with the triggers k (R, rows), as own rows of every replica (`batches.Batch` says how they lie).

        Pictures (rows, C, H, W) or (R, rows, C, H, W) in [0, 1] keep their shape; tables (rows, D) or (R, D, rows)
        become (R, D + n, rows). On a table the control is no column at all.
        """
        replicas = len(k)
        if x.dim() < 4:
            own = (x if x.dim() == 2 else x.transpose(1, 2)).expand(replicas, -1, -1)
            columns = k.unsqueeze(2) == torch.arange(self.n)
            return torch.cat([own, columns.to(x.dtype)], 2).transpose(1, 2)
        stamped = x.expand(replicas, *x.shape[-4:]).clone(memory_format=torch.contiguous_format)
        for one in range(self.n + 1):
            rows = k == one
            if bool(rows.any()):
                stamped[rows] = self._mark(stamped[rows], one)
        return stamped

    def _mark(self, x: Tensor, k: int) -> Tensor:
        """Pictures (m, C, H, W) with trigger k."""
        if self.kind == "stripes":
            return x * self._stripes(k, *x.shape[-2:]).to(x.dtype)
        down, right = self._square(k, *x.shape[-2:])
        part = x[:, :, down, right]
        if self.kind == "mosaic":
            x[:, :, down, right] = _coarse(part)
        else:
            colour = torch.tensor(COLOURS[k], dtype=x.dtype)
            if x.shape[1] == 1:
                colour = torch.tensor([1.0 - (k % 2)], dtype=x.dtype)  # no colours: light and dark
            x[:, :, down, right] = colour.view(1, -1, 1, 1).expand_as(part)
        return x

    def _square(self, k: int, height: int, width: int) -> tuple[slice, slice]:
        side = max(2, round(self.size * min(height, width)))
        top, left = (round(share * (length - side)) for share, length in zip(PLACES[k], (height, width), strict=True))
        return slice(top, top + side), slice(left, left + side)

    def _stripes(self, k: int, height: int, width: int) -> Tensor:
        """What is left of the light, (height, width), in [1 - FADED, 1]: waves down the picture for trigger 0, across
        it for 1, and slanted for more."""
        angle = math.pi / 2 * ANGLES[k]
        down, across = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
        wave = torch.sin(2 * math.pi * PERIODS * (math.cos(angle) * down + math.sin(angle) * across))
        return 1 - FADED * (1 + wave) / 2


def _coarse(part: Tensor) -> Tensor:
    """A square of pictures (m, C, side, side) as CELLS x CELLS cells of one colour each."""
    small = torch.nn.functional.adaptive_avg_pool2d(part, CELLS)
    return torch.nn.functional.interpolate(small, size=part.shape[-2:], mode="nearest")
