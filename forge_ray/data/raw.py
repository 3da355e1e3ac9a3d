"""A market as its source has it, and the same one with another future, or with none.

What a look-ahead audit compares: everything that makes a panel of bars (the chain of adjusted prices, the cut, the
calendar) happens again for each of them, so a look ahead in any of it shows too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

import numpy as np

from forge_ray.data.histories import Bars, chained, cut
from forge_ray.data.panel import History, Panel, build_panel

HIGHEST = 1e300


class Range(StrEnum):
    """Where another future lies against all values that a field of a ticker has had."""

    WITHIN = "within"
    BELOW = "below"
    ABOVE = "above"

    def bounds(self, lowest: float, highest: float) -> tuple[float, float]:
        """(lowest, highest) of what is drawn."""
        match self:
            case Range.WITHIN:
                return lowest / 2, min(2 * highest, HIGHEST)
            case Range.BELOW:
                return lowest / 100, lowest / 2
            case Range.ABOVE:
                return min(2 * highest, HIGHEST), min(50 * highest, HIGHEST)


@dataclass(frozen=True, eq=False)
class RawMarket:
    """Bars by ticker, cleaned and not adjusted.

    tickers : those that shape the calendar. carried : those that do not. start, end, calendar : as for `read_raw`.
    """

    bars: Mapping[str, Bars]
    tickers: tuple[str, ...]
    carried: tuple[str, ...] = ()
    calendar: str = "intersection"
    start: date | None = None
    end: date | None = None

    def panel(self) -> Panel:
        """Chained, cut, on their calendar. Raises `DataError` for prices that are none."""
        made = self.histories()
        return build_panel([made[name] for name in self.tickers], [made[name] for name in self.carried], self.calendar)

    def histories(self) -> dict[str, History]:
        """By ticker, first those that shape the calendar."""
        names = dict.fromkeys((*self.tickers, *self.carried))
        return {name: cut(chained(self.bars[name]), self.start, self.end) for name in names}

    def scrambled(self, day: int, within: Range, rng: np.random.Generator) -> RawMarket:
        """Every field of every bar after a day is random, also where it was missing; the dates stay."""
        bars = {ticker: _scrambled(self.bars[ticker], day, within, rng) for ticker in sorted(self.bars)}
        return replace(self, bars=bars)

    def truncated(self, day: int) -> RawMarket:
        """Without all bars after a day; each ticker must have one until then."""
        return replace(self, bars={ticker: _truncated(bars, day) for ticker, bars in self.bars.items()})


def _scrambled(bars: Bars, day: int, within: Range, rng: np.random.Generator) -> Bars:
    first = int(np.searchsorted(bars.dates, day, side="right"))

    def changed(values: np.ndarray) -> np.ndarray:
        known = values[np.isfinite(values)]
        low, high = within.bounds(known.min(initial=HIGHEST), known.max(initial=0.0)) if len(known) else (1.0, 2.0)
        return np.concatenate([values[:first], rng.uniform(low, high, len(values) - first)])

    return replace(
        bars,
        close=changed(bars.close),
        adjusted=None if bars.adjusted is None else changed(bars.adjusted),
        others={name: changed(values) for name, values in bars.others.items()},
    )


def _truncated(bars: Bars, day: int) -> Bars:
    known = slice(0, int(np.searchsorted(bars.dates, day, side="right")))
    return replace(
        bars,
        dates=bars.dates[known],
        close=bars.close[known],
        adjusted=None if bars.adjusted is None else bars.adjusted[known],
        others={name: values[known] for name, values in bars.others.items()},
    )
