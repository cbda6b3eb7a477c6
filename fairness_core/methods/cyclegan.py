"""CycleGAN augmentation: every picture once more, as a translation into another group."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core import cyclegan
from fairness_core.balance import MODES, NONE, aims
from fairness_core.batches import Rows, Scale, minibatches, row_losses
from fairness_core.config import Budget, Event, Exhibit, RunConfig, UserError, control
from fairness_core.datasets import Dataset, Split
from fairness_core.evaluation import decided
from fairness_core.generators import mapped
from fairness_core.methods.base import METHODS, register
from fairness_core.models import Classifier, n_logits, seeded
from fairness_core.optimizer import Adam
from fairness_core.pace import total_steps
from fairness_core.preparation import NotApplicable
from fairness_core.stack import Stack
from fairness_core.training import later

FEW = 200  # pictures of a group; with fewer a discriminator learns them by heart
HELD = 256  # training pictures that the witnesses do not learn from, so that they can judge their translations
WITNESS_ROWS, WITNESS_STEPS, WITNESS_BATCH, WITNESS_LR = 8000, 300, 64, 2e-3
CHUNK = 512  # pictures translated between two signs of life
REPORTS = 20  # per pair of generators, each with a look at what the witnesses say
SHOWN = 12  # pictures of an exhibit
Told = Mapping[str, float]


@register
@dataclass(frozen=True)
class CycleGAN:
    """Two generators learn from unpaired training pictures to make those of one group look like another's; then every
    picture is translated once, keeps its class, and the network learns from originals and translations by the plain
    loss.

    A baseline of AEDA (Zhang and Sang, ACM MM 2020) by Zhu, Park, Isola, Efros, ICCV 2017. There is no trade-off to
    set. Two witnesses tell what the translations are worth: a network that names the group, and one that names the
    class from grey levels alone, so that it cannot go by a tint; both learn beforehand, from other training pictures
    than those they judge. Where the groups hold different classes a discriminator can ask for another class as well as
    for another look, which class_kept shows: on 5,000 digits of C-MNIST the ground is translated after 50 steps, and
    of the classes 94 % are kept after 100, 75 % after 300 and 36 % after 900 (seed 0). Of more than two groups each
    gets a pair of generators with the largest one, through which others are translated in two steps; time grows with
    their number. Under 200 pictures of a group are too few (few_pictures). The translated rows are kept in memory, as
    large as the training pictures.
    """

    name: ClassVar[str] = "cyclegan"
    title: ClassVar[str] = "CycleGAN augmentation"
    family: ClassVar[str] = "pre"
    paper: ClassVar[str] = (
        "Zhu, Park, Isola, Efros, Unpaired image-to-image translation using cycle-consistent adversarial networks, "
        "ICCV 2017; AEDA baseline"
    )
    formula: ClassVar[str] = (
        r"\min_{G,F}\max_{D}\; \mathcal L_{\mathrm{LSGAN}} + \lambda_{cyc}\bigl(\lVert F(G(x)) - x\rVert_1 "
        r"+ \tfrac12 \lVert F(x) - x\rVert_1\bigr) \text{ and back};\quad "
        r"\min_\theta\; \mathrm{CE}\bigl(f_\theta(\{x\} \cup \{G(x)\}),\, y\bigr)"
    )
    gauges_help: ClassVar[Mapping[str, str]] = {
        "group_moved": "How often a network that names the group sees a translated picture in the group it was meant "
        "for; low means that the generators change nothing that matters.",
        "class_kept": "How often a network that sees grey levels names the true class of a translated picture; what it "
        "loses against class_known are pictures whose class was changed.",
        "group_known": "How often the first of these networks is right about untouched pictures.",
        "class_known": "How often the second one is.",
        "few_pictures": f"1 when some group has fewer than {FEW} training pictures: its look is then learned from too "
        "few, and translations tend to repeat them.",
    }
    needs_sensitive_at_test: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "multilabel")
    on_gpu: ClassVar[bool] = True

    gan_steps: int = control(
        300,
        1,
        1_000_000,
        help="Steps of each pair of generators. A coloured ground is learned in a few hundred, a face takes thousands; "
        "the paper's 200 passes are far more, and where groups hold different classes the class gets lost on the way.",
    )
    balance_mode: str = control(
        "flip_all",
        choices=MODES,
        help="flip_all: every row gets a translation into another group. fill_minority: as many as its class lacks.",
    )
    cycle_weight: float = control(
        10.0,
        0.0,
        100.0,
        symbol="λ cyc",
        help="How much it counts that a picture translated there and back is the same.",
    )
    gan_batch: int = control(4, 1, 256, help="Pictures of each group per step; 1 in the paper.", group="advanced")
    gan_width: int = control(
        16, 4, 128, help="Channels of the generators' first layer, 64 in the paper.", group="advanced"
    )
    gan_blocks: int = control(
        2, 1, 12, help="Residual blocks of a generator; 6 in the paper up to 128 pixels.", group="advanced"
    )
    gan_lr: float = control(
        5e-4,
        1e-6,
        0.1,
        help="Adam's learning rate, falling to 0 over the second half; 2e-4 in the paper, which takes more steps.",
        group="advanced",
    )

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        """Train generators, make the translations, train a copy of `model` on the union; see Debiaser.fit."""
        sizes = self.check(data)
        source, aim = wanted_twins(data.train, len(data.groups), self.balance_mode, run.seed)
        first = 1 + self.gan_steps * (len(sizes) - 1)  # the witnesses count as one step
        budget = Budget(**run.training)  # type: ignore[arg-type]
        of = first + total_steps(budget, len(data.train) + len(source))
        witness = Witness(data, run.seed)
        known = {**witness.known(), "few_pictures": float(sizes.min() < FEW)}
        yield Event("training", 1, of, known)

        routes = Routes(int(sizes.argmax()))
        for pair, group in enumerate(g for g in range(len(sizes)) if g != routes.hub):
            for step, told, shown in self._pair(data, routes, group, witness, run.seed + 7919 * pair):
                yield Event("training", 1 + pair * self.gan_steps + step, of, {**told, **known}, exhibit=shown)
        twins = np.empty((len(source), *data.train.x.shape[1:]), data.train.x.dtype)
        for start in range(0, len(source), CHUNK):
            rows, part = source[start : start + CHUNK], aim[start : start + CHUNK]
            x = torch.as_tensor(data.train.x[rows])
            twins[start : start + CHUNK] = routes.translate(x, data.train.s[rows], part).cpu().numpy()
            yield Event("training", first, of)
        told, shown = witness.look(routes, np.arange(len(data.groups)))
        yield Event("training", first, of, {**told, **known}, exhibit=shown)

        union = replace(data, train=joined(data.train, twins, source, aim))
        network: nn.Module = yield from mapped(METHODS["erm"]().fit(model, union, run), later(first))
        return network

    def check(self, data: Dataset) -> np.ndarray:
        """Training pictures of every group, (groups,); UserError where there is nothing to translate."""
        x, groups = data.train.x, data.groups
        if x.ndim != 4:
            raise NotApplicable(
                f"{self.title} translates pictures, and the rows of {data.name} are none; choose another method, or a "
                "data set of pictures."
            )
        if min(x.shape[2:]) < cyclegan.LEAST:
            raise UserError(
                f"{self.title} needs pictures of at least {cyclegan.LEAST} pixels, and those of {data.name} have "
                f"{min(x.shape[2:])}; choose a larger size."
            )
        if data.task == "multilabel" and self.balance_mode == "fill_minority":
            raise UserError("balance_mode = fill_minority cannot balance several targets at once; choose flip_all.")
        sizes = np.bincount(data.train.s, minlength=len(groups))
        if (rare := np.flatnonzero(sizes < 2)).size:
            raise NotApplicable(
                f"{self.title} learns what a group looks like, and of {groups[rare[0]]} there are "
                f"{sizes[rare[0]]} training pictures; choose other groups or another method."
            )
        return sizes

    def _pair(
        self, data: Dataset, routes: Routes, group: int, witness: Witness, seed: int
    ) -> Generator[tuple[int, Told, Exhibit | None], None, None]:
        """Train the generators between the hub and `group`, which join the routes; (step, losses, exhibit)."""
        x, s = torch.as_tensor(data.train.x), torch.as_tensor(data.train.s)
        settings = cyclegan.Settings(
            self.gan_steps, self.gan_batch, self.gan_width, self.gan_blocks, self.cycle_weight, self.gan_lr
        )
        gan = cyclegan.Gan(x.shape[1], min(x.shape[2:]), settings, seed + 1_000_003)
        routes.there[group], routes.back[group] = gan.there, gan.back
        rows = [(s == g).nonzero().flatten() for g in (routes.hub, group)]
        look_at = {max(1, round(self.gan_steps * k / REPORTS)) for k in range(1, REPORTS + 1)}
        every = min(10, max(1, self.gan_steps // REPORTS))
        looks = 0
        for step, losses in cyclegan.train(gan, x, rows[0], rows[1], seed, every):
            due = sum(at <= step for at in look_at)
            gauges, shown = witness.look(routes, np.array([routes.hub, group])) if due > looks else ({}, None)
            looks = due
            yield step, {**losses, **gauges}, shown


def wanted_twins(train: Split, n_groups: int, mode: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are translated and into which group, int64 (m,) each: see balance.aims."""
    wanted = aims(train.y, train.s, n_groups, mode, np.random.default_rng([seed, 70003]))
    source, slot = np.nonzero(wanted != NONE)
    return source, wanted[source, slot]


def joined(train: Split, twins: np.ndarray, source: np.ndarray, aim: np.ndarray) -> Split:
    """The rows and after them their translations, which keep class and weight and are of the group they went to."""
    w = None if train.w is None else np.concatenate([train.w, train.w[source]])
    return Split(
        np.concatenate([train.x, twins]),
        np.concatenate([train.y, train.y[source]]),
        np.concatenate([train.s, aim]),
        w,
    )


@dataclass
class Routes:
    """Generators from the largest group, the hub, to every other one and back."""

    hub: int
    there: dict[int, nn.Module] = field(default_factory=dict)
    back: dict[int, nn.Module] = field(default_factory=dict)

    def translate(self, x: Tensor, s: np.ndarray, aim: np.ndarray) -> Tensor:
        """Pictures (n, ...) of the groups s as such of the groups aim, both (n,) and nowhere equal."""
        out = x.clone()
        for group, network in self.back.items():
            self._apply(network, out, s == group)
        for group, network in self.there.items():
            self._apply(network, out, aim == group)
        return out

    @staticmethod
    def _apply(network: nn.Module, x: Tensor, chosen: np.ndarray) -> None:
        rows = torch.as_tensor(np.flatnonzero(chosen))
        if len(rows):
            x[rows] = cyclegan.translate(network, x[rows])


class Witness:
    """Two small networks, one that names the group of a picture and one that names its class from grey levels, and
    training pictures that neither learned from."""

    def __init__(self, data: Dataset, seed: int) -> None:
        self._data, self._rows = data, Rows.of(data.train, torch.float32, Scale())
        rng = np.random.default_rng([seed, 70005])
        order, n_groups = rng.permutation(len(data.train)), len(data.groups)
        held = [order[data.train.s[order] == g] for g in range(n_groups)]
        self._held = np.sort(np.concatenate([rows[: max(1, min(HELD // n_groups, len(rows) // 5))] for rows in held]))
        others = torch.as_tensor(order[~np.isin(order, self._held)][:WITNESS_ROWS])
        self._group = self._learned(others, n_groups, seed + 1, of_group=True)
        self._class = self._learned(others, n_logits(data), seed + 2, of_group=False)

    def known(self) -> dict[str, float]:
        """How often each of them is right about the held pictures as they are."""
        batch = self._rows.take(torch.as_tensor(self._held))
        groups, classes = self._say(batch.x, batch.y)
        return {"group_known": _share(groups == batch.s), "class_known": _share(classes == batch.y)}

    def look(self, routes: Routes, groups: np.ndarray) -> tuple[dict[str, float], Exhibit]:
        """What they say of the held pictures of these groups, each translated into the next of the groups; and some of
        the pictures, as twins.exhibits has them, with `back`: translated there and back."""
        s = self._data.train.s[self._held]
        rows, s = self._held[np.isin(s, groups)], s[np.isin(s, groups)]
        ring = np.sort(groups)
        aim = ring[(np.searchsorted(ring, s) + 1) % len(ring)]
        x = torch.as_tensor(self._data.train.x[rows])
        twins = routes.translate(x, s, aim)
        y = self._rows.take(torch.as_tensor(rows)).y
        before, after = self._say(_unit(x), y), self._say(_unit(twins), y)
        told = {"group_moved": _share(after[0] == torch.as_tensor(aim)), "class_kept": _share(after[1] == y)}
        order = np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().astype(int)
        back = routes.translate(twins[order], aim[order], s[order])
        shown = {name: _bytes(value) for name, value in (("x", x[order]), ("twin", twins[order]), ("back", back))}
        shown |= {"y": y.reshape(-1, len(rows))[0, order].cpu().numpy(), "s": s[order], "aim": aim[order]}
        for when, (named, classes) in (("before", before), ("after", after)):
            shown[f"class_{when}"] = classes.reshape(-1, len(rows))[0, order].cpu().numpy()
            shown[f"group_{when}"] = named[order].cpu().numpy()
        return told, shown

    @torch.no_grad()
    def _say(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The groups that are named, (n,), and the classes, (1, n) or (1, targets, n)."""
        return self._group(x)[0].argmax(0), decided(self._class(_grey(x)), y)

    def _learned(self, order: Tensor, outputs: int, seed: int, *, of_group: bool) -> Stack:
        channels = self._rows.x.shape[1] if of_group else 1
        net = Stack([_small_network(channels, outputs, seed).to(self._rows.x.device)])
        optimizer = Adam(net.leaves, WITNESS_LR)
        for _, picked in zip(range(WITNESS_STEPS), minibatches(len(order), WITNESS_BATCH, seed), strict=False):
            batch = self._rows.take(order[picked])
            optimizer.zero_grad()
            logits = net(batch.x if of_group else _grey(batch.x))
            row_losses(logits, batch.s if of_group else batch.y).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return net.fixed()


def _small_network(channels: int, outputs: int, seed: int) -> Classifier:
    layers: list[nn.Module] = []
    with seeded(seed):
        for n in (16, 32):
            layers += [nn.Conv2d(channels, n, 4, stride=2, padding=1), nn.ReLU()]
            channels = n
        layers += [nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(49 * channels, 64), nn.ReLU()]
        return Classifier(nn.Sequential(*layers), nn.Linear(64, outputs))


def _grey(x: Tensor) -> Tensor:
    """Pictures (n, channels, height, width) as grey levels, each with mean 0 and variance 1, (n, 1, ...)."""
    grey = x.mean(1, keepdim=True)
    spread = grey.std((2, 3), keepdim=True).clamp(min=1e-3)
    return (grey - grey.mean((2, 3), keepdim=True)) / spread


def _unit(x: Tensor) -> Tensor:
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def _bytes(x: Tensor) -> np.ndarray:
    return np.asarray((_unit(x) * 255).round().to(torch.uint8).cpu().numpy())


def _share(right: Tensor) -> float:
    return float(right.float().mean())
