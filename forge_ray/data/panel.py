"""`Panel`: the market as everything else sees it.

A ticker keeps its own bars for indicators; the calendar aligns closes for accounting. All arrays are read-only,
C-contiguous float64 or int64 (days since 1970-01-01), so that an object store can share them without copying.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from forge_ray.errors import DataError, Problem, nearest

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, eq=False)
class History:
    """One ticker as loaded: dates (n,) int64 ascending, close (n,) float64 > 0, a total-return chain.

    `cleaned` counts rows that a cleaning policy touched.
    """

    ticker: str
    dates: np.ndarray
    close: np.ndarray
    cleaned: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class OwnBars:
    """A ticker's own bars. place : (n,) int64 index of each bar on the calendar, −1 where its date was dropped."""

    ticker: str
    dates: np.ndarray
    close: np.ndarray
    place: np.ndarray


@dataclass(frozen=True, eq=False)
class Panel:
    """Market history on one calendar.

    tickers : sorted. dates : (n_bars,) the calendar. bars : per ticker, in the order of `tickers`.
    close : (n_tickers, n_bars), NaN where a ticker is not alive.
    benchmark : (n_bars,) its price, carried forward over missing dates, NaN before its first bar; None without one.
    dropped : own dates per ticker that are not on the calendar. cleaned : counts per ticker and policy.
    fingerprint : 32 hex digits over tickers, dates, closes and benchmark; compare panels by it.
    """

    tickers: tuple[str, ...]
    dates: np.ndarray
    bars: tuple[OwnBars, ...]
    close: np.ndarray
    benchmark: np.ndarray | None
    dropped: Mapping[str, int]
    cleaned: Mapping[str, Mapping[str, int]]
    fingerprint: str

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {ticker: row for row, ticker in enumerate(self.tickers)}

    def row(self, ticker: str) -> int:
        """Row of a ticker in `close`."""
        if ticker not in self._rows:
            raise DataError([Problem("data", f"{ticker} is not in the panel{nearest(ticker, self.tickers)}")])
        return self._rows[ticker]

    def date(self, t: int) -> date:
        """Date of a calendar bar; negative counts from the end."""
        return as_date(self.dates[t])


def as_date(day: Any) -> date:
    """Date of days since 1970-01-01."""
    return EPOCH + timedelta(days=int(day))


def as_day(day: date) -> int:
    """Days since 1970-01-01 of a date."""
    return (day - EPOCH).days


def build_panel(histories: Iterable[History], benchmark: History | None = None) -> Panel:
    """Put histories on their calendar: the dates on which every ticker alive has a bar, alive being from its first to
    its last bar. The benchmark never changes it. Raises `DataError` without a ticker; with one the calendar has a date,
    since all that are alive on the very first date start there."""
    ordered = sorted(histories, key=lambda history: history.ticker)
    if not ordered:
        raise DataError([Problem("data", "no ticker to load; allowed: at least one besides CASH")])
    calendar = _calendar(ordered)
    bars = tuple(_own_bars(history, calendar) for history in ordered)
    carried = None if benchmark is None else _carried(benchmark, calendar)
    return Panel(
        tickers=tuple(own.ticker for own in bars),
        dates=frozen(calendar),
        bars=bars,
        close=frozen(_aligned(bars, len(calendar))),
        benchmark=carried,
        dropped={own.ticker: int((own.place < 0).sum()) for own in bars},
        cleaned={history.ticker: dict(history.cleaned) for history in ordered if history.cleaned},
        fingerprint=_fingerprint(bars, calendar, carried),
    )


def frozen(array: np.ndarray) -> np.ndarray:
    """The array as read-only and C-contiguous."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def _calendar(histories: list[History]) -> np.ndarray:
    union = np.unique(np.concatenate([history.dates for history in histories]))
    alive, present = np.zeros(len(union), np.int64), np.zeros(len(union), np.int64)
    for history in histories:
        places = np.searchsorted(union, history.dates)
        present[places] += 1
        alive[places[0] : places[-1] + 1] += 1
    return union[alive == present]


def _own_bars(history: History, calendar: np.ndarray) -> OwnBars:
    place = np.searchsorted(calendar, history.dates)
    on_calendar = calendar[np.minimum(place, len(calendar) - 1)] == history.dates
    place = np.where(on_calendar, place, -1).astype(np.int64)
    return OwnBars(history.ticker, frozen(history.dates), frozen(history.close), frozen(place))


def _aligned(bars: tuple[OwnBars, ...], n_bars: int) -> np.ndarray:
    close = np.full((len(bars), n_bars), np.nan)
    for row, own in enumerate(bars):
        kept = own.place >= 0
        close[row, own.place[kept]] = own.close[kept]
    return close


def _carried(benchmark: History, calendar: np.ndarray) -> np.ndarray:
    last = np.searchsorted(benchmark.dates, calendar, side="right") - 1
    return frozen(np.where(last >= 0, benchmark.close[np.maximum(last, 0)], np.nan))


def _fingerprint(bars: tuple[OwnBars, ...], calendar: np.ndarray, benchmark: np.ndarray | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for own in bars:
        digest.update(f"{own.ticker} {len(own.dates)};".encode())
        digest.update(own.dates.astype("<i8").tobytes() + own.close.astype("<f8").tobytes())
    digest.update(calendar.astype("<i8").tobytes())
    digest.update(b"" if benchmark is None else benchmark.astype("<f8").tobytes())
    return digest.hexdigest()
