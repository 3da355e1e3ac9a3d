"""`Panel`: the market as everything else sees it.

A ticker keeps its own bars for indicators; the calendar aligns closes for accounting. All arrays are read-only
and C-contiguous, dates int64 days since 1970-01-01, so that an object store can share them without copying.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Any, overload

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

    def digest(self) -> bytes:
        """16 bytes over all arrays: what is computed of equal ones is equal."""
        arrays = (self.dates, self.close, self.shown, self.carried, *self.others.values())
        return _digest(",".join(self.others), *arrays)

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
class Stretches(Sequence[OwnBars]):
    """The own bars of every ticker of a panel, made when they are asked for.

    Most tickers trade on a stretch of the calendar without a gap: their bars are views of the aligned fields, so that
    nothing is held twice. first, last : (n_tickers,) int64, the stretch as ``dates[first:last]``. apart : the bars of
    the rows that are no stretch.
    """

    tickers: tuple[str, ...]
    dates: np.ndarray
    fields: Mapping[str, np.ndarray]
    first: np.ndarray
    last: np.ndarray
    apart: Mapping[int, OwnBars]

    def __len__(self) -> int:
        return len(self.tickers)

    @overload
    def __getitem__(self, index: int) -> OwnBars: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[OwnBars]: ...
    def __getitem__(self, index: int | slice) -> OwnBars | Sequence[OwnBars]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        k = range(len(self))[index]
        return self.apart[k] if k in self.apart else self._stretch(k, int(self.first[k]), int(self.last[k]))

    def _stretch(self, k: int, first: int, last: int) -> OwnBars:
        n = len(self.dates)
        steps, nowhere = _steps(n)
        shown = steps[n - first : 2 * n - first]
        if last < n:
            shown = frozen(np.where(np.arange(n) < last, shown, -1))
        fields = {name: values[k, first:last] for name, values in self.fields.items()}
        close = fields.pop("close")
        return OwnBars(self.tickers[k], self.dates[first:last], close, shown, nowhere, fields)


@lru_cache(maxsize=4)
def _steps(n_bars: int) -> tuple[np.ndarray, np.ndarray]:
    """(−1 of every bar, then 0, 1, … of every bar; False of every bar): what stretches show are views of these."""
    return frozen(np.concatenate([np.full(n_bars, -1), np.arange(n_bars)])), frozen(np.zeros(n_bars, bool))


@dataclass(frozen=True, eq=False)
class Panel:
    """Market history on one calendar.

    tickers : sorted. dates : (n_bars,) the calendar. bars : per ticker, in the order of `tickers`.
    fields : (n_tickers, n_bars) of close and each further field that was asked for, NaN where a ticker is not alive.
    carried : close and further fields (n_bars,) of tickers that are not part of the calendar, such as the benchmark:
    carried forward over missing dates, NaN before their first bar.
    dropped : own dates per ticker that are not on the calendar. filled : dates of the calendar, per ticker, on which it
    is alive without a bar and shows its last one. cleaned : counts per ticker and policy.
    fingerprint : 32 hex digits over tickers, dates, all fields and carried tickers; compare panels by it.
    """

    tickers: tuple[str, ...]
    dates: np.ndarray
    bars: Sequence[OwnBars]
    fields: Mapping[str, np.ndarray]
    carried: Mapping[str, Mapping[str, np.ndarray]]
    dropped: Mapping[str, int]
    filled: Mapping[str, int]
    cleaned: Mapping[str, Mapping[str, int]]
    fingerprint: str

    @property
    def close(self) -> np.ndarray:
        """(n_tickers, n_bars)."""
        return self.fields["close"]

    @property
    def nbytes(self) -> int:
        """Bytes of the fields and of the own bars that are no views of them."""
        apart = self.bars.apart.values() if isinstance(self.bars, Stretches) else self.bars
        own = (array for bars in apart for array in (bars.dates, bars.close, bars.shown, bars.carried))
        fields = (*self.fields.values(), *(values for bars in apart for values in bars.others.values()))
        return sum(array.nbytes for array in (*own, *fields))

    def in_memory(self) -> Panel:
        """The same panel, with fields that travel with it wherever they lie now."""
        fields = dict(self.fields)
        bars = replace(self.bars, fields=fields) if isinstance(self.bars, Stretches) else self.bars
        return replace(self, fields=fields, bars=bars)

    def field(self, name: str) -> np.ndarray:
        """(n_tickers, n_bars) of a field."""
        return self.fields[name]

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """The digest of each ticker's own bars, in the order of `tickers`."""
        return tuple(own.digest() for own in self.bars)

    @cached_property
    def calendar(self) -> bytes:
        """16 bytes over the dates."""
        return _digest("", self.dates)

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


def _digest(names: str, *arrays: np.ndarray) -> bytes:
    digest = hashlib.blake2b(f"{names} {[len(array) for array in arrays]}".encode(), digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def as_date(day: Any) -> date:
    """Date of days since 1970-01-01."""
    return EPOCH + timedelta(days=int(day))


def as_day(day: date) -> int:
    """Days since 1970-01-01 of a date."""
    return (day - EPOCH).days


def frozen(array: np.ndarray) -> np.ndarray:
    """The array as read-only and C-contiguous."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
