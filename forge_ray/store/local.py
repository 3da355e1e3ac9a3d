"""The result store on a local disk, and how runs are written there.

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
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from forge_ray.errors import IncompleteRunError, NondeterminismError, StoreError, shown
from forge_ray.store.catalogue import Catalogue, Header
from forge_ray.store.encode import encode, fsync_folder, is_part, locate, write_new
from forge_ray.store.lock import RunLock
from forge_ray.store.reading import ROWS, StoredRun
from forge_ray.store.receipts import Part, Receipt

MARKET = "market.parquet"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class LocalStore(StoredRun):
    """A `ResultStore` in a folder of a local disk. `epoch` numbers the drivers of the run; it is 0 for readers."""

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

    @property
    def epoch(self) -> int:
        return self._catalogue.epoch

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

    def finish(self, summary: dict[str, Any]) -> None:
        with self._catalogue.writing():
            n_missing = -(-self.size // self.block_size) - self._catalogue.n_blocks()
            if n_missing:
                raise IncompleteRunError(f"{self.path}: {n_missing:,} blocks are missing")
            self._catalogue.set_summary(summary)

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


def _listed(contents: dict[str, str]) -> str:
    return ", ".join(f"{table} {content}" for table, content in contents.items()) or "no rows"
