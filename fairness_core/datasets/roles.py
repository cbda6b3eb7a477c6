"""Which columns may be target or sensitive attribute, and which of them most likely are: by name, then by place."""

from __future__ import annotations

from collections.abc import Sequence

from fairness_core.datasets.columns import MOST_CLASSES, Column, words_of

TARGETS = (
    *("target", "label", "class", "outcome", "y", "income", "default", "approved", "approval", "decision", "hired"),
    *("two_year_recid", "recid", "is_recid", "recidivism", "credit", "credit_risk", "loan_status", "churn", "admitted"),
    *("kredit", "deposit", "result", "risk", "salary", "labels", "response", "accepted", "passed", "utilization"),
)
SENSITIVE = (  # in the order in which one is proposed
    {"sex", "gender", "geschlecht", "sexe", "sexo", "genre", "genero", "género", "sesso", "kjønn", "geslacht"},
    {"race", "ethnicity", "ethnic", "ethnie", "rasse", "raza", "etnia", "ethnizität", "colour", "skin"},
    {"age", "alter", "edad", "âge", "età", "idade", "leeftijd", "agegroup", "birthyear"},
    {"nationality", "nationalität", "nationalitaet", "citizenship", "citizen", "foreign", "foreigner", "migration"},
    {"religion", "religious", "faith", "konfession", "disability", "disabled", "behinderung", "handicap"},
    {"marital", "married", "familienstand", "orientation", "pregnant", "veteran", "caste", "famges", "gastarb"},
)
FAVOURABLE = {"good", "approved", "accepted", "hired", "admitted", "pass"}
FAVOURABLE |= {">50k", ">50k.", "high", "positive", "granted", "passed", "paid", "fully paid"}


def can_be_target(column: Column) -> bool:
    """2 to 50 classes; a number has none until it is cut."""
    return column.kind in ("category", "yes/no") and 2 <= len(column.levels) <= MOST_CLASSES


def likely_target(columns: Sequence[Column]) -> str | None:
    """The column that is most likely what is decided: by its name, else the last with few classes, two before more."""
    possible = [c for c in columns if can_be_target(c) and len(c.levels) <= 20]
    by_name = {c.name.casefold().replace("-", "_").replace(" ", "_"): c.name for c in possible}
    for name in TARGETS:
        if name in by_name:
            return by_name[name]
    fair = [c for c in possible if not is_sensitive(c)] or possible
    binary = [c for c in fair if len(c.levels) == 2]
    return (binary or fair)[-1].name if fair else None


def likely_positive(column: Column) -> str:
    """The class that is most likely the favourable one: by its word, else the larger number or the last word."""
    values = sorted(column.values, key=_natural)
    if column.kind == "yes/no":
        return list(column.words.values())[-1]
    return next((v for v in values if v.casefold() in FAVOURABLE), values[-1])


def likely_sensitive(columns: Sequence[Column]) -> list[str]:
    """Columns whose names speak of protected attributes, the most usual first."""
    found = [(rank, c.name) for c in columns if (rank := _sensitive_rank(c)) is not None and can_be_group(c)]
    return [name for _, name in sorted(found, key=lambda pair: pair[0])]


def can_be_group(column: Column) -> bool:
    """Few values, or a number that can be cut."""
    return column.kind == "number" or can_be_target(column)


def is_sensitive(column: Column) -> bool:
    return _sensitive_rank(column) is not None


def _sensitive_rank(column: Column) -> int | None:
    words = words_of(column.name)
    return next((rank for rank, known in enumerate(SENSITIVE) if words & known), None)


def ordered(values: Sequence[str]) -> list[str]:
    """Classes in their natural order: numbers by size, words by alphabet."""
    return sorted(values, key=_natural)


def _natural(value: str) -> tuple[bool, float, str]:
    try:
        return (False, float(value), value)
    except ValueError:
        return (True, 0.0, value)
