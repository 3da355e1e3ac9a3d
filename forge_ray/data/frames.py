"""Frames: market data in memory, from pandas, Polars, Arrow or anything else with an Arrow stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from forge_ray.data.tables import MemoryTable, first_line
from forge_ray.errors import DataError, Problem, listed, shown

PLACE = "data"
ALLOWED = "pandas, Polars and Arrow tables, or a mapping ticker -> table"
_STREAMS = ("__arrow_c_stream__", "__arrow_c_array__")


@dataclass(frozen=True, eq=False)
class Frame:
    """Market data in memory: one long table with a column Ticker, or a table per ticker. Shares what it was made of."""

    tables: MemoryTable | Mapping[str, MemoryTable]

    def __str__(self) -> str:
        if isinstance(self.tables, MemoryTable):
            return f"the frame of {self.tables.table.num_rows:,} rows"
        return f"the frames of {listed(self.tables, 3)}"


def is_frame(value: object) -> bool:
    """Whether a value is market data in memory: a frame, or a mapping with at least one."""
    if isinstance(value, Mapping):
        return any(_is_table(item) for item in value.values())
    return isinstance(value, Frame) or _is_table(value)


def as_frame(value: Any) -> Frame:
    """A frame of a table, or of a mapping from tickers to tables; nothing is copied that Arrow can share.

    The dates of a pandas frame may be its index: an index of dates or timestamps, whatever its name, is the column Date
    if the frame has no column of that name. Raises `DataError` for columns that Arrow has no type for.
    """
    if isinstance(value, Frame):
        return value
    if not isinstance(value, Mapping):
        return Frame(_table(value, PLACE))
    problems, tables = [], {}
    for ticker, item in value.items():
        place = f"{PLACE}[{ticker}]" if isinstance(ticker, str) else PLACE
        if not isinstance(ticker, str) or not _is_table(item):
            text = f"expected a ticker with its frame, got {shown(ticker)} with {type(item).__name__}"
            problems.append(Problem(place, text))
            continue
        try:
            tables[ticker] = _table(item, place)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return Frame(tables)


def _is_table(value: object) -> bool:
    return any(hasattr(value, name) for name in _STREAMS) and not isinstance(value, type)


def _table(value: Any, place: str) -> MemoryTable:
    if not _is_table(value):
        raise DataError([Problem(place, f"expected a frame, got {type(value).__name__}; allowed: {ALLOWED}")])
    try:
        table = pa.table(value)
    except (pa.ArrowException, TypeError, ValueError) as error:
        text = f"{type(value).__name__} is no frame: {first_line(error)}; allowed: {ALLOWED}"
        raise DataError([Problem(place, text)]) from error
    return MemoryTable(_with_dates(table), place)


def _with_dates(table: pa.Table) -> pa.Table:
    """The table with its index of dates as Date, if it has one and no Date."""
    dates = [name for name in _index_columns(table) if _is_day(table.schema.field(name).type)]
    if "Date" in table.column_names or len(dates) != 1:
        return table
    return table.append_column("Date", table[dates[0]])


def _index_columns(table: pa.Table) -> list[str]:
    """The columns that were the index of a pandas frame."""
    try:
        index = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    except (ValueError, AttributeError):  # metadata of that name which pandas did not write
        return []
    return [name for name in index if isinstance(name, str) and table.column_names.count(name) == 1]


def _is_day(kind: pa.DataType) -> bool:
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind)
