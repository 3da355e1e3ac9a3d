"""Makes us20.parquet: 20 US stocks and the S&P 500 (as SPX), daily adjusted closes 1990-2022, from the skfolio wheel.

pip download --no-deps skfolio==1.12.2
python -m forge_ray.data.samples.make_us20 skfolio-1.12.2-py3-none-any.whl
"""

from __future__ import annotations

import gzip
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

FOLDER = "skfolio/datasets/data"


def read(wheel: zipfile.ZipFile, name: str) -> pa.Table:
    return csv.read_csv(BytesIO(gzip.decompress(wheel.read(f"{FOLDER}/{name}.csv.gz"))))


def main(path: str) -> None:
    with zipfile.ZipFile(path) as wheel:
        stocks, index = read(wheel, "sp500_dataset"), read(wheel, "sp500_index")
    if not stocks["Date"].equals(index["Date"]):
        raise SystemExit("the stocks and the index have different dates")
    table = stocks.append_column("SPX", index["SP500"])
    table = table.select(["Date", *sorted(name for name in table.column_names if name != "Date")])
    target = Path(__file__).parent / "us20.parquet"
    pq.write_table(
        table, target, compression="zstd", compression_level=19, use_dictionary=False, write_page_checksum=True
    )


if __name__ == "__main__":
    main(sys.argv[1])
