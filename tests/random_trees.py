"""Random but valid input for differential tests: trees in the native format and price histories to run them on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import count, pairwise

from naive import MODES, PERIODS, expand

MAX_WINDOW = 9
MAX_FOR_DAYS = 3

# Indicators that may be compared with each other share a unit. A window of 1 is left out where the value is then a
# constant or the price itself: such a tie says nothing about meaning, only about rounding.
PRICE_LIKE = ("Current Price", "Price", "Simple Moving Average", "SMA", "Exponential Moving Average", "EMA")
PERCENT_LIKE = ("Standard Deviation", "StdDev", "Rate of Change", "ROC")
OSCILLATORS = ("Relative Strength Index", "RSI")
FAMILIES = (PRICE_LIKE, PERCENT_LIKE, OSCILLATORS)
MORE_FAMILIES = (
    ("Cumulative Return", "CumRet", "Max Drawdown", "MaxDD", "Drawdown"),
    ("Standard Deviation of Price", "StdPrice", "ATR", "Average True Range"),
    ("Bollinger %B", "%B"),
)
WINDOWLESS = ("Current Price", "Price", "Drawdown")
COMPARATORS = ("lt", "lte", "gt", "gte", "crossAbove", "crossBelow")


@dataclass(frozen=True)
class Words:
    """What a random tree may be made of: tickers, families of comparable indicators, ids that it may call."""

    tickers: Sequence[str]
    families: Sequence[Sequence[str]] = FAMILIES
    calls: Sequence[str] = ()


def random_tree(
    rng: random.Random,
    tickers: Sequence[str],
    depth: int,
    more_indicators: bool = False,
    calls: dict[str, dict] | None = None,
) -> dict:
    """A tree with at most `depth` levels above its positions; a warm-up of at most MAX_WINDOW + MAX_FOR_DAYS own bars.

    more_indicators : also draw from MORE_FAMILIES.
    calls : an empty dict to be filled with trees that the result, and they among themselves, may call; calls add to
        the depth.

    Prices of `random_prices` start between 20 and 200, which is where thresholds on prices lie.
    """
    ids = map("n{}".format, count())
    words = Words(tickers, (*FAMILIES, *MORE_FAMILIES) if more_indicators else FAMILIES)
    if calls is not None:
        for k in range(rng.randint(1, 3)):
            calls[f"call{k}"] = random_node(rng, replace(words, calls=tuple(calls)), min(depth, 2), ids)
        words = replace(words, calls=tuple(calls))
    tree = random_node(rng, words, depth, ids)
    if not any(repr(ticker) in repr(expand(tree, calls or {})) for ticker in tickers):
        # All cash: nothing to load, so no calendar.
        return {"id": next(ids), "kind": "basic", "children": {"next": [tree, a_position([rng.choice(tickers)], ids)]}}
    return tree


def random_prices(
    rng: random.Random, tickers: Sequence[str], n_days: int, ragged: bool
) -> dict[str, list[tuple[date, float]]]:
    """Closes on n_days weekdays (60 or more). When ragged, a ticker may list late (in the first third), end early (in
    the last third), miss single rows, and stand still for a while or for good; the first ticker is there on the first
    and on the last day."""
    days = weekdays(date(2015, 1, 1) + timedelta(days=rng.randrange(2500)), n_days)
    prices = {}
    for place, ticker in enumerate(tickers):
        closes = random_walk(rng, n_days, stands_still=ragged and rng.random() < 0.4)
        first = rng.randrange(1, n_days // 3) if ragged and place and rng.random() < 0.4 else 0
        last = rng.randrange(2 * n_days // 3, n_days) if ragged and place and rng.random() < 0.3 else n_days - 1
        missing = 0.02 if ragged and rng.random() < 0.5 else 0.0
        kept = [k for k in range(first, last + 1) if k in (first, last) or rng.random() >= missing]
        prices[ticker] = [(days[k], closes[k]) for k in kept]
    return prices


def random_bars(
    rng: random.Random, tickers: Sequence[str], n_days: int, ragged: bool
) -> dict[str, list[tuple[date, float, float, float, float]]]:
    """As `random_prices`, with (date, open, high, low, close); where the close stands still, so does the whole bar."""
    return {
        ticker: [(day, *a_bar(rng, before, close)) for (_, before), (day, close) in pairwise([own[0], *own])]
        for ticker, own in random_prices(rng, tickers, n_days, ragged).items()
    }


def a_bar(rng: random.Random, before: float, close: float) -> tuple[float, float, float, float]:
    if close == before:
        return close, close, close, close
    opened = before * (1 + rng.gauss(0, 0.006))
    high = max(opened, close) * (1 + abs(rng.gauss(0, 0.004)))
    low = min(opened, close) * (1 - abs(rng.gauss(0, 0.004)))
    return opened, high, low, close


SPLITS = ({"holdout": "30%"}, {"chronological": "55%"}, "even_odd_month", "even_odd_year", "none")
THRESHOLDS = (0.3, 1, 2.5, 5)


def random_settings(rng: random.Random, tickers: Sequence[str], days: Sequence[date]) -> dict:
    """Keyword arguments of `naive.backtest` but for `calls`; `days` are those of the prices.

    The tickers that give a rate are the first one, which is there from the first day, and no others: before its first
    bar a ticker gives none. Any ticker may be the benchmark.
    """
    mode = rng.choice(list(MODES))
    rules: list[str | dict] = ["daily", *PERIODS]
    if not MODES[mode].is_round_trip:
        rules += [
            "on_change",
            "on_change",
            {"threshold": rng.choice(THRESHOLDS)},
            {"threshold": rng.choice(THRESHOLDS)},
        ]
    a_day = rng.choice(days[: len(days) // 2])
    return {
        "mode": mode,
        "rebalance": rng.choice(rules),
        "benchmark": rng.choice((None, *tickers)),
        "lag": rng.choice((0, 0, 1, 3)),
        "cost_bps": rng.choice((0.0, 5.0, 60.0, random_costs(rng, tickers))),
        "null": rng.choice(("cash", "cash", "else")),
        "start": rng.choice(("common", "common", "earliest", (a_day + timedelta(days=1)).isoformat())),
        "split": rng.choice((*SPLITS, {"chronological": rng.choice(days).isoformat()})),
        "cash_rate": rng.choice((0.0, 0.03, tickers[0])),
        "risk_free": rng.choice((0.0, 0.02, tickers[0])),
        "calendar": rng.choice(("intersection", "intersection", "union")),
    }


def random_costs(rng: random.Random, tickers: Sequence[str]) -> dict[str, float]:
    special = rng.sample(list(tickers), rng.randint(1, len(tickers)))
    return {"default": rng.choice((0.0, 5.0)), **{ticker: rng.choice((0.0, 1.5, 20.0, 80.0)) for ticker in special}}


def random_node(rng: random.Random, words: Words, depth: int, ids: Iterator[str]) -> dict:
    if depth <= 0 or rng.random() < 0.1:
        if words.calls and rng.random() < 0.3:
            return {"id": next(ids), "kind": "call", "callRefId": rng.choice(words.calls)}
        return a_position(random_positions(rng, words.tickers), ids)
    if rng.random() < 0.35:
        node: dict = {"id": next(ids), "kind": "basic"}
        node["children"] = {"next": random_slot(rng, words, depth - 1, ids, node, "weighting")}
        return node
    node = {"id": next(ids), "kind": "indicator", "conditions": random_conditions(rng, words)}
    children = {}
    for slot, weighting in (("then", "weightingThen"), ("else", "weightingElse")):
        if rng.random() < 0.95:  # a slot may be absent: that is Empty
            children[slot] = random_slot(rng, words, depth - 1, ids, node, weighting)
    node["children"] = children
    return node


def random_slot(
    rng: random.Random, words: Words, depth: int, ids: Iterator[str], parent: dict, weighting: str
) -> list[dict | None]:
    """The children of one slot; sets the parent's weighting of that slot, sometimes by leaving the default."""
    defined = rng.random() < 0.4
    if defined or rng.random() < 0.5:
        parent[weighting] = "defined" if defined else "equal"
    children: list[dict | None] = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        child = random_node(rng, words, depth, ids)
        if defined:
            child["weight"] = rng.choice((10, 25, 33.3, 60, 100))
        children.append(child)
    if rng.random() < 0.1:
        children.insert(rng.randrange(len(children) + 1), None)
    return children


def a_position(positions: list[str], ids: Iterator[str]) -> dict:
    return {"id": next(ids), "kind": "position", "positions": positions}


def random_positions(rng: random.Random, tickers: Sequence[str]) -> list[str]:
    draw = rng.random()
    if draw < 0.1:
        return ["CASH"]
    if draw < 0.2:
        return ["Empty"]
    names = [rng.choice(tickers) for _ in range(rng.choice((1, 1, 1, 2, 3)))]  # duplicates are wanted
    if rng.random() < 0.1:
        names.insert(rng.randrange(len(names) + 1), rng.choice(("CASH", "Empty")))
    return names


def random_conditions(rng: random.Random, words: Words) -> list[dict]:
    conditions = []
    for place in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        condition = {"id": f"c{place}", **random_condition(rng, words)}
        join = rng.choice(("if", None)) if place == 0 else rng.choice(("and", "or", "and", "or", "if", None))
        if join:
            condition["type"] = join
        conditions.append(condition)
    return conditions


def random_condition(rng: random.Random, words: Words) -> dict:
    family = rng.choice(words.families)
    condition: dict = {"metric": rng.choice(family), "ticker": rng.choice(words.tickers)}
    condition["comparator"] = rng.choice(COMPARATORS)
    if condition["metric"] not in WINDOWLESS:
        condition["window"] = random_window(rng, condition["metric"])
    if rng.random() < (0.85 if family is PRICE_LIKE else 0.25):
        condition |= {"expanded": True, **random_right_side(rng, words.tickers, condition, family)}
    else:
        condition["threshold"] = random_threshold(rng, condition["metric"])
    if not condition["comparator"].startswith("cross") and rng.random() < 0.3:
        condition["forDays"] = rng.randint(1, MAX_FOR_DAYS)
    return condition


def random_right_side(rng: random.Random, tickers: Sequence[str], left: dict, family: Sequence[str]) -> dict:
    """A right side, sometimes with its ticker, metric or window left to default to the left one."""
    right: dict = {}
    if rng.random() < 0.7:
        right["rightTicker"] = rng.choice(tickers)
    if rng.random() < 0.8:
        right["rightMetric"] = rng.choice(family)
    metric = right.get("rightMetric", left["metric"])
    if metric not in WINDOWLESS and ("window" not in left or rng.random() < 0.7):
        right["rightWindow"] = random_window(rng, metric)
    return right


def random_window(rng: random.Random, metric: str) -> int:
    """%B of two closes takes two values only."""
    return rng.randint(3 if metric in ("Bollinger %B", "%B") else 2, MAX_WINDOW)


def random_threshold(rng: random.Random, metric: str) -> float:
    low, high = {
        "Relative Strength Index": (20, 80),
        "RSI": (20, 80),
        "Standard Deviation": (0.5, 3),
        "StdDev": (0.5, 3),
        "Rate of Change": (-4, 4),
        "ROC": (-4, 4),
        "Cumulative Return": (-4, 4),
        "CumRet": (-4, 4),
        "Max Drawdown": (0.5, 6),
        "MaxDD": (0.5, 6),
        "Drawdown": (0.5, 12),
        "Standard Deviation of Price": (0.3, 5),
        "StdPrice": (0.3, 5),
        "ATR": (0.5, 6),
        "Average True Range": (0.5, 6),
        "Bollinger %B": (0.1, 0.9),
        "%B": (0.1, 0.9),
    }.get(metric, (20, 200))
    draw: Callable[[], float] = lambda: rng.uniform(low, high)  # noqa: E731
    return rng.choice((round(draw()), round(draw(), 1), draw()))


def random_walk(rng: random.Random, n_days: int, stands_still: bool) -> list[float]:
    """Standing still starts when averages have seen moves outside their seeds and ends before they have settled:
    otherwise RSIs of different windows, or an average and its price, tie but for rounding. Or it lasts for good."""
    closes = [rng.uniform(20, 200)]
    for _ in range(n_days - 1):
        closes.append(closes[-1] * (1 + rng.gauss(0.0004, 0.015)))
    if not stands_still:
        return closes
    if rng.random() < 0.1:
        return [closes[0]] * n_days
    at = rng.randrange(n_days // 3 + 2 * MAX_WINDOW, n_days)
    until = min(at + rng.randint(3, 15), n_days)
    return closes[:at] + [closes[at]] * (until - at) + closes[until:]


def weekdays(first: date, n_days: int) -> list[date]:
    out: list[date] = []
    day = first
    while len(out) < n_days:
        if day.weekday() < 5:
            out.append(day)
        day += timedelta(days=1)
    return out
