"""One file from its official address, or those wanted out of an archive there; whole or not at all."""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Tell = Callable[[str, int, int], None]  # hears of a download: what, bytes so far, bytes in all (0 if nobody knows)
CHUNK = 1 << 16  # bytes between two words about progress
PATIENCE = 30  # seconds to wait for the server


class DownloadError(Exception):
    """Why something could not be had, in a few words."""


@dataclass
class Progress:
    """What pooch takes for a progress bar; `tell` may raise to give up."""

    what: str
    tell: Tell
    total: int = 0
    done: int = 0

    def update(self, count: int) -> None:
        self.done += count
        self.tell(self.what, min(self.done, self.total) if self.total else self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing to put away."""


def obtain(url: str, names: Collection[str], room: Path, tell: Tell | None = None) -> dict[str, Path]:
    """Name -> file in the folder `room` with the bytes that `url` has for it: the file itself or, when the address ends
    in .zip, the archive's member of that name, at any depth. DownloadError when one of them cannot be had."""
    got = download(url, room, tell)
    if not url.endswith(".zip"):
        return dict.fromkeys(names, got)
    try:
        found = unpack(got, set(names), room)
    except zipfile.BadZipFile:
        raise DownloadError("what came is no whole zip archive") from None
    for name in names:
        if name not in found:
            raise DownloadError(f"the archive holds no {name}")
    return found


def download(url: str, room: Path, tell: Tell | None = None) -> Path:
    """The bytes at `url` as a new file in `room`; DownloadError when the server is gone, refuses or stops half-way."""
    import pooch  # with its HTTP library, which only a download needs
    from requests import RequestException

    pooch.get_logger().setLevel(logging.WARNING)  # it would recommend checksums on standard error
    name = PurePosixPath(url).name
    bar = Progress(name, tell) if tell else False
    downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=PATIENCE)
    try:
        return Path(pooch.retrieve(url, known_hash=None, fname=name, path=room, downloader=downloader))
    except RequestException as error:
        answer = getattr(error, "response", None)
        why = "no connection or it broke off" if answer is None else f"the server answered {answer.status_code}"
        raise DownloadError(why) from None


def unpack(archive: Path, names: Collection[str], room: Path) -> dict[str, Path]:
    """Members of a zip archive by their bare name, also of archives inside it, as files in `room`. Folder names inside
    the archive are not used, so nothing can be written elsewhere."""
    found: dict[str, Path] = {}
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = PurePosixPath(member.filename).name
            if name not in names and not name.endswith(".zip"):
                continue
            path = room / f"unpacked-{name}"
            with opened.open(member) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            found |= unpack(path, names, room) if name.endswith(".zip") else {name: path}
    return found
