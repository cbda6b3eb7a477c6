"""CelebA: 202,599 photographs of celebrities with 40 attributes that annotators saw in them (2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fairness_core.config import UserError, content_hash, control
from fairness_core.datasets.base import register
from fairness_core.datasets.files import Files, Stamp
from fairness_core.datasets.images import Album, ImageSource, listing
from fairness_core.datasets.tabular import ROLES, SPLITS, Prepared

ATTRIBUTES = (
    *("5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose"),
    *("Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses"),
    *("Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache"),
    *("Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks"),
    *("Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick"),
    *("Wearing_Necklace", "Wearing_Necktie", "Young"),
)
AEDA_TARGETS = (  # geometry, skin, expression and age of the face: our reading of the paper's unlisted 17
    *("Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Big_Lips", "Big_Nose", "Bushy_Eyebrows", "Chubby"),
    *("Double_Chin", "High_Cheekbones", "Mouth_Slightly_Open", "Narrow_Eyes", "Oval_Face", "Pale_Skin"),
    *("Pointy_Nose", "Rosy_Cheeks", "Smiling", "Young"),
)
LEVELS = ("absent", "present")  # the file's -1 and 1
OPPOSITES = {"Male": "Female", "No_Beard": "Beard"}  # of the others it is "not ..."
PICTURES, NAMES, PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
TEXTS = Files("celeba", (NAMES, PARTITION), PAGE)


@register
@dataclass(frozen=True)
class CelebA(ImageSource):
    """202,599 photographs of 10,177 celebrities; the decision is any of 40 attributes, or several at once.

    The photographs are the aligned ones (178 x 218): the centred square, resized. "official" is the published division
    into training, validation and test, in which nobody occurs twice. Where only some photographs are in the folder,
    those alone count. One target makes a binary task, several make a task of as many binary targets.
    """

    name: ClassVar[str] = "celeba"
    title: ClassVar[str] = "CelebA (faces)"
    classes: ClassVar[tuple[str, ...]] = ("not Attractive", "Attractive")
    training: ClassVar[Mapping[str, float]] = {"epochs": 5, "batch_size": 64}
    favourable: ClassVar[str] = "predicted to have the attribute {target}"
    origin: ClassVar[str] = f"Liu, Luo, Wang and Tang, Deep Learning Face Attributes in the Wild, ICCV 2015, {PAGE}"
    licence: ClassVar[str] = "Non-commercial research only; the pictures may not be passed on"
    cautions: ClassVar[tuple[str, ...]] = (
        "Attributes such as Attractive, Young or Big Nose are what annotators saw, not facts about the people shown.",
        "Male is binary and ascribed by annotators; nobody was asked.",
        "The people are celebrities who were not asked, and they stand for no population.",
        "Some attributes go almost entirely with one gender (lipstick, beards), so a cell may hold very few pictures.",
        "The licence allows non-commercial research only.",
    )
    files: ClassVar[Files] = Files("celeba", (PICTURES, NAMES, PARTITION), PAGE)

    target: str = control(  # type: ignore[misc]  # here the user chooses it
        "Attractive",
        choices=ATTRIBUTES,
        joiner=", ",
        most=len(ATTRIBUTES),
        help="The attribute to predict; several are predicted at once by one network.",
    )
    sensitive: str = control(
        "Male",
        choices=ATTRIBUTES,
        joiner=" x ",
        most=3,
        help="The sensitive attribute: whose results are compared; several make intersections.",
    )
    split: str = control(
        "official",
        choices=("official", *SPLITS),
        help="official: the published division, no person twice; shares: random and stratified, people may recur.",
        group="advanced",
    )

    def __post_init__(self) -> None:
        if both := [name for name in self.target_columns if name in self.sensitive_columns]:
            raise UserError(
                f"{', '.join(both)} is both target and sensitive attribute; choose another for one of them."
            )

    @classmethod
    def data_hash(cls, data_dir: Path | None) -> str:
        folder = cls.files.find(data_dir)[0]
        return content_hash([Album.of(folder, tuple(listing(folder))).digest, TEXTS.digest(folder.parent)])

    @classmethod
    def album(cls, data_dir: Path | None) -> Album:
        return _read(cls.files.stamps(data_dir))[1]

    @classmethod
    def read(cls, data_dir: Path | None) -> pd.DataFrame:
        """One row per photograph here, "present" or "absent" for each attribute; the index is the published part (0
        train, 1 validation, 2 test)."""
        return _read(cls.files.stamps(data_dir))[0]

    @classmethod
    def remarks(cls, data_dir: Path | None) -> tuple[str, ...]:
        frame, _, listed = _read(cls.files.stamps(data_dir))
        if len(frame) == listed:
            return ()
        return (f"{len(frame):,} of the {listed:,} photographs that {NAMES} lists are here; only these count.",)

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        y = np.stack([(frame[name] == LEVELS[1]).to_numpy(np.int64) for name in self.target_columns], axis=1)
        return y if self.targets else y[:, 0]

    def prepare(self, data_dir: Path | None) -> Prepared:
        rows = super().prepare(data_dir)
        return replace(rows, groups=tuple(self._readable(group) for group in rows.groups))

    def divide(self, frame: pd.DataFrame, strata: np.ndarray) -> list[np.ndarray]:
        if self.split != "official":
            return super().divide(frame, strata)
        parts = [np.flatnonzero(frame.index == part) for part in range(len(ROLES))]
        for role, part in zip(ROLES, parts, strict=True):
            if len(part) == 0:
                raise UserError(f"{PARTITION} gives none of the photographs here to {role}; choose split = 60:20:20.")
        return parts

    @property
    def target_columns(self) -> tuple[str, ...]:
        return tuple(self.target.split(", "))

    @property
    def targets(self) -> tuple[str, ...]:
        return self.target_columns if len(self.target_columns) > 1 else ()

    @property
    def chosen_task(self) -> str:
        return "multilabel" if self.targets else "binary"

    @property
    def chosen_classes(self) -> tuple[str, ...]:
        return LEVELS if self.targets else both_names(self.target)

    def _readable(self, group: str) -> str:
        """ "absent & present" in the sensitive attributes' own words."""
        levels = zip(self.sensitive_columns, group.split(" & "), strict=True)
        return " & ".join(both_names(column)[LEVELS.index(level)] for column, level in levels)


def both_names(attribute: str) -> tuple[str, str]:
    """How people say that an attribute is absent and that it is present."""
    present = attribute.replace("_", " ")
    return OPPOSITES.get(attribute, f"not {present}"), present


@lru_cache(maxsize=2)
def _read(stamps: tuple[Stamp, ...]) -> tuple[pd.DataFrame, Album, int]:
    """The attributes of the photographs that are here, the photographs in the same order, and how many are listed."""
    (folder, *_), (names, *_), (partition, *_) = stamps
    attributes = _read_attributes(names)
    table = TEXTS.read_csv(partition, ["picture", "part"], ["part"], sep=r"\s+", header=None)
    known = attributes[attributes.index.isin(list(listing(folder)))]
    if known.empty:
        raise UserError(f"{folder} holds none of the photographs that {NAMES} lists; put 000001.jpg and so on there.")
    part = table.drop_duplicates("picture").set_index("picture")["part"].reindex(known.index)
    if not part.isin(range(len(ROLES))).all():
        odd = known.index[~part.isin(range(len(ROLES)))][0]
        raise TEXTS.damaged(partition, f"it gives {odd} to none of the parts 0, 1 and 2")
    words = np.array(LEVELS, object)[(known.to_numpy() + 1) // 2]
    frame = pd.DataFrame(words, pd.Index(part.to_numpy(np.int64), name="partition"), ATTRIBUTES, dtype="str")
    return frame, Album.of(folder, list(known.index)), len(attributes)


def _read_attributes(path: Path) -> pd.DataFrame:
    """-1 or 1 for every photograph listed (index) and attribute."""
    with path.open() as file:
        count, header = file.readline().strip(), file.readline().split()
    if tuple(header) != ATTRIBUTES:
        raise TEXTS.damaged(path, "its second line does not name the 40 attributes")
    columns = ["picture", *ATTRIBUTES]
    values = TEXTS.read_csv(path, columns, ATTRIBUTES, sep=r"\s+", header=None, skiprows=2).set_index("picture")
    if str(len(values)) != count:
        raise TEXTS.damaged(path, f"it announces {count} photographs and lists {len(values)}")
    if not values.isin([-1, 1]).to_numpy().all():
        raise TEXTS.damaged(path, "a value is neither -1 nor 1")
    return values
