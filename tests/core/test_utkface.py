"""UTKFace: age, gender and race from the file names, and no picture in two parts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fairness_core.config import UserError
from fairness_core.datasets import images
from fairness_core.datasets.images import Album
from fairness_core.datasets.utkface import FIVE_RACES as FIVE
from fairness_core.datasets.utkface import RACES, UTKFace
from fairness_core.datasets.utkface import THREE_RACES as THREE
from fairness_core.datasets.utkface import TWO_RACES as TWO
from tests.pictures import write_utkface

pytestmark = pytest.mark.usefixtures("empty_cache")


def test_target_and_groups_come_from_the_file_names(tmp_path: Path) -> None:
    write_utkface(tmp_path, n=200)
    data = UTKFace(size=16).load(tmp_path)
    assert (data.task, data.classes) == ("binary", ("male", "female"))
    assert data.groups == ("Asian", "Black", "Indian", "Other", "White")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [120, 40, 40]
    frame = UTKFace.read(tmp_path)
    name = UTKFace.album(tmp_path).names[17]
    age, gender, race = map(int, name.split("_")[:3])
    assert frame.iloc[17].tolist() == [age, ("male", "female")[gender], RACES[race]]


def test_age_is_a_regression_or_classes_between_cuts(tmp_path: Path) -> None:
    write_utkface(tmp_path, n=400)
    years = UTKFace(target="age", sensitive="gender x race", size=16).load(tmp_path)
    assert (years.task, years.train.y.dtype, len(years.groups)) == ("regression", np.float32, 10)
    assert (years.train.y.min() >= 1, years.train.y.max() <= 100) == (True, True)
    assert len(years.classes) == len(years.edges) + 1
    groups = UTKFace(target="age group", age_group_cut="20,60", sensitive="gender", size=16).load(tmp_path)
    assert (groups.task, groups.classes) == ("multiclass", ("age < 20", "age 20 to < 60", "age >= 60"))
    ages = UTKFace.read(tmp_path)["age"]
    counts = sum(np.bincount(part.y) for part in (groups.train, groups.validation, groups.test))
    assert counts.tolist() == [(ages < 20).sum(), ((ages >= 20) & (ages < 60)).sum(), (ages >= 60).sum()]
    two = UTKFace(target="age group", size=16)
    assert (two.chosen_task, two.chosen_classes) == ("binary", ("age < 30", "age >= 30"))
    assert "age" not in two.explore(tmp_path).frame
    with pytest.raises(UserError, match="leaves nobody in 'age >= 150'"):
        UTKFace(target="age group", age_group_cut="30,150", size=16).load(tmp_path)
    with pytest.raises(UserError, match="age_group_cut = thirty is not a boundary"):
        UTKFace(target="age group", age_group_cut="thirty", size=16).load(tmp_path)


def test_age_as_group_is_cut(tmp_path: Path) -> None:
    write_utkface(tmp_path, n=200)
    data = UTKFace(sensitive="age x gender", target="race", age_cut="18", size=16).load(tmp_path)
    assert data.groups == ("age < 18 & female", "age < 18 & male", "age >= 18 & female", "age >= 18 & male")
    assert data.classes == RACES


def test_races_can_be_three_groups_or_two(tmp_path: Path) -> None:
    write_utkface(tmp_path, n=200)
    five, three = (UTKFace(target="age group", races=races, size=16).load(tmp_path) for races in (FIVE, THREE))
    assert three.groups == ("Asian, Indian or Other", "Black", "White")
    joined = np.array([0, 1, 0, 0, 2])  # Asian, Black, Indian, Other, White
    count = np.zeros(3, int)
    np.add.at(count, joined, sum(np.bincount(part.s, minlength=5) for part in (five.train, five.validation, five.test)))
    assert sum(np.bincount(part.s) for part in (three.train, three.validation, three.test)).tolist() == count.tolist()
    two = UTKFace(target="age group", races=TWO, size=16).load(tmp_path)
    assert two.groups == ("Non-White", "White")
    assert np.array_equal(np.bincount(two.train.s), [(three.train.s < 2).sum(), (three.train.s == 2).sum()])


def test_merged_races_can_be_the_target(tmp_path: Path) -> None:
    write_utkface(tmp_path, n=200)
    five, three, two = (
        UTKFace(target="race", sensitive="gender", races=races, size=16).load(tmp_path) for races in (FIVE, THREE, TWO)
    )
    assert three.classes == ("White", "Black", "Asian, Indian or Other")
    assert (two.classes, two.task) == (("White", "Non-White"), "binary")
    count = sum(np.bincount(part.y, minlength=5) for part in (five.train, five.validation, five.test))
    for data in (three, two):
        *kept, rest = sum(np.bincount(part.y) for part in (data.train, data.validation, data.test))
        assert [*kept, rest] == [*count[: len(kept)], count[len(kept) :].sum()]


def test_copies_of_a_picture_stay_in_one_part(tmp_path: Path) -> None:
    folder = write_utkface(tmp_path, n=100)
    album = UTKFace.album(tmp_path)
    copied = album.names[::4]
    for name in copied:
        age, *rest = name.split("_")
        shutil.copy(folder / name, folder / "_".join([str((int(age) + 9) % 100 + 1), *rest[:2], "9" + rest[2]]))
    assert len(UTKFace.album(tmp_path).names) == 125
    assert UTKFace.remarks(tmp_path) == ("25 pictures are exact copies of others and stay in the same part as those.",)
    for seed in range(3):
        parts = UTKFace(size=16, split_seed=seed).prepare(tmp_path).parts
        names = UTKFace.album(tmp_path).names
        contents = [{(folder / names[row]).read_bytes() for row in part} for part in parts]
        assert sum(map(len, parts)) == 125
        assert sum(map(len, contents)) == 100  # nothing is in two of them
        assert min(map(len, contents)) >= 15


def test_odd_names_are_left_out_and_counted(tmp_path: Path) -> None:
    good = ("24_0_1_20170116220224657 .jpg.chip.jpg", "55_0_0_20170116232725357jpg.chip.jpg", "7_1_4_2017.JPG")
    bad = ("61_1_20170109150557335.jpg.chip.jpg", "9_2_0_2017.jpg.chip.jpg", "9_1_5_2017.jpg.chip.jpg", "me.jpg")
    write_utkface(tmp_path, (*good, *bad), n=20)
    assert set(good) < set(UTKFace.album(tmp_path).names)
    assert len(UTKFace.read(tmp_path)) == 23
    assert UTKFace.remarks(tmp_path) == ("4 pictures whose names do not read age_gender_race_date are left out.",)


def test_utkface_is_found_where_its_archive_unpacks_it(tmp_path: Path, empty_cache: Path) -> None:
    write_utkface(tmp_path, n=4)
    for place in (tmp_path / "a" / "UTKFace", tmp_path / "b" / "utkface" / "UTKFace", tmp_path / "c"):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(tmp_path / "utkface", place)
    digests = {UTKFace.data_hash(tmp_path / root) for root in (".", "a", "b", "c")}
    assert len(digests) == 1
    shutil.copytree(tmp_path / "utkface", empty_cache / "utkface")
    assert {UTKFace.data_hash(None)} == digests


def test_utkface_counts_are_the_published_ones(real_data: Path, monkeypatch) -> None:
    monkeypatch.setattr(Album, "first_copies", lambda album: np.arange(len(album.names)))
    frame = UTKFace.read(real_data)
    assert len(frame) == 23_704
    assert frame["gender"].value_counts().to_dict() == {"male": 12_390, "female": 11_314}
    races = {"White": 10_078, "Black": 4_525, "Asian": 3_434, "Indian": 3_975, "Other": 1_692}
    assert frame["race"].value_counts().to_dict() == races
    assert (frame["age"].min(), frame["age"].max()) == (1, 116)
    assert round(100 * (frame["age"] <= 30).mean(), 1) == 53.4


def test_real_copies_with_another_age_are_known(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "utkface"
    folder.mkdir()
    twins = ("103_0_2_20170112213001988.jpg.chip.jpg", "80_0_2_20170111201008732.jpg.chip.jpg")
    others = [name for name in images.listing(real_data / "utkface") if name.startswith(("27_0_1_", "33_1_0_"))][:60]
    for name in {*twins, *others}:
        (folder / name).symlink_to(real_data / "utkface" / name)
    rows = dict(zip(UTKFace.album(tmp_path).names, UTKFace.album(tmp_path).first_copies(), strict=True))
    assert rows[twins[0]] == rows[twins[1]]
    assert UTKFace(size=64).load(tmp_path).train.x.shape[1:] == (3, 64, 64)
