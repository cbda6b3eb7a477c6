"""CycleGAN (Zhu, Park, Isola, Efros, ICCV 2017, arXiv 1703.10593): pictures of one domain translated into another,
learned from unpaired pictures of both.

Outside this file pictures are bytes 0..255 or numbers in [0, 1], inside they are in [-1, 1]. Networks, losses and the
optimiser are those of the paper and of its published code; how wide and deep the networks are and how long they train
is for the caller to say.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairness_core.models import seeded

POOL = 50  # fakes that a discriminator may see again
IDENTITY = 0.5  # weight of the identity loss, relative to that of the cycle
BETAS = (0.5, 0.999)
SMALL = 32  # pixels; up to here the discriminator has two halvings and sees 34 x 34, above three and 70 x 70
LEAST = 12  # pixels; of fewer the discriminator leaves nothing
PART = 128  # pictures translated per forward pass
Losses = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """How one pair of generators is trained. steps: of both generators and both discriminators; batch_size: pictures of
    each domain per step, 1 in the paper; width: channels of the first convolutions, 64 in the paper, where 16 costs a
    step of 4 + 4 pictures of 28 pixels 0.08 s of one core and 32 about twice that; blocks: residual blocks of a
    generator, 6 to 9 in the paper, 2 or 3 for digits."""

    steps: int
    batch_size: int
    width: int
    blocks: int
    cycle_weight: float = 10.0
    lr: float = 2e-4


class Residual(nn.Module):
    """h -> h + two convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.body(h)
        return out


class Translator(nn.Module):
    """A generator, (n, channels, height, width) in [-1, 1] -> the same: a 7x7 stem, two halvings, residual blocks, two
    doublings, tanh. An edge that four does not divide comes out longer and is cut."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        w = width
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, w, 7), nn.InstanceNorm2d(w), nn.ReLU()]
        for n in (w, 2 * w):
            layers += [nn.Conv2d(n, 2 * n, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * n), nn.ReLU()]
        layers += [Residual(4 * w) for _ in range(blocks)]
        for n in (4 * w, 2 * w):
            up = nn.ConvTranspose2d(n, n // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.InstanceNorm2d(n // 2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(w, channels, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out[..., : x.shape[-2], : x.shape[-1]]


def discriminator(channels: int, width: int, halvings: int) -> nn.Sequential:
    """A PatchGAN: (n, channels, height, width) in [-1, 1] -> one number per patch, (n, 1, rows, columns), near 1 where
    the patch looks real. Three halvings make patches of 70 x 70 pixels, two make 34 x 34."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for k in range(1, halvings + 1):
        stride = 2 if k < halvings else 1
        n = width * min(2 ** (k - 1), 8), width * min(2**k, 8)
        layers += [nn.Conv2d(*n, 4, stride=stride, padding=1), nn.InstanceNorm2d(n[1]), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width * min(2**halvings, 8), 1, 4, padding=1))


def halvings(pixels: int) -> int:
    """How many a discriminator of pictures with this edge has."""
    return 2 if pixels <= SMALL else 3


class Pool:
    """The last fakes, so that a discriminator does not chase the newest alone (Shrivastava et al., CVPR 2017)."""

    def __init__(self, seed: int, size: int = POOL) -> None:
        self.size = size
        self._kept: list[Tensor] = []
        self._stream = torch.Generator("cpu").manual_seed(seed)

    def __len__(self) -> int:
        return len(self._kept)

    def exchange(self, fakes: Tensor) -> Tensor:
        """As many fakes, detached, (n, ...): each is new or, as soon as the pool is full and then half of the time, an
        old one, whose place the new one takes."""
        out = []
        for fake in fakes.detach():
            if len(self._kept) < self.size:
                self._kept.append(fake.clone())
            elif float(torch.rand((), generator=self._stream, device="cpu")) < 0.5:
                place = int(torch.randint(self.size, (), generator=self._stream, device="cpu"))
                fake, self._kept[place] = self._kept[place], fake.clone()
            out.append(fake)
        return torch.stack(out)


class Gan:
    """Two generators between the domains A and B, `there` (A -> B) and `back` (B -> A), and what tells their pictures
    from real ones, `judge_a` and `judge_b`. All weights are N(0, 0.02), drawn from `seed`."""

    def __init__(self, channels: int, pixels: int, settings: Settings, seed: int) -> None:
        self.settings = settings
        width, blocks = settings.width, settings.blocks
        with seeded(seed):
            self.there, self.back = (_drawn(Translator(channels, width, blocks)) for _ in range(2))
            self.judge_a, self.judge_b = (_drawn(discriminator(channels, width, halvings(pixels))) for _ in range(2))
        self.pool_a, self.pool_b = Pool(seed + 1), Pool(seed + 2)
        place = torch.empty(()).device
        for network in (self.there, self.back, self.judge_a, self.judge_b):
            network.to(place)
        self._generators, self._judges = (
            torch.optim.Adam(itertools.chain(one.parameters(), other.parameters()), settings.lr, BETAS)
            for one, other in ((self.there, self.back), (self.judge_a, self.judge_b))
        )

    def step(self, a: Tensor, b: Tensor, lr: float) -> Losses:
        """One step of both generators, then one of both discriminators. a, b: real pictures in [-1, 1], (n, ...)."""
        for optimizer in (self._generators, self._judges):
            for group in optimizer.param_groups:
                group["lr"] = lr
        losses, fake_a, fake_b = self.step_generators(a, b)
        return losses | self.step_judges(a, b, fake_a, fake_b)

    def step_generators(self, a: Tensor, b: Tensor) -> tuple[Losses, Tensor, Tensor]:
        """The discriminators stay as they are. Returns losses and the fakes, as large as b for A and a for B."""
        self._freeze(True)
        # what a generator is to translate and what it is to leave alone, in one pass: the norm looks at one picture
        fake_b, same_b = self.there(torch.cat([a, b])).split([len(a), len(b)])
        fake_a, same_a = self.back(torch.cat([b, a])).split([len(b), len(a)])
        fooled = _squared(self.judge_b(fake_b), 1.0) + _squared(self.judge_a(fake_a), 1.0)
        cycle = F.l1_loss(self.back(fake_b), a) + F.l1_loss(self.there(fake_a), b)
        identity = F.l1_loss(same_a, a) + F.l1_loss(same_b, b)
        loss = fooled + self.settings.cycle_weight * (cycle + IDENTITY * identity)
        self._generators.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._generators.step()
        self._freeze(False)
        losses = {"generators": fooled.item(), "cycle": cycle.item(), "identity": identity.item()}
        return losses, fake_a, fake_b

    def step_judges(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor) -> Losses:
        """The generators stay as they are, since the pools give fakes without their history."""
        self._judges.zero_grad()
        total = 0.0
        for judge, real, fake in (
            (self.judge_a, a, self.pool_a.exchange(fake_a)),
            (self.judge_b, b, self.pool_b.exchange(fake_b)),
        ):
            loss = 0.5 * (_squared(judge(real), 1.0) + _squared(judge(fake), 0.0))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        self._judges.step()
        return {"discriminators": total}

    def _freeze(self, frozen: bool) -> None:
        for judge in (self.judge_a, self.judge_b):
            judge.requires_grad_(not frozen)


def train(
    gan: Gan, x: Tensor, rows_a: Tensor, rows_b: Tensor, seed: int, every: int = 10
) -> Generator[tuple[int, Losses], None, None]:
    """Train `gan`, yielding (step, mean losses since the last) every so many steps and at the end; close to cancel.

    x: all pictures, bytes or in [0, 1], (n, channels, height, width); rows_a, rows_b: which of them are A and B. When a
    loss stops being finite, the generators get their last good weights back and training ends; the event then carries
    "diverged_at_step".
    """
    settings = gan.settings
    stream = torch.Generator("cpu").manual_seed(seed)
    draws = zip(*(_batches(rows, settings.batch_size, stream) for rows in (rows_a, rows_b)), strict=True)
    good = copy.deepcopy((gan.there.state_dict(), gan.back.state_dict()))
    sums: Losses = {}
    since = 0
    for step, (a, b) in zip(range(1, settings.steps + 1), draws, strict=False):
        losses = gan.step(inside(x[a]), inside(x[b]), settings.lr * rate(step, settings.steps))
        sums = {name: value + sums.get(name, 0.0) for name, value in losses.items()}
        since += 1
        if step % every and step < settings.steps:
            continue
        means, sums, since = {name: value / since for name, value in sums.items()}, {}, 0
        if not all(abs(value) < float("inf") for value in means.values()):
            for network, state in zip((gan.there, gan.back), good, strict=True):
                network.load_state_dict(state)
            yield settings.steps, {"diverged_at_step": float(step)}
            return
        good = copy.deepcopy((gan.there.state_dict(), gan.back.state_dict()))
        yield step, means


def rate(step: int, steps: int) -> float:
    """The learning rate of a step (1 to steps), as a share of the full one: that for half of the steps, then on a line
    to 0."""
    return min(1.0, 2 * (steps - step + 1) / (steps + 1))


def translate(network: nn.Module, x: Tensor, size: int = PART) -> Tensor:
    """Pictures (n, ...) as the generator makes them, bytes from bytes, else in [0, 1]; its mode is left as it was."""
    mode = network.training
    network.eval()
    out = torch.empty_like(x)
    with torch.no_grad():
        for start in range(0, len(x), size):
            made = (network(inside(x[start : start + size])) + 1) / 2
            out[start : start + size] = (made * 255).round() if x.dtype == torch.uint8 else made
    network.train(mode)
    return out


def inside(x: Tensor) -> Tensor:
    """Bytes or numbers in [0, 1] as numbers in [-1, 1]."""
    return x.float().div_(127.5).sub_(1) if x.dtype == torch.uint8 else x.float() * 2 - 1


def _drawn(network: nn.Module) -> nn.Module:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return network


def _squared(judged: Tensor, goal: float) -> Tensor:
    """The least-squares loss of Mao et al., ICCV 2017."""
    return ((judged - goal) ** 2).mean()


def _batches(rows: Tensor, size: int, stream: torch.Generator) -> Iterator[Tensor]:
    """Rows of one step after the other, for ever; every pass over all rows is shuffled anew, and what is left at its
    end is dropped."""
    while True:
        parts = torch.split(rows[torch.randperm(len(rows), generator=stream, device="cpu")], size)
        yield from parts[: max(1, len(rows) // size)]
