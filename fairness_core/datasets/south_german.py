"""South German Credit: is somebody a good credit risk? (a large bank in southern Germany, 1973-1975)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fairness_core.config import control
from fairness_core.datasets.base import register
from fairness_core.datasets.files import Files, Stamp
from fairness_core.datasets.tabular import TableSource

FILE = "SouthGermanCredit.asc"
ROWS = 1_000  # whose last one is published without the end of a line
TARGET = "credit_risk"
NUMERIC = {"laufzeit": "duration", "hoehe": "amount", "alter": "age"}  # German name in the file -> English name
CODED = {  # German name -> English name and what the codes mean, from codetable.txt
    "laufkont": ("status", {
        1: "no checking account", 2: "... < 0 DM", 3: "0 <= ... < 200 DM",
        4: "... >= 200 DM / salary for at least 1 year"}),
    "moral": ("credit_history", {
        0: "delay in paying off in the past", 1: "critical account/other credits elsewhere",
        2: "no credits taken/all credits paid back duly", 3: "existing credits paid back duly till now",
        4: "all credits at this bank paid back duly"}),
    "verw": ("purpose", {
        0: "others", 1: "car (new)", 2: "car (used)", 3: "furniture/equipment", 4: "radio/television",
        5: "domestic appliances", 6: "repairs", 7: "education", 8: "vacation", 9: "retraining", 10: "business"}),
    "sparkont": ("savings", {
        1: "unknown/no savings account", 2: "... < 100 DM", 3: "100 <= ... < 500 DM", 4: "500 <= ... < 1000 DM",
        5: "... >= 1000 DM"}),
    "beszeit": ("employment_duration", {
        1: "unemployed", 2: "< 1 yr", 3: "1 <= ... < 4 yrs", 4: "4 <= ... < 7 yrs", 5: ">= 7 yrs"}),
    "rate": ("installment_rate", {1: ">= 35", 2: "25 <= ... < 35", 3: "20 <= ... < 25", 4: "< 20"}),
    "famges": ("personal_status_sex", {
        1: "male : divorced/separated", 2: "female : non-single or male : single", 3: "male : married/widowed",
        4: "female : single"}),
    "buerge": ("other_debtors", {1: "none", 2: "co-applicant", 3: "guarantor"}),
    "wohnzeit": ("present_residence", {1: "< 1 yr", 2: "1 <= ... < 4 yrs", 3: "4 <= ... < 7 yrs", 4: ">= 7 yrs"}),
    "verm": ("property", {
        1: "unknown / no property", 2: "car or other", 3: "building soc. savings agr./life insurance",
        4: "real estate"}),
    "weitkred": ("other_installment_plans", {1: "bank", 2: "stores", 3: "none"}),
    "wohn": ("housing", {1: "for free", 2: "rent", 3: "own"}),
    "bishkred": ("number_credits", {1: "1", 2: "2-3", 3: "4-5", 4: ">= 6"}),
    "beruf": ("job", {
        1: "unemployed/unskilled - non-resident", 2: "unskilled - resident", 3: "skilled employee/official",
        4: "manager/self-empl./highly qualif. employee"}),
    "pers": ("people_liable", {1: "3 or more", 2: "0 to 2"}),
    "telef": ("telephone", {1: "no", 2: "yes (under customer name)"}),
    "gastarb": ("foreign_worker", {1: "foreign worker", 2: "no foreign worker"}),  # "yes" and "no" there
    "kredit": (TARGET, {0: "bad", 1: "good"}),
}  # fmt: skip
LEVELS = {name: tuple(meaning.values()) for name, meaning in CODED.values() if name != TARGET}
SURELY_MALE = ("male : divorced/separated", "male : married/widowed")
MEN, OTHERS = "man, not single", "woman or single man"


@register
@dataclass(frozen=True)
class SouthGerman(TableSource):
    """1,000 credits of a bank in southern Germany; the decision is "good credit risk" (700 were repaid).

    Read from SouthGermanCredit.asc with the English names and values of its code table; bad credits are
    over-represented on purpose. All attributes but duration, amount and age are categories there. Sex is not in the
    file: personal_status_sex gives non-single women and single men one code (310 rows), so the groups of sex are
    "man, not single" (598 rows, surely men) and "woman or single man" (402). AIF360, which reads the older german.data
    with its wrong code table, takes those 310 for women and the 92 single women for men. Ages are whole years: cut at
    26 the groups are AIF360's, up to 25 and older.
    """

    name: ClassVar[str] = "south_german"
    title: ClassVar[str] = "South German Credit"
    classes: ClassVar[tuple[str, ...]] = ("bad risk", "good risk")
    favourable: ClassVar[str] = "predicted to be a good credit risk"
    origin: ClassVar[str] = (
        "Grömping (2019), South German Credit Data: correcting a widely used data set, Report 4/2019, Beuth University "
        "of Applied Sciences Berlin; UCI Machine Learning Repository, doi:10.24432/C5QG88"
    )
    licence: ClassVar[str] = "CC BY 4.0"
    cautions: ClassVar[tuple[str, ...]] = (
        "1,000 rows are too few: the Fair Fairness Benchmark (Han et al. 2024) counts German credit among the data "
        "sets without a stable bias.",
        "Sex cannot be read from the file: women who are not single share a code with single men.",
    )
    files: ClassVar[Files] = Files(
        "south_german",
        (FILE,),
        "https://archive.ics.uci.edu/dataset/573/south+german+credit+update",
        urls={FILE: "https://archive.ics.uci.edu/static/public/573/south+german+credit+update.zip"},
    )
    training: ClassVar[Mapping[str, float]] = {"epochs": 40, "batch_size": 64}
    target: ClassVar[str] = TARGET
    numeric: ClassVar[tuple[str, ...]] = tuple(NUMERIC.values())
    categorical: ClassVar[tuple[str, ...]] = tuple(LEVELS)
    twins: ClassVar[dict[str, tuple[str, ...]]] = {"sex": ("personal_status_sex",)}

    sensitive: str = control(
        "sex",
        choices=("sex", "age", "foreign_worker"),
        joiner=" x ",
        most=3,
        help="The sensitive attribute: whose results are compared; several make intersections.",
    )
    age_cut: str = control(
        "26",
        help="Where age is cut into groups; 26 separates people up to 25 from older ones. Or several: 26,60.",
        group="advanced",
    )

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        return _read(*cls.files.stamps(data_dir))

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        return (frame[TARGET] == "good").to_numpy(np.int64)

    def levels(self, frame: pd.DataFrame) -> Mapping[str, Sequence[str]]:
        return LEVELS


@lru_cache(maxsize=2)
def _read(stamp: Stamp) -> pd.DataFrame:
    path, files = stamp[0], SouthGerman.files
    raw = files.read_csv(path, (*NUMERIC, *CODED), (*NUMERIC, *CODED), rows=ROWS, sep=" ")
    frame = raw[list(NUMERIC)].rename(columns=NUMERIC)
    for german, (name, meaning) in CODED.items():
        frame[name] = raw[german].map(meaning).astype("str")
        if not raw[german].isin(meaning).all():
            raise files.damaged(path, f"{german} holds codes that are not in the code table")
    frame["sex"] = np.where(frame["personal_status_sex"].isin(SURELY_MALE), MEN, OTHERS)
    return frame
