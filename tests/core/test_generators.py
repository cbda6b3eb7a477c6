"""What a generator tells may be changed on its way; what it returns, and that it is closed, stays."""

from collections.abc import Generator

import pytest

from fairness_core.generators import mapped, ran


def counting(closed: list[bool], n: int = 3) -> Generator[int, None, str]:
    try:
        yield from range(n)
        return "done"
    finally:
        closed.append(True)


def test_items_are_changed_and_the_result_is_kept() -> None:
    closed: list[bool] = []
    assert ran(mapped(counting(closed), lambda item: item * 10)) == ("done", [0, 10, 20])
    assert closed == [True]


def test_closing_the_outer_one_closes_the_inner_one() -> None:
    closed: list[bool] = []
    outer = mapped(counting(closed), str)
    assert next(outer) == "0"
    outer.close()
    assert closed == [True]


def test_an_error_passes_through() -> None:
    closed: list[bool] = []
    with pytest.raises(ZeroDivisionError):
        ran(mapped(counting(closed), lambda item: 1 // item))
    assert closed == [True]
