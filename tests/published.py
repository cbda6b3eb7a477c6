"""Stand-ins for the published tables: a few hundred made-up rows each, in the original layout, so that tests need no
downloads. In every one the label depends on an input and on the sensitive attribute, and all of it is seeded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from fairness_core.datasets import bank, communities, compas, meps, south_german

ROWS = 400
SOMEBODY = "zebediah quillfeather"  # in every name column of the COMPAS stand-in


def write_tables(folder: Path, rows: int = ROWS, seed: int = 0) -> Path:
    """All five stand-ins below `folder`, each in the folder its loader looks in."""
    for name, write in WRITERS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        write(folder / name, rows, np.random.default_rng([seed, len(name)]))
    return folder


def write_bank(folder: Path, rows: int, rng: np.random.Generator) -> None:
    frame = pd.DataFrame({name: rng.choice(values, rows) for name, values in bank.LEVELS.items()})
    for name in bank.WITH_GAPS:
        frame[name] = frame[name].where(rng.random(rows) > 0.1, "unknown")
    for name in bank.NUMERIC:
        frame[name] = rng.integers(0, 500, rows)
    frame["age"] = rng.integers(18, 40, rows)
    frame["pdays"] = np.where(rng.random(rows) < 0.8, bank.NEVER, rng.integers(1, 20, rows))
    likely = 0.1 + 0.4 * (frame["duration"] > 250) + 0.2 * (frame["age"] < 25)
    frame["y"] = np.where(rng.random(rows) < likely, "yes", "no")
    frame[list(bank.COLUMNS)].to_csv(folder / bank.FILE, sep=";", index=False, quoting=2)


def write_compas(folder: Path, rows: int, rng: np.random.Generator) -> None:
    """Every tenth row does not pass ProPublica's filter, for each of its reasons in turn."""
    age = rng.integers(18, 70, rows)
    race = ("African-American", "Caucasian", "Hispanic", "Other", "Asian", "Native American")
    frame = pd.DataFrame({
        "id": np.arange(rows), "name": SOMEBODY, "first": SOMEBODY.split()[0], "last": SOMEBODY.split()[1],
        "sex": rng.choice(["Male", "Female"], rows, p=[0.8, 0.2]), "dob": "1999-12-31", "age": age,
        "age_cat": np.select([age < 25, age <= 45], ["Less than 25", "25 - 45"], "Greater than 45"),
        "race": rng.choice(race, rows, p=[0.45, 0.3, 0.1, 0.09, 0.03, 0.03]),
        "juv_fel_count": rng.poisson(0.1, rows), "decile_score": rng.integers(1, 11, rows),
        "juv_misd_count": rng.poisson(0.1, rows), "juv_other_count": rng.poisson(0.1, rows),
        "priors_count": rng.poisson(3, rows), "days_b_screening_arrest": rng.integers(-30, 31, rows).astype(float),
        "c_charge_degree": rng.choice(["F", "M"], rows),
        "c_charge_desc": rng.choice(["Battery", "Grand Theft", "arrest case no charge", ""], rows),
        "is_recid": rng.integers(0, 2, rows), "score_text": rng.choice(["Low", "Medium", "High"], rows),
    })  # fmt: skip
    likely = 0.2 + 0.3 * (frame["priors_count"] > 3) + 0.15 * (frame["race"] == "African-American")
    frame["two_year_recid"] = (rng.random(rows) < likely).astype(int)
    reasons: tuple[tuple[str, float | str], ...] = (
        ("days_b_screening_arrest", 31),
        ("days_b_screening_arrest", np.nan),
        ("is_recid", -1),
    )
    reasons += (("c_charge_degree", "O"), ("score_text", "N/A"))
    for k, row in enumerate(range(9, rows, 10)):
        frame.loc[row, reasons[k % len(reasons)][0]] = reasons[k % len(reasons)][1]
    frame.insert(14, "priors_count.1", frame["priors_count"])
    header = ",".join(str(name).removesuffix(".1") for name in frame)  # one name stands twice in the original
    body = frame.to_csv(index=False, header=False)
    (folder / compas.FILE).write_text(f"{header}\n{body}")


def write_south_german(folder: Path, rows: int, rng: np.random.Generator) -> None:
    frame = pd.DataFrame({german: rng.choice(list(codes), rows) for german, (_, codes) in south_german.CODED.items()})
    for german in south_german.NUMERIC:
        frame[german] = rng.integers(18, 75, rows)
    likely = 0.3 + 0.4 * (frame["laufkont"] > 2) + 0.2 * frame["famges"].isin([1, 3])
    frame["kredit"] = (rng.random(rows) < likely).astype(int)
    order = "laufkont laufzeit moral verw hoehe sparkont beszeit rate famges buerge wohnzeit verm alter weitkred wohn"
    order += " bishkred beruf pers telef gastarb kredit"
    frame[order.split()].to_csv(folder / south_german.FILE, sep=" ", index=False, lineterminator="\r\n")


def write_meps(folder: Path, rows: int, rng: np.random.Generator) -> None:
    for name, share in zip(meps.PARTS, (0.6, 0.2, 0.2), strict=True):
        n = round(rows * share)
        frame = pd.DataFrame({"AGE": rng.integers(0, 86, n), "RACE": rng.integers(0, 2, n)})
        for score in ("PCS42", "MCS42", "K6SUM42"):
            frame[score] = rng.integers(-1, 60, n)
        one_hot = [np.eye(len(codes), dtype=int)[rng.integers(0, len(codes), n)] for codes in meps.CODES.values()]
        frame = pd.concat([frame, pd.DataFrame(np.hstack(one_hot), columns=list(meps.ONE_HOT))], axis=1)
        likely = 0.1 + 0.3 * (frame["AGE"] > 60) + 0.15 * frame["RACE"]
        frame[meps.TARGET] = (rng.random(n) < likely).astype(int)
        frame[list(meps.COLUMNS)].to_csv(folder / name, index=False, lineterminator="\r\n")


def write_communities(folder: Path, rows: int, rng: np.random.Generator) -> None:
    frame = pd.DataFrame(rng.random((rows, len(communities.COLUMNS))).round(2), columns=list(communities.COLUMNS))
    for name in ("racepctblack", "racePctHisp", "racePctAsian"):
        frame[name] = (rng.random(rows) ** 3 / 2).round(2)
    violent = 0.5 * frame["racepctblack"] + 0.3 * frame["PctIlleg"] + 0.2 * rng.random(rows)
    frame[communities.TARGET] = violent.clip(0, 1).round(2)
    frame["state"], frame["fold"] = rng.integers(1, 57, rows), np.arange(rows) % 10 + 1
    frame["communityname"] = "Springfieldcity"
    for name in ("county", "community", "LemasSwornFT"):
        frame[name] = frame[name].where(rng.random(rows) < 0.2)
    frame.to_csv(folder / communities.FILE, header=False, index=False, na_rep="?")


WRITERS: dict[str, Callable[[Path, int, np.random.Generator], None]] = {
    "bank": write_bank,
    "compas": write_compas,
    "south_german": write_south_german,
    "meps": write_meps,
    "communities": write_communities,
}
