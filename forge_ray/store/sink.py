"""Rows in a SQLite table beside the parts, to query a run with SQL: `results.sqlite`, table `results`.

One transaction per block, which also records the block, so that a run killed between the commit of a block and its
rows here catches up when it is next opened. The parts stay the truth; this file can be thrown away at any time. SQLite
keeps no checksums: whoever queries the table with SQL reads it unchecked, and `damaged_copies` compares it with the
parts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pyarrow as pa

from forge_ray.errors import CorruptPartError
from forge_ray.store.catalogue import BUSY_SECONDS, refused_by_sqlite, uri_of
from forge_ray.store.disk import remove
from forge_ray.store.encode import block_of
from forge_ray.store.local import LocalStore
from forge_ray.store.receipts import Damage, Part

COPY = "results.sqlite"
_TYPES = {"int64": "INTEGER", "bool": "INTEGER", "double": "REAL", "string": "TEXT"}


class SqliteSink:
    """Copies committed blocks of a store into `results`; blobs for `path`, 0 and 1 for booleans, NULL for no value."""

    def __init__(self, store: LocalStore):
        self.store, self.path = store, store.path / COPY
        with self._named(), ExitStack() as held:
            opened = sqlite3.connect(self.path, BUSY_SECONDS, isolation_level=None)
            self._connection = held.enter_context(closing(opened))
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS blocks (part TEXT PRIMARY KEY) WITHOUT ROWID")
            held.pop_all()

    def catch_up(self) -> int:
        """Copy every committed part that is not here yet, and forget those replaced; returns how many were copied."""
        parts = self.store.parts()
        with self._named():
            there = {part for (part,) in self._connection.execute("SELECT part FROM blocks")}
            gone = [(path,) for path in there.difference(part.path for part in parts)]
            self._connection.executemany("DELETE FROM blocks WHERE part = ?", gone)
        missing = [part for part in parts if part.path not in there]
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
            self._connection.execute("INSERT OR IGNORE INTO blocks VALUES (?)", (part.path,))

    def close(self) -> None:
        with self._named():
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise refused_by_sqlite(self.path, error, _remedy(self.store)) from error


def _rows(table: pa.Table) -> Iterator[tuple]:
    """Rows as tuples of Python values; column-wise conversion is several times faster than row-wise."""
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def damaged_copies(store: LocalStore) -> list[Damage]:
    """What the copy of a run does not hold as the parts do; nothing without a copy.

    Until a run is finished, blocks not copied yet are no damage. Those whose part is damaged cannot be compared.
    """
    path, remedy = store.path / COPY, _remedy(store)
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(uri_of(path, readonly=True), isolation_level=None, uri=True)) as connection:
            wrong = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
            return [Damage(str(path), text, remedy) for text in wrong] or list(_differing(store, connection))
    except sqlite3.Error as error:
        refusal = refused_by_sqlite(path, error, remedy)
        if not isinstance(refusal, CorruptPartError):
            raise refusal from error
        return [Damage(str(path), str(error), remedy)]


def remove_copy(store: LocalStore) -> None:
    """Throw the copy away, if there is one."""
    for suffix in ("-wal", "-shm", ""):
        remove(store.path / (COPY + suffix))


def copy_again(store: LocalStore) -> None:
    """Make the copy anew from the parts."""
    remove_copy(store)
    with closing(SqliteSink(store)) as sink:
        sink.catch_up()


def _remedy(store: LocalStore) -> str:
    return f"`forge-ray repair {store.path}` makes it anew"


def _differing(store: LocalStore, connection: sqlite3.Connection) -> Iterator[Damage]:
    path, n_rows, n_missing = str(store.path / COPY), 0, 0
    connection.execute("BEGIN")  # one moment of the copy, then the parts: blocks are committed before they are copied
    copied = {part for (part,) in connection.execute("SELECT part FROM blocks")}
    for part in store.parts():
        n_rows += part.rows
        n_missing += part.path not in copied
        if part.path in copied and not _is_copied(store, part, connection):
            lo, hi = block_of(part.path)
            yield Damage(path, f"block [{lo}, {hi}): other rows than {part.path}", _remedy(store), (lo, hi))
    if copied and connection.execute("SELECT count(*) FROM results").fetchone()[0] > n_rows:
        yield Damage(path, "rows that belong to no block", _remedy(store))
    if n_missing and store.finished:
        yield Damage(path, f"the rows of {n_missing:,} block(s) are missing", _remedy(store))


def _is_copied(store: LocalStore, part: Part, connection: sqlite3.Connection) -> bool:
    """Whether the copy of a part has its rows, or cannot be told because the part is damaged."""
    try:
        table = store.read_rows(part)
    except CorruptPartError:
        return True
    within = "SELECT * FROM results WHERE branch >= ? AND branch < ? ORDER BY branch"
    found = connection.execute(within, block_of(part.path))
    names = [column[0] for column in found.description]
    return names == table.column_names and found.fetchall() == list(_rows(table))
