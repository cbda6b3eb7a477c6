"""Autoencoders, what is kept of them, and by what it is found again."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairness_core import codes, exhibits, vae
from fairness_core.config import UserError
from fairness_core.datasets import Dataset, Split
from fairness_core.generators import ran
from fairness_core.vae import Block, Settings, blocks_of
from tests.tiny import tiny_dataset

QUICK = Settings(size=3, steps=60)
LEVELS = ("job=a", "job=b", "job=c")


def made(data: Dataset, settings: Settings = QUICK, folder: Path | None = None, mode: str = codes.MEAN) -> Any:
    """The codes, and the steps that were told."""
    return ran(codes.coded(data, settings, mode, folder))


def with_rows(x: Any, features: tuple[str, ...] = ()) -> Dataset:
    """tiny_dataset with inputs x(rows, generator)."""
    data, rng = tiny_dataset(n=300), np.random.default_rng(5)
    splits: dict[str, Any] = {role: dataclasses.replace(s, x=x(s, rng)) for role, s in codes._splits(data).items()}
    return dataclasses.replace(data, **splits, features=features)


def mixed(split: Split, rng: np.random.Generator) -> np.ndarray:
    """A number that one factor moves, and a category that it decides."""
    factor = rng.normal(size=len(split))
    job = np.eye(3)[np.digitize(factor, [-0.5, 0.5])]
    return np.concatenate([factor[:, None], job], 1).astype(np.float32)


def faces(edge: int, channels: int = 3) -> Dataset:
    def pictures(split: Split, rng: np.random.Generator) -> np.ndarray:
        bright = rng.integers(0, 255, (len(split), 1, 1, 1))
        return np.broadcast_to(bright, (len(split), channels, edge, edge)).astype(np.uint8)

    return with_rows(pictures)


def test_neighbouring_columns_of_one_name_are_a_category_if_their_values_are() -> None:
    features = ("age", *LEVELS, "a=1", "a=2", "single=x")
    x = np.array([[0.3, 1, 0, 0, 1, 1, 1], [1.0, 0, 0, 0, 0, 1, 0]], np.float32)
    assert blocks_of(features, x) == (
        Block(0, 1, False), Block(1, 4, True), Block(4, 5, False), Block(5, 6, False), Block(6, 7, False)
    )  # fmt: skip


def test_the_loss_of_a_table_is_that_of_numbers_and_categories() -> None:
    net = vae.build(np.array([[0.0, 1, 0, 0], [0.0, 0, 1, 0]], np.float32), ("n", *LEVELS), Settings(size=2))
    assert isinstance(net, vae.TableVAE)
    z, x = torch.randn(5, 2), torch.tensor([[0.5, 0.0, 1.0, 0.0]]).repeat(5, 1)
    out = net.decoder(z)
    expected = 0.5 * (out[:, 0] - 0.5) ** 2 - out[:, 1:].log_softmax(1)[:, 1]
    assert torch.allclose(net.reconstruction(z, x), expected)
    assert torch.allclose(net.decode(z)[:, 1:].sum(1), torch.ones(5))


@pytest.mark.parametrize(("edge", "channels"), [(12, 3), (28, 1), (33, 3), (48, 3), (64, 3)])
def test_pictures_come_back_in_their_own_size(edge: int, channels: int) -> None:
    x = np.zeros((2, channels, edge, edge), np.uint8)
    net = vae.build(x, (), Settings(size=4))
    assert net(vae.as_numbers(torch.from_numpy(x))).shape == (2, 4)
    assert net.decode(torch.zeros(2, 4)).shape == x.shape


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    mean, log_variance = torch.tensor([[0.7]]), torch.tensor([[-0.4]])
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    assert torch.allclose(vae.divergence(mean, log_variance), theirs)


@pytest.mark.parametrize("kind", vae.KINDS)
def test_every_kind_learns_and_says_how(kind: str) -> None:
    data = with_rows(mixed, ("n", *LEVELS))
    found, told = made(data, Settings(kind, size=3, steps=120))
    first, last = told[0][1], told[-1][1]
    assert [step for step, _ in told] == sorted(step for step, _ in told)
    assert told[-1][0] == 120
    assert last["vae_reconstruction"] + last["vae_kl"] < first["vae_reconstruction"] + first["vae_kl"]
    assert ("vae_dependence" in last) == (kind in ("factor", "ffvae"))
    assert ("vae_sensitive" in last) == (kind == "ffvae")
    assert found.train.x.shape == (300, 3)
    assert found.train.x.dtype == np.float32
    assert np.array_equal(found.train.s, data.train.s)


def test_codes_say_what_the_rows_have_in_common() -> None:
    found, _ = made(with_rows(mixed, ("n", *LEVELS)), Settings(size=3, steps=800))
    assert found.told["explained"][0] > 0.7
    assert (found.told["variance"] > codes.ACTIVE).sum() >= 1
    assert found.told["traversals"].shape == (3, len(codes.POSITIONS), 4)


def test_ffvae_puts_the_attribute_into_its_own_number() -> None:
    data = tiny_dataset(n=1000, bias=3.0)
    found, _ = made(data, Settings("ffvae", size=4, gamma=1.0, alpha=10.0, steps=500))
    z, s = found.test.x, found.test.s
    own = [abs(float(np.corrcoef(z[:, j], s)[0, 1])) for j in range(4)]
    assert int(np.argmax(own)) == 3
    assert vae.sensitive_columns((2,)) == [-1]
    assert vae.sensitive_columns((2, 3)) == [-4, -3, -2, -1]


def test_permuted_columns_keep_their_values_and_lose_each_other() -> None:
    z = torch.arange(100.0).repeat(2, 1).t().contiguous()
    apart = vae.shuffled(z, torch.Generator().manual_seed(0), [1])
    assert torch.equal(apart[:, 0], z[:, 0])
    assert not torch.equal(apart[:, 1], z[:, 1])
    assert torch.equal(apart[:, 1].sort().values, z[:, 1])


def test_a_second_attribute_finds_the_autoencoder_of_the_first(tmp_path: Path) -> None:
    data = tiny_dataset()
    one, told = made(data, folder=tmp_path)
    other = dataclasses.replace(data, train=dataclasses.replace(data.train, s=1 - data.train.s, y=1 - data.train.y))
    two, again = made(other, folder=tmp_path)
    assert told
    assert not again
    assert (one.reused, two.reused) == (False, True)
    assert one.key == two.key
    assert one.seconds == two.seconds > 0
    assert np.array_equal(one.test.x, two.test.x)
    assert np.array_equal(two.train.s, other.train.s)
    x = torch.from_numpy(data.test.x)
    assert torch.equal(one.encoder(x), two.encoder(x))
    assert np.allclose(one.encoder(x).detach().numpy(), one.test.x, atol=1e-6)


def test_other_rows_or_settings_need_another_autoencoder() -> None:
    data = tiny_dataset()
    key = codes.key_of(data, QUICK)
    fewer = dataclasses.replace(data, train=dataclasses.replace(data.train, x=data.train.x[1:]))
    assert codes.key_of(fewer, QUICK) != key
    assert codes.key_of(data, dataclasses.replace(QUICK, seed=1)) != key
    assert codes.key_of(data, dataclasses.replace(QUICK, beta=9.0)) == key  # which only the kind beta looks at
    flipped = dataclasses.replace(data, train=dataclasses.replace(data.train, s=1 - data.train.s))
    fair = Settings("ffvae", size=3)
    assert codes.key_of(flipped, fair) != codes.key_of(data, fair)


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    found, _ = made(tiny_dataset(), folder=tmp_path)
    path = tmp_path / f"{found.key}.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    again, told = made(tiny_dataset(), folder=tmp_path)
    assert told
    assert not again.reused
    assert np.array_equal(found.train.x, again.train.x)
    assert "losses" in exhibits.told(path)
    assert exhibits.told(tmp_path / "nothing") == {}


def test_a_sample_is_drawn_once() -> None:
    one, two = (made(tiny_dataset(), mode=codes.SAMPLE)[0] for _ in range(2))
    mean, _ = made(tiny_dataset())
    assert np.array_equal(one.train.x, two.train.x)
    assert not np.allclose(one.train.x, mean.train.x)


def test_pictures_keep_what_the_page_shows() -> None:
    found, _ = made(faces(16), Settings(size=2, steps=40))
    told = found.told
    assert told["pictures"].shape == told["reconstructions"].shape == (codes.SHOWN, 3, 16, 16)
    assert told["traversals"].shape == (codes.TRAVERSED, 2, len(codes.POSITIONS), 3, 16, 16)
    assert told["traversals"].dtype == np.uint8


def test_what_does_not_fit_is_said_in_one_sentence() -> None:
    with pytest.raises(UserError, match="at least 12 pixels"):
        made(faces(8))
    with pytest.raises(UserError, match="leaves no number"):
        made(tiny_dataset(groups=4), Settings("ffvae", size=4))


def test_intersections_come_apart_into_attributes() -> None:
    data = dataclasses.replace(tiny_dataset(groups=4), groups=("F & old", "F & young", "M & old", "M & young"))
    found = codes.attributes_of(data)
    assert found.levels == (2, 2)
    assert found.of.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert found.names == (("F", "M"), ("old", "young"))
    plain = dataclasses.replace(data, groups=("a & b", "c", "d", "e"))
    assert codes.attributes_of(plain).levels == (4,)
