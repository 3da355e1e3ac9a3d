"""What paths came to, from one run to the next: `outcomes-<version>.sqlite` beside the runs, which can be removed.

A value is the outcome of a key, whoever computed it, and is kept with a checksum of both; one that does not fit its
checksum is not there. Many processes may read and write. The file is bounded: the oldest values go first. It only saves
time: where SQLite refuses it, that is said once, and what might have been found there is computed.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from contextlib import suppress
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

BUSY_SECONDS = 5
"""Not longer: for a process that was stopped in the middle of its transaction every block waits so long."""
LIMIT_BYTES = 2**30
CHECKSUM = 8
SHARE = 4
"""One in so many values goes when the file is full."""
IN_MEMORY = Path(":memory:")


class OutcomeStore:
    """One connection, for the thread that opened it. What is kept is written by `close`, in one transaction."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES):
        self.path, self.limit_bytes = path, limit_bytes
        self._new: dict[bytes, bytes] = {}
        try:
            self._sql = _opened(path)
        except sqlite3.Error as error:
            self._do_without(error)

    def find(self, key: bytes) -> bytes | None:
        if key in self._new:
            return self._new[key]
        try:
            row = self._sql.execute(
                "SELECT value FROM outcomes WHERE key = ? AND typeof(value) = 'blob'", (key,)
            ).fetchone()
        except sqlite3.Error as error:
            self._sql.close()
            self._do_without(error)
            return None
        if row is None or row[0][:CHECKSUM] != _checksum(key, row[0][CHECKSUM:]):
            return None
        return row[0][CHECKSUM:]

    def keep(self, key: bytes, value: bytes) -> None:
        self._new[key] = value

    def close(self) -> None:
        try:
            if self._new:
                self._write()
        except sqlite3.Error as error:
            _tell(self.path, str(error))
        finally:
            with suppress(sqlite3.Error):
                self._sql.close()

    def _do_without(self, error: sqlite3.Error) -> None:
        _tell(self.path, str(error))
        self._sql = _opened(IN_MEMORY)

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


_PAGES = ("page_count", "freelist_count", "page_size")


def _opened(path: Path) -> sqlite3.Connection:
    sql = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None)
    try:
        sql.execute("BEGIN IMMEDIATE")  # a process that waits for the lock from the start cannot meet another half-way
        sql.execute("CREATE TABLE IF NOT EXISTS outcomes (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
        sql.execute("COMMIT")
    except sqlite3.Error:
        sql.close()
        raise
    return sql


@cache
def _tell(path: Path, error: str) -> None:
    log.warning("%s: %s; what it would save is computed. It can be removed", path, error)


def _checksum(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(key + value, digest_size=CHECKSUM).digest()
