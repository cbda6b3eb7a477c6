"""Variational autoencoders: rows as short codes, learned without a label.

Kingma and Welling (ICLR 2014); β-VAE (Higgins et al., ICLR 2017); FactorVAE (Kim and Mnih, ICML 2018); FFVAE (Creager
et al., ICML 2019). Pictures get the convolutional network of DVGE's code (methods note, 6.2), tables a small dense one
whose decoder knows numbers from categories. Widths of the discriminator and lengths of training are ours: the papers
train for 300,000 steps and more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairness_core.models import seeded
from fairness_core.optimizer import Adam

KINDS = ("vanilla", "beta", "factor", "ffvae")
CHANNELS = (32, 32, 64, 64)  # of the halving convolutions, as many as the picture allows
DENSE = (64, 32)  # neurons of a table's encoder
LAST = 256  # neurons between convolutions and code
LEAST_PIXELS = 12
DISCRIMINATOR = 256  # neurons of each of its three layers; 1,000 and five in the papers' code
DISCRIMINATOR_BETAS = (0.5, 0.9)
PART = 256  # rows coded at once
REPORTS = 20  # per training

Losses = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """How one autoencoder is trained. size: numbers in a code; beta: weight of the KL term (kind beta); gamma: weight
    of the total correlation (factor), or of the dependence between the sensitive numbers and the rest (ffvae); alpha:
    weight of telling the sensitive attributes from their numbers (ffvae)."""

    kind: str = "vanilla"
    size: int = 10
    beta: float = 4.0
    gamma: float = 6.4
    alpha: float = 1.0
    steps: int = 2000
    batch_size: int = 64
    lr: float = 1e-3
    seed: int = 0

    @property
    def kl_weight(self) -> float:
        return self.beta if self.kind == "beta" else 1.0

    @property
    def adversarial(self) -> bool:
        return self.kind in ("factor", "ffvae")


@dataclass(frozen=True)
class Block:
    """Neighbouring columns of a table: one number, or the levels of one category."""

    start: int
    stop: int
    categorical: bool


def blocks_of(features: Sequence[str], x: np.ndarray) -> tuple[Block, ...]:
    """The columns of x (n, D) as blocks: neighbours named "column=level" that hold one 1 at most per row are a
    category."""
    found: list[Block] = []
    names = [name.partition("=")[0] if "=" in name else None for name in features]
    start = 0
    for stop in range(1, len(names) + 1):
        if stop < len(names) and names[start] is not None and names[stop] == names[start]:
            continue
        part = x[:, start:stop]
        whole = stop - start > 1 and bool(np.isin(part, (0.0, 1.0)).all()) and bool((part.sum(1) <= 1).all())
        found += [Block(start, stop, True)] if whole else [Block(i, i + 1, False) for i in range(start, stop)]
        start = stop
    return tuple(found)


class VAE(nn.Module, ABC):
    """encoder: x -> (n, 2 size), means and log variances; decoder: code (n, size) -> what `loss` and `picture` read."""

    def __init__(self, encoder: nn.Sequential, decoder: nn.Sequential, size: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.size = encoder, decoder, size

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, (n, size) each."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance.clamp(-12, 12)

    def forward(self, x: Tensor) -> Tensor:
        """The mean code, (n, size)."""
        return self.posterior(x)[0]

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Rows in the units of x: pixels in [0, 1], numbers, probabilities of levels."""

    @abstractmethod
    def reconstruction(self, z: Tensor, x: Tensor) -> Tensor:
        """-log p(x | z) in nats, (n,), up to a constant."""


class PictureVAE(VAE):
    """Pictures (n, channels, edge, edge) in [0, 1] with a Bernoulli likelihood per pixel and colour."""

    def __init__(self, channels: int, edge: int, size: int) -> None:
        edges, widths = [edge], [channels]
        for width in CHANNELS:
            if edges[-1] < 8 and len(widths) > 1:
                break
            edges.append(edges[-1] // 2)
            widths.append(width)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for (n_in, n_out), (large, small) in zip(pairwise(widths), pairwise(edges), strict=True):
            down += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.ReLU()]
            odd = large - 2 * small
            up = [nn.ConvTranspose2d(n_out, n_in, 4, stride=2, padding=1, output_padding=odd), nn.ReLU(), *up]
        shape = (widths[-1], edges[-1], edges[-1])
        flat = int(np.prod(shape))
        encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, LAST), nn.ReLU(), nn.Linear(LAST, 2 * size))
        first = [nn.Linear(size, LAST), nn.ReLU(), nn.Linear(LAST, flat), nn.ReLU(), nn.Unflatten(1, shape)]
        super().__init__(encoder, nn.Sequential(*first, *up[:-1]), size)

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(z))

    def reconstruction(self, z: Tensor, x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").flatten(1).sum(1)


class TableVAE(VAE):
    """Rows (n, D): numbers with a Gaussian likelihood of variance 1 (they are standardised), categories as such."""

    def __init__(self, blocks: Sequence[Block], size: int) -> None:
        width = blocks[-1].stop
        encoder = nn.Sequential(*_chain((width, *DENSE)), nn.Linear(DENSE[-1], 2 * size))
        decoder = nn.Sequential(*_chain((size, *reversed(DENSE))), nn.Linear(DENSE[0], width))
        super().__init__(encoder, decoder, size)
        self.blocks = tuple(blocks)
        self._numbers = [block.start for block in blocks if not block.categorical]

    def decode(self, z: Tensor) -> Tensor:
        out: Tensor = self.decoder(z)
        parts = [out[:, b.start : b.stop] for b in self.blocks]
        return torch.cat([p.softmax(1) if b.categorical else p for p, b in zip(parts, self.blocks, strict=True)], 1)

    def reconstruction(self, z: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(z)
        loss = 0.5 * ((out[:, self._numbers] - x[:, self._numbers]) ** 2).sum(1)
        for block in self.blocks:
            if block.categorical:
                part = slice(block.start, block.stop)
                loss = loss - (x[:, part] * out[:, part].log_softmax(1)).sum(1)
        return loss


def _chain(sizes: Sequence[int]) -> list[nn.Module]:
    return [layer for n_in, n_out in pairwise(sizes) for layer in (nn.Linear(n_in, n_out), nn.ReLU())]


def build(x: np.ndarray, features: Sequence[str], settings: Settings) -> VAE:
    """An untrained autoencoder for rows like x, its weights drawn from the settings' seed."""
    with seeded(settings.seed):
        if x.ndim == 4:
            net: VAE = PictureVAE(x.shape[1], x.shape[2], settings.size)
            for layer in net.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.normal_(layer.weight, std=0.02)
                    assert layer.bias is not None
                    nn.init.zeros_(layer.bias)
            return net.to(memory_format=torch.channels_last)
        return TableVAE(blocks_of(features, x), settings.size)


def train(
    net: VAE, x: Tensor, attributes: Tensor, levels: Sequence[int], settings: Settings
) -> Generator[tuple[int, Losses], None, None]:
    """Train `net` on the rows x (n, ...), yielding (step, mean losses since the last) now and then; close to cancel.

    attributes: int64 (n, A), the sensitive attributes, and how many `levels` each has: only ffvae looks at them.
    """
    stream = torch.Generator().manual_seed(settings.seed)
    optimizer = Adam(list(net.parameters()), settings.lr)
    with seeded(settings.seed + 1):
        layers = _chain((settings.size, *[DISCRIMINATOR] * 3))
        layers = [nn.LeakyReLU(0.2) if isinstance(layer, nn.ReLU) else layer for layer in layers]
        critic = nn.Sequential(*layers, nn.Linear(DISCRIMINATOR, 1))
    of_critic = Adam(list(critic.parameters()), settings.lr / 10, betas=DISCRIMINATOR_BETAS)
    sums: Losses = {}
    since, every = 0, max(1, settings.steps // REPORTS)
    for step in range(1, settings.steps + 1):
        rows = torch.randint(len(x), (min(settings.batch_size, len(x)),), generator=stream)
        batch = as_numbers(x[rows])
        mean, log_variance = net.posterior(batch)
        z = mean + torch.randn(mean.shape, generator=stream) * (0.5 * log_variance).exp()
        found = {
            "reconstruction": net.reconstruction(z, batch).mean(),
            "kl": divergence(mean, log_variance).sum(1).mean(),
        }
        loss = found["reconstruction"] + settings.kl_weight * found["kl"]
        if settings.adversarial:
            found["dependence"] = critic(z).mean()  # log odds of joint against permuted: an estimate of the KL
            loss = loss + settings.gamma * found["dependence"]
        if settings.kind == "ffvae":
            found["sensitive"] = sensitive_loss(z, attributes[rows], levels)
            loss = loss + settings.alpha * found["sensitive"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if settings.adversarial:
            apart = shuffled(z.detach(), stream, sensitive_columns(levels) if settings.kind == "ffvae" else None)
            guess = torch.cat([critic(z.detach()), critic(apart)])
            truth = torch.cat([torch.ones(len(z), 1), torch.zeros(len(z), 1)])
            of_critic.zero_grad()
            F.binary_cross_entropy_with_logits(guess, truth).backward()  # type: ignore[no-untyped-call]
            of_critic.step()
        since += 1
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if step % every == 0 or step == settings.steps:
            yield step, {name: value / since for name, value in sums.items()}
            sums, since = {}, 0


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of every number of the code from N(0, 1), in nats, (n, size)."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


def sensitive_columns(levels: Sequence[int]) -> list[int]:
    """Which numbers, counted from the end of the code, are sensitive: one per attribute of two levels, else one per
    level."""
    return list(range(-sum(1 if n == 2 else n for n in levels), 0))


def sensitive_loss(z: Tensor, attributes: Tensor, levels: Sequence[int]) -> Tensor:
    """Cross-entropy of the attributes (n, A) told from their own numbers of the code, averaged over rows, summed over
    attributes (FFVAE's predictiveness)."""
    losses, at = [], z.shape[1] + sensitive_columns(levels)[0]
    for a, n in enumerate(levels):
        if n == 2:
            losses.append(F.binary_cross_entropy_with_logits(z[:, at], attributes[:, a].to(z.dtype)))
        else:
            losses.append(F.cross_entropy(z[:, at : at + n], attributes[:, a]))
        at += 1 if n == 2 else n
    return torch.stack(losses).sum()


def shuffled(z: Tensor, stream: torch.Generator, columns: Sequence[int] | None = None) -> Tensor:
    """Codes whose numbers are independent of each other: every column, or each of these, is permuted over the rows."""
    out = z.clone()
    for j in range(z.shape[1]) if columns is None else columns:
        out[:, j] = z[torch.randperm(len(z), generator=stream), j]
    return out


def as_numbers(x: Tensor) -> Tensor:
    """Rows as the networks take them: bytes become numbers in [0, 1], pictures lie channels last (twice as fast)."""
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


@torch.no_grad()
def codes(net: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log variances of the codes of rows x (n, ...), (n, size) each."""
    parts = [net.posterior(as_numbers(part)) for part in torch.split(x, PART)]
    means, log_variances = zip(*parts, strict=True)
    return torch.cat(means), torch.cat(log_variances)
