"""C-MNIST: the stated colours, deterministic in training if wanted, both of them everywhere else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fairness_core.config import UserError
from fairness_core.datasets import mnist
from fairness_core.datasets.cmnist import ColouredMnist, paint
from tests.pictures import write_mnist

pytestmark = pytest.mark.usefixtures("empty_cache")


def test_grounds_are_pure_red_and_brown_under_a_white_digit() -> None:
    grey = np.zeros((2, 28, 28), np.uint8)
    grey[:, 0, :3] = (255, 51, 1)
    red, brown = paint(grey, np.array([0, 1]))
    assert red[:, 9, 9].tolist() == [255, 0, 0]
    assert brown[:, 9, 9].tolist() == [165, 42, 42]
    assert red[:, 0, 0].tolist() == brown[:, 0, 0].tolist() == [255, 255, 255]
    assert red[:, 0, 1].tolist() == [255, 51, 51]
    assert brown[:, 0, 1].tolist() == [183, 85, 85]  # 51 + 0.8 * (165, 42, 42) = 183, 84.6, 84.6
    assert brown[:, 0, 2].tolist() == [165, 43, 43]  # 1 + 254/255 * 42 = 42.8


def test_the_training_colour_follows_from_the_digit_and_only_there(tmp_path: Path) -> None:
    write_mnist(tmp_path, 200, 50)
    data = ColouredMnist().load(tmp_path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [180, 40, 100]
    assert np.array_equal(data.train.s, data.train.y >= 5)
    for part in (data.validation, data.test):
        half = len(part) // 2
        assert part.s.tolist() == [0] * half + [1] * half
        assert np.array_equal(part.y[:half], part.y[half:])
        assert np.bincount(part.y).tolist() == [len(part) // 10] * 10
    assert (data.groups, data.classes, data.task) == (("red", "brown"), tuple("0123456789"), "multiclass")


def test_test_pairs_are_the_same_digit_on_both_grounds(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    test = ColouredMnist().load(tmp_path).test
    red, brown = test.x[:50].astype(float), test.x[50:].astype(float)
    assert (red[:, 0] == 255).all()
    grey = red[:, 1]  # over a ground without green the green channel is the digit
    for channel, ground in enumerate((165, 42, 42)):
        assert np.abs(brown[:, channel] - (grey + (255 - grey) * ground / 255)).max() <= 0.5


def test_p_align_is_how_often_the_colour_fits(tmp_path: Path) -> None:
    write_mnist(tmp_path, 4000, 10)
    fits = {}
    for p in (0.5, 0.8, 0.95, 1.0):
        source = ColouredMnist(p_align=p)
        train = source.load(tmp_path).train
        fits[p] = train.s == (train.y >= 5)
        assert abs(fits[p].mean() - p) <= 3 * np.sqrt(p * (1 - p) / len(train))
    assert (fits[0.8] <= fits[0.95]).all()  # turning the dial up recolours digits only towards their half
    other = ColouredMnist(p_align=0.8, split_seed=1).load(tmp_path).train
    assert not np.array_equal(other.s == (other.y >= 5), fits[0.8])


def test_the_bundled_digits_are_there_without_any_file(empty_cache: Path) -> None:
    assert ColouredMnist.missing(None) == ""
    data = ColouredMnist().load(None)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [3600, 800, 2000]
    for part in (data.train, data.validation, data.test):
        assert np.bincount(part.y).tolist() == [len(part) // 10] * 10
    seen = {row.tobytes() for row in data.train.x[:, 1]}  # green: the digit on red
    assert not seen & {row.tobytes() for part in (data.validation, data.test) for row in part.x[part.s == 0, 1]}


def test_all_of_mnist_is_read_from_every_layout_people_have(tmp_path: Path) -> None:
    found = []
    for i, layout in enumerate(("MNIST/raw", "raw", "")):
        for packed in (True, False):
            root = tmp_path / f"{i}{packed}"
            folder = write_mnist(root, 60, 20, layout=layout, packed=packed)
            found.append(ColouredMnist().load(root).test.x)
            if layout == "":
                found.append(ColouredMnist().load(folder).test.x)
    assert all(np.array_equal(found[0], other) for other in found)


def test_the_number_of_digits_can_be_chosen(tmp_path: Path) -> None:
    write_mnist(tmp_path, 60, 20)
    assert len(ColouredMnist(digits="60000").load(tmp_path).test) == 40
    assert len(ColouredMnist(digits="5000").load(tmp_path).test) == 2000
    assert ColouredMnist.data_hash(tmp_path) != ColouredMnist.data_hash(None)
    with pytest.raises(UserError, match=r"digits = 60000 needs all of MNIST: .*train-images-idx3-ubyte\.gz"):
        ColouredMnist(digits="60000").load(None)


def test_damaged_digits_are_one_sentence(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path, 60, 20, packed=False)
    pictures, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    whole = pictures.read_bytes()
    for content in (b"", whole[:3], whole[:9], whole[:-1], b"\0\0\x09" + whole[3:], whole + b"0"):
        pictures.write_bytes(content)
        with pytest.raises(UserError, match="train-images-idx3-ubyte is not as published"):
            ColouredMnist().load(tmp_path)
    pictures.write_bytes(whole)
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x0a")
    with pytest.raises(UserError, match="do not fit together"):
        ColouredMnist().load(tmp_path)
    shutil.rmtree(folder)
    folder = write_mnist(tmp_path / "packed", 60, 20)
    packed = folder / "t10k-images-idx3-ubyte.gz"
    for content in (packed.read_bytes()[:500], b"PK", packed.read_bytes()[:30] + b"\xff" * 30):
        packed.write_bytes(content)
        with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz is not as published"):
            ColouredMnist().load(tmp_path / "packed")


def test_a_page_sees_coloured_digits(tmp_path: Path) -> None:
    write_mnist(tmp_path, 60, 20)
    rows, data = ColouredMnist().explore(tmp_path, "test"), ColouredMnist().load(tmp_path)
    assert rows.images is not None
    assert np.array_equal(rows.images[:], data.test.x)
    assert np.array_equal(rows.images[[25, 3]], data.test.x[[25, 3]])
    assert np.array_equal(rows.images[25], data.test.x[25])
    assert rows.frame["colour"].tolist() == ["red"] * 20 + ["brown"] * 20
    assert (rows.target, rows.sensitive) == ("digit", ("colour",))


def test_full_mnist_makes_the_papers_numbers(real_data: Path) -> None:
    data = ColouredMnist().load(real_data)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [54_000, 12_000, 20_000]
    digits = np.bincount(np.concatenate([data.train.y, data.validation.y[:6000]]))
    assert digits.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.test.y[:10_000]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.array_equal(data.train.s, data.train.y >= 5)
    assert data.train.x.dtype == np.uint8
    assert mnist.OFFICIAL.sha256["MNIST/raw/train-images-idx3-ubyte.gz"].startswith("440fcabf")
