"""CelebA: any of forty attributes as target or group, one or several, of the photographs that are here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fairness_core.config import UserError
from fairness_core.datasets.celeba import AEDA_TARGETS, ATTRIBUTES, CelebA
from tests.pictures import write_celeba

pytestmark = pytest.mark.usefixtures("empty_cache")


def test_one_attribute_is_a_binary_target_in_its_own_words(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    data = CelebA(target="Gray_Hair", sensitive="Male x Young", size=16).load(tmp_path)
    assert (data.task, data.classes, data.targets) == ("binary", ("not Gray Hair", "Gray Hair"), ())
    assert data.groups == ("Female & not Young", "Female & Young", "Male & not Young", "Male & Young")
    frame = CelebA.read(tmp_path)
    group = 2 * (frame["Male"] == "present") + (frame["Young"] == "present")
    assert np.array_equal(data.train.s, group[frame.index == 0])
    assert np.array_equal(data.train.y, (frame["Gray_Hair"] == "present")[frame.index == 0])
    assert data.features == ()


def test_several_attributes_are_several_targets_at_once(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    data = CelebA(target=", ".join(AEDA_TARGETS), size=16).load(tmp_path)
    assert (data.task, data.targets, data.classes) == ("multilabel", AEDA_TARGETS, ("absent", "present"))
    assert (data.train.y.shape, data.train.y.dtype) == ((60, 17), np.int64)
    one = CelebA(target="Young", size=16).load(tmp_path)
    assert np.array_equal(data.train.y[:, AEDA_TARGETS.index("Young")], one.train.y)


def test_the_papers_targets_are_seventeen_other_attributes() -> None:
    assert len(AEDA_TARGETS) == len(set(AEDA_TARGETS)) == 17
    assert set(AEDA_TARGETS) < set(ATTRIBUTES)
    assert "Male" not in AEDA_TARGETS
    assert len(set(ATTRIBUTES)) == 40


def test_the_page_sees_every_attribute_but_the_target(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    rows = CelebA(size=16).explore(tmp_path, "test")
    assert set(rows.frame.columns) == set(ATTRIBUTES) - {"Attractive"}
    assert set(np.unique(rows.frame.to_numpy(str))) == {"absent", "present"}
    assert (rows.target, rows.sensitive, rows.groups) == ("Attractive", ("Male",), ("Female", "Male"))
    assert len(rows.frame) == len(rows.y) == len(rows.s) == 30


def test_only_the_pictures_that_are_here_count(tmp_path: Path) -> None:
    write_celeba(tmp_path, 60, listed=80, shares=(0.25, 0.25, 0.5))
    assert len(CelebA.read(tmp_path)) == 60
    assert CelebA.remarks(tmp_path) == (
        "60 of the 80 photographs that list_attr_celeba.txt lists are here; only these count.",
    )
    data = CelebA(size=16).load(tmp_path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [20, 20, 20]


def test_a_part_without_pictures_is_one_sentence(tmp_path: Path) -> None:
    write_celeba(tmp_path, 60, listed=120)
    with pytest.raises(UserError, match=r"none of the photographs here to validation; choose split = 60:20:20"):
        CelebA(size=16).load(tmp_path)
    data = CelebA(size=16, split="60:20:20").load(tmp_path)
    assert min(len(data.train), len(data.validation), len(data.test)) >= 10


def test_damaged_celeba_texts_are_one_sentence_each(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path, 12)
    names, partition = folder / "list_attr_celeba.txt", folder / "list_eval_partition.txt"
    text, parts = names.read_text(), partition.read_text()
    row = text.splitlines()[5]
    for broken, why in (
        (text.replace("Attractive", "Pretty"), "does not name the 40 attributes"),
        (text.replace(row + "\n", ""), "announces 12 photographs and lists 11"),
        (text.replace(row, row[:-2] + " 7"), "neither -1 nor 1"),
        (text[: len(text) // 2], "not as published"),
        ("", "does not name the 40 attributes"),
    ):
        names.write_text(broken)
        with pytest.raises(UserError, match=why):
            CelebA.read(tmp_path)
    names.write_text(text)
    for broken, why in (
        (parts.replace("000003.jpg 0\n", ""), r"it gives 000003\.jpg to none of the parts"),
        (parts.replace("000003.jpg 0", "000003.jpg 5"), r"it gives 000003\.jpg to none of the parts"),
    ):
        partition.write_text(broken)
        with pytest.raises(UserError, match=why):
            CelebA.read(tmp_path)


def test_celeba_counts_are_the_published_ones_of_the_first_ten_thousand(real_data: Path) -> None:
    frame = CelebA.read(real_data)
    assert len(frame) == 10_000
    assert np.bincount(frame.index).tolist() == [8000, 1000, 1000]
    present = (frame == "present").set_axis(range(len(frame)))
    found = {"Male": 4217, "Smiling": 4822, "Attractive": 5115, "Blond_Hair": 1452}
    assert {name: int(present[name].sum()) for name in found} == found
    for name, women, men in (("Smiling", 54.7, 39.3), ("Attractive", 68.7, 27.1), ("Blond_Hair", 23.7, 1.9)):
        by_gender = 100 * present[name].groupby(present["Male"]).mean()
        assert by_gender.round(1).tolist() == [women, men]


def test_real_photographs_load(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (folder / name).symlink_to(real_data / "celeba" / name)
    for i in (*range(1, 101), *range(8001, 8051), *range(9001, 9051)):
        (folder / f"img_align_celeba/{i:06d}.jpg").symlink_to(real_data / f"celeba/img_align_celeba/{i:06d}.jpg")
    data = CelebA().load(tmp_path)
    assert [part.x.shape for part in (data.train, data.validation, data.test)] == [
        (n, 3, 64, 64) for n in (100, 50, 50)
    ]
    assert 60 < data.train.x.mean() < 180
    assert data.train.x.std((1, 2, 3)).min() > 10  # no picture is blank
