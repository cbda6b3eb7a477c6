"""AEDA's dual-loss attack against one PGD of torchattacks and one of ART: the same network, batch and steps.

Ours follows two losses, of the target head and of a bias head on shared features; theirs one, of the target head. All
attack the same pictures in batches of the same size on the same device, and they alternate; medians are compared.
`equal`: with the target's loss alone, and products as exact as a processor's, ours makes torchattacks' pictures.
On a GPU ours is replayed, as in training. `gain_16_bits`: how many times as fast ours is
with features in bfloat16. The peers are in requirements-bench.txt.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from fairness_core import devices
from fairness_core.attacks import Ball
from fairness_core.config import UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.methods.aeda import AEDA, attack, coupled
from fairness_core.models import ResNet18, SmallCNN
from fairness_core.replay import where_it_pays
from fairness_core.stack import Stack

MARK = 1.1  # at most, ours over theirs
STEPS = 10
WARM_UP = 4  # rounds: the first pays for caches, and a GPU records in the last
# name, network, pixels, batch, rounds: many where one is short, since single ones differ by a fifth
CASES = (("small_cnn", SmallCNN(), 28, 128, 45), ("resnet18", ResNet18(), 48, 16, 9))


def peers() -> tuple[Any, Any, Any]:
    """torchattacks.PGD, ART's PGD and ART's classifier."""
    logging.disable(logging.WARNING)
    try:
        from art.attacks.evasion import ProjectedGradientDescentPyTorch
        from art.estimators.classification import PyTorchClassifier
        from torchattacks import PGD
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed; run pip install --no-deps -r requirements-bench.txt first."
        ) from None
    return PGD, ProjectedGradientDescentPyTorch, PyTorchClassifier


def pictures(edge: int, n: int) -> Dataset:
    """Noise will do: what is timed does not depend on what is seen."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, 3, edge, edge), dtype=np.uint8)
    split = Split(x, rng.integers(0, 10, n), rng.integers(0, 2, n))
    return Dataset("noise", split, split, split, tuple("0123456789"), ("a", "b"), (), "multiclass")


def case(network: Any, edge: int, batch: int, rounds: int) -> dict[str, Any]:
    pgd, art_pgd, art_classifier = peers()
    data, device = pictures(edge, batch), devices.here()
    model = network.build(data, 0).eval().to(device)
    head = AEDA().adversary(data, model, 0)
    assert head is not None
    x = torch.from_numpy(data.train.x).to(device).float().div(255).contiguous(memory_format=torch.channels_last)
    y, aim = torch.from_numpy(data.train.y).to(device), torch.from_numpy(1 - data.train.s).to(device).unsqueeze(0)
    ball = Ball("linf", 8 / 255, 1 / 255, STEPS, 0.0, 1.0)
    judges = {
        bits: coupled(Stack([model], mixed=bits == 16).fixed(), Stack([head.to(device)]).fixed()) for bits in (32, 16)
    }

    own = x.unsqueeze(0)
    plain = {lam: attack(judges[32], torch.tensor([lam], device=device), ball) for lam in (0.0, 0.5, 1.0)}
    ours = {lam: where_it_pays(function, device) for lam, function in plain.items()}
    ours_16_bits = where_it_pays(attack(judges[16], torch.tensor([0.5], device=device), ball), device)

    theirs = pgd(model, eps=ball.radius, alpha=ball.step, steps=STEPS, random_start=False)
    theirs.set_mode_targeted_by_label(quiet=True)
    wrapped = art_classifier(
        model, nn.CrossEntropyLoss(), (3, edge, edge), 10, clip_values=(0.0, 1.0),
        device_type="gpu" if device.type == "cuda" else "cpu",
    )  # fmt: skip
    one = art_pgd(
        wrapped, eps=ball.radius, eps_step=ball.step, max_iter=STEPS, targeted=True, batch_size=batch, verbose=False
    )
    images, labels = x.contiguous().cpu().numpy(), data.train.y
    seconds = alternate(
        {
            "ours": lambda: ours[0.5](own, y, aim),
            "ours_one_loss": lambda: ours[1.0](own, y, aim),
            "ours_16_bits": lambda: ours_16_bits(own, y, aim),
            "torchattacks": lambda: theirs(x, y),
            "art": lambda: one.generate(images, labels),
        },
        rounds,
    )
    with torch.backends.cudnn.flags(allow_tf32=False):
        apart = (plain[0.0](own, y, aim)["x"][0] - theirs(x, y)).abs()
    return {
        "seconds": seconds,
        "ratio_torchattacks": seconds["ours"] / seconds["torchattacks"],
        "ratio_art": seconds["ours"] / seconds["art"],
        "gain_16_bits": seconds["ours"] / seconds["ours_16_bits"],
        # where a gradient is zero but for rounding, its sign is chance
        "equal": bool((apart < 1e-5).float().mean() > 0.999),
    }


def alternate(actions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for k in range(rounds + WARM_UP):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if devices.here().type == "cuda":
                torch.cuda.synchronize()
            if k >= WARM_UP:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def run(quick: bool = False) -> dict[str, Any]:
    """quick: three rounds."""
    found = {name: case(network, edge, batch, 3 if quick else n) for name, network, edge, batch, n in CASES}
    return {
        "steps": STEPS,
        "device": devices.title(),
        **found,
        "ratio_torchattacks": max(one["ratio_torchattacks"] for one in found.values()),
        "ratio_art": max(one["ratio_art"] for one in found.values()),
        "mark": MARK,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The attack: ours with two losses against one PGD of the peers.")
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(run(parser.parse_args().quick)))
