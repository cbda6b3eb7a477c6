"""DVGE's baselines of disentanglement: leave the numbers of a code out that hold the sensitive attribute."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core.batches import Batch, task_loss
from fairness_core.codes import attributes_of
from fairness_core.config import UserError, control
from fairness_core.datasets import Dataset
from fairness_core.foci import side_by_side
from fairness_core.latent_views import association
from fairness_core.methods.base import Latent, Unlabelled, register
from fairness_core.training import Finding, Job, Learner
from fairness_core.vae import Settings, sensitive_columns


@dataclass
class Memory:
    """masks: 0 where a replica leaves a number of the code out, else 1, (R, size, 1)."""

    job: Job
    masks: Tensor


@dataclass(frozen=True)
class Dropping(Latent):
    """The shared half: the network sees 0 in place of the numbers left out, in training and when deciding."""

    title: ClassVar[str]

    gauges_help: ClassVar[Mapping[str, str]] = {
        "dropped": "Numbers of the code that are left out.",
        "vae_reconstruction": "The autoencoder's reconstruction loss, in nats per row.",
        "vae_kl": "How much its codes say about a row, in nats; near 0 they say nothing.",
        "vae_dependence": "Estimated dependence between the numbers of its codes, in nats.",
        "vae_sensitive": "Loss of telling the sensitive attributes from their own numbers, in nats.",
    }

    @abstractmethod
    def dropped(self, data: Dataset) -> list[int]:
        """Which numbers of the codes `data` are left out."""

    def begin(self, job: Job) -> Memory:
        masks = torch.ones(len(job.recipes), self.size, 1, dtype=job.dtype)
        for mask, recipe, data in zip(masks, job.recipes, job.data, strict=True):
            assert isinstance(recipe, Dropping)
            if len(np.unique(data.train.s)) < 2:
                raise UserError(f"{self.title} needs training rows of at least two groups; choose another group.")
            mask[recipe.dropped(data)] = 0.0
        return Memory(job, masks)

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        loss = task_loss(self.shown(learner, batch), batch)
        learner.model.descend(loss)
        return {"loss": loss.detach()}

    def shown(self, learner: Learner, batch: Batch) -> Tensor:
        return learner.model.net(side_by_side(batch.x, len(learner.lam)) * learner.memory.masks)

    def inspect(self, learner: Learner, stage: str) -> Sequence[Finding]:
        return [({"dropped": float((mask == 0).sum())}, None) for mask in learner.memory.masks]

    def finished(self, learner: Learner, replica: int, network: nn.Module) -> nn.Module:
        mask = learner.memory.masks[replica, :, 0].float()
        return super().finished(learner, replica, Masked(network, mask))


class Masked(nn.Module):
    """Codes (n, size) -> logits of the codes times a mask (size,)."""

    def __init__(self, network: nn.Module, mask: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mask", mask)

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.network(z * self.get_buffer("mask"))
        return logits


@register
@dataclass(frozen=True)
class DropDims(Dropping, Unlabelled):
    """Rows become codes of an autoencoder that knows no label; the numbers of the code that go most with the sensitive
    attribute are set to 0, in training and when deciding.

    DVGE's baseline for vanilla, β- and FactorVAE, whose code leaves out one number chosen by hand; here they are chosen
    by their correlation with the attribute in training (the correlation ratio for more than two groups; of several
    attributes the largest). The trade-off is how many.
    """

    name: ClassVar[str] = "drop_dims"
    title: ClassVar[str] = "Dropped code dimensions"
    paper: ClassVar[str] = (
        "Baseline of DVGE; β-VAE: Higgins et al., ICLR 2017; FactorVAE: Kim and Mnih, Disentangling by factorising, "
        "ICML 2018"
    )
    formula: ClassVar[str] = (
        r"\min_d \mathrm{CE}\bigl(d(m \odot z),\, y\bigr),\quad m_j = 0 \text{ for the } k \text{ largest } "
        r"\lvert r(z_j, s)\rvert,\text{ else } 1"
    )

    top_k: int = control(
        1, 0, 256, symbol="k", tradeoff=True, grid=range(10), help="How many numbers of the code are left out."
    )

    @property
    def strength(self) -> float:
        return float(self.top_k)

    def dropped(self, data: Dataset) -> list[int]:
        z, attributes = data.train.x.T.astype(np.float64), attributes_of(data)
        with_each = [np.abs(association(z, own[data.train.s])) for own in attributes.of.T]
        return [int(j) for j in np.argsort(-np.max(with_each, 0), kind="stable")[: self.top_k]]


@register
@dataclass(frozen=True)
class FFVAE(Dropping):
    """An autoencoder is trained to put the sensitive attribute into numbers of the code that are its own, independent
    of the others; those are left out.

    Creager et al. (FFVAE), as DVGE compares with it. The trade-off is γ, the weight of independence; every γ needs an
    autoencoder of its own, and so does every sensitive attribute, since it looks at them.
    """

    name: ClassVar[str] = "ffvae"
    title: ClassVar[str] = "FFVAE (sensitive code dimensions)"
    paper: ClassVar[str] = "Creager et al., Flexibly fair representation learning by disentanglement, ICML 2019"
    formula: ClassVar[str] = (
        r"\max\; \mathbb E_q \log p(x\mid z, b) - \mathrm{KL}\bigl(q(z, b\mid x)\Vert p\bigr) + \alpha \log p(s\mid b) "
        r"- \gamma\,\mathrm{KL}\bigl(q(z, b)\Vert q(z)\textstyle\prod_j q(b_j)\bigr);\quad "
        r"\min_d \mathrm{CE}\bigl(d(z, 0),\, y\bigr)"
    )

    gamma: float = control(
        1.0, 0.0, 1000.0, symbol="γ", tradeoff=True, grid=(0.0, 1.0, 5.0, 20.0, 50.0),
        help="Weight of the independence of the sensitive numbers from the rest; larger is fairer.",
    )  # fmt: skip
    alpha: float = control(
        1.0, 0.0, 1000.0, symbol="α", help="Weight of telling the attribute from its numbers.", group="advanced"
    )

    @property
    def strength(self) -> float:
        return self.gamma

    @property
    def settings(self) -> Settings:
        return Settings(
            "ffvae", self.size, 1.0, self.gamma, self.alpha, self.vae_steps, lr=self.vae_lr, seed=self.vae_seed
        )

    def dropped(self, data: Dataset) -> list[int]:
        return [self.size + j for j in sensitive_columns(attributes_of(data).levels)]
