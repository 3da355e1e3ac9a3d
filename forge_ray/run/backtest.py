"""One tree in full: its metrics, and its returns, weights and trades bar by bar as Parquet and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from forge_ray.catalog import METRICS, SEGMENTS
from forge_ray.data import as_date
from forge_ray.engine import BoundPlan, BranchBars, Cache, branch_bars, evaluate
from forge_ray.errors import StoreError
from forge_ray.run.execution import BRANCH_CACHE_BYTES, prepare_branch
from forge_ray.sweep import Sweep

N_DAYS = 5


def backtest(sweep: Sweep, folder: str | Path) -> dict[str, Any]:
    """Evaluate the only branch of a sweep and write `returns`, `weights` and `trades` into a folder.

    Returns plain JSON values: metrics by segment, best and worst days, the files. Raises `InputError` for a sweep of
    several branches, `StoreError` if the folder cannot be written.
    """
    bound, cache = prepare_branch(sweep).bound, Cache(BRANCH_CACHE_BYTES)
    row, bars = evaluate(bound, 0, 1, cache).to_pylist()[0], branch_bars(bound, 0, cache)
    tables = {"returns": _returns(bars), "weights": _weights(bound, bars), "trades": _trades(bound, bars)}
    order = np.argsort(bars.net, kind="stable")
    return {
        "name": sweep.name,
        "metrics": {segment: {m.name: row[f"{segment}_{m.name}"] for m in METRICS} for segment in SEGMENTS},
        "best_days": [_day(bars, i) for i in order[: -N_DAYS - 1 : -1]],
        "worst_days": [_day(bars, i) for i in order[:N_DAYS]],
        "files": [str(file) for name, table in tables.items() for file in _write(Path(folder), name, table)],
    }


def _day(bars: BranchBars, i: int) -> dict[str, Any]:
    return {"date": as_date(bars.dates[i]).isoformat(), "net": float(bars.net[i])}


def _dates(bars: BranchBars) -> pa.Array:
    return pa.array(bars.dates.astype("datetime64[D]"))


def _returns(bars: BranchBars) -> pa.Table:
    """One row per return; the equity starts from 1 before the first."""
    columns = {"net": bars.net, "equity": bars.equity[1:], "drawdown": bars.drawdown[1:], "turnover": bars.turnover}
    return pa.table({"date": _dates(bars), **columns})


def _weights(bound: BoundPlan, bars: BranchBars) -> pa.Table:
    """Target weights in force over each return, a column per ticker that the tree can hold, and CASH."""
    held = {ticker: bars.weights[:, bound.panel.row(ticker)] for ticker in bound.plan.held}
    return pa.table({"date": _dates(bars), **held, "CASH": 1.0 - bars.weights.sum(axis=1)})


def _trades(bound: BoundPlan, bars: BranchBars) -> pa.Table:
    """Changes of target weights: ticker, weight before and after, dated with the first return that has the new one."""
    before = np.vstack([np.zeros((1, bars.weights.shape[1])), bars.weights[:-1]])
    bar, k = np.nonzero(before != bars.weights)
    return pa.table({
        "date": _dates(bars).take(pa.array(bar)),
        "ticker": pa.array([bound.panel.tickers[ticker] for ticker in k], pa.string()),
        "before": before[bar, k],
        "after": bars.weights[bar, k],
    })  # fmt: skip


def _write(folder: Path, name: str, table: pa.Table) -> tuple[Path, Path]:
    parquet, text = folder / f"{name}.parquet", folder / f"{name}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, parquet, compression="zstd", write_page_checksum=True)
        csv.write_csv(table, text)
    except OSError as error:
        raise StoreError(f"{folder}: cannot write {name}: {error.strerror or error}") from error
    return parquet, text
