"""What the pictures of a data set look like: a few of every (class, group) cell, drawn by lot from training."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
import streamlit as st
from PIL import Image

from fairness_core.datasets import Rows
from pages import anatomy
from pages.anatomy import Anatomy, Chosen

CELLS = 20  # classes times groups shown at once
PER_CELL = 6
EDGE = 64  # pixels a small picture is enlarged to
GAP = 4

STYLE = """<style>
.eq-gallery { border-collapse: collapse; font-size: 13px; }
.eq-gallery caption { text-align: left; padding: 0 0 8px; }
.eq-gallery th { font-weight: 600; text-align: left; padding: 4px 24px 4px 0; vertical-align: middle; }
.eq-gallery td { padding: 4px 24px 4px 0; vertical-align: middle; }
.eq-gallery th, .eq-gallery td { border: none; }
.eq-gallery img { display: block; max-width: 100%; height: auto; border-radius: 3px; }
.eq-gallery small { display: block; font-size: 12px; opacity: 0.75; font-variant-numeric: tabular-nums; }
</style>"""


def draw(known: Anatomy, name: str, chosen: Chosen, data_hash: str, look: str) -> None:
    """The heading, pickers where there are too many cells, and the grid."""
    st.subheader("What the pictures show", anchor=False)
    classes, groups = _pickers(known)
    seed = st.session_state.setdefault("data:lot", 0)
    grid = montage(name, chosen, data_hash, look, tuple(classes), tuple(groups), seed)
    st.html(table(known, classes, groups, grid))
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Other pictures", icon=":material/shuffle:", key="data-lot"):
            st.session_state["data:lot"] = seed + 1
            st.rerun()
        st.caption(
            f"Up to {PER_CELL} per cell, drawn by lot {seed} from the training split; under them, how many "
            "there are in all."
        )


def _pickers(known: Anatomy) -> tuple[list[int], list[int]]:
    """Which classes and groups are shown: all of them, or as many as fit, with a choice."""
    classes, groups = list(range(len(known.classes))), list(range(len(known.groups)))
    if len(classes) * len(groups) <= CELLS:
        return classes, groups
    fit = max(1, CELLS // min(len(classes), 10))
    left, right = st.columns(2)
    picked = left.multiselect(
        "Classes shown", classes, classes[:10], key="data-classes", format_func=known.classes.__getitem__,
        max_selections=10,
    )  # fmt: skip
    seen = right.multiselect(
        "Groups shown", groups, groups[:fit], key="data-groups", format_func=known.groups.__getitem__, max_selections=8
    )
    return picked or classes[:1], seen or groups[:1]


@st.cache_data(max_entries=16, show_spinner="Reading the pictures …")
def montage(
    name: str, chosen: Chosen, data_hash: str, look: str, classes: tuple[int, ...], groups: tuple[int, ...], seed: int
) -> dict[tuple[int, int], bytes]:
    """One PNG per (class, group) cell that has pictures; the same seed draws the same ones."""
    rows = anatomy.rows_of(name, dict(chosen))
    y = anatomy.classes_of(rows, look)
    rng = np.random.default_rng([seed, 61007])
    drawn = {}
    for t in classes:
        for g in groups:
            cell = np.flatnonzero((y == t) & (rows.s == g))
            drawn[t, g] = rng.choice(cell, min(PER_CELL, len(cell)), replace=False)
    return _strips(rows, {cell: picked for cell, picked in drawn.items() if len(picked)})


def _strips(rows: Rows, drawn: dict[tuple[int, int], np.ndarray]) -> dict[tuple[int, int], bytes]:
    """The pictures of every cell side by side; all are read in one go."""
    if rows.images is None or not drawn:
        return {}
    pixels = np.asarray(rows.images[np.concatenate(list(drawn.values()))])
    strips, start = {}, 0
    for cell, picked in drawn.items():
        strips[cell] = strip(pixels[start : start + len(picked)])
        start += len(picked)
    return strips


def strip(pixels: np.ndarray) -> bytes:
    """uint8 (n, 1 or 3, height, width) -> PNG of the n pictures in a row on a transparent ground."""
    times = max(1, round(EDGE / pixels.shape[-1]))
    edge = times * pixels.shape[-1]
    out = Image.new("RGBA", (len(pixels) * (edge + GAP) - GAP, times * pixels.shape[-2]))
    for i, picture in enumerate(np.broadcast_to(pixels, (len(pixels), 3, *pixels.shape[2:]))):
        small = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
        out.paste(small.resize((edge, out.height), Image.Resampling.NEAREST), (i * (edge + GAP), 0))
    written = io.BytesIO()
    out.save(written, "PNG")
    return written.getvalue()


def table(known: Anatomy, classes: list[int], groups: list[int], grid: dict[tuple[int, int], bytes]) -> str:
    """HTML: a row per class, a column per group, every cell with its count and a strip of pictures."""
    counts = known.counts["train"]
    head = "".join(f'<th scope="col">{html.escape(known.groups[g])}</th>' for g in groups)
    lines = [f'<tr><th scope="col">{html.escape(known.target)}</th>{head}</tr>']
    for t in classes:
        cells = "".join(f"<td>{_cell(known, t, g, int(counts[g, t]), grid.get((t, g)))}</td>" for g in groups)
        lines.append(f'<tr><th scope="row">{html.escape(known.classes[t])}</th>{cells}</tr>')
    return f'{STYLE}<div style="overflow-x:auto"><table class="eq-gallery">{"".join(lines)}</table></div>'


def _cell(known: Anatomy, t: int, g: int, n: int, picture: bytes | None) -> str:
    if picture is None:
        return "<small>none</small>"
    alt = html.escape(f"{min(PER_CELL, n)} of {n:,} training pictures: {known.classes[t]}, {known.groups[g]}")
    data = base64.b64encode(picture).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{alt}"><small>{n:,}</small>'
