"""`forge-ray data check`: what is odd about market data, as a table and a line for each finding."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from forge_ray.data import MarketCheck, TickerCheck

MAX_DAYS = 4
MAX_LINES = 200
WIDTH = 160


def show_check(found: MarketCheck) -> None:
    """A table with a row per ticker, then the findings with their dates, then calendars."""
    print(
        f"{found.source}: {len(found.tickers):,} tickers, {found.dates:,} dates, {found.common:,} of them common to all"
    )
    Console(width=None if sys.stdout.isatty() else WIDTH).print(_table(found.tickers))
    lines = [f"{check.ticker}: {text}" for check in found.tickers for text in _findings(check)]
    print("\n".join(lines[:MAX_LINES]))
    if (more := len(lines) - MAX_LINES) > 0:
        print(f"and {more:,} more; --json has them all")
    for calendar in found.calendars if len(found.calendars) > 1 else ():
        gain = f"; without them the calendar gains {calendar.cost:,} dates" if calendar.cost else ""
        print(f"calendar of {_some(calendar.tickers, 10)}{gain}")
    for text in found.unreadable:
        print(f"cannot be read: {text}")


def _table(checks: Iterable[TickerCheck]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    names = (
        "ticker",
        "first",
        "last",
        "bars",
        "missing",
        "cost",
        "splits",
        "outliers",
        "stale",
        "high/low",
        "no volume",
    )
    for name in (*names, "no value", "weekend", "refused"):
        table.add_column(name, justify="left" if name in ("ticker", "first", "last") else "right", no_wrap=True)
    for check in checks:
        counts = (
            check.missing,
            check.cost,
            len(check.splits),
            len(check.outliers),
            len(check.stale),
            *(where.bars if where else 0 for where in (check.contradictions, check.zero_volume)),
            sum(check.missing_fields.values()),
            check.weekend.bars if check.weekend else 0,
            len(check.refused),
        )
        cells = (f"{count:,}" if count else "·" for count in counts)
        table.add_row(check.ticker, str(check.first), str(check.last), f"{check.bars:,}", *cells)
    return table


def _findings(check: TickerCheck) -> Iterator[str]:
    if gap := check.longest_gap:
        cost = f"; without {check.ticker} the calendar gains {check.cost:,}" if check.cost else ""
        yield f"{check.missing:,} dates missing, at most {gap.dates:,} in a row ({gap.first} to {gap.last}){cost}"
    for state, text in _STATES.items():
        if splits := [f"{split.ratio} on {split.date}" for split in check.splits if split.state == state]:
            yield f"{text}: {_some(splits)}"
    for reverts, text in ((True, "taken back the next day"), (False, "that stay")):
        if odd := [f"{o.change:+.1%} on {o.date}" for o in check.outliers if o.reverts == reverts]:
            yield f"outliers {text}: {_some(odd)}"
    if check.stale:
        spans = sorted(check.stale, key=lambda span: -span.dates)
        yield "stale prices: " + _some([f"{span.dates:,} bars from {span.first} to {span.last}" for span in spans])
    for text, where in (
        ("bars whose high or low is not that of their prices", check.contradictions),
        ("bars without volume", check.zero_volume),
        ("bars on weekends", check.weekend),
    ):
        if where:
            yield f"{where.bars:,} {text}, first on {where.first}"
    if check.missing_fields:
        yield "bars without a value: " + ", ".join(f"{name} {n:,}" for name, n in check.missing_fields.items())
    yield from (f"refused: {text}" for text in check.refused)


_STATES = {
    "adjusted": "splits that Adj Close takes care of",
    "unadjusted": "jumps like splits that nothing adjusts",
    "made": "jumps like splits that only Adj Close makes",
}


def _some(texts: Sequence[str], most: int = MAX_DAYS) -> str:
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more:,} more" if more > 0 else "")
