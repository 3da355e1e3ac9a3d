"""Embedded market data, so that the first run needs no download. `NOTICE.md` names sources and licences."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forge_ray.errors import DataError, unknown

SAMPLES = {"us20": "us20.parquet"}


def sample_tickers(name: str) -> tuple[str, ...]:
    """Tickers of a sample. Raises `DataError` for an unknown name."""
    return tuple(column for column in pq.read_schema(_file(name)).names if column != "Date")


def sample_table(name: str, ticker: str) -> pa.Table:
    """Date and Close of one ticker of a sample."""
    table = pq.read_table(_file(name), columns=["Date", ticker])
    return table.rename_columns(["Date", "Close"])


def _file(name: str) -> Path:
    if name not in SAMPLES:
        raise DataError([unknown("data", "sample", name, SAMPLES)])
    return Path(__file__).parent / SAMPLES[name]
