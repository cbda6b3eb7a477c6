"""Which lines of a long table are asked for."""

import pytest

from fairness_core.config import UserError
from fairness_core.table_lines import lines

KNOWN = {"Faces, age by gender": 1, "Faces, age by gender, associated": 2, "Faces, race by age": 3}


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ("", [1, 2, 3]),
        ("AGE BY", [1, 2]),
        ("associated", [2]),
        ("faces, age by gender", [1]),  # a whole name is that line alone
    ],
)
def test_a_line_is_asked_for_by_its_name_or_a_part_of_it(only: str, found: list[int]) -> None:
    assert list(lines(KNOWN, only).values()) == found


def test_a_line_that_is_not_there_is_one_sentence_with_those_that_are() -> None:
    with pytest.raises(UserError, match="No line of this table has 'hair' in its name; its lines are: Faces, age by"):
        lines(KNOWN, "hair")
