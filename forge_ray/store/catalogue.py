"""The catalogue of a run in SQLite: which blocks exist, of which files, under which epoch.

Write-ahead log, so that readers and the writer never wait for each other, and full synchronisation, so that what is
committed survives a power cut. One connection, for the thread that opened it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from forge_ray.errors import StoreError
from forge_ray.store.receipts import Part, Receipt

FORMAT = 1
BUSY_SECONDS = 30
READER = 0
"""The epoch of readers; drivers count from 1."""

_TABLES = (
    """CREATE TABLE run (run_id TEXT NOT NULL, block_size INTEGER NOT NULL, size INTEGER NOT NULL,
       spec_sha256 TEXT NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, summary TEXT)""",
    """CREATE TABLE blocks (lo INTEGER PRIMARY KEY, hi INTEGER NOT NULL, epoch INTEGER NOT NULL, counts TEXT NOT NULL,
       seconds REAL NOT NULL)""",
    """CREATE TABLE parts (lo INTEGER NOT NULL REFERENCES blocks, table_name TEXT NOT NULL, path TEXT NOT NULL UNIQUE,
       rows INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, content TEXT NOT NULL,
       PRIMARY KEY (lo, table_name)) WITHOUT ROWID""",
    "CREATE TABLE totals (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
)
_HEADER = "run_id, block_size, size, spec_sha256"
_PART = "table_name, path, rows, bytes, sha256, content"


class Header(msgspec.Struct, frozen=True):
    """What a run is: fixed when it is created."""

    run_id: str
    block_size: int
    size: int
    spec_sha256: str


class Catalogue:
    """One connection to `catalog.sqlite`. Raises `StoreError` naming the file for whatever SQLite refuses."""

    def __init__(self, path: Path, *, readonly: bool):
        self.path, self.epoch = path, READER
        with self._named():
            self._sql = sqlite3.connect(_uri(path, readonly), BUSY_SECONDS, isolation_level=None, uri=True)
        try:
            self._configure(readonly)
        except StoreError:
            self._sql.close()
            raise

    def close(self) -> None:
        with self._named():
            self._sql.close()

    def header(self) -> Header | None:
        """The header, or None if the creation of the run was not completed."""
        (version,) = self._one("PRAGMA user_version")
        if version == 0:
            return None
        if version != FORMAT:
            raise StoreError(f"{self.path}: catalogue format {version}; this version reads format {FORMAT}")
        return Header(*self._one(f"SELECT {_HEADER} FROM run"))

    def create(self, header: Header) -> None:
        """Record a new run. The format number is written in the same transaction and marks the creation as complete."""
        with self._transaction():
            for table in _TABLES:
                self._all(table)
            self._all(f"INSERT INTO run ({_HEADER}) VALUES (?, ?, ?, ?)", msgspec.structs.astuple(header))
            self._all(f"PRAGMA user_version = {FORMAT}")

    def raise_epoch(self) -> None:
        """Become the one driver whose commits are accepted."""
        with self._transaction():
            self._all("UPDATE run SET epoch = epoch + 1")
            (self.epoch,) = self._one("SELECT epoch FROM run")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction, rolled back by any exception. Raises `StoreError` unless my epoch is current."""
        if self.epoch == READER:
            raise StoreError(f"{self.path}: opened for reading")
        with self._transaction():
            (current,) = self._one("SELECT epoch FROM run")
            if current != self.epoch:
                raise StoreError(f"{self.path}: epoch {self.epoch} was taken over by epoch {current}")
            yield

    def insert(self, receipt: Receipt) -> None:
        """Record a block. Only inside `writing`."""
        counts = json.dumps(receipt.counts, sort_keys=True)
        self._all(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", (receipt.lo, receipt.hi, self.epoch, counts, receipt.seconds)
        )
        for part in receipt.parts:
            record = (receipt.lo, *msgspec.structs.astuple(part))
            self._all(f"INSERT INTO parts (lo, {_PART}) VALUES (?, ?, ?, ?, ?, ?, ?)", record)
        for item in receipt.counts.items():
            self._all("INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n", item)

    def has_block(self, lo: int) -> bool:
        return bool(self._all("SELECT 1 FROM blocks WHERE lo = ?", (lo,)))

    def blocks_from(self, lo: int, limit: int) -> list[int]:
        """The first committed blocks at or after `lo`."""
        return [lo for (lo,) in self._all("SELECT lo FROM blocks WHERE lo >= ? ORDER BY lo LIMIT ?", (lo, limit))]

    def n_blocks(self) -> int:
        return self._one("SELECT count(*) FROM blocks")[0]

    def block_parts(self, lo: int) -> list[Part]:
        return [Part(*row) for row in self._all(f"SELECT {_PART} FROM parts WHERE lo = ?", (lo,))]

    def parts(self, table: str) -> list[Part]:
        """Every part of a table at one moment, in branch order."""
        rows = self._all(f"SELECT {_PART} FROM parts WHERE table_name = ? ORDER BY lo", (table,))
        return [Part(*row) for row in rows]

    def tables(self) -> list[str]:
        return [name for (name,) in self._all("SELECT DISTINCT table_name FROM parts ORDER BY table_name")]

    def holds(self, part_path: str) -> bool:
        return bool(self._all("SELECT 1 FROM parts WHERE path = ?", (part_path,)))

    def totals(self) -> dict[str, int]:
        """Counts of all committed blocks, kept with every commit."""
        return dict(self._all("SELECT name, n FROM totals ORDER BY name"))

    def miscounted(self) -> list[str]:
        """Names of totals that are not the sum of the blocks. One statement, so it sees one moment."""
        rest: Counter[str] = Counter()
        both = "SELECT name, n, NULL FROM totals UNION ALL SELECT NULL, NULL, counts FROM blocks"
        for name, n, counts in self._all(both):
            if counts is None:
                rest[name] += n
            else:
                rest.subtract(json.loads(counts))
        return [name for name, n in rest.items() if n]

    def set_summary(self, summary: dict[str, Any]) -> None:
        """Record the end summary. Only inside `writing`."""
        self._all("UPDATE run SET summary = ?", (json.dumps(summary, allow_nan=False),))

    def summary(self) -> dict[str, Any] | None:
        (text,) = self._one("SELECT summary FROM run")
        return None if text is None else json.loads(text)

    def damage(self) -> list[str]:
        """What SQLite's own check finds wrong."""
        return [text for (text,) in self._all("PRAGMA integrity_check") if text != "ok"]

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Whatever is read inside is of one moment."""
        self._all("BEGIN")
        try:
            yield
        finally:
            self._all("ROLLBACK")

    def _configure(self, readonly: bool) -> None:
        self._all("PRAGMA trusted_schema = OFF")
        if readonly:
            self._all("PRAGMA query_only = ON")
            return
        (mode,) = self._one("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise StoreError(f"{self.path}: no write-ahead log on this file system (journal mode {mode})")
        self._all("PRAGMA synchronous = FULL")

    def _all(self, statement: str, values: tuple = ()) -> list[tuple]:
        with self._named():
            return self._sql.execute(statement, values).fetchall()

    def _one(self, statement: str) -> tuple:
        rows = self._all(statement)
        if len(rows) != 1:
            raise StoreError(f"{self.path}: damaged: {len(rows)} records of the run")
        return rows[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._all("BEGIN IMMEDIATE")
        try:
            yield
            self._all("COMMIT")
        finally:
            if self._sql.in_transaction:
                self._all("ROLLBACK")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error


def _uri(path: Path, readonly: bool) -> str:
    """A reader normally shares the write-ahead log. In a folder where it may not, and without a log, nobody writes."""
    uri = path.absolute().as_uri()
    if not readonly:
        return f"{uri}?mode=rwc"
    frozen = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return f"{uri}?mode=ro&immutable=1" if frozen else f"{uri}?mode=ro"
