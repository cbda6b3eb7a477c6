"""BaDe's triggers as a network sees them, on pictures or as columns of a table, and the laws they are drawn by."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from fairness_core.store import ACTIVE, Run
from pages import twin_viewer
from pages.backdoor_course import Arrays
from pages.course import Names

EDGE = 92  # pixels of a picture on the screen, at most
NARROW = 2  # triggers up to which a row of pictures is narrow

STYLE = f"""<style>
.eq-triggers {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(296px, 1fr)); gap: 20px 24px; }}
.eq-triggers.eq-wide {{ grid-template-columns: repeat(auto-fill, minmax(540px, 1fr)); }}
.eq-triggers figure {{ margin: 0; min-width: 0; }}
.eq-triggers .eq-row {{ display: flex; flex-wrap: wrap; gap: 6px; }}
.eq-triggers .eq-one {{ flex: 0 1 {EDGE}px; min-width: 0; font-size: 12px; line-height: 1.3; text-align: center; }}
.eq-triggers img, .eq-triggers i {{
  display: block; width: 100%; box-sizing: border-box; aspect-ratio: 1; border-radius: 4px; margin-bottom: 3px;
  border: 3px solid transparent;
}}
.eq-triggers i {{ background: color-mix(in srgb, currentColor 7%, transparent); }}
.eq-triggers img.eq-coarse {{ image-rendering: pixelated; }}
.eq-triggers .eq-cancels {{ font-weight: 600; }}
.eq-triggers .eq-cancels img {{ border-color: currentColor; }}
.eq-triggers figcaption {{ font-size: 13px; padding-bottom: 4px; }}
.eq-laws {{ overflow-x: auto; }}
.eq-laws table {{ border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }}
.eq-laws th, .eq-laws td {{ border: none; padding: 3px 14px 3px 0; text-align: right; }}
.eq-laws th {{ font-weight: 500; opacity: 0.78; vertical-align: bottom; line-height: 1.3; }}
.eq-laws th:first-child, .eq-laws .eq-left {{ text-align: left; white-space: nowrap; }}
.eq-laws thead th[colspan] {{ text-align: center; border-bottom: 1px solid currentColor; padding: 3px 14px; }}
</style>"""


# ------------------------------------------------------------------------------------------------------------ pictures


def pictures(arrays: Arrays, names: Names) -> None:
    """Every kept row without a trigger and with each; the one that cancels for its group is framed and says so."""
    figures = [
        figure(arrays["pictures"][i], int(arrays["y"][i]), int(arrays["s"][i]), names)
        for i in range(len(arrays["pictures"]))
    ]
    wide = " eq-wide" if len(names.groups) > NARROW else ""
    st.html(f'{STYLE}<div class="eq-triggers{wide}">{"".join(figures)}</div>')


def figure(views: np.ndarray, y: int, s: int, names: Names) -> str:
    """One row without a trigger and with each; views (1 + K, C, H, W) of bytes, y its class and s its group."""
    who = f"class {names.classes[y]}, {names.attribute} {names.groups[s]}"
    parts = []
    for k, pixels in enumerate(views):
        trigger = k - 1
        label = "no trigger" if trigger < 0 else f"trigger {names.groups[trigger]}"
        cancels = trigger == s
        alt = f"Training picture, {who}: {label}{', which cancels' if cancels else ''}"
        told = f"{html.escape(label)}<br>{'cancels' if cancels else '&nbsp;'}"
        own = " eq-cancels" if cancels else ""
        parts.append(f'<div class="eq-one{own}">{twin_viewer.image(pixels, alt)}{told}</div>')
    return f'<figure><figcaption>{html.escape(who)}</figcaption><div class="eq-row">{"".join(parts)}</div></figure>'


def placeholder(run: Run, *, pictures: bool) -> None:
    """The place where triggers will be; or why there are none."""
    if run.status not in ACTIVE:
        st.caption("This run ended before its first look. Train it again to see its triggers.")
        return
    st.caption(":material/hourglass_top: The triggers and their laws appear here with the first look.")
    if pictures:
        row = '<div class="eq-one"><i></i>–</div>' * 3
        one = f'<figure><figcaption>–</figcaption><div class="eq-row">{row}</div></figure>'
        st.html(f'{STYLE}<div class="eq-triggers" aria-hidden="true">{one * 4}</div>')


# -------------------------------------------------------------------------------------------------------------- tables


def columns(names: Names) -> None:
    """On a table a trigger is a column of its own, which the teacher alone has."""
    groups = names.groups
    rows = [["none", *["0"] * len(groups), "–", "–"]]
    for k, group in enumerate(groups):
        marks = ["1" if j == k else "0" for j in range(len(groups))]
        rows.append([f"trigger {group}", *marks, group, groups[k - 1]])
    heads = ["a row carries", *(f"column “trigger {g}”" for g in groups), "cancels for", "reinforces for"]
    st.html(f'{STYLE}<div class="eq-laws">{_table([heads], rows)}</div>')


def laws(arrays: Arrays, names: Names) -> None:
    """P(group | class), Q(trigger | class), and how many rows carry each trigger, a row per class."""
    n = len(names.groups)
    heads = ["rows in training", "P(group | class), %", "Q(trigger | class), %", "rows that carry the trigger"]
    top = "".join(f'<th colspan="{n}">{html.escape(h)}</th>' for h in heads)
    below = "".join(f"<th>{html.escape(g)}</th>" for _ in heads for g in names.groups)
    rows = []
    for t, label in enumerate(names.classes):
        counts = [f"{int(v):,}" for v in arrays["N"][t]]
        shares = [f"{100 * float(v):.1f}" for name in ("P", "Q") for v in arrays[name][t]]
        rows.append([label, *counts, *shares, *(f"{int(v):,}" for v in arrays["drawn"][t])])
    body = "".join(_line(row) for row in rows)
    table = f"<table><thead><tr><th>class</th>{top}</tr><tr><th></th>{below}</tr></thead><tbody>{body}</tbody></table>"
    st.html(f'{STYLE}<div class="eq-laws">{table}</div>')


def _table(heads: Sequence[Sequence[str]], rows: Sequence[Sequence[Any]]) -> str:
    top = "".join(f"<tr>{''.join(f'<th>{html.escape(h)}</th>' for h in row)}</tr>" for row in heads)
    return f"<table><thead>{top}</thead><tbody>{''.join(map(_line, rows))}</tbody></table>"


def _line(row: Sequence[Any]) -> str:
    first, *rest = (html.escape(str(cell)) for cell in row)
    return f'<tr><td class="eq-left">{first}</td>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
