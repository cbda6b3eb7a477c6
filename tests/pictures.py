"""Tiny made-up folders in the layouts of CelebA, UTKFace and MNIST, so that tests need none of the real pictures."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fairness_core.datasets.celeba import ATTRIBUTES

SHADES = (40, 200)  # mean grey of a picture without and with the attribute that it shows


def write_celeba(
    root: Path,
    n: int = 120,
    *,
    listed: int | None = None,
    shares: Sequence[float] = (0.5, 0.25, 0.25),
    edge: tuple[int, int] = (20, 26),
    seed: int = 0,
) -> Path:
    """`root`/celeba with `n` pictures, the attributes of `listed` (n unless given) and a partition in `shares`.

    Attributes are coin throws, but Attractive follows Male in four of five cases; a picture of somebody Attractive is
    bright.
    """
    rng = np.random.default_rng(seed)
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    listed = listed or n
    values = rng.choice([-1, 1], (listed, len(ATTRIBUTES)))
    male, attractive = ATTRIBUTES.index("Male"), ATTRIBUTES.index("Attractive")
    values[:, attractive] = np.where(rng.random(listed) < 0.8, values[:, male], -values[:, male])
    names = [f"{i + 1:06d}.jpg" for i in range(listed)]
    rows = [f"{name} " + " ".join(f"{v:2d}" for v in row) for name, row in zip(names, values, strict=True)]
    text = "\n".join([str(listed), " ".join(ATTRIBUTES) + " ", *rows]) + "\n"
    (folder / "list_attr_celeba.txt").write_text(text)
    parts = np.digitize(np.arange(listed) / listed, np.cumsum(shares)[:-1])
    partition = "".join(f"{name} {part}\n" for name, part in zip(names, parts, strict=True))
    (folder / "list_eval_partition.txt").write_text(partition)
    for name, row in zip(names[:n], values, strict=False):
        picture(folder / "img_align_celeba" / name, edge, SHADES[int(row[attractive] > 0)], rng)
    return folder


def write_utkface(root: Path, names: Iterable[str] = (), *, n: int = 0, edge: int = 16, seed: int = 0) -> Path:
    """`root`/utkface with the pictures `names` and `n` more, whose gender, race and age take turns."""
    rng = np.random.default_rng(seed)
    folder = root / "utkface"
    folder.mkdir(parents=True, exist_ok=True)
    made = (f"{1 + i * 7 % 100}_{i % 2}_{i // 2 % 5}_2017{i:013d}.jpg.chip.jpg" for i in range(n))
    for name in (*names, *made):
        picture(folder / name, (edge, edge), 120, rng)
    return folder


def write_mnist(
    root: Path, n_train: int = 200, n_test: int = 50, *, layout: str = "MNIST/raw", packed: bool = True
) -> Path:
    """`root`/mnist with random digits, each class as often as the next, in one of the layouts people have."""
    rng = np.random.default_rng(0)
    folder = root / "mnist" / layout
    folder.mkdir(parents=True)
    for part, n in (("train", n_train), ("t10k", n_test)):
        pixels = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for what, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            raw = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
            path = folder / f"{part}-{what}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(raw) if packed else raw)
    return folder


def picture(path: Path, size: tuple[int, int], shade: int, rng: np.random.Generator) -> None:
    """A noisy JPEG of one mean grey."""
    width, height = size
    pixels = np.clip(rng.normal(shade, 20, (height, width, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=90)
