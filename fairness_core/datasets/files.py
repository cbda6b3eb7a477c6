"""Where the files of a data set lie: the folder somebody names, else the cache, else their official source."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fairness_core.config import UserError, content_hash


def cache() -> Path:
    """Where downloads and decoded images are kept: EQUIPOISE_CACHE, else equipoise/ in the user's cache folder."""
    given = os.environ.get("EQUIPOISE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "equipoise"


@dataclass(frozen=True)
class Files:
    """The files of one data set, in their original layout.

    folder: its name below the data folder; names: the files needed, relative to it (alternatives are not listed);
    sha256: of those whose published bytes are known; page: where a person finds them.
    """

    folder: str
    names: tuple[str, ...]
    page: str
    sha256: Mapping[str, str] = field(default_factory=dict)

    def find(self, data_dir: Path | None) -> list[Path]:
        """The paths of all files, in `data_dir`/folder, `data_dir` itself or the cache; UserError if one is missing."""
        for root in self._roots(data_dir):
            paths = [root / name for name in self.names]
            if all(path.exists() for path in paths):
                return paths
        raise UserError(self.missing(data_dir))

    def missing(self, data_dir: Path | None) -> str:
        """ "" when everything is there, else one sentence that says which file to put where."""
        for root in self._roots(data_dir):
            if all((root / name).exists() for name in self.names):
                return ""
        root = next(iter(self._roots(data_dir)))
        return f"{', '.join(self.names)} of {self.folder} is not here; get it from {self.page} and put it into {root}."

    def digest(self, data_dir: Path | None) -> str:
        """A checksum of the files' bytes; UserError if one is missing."""
        return content_hash({path.name: _sha256_of(path) for path in self.find(data_dir)})

    def _roots(self, data_dir: Path | None) -> list[Path]:
        own = [] if data_dir is None else [data_dir / self.folder, data_dir]
        return [*own, cache() / self.folder]


def _sha256_of(path: Path) -> str:
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _sha256(path: Path, mtime: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
