"""UCI Adult: does a person earn more than $50,000 a year? (US census, 1994)"""

from __future__ import annotations

import gzip
import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fairness_core.config import UserError, content_hash, control
from fairness_core.datasets.base import Dataset, Split, encode_table, group_codes, register, stratified_split

FOLDER = Path(__file__).parents[2] / "assets" / "data" / "adult"
CHECKSUMS = {
    "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
    "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
}
NUMERIC = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
CATEGORICAL = (
    *("workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country"),
)
COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)


@register
@dataclass(frozen=True)
class Adult:
    """48,842 people from the US census of 1994; the decision is "earns more than $50,000 a year".

    The survey weight (fnlwgt) is dropped. "official" keeps the published test file as test split (16,281 rows, unknown
    values as their own category) and divides the rest 80 : 20; "random" is the Fair Fairness Benchmark's reading: the
    45,222 complete rows, divided 40 : 30 : 30, stratified by label.
    """

    name: ClassVar[str] = "adult"
    title: ClassVar[str] = "Adult (census income)"
    task: ClassVar[str] = "binary"
    classes: ClassVar[tuple[str, ...]] = ("<=50K", ">50K")
    favourable: ClassVar[str] = "predicted to earn more than $50,000"
    origin: ClassVar[str] = "Becker and Kohavi (1996), UCI Machine Learning Repository, doi:10.24432/C5XW20"
    licence: ClassVar[str] = "CC BY 4.0"

    sensitive: str = control(
        "sex", choices=("sex", "race", "sex x race"), help="The sensitive attribute: whose results are compared."
    )
    split: str = control(
        "official",
        choices=("official", "random"),
        help="official: the published test file; random: complete rows, 40:30:30 (Fair Fairness Benchmark).",
        group="advanced",
    )
    split_seed: int = control(0, 0, 2**31 - 1, help="Seed of the random part of the split.", group="advanced")
    sensitive_input: str = control(
        "drop",
        choices=("drop", "keep"),
        help="May the model see the sensitive attribute? Dropping it does not remove its proxies.",
        group="advanced",
    )

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        return content_hash(CHECKSUMS)

    def load(self, data_dir: Path | None) -> Dataset:
        frame, n_published_train = read_raw()
        if self.split == "random":
            frame = frame[(frame[list(CATEGORICAL)] != "?").all(axis=1)].reset_index(drop=True)
        sensitive = self.sensitive.split(" x ")
        s, groups = group_codes(frame, sensitive)
        y = frame["income"].str.startswith(">").to_numpy(np.int64)
        train, validation, test = self._rows(y, s, len(groups), n_published_train)
        x, features = encode_table(frame, NUMERIC, self._levels(frame, sensitive), train)
        first, second, third = (Split(x[rows], y[rows], s[rows]) for rows in (train, validation, test))
        return Dataset(self.name, first, second, third, self.classes, groups, features, self.task)

    def _rows(self, y: np.ndarray, s: np.ndarray, n_groups: int, n_published_train: int) -> list[np.ndarray]:
        if self.split == "random":
            return stratified_split(y, (0.4, 0.3, 0.3), self.split_seed)
        strata = (y * n_groups + s)[:n_published_train]
        train, validation = stratified_split(strata, (0.8, 0.2), self.split_seed)
        return [train, validation, np.arange(n_published_train, len(y))]

    def _levels(self, frame: pd.DataFrame, sensitive: list[str]) -> dict[str, list[str]]:
        """The categories of each column. They are the questionnaire's, so reading them off all rows leaks nothing."""
        shown = [c for c in CATEGORICAL if self.sensitive_input == "keep" or c not in sensitive]
        return {c: sorted(frame[c].unique()) for c in shown}


@lru_cache(maxsize=1)
def read_raw() -> tuple[pd.DataFrame, int]:
    """Both published files one after the other, and how many rows come from adult.data; do not change the frame."""
    frames = [_read_file(name, expected) for name, expected in CHECKSUMS.items()]
    return pd.concat(frames, ignore_index=True), len(frames[0])


def _read_file(name: str, expected: str) -> pd.DataFrame:
    path = FOLDER / f"{name}.gz"
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it from the repository.") from None
    if hashlib.sha256(raw).hexdigest() != expected:
        raise UserError(f"{path} is not the published {name} (its checksum differs); restore it from the repository.")
    return pd.read_csv(
        io.BytesIO(raw), names=list(COLUMNS), header=None, comment="|", skipinitialspace=True, keep_default_na=False
    )
