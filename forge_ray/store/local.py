"""The result store on a local disk, and how runs are written there.

A run on disk is a folder named by its run id::

    rows/<lo>-<hi>-<attempt>.parquet    written by workers, once
    catalog.sqlite                      the truth: what exists
    sweep.json                          what was searched, as canonical JSON
    job.json                            the job as it was given, for people, reports and repairs
    market.parquet                      the bars of a run whose data came from memory; the job names it as its source
    lock                                held by the driver while it lives
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from forge_ray.errors import (
    CorruptPartError,
    IncompleteRunError,
    NondeterminismError,
    StoreError,
    StoreLockedError,
    listed,
    shown,
)
from forge_ray.store.catalogue import Catalogue, Header
from forge_ray.store.disk import make_folder, read_file, remove, rewrite
from forge_ray.store.encode import block_of, encode, is_part, locate
from forge_ray.store.lock import LOCK, Holder, RunLock, holder_of
from forge_ray.store.reading import CATALOGUE, JOB, MARKET, ROWS, SPEC, StoredRun
from forge_ray.store.receipts import Part, Receipt

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class LocalStore(StoredRun):
    """A `ResultStore` in a folder of a local disk. `epoch` numbers the drivers of the run; it is 0 for readers."""

    @classmethod
    def create_or_open(
        cls, root: Path, run_id: str, spec: bytes, block_size: int, size: int, take_over: bool = False,
        *, fresh: bool = False,
    ) -> LocalStore:  # fmt: skip
        """Open a run under `root` for writing, creating or mending what is missing, and remove its orphans.

        take_over : replace a driver that holds the run; it can commit nothing more. fresh : in one transaction no block
        exists any more. Raises `StoreLockedError`, and `StoreError` if the run id stands for another specification or
        size.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise StoreError(f"run id {shown(run_id)}; allowed: up to 64 letters, digits, - and _")
        if block_size < 1 or size < 1:
            raise StoreError(f"run {run_id}: block size {block_size} and size {size}; allowed: at least 1")
        path = root / run_id
        wanted = Header(run_id, block_size, size, hashlib.sha256(spec).hexdigest())
        return cls._opened(path, lambda catalogue: _ready(path, catalogue, wanted, spec, fresh), take_over)

    @classmethod
    def reopen(cls, path: Path, take_over: bool = False) -> LocalStore:
        """Open the run in a folder for writing, whatever the folder is called, and remove its orphans. Raises as
        `read` and `create_or_open`."""
        header = _header_of(path)
        return cls._opened(path, lambda catalogue: header, take_over)

    @classmethod
    def _opened(cls, path: Path, prepare: Callable[[Catalogue], Header], take_over: bool) -> LocalStore:
        """The run in a folder under its lock, with a new epoch. Nothing is removed unless the catalogue is sound."""
        make_folder(path / ROWS)
        _refuse_links(path)
        with ExitStack() as held:
            lock = held.enter_context(closing(RunLock(path / LOCK, take_over=take_over)))
            with _naming(lock.replaced):
                catalogue = held.enter_context(closing(Catalogue(path / CATALOGUE, readonly=False)))
                header = prepare(catalogue)
                catalogue.blocks()
                catalogue.raise_epoch()
            store = cls(path, catalogue, header, held)
            store.collect_orphans()
            store._held = held.pop_all()
            return store

    @property
    def epoch(self) -> int:
        return self._catalogue.epoch

    @property
    def holder(self) -> Holder | None:
        """The process that holds the lock, or held it last."""
        return holder_of(self.path / LOCK)

    def keep_job(self, job: bytes, market: pa.Table | None = None) -> None:
        """Keep the job, and the market if it is nowhere else, beside the results.

        The first one stays, as long as it is sound: later ones differ in nothing that counts.
        """
        with suppress(CorruptPartError):
            if JOB in self._catalogue.files() and self.job:
                return
        files = {JOB: job} if market is None else {MARKET: encode(market), JOB: job}
        for name, data in files.items():
            rewrite(self.path / name, data)
        with self._catalogue.writing():
            self._catalogue.keep_files({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})

    def keep_spec(self, spec: bytes) -> None:
        """Write the specification again if it was damaged. Raises `StoreError` if it is that of another run."""
        if (found := hashlib.sha256(spec).hexdigest()) != self._header.spec_sha256:
            raise StoreError(f"{self.path}: holds a run whose spec_sha256 is {self._header.spec_sha256}, not {found}")
        _mend_spec(self.path, spec)

    def commit(self, receipts: Iterable[Receipt]) -> None:
        dropped: list[Part] = []
        with self._catalogue.writing():
            for receipt in receipts:
                self._check_block(receipt)
                if known := self._catalogue.block(receipt.lo):
                    self._check_equal(known, receipt)
                    dropped += [part for part in receipt.parts if part.path not in _paths(known)]
                else:
                    self._check_files(receipt)
                    self._catalogue.insert(receipt)
        self._remove(dropped)

    def replace(self, receipt: Receipt) -> None:
        with self._catalogue.writing():
            self._check_block(receipt)
            known = self._catalogue.block(receipt.lo)
            if known is None:
                raise StoreError(f"{self.path}: block [{receipt.lo}, {receipt.hi}) is not committed")
            self._check_equal(known, receipt)
            self._check_files(receipt)
            self._catalogue.replace_parts(receipt.lo, receipt.parts)
        self._remove([part for part in known.parts if part.path not in _paths(receipt)])

    def finish(self, summary: dict[str, Any]) -> None:
        with self._catalogue.writing():
            n_missing = -(-self.size // self.block_size) - self._catalogue.n_blocks()
            if n_missing:
                raise IncompleteRunError(f"{self.path}: {n_missing:,} blocks are missing")
            self._catalogue.set_summary(summary)

    def collect_orphans(self) -> list[Path]:
        with self._catalogue.writing():
            recorded = {part.path for block in self._catalogue.blocks() for part in block.parts}
            names = {path.relative_to(self.path).as_posix() for path in self.path.glob("*/*.parquet")}
            orphans = [locate(self.path, name) for name in sorted(names - recorded) if is_part(name)]
        for orphan in orphans:
            remove(orphan)
        return orphans

    def _check_block(self, receipt: Receipt) -> None:
        lo, hi = receipt.lo, receipt.hi
        if lo % self.block_size or not 0 <= lo < self.size or hi != self._end(lo):
            raise StoreError(f"{self.path}: [{lo}, {hi}) is no block of {self.block_size:,} in [0, {self.size:,})")

    def _check_files(self, receipt: Receipt) -> None:
        """A receipt without its file would be a promise that nobody can keep."""
        for part in receipt.parts:
            path = locate(self.path, part.path)
            if block_of(part.path) != (receipt.lo, receipt.hi):
                raise StoreError(f"{path}: is not named after block [{receipt.lo}, {receipt.hi})")
            size = path.stat().st_size if path.is_file() else None
            if size != part.bytes:
                found = "no such file" if size is None else f"{size:,} bytes"
                raise StoreError(f"{path}: {found}; the receipt says {part.bytes:,} bytes")

    def _check_equal(self, known: Receipt, again: Receipt) -> None:
        """Raises `NondeterminismError` if a block that was computed again has other content."""
        first, second = ({part.table: part.content for part in receipt.parts} for receipt in (known, again))
        if first != second:
            raise NondeterminismError(
                f"{self.path}: block [{again.lo}, {again.hi}) was computed twice with different content: "
                f"{_listed(first)}, then {_listed(second)}"
            )

    def _remove(self, parts: Iterable[Part]) -> None:
        """Files that no record names any more."""
        for part in (part for part in parts if is_part(part.path)):
            with suppress(OSError):  # what is committed is committed; a file that stays is an orphan, collected later
                locate(self.path, part.path).unlink()


def _refuse_links(path: Path) -> None:
    """A run has files and folders of its own: through a link, what is elsewhere would be written or removed."""
    with os.scandir(path) as entries:
        links = sorted(entry.name for entry in entries if entry.is_symlink())
    if links:
        raise StoreError(f"{path}: {listed(links)}: a link; whoever writes here would write elsewhere. Remove it")


@contextmanager
def _naming(replaced: str) -> Iterator[None]:
    """Whoever was taken over may hold the catalogue itself, which nobody can take from a process that lives."""
    try:
        yield
    except StoreLockedError as error:
        if not replaced:
            raise
        text = f"{error}: {replaced} stopped in the middle of a commit; end it and run the same command again"
        raise StoreLockedError(text) from error


def _ready(path: Path, catalogue: Catalogue, wanted: Header, spec: bytes, fresh: bool) -> Header:
    """The header of a run that is there whole, after its creation was completed if need be. fresh : without blocks."""
    header = catalogue.header()
    if header is None:
        header = _create(path, catalogue, wanted, spec, fresh)
    _check_same(path, header, wanted)
    _mend_spec(path, spec)
    return catalogue.clear(wanted) if fresh else header


def _header_of(path: Path) -> Header:
    with closing(StoredRun.read(path)) as run:
        return run.header


def _mend_spec(path: Path, spec: bytes) -> None:
    try:
        sound = read_file(path / SPEC) == spec
    except OSError:
        sound = False
    if not sound:
        rewrite(path / SPEC, spec)


def _create(path: Path, catalogue: Catalogue, header: Header, spec: bytes, fresh: bool) -> Header:
    """Complete the creation of a run: specification first, then the record that makes it one."""
    if not fresh and next((path / ROWS).iterdir(), None) is not None:
        raise StoreError(f"{path}: there are rows but no record of them; restore catalog.sqlite or remove the folder")
    rewrite(path / SPEC, spec)
    catalogue.create(header)
    return header


def _check_same(path: Path, header: Header, wanted: Header) -> None:
    for field in ("run_id", "size", "spec_sha256"):
        if (found := getattr(header, field)) != (asked := getattr(wanted, field)):
            raise StoreError(f"{path}: holds a run whose {field} is {found}, not {asked}")


def _paths(receipt: Receipt) -> set[str]:
    return {part.path for part in receipt.parts}


def _listed(contents: dict[str, str]) -> str:
    return ", ".join(f"{table} {content}" for table, content in contents.items()) or "no rows"
