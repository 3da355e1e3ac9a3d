"""One ticker: the rows of its table checked, cleaned, chained and cut.

1. `read_bars`: dates and numbers of whatever type; rows in date order, one per date, with prices that are prices.
2. `chained`: total-return prices that start at the first close; the other fields follow their bar.
3. `cut`: bars outside a span do not exist.

Each raises `DataError` with all that is wrong, the place being the ticker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forge_ray.data.columns import COLUMN_OF, FIELD_OF
from forge_ray.data.dates import bad_date, iso_days
from forge_ray.data.panel import History, as_date, as_day
from forge_ray.data.tables import first_line, is_text
from forge_ray.errors import DataError, Problem

CLEAN_POLICIES = ("sort", "drop_duplicates", "drop_invalid")
FIRST_DAY, LAST_DAY = as_day(date.min), as_day(date.max)

_PER_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


@dataclass(frozen=True, eq=False)
class Bars:
    """One ticker as its source has it, cleaned but not adjusted: dates (n,) int64 ascending, one bar each.

    close, adjusted : (n,) float64 > 0; adjusted is None without a column Adj Close.
    others : (n,) per further field that the table has, by our field names, NaN if missing; not checked yet.
    cleaned : counts of rows that a cleaning policy touched.
    """

    ticker: str
    dates: np.ndarray
    close: np.ndarray
    adjusted: np.ndarray | None
    others: Mapping[str, np.ndarray]
    cleaned: Mapping[str, int]


def read_bars(ticker: str, table: pa.Table, clean: Iterable[str] = ()) -> Bars:
    """The bars of a table with the columns Date, Close and any of the others, mended as `clean` says."""
    return _Reader(ticker, tuple(clean)).bars(table)


def chained(bars: Bars) -> History:
    """Total-return prices that start at the first close, so that new bars never rewrite history.

    Open, high and low are scaled by the factor of their bar, volume by its inverse.
    """
    if problems := field_problems(bars):
        raise DataError(problems)
    if bars.adjusted is None:
        return History(bars.ticker, bars.dates, bars.close, bars.cleaned, bars.others)
    chain = _chain(bars, bars.adjusted)
    others = {name: _scaled(bars, name, values, chain) for name, values in bars.others.items()}
    return History(bars.ticker, bars.dates, chain, bars.cleaned, others)


def cut(history: History, start: date | None, end: date | None) -> History:
    """The bars from start to end, both included."""
    kept = _span(history, start, end)
    others = {name: values[kept] for name, values in history.others.items()}
    return replace(history, dates=history.dates[kept], close=history.close[kept], others=others)


def cut_bars(bars: Bars, start: date | None, end: date | None) -> Bars:
    """The bars from start to end, both included, as `cut` does it."""
    kept = _span(bars, start, end)
    adjusted = None if bars.adjusted is None else bars.adjusted[kept]
    others = {name: values[kept] for name, values in bars.others.items()}
    return replace(bars, dates=bars.dates[kept], close=bars.close[kept], adjusted=adjusted, others=others)


def history_table(histories: Iterable[History]) -> pa.Table:
    """Histories as one long table that loads as the same histories again: Ticker, Date, Close and further fields, all
    on the scale of the chain."""
    tables = [
        pa.table({
            "Ticker": pa.array([history.ticker] * len(history.dates), pa.string()),
            "Date": pa.array(history.dates.astype("datetime64[D]")),
            "Close": history.close,
            **{COLUMN_OF[name]: values for name, values in history.others.items()},
        })
        for history in histories
    ]  # fmt: skip
    return pa.concat_tables(tables)


def field_problems(bars: Bars) -> list[Problem]:
    """Fields that cannot be. A missing value is allowed; an infinite or negative one, or a price of zero, is not."""
    problems = []
    for name, values in bars.others.items():
        wrong = np.isinf(values) | (values < 0) | ((values == 0) & (name != "volume"))
        if wrong.any():
            first = int(np.argmax(wrong))
            text = f"{COLUMN_OF[name]} is {values[first]:g} on {as_date(bars.dates[first])} ({wrong.sum()} bad rows)"
            allowed = "at least 0" if name == "volume" else "above 0"
            problems.append(Problem(f"ticker {bars.ticker}", f"{text}; allowed: finite and {allowed}, or missing"))
    return problems


def _span(of: Bars | History, start: date | None, end: date | None) -> slice:
    first = 0 if start is None else int(np.searchsorted(of.dates, as_day(start)))
    last = len(of.dates) if end is None else int(np.searchsorted(of.dates, as_day(end), side="right"))
    if first >= last:
        has = f"it has {as_date(of.dates[0])} to {as_date(of.dates[-1])}"
        text = f"no bar from {start or 'the start'} to {end or 'the end'}; {has}"
        raise DataError([Problem(f"ticker {of.ticker}", text)])
    return slice(first, last)


def _chain(bars: Bars, adjusted: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        chain = bars.close[0] * (adjusted / adjusted[0])
    bad = np.flatnonzero(~(np.isfinite(chain) & (chain > 0)))
    if len(bad):
        text = f"Adj Close goes from {adjusted[0]:g} to {adjusted[bad[0]]:g} on {as_date(bars.dates[bad[0]])}"
        allowed = "allowed: what keeps the price finite and above 0"
        raise DataError([Problem(f"ticker {bars.ticker}", f"{text}; {allowed}")])
    return chain


def _scaled(bars: Bars, name: str, values: np.ndarray, chain: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        scaled = values * (bars.close / chain) if name == "volume" else values * (chain / bars.close)
    bad = np.flatnonzero((np.isfinite(values) & ~np.isfinite(scaled)) | ((scaled == 0) & (values != 0)))
    if len(bad):
        text = f"{COLUMN_OF[name]} {values[bad[0]]:g}, adjusted as Close is, would be {scaled[bad[0]]:g}"
        text = f"{text} on {as_date(bars.dates[bad[0]])} ({len(bad)} bad rows); allowed: finite and above 0"
        raise DataError([Problem(f"ticker {bars.ticker}", text)])
    return scaled


class _Reader:
    """Reads one ticker's table and collects what is wrong with it."""

    def __init__(self, ticker: str, policies: tuple[str, ...]):
        self.ticker, self.policies = ticker, policies
        self.problems: list[Problem] = []
        self.cleaned: dict[str, int] = {}

    def problem(self, message: str) -> None:
        self.problems.append(Problem(f"ticker {self.ticker}", message))

    def stop_if_wrong(self) -> None:
        if self.problems:
            raise DataError(self.problems)

    def bars(self, table: pa.Table) -> Bars:
        days = self.days(table["Date"])
        numbers = {name: self.numbers(table[name], name) for name in table.column_names if name != "Date"}
        if not len(table):
            self.problem("no rows")
        self.stop_if_wrong()
        prices = {name: numbers[name] for name in ("Close", "Adj Close") if name in numbers}
        rows = self.valid(days, self.ordered(days), prices)
        self.stop_if_wrong()
        if not len(rows):
            self.problem("no row is left after cleaning")
            self.stop_if_wrong()
        kept = {name: values[rows] for name, values in numbers.items()}
        others = {FIELD_OF[name]: values for name, values in kept.items() if name not in prices}
        return Bars(self.ticker, days[rows], kept["Close"], kept.get("Adj Close"), others, self.cleaned)

    def days(self, column: pa.ChunkedArray) -> np.ndarray:
        """Exchange dates as int64 days. A timestamp with a zone is the date on the clocks of that zone."""
        kind, none = column.type, np.zeros(0, np.int64)
        if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind) or is_text(kind)):
            self.problem(f"Date is {kind}; allowed: dates, timestamps, ISO strings")
            return none
        if column.null_count:
            first = column.is_null().index(True).as_py()
            self.problem(f"{column.null_count} rows without a date, first row {first}")
            return none
        if is_text(kind) and (bad := bad_date(column)):
            self.problem(f"Date: {bad.value} in row {bad.row}{bad.why}; allowed: YYYY-MM-DD")
            return none
        try:
            days = _whole_days(column)
        except pa.ArrowInvalid as error:
            self.problem(f"Date: {first_line(error)}; allowed: YYYY-MM-DD")
            return none
        outside = np.flatnonzero((days < FIRST_DAY) | (days > LAST_DAY))
        if len(outside):
            text = f"Date is {kind} and far from any date in row {outside[0]} ({len(outside)} rows)"
            self.problem(f"{text}; allowed: {date.min} to {date.max}, in the unit it says")
        return days

    def numbers(self, column: pa.ChunkedArray, name: str) -> np.ndarray:
        """float64, with one NaN and one zero: the fingerprint is over bits."""
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
            self.problem(f"{name} is {kind}; allowed: numbers")
            return np.zeros(0)
        values = np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
        return np.where(np.isnan(values), np.nan, values + 0.0)

    def ordered(self, days: np.ndarray) -> np.ndarray:
        """Row numbers in date order, one per date."""
        rows = np.arange(len(days))
        back = np.flatnonzero(np.diff(days) < 0)
        if len(back):
            text = f"dates are not sorted: {as_date(days[back[0] + 1])} follows {as_date(days[back[0]])}"
            self.mend("sort", len(back), f"{text} ({len(back)} times); allowed: ascending")
            rows = np.argsort(days, kind="stable")
        same = np.flatnonzero(np.diff(days[rows]) == 0)
        if len(same):
            text = f"date {as_date(days[rows[same[0]]])} appears more than once ({len(same)} rows too many)"
            if self.mend("drop_duplicates", len(same), f"{text}; allowed: once"):
                rows = np.delete(rows, same)
        return rows

    def valid(self, days: np.ndarray, rows: np.ndarray, prices: Mapping[str, np.ndarray]) -> np.ndarray:
        """The rows whose prices are finite and above zero."""
        good = np.ones(len(rows), bool)
        for name, values in prices.items():
            fine = np.isfinite(values[rows]) & (values[rows] > 0)
            bad = np.flatnonzero(~fine)
            good &= fine
            if len(bad):
                text = f"{name} is {values[rows[bad[0]]]:g} on {as_date(days[rows[bad[0]]])} ({len(bad)} bad rows)"
                self.mend("drop_invalid", int((~good).sum()), f"{text}; allowed: finite and above 0")
        return rows[good]

    def mend(self, policy: str, count: int, message: str) -> bool:
        """Whether a policy mends it, which is counted; otherwise it is a problem."""
        if policy in self.policies:
            self.cleaned[policy] = count
            return True
        self.problem(f'{message}, or clean "{policy}"')
        return False


def _whole_days(column: pa.ChunkedArray) -> np.ndarray:
    if is_text(column.type):
        column = iso_days(column)
    if not pa.types.is_timestamp(column.type):
        return pc.cast(pc.cast(column, pa.date32()), pa.int32()).to_numpy().astype(np.int64)
    if column.type.tz:
        column = pc.call_function("local_timestamp", [column])
    # a cast to date32 would wrap around for a timestamp in the wrong unit
    return pc.cast(column, pa.int64()).to_numpy() // _PER_DAY[column.type.unit]
