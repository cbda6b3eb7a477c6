"""UCI Adult: does a person earn more than $50,000 a year? (US census, 1994)"""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fairness_core.config import UserError, content_hash, control
from fairness_core.datasets.base import MISSING, register, stratified_split
from fairness_core.datasets.tabular import TableSource

FOLDER = Path(__file__).parents[2] / "assets" / "data" / "adult"
CHECKSUMS = {
    "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
    "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
}
NUMERIC = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
LEVELS = {  # the questionnaire's answers, from adult.names
    "workclass": (
        "Federal-gov",
        "Local-gov",
        "Never-worked",
        "Private",
        "Self-emp-inc",
        "Self-emp-not-inc",
        "State-gov",
        "Without-pay",
    ),
    "education": (
        "10th",
        "11th",
        "12th",
        "1st-4th",
        "5th-6th",
        "7th-8th",
        "9th",
        "Assoc-acdm",
        "Assoc-voc",
        "Bachelors",
        "Doctorate",
        "HS-grad",
        "Masters",
        "Preschool",
        "Prof-school",
        "Some-college",
    ),
    "marital-status": (
        "Divorced",
        "Married-AF-spouse",
        "Married-civ-spouse",
        "Married-spouse-absent",
        "Never-married",
        "Separated",
        "Widowed",
    ),
    "occupation": (
        "Adm-clerical",
        "Armed-Forces",
        "Craft-repair",
        "Exec-managerial",
        "Farming-fishing",
        "Handlers-cleaners",
        "Machine-op-inspct",
        "Other-service",
        "Priv-house-serv",
        "Prof-specialty",
        "Protective-serv",
        "Sales",
        "Tech-support",
        "Transport-moving",
    ),
    "relationship": (
        "Husband",
        "Not-in-family",
        "Other-relative",
        "Own-child",
        "Unmarried",
        "Wife",
    ),
    "race": (
        "Amer-Indian-Eskimo",
        "Asian-Pac-Islander",
        "Black",
        "Other",
        "White",
    ),
    "sex": (
        "Female",
        "Male",
    ),
    "native-country": (
        "Cambodia",
        "Canada",
        "China",
        "Columbia",
        "Cuba",
        "Dominican-Republic",
        "Ecuador",
        "El-Salvador",
        "England",
        "France",
        "Germany",
        "Greece",
        "Guatemala",
        "Haiti",
        "Holand-Netherlands",
        "Honduras",
        "Hong",
        "Hungary",
        "India",
        "Iran",
        "Ireland",
        "Italy",
        "Jamaica",
        "Japan",
        "Laos",
        "Mexico",
        "Nicaragua",
        "Outlying-US(Guam-USVI-etc)",
        "Peru",
        "Philippines",
        "Poland",
        "Portugal",
        "Puerto-Rico",
        "Scotland",
        "South",
        "Taiwan",
        "Thailand",
        "Trinadad&Tobago",
        "United-States",
        "Vietnam",
        "Yugoslavia",
    ),
}
CATEGORICAL = tuple(LEVELS)
AS_RECORDED, TWO_RACES = "as recorded", "White or not"
WITH_GAPS = ("workclass", "occupation", "native-country")  # the only columns with unknown values
COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)


@register
@dataclass(frozen=True)
class Adult(TableSource):
    """48,842 people from the US census of 1994; the decision is "earns more than $50,000 a year".

    The survey weight (fnlwgt) is dropped. "official" keeps the published test file as test split (16,281 rows, unknown
    values as their own category) and divides the rest 80 : 20; "random" is the Fair Fairness Benchmark's reading: the
    45,222 complete rows, divided 40 : 30 : 30, stratified by label.
    """

    name: ClassVar[str] = "adult"
    title: ClassVar[str] = "Adult (census income)"
    classes: ClassVar[tuple[str, ...]] = ("<=50K", ">50K")
    favourable: ClassVar[str] = "predicted to earn more than $50,000"
    origin: ClassVar[str] = "Becker and Kohavi (1996), UCI Machine Learning Repository, doi:10.24432/C5XW20"
    licence: ClassVar[str] = "CC BY 4.0"
    target: ClassVar[str] = "income"
    numeric: ClassVar[tuple[str, ...]] = NUMERIC
    categorical: ClassVar[tuple[str, ...]] = CATEGORICAL

    sensitive: str = control(
        "sex",
        choices=("sex", "race", "age"),
        joiner=" x ",
        most=3,
        help="The sensitive attribute: whose results are compared; several make intersections.",
    )
    races: str = control(
        AS_RECORDED,
        choices=(AS_RECORDED, TWO_RACES),
        help="Which groups race makes: the five as recorded, of which three have few rows, or White and everybody else "
        "(AIF360). Without effect unless race is sensitive.",
        group="advanced",
    )
    age_cut: str = control("25", help="Where age is cut into groups: one boundary or several, 25,60.", group="advanced")
    split: str = control(
        "official",
        choices=("official", "random"),
        help="official: the published test file; random: complete rows, 40:30:30 (Fair Fairness Benchmark).",
        group="advanced",
    )

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        return content_hash(CHECKSUMS)

    @classmethod
    def missing(cls, data_dir: Path | None) -> str:
        return ""  # bundled

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        return read_raw()[0]

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        return frame["income"].str.startswith(">").to_numpy(np.int64)

    def table(self, data_dir: Path | None) -> pd.DataFrame:
        frame = self.read(data_dir)
        if self._two_races:
            frame = frame.assign(race=frame["race"].where(frame["race"] == "White", "Not White"))
        return frame.dropna().reset_index(drop=True) if self.split == "random" else frame

    @property
    def _two_races(self) -> bool:
        return self.races == TWO_RACES and "race" in self.sensitive_columns

    def levels(self, frame: pd.DataFrame) -> Mapping[str, Sequence[str]]:
        """The questionnaire's answers; of the complete rows nobody can be without work or unknown."""
        asked = LEVELS | {"race": ("Not White", "White")} if self._two_races else LEVELS
        if self.split == "random":
            return {column: [level for level in known if level != "Never-worked"] for column, known in asked.items()}
        return {c: [*known, MISSING] if c in WITH_GAPS else known for c, known in asked.items()}

    def divide(self, frame: pd.DataFrame, strata: np.ndarray) -> list[np.ndarray]:
        if self.split == "random":
            return stratified_split(self.labels(frame), (0.4, 0.3, 0.3), self.split_seed)
        n_train = read_raw()[1]
        train, validation = stratified_split(strata[:n_train], (0.8, 0.2), self.split_seed)
        return [train, validation, np.arange(n_train, len(frame))]


@lru_cache(maxsize=1)
def read_raw() -> tuple[pd.DataFrame, int]:
    """Both published files one after the other, and how many rows come from adult.data; do not change the frame."""
    frames = [_read_file(name, expected) for name, expected in CHECKSUMS.items()]
    return pd.concat(frames, ignore_index=True).drop(columns="fnlwgt"), len(frames[0])


def _read_file(name: str, expected: str) -> pd.DataFrame:
    path = FOLDER / f"{name}.gz"
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it from the repository.") from None
    if hashlib.sha256(raw).hexdigest() != expected:
        raise UserError(f"{path} is not the published {name} (its checksum differs); restore it from the repository.")
    return pd.read_csv(
        io.BytesIO(raw), names=list(COLUMNS), header=None, comment="|", skipinitialspace=True,
        keep_default_na=False, na_values=["?"],
    )  # fmt: skip
