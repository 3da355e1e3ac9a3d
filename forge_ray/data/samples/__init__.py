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
    columns = pq.read_schema(sample_file(name)).names
    if "Ticker" not in columns:
        return tuple(column for column in columns if column != "Date")
    tickers = pq.read_table(sample_file(name), columns=["Ticker"])["Ticker"].cast(pa.string())
    return tuple(sorted(tickers.unique().to_pylist()))


def sample_file(name: str) -> Path:
    """The file of a sample. Raises `DataError` for an unknown name."""
    if name not in SAMPLES:
        raise DataError([unknown("data", "sample", name, SAMPLES)])
    return Path(__file__).parent / SAMPLES[name]
