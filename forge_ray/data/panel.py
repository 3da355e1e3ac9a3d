"""`Panel`: the market as everything else sees it.

A ticker keeps its own bars for indicators; the calendar aligns closes for accounting. All arrays are read-only
and C-contiguous, dates int64 days since 1970-01-01, so that an object store can share them without copying.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from forge_ray.errors import DataError, Problem, nearest

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, eq=False)
class History:
    """One ticker as loaded: dates (n,) int64 ascending, close (n,) float64 > 0, a total-return chain.

    others : further fields that were asked for (open, high, low, volume), (n,), on the chain's scale, NaN if missing.
    cleaned : counts of rows that a cleaning policy touched.
    """

    ticker: str
    dates: np.ndarray
    close: np.ndarray
    cleaned: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class OwnBars:
    """A ticker's own bars, n of them.

    others : (n,) per further field. shown : (n_bars,) int64 own bar that each date of the calendar shows, −1 where the
    ticker is not alive. carried : (n_bars,) bool, where that bar is of an earlier date.
    """

    ticker: str
    dates: np.ndarray
    close: np.ndarray
    shown: np.ndarray
    carried: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    def field(self, name: str) -> np.ndarray:
        """(n,) of a field."""
        return self.close if name == "close" else self.others[name]

    def on_calendar(self, values: np.ndarray) -> np.ndarray:
        """(n_bars,) of values of the own bars (n,), as each date shows them; NaN where the ticker is not alive."""
        return np.where(self.shown >= 0, values[self.shown], np.nan)

    def prices(self, name: str) -> np.ndarray:
        """(n_bars,) of a field for accounting: on a date without an own bar every price is the last close."""
        return (
            self.on_calendar(self.close)
            if name == "close"
            else np.where(self.carried, self.on_calendar(self.close), self.on_calendar(self.others[name]))
        )

    @property
    def n_dropped(self) -> int:
        """Own dates that the calendar leaves out."""
        return len(self.dates) - int(((self.shown >= 0) & ~self.carried).sum())


@dataclass(frozen=True, eq=False)
class Panel:
    """Market history on one calendar.

    tickers : sorted. dates : (n_bars,) the calendar. bars : per ticker, in the order of `tickers`.
    close : (n_tickers, n_bars), NaN where a ticker is not alive.
    others : (n_tickers, n_bars) per further field that was asked for.
    carried : close and further fields (n_bars,) of tickers that are not part of the calendar, such as the benchmark:
    carried forward over missing dates, NaN before their first bar.
    dropped : own dates per ticker that are not on the calendar. filled : dates of the calendar, per ticker, on which it
    is alive without a bar and shows its last one. cleaned : counts per ticker and policy.
    fingerprint : 32 hex digits over tickers, dates, all fields and carried tickers; compare panels by it.
    """

    tickers: tuple[str, ...]
    dates: np.ndarray
    bars: tuple[OwnBars, ...]
    close: np.ndarray
    others: Mapping[str, np.ndarray]
    carried: Mapping[str, Mapping[str, np.ndarray]]
    dropped: Mapping[str, int]
    filled: Mapping[str, int]
    cleaned: Mapping[str, Mapping[str, int]]
    fingerprint: str

    def field(self, name: str) -> np.ndarray:
        """(n_tickers, n_bars) of a field."""
        return self.close if name == "close" else self.others[name]

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


def build_panel(histories: Iterable[History], carried: Iterable[History] = (), calendar: str = "intersection") -> Panel:
    """Put histories on their calendar; a ticker is alive from its first to its last bar.

    calendar : ``"intersection"``, the dates on which every ticker alive has a bar, or ``"union"``, the dates on which
    any has one; there a ticker alive without a bar shows its last one. Tickers that are only carried never change it.
    Raises `DataError` without a ticker; with one the calendar has a date, since all that are alive on the very first
    date start there.
    """
    ordered = sorted(histories, key=lambda history: history.ticker)
    if not ordered:
        raise DataError([Problem("data", "no ticker to load; allowed: at least one besides CASH")])
    dates = _CALENDARS[calendar](ordered)
    bars = tuple(_own_bars(history, dates) for history in ordered)
    beside = {history.ticker: _carried(history, dates) for history in carried}
    return Panel(
        tickers=tuple(own.ticker for own in bars),
        dates=frozen(dates),
        bars=bars,
        close=_prices(bars, "close"),
        others={name: _prices(bars, name) for name in bars[0].others},
        carried=beside,
        dropped={own.ticker: own.n_dropped for own in bars},
        filled={own.ticker: int(own.carried.sum()) for own in bars},
        cleaned={history.ticker: dict(history.cleaned) for history in ordered if history.cleaned},
        fingerprint=_fingerprint(bars, dates, beside),
    )


def frozen(array: np.ndarray) -> np.ndarray:
    """The array as read-only and C-contiguous."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def _union(histories: list[History]) -> np.ndarray:
    return np.unique(np.concatenate([history.dates for history in histories]))


def _intersection(histories: list[History]) -> np.ndarray:
    union = _union(histories)
    alive, present = np.zeros(len(union), np.int64), np.zeros(len(union), np.int64)
    for history in histories:
        places = np.searchsorted(union, history.dates)
        present[places] += 1
        alive[places[0] : places[-1] + 1] += 1
    return union[alive == present]


_CALENDARS = {"intersection": _intersection, "union": _union}


def _own_bars(history: History, calendar: np.ndarray, *, ends: bool = True) -> OwnBars:
    """ends : whether the ticker is gone after its last bar."""
    last = np.searchsorted(history.dates, calendar, side="right") - 1
    shown = np.where(calendar <= history.dates[-1], last, -1) if ends else last
    carried = (shown >= 0) & (history.dates[shown] != calendar)
    others = {name: frozen(values) for name, values in history.others.items()}
    return OwnBars(history.ticker, frozen(history.dates), frozen(history.close), frozen(shown), frozen(carried), others)


def _prices(bars: tuple[OwnBars, ...], name: str) -> np.ndarray:
    return frozen(np.stack([own.prices(name) for own in bars]))


def _carried(history: History, calendar: np.ndarray) -> dict[str, np.ndarray]:
    """Fields on the calendar, to its end; on a date without a bar every price is the last close."""
    own = _own_bars(history, calendar, ends=False)
    return {name: frozen(own.prices(name)) for name in ("close", *own.others)}


def _fingerprint(
    bars: tuple[OwnBars, ...], calendar: np.ndarray, carried: Mapping[str, Mapping[str, np.ndarray]]
) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for own in bars:
        digest.update(f"{own.ticker} {len(own.dates)} {','.join(own.others)};".encode())
        digest.update(own.dates.astype("<i8").tobytes() + own.close.astype("<f8").tobytes())
        digest.update(b"".join(values.astype("<f8").tobytes() for values in own.others.values()))
    digest.update(calendar.astype("<i8").tobytes())
    for ticker, fields in sorted(carried.items()):
        digest.update(f"{ticker} {','.join(fields)};".encode())
        digest.update(b"".join(values.astype("<f8").tobytes() for values in fields.values()))
    return digest.hexdigest()
