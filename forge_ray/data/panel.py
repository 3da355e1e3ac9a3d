"""`Panel`: the market as everything else sees it.

A ticker keeps its own bars for indicators; the calendar aligns closes for accounting. All arrays are read-only,
C-contiguous float64 or int64 (days since 1970-01-01), so that an object store can share them without copying.
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
    """A ticker's own bars. place : (n,) int64 index of each bar on the calendar, −1 where its date was dropped.

    others : (n,) per further field.
    """

    ticker: str
    dates: np.ndarray
    close: np.ndarray
    place: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    def field(self, name: str) -> np.ndarray:
        """(n,) of a field."""
        return self.close if name == "close" else self.others[name]


@dataclass(frozen=True, eq=False)
class Panel:
    """Market history on one calendar.

    tickers : sorted. dates : (n_bars,) the calendar. bars : per ticker, in the order of `tickers`.
    close : (n_tickers, n_bars), NaN where a ticker is not alive.
    others : (n_tickers, n_bars) per further field that was asked for.
    carried : close and further fields (n_bars,) of tickers that are not part of the calendar, such as the benchmark:
    carried forward over missing dates, NaN before their first bar.
    dropped : own dates per ticker that are not on the calendar. cleaned : counts per ticker and policy.
    fingerprint : 32 hex digits over tickers, dates, all fields and carried tickers; compare panels by it.
    """

    tickers: tuple[str, ...]
    dates: np.ndarray
    bars: tuple[OwnBars, ...]
    close: np.ndarray
    others: Mapping[str, np.ndarray]
    carried: Mapping[str, Mapping[str, np.ndarray]]
    dropped: Mapping[str, int]
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


def build_panel(histories: Iterable[History], carried: Iterable[History] = ()) -> Panel:
    """Put histories on their calendar: the dates on which every ticker alive has a bar, alive being from its first to
    its last bar. Tickers that are only carried never change it. Raises `DataError` without a ticker; with one the
    calendar has a date, since all that are alive on the very first date start there."""
    ordered = sorted(histories, key=lambda history: history.ticker)
    if not ordered:
        raise DataError([Problem("data", "no ticker to load; allowed: at least one besides CASH")])
    calendar = _calendar(ordered)
    bars = tuple(_own_bars(history, calendar) for history in ordered)
    beside = {history.ticker: _carried(history, calendar) for history in carried}
    names = bars[0].others if bars else {}
    return Panel(
        tickers=tuple(own.ticker for own in bars),
        dates=frozen(calendar),
        bars=bars,
        close=_aligned(bars, "close", len(calendar)),
        others={name: _aligned(bars, name, len(calendar)) for name in names},
        carried=beside,
        dropped={own.ticker: int((own.place < 0).sum()) for own in bars},
        cleaned={history.ticker: dict(history.cleaned) for history in ordered if history.cleaned},
        fingerprint=_fingerprint(bars, calendar, beside),
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
    others = {name: frozen(values) for name, values in history.others.items()}
    return OwnBars(history.ticker, frozen(history.dates), frozen(history.close), frozen(place), others)


def _aligned(bars: tuple[OwnBars, ...], name: str, n_bars: int) -> np.ndarray:
    values = np.full((len(bars), n_bars), np.nan)
    for row, own in enumerate(bars):
        kept = own.place >= 0
        values[row, own.place[kept]] = own.field(name)[kept]
    return frozen(values)


def _carried(history: History, calendar: np.ndarray) -> dict[str, np.ndarray]:
    """Fields on the calendar; on a date without a bar every price is the last close."""
    last = np.searchsorted(history.dates, calendar, side="right") - 1
    begun, place = last >= 0, np.maximum(last, 0)
    has_bar = history.dates[place] == calendar
    fields = {"close": history.close, **history.others}
    return {
        name: frozen(np.where(begun, np.where(has_bar, values[place], history.close[place]), np.nan))
        for name, values in fields.items()
    }


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
