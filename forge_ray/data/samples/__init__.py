"""Embedded market data, so that the first run needs no download. `NOTICE.md` names sources and licences.

A sample is one Parquet file: closes with a column per ticker (us20), or rows of Ticker, Date, Open, High, Low, Close,
Adj Close, Volume.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forge_ray.errors import DataError, unknown

SAMPLES = {"us20": "us20.parquet", "us_ohlcv": "us_ohlcv.parquet", "synthetic": "synthetic.parquet"}


def sample_tickers(name: str) -> tuple[str, ...]:
    """Tickers of a sample. Raises `DataError` for an unknown name."""
    columns = pq.read_schema(_file(name)).names
    if "Ticker" not in columns:
        return tuple(column for column in columns if column != "Date")
    tickers = pq.read_table(_file(name), columns=["Ticker"])["Ticker"].cast(pa.string())
    return tuple(sorted(tickers.unique().to_pylist()))


def sample_table(name: str, ticker: str) -> pa.Table:
    """The bars of one ticker of a sample, columns as in a ticker's own file."""
    if "Ticker" in pq.read_schema(_file(name)).names:
        return pq.read_table(_file(name), filters=[("Ticker", "=", ticker)]).drop_columns(["Ticker"])
    return pq.read_table(_file(name), columns=["Date", ticker]).rename_columns(["Date", "Close"])


def _file(name: str) -> Path:
    if name not in SAMPLES:
        raise DataError([unknown("data", "sample", name, SAMPLES)])
    return Path(__file__).parent / SAMPLES[name]
