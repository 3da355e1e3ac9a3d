"""Market data as Parquet, as it should be and as it should not: types, nulls, order, duplicates, extremes, damage."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import reject
from hypothesis import strategies as st

from forge_ray.data import CLEAN_POLICIES

Draw = Callable[[st.SearchStrategy[Any]], Any]

MAX_ROWS = 30
MAX_MUTATIONS = 4
PRICES = ("Open", "High", "Low", "Close", "Adj Close")
FOOTER_END = 8  # the length of the footer and the magic number


class Bars(NamedTuple):
    """A table, how it is written, what is asked of it, and the Parquet file."""

    table: pa.Table
    writing: dict[str, Any]
    request: dict[str, Any]
    file: bytes

    def as_read(self, name: str) -> pa.ChunkedArray:
        """A column as the file has it: Parquet itself knows UTC only, other zones are in the schema that Arrow adds."""
        column = self.table[name]
        if not pa.types.is_timestamp(column.type):
            return column
        zone = "UTC" if column.type.tz and not self.writing["store_schema"] else column.type.tz
        if column.type.unit != "ns":
            return column.cast(pa.timestamp(column.type.unit, zone))
        micros = [None if value is None else value // 1_000 for value in column.cast(pa.int64()).to_pylist()]
        return pa.chunked_array([pa.array(micros, pa.int64())]).cast(pa.timestamp("us", zone))  # Python has no ns


# ---------------------------------------------------------------- tables

ZONES = (None, "UTC", "America/New_York", "Asia/Tokyo", "+05:30", "-03:00", "Mars/Olympus")
DATE_TYPES = (
    pa.date32(), pa.date64(), pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.int32(),
    pa.int64(), pa.float64(), pa.binary(), pa.time64("us"), pa.duration("us"), pa.bool_(), pa.null(),
    pa.list_(pa.date32()), pa.struct([("day", pa.date32())]), pa.string_view(),
    *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in ZONES),
)  # fmt: skip
NUMBER_TYPES = (
    pa.float64(), pa.float32(), pa.float16(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64(),
    pa.decimal128(38, 6), pa.decimal256(60, 10), pa.decimal128(10, 3), pa.string(), pa.large_string(), pa.bool_(),
    pa.null(), pa.binary(), pa.dictionary(pa.int32(), pa.float64()), pa.dictionary(pa.int8(), pa.string()),
    pa.list_(pa.float64()), pa.struct([("x", pa.float64())]), pa.date32(), pa.timestamp("us"),
)  # fmt: skip
ODD_NUMBERS = (
    None, math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 5e-324, 1e-300, 1e300, 1.7976931348623157e308, 2.0**53 + 2,
    1e-10, 1e15,
)  # fmt: skip
ODD_DAYS = (
    None, date.min, date.max, date(1969, 12, 31), date(1970, 1, 1), date(1600, 2, 29), date(2262, 4, 12),
    date(2020, 2, 29), date(1677, 9, 20),
)  # fmt: skip
ODD_RAW = (-(2**63), 2**63 - 1, -(2**31), 2**31 - 1, 2**32 * 86_400_000, -1, 86_399_999_999, 10**15)
NAMES = (
    "Date", "Close", "Adj Close", "Open", "Volume", "date", "close", "Adj_Close", "adj close", "AdjClose", "Adj Close ",
    "Adj Close.x", "", ".", "Öl", "Date.Close",
)  # fmt: skip
WRITING = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "zstd", "gzip", "lz4"]),
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "write_page_checksum": st.booleans(),
        "write_statistics": st.booleans(),
        "store_schema": st.booleans(),
        "data_page_size": st.sampled_from([None, 16]),
    }
)


@st.composite
def bars(draw: Draw, most: int = MAX_MUTATIONS, ways: st.SearchStrategy[dict[str, Any]] = WRITING) -> Bars:
    """Good bars with up to `most` mistakes, written in one of many ways."""
    columns, types = good_columns(draw(st.integers(0, 2**32)), draw(st.integers(1, MAX_ROWS)))
    for _ in range(draw(st.integers(0, most))):
        draw(st.sampled_from(MUTATIONS))(draw, columns, types)
    names = [name for name, _ in columns]
    arrays = [as_array(values, kind) for (_, values), kind in zip(columns, types, strict=True)]
    if most and arrays and draw(st.integers(0, 9)) == 0:
        k = draw(st.integers(0, len(arrays) - 1))
        arrays[k] = with_raw_value(draw, arrays[k])
    table, writing = pa.Table.from_arrays(arrays, names), draw(ways)
    try:
        file = written(table, draw(st.sampled_from([0, 1, 7, 1_000])), writing)
    except pa.ArrowInvalid:  # there are times that Parquet cannot hold
        reject()
    return Bars(table, writing, draw(requests(names)), file)


def written(table: pa.Table, row_group: int, writing: dict[str, Any]) -> bytes:
    """A Parquet file; with `row_group` 0 there is an empty row group behind each of two."""
    out = io.BytesIO()
    with pq.ParquetWriter(out, table.schema, **writing) as writer:
        size = row_group or max(1, len(table) // 2)
        for first in range(0, len(table), size):
            writer.write_table(table.slice(first, size))
            if not row_group:
                writer.write_table(table.slice(0, 0))
    return out.getvalue()


def good_columns(number: int, n: int) -> tuple[list[tuple[str, list[Any]]], list[pa.DataType]]:
    """Columns of n ascending days and their types."""
    rng = random.Random(number)
    day = date(2000, 1, 1) + timedelta(days=rng.randrange(6_000))
    days = [day := day + timedelta(days=rng.choice((1, 1, 1, 3))) for _ in range(n)]
    names = ["Close", *(name for name in ("Adj Close", "Open", "High", "Low") if rng.random() < 0.5)]
    columns: list[tuple[str, list[Any]]] = [("Date", days)]
    columns += [(name, [round(rng.uniform(5, 500), 3) for _ in days]) for name in names]
    if rng.random() < 0.5:
        columns.append(("Volume", [float(rng.randrange(10**6)) for _ in days]))
    rng.shuffle(columns)
    return columns, [pa.date32() if name == "Date" else pa.float64() for name, _ in columns]


@st.composite
def requests(draw: Draw, names: Sequence[str]) -> dict[str, Any]:
    fields = ["close", *(field for field in ("open", "high", "low", "volume") if field.capitalize() in names)]
    days = st.none() | st.none() | st.dates(date(1999, 1, 1), date(2017, 1, 1))
    return {
        "fields": fields if draw(st.booleans()) else ["close"],
        "clean": draw(st.lists(st.sampled_from(CLEAN_POLICIES), max_size=3)),
        "start": draw(days),
        "end": draw(days),
    }


def as_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """The values as an array of a type, by way of their own type; what does not fit is null."""
    if pa.types.is_timestamp(kind):
        return pa.array(map(as_moment, values), pa.timestamp("us")).cast(kind, safe=False)
    return pa.array([converted(value, kind) for value in values], kind)


def as_moment(value: Any) -> datetime | None:
    return datetime(value.year, value.month, value.day) if isinstance(value, date) else None


def converted(value: Any, kind: pa.DataType) -> Any:
    """What stands for a date or a number in a column of another type."""
    if value is None or pa.types.is_null(kind):
        return None
    if pa.types.is_list(kind):
        return [converted(value, kind.value_type)]
    if pa.types.is_struct(kind):
        return {kind.field(0).name: converted(value, kind.field(0).type)}
    if pa.types.is_dictionary(kind):
        return converted(value, kind.value_type)
    if pa.types.is_date(kind):
        return value if isinstance(value, date) else None
    if pa.types.is_boolean(kind):
        return bool(value)
    if pa.types.is_binary(kind):
        return str(value).encode()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        return str(value)
    return fitting(value, kind)


def fitting(value: Any, kind: pa.DataType) -> Any:
    number = float((value - date(1970, 1, 1)).days if isinstance(value, date) else value)
    try:
        if pa.types.is_decimal(kind):
            number = round(Decimal(number), kind.scale)
        elif not pa.types.is_floating(kind):
            number = int(number)
        return pa.scalar(number, kind).as_py()
    except (pa.ArrowInvalid, ArithmeticError, ValueError):
        return None


# ---------------------------------------------------------------- mistakes

Columns = list[tuple[str, list[Any]]]


def change_value(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    name, values = draw(st.sampled_from(columns)) if columns else ("", [])
    if values:
        k = draw(st.integers(0, len(values) - 1))
        values[k] = draw(st.sampled_from(ODD_DAYS) | st.dates() if name == "Date" else st.sampled_from(ODD_NUMBERS))


def change_type(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    if columns:
        k = draw(st.integers(0, len(columns) - 1))
        types[k] = draw(st.sampled_from(DATE_TYPES if columns[k][0] == "Date" else NUMBER_TYPES))


def swap_rows(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    on_rows(columns, lambda values, i, j: swapped(values, i, j), draw)


def repeat_row(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    on_rows(columns, lambda values, i, j: [*values[:j], values[i], *values[j:]], draw)


def keep_rows(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    on_rows(columns, lambda values, i, j: values[i:j], draw)


def reverse_rows(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    on_rows(columns, lambda values, i, j: values[::-1], draw)


def on_rows(columns: Columns, change: Callable[[list[Any], int, int], list[Any]], draw: Draw) -> None:
    n = len(columns[0][1]) if columns else 0
    if n:
        i, j = draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
        columns[:] = [(name, change(values, i, j)) for name, values in columns]


def swapped(values: list[Any], i: int, j: int) -> list[Any]:
    values = [*values]
    values[i], values[j] = values[j], values[i]
    return values


def rename_column(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    if columns:
        k = draw(st.integers(0, len(columns) - 1))
        columns[k] = (draw(st.sampled_from(NAMES)), columns[k][1])


def drop_column(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    if columns:
        k = draw(st.integers(0, len(columns) - 1))
        del columns[k], types[k]


def double_column(draw: Draw, columns: Columns, types: list[pa.DataType]) -> None:
    if columns:
        k = draw(st.integers(0, len(columns) - 1))
        columns.append((draw(st.sampled_from([*NAMES, columns[k][0]])), [*columns[k][1]]))
        types.append(types[k])


MUTATIONS = (
    change_value, change_value, change_type, change_type, swap_rows, repeat_row, keep_rows, reverse_rows, rename_column,
    drop_column, double_column,
)  # fmt: skip


def with_raw_value(draw: Draw, array: pa.Array) -> pa.Array:
    """An array of 4 or 8 bytes per value with one of them set to any bits."""
    width = array.type.bit_width if pa.types.is_primitive(array.type) else 0
    if width not in (32, 64) or array.null_count or not len(array):
        return array
    values = array.view(pa.int32() if width == 32 else pa.int64()).to_pylist()
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    drawn = draw(st.sampled_from(ODD_RAW) | st.integers(low, high))
    values[draw(st.integers(0, len(values) - 1))] = max(low, min(high, drawn))
    return pa.array(values, pa.int32() if width == 32 else pa.int64()).view(array.type)


# ---------------------------------------------------------------- damage


class Damaged(NamedTuple):
    """A file and what became of it."""

    bars: Bars
    data: bytes


@st.composite
def damaged_pages(draw: Draw) -> Damaged:
    """Good bars in a file with page checksums, of which bytes before the footer are changed.

    The file has statistics: without them nothing contradicts a header that shifts the values of its page.
    """
    good = draw(bars(0, WRITING.map(lambda writing: writing | {"write_page_checksum": True, "write_statistics": True})))
    data = bytearray(good.file)
    end = len(data) - FOOTER_END - int.from_bytes(data[-FOOTER_END:-4], "little")
    for _ in range(draw(st.integers(1, 3))):
        flip(draw, data, end)
    return Damaged(good, bytes(data))


@st.composite
def damaged_files(draw: Draw) -> Damaged:
    """Bars of which any bytes are changed, taken out, put in or doubled."""
    some = draw(bars(1))
    data = bytearray(some.file)
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(data) - 1)), draw(st.integers(1, 16))
        match draw(st.sampled_from(["flip", "flip", "flip", "cut", "delete", "insert", "double"])):
            case "flip":
                flip(draw, data, len(data))
            case "cut":
                del data[at:]
            case "delete":
                del data[at : at + length]
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case "double":
                data[at:at] = data[at : at + length]
        if not data:
            break
    return Damaged(some, bytes(data))


def flip(draw: Draw, data: bytearray, end: int) -> None:
    at = draw(st.integers(0, end - 1))
    data[at] = data[at] ^ 1 << draw(st.integers(0, 7)) if draw(st.booleans()) else draw(st.integers(0, 255))
