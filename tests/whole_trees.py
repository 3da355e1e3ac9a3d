"""Random trees over the whole language, with the calls, formulas and lists that they use, and markets to run them on.

Low draws are the simple choices, so that `whole_trees`, a hypothesis strategy, shrinks to small trees.

What is left out says nothing about meaning, only about rounding: windows so short that an indicator has two values,
and indicators that turn the last bits of a standing price into a signal, except on the first ticker, which moves.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count, pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from naive_formulas import formula_is_windowed, formula_reads_bars
from naive_indicators import ALIASES, DEFINITIONS
from naive_tree import expand, read_tickers, with_lists
from random_trees import COMPARATORS, MAX_FOR_DAYS, MAX_WINDOW, a_bar, random_bars, random_settings, random_walk


class WholeTree(NamedTuple):
    """A tree and what its job needs beside it."""

    tree: dict
    calls: dict[str, dict]
    formulas: dict[str, str]
    lists: dict[str, list[str]]

    def job(self) -> dict:
        """The keyword arguments of `naive.backtest` that belong to the tree."""
        return {"calls": self.calls, "formulas": self.formulas, "lists": self.lists}


class Family(NamedTuple):
    """Indicators that may be compared with each other, where their thresholds lie, and the smallest telling window."""

    metrics: tuple[str, ...]
    low: float
    high: float
    min_window: int = 2


FAMILIES = (
    Family(("Relative Strength Index", "RSI (SMA)", "RSI (simple)", "RSI (EMA)"), 20, 80),
    Family(("Rate of Change", "Cumulative Return", "SMA of Returns", "Price vs SMA"), -3, 3),
    Family(("Standard Deviation", "Max Drawdown", "Drawdown", "ATR %", "Ulcer Index"), 0.3, 5),
    Family(
        (
            *("Current Price", "Simple Moving Average", "Exponential Moving Average", "Hull Moving Average"),
            *("Weighted Moving Average", "Wilder Moving Average", "DEMA", "TEMA", "KAMA", "Ultimate Smoother"),
            *("Linear Reg Value", "Bollinger Upper", "Bollinger Lower"),
        ),
        20,
        200,
        3,
    ),
    Family(("Stochastic %K", "Stochastic %D", "Money Flow Index", "ADX"), 15, 85, 3),
    Family(("Aroon Up", "Aroon Down", "Trend Clarity"), 15, 85, 3),
    Family(("Aroon Oscillator", "CCI", "Williams %R"), -90, 60, 3),
    Family(("Historical Volatility", "Bollinger Bandwidth"), 3, 30, 3),
    Family(("Standard Deviation of Price", "ATR"), 0.3, 5),
    Family(("MACD", "MACD Signal", "MACD Histogram"), -1.5, 1.5),
    Family(("PPO", "PPO Signal", "PPO Histogram", "Linear Reg Slope"), -1.2, 1.2, 3),
    Family(("Bollinger %B",), 0.1, 0.9, 3),
    Family(("VWAP Ratio",), 97, 103),
    Family(("OBV Rate of Change",), -60, 60),
)
LONG = Family(("Momentum (Weighted)", "Momentum (Unweighted)", "Momentum (12-Month SMA)"), -10, 15)
OF_THE_LAST_BITS = Family(("Stochastic RSI", "Laguerre RSI"), 20, 80, 3)
PRICE_SCALED = (FAMILIES[3], FAMILIES[8], FAMILIES[9])  # their thresholds are those of a ticker's price
OF_SMALL_MOVES = FAMILIES[11]  # a share of a deviation that may be tiny: as a scale it magnifies rounding

KINDS = ("basic", "indicator", "function", "numbered", "altExit", "scaling")
WEIGHTINGS = ("equal", "defined", "inverse", "pro", "capped")
QUANTIFIERS = ("any", "all", "none", "exactly", "atLeast", "atMost", "ladder")


@dataclass(frozen=True)
class Words:
    """What a tree may be made of. lists, formulas : name -> tickers; name -> (text, lowest, highest threshold)."""

    tickers: Sequence[str]
    long: bool
    lists: dict[str, list[str]] = field(default_factory=dict)
    formulas: dict[str, tuple[str, float, float]] = field(default_factory=dict)
    calls: tuple[str, ...] = ()

    def a_ticker(self, rng: random.Random) -> str:
        return rng.choice(self.tickers)


def random_whole(rng: random.Random, tickers: Sequence[str], depth: int, long: bool = False) -> WholeTree:
    """At most `depth` levels above the positions; calls add up to two.

    long : also indicators of 252 bars.
    """
    ids = map("n{}".format, count())
    words = Words(tickers, long)
    for k in range(rng.randint(0, 2)):
        words.lists[f"L{k}"] = [rng.choice(tickers) for _ in range(rng.randint(1, 3))]
    for k in range(rng.randint(0, 3)):
        words.formulas[f"F{k}"] = random_formula(rng)
    calls: dict[str, dict] = {}
    for k in range(rng.randint(0, 2)):
        calls[f"C{k}"] = random_node(rng, replace(words, calls=tuple(calls)), min(depth, 2), ids)
    tree = random_node(rng, replace(words, calls=tuple(calls)), depth, ids)
    if not any(read_tickers(with_lists(expand(tree, calls), words.lists))):
        # All cash: nothing to load, so no calendar.
        tree = {"id": next(ids), "kind": "basic", "children": {"next": [tree, a_position([tickers[0]], ids)]}}
    return WholeTree(tree, calls, {name: text for name, (text, _, _) in words.formulas.items()}, words.lists)


@st.composite
def whole_trees(draw: st.DrawFn, tickers: Sequence[str], max_depth: int = 4) -> WholeTree:
    """Whole trees by the same choices; hypothesis draws them, and shrinks them."""
    rng = draw(st.randoms(use_true_random=False))
    return random_whole(rng, tickers, rng.randint(0, max_depth))


def random_market(
    rng: random.Random, tickers: Sequence[str], n_days: int, ragged: bool
) -> dict[str, list[tuple[date, float, float, float, float, float]]]:
    """As `random_bars`, with a volume, sometimes 0; the first ticker never stands still."""
    prices = random_bars(rng, tickers, n_days, ragged)
    days = [day for day, *_ in prices[tickers[0]]]
    closes = random_walk(rng, len(days), stands_still=False)
    moving = [a_bar(rng, before, close) for before, close in pairwise([closes[0], *closes])]
    prices[tickers[0]] = [(day, *bar) for day, bar in zip(days, moving, strict=True)]
    return {ticker: [(*bar, random_volume(rng)) for bar in own] for ticker, own in prices.items()}


def random_volume(rng: random.Random) -> float:
    return 0.0 if rng.random() < 0.03 else float(rng.randint(50, 5000))


def whole_settings(rng: random.Random, tickers: Sequence[str], days: Sequence[date]) -> dict:
    """As `random_settings`, with a calendar."""
    return random_settings(rng, tickers, days) | {"calendar": rng.choice(("intersection", "intersection", "union"))}


# ---------------------------------------------------------------- nodes


def random_node(rng: random.Random, words: Words, depth: int, ids: Iterator[str]) -> dict:
    if depth <= 0 or rng.random() < 0.1:
        if words.calls and rng.random() > 0.7:
            return {"id": next(ids), "kind": "call", "callRefId": rng.choice(words.calls)}
        return a_position(random_positions(rng, words), ids)
    kind = rng.choice(KINDS)
    node: dict = {"id": next(ids), "kind": kind}
    slots = ("then", "else")
    match kind:
        case "basic":
            slots = ("next",)
        case "function":
            slots = ("next",)
            node |= random_ranking(rng, words)
        case "indicator":
            node["conditions"] = random_conditions(rng, words, "c", owner=True)
        case "numbered":
            node["numbered"] = random_numbers(rng, words)
            if node["numbered"]["quantifier"] == "ladder":
                slots = tuple(f"ladder-{k}" for k in range(len(node["numbered"]["items"]) + 1))
        case "altExit":
            entry = random_conditions(rng, words, "e", owner=True)
            again = [{**line, "id": f"x{k}"} for k, line in enumerate(entry)]  # both hold at once
            node["entryConditions"] = entry
            node["exitConditions"] = again if rng.random() > 0.8 else random_conditions(rng, words, "x", owner=True)
        case "scaling":
            node |= random_scale(rng, words)
    node["children"] = random_slots(rng, words, depth - rng.choice((1, 1, 2)), ids, node, slots)
    return node


def a_position(positions: list[str], ids: Iterator[str]) -> dict:
    return {"id": next(ids), "kind": "position", "positions": positions}


def random_positions(rng: random.Random, words: Words) -> list[str]:
    draw = rng.random()
    if draw > 0.92:
        return ["Empty"]
    if draw > 0.85:
        return ["CASH"]
    names = [words.a_ticker(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]  # duplicates are wanted
    if draw > 0.72:
        names.insert(rng.randrange(len(names) + 1), rng.choice(("CASH", "Empty", *(f"list:{k}" for k in words.lists))))
    return names


def random_ranking(rng: random.Random, words: Words) -> dict:
    of = rng.choice(("allocation", "equity", "tickers", None))
    metric, window, _ = a_metric(rng, words, closes_only=of == "equity")
    rank: dict = {"metric": metric, "rank": rng.choice(("top", "bottom")), "n": rng.choice((1, 1, 2, 3, 5))}
    return rank | ({"of": of} if of else {}) | ({"window": window} if window else {})


def random_numbers(rng: random.Random, words: Words) -> dict:
    quantifier = rng.choice(QUANTIFIERS)
    items = [
        {"id": f"i{k}", "conditions": random_conditions(rng, words, f"i{k}c", owner=quantifier != "ladder")}
        for k in range(rng.choice((1, 2, 2, 3)))
    ]
    n = {"n": rng.randint(0, len(items) + 1)} if quantifier in ("exactly", "atLeast", "atMost") else {}
    return {"quantifier": quantifier, **n, "items": items}


def random_scale(rng: random.Random, words: Words) -> dict:
    ticker, closes_only = a_source(rng, words, owner=True)
    metric, window, family = a_metric(rng, words, closes_only, ticker == words.tickers[0], scaled=not closes_only)
    ends = [a_threshold(rng, family), a_threshold(rng, family)]
    if ends[0] == ends[1]:
        ends[1] += 1
    scale = {"scaleMetric": metric, "scaleTicker": ticker, "scaleFrom": ends[0], "scaleTo": ends[1]}
    return scale | ({"scaleWindow": window} if window else {})


# ---------------------------------------------------------------- slots and weightings


def random_slots(
    rng: random.Random, words: Words, depth: int, ids: Iterator[str], node: dict, slots: Sequence[str]
) -> dict[str, list[dict | None]]:
    """The children of each slot; sets the node's weighting of them. A slot without children may be absent."""
    filled = {slot: random_children(rng, words, depth, ids) for slot in slots}
    if slots == ("then", "else"):
        set_weighting(rng, words, node, "Then", [filled["then"]])
        set_weighting(rng, words, node, "Else", [filled["else"]])
    else:
        set_weighting(rng, words, node, "", list(filled.values()))
    return {slot: children for slot, children in filled.items() if children or rng.random() < 0.5}


def random_children(rng: random.Random, words: Words, depth: int, ids: Iterator[str]) -> list[dict | None]:
    n = rng.choice((1, 1, 2, 2, 0) if depth > 0 else (1, 2, 3))
    nodes = [random_node(rng, words, depth, ids) for _ in range(n)]
    children: list[dict | None] = [*nodes]
    draw = rng.random()
    if draw > 0.9:
        children.insert(rng.randrange(len(children) + 1), None)
    elif draw > 0.82 and nodes:
        children.append(again(nodes[0], ids))  # two equal children tie
    return children


def again(node: dict, ids: Iterator[str]) -> dict:
    """The same node under fresh ids."""
    children = {
        slot: [None if child is None else again(child, ids) for child in inner]
        for slot, inner in node.get("children", {}).items()
    }
    return {**node, "id": next(ids)} | ({"children": children} if "children" in node else {})


def set_weighting(
    rng: random.Random, words: Words, node: dict, suffix: str, slots: Sequence[list[dict | None]]
) -> None:
    """What the slots that share a weighting say of it, sometimes by leaving the default."""
    weighting = rng.choice(WEIGHTINGS)
    if weighting != "equal" or rng.random() < 0.5:
        node[f"weighting{suffix}"] = weighting
    counts = [n for n in (sum(child is not None for child in children) for children in slots) if n]
    if "n" in node:
        counts = [min(n, node["n"]) for n in counts]
    match weighting:
        case "defined":
            for child in [child for children in slots for child in children if child is not None]:
                child["weight"] = rng.choice((10, 25, 33.3, 60, 100))
        case "capped":
            node[f"maxCap{suffix}"] = rng.choice((100, 50, 33.3, 25, 10))
            if rng.random() < 0.7:
                node[f"cappedFallback{suffix}"] = rng.choice((*words.tickers, "CASH"))
        case "inverse" | "pro":
            if rng.random() < 0.9:
                node[f"volWindow{suffix}"] = rng.randint(2, MAX_WINDOW)
            if counts:
                node |= random_caps(rng, suffix, min(counts), max(counts))


def random_caps(rng: random.Random, suffix: str, fewest: int, most: int) -> dict[str, float]:
    """Caps, some at the very limit of what that many children can have."""
    caps: dict[str, float] = {}
    if rng.random() > 0.4:
        limit = math.ceil(10_000 / fewest) / 100
        caps[f"maxCap{suffix}"] = rng.choice((limit, round(rng.uniform(limit, 100), 1), 100))
        caps[f"maxCap{suffix}"] = max(caps[f"maxCap{suffix}"], limit)
    if rng.random() > 0.5:
        limit = math.floor(10_000 / most) / 100
        caps[f"minCap{suffix}"] = rng.choice((limit, round(rng.uniform(0, limit), 1), 0))
        caps[f"minCap{suffix}"] = min(caps[f"minCap{suffix}"], limit)
    return caps


# ---------------------------------------------------------------- conditions


def random_conditions(rng: random.Random, words: Words, prefix: str, owner: bool) -> list[dict]:
    """owner : whether they may read the branches of their node."""
    conditions = []
    for place in range(rng.choice((1, 1, 1, 2, 2, 3))):
        join = rng.choice((None, "if")) if place == 0 else rng.choice((None, "and", "or", "or", "if"))
        condition = {"id": f"{prefix}{place}", **({"type": join} if join else {})}
        conditions.append(condition | random_condition(rng, words, owner))
    return conditions


def random_condition(rng: random.Random, words: Words, owner: bool) -> dict:
    if rng.random() > 0.93:
        return random_season(rng)
    draw = rng.random()
    if draw > 0.85:
        names = [words.a_ticker(rng) for _ in range(rng.randint(1, 3))]
        several = rng.choice((names, *(f"list:{name}" for name in words.lists)))
        ticker, closes_only = {rng.choice(("any", "all")): several}, False
    else:
        ticker, closes_only = a_source(rng, words, owner)
    metric, window, family = a_metric(rng, words, closes_only, ticker == words.tickers[0])
    condition: dict = {"metric": metric, "ticker": ticker, "comparator": rng.choice(COMPARATORS)}
    if window:
        condition["window"] = window
    by_price = family in PRICE_SCALED
    if (family is not OF_THE_LAST_BITS and rng.random() > (0.1 if by_price else 0.75)) or (by_price and closes_only):
        condition |= {"expanded": True, **random_right_side(rng, words, owner, condition, closes_only, family)}
    else:
        condition["threshold"] = a_threshold(rng, family)
    if not condition["comparator"].startswith("cross") and rng.random() > 0.75:
        condition["forDays"] = rng.randint(1, MAX_FOR_DAYS)
    return condition


def random_right_side(
    rng: random.Random, words: Words, owner: bool, left: dict, closes_only: bool, family: Family
) -> dict:
    """A right side, sometimes with its ticker, metric or window left to default to the left one."""
    right: dict = {}
    if rng.random() > 0.5:
        right["rightTicker"], closes_only = a_source(rng, words, owner)
    metric = left["metric"]
    if metric.startswith("custom:"):
        if closes_only and formula_reads_bars(words.formulas[metric.removeprefix("custom:")][0]):
            right["rightTicker"] = words.a_ticker(rng)
        if "window" in left and rng.random() > 0.5:
            right["rightWindow"] = a_window(rng, 2)
        return right
    allowed = allowed_metrics(family, closes_only)
    if not allowed:
        right["rightTicker"] = words.a_ticker(rng)
    elif metric not in allowed or rng.random() > 0.3:
        metric = right["rightMetric"] = rng.choice(allowed)
    if is_windowed(metric) and ("window" not in left or rng.random() > 0.4):
        right["rightWindow"] = a_window(rng, family.min_window)
    return right


def random_season(rng: random.Random) -> dict:
    """A day of the year, or a range, which may go over the year's end."""
    season: dict = {"metric": "Date", "dateMonth": rng.randint(1, 12), "dateDay": rng.randint(1, 28)}
    if rng.random() > 0.2:
        season["dateTo"] = {"month": rng.randint(1, 12), "day": rng.randint(1, 28)}
    return season


def a_source(rng: random.Random, words: Words, owner: bool) -> tuple[str | dict, bool]:
    """A ticker, a ratio or a branch; and whether it has closes only."""
    draw = rng.random()
    if draw > 0.85 and len(set(words.tickers)) > 1:
        return {"ratio": rng.sample(list(words.tickers), 2)}, True
    if draw > 0.65 and owner:
        return f"branch:{rng.choice(('then', 'else', 'from', 'to', 'enter', 'exit'))}", True
    return words.a_ticker(rng), False


def a_metric(
    rng: random.Random, words: Words, closes_only: bool, moves: bool = False, scaled: bool = True
) -> tuple[str, int | None, Family]:
    """A metric, its window if it takes one, and what it may be compared with.

    moves : of a ticker that never stands still. scaled : also those whose thresholds are those of prices, and those
    that magnify the rounding of an equity.
    """
    draw = rng.random()
    custom = [name for name, (text, _, _) in words.formulas.items() if not (closes_only and formula_reads_bars(text))]
    if draw > 0.85 and custom:
        name = rng.choice(custom)
        text, low, high = words.formulas[name]
        return f"custom:{name}", a_window(rng, 2) if formula_is_windowed(text) else None, Family((), low, high)
    if draw > 0.8 and moves:
        family = OF_THE_LAST_BITS
    elif draw > 0.5 and words.long and not closes_only:
        family = LONG
    else:
        families = [
            f
            for f in FAMILIES
            if allowed_metrics(f, closes_only) and (scaled or f not in (*PRICE_SCALED, OF_SMALL_MOVES))
        ]
        family = rng.choice(families)
    metric = rng.choice(allowed_metrics(family, closes_only))
    return metric, a_window(rng, family.min_window) if is_windowed(metric) else None, family


def allowed_metrics(family: Family, closes_only: bool) -> list[str]:
    return [name for name in family.metrics if not (closes_only and DEFINITIONS[ALIASES[name]].reads_bars)]


def is_windowed(metric: str) -> bool:
    return DEFINITIONS[ALIASES[metric]].windowed


def a_window(rng: random.Random, smallest: int) -> int:
    return rng.randint(smallest, MAX_WINDOW)


def a_threshold(rng: random.Random, family: Family) -> float:
    exact = rng.uniform(family.low, family.high)
    return rng.choice((round(exact, 0 if family.high > 5 else 1), round(exact, 2), exact))


# ---------------------------------------------------------------- formulas


def random_formula(rng: random.Random) -> tuple[str, float, float]:
    """(text, lowest, highest threshold).

    Where a formula jumps (a quotient by 0, a logarithm of nothing, a sign) it does so on differences of raw prices.
    """

    def n() -> int:
        return rng.randint(2, 6)

    def price() -> str:
        averages = ("sma", "EMA", "hma", "kama", f"sma(close, {n()})", f"ema(close, {n()})", f"rmax(high, {n()})")
        return rng.choice(("close", *averages, "open", "(high + low) / 2", "linreg_value", f"ago(close, {n()})"))

    def percent() -> str:
        known = ("roc", "cumret", "sma_ret", "price_vs_sma", "ppo_hist", f"roc(close, {n()})")
        return rng.choice((*known, f"({price()} / {price()} - 1) * 100", f"100 * log({price()} / {price()})"))

    def oscillator() -> str:
        known = ("rsi", "rsi_sma", "rsi_ema", "stochd", "mfi", "aroon_up", "adx", "bbpctb * 100")
        return rng.choice((*known, f"percentile(close, {n()})", f"stochastic(close, {n()})"))

    def spread() -> str:
        known = ("stdev", "maxdd", "drawdown", "atr_pct", "ulcer", "bbwidth / 4", "hvol / 16")
        return rng.choice((*known, f"stdev(roc(close, 1), {n()})", "stdev_price / close * 100"))

    return rng.choice(
        (
            (percent(), -2, 2),
            (oscillator(), 20, 80),
            (spread(), 0.5, 4),
            (f"-({percent()})", -2, 2),
            (f"abs({percent()}) * {spread()}", 0.3, 6),
            (f"max({percent()}, {percent()}) - min({percent()}, 1)", -1, 3),
            (f"exp(({percent()}) / 3)", 0.5, 2),
            (f"pow({percent()}, 2)", 0.2, 4),
            (f"{rng.choice(('sma', 'ema', 'rmax', 'rmin', 'ago'))}({percent()}, {n()})", -2, 2),
            (f"stdev({oscillator()}, {n()})", 3, 20),
            (f"({percent()}) / max(abs({percent()}), 0.5)", -1.5, 1.5),
            (f"round({percent()}) + floor({spread()}) - ceil(close / 1000)", -1, 4),
            (f"sqrt(roc(close, {n()}))", 0.3, 2),
            (f"log10(roc(close, {n()})) * 2", -1, 1),
            (f"1 / roc(close, {n()})", -1, 1),
            (f"close % {rng.choice((7, 2.5, 40))} / max(volume, 1) * sign(roc(close, 1))", -0.01, 0.01),
            (f"{oscillator()} - {oscillator()}", -30, 30),
        )
    )
