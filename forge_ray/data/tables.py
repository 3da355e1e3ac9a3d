"""Tables: Parquet files and tables in memory, read by column and by ticker. CSV files are in `csvtable`.

Whatever a table is made of, `read` gives the same: the wanted columns under our names, in the order of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from forge_ray.errors import DataError, Problem, shown


class Tabular(Protocol):
    """A table somewhere. Every method raises `DataError`, with `place`, for what cannot be read."""

    @property
    def place(self) -> str: ...

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
        with self._refusing():
            return pq.read_schema(self.file).names

    def count(self, column: str) -> Counter[str | None]:
        counts: Counter[str | None] = Counter()
        with self._refusing(), pq.ParquetFile(self.file, page_checksum_verification=True) as file:
            for batch in file.iter_batches(columns=[column]):
                counts += count_texts(batch[column], column, self.place)
        return counts

    def read(self, columns: Mapping[str, str], tickers: Sequence[str] | None = None) -> pa.Table:
        names = list(columns.values())
        with self._refusing():
            if tickers is None:
                with pq.ParquetFile(self.file, page_checksum_verification=True) as file:
                    return renamed(file.read(columns=names), columns)
            table = _dataset(self.file).to_table(columns=names, filter=pc.field(columns["Ticker"]).isin(list(tickers)))
        return renamed(table, columns)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            text = f"not a readable Parquet file: {first_line(error)}"
            raise DataError([Problem(self.place, text)]) from error


@dataclass(frozen=True)
class MemoryTable:
    """An Arrow table; `place` is what errors call it."""

    table: pa.Table
    place: str

    def names(self) -> list[str]:
        return list(self.table.column_names)

    def count(self, column: str) -> Counter[str | None]:
        return count_texts(self.table[column], column, self.place)

    def read(self, columns: Mapping[str, str], tickers: Sequence[str] | None = None) -> pa.Table:
        table = renamed(self.table, columns)
        if tickers is None:
            return table
        return table.filter(pa.array(codes(texts(table["Ticker"], columns["Ticker"], self.place), tickers) >= 0))


def renamed(table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    """The columns of a table under our names."""
    return table.select(list(columns.values())).rename_columns(list(columns))


def count_texts(column: pa.Array | pa.ChunkedArray, name: str, place: str) -> Counter[str | None]:
    """How many rows each text has; None for null and for the empty text."""
    counts: Counter[str | None] = Counter()
    for item in texts(column, name, place).value_counts().to_pylist():
        counts[item["values"] or None] += item["counts"]
    return counts


def texts(column: pa.Array | pa.ChunkedArray, name: str, place: str) -> pa.Array | pa.ChunkedArray:
    """A column of any type of text as strings."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not is_text(kind):
        raise DataError([Problem(place, f"{shown(name)} is {kind}; allowed: text")])
    return pc.cast(column, pa.string())


def codes(column: pa.Array | pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """(n,) which of the names each text is, −1 where it is none of them."""
    place = {name: k for k, name in enumerate(names)}
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found = [np.zeros(0, np.int64)]
    for encoded in (chunk.dictionary_encode() for chunk in chunks):
        meaning = np.array([*(place.get(text, -1) for text in encoded.dictionary.to_pylist()), -1])
        found.append(meaning[encoded.indices.fill_null(len(meaning) - 1).to_numpy()])
    return np.concatenate(found)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _dataset(file: Path) -> ds.Dataset:
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    form = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    return ds.dataset(str(file), format=form, filesystem=LocalFileSystem())


def first_line(error: Exception) -> str:
    """What an error says, on one line of a readable length."""
    text = str(error).partition("\n")[0]
    return text if len(text) <= 300 else text[:300] + "…"
