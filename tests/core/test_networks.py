"""The networks for pictures: their shapes at every size, their one seed, their place in a stack, published weights."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fairness_core import models
from fairness_core.config import UserError, controls_of
from fairness_core.datasets import Dataset, Split
from fairness_core.models import MODELS, VGG16, Classifier, Dropout, ResNet18, SmallCNN, fit_poolings
from fairness_core.stack import Stack

NETWORKS: dict[str, Any] = {
    "small_cnn": SmallCNN(channels="4-8", width=16),
    "resnet18": ResNet18(),
    "vgg16": VGG16(width=16),
}


def pictures(size: int, classes: int = 3) -> Dataset:
    """Two noisy RGB pictures, which the tests of networks look at for their shape only."""
    x = np.random.default_rng(size).integers(0, 256, (2, 3, size, size), np.uint8)
    split = Split(x, np.array([0, 1]), np.array([0, 1]))
    return Dataset("noise", split, split, split, tuple("abc"[:classes]), ("one", "other"), (), "multiclass")


def batch(size: int, n: int = 2) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(size))


# Sizes whose networks are the same, so that a test need build one of them only.
SAME = {("resnet18", 28): 32, ("resnet18", 64): 48, ("vgg16", 32): 48}


@lru_cache
def cached(name: str, size: int, seed: int) -> Classifier:
    network: Classifier = NETWORKS[name].build(pictures(size), seed)
    with torch.no_grad():
        network.train()(batch(size))
    return network.eval()


def built(name: str, size: int, seed: int = 0) -> Classifier:
    """A network that no test may change: in evaluation mode, its running statistics away from where they start."""
    return cached(name, SAME.get((name, size), size), seed)


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    cached.cache_clear()


@pytest.mark.parametrize("size", [28, 32, 48, 64])
@pytest.mark.parametrize(("name", "width"), [("small_cnn", 16), ("resnet18", 512), ("vgg16", 16)])
def test_features_and_logits_at_every_size(name: str, width: int, size: int) -> None:
    network, x = built(name, size), batch(size)
    with torch.no_grad():
        features, logits = network.features(x), network(x)
        assert features.shape == (2, width)
        assert logits.shape == (2, 3)
        assert torch.isfinite(logits).all()
        assert torch.equal(logits, network.head(features))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stack_of_one_is_the_network(name: str) -> None:
    network, x = built(name, 28), batch(28)
    stack = Stack([network])
    stack.training = False
    assert torch.allclose(stack(x)[0].t(), network(x), atol=1e-5)
    again = stack.network(0).state_dict()
    assert all(torch.equal(again[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_survive_a_file(name: str, tmp_path: Path) -> None:
    network, x = built(name, 28), batch(28)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other = copy.deepcopy(built(name, 28, 1))
    assert not torch.equal(other(x), network(x))
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other(x), network(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    torch.manual_seed(5)
    drawn = torch.random.get_rng_state()
    again = dict(NETWORKS[name].build(pictures(32), 0).named_parameters())
    assert torch.equal(torch.random.get_rng_state(), drawn)
    first, other = (dict(built(name, 32, seed).named_parameters()) for seed in (0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first if first[key].dim() > 1)


def test_resnet_is_torchvisions_from_its_seed() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs, head = resnet18(), nn.Linear(512, 3)
    theirs.fc = head
    x = (batch(48) - 0.5) * 4
    theirs.train()(x)
    assert torch.equal(built("resnet18", 48)(batch(48)), theirs.eval()(x))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_vgg16_has_sixteen_layers_of_weights(norm: str) -> None:
    network = built("vgg16", 28) if norm == "batch" else VGG16(width=16, norm=norm).build(pictures(28), 0)
    kinds = [type(layer) for layer in network.modules()]
    assert kinds.count(nn.Conv2d) == 13
    assert kinds.count(nn.Linear) == 3
    assert kinds.count(nn.BatchNorm2d) == (13 if norm == "batch" else 0)
    assert sum(p.numel() for p in network.features.parameters() if p.dim() == 4) == 14_710_464  # configuration D's


@pytest.mark.parametrize(
    ("size", "left", "poolings"),
    [(16, 1, 4), (17, 1, 4), (28, 1, 4), (31, 1, 4), (32, 1, 5), (48, 1, 5), (64, 2, 5), (224, 7, 5), (1, 1, 0)],
)
def test_small_pictures_go_through_fewer_poolings(size: int, left: int, poolings: int) -> None:
    layers = nn.Sequential(*(nn.MaxPool2d(2) if i % 2 else nn.Conv2d(1, 1, 3, padding=1) for i in range(10)))
    assert fit_poolings(layers, size, size) == (left, left)
    assert layers(torch.rand(1, 1, size, size)).shape[2:] == (left, left)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in layers) == poolings


def test_batch_normalisation_bears_a_batch_of_one_row() -> None:
    network = copy.deepcopy(built("vgg16", 28))
    assert torch.isfinite(network.train()(batch(28, 1))).all()


def test_dropout_has_masks_of_its_own_seed() -> None:
    h = torch.ones(200, 50)
    torch.manual_seed(0)
    first, other = Dropout(0.3, 7)(h), Dropout(0.3, 8)(h)
    torch.manual_seed(1)
    layer = Dropout(0.3, 7)
    assert torch.equal(layer(h), first)
    assert not torch.equal(layer(h), first)  # the next step has another mask
    assert not torch.equal(other, first)
    assert first.mean() == pytest.approx(1, abs=0.02)
    assert sorted(first.unique().tolist()) == pytest.approx([0, 1 / 0.7])
    assert torch.equal(layer.eval()(h), h)


def test_dropout_of_a_vgg_in_a_stack_depends_on_the_seed_alone() -> None:
    network, x, out = VGG16(width=8, norm="none", dropout=0.5).build(pictures(28), 0), batch(28), []
    for noise in (0, 1):
        stack = Stack([network])
        torch.manual_seed(noise)
        out.append([stack.features(x), stack.features(x)])
    assert torch.equal(out[0][0], out[1][0])
    assert not torch.equal(out[0][0], out[0][1])
    stack.training = False
    assert torch.equal(stack.features(x), stack.features(x))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PyTorch's folder of downloaded weights, empty, and no other one named."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("EQUIPOISE_WEIGHTS", raising=False)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def publish(
    monkeypatch: pytest.MonkeyPatch, title: str, state: dict[str, Tensor], folder: Path, zipped: bool = True
) -> Path:
    """These weights as if torchvision had published them, in `folder`; `zipped` as PyTorch writes files since 1.6."""
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "made.pth", _use_new_zipfile_serialization=zipped)
    digits = hashlib.sha256((folder / "made.pth").read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(models.PUBLISHED, title, f"made-{digits}.pth")
    return (folder / "made.pth").rename(folder / f"made-{digits}.pth")


def test_random_weights_are_the_default() -> None:
    assert [MODELS[name]().weights for name in ("resnet18", "vgg16")] == ["random", "random"]
    assert all("weights" in {c.name for c in controls_of(MODELS[name])} for name in ("resnet18", "vgg16"))


def test_the_published_names_are_torchvisions() -> None:
    from torchvision.models import ResNet18_Weights, VGG16_BN_Weights, VGG16_Weights

    kinds = {"ResNet-18": ResNet18_Weights, "VGG-16": VGG16_Weights, "VGG-16-BN": VGG16_BN_Weights}
    for title, kind in kinds.items():
        assert kind.IMAGENET1K_V1.url == models.PUBLISHER + models.PUBLISHED[title]
        shown = kind.IMAGENET1K_V1.transforms()
        assert (tuple(shown.mean), tuple(shown.std)) == (models.Standardised.MEAN, models.Standardised.SD)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (ResNet18(weights="imagenet"), "resnet18-f37072fd.pth"),
        (VGG16(weights="imagenet", width=4), "vgg16_bn-6c64b313.pth"),
        (VGG16(weights="imagenet", width=4, norm="none"), "vgg16-397923af.pth"),
    ],
)
def test_missing_weights_are_named_with_where_they_may_lie(
    model: Any, name: str, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EQUIPOISE_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(UserError) as caught:
        model.build(pictures(48), 0)
    sentence = str(caught.value)
    for words in (name, str(tmp_path / "mine"), str(hub), "EQUIPOISE_WEIGHTS", "weights = random"):
        assert words in sentence
    assert list(hub.iterdir()) == []  # nothing was fetched


def test_pretrained_networks_see_standardised_colours() -> None:
    from torchvision.transforms.functional import normalize

    expected = normalize(batch(28), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.allclose(models.Standardised()(batch(28)), expected)


def test_resnets_weights_are_read(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(11)
    theirs = resnet18()
    theirs.train()(batch(48))  # running statistics are part of the file
    publish(monkeypatch, "ResNet-18", theirs.state_dict(), hub)
    ours = ResNet18(weights="imagenet").build(pictures(48), 0).eval()
    theirs.fc = nn.Identity()
    assert torch.equal(ours.features(batch(48)), theirs.eval()(models.Standardised()(batch(48))))
    assert torch.equal(ours.head.weight, built("resnet18", 48).head.weight)  # drawn from the seed as ever


def test_resnets_weights_do_not_fit_small_pictures() -> None:
    with pytest.raises(UserError, match=r"more than 32 pixels, and those of noise have 32; choose larger ones"):
        ResNet18(weights="imagenet").build(pictures(32), 0)


def test_vggs_weights_are_read_for_small_pictures_too(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import vgg16_bn

    donor = built("vgg16", 28, 1).state_dict()
    with torch.device("meta"):
        theirs = vgg16_bn().state_dict()
    names = [name for name in theirs if name.startswith("features.")]
    state = {name: donor[shifted(name)] for name in names if "num_batches" not in name}  # which old files lack
    state["classifier.0.bias"] = torch.zeros(4096)  # the dense layers do not fit and stay as drawn
    publish(monkeypatch, "VGG-16-BN", state, tmp_path / "mine", zipped=False)
    monkeypatch.setenv("EQUIPOISE_WEIGHTS", str(tmp_path / "mine"))

    ours = VGG16(weights="imagenet", width=16).build(pictures(28), 0)
    assert isinstance(ours.features[0], models.Standardised)
    loaded = ours.state_dict()
    for name in state.keys() - {"classifier.0.bias"}:
        assert torch.equal(loaded[shifted(name)], donor[shifted(name)]), name
        assert loaded[shifted(name)].shape == theirs[name].shape, name
    dense = loaded.keys() - set(map(shifted, names))
    drawn = built("vgg16", 28).state_dict()
    assert len(dense) == 6
    assert all(torch.equal(loaded[key], drawn[key]) for key in dense)


def shifted(name: str) -> str:
    """torchvision's name of a weight as ours: one layer comes first."""
    whole, number, kind = name.split(".")
    return f"{whole}.{int(number) + 1}.{kind}"


@pytest.mark.parametrize("how", ["changed", "cut short", "no weights at all"])
def test_a_damaged_file_is_refused(how: str, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = publish(monkeypatch, "ResNet-18", nn.Linear(2, 2).state_dict(), hub)
    if how == "changed":
        path.write_bytes(path.read_bytes()[::-1])
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[:100])
    else:
        named = hub / f"made-{hashlib.sha256(b'hello').hexdigest()[:8]}.pth"
        named.write_bytes(b"hello")
        monkeypatch.setitem(models.PUBLISHED, "ResNet-18", named.name)
    with pytest.raises(UserError, match=r"made-.*\.pth is not the file torchvision publishes; fetch it again from"):
        ResNet18(weights="imagenet").build(pictures(48), 0)
