"""Bias against the group's share: an offer before, a picture that moves while it trains, a correlation afterwards."""

from __future__ import annotations

from typing import Any

from fairness_core.config import RunConfig, resolve
from fairness_core.imbalance import Correlation
from pages.origins import said


def untreated(catalogue: dict[str, Any]) -> RunConfig:
    """What the section trains for Adult as it is."""
    return resolve(catalogue, dataset="adult", method="erm")


def test_it_offers_to_train_and_submits_an_untreated_run(open_page, store, catalogue):
    at = open_page("data.py")
    assert not at.exception
    at.button(key="origins-train").click().run()
    run = store.run(untreated(catalogue).id)
    assert run is not None
    assert run.status == "queued"


def test_a_finished_run_is_drawn_with_its_rows_and_split(open_page, finish, catalogue):
    finish(untreated(catalogue))
    at = open_page("data.py")
    assert not at.exception
    assert not [b for b in at.button if b.key == "origins-train"]
    assert any("seed 0" in c.value for c in at.caption)


def test_a_failed_run_says_why_and_may_be_tried_again(open_page, finish, catalogue):
    finish(untreated(catalogue), "failed", error="The machine is full; make room.")
    at = open_page("data.py")
    assert any("The machine is full" in e.value for e in at.error)
    assert at.button(key="origins-train")


def test_words_follow_the_interval():
    assert "rises with" in said(Correlation(0.9, 0.8, 0.95, 34), "x")
    assert "falls with" in said(Correlation(-0.9, -0.95, -0.8, 34), "x")
    assert "no clear relation" in said(Correlation(0.1, -0.3, 0.5, 34), "x")
    assert "34 points" in said(Correlation(0.9, 0.8, 0.95, 34), "x")
    assert "no correlation to speak of" in said(Correlation(float("nan"), float("nan"), float("nan"), 2), "x")
