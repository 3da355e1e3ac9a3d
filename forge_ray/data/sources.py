"""Where tables come from: samples, folders, single files and frames, behind one `Market`.

A ticker never becomes a path: tickers are matched against what a source has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from forge_ray.data.columns import MAX_LISTED, Wanted, find_columns, read_columns
from forge_ray.data.csvtable import CsvTable
from forge_ray.data.frames import as_frame
from forge_ray.data.samples import sample_file
from forge_ray.data.tables import MemoryTable, ParquetTable, Tabular, WideTable, codes
from forge_ray.errors import DataError, Problem, listed, nearest, shown, step

SAMPLE = "sample:"
READERS = {".parquet": ParquetTable, ".csv": CsvTable, ".csv.gz": CsvTable}
ALLOWED = (
    "a folder of {TICKER}.parquet and {TICKER}.csv, one .parquet, .csv or .csv.gz file with a column Ticker, "
    'or a sample such as "sample:us20"'
)
EVERY = Wanted(("Date", "Close"))


class Market(Protocol):
    """A source of bars. `name` is what errors call it."""

    @property
    def name(self) -> str: ...

    @property
    def tickers(self) -> Sequence[str]:
        """What it has, sorted. Raises `DataError`."""
        ...

    def read(self, tickers: Sequence[str], wanted: Wanted, problems: list[Problem]) -> Iterator[tuple[str, pa.Table]]:
        """The wanted columns of tickers that it has, by our names, rows as they stand in the source.

        A ticker that cannot be read is left out and its problems are added.
        """
        ...

    def file_of(self, ticker: str) -> Path | None:
        """The one file that holds all rows of a ticker, if it has any; None if there is no such file."""
        ...


def open_market(source: Any, columns: Mapping[str, str]) -> Market:
    """The market that a source is: a sample's name, the path of a folder or file, or frames.

    columns : what the source calls our columns, where it does not call them as we do. Raises `DataError`.
    """
    columns, problems = read_columns(columns)
    if problems:
        raise DataError(problems)
    if not isinstance(source, str | Path):
        frame = as_frame(source)
        if isinstance(frame.tables, MemoryTable):
            return LongMarket(str(frame), frame.tables, columns)
        return TickerMarket(str(frame), {ticker: [table] for ticker, table in frame.tables.items()}, columns)
    name, path = str(source), Path(source)
    if name.startswith(SAMPLE):
        return _sample(name, columns)
    if _is(path, Path.is_dir):
        return TickerMarket(name, _files(path), columns)
    reader = next((kind for ending, kind in READERS.items() if name.endswith(ending)), None)
    if not _is(path, Path.is_file):
        raise DataError([Problem("data", f"no folder or file {shown(_told(name), 300)}; allowed: {ALLOWED}")])
    if reader is None:
        text = f"{shown(name, 300)} ends with none of {', '.join(READERS)}; allowed: {ALLOWED}"
        raise DataError([Problem("data", text)])
    return LongMarket(name, reader(path), columns)


def _told(name: str) -> str:
    """A name for an error: of a URL, which is no source, without what may be secret."""
    return re.sub(r"//[^/?#]*@", "//…@", name.partition("?")[0] + "?…" * ("?" in name)) if "://" in name else name


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except OSError:  # the name is too long, or a folder above may not be entered
        return False


def missing_tickers(market: Market, places: Mapping[str, str]) -> dict[str, Problem]:
    """The tickers that a market lacks, each with its problem at the place that asks for it; as many as are told of it
    with what they may be called there."""
    has = dict.fromkeys(market.tickers)
    there, absent = listed(has, MAX_LISTED), [name for name in places if name not in has]
    hints = {name: nearest(name, has) for name in absent[:MAX_LISTED]}
    return {
        name: Problem(places[name], f"{step(name)} is not in {market.name}{hints.get(name, '')}; there: {there}")
        for name in absent
    }


@dataclass(frozen=True)
class TickerMarket:
    """A table for each ticker. More than one for a ticker is an error of those who ask for it."""

    name: str
    tables: Mapping[str, Sequence[Tabular]]
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def tickers(self) -> Sequence[str]:
        return sorted(self.tables)

    def read(self, tickers: Sequence[str], wanted: Wanted, problems: list[Problem]) -> Iterator[tuple[str, pa.Table]]:
        for ticker in tickers:
            try:
                table = self._table(ticker)
                found = find_columns(table.names(), self.columns, wanted, table.place)
                yield ticker, table.read(found)
            except DataError as error:
                problems += error.problems

    def file_of(self, ticker: str) -> Path | None:
        tables = self.tables.get(ticker, ())
        return tables[0].file if len(tables) == 1 else None

    def _table(self, ticker: str) -> Tabular:
        table, *others = self.tables[ticker]
        if others:
            places = " and ".join(each.place for each in self.tables[ticker])
            raise DataError([Problem(f"ticker {ticker}", f"is in {places}; allowed: one file for a ticker")])
        return table


@dataclass(frozen=True)
class SampleMarket(TickerMarket):
    """All tickers are in one file, so that this is no folder of such files."""


@dataclass(frozen=True)
class LongMarket:
    """One table with the rows of all tickers, told apart by its column Ticker."""

    name: str
    table: Tabular
    columns: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _counts(self) -> Mapping[str | None, int]:
        return self.table.count(self._found(EVERY)["Ticker"])

    @property
    def tickers(self) -> Sequence[str]:
        if nameless := self._counts[None]:
            text = f"{nameless:,} rows without a ticker; allowed: one in each row"
            raise DataError([Problem(self.table.place, text)])
        return sorted(ticker for ticker in self._counts if ticker is not None)

    def read(self, tickers: Sequence[str], wanted: Wanted, problems: list[Problem]) -> Iterator[tuple[str, pa.Table]]:
        if not tickers:
            return
        try:
            table = self.table.read(self._found(wanted), tickers)
            self._check_complete(table, tickers)
        except DataError as error:
            problems += error.problems
            return
        which, ends = codes(table["Ticker"], tickers), 0
        table = table.drop_columns(["Ticker"])
        if (which[1:] < which[:-1]).any():  # rows that stand ticker by ticker are not copied
            table = table.take(pa.array(np.argsort(which, kind="stable")))
        for ticker in tickers:
            begin, ends = ends, ends + self._counts[ticker]
            yield ticker, table.slice(begin, ends - begin)

    def file_of(self, ticker: str) -> Path | None:
        return self.table.file

    def _found(self, wanted: Wanted) -> dict[str, str]:
        names, place = self.table.names(), self.table.place
        try:
            return find_columns(names, self.columns, Wanted(("Ticker", *wanted.needed), wanted.optional), place)
        except DataError as error:
            if [problem.message.partition(";")[0] for problem in error.problems] != ["no column Ticker"]:
                raise
            text = "one ticker belongs in a folder as {TICKER}.parquet or {TICKER}.csv, or in a mapping ticker -> frame"
            raise DataError([*error.problems, Problem(place, text)]) from error

    def _check_complete(self, table: pa.Table, tickers: Sequence[str]) -> None:
        """The filter of a Parquet file trusts statistics that no checksum covers."""
        expected = sum(self._counts[ticker] for ticker in tickers)
        if table.num_rows != expected:
            text = f"{expected:,} rows of the wanted tickers, and {table.num_rows:,} by the statistics of the file"
            raise DataError([Problem(self.table.place, f"not a readable Parquet file: {text}")])


def _sample(name: str, columns: Mapping[str, str]) -> Market:
    table = ParquetTable(sample_file(name.removeprefix(SAMPLE)))
    names = table.names()
    if "Ticker" in names:
        return LongMarket(name, table, columns)
    tickers = (column for column in names if column != "Date")
    return SampleMarket(name, {ticker: [WideTable(table.file, ticker, name)] for ticker in tickers}, columns)


def _files(folder: Path) -> dict[str, list[Tabular]]:
    """The files of each ticker. A link must not lead out of the folder."""
    tables: dict[str, list[Tabular]] = {}
    home = folder.resolve()
    for ending, reader in READERS.items():
        for file in sorted(folder.glob(f"*{ending}")):
            # is_file first: resolving a loop fails
            if file.is_file() and (not file.is_symlink() or file.resolve().parent == home):
                tables.setdefault(file.name.removesuffix(ending), []).append(reader(file))
    return tables
