"""Pictures of DVGE: people whose codes are pushed along both foci, where both classifiers look, and what the
autoencoder makes of pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import streamlit as st

from pages import twin_viewer
from pages.latent_course import ALONG, Arrays, Names

EDGE = 92  # pixels of a picture on the screen, at most
NUMBERS = 16  # numbers of a code whose traversal is shown
HOT = np.array([[0, 0, 0], [140, 41, 0], [231, 108, 4], [255, 196, 90], [255, 255, 255]], float)  # lighter is more

STYLE = f"""<style>
.eq-latent {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 20px 32px; }}
.eq-latent.eq-narrow {{ grid-template-columns: repeat(auto-fill, minmax(296px, 1fr)); }}
.eq-latent section, .eq-latent figure {{ margin: 0; min-width: 0; }}
.eq-latent h4 {{ font-size: 14px; font-weight: 600; margin: 0 0 6px; padding: 0; letter-spacing: 0; }}
.eq-latent figure {{ margin-bottom: 12px; }}
.eq-latent figcaption {{ font-size: 13px; line-height: 1.4; padding-bottom: 4px; }}
.eq-latent .eq-strip {{ display: flex; gap: 4px; }}
.eq-latent .eq-strip > * {{ flex: 0 1 {EDGE}px; min-width: 0; font-size: 12px; line-height: 1.4; text-align: center; }}
.eq-latent .eq-strip > .eq-name {{ flex: 0 0 34px; text-align: left; align-self: center; }}
.eq-latent img {{ display: block; width: 100%; aspect-ratio: 1; border-radius: 3px; }}
.eq-latent img.eq-coarse {{ image-rendering: pixelated; }}
.eq-latent .eq-first {{ margin-right: 10px; }}
.eq-latent .eq-here {{ font-weight: 600; }}
.eq-latent .eq-strips {{ display: grid; gap: 4px; }}
.eq-scale {{ display: flex; align-items: center; gap: 8px; font-size: 12px; padding-bottom: 8px; }}
.eq-scale i {{
  width: 120px; height: 10px; border-radius: 2px; outline: 1px solid #80808080;
  background: linear-gradient(to right, {", ".join(f"rgb({r:.0f},{g:.0f},{b:.0f})" for r, g, b in HOT)});
}}
</style>"""


def signed(value: float) -> str:
    """A push as text, with a true minus sign."""
    return f"{value:+g}".replace("-", "−") if value else "0"


def who(arrays: Arrays, i: int, names: Names) -> str:
    """What a picture's row is and how it is decided."""
    truth, decision = (_named(names.classes, int(arrays[key][i])) for key in ("truth", "decision"))
    group = _named(names.groups, int(arrays["group"][i]))
    told = "rightly" if truth == decision else "wrongly"
    return f"{names.attribute} {group}, decided {decision} ({told})"


def _named(known: Sequence[str], code: int) -> str:
    return known[code] if code < len(known) else str(code)


# --------------------------------------------------------------------------------------------------------------- pushes


def pushes(arrays: Arrays, names: Names) -> str:
    """Two blocks, one per focus: a row per person, first the picture, then its code decoded after every push."""
    return f'{STYLE}<div class="eq-latent">{"".join(_block(arrays, names, way) for way in (0, 1))}</div>'


def _block(arrays: Arrays, names: Names, way: int) -> str:
    pushed = arrays[("pushed_sensitive", "pushed_task")[way]]
    figures = [
        f"<figure><figcaption>{html.escape(who(arrays, i, names))}</figcaption>"
        f'<div class="eq-strip">{_person(arrays, names, i, way)}</div></figure>'
        for i in range(len(pushed))
    ]
    return f"<section><h4>Along the {ALONG[way]}</h4>{''.join(figures)}</section>"


def _person(arrays: Arrays, names: Names, i: int, way: int) -> str:
    person = f"Test picture {i + 1}, {who(arrays, i, names)}"
    parts = [f'<div class="eq-first">{twin_viewer.image(arrays["pictures"][i], person)}picture</div>']
    for pixels, push in zip(arrays[("pushed_sensitive", "pushed_task")[way]][i], arrays["pushes"], strict=True):
        alt = f"{person}: its code pushed by {signed(float(push))} along the {ALONG[way]}, decoded"
        here = "" if push else ' class="eq-here"'
        parts.append(f"<div{here}>{twin_viewer.image(pixels, alt)}{signed(float(push))}</div>")
    return "".join(parts)


# ------------------------------------------------------------------------------------------------------------- saliency


def saliency(arrays: Arrays, names: Names) -> str:
    """Every picture beside where both classifiers look."""
    figures = []
    for i in range(len(arrays["pictures"])):
        person = who(arrays, i, names)
        parts = [(arrays["pictures"][i], "picture", f"Test picture {i + 1}, {person}")]
        for key, label in (("sensitive", "group classifier"), ("task", "model")):
            found = arrays[f"saliency_{key}"][i]
            parts.append((hot(found), label, f"Where the {label} looks in picture {i + 1}: {place(found)}"))
        strip = "".join(
            f"<div>{twin_viewer.image(pixels, alt)}{html.escape(label)}</div>" for pixels, label, alt in parts
        )
        figures.append(
            f'<figure><figcaption>{html.escape(person)}</figcaption><div class="eq-strip">{strip}</div></figure>'
        )
    scale = '<div class="eq-scale"><span>least</span><i></i><span>most of this picture</span></div>'
    return f'{STYLE}{scale}<div class="eq-latent eq-narrow">{"".join(figures)}</div>'


def hot(values: np.ndarray) -> np.ndarray:
    """uint8 (H, W) -> uint8 (3, H, W): from black over orange to white, so that lightness alone says how much."""
    at = np.linspace(0, 255, len(HOT))
    return np.stack([np.interp(values, at, HOT[:, k]) for k in range(3)]).astype(np.uint8)


def place(values: np.ndarray) -> str:
    """Where most of a heat map lies, in words."""
    total = float(values.sum(dtype=float))
    if not total:
        return "nowhere"
    down, right = ((values.sum(axis, dtype=float) @ np.arange(values.shape[1 - axis])) / total / values.shape[1 - axis]
                   for axis in (1, 0))  # fmt: skip
    rows = ("upper third", "middle", "lower third")[min(int(3 * down), 2)]
    sides = ("left", "centre", "right")[min(int(3 * right), 2)]
    return f"mostly {rows}, {sides}"


# ------------------------------------------------------------------------------------------------------ the autoencoder


def reconstructions(kept: Arrays) -> str:
    """Pictures of the validation split above what is left of them after code and decoder."""
    pairs = []
    for i, (before, after) in enumerate(zip(kept["pictures"], kept["reconstructions"], strict=True), 1):
        whole = np.concatenate([before, after], 1)  # one above the other
        pairs.append(f"<div>{_tall(whole, f'Validation picture {i} above its reconstruction')}</div>")
    return (
        f'{STYLE}<div class="eq-latent"><section><h4>Pictures above, reconstructions below (validation split)</h4>'
        f'<div class="eq-strip">{"".join(pairs)}</div></section></div>'
    )


def _tall(pixels: np.ndarray, alt: str) -> str:
    return twin_viewer.image(pixels, alt).replace("<img", '<img style="aspect-ratio: 1 / 2"', 1)


def traversals(kept: Arrays) -> str:
    """Of a few pictures, a strip per number of the code, which alone moves."""
    positions = [signed(float(p)) for p in kept["positions"]]
    order = np.argsort(-kept["kl"], kind="stable")[:NUMBERS]
    blocks = [_traversal(strips, positions, order, i) for i, strips in enumerate(kept["traversals"], 1)]
    return f'{STYLE}<div class="eq-latent">{"".join(blocks)}</div>'


def _traversal(strips: np.ndarray, positions: Sequence[str], order: np.ndarray, i: int) -> str:
    rows = []
    for j in order:
        strip = np.concatenate(list(strips[j]), 2)  # side by side
        alt = f"Picture {i} decoded while number z{j} of its code goes from {positions[0]} to {positions[-1]}"
        picture = twin_viewer.image(strip, alt).replace("<img", f'<img style="aspect-ratio: {len(positions)} / 1"', 1)
        rows.append(
            f'<div class="eq-strip"><span class="eq-name">z{j}</span>'
            f'<div style="flex: 1 1 0; max-width: {len(positions) * 64}px">{picture}</div></div>'
        )
    heads = "".join(f"<div>{p}</div>" for p in positions)
    top = (
        '<div class="eq-strip"><span class="eq-name"></span>'
        f'<div style="flex: 1 1 0; max-width: {len(positions) * 64}px; display: flex; justify-content: space-around">'
        f"{heads}</div></div>"
    )
    inside = f'<div class="eq-strips">{top}{"".join(rows)}</div>'
    return f"<section><h4>Picture {i}: one number of the code moves</h4>{inside}</section>"


@st.cache_data(max_entries=32, show_spinner=False)
def drawn(what: str, stamp: str, _arrays: Arrays, _names: Names | None = None) -> str:
    """One of the galleries above by its name; `stamp` stands for what is in it."""
    if what == "reconstructions":
        return reconstructions(_arrays)
    if what == "traversals":
        return traversals(_arrays)
    assert _names is not None
    return pushes(_arrays, _names) if what == "pushes" else saliency(_arrays, _names)
