"""The networks. Every model is head(features(x)) -> logits and an ordinary module, trained alone or as one of a stack.

Shapes: x (n, ...), features (n, d), logits (n, 1) for a binary task (the logit of class 1) and (n, T) otherwise.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
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


# Where torchvision publishes its weights and under which names; the digits after the hyphen begin the file's SHA-256.
PUBLISHER = "https://download.pytorch.org/models/"
PUBLISHED = {"ResNet-18": "resnet18-f37072fd.pth", "VGG-16": "vgg16-397923af.pth", "VGG-16-BN": "vgg16_bn-6c64b313.pth"}
WEIGHTS = ("random", "imagenet")
WEIGHTS_HELP = (
    "What training starts from: random weights, or those that torchvision publishes for ImageNet, read from a file on "
    "this computer; nothing is downloaded."
)


@dataclass(frozen=True)
class ResNet18:
    """ResNet-18 (He et al., CVPR 2016) as torchvision builds it, from random or ImageNet weights. Up to 32 pixels the
    first convolution is 3x3 without stride and pooling, so that there is something left to look at; ImageNet's weights
    belong to the other one, and need more than 32 pixels."""

    name: ClassVar[str] = "resnet18"
    title: ClassVar[str] = "ResNet-18"
    takes: ClassVar[str] = "image"

    weights: str = control("random", choices=WEIGHTS, help=WEIGHTS_HELP, group="training")

    def build(self, data: Dataset, seed: int) -> Classifier:
        """A network whose weights are drawn from `seed` alone; of pretrained ones only the head is."""
        from torchvision.models import resnet18

        check_rows(self, data, 4)
        pixels = data.train.x.shape[-1]
        if self.weights == "imagenet" and pixels <= 32:
            raise UserError(
                f"weights = imagenet of ResNet-18 needs pictures of more than 32 pixels, and those of {data.name} "
                f"have {pixels}; choose larger ones, or weights = random."
            )
        pretrained = published(self.title) if self.weights == "imagenet" else {}
        with seeded(seed):
            net = resnet18()
            stem: list[nn.Module] = [net.conv1, net.bn1, net.relu, net.maxpool]
            if pixels <= 32:
                stem = [nn.Conv2d(3, 64, 3, padding=1, bias=False), net.bn1, net.relu]
            body = [net.layer1, net.layer2, net.layer3, net.layer4, net.avgpool, nn.Flatten()]
            head = nn.Linear(512, n_logits(data))
        if pretrained:
            net.load_state_dict(pretrained)
        return Classifier(nn.Sequential(first_layer(self.weights), *stem, *body), head)


@dataclass(frozen=True)
class VGG16:
    """VGG-16 (Simonyan and Zisserman, ICLR 2015) as torchvision builds it: thirteen 3x3 convolutions and five poolings,
    then two dense layers, of which the second gives the features. For small pictures the dense layers see the map as
    the last pooling leaves it, not blown up to 7x7, and are narrower than ImageNet's 4096; under 32 pixels some
    poolings are left out.

    From random weights it needs batch normalisation (torchvision's vgg16_bn), hence that default: on 8,000 faces of 32
    pixels (CelebA, target Male; Adam, 0.001, batches of 16, one seed) it tells 86 % of the validation's first 300 right
    after 200 steps. Without it 120 steps leave it at the majority's 60 %, and lr = 0.0001 reaches 76 % in 160.
    """

    name: ClassVar[str] = "vgg16"
    title: ClassVar[str] = "VGG-16"
    takes: ClassVar[str] = "image"

    width: int = control(512, 1, 4096, help="Neurons of each of the two dense layers.", group="training")
    weights: str = control("random", choices=WEIGHTS, help=WEIGHTS_HELP, group="training")
    norm: str = control(
        "batch", choices=("none", "batch"), help="Batch normalisation after every convolution.", group="advanced"
    )
    dropout: float = control(
        0.0,
        0.0,
        0.9,
        help="Share of the dense layers' neurons switched off at each training step; 0.5 in the paper, whose layers "
        "are eight times as wide.",
        group="advanced",
    )

    def build(self, data: Dataset, seed: int) -> Classifier:
        """A network whose weights are drawn from `seed` alone; of pretrained ones only the dense layers are."""
        from torchvision.models.vgg import cfgs, make_layers

        check_rows(self, data, 4)
        kind = "VGG-16-BN" if self.norm == "batch" else "VGG-16"
        pretrained = published(kind) if self.weights == "imagenet" else {}
        with seeded(seed):
            layers = make_layers(cfgs["D"], batch_norm=self.norm == "batch")
            for layer in layers:
                if isinstance(layer, nn.Conv2d) and layer.bias is not None:  # as torchvision's VGG draws them
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
            height, width = fit_poolings(layers, *data.train.x.shape[2:])
            last: list[nn.Module] = [nn.Flatten()]
            # not torchvision's N(0, 0.01): made for 4096 inputs, it lets next to nothing of the picture through 512
            for n_in in (512 * height * width, self.width):
                last += [nn.Linear(n_in, self.width), nn.ReLU()]
                if self.dropout > 0:
                    last.append(Dropout(self.dropout, seed + len(last)))
            head = nn.Linear(self.width, n_logits(data))
        if pretrained:
            own = {name: value for name, value in pretrained.items() if name.startswith("features.")}
            nn.ModuleDict({"features": layers}).load_state_dict(own)
        return Classifier(nn.Sequential(first_layer(self.weights), *layers, *last), head)


class Centred(nn.Module):
    """Pixels from [0, 1] to [-2, 2]: a layer, so that whatever acts on pictures acts in pixel space."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) * 4


class Standardised(nn.Module):
    """Pixels (n, 3, height, width) from [0, 1] to what networks trained on ImageNet expect: each colour less its mean
    there, over its standard deviation."""

    MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def forward(self, x: Tensor) -> Tensor:
        mean, sd = (x.new_tensor(colours).view(3, 1, 1) for colours in (self.MEAN, self.SD))
        return (x - mean) / sd


def first_layer(weights: str) -> nn.Module:
    """What turns pixels into what a network with these weights expects."""
    return Standardised() if weights == "imagenet" else Centred()


class Dropout(nn.Dropout):
    """Inverted dropout with a stream of masks of its own. PyTorch's draws from the generator that all trainings of the
    process share, so that a run would depend on what else is going on."""

    def __init__(self, p: float, seed: int) -> None:
        super().__init__(p)
        self.stream = torch.Generator("cpu").manual_seed(seed)

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return h
        keep = torch.rand(h.shape, generator=self.stream, device="cpu") >= self.p
        return h * keep.to(h.device) / (1 - self.p)


def fit_poolings(layers: nn.Sequential, height: int, width: int) -> tuple[int, int]:
    """Leave out the poolings before the last one that a small picture cannot pay for, so that the last one, and batch
    normalisation before it, still have some pixels; returns how many pixels the last one leaves, at least 1 x 1.

    Nothing is left out from 32 pixels on. The other layers keep their numbers, by which pretrained weights know them.
    """
    poolings = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for i in poolings:
        if min(height, width) < (2 if i == poolings[-1] else 4):
            layers[i] = nn.Identity()
        else:
            height, width = height // 2, width // 2
    return height, width


def published(title: str) -> dict[str, Tensor]:
    """The weights that torchvision publishes of its network `title`, by name; UserError unless they are here, whole."""
    path = weights_file(title)
    with path.open("rb") as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.rpartition("-")[2])
        file.seek(0)
        try:
            weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True) if whole else {}
        except (pickle.UnpicklingError, RuntimeError, LookupError, EOFError):
            weights = {}
    if not weights:
        raise UserError(f"{path} is not the file torchvision publishes; fetch it again from {PUBLISHER}{path.name}.")
    return weights


def weights_file(title: str) -> Path:
    """Where the weights of torchvision's network `title` lie: in the folder that EQUIPOISE_WEIGHTS names, or where
    PyTorch keeps what it has downloaded. UserError when they are in neither."""
    folders = [Path(torch.hub.get_dir()) / "checkpoints"]
    if own := os.environ.get("EQUIPOISE_WEIGHTS"):
        folders.insert(0, Path(own).expanduser())
    name = PUBLISHED[title]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"The ImageNet weights of {title}, {name}, are not in {' or '.join(map(str, folders))}; fetch them from "
        f"{PUBLISHER}{name} and put them there, name their folder in EQUIPOISE_WEIGHTS, or set weights = random."
    )


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


MODELS: dict[str, Any] = {model.name: model for model in (MLP, SmallCNN, ResNet18, VGG16)}
DEFAULT_MODELS = {"table": MLP.name, "image": SmallCNN.name}


def n_logits(data: Dataset) -> int:
    """1 for a binary task or a number, one per target of several, the number of classes otherwise."""
    if data.task in ("regression", "multilabel"):
        return max(1, len(data.targets))
    return 1 if len(data.classes) == 2 else len(data.classes)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within this block torch's default generator starts from `seed` and tensors are made on the processor; afterwards
    both are as before."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        yield
