"""The contract every result store keeps, in prose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from forge_ray.errors import StoreError
from forge_ray.store.receipts import Damage, Receipt

if TYPE_CHECKING:
    import polars as pl


class MissingRunError(StoreError):
    """There is no run in this folder."""

    exit_code = 2


class Predicate(Protocol):
    """A condition over columns; `names` are those it reads."""

    names: tuple[str, ...]

    def __call__(self, columns: Mapping[str, Any]) -> Any: ...


class ResultStore(Protocol):
    """The results of one run: rows per block of branches. What every store promises:

    **Existence.** A block exists when the catalogue says so, and only then. Files are never listed to find results: a
    file without a record is an orphan, ignored by every reader and collected when the run is next opened for writing.

    **Commit.** Workers write the files of a block first, durably, under their final names; the driver then commits
    receipts. A commit is one transaction: either all of its receipts are recorded or none. When `commit` returns, the
    blocks survive a kill and a power cut. Killed before that, they are missing, and computed again.

    **Exactly once.** Blocks may be computed any number of times; each is recorded once. A receipt for a block that
    exists is compared with it by content hash. Equal: it is dropped and its files removed. Different: the computation
    is not a function of the branch number; nothing of this commit is recorded and `NondeterminismError` is raised.

    **Fencing.** One driver writes. Opening for writing takes the lock, which its holder keeps while it lives, and
    raises the epoch. Every commit checks in its transaction that its epoch is current, so a driver that was taken over
    can finish computing, but never commit.

    **Reading.** Anybody may read at any time, without a lock and without slowing the driver down. Each call sees the
    blocks committed at the moment of the call, whole blocks only, in branch order. Every byte that is read is checked
    against what was committed; anything else is a `CorruptPartError` that names file and block, never a row. The
    catalogue is no exception: records carry checksums, and a block that is gone from it is noticed.

    **Disk.** A disk that refuses (full, quota, read-only, an I/O error) is one `DiskError` that names the path, what
    the disk said and the bytes that are free. What was committed stays; nothing half-done is taken for a result; when
    there is room the same call goes on.

    **Repair.** A damaged or missing file does not undo its block. `verify` lists it; `replace` takes the same block
    computed again, compares its content hash with the recorded one, and in one transaction records the new files in
    place of the old, which are then removed. Killed anywhere, either the old or the new files are recorded, and what
    the others left is an orphan. A damaged catalogue cannot be mended from the files: it is the only witness.

    **Identity.** A run id stands for one specification. Opening it with another one is an error, and so is another
    size; the block size is that of the first opening. A creation cut short is completed by the next opening, which also
    writes a damaged specification again.

    **Starting over.** A run that is opened as a fresh one has no block and no end from one transaction on, and the
    block size that was asked for then; the files of before are orphans. Killed before that it is the old run, after it
    the new one.

    A store is used by the thread that opened it. `commit`, `replace`, `finish` and `collect_orphans` need one opened
    for writing.
    """

    @property
    def run_id(self) -> str: ...

    @property
    def size(self) -> int:
        """Branch numbers of the run: blocks cover [0, size)."""
        ...

    @property
    def block_size(self) -> int: ...

    @property
    def spec(self) -> bytes:
        """The specification that the run was created with."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the end summary is recorded."""
        ...

    def missing(self) -> Iterator[tuple[int, int]]:
        """Blocks [lo, hi) without a record, ascending, found while iterating; commits may go on meanwhile."""
        ...

    def commit(self, receipts: Iterable[Receipt]) -> None:
        """Record blocks. Raises `NondeterminismError`, or `StoreError` if taken over or if a file is not there."""
        ...

    def replace(self, receipt: Receipt) -> None:
        """Put the files of a block computed again in the place of those recorded for it. Raises as `commit`."""
        ...

    def counts(self) -> dict[str, int]:
        """The counts of the receipts, added up over committed blocks; "branches" and "passed" are always there."""
        ...

    def finish(self, summary: dict[str, Any]) -> None:
        """Record the end summary (JSON values). Raises `IncompleteRunError` if blocks are missing."""
        ...

    def summary(self) -> dict[str, Any]:
        """The end summary. Raises `IncompleteRunError` before `finish`."""
        ...

    def scan(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Rows part by part in branch order. Raises `InputError` for unknown columns, `CorruptPartError`."""
        ...

    def frame(self) -> pl.DataFrame:
        """All rows, sorted by branch."""
        ...

    def verify(self) -> list[Damage]:
        """Read everything again and list what is not as it was committed: catalogue, totals, files, values."""
        ...

    def collect_orphans(self) -> list[Path]:
        """Remove files without a record; returns them."""
        ...

    def close(self) -> None: ...
