"""Sources → `Panel`.

1. Match the tickers against what the source has.
2. Read the needed columns, check every row; collect the problems of all tickers, then fail at once.
3. Chain prices from the ticker's first bar in the source, cut to start..end, put them on their calendar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypedDict, Unpack

from forge_ray.catalog import CASH
from forge_ray.data.columns import COLUMN_OF, Wanted
from forge_ray.data.folder import CacheFolder
from forge_ray.data.histories import CLEAN_POLICIES, Bars, chained, cut, cut_bars, read_bars
from forge_ray.data.panel import Panel
from forge_ray.data.parsed import ParsedMarket
from forge_ray.data.raw import RawMarket
from forge_ray.data.sources import Market, missing_tickers, open_market
from forge_ray.errors import DataError, Problem, step, unknown


class Options(TypedDict, total=False):
    """The options of `read_raw`."""

    carried: Mapping[str, str] | None
    fields: Iterable[str]
    start: date | None
    end: date | None
    clean: Iterable[str]
    columns: Mapping[str, str] | None
    calendar: str
    parsed: CacheFolder | None


def load(source: Any, tickers: Iterable[str], **options: Unpack[Options]) -> Panel:
    """Load tickers from a source and build the panel. Arguments and errors are those of `read_raw`."""
    return read_raw(source, tickers, **options).panel()


def read_raw(
    source: Any,
    tickers: Iterable[str],
    *,
    carried: Mapping[str, str] | None = None,
    fields: Iterable[str] = ("close",),
    start: date | None = None,
    end: date | None = None,
    clean: Iterable[str] = (),
    columns: Mapping[str, str] | None = None,
    calendar: str = "intersection",
    parsed: CacheFolder | None = None,
) -> RawMarket:
    """The bars of tickers and of carried ones, checked, and what makes a panel of them.

    source : a sample such as ``"sample:us20"``; a folder of ``{TICKER}.parquet`` and ``{TICKER}.csv``; one Parquet or
    CSV file with a column Ticker; a frame (pandas, Polars, Arrow) with a column Ticker, or a mapping ticker → frame.
    Columns are Date, Open, High, Low, Close, Adj Close, Volume, of which Date, Close and what `fields` asks for are
    required.
    carried : tickers that do not shape the calendar, such as the benchmark, each with the place that asks for it.
    fields : open, high, low, close, volume.
    Prices are total-return chains from the ticker's first bar in the source: open, high and low are scaled by the
    factor of their bar, volume by its inverse.
    start, end : bars outside do not exist, also not for indicators.
    clean : what to mend instead of refusing, in this order: ``sort``, ``drop_duplicates`` (the last row of a date
    stays), ``drop_invalid`` (rows whose price is missing, infinite, zero or negative).
    columns : what the source calls our columns, such as ``{"Close": "px_last"}``. calendar : as for `build_panel`.
    parsed : where tickers of files are kept as they were parsed; it changes neither bars nor errors.
    CASH is never loaded, whatever the source has under that name.
    Raises `DataError` with every problem of every ticker.
    """
    policies, beside = tuple(clean), dict(carried or {})
    problems = [
        unknown("data.clean", "policy", policy, CLEAN_POLICIES) for policy in policies if policy not in CLEAN_POLICIES
    ]
    market = open_market(source, columns or {})
    wanted = sorted(set(tickers) - {CASH})
    places = {name: f"ticker {step(name)}" for name in wanted}
    places |= {name: beside[name] for name in sorted(beside) if name not in places}
    others = tuple(column for field, column in COLUMN_OF.items() if field in set(fields) and field != "close")
    asked = Wanted(("Date", "Close", *others), ("Adj Close",))
    reading = Reading(market, places, asked, policies, start, end)
    if parsed is None or problems:
        found = reading.bars(problems)
    else:
        found = reading.bars_through(ParsedMarket.of(parsed, market, asked, policies, columns or {}))
    return RawMarket(found, tuple(wanted), tuple(sorted(beside)), calendar, start, end)


@dataclass(frozen=True)
class Reading:
    """What to read of a market. places : of the job, by the ticker that each asks for."""

    market: Market
    places: Mapping[str, str]
    asked: Wanted
    policies: tuple[str, ...]
    start: date | None
    end: date | None

    def bars(self, problems: Iterable[Problem] = ()) -> dict[str, Bars]:
        """Every ticker, read from the source. Raises `DataError` with what is wrong, and with the problems given."""
        return self._read(self.places, list(problems), lambda bars: bars)

    def bars_through(self, parsed: ParsedMarket) -> dict[str, Bars]:
        """The same bars or the same error, mapped as far as they were parsed before."""
        mapped = {name: bars for name in self.places if (bars := parsed.find(name)) is not None}
        try:
            for bars in mapped.values():
                cut_bars(bars, self.start, self.end)
            rest = {name: place for name, place in self.places.items() if name not in mapped}
            return mapped | self._read(rest, [], parsed.keep)
        except DataError:
            if not mapped:
                raise
            return self.bars()  # which says what is wrong with all of them, in their order
        finally:
            parsed.done()

    def _read(
        self, places: Mapping[str, str], problems: list[Problem], keep: Callable[[Bars], Bars]
    ) -> dict[str, Bars]:
        absent = missing_tickers(self.market, places) if places else {}
        problems += absent.values()
        found: dict[str, Bars] = {}
        for name, table in self.market.read([name for name in places if name not in absent], self.asked, problems):
            try:
                bars = read_bars(name, table, self.policies)
                cut(chained(bars), self.start, self.end)
                found[name] = keep(bars)
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(problems)
        return found
