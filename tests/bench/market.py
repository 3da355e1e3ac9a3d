"""A synthetic market of any size: a folder of Parquet files, the same for the same numbers, whatever made them when.

python tests/bench/market.py FOLDER [TICKERS=5000] [BARS=8000]

Every fourth ticker is listed late, within the first quarter of the dates; all trade to the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FIRST_DAY = np.datetime64("1992-01-01")


def make_market(folder: Path, n_tickers: int, n_bars: int) -> Path:
    """Write what is missing of the market; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    dates = np.busday_offset(FIRST_DAY, np.arange(n_bars), roll="forward")
    for k in range(n_tickers):
        file = folder / f"{ticker(k)}.parquet"
        if not file.exists():
            table = history(k, dates)
            pq.write_table(table, file, compression="none", use_dictionary=False, write_page_checksum=True)
    return folder


def ticker(k: int) -> str:
    return f"T{k:05}"


def history(k: int, dates: np.ndarray) -> pa.Table:
    rng = np.random.default_rng(k)
    close = 100 * np.exp(np.cumsum(0.0003 + 0.012 * rng.standard_normal(len(dates))))
    wiggle = 1 + 0.004 * rng.random((3, len(dates)))
    high, low = close * wiggle[0], close / wiggle[1]
    fields = {"Open": low * wiggle[2], "High": high, "Low": low, "Close": close, "Volume": 1e6 * wiggle[0]}
    first = int(rng.integers(len(dates) // 4)) if k % 4 == 3 else 0
    return pa.table({"Date": dates[first:], **{name: values[first:] for name, values in fields.items()}})


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[2:4]]
    make_market(Path(sys.argv[1]), *(numbers + [5_000, 8_000][len(numbers) :]))
