"""What a run showed while it learned: a file of named arrays per moment, in a folder per run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from fairness_core.config import Exhibit

TOLD = "told."


def save(folder: Path, step: int, exhibit: Exhibit) -> None:
    """Write what was shown after `step`; whoever reads meanwhile sees the whole file or none."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step:09d}.safetensors"
    written = path.with_suffix(".part")
    save_file({name: np.ascontiguousarray(values) for name, values in exhibit.items()}, written)
    written.replace(path)


def steps(folder: Path) -> list[int]:
    """The steps at which something was shown, in order."""
    return sorted(int(path.stem) for path in folder.glob("*.safetensors"))


def load(folder: Path, step: int) -> Mapping[str, np.ndarray]:
    """What was shown after `step`; empty when there is no such file or it is damaged."""
    try:
        return dict(load_file(folder / f"{step:09d}.safetensors"))
    except (OSError, SafetensorError):
        return {}


def told(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays "told...." of a file, by the rest of their names, without reading the others."""
    try:
        with safe_open(path, "np") as file:
            names = [name for name in file.keys() if name.startswith(TOLD)]  # noqa: SIM118  (it cannot be iterated)
            return {name.removeprefix(TOLD): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError):
        return {}


def forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
