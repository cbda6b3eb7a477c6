"""MEPS: does a person use much health care? (US Medical Expenditure Panel Survey, panel 19, 2014-2015)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fairness_core.config import control
from fairness_core.datasets.base import register, stratified_split
from fairness_core.datasets.files import Files, Stamp
from fairness_core.datasets.tabular import ROLES, SPLITS, TableSource

PARTS = ("meps_train.csv", "meps_val.csv", "meps_test.csv")  # in the order of ROLES
TARGET = "UTILIZATION"
NUMERIC = ("AGE", "PCS42", "MCS42", "K6SUM42")
YES_NO = ("-1", "1", "2")
CODES = {  # the values that the one-hot columns "REGION=1", ... stand for; -1 is "does not apply"
    "REGION": ("1", "2", "3", "4"),
    "SEX": ("1", "2"),
    "MARRY": tuple(map(str, range(1, 11))),
    "FTSTU": ("-1", "1", "2", "3"),
    "ACTDTY": ("1", "2", "3", "4"),
    "HONRDC": ("1", "2", "3", "4"),
    "RTHLTH": ("-1", "1", "2", "3", "4", "5"),
    "MNHLTH": ("-1", "1", "2", "3", "4", "5"),
    **dict.fromkeys(("HIBPDX", "CHDDX", "ANGIDX", "MIDX", "OHRTDX", "STRKDX", "EMPHDX", "CHBRON", "CHOLDX"), YES_NO),
    **dict.fromkeys(("CANCERDX", "DIABDX", "JTPAIN", "ARTHDX"), YES_NO),
    "ARTHTYPE": ("-1", "1", "2", "3"),
    "ASTHDX": ("1", "2"),
    **dict.fromkeys(("ADHDADDX", "PREGNT", "WLKLIM", "ACTLIM", "SOCLIM", "COGLIM"), YES_NO),
    **dict.fromkeys(("DFHEAR42", "DFSEE42", "ADSMOK42"), YES_NO),
    "PHQ242": ("-1", "0", "1", "2", "3", "4", "5", "6"),
    "EMPST": ("-1", "1", "2", "3", "4"),
    "POVCAT": ("1", "2", "3", "4", "5"),
    "INSCOV": ("1", "2", "3"),
}
MEANING = {  # of codes that people read on the screen; the others stay as the survey's code book numbers them
    "RACE": {"0": "Non-White", "1": "White"},
    "SEX": {"1": "Male", "2": "Female"},
    "REGION": {"1": "Northeast", "2": "Midwest", "3": "South", "4": "West"},
}
OFFICIAL_TEST = "official test"
ONE_HOT = tuple(f"{name}={code}" for name, codes in CODES.items() for code in codes)
COLUMNS = ("AGE", "RACE", "PCS42", "MCS42", "K6SUM42", *ONE_HOT, TARGET)
LEVELS = {
    "RACE": tuple(MEANING["RACE"].values()),
    **{name: tuple(MEANING.get(name, {}).get(code, code) for code in codes) for name, codes in CODES.items()},
}


@register
@dataclass(frozen=True)
class Meps(TableSource):
    """15,730 people of a US survey; the decision is "uses much health care", at least ten visits in the year (2,703).

    Read from meps_train.csv, meps_val.csv and meps_test.csv, the one-hot table of AIF360 as BaDe uses it; "official"
    keeps these files as splits (11,362, 1,200 and 3,168 rows). The one-hot columns are put together again for reading
    and give the same 137 inputs, without RACE, when they are encoded. White is white and not Hispanic, as in AIF360.
    The scores PCS42, MCS42 and K6SUM42 hold negative codes for "no answer", which count as numbers, as in the papers.
    """

    name: ClassVar[str] = "meps"
    title: ClassVar[str] = "MEPS (health care use)"
    classes: ClassVar[tuple[str, ...]] = ("fewer than 10 visits", "10 visits or more")
    favourable: ClassVar[str] = "predicted to use much health care, and so offered more of it"
    origin: ClassVar[str] = (
        "Agency for Healthcare Research and Quality, Medical Expenditure Panel Survey, panel 19 (2015), as prepared by "
        "AIF360 (Bellamy et al. 2018) and divided by the authors of BaDe"
    )
    licence: ClassVar[str] = "public-use file under the agency's data use agreement: no re-identification"
    cautions: ClassVar[tuple[str, ...]] = (
        "The survey's weights are not in these files, so shares here are not those of the US population.",
    )
    files: ClassVar[Files] = Files(
        "meps",
        PARTS,
        "https://github.com/KirinNg/DBA (folder MEPS_data), after agreeing to the terms on https://meps.ahrq.gov",
    )
    target: ClassVar[str] = TARGET
    numeric: ClassVar[tuple[str, ...]] = NUMERIC
    categorical: ClassVar[tuple[str, ...]] = tuple(LEVELS)

    sensitive: str = control(
        "RACE",
        choices=("RACE", "SEX", "AGE"),
        joiner=" x ",
        most=3,
        help="The sensitive attribute: whose results are compared; several make intersections.",
    )
    AGE_cut: str = control("65", help="Where AGE is cut into groups: one boundary or several, 18,65.", group="advanced")
    split: str = control(
        "official",
        choices=("official", OFFICIAL_TEST, *SPLITS),
        help="official: the published files; official test: only the test file, and a fifth of the other rows for "
        "validation, drawn by split_seed; otherwise shares of training, validation and test rows, stratified.",
        group="advanced",
    )

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        return _read(*cls.files.stamps(data_dir))

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        return frame[TARGET].to_numpy(np.int64)

    def divide(self, frame: pd.DataFrame, strata: np.ndarray) -> list[np.ndarray]:
        if self.split not in ("official", OFFICIAL_TEST):
            return super().divide(frame, strata)
        roles = frame.index.get_level_values(0)
        train, validation, test = (np.flatnonzero(roles == role) for role in ROLES)
        if self.split == OFFICIAL_TEST:
            rest = np.concatenate([train, validation])
            train, validation = (rest[rows] for rows in stratified_split(strata[rest], (0.8, 0.2), self.split_seed))
        return [train, validation, test]

    def levels(self, frame: pd.DataFrame) -> Mapping[str, Sequence[str]]:
        return LEVELS


@lru_cache(maxsize=2)
def _read(*stamps: Stamp) -> pd.DataFrame:
    """All three files; the first level of the index is the role that a row's file stands for."""
    return pd.concat([_read_part(stamp[0]) for stamp in stamps], keys=ROLES)


def _read_part(path: Path) -> pd.DataFrame:
    raw = Meps.files.read_csv(path, COLUMNS, COLUMNS)
    if not raw[["RACE", TARGET, *ONE_HOT]].isin((0, 1)).all(axis=None):
        raise Meps.files.damaged(path, "a column of zeros and ones holds something else")
    columns = {name: raw[name] for name in (*NUMERIC, TARGET)}
    columns["RACE"] = raw["RACE"].map(dict(enumerate(LEVELS["RACE"])))
    for name, codes in CODES.items():
        hot = raw[[f"{name}={code}" for code in codes]].to_numpy()
        if (hot.sum(axis=1) != 1).any():
            raise Meps.files.damaged(path, f"a row has not exactly one value of {name}")
        columns[name] = pd.Series(np.array(LEVELS[name])[hot.argmax(axis=1)])
    return pd.DataFrame(columns)
