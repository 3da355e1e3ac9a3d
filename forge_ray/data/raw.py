"""A market as its source has it, and the same one with another future, or with none.

What a look-ahead audit compares: everything that makes a panel of bars (the chain of adjusted prices, the cut, the
calendar) happens again for each of them, so a look ahead in any of it shows too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

import numpy as np

from forge_ray.data.build import Blank, calendar_of, in_memory, laid_out
from forge_ray.data.histories import Bars, chained, cut, cut_bars
from forge_ray.data.panel import History, Panel

HIGHEST = 1e300
NEAREST, FARTHEST = 3.0, 50.0


class Future(StrEnum):
    """Where other prices lie: within what a ticker has had, far from it, or far on the other side.

    Far is above for some tickers and below for others, and opposite the other way round, with every draw mirrored:
    between them, what should not be seen falls on both sides of whatever it is compared with.
    """

    WITHIN = "within"
    FAR = "far"
    OPPOSITE = "opposite"


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

    def panel(self, blank: Blank = in_memory) -> Panel:
        """Chained, cut, on their calendar. Raises `DataError` for prices that are none.

        blank : where the fields lie, in memory or in files.
        """
        dates = [cut_bars(self.bars[name], self.start, self.end).dates for name in self.tickers]
        beside = [self.history(name) for name in self.carried]
        return laid_out(calendar_of(dates, self.calendar), sorted(self.tickers), self.history, beside, blank)

    def history(self, ticker: str) -> History:
        """A ticker, chained and cut."""
        return cut(chained(self.bars[ticker]), self.start, self.end)

    def histories(self) -> list[History]:
        """First those that shape the calendar."""
        return [self.history(name) for name in dict.fromkeys((*self.tickers, *self.carried))]

    def scrambled(self, day: int, future: Future, seed: Sequence[int]) -> RawMarket:
        """Every field of every bar after a day is random, also where it was missing; the dates stay.

        seed : of all draws. `Future.OPPOSITE` mirrors what `Future.FAR` has with the same seed.
        """
        rng = np.random.default_rng([*seed])
        return replace(
            self, bars={ticker: _scrambled(self.bars[ticker], day, future, rng) for ticker in sorted(self.bars)}
        )

    def truncated(self, day: int) -> RawMarket:
        """Without all bars after a day; each ticker must have one until then."""
        return replace(self, bars={ticker: _truncated(bars, day) for ticker, bars in self.bars.items()})


def _scrambled(bars: Bars, day: int, future: Future, rng: np.random.Generator) -> Bars:
    first = int(np.searchsorted(bars.dates, day, side="right"))
    far = float(rng.uniform(NEAREST, FARTHEST) ** rng.choice((-1, 1)))
    scale = {Future.WITHIN: 1.0, Future.FAR: far, Future.OPPOSITE: 1 / far}[future]

    def changed(values: np.ndarray) -> np.ndarray:
        drawn, known = rng.random(len(values) - first), values[np.isfinite(values)]
        low, high = (known.min() / 2, 2 * min(known.max(), HIGHEST)) if len(known) else (1.0, 2.0)
        share = 1 - drawn if future is Future.OPPOSITE else drawn
        return np.concatenate([values[:first], np.minimum((low + share * (high - low)) * scale, HIGHEST)])

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
