"""What a worker does with one block: evaluate, encode, write once under its final name, hand back a receipt."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from forge_ray.engine import BoundPlan, Cache, Tally, evaluate
from forge_ray.errors import EvaluationError, ForgeRayError
from forge_ray.store import OutcomeStore, Part, Receipt, encode_part, write_part

ROWS = "rows"


@dataclass(frozen=True)
class Work:
    """One block to do. `attempt` makes the file's name unique; `run_dir` is where the store says.

    outcomes : the file of what paths came to in other runs, None where looking up would not pay.
    """

    lo: int
    hi: int
    attempt: str
    run_dir: str
    outcomes: str | None = None


@dataclass(frozen=True)
class Done:
    """A finished block. `payload` holds the encoded rows if the worker could not reach the run's folder."""

    receipt: Receipt
    payload: bytes | None = None


class naming_block:  # noqa: N801 — reads as the statement it is
    """Inside, any error that is not ours becomes an `EvaluationError` that names the block."""

    def __init__(self, work: Work):
        self.work = work

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, ForgeRayError):
            where = "; ".join(getattr(error, "__notes__", []))
            text = f"block [{self.work.lo}, {self.work.hi}): {type(error).__name__}: {error}"
            raise EvaluationError(f"{text} ({where})" if where else text) from error


def do(work: Work, bound: BoundPlan, cache: Cache) -> Done:
    """Evaluate one block and write the rows that the run keeps."""
    tally = Tally()
    with tally.stage("other"):
        with naming_block(work), _outcomes(work) as outcomes:
            table = evaluate(bound, work.lo, work.hi, cache, tally, outcomes)
        counts = _counts(table)
        with tally.stage("encode"):
            part, payload = _write(work, table.filter(table["passed"]) if bound.keep == "passing" else table)
    seconds = tally.us.total() / 1e6
    return Done(Receipt(work.lo, work.hi, (part,), counts | tally.counts(), seconds), payload)


def _outcomes(work: Work) -> AbstractContextManager[OutcomeStore | None]:
    """Only where the worker reaches the runs."""
    if work.outcomes is None or not (Path(work.run_dir) / ROWS).is_dir():
        return nullcontext()
    return closing(OutcomeStore(Path(work.outcomes)))


def _write(work: Work, rows: pa.Table) -> tuple[Part, bytes | None]:
    run_dir = Path(work.run_dir)
    if (run_dir / ROWS).is_dir():
        return write_part(run_dir, ROWS, work.lo, work.hi, work.attempt, rows), None
    return encode_part(ROWS, work.lo, work.hi, work.attempt, rows)


def _counts(table: pa.Table) -> dict[str, int]:
    """Branches evaluated, by status, and how many passed."""
    by_status = {item["values"]: item["counts"] for item in table["status"].value_counts().to_pylist()}
    return {"branches": len(table), **by_status, "passed": int(table["passed"].to_numpy().sum())}
