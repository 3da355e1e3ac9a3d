"""The lock of a run: one driver at a time, for as long as it lives.

`flock` is released by the kernel when its holder dies, so no lock is ever stale. It does not stop a holder that still
lives from being replaced: `take_over` puts a new lock file in its place, and from then on the epoch in the catalogue
refuses whatever the old holder tries to commit.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from pathlib import Path
from typing import NamedTuple

from forge_ray.errors import StoreLockedError
from forge_ray.store.disk import refused

LOCK = "lock"
LOOKS, LOOK_SECONDS = 5, 0.01
"""How often and how long a driver waits for somebody who only looks whether the lock is held."""
_HOLDER = re.compile(r"process (\d+) on (.+)")


class Holder(NamedTuple):
    """The process that has, or had, a lock."""

    pid: int
    host: str


class RunLock:
    """Held from construction to `close`. Raises `StoreLockedError` naming pid and host of the holder.

    replaced : the process that was taken over, "" if none was.
    """

    def __init__(self, path: Path, *, take_over: bool = False):
        try:
            self._file, self.replaced = _acquire(path, take_over)
        except OSError as error:
            raise refused(path, "lock", error) from error

    def close(self) -> None:
        """Let go. The file stays: removing it would let two drivers lock two files of the same name."""
        os.close(self._file)


def _acquire(path: Path, take_over: bool) -> tuple[int, str]:
    """The locked file, and who was replaced."""
    replaced = ""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(file)
        except BlockingIOError as error:
            holder = os.pread(file, 1000, 0).decode(errors="replace").strip()
            os.close(file)
            if not take_over:
                raise StoreLockedError(_refusal(path, holder)) from error
            take_over, replaced = False, holder or "another process"
            path.unlink(missing_ok=True)
            continue
        except OSError:
            os.close(file)
            raise
        if _is_current(file, path):
            return _signed(file), replaced
        os.close(file)


def _signed(file: int) -> int:
    """The locked file, with its holder's name in it; let go if that cannot be written."""
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError:
        os.close(file)
        raise
    return file


def _lock(file: int) -> None:
    for _ in range(LOOKS):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_SECONDS)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Whether a living process holds a lock; the kernel lets it go when its holder dies."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise refused(path, "look at the lock", error) from error
    return False


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock of a run, or held it last; None if the file does not say."""
    try:
        found = _HOLDER.match(path.read_text(errors="replace"))
    except (FileNotFoundError, PermissionError):
        return None
    return Holder(int(found[1]), found[2]) if found else None


def _is_current(file: int, path: Path) -> bool:
    """Whether the locked file is still the one of that name: somebody may have replaced it between open and lock."""
    return path.exists() and os.path.samestat(os.fstat(file), path.stat())


def _refusal(path: Path, holder: str) -> str:
    return f"{path.parent}: held by {holder or 'another process'}; wait for it, end it, or take over (--take-over)"
