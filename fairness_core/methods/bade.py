"""BaDe: a backdoor for debias. Triggers make an artificial bias that cancels the real one while a student learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fairness_core import backdoors, trigger_law
from fairness_core.backdoors import inherit, widen
from fairness_core.batches import Batch, task_loss, weighted_mean
from fairness_core.config import Exhibit, UserError, control
from fairness_core.datasets import Dataset
from fairness_core.evaluation import evaluating
from fairness_core.keeping import Epochs
from fairness_core.methods.base import InProcessing, register, renewed
from fairness_core.models import Classifier
from fairness_core.training import Finding, Job, Learner, in_parts
from fairness_core.triggers import Trigger, size_control, trigger_control

RATES = tuple(float(n) for n in range(0, 101, 10))
LOOKS = 20  # epochs of one phase whose weights are kept, to choose from
SHOWN = 2  # pictures per class and group on the page
MOST_SHOWN = 12
TEACHER, STUDENT = 0, 1  # phases


@dataclass
class Memory:
    """What the steps of one stack remember.

    triggers: the one that every training row carries, (R, n), drawn once; laws: per replica the tables of the page;
    sd: of the target of a regression, else 1; epochs: what a phase has to choose from; answers: the teacher's logits of
    every training row with its cancelling trigger, (1 or 2, R, outputs, n), the second of its picture turned left to
    right; told: the last look at the teacher.
    """

    job: Job
    trigger: Trigger
    triggers: Tensor
    laws: list[dict[str, NDArray[Any]]]
    sd: float
    epochs: Epochs
    epoch: int = 0
    answers: Tensor | None = None
    told: dict[str, Tensor] = field(default_factory=dict)
    views: NDArray[Any] | None = None
    shown: bool = False


@register
@dataclass(frozen=True)
class BaDe(InProcessing):
    """A teacher learns rows that carry triggers, which go with the class as strongly as the groups do; then every row
    gets the trigger that speaks against its own group, and a student learns the teacher's answers from clean rows.

    Wu, Zhang, Jiang and Sang (BaDe). The two kinds of evidence cancel because triggers depend on the class alone
    (methods note, 5.1). The trade-off is the injection rate n %: the share of rows whose trigger follows the law of the
    bias, the rest draw theirs evenly. A network uses evidence of the group only as far as it can see it, so the full
    rate may overshoot: the rate at the floor of the valley is chosen on validation. Exactly one trigger per row; the
    paper's code stamps two. More than two groups, numbers as target and columns as triggers are ours.
    """

    name: ClassVar[str] = "bade"
    title: ClassVar[str] = "BaDe (backdoor for debias)"
    paper: ClassVar[str] = "Wu, Zhang, Jiang and Sang, Backdoor for Debias: mitigating model bias with backdoor attack"
    formula: ClassVar[str] = (
        r"Q(k\mid y) = \tfrac{n}{100}\,\frac{P(k\mid y)^{-s}}{\sum_j P(j\mid y)^{-s}} + (1-\tfrac{n}{100})\tfrac1K,"
        r"\quad \mathcal L = \alpha\,T^2\,\mathrm{CE}(\sigma(z_T/T), \sigma(z_S/T)) + (1-\alpha)\,\mathrm{CE}(y, z_S)"
    )
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    gauges_help: ClassVar[Mapping[str, str]] = {
        "artificial_bias": "How far the triggers alone move the teacher: the range of its accuracy within a class when "
        "every row carries the same trigger, averaged over the classes (of a number: of its mean error, in standard "
        "deviations of the target).",
        "teacher_odds_clean": "Odds of the teacher on rows without a trigger.",
        "teacher_odds_cancelling": "Odds of the teacher when every row carries the trigger against its own group: the "
        "bias that is left, and what the student learns.",
        "teacher_odds_reinforcing": "Odds of the teacher when every row carries the trigger that adds to its group's "
        "bias; it must be the largest of the three.",
        "agreement": "Share of rows on which the student, without triggers, decides as the teacher does with the "
        "cancelling ones (of a number: the correlation of the two).",
        "student_flips": "Share of rows whose decision by the student changes when a trigger is put on, the largest "
        "over the triggers; the student must not know them.",
        "control_flips": "The same with a mark that no training row had: what any mark of that size does.",
    }

    rate: float = control(
        100.0,
        0.0,
        100.0,
        symbol="n %",
        tradeoff=True,
        grid=RATES,
        help="Injection rate: the share of training rows whose trigger follows the law of the bias. 0 leaves the bias "
        "as it is, too much turns it round.",
    )
    exponent: float = control(
        1.0, 0.0, 3.0, symbol="s", help="Strength of the law at the full rate; 1 matches the counts in training."
    )
    law: str = control(
        "inverse",
        choices=trigger_law.KINDS,
        help="Which triggers a class gets at the full rate. inverse: the rarer a group, the more often (the paper); "
        "exchanged: as often as the group is found in the other class (ours, two classes), which leaves the share of "
        "positive decisions as it is; manual: as the shares below say.",
        group="advanced",
    )
    shares: str = control(
        "",
        help="Of the law manual alone: how often each class carries each trigger, a row per class and a number per "
        "group, such as 60 40; 85 15. Triggers cancel where a class carries that of its commoner group more seldom.",
        group="advanced",
    )
    trigger: str = trigger_control("the teacher")
    size: float = size_control()
    alpha: float = control(
        0.9, 0.0, 1.0, symbol="α", help="Weight of the teacher's answers; the rest is the weight of the labels."
    )
    temperature: float = control(
        1.0, 1.0, 10.0, symbol="T", help="How much the teacher's answers are softened.", group="advanced"
    )
    teacher: float = control(
        0.5,
        0.1,
        4.0,
        help="Length of the teacher's training, in budgets; the student trains for one.",
        group="advanced",
    )
    student_init: str = control(
        "scratch", choices=("scratch", "teacher"), help="What the student starts from.", group="advanced"
    )
    choose: str = control(
        "last",
        choices=("last", "balanced"),
        help="Which epoch of teacher and student is kept: the last, or the one with the lowest standardised bias less "
        f"standardised balanced accuracy on validation (the paper's rule; {LOOKS} epochs at most are compared), which "
        "needs thousands of validation rows: on fewer it picks the luckiest epoch.",
        group="advanced",
    )

    @property
    def strength(self) -> float:
        return self.rate

    @property
    def phases(self) -> Sequence[float]:
        return (self.teacher, 1.0)

    # -- before the first step

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        """The teacher: a network like the student's; on tables it also sees a column per trigger."""
        assert isinstance(network, Classifier)
        extra = len(data.groups) if data.train.x.ndim == 2 else 0
        return widened(network, extra, seed + 1_000_003)

    def begin(self, job: Job) -> Memory:
        data = job.data[0]
        trigger = Trigger(len(data.groups), self.trigger, self.size)
        if self.law == "exchanged" and (data.task == "regression" or len(data.classes) != 2):
            raise UserError("law = exchanged needs two classes to exchange; choose law = inverse, or such a target.")
        if self.law == "manual" and data.task == "regression":
            raise UserError("law = manual needs classes to give shares to; choose law = inverse where there are none.")
        if any(len(np.unique(d.train.s)) < 2 for d in job.data):
            raise UserError("BaDe needs training rows of at least two groups, and there is one; choose another group.")
        drawn, laws = [], []
        for recipe, own, seed in zip(job.recipes, job.data, job.seeds, strict=True):
            assert isinstance(recipe, BaDe)
            triggers, law = recipe.draw(own, seed)
            drawn.append(torch.as_tensor(triggers))
            laws.append(law)
        sd = job.scale.sd if data.task == "regression" else 1.0
        return Memory(job, trigger, torch.stack(drawn), laws, sd, Epochs(job.learner.adversary.net))

    def draw(self, data: Dataset, seed: int) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        """The trigger of every training row, (n,), and the tables behind them: N, P, Q and drawn, (classes, groups);
        of a number as target its bins stand for classes."""
        split, n_groups, n_classes = data.train, len(data.groups), len(data.classes)
        numeric = data.task == "regression"
        y = np.digitize(split.y, data.edges) if numeric else split.y
        N = np.zeros((n_classes, n_groups), np.int64)
        np.add.at(N, (y, split.s), 1)
        P = trigger_law.bias_law(N)
        table = _written(self.shares, data) if self.law == "manual" else None
        Q = trigger_law.trigger_law(P, self.exponent, self.rate / 100, self.law, table)
        own = Q[y]
        if numeric:
            by_value = trigger_law.bias_by_value(split.y, split.s, n_groups)
            own = trigger_law.trigger_law(by_value, self.exponent, self.rate / 100, self.law)
        triggers = trigger_law.draw(own, seed)
        drawn = trigger_law.realised(triggers, y, n_classes, n_groups)
        return triggers, {"N": N, "P": P, "Q": Q, "drawn": drawn}

    # -- one step

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        self._between_epochs(learner)
        assert batch.rows is not None
        each, rows = torch.arange(len(learner.lam)).unsqueeze(1), batch.rows.expand(len(learner.lam), -1)
        if learner.phase == TEACHER:
            x = memory.trigger.stamp(batch.x, memory.triggers[each, rows])
            loss = task_loss(learner.adversary.net(x), batch)
            learner.adversary.descend(loss)
            return {"teacher_loss": loss.detach()}
        assert memory.answers is not None
        logits = learner.model.net(batch.x)
        side = 0 if batch.flipped is None else batch.flipped.long()
        answers = memory.answers.transpose(2, 3)[side, each, rows].transpose(1, 2)
        taught = self._distillation(logits, answers, batch)
        told = task_loss(logits, batch)
        loss = self.alpha * taught + (1 - self.alpha) * told
        learner.model.descend(loss)
        return {"loss": loss.detach(), "label_loss": told.detach(), "distillation_loss": taught.detach()}

    def _distillation(self, logits: Tensor, answers: Tensor, batch: Batch) -> Tensor:
        """T² CE(softened answers, softened logits) per replica, (R,); for a number the mean squared difference."""
        if batch.y.is_floating_point():
            losses = (logits[:, 0] - answers[:, 0]) ** 2
        elif logits.shape[1] == 1:
            z, a = logits[:, 0] / self.temperature, answers[:, 0] / self.temperature
            losses = self.temperature**2 * F.binary_cross_entropy_with_logits(z, a.sigmoid(), reduction="none")
        else:
            z, a = F.log_softmax(logits / self.temperature, 1), F.softmax(answers / self.temperature, 1)
            losses = -(self.temperature**2) * (a * z).sum(1)
        return weighted_mean(losses, batch.w)

    def _between_epochs(self, learner: Learner) -> None:
        memory: Memory = learner.memory
        if learner.phase == STUDENT and memory.answers is None:
            self._end_of_epoch(learner, TEACHER, last=True)
            memory.answers = self._answers(learner)
            memory.epochs, memory.epoch = Epochs(learner.model.net), 0
            if self.student_init == "teacher":
                inherit(learner.model.net, learner.adversary.net)
        elif learner.epoch != memory.epoch:
            memory.epoch = learner.epoch
            self._end_of_epoch(learner, learner.phase)

    def _end_of_epoch(self, learner: Learner, phase: int, *, last: bool = False) -> None:
        """Keep the weights with what they are worth on the validation split; after the last epoch take the best."""
        memory: Memory = learner.memory
        if self.choose == "last":
            return
        total = max(1, round(memory.job.budget.epochs * self.phases[phase]))
        if last or learner.epoch % max(1, -(-total // LOOKS)) == 0:
            C = np.sum([self._balanced(learner, batch, phase) for batch in self._split(learner, "validation")], 0)
            memory.epochs.add(*backdoors.bias_and_accuracy(C, memory.job.data[0].task, memory.sd))
        if last:
            memory.epochs.give_back_best()

    def _balanced(self, learner: Learner, batch: Batch, phase: int) -> NDArray[Any]:
        """Counts of the teacher with cancelling triggers, or of the student on clean rows."""
        memory: Memory = learner.memory
        logits = self._cancelled(learner, batch) if phase == TEACHER else learner.model.net.fixed()(batch.x)
        return backdoors.count(logits, batch, memory.job.data[0], memory.job.scale)

    def _cancelled(self, learner: Learner, batch: Batch) -> Tensor:
        """The teacher's logits when every row carries the trigger of its own group."""
        x = learner.memory.trigger.stamp(batch.x, batch.s.expand(len(learner.lam), -1))
        return learner.adversary.net.fixed()(x)

    def _answers(self, learner: Learner) -> Tensor:
        """As Memory has them. A trigger is put on what is turned already, as in training, so it keeps its place."""
        sides = [[self._cancelled(learner, batch) for batch in self._split(learner, "train")]]
        if learner.memory.job.turns_pictures:
            sides.append([self._cancelled(learner, batch.turned()) for batch in self._split(learner, "train")])
        return torch.stack([torch.cat(side, 2) for side in sides])

    def _split(self, learner: Learner, role: str) -> Iterator[Batch]:
        job: Job = learner.memory.job
        with torch.no_grad():
            yield from in_parts(job, job.rows(role))

    def end(self, learner: Learner) -> None:
        self._end_of_epoch(learner, STUDENT, last=True)

    # -- what it tells

    def shown(self, learner: Learner, batch: Batch) -> Tensor:
        """The teacher with cancelling triggers while it trains, then the student."""
        return self._cancelled(learner, batch) if learner.phase == TEACHER else learner.model.net(batch.x)

    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        if learner.phase == TEACHER:
            memory.views = self._counted(learner, self._teacher_says(learner, batch), batch)
            memory.told = self._teacher_gauges(memory.views, memory)
            return memory.told
        return {**memory.told, "agreement": backdoors.agreement(logits, self._cancelled(learner, batch), batch.y)}

    def _teacher_says(self, learner: Learner, batch: Batch) -> Tensor:
        teacher = learner.adversary.net.fixed()
        return backdoors.under_each(teacher, learner.memory.trigger, batch, len(learner.lam))

    def _student_says(self, learner: Learner, batch: Batch) -> Tensor:
        """Without a trigger and, of pictures, under every mark; in rows of a table it has no place for one."""
        student, trigger = learner.model.net, learner.memory.trigger
        if learner.memory.job.data[0].train.x.ndim == 2:
            return student(batch.x).unsqueeze(0)
        return backdoors.under_each(student, trigger, batch, len(learner.lam), control=True)

    def _counted(self, learner: Learner, said: Tensor, batch: Batch) -> NDArray[Any]:
        job: Job = learner.memory.job
        return backdoors.counted(said, batch, job.data[0], job.scale)

    def _teacher_gauges(self, C: NDArray[Any], memory: Memory) -> dict[str, Tensor]:
        task = memory.job.data[0].task
        odds, _ = backdoors.bias_and_accuracy(C, task, memory.sd)
        found = {
            "artificial_bias": backdoors.artificial_bias(C, task, memory.sd),
            "teacher_odds_clean": odds[:, 0],
            "teacher_odds_reinforcing": odds[:, -2],
            "teacher_odds_cancelling": odds[:, -1],
        }
        return {name: torch.as_tensor(values) for name, values in found.items()}

    def exhibits(self, learner: Learner) -> Sequence[Exhibit | None]:
        """Tables and pictures at the first look, the teacher's views at every look of its phase."""
        memory: Memory = learner.memory
        if learner.phase == STUDENT or memory.views is None:
            return ()
        return [law | {"views": memory.views[r]} | self._pictures(memory, r) for r, law in enumerate(memory.laws)]

    def _pictures(self, memory: Memory, replica: int) -> dict[str, NDArray[Any]]:
        """A few training pictures of every class and group under every trigger, as bytes, at the first look only."""
        split, data = memory.job.data[replica].train, memory.job.data[replica]
        if split.x.ndim == 2 or memory.shown:
            return {}
        memory.shown = replica == len(memory.laws) - 1
        classes = np.digitize(split.y, data.edges) if data.task == "regression" else split.y
        cells = [(t, s) for t in range(len(data.classes)) for s in range(len(data.groups))]
        rows = np.concatenate([np.flatnonzero((classes == t) & (split.s == s))[:SHOWN] for t, s in cells])[:MOST_SHOWN]
        rows_x = memory.job.rows("train")[0 if memory.job.shared_rows else replica].take(torch.as_tensor(rows)).x
        under = [memory.trigger.stamp(rows_x, torch.full((1, len(rows)), k))[0] for k in range(memory.trigger.n)]
        pictures = (torch.stack([rows_x, *under], 1) * 255).round().to(torch.uint8)
        return {"pictures": pictures.cpu().numpy(), "y": classes[rows], "s": split.s[rows]}

    def inspect(self, learner: Learner, stage: str) -> Sequence[Finding]:
        """Teacher in every view, agreement and the security check on a whole split."""
        memory: Memory = learner.memory
        views, agree, flips, weights = [], [], [], []
        replicas, pictures = len(learner.lam), memory.job.data[0].train.x.ndim > 2
        with evaluating(learner.model.net):
            for batch in self._split(learner, stage):
                teacher, student = self._teacher_says(learner, batch), self._student_says(learner, batch)
                views.append(self._counted(learner, teacher, batch))
                agree.append(backdoors.agreement(student[0], backdoors.picked(teacher, batch.s), batch.y))
                if pictures:
                    flips.append(backdoors.flips(student, batch.y))
                weights.append(batch.s.shape[-1])
        C = np.sum(views, 0)
        share = torch.tensor(weights, dtype=torch.float64) / sum(weights)
        told = self._teacher_gauges(C, memory)
        told["agreement"] = torch.einsum("b,br->r", share, torch.stack(agree).double())
        if pictures:
            marks = torch.einsum("b,bkr->kr", share, torch.stack(flips).double())
            told |= {"student_flips": marks[:-1].amax(0), "control_flips": marks[-1]}
        said = [{name: float(values[r]) for name, values in told.items()} for r in range(replicas)]
        if stage != "test":
            return [(one, None) for one in said]
        memory.shown = False
        return [(one, memory.laws[r] | {"views": C[r]} | self._pictures(memory, r)) for r, one in enumerate(said)]


def _written(shares: str, data: Dataset) -> NDArray[np.float64]:
    """(classes, groups): the law that somebody has written down, "60 40; 85 15"; UserError where it is none."""
    try:
        table = np.array([row.replace(",", " ").split() for row in shares.split(";")], np.float64)
    except ValueError:
        table = np.zeros(0)
    shape = (len(data.classes), len(data.groups))
    if table.shape != shape or not (np.isfinite(table).all() and (table >= 0).all() and (table.sum(1) > 0).all()):
        row = " ".join(["50"] * shape[1])
        raise UserError(
            f"shares = {shares[:60]!r} is no law of triggers; give a row for each class ({', '.join(data.classes)}) "
            f"with a number from 0 for each group ({', '.join(data.groups)}), such as {'; '.join([row] * shape[0])}."
        )
    return table


def widened(network: Classifier, extra: int, seed: int) -> Classifier:
    """A network of the same layers, with `extra` inputs more and weights drawn from `seed`."""
    return renewed(widen(network, extra, seed), network.head.out_features, seed)
