"""The networks. Every model is head(features(x)) -> logits and an ordinary module, trained alone or as one of a stack.

Shapes: x (n, ...), features (n, d), logits (n, 1) for a binary task (the logit of class 1) and (n, T) otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fairness_core.config import UserError, control
from fairness_core.datasets import Dataset


class Classifier(nn.Module):
    """features: x -> (n, d) and head: (n, d) -> logits, each a plain sequence of layers."""

    def __init__(self, features: nn.Sequential, head: nn.Linear) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


def dense(sizes: Sequence[int], dropout: float = 0.0, batch_norm: bool = False) -> list[nn.Module]:
    """Linear and ReLU (and dropout, and batch normalisation) layers through the given sizes, e.g. (105, 64, 64)."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        if batch_norm:
            layers.append(nn.BatchNorm1d(n_out))
    return layers


@dataclass(frozen=True)
class MLP:
    """Fully connected layers with ReLU, for tables."""

    name: ClassVar[str] = "mlp"
    title: ClassVar[str] = "Multi-layer perceptron"
    takes: ClassVar[str] = "table"

    hidden: str = control(
        "64-64", help="Neurons of the hidden layers, first to last, joined by hyphens.", group="training"
    )
    dropout: float = control(
        0.0, 0.0, 0.9, help="Share of hidden neurons switched off at each training step.", group="advanced"
    )
    norm: str = control(
        "none", choices=("none", "batch"), help="Batch normalisation after every hidden layer.", group="advanced"
    )

    def build(self, data: Dataset, seed: int) -> Classifier:
        """A network with weights drawn from `seed` alone."""
        check_rows(self, data, 2)
        sizes = (*data.train.x.shape[1:], *layer_sizes("hidden", self.hidden))
        with seeded(seed):
            return Classifier(
                nn.Sequential(*dense(sizes, self.dropout, self.norm == "batch")), nn.Linear(sizes[-1], n_logits(data))
            )


@dataclass(frozen=True)
class SmallCNN:
    """3x3 convolutions with ReLU and 2x2 max-pooling, then one dense layer: for small pictures, digits and faces."""

    name: ClassVar[str] = "small_cnn"
    title: ClassVar[str] = "Small convolutional network"
    takes: ClassVar[str] = "image"

    channels: str = control(
        "32-64", help="Channels of the convolutions, first to last, joined by hyphens.", group="training"
    )
    width: int = control(128, 1, 4096, help="Neurons of the dense layer, the features.", group="training")
    pixels: str = control(
        "as they are",
        choices=("as they are", "centred"),
        help="What the first layer sees: values from 0 to 1, or from -2 to 2, which trains faster on photographs and "
        "makes faint shapes count more against strong colours.",
        group="advanced",
    )

    def build(self, data: Dataset, seed: int) -> Classifier:
        """A network with weights drawn from `seed` alone."""
        check_rows(self, data, 4)
        n_in, height, width = data.train.x.shape[1:]
        layers: list[nn.Module] = [Centred()] if self.pixels == "centred" else []
        with seeded(seed):
            for n_out in layer_sizes("channels", self.channels):
                # the larger of four first, then ReLU: the same numbers for a quarter of the work
                layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
                n_in, height, width = n_out, height // 2, width // 2
            if not height * width:
                raise UserError(f"channels = {self.channels} halves the picture away; give fewer layers.")
            layers += [nn.Flatten(), nn.Linear(n_in * height * width, self.width), nn.ReLU()]
            return Classifier(nn.Sequential(*layers), nn.Linear(self.width, n_logits(data)))


@dataclass(frozen=True)
class ResNet18:
    """ResNet-18 (He et al., CVPR 2016) as torchvision builds it, from random weights. Up to 32 pixels the first
    convolution is 3x3 without stride and pooling, so that there is something left to look at."""

    name: ClassVar[str] = "resnet18"
    title: ClassVar[str] = "ResNet-18"
    takes: ClassVar[str] = "image"

    def build(self, data: Dataset, seed: int) -> Classifier:
        """A network with weights drawn from `seed` alone."""
        from torchvision.models import resnet18

        check_rows(self, data, 4)
        with seeded(seed):
            net = resnet18()
            stem: list[nn.Module] = [net.conv1, net.bn1, net.relu, net.maxpool]
            if data.train.x.shape[-1] <= 32:
                stem = [nn.Conv2d(3, 64, 3, padding=1, bias=False), net.bn1, net.relu]
            body = [net.layer1, net.layer2, net.layer3, net.layer4, net.avgpool, nn.Flatten()]
            return Classifier(nn.Sequential(Centred(), *stem, *body), nn.Linear(512, n_logits(data)))


class Centred(nn.Module):
    """Pixels from [0, 1] to [-2, 2]: a layer, so that whatever acts on pictures acts in pixel space."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) * 4


def check_rows(model: Any, data: Dataset, dimensions: int) -> None:
    """UserError when a network for tables is given pictures, or the other way round."""
    if data.train.x.ndim != dimensions:
        shape = data.train.x.shape[1:]
        raise UserError(f"Model {model.name} takes {model.takes}s, and the rows of {data.name} have shape {shape}.")


def layer_sizes(name: str, text: str) -> list[int]:
    """Sizes of layers written with hyphens, 64-64; UserError otherwise."""
    try:
        sizes = [int(part) for part in text.split("-")]
    except ValueError:
        sizes = [0]
    if not all(1 <= size <= 4096 for size in sizes) or len(sizes) > 16:
        raise UserError(
            f"{name} = {text} is not a list of layer sizes; give up to 16 numbers "
            "from 1 to 4096 joined by hyphens, for example 64-64."
        )
    return sizes


MODELS: dict[str, Any] = {model.name: model for model in (MLP, SmallCNN, ResNet18)}
DEFAULT_MODELS = {"table": MLP.name, "image": SmallCNN.name}


def n_logits(data: Dataset) -> int:
    """1 for a binary task or a number, one per target of several, the number of classes otherwise."""
    if data.task in ("regression", "multilabel"):
        return max(1, len(data.targets))
    return 1 if len(data.classes) == 2 else len(data.classes)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within this block torch's default generator starts from `seed`; afterwards it is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
