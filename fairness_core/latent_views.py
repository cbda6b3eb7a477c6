"""What there is to see of DVGE at some moment: foci, what moves along them, where they look, and whether they are real.

Everything is said of one split, per replica of a stack. Pictures need the autoencoder (codes.Coded); codes of unknown
origin show only what concerns codes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fairness_core import vae
from fairness_core.batches import Batch
from fairness_core.batches import side_by_side as joined
from fairness_core.codes import ACTIVE, Coded, as_bytes
from fairness_core.evaluation import decided
from fairness_core.foci import LEAST, Sensitive, balanced_accuracy, focus, side_by_side
from fairness_core.stack import Stack
from fairness_core.training import Job

MOST_ROWS = 2000  # of a split that are looked at
MOST_COSINES = 500
PUSHES = (-3.0, -1.5, 0.0, 1.5, 3.0)  # lengths in code units; the prior of every number has standard deviation 1
RANDOM_ORDERS = 20  # of the focus-validity test
SMOOTHED, NOISE = 16, 0.1  # SmoothGrad (Smilkov et al. 2017): samples, and their noise as a share of the pixel range
SHOWN, SHOWN_IN_STACKS = 4, 2  # pictures
Arrays = dict[str, np.ndarray]


@dataclass
class Look:
    """A stack's classifiers and networks on the same codes. sensitive, task: foci, raw, (R, size, rows)."""

    batch: Batch
    classifiers: Sensitive
    net: Stack
    _known: dict[tuple[str, int], Any] = field(default_factory=dict)

    @cached_property
    def z(self) -> Tensor:
        return side_by_side(self.batch.x, len(self.net))

    @cached_property
    def sensitive(self) -> Tensor:
        return self.classifiers.focus(self.batch.x, "l2").expand(len(self.net), -1, -1)

    @cached_property
    def task(self) -> Tensor:
        return focus(self.net, self.batch.x)

    @cached_property
    def cosines(self) -> Tensor:
        """Of the two foci at every row, (R, rows)."""
        return F.cosine_similarity(self.sensitive, self.task, dim=1)

    @cached_property
    def accuracy(self) -> Tensor:
        """Balanced accuracy of telling the sensitive attributes, (R,)."""
        return self.classifiers.accuracy(self.batch).expand(len(self.net))

    @cached_property
    def active_units(self) -> Tensor:
        return (self.z.var(2) > ACTIVE).sum(1).to(self.z.dtype)

    def values(self) -> dict[str, Tensor]:
        """The gauges of this moment, (R,) each."""
        cosine = self.cosines.abs().mean(1)
        return {"sensitive_accuracy": self.accuracy, "focus_cosine": cosine, "active_units": self.active_units}

    def bars(self, r: int) -> Arrays:
        """focus_sensitive, focus_task: mean absolute focus on every number of the code, (size,); correlation_sensitive,
        correlation_task: of every number with the attribute and the target, (size,); variance, (size,); cosines."""
        z, s, y = self.z[r].double().numpy(), self._own(self.batch.s, r), self._own(self.batch.y, r)
        return {
            "focus_sensitive": _small(self.sensitive[r].abs().mean(1)),
            "focus_task": _small(self.task[r].abs().mean(1)),
            "correlation_sensitive": association(z, s.numpy()),
            "correlation_task": association(z, y.numpy()),
            "variance": z.var(1).astype(np.float32),
            "cosines": _small(self.cosines[r, :MOST_COSINES]),
        }

    @staticmethod
    def _own(values: Tensor, r: int) -> Tensor:
        return values if values.dim() == 1 else values[r]

    def validity(self, r: int, means: Tensor) -> Arrays:
        """The focus-validity test: balanced accuracy of the sensitive classifiers when the k numbers with the largest
        focus, times their standard deviation, are replaced by their `means`, and with k random ones: validity_focus,
        validity_random, validity_random_sd, (size + 1,) each, for k = 0, 1, ..."""
        found: Arrays = self.of_classifiers("validity", r, lambda: self._validity(r, means))
        return found

    def of_classifiers(self, name: str, r: int, make: Callable[[], Any]) -> Any:
        """What concerns the sensitive classifiers of a replica alone, which those of one seed share: made once."""
        key = (name, r if len(self.classifiers.nets[0]) > 1 else 0)
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _validity(self, r: int, means: Tensor) -> Arrays:
        z, s = self.z[r], self._own(self.batch.s, r)
        weight = self.sensitive[r].abs().mean(1) * z.std(1)  # an idle number may have a focus, and replacing it is idle
        order = weight.argsort(descending=True)
        rng = np.random.default_rng(0)
        orders = [order, *(torch.from_numpy(rng.permutation(len(z))) for _ in range(RANDOM_ORDERS))]
        found = np.array([self._without(own, z, s, means, r) for own in orders], np.float32)
        chance = found[1:]
        return {"validity_focus": found[0], "validity_random": chance.mean(0), "validity_random_sd": chance.std(0)}

    def _without(self, order: Tensor, z: Tensor, s: Tensor, means: Tensor, r: int) -> list[float]:
        masked = z.unsqueeze(0).repeat(len(z) + 1, 1, 1)  # one copy per k
        for k in range(1, len(z) + 1):
            masked[k, order[:k]] = means[order[:k], None]
        rows = masked.transpose(1, 2).flatten(0, 1)  # ((size + 1) rows, size)
        told = []
        for a, net in enumerate(self.classifiers.of(r)):
            logits = net(rows)[0]
            logits = logits.view(len(logits), len(masked), -1).transpose(0, 1)  # (size + 1, outputs, rows)
            levels = self.classifiers.attributes.levels[a]
            told.append(balanced_accuracy(decided(logits), self.classifiers.labels(s, a), levels))
        return [float(v) for v in torch.stack(told).mean(0)]


def look(job: Job, classifiers: Sensitive, net: Stack, role: str) -> Look:
    """At up to MOST_ROWS rows of a split."""
    parts = [rows.take(slice(0, MOST_ROWS)) for rows in job.rows(role)]
    return Look(parts[0] if job.shared_rows else joined(parts), classifiers, net)


@torch.no_grad()
def exhibit(job: Job, at: Look, r: int) -> Arrays:
    """All that the page shows of a finished replica, of the test split."""
    data = job.data[r]
    out = at.bars(r) | at.validity(r, torch.from_numpy(data.train.x).to(job.dtype).mean(0))
    out["pushes"] = np.array(PUSHES, np.float32)
    out["flips"] = np.stack([flips(at, r, along) for along in (at.sensitive[r], at.task[r])])
    if isinstance(data, Coded) and data.source is not None and data.encoder is not None:
        out["encoder"] = np.frombuffer(data.key.encode(), np.uint8).copy()
        out["reused"] = np.array([data.reused], np.uint8)
        out["seconds"] = np.array([data.seconds], np.float32)
        out |= _rows_of(data, data.encoder, at, r)
    return out


def flips(at: Look, r: int, along: Tensor) -> np.ndarray:
    """Share of rows whose decision changes when the code is pushed: float32 (pushes, 2), of the sensitive classifiers
    and of the model."""
    step = along / along.norm(dim=0, keepdim=True).clamp(min=LEAST)
    nets = [at.net.only(r), *at.classifiers.of(r)]
    before = [decided(net(at.z[r].t())) for net in nets]
    shares = []
    for push in PUSHES:
        rows = (at.z[r] + push * step).t()
        task, *groups = [decided(net(rows)) != old for net, old in zip(nets, before, strict=True)]
        shares.append([float(torch.stack(groups).any(0).double().mean()), float(task.double().mean())])
    return np.array(shares, np.float32)


def _rows_of(data: Coded, encoder: vae.VAE, at: Look, r: int) -> Arrays:
    """What the foci mean for rows. Pictures: pictures (P, ...), pushed_sensitive and pushed_task (P, pushes, ...),
    saliency_sensitive and saliency_task uint8 (P, edge, edge), truth, decision and group (P,). Tables: columns (names
    as JSON), pushed_... (pushes, D): the mean change of the decoded columns, saliency_... (D,): mean |gradient|."""
    assert data.source is not None
    x = torch.from_numpy(data.source.test.x)
    pictures = x.dim() == 4
    rows = _chosen(data, SHOWN if len(at.net) == 1 else SHOWN_IN_STACKS) if pictures else torch.arange(len(at.z[r].t()))
    inputs = vae.as_numbers(x[rows])
    out: Arrays = at.of_classifiers("rows", r, lambda: _along(encoder, at, r, "sensitive", rows, inputs))
    out = out | _along(encoder, at, r, "task", rows, inputs)
    if not pictures:
        return out | {"columns": np.frombuffer(json.dumps(data.source.features).encode(), np.uint8).copy()}
    decision = decided(at.net.only(r)(at.z[r][:, rows].t()))[0]
    out |= {"pictures": as_bytes(inputs).numpy(), "decision": decision.numpy()}
    return out | {"truth": data.test.y[rows.numpy()], "group": data.test.s[rows.numpy()]}


def _along(encoder: vae.VAE, at: Look, r: int, name: str, rows: Tensor, inputs: Tensor) -> Arrays:
    """pushed_<name> and saliency_<name> of the `rows` of the split, whose inputs these are."""
    foci = at.sensitive[r] if name == "sensitive" else at.task[r]
    z, step = at.z[r][:, rows].t().float(), F.normalize(foci[:, rows].t().float(), dim=1)
    decoded = torch.stack([encoder.decode(z + push * step) for push in PUSHES])
    if inputs.dim() == 4:
        pushed = as_bytes(decoded.transpose(0, 1)).numpy()
    else:
        pushed = _small((decoded - decoded[PUSHES.index(0.0)]).mean(1))
    return {f"pushed_{name}": pushed, f"saliency_{name}": saliency(encoder, _answers(at, r, name), inputs)}


def _chosen(data: Coded, most: int) -> Tensor:
    """The first rows of every (class, group) in turn."""
    cells = data.test.y * len(data.groups) + data.test.s
    cells = cells[:MOST_ROWS]
    first = [np.flatnonzero(cells == cell)[:most] for cell in np.unique(cells)]
    turns = [rows[k] for k in range(most) for rows in first if k < len(rows)]
    return torch.tensor(turns[:most])


def _answers(at: Look, r: int, name: str) -> Any:
    """codes (n, size) -> the logit of what is predicted, (n,), summed over sensitive attributes."""
    nets = (at.net.only(r),) if name == "task" else at.classifiers.of(r)

    def answer(z: Tensor) -> Tensor:
        total = torch.zeros(len(z))
        for net in nets:
            (logits,) = net(z.to(at.z.dtype))
            total = total + (logits[0].abs() if len(logits) == 1 else logits.amax(0)).float()
        return total

    return answer


def saliency(encoder: vae.VAE, answer: Any, x: Tensor) -> np.ndarray:
    """Where the logit looks in the rows x: of pictures SmoothGrad over colours, uint8 (n, edge, edge), 255 the most of
    each; of tables the mean absolute gradient of every column, float32 (D,)."""
    own = x
    if x.dim() == 4:
        noise = torch.randn((SMOOTHED, *x.shape), generator=torch.Generator().manual_seed(0))
        own = vae.as_numbers((x + NOISE * noise).flatten(0, 1))
    own = own.clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(answer(encoder(own)).sum(), own)
    found = gradient.view(-1, *x.shape).mean(0).abs()
    if x.dim() != 4:
        return _small(found.mean(0))
    found = found.sum(1)
    return np.asarray(as_bytes(found / found.amax((1, 2), keepdim=True).clamp(min=LEAST)).numpy(), np.uint8)


def association(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far every number of the codes z (size, n) goes with the labels (n,): Pearson's correlation for two labels,
    for more the correlation ratio (0 to 1); float32 (size,), 0 where either does not vary."""
    values = np.unique(labels)
    centred = z - z.mean(1, keepdims=True)
    total = (centred**2).sum(1)
    if len(values) == 2:
        t = (labels == values[1]) - (labels == values[1]).mean()
        top, bottom = centred @ t, np.sqrt(total * (t**2).sum())
    else:
        between = sum((labels == v).sum() * centred[:, labels == v].mean(1) ** 2 for v in values)
        top, bottom = np.sqrt(between), np.sqrt(total)
    found: np.ndarray = np.divide(top, bottom, out=np.zeros(len(z)), where=bottom > LEAST)
    return found.astype(np.float32)


def _small(values: Tensor) -> np.ndarray:
    return np.asarray(values.detach().float().numpy())
