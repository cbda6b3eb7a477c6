"""One colour, one meaning: the colours of methods, groups and states, for light and dark backgrounds.

The ten entries start from Okabe and Ito (2008), moved by a search until each has at least 3:1 contrast (WCAG 2.2,
1.4.11) with its background and the closest pair, for every kind of colour vision, is as far apart as it gets.
Dash and marker repeat what colour says, so nothing is told by colour alone. tests/core/test_palette.py computes it all.
"""

from __future__ import annotations

import itertools

import numpy as np

LIGHT_BACKGROUND = "#ffffff"
DARK_BACKGROUND = "#14171c"

LIGHT = ("#007edc", "#e74e04", "#0ca95e", "#b37bc2", "#7f3b0a", "#3346cc", "#bd7338", "#561f89", "#5d1a44", "#145973")
DARK = ("#4a73ea", "#f15829", "#3ecc76", "#d596ec", "#ffaf11", "#bdecd8", "#e7e96c", "#8047ff", "#a43f86", "#84ba9b")

UNTREATED, UNTREATED_DARK = "#6b7280", "#9aa3b0"  # the model without a debiaser is grey everywhere
INK, INK_DARK = "#1f2933", "#e8ebef"
FEASIBLE, FEASIBLE_DARK = "#00795a", "#35c79a"

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "pentagon", "star", "hexagon", "triangle-down", "bowtie", "x")

# Machado, Oliveira and Fernandes (2009), severity 1.0: what a dichromat sees, on linear RGB.
DEFICIENCIES = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def method_colour(index: int) -> str:
    """The colour of the index-th method of the catalogue, on a light background."""
    return LIGHT[index % len(LIGHT)]


def method_marker(index: int) -> str:
    """The plotly marker symbol that repeats what `method_colour` says."""
    return MARKERS[index % len(MARKERS)]


def method_dash(index: int) -> str:
    """The plotly dash that repeats what `method_colour` says."""
    return DASHES[index % len(DASHES)]


def group_colour(index: int) -> str:
    """The colour of the index-th group: from the far end, so that few methods and few groups never share one."""
    return LIGHT[-1 - index % len(LIGHT)]


def on_dark() -> dict[str, str]:
    """Every colour figures.py draws with -> its counterpart on a dark background."""
    pairs = dict(zip(LIGHT, DARK, strict=True))
    ground = {LIGHT_BACKGROUND: DARK_BACKGROUND}
    return pairs | ground | {UNTREATED: UNTREATED_DARK, INK: INK_DARK, FEASIBLE: FEASIBLE_DARK}


def linear_rgb(colour: str) -> np.ndarray:
    """(3,) linear RGB in [0, 1] of "#rrggbb"."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """WCAG 2.2 contrast ratio of two colours, 1 to 21."""
    low, high = sorted(float(linear_rgb(c) @ (0.2126, 0.7152, 0.0722)) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear RGB (..., 3)."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = np.clip(rgb, 0, 1) @ to_xyz.T / (0.95047, 1.0, 1.08883)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def smallest_distance(colours: tuple[str, ...]) -> float:
    """Smallest CIE76 difference of any two of the colours, over normal vision and the three deficiencies."""
    rgb = np.array([linear_rgb(c) for c in colours])
    seen = [lab(rgb @ matrix.T) for matrix in DEFICIENCIES.values()]
    return min(float(np.linalg.norm(s[i] - s[j])) for s in seen for i, j in itertools.combinations(range(len(rgb)), 2))
