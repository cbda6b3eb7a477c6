"""UTKFace: some 23,700 cropped faces of all ages; age, gender and race stand in the file names (2017)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fairness_core.config import UserError, control
from fairness_core.datasets import files
from fairness_core.datasets.base import parse_cuts, register
from fairness_core.datasets.download import Tell
from fairness_core.datasets.images import Album, ImageSource, listing
from fairness_core.datasets.tabular import bin_names

GENDERS = ("male", "female")  # the file names' 0 and 1
RACES = ("White", "Black", "Asian", "Indian", "Other")  # 0 to 4
FIVE_RACES, THREE_RACES, TWO_RACES = "all five", "White, Black, the rest", "White or not"
MERGED = {THREE_RACES: ("White", "Black", "Asian, Indian or Other"), TWO_RACES: ("White", "Non-White")}
PATTERN = re.compile(r"\d{1,3}_[01]_[0-4]_\d+ ?\.?jpg(\.chip\.jpg)?", re.IGNORECASE)  # two names are misspelt
PAGE = "https://susanqq.github.io/UTKFace/"


@register
@dataclass(frozen=True)
class UTKFace(ImageSource):
    """Some 23,700 aligned, cropped faces from 1 to 116 years; the decision is gender, race, an age group, or the age.

    The split is random and stratified by target and group; exact copies of a picture always fall into the same part,
    as otherwise the test would ask for faces seen in training.
    """

    name: ClassVar[str] = "utkface"
    title: ClassVar[str] = "UTKFace (faces of all ages)"
    classes: ClassVar[tuple[str, ...]] = GENDERS
    training: ClassVar[Mapping[str, float]] = {"epochs": 5, "batch_size": 64}
    favourable: ClassVar[str] = "predicted to be female"
    unit: ClassVar[str] = "years"
    close: ClassVar[float | None] = 5.0
    origin: ClassVar[str] = (
        f"Zhang, Song and Qi, Age Progression/Regression by Conditional Adversarial Autoencoder, CVPR 2017, {PAGE}"
    )
    licence: ClassVar[str] = "Non-commercial research only; the pictures belong to their owners"
    cautions: ClassVar[tuple[str, ...]] = (
        "Ages, genders and races were estimated by an algorithm and checked by people; nobody shown was asked.",
        "Gender is binary here, and Other (mostly Hispanic, Latino and Middle Eastern) is one group of very different "
        "people.",
        "Exact copies are among the pictures (390), most with another age or label in the name, so no model can be "
        "right on both.",
        "The licence allows non-commercial research only.",
    )

    target: str = control(  # type: ignore[misc]  # here the user chooses it
        "gender",
        choices=("gender", "race", "age group", "age"),
        help="What is predicted; age is a regression in years, the others are classes.",
    )
    sensitive: str = control(
        "race",
        choices=("gender", "race", "age"),
        joiner=" x ",
        most=2,
        help="The sensitive attribute: whose results are compared; several make intersections.",
    )
    races: str = control(
        FIVE_RACES,
        choices=(FIVE_RACES, THREE_RACES, TWO_RACES),
        help="Which groups, or classes, race makes: the five of the file names, or three, where Asian, Indian and "
        "Other are one, or two. Without effect unless race is sensitive or the target.",
        group="advanced",
    )
    age_group_cut: str = control(
        "30", help="Where the target age group is cut: one boundary or several, 20,40,60.", group="advanced"
    )
    age_cut: str = control(
        "30", help="Where age as sensitive attribute is cut: one boundary or several, 20,40,60.", group="advanced"
    )

    def __post_init__(self) -> None:
        if both := [name for name in self.target_columns if name in self.sensitive_columns]:
            raise UserError(f"{both[0]} is both target and sensitive attribute; choose another for one of them.")

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        return cls.album(data_dir).digest[:16]

    @classmethod
    def missing(cls, data_dir: Path | None) -> str:
        if _find(data_dir):
            return ""
        return (
            f"The pictures of UTKFace (age_gender_race_date.jpg.chip.jpg) are not here; get the aligned and cropped "
            f"faces from {PAGE} and put them into {next(_roots(data_dir))}."
        )

    @classmethod
    def fetch(cls, data_dir: Path | None, tell: Tell | None = None) -> None:
        """Only people can: the authors hand the pictures out by hand."""
        if sentence := cls.missing(data_dir):
            raise UserError(sentence)

    @classmethod
    def album(cls, data_dir: Path | None) -> Album:
        folder = _find(data_dir)
        if folder is None:
            raise UserError(cls.missing(data_dir))
        return Album.of(folder, [name for name in listing(folder) if PATTERN.fullmatch(name)])

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        """age, gender and race, one row per picture; the index is the row of the first copy of the same picture."""
        return _read(cls.album(data_dir))

    @classmethod
    def remarks(cls, data_dir: Path | None) -> tuple[str, ...]:
        album = cls.album(data_dir)
        found: tuple[str, ...] = ()
        if unusable := len(listing(album.folder)) - len(album.names):
            found += (f"{unusable:,} pictures whose names do not read age_gender_race_date are left out.",)
        if copies := int((album.first_copies() != np.arange(len(album.names))).sum()):
            found += (f"{copies:,} pictures are exact copies of others and stay in the same part as those.",)
        return found

    def table(self, data_dir: Path | None) -> pd.DataFrame:
        frame = self.read(data_dir)
        if self.races == FIVE_RACES or "race" not in (*self.sensitive_columns, *self.target_columns):
            return frame
        *kept, rest = self._races()
        return frame.assign(race=frame["race"].where(frame["race"].isin(kept), rest))

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        if self.target == "age":
            return frame["age"].to_numpy(np.float32)
        if self.target == "age group":
            return self._age_groups(frame["age"].to_numpy())
        names = GENDERS if self.target == "gender" else self._races()
        return np.asarray(pd.Index(names).get_indexer(pd.Index(frame[self.target])), np.int64)

    def divide(self, frame: pd.DataFrame, strata: np.ndarray) -> list[np.ndarray]:
        first = frame.index.to_numpy()
        originals = np.flatnonzero(first == np.arange(len(frame)))
        parts = super().divide(frame.iloc[originals], strata[originals])
        return [np.flatnonzero(np.isin(first, originals[part])) for part in parts]

    @property
    def target_columns(self) -> tuple[str, ...]:
        return ("age",) if self.target == "age group" else (self.target,)

    @property
    def chosen_task(self) -> str:
        if self.target == "age":
            return "regression"
        return "binary" if len(self.chosen_classes) == 2 else "multiclass"

    @property
    def chosen_classes(self) -> tuple[str, ...]:
        if self.target == "age group":
            return tuple(f"age {name}" for name in bin_names(parse_cuts("age_group_cut", self.age_group_cut)))
        return GENDERS if self.target == "gender" else self._races()

    def _races(self) -> tuple[str, ...]:
        return MERGED.get(self.races, RACES)

    def _age_groups(self, age: np.ndarray) -> np.ndarray:
        y = np.asarray(np.digitize(age, parse_cuts("age_group_cut", self.age_group_cut)), np.int64)
        for code, name in enumerate(self.chosen_classes):
            if code not in y:
                raise UserError(
                    f"age_group_cut = {self.age_group_cut} leaves nobody in {name!r}; the ages here go from "
                    f"{age.min()} to {age.max()}."
                )
        return y


def _roots(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        yield from (data_dir / "utkface", data_dir / "UTKFace", data_dir)
    yield files.cache() / "utkface"


def _find(data_dir: Path | None) -> Path | None:
    """The folder with the pictures; their archive unpacks to a folder of its own."""
    candidates = (folder for root in _roots(data_dir) for folder in (root, root / "UTKFace"))
    return next((c for c in candidates if c.is_dir() and any(map(PATTERN.fullmatch, listing(c)))), None)


@lru_cache(maxsize=2)
def _read(album: Album) -> pd.DataFrame:
    parts = [name.split("_") for name in album.names]
    return pd.DataFrame(
        {
            "age": np.array([int(part[0]) for part in parts], np.int64),
            "gender": pd.Series([GENDERS[int(part[1])] for part in parts], dtype="str"),
            "race": pd.Series([RACES[int(part[2])] for part in parts], dtype="str"),
        }
    ).set_axis(pd.Index(album.first_copies(), name="first copy"))
