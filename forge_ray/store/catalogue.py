"""The catalogue of a run in SQLite: which blocks exist, of which files, under which epoch.

Write-ahead log, so that readers and the writer never wait for each other, and full synchronisation, so that what is
committed survives a power cut. One connection, for the thread that opened it.

SQLite does not notice a flipped bit inside a value, so nothing is believed unchecked:

1. A block is one record, JSON with a seal: a hash over its number and its text.
2. The run is one record, the state, with a seal of its own. It holds the totals of the blocks, how many they are, and
   the XOR of their seals, so that a block that is lost, altered or added is noticed.
3. Every transaction writes the state together with the blocks; every reading of them compares the two.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from forge_ray.errors import CorruptPartError, DiskError, StoreError, StoreLockedError
from forge_ray.store.disk import free_bytes
from forge_ray.store.receipts import Part, Receipt

T = TypeVar("T")

FORMAT = 2
BUSY_SECONDS = 30
READER = 0
"""The epoch of readers; drivers count from 1."""
REMEDY = "restore it from a copy, or remove the folder and run the job again, which gives the same rows"

_SEAL = 16
_TABLES = (
    "CREATE TABLE run (state TEXT NOT NULL, seal TEXT NOT NULL)",
    "CREATE TABLE blocks (lo INTEGER PRIMARY KEY, record TEXT NOT NULL, seal TEXT NOT NULL)",
)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


class Header(msgspec.Struct, frozen=True):
    """What a run is: fixed when it is created."""

    run_id: str
    block_size: int
    size: int
    spec_sha256: str


class _State(msgspec.Struct, frozen=True):
    """The record of the run. files : SHA-256 of what is kept beside the rows. summary : JSON."""

    header: Header
    epoch: int = 0
    n_blocks: int = 0
    seals: str = "0" * 2 * _SEAL
    totals: dict[str, int] = {}
    files: dict[str, str] = {}
    summary: str | None = None


class _Record(msgspec.Struct, frozen=True):
    """The record of a block, and the epoch that committed it."""

    epoch: int
    block: Receipt


class Catalogue:
    """One connection to `catalog.sqlite`. Raises `StoreError` naming the file for whatever SQLite refuses, of its kinds
    `DiskError` where the disk does and `CorruptPartError` for anything that was not committed so."""

    def __init__(self, path: Path, *, readonly: bool):
        self.path, self.epoch = path, READER
        self._next: _State | None = None
        with self._named():
            self._sql = sqlite3.connect(uri_of(path, readonly), BUSY_SECONDS, isolation_level=None, uri=True)
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
        ((version,),) = self._all("PRAGMA user_version")
        if version == 0:
            return None
        if version != FORMAT:
            text = f"catalogue format {version}; this version reads format {FORMAT}"
            raise StoreError(f"{self.path}: {text}: run the job again in another folder")
        if {sql for (sql,) in self._all("SELECT sql FROM sqlite_master")} != set(_TABLES):
            raise self._damaged("it has other tables than those of a run")
        return self._state().header

    def create(self, header: Header) -> None:
        """Record a new run. The format number is written in the same transaction and marks the creation as complete."""
        with self._transaction():
            for table in _TABLES:
                self._all(table)
            self._all("INSERT INTO run VALUES (?, ?)", _sealed(_State(header)))
            self._all(f"PRAGMA user_version = {FORMAT}")

    def clear(self, header: Header) -> Header:
        """Forget all blocks, what is kept beside them, and the driver before. Returns the new header."""
        with self._transaction():
            epoch = self._state().epoch
            self._all("DELETE FROM blocks")
            self._keep(_State(header, epoch + 1))
        return header

    def raise_epoch(self) -> None:
        """Become the one driver whose commits are accepted."""
        with self._transaction():
            state = self._state()
            self._keep(msgspec.structs.replace(state, epoch=state.epoch + 1))
        self.epoch = state.epoch + 1

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction, rolled back by any exception. Raises `StoreError` unless my epoch is current."""
        if self.epoch == READER:
            raise StoreError(f"{self.path}: opened for reading")
        with self._transaction():
            self._next = self._state()
            if self._next.epoch != self.epoch:
                raise StoreError(f"{self.path}: epoch {self.epoch} was taken over by epoch {self._next.epoch}")
            yield
            self._keep(self._next)

    def insert(self, receipt: Receipt) -> None:
        """Record a block. Only inside `writing`."""
        record, seal = _sealed(_Record(self.epoch, receipt), receipt.lo)
        self._all("INSERT INTO blocks VALUES (?, ?, ?)", (receipt.lo, record, seal))
        totals = Counter(self._pending.totals)
        totals.update(receipt.counts)
        self._change(seals=_xor(self._pending.seals, seal), n_blocks=self._pending.n_blocks + 1, totals=dict(totals))

    def replace_parts(self, lo: int, parts: tuple[Part, ...]) -> None:
        """Record other files for a block that exists. Only inside `writing`."""
        (old,) = self._all("SELECT lo, record, seal FROM blocks WHERE lo = ?", (lo,))
        known = self._opened(*old)
        record, seal = _sealed(_Record(known.epoch, msgspec.structs.replace(known.block, parts=parts)), lo)
        self._all("UPDATE blocks SET record = ?, seal = ? WHERE lo = ?", (record, seal, lo))
        self._change(seals=_xor(_xor(self._pending.seals, old[2]), seal))

    def block(self, lo: int) -> Receipt | None:
        """The block that begins at a branch number, as it was committed."""
        rows = self._all("SELECT lo, record, seal FROM blocks WHERE lo = ?", (lo,))
        return self._opened(*rows[0]).block if rows else None

    def blocks(self) -> list[Receipt]:
        """Every block at one moment, ascending. Raises `CorruptPartError` unless all are there as committed."""
        with self.moment():
            state, rows = self._state(), self._all("SELECT lo, record, seal FROM blocks ORDER BY lo")
        found = [self._opened(*row).block for row in rows]
        seals = _State(state.header).seals
        for row in rows:
            seals = _xor(seals, row[2])
        if (len(rows), seals) != (state.n_blocks, state.seals):
            raise self._damaged(f"{len(rows):,} blocks that are not the {state.n_blocks:,} committed ones")
        return found

    def blocks_from(self, lo: int, limit: int) -> list[int]:
        """The first committed blocks at or after `lo`."""
        return [lo for (lo,) in self._all("SELECT lo FROM blocks WHERE lo >= ? ORDER BY lo LIMIT ?", (lo, limit))]

    def n_blocks(self) -> int:
        return self._state().n_blocks

    def totals(self) -> dict[str, int]:
        """Counts of all committed blocks, kept with every commit."""
        return dict(sorted(self._state().totals.items()))

    def files(self) -> dict[str, str]:
        """SHA-256 of what is kept beside the rows, by name."""
        return self._state().files

    def keep_files(self, files: Mapping[str, str]) -> None:
        """Record what is kept beside the rows. Only inside `writing`."""
        self._change(files=dict(files))

    def set_summary(self, summary: dict[str, Any]) -> None:
        """Record the end summary. Only inside `writing`."""
        self._change(summary=json.dumps(summary, allow_nan=False))

    def summary(self) -> dict[str, Any] | None:
        text = self._state().summary
        return None if text is None else json.loads(text)

    def damage(self) -> list[str]:
        """What SQLite's own check finds wrong, and totals that are not the sum of the blocks."""
        wrong = [text for (text,) in self._all("PRAGMA integrity_check") if text != "ok"]
        with self.moment():
            rest = Counter(self._state().totals)
            for block in self.blocks():
                rest.subtract(block.counts)
        return wrong + [f"the total of {name!r} is not the sum of the blocks" for name, n in rest.items() if n]

    @property
    def _pending(self) -> _State:
        """The state that the open transaction will leave."""
        if self._next is None:
            raise StoreError(f"{self.path}: no transaction is open")
        return self._next

    def _change(self, **fields: Any) -> None:
        self._next = msgspec.structs.replace(self._pending, **fields)

    def _keep(self, state: _State) -> None:
        self._all("UPDATE run SET state = ?, seal = ?", _sealed(state))

    def _state(self) -> _State:
        rows = self._all("SELECT state, seal FROM run")
        if len(rows) != 1:
            raise self._damaged(f"{len(rows)} records of the run")
        ((text, seal),) = rows
        return self._checked(_State, text, seal, "the record of the run")

    def _opened(self, lo: int, record: str, seal: str) -> _Record:
        return self._checked(_Record, record, seal, f"the record of block {lo}", lo)

    def _checked(self, kind: type[T], text: object, seal: object, what: str, lo: int | None = None) -> T:
        """A record, if it has the seal it was written with."""
        if not isinstance(text, str) or _seal(text, lo) != seal:
            raise self._damaged(f"{what} was altered")
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError as error:
            raise self._damaged(f"{what}: {error}") from error

    def _damaged(self, what: str) -> CorruptPartError:
        return CorruptPartError(str(self.path), f"damaged: {what}", REMEDY)

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Whatever is read inside is of one moment."""
        if self._sql.in_transaction:
            yield
            return
        self._all("BEGIN")
        try:
            yield
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        """Unless SQLite has, which it does by itself where the disk fails it."""
        if self._sql.in_transaction:
            self._all("ROLLBACK")

    def _configure(self, readonly: bool) -> None:
        self._all("PRAGMA trusted_schema = OFF")
        if readonly:
            self._all("PRAGMA query_only = ON")
            return
        ((mode,),) = self._all("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise StoreError(f"{self.path}: no write-ahead log on this file system (journal mode {mode})")
        self._all("PRAGMA synchronous = FULL")

    def _all(self, statement: str, values: tuple = ()) -> list[tuple]:
        with self._named():
            return self._sql.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._all("BEGIN IMMEDIATE")
        try:
            yield
            self._all("COMMIT")
        finally:
            self._next = None
            self._roll_back()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise refused_by_sqlite(self.path, error, REMEDY) from error


def refused_by_sqlite(path: Path, error: sqlite3.Error, remedy: str) -> StoreError:
    """Somebody else at work, the disk, or else a file that is not what this program wrote."""
    kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if kind in _BUSY:
        return StoreLockedError(f"{path}: {error}")
    if kind in _DISK:
        return DiskError(f"{path}: {error}; {free_bytes(path)}")
    return CorruptPartError(str(path), str(error), remedy)


def _sealed(record: _State | _Record, lo: int | None = None) -> tuple[str, str]:
    """A record as JSON, and its seal."""
    text = msgspec.json.encode(record).decode()
    return text, _seal(text, lo)


def _seal(text: str, lo: int | None) -> str:
    """BLAKE2b-128 as 32 hex digits, of a block also over its number."""
    return hashlib.blake2b(f"{lo}:{text}".encode(), digest_size=_SEAL).hexdigest()


def _xor(first: str, second: str) -> str:
    return f"{int(first, 16) ^ int(second, 16):0{2 * _SEAL}x}"


def uri_of(path: Path, readonly: bool) -> str:
    """A reader normally shares the write-ahead log. In a folder where it may not, and without a log, nobody writes."""
    uri = path.absolute().as_uri()
    if not readonly:
        return f"{uri}?mode=rwc"
    frozen = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return f"{uri}?mode=ro&immutable=1" if frozen else f"{uri}?mode=ro"
