"""Makes us_ohlcv.parquet: daily bars of the S&P 500 (SPX), the Nasdaq Composite (IXIC), AAPL, GOOG, IBM and MSFT.

Raw prices beside adjusted closes, splits and different starts, from the arch and bokeh-sampledata wheels.

pip download --no-deps arch==8.0.0 bokeh-sampledata==2026.1
python -m forge_ray.data.samples.make_us_ohlcv arch-8.0.0-….whl bokeh_sampledata-2026.1-….whl
"""

from __future__ import annotations

import gzip
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

COLUMNS = ("Ticker", "Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
INDICES = {"SPX": "arch/data/sp500/sp500.csv.gz", "IXIC": "arch/data/nasdaq/nasdaq.csv.gz"}
STOCKS = ("AAPL", "GOOG", "IBM", "MSFT")


def read(wheel: str, name: str) -> pa.Table:
    with zipfile.ZipFile(wheel) as archive:
        data = gzip.decompress(archive.read(name))
    options = csv.ConvertOptions(timestamp_parsers=["%m/%d/%Y", "%Y-%m-%d"])
    return csv.read_csv(BytesIO(data), convert_options=options)


def index_bars(wheel: str, ticker: str) -> pa.Table:
    table = read(wheel, INDICES[ticker])
    return table.append_column("Ticker", pa.array([ticker] * len(table)))


def main(arch: str, bokeh: str) -> None:
    stocks = read(bokeh, "bokeh_sampledata/_data/stocks.csv.gz")
    stocks = stocks.filter(pc.field("Ticker").isin(list(STOCKS)))
    tables = [stocks, *(index_bars(arch, ticker) for ticker in INDICES)]
    types = {"Ticker": pa.string(), "Date": pa.date32(), "Volume": pa.int64()}
    schema = pa.schema([(column, types.get(column, pa.float64())) for column in COLUMNS])
    bars = pa.concat_tables([table.select(COLUMNS).cast(schema) for table in tables])
    bars = bars.sort_by([("Ticker", "ascending"), ("Date", "ascending")])
    target = Path(__file__).parent / "us_ohlcv.parquet"
    pq.write_table(
        bars, target, compression="zstd", compression_level=19, use_dictionary=True, write_page_checksum=True
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
