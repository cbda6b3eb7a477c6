"""Two questions to the operating system: is that process still alive, and who holds that lock?"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from pathlib import Path
from typing import IO


def process_started(pid: int) -> str:
    """When process `pid` started, as an opaque text; "" if it is gone or a zombie.

    A process number is soon given to somebody else; number and start together name one process.
    """
    if not Path("/proc/self/stat").exists():
        shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return shown.stdout.strip()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before the parenthesis may hold blanks
    state, started = fields[0], fields[19]  # proc(5): fields 3 and 22
    return "" if state in "ZX" else started


def kill(pid: int, started: str) -> None:
    """SIGKILL to the process that had number `pid` and started at `started`; nothing if that one is gone."""
    if started and process_started(pid) == started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def take_lock(path: Path, *, shared: bool = False, wait: bool = False) -> IO[str] | None:
    """An open file that holds the lock on `path` until it is closed or its process dies; None if another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(file, mode)
    except BlockingIOError:
        file.close()
        return None
    return file
