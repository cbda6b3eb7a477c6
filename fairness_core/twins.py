"""Adversarial twins of training rows: made when a row is first needed, and kept for as long as they stay the same.

What is "own" here is (R, rows, ...): own rows of every replica, in the layout of `batches.Batch`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fairness_core.balance import NONE
from fairness_core.batches import Batch
from fairness_core.config import Exhibit
from fairness_core.evaluation import decided

SHOWN = 12  # rows of an exhibit
Maker = Callable[[Batch, Tensor, Tensor], Tensor]  # (own rows, y and aim of their twins) -> x of the twins


@dataclass
class Twins(Batch):
    """Twins as a batch: s is that of the rows they were made from, y too unless they are to have another class; w is 0
    where a replica has no such twin.

    at: (m,), which row of the batch each was made from; aim: (R, m), the group it is to be seen in.
    """

    at: Tensor = field(kw_only=True)
    aim: Tensor = field(kw_only=True)

    def __len__(self) -> int:
        return self.aim.shape[1]


class Keeper:
    """Twins by row number, each made once until `forget`.

    aims: int64 (R, n, slots), see balance.aims; kind: how they are kept, half precision for many pictures; classes:
    the class that each is to have, as aims, or None: that of its row.
    """

    def __init__(
        self, aims: Tensor, row_shape: tuple[int, ...], kind: torch.dtype, classes: Tensor | None = None
    ) -> None:
        self.aims, self._classes = aims, classes
        self._made = torch.zeros(aims.shape, dtype=torch.bool)
        self._row_shape, self._kind = row_shape, kind
        self._x: Tensor | None = None

    def forget(self, aims: Tensor) -> None:
        """From now on the twins are made anew, towards these groups."""
        self.aims = aims
        self._made.zero_()

    def twins(self, batch: Batch, make: Maker, *, keep: bool) -> Twins:
        """The twins of a batch's rows; with `keep` each is made by the first call that asks for it."""
        assert batch.rows is not None
        replicas, _, slots = self.aims.shape
        rows = batch.rows.expand(replicas, -1)
        each = torch.arange(replicas).unsqueeze(1)
        wanted = self.aims[each, rows].flatten(1)
        columns = (wanted != NONE).any(0).nonzero().flatten()  # what no replica needs is not made
        at, slot = columns // slots, columns % slots
        present, aim = wanted[:, columns] != NONE, wanted[:, columns].clamp(min=0)
        source = chosen(batch, at, replicas)
        place = (each, rows[:, at], slot.expand(replicas, -1))
        y = source.y if self._classes is None else self._classes[place]
        if keep and len(columns) and bool(self._made[place].all()):
            x = _by_row(self._stored[place].to(source.x.dtype))
        else:
            x = make(source, y, aim)
            if keep:
                self._stored[place] = _by_row(x).to(self._kind)
                self._made[place] = True
                x = _by_row(self._stored[place].to(source.x.dtype))  # as it will be read back
        w = source.w
        if not bool(present.all()):
            there = present.to(x.dtype)
            w = there if w is None else (there.unsqueeze(1) if w.dim() == 3 else there) * w
        return Twins(x, y, source.s, w, source.rows, at=at, aim=aim)

    @property
    def _stored(self) -> Tensor:
        if self._x is None:
            self._x = torch.empty((*self.aims.shape, *self._row_shape), dtype=self._kind)
        return self._x


def chosen(batch: Batch, at: Tensor, replicas: int) -> Batch:
    """The rows `at` (m,) of a batch as own rows of every replica; several targets stay (1 or R, targets, m)."""
    x = batch.x
    if x.dim() == 2:
        x = x[at].t().expand(replicas, -1, -1)
    elif x.dim() == 3:
        x = x[:, :, at]
    else:
        x = x[at].expand(replicas, -1, -1, -1, -1) if x.dim() == 4 else x[:, at]
    rows = None if batch.rows is None else batch.rows[..., at]
    return Batch(x, batch.y[..., at], batch.s[..., at], None if batch.w is None else batch.w[..., at], rows)


def joined(batch: Batch, twins: Twins) -> Batch:
    """The batch and the twins of its rows as one, own rows of every replica."""
    replicas = len(twins.x)
    own = chosen(batch, torch.arange(batch.s.shape[-1]), replicas)
    x = torch.cat([own.x, twins.x.to(own.x.dtype)], 2 if own.x.dim() == 3 else 1)
    w = None
    if own.w is not None or twins.w is not None:
        like = own.w if own.w is not None else twins.w
        w = torch.cat([_weights(part, like, replicas) for part in (own, twins)], -1)
    y = torch.cat([own.y.expand(*twins.y.shape[:-1], -1), twins.y], -1)
    s = torch.cat([own.s, twins.s], -1)
    return Batch(x, y, s, w)


Judged = tuple[Tensor, Tensor]  # logits of the target, logits of the group


def exhibits(before: Batch, twins: Twins, judged: tuple[Judged, Judged]) -> list[Exhibit]:
    """A few rows beside their twins, for every replica: x and twin (m, ...), pictures as bytes; s and aim, their group
    and the one they are to pass for; y and aim_class likewise; class_ and group_ _before and _after, what the networks
    name (judged: the rows, the twins). Of several targets the first."""
    out: list[Exhibit] = []
    for r in range(len(twins.x)):
        y, s, to = (_of_replica(v[:, 0] if v.dim() == 3 else v, r) for v in (before.y, before.s, twins.y))
        order = torch.argsort(y, stable=True)
        order = order[torch.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().long()]
        table = {
            "x": _for_show(before.x, r, order),
            "twin": _for_show(twins.x, r, order),
            "y": y[order],
            "s": s[order],
            "aim": twins.aim[r, order],
            "aim_class": to[order],
        }
        for when, (target, group) in zip(("before", "after"), judged, strict=True):
            table[f"class_{when}"] = decided(target, before.y).reshape(len(twins.x), -1, len(twins))[r, 0, order]
            table[f"group_{when}"] = group[r].argmax(0)[order]
        out.append({name: values.cpu().numpy() for name, values in table.items()})
    return out


def _of_replica(values: Tensor, r: int) -> Tensor:
    return values if values.dim() == 1 else values[min(r, len(values) - 1)]


def _for_show(x: Tensor, r: int, order: Tensor) -> Tensor:
    if x.dim() == 3:
        return x[r].t()[order].float()
    return (x[r][order] * 255).round().to(torch.uint8)


def _weights(batch: Batch, like: Tensor | None, replicas: int) -> Tensor:
    """The weights of every replica's rows, in each of several targets if those of `like` are."""
    w = torch.ones(batch.s.shape[-1], dtype=batch.x.dtype) if batch.w is None else batch.w
    return w.expand(replicas, *(like.shape[1:-1] if like is not None and like.dim() == 3 else ()), -1)


def _by_row(x: Tensor) -> Tensor:
    """Own rows as (R, rows, ...), or the other way round."""
    return x.transpose(1, 2) if x.dim() == 3 else x
