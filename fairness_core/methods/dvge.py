"""DVGE: debiasing by perturbing codes along the gradients of two classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from fairness_core.batches import Batch, task_loss
from fairness_core.codes import Attributes, attributes_of
from fairness_core.config import Exhibit, UserError, control
from fairness_core.datasets import Dataset
from fairness_core.foci import NORMALISATIONS, Sensitive, focus, learn, side_by_side
from fairness_core.latent_views import Look, exhibit, look
from fairness_core.methods.base import Unlabelled, register
from fairness_core.models import MLP, Classifier
from fairness_core.stack import Stack
from fairness_core.training import Finding, Job, Learner, in_parts

STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
TASK_STRENGTHS = (0.0, 0.1, 0.2, 0.4, 0.8)
OFFICIAL, LITERAL, INFERENCE = MODES = ("train_official", "train_literal", "inference")


@dataclass
class Memory:
    """What the steps of one stack remember.

    sensitive, task: the strengths of every replica, (R, 1, 1); classifiers: of the sensitive attributes, frozen; foci:
    theirs at the training codes, (1 or R, size, n); look: the last one.
    """

    job: Job
    sensitive: Tensor
    task: Tensor
    classifiers: Sensitive
    foci: Tensor
    look: Look | None = None


@register
@dataclass(frozen=True)
class DVGE(Unlabelled):
    """Rows become codes of an autoencoder that knows no label. A classifier of the sensitive attribute and the model of
    the task say by their gradients which directions of a code they listen to (their foci); the task is then learned
    from codes that are moved along both, so that it leans less on the first and more on the second.

    Zhang et al. (DVGE). Codes need not be disentangled, and the autoencoder is trained once for every attribute. The
    trade-off is η of the sensitive focus: larger is fairer in all three modes; η of the task focus buys back accuracy.
    The paper's text and its code move codes in opposite directions while training (methods note, 6.4): train_official
    is the code, train_literal the text, inference moves codes of a finished model. Ours are: small ReLU networks, not
    five layers of 1,000 neurons; a sensitive classifier to which rare groups count as much as common ones; more than
    two groups; and foci of several attributes added up, where the code merges the attributes.
    """

    name: ClassVar[str] = "dvge"
    title: ClassVar[str] = "DVGE (gradient explanations on codes)"
    paper: ClassVar[str] = "Debiasing via gradient-based explanation on representation (DVGE)"
    formula: ClassVar[str] = (
        r"z' = z + \eta_s F_s(z) - \eta_t F_d(z),\quad F_c(z) = \frac{\partial\, c_{\hat y}(z)}{\partial z},\quad "
        r"\min_d \mathrm{CE}(d(z'), y);\quad \hat y = d(z)"
    )
    gauges_help: ClassVar[Mapping[str, str]] = {
        "sensitive_accuracy": "Balanced accuracy of telling the sensitive attribute from the code; near chance (one "
        "half for two groups) its focus is noise.",
        "focus_cosine": "Mean absolute cosine of the two foci; above 0.7 the task needs what gives the group away, and "
        "fairness costs accuracy.",
        "active_units": "Numbers of the code that are in use: their variance over rows is above 0.01.",
        "vae_reconstruction": "The autoencoder's reconstruction loss, in nats per row.",
        "vae_kl": "How much its codes say about a row, in nats; near 0 they say nothing.",
        "vae_dependence": "Estimated dependence between the numbers of its codes, in nats.",
    }

    eta_sensitive: float = control(
        0.5,
        0.0,
        10.0,
        symbol="η_s",
        tradeoff=True,
        grid=STRENGTHS,
        help="How far codes are moved along what gives the group away; larger is fairer in every mode.",
    )
    eta_task: float = control(
        0.1,
        0.0,
        10.0,
        symbol="η_t",
        grid=TASK_STRENGTHS,
        help="How far along what the task listens to; larger puts the task first. The authors use 0.4 on faces; on "
        "tables that much may leave a model that decides alike for everybody.",
    )
    mode: str = control(
        OFFICIAL,
        choices=MODES,
        help="When and which way codes are moved. train_official: while training, as the authors' code does; "
        "train_literal: while training, with the signs of the text, which is erratic; inference: only when deciding.",
    )
    normalise: str = control(
        "none",
        choices=NORMALISATIONS,
        help="none: foci as long as the gradients are, as in the authors' code; l2: every row's focus has length 1, so "
        "that η means the same all through training, but on tables more of it may widen the gap.",
        group="advanced",
    )
    sensitive_epochs: int = control(
        40, 1, 1000, help="Epochs of the sensitive attribute's classifier, at most.", group="advanced"
    )

    @property
    def strength(self) -> float:
        return self.eta_sensitive

    # -- before the first step

    def begin(self, job: Job) -> Memory:
        attributes = attributes_of(job.data[0])
        streams = [(job.data[r], job.seeds[r]) for r in range(1 if job.shared_rows else len(job.seeds))]
        for data, _ in streams:
            if len(set(data.train.s.tolist())) < 2:
                raise UserError(
                    "DVGE needs training rows of at least two groups, and there is one; choose another group."
                )
        alike = replace(self, eta_sensitive=0.0, eta_task=0.0)  # the strengths come after
        key = (alike, *((id(data), seed) for data, seed in streams))
        found, foci = job.common.get(key, lambda: self._sensitive(job, attributes, streams))
        etas = [(r.eta_sensitive, r.eta_task) for r in job.recipes if isinstance(r, DVGE)]
        sensitive, task = torch.tensor(etas, dtype=job.dtype).t()[:, :, None, None]
        return Memory(job, sensitive, task, found.apart(), foci)

    def _sensitive(
        self, job: Job, attributes: Attributes, streams: Sequence[tuple[Dataset, int]]
    ) -> tuple[Sensitive, Tensor]:
        """The trained classifiers of the sensitive attributes, and their foci at the training codes."""
        builds = [
            [classifier(self.hidden, data, levels, seed + 1_000_003 * (a + 1)) for data, seed in streams]
            for a, levels in enumerate(attributes.levels)
        ]
        found = learn(job, attributes, builds, self.sensitive_epochs)
        parts = [found.focus(part.x, self.normalise) for part in in_parts(job, job.rows("train"))]
        return found, torch.cat(parts, 2)

    # -- one step

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        z = batch.x
        if self.mode != INFERENCE and bool((memory.sensitive != 0).any() | (memory.task != 0).any()):
            z = self._moved(learner, batch)
        loss = task_loss(learner.model.net(z), batch)
        learner.model.descend(loss)
        return {"loss": loss.detach()}

    def _moved(self, learner: Learner, batch: Batch) -> Tensor:
        """The training codes of a batch moved along both foci, (R, size, rows)."""
        memory: Memory = learner.memory
        assert batch.rows is not None
        if batch.rows.dim() == 1:
            sensitive = memory.foci[:, :, batch.rows]
        else:
            sensitive = memory.foci.gather(2, batch.rows.unsqueeze(1).expand(-1, memory.foci.shape[1], -1))
        sign = 1.0 if self.mode == OFFICIAL else -1.0
        return sign * self._step(memory, learner.model.net, batch.x, sensitive) + side_by_side(
            batch.x, len(learner.lam)
        )

    def _step(self, memory: Memory, net: Stack, z: Tensor, sensitive: Tensor) -> Tensor:
        """η_s F_s - η_t F_d at codes z, (R, size, rows)."""
        step = memory.sensitive * sensitive
        if bool((memory.task != 0).any()):
            step = step - memory.task * focus(net, z, self.normalise)
        return step

    # -- what it tells

    def shown(self, learner: Learner, batch: Batch) -> Tensor:
        net, memory = learner.model.net, learner.memory
        if self.mode != INFERENCE:
            return net(batch.x)
        sensitive = memory.classifiers.focus(batch.x, self.normalise)
        return net(side_by_side(batch.x, len(net)) - self._step(memory, net, batch.x, sensitive))

    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        memory.look = Look(batch, memory.classifiers, learner.model.net)
        return {name: value for name, value in memory.look.values().items() if name != "active_units"}  # a count

    def exhibits(self, learner: Learner) -> Sequence[Exhibit | None]:
        memory: Memory = learner.memory
        if len(learner.lam) > 1 or memory.look is None:
            return ()  # a page that follows a grid shows its heat map
        return [memory.look.bars(0)]

    def inspect(self, learner: Learner, stage: str) -> Sequence[Finding]:
        memory: Memory = learner.memory
        at = look(memory.job, memory.classifiers, learner.model.net, stage)
        told = [{name: float(value[r]) for name, value in at.values().items()} for r in range(len(learner.lam))]
        return [(own, exhibit(memory.job, at, r) if stage == "test" else None) for r, own in enumerate(told)]

    def finished(self, learner: Learner, replica: int, network: nn.Module) -> nn.Module:
        if self.mode == INFERENCE:
            memory: Memory = learner.memory
            at = replica if len(memory.classifiers.nets[0]) > 1 else 0
            classifiers = [net.network(at) for net in memory.classifiers.nets]
            etas = (float(memory.sensitive[replica]), float(memory.task[replica]))
            network = Moved(network, classifiers, etas, self.normalise)
        return super().finished(learner, replica, network)


class Moved(nn.Module):
    """Codes (n, size) -> logits of the codes moved by -η_s F_s + η_t F_d: the mode inference."""

    def __init__(
        self, network: nn.Module, classifiers: Sequence[nn.Module], etas: tuple[float, float], normalise: str
    ) -> None:
        super().__init__()
        self.network, self.classifiers = network, nn.ModuleList(classifiers)
        self.etas, self.normalise = etas, normalise

    def forward(self, z: Tensor) -> Tensor:
        step = sum((focus(Stack([c]), z, self.normalise)[0] for c in self.classifiers), torch.zeros(()))
        task = focus(Stack([self.network]), z, self.normalise)[0]
        logits: Tensor = self.network(z - self.etas[0] * step.t() + self.etas[1] * task.t())
        return logits


def classifier(hidden: str, data: Dataset, levels: int, seed: int) -> Classifier:
    """An untrained network that tells one of `levels` from a code."""
    names = tuple(map(str, range(levels)))
    return MLP(hidden).build(replace(data, classes=names, task="multiclass", targets=()), seed)
