"""What a debiaser is, the registry of them, and the shared half of those that train by gradients.

To add a debiaser, write one file beside this one: a frozen dataclass under `@register` whose fields are controls. A
method that changes the gradient step inherits from InProcessing and writes `update`; one that treats a model which is
trained already inherits from PostHoc and writes `fit`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from fairness_core import codes
from fairness_core.batches import Batch, row_losses, task_loss
from fairness_core.config import Budget, Event, Exhibit, RunConfig, control
from fairness_core.datasets import Dataset, Split, groups_as_target
from fairness_core.evaluation import decided
from fairness_core.generators import mapped
from fairness_core.metrics import EPSILON
from fairness_core.models import MLP, Classifier, dense, n_logits, seeded
from fairness_core.pace import phase_ends
from fairness_core.thresholds import KINDS, MEASURES, Objective
from fairness_core.training import Finding, Job, Learner, later, train
from fairness_core.vae import Losses, Settings

FAMILIES = ("untreated", "in", "intra", "post", "pre", "experiment")  # what a method changes; an experiment: nothing
STARTS = ("erm", *(f"adversarial{kind}" for kind in ("", "_grl", "_zhang")), "parity")  # whose models are treated
STARTS += ("undersampling", "oversampling", "reweighing", "aeda", "cyclegan", "bade")
NOTIONS = ("demographic_parity", "equalized_odds", "equal_opportunity")
EPSILONS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2)  # that a sweep visits
T = TypeVar("T")


class Debiaser(Protocol):
    """A way to train. Its dataclass fields are its hyper-parameters, each declared with `config.control`."""

    name: ClassVar[str]
    title: ClassVar[str]
    family: ClassVar[str]  # one of FAMILIES
    paper: ClassVar[str]
    formula: ClassVar[str]  # LaTeX
    gauges_help: ClassVar[Mapping[str, str]]
    needs_sensitive_at_test: ClassVar[bool]
    tasks: ClassVar[tuple[str, ...]]  # which kinds of target it can handle; see datasets.Dataset
    on_gpu: ClassVar[bool]  # can it train there? see devices.py

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        """Train, yielding Events; returns a module x -> logits, or (x, s) -> logits if it needs the group at test time.
        Closing the generator cancels. `model` is untrained, for a PostHoc trained, and must not be changed."""


METHODS: dict[str, Any] = {}


def judged(method: str, data: Dataset) -> Dataset:
    """The rows as the events of this method count them: one with `names_groups` has the group as its target."""
    return groups_as_target(data) if getattr(METHODS[method], "names_groups", False) else data


def register(method: type[T]) -> type[T]:
    """Class decorator: makes the debiaser known under its name."""
    METHODS[method.name] = method  # type: ignore[attr-defined]
    return method


@dataclass(frozen=True)
class InProcessing(ABC):
    """A debiaser that is a gradient step. Between the replicas of a stack λ and the seed may differ, and settings that
    `begin` reads of every recipe."""

    family: ClassVar[str] = "in"
    gauges_help: ClassVar[Mapping[str, str]] = {}
    needs_sensitive_at_test: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass")
    on_gpu: ClassVar[bool] = True
    replayable: ClassVar[bool] = False  # see training.Recipe

    @property
    def strength(self) -> float:
        return float(getattr(self, "lam", 0.0))

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        return None

    @property
    def phases(self) -> Sequence[float]:
        return (1.0,)

    def begin(self, job: Job) -> Any:
        return None

    @abstractmethod
    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        """One gradient step of every replica; returns named losses, each (R,), detached."""

    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        return {}

    def shown(self, learner: Learner, batch: Batch) -> Tensor:
        return learner.model.net(batch.x)

    def exhibits(self, learner: Learner) -> Sequence[Exhibit | None]:
        return ()

    def end(self, learner: Learner) -> None:
        return None

    def inspect(self, learner: Learner, stage: str) -> Sequence[Finding]:
        return ()

    def finished(self, learner: Learner, replica: int, network: nn.Module) -> nn.Module:
        return network

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        budget = Budget(**run.training)  # type: ignore[arg-type]
        networks = yield from _events(Job([self], [model], [run.seed], [data], budget))
        return networks[0]


@dataclass(frozen=True)
class PreProcessing(InProcessing):
    """A debiaser that changes which training rows are seen or how much they count, and then trains with the plain loss.
    As the training setting `prepare` it comes before any other method that trains."""

    name: ClassVar[str]
    title: ClassVar[str]
    family: ClassVar[str] = "pre"

    @abstractmethod
    def prepare(self, data: Dataset, seed: int) -> Split:
        """The training rows as they are to be seen; NotApplicable when there is no such way."""

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        return super().fit(model, replace(data, train=self.prepare(data, run.seed)), run)

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        loss = task_loss(learner.model.net(batch.x), batch)
        learner.model.descend(loss)
        return {"loss": loss.detach()}


@dataclass(frozen=True)
class Latent(InProcessing):
    """A debiaser whose network reads the codes of an autoencoder (codes.py), which is trained before and without it.

    Its steps see codes as if they were a table: the job's data are codes.Coded. The network of the run's settings is
    not used, since it would read rows; `hidden` says what reads the codes. All of it happens on the processor.
    """

    on_gpu: ClassVar[bool] = False

    hidden: str = control(
        "64-64", help="Neurons of the hidden layers of what reads the code, joined by hyphens.", group="advanced"
    )
    size: int = control(10, 2, 256, help="Numbers in the code of a row.", group="advanced")
    vae_steps: int = control(
        3000, 1, 1_000_000, help="Gradient steps of the autoencoder, which is trained once and kept.", group="advanced"
    )
    vae_lr: float = control(1e-3, 1e-6, 1.0, help="Adam's learning rate for the autoencoder.", group="advanced")
    vae_seed: int = control(
        0, 0, 2**31 - 1, help="Seed of the autoencoder, which runs of all seeds share.", group="advanced"
    )
    code: str = control(
        "mean",
        choices=("mean", "sample"),
        help="The code of a row: the mean of its posterior, or one sample of it, drawn once (as DVGE's code does).",
        group="advanced",
    )

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """Of the autoencoder."""

    def coded(self, data: Dataset, folder: Path | None = None) -> Generator[tuple[int, Losses], None, codes.Coded]:
        """The data in codes; see codes.coded. The autoencoder is kept in `folder`, if there is one."""
        return codes.coded(data, self.settings, self.code, folder)

    def network(self, data: Dataset, seed: int) -> nn.Module:
        """An untrained network that reads the codes `data`."""
        return MLP(self.hidden).build(data, seed)

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        budget, first = Budget(**run.training), self.settings.steps  # type: ignore[arg-type]
        of = first + phase_ends(budget, len(data.train), self.phases)[-1]
        coded = yield from mapped(self.coded(data), lambda told: Event("training", told[0], of, told[1]))
        job = Job([self], [self.network(coded, run.seed)], [run.seed], [coded], budget)
        return (yield from mapped(_events(job), later(first)))[0]

    def finished(self, learner: Learner, replica: int, network: nn.Module) -> nn.Module:
        data = learner.memory.job.data[replica]
        return network if getattr(data, "encoder", None) is None else Decided(data.encoder, network)


@dataclass(frozen=True)
class Unlabelled(Latent):
    """The shared half of methods whose autoencoder looks at no label, so that every attribute and target shares it."""

    vae: str = control(
        "vanilla",
        choices=("vanilla", "beta", "factor"),
        help="The autoencoder; beta and factor (FactorVAE) disentangle the code.",
        group="advanced",
    )
    beta: float = control(4.0, 0.0, 100.0, symbol="β", help="Weight of the KL term, with vae beta.", group="advanced")
    gamma: float = control(
        6.4, 0.0, 100.0, symbol="γ", help="Weight of the total correlation, with vae factor.", group="advanced"
    )

    @property
    def settings(self) -> Settings:
        return Settings(
            self.vae, self.size, self.beta, self.gamma, 0.0, self.vae_steps, lr=self.vae_lr, seed=self.vae_seed
        )


class Decided(nn.Module):
    """Rows -> codes (their means) -> logits."""

    def __init__(self, encoder: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.encoder, self.network = copy.deepcopy(encoder), network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(self.encoder(x))
        return logits


@dataclass(frozen=True)
class PostHoc(ABC):
    """A debiaser that treats a trained binary model with the validation rows alone; see also posthoc.py.

    Its run has the data, network, training and seed of the run it starts from (RunConfig.start), and never repeats it.
    """

    family: ClassVar[str] = "intra"
    gauges_help: ClassVar[Mapping[str, str]] = {}
    needs_sensitive_at_test: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("binary",)
    on_gpu: ClassVar[bool] = False

    start: str = control(
        "erm",
        choices=STARTS,
        method=True,
        group="advanced",
        help="The trained model it starts from: a method and, where they are not usual, its settings, such as "
        "adversarial lam=2; with the same network, training and seed.",
    )

    @abstractmethod
    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        """Treat a copy of the trained `model`; see Debiaser.fit."""


def _events(job: Job) -> Generator[Event, None, list[nn.Module]]:
    """The events of a stack of one."""
    with closing(train(job)) as training:
        while True:
            try:
                events = next(training)
            except StopIteration as done:
                networks: list[nn.Module] = done.value
                return networks
            yield from (event for _, event in events)


def adversary_network(n_inputs: int, hidden: int, n_groups: int, seed: int) -> nn.Sequential:
    """inputs -> hidden -> 1 logit for two groups, one per group otherwise; no hidden layer when hidden is 0."""
    sizes = (n_inputs, hidden) if hidden else (n_inputs,)
    with seeded(seed + 1_000_003):  # not the stream that drew the model's own weights
        return nn.Sequential(*dense(sizes), nn.Linear(sizes[-1], 1 if n_groups == 2 else n_groups))


def renewed(network: Classifier, n_outputs: int, seed: int) -> Classifier:
    """A network of the same layers with `n_outputs` and weights drawn from `seed`."""
    twin = copy.deepcopy(network)
    with seeded(seed):
        twin.head = nn.Linear(twin.head.in_features, n_outputs)
        for layer in twin.modules():
            reset: Callable[[], None] | None = getattr(layer, "reset_parameters", None)
            if reset:
                reset()
    return twin


def adversary_width(notion: str, data: Dataset, n_logits: int) -> int:
    """How many numbers about one row the adversary sees."""
    return n_logits + (len(data.classes) if notion == "equalized_odds" else 0)


def adversary_input(notion: str, logits: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """(R, width, rows): the logits, and for equalized odds the true class beside them (one-hot)."""
    if notion != "equalized_odds":
        return logits
    onehot = (y.unsqueeze(-2) == torch.arange(n_classes).unsqueeze(1)).to(logits.dtype)
    return torch.cat([logits, onehot.expand(len(logits), -1, -1)], dim=1)


def adversary_loss(notion: str, guess: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy of the adversary's guess of the group, (R,); equal opportunity counts positive rows only."""
    losses = row_losses(guess, batch.s)
    if notion != "equal_opportunity":
        return losses.mean(1)
    rows = (batch.y == 1).to(losses.dtype)
    return (losses * rows).sum(1) / rows.sum(-1).clamp(min=1)


def group_entropy(notion: str, shares: Tensor) -> Tensor:
    """What is left to guess: the entropy of the group (given what else the adversary sees), in nats."""
    if notion == "equal_opportunity":
        shares = shares[1:2] / shares[1:2].sum()
    if notion == "demographic_parity":
        shares = shares.sum(0, keepdim=True)
    given = shares.sum(1, keepdim=True)
    return -(shares * torch.log((shares / given.clamp(min=1e-12)).clamp(min=1e-12))).sum()


@dataclass(frozen=True)
class PredictionAdversary(InProcessing):
    """The shared half of the methods whose adversary reads the group off the prediction."""

    gauges_help: ClassVar[Mapping[str, str]] = {
        "adversary_accuracy": "How often the adversary guesses the group right; at chance it has nothing to go by.",
        "chance": "How often always naming the commonest group is right.",
    }

    @property
    @abstractmethod
    def sees(self) -> tuple[str, int]:
        """The notion that decides what the adversary sees, and its number of hidden neurons."""

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        notion, hidden = self.sees
        return adversary_network(adversary_width(notion, data, n_logits(data)), hidden, len(data.groups), seed)

    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        notion, _ = self.sees
        guess = learner.adversary.net(adversary_input(notion, logits, batch.y, len(learner.group_shares)))
        rows = (batch.y == 1) if notion == "equal_opportunity" else torch.ones_like(batch.y, dtype=torch.bool)
        right = decided(guess) == batch.s
        rows, s = rows.expand_as(right), batch.s.expand_as(right)
        n = rows.sum(1).clamp(min=1)
        per_group = torch.stack([((s == g) & rows).sum(1) for g in range(learner.group_shares.shape[1])])
        return {"adversary_accuracy": (right & rows).sum(1) / n, "chance": per_group.amax(0) / n}


@dataclass(frozen=True)
class Intra(PostHoc):
    """The shared half of intra-processing (Savani, White, Govindarajulu 2020): new weights and a threshold, found on
    the validation rows, for a model that needs no group when it decides."""

    epsilon: float = control(
        EPSILON, 0.0, 1.0, symbol="ε", tradeoff=True, grid=EPSILONS, help="The gap must stay below it on validation."
    )
    measure: str = control(MEASURES[0], choices=MEASURES, help="How the gap is measured.")
    margin: float = control(0.01, 0.0, 0.1, help="How much inside ε the search asks for.", symbol="δ", group="advanced")
    objective: str = control(
        "lexicographic",
        choices=KINDS,
        help="What is maximised. threshold: φ, balanced accuracy if the gap is below ε, else 0; sharp: the same with a "
        "steep slope; lexicographic: feasible first, then balanced accuracy, or the smaller gap where none is.",
        group="advanced",
    )

    @property
    def goal(self) -> Objective:
        return Objective(self.measure, self.epsilon, self.margin, self.objective)
