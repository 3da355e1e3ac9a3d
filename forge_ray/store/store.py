"""The result store: the contract every store keeps, in prose, and the one on a local disk.

A run on disk is a folder named by its run id::

    rows/<lo>-<hi>-<attempt>.parquet    written by workers, once
    catalog.sqlite                      the truth: what exists
    sweep.json                          what was searched, as canonical JSON
    job.json                            the job as it was given, for people and for reports; proves nothing
    market.parquet                      the bars of a run whose data came from memory; the job names it as its source
    lock                                held by the driver while it lives
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from forge_ray.errors import (
    CorruptPartError,
    IncompleteRunError,
    InputError,
    NondeterminismError,
    Problem,
    StoreError,
    shown,
    unknown,
)
from forge_ray.store.catalogue import Catalogue, Header
from forge_ray.store.encode import content_hash, encode, fsync_folder, is_part, locate, read_part, write_new
from forge_ray.store.lock import RunLock
from forge_ray.store.receipts import Part, Receipt

if TYPE_CHECKING:
    import polars as pl

ROWS = "rows"
MARKET = "market.parquet"
_PAGE = 4096
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


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
    against what was committed; anything else is a `CorruptPartError`, never a row.

    **Identity.** A run id stands for one specification. Opening it with another one is an error, and so is another
    size; the block size is that of the first opening. A creation cut short is completed by the next opening.

    A store is used by the thread that opened it. `commit`, `finish` and `collect_orphans` need one opened for writing.
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

    def verify(self) -> list[Problem]:
        """Read everything again and list what is not as it was committed."""
        ...

    def collect_orphans(self) -> list[Path]:
        """Remove files without a record; returns them."""
        ...

    def close(self) -> None: ...


class LocalStore:
    """A `ResultStore` in a folder of a local disk. `epoch` numbers the drivers of the run; it is 0 for readers."""

    def __init__(self, path: Path, catalogue: Catalogue, header: Header, held: ExitStack):
        self.path, self._catalogue, self._header, self._held = path, catalogue, header, held

    @classmethod
    def create_or_open(
        cls, root: Path, run_id: str, spec: bytes, block_size: int, size: int, take_over: bool = False
    ) -> LocalStore:
        """Open a run under `root` for writing, creating what is missing, and remove its orphans.

        take_over : replace a driver that holds the run; it can commit nothing more. Raises `StoreLockedError`, and
        `StoreError` if the run id stands for another specification or size.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise StoreError(f"run id {shown(run_id)}; allowed: up to 64 letters, digits, - and _")
        if block_size < 1 or size < 1:
            raise StoreError(f"run {run_id}: block size {block_size} and size {size}; allowed: at least 1")
        path = root / run_id
        wanted = Header(run_id, block_size, size, hashlib.sha256(spec).hexdigest())
        with ExitStack() as held:
            _make_folder(path / ROWS)
            held.enter_context(closing(RunLock(path / "lock", take_over=take_over)))
            catalogue = held.enter_context(closing(Catalogue(path / "catalog.sqlite", readonly=False)))
            header = catalogue.header() or _create(path, catalogue, wanted, spec)
            _check_same(path, header, wanted)
            catalogue.raise_epoch()
            store = cls(path, catalogue, header, held.pop_all())
        try:
            store.collect_orphans()
        except StoreError:
            store.close()
            raise
        return store

    @classmethod
    def read(cls, path: Path) -> LocalStore:
        """Open a run for reading. Raises `MissingRunError` if `path` is not the folder of a run."""
        file = path / "catalog.sqlite"
        if not file.is_file():
            raise MissingRunError(f"{path}: no run here ({file.name} is missing)")
        with ExitStack() as held:
            catalogue = held.enter_context(closing(Catalogue(file, readonly=True)))
            header = catalogue.header()
            if header is None:
                raise MissingRunError(f"{path}: the run was not created completely; run the job again")
            return cls(path, catalogue, header, held.pop_all())

    def close(self) -> None:
        """Close the catalogue and let the lock go."""
        self._held.close()

    @property
    def epoch(self) -> int:
        return self._catalogue.epoch

    @property
    def run_id(self) -> str:
        return self._header.run_id

    @property
    def size(self) -> int:
        return self._header.size

    @property
    def block_size(self) -> int:
        return self._header.block_size

    @property
    def spec(self) -> bytes:
        path = self.path / "sweep.json"
        try:
            spec = path.read_bytes()
        except OSError as error:
            raise CorruptPartError(f"{path}: {error.strerror}") from error
        if (found := hashlib.sha256(spec).hexdigest()) != self._header.spec_sha256:
            raise CorruptPartError(f"{path}: SHA-256 {found}; the catalogue says {self._header.spec_sha256}")
        return spec

    @property
    def job(self) -> bytes:
        """The job that created the run."""
        path = self.path / "job.json"
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error

    def keep_job(self, job: bytes, market: pa.Table | None = None) -> None:
        """Keep the job, and the market if it is nowhere else, beside the results.

        The first one stays: later ones differ in nothing that counts.
        """
        path = self.path / "job.json"
        if path.exists():
            return
        if market is not None:
            (self.path / MARKET).unlink(missing_ok=True)  # without a job it is what a kill left half-written
            write_new(self.path / MARKET, encode(market))
        write_new(path, job)

    def missing(self) -> Iterator[tuple[int, int]]:
        lo = 0
        while lo < self.size:
            there = self._catalogue.blocks_from(lo, _PAGE)
            until = there[-1] + self.block_size if len(there) == _PAGE else self.size
            found = set(there)
            for block in range(lo, until, self.block_size):
                if block not in found:
                    yield block, self._end(block)
            lo = until

    def is_committed(self, branch: int) -> bool:
        """Whether the block of a branch number exists."""
        return branch >= 0 and self._catalogue.has_block(branch - branch % self.block_size)

    def commit(self, receipts: Iterable[Receipt]) -> None:
        dropped: list[Part] = []
        with self._catalogue.writing():
            for receipt in receipts:
                self._check_block(receipt)
                if self._catalogue.has_block(receipt.lo):
                    dropped += self._repeated(receipt)
                else:
                    self._check_files(receipt)
                    self._catalogue.insert(receipt)
        for part in dropped:
            with suppress(OSError):  # what is committed is committed; a file that stays is an orphan, collected later
                locate(self.path, part.path).unlink()

    def counts(self) -> dict[str, int]:
        return {"branches": 0, "passed": 0, **self._catalogue.totals()}

    @property
    def finished(self) -> bool:
        return self._catalogue.summary() is not None

    def finish(self, summary: dict[str, Any]) -> None:
        with self._catalogue.writing():
            n_missing = -(-self.size // self.block_size) - self._catalogue.n_blocks()
            if n_missing:
                raise IncompleteRunError(f"{self.path}: {n_missing:,} blocks are missing")
            self._catalogue.set_summary(summary)

    def summary(self) -> dict[str, Any]:
        summary = self._catalogue.summary()
        if summary is None:
            raise IncompleteRunError(f"{self.path}: the run is not finished; run the same job again to go on")
        return summary

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the rows, empty before the first commit."""
        return self._blank().column_names

    def parts(self) -> list[Part]:
        """The committed parts of rows, in branch order."""
        return self._catalogue.parts(ROWS)

    def read_rows(self, part: Part) -> pa.Table:
        """The rows of a committed part. Raises `CorruptPartError`."""
        return self._read(part, None)

    def scan(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for part in self.parts():
            yield self._read(part, columns)

    def frame(self) -> pl.DataFrame:
        import polars as pl

        tables = list(self.scan())
        return pl.DataFrame(pa.concat_tables(tables)).sort("branch") if tables else pl.DataFrame()

    def row(self, branch: int) -> dict[str, Any] | None:
        """The row of a branch by column, or None if there is none."""
        return next((row for table in self._rows_of([branch]) for row in table.to_pylist()), None)

    def best(self, metric: str, highest: bool, n: int, predicate: Predicate | None = None) -> pl.DataFrame:
        """The n best rows by a column, best first, ties by branch; rows without a value are left out.

        Reads only the columns it needs, part by part, and the full rows of the n. Raises `InputError` if the predicate
        does not fit the columns.
        """
        import polars as pl

        order: dict[str, Any] = {"by": [metric, "branch"], "descending": [highest, False]}
        needed = list(dict.fromkeys(["branch", metric, *(predicate.names if predicate else ())]))
        best: list[pl.DataFrame] = []
        for table in self.scan(needed):
            found = pl.DataFrame(table).filter(pl.col(metric).is_not_null())
            best = [pl.concat([*best, _filtered(found, predicate)]).sort(**order).head(n)]
        if not best:
            return pl.DataFrame()
        rows = self._rows_of(best[0]["branch"].to_list())
        return pl.DataFrame(pa.concat_tables([self._blank(), *rows])).sort(**order)

    def distinct_paths(self) -> int:
        """How many different position paths the rows have."""
        hashes = [table["path"].unique() for table in self.scan(["path"])]
        return len(pa.chunked_array(hashes).unique()) if hashes else 0

    def verify(self) -> list[Problem]:
        problems = [Problem(str(self._catalogue.path), text) for text in self._catalogue.damage()]
        for name in self._catalogue.miscounted():
            problems.append(Problem(str(self._catalogue.path), f"the total of {name!r} is not the sum of the blocks"))
        try:
            _ = self.spec
        except CorruptPartError as error:
            problems.append(Problem("", str(error)))
        for table in self._catalogue.tables():
            problems += [Problem("", text) for part in self._catalogue.parts(table) if (text := self._damage(part))]
        return problems

    def collect_orphans(self) -> list[Path]:
        with self._catalogue.writing():
            names = (path.relative_to(self.path).as_posix() for path in self.path.glob("*/*.parquet"))
            orphans = [locate(self.path, name) for name in names if is_part(name) and not self._catalogue.holds(name)]
        for orphan in orphans:
            try:
                orphan.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{orphan}: cannot remove: {error.strerror}") from error
        return orphans

    def _end(self, lo: int) -> int:
        return min(lo + self.block_size, self.size)

    def _rows_of(self, branches: Iterable[int]) -> list[pa.Table]:
        """The rows of some branches; every part is read once."""
        wanted: dict[int, list[int]] = {}
        for branch in branches:
            wanted.setdefault(branch - branch % self.block_size, []).append(branch)
        found = []
        for lo, numbers in wanted.items():
            for part in self._catalogue.block_parts(lo):
                if part.table == ROWS:
                    found.append(self._read(part, None).filter(pc.field("branch").isin(numbers)))
        return found

    def _blank(self) -> pa.Table:
        """The columns of the rows without any row."""
        parts = self._catalogue.parts(ROWS)[:1]
        return read_part(self.path, parts[0]).slice(0, 0) if parts else pa.table({})

    def _read(self, part: Part, columns: Sequence[str] | None) -> pa.Table:
        table = read_part(self.path, part, None if columns is None else list(columns))
        if columns is not None and len(table.column_names) != len(columns):
            absent = [name for name in columns if name not in table.column_names]
            raise InputError([unknown(str(self.path), "column", name, self.columns) for name in absent])
        return table

    def _damage(self, part: Part) -> str:
        try:
            found = content_hash(read_part(self.path, part))
        except StoreError as error:
            return str(error)
        return "" if found == part.content else f"{self.path / part.path}: content {found}, committed {part.content}"

    def _check_block(self, receipt: Receipt) -> None:
        lo, hi = receipt.lo, receipt.hi
        if lo % self.block_size or not 0 <= lo < self.size or hi != self._end(lo):
            raise StoreError(f"{self.path}: [{lo}, {hi}) is no block of {self.block_size:,} in [0, {self.size:,})")

    def _check_files(self, receipt: Receipt) -> None:
        """A receipt without its file would be a promise that nobody can keep."""
        for part in receipt.parts:
            path = locate(self.path, part.path)
            size = path.stat().st_size if path.is_file() else None
            if size != part.bytes:
                found = "no such file" if size is None else f"{size:,} bytes"
                raise StoreError(f"{path}: {found}; the receipt says {part.bytes:,} bytes")

    def _repeated(self, receipt: Receipt) -> list[Part]:
        """The files of a block computed again that are not needed. Raises `NondeterminismError` if content differs."""
        recorded = self._catalogue.block_parts(receipt.lo)
        first, again = ({part.table: part.content for part in parts} for parts in (recorded, receipt.parts))
        if first != again:
            raise NondeterminismError(
                f"{self.path}: block [{receipt.lo}, {receipt.hi}) was computed twice with different content: "
                f"{_listed(first)}, then {_listed(again)}"
            )
        return [part for part in receipt.parts if not self._catalogue.holds(part.path)]


def _create(path: Path, catalogue: Catalogue, header: Header, spec: bytes) -> Header:
    """Complete the creation of a run: specification first, then the record that makes it one."""
    if next((path / ROWS).iterdir(), None) is not None:
        raise StoreError(f"{path}: there are rows but no record of them; restore catalog.sqlite or remove the folder")
    (path / "sweep.json").unlink(missing_ok=True)
    write_new(path / "sweep.json", spec)
    catalogue.create(header)
    return header


def _check_same(path: Path, header: Header, wanted: Header) -> None:
    for field in ("run_id", "size", "spec_sha256"):
        if (found := getattr(header, field)) != (asked := getattr(wanted, field)):
            raise StoreError(f"{path}: holds a run whose {field} is {found}, not {asked}")


def _make_folder(path: Path) -> None:
    """Create a folder and its parents so that their names survive a power cut."""
    if path.is_dir():
        return
    if path != path.parent:
        _make_folder(path.parent)
    try:
        path.mkdir(exist_ok=True)
        fsync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot create the folder: {error.strerror}") from error


def _filtered(frame: pl.DataFrame, predicate: Predicate | None) -> pl.DataFrame:
    import polars as pl

    if predicate is None:
        return frame
    try:
        return frame.filter(predicate({name: pl.col(name) for name in predicate.names}))
    except pl.exceptions.PolarsError as error:
        raise InputError([Problem("--where", str(error).partition("\n")[0])]) from error


def _listed(contents: dict[str, str]) -> str:
    return ", ".join(f"{table} {content}" for table, content in contents.items()) or "no rows"
