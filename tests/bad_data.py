"""Files, frames and column mappings that cannot be a source of market data, and what their errors must hold."""

from __future__ import annotations

import gzip
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

DAYS = [date(2020, 1, 1) + timedelta(days=k) for k in range(6)]
HEAD = "Ticker,Date,Close\n"
ROW = "AAA,2020-01-01,1\n"
ONE: dict[str, Any] = {"Ticker": ["AAA"], "Date": DAYS[:1], "Close": [1.0]}
ISO = "allowed: YYYY-MM-DD"
NUMBER = "allowed: a number such as 1234.5"


class DataFile(NamedTuple):
    """A file that cannot be a source, what it holds (text, bytes or columns) and what the message must hold."""

    name: str
    file: str
    content: str | bytes | dict[str, Any]
    fragments: tuple[str, ...]


DATA_FILES = [
    DataFile("empty", "x.csv", "", ("x.csv: not a readable CSV file", "Empty CSV file")),
    DataFile("only line ends", "x.csv", "\n\n\n", ("x.csv: not a readable CSV file", "Empty CSV file")),
    DataFile("first line empty", "x.csv", "\n" + HEAD + ROW, ("x.csv: not a readable CSV file", "Empty CSV file")),
    DataFile("header only", "x.csv", HEAD, ("ticker AAA: AAA is not in", "x.csv", "there: nothing")),
    DataFile("rows of another ticker", "x.csv", HEAD + "aaa,2020-01-01,1\n", ("ticker AAA", "did you mean 'aaa'")),
    DataFile("semicolons", "x.csv", "Ticker;Date;Close\nAAA;2020-01-01;1\n", ("line 1", "by ';'", "allowed: commas")),
    DataFile("tabs", "x.csv", "Ticker\tDate\tClose\n", ("x.csv: line 1", "'\\t'", "allowed: commas")),
    DataFile("UTF-16", "x.csv", (HEAD + ROW).encode("utf-16"), ("x.csv: holds NUL bytes", "allowed: UTF-8")),
    DataFile("NUL byte", "x.csv", HEAD + "AAA,2020-01-01,1\0\n", ("x.csv: holds NUL bytes", "allowed: UTF-8")),
    DataFile("Latin-1", "x.csv", (HEAD + ROW + "Ä,2020-01-01,1\n").encode("latin1"), ("line 3", "invalid UTF8")),
    DataFile("Latin-1 names", "x.csv", "Ticker,Größe\n".encode("latin1"), ("not a readable CSV file", "utf-8")),
    DataFile("carriage returns", "x.csv", (HEAD + ROW).replace("\n", "\r"), ("line 1", "carriage return alone")),
    DataFile("an HTML page", "x.csv", "<html>Too many requests</html>\n", ("no column Ticker", "<html>Too many")),
    DataFile("a zip", "x.csv", b"PK\3\4\0\0", ("x.csv: holds NUL bytes",)),
    DataFile("thousands", "x.csv", HEAD + 'AAA,2020-01-01,"1,234.5"\n', ("line 2: 'Close' is '1,234.5'", NUMBER)),
    DataFile("bare thousands", "x.csv", HEAD + "AAA,2020-01-01,1,234.5\n", ("line 2", "3 columns, got 4", "1,234.5")),
    DataFile("decimal comma", "x.csv", HEAD + 'AAA,2020-01-01,"12,5"\n', ("line 2: 'Close' is '12,5'", NUMBER)),
    DataFile("currency", "x.csv", HEAD + ROW + "AAA,2020-01-02,$12\n", ("line 3: 'Close' is '$12'", NUMBER)),
    DataFile("mixed", "x.csv", HEAD + ROW + "AAA,2020-01-02,n.a.\n", ("line 3: 'Close' is 'n.a.'", NUMBER)),
    DataFile("hexadecimal", "x.csv", HEAD + "AAA,2020-01-01,0x10\n", ("line 2: 'Close' is '0x10'", NUMBER)),
    DataFile("digits with _", "x.csv", HEAD + "AAA,2020-01-01,1_000\n", ("line 2: 'Close' is '1_000'", NUMBER)),
    DataFile("short row", "x.csv", HEAD + ROW + "AAA,2020-01-02\n", ("line 3", "Expected 3 columns, got 2")),
    DataFile(
        "short row below a gap", "x.csv", HEAD + "\n\n" + ROW + "\nAAA\n", ("line 6", "Expected 3 columns, got 1")
    ),
    DataFile("open quote", "x.csv", HEAD + 'AAA,2020-01-01,"1\n' + ROW, ("line 2", "several lines", "a row on each")),
    DataFile("day and month", "x.csv", HEAD + "AAA,01/02/2003,1\n", ("line 2: 'Date' is '01/02/2003'", "either", ISO)),
    DataFile("with points", "x.csv", HEAD + "AAA,1.2.2003,1\n", ("line 2: 'Date' is '1.2.2003'", "either", ISO)),
    DataFile("two digits", "x.csv", HEAD + "AAA,01-02-03,1\n", ("line 2: 'Date' is '01-02-03'", "either", ISO)),
    DataFile("month in letters", "x.csv", HEAD + "AAA,2-Jan-2003,1\n", ("line 2: 'Date' is '2-Jan-2003'", ISO)),
    DataFile("date without signs", "x.csv", HEAD + "AAA,20030102,1\n", ("line 2: 'Date' is '20030102'", ISO)),
    DataFile("seconds since 1970", "x.csv", HEAD + "AAA,1577836800,1\n", ("line 2: 'Date' is '1577836800'", ISO)),
    DataFile("February 30", "x.csv", HEAD + "AAA,2020-02-30,1\n", ("ticker AAA: Date", "'2020-02-30'", ISO)),
    DataFile("year 0", "x.csv", HEAD + "AAA,0000-01-01,1\n", ("ticker AAA", "row 0", "allowed: 0001-01-01")),
    DataFile("no date", "x.csv", HEAD + ROW + "AAA,,1\n", ("line 3: 'Date' is ''", ISO)),
    DataFile("no ticker", "x.csv", HEAD + ROW + ",2020-01-02,1\n", ("x.csv: 1 rows without a ticker", "one in each")),
    DataFile("two bars of a day", "x.csv", HEAD + ROW + "AAA,2020-01-01 16:00,2\n", ("2020-01-01 appears", "clean")),
    DataFile("unsorted", "x.csv", HEAD + "AAA,2020-01-02,1\n" + ROW, ("2020-01-01 follows 2020-01-02", 'clean "sort"')),
    DataFile("null", "x.csv", HEAD + "AAA,2020-01-01,null\n", ("ticker AAA: Close is nan on 2020-01-01", "clean")),
    DataFile("infinite", "x.csv", HEAD + "AAA,2020-01-01,inf\n", ("ticker AAA: Close is inf on 2020-01-01", "clean")),
    DataFile(
        "column twice", "x.csv", "Ticker,Date,Close,Close\n", ("x.csv: more than one column Close", "one of each")
    ),
    DataFile(
        "small letters", "x.csv", "ticker,date,close\n", ("no column Ticker and no column Date", '"Close": "close"')
    ),
    DataFile("symbol", "x.csv", "Symbol,Date,Close\n", ("no column Ticker", 'map it: "columns": {"Ticker": "Symbol"}')),
    DataFile("blanks", "x.csv", "Ticker,Date, Close\n", ("no column Close", 'map it: "columns": {"Close": " Close"}')),
    DataFile(
        "another adjusted close",
        "x.csv",
        "Ticker,Date,Close,adjClose\nAAA,2020-01-01,1,1\n",
        ("no column Adj Close", '"adjClose"'),
    ),
    DataFile("no Ticker", "x.csv", "Date,Close\n2020-01-01,1\n", ("no column Ticker", "folder as {TICKER}.parquet")),
    DataFile("endless line", "x.csv", HEAD + "A" * 9_000_000, ("x.csv: line 2", "longer than 4,194,304 bytes")),
    DataFile("endless header", "x.csv", "a," * 4_500_000, ("x.csv: line 1", "longer than 4,194,304 bytes")),
    DataFile("20,000 columns", "x.csv", ",".join(f"c{k}" for k in range(20_000)), ("c29 and 19,970 more",)),
    DataFile("plain text as gz", "x.csv.gz", HEAD + ROW, ("x.csv.gz: not a readable CSV file", "incorrect header")),
    DataFile(
        "cut gz", "x.csv.gz", gzip.compress((HEAD + ROW).encode())[:-6], ("x.csv.gz: not a readable", "Truncated")
    ),
    DataFile("gz of one line", "x.csv.gz", gzip.compress(b"A" * 90_000_000), ("line 1", "longer than 4,194,304 bytes")),
    DataFile("another ending", "x.xlsx", b"PK", ("data: ", "x.xlsx' ends with none of .parquet, .csv, .csv.gz")),
    DataFile(
        "tickers are numbers", "x.parquet", ONE | {"Ticker": [7]}, ("x.parquet: 'Ticker' is int64", "allowed: text")
    ),
    DataFile("tickers are bytes", "x.parquet", ONE | {"Ticker": [b"AAA"]}, ("'Ticker' is binary", "allowed: text")),
    DataFile("null ticker", "x.parquet", ONE | {"Ticker": pa.array([None], pa.string())}, ("1 rows without a ticker",)),
    DataFile("text as Close", "x.parquet", ONE | {"Close": ["1"]}, ("ticker AAA: Close is string", "allowed: numbers")),
    DataFile(
        "lists as Close", "x.parquet", ONE | {"Close": [[1.0]]}, ("ticker AAA: Close is list", "allowed: numbers")
    ),
    DataFile(
        "unclear date", "x.parquet", ONE | {"Date": ["3/4/2020"]}, ("AAA: Date: '3/4/2020' in row 0", "either", ISO)
    ),
    DataFile("AdjClose", "x.parquet", ONE | {"AdjClose": [1.0]}, ("no column Adj Close", 'map it: "columns"')),
    DataFile("no Parquet", "x.parquet", HEAD + ROW, ("x.parquet: not a readable Parquet file", "magic bytes")),
]


FRAME = pl.DataFrame(ONE)
FRAMES: list[tuple[str, Any, tuple[str, ...]]] = [
    ("nothing", None, ("data: expected a frame, got NoneType", "allowed: pandas, Polars and Arrow tables")),
    ("a list", [1], ("data: expected a frame, got list", "mapping ticker -> table")),
    ("a lazy frame", FRAME.lazy(), ("data: expected a frame, got LazyFrame",)),
    ("the class of a frame", pl.DataFrame, ("data: expected a frame, got type",)),
    ("a column", FRAME["Close"], ("data: Series is no frame", "non-struct type double")),
    ("a mapping of lists", {"AAA": [1.0]}, ("data[AAA]: expected a ticker with its frame", "with list")),
    ("a number as ticker", {"AAA": FRAME, 7: FRAME}, ("data: expected a ticker with its frame, got 7 with DataFrame",)),
    ("no frames", {}, ("ticker AAA: AAA is not in the frames of nothing",)),
    ("no columns", pl.DataFrame(), ("data: no column Ticker", "there: nothing")),
    ("no rows", FRAME[:0], ("ticker AAA: AAA is not in the frame of 0 rows",)),
    ("no Ticker", FRAME.drop("Ticker"), ("data: no column Ticker", "mapping ticker -> frame")),
    ("text as Close", FRAME.with_columns(Close=pl.lit("1")), ("ticker AAA: Close is string", "allowed: numbers")),
    ("booleans", FRAME.with_columns(Close=True), ("ticker AAA: Close is bool", "allowed: numbers")),
    ("near miss", FRAME.with_columns(adj_close=1.0), ("data: no column Adj Close", '"adj_close"')),
    ("a mapping without Close", {"AAA": FRAME.drop("Close")}, ("data[AAA]: no column Close; there: Ticker, Date",)),
    ("mixed types", pd.DataFrame({"Close": [1.0, "x"]}), ("data: DataFrame is no frame", "tried to convert to double")),
    ("twice Close", pd.DataFrame([[1, 2]], columns=["Close", "Close"]), ("DataFrame is no frame", "Duplicate column")),
    (
        "wide",
        pd.DataFrame([[1.0]], pd.DatetimeIndex(["2020-01-01"]), pd.MultiIndex.from_tuples([("Close", "AAA")])),
        ("data: no column Ticker and no column Close", "('Close', 'AAA')"),
    ),
    (
        "no day",
        {"AAA": pd.DataFrame({"Close": [1.0]}, pd.DatetimeIndex([pd.NaT]))},
        ("ticker AAA: 1 rows without a date, first row 0",),
    ),
    (
        "months as dates",
        {"AAA": pd.DataFrame({"Close": [1.0]}, pd.PeriodIndex(["2020-01"], freq="M"))},
        ("data[AAA]: no column Date",),
    ),
]


MAPPINGS: list[tuple[object, tuple[str, ...]]] = [
    (5, ('data.columns: expected an object such as {"Close": "px_last"}', "5")),
    (["Close"], ("data.columns: expected an object", "['Close']")),
    ({"close": "v"}, ("data.columns.close: unknown column 'close'", "did you mean 'Close'", "Adj Close, Volume")),
    ({"Close": 5}, ("data.columns.Close: expected the name of a column", "5")),
    ({"Close": ""}, ("data.columns.Close: expected the name of a column", "''")),
    ({"Close": None}, ("data.columns.Close: expected the name of a column", "None")),
    ({"Close": "v", "Volume": "v"}, ("data.columns: 'v' is Close and Volume at once", "a column of its own")),
    ({"Adj Close": "Close"}, ("data: 'Close' is Close and Adj Close at once", "a column of its own")),
    ({"Close": "u"}, ("data: no column 'u', which data.columns.Close names", "there: Ticker, Date, Close, v")),
    ({"Volume": "V"}, ("data: no column 'V', which data.columns.Volume names", "did you mean 'v'")),
]


def write_data_file(row: DataFile, folder: Path) -> str:
    """Put a file of the table into a folder; returns its path."""
    file = folder / row.file
    if isinstance(row.content, dict):
        pq.write_table(pa.table(row.content), file)
    else:
        file.write_bytes(row.content.encode() if isinstance(row.content, str) else row.content)
    return str(file)
