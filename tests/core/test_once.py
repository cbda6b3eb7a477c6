"""What stacks have in common is made once, by whichever comes first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fairness_core.once import Once


def test_the_first_makes_it_and_the_others_wait() -> None:
    once, started, go = Once(), threading.Event(), threading.Event()
    calls: list[str] = []

    def make() -> str:
        calls.append("made")
        started.set()
        assert go.wait(10)
        return "value"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(once.get, ("key", 1), make)
        assert started.wait(10)
        second = pool.submit(once.get, ("key", 1), make)
        go.set()
        assert first.result() == second.result() == "value"
    assert calls == ["made"]
    assert once.get(("key", 2), lambda: "other") == "other"


def test_after_an_error_the_next_tries_again() -> None:
    once = Once()

    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        once.get("key", fail)
    assert once.get("key", lambda: "yes") == "yes"
