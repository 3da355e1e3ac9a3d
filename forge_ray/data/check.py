"""What is odd about market data: findings per ticker, calendars, and what each ticker costs the common calendar.

1. Read every ticker as `load` would; what it would refuse is told, and mended by all cleaning policies.
2. Look at each ticker alone: splits, outliers, stale prices, fields that contradict each other, weekends.
3. Lay all of them on the union of their dates: missing dates, calendars that tickers share, dates lost in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from forge_ray.data.calendars import Calendar, Layout, Span, lay_out
from forge_ray.data.columns import COLUMN_OF, Wanted
from forge_ray.data.findings import (
    Count,
    Outlier,
    PriceSplit,
    contradictions,
    missing_fields,
    outliers,
    price_splits,
    stale_prices,
    weekend,
    zero_volume,
)
from forge_ray.data.histories import CLEAN_POLICIES, Bars, chained, cut_bars, read_bars
from forge_ray.data.panel import as_date
from forge_ray.data.sources import missing_tickers, open_market
from forge_ray.errors import DataError, Problem


@dataclass(frozen=True)
class TickerCheck:
    """The findings of one ticker; what is empty, null or zero was not found.

    missing : dates on which others traded while this one was alive. cost : dates that the common calendar loses through
    this ticker alone. contradictions : bars whose high or low is not that of their prices. refused : what `load` says
    against it, with the policy that mends it if there is one. mended : how many rows each policy touches.
    """

    ticker: str
    first: date
    last: date
    bars: int
    missing: int
    longest_gap: Span | None
    cost: int
    splits: tuple[PriceSplit, ...]
    outliers: tuple[Outlier, ...]
    stale: tuple[Span, ...]
    contradictions: Count | None
    missing_fields: Mapping[str, int]
    zero_volume: Count | None
    weekend: Count | None
    refused: tuple[str, ...]
    mended: Mapping[str, int]


@dataclass(frozen=True)
class MarketCheck:
    """The findings of a source.

    dates : on which any ticker traded. common : on which all alive did. calendars : tickers by the calendar they share.
    unreadable : what is wrong with tickers that no cleaning policy makes loadable; they are not among the others.
    """

    source: str
    dates: int
    common: int
    tickers: tuple[TickerCheck, ...]
    calendars: tuple[Calendar, ...]
    unreadable: tuple[str, ...]


def check_market(
    source: Any,
    tickers: Iterable[str] = (),
    *,
    start: date | None = None,
    end: date | None = None,
    columns: Mapping[str, str] | None = None,
) -> MarketCheck:
    """Check tickers of a source, all of them if none are named, within start..end; the arguments are those of `load`.

    Raises `DataError` if the source cannot be read, lacks a ticker, or none of its tickers can be read.
    """
    market = open_market(source, columns or {})
    wanted = sorted(set(tickers) or market.tickers)
    if absent := missing_tickers(market, {name: f"ticker {name}" for name in wanted}):
        raise DataError(absent.values())
    asked = Wanted(("Date", "Close"), ("Adj Close", *(name for name in COLUMN_OF.values() if name != "Close")))
    problems: list[Problem] = []
    found: dict[str, tuple[Bars, tuple[str, ...]]] = {}
    for name, table in market.read(wanted, asked, problems):
        try:
            bars = read_bars(name, table, CLEAN_POLICIES)
            found[name] = cut_bars(bars, start, end), (*_refused(table, bars), *_unfit(bars))
        except DataError as error:
            problems += error.problems
    if not found:
        raise DataError(problems or [Problem("data", f"{market.name} has no ticker")])
    layout = lay_out([bars.dates for bars, _ in found.values()])
    checks = tuple(_ticker(k, layout, bars, refused) for k, (bars, refused) in enumerate(found.values()))
    calendars = layout.calendars(list(found))
    return MarketCheck(
        market.name, len(layout.dates), layout.common, checks, calendars, tuple(str(problem) for problem in problems)
    )


def _ticker(k: int, layout: Layout, bars: Bars, refused: tuple[str, ...]) -> TickerCheck:
    splits = price_splits(bars)
    return TickerCheck(
        ticker=bars.ticker,
        first=as_date(bars.dates[0]),
        last=as_date(bars.dates[-1]),
        bars=len(bars.dates),
        missing=len(layout.missing(k)),
        longest_gap=layout.longest_gap(k),
        cost=layout.cost([k]),
        splits=splits,
        outliers=outliers(bars, tuple(split.date for split in splits)),
        stale=stale_prices(bars),
        contradictions=contradictions(bars),
        missing_fields=missing_fields(bars),
        zero_volume=zero_volume(bars),
        weekend=weekend(bars),
        refused=refused,
        mended=bars.cleaned,
    )


def _refused(table: pa.Table, mended: Bars) -> tuple[str, ...]:
    """What `load` says against the rows as they are."""
    if not mended.cleaned:
        return ()
    try:
        read_bars(mended.ticker, table)
    except DataError as error:
        return tuple(problem.message for problem in error.problems)
    return ()


def _unfit(bars: Bars) -> tuple[str, ...]:
    """What `load` says against prices and fields that no policy mends."""
    try:
        chained(bars)
    except DataError as error:
        return tuple(problem.message for problem in error.problems)
    return ()
