"""The live chart component, and the payload it understands.

A payload is plain JSON. `blocks` are drawn in order into an area ("top", "left", "right", "bottom"); each has `frames`,
one per slider position, and the browser draws frame i when the slider stands at i:

    text      frames: sentences (a single one stands at every position)
    chart     figure: plotly data and layout; frames: {trace number: attributes to replace}
    people    frames: [{group, before, now}] per 1,000
    matrices  frames: [{title, kind, counts, shares, changes}] with the cells of one table in reading order
    sliders   the λ slider and, if the payload has a `band`, the ε slider; no frames

The component is a display: it decides nothing. Which point is best under each ε comes in `band.frames`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from fairness_core import palette
from pages import PLOTLY_ROUTE, joined

Payload = dict[str, Any]
Block = dict[str, Any]

_component = st.components.v2.component(
    "equipoise_explorer",
    js=joined("mount.js", "blocks.js", "slider.js", "explorer.js"),
    css=joined("explorer.css"),
    isolate_styles=False,
)


def explorer(
    blocks: Sequence[Block],
    *,
    key: str,
    revision: str,
    stamp: str = "",
    slider: Mapping[str, Any] | None = None,
    band: Mapping[str, Any] | None = None,
    on_position: Callable[[], None] = lambda: None,
    on_epsilon: Callable[[], None] = lambda: None,
) -> Any:
    """Mount the component; its state has `position` and `epsilon` (None until somebody moved them).

    revision: zoom and slider positions are kept as long as it stays the same.
    stamp: stands for the contents of the blocks; as long as it stays the same, nothing is drawn again.
    """
    payload: Payload = {
        "rev": revision,
        "stamp": stamp,
        "plotly": PLOTLY_ROUTE,
        "palette": palette.on_dark(),
        "slider": slider,
        "band": band,
        "blocks": list(blocks),
    }
    return _component(key=key, data=payload, on_position_change=on_position, on_epsilon_change=on_epsilon)


def slider(label: str, symbol: str, values: Sequence[float], position: int, ends: tuple[str, str]) -> dict[str, Any]:
    """The λ slider: one position per value."""
    labels = [f"{v:g}" for v in values]
    return {"label": label, "symbol": symbol, "labels": labels, "position": position, "ends": list(ends)}


def text(
    id: str, frames: Sequence[str], *, area: str = "top", heading: str | None = None, muted: bool = False
) -> Block:
    block: Block = {"kind": "text", "id": id, "area": area, "frames": list(frames), "muted": muted}
    return block if heading is None else {**block, "heading": heading}


def sliders(*, area: str = "left") -> Block:
    return {"kind": "sliders", "id": "sliders", "area": area}


def chart(
    id: str,
    figure: go.Figure,
    *,
    alt: str,
    height: int,
    area: str,
    heading: str | None = None,
    frames: Sequence[Mapping[int, Mapping[str, Any]]] = (),
    click: bool = False,
    ring: int | None = None,
) -> Block:
    """A plotly figure with a name for screen readers; click=True moves the slider to a clicked point's customdata.

    ring: the trace with one marker that is all that follows the slider, so that a drag need not redraw the rest.
    """
    return {
        "kind": "chart",
        "id": id,
        "area": area,
        "alt": alt,
        "height": height,
        "heading": heading,
        "click": click,
        "ring": ring,
        "figure": json.loads(figure.to_json()),
        "frames": [{str(k): plain(v) for k, v in frame.items()} for frame in frames],
    }


def people(id: str, frames: Sequence[Sequence[Mapping[str, Any]]], *, heading: str, colour: str, area: str) -> Block:
    """Favourable decisions per 1,000 people of each group, before (None if unknown) and now."""
    rows = [[plain(row) for row in frame] for frame in frames]
    return {"kind": "people", "id": id, "area": area, "heading": heading, "colour": colour, "frames": rows}


def matrices(
    id: str, frames: Sequence[Sequence[Mapping[str, Any]]], *, heading: str, classes: Sequence[str], area: str
) -> Block:
    """Confusion matrices side by side, on one colour scale."""
    rows = [[plain(row) for row in frame] for frame in frames]
    return {"kind": "matrices", "id": id, "area": area, "heading": heading, "classes": list(classes), "frames": rows}


def trace_index(figure: go.Figure, meta: str) -> int:
    """The number of the trace that figures.py named `meta`."""
    return next(i for i, trace in enumerate(figure.data) if trace.meta == meta)


def plain(value: Any) -> Any:
    """Numpy and NaN -> what JSON has: numbers rounded to 5 digits, None for what is not a number."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 5) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
