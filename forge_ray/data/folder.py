"""A folder of files that can be made again: private to the user, bounded in bytes, never in anybody's way.

Files are written beside their place and renamed, so they appear whole. Beyond the limit the least recently used ones
go; whoever has mapped one keeps it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = 4 * 2**30
ABANDONED_SECONDS = 3600
_NEW = ".new-"


@dataclass(frozen=True)
class CacheFolder:
    """The folder, which need not exist; after a `trim` at most `limit_bytes` are in it."""

    path: Path
    limit_bytes: int = LIMIT_BYTES

    def files(self) -> list[os.DirEntry[str]]:
        """Everything in the folder; nothing if it cannot be listed."""
        try:
            with os.scandir(self.path) as entries:
                return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError:
            return []

    @contextmanager
    def beside(self) -> Iterator[Path]:
        """A new, empty file in the folder; gone at the end unless it was renamed. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_NEW, dir=self.path)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)

    def trim(self, coming: int = 0) -> None:
        """Remove what other processes left half-written, and the least recently used files beyond the limit.

        coming : bytes that are about to be written.
        """
        room, now = self.limit_bytes - coming, time.time()
        with suppress(OSError):  # another process trims too, or the folder is not ours to change
            for stat, entry in sorted(((entry.stat(), entry) for entry in self.files()), key=_last_used, reverse=True):
                room -= stat.st_size
                is_new = entry.name.startswith(_NEW)  # somebody is writing it, or has been killed
                if now - stat.st_mtime > ABANDONED_SECONDS if is_new else room < 0:
                    Path(entry.path).unlink(missing_ok=True)


def _last_used(item: tuple[os.stat_result, os.DirEntry[str]]) -> int:
    return item[0].st_mtime_ns
