"""Rows in a SQLite table beside the parts, to query a run with SQL: `results.sqlite`, table `results`.

One transaction per block, which also records the block, so that a run killed between the commit of a block and its
rows here catches up when it is next opened. The parts stay the truth; this file can be thrown away at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from forge_ray.errors import StoreError
from forge_ray.store.local import LocalStore
from forge_ray.store.receipts import Part

_TYPES = {"int64": "INTEGER", "bool": "INTEGER", "double": "REAL", "string": "TEXT"}


class SqliteSink:
    """Copies committed blocks of a store into `results`; blobs for `path`, 0 and 1 for booleans, NULL for no value."""

    def __init__(self, store: LocalStore):
        self.store, self.path = store, store.path / "results.sqlite"
        with self._named():
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS blocks (part TEXT PRIMARY KEY) WITHOUT ROWID")

    def catch_up(self) -> int:
        """Copy every committed part that is not here yet; returns how many."""
        with self._named():
            there = {part for (part,) in self._connection.execute("SELECT part FROM blocks")}
        missing = [part for part in self.store.parts() if part.path not in there]
        for part in missing:
            self.add(part)
        return len(missing)

    def add(self, part: Part) -> None:
        """Copy one part in one transaction."""
        table = self.store.read_rows(part)
        columns = ", ".join(f'"{field.name}" {_TYPES.get(str(field.type), "BLOB")}' for field in table.schema)
        marks = ", ".join("?" * len(table.schema))
        with self._named(), self._transaction():
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS results ({columns}, PRIMARY KEY (branch))")
            self._connection.executemany(f"INSERT OR REPLACE INTO results VALUES ({marks})", _rows(table))
            self._connection.execute("INSERT INTO blocks VALUES (?)", (part.path,))

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except sqlite3.Error:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error


def _rows(table: pa.Table) -> Iterator[tuple]:
    """Rows as tuples of Python values; column-wise conversion is several times faster than row-wise."""
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
