"""A stored run as its readers see it: what is committed, and its rows, every byte checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forge_ray.errors import (
    CorruptPartError,
    DiskError,
    IncompleteRunError,
    InputError,
    Problem,
    ReplacedError,
    StoreError,
    listed,
    shown,
    unknown,
)
from forge_ray.store.catalogue import REMEDY, Catalogue, Header
from forge_ray.store.contract import MissingRunError, Predicate
from forge_ray.store.disk import lost, read_file, refused
from forge_ray.store.encode import block_of, content_hash, damaged_part, fixed_bytes, read_part
from forge_ray.store.receipts import Damage, Part, Receipt

if TYPE_CHECKING:
    import polars as pl

ROWS = "rows"
CATALOGUE, SPEC, JOB, MARKET = "catalog.sqlite", "sweep.json", "job.json", "market.parquet"
_PAGE = 4096
_HANDS = 64
_PATH_BYTES = 16


class StoredRun:
    """What the folder of a run says to anybody who reads it."""

    def __init__(self, path: Path, catalogue: Catalogue, header: Header, held: ExitStack):
        self.path, self._catalogue, self._header, self._held = path, catalogue, header, held

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open a run for reading. Raises `MissingRunError` if `path` is not the folder of a run."""
        file = path / CATALOGUE
        try:
            is_there = file.is_file()
        except OSError as error:  # such as a name that is too long
            raise MissingRunError(f"{path}: no run here ({error.strerror})") from error
        if not is_there:
            raise MissingRunError(f"{path}: no run here ({file.name} is missing{_left_over(path)})")
        with ExitStack() as held:
            catalogue = held.enter_context(closing(Catalogue(file, readonly=True)))
            header = catalogue.header()
            if header is None:
                missing = _left_over(path) or "; run the job again"
                raise MissingRunError(f"{path}: the run was not created completely{missing}")
            catalogue.blocks()
            return cls(path, catalogue, header, held.pop_all())

    def close(self) -> None:
        """Close the catalogue and let the lock go."""
        self._held.close()

    @property
    def header(self) -> Header:
        """What the run is."""
        return self._header

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
        return self._kept(SPEC, self._header.spec_sha256, f"`forge-ray repair {self.path}` writes it again")

    @property
    def job(self) -> bytes:
        """The job that created the run. Raises `CorruptPartError` unless it and the market that it may name are what
        was kept, `StoreError` if none was."""
        files = self._catalogue.files()
        if JOB not in files:
            raise StoreError(f"{self.path}: no job was kept with this run")
        if strange := files.keys() - {JOB, MARKET}:
            raise CorruptPartError(str(self._catalogue.path), f"keeps {listed(map(shown, sorted(strange)))}", REMEDY)
        remedy = "`forge-ray run` with the job that made this run writes it again"
        return {name: self._kept(name, sha256, remedy) for name, sha256 in files.items()}[JOB]

    def _kept(self, name: str, sha256: str, remedy: str) -> bytes:
        """A file beside the rows, every byte checked."""
        path = self.path / name
        try:
            data = read_file(path)
        except OSError as error:
            raise CorruptPartError(str(path), lost(path, error), remedy) from error
        if (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise CorruptPartError(str(path), f"SHA-256 {found}; the catalogue says {sha256}", remedy)
        return data

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
        return branch >= 0 and self._catalogue.block(branch - branch % self.block_size) is not None

    def lost_in(self, lo: int) -> tuple[tuple[int, str], ...]:
        """Branches that were left out of the block that begins there; see `Receipt`."""
        block = self._catalogue.block(lo)
        return block.lost if block else ()

    @property
    def n_blocks(self) -> int:
        """How many blocks are committed."""
        return self._catalogue.n_blocks()

    def moment(self) -> AbstractContextManager[None]:
        """Whatever the catalogue is asked inside is of one moment. Its log cannot be shortened meanwhile: be brief."""
        return self._catalogue.moment()

    def counts(self) -> dict[str, int]:
        return {"branches": 0, "passed": 0, **self._catalogue.totals()}

    @property
    def finished(self) -> bool:
        return self._catalogue.summary() is not None

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
        return [part for block in self._catalogue.blocks() for part in block.parts if part.table == ROWS]

    def read_rows(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a committed part, or some of their columns. Raises `CorruptPartError`."""
        return self._read(part, columns)

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
        """How many different position paths the rows have; a branch that stopped early has none.

        They are dealt into files by their first byte and counted file by file: memory does not grow with the run.
        """
        try:
            return self._distinct_paths()
        except OSError as error:
            raise refused(self.path, "keep paths in temporary files", error) from error

    def _distinct_paths(self) -> int:
        with ExitStack() as held:
            hands = [held.enter_context(TemporaryFile(dir=self.path)) for _ in range(_HANDS)]
            for table in self.scan(["path"]):
                there = table["path"].combine_chunks().drop_null()
                paths = np.frombuffer(fixed_bytes(there), np.uint8).reshape(-1, _PATH_BYTES)
                order = np.argsort(paths[:, 0] % _HANDS, kind="stable")
                ends = np.searchsorted(paths[order, 0] % _HANDS, np.arange(_HANDS), side="right")
                for hand, own in zip(hands, np.split(order, ends[:-1]), strict=True):
                    hand.write(paths[own].tobytes())
            return sum(_n_distinct(hand) for hand in hands)

    def verify(self) -> list[Damage]:
        """A catalogue that cannot be believed is all there is to say."""
        try:
            found = [Damage(str(self._catalogue.path), text, REMEDY) for text in self._catalogue.damage()]
            blocks = self._catalogue.blocks()
        except CorruptPartError as error:
            return [Damage(error.path, error.what, error.remedy)]
        return [*found, *self._damaged_beside(), *(damage for block in blocks for damage in self._damaged_in(block))]

    def _damaged_beside(self) -> Iterator[Damage]:
        """What is wrong with the files beside the rows."""
        for read in (lambda: self.spec, lambda: self.job if self._catalogue.files() else None):
            try:
                read()
            except CorruptPartError as error:
                yield Damage(error.path, error.what, error.remedy)

    def _damaged_in(self, block: Receipt) -> Iterator[Damage]:
        """What is wrong with the files of a block: bytes, checksums of pages, values, branch numbers."""
        for part in block.parts:
            try:
                self._check(block, part, self._read(part, None))
            except CorruptPartError as error:
                yield Damage(error.path, error.what, error.remedy, (block.lo, block.hi))
            except (DiskError, ReplacedError):
                raise  # they tell nothing of the file
            except StoreError as error:
                yield Damage(str(self._catalogue.path), str(error), REMEDY, (block.lo, block.hi))

    def _check(self, block: Receipt, part: Part, table: pa.Table) -> None:
        if (found := content_hash(table)) != part.content:
            raise damaged_part(self.path, part, f"content {found}, committed {part.content}")
        if part.table == ROWS and len(table):
            branches = table["branch"].to_numpy()
            if not block.lo <= (first := branches.min()) <= (last := branches.max()) < block.hi:
                raise damaged_part(self.path, part, f"branches {first} to {last}")

    def _end(self, lo: int) -> int:
        return min(lo + self.block_size, self.size)

    def _rows_of(self, branches: Iterable[int]) -> list[pa.Table]:
        """The rows of some branches; every part is read once."""
        wanted: dict[int, list[int]] = {}
        for branch in branches:
            wanted.setdefault(branch - branch % self.block_size, []).append(branch)
        found = []
        for lo, numbers in wanted.items():
            block = self._catalogue.block(lo)
            for part in block.parts if block else ():
                if part.table == ROWS:
                    found.append(self._read(part, None).filter(pc.field("branch").isin(numbers)))
        return found

    def _blank(self) -> pa.Table:
        """The columns of the rows without any row."""
        parts = self.parts()[:1]
        return self._read(parts[0], None).slice(0, 0) if parts else pa.table({})

    def _read(self, part: Part, columns: Sequence[str] | None) -> pa.Table:
        try:
            table = read_part(self.path, part, None if columns is None else list(columns))
        except CorruptPartError as error:
            block = self._catalogue.block(block_of(part.path)[0])
            if block is None or part not in block.parts:
                raise ReplacedError(f"{self.path}: was computed anew while it was read; read it again") from error
            raise
        if columns is not None and len(table.column_names) != len(columns):
            absent = [name for name in columns if name not in table.column_names]
            raise InputError([unknown(str(self.path), "column", name, self.columns) for name in absent])
        return table


def _left_over(path: Path) -> str:
    """What to do about a folder that has rows, but no catalogue that tells which."""
    return f"; there are rows, but {CATALOGUE} is what tells which count: {REMEDY}" if any(path.glob("rows/*")) else ""


def _n_distinct(paths: IO[bytes]) -> int:
    """How many different ones of its paths a file has."""
    paths.seek(0)
    data = paths.read()
    n = len(data) // _PATH_BYTES
    return len(pa.FixedSizeBinaryArray.from_buffers(pa.binary(_PATH_BYTES), n, [None, pa.py_buffer(data)]).unique())


def _filtered(frame: pl.DataFrame, predicate: Predicate | None) -> pl.DataFrame:
    import polars as pl

    if predicate is None:
        return frame
    try:
        return frame.filter(predicate({name: pl.col(name) for name in predicate.names}))
    except pl.exceptions.PolarsError as error:
        raise InputError([Problem("where", str(error).partition("\n")[0])]) from error
