"""Foci: which directions of a code a classifier listens to, and the classifiers of the sensitive attributes.

Zhang, Kuang, Chen et al. (DVGE, ICML 2021), the part after the autoencoder: F(z) is the gradient of the logit of the
class that is predicted, with respect to the code, detached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairness_core.batches import Batch, row_losses
from fairness_core.codes import Attributes
from fairness_core.evaluation import decided, evaluating
from fairness_core.keeping import Kept
from fairness_core.models import Classifier
from fairness_core.optimizer import Adam
from fairness_core.pace import total_steps
from fairness_core.stack import Stack
from fairness_core.training import Job, batches, in_parts

NORMALISATIONS = ("none", "l2")
LEAST = 1e-12
PATIENCE = 5  # epochs without a lower validation loss, after which a classifier's training has ended


def focus(net: Stack, z: Tensor, normalise: str = "none") -> Tensor:
    """F(z), (R, size, rows), of codes z (rows, size) that all replicas share or (R, size, rows). l2: every row's focus
    has length 1, where it is not 0."""
    own = side_by_side(z, len(net)).detach().requires_grad_()
    with torch.enable_grad():
        logits = net.fixed()(own)
        # one logit l stands for two, l/2 and -l/2 but for a factor: the one that is predicted is |l|
        predicted = logits[:, 0].abs() if logits.shape[1] == 1 else logits.amax(1)
        (found,) = torch.autograd.grad(predicted.sum(), own)
    if normalise == "l2":
        found = found / found.norm(dim=1, keepdim=True).clamp(min=LEAST)
    return found


def side_by_side(z: Tensor, replicas: int) -> Tensor:
    """Codes (rows, size) that all share, or (R, size, rows), as (R, size, rows)."""
    return z.t().unsqueeze(0).expand(replicas, -1, -1) if z.dim() == 2 else z


@dataclass(frozen=True)
class Sensitive:
    """One frozen classifier per sensitive attribute, in stacks of one where all replicas share their seed, else of one
    per replica."""

    nets: tuple[Stack, ...]
    attributes: Attributes

    def focus(self, z: Tensor, normalise: str) -> Tensor:
        """The foci of all attributes added up, (1 or R, size, rows)."""
        return torch.stack([focus(net, z, normalise) for net in self.nets]).sum(0)

    def accuracy(self, batch: Batch) -> Tensor:
        """Balanced accuracy of telling the attributes from the codes, the mean over attributes, (1 or R,)."""
        told = []
        for a, net in enumerate(self.nets):
            logits, truth = net.fixed()(batch.x), self.labels(batch.s, a)
            told.append(balanced_accuracy(decided(logits), truth, self.attributes.levels[a]))
        return torch.stack(told).mean(0)

    def of(self, replica: int) -> tuple[Stack, ...]:
        """The classifiers of one replica, frozen."""
        return tuple(net.only(replica if len(net) > 1 else 0) for net in self.nets)

    def apart(self) -> Sensitive:
        """The same for another thread: a stack's scratch memory is its own."""
        return Sensitive(tuple(net.fixed(copied=True) for net in self.nets), self.attributes)

    def labels(self, s: Tensor, attribute: int) -> Tensor:
        """The attribute of rows of the groups s."""
        return torch.from_numpy(self.attributes.of[:, attribute])[s]


def balanced_accuracy(guess: Tensor, truth: Tensor, levels: int) -> Tensor:
    """Mean over the levels that occur of the share that is told right, (R,)."""
    right, truth = guess == truth, truth.expand_as(guess)
    shares = torch.stack([(right & (truth == v)).sum(1) / (truth == v).sum(1) for v in range(levels)])
    return shares.nanmean(0)


def learn(job: Job, attributes: Attributes, builds: Sequence[Sequence[Classifier]], epochs: int) -> Sensitive:
    """Train the classifiers on the job's training codes for so many epochs at most; the weights of the epoch with the
    lowest loss on validation are kept. Levels count alike however rare they are: a classifier that names the commonest
    one for everybody has no focus. builds: untrained networks, per attribute one per stream of rows."""
    nets = []
    for a, networks in enumerate(builds):
        net = Stack([n.to(job.dtype) for n in networks])
        lookup = torch.from_numpy(attributes.of[:, a])
        optimizer, kept = Adam(net.leaves, job.budget.lr), Kept(net)
        lowest = torch.full((len(net),), torch.inf, dtype=job.dtype)
        weights = _weights(job, lookup, attributes.levels[a], len(net))
        n, size = max(len(d.train) for d in job.data), job.budget.batch_size
        epoch, waited = -(-n // size), torch.zeros(len(net), dtype=torch.long)
        steps = total_steps(type(job.budget)(epochs=epochs, batch_size=size), n)
        for step, batch in zip(range(1, steps + 1), batches(job), strict=False):
            optimizer.zero_grad()
            _losses(net(batch.x), lookup[batch.s], weights).mean(1).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % epoch == 0:
                losses = _validation_loss(job, net, lookup, weights)
                better = (losses < lowest) & (waited < PATIENCE)
                kept.keep(better)
                lowest = torch.where(better, losses, lowest)
                waited = torch.where(better, 0, waited + 1)
                if bool((waited >= PATIENCE).all()):
                    break
        kept.give_back(torch.isfinite(lowest).nonzero().flatten().tolist())
        nets.append(net.fixed(copied=True))
    return Sensitive(tuple(nets), attributes)


def _weights(job: Job, lookup: Tensor, levels: int, streams: int) -> Tensor:
    """How much a row of every level counts, (R, levels), 1 on average over the training rows."""
    out = []
    for data in job.data[:streams]:
        counts = torch.bincount(lookup[torch.from_numpy(data.train.s)], minlength=levels).to(job.dtype)
        out.append(counts.sum() / (counts.clamp(min=1) * (counts > 0).sum()))
    return torch.stack(out)


def _losses(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of every row times the weight of its level, (R, rows)."""
    return row_losses(logits, labels) * weights.gather(1, labels.expand(len(logits), -1))


def _validation_loss(job: Job, net: Stack, lookup: Tensor, weights: Tensor) -> Tensor:
    with evaluating(net):
        parts = [
            _losses(net(batch.x), lookup[batch.s], weights).sum(1) for batch in in_parts(job, job.rows("validation"))
        ]
    return torch.stack(parts).sum(0)
