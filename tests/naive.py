"""The naive oracle: one branch of a strategy tree, day by day, in plain Python, written from the rules of meaning only.

It shares no code with the package, rounds nothing and is not fast; it is meant to be checked by eye.

1. The calendar is the dates on which every ticker of the tree that is alive (between its first and last bar) has a bar.
2. Indicators run over a ticker's own bars and are then looked up by date; None is "no value".
3. On every calendar bar the tree gives an allocation: ticker -> weight; what is missing to 1 is cash. An allocation of
   None is Empty: it passes its weight to its siblings.
4. The decision of bar start + i is filled at bar start + i + lag and earns over the mode's interval, whose end dates
   the return. The cost of the fill is in that return.

       mode   a decision at bar t sees   a fill at bar t earns
       CC     bars up to t               close t -> close t + 1
       CO     bars up to t               close t -> open t + 1
       OO     bars up to t - 1           open t  -> open t + 1
       OC     bars up to t - 1           open t  -> close t

5. Rebalanced daily, every fill goes back to the target; otherwise shares drift between trades.
6. Metrics are computed from the returns of a segment as if no other day existed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import accumulate, pairwise
from math import fsum
from typing import NamedTuple

BARS_PER_YEAR = 252
CASH_LIKE = ("CASH", "BIL", "SHV", "SGOV", "USFR")

Values = list[float | None]
Prices = Mapping[str, Sequence[tuple]]  # ticker -> (date, close) or (date, open, high, low, close), dates ascending
Allocation = dict[str, float]
Metrics = dict[str, float | None]


class Bar(NamedTuple):
    """One day of a ticker on the total-return scale; None is a missing field."""

    open: float | None
    high: float | None
    low: float | None
    close: float | None


class Mode(NamedTuple):
    """What a decision sees and what a fill earns; `enter` and `leave` are fields of Bar."""

    seen_bars_ago: int
    enter: str
    leave: str
    bars: int

    @property
    def is_round_trip(self) -> bool:
        """Whether the interval leaves a gap to the next one, so that it buys and sells."""
        return self.enter != self.leave


MODES = {
    "CC": Mode(0, "close", "close", 1),
    "CO": Mode(0, "close", "open", 1),
    "OO": Mode(1, "open", "open", 1),
    "OC": Mode(1, "open", "close", 0),
}

PERIODS: dict[str, Callable[[date], object]] = {
    "weekly": lambda day: day - timedelta(days=day.weekday()),  # its Monday
    "monthly": lambda day: (day.year, day.month),
    "quarterly": lambda day: (day.year, (day.month - 1) // 3),
    "yearly": lambda day: day.year,
}


@dataclass(frozen=True)
class Result:
    """One backtest. Bars are numbered on the calendar `dates`.

    start : the bar of the first traded decision.
    limits : own bars needed before the first value, per ticker and reason; the largest per ticker limits the start.
    allocations : per calendar bar what the tree decides there, also before the start; CASH is an entry only where the
        tree says CASH (or a gate is unknown, or a ticker is not alive); what is missing to 1 is cash too.
    held, turnovers, returns : per return, in order: weights in force after the fill, traded value at the fill (and at
        the exit, in CO and OC) as a fraction of equity, (date of the interval's end, net return).
    metrics : "full" | "is" | "oos" -> metric -> value, None where undefined.
    """

    dates: list[date]
    start: int
    limits: dict[tuple[str, str], int]
    allocations: list[Allocation]
    held: list[Allocation]
    turnovers: list[float]
    returns: list[tuple[date, float]]
    metrics: dict[str, Metrics]


def backtest(
    tree: dict,
    prices: Prices,
    *,
    mode: str = "CC",
    rebalance: str | dict = "daily",
    benchmark: str | None = None,
    lag: int = 0,
    cost_bps: float | dict[str, float] = 5.0,
    null: str = "cash",
    start: str | date = "common",
    split: dict | str | None = {"holdout": "30%"},  # noqa: B006 - read, never written
    cash_rate: float | str = 0.0,
    risk_free: float | str = 0.0,
    cash_like: Sequence[str] = CASH_LIKE,
    calls: dict[str, dict] | None = None,
) -> Result:
    """Dates in `start` and `split` are ISO strings; `start` is also "common" or "earliest".

    rebalance : "daily", a name of PERIODS, "on_change" or {"threshold": points of weight}.
    cost_bps : per side; or ticker -> per side, with "default" for the others.
    cash_rate, risk_free : a yearly number, or a ticker whose return over the interval is earned.
    calls : id -> tree, what the `callRefId` of a call names.

    Raises ValueError for what the rules call an error, and when no bar is left to trade.
    """
    check_rebalance(rebalance, MODES[mode])
    tree = expand(tree, calls or {})
    tickers = sorted(set(held_tickers(tree)) | {ticker for ticker, _, _ in sides_of_conditions(tree)})
    read_only = [name for name in (benchmark, cash_rate, risk_free) if isinstance(name, str)]
    check_prices(prices, [*tickers, *read_only])
    dates = calendar(prices, tickers)
    limits = bars_needed(tree, MODES[mode])
    first = start_bar(prices, dates, limits, start)

    market = Market(prices, dates, MODES[mode])
    allocations = [evaluate(tree, market, t, null) or {"CASH": 1.0} for t in range(len(dates))]

    fills = range(first + lag, len(dates) - market.mode.bars)
    if not fills:
        raise ValueError(f"nothing to trade: {len(dates)} calendar bars, start {first}, lag {lag}")
    cash, risk_free_returns = (earned(market, rate, fills) for rate in (cash_rate, risk_free))
    held, turnovers, returns = simulate(market, allocations, fills, lag, rebalance, costs(cost_bps), cash)
    benchmark_returns = [market.carried_return(benchmark, fill) if benchmark else None for fill in fills]

    days = [
        Day(when, r, b, tau, weights, changed, rf)
        for (when, r), b, tau, weights, changed, rf in zip(
            returns, benchmark_returns, turnovers, held, set_changes(held), risk_free_returns, strict=True
        )
    ]
    segments = {"full": days, **split_days(days, split)}
    metrics = {
        name: dict.fromkeys(METRICS)
        if segment is None
        else measure(segment, mean([day.rf for day in segment]) if segment else 0.0, cash_like, benchmark is not None)
        for name, segment in segments.items()
    }
    return Result(dates, first, limits, allocations, held, turnovers, returns, metrics)


def assets(allocation: Allocation) -> Allocation:
    """The allocation without CASH: two allocations are the same when their assets are."""
    return {ticker: weight for ticker, weight in allocation.items() if ticker != "CASH"}


# ---------------------------------------------------------------- the tree, statically


def expand(node: dict, calls: dict[str, dict], inside: tuple[str, ...] = ()) -> dict:
    """The tree with every call replaced by the tree it names, at the weight of the call."""
    if node["kind"] == "call":
        name = node["callRefId"]
        if name in inside or name not in calls:
            raise ValueError(f"{node['id']}: {'a cycle of calls' if name in inside else 'unknown call'} {name!r}")
        called = expand(calls[name], calls, (*inside, name))
        weight = {"weight": node["weight"]} if "weight" in node else {}
        return {field: value for field, value in called.items() if field != "weight"} | weight
    children = {
        slot: [None if child is None else expand(child, calls, inside) for child in slot_children]
        for slot, slot_children in node.get("children", {}).items()
    }
    return {**node, "children": children}


def nodes(node: dict) -> Iterator[dict]:
    yield node
    for slot in node.get("children", {}).values():
        for child in slot:
            if child is not None:
                yield from nodes(child)


def held_tickers(tree: dict) -> Iterator[str]:
    for node in nodes(tree):
        for ticker in node.get("positions", ()):
            if ticker not in ("", "Empty", "CASH"):
                yield ticker


def sides_of_conditions(tree: dict) -> Iterator[tuple[str, str, int]]:
    """Each series that a condition reads: (ticker, indicator, own bars needed before the condition has a value)."""
    for node in nodes(tree):
        for condition in node.get("conditions", ()):
            extra = condition.get("forDays", 1) - 1 + (1 if is_cross(condition) else 0)
            sides = [left_side(condition), *([right_side(condition)] if condition.get("expanded") else [])]
            for ticker, name, window in sides:
                yield ticker, name, bars_before_first_value(name, window) + extra


def left_side(condition: dict) -> tuple[str, str, int]:
    return series(condition["ticker"], condition["metric"], condition.get("window"))


def right_side(condition: dict) -> tuple[str, str, int]:
    """What is not given on the right is what stands on the left."""
    return series(
        condition.get("rightTicker", condition["ticker"]),
        condition.get("rightMetric", condition["metric"]),
        condition.get("rightWindow", condition.get("window")),
    )


def series(ticker: str, metric: str, window: int | None) -> tuple[str, str, int]:
    name = ALIASES[metric]
    if name in WINDOWLESS:
        return ticker, name, 1
    if window is None:
        raise ValueError(f"{metric} of {ticker}: no window")
    return ticker, name, window


def is_cross(condition: dict) -> bool:
    return condition["comparator"] in ("crossAbove", "crossBelow")


def bars_needed(tree: dict, mode: Mode) -> dict[tuple[str, str], int]:
    """(ticker, reason) -> own bars before the first usable one; a position needs none before its first price.

    A series is read as of the bar that the mode's decisions see; a position is bought on the bar itself.
    """
    needed: dict[tuple[str, str], int] = {(ticker, "position"): 0 for ticker in held_tickers(tree)}
    for ticker, name, bars in sides_of_conditions(tree):
        needed[ticker, name] = max(bars + mode.seen_bars_ago, needed.get((ticker, name), 0))
    return needed


# ---------------------------------------------------------------- the market


def check_prices(prices: Prices, tickers: Sequence[str]) -> None:
    for ticker in tickers:
        if not prices.get(ticker):
            raise ValueError(f"{ticker}: no prices")
        days = [bar[0] for bar in prices[ticker]]
        if days != sorted(set(days)):
            raise ValueError(f"{ticker}: dates are not strictly increasing")
        if not all(math.isfinite(price) and price > 0 for bar in prices[ticker] for price in bar[1:]):
            raise ValueError(f"{ticker}: a price is not a positive number")


def calendar(prices: Prices, tickers: Sequence[str]) -> list[date]:
    has = {ticker: {bar[0] for bar in prices[ticker]} for ticker in tickers}
    first = {ticker: min(has[ticker]) for ticker in tickers}
    last = {ticker: max(has[ticker]) for ticker in tickers}
    return [
        day
        for day in sorted(set().union(*has.values()))
        if all(day in has[ticker] for ticker in tickers if first[ticker] <= day <= last[ticker])
    ]


def start_bar(prices: Prices, dates: list[date], limits: dict[tuple[str, str], int], start: str | date) -> int:
    """The first calendar bar on or after each ticker's first usable own bar, and on or after a date given as start.

    "earliest" is the first calendar bar at which some position ticker has been listed.
    """
    if start == "earliest":
        listed = [prices[ticker][0][0] for ticker, reason in limits if reason == "position"]
        return next(t for t, day in enumerate(dates) if not listed or day >= min(listed))
    earliest: list[date] = []
    if start != "common":
        earliest.append(date.fromisoformat(start) if isinstance(start, str) else start)
    for (ticker, reason), bars in limits.items():
        if bars >= len(prices[ticker]):
            raise ValueError(f"{ticker}, {reason}: needs {bars + 1} bars, has {len(prices[ticker])}")
        earliest.append(prices[ticker][bars][0])
    for t, day in enumerate(dates):
        if all(day >= bound for bound in earliest):
            return t
    raise ValueError(f"no calendar bar on or after {max(earliest)}")


class Market:
    """Prices and indicator values by calendar bar; None where the ticker is not alive or has no value yet."""

    def __init__(self, prices: Prices, dates: list[date], mode: Mode = MODES["CC"]) -> None:
        self.prices, self.dates, self.mode = prices, dates, mode
        self.known: dict[tuple[str, str, int], Values] = {}

    def value(self, ticker: str, name: str, window: int, t: int) -> float | None:
        if t < 0:
            return None
        key = (ticker, name, window)
        if key not in self.known:
            own = self.prices[ticker]
            values = indicator(name, [bar[1] if len(bar) == 2 else bar[1:] for bar in own], window)
            by_date = dict(zip([bar[0] for bar in own], values, strict=True))
            self.known[key] = [by_date.get(day) for day in self.dates]
        return self.known[key][t]

    def price(self, ticker: str, t: int) -> float | None:
        return self.value(ticker, "Current Price", 1, t)

    def held_return(self, ticker: str, fill: int) -> float:
        """Over the interval of a fill at which the ticker is alive; if its data end inside, up to its last close."""
        end = fill + self.mode.bars
        before = self.carried(ticker, self.dates[fill], self.mode.enter)
        if self.price(ticker, end) is None:
            after = self.carried(ticker, self.dates[fill], "close")
        else:
            after = self.carried(ticker, self.dates[end], self.mode.leave)
        assert before is not None and after is not None
        return after / before - 1

    def carried_return(self, ticker: str, fill: int) -> float | None:
        """Over the interval of a fill; on a date without a bar every price is the last close; None before the first."""
        before = self.carried(ticker, self.dates[fill], self.mode.enter)
        after = self.carried(ticker, self.dates[fill + self.mode.bars], self.mode.leave)
        return None if before is None or after is None else after / before - 1

    def carried(self, ticker: str, today: date, field: str) -> float | None:
        own = self.prices[ticker]
        n = bisect_right(own, today, key=lambda bar: bar[0])
        if n == 0:
            return None
        when, *fields = own[n - 1]
        return getattr(as_bar(fields), field if when == today else "close")


# ---------------------------------------------------------------- indicators


def indicator(name: str, values: Sequence[object], window: int = 1) -> Values:
    """Name or alias; own closes, or own (open, high, low, close), in order; None or NaN is a gap.

    The value at k uses bars up to and including k.
    """
    bars = [as_bar(v if isinstance(v, (tuple, list)) else [v]) for v in values]
    name = ALIASES[name]
    if name in BAR_FORMULAS:
        return BAR_FORMULAS[name](bars, window)
    return FORMULAS[name]([bar.close for bar in bars], window)


def as_bar(fields: Sequence[float | None]) -> Bar:
    """Four fields, or a close that stands for all of them."""
    known = [None if p is None or math.isnan(p) else float(p) for p in fields]
    return Bar(*(known if len(known) == 4 else known * 4))


def bars_before_first_value(name: str, window: int) -> int:
    match ALIASES[name]:
        case "Current Price" | "Drawdown":
            return 0
        case "Simple Moving Average" | "Exponential Moving Average":
            return window - 1
        case "Max Drawdown" | "Standard Deviation of Price" | "Bollinger %B":
            return window - 1
        case _:  # these need `window` changes, that is one close more
            return window


def current_price(p: Values, w: int) -> Values:
    return list(p)


def simple_moving_average(p: Values, w: int) -> Values:
    return rolling(p, w, mean)


def exponential_moving_average(p: Values, w: int) -> Values:
    return recursive_average(p, w, 2 / (w + 1))


def relative_strength_index(p: Values, w: int) -> Values:
    moves = changes(p, lambda before, now: now - before)
    gains = recursive_average([None if d is None else max(d, 0.0) for d in moves], w, 1 / w)
    losses = recursive_average([None if d is None else max(-d, 0.0) for d in moves], w, 1 / w)
    return [
        None if g is None or x is None else (50.0 if g + x == 0 else 100 * (g / (g + x)))
        for g, x in zip(gains, losses, strict=True)
    ]


def standard_deviation(p: Values, w: int) -> Values:
    return rolling(changes(p, lambda before, now: now / before - 1), w, lambda r: 100 * population_deviation(r))


def rate_of_change(p: Values, w: int) -> Values:
    return rolling(p, w + 1, lambda closes: (closes[-1] / closes[0] - 1) * 100)


def max_drawdown_of_price(p: Values, w: int) -> Values:
    return rolling(p, w, lambda closes: 100 * max(falls(closes)))


def drawdown_of_price(p: Values, w: int) -> Values:
    """From the highest close so far; a gap has no value and the peak goes on."""
    fallen = iter(falls([v for v in p if v is not None]))
    return [None if v is None else 100 * next(fallen) for v in p]


def standard_deviation_of_price(p: Values, w: int) -> Values:
    return rolling(p, w, population_deviation)


def bollinger_percent_b(p: Values, w: int) -> Values:
    return rolling(p, w, percent_b)


def percent_b(closes: list[float]) -> float:
    if min(closes) == max(closes):
        return 0.5
    middle, deviation = mean(closes), population_deviation(closes)
    lower, upper = middle - 2 * deviation, middle + 2 * deviation
    return (closes[-1] - lower) / (upper - lower)


def average_true_range(bars: list[Bar], w: int) -> Values:
    ranges: Values = [None, *(true_range(before, now) for before, now in pairwise(bars))]
    return recursive_average(ranges[: len(bars)], w, 1 / w)


def true_range(before: Bar, now: Bar) -> float | None:
    if now.high is None or now.low is None or before.close is None:
        return None
    return max(now.high - now.low, abs(now.high - before.close), abs(now.low - before.close))


def falls(closes: list[float]) -> list[float]:
    """Per close, how far it lies below the highest one up to it, as a fraction of that."""
    return [(peak - close) / peak for close, peak in zip(closes, accumulate(closes, max), strict=True)]


FORMULAS: dict[str, Callable[[Values, int], Values]] = {
    "Current Price": current_price,
    "Simple Moving Average": simple_moving_average,
    "Exponential Moving Average": exponential_moving_average,
    "Relative Strength Index": relative_strength_index,
    "Standard Deviation": standard_deviation,
    "Rate of Change": rate_of_change,
    "Cumulative Return": rate_of_change,
    "Max Drawdown": max_drawdown_of_price,
    "Drawdown": drawdown_of_price,
    "Standard Deviation of Price": standard_deviation_of_price,
    "Bollinger %B": bollinger_percent_b,
}

BAR_FORMULAS: dict[str, Callable[[list[Bar], int], Values]] = {"ATR": average_true_range}

WINDOWLESS = ("Current Price", "Drawdown")

ALIASES: dict[str, str] = {name: name for name in (*FORMULAS, *BAR_FORMULAS)} | {
    "Price": "Current Price",
    "SMA": "Simple Moving Average",
    "EMA": "Exponential Moving Average",
    "RSI": "Relative Strength Index",
    "StdDev": "Standard Deviation",
    "ROC": "Rate of Change",
    "CumRet": "Cumulative Return",
    "MaxDD": "Max Drawdown",
    "StdPrice": "Standard Deviation of Price",
    "Average True Range": "ATR",
    "%B": "Bollinger %B",
}


def rolling(x: Values, w: int, of: Callable[[list[float]], float]) -> Values:
    """`of` the last w values; None when there are fewer or one of them is a gap."""
    out: Values = []
    for k in range(len(x)):
        last = [v for v in x[max(0, k - w + 1) : k + 1] if v is not None]
        out.append(of(last) if len(last) == w else None)
    return out


def recursive_average(x: Values, w: int, alpha: float) -> Values:
    """Seeded with the mean of the first w values, then a += alpha·(x − a); a gap starts the seeding again."""
    out: Values = []
    seed: list[float] = []
    average: float | None = None
    for v in x:
        if v is None:
            seed, average = [], None
        elif average is not None:
            average += alpha * (v - average)
        else:
            seed.append(v)
            if len(seed) == w:
                average = mean(seed)
        out.append(average)
    return out


def changes(p: Values, of: Callable[[float, float], float]) -> Values:
    if not p:
        return []
    return [None] + [None if a is None or b is None else of(a, b) for a, b in pairwise(p)]


def mean(x: Sequence[float]) -> float:
    """Equal numbers have exactly that mean: a flat price ties with its own average, whatever the division rounds to."""
    return x[0] if min(x) == max(x) else fsum(x) / len(x)


def population_deviation(x: Sequence[float]) -> float:
    m = mean(x)
    return math.sqrt(fsum((v - m) ** 2 for v in x) / len(x))


# ---------------------------------------------------------------- conditions: True, False, or None for unknown


def kleene_and(terms: Sequence[bool | None]) -> bool | None:
    if any(term is False for term in terms):
        return False
    return None if any(term is None for term in terms) else True


def kleene_or(terms: Sequence[bool | None]) -> bool | None:
    if any(term is True for term in terms):
        return True
    return None if any(term is None for term in terms) else False


def all_conditions(conditions: Sequence[dict], market: Market, t: int) -> bool | None:
    """As seen from bar t, the last one that is read.

    AND binds tighter than OR; `or`, and an `if` that is not the first, open a new OR term; no condition is false.
    """
    or_terms: list[list[bool | None]] = []
    for place, condition in enumerate(conditions):
        if place == 0 or condition.get("type", "and") in ("or", "if"):
            or_terms.append([])
        or_terms[-1].append(persists(condition, market, t))
    return kleene_or([kleene_and(term) for term in or_terms])


def persists(condition: dict, market: Market, t: int) -> bool | None:
    n = condition.get("forDays", 1)
    if n >= 2 and is_cross(condition):
        raise ValueError(f"forDays {n} with a cross")
    return kleene_and([holds(condition, market, t - back) for back in range(n)])


def holds(condition: dict, market: Market, t: int) -> bool | None:
    def left(at: int) -> float | None:
        return market.value(*left_side(condition), at)

    def right(at: int) -> float | None:
        if condition.get("expanded"):
            return market.value(*right_side(condition), at)
        return float(condition["threshold"])

    match condition["comparator"]:
        case "lt":
            return compare(left(t), right(t), lambda a, b: a < b)
        case "lte":
            return compare(left(t), right(t), lambda a, b: a <= b)
        case "gt":
            return compare(left(t), right(t), lambda a, b: a > b)
        case "gte":
            return compare(left(t), right(t), lambda a, b: a >= b)
        case "crossAbove":
            before = compare(left(t - 1), right(t - 1), lambda a, b: a < b)
            now = compare(left(t), right(t), lambda a, b: a >= b)
        case "crossBelow":
            before = compare(left(t - 1), right(t - 1), lambda a, b: a > b)
            now = compare(left(t), right(t), lambda a, b: a <= b)
        case other:
            raise ValueError(f"unknown comparator {other!r}")
    return None if before is None or now is None else before and now  # a cross without one of its values is unknown


def compare(a: float | None, b: float | None, of: Callable[[float, float], bool]) -> bool | None:
    return None if a is None or b is None else of(a, b)


# ---------------------------------------------------------------- allocations


def evaluate(node: dict, market: Market, t: int, null: str) -> Allocation | None:
    """The node's allocation at bar t; None is Empty."""
    match node["kind"]:
        case "position":
            return position(node, market, t)
        case "basic":
            return combine(node, "next", node.get("weighting", "equal"), market, t, null)
        case "indicator":
            gate = all_conditions(node.get("conditions", ()), market, t - market.mode.seen_bars_ago)
            if gate is None and null == "cash":
                return {"CASH": 1.0}
            if gate:
                return combine(node, "then", node.get("weightingThen", "equal"), market, t, null)
            return combine(node, "else", node.get("weightingElse", "equal"), market, t, null)
        case other:
            raise ValueError(f"{node['id']}: kind {other!r} is not covered")


def position(node: dict, market: Market, t: int) -> Allocation | None:
    """Each entry has 1/n of the list without Empty; duplicates add up; a ticker that is not alive is cash."""
    entries = [ticker for ticker in node.get("positions", ()) if ticker not in ("", "Empty")]
    out: Allocation = {}
    for ticker in entries:
        alive = ticker == "CASH" or market.price(ticker, t) is not None
        add(out, ticker if alive else "CASH", 1 / len(entries))
    return out or None


def combine(node: dict, slot: str, weighting: str, market: Market, t: int, null: str) -> Allocation | None:
    """Weights are shared among the children that are not Empty; none left is Empty."""
    active = []
    for child in node.get("children", {}).get(slot, ()):
        allocation = None if child is None else evaluate(child, market, t, null)
        if allocation is not None:
            active.append((child, allocation))
    if not active:
        return None
    out: Allocation = {}
    for share, (_, allocation) in zip(shares(weighting, [child for child, _ in active]), active, strict=True):
        for ticker, weight in allocation.items():
            add(out, ticker, share * weight)
    return out


def shares(weighting: str, children: Sequence[dict]) -> list[float]:
    match weighting:
        case "equal":
            return [1 / len(children)] * len(children)
        case "defined":
            total = fsum(child["weight"] for child in children)
            if total <= 0 or any(child["weight"] < 0 for child in children):
                raise ValueError(f"weights {[child['weight'] for child in children]}")
            return [child["weight"] / total for child in children]
        case other:
            raise ValueError(f"weighting {other!r} is not covered")


def add(allocation: Allocation, ticker: str, weight: float) -> None:
    """A weight of zero is not held."""
    if weight > 0:
        allocation[ticker] = allocation.get(ticker, 0.0) + weight


# ---------------------------------------------------------------- accounting


def check_rebalance(rebalance: str | dict, mode: Mode) -> None:
    match rebalance:
        case "daily":
            return
        case str() if rebalance in PERIODS:
            return
        case "on_change" | {"threshold": _} if not mode.is_round_trip:
            return
        case _:
            raise ValueError(f"rebalance {rebalance!r} is unknown, or impossible in this mode")


def costs(cost_bps: float | dict[str, float]) -> Callable[[Allocation], float]:
    """What a trade costs as a fraction of equity, given what is bought or sold of each ticker."""
    table = cost_bps if isinstance(cost_bps, dict) else {"default": cost_bps}

    def cost(traded: Allocation) -> float:
        return fsum(table.get(ticker, table.get("default", 5.0)) / 10_000 * size for ticker, size in traded.items())

    return cost


def earned(market: Market, rate: float | str, fills: Sequence[int]) -> list[float]:
    """Per fill what a yearly rate gives in one bar, or a ticker over the interval; before its first bar it gives 0."""
    if isinstance(rate, str):
        return [market.carried_return(rate, fill) or 0.0 for fill in fills]
    return [rate / BARS_PER_YEAR] * len(fills)


def simulate(
    market: Market,
    allocations: list[Allocation],
    fills: range,
    lag: int,
    rebalance: str | dict,
    cost: Callable[[Allocation], float],
    cash: list[float],
) -> tuple[list[Allocation], list[float], list[tuple[date, float]]]:
    """τ = Σ|w − d| over assets, r = (1 − cτ)(1 + R) − 1; in CO and OC what w became is sold at the interval's end."""
    held: list[Allocation] = []
    turnovers: list[float] = []
    returns: list[tuple[date, float]] = []
    drifted: Allocation = {}  # before the first fill everything is cash
    last_target: Allocation | None = None
    first = fills[0] - lag
    for fill, cash_return in zip(fills, cash, strict=True):
        decision = last_decision(market.dates, fill - lag, first, rebalance)
        # A ticker whose data have ended by the fill cannot be bought: its weight is cash, what is left of it is sold.
        target = still_alive(allocations[decision], market, fill)
        trades = market.mode.is_round_trip or is_trade(rebalance, decision == fill - lag, target, drifted, last_target)
        if trades:
            last_target = target
        weights = target if trades else still_alive(drifted, market, fill)
        traded = differences(weights, drifted)

        own = {k: market.held_return(k, fill) for k in assets(weights)}
        cash_weight = 1 - fsum(assets(weights).values())
        gross = fsum([*(weights[k] * own[k] for k in own), cash_weight * cash_return])
        drifted = {k: weights[k] * (1 + own[k]) / (1 + gross) for k in own}

        net, tau = (1 - cost(traded)) * (1 + gross), fsum(traded.values())
        if market.mode.is_round_trip:
            net, tau = net * (1 - cost(drifted)), tau + fsum(drifted.values())
            drifted = {}
        held.append(weights)
        turnovers.append(tau)
        returns.append((market.dates[fill + market.mode.bars], net - 1))
    return held, turnovers, returns


def last_decision(dates: list[date], t: int, first: int, rebalance: str | dict) -> int:
    """The bar whose decision is in force at bar t: the first one, or the last bar of a period that is over by then."""
    if not isinstance(rebalance, str) or rebalance not in PERIODS:
        return t
    period = PERIODS[rebalance]
    while t > first and not (t + 1 < len(dates) and period(dates[t]) != period(dates[t + 1])):
        t -= 1
    return t


def is_trade(
    rebalance: str | dict, is_decision: bool, target: Allocation, drifted: Allocation, last_target: Allocation | None
) -> bool:
    """Whether this fill goes to target; `last_target` is that of the last trade, None before the first."""
    if last_target is None:
        return True
    match rebalance:
        case "on_change":
            return any(move > 1e-12 for move in differences(target, last_target).values())
        case {"threshold": points}:
            moves = differences(target, drifted).values()
            return assets(target).keys() != drifted.keys() or any(move > points / 100 for move in moves)
        case _:
            return is_decision


def still_alive(allocation: Allocation, market: Market, t: int) -> Allocation:
    return {k: w for k, w in allocation.items() if k == "CASH" or market.price(k, t) is not None}


def differences(a: Allocation, b: Allocation) -> Allocation:
    return {k: abs(a.get(k, 0.0) - b.get(k, 0.0)) for k in sorted({*a, *b} - {"CASH"})}


def set_changes(held: list[Allocation]) -> list[bool]:
    """True where the set of held tickers (CASH apart) differs from the bar before; before the first it is empty."""
    sets = [set[str](), *(set(assets(weights)) for weights in held)]
    return [before != now for before, now in pairwise(sets)]


# ---------------------------------------------------------------- segments and metrics

METRICS: tuple[str, ...] = (
    "total_return",
    "cagr",
    "volatility",
    "sharpe",
    "sortino",
    "max_drawdown",
    "calmar",
    "win_rate",
    "skew",
    "kurtosis_excess",
    "beta",
    "treynor",
    "time_in_market",
    "exposure",
    "timar",
    "timar_max_drawdown",
    "trades",
    "turnover",
    "average_holdings",
    "n_days",
)


@dataclass(frozen=True)
class Day:
    """One return with all that belongs to its bar; b is the benchmark's return or None, rf what is free of risk."""

    when: date
    r: float
    b: float | None
    tau: float
    weights: Allocation
    changed: bool
    rf: float = 0.0


def split_days(days: list[Day], split: dict | str | None) -> dict[str, list[Day] | None]:
    n = len(days)
    match split:
        case None | "none":
            return {"is": None, "oos": None}
        case {"holdout": share}:
            cut = n - percent_of(share, n)
            return {"is": days[:cut], "oos": days[cut:]}
        case {"chronological": str(share)} if share.endswith("%"):
            cut = percent_of(share, n)
            return {"is": days[:cut], "oos": days[cut:]}
        case {"chronological": str(when)}:
            first_oos = date.fromisoformat(when)
            return halves(days, lambda day: day.when < first_oos)
        case "even_odd_month":
            return halves(days, lambda day: day.when.month % 2 == 1)
        case "even_odd_year":
            return halves(days, lambda day: day.when.year % 2 == 1)
        case _:
            raise ValueError(f"unknown split {split!r}")


def percent_of(share: str, n: int) -> int:
    """⌊p n⌋ with p as written in decimals: ⌊70 % of 10⌋ is 7."""
    return math.floor(Fraction(share.removesuffix("%")) * n / 100)


def halves(days: list[Day], is_in_sample: Callable[[Day], bool]) -> dict[str, list[Day] | None]:
    return {"is": [day for day in days if is_in_sample(day)], "oos": [day for day in days if not is_in_sample(day)]}


def measure(days: list[Day], rf: float, cash_like: Sequence[str], has_benchmark: bool) -> Metrics:
    """Every metric of the days of a segment; a segment without days has n_days 0 and nothing else.

    rf : the mean riskless return of a bar of the segment.
    """
    out: Metrics = dict.fromkeys(METRICS)
    n = len(days)
    out["n_days"] = n
    if n == 0:
        return out
    r = [day.r for day in days]
    excess = fsum(r) / n - rf
    invested = [fsum(w for k, w in assets(day.weights).items() if k not in cash_like) for day in days]

    total = math.prod(1 + x for x in r) - 1
    out["total_return"] = total
    out["cagr"] = cagr = (1 + total) ** (BARS_PER_YEAR / n) - 1
    out["max_drawdown"] = drawdown = max_drawdown(r)
    out["calmar"] = divide(cagr, drawdown)

    if has_no_variance(r):  # by the rule's own test a single return has none either
        out["volatility"] = 0.0
    else:
        deviation = math.sqrt(squares(r) / (n - 1))
        out["volatility"] = deviation * math.sqrt(BARS_PER_YEAR)
        out["sharpe"] = excess / deviation * math.sqrt(BARS_PER_YEAR)
        out["skew"] = skew(r)
        out["kurtosis_excess"] = kurtosis_excess(r)
    downside = math.sqrt(fsum(min(x, 0.0) ** 2 for x in r) / n)
    out["sortino"] = divide(excess * math.sqrt(BARS_PER_YEAR), downside)

    up, down = sum(x > 0 for x in r), sum(x < 0 for x in r)
    out["win_rate"] = divide(up, up + down)

    if has_benchmark:
        out["beta"] = slope = beta([(day.r, day.b) for day in days if day.b is not None])
        if slope is not None and slope > 0:
            out["treynor"] = BARS_PER_YEAR * excess / slope

    out["time_in_market"] = in_market = sum(x > 0 for x in invested) / n
    out["exposure"] = fsum(invested) / n
    out["timar"] = timar = divide(cagr, in_market)
    out["timar_max_drawdown"] = None if timar is None else divide(timar, drawdown)
    out["trades"] = sum(day.changed for day in days)
    out["turnover"] = BARS_PER_YEAR * fsum(day.tau for day in days) / n
    out["average_holdings"] = sum(len(assets(day.weights)) for day in days) / n
    return out


def divide(a: float, b: float) -> float | None:
    return None if b == 0 else a / b


def squares(x: Sequence[float]) -> float:
    m = fsum(x) / len(x)
    return fsum((v - m) ** 2 for v in x)


def has_no_variance(x: Sequence[float]) -> bool:
    sum_of_squares = fsum(v * v for v in x)
    return sum_of_squares - fsum(x) ** 2 / len(x) <= 1e-12 * sum_of_squares


def max_drawdown(r: Sequence[float]) -> float:
    equity = peak = 1.0
    worst = 0.0
    for x in r:
        equity *= 1 + x
        peak = max(peak, equity)
        worst = max(worst, 1 - equity / peak)
    return worst


def central_moment(x: Sequence[float], power: int) -> float:
    m = fsum(x) / len(x)
    return fsum((v - m) ** power for v in x) / len(x)


def skew(x: Sequence[float]) -> float | None:
    """G1 = g1·√(n(n − 1))/(n − 2), g1 = m3/m2^1.5."""
    n = len(x)
    if n < 3:
        return None
    return central_moment(x, 3) / central_moment(x, 2) ** 1.5 * math.sqrt(n * (n - 1)) / (n - 2)


def kurtosis_excess(x: Sequence[float]) -> float | None:
    """G2 = ((n + 1)·g2 + 6)·(n − 1)/((n − 2)(n − 3)), g2 = m4/m2² − 3."""
    n = len(x)
    if n < 4:
        return None
    g2 = central_moment(x, 4) / central_moment(x, 2) ** 2 - 3
    return ((n + 1) * g2 + 6) * (n - 1) / ((n - 2) * (n - 3))


def beta(pairs: Sequence[tuple[float, float]]) -> float | None:
    if not pairs or has_no_variance([b for _, b in pairs]):
        return None
    if has_no_variance([r for r, _ in pairs]):
        return 0.0  # a constant varies with nothing, whatever the rounding of its mean says
    r_mean = fsum(r for r, _ in pairs) / len(pairs)
    b_mean = fsum(b for _, b in pairs) / len(pairs)
    return fsum((r - r_mean) * (b - b_mean) for r, b in pairs) / squares([b for _, b in pairs])
