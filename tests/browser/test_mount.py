"""Where a live component's view lives, whatever order Streamlit calls and cleans up in."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from pages import ASSETS

# A view that leaves a child in its place, and calls of it as the Streamlit front end makes them.
VIEW = """
    const place = document.createElement("div");
    class View {
      constructor(host) { host.append((this.root = document.createElement("p"))); }
      update(data) { this.root.textContent = data; }
      destroy() { this.root.remove(); }
    }
    const call = (data) => mounted(View, { data, parentElement: place });
    const shown = () => Array.from(place.children, (child) => child.textContent);
"""


@pytest.fixture
def told(page: Page):
    """Run lines of JavaScript that end with `return`, and have what they return."""
    page.set_content("<p></p>")
    page.add_script_tag(content=(ASSETS / "mount.js").read_text(encoding="utf-8"))
    return lambda lines: page.evaluate(f"() => {{ {VIEW} {lines} }}")


def test_an_outdated_way_out_leaves_the_newer_view(told):
    assert told("const out = call('old'); call('new'); out(); return shown()") == ["new"]


def test_the_newest_way_out_takes_the_view_away(told):
    assert told("call('old'); const out = call('new'); out(); return shown()") == []


def test_a_view_is_made_once_and_updated(told):
    lines = "call('old'); const first = place.firstChild; call('new'); return [place.firstChild === first, ...shown()]"
    assert told(lines) == [True, "new"]


def test_ways_out_of_a_view_that_is_gone_leave_its_successor(told):
    lines = "const a = call('a'), b = call('b'); b(); call('c'); a(); b(); return shown()"
    assert told(lines) == ["c"]
