"""CSV files, read strictly and in bounded memory.

1. The first line holds the names; separators are commas, the text is UTF-8 (a byte order mark is skipped).
2. The rest is read in blocks that end at a line; within a block a row is a line, so that a stray quote swallows none.
3. Of each block only the wanted rows are kept; dates and tickers stay text, all else must be numbers.

Errors name the line of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from forge_ray.data.dates import bad_date
from forge_ray.data.tables import codes, count_texts, first_line, refusing
from forge_ray.errors import DataError, Problem, shown

BLOCK_BYTES = 4 * 2**20
TEXTS = ("Ticker", "Date")
NUMBER = "a number such as 1234.5"
_ROW = re.compile(r".*?Row #(\d+): (.*)")
_CSV = "a readable CSV file (UTF-8, a line of names)"
_ALONE = csv.ReadOptions(use_threads=False)
"""Without threads of Arrow: one that is left holding Python's memory when Python ends aborts the process."""
MISSING = ("", "null", "NULL", "Null", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "None")


@dataclass(frozen=True)
class CsvTable:
    """A CSV file, gzipped if its name ends with ``.gz``."""

    file: Path

    @property
    def place(self) -> str:
        return str(self.file)

    def names(self) -> list[str]:
        with refusing(self.place, _CSV):
            return self._names(next(self._blocks())[1])

    def count(self, column: str) -> Counter[str | None]:
        counts: Counter[str | None] = Counter()
        for _, table in self.rows([column]):
            counts += count_texts(table[column], column, self.place)
        return counts

    def read(self, columns: Mapping[str, str], tickers: Sequence[str] | None = None) -> pa.Table:
        kept = [pa.table({name: pa.array([], kind) for name, kind in _kinds(columns).items()})]
        for lines, table in self.rows(list(columns.values())):
            rows = np.arange(len(table))
            if tickers is not None:
                rows = np.flatnonzero(codes(table[columns["Ticker"]], tickers) >= 0)
                table = table.take(pa.array(rows))
            kept.append(self._typed(table, rows, columns, lines))
        return pa.concat_tables(kept)

    def _typed(self, table: pa.Table, rows: np.ndarray, columns: Mapping[str, str], lines: Lines) -> pa.Table:
        """The table with numbers for texts; `rows` are where its rows stand among the lines."""
        found = {column: table[name].combine_chunks() for column, name in columns.items()}
        numbers = {column: _numbers(values) for column, values in found.items() if column not in TEXTS}
        wrong = {column: _first_bad(found[column]) for column, values in numbers.items() if values is None}
        problems = [
            self._problem(
                lines.of(rows[k]), f"{shown(columns[column])} is {shown(found[column][k].as_py())}; allowed: {NUMBER}"
            )
            for column, k in wrong.items()
        ]
        if "Date" in found and (bad := bad_date(found["Date"])):
            text = f"{shown(columns['Date'])} is {bad.value}{bad.why}; allowed: YYYY-MM-DD"
            problems.append(self._problem(lines.of(rows[bad.row]), text))
        if problems:
            raise DataError(problems)
        return pa.table(found | numbers)

    def _problem(self, line: int, message: str) -> Problem:
        return Problem(f"{self.place}: line {line:,}", message)

    def rows(self, columns: list[str]) -> Iterator[tuple[Lines, pa.Table]]:
        """Columns, by their names, of each block as strings, with where its lines lie in the file."""
        with refusing(self.place, _CSV):
            blocks = self._blocks()
            names = self._names(next(blocks)[1])
            for first, block in blocks:
                yield (lines := Lines(first, block)), self._table(lines, names, columns)

    def _table(self, lines: Lines, names: list[str], columns: list[str]) -> pa.Table:
        try:
            table = csv.read_csv(
                pa.BufferReader(lines.block),
                read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=len(lines.block) + 1),
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
                ),
            )
        except pa.ArrowInvalid as error:
            found = _ROW.fullmatch(first_line(error))
            line, text = (lines.of(int(found[1]) - 1), found[2]) if found else (lines.first, first_line(error))
            raise DataError([self._problem(line, text)]) from error
        if table.num_rows != lines.count():
            text = "a quoted value, here or below, goes over several lines; allowed: a row on each line"
            raise DataError([self._problem(lines.first, text)])
        return table

    def _names(self, header: bytes) -> list[str]:
        header = header.rstrip(b"\r\n")
        if b"\r" in header:
            raise DataError([self._problem(1, "lines end with a carriage return alone; allowed: line feeds")])
        names = csv.read_csv(pa.BufferReader(header + b"\n"), read_options=_ALONE).column_names
        if len(names) == 1 and (other := next((mark for mark in ";\t|" if mark in names[0]), None)):
            text = f"columns are separated by {shown(other)}: {shown(names[0])}; allowed: commas"
            raise DataError([self._problem(1, text)])
        return names

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """The first line, then blocks of whole lines without empty ones at the end, each with its line number."""
        compression = "gzip" if self.file.name.endswith(".gz") else None
        with pa.input_stream(str(self.file), compression=compression) as stream:
            line, rest, is_header, more = 1, b"", True, stream.read(BLOCK_BYTES)
            while more:
                if b"\0" in more:
                    raise DataError([Problem(self.place, "holds NUL bytes; allowed: UTF-8 text")])
                rest, more = rest + more, stream.read(BLOCK_BYTES)
                if is_header and (b"\n" in rest or not more):
                    header, _, rest = rest.partition(b"\n")
                    line, is_header = 2, False
                    yield 1, header
                block, end, rest = rest.rpartition(b"\n") if more else (rest, b"", b"")
                if block.strip():
                    yield line, block
                line += block.count(b"\n") + len(end)
                if len(rest) > BLOCK_BYTES:
                    text = f"longer than {BLOCK_BYTES:,} bytes; allowed: a row on each line"
                    raise DataError([self._problem(line, text)])
            if is_header:
                yield 1, b""


@dataclass(frozen=True)
class Lines:
    """Whole lines of a file; `first` is the number of the first one, from 1."""

    first: int
    block: bytes

    def count(self) -> int:
        """How many are not empty."""
        return len(self.numbers())

    def of(self, row: int) -> int:
        """The line of a row."""
        return self.numbers()[row]

    def numbers(self) -> list[int]:
        """The line of each row; empty lines are no rows."""
        return [self.first + k for k, line in enumerate(self.block.splitlines()) if line]


def _kinds(columns: Mapping[str, str]) -> dict[str, pa.DataType]:
    return {column: pa.string() if column in TEXTS else pa.float64() for column in columns}


def _numbers(values: pa.StringArray) -> pa.DoubleArray | None:
    """Numbers of texts, null where nothing is written; None if one is no number."""
    trimmed = pc.call_function("ascii_trim_whitespace", [values])
    missing = pc.call_function("is_in", [trimmed], pc.SetLookupOptions(pa.array(MISSING)))
    try:
        return pc.call_function("if_else", [missing, None, trimmed]).cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _first_bad(values: pa.StringArray) -> int:
    """The first text that is no number."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _numbers(values[low:middle]) is None else (middle, high)
    return low
