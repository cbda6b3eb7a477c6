"""Data sets of pictures: their attributes are a table, their pixels are decoded once and memory-mapped from then on.

A picture becomes its largest centred square, resized with a bilinear filter to `size` x `size` RGB bytes. All pictures
of a folder go into one .npy file of the cache; what is drawn on a page before that file exists is decoded on its own.
"""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, ClassVar

import numpy as np
from PIL import Image

from fairness_core.config import UserError, content_hash, control
from fairness_core.datasets import files
from fairness_core.datasets.tabular import Prepared, TableSource
from fairness_core.processes import take_lock

TRANSFORM = 1  # raise it when the same file would become other pixels
CHUNK = 256  # pictures held decoded while the cache is written
THREADS = min(4, os.cpu_count() or 1)  # Pillow decodes outside Python's lock
ENDINGS = (".jpg", ".jpeg", ".png")
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)  # Pillow, on broken files


@dataclass(frozen=True)
class Album:
    """The pictures of one folder in the order of a table's rows.

    digest: a checksum of their names and lengths, which stands for their content.
    """

    folder: Path
    names: tuple[str, ...] = field(repr=False)
    digest: str

    @classmethod
    def of(cls, folder: Path, names: Sequence[str]) -> Album:
        """The files `names` of `folder`, all of which must be in its listing."""
        lengths = listing(folder)
        lines = "".join(f"{name}\0{lengths[name]}\n" for name in names)
        return cls(folder, tuple(names), hashlib.sha256(lines.encode()).hexdigest())

    def decode(self, rows: Iterable[int], size: int, pool: ThreadPoolExecutor) -> np.ndarray:
        """uint8 (rows, 3, size, size), straight from the files; UserError names one that cannot be read."""
        paths = [self.folder / self.names[row] for row in rows]
        pictures = list(pool.map(lambda path: decode(path, size), paths))
        return np.stack(pictures) if pictures else np.empty((0, 3, size, size), np.uint8)

    def pixel_file(self, size: int) -> Path:
        """Where the decoded pictures lie, or would."""
        key = content_hash([self.digest, size, TRANSFORM])
        return files.cache() / "pixels" / f"{self.folder.name}-{size}-{key}.npy"

    def pixels(self, size: int) -> np.ndarray:
        """uint8 (n, 3, size, size), memory-mapped, decoded now if that has not been done. Changes stay in this
        process's memory: torch warns about arrays that nobody may write to."""
        return np.asarray(np.load(keep(self.pixel_file(size), lambda file: self._write(file, size)), mmap_mode="c"))

    def first_copies(self) -> np.ndarray:
        """int64 (n,): for every picture the row of the first one with the same bytes, which may be itself."""
        path = files.cache() / "pixels" / f"{self.folder.name}-copies-{self.digest[:16]}.npy"
        return np.asarray(np.load(keep(path, self._write_first_copies)))

    def _write(self, file: BinaryIO, size: int) -> None:
        """From front to back: on a full disk that fails cleanly, where a memory-mapped file would kill the process."""
        shape = (len(self.names), 3, size, size)
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        with ThreadPoolExecutor(THREADS) as pool:
            for rows in chunks(len(self.names)):
                file.write(self.decode(rows, size, pool).tobytes())

    def _write_first_copies(self, file: BinaryIO) -> None:
        seen: dict[bytes, int] = {}
        contents = (fingerprint(self.folder / name) for name in self.names)
        np.save(file, np.array([seen.setdefault(content, row) for row, content in enumerate(contents)], np.int64))


@dataclass(frozen=True, eq=False)
class Selection:
    """Some pictures of an album, read when they are indexed: `selection[[3, 5]]` is uint8 (2, 3, size, size).

    A page that shows twelve faces neither decodes nor copies two hundred thousand.
    """

    album: Album
    size: int
    rows: np.ndarray  # int (n,)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), 3, self.size, self.size)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = self.rows[index]
        path = self.album.pixel_file(self.size)
        if path.exists():
            return np.array(np.load(path, mmap_mode="r")[rows])
        with ThreadPoolExecutor(THREADS) as pool:
            found = self.album.decode(np.atleast_1d(rows), self.size, pool)
        return found if np.ndim(rows) else np.asarray(found[0])


@dataclass(frozen=True)
class ImageSource(TableSource):
    """A data set made of pictures with attributes. A subclass gives what a TableSource gives, and `album`."""

    kind: ClassVar[str] = "image"
    sensitive_input: ClassVar[str] = "drop"  # type: ignore[misc]  # pixels are the only input, so there is no choice

    size: int = control(
        64, 16, 224, help="Edge of the pictures in pixels, after their centred square is cut out.", group="advanced"
    )

    @classmethod
    @abstractmethod
    def album(cls, data_dir: Path | None) -> Album:
        """The pictures, one per row of `read`; UserError with one sentence when they are not here."""

    @classmethod
    def remarks(cls, data_dir: Path | None) -> tuple[str, ...]:
        """What is particular about the files found here, each one sentence."""
        return ()

    def encode(self, rows: Prepared, data_dir: Path | None) -> tuple[np.ndarray, tuple[str, ...]]:
        return self.album(data_dir).pixels(self.size), ()

    def pictures(self, rows: Prepared, part: np.ndarray, data_dir: Path | None) -> Selection:
        return Selection(self.album(data_dir), self.size, part)


def decode(path: Path, size: int) -> np.ndarray:
    """One picture as uint8 (3, size, size); UserError when the file is broken."""
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except UNREADABLE:
        raise unreadable(path) from None
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    if side != size:
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture).transpose(2, 0, 1)


def fingerprint(path: Path) -> bytes:
    """A checksum of a picture's file."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        raise unreadable(path) from None


def unreadable(path: Path) -> UserError:
    return UserError(f"{path} is not a readable picture; restore it or take it out of the folder.")


def keep(path: Path, write: Callable[[BinaryIO], None]) -> Path:
    """`path` in the cache, made with `write` if it is not there: by one process while others wait for it, and never
    half-written under that name. UserError when it cannot be written."""
    if path.exists():
        return path
    try:
        with take_lock(path.with_suffix(".lock"), wait=True) or nullcontext():
            if not path.exists():
                _write_whole(path, write)
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be made in {path.parent} ({error.strerror}); free some space there or let "
            f"EQUIPOISE_CACHE name another folder."
        ) from None
    return path


def _write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # not even a power cut leaves half of it
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def listing(folder: Path) -> Mapping[str, int]:
    """Names and lengths in bytes of the pictures in a folder, in the order of their names. Read again when a file was
    added or taken away."""
    return _listing(folder, folder.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _listing(folder: Path, mtime: int) -> Mapping[str, int]:
    with os.scandir(folder) as entries:
        found = {e.name: e.stat().st_size for e in entries if e.name.lower().endswith(ENDINGS)}
    return MappingProxyType(dict(sorted(found.items())))


def chunks(n: int) -> Iterator[range]:
    """0..n-1 in ranges of CHUNK."""
    for start in range(0, n, CHUNK):
        yield range(start, min(start + CHUNK, n))
