"""The naive oracle: one branch of a strategy tree, day by day, in plain Python, written from the rules of meaning only.

It shares no code with the package, rounds nothing and is not fast; it is meant to be checked by eye.

1. Calls and lists are filled in (naive_tree). The calendar is the dates on which every ticker of the tree that is alive
   (between its first and last bar) has a bar; or, as a union, every date on which one of them has a bar.
2. Indicators and formulas (naive_indicators, naive_formulas) run over a series' own bars and are then looked up by
   date; None is "no value". A series is a ticker, a ratio, or the simulated equity of a part of the tree.
3. On every calendar bar the tree gives an allocation (naive_rules): ticker -> weight; what is missing to 1 is cash. An
   allocation of None is Empty: it passes its weight to its siblings.
4. The decision of bar start + i is filled at bar start + i + lag and earns over the mode's interval, whose end dates
   the return. The cost of the fill is in that return.

       mode   a decision at bar t sees   a fill at bar t earns
       CC     bars up to t               close t -> close t + 1
       CO     bars up to t               close t -> open t + 1
       OO     bars up to t - 1           open t  -> open t + 1
       OC     bars up to t - 1           open t  -> close t

5. Rebalanced daily, every fill goes back to the target; otherwise shares drift between trades.
6. Metrics (naive_metrics) are computed from the returns of a segment as if no other day existed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from math import fsum

from naive_formulas import formula_look_back, formula_values
from naive_indicators import ALIASES, Values, as_bar, bars_before_first_value, indicator, mean
from naive_metrics import METRICS, Allocation, Day, Metrics, assets, measure, percent_of, split_days
from naive_rules import (
    MODES,
    Market,
    Mode,
    Prices,
    all_conditions,
    equity,
    evaluate,
    first_usable,
    gross_return,
    kleene_and,
    kleene_or,
    limits_of,
    needs,
    still_alive,
    within_caps,
)
from naive_tree import (
    Equity,
    Ratio,
    Source,
    check_tree,
    children_of,
    expand,
    left_side,
    nodes,
    read_tickers,
    right_side,
    with_lists,
)

__all__ = [
    "ALIASES",
    "CASH_LIKE",
    "METRICS",
    "MODES",
    "PERIODS",
    "Allocation",
    "Day",
    "Equity",
    "Market",
    "Metrics",
    "Mode",
    "Prices",
    "Ratio",
    "Result",
    "Values",
    "all_conditions",
    "assets",
    "backtest",
    "bars_before_first_value",
    "calendar",
    "children_of",
    "expand",
    "formula_look_back",
    "formula_values",
    "indicator",
    "kleene_and",
    "kleene_or",
    "last_decision",
    "left_side",
    "measure",
    "nodes",
    "percent_of",
    "right_side",
    "split_days",
    "subtree_equity",
    "within_caps",
]

CASH_LIKE = ("CASH", "BIL", "SHV", "SGOV", "USFR")

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
    limits : own bars needed before the first usable one, per series and reason; the largest limits the start. Own bars
        of an equity are calendar bars since it is ready.
    allocations : per calendar bar what the tree decides there, also before the start; CASH is an entry only where the
        tree says CASH (or a gate is unknown, or a ticker is not alive); what is missing to 1 is cash too.
    held, turnovers, returns : per return, in order: weights in force after the fill, traded value at the fill (and at
        the exit, in CO and OC) as a fraction of equity, (date of the interval's end, net return).
    metrics : "full" | "is" | "oos" -> metric -> value, None where undefined.
    hairs : (id of a condition or node, bar) of decisions that hang on less than rounding may move.
    """

    dates: list[date]
    start: int
    limits: dict[tuple[Source, str], int]
    allocations: list[Allocation]
    held: list[Allocation]
    turnovers: list[float]
    returns: list[tuple[date, float]]
    metrics: dict[str, Metrics]
    hairs: list[tuple[str, int]] = field(default_factory=list)


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
    calls: Mapping[str, dict] | None = None,
    formulas: Mapping[str, str] | None = None,
    lists: Mapping[str, Sequence[str]] | None = None,
    calendar: str = "intersection",
) -> Result:
    """Dates in `start` and `split` are ISO strings; `start` is also "common" or "earliest".

    prices : ticker -> rows of (date, close), (date, open, high, low, close) or the latter with a volume, on the
        total-return scale; high, low and volume may be None.
    rebalance : "daily", a name of PERIODS, "on_change" or {"threshold": points of weight}.
    cost_bps : per side; or ticker -> per side, with "default" for the others.
    cash_rate, risk_free : a yearly number, or a ticker whose return over the interval is earned.
    calls : id -> tree, what the `callRefId` of a call names. formulas : name -> text, what "custom:name" names.
    lists : name -> tickers, what "list:name" names.
    calendar : "intersection" or "union".

    Raises ValueError for what the rules call an error, and when no bar is left to trade.
    """
    check_rebalance(rebalance, MODES[mode])
    tree = whole(tree, calls, lists, formulas)
    check_prices(prices, [name for name in (benchmark, cash_rate, risk_free) if isinstance(name, str)])
    market = market_of(
        tree, prices, calendar, mode=MODES[mode], lag=lag, null=null, cash_rate=cash_rate, formulas=formulas
    )
    dates, limits = market.dates, limits_of(needs(tree, market))
    first = start_bar(market, limits, start)
    allocations = [evaluate(tree, market, t) or {"CASH": 1.0} for t in range(len(dates))]

    fills = range(first + lag, len(dates) - market.mode.bars)
    if not fills:
        raise ValueError(f"nothing to trade: {len(dates)} calendar bars, start {first}, lag {lag}")
    held, turnovers, returns = simulate(market, allocations, fills, lag, rebalance, costs(cost_bps))
    riskless = [market.earned(risk_free, fill) for fill in fills]
    benchmark_returns = [market.carried_return(benchmark, fill) if benchmark else None for fill in fills]

    days = [
        Day(when, r, b, tau, weights, changed, rf)
        for (when, r), b, tau, weights, changed, rf in zip(
            returns, benchmark_returns, turnovers, held, set_changes(held), riskless, strict=True
        )
    ]
    segments = {"full": days, **split_days(days, split)}
    metrics = {
        name: dict.fromkeys(METRICS)
        if segment is None
        else measure(segment, mean([day.rf for day in segment]) if segment else 0.0, cash_like, benchmark is not None)
        for name, segment in segments.items()
    }
    return Result(dates, first, limits, allocations, held, turnovers, returns, metrics, market.hairs)


def subtree_equity(
    tree: dict,
    prices: Prices,
    node_id: str,
    slot: str | None = None,
    *,
    mode: str = "CC",
    lag: int = 0,
    null: str = "cash",
    cash_rate: float | str = 0.0,
    calls: Mapping[str, dict] | None = None,
    formulas: Mapping[str, str] | None = None,
    lists: Mapping[str, Sequence[str]] | None = None,
    calendar: str = "intersection",
) -> Values:
    """Per bar of the calendar of the whole tree: the simulated equity of the node with that id, or of the blend of one
    of its slots; None before it is ready."""
    tree = whole(tree, calls, lists, formulas)
    market = market_of(
        tree, prices, calendar, mode=MODES[mode], lag=lag, null=null, cash_rate=cash_rate, formulas=formulas
    )
    node = next(node for node in nodes(tree) if node["id"] == node_id)
    return equity(Equity(node, slot), market)


def whole(
    tree: dict,
    calls: Mapping[str, dict] | None,
    lists: Mapping[str, Sequence[str]] | None,
    formulas: Mapping[str, str] | None,
) -> dict:
    """The tree with calls and lists filled in, checked."""
    tree = with_lists(expand(tree, calls or {}), lists or {})
    check_tree(tree, formulas or {})
    return tree


def market_of(tree: dict, prices: Prices, kind: str, **settings) -> Market:
    tickers = sorted(set(read_tickers(tree)))
    check_prices(prices, [*tickers, *(name for name in (settings["cash_rate"],) if isinstance(name, str))])
    return Market(prices, calendar(prices, tickers, kind), carry=kind == "union", **settings)


# ---------------------------------------------------------------- prices, calendar, start


def check_prices(prices: Prices, tickers: Sequence[str]) -> None:
    for ticker in tickers:
        if not prices.get(ticker):
            raise ValueError(f"{ticker}: no prices")
        days = [when for when, *_ in prices[ticker]]
        if days != sorted(set(days)):
            raise ValueError(f"{ticker}: dates are not strictly increasing")
        bars = [as_bar(fields) for _, *fields in prices[ticker]]
        if any(bar.open is None or bar.close is None for bar in bars):
            raise ValueError(f"{ticker}: a bar without open or close")
        known = [price for bar in bars for price in bar[:4] if price is not None]
        if not all(math.isfinite(price) and price > 0 for price in known):
            raise ValueError(f"{ticker}: a price is not a positive number")


def calendar(prices: Prices, tickers: Sequence[str], kind: str = "intersection") -> list[date]:
    has = {ticker: {bar[0] for bar in prices[ticker]} for ticker in tickers}
    every = sorted(set().union(*has.values()))
    if kind == "union":
        return every
    first = {ticker: min(has[ticker]) for ticker in tickers}
    last = {ticker: max(has[ticker]) for ticker in tickers}
    return [
        day for day in every if all(day in has[ticker] for ticker in tickers if first[ticker] <= day <= last[ticker])
    ]


def start_bar(market: Market, limits: dict[tuple[Source, str], int], start: str | date) -> int:
    """The first calendar bar on or after each series' first usable own bar, and on or after a date given as start.

    "earliest" is the first calendar bar at which some position ticker has been listed.
    """
    dates = market.dates
    if start == "earliest":
        listed = [market.history(source)[0][0] for source, reason in limits if reason == "position"]
        known = [t for t, day in enumerate(dates) if not listed or day >= min(listed)]
        if not known:
            raise ValueError("no calendar bar on or after the first one of a position")
        return known[0]
    first = 0
    if start != "common":
        given = date.fromisoformat(start) if isinstance(start, str) else start
        first = sum(day < given for day in dates)
    for (source, reason), bars in limits.items():
        usable = first_usable(source, bars, market)
        if usable is None:
            raise ValueError(f"{source}, {reason}: {len(market.history(source))} bars, {bars} before the first usable")
        first = max(first, usable)
    if first >= len(dates):
        raise ValueError(f"no calendar bar on or after {start}")
    return first


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


def simulate(
    market: Market,
    allocations: list[Allocation],
    fills: range,
    lag: int,
    rebalance: str | dict,
    cost: Callable[[Allocation], float],
) -> tuple[list[Allocation], list[float], list[tuple[date, float]]]:
    """τ = Σ|w − d| over assets, r = (1 − cτ)(1 + R) − 1; in CO and OC what w became is sold at the interval's end."""
    held: list[Allocation] = []
    turnovers: list[float] = []
    returns: list[tuple[date, float]] = []
    drifted: Allocation = {}  # before the first fill everything is cash
    last_target: Allocation | None = None
    first = fills[0] - lag
    for fill in fills:
        decision = last_decision(market.dates, fill - lag, first, rebalance)
        # A ticker whose data have ended by the fill cannot be bought: its weight is cash, what is left of it is sold.
        target = still_alive(allocations[decision], market, fill)
        trades = market.mode.is_round_trip or is_trade(rebalance, decision == fill - lag, target, drifted, last_target)
        if trades:
            last_target = target
        weights = target if trades else still_alive(drifted, market, fill)
        traded = differences(weights, drifted)

        gross = gross_return(weights, market, fill)
        drifted = {k: w * (1 + market.held_return(k, fill)) / (1 + gross) for k, w in assets(weights).items()}

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


def differences(a: Allocation, b: Allocation) -> Allocation:
    return {k: abs(a.get(k, 0.0) - b.get(k, 0.0)) for k in sorted({*a, *b} - {"CASH"})}


def set_changes(held: list[Allocation]) -> list[bool]:
    """True where the set of held tickers (CASH apart) differs from the bar before; before the first it is empty."""
    sets = [set[str](), *(set(assets(weights)) for weights in held)]
    return [before != now for before, now in pairwise(sets)]
