"""A table nobody has seen goes from file to frontier by clicking alone, and away again with all that was made of it."""

from __future__ import annotations

import re

import numpy as np
from playwright.sync_api import expect

from tests.served import settled, wait_for


def loans(rows: int = 500) -> bytes:
    """Text, gaps, whole numbers, a name that is markup, and a grant that leans on the town."""
    rng = np.random.default_rng(0)
    town = rng.choice(["Ørby", "St. Ives"], rows)
    income = rng.integers(15, 90, rows)
    job = rng.choice(["cook", "smith", "n/a"], rows)
    years = np.where(rng.random(rows) < 0.1, "", rng.integers(0, 30, rows).astype(str))
    granted = np.where(income + 15 * (town == "Ørby") + rng.normal(0, 10, rows) > 58, "yes", "no")
    lines = ["applicant;town;income;job;<b>years</b>;granted"]
    lines += [
        f"{i};{t};{n};{j};{y};{g}"
        for i, (t, n, j, y, g) in enumerate(zip(town, income, job, years, granted, strict=True))
    ]
    return "\n".join(lines).encode()


def test_a_new_table_goes_to_its_frontier_by_clicking_alone(page, fresh):
    page.goto(f"{fresh.url}/data")
    page.locator(".st-key-data-own button").click()
    file = {"name": "loans <b>2026.csv", "mimeType": "text/csv", "buffer": loans()}
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("500 rows, 6 columns")).to_be_visible()
    expect(page.get_by_role("combobox", name="Target")).to_have_value("granted")
    expect(page.get_by_role("combobox", name="Favourable class")).to_have_value("yes")
    chosen = page.get_by_test_id("stMultiSelect").filter(has_text="Sensitive attribute")
    if chosen.get_by_text("town").count() == 0:  # the guess knows no towns
        chosen.get_by_role("combobox").click()
        page.get_by_role("option", name="town").click()
        page.keyboard.press("Escape")
    settled(page)
    page.get_by_role("button", name="Use this table").click()

    expect(page).to_have_url(re.compile("data=loans-b-2026-"))
    expect(page.locator(".eq-id-sentence")).to_contain_text("granted")
    expect(page.locator("b", has_text="2026")).to_have_count(0)  # a file's name is no markup
    settled(page)
    page.locator(".st-key-dial-sweep button").click()
    expect(page).to_have_url(re.compile("sweep="))
    expect(page.locator(".eq-id-sentence")).to_contain_text("λ", timeout=120_000)
    name = page.url.partition("sweep=")[2].partition("&")[0]
    sweep = fresh.store.sweep(name)
    assert sweep is not None
    assert sweep.spec["base"]["dataset"].startswith("loans-")
    expect(page.locator(".eq-id-frontier .js-plotly-plot")).to_be_visible()

    fresh.store.cancel(sweep.run_ids)
    page.goto(f"{fresh.url}/data")
    page.locator(".st-key-data-own button").click()
    page.get_by_role("button", name="Delete this table").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    wait_for(lambda: fresh.store.sweep(name) is None, "the sweep outlived its table")
    assert not list(fresh.store.tables.glob("loans-*"))


def test_a_broken_file_is_one_sentence_and_the_page_goes_on(page, fresh):
    page.goto(f"{fresh.url}/data")
    page.locator(".st-key-data-own button").click()
    picture = {"name": "people.csv", "mimeType": "text/csv", "buffer": b"\x89PNG\r\n\x1a\n" + bytes(200)}
    page.locator("input[type=file]").set_input_files(picture)
    expect(page.get_by_role("alert").filter(has_text="people.csv")).to_be_visible()
    expect(page.locator(".eq-id-sentence")).to_contain_text("women")
