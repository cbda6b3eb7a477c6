"""ProPublica's COMPAS table: who is charged with a new crime within two years? (Broward County, 2013-2016)"""

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

FILE = "compas-scores-two-years.csv"
NUMERIC = ("age", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count")
CATEGORICAL = ("sex", "age_cat", "race", "c_charge_degree", "c_charge_desc")
FOR_FILTER = ("days_b_screening_arrest", "is_recid", "score_text")
TARGET = "two_year_recid"
MOST_DAYS = 30  # between arrest and screening, or the charge may be another one
TWO_GROUPS, TWO_RACES, ALL_RACES = "Caucasian or not", "African-American and Caucasian", "all six"


@register
@dataclass(frozen=True)
class Compas(TableSource):
    """6,172 defendants of Broward County, Florida; the decision is "will not be charged with a new crime within two
    years" (3,363 were not, 2,809 were).

    ProPublica's filter keeps 6,172 of 7,214 rows: screened within 30 days of the arrest, a known outcome, no ordinary
    traffic offence, a COMPAS score. The inputs are AIF360's: age, sex, race, earlier offences and the present charge,
    never the COMPAS score itself. Names and dates of birth are not read. The positive class is the favourable one, as
    in AIF360; the Fair Fairness Benchmark counts the new crime as positive, which leaves accuracy and every gap in
    selection rates as they are and swaps true with false positive rates. Its reading otherwise: races "Caucasian or
    not", charges "all", split 40:30:30 (divided by label alone); 405 inputs without sex, 401 without race.
    """

    name: ClassVar[str] = "compas"
    title: ClassVar[str] = "COMPAS (ProPublica)"
    classes: ClassVar[tuple[str, ...]] = ("new crime within two years", "no new crime within two years")
    favourable: ClassVar[str] = "predicted to commit no new crime within two years"
    origin: ClassVar[str] = (
        "Larson, Mattu, Kirchner and Angwin (2016), How we analyzed the COMPAS recidivism algorithm, ProPublica, "
        "https://github.com/propublica/compas-analysis"
    )
    licence: ClassVar[str] = "none stated"
    cautions: ClassVar[tuple[str, ...]] = (
        "The label is a new charge, not a new crime: it also measures whom the police arrest.",
        "Asian (31 rows) and Native American (11 rows) defendants are too few for any statement about them.",
    )
    files: ClassVar[Files] = Files(
        "compas",
        (FILE,),
        "https://github.com/propublica/compas-analysis",
        urls={FILE: f"https://raw.githubusercontent.com/propublica/compas-analysis/master/{FILE}"},
    )
    training: ClassVar[Mapping[str, float]] = {"epochs": 20, "batch_size": 64}
    target: ClassVar[str] = TARGET
    numeric: ClassVar[tuple[str, ...]] = NUMERIC
    categorical: ClassVar[tuple[str, ...]] = CATEGORICAL
    twins: ClassVar[dict[str, tuple[str, ...]]] = {"age": ("age_cat",)}

    sensitive: str = control(
        "race",
        choices=("race", "sex", "age"),
        joiner=" x ",
        most=3,
        help="The sensitive attribute: whose results are compared; several make intersections.",
    )
    races: str = control(
        TWO_GROUPS,
        choices=(TWO_GROUPS, TWO_RACES, ALL_RACES),
        help="Which groups race makes: Caucasian and everybody else (AIF360, Fair Fairness Benchmark), the two large "
        "groups alone (5,278 rows), or the six as recorded. Without effect unless race is sensitive.",
        group="advanced",
    )
    age_cut: str = control("25", help="Where age is cut into groups: one boundary or several, 25,46.", group="advanced")

    charges: str = control(
        "training",
        choices=("training", "all"),
        help="Which descriptions of charges are inputs: those of the training rows, or of all rows as in the Fair "
        "Fairness Benchmark, so that every split has the same number of inputs.",
        group="advanced",
    )

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        return _read(*cls.files.stamps(data_dir))

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        return (frame[TARGET] == 0).to_numpy(np.int64)

    def table(self, data_dir: Path | None) -> pd.DataFrame:
        frame = self.read(data_dir)
        if "race" not in self.sensitive_columns or self.races == ALL_RACES:
            return frame
        if self.races == TWO_GROUPS:
            return frame.assign(race=frame["race"].where(frame["race"] == "Caucasian", "Not Caucasian"))
        return frame[frame["race"].isin(("African-American", "Caucasian"))].reset_index(drop=True)

    def levels(self, frame: pd.DataFrame) -> Mapping[str, Sequence[str]]:
        """Nothing but the descriptions of charges, if wanted; a charge without one is all zeros then."""
        return {"c_charge_desc": sorted(frame["c_charge_desc"].dropna().unique())} if self.charges == "all" else {}

    def divide(self, frame: pd.DataFrame, strata: np.ndarray) -> list[np.ndarray]:
        return super().divide(frame, self.labels(frame) if self.split == "40:30:30" else strata)


@lru_cache(maxsize=2)
def _read(stamp: Stamp) -> pd.DataFrame:
    path, files = stamp[0], Compas.files
    wanted = (*NUMERIC, *CATEGORICAL, *FOR_FILTER, TARGET)
    numeric = (*NUMERIC, "days_b_screening_arrest", "is_recid", TARGET)
    gaps = ("c_charge_desc", "days_b_screening_arrest", "score_text")
    frame = files.read_csv(path, wanted, numeric, gaps, usecols=list(wanted))
    if not frame[TARGET].isin((0, 1)).all():
        raise files.damaged(path, f"{TARGET} is not 0 or 1 everywhere")
    kept = (
        frame["days_b_screening_arrest"].abs().le(MOST_DAYS)
        & frame["is_recid"].ne(-1)
        & frame["c_charge_degree"].ne("O")
        & frame["score_text"].notna()
    )
    return frame[kept].drop(columns=list(FOR_FILTER)).reset_index(drop=True)
