"""UCI Communities and Crime: how many violent crimes has a community per person? (USA, 1990-1995; a regression)"""

from __future__ import annotations

from collections.abc import Mapping
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

FILE = "communities.data"
TARGET = "ViolentCrimesPerPop"
NOT_PREDICTIVE = ("state", "county", "community", "communityname", "fold")
COLUMNS = (  # of the file, which has no header; from communities.names
    *("state", "county", "community", "communityname", "fold", "population", "householdsize", "racepctblack"),
    *("racePctWhite", "racePctAsian", "racePctHisp", "agePct12t21", "agePct12t29", "agePct16t24", "agePct65up"),
    *("numbUrban", "pctUrban", "medIncome", "pctWWage", "pctWFarmSelf", "pctWInvInc", "pctWSocSec", "pctWPubAsst"),
    *("pctWRetire", "medFamInc", "perCapInc", "whitePerCap", "blackPerCap", "indianPerCap", "AsianPerCap"),
    *("OtherPerCap", "HispPerCap", "NumUnderPov", "PctPopUnderPov", "PctLess9thGrade", "PctNotHSGrad"),
    *("PctBSorMore", "PctUnemployed", "PctEmploy", "PctEmplManu", "PctEmplProfServ", "PctOccupManu"),
    *("PctOccupMgmtProf", "MalePctDivorce", "MalePctNevMarr", "FemalePctDiv", "TotalPctDiv", "PersPerFam"),
    *("PctFam2Par", "PctKids2Par", "PctYoungKids2Par", "PctTeen2Par", "PctWorkMomYoungKids", "PctWorkMom"),
    *("NumIlleg", "PctIlleg", "NumImmig", "PctImmigRecent", "PctImmigRec5", "PctImmigRec8", "PctImmigRec10"),
    *("PctRecentImmig", "PctRecImmig5", "PctRecImmig8", "PctRecImmig10", "PctSpeakEnglOnly", "PctNotSpeakEnglWell"),
    *("PctLargHouseFam", "PctLargHouseOccup", "PersPerOccupHous", "PersPerOwnOccHous", "PersPerRentOccHous"),
    *("PctPersOwnOccup", "PctPersDenseHous", "PctHousLess3BR", "MedNumBR", "HousVacant", "PctHousOccup"),
    *("PctHousOwnOcc", "PctVacantBoarded", "PctVacMore6Mos", "MedYrHousBuilt", "PctHousNoPhone", "PctWOFullPlumb"),
    *("OwnOccLowQuart", "OwnOccMedVal", "OwnOccHiQuart", "RentLowQ", "RentMedian", "RentHighQ", "MedRent"),
    *("MedRentPctHousInc", "MedOwnCostPctInc", "MedOwnCostPctIncNoMtg", "NumInShelters", "NumStreet"),
    *("PctForeignBorn", "PctBornSameState", "PctSameHouse85", "PctSameCity85", "PctSameState85", "LemasSwornFT"),
    *("LemasSwFTPerPop", "LemasSwFTFieldOps", "LemasSwFTFieldPerPop", "LemasTotalReq", "LemasTotReqPerPop"),
    *("PolicReqPerOffic", "PolicPerPop", "RacialMatchCommPol", "PctPolicWhite", "PctPolicBlack", "PctPolicHisp"),
    *("PctPolicAsian", "PctPolicMinor", "OfficAssgnDrugUnits", "NumKindsDrugsSeiz", "PolicAveOTWorked", "LandArea"),
    *("PopDens", "PctUsePubTrans", "PolicCars", "PolicOperBudg", "LemasPctPolicOnPatr", "LemasGangUnitDeploy"),
    *("LemasPctOfficDrugUn", "PolicBudgPerPop", "ViolentCrimesPerPop"),
)
CALLED = {"racepctblack": "Black share", "racePctHisp": "Hispanic share", "racePctAsian": "Asian share"}
NUMERIC = tuple(name for name in COLUMNS if name not in (*NOT_PREDICTIVE, TARGET))


@register
@dataclass(frozen=True)
class Communities(TableSource):
    """1,994 communities of the USA; the target is violent crimes per person, scaled to 0..1 (mean 0.238).

    Read from communities.data; "?" is a missing value, and the five columns that say which community it is are left
    out. All values were scaled to 0..1 and rounded to two places before publication, so a cut at 0.06 is no six per
    cent: it is the median of racepctblack that communities.names prints, which makes two halves (956 and 1,038
    communities). Likewise the cuts of racePctHisp and racePctAsian. The sensitive column is dropped from the inputs,
    but the shares of the other groups stay and say much of it.
    """

    name: ClassVar[str] = "communities"
    title: ClassVar[str] = "Communities and Crime"
    task: ClassVar[str] = "regression"
    classes: ClassVar[tuple[str, ...]] = ("less violent crime", "more violent crime")
    favourable: ClassVar[str] = "predicted to have the most violent crime"
    origin: ClassVar[str] = (
        "Redmond and Baveja (2002), A data-driven software tool for enabling cooperative information sharing among "
        "police departments, European Journal of Operational Research 141; UCI Machine Learning Repository, "
        "doi:10.24432/C53W3X"
    )
    licence: ClassVar[str] = "CC BY 4.0"
    cautions: ClassVar[tuple[str, ...]] = (
        "Its rows are communities, not people: a gap between groups of communities says nothing about any person.",
        "The figures about the police are missing for 1,675 of 1,994 communities.",
    )
    files: ClassVar[Files] = Files(
        "communities",
        (FILE,),
        "https://archive.ics.uci.edu/dataset/183/communities+and+crime",
        urls={FILE: "https://archive.ics.uci.edu/static/public/183/communities+and+crime.zip"},
    )
    training: ClassVar[Mapping[str, float]] = {"epochs": 10, "batch_size": 64}
    target: ClassVar[str] = TARGET
    called: ClassVar[Mapping[str, str]] = CALLED
    unit: ClassVar[str] = "scaled crimes per person"
    numeric: ClassVar[tuple[str, ...]] = NUMERIC

    sensitive: str = control(
        "racepctblack",
        choices=("racepctblack", "racePctHisp", "racePctAsian"),
        joiner=" x ",
        most=3,
        called=CALLED,
        help="The sensitive attribute: whose results are compared; several make intersections.",
    )
    racepctblack_cut: str = control(
        "0.06", help="Where the scaled share of black people is cut into groups; 0.06 is its median.", group="advanced"
    )
    racePctHisp_cut: str = control(  # noqa: N815  (named after the column)
        "0.04", help="Where the scaled share of Hispanic people is cut; 0.04 is its median.", group="advanced"
    )
    racePctAsian_cut: str = control(  # noqa: N815
        "0.07", help="Where the scaled share of Asian people is cut; 0.07 is its median.", group="advanced"
    )

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        return _read(*cls.files.stamps(data_dir))

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        return frame[TARGET].to_numpy(np.float32)


@lru_cache(maxsize=2)
def _read(stamp: Stamp) -> pd.DataFrame:
    gaps = set(COLUMNS) - {TARGET, "racepctblack", "racePctHisp", "racePctAsian"}
    numeric = (*NUMERIC, TARGET)
    frame = Communities.files.read_csv(stamp[0], COLUMNS, numeric, gaps, header=None, na_values=["?"])
    return frame.drop(columns=list(NOT_PREDICTIVE))
