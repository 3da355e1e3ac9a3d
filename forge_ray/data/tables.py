"""Tables: Parquet files and tables in memory, read by column and by ticker. CSV files are in `csvtable`.

Whatever a table is made of, `read` gives the same: the wanted columns under our names, in the order of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from forge_ray.data.parquet import read_columns
from forge_ray.errors import DataError, Problem, shown, step

MAX_WORDS = 300
_PARQUET, _FRAME = "a readable Parquet file", "a readable frame"


class Tabular(Protocol):
    """A table somewhere. Every method raises `DataError`, with `place`, for what cannot be read."""

    @property
    def place(self) -> str: ...

    @property
    def file(self) -> Path | None:
        """The file that holds the table, if one does."""
        ...

    def names(self) -> list[str]:
        """Its columns, in order; a name may be there twice."""
        ...

    def count(self, column: str) -> Counter[str | None]:
        """How many rows each text of a column has; None counts those without one."""
        ...

    def read(self, columns: Mapping[str, str], tickers: Sequence[str] | None = None) -> pa.Table:
        """Columns by our names, given by theirs; all rows, or those of some tickers if Ticker is among the columns."""
        ...


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file. Page checksums, where the file has them, are verified."""

    file: Path

    @property
    def place(self) -> str:
        return str(self.file)

    def names(self) -> list[str]:
        with refusing(self.place, _PARQUET):
            return pq.read_schema(self.file).names

    def count(self, column: str) -> Counter[str | None]:
        counts: Counter[str | None] = Counter()
        with refusing(self.place, _PARQUET), pq.ParquetFile(self.file, page_checksum_verification=True) as file:
            for batch in file.iter_batches(columns=[column]):
                counts += count_texts(batch[column], column, self.place)
        return counts

    def read(self, columns: Mapping[str, str], tickers: Sequence[str] | None = None) -> pa.Table:
        names = list(columns.values())
        with refusing(self.place, _PARQUET):
            if tickers is None:
                return renamed(read_columns(self.file, names), columns)
            return renamed(_rows(self.file, names, columns["Ticker"], tickers), columns)


@dataclass(frozen=True)
class WideTable(ParquetTable):
    """One ticker of a Parquet file with a column of closes per ticker, as a table of Date and Close."""

    ticker: str
    source: str

    @property
    def place(self) -> str:
        return f"{self.source} {self.ticker}"

    def names(self) -> list[str]:
        return ["Date", "Close"]

    def read(self, columns: Mapping[str, str], tickers: Sequence[str] | None = None) -> pa.Table:
        theirs = {"Date": "Date", "Close": self.ticker}
        return super().read({ours: theirs[name] for ours, name in columns.items()}, tickers)


@dataclass(frozen=True)
class MemoryTable:
    """An Arrow table; `place` is what errors call it."""

    table: pa.Table = field(repr=False)
    place: str
    file: Path | None = None

    def names(self) -> list[str]:
        return list(self.table.column_names)

    def count(self, column: str) -> Counter[str | None]:
        with refusing(self.place, _FRAME):
            return count_texts(self.table[column], column, self.place)

    def read(self, columns: Mapping[str, str], tickers: Sequence[str] | None = None) -> pa.Table:
        with refusing(self.place, _FRAME):
            table = renamed(self.table, columns)
            if tickers is None:
                return table
            return table.filter(pa.array(codes(texts(table["Ticker"], columns["Ticker"], self.place), tickers) >= 0))


@contextmanager
def refusing(place: str, what: str) -> Iterator[None]:
    """Whatever Arrow or the system says against a table becomes a `DataError` that it is not `what`."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError([Problem(place, f"not {what}: {first_line(error)}")]) from error


def renamed(table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    """The columns of a table under our names, text of any type as strings."""
    found = {ours: table[name] for ours, name in columns.items()}
    return pa.table({ours: strings(column) if is_text(column.type) else column for ours, column in found.items()})


def count_texts(column: pa.Array | pa.ChunkedArray, name: str, place: str) -> Counter[str | None]:
    """How many rows each text has; None for null and for the empty text."""
    counts: Counter[str | None] = Counter()
    for item in texts(column, name, place).value_counts().to_pylist():
        counts[item["values"] or None] += item["counts"]
    return counts


def texts(column: pa.Array | pa.ChunkedArray, name: str, place: str) -> pa.ChunkedArray:
    """A column of any type of text as strings. Raises `DataError` for another type."""
    if not is_text(column.type):
        raise DataError([Problem(place, f"{shown(name)} is {column.type}; allowed: text")])
    return strings(column)


def strings(column: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """Text of any type as strings; Arrow cannot cast categories of views itself."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    plain = [
        pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.string()))
        if pa.types.is_dictionary(column.type)
        else chunk
        for chunk in chunks
    ]
    return pa.chunked_array([chunk.cast(pa.string()) for chunk in plain], pa.string())


def is_text(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are text, in categories or not."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def codes(column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """(n,) which of the names each string is, −1 where it is none of them."""
    place = {name: k for k, name in enumerate(names)}
    found = [np.zeros(0, np.int64)]
    for encoded in (chunk.dictionary_encode() for chunk in column.chunks):
        meaning = np.array([*(place.get(text, -1) for text in encoded.dictionary.to_pylist()), -1])
        found.append(meaning[encoded.indices.fill_null(len(meaning) - 1).to_numpy()])
    return np.concatenate(found)


def _rows(file: Path, names: list[str], column: str, tickers: Sequence[str]) -> pa.Table:
    """Rows of some tickers; row groups without any are not read."""
    import pyarrow.dataset as ds  # takes a while, and only long files need it

    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    form = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    dataset = ds.dataset(str(file), format=form, filesystem=LocalFileSystem())
    return dataset.to_table(columns=names, filter=pc.field(column).isin(list(tickers)))


def first_line(error: Exception) -> str:
    """What an error says, on one readable line; Arrow quotes the bytes that it meets."""
    return step(str(error).partition("\n")[0] or type(error).__name__, MAX_WORDS)
