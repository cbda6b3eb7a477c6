"""Adult as published, split and encoded without a look at validation or test."""

import gzip

import numpy as np
import pandas as pd
import pytest

from fairness_core import catalogue, datasets
from fairness_core.config import UserError, complete, controls_of, resolve
from fairness_core.datasets import adult
from fairness_core.datasets.base import encode_table, group_codes, stratified_split


def load(**options: object) -> datasets.Dataset:
    return datasets.load("adult", complete(controls_of(adult.Adult), options, "adult"))  # type: ignore[arg-type]


def test_row_counts_and_label_rates_are_the_published_ones() -> None:
    data = load()
    y = np.concatenate([data.train.y, data.validation.y])
    assert (len(y), int(y.sum())) == (32561, 7841)
    assert (len(data.test), int(data.test.y.sum())) == (16281, 3846)
    assert data.groups == ("Female", "Male")
    assert np.bincount(np.concatenate([data.train.s, data.validation.s])).tolist() == [10771, 21790]


def test_a_run_of_the_bundled_data_set_finds_it_preloaded(tmp_path, monkeypatch) -> None:
    datasets.preload(tmp_path, tmp_path / "tables")
    monkeypatch.delattr(datasets, "source")  # nothing is read again
    config = resolve(catalogue.build(), dataset="adult", method="erm")
    data = datasets.load(config.dataset, config.dataset_options, tmp_path, tmp_path / "tables")
    assert len(data.test) == 16281


def test_the_random_split_is_the_benchmarks_shape() -> None:
    data = load(split="random")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18089, 13567, 13566]
    assert data.train.x.shape[1] == 101
    rates = [part.y.mean() for part in (data.train, data.validation, data.test)]
    assert np.ptp(rates) < 1e-3


def test_intersections_are_groups_of_their_own() -> None:
    data = load(sensitive="sex x race")
    assert len(data.groups) == 10
    assert "Female & Black" in data.groups
    assert not any(name.startswith(("sex=", "race=")) for name in data.features)


def test_the_group_can_be_kept_among_the_inputs() -> None:
    assert not any(name.startswith("sex=") for name in load().features)
    assert "sex=Female" in load(sensitive_input="keep").features


def test_numbers_are_standardised_on_the_training_rows_alone() -> None:
    data = load()
    assert np.allclose(data.train.x[:, :5].mean(0), 0, atol=1e-4)
    assert np.allclose(data.train.x[:, :5].std(0), 1, atol=1e-4)
    frame = pd.DataFrame({"a": [0.0, 2.0, 1000.0], "c": ["u", "v", "never seen"]})
    x, names = encode_table(frame, ["a"], {"c": ["u", "v"]}, np.array([0, 1]))
    assert names == ("a", "c=u", "c=v")
    assert np.allclose(x, [[-1, 1, 0], [1, 0, 1], [999, 0, 0]])


def test_two_loads_give_the_same_rows_and_another_split_seed_others() -> None:
    first = load(split_seed=1)
    datasets._loaded.clear()
    again = load(split_seed=1)
    assert np.array_equal(first.train.x, again.train.x)
    assert not np.array_equal(first.train.y, load(split_seed=2).train.y)


def test_stratified_parts_are_disjoint_cover_all_and_keep_the_shares() -> None:
    strata = np.repeat([0, 1, 2], [1000, 500, 10])
    parts = stratified_split(strata, (0.4, 0.3, 0.3), seed=0)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1510))
    assert [np.bincount(strata[rows]).tolist() for rows in parts] == [[400, 200, 4], [300, 150, 3], [300, 150, 3]]


def test_one_group_only_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"Column colour holds one group only \(red\)"):
        group_codes(pd.DataFrame({"colour": ["red", "red"]}), ["colour"])


def test_a_changed_or_truncated_file_is_one_sentence(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(adult, "FOLDER", tmp_path)
    adult.read_raw.cache_clear()
    whole = gzip.compress(b"39, State-gov, 77516")
    for content, message in (
        (whole, "its checksum differs"),
        (whole[:12], "cannot be read"),
        (b"PK", "cannot be read"),
    ):
        (tmp_path / "adult.data.gz").write_bytes(content)
        with pytest.raises(UserError, match=message):
            adult.read_raw()
    (tmp_path / "adult.data.gz").unlink()
    with pytest.raises(UserError, match=r"adult\.data\.gz"):
        adult.read_raw()


def test_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match="There is no dataset 'nope'"):
        datasets.load("nope", {})
