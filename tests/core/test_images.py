"""Pictures: decoded once, kept with their attributes, and no sentence short when something is missing or broken."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fairness_core import datasets
from fairness_core.config import UserError, complete, controls_of
from fairness_core.datasets import images
from fairness_core.datasets.celeba import CelebA
from fairness_core.datasets.cmnist import ColouredMnist
from fairness_core.datasets.utkface import UTKFace
from tests.pictures import SHADES, write_celeba, write_mnist, write_utkface

pytestmark = pytest.mark.usefixtures("empty_cache")
SOURCES = (CelebA, UTKFace, ColouredMnist)


def pixel_files(cache: Path) -> list[Path]:
    return sorted((cache / "pixels").glob("*-??-*.npy"))


def test_a_picture_is_its_centred_square_resized(tmp_path: Path) -> None:
    pixels = np.zeros((30, 20, 3), np.uint8)
    pixels[5:25, :10] = (255, 0, 0)
    pixels[5:25, 10:] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "flag.png")
    whole = images.decode(tmp_path / "flag.png", 20)
    assert np.array_equal(whole, pixels[5:25].transpose(2, 0, 1))  # the black margins are gone
    small = images.decode(tmp_path / "flag.png", 10)
    assert small.shape == (3, 10, 10)
    assert small[:, :, 0].T.tolist() == [[255, 0, 0]] * 10
    assert small[:, :, -1].T.tolist() == [[0, 0, 255]] * 10


def test_grey_pictures_get_three_channels(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "grey.png")
    assert np.unique(images.decode(tmp_path / "grey.png", 16)).tolist() == [77]


def test_pictures_are_decoded_once_into_memory_mapped_bytes(tmp_path: Path, empty_cache: Path, monkeypatch) -> None:
    write_celeba(tmp_path, 40)
    first = CelebA(size=16).load(tmp_path)
    assert first.train.x.dtype == np.uint8
    assert first.train.x.shape == (20, 3, 16, 16)
    assert not first.train.x.flags.owndata  # a published part that follows in a row is not copied
    [path] = pixel_files(empty_cache)
    assert not path.with_suffix(".part").exists()

    monkeypatch.setattr(images, "decode", lambda *_: pytest.fail("decoded a second time"))
    again = CelebA(size=16, target="Smiling", sensitive="Young").load(tmp_path)
    assert np.array_equal(first.test.x, again.test.x)


def test_whoever_writes_into_the_pixels_changes_only_their_own_copy(tmp_path: Path) -> None:
    write_celeba(tmp_path, 12)
    pixels = CelebA.album(tmp_path).pixels(16)
    before = pixels.copy()
    pixels[:] = 0
    assert np.array_equal(CelebA.album(tmp_path).pixels(16), before)


def test_another_size_or_another_folder_is_another_file(tmp_path: Path, empty_cache: Path) -> None:
    folder = write_celeba(tmp_path, 40)
    CelebA(size=16).load(tmp_path)
    CelebA(size=32).load(tmp_path)
    assert len(pixel_files(empty_cache)) == 2
    (folder / "img_align_celeba" / "000003.jpg").unlink()
    assert len(CelebA(size=16).load(tmp_path).train) == 19
    assert len(pixel_files(empty_cache)) == 3


def test_two_at_once_decode_every_picture_once(tmp_path: Path, monkeypatch) -> None:
    write_celeba(tmp_path, 40)
    album, decoded, original = CelebA.album(tmp_path), [], images.decode

    def counting(path: Path, size: int) -> np.ndarray:
        decoded.append(path.name)
        return original(path, size)

    monkeypatch.setattr(images, "decode", counting)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(album.pixels, [16, 16])
    assert np.array_equal(one, other)
    assert sorted(decoded) == list(album.names)


def test_a_broken_picture_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path, empty_cache: Path) -> None:
    folder = write_celeba(tmp_path, 12) / "img_align_celeba"
    whole = (folder / "000007.jpg").read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2], whole[:200]):
        (folder / "000007.jpg").write_bytes(content)
        images._listing.cache_clear()
        with pytest.raises(UserError, match=r"000007\.jpg is not a readable picture; restore it or take it out"):
            CelebA.album(tmp_path).pixels(16)
    assert [p for p in (empty_cache / "pixels").iterdir() if p.suffix != ".lock"] == []


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, empty_cache: Path) -> None:
    write_celeba(tmp_path, 12)
    empty_cache.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="EQUIPOISE_CACHE name another folder"):
        CelebA(size=16).load(tmp_path)


def test_a_page_sees_single_pictures_without_decoding_all(tmp_path: Path, empty_cache: Path, monkeypatch) -> None:
    write_celeba(tmp_path, 40)
    rows = CelebA(size=16).explore(tmp_path, "validation")
    assert rows.images is not None
    assert (len(rows.images), rows.images.shape) == (10, (10, 3, 16, 16))
    early = [rows.images[[7, 2]], rows.images[3], rows.images[2:4], rows.images[np.zeros(0, int)]]
    assert pixel_files(empty_cache) == []
    loaded = CelebA(size=16).load(tmp_path).validation.x
    monkeypatch.setattr(images, "decode", lambda *_: pytest.fail("decoded although the cache has it"))
    late = [rows.images[[7, 2]], rows.images[3], rows.images[2:4], rows.images[np.zeros(0, int)]]
    expected = [loaded[[7, 2]], loaded[3], loaded[2:4], loaded[:0]]
    for found in (early, late):
        for picture, wanted in zip(found, expected, strict=True):
            assert np.array_equal(picture, wanted)


def test_pictures_stay_with_their_attributes_whatever_the_split(tmp_path: Path) -> None:
    write_celeba(tmp_path, 200)
    for options in ({}, {"split": "60:20:20"}, {"association": 0.1}, {"split": "40:30:30", "split_seed": 3}):
        data = CelebA(size=16, **options).load(tmp_path)
        for part in (data.train, data.validation, data.test):
            bright = part.x.mean((1, 2, 3)) > np.mean(SHADES)
            assert np.array_equal(bright, part.y == 1)


@pytest.mark.parametrize("source", [CelebA, UTKFace])
def test_a_missing_folder_is_one_sentence_that_says_what_to_put_where(source, tmp_path: Path) -> None:
    sentence = source.missing(tmp_path)
    assert "get " in sentence
    assert str(tmp_path / source.name) in sentence
    assert "https://" in sentence
    for act in (source.data_hash, source().load, source().explore, source.fetch):
        with pytest.raises(UserError) as caught:
            act(tmp_path)
        assert str(caught.value) == sentence


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_here_is_neither_missing_nor_fetched(source, tmp_path: Path) -> None:
    write_celeba(tmp_path, 12)
    write_utkface(tmp_path, n=12)
    write_mnist(tmp_path, 20, 10)
    assert source.missing(tmp_path) == ""
    source.fetch(tmp_path)


@pytest.mark.parametrize("source", [CelebA, UTKFace])
def test_two_looks_give_the_same_hash_and_another_picture_another(source, tmp_path: Path) -> None:
    folder = write_celeba(tmp_path, 12) / "img_align_celeba" if source is CelebA else write_utkface(tmp_path, n=12)
    first = source.data_hash(tmp_path)
    images._listing.cache_clear()
    assert source.data_hash(tmp_path) == first
    extra = "000099.jpg" if source is CelebA else "33_1_1_2017.jpg.chip.jpg"
    shutil.copy(next(folder.glob("*.jpg")), folder / extra)
    assert source.data_hash(tmp_path) != first


def test_changed_attributes_are_another_hash(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path, 12)
    first = CelebA.data_hash(tmp_path)
    text = (folder / "list_eval_partition.txt").read_text()
    (folder / "list_eval_partition.txt").write_text(text.replace("000001.jpg 0", "000001.jpg 1"))
    assert CelebA.data_hash(tmp_path) != first


@pytest.mark.parametrize(("source", "attribute"), [(CelebA, "Young"), (UTKFace, "race")])
def test_target_and_group_cannot_be_the_same(source, attribute: str) -> None:
    with pytest.raises(UserError, match=f"{attribute} is both target and sensitive attribute"):
        source(target=attribute, sensitive=attribute)
    with pytest.raises(UserError, match="age is both target and sensitive attribute"):
        UTKFace(target="age group", sensitive="race x age")


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_source_says_of_itself_is_complete(source) -> None:
    assert datasets.SOURCES[source.name] is source
    assert source.kind == "image"
    for text in (source.title, source.origin, source.licence, source.favourable):
        assert text
    for caution in source.cautions:
        assert caution[0].isupper()
        assert caution.endswith(".")
    options = complete(controls_of(source), {}, source.name)
    assert "sensitive_input" not in options  # pixels cannot be dropped
    made = source(**options)
    assert getattr(made, "chosen_classes", source.classes) == source.classes
    assert getattr(made, "chosen_task", source.task) == source.task
