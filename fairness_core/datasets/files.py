"""Where the files of a data set lie: the folder somebody names, else the cache, else their official source."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from fairness_core.config import UserError, content_hash
from fairness_core.datasets.download import DownloadError, Tell, obtain

Stamp = tuple[Path, int, int]  # a file as it is now: path, time of its last change in ns, bytes


def cache() -> Path:
    """Where downloads and decoded images are kept: EQUIPOISE_CACHE, else equipoise/ in the user's cache folder."""
    given = os.environ.get("EQUIPOISE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "equipoise"


@dataclass(frozen=True)
class Files:
    """The files of one data set, in their original layout.

    folder: its name below the data folder; names: the files needed, relative to it (alternatives are not listed);
    sha256: of those whose published bytes are known; page: where a person finds them; urls: the official address of
    every file, or of the .zip archive it is in. Without urls nothing can be fetched: people must agree to terms first.
    """

    folder: str
    names: tuple[str, ...]
    page: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)

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
        return f"{', '.join(self.names)} of {self.folder} is not here; {self._by_hand(data_dir)}."

    def fetch(self, data_dir: Path | None = None, tell: Tell | None = None) -> None:
        """When something is missing, download it all from the official source into the cache.

        Every file is there and checked before the first one gets its name, so that an end in between leaves nothing
        that looks complete. UserError with one sentence when a file cannot be had or is not the published one.
        """
        if not self.missing(data_dir):
            return
        if not self.urls:
            raise UserError(self.missing(data_dir))
        goal = cache() / self.folder
        try:
            goal.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=goal) as room:
                for name, path in self._obtain(Path(room), data_dir, tell).items():
                    (goal / name).parent.mkdir(parents=True, exist_ok=True)
                    path.replace(goal / name)
        except OSError as error:
            raise UserError(f"{goal} cannot be written ({error.strerror}); set EQUIPOISE_CACHE to a folder.") from None

    def digest(self, data_dir: Path | None) -> str:
        """A checksum of the files' bytes; UserError if one is missing."""
        return content_hash({path.name: _sha256(path, *when) for path, *when in self.stamps(data_dir)})

    def stamps(self, data_dir: Path | None) -> tuple[Stamp, ...]:
        """The files as they are now, for caching what they say; UserError if one is missing."""
        return tuple(_stamp(path) for path in self.find(data_dir))

    def read_csv(
        self,
        path: Path,
        columns: Sequence[str],
        numeric: Collection[str],
        gaps: Collection[str] = (),
        rows: int = 0,
        **how: Any,
    ) -> pd.DataFrame:
        """One table of this data set by pandas.read_csv, with just these columns: those in `numeric` are numbers, and
        only those in `gaps` may hold missing values. UserError when the file is anything else or breaks off; one that
        stops without the end of a line is whole if it has `rows` rows."""
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 1))
                whole = file.read() == b"\n"
            frame: pd.DataFrame = pd.read_csv(path, **how)
        except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors, and so is text that is not UTF-8
            raise self.damaged(path, " ".join(str(error).split()).rstrip(". ")) from None
        if not whole and len(frame) != rows:
            raise self.damaged(path, "it ends in the middle of a line")
        if how.get("header", 0) is None and len(frame.columns) == len(columns):
            frame.columns = pd.Index(columns)
        if frame.empty or set(frame.columns) != set(columns):
            raise self.damaged(path, f"{len(frame):,} rows of {len(frame.columns)} columns, which are not its own")
        for column in columns:
            if column in numeric and not pd.api.types.is_numeric_dtype(frame[column]):
                raise self.damaged(path, f"{column} holds text")
            if column not in gaps and frame[column].isna().any():
                raise self.damaged(path, f"{column} is empty in row {int(frame[column].isna().argmax()) + 1:,}")
        return frame[list(columns)]

    def damaged(self, path: Path, why: str) -> UserError:
        """The error to raise when the file at `path` is not what was published."""
        return UserError(f"{path} is not as published ({why}); replace it by the one from {self.page}.")

    def _roots(self, data_dir: Path | None) -> list[Path]:
        own = [] if data_dir is None else [data_dir / self.folder, data_dir]
        return [*own, cache() / self.folder]

    def _by_hand(self, data_dir: Path | None) -> str:
        return f"get it from {self.page} and put it into {self._roots(data_dir)[0]}"

    def _obtain(self, room: Path, data_dir: Path | None, tell: Tell | None) -> dict[str, Path]:
        """Name -> checked file in `room`."""
        found: dict[str, Path] = {}
        for i, url in enumerate(dict.fromkeys(self.urls[name] for name in self.names)):
            own = room / str(i)
            wanted = {Path(name).name: name for name in self.names if self.urls[name] == url}
            try:
                got = obtain(url, wanted, own, tell)
            except DownloadError as error:
                raise UserError(f"{url} cannot be downloaded ({error}); {self._by_hand(data_dir)}.") from None
            for bare, path in got.items():
                found[wanted[bare]] = path
                if self.sha256.get(wanted[bare]) not in (None, _sha256(*_stamp(path))):
                    raise UserError(
                        f"{bare} from {url} is not the published file (its checksum differs); "
                        f"{self._by_hand(data_dir)}."
                    )
        return found


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return path, stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=256)
def _sha256(path: Path, mtime: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
