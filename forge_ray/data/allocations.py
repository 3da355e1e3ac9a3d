"""Allocation tables: dates × tickers × weights, as Composer, QuantMage, brokers and spreadsheets write them to CSV.

1. A table with a column of tickers and one of weights is *long*, a row for each holding; a cell may list several
   ("SPY, BIL" beside "60%, 40%", as QuantMage does). Any other one is *wide*, a column for each ticker.
2. What is written in a cell is a number, and perhaps a unit; the unit of the file follows (`weightcells`).
3. Cells become weights per day. What is missing to 100% is cash, whether or not the table names it.

All mistakes of a file are told at once, each with its line and column.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from forge_ray.catalog import CASH
from forge_ray.data.csvtable import CsvTable
from forge_ray.data.dates import read_day
from forge_ray.data.panel import as_day
from forge_ray.data.weightcells import MOST, UNITS, Cell, is_blank, read_weight, unit_of
from forge_ray.errors import DataError, Problem, listed, shown, step, unknown

DATES = ("date", "startdate", "tradedate", "tradingdate", "asofdate", "datetime", "timestamp")
TICKERS = ("ticker", "tickers", "symbol", "symbols", "asset", "assets", "instrument", "security")
WEIGHTS = (
    "weight", "weights", "targetweight", "portfolioweight", "ofportfolio", "allocation", "allocations", "percentage",
    *(f"{name}{unit}" for name in ("", "weight", "allocation") for unit in ("percent", "pct", "fraction")),
)  # fmt: skip
IGNORED = ("daytraded",)
"""Composer's column of whether it traded."""

_CASH = ("$USD", "$CASH", CASH)  # not USD: that is a fund
_PERCENT = re.compile(r"\s*(\(\s*%\s*\)|%)\s*$")
_MAX_LISTED = 30


@dataclass(frozen=True)
class Allocations:
    """What a table says was held.

    dates : (n,) int64 days since 1970-01-01, ascending, each once. weights : (n, n_tickers) fractions of the portfolio,
    0 where nothing is written; what is missing to 1 is cash. unit : the one in which the file was read.
    """

    dates: np.ndarray
    tickers: tuple[str, ...]
    weights: np.ndarray
    unit: str


def read_allocations(file: str | Path, spell: Callable[[str], str], unit: str | None = None) -> Allocations:
    """The allocations in a CSV file (gzipped if its name ends with ``.gz``).

    spell : our spelling of a ticker; raises ValueError for what cannot be one. unit : "percent" or "fraction", of the
    numbers of a file that does not show it. Raises `DataError` with every mistake.
    """
    if unit is not None and unit not in UNITS:
        raise DataError([unknown("unit", "unit", unit, UNITS)])
    try:
        Path(file).stat()
    except OSError as error:  # such as a name that is too long to be a place
        raise DataError([Problem(step(str(file), 300), error.strerror or str(error))]) from error
    reader = _Reader(CsvTable(Path(file)), spell)
    reader.read()
    reader.check()
    found = unit_of(reader.cells, unit, reader.tell)
    reader.check()
    dates = np.array(sorted(reader.days), np.int64)
    tickers = tuple(sorted({cell.ticker for cell in reader.cells} - {CASH}))
    row = {int(day): k for k, day in enumerate(dates)}
    column = {ticker: k for k, ticker in enumerate(tickers)}
    weights = np.zeros((len(dates), len(tickers)))
    for cell in reader.cells:
        if cell.ticker != CASH:
            weights[row[cell.day], column[cell.ticker]] = cell.weight(found)
    reader.check_totals(dates, weights)
    return Allocations(dates, tickers, weights, found)


@dataclass
class _Reader:
    """Reads a file into cells. days : the first line of each day."""

    table: CsvTable
    spell: Callable[[str], str]
    problems: list[Problem] = field(default_factory=list)
    days: dict[int, int] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    _days_of: dict[str, int | None] = field(default_factory=dict)
    _tickers_of: dict[str, str | None] = field(default_factory=dict)

    def problem(self, message: str, line: int, column: str | None = None) -> None:
        at = f"{self.table.place}: line {line:,}"
        self.problems.append(Problem(at if column is None else f"{at}, {step(column)}", message))

    def tell(self, message: str, cell: Cell | None) -> None:
        if cell is None:
            self.problems.append(Problem(self.table.place, message))
        else:
            self.problem(message, cell.line, cell.column)

    def check(self) -> None:
        if self.problems:
            raise DataError(self.problems)

    def read(self) -> None:
        names = self.table.names()
        date, ticker, weight = (_first(names, words) for words in (DATES, TICKERS, WEIGHTS))
        date = names[0] if date is None and not names[0].strip() else date  # the index of a data frame
        there = f"there: {listed(names, _MAX_LISTED)}"
        if twice := [name for name, n in Counter(names).items() if n > 1]:
            self.problem(f"more than one column {listed(twice)}; allowed: one of each", 1)
        if date is None:
            self.problem(f"no column Date; {there}", 1)
        if ticker is not None and weight is None:
            self.problem(f"a column {step(ticker)} and no column Weight; {there}", 1)
        self.check()
        if date is not None and ticker is not None and weight is not None:
            self._long(date, ticker, weight)
        elif date is not None:
            self._wide(date, [name for name in names if name != date and _letters(name) not in IGNORED])
        if not self.days and not self.problems:
            self.problem("no row with a date; allowed: one for each day", 2)

    def _wide(self, date: str, columns: list[str]) -> None:
        tickers = {name: self._ticker(_PERCENT.sub("", name), 1, name) for name in columns}
        times = Counter(tickers.values())
        for name, ticker in tickers.items():
            if ticker is not None and times[ticker] > 1:
                self.problem(f"is {ticker} like another column; allowed: one for each ticker", 1, name)
        units = {name: "percent" if _PERCENT.search(name) else None for name in columns}
        for line, day, row in self._rows(date, columns):
            if self.days.setdefault(day, line) != line:
                self.problem(f"the date of line {self.days[day]:,} again; allowed: a row for each date", line)
            for name, text in row.items():
                self._add(line, name, day, tickers[name], text, units[name])

    def _long(self, date: str, ticker: str, weight: str) -> None:
        seen: set[tuple[int, str | None]] = set()
        unit = _unit_of_header(weight)
        for line, day, row in self._rows(date, [ticker, weight]):
            self.days.setdefault(day, line)
            names, weights = _entries(row[ticker]), _entries(row[weight])
            if len(names) == 1:  # a comma beside one ticker is that of thousands
                weights = [row[weight]]
            if len(weights) != len(names):
                self.problem(f"{len(names)} tickers with {len(weights)} weights; allowed: as many", line)
                continue
            for name, text in zip(names, weights, strict=True):
                if not name and is_blank(text):  # a day on which nothing is held
                    continue
                found = self._ticker(name, line, ticker)
                if found is not None and (day, found) in seen:
                    self.problem(f"{found} again on this date; allowed: once", line, ticker)
                seen.add((day, found))
                self._add(line, weight, day, found, text, unit)

    def _rows(self, date: str, columns: list[str]) -> Iterator[tuple[int, int, dict[str, str]]]:
        """Line, day and the texts of each row with a good date."""
        for lines, table in self.table.rows([date, *columns]):
            texts = [table[name].to_pylist() for name in (date, *columns)]
            for line, (day_text, *row) in zip(lines.numbers(), zip(*texts, strict=True), strict=True):
                day = self._day(day_text.strip(), line, date)
                if day is not None:
                    yield line, day, dict(zip(columns, row, strict=True))

    def _day(self, text: str, line: int, column: str) -> int | None:
        if text not in self._days_of:
            try:
                self._days_of[text] = as_day(read_day(text))
            except ValueError as error:
                self._days_of[text] = None
                self.problem(str(error), line, column)
        return self._days_of[text]

    def _ticker(self, text: str, line: int, column: str) -> str | None:
        """Our name of a ticker; what cannot be one is told at its first place."""
        if text not in self._tickers_of:
            try:
                self._tickers_of[text] = CASH if text.strip().upper() in _CASH else self.spell(text.strip())
            except ValueError as error:
                self._tickers_of[text] = None
                self.problem(str(error), line, column)
        return self._tickers_of[text]

    def _add(self, line: int, column: str, day: int, ticker: str | None, text: str, unit: str | None) -> None:
        try:
            number, says = read_weight(text)
        except ValueError as error:
            self.problem(str(error), line, column)
            return
        if number < 0 and ticker != CASH:
            self.problem(f"{shown(text.strip())}; allowed: a weight of 0 or more", line, column)
        elif ticker is not None and number:
            self.cells.append(Cell(line, column, day, ticker, number, says or unit))

    def check_totals(self, dates: np.ndarray, weights: np.ndarray) -> None:
        totals = weights.sum(axis=1)
        for k in np.flatnonzero(totals > MOST):
            text = f"the weights add up to {totals[k]:.2%}; allowed: up to 100%, by rounding up to {MOST:.0%}"
            self.problem(text, self.days[int(dates[k])])
        self.check()


def _unit_of_header(name: str) -> str | None:
    """The unit that the name of a column of weights says."""
    is_percent = "%" in name or _letters(name).endswith(("percent", "pct", "percentage"))
    return "percent" if is_percent else "fraction" if _letters(name).endswith("fraction") else None


def _first(names: list[str], words: tuple[str, ...]) -> str | None:
    return next((name for name in names if _letters(name) in words), None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",")]
