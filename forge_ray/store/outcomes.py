"""What paths came to, from one run to the next: `outcomes-<version>.sqlite` beside the runs, which can be removed.

A value is the outcome of a key, whoever computed it, and is kept with a checksum of both; one that does not fit its
checksum is not there. Many processes may read and write. The file is bounded: the oldest values go first.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forge_ray.errors import StoreError

BUSY_SECONDS = 30
LIMIT_BYTES = 2**30
CHECKSUM = 8
SHARE = 4
"""One in so many values goes when the file is full."""


class OutcomeStore:
    """One connection, for the thread that opened it. What is kept is written by `close`, in one transaction.

    Raises `StoreError` naming the file for whatever SQLite refuses.
    """

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES):
        self.path, self.limit_bytes = path, limit_bytes
        self._new: dict[bytes, bytes] = {}
        with self._named():
            self._sql = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None)
            # A process that waits for the lock from the start cannot meet another half-way.
            self._sql.execute("BEGIN IMMEDIATE")
            self._sql.execute("CREATE TABLE IF NOT EXISTS outcomes (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
            self._sql.execute("COMMIT")

    def find(self, key: bytes) -> bytes | None:
        if key in self._new:
            return self._new[key]
        with self._named():
            row = self._sql.execute("SELECT value FROM outcomes WHERE key = ?", (key,)).fetchone()
        if row is None or row[0][:CHECKSUM] != _checksum(key, row[0][CHECKSUM:]):
            return None
        return row[0][CHECKSUM:]

    def keep(self, key: bytes, value: bytes) -> None:
        self._new[key] = value

    def close(self) -> None:
        if self._new:
            with self._named():
                self._write()
        self._sql.close()

    def _write(self) -> None:
        rows = [(key, _checksum(key, value) + value) for key, value in self._new.items()]
        self._sql.execute("BEGIN IMMEDIATE")
        self._sql.executemany("INSERT OR REPLACE INTO outcomes VALUES (?, ?)", rows)
        if self._bytes() > self.limit_bytes:
            first, last = self._sql.execute("SELECT min(rowid), max(rowid) FROM outcomes").fetchone()
            self._sql.execute("DELETE FROM outcomes WHERE rowid <= ?", (first + (last - first) // SHARE,))
        self._sql.execute("COMMIT")
        self._new.clear()

    def _bytes(self) -> int:
        """Of the pages that hold something."""
        of = {name: self._sql.execute(f"PRAGMA {name}").fetchone()[0] for name in _PAGES}
        return (of["page_count"] - of["freelist_count"]) * of["page_size"]

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}; the file only saves time and can be removed") from error


_PAGES = ("page_count", "freelist_count", "page_size")


def _checksum(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(key + value, digest_size=CHECKSUM).digest()
