"""What is odd about one ticker's bars: jumps like splits, outliers, stale prices, fields that contradict each other.

The chain is the total-return price that a run trades; only ratios of it matter here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

import numpy as np

from forge_ray.data.calendars import Span, runs, span
from forge_ray.data.histories import Bars
from forge_ray.data.panel import as_date

OUTLIER = 15.0
"""Robust deviations from the median return beyond which a return is an outlier."""
STALE = 5
"""Equal closes in a row from which on a price is stale."""
NEAR = 0.05
"""How far the logarithm of a jump may be from that of a split: markets move on the day of a split too."""
MIN_RETURNS = 20
SPLITS = (*((n, 1) for n in (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100)), (3, 2), (5, 2))

_LOGS = {math.log(new / old): f"{new}:{old}" for a, b in SPLITS for new, old in ((a, b), (b, a))}
_MAD, _MEAN = 1.4826, 1.2533  # deviations of a normal variable in median and in mean absolute ones


@dataclass(frozen=True)
class PriceSplit:
    """A jump like that of a split of `ratio` new shares for old ones.

    state : ``adjusted``, Adj Close takes care of it; ``unadjusted``, the chain jumps with the close, by a split or by a
    fall or rise of that size; ``made``, the close does not jump and Adj Close makes the chain jump.
    """

    date: date
    ratio: str
    state: str


@dataclass(frozen=True)
class Outlier:
    """A return of the chain that is far from the others.

    change : a fraction. deviations : its distance from the median in robust deviations. reverts : whether the next
    return takes more than half of it back.
    """

    date: date
    change: float
    deviations: float
    reverts: bool


@dataclass(frozen=True)
class Count:
    """How many bars, and the first of them."""

    bars: int
    first: date


def price_splits(bars: Bars) -> tuple[PriceSplit, ...]:
    """Jumps like splits, of the close or of the factor between Adj Close and Close; special dividends are such too."""
    close = np.diff(np.log(bars.close))
    chain = close if bars.adjusted is None else np.diff(np.log(bars.adjusted))
    found = []
    for t in np.flatnonzero(np.maximum(np.abs(close), np.abs(chain - close)) >= math.log(1.5) - NEAR):
        shares = _nearest(-close[t]), _nearest(chain[t] - close[t])
        calm = abs(chain[t]) < abs(chain[t] - close[t]) / 2
        match shares:
            case (_, str(ratio)) if calm:
                state = "adjusted"
            case (None, str(ratio)):
                state = "made"
            case (str(ratio), None):
                state = "unadjusted"
            case _:
                continue
        found.append(PriceSplit(as_date(bars.dates[t + 1]), ratio, state))
    return tuple(found)


def outliers(bars: Bars, without: tuple[date, ...] = ()) -> tuple[Outlier, ...]:
    """Returns more than `OUTLIER` robust deviations from the median, but for those of some dates.

    The deviation is 1.4826 times the median absolute one or, where that is zero, 1.2533 times the mean absolute one. A
    return that takes an outlier back is none of its own. None for fewer than `MIN_RETURNS`.
    """
    chain = bars.close if bars.adjusted is None else bars.adjusted
    returns = chain[1:] / chain[:-1] - 1
    if len(returns) < MIN_RETURNS:
        return ()
    distance = returns - np.median(returns)
    deviation = _MAD * np.median(np.abs(distance)) or _MEAN * np.mean(np.abs(distance))
    found: list[Outlier] = []
    taken_back = -1
    for t in np.flatnonzero(np.abs(distance) > OUTLIER * deviation).tolist():
        day = as_date(bars.dates[t + 1])
        if t == taken_back or day in without:
            continue
        after = chain[min(t + 2, len(chain) - 1)] / chain[t]
        reverts = t + 1 < len(returns) and abs(math.log(after)) < abs(math.log1p(returns[t])) / 2
        taken_back = t + 1 if reverts else -1
        found.append(Outlier(day, float(returns[t]), float(abs(distance[t]) / deviation), reverts))
    return tuple(found)


def stale_prices(bars: Bars) -> tuple[Span, ...]:
    """At least `STALE` equal closes in a row; where volume is known, on bars that traded."""
    same = np.append(False, np.diff(bars.close) == 0)
    if (volume := bars.others.get("volume")) is not None:
        same &= ~(volume == 0)
    return tuple(
        span(bars.dates, np.append(run[0] - 1, run)) for run in runs(np.flatnonzero(same)) if len(run) + 1 >= STALE
    )


def contradictions(bars: Bars) -> Count | None:
    """Bars whose high is below, or whose low is above, another of their prices."""
    prices = [bars.close, *(bars.others[name] for name in ("open", "high", "low") if name in bars.others)]
    wrong = np.zeros(len(bars.dates), bool)
    if "high" in bars.others:
        wrong |= bars.others["high"] < np.fmax.reduce(prices)
    if "low" in bars.others:
        wrong |= bars.others["low"] > np.fmin.reduce(prices)
    return count(bars, wrong)


def missing_fields(bars: Bars) -> dict[str, int]:
    """Bars without a value, per field that lacks some."""
    lacking = {name: int(np.isnan(values).sum()) for name, values in bars.others.items()}
    return {name: n for name, n in lacking.items() if n}


def zero_volume(bars: Bars) -> Count | None:
    """Bars on which nothing traded."""
    return count(bars, bars.others["volume"] == 0) if "volume" in bars.others else None


def weekend(bars: Bars) -> Count | None:
    """Bars of Saturdays and Sundays."""
    return count(bars, (bars.dates + 3) % 7 >= 5)  # day 0 was a Thursday


def count(bars: Bars, where: np.ndarray) -> Count | None:
    """The bars at which a mask is true."""
    places = np.flatnonzero(where)
    return Count(len(places), as_date(bars.dates[places[0]])) if len(places) else None


def _nearest(jump: float) -> str | None:
    """The split whose logarithm is within `NEAR` of a jump."""
    nearest = min(_LOGS, key=lambda log: abs(log - jump))
    return _LOGS[nearest] if abs(nearest - jump) <= NEAR else None
