"""A few training rows beside their adversarial twins, at any moment of a run: as pictures, or as columns that moved.

What is shown is what the run has left (fairness_core.exhibits): nothing is computed anew.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

import pages
from fairness_core import aeda_figures, datasets, exhibits
from fairness_core.config import UserError
from fairness_core.store import ACTIVE, Run
from pages import explorer

AMPLIFIED = 10  # times the difference, for an eye to see it
GREY = 128  # of a difference picture: unchanged
MOVED = 4  # columns of a table's row that are listed
EDGE = 112  # pixels of a picture on the screen, at most
SLIDER = 76  # pixels of its row, kept while there is one moment only
LATEST = -1  # among the steps a slider stands at
SHOWN = 12  # rows of an exhibit
COARSE = 64  # pictures smaller than this keep their pixels visible

STYLE = f"""<style>
.eq-twins {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(292px, 1fr)); gap: 16px 24px; }}
.eq-twins figure {{ margin: 0; min-width: 0; }}
.eq-twins .eq-trio {{ display: flex; gap: 4px; }}
.eq-twins .eq-trio > * {{
  display: block; flex: 1 1 0; min-width: 0; max-width: {EDGE}px; aspect-ratio: 1; border-radius: 3px;
}}
.eq-twins i {{ background: color-mix(in srgb, currentColor 7%, transparent); }}
.eq-twins img.eq-coarse {{ image-rendering: pixelated; }}
.eq-twins figcaption {{ font-size: 13px; line-height: 1.45; padding-top: 4px; }}
.eq-twins table {{ border-collapse: collapse; font-size: 13px; width: 100%; margin-top: 4px; }}
.eq-twins td {{ border: none; padding: 1px 8px 1px 0; overflow-wrap: anywhere; }}
.eq-twins td + td {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; padding-right: 0; }}
</style>"""


class Names(NamedTuple):
    """What the numbers of an exhibit stand for; target and attribute say what class and group are of. Without classes
    it speaks of the group alone."""

    classes: tuple[str, ...]
    groups: tuple[str, ...]
    target: str
    attribute: str


def names_of(run: Run, classes: Sequence[str], groups: Sequence[str]) -> Names:
    """Of several targets an exhibit speaks of the first."""
    targets = run.info.get("targets")
    target = str(targets[0]).replace("_", " ") if targets else "class"
    attribute = str(run.config.dataset_options.get("sensitive") or "group").replace("_", " ")
    if attribute in groups:  # "Male Male: ..." would be no sentence
        attribute = "group"
    return Names(tuple(classes), tuple(groups), target, attribute)


def moment(run: Run, epochs: Mapping[int, float]) -> int | None:
    """The step that is shown, None before there is any: the newest until somebody moves the slider, then the one it was
    moved to. Its row keeps its height."""
    state, steps = st.session_state, list(epochs)
    if state.get("explain:viewed") != run.id and steps:
        asked = st.query_params.get("moment", "")
        state["explain:viewed"], state["explain:moved"] = run.id, int(asked) if asked.isdecimal() else None
        if asked and state["explain:moved"] not in epochs:
            st.query_params.pop("moment", None)
    moved: int | None = state.get("explain:moved")
    with st.container(height=SLIDER, border=False, key="explain-when"):
        if len(steps) < 2:
            st.caption("A slider through all moments appears here with the second one.")
            return steps[0] if steps else None
        shown = moved if moved in steps[:-1] else None
        _slider(run, epochs, LATEST if shown is None else shown)
    return steps[-1] if shown is None else shown


def _slider(run: Run, epochs: Mapping[int, float], position: int) -> None:
    """Its last position stands for whatever moment is the newest: what a slow browser reports stays true when another
    one comes, and nobody who follows the run seems to have moved it."""
    key, steps = f"explain-moment-{run.id}", list(epochs)[:-1]
    labels = {**dict(zip(steps, _labels([epochs[step] for step in steps]), strict=True)), LATEST: "latest"}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.select_slider(
            "Moment (epoch)", [*steps, LATEST], position, key=key, on_change=_moved, args=(key,), width="stretch",
            format_func=labels.__getitem__,
        )  # fmt: skip
        if position != LATEST and run.status in ACTIVE:
            st.button("Follow the newest", key="explain-follow", icon=":material/last_page:", on_click=_follow,
                      args=(key,), help="You look at an earlier moment; training has gone on since.")  # fmt: skip


def _labels(epochs: Sequence[float]) -> list[str]:
    """Epochs as text, with as many digits as keep them apart."""
    for digits in (1, 2, 3):
        told = [f"{e:.{digits}f}" for e in epochs]
        if len(set(told)) == len(told):
            return told
    return [f"{e:.2f} ({k})" for k, e in enumerate(epochs, 1)]


def _moved(key: str) -> None:
    chosen = int(st.session_state[key])
    if chosen == LATEST:
        _follow(key)
        return
    st.session_state["explain:moved"] = chosen
    st.query_params["moment"] = str(chosen)


def _follow(key: str) -> None:
    st.session_state[key] = LATEST
    st.session_state["explain:moved"] = None
    st.query_params.pop("moment", None)


def draw(run: Run, step: int, names: Names, colour: str) -> None:
    """The rows of one moment."""
    folder = pages.store().exhibits_path(run.id)
    shown = exhibits.load(folder, step)
    if not shown:
        st.info("What was shown at this moment is not here any more; train again to see it.", icon=":material/image:")
        return
    passing, kept, n = passed(shown)
    moved = bool((_aim_class(shown) != shown["y"]).any())
    rest = f" and {kept} {'are told the class they are to have' if moved else 'keep their class'}" * bool(names.classes)
    st.caption(f"Of these {n} twins {passing} pass for the group they aim at{rest}.")
    if shown["x"].ndim > 2:
        st.html(_gallery(str(folder), step, run.created, names))
    else:
        _columns(run, shown, step, names, colour)


def placeholder(run: Run, *, pictures: bool) -> None:
    """The place where twins will be, as large as they will be; or why there are none."""
    if run.status not in ACTIVE:
        st.caption("This run ended before any twin was made. Train it again to see them.")
        return
    st.caption(":material/hourglass_top: The first twins appear here as soon as they are made.")
    inside = f'<div class="eq-trio">{"<i></i>" * 3}</div>' if pictures else ""
    rows = "" if pictures else f"<table>{'<tr><td>–</td><td></td></tr>' * MOVED}</table>"
    figure = f"<figure>{inside}<figcaption>–<br>–</figcaption>{rows}</figure>"
    st.html(f'{STYLE}<div class="eq-twins" aria-hidden="true">{figure * SHOWN}</div>')


def passed(shown: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    """How many twins are taken for the group they aim at, how many for the class that they are to have (their row's,
    unless they stand for a class with few rows), and how many there are."""
    kept, group = shown["class_after"] == _aim_class(shown), shown["group_after"] == shown["aim"]
    return int(group.sum()), int(kept.sum()), len(group)


def _aim_class(shown: Mapping[str, np.ndarray]) -> np.ndarray:
    return shown.get("aim_class", shown["y"])


# ------------------------------------------------------------------------------------------------------------ pictures


@st.cache_data(max_entries=64, show_spinner=False)
def _gallery(folder: str, step: int, created: float, names: Names) -> str:
    """created: when the run was submitted, since a run that is trained again leaves other pictures."""
    shown = exhibits.load(Path(folder), step)
    figures = [_trio(shown, i, names) for i in range(len(shown["x"]))]
    return f'{STYLE}<div class="eq-twins">{"".join(figures)}</div>'


def _trio(shown: Mapping[str, np.ndarray], i: int, names: Names) -> str:
    x, twin = shown["x"][i], shown["twin"][i]
    changed = float(np.abs(twin.astype(np.int16) - x).mean())
    told = _told(shown, i, names)
    alts = (
        f"Training picture {i + 1}: {_who(names, told['true class'], told['true group'])}",
        f"Its twin: told {_who(names, told['class after'], told['group after'])}",
        f"Difference times {AMPLIFIED}: {changed:.0f} of 255 per pixel on average before that",
    )
    pictures = "".join(image(p, alt) for p, alt in zip((x, twin, amplified(x, twin)), alts, strict=True))
    return f'<figure><div class="eq-trio">{pictures}</div><figcaption>{_caption(told, names)}</figcaption></figure>'


def _who(names: Names, named: str, group: str) -> str:
    of_group = f"{names.attribute} {group}"
    return f"{names.target} {named}, {of_group}" if names.classes else of_group


def amplified(x: np.ndarray, twin: np.ndarray) -> np.ndarray:
    """AMPLIFIED times the difference of two uint8 pictures around grey, uint8."""
    return np.asarray(np.clip(GREY + AMPLIFIED * (twin.astype(np.int16) - x), 0, 255), np.uint8)


def image(pixels: np.ndarray, alt: str) -> str:
    """uint8 (1 or 3, height, width) -> <img> with the PNG in it."""
    picture = np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(written, "PNG")
    data = base64.b64encode(written.getvalue()).decode()
    coarse = ' class="eq-coarse"' if pixels.shape[-1] < COARSE else ""
    return f'<img{coarse} src="data:image/png;base64,{data}" alt="{html.escape(alt)}">'


def _told(shown: Mapping[str, np.ndarray], i: int, names: Names) -> dict[str, str]:
    """What one row is and what both heads name before and after, in words."""
    of = {"class": names.classes, "group": names.groups}
    codes = {"true class": "y", "true group": "s", "aim group": "aim"}
    codes["aim class"] = "aim_class" if "aim_class" in shown else "y"
    codes |= {f"{kind} {when}": f"{kind}_{when}" for kind in of for when in ("before", "after")}
    found = {}
    for word, array in codes.items():
        known, code = of["class" if "class" in word else "group"], int(shown[array][i])
        found[word] = known[code] if code < len(known) else str(code)
    return found


def _caption(told: Mapping[str, str], names: Names) -> str:
    """Two lines: what happened to the class (if there is one), and whether the twin passes; a filled mark for success,
    a hollow one for failure, each with its word."""
    lines = ((names.target, "class"), (names.attribute, "group"))
    return "<br>".join(
        html.escape(
            f"{word} {told[f'true {kind}']}: told {told[f'{kind} before']} → {told[f'{kind} after']}  "
            + _mark(told[f"true {kind}"], told[f"aim {kind}"], told[f"{kind} after"])
        )
        for word, kind in lines[0 if names.classes else 1 :]
    )


def _mark(true: str, aim: str, after: str) -> str:
    """Whether a twin that is to keep something does, or passes for what it was moved to."""
    if true == aim:
        return "● kept" if after == aim else "○ lost"
    return f"{'● passes' if after == aim else '○ fails'} as {aim}"


# -------------------------------------------------------------------------------------------------------------- tables


def _columns(run: Run, shown: Mapping[str, np.ndarray], step: int, names: Names, colour: str) -> None:
    """Beside each other: the rows with what moved in them, and how far each column moved on average."""
    features = _features(run, shown["x"].shape[1])
    st.html(
        f'{STYLE}<div class="eq-twins">{"".join(_row(shown, i, names, features) for i in range(len(shown["x"])))}</div>'
    )
    moved = moved_table(shown["x"], shown["twin"], features)
    most = min(len(moved), aeda_figures.BARS)
    chart = explorer.chart(
        "moved", aeda_figures.moved_columns(moved, colour=colour), area="top",
        height=62 + 24 * most,
        alt="Mean change of the columns that moved most, as bars; the table Columns holds the same numbers",
        heading=f"Columns that moved most: mean over these {len(shown['x'])} rows, {most} of {len(moved)} columns",
    )  # fmt: skip
    explorer.explorer([chart], key="explain-columns", revision=run.id, stamp=f"{run.id}{step}")
    pages.table_twin(moved, label="Columns", name=f"twins-{run.id}-{step}")


def _features(run: Run, n: int) -> tuple[str, ...]:
    """The names of the columns; their numbers where the rows cannot be read any more."""
    config = run.config
    try:
        known = _named(config.dataset, tuple(sorted(config.dataset_options.items())), config.data_hash)
    except UserError:
        known = ()
    return known if len(known) == n else tuple(f"column {k + 1}" for k in range(n))


@st.cache_data(max_entries=32, show_spinner="Reading the names of the columns …")
def _named(dataset: str, options: tuple[tuple[str, object], ...], data_hash: str) -> tuple[str, ...]:
    return datasets.load(dataset, dict(options), pages.data_dir(), pages.store().tables).features  # type: ignore[arg-type]


def moved_table(x: np.ndarray, twin: np.ndarray, features: Sequence[str]) -> pd.DataFrame:
    """column, moved (mean over rows of |change|), most moved first."""
    table = pd.DataFrame({"column": list(features), "moved": np.abs(twin - x).mean(0)})
    return table.sort_values("moved", ascending=False, kind="stable", ignore_index=True)


def _row(shown: Mapping[str, np.ndarray], i: int, names: Names, features: Sequence[str]) -> str:
    x, twin = shown["x"][i], shown["twin"][i]
    most = np.argsort(-np.abs(twin - x), kind="stable")[:MOVED]
    lines = "".join(f"<tr><td>{html.escape(features[k])}</td><td>{x[k]:.2f} → {twin[k]:.2f}</td></tr>" for k in most)
    told = _caption(_told(shown, i, names), names)
    return f"<figure><figcaption>{told}</figcaption><table>{lines}</table></figure>"
