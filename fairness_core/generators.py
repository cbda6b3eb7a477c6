"""Trainings are generators: what they yield is news, what they return is the result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R")


def mapped(items: Generator[T, None, R], change: Callable[[T], U]) -> Generator[U, None, R]:
    """The same generator with every item changed on its way; closing it closes `items`."""
    with closing(items):
        while True:
            try:
                item = next(items)
            except StopIteration as done:
                result: R = done.value
                return result
            yield change(item)


def ran(items: Generator[T, None, R]) -> tuple[R, list[T]]:
    """What a generator returns, run to its end, and all that it yielded."""
    found: list[T] = []
    changed = mapped(items, found.append)
    while True:
        try:
            next(changed)
        except StopIteration as done:
            return done.value, found
