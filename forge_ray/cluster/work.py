"""What a worker does with one block: evaluate, encode, write once under its final name, hand back a receipt.

A worker of several threads evaluates as many parts of the block at once, with one cache. Where memory runs out it does
so in twice as many pieces, one after the other, with half the cache. The file is the same to the last bit.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from traceback import clear_frames
from types import TracebackType
from typing import Any

import pyarrow as pa

from forge_ray.cluster.logs import logged
from forge_ray.engine import BoundPlan, Cache, Tally, evaluate
from forge_ray.errors import BlockMemoryError, EvaluationError, ForgeRayError
from forge_ray.store import LOCK, Holder, OutcomeStore, Part, Receipt, encode_part, holder_of, write_part

log = logging.getLogger(__name__)

ROWS = "rows"
MAX_PIECES = 64
WATCH_SECONDS = 0.02
MOMENT_SECONDS = 0.2
"""How long an executor waits for a finished block before it lets its driver look up."""


@dataclass(frozen=True)
class Work:
    """One block to do. `attempt` makes the file's name unique; `run_dir` is where the store says.

    holder : of the lock there, by which a worker tells this folder from another of the same name. outcomes : the file
    of what paths came to in other runs, None where looking up would not pay. pieces : into which it is cut, with as
    small a part of the cache. lost : branches to leave out, with the status that their rows get. suspect : of a probe
    (see `suspects`), the first branch of the block that it is a part of. is_last : whether it is begun only when there
    is nothing else to begin.
    """

    lo: int
    hi: int
    attempt: str
    run_dir: str
    holder: Holder | None = None
    outcomes: str | None = None
    pieces: int = 1
    lost: tuple[tuple[int, str], ...] = ()
    suspect: int | None = None
    is_last: bool = False

    def __str__(self) -> str:
        return f"block [{self.lo}, {self.hi})"

    def cut(self, pieces: int) -> list[tuple[int, int]]:
        """Ranges of branches, as equal as can be, none empty."""
        n = self.hi - self.lo
        pieces = min(pieces, n)
        bounds = [self.lo + n * k // pieces for k in range(pieces + 1)]
        return list(pairwise(bounds))


@dataclass(frozen=True)
class Done:
    """A finished block. `payload` holds the encoded rows if the worker could not reach the run's folder. `records` is
    what another process logged until then."""

    receipt: Receipt
    payload: bytes | None = None
    records: tuple[logging.LogRecord, ...] = ()


class naming_block:  # noqa: N801 — reads as the statement it is
    """Inside, any error that is not ours becomes an `EvaluationError` that names the block; a `BlockMemoryError` if
    memory ran out."""

    def __init__(self, work: Work):
        self.work = work

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, ForgeRayError):
            where = "; ".join(getattr(error, "__notes__", []))
            text = f"{self.work}: {type(error).__name__}: {error}"
            named = EvaluationError
            if isinstance(error, MemoryError):
                clear_frames(trace)
                named = BlockMemoryError
            raise named(f"{text} ({where})" if where else text) from error


@logged
def do(work: Work, bound: BoundPlan, cache: Cache, threads: int = 1) -> Done:
    """Evaluate one block and write the rows that the run keeps."""
    began, tally = time.perf_counter(), Tally()
    with naming_block(work):
        table = _evaluated(work, bound, cache, tally, threads)
        with tally.stage("other"):
            counts = _counts(table)
            with tally.stage("encode"):
                part, payload = _write(work, table.filter(table["passed"]) if bound.keep == "passing" else table)
    seconds = time.perf_counter() - began
    return Done(Receipt(work.lo, work.hi, (part,), counts | tally.counts(), seconds, work.lost), payload)


def probe(work: Work, bound: BoundPlan, cache: Cache, memory: int | None = None, threads: int = 1) -> float:
    """Evaluate branches and keep nothing of it; seconds that it took. memory : bytes that it may take besides what this
    process has already; more ends the process."""
    began = time.perf_counter()
    with naming_block(work), nullcontext() if memory is None else _at_most(memory):
        _evaluated(work, bound, cache, Tally(), threads)
    return time.perf_counter() - began


def _evaluated(work: Work, bound: BoundPlan, cache: Cache, tally: Tally, threads: int) -> pa.Table:
    pieces = work.pieces
    while True:
        parts = work.cut(pieces * threads)
        tallies = [Tally() for _ in parts]
        try:
            return pa.concat_tables(_parts(threads, partial(_part, work, bound, cache.cut(pieces)), parts, tallies))
        except MemoryError as error:
            clear_frames(error.__traceback__)  # they hold what did not suffice
            if pieces >= min(MAX_PIECES, work.hi - work.lo):
                raise
            pieces *= 2
            log.warning("%s: memory ran out; once more in %d pieces", work, pieces)
        finally:
            for counted in tallies:
                tally.add(counted)


def _parts(threads: int, part: Callable[..., pa.Table], *values: Sequence[Any]) -> list[pa.Table]:
    """In order, so many at once; what they log is about the block too."""
    if threads == 1:
        return list(map(part, *values))
    with ThreadPoolExecutor(threads) as pool:
        begun = [pool.submit(copy_context().run, part, *each) for each in zip(*values, strict=True)]
        return [future.result() for future in begun]


def _part(work: Work, bound: BoundPlan, cache: Cache, ends: tuple[int, int], tally: Tally) -> pa.Table:
    """Rows of a part of a block. What is looked up is one thread's."""
    with tally.stage("other"), _outcomes(work) as outcomes:
        return evaluate(bound, *ends, cache, tally, outcomes, dict(work.lost))


@contextmanager
def _at_most(memory: int) -> Iterator[None]:
    """End this process if its own memory grows by more than that inside. What it only reserves is none: allocators take
    a GiB at once."""
    limit, ended = _own_bytes() + memory, threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            if _own_bytes() > limit:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _own_bytes() -> int:
    """Memory of this process that is no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def _outcomes(work: Work) -> AbstractContextManager[OutcomeStore | None]:
    """Only where the worker reaches the runs."""
    if work.outcomes is None or not _reaches(work):
        return nullcontext()
    return closing(OutcomeStore(Path(work.outcomes)))


def _reaches(work: Work) -> bool:
    """Whether the run's folder is here, and not one of a run on this node that has the same name."""
    run_dir = Path(work.run_dir)
    try:
        return (run_dir / ROWS).is_dir() and holder_of(run_dir / LOCK) == work.holder
    except OSError:
        return False


def _write(work: Work, rows: pa.Table) -> tuple[Part, bytes | None]:
    run_dir = Path(work.run_dir)
    if _reaches(work):
        return write_part(run_dir, ROWS, work.lo, work.hi, work.attempt, rows), None
    return encode_part(ROWS, work.lo, work.hi, work.attempt, rows)


def _counts(table: pa.Table) -> dict[str, int]:
    """Branches evaluated, by status, how many passed, and how many position paths there are."""
    by_status = {item["values"]: item["counts"] for item in table["status"].value_counts().to_pylist()}
    n_paths = len(table["path"].drop_null().unique())
    passed = int(table["passed"].to_numpy().sum())
    return {"branches": len(table), **by_status, "passed": passed, "distinct_in_block": n_paths}
