"""What the oracle knows on a bar: prices and series (Market), conditions, allocations, simulated equities of sub-trees.

`t` is the calendar bar of a decision, `k` the last bar that it sees: the information bar, t or t − 1 by mode.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from math import fsum
from typing import NamedTuple

from naive_formulas import formula_values
from naive_indicators import BARS_PER_YEAR, Bar, Values, as_bar, indicator, mean
from naive_metrics import Allocation, assets
from naive_tree import (
    Equity,
    Ratio,
    Source,
    can_fall_back,
    children_of,
    days_of,
    fallback_of,
    formula,
    is_date,
    is_ladder,
    items_of,
    left_side,
    look_back,
    one_by_one,
    position_tickers,
    right_side,
    scale_of,
    score_series,
    series_of,
    setting,
    slots_of,
)

Prices = Mapping[str, Sequence[tuple]]  # ticker -> (date, close) or (date, open, high, low, close[, volume]), ascending

HAIR = 1e-9  # numbers this near to each other, relative to 1 or to themselves, may compare otherwise elsewhere
EXACT = (0.0, 0.5, 50.0, 100.0)  # what indicators have by convention or at the end of their scales
NO_VOLATILITY = 1e-9  # percent a day: what is left of a constant growth by rounding
NO_WEIGHT = 1e-12


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


class Market:
    """Prices, indicator values and simulated equities by calendar bar; None where there is none (yet, or any more).

    carry : on a date without a bar, between the first and the last one, a series has the value of its last bar.
    hairs : (where, bar) of decisions that rounding could turn.

    Results are kept by node: the tree must outlive the market.
    """

    def __init__(
        self,
        prices: Prices,
        dates: list[date],
        mode: Mode = MODES["CC"],
        *,
        lag: int = 0,
        null: str = "cash",
        cash_rate: float | str = 0.0,
        formulas: Mapping[str, str] | None = None,
        carry: bool = False,
    ) -> None:
        self.prices, self.dates, self.mode = prices, dates, mode
        self.lag, self.null, self.cash_rate, self.formulas, self.carry = lag, null, cash_rate, formulas or {}, carry
        self.hairs: list[tuple[str, int]] = []
        self.histories: dict[Source, list[tuple[date, Bar]]] = {}
        self.known: dict[tuple[Source, str, int | None], Values] = {}
        self.held_returns: dict[tuple[str, int], float] = {}
        self.equities: dict[Equity, Values] = {}
        self.ready_bars: dict[Equity, int | None] = {}
        self.decided: dict[tuple[int, int], Allocation | None] = {}
        self.latches: dict[int, list[bool]] = {}

    def value(self, source: Source, name: str, window: int | None, t: int) -> float | None:
        if t < 0:
            return None
        key = (source, name, window)
        if key not in self.known:
            self.known[key] = self.aligned(source, self.own_values(source, name, window))
        return self.known[key][t]

    def own_values(self, source: Source, name: str, window: int | None) -> Values:
        bars = [bar for _, bar in self.history(source)]
        if name.startswith("custom:"):
            return formula_values(formula(name, self.formulas), bars, window)
        return indicator(name, bars, window or 1)

    def history(self, source: Source) -> list[tuple[date, Bar]]:
        """The own bars of a series: those of a ticker, the common ones of a ratio, calendar bars of an equity."""
        if source not in self.histories:
            self.histories[source] = list(history(self, source))
        return self.histories[source]

    def aligned(self, source: Source, values: Values) -> Values:
        own = [day for day, _ in self.history(source)]
        if not self.carry:
            by_date = dict(zip(own, values, strict=True))
            return [by_date.get(day) for day in self.dates]
        last = [bisect_right(own, day) - 1 for day in self.dates]
        return [values[n] if n >= 0 and day <= own[-1] else None for day, n in zip(self.dates, last, strict=True)]

    def price(self, ticker: str, t: int) -> float | None:
        return self.value(ticker, "Current Price", 1, t)

    def held_return(self, ticker: str, fill: int) -> float:
        """Over the interval of a fill at which the ticker is alive; if its data end inside, up to its last close."""
        key = (ticker, fill)
        if key not in self.held_returns:
            end = fill + self.mode.bars
            before = self.carried(ticker, self.dates[fill], self.mode.enter)
            if self.price(ticker, end) is None:
                after = self.carried(ticker, self.dates[fill], "close")
            else:
                after = self.carried(ticker, self.dates[end], self.mode.leave)
            assert before is not None and after is not None
            self.held_returns[key] = after / before - 1
        return self.held_returns[key]

    def carried_return(self, ticker: str, fill: int) -> float | None:
        """Over the interval of a fill; on a date without a bar every price is the last close; None before the first."""
        before = self.carried(ticker, self.dates[fill], self.mode.enter)
        after = self.carried(ticker, self.dates[fill + self.mode.bars], self.mode.leave)
        return None if before is None or after is None else after / before - 1

    def carried(self, ticker: str, today: date, field: str) -> float | None:
        own = self.history(ticker)
        n = bisect_right(own, today, key=lambda bar: bar[0])
        if n == 0:
            return None
        when, bar = own[n - 1]
        return getattr(bar, field if when == today else "close")

    def earned(self, rate: float | str, fill: int) -> float:
        """What a yearly rate gives in one bar, or a ticker over the interval; before its first bar it gives 0."""
        if isinstance(rate, str):
            return self.carried_return(rate, fill) or 0.0
        return rate / BARS_PER_YEAR

    def is_by_a_hair(self, where: str, t: int) -> None:
        self.hairs.append((where, t))


def history(market: Market, source: Source) -> Iterator[tuple[date, Bar]]:
    match source:
        case str():
            for when, *fields in market.prices[source]:
                yield when, as_bar(fields)
        case Ratio(over, under):
            closes = {day: bar.close for day, bar in market.history(under)}
            for day, bar in market.history(over):
                if day in closes:
                    yield day, as_bar([bar.close / closes[day]])
        case Equity():
            for day, value in zip(market.dates, equity(source, market), strict=True):
                if value is not None:
                    yield day, as_bar([value])


# ---------------------------------------------------------------- when a series or a sub-tree is ready


def needs(node: dict, market: Market) -> Iterator[tuple[Source, str, int]]:
    """(series, reason, bars of its own before the first usable one) of a node and all below it.

    A series is read as of the bar that the mode's decisions see; a position is bought on the bar itself.
    """
    for ticker in node.get("positions", ()):
        if ticker not in ("", "Empty", "CASH"):
            yield ticker, "position", 0
    for (source, name, window), extra in series_of(node):
        yield source, name, look_back(name, window, market.formulas) + extra + market.mode.seen_bars_ago
    for slot in slots_of(node):
        yield from needs_of_slot(node, slot, market)


def needs_of_slot(node: dict, slot: str, market: Market) -> Iterator[tuple[Source, str, int]]:
    weighting = setting(node, slot, "weighting")
    if can_fall_back(node, slot):
        yield fallback_of(node, slot), "position", 0
    for child in children_of(node, slot):
        if weighting in ("inverse", "pro"):
            bars = look_back("Standard Deviation", setting(node, slot, "volWindow"), {})
            yield Equity(child), "Standard Deviation", bars + market.mode.seen_bars_ago
        yield from needs(child, market)


def limits_of(needed: Iterator[tuple[Source, str, int]]) -> dict[tuple[Source, str], int]:
    """The largest number of bars per series and reason."""
    out: dict[tuple[Source, str], int] = {}
    for source, reason, bars in needed:
        out[source, reason] = max(bars, out.get((source, reason), 0))
    return out


def first_usable(source: Source, bars: int, market: Market) -> int | None:
    """The first calendar bar on or after the own bar that has `bars` before it; None if there is none."""
    own = market.history(source)
    if bars >= len(own):
        return None
    t = bisect_left(market.dates, own[bars][0])
    return t if t < len(market.dates) else None


def ready_bar(place: Equity, market: Market) -> int | None:
    """The first calendar bar at which all that the sub-tree reads and holds is there."""
    if place not in market.ready_bars:
        node, slot = place.node, place.slot
        needed = needs(node, market) if slot is None else needs_of_slot(node, slot, market)
        bars = [first_usable(source, bars, market) for (source, _), bars in limits_of(needed).items()]
        market.ready_bars[place] = None if None in bars else max(bars, default=0)
    return market.ready_bars[place]


# ---------------------------------------------------------------- simulated equities


def equity(place: Equity, market: Market) -> Values:
    """Per calendar bar: 1 where the sub-tree is ready, then grown by its decisions since; None before."""
    if place not in market.equities:
        market.equities[place] = list(grown(place, market))
    return market.equities[place]


def grown(place: Equity, market: Market) -> Iterator[float | None]:
    ready = ready_bar(place, market)
    value = 1.0
    for t in range(len(market.dates)):
        if ready is None or t < ready:
            yield None
            continue
        fill = t - market.mode.bars
        decision = fill - market.lag
        if t > ready and decision >= ready:
            allocation = (
                evaluate(place.node, market, decision)
                if place.slot is None
                else blend(place.node, place.slot, market, decision)
            )
            value *= 1 + gross_return(still_alive(allocation or {}, market, fill), market, fill)
        yield value


def gross_return(weights: Allocation, market: Market, fill: int) -> float:
    invested = assets(weights)
    cash = (1 - fsum(invested.values())) * market.earned(market.cash_rate, fill)
    return fsum([*(weight * market.held_return(ticker, fill) for ticker, weight in invested.items()), cash])


def still_alive(allocation: Allocation, market: Market, t: int) -> Allocation:
    return {k: w for k, w in allocation.items() if k == "CASH" or market.price(k, t) is not None}


# ---------------------------------------------------------------- conditions: True, False, or None for unknown


def kleene_and(terms: Sequence[bool | None]) -> bool | None:
    if any(term is False for term in terms):
        return False
    return None if any(term is None for term in terms) else True


def kleene_or(terms: Sequence[bool | None]) -> bool | None:
    if any(term is True for term in terms):
        return True
    return None if any(term is None for term in terms) else False


def all_conditions(conditions: Sequence[dict], market: Market, k: int, owner: dict | None = None) -> bool | None:
    """As seen from bar k, the last one that is read; `owner` is the node whose branches they may name.

    AND binds tighter than OR; `or`, and an `if` that is not the first, open a new OR term; no condition is false.
    """
    or_terms: list[list[bool | None]] = []
    for place, condition in enumerate(conditions):
        if place == 0 or condition.get("type", "and") in ("or", "if"):
            or_terms.append([])
        or_terms[-1].append(truth(condition, market, k, owner))
    return kleene_or([kleene_and(term) for term in or_terms])


def truth(condition: dict, market: Market, k: int, owner: dict | None) -> bool | None:
    if is_date(condition):
        return None if k < 0 else is_in_season(condition, market.dates[k])
    several = [persists(one, market, k, owner) for one in one_by_one(condition)]
    match condition["ticker"]:
        case {"any": _}:
            return kleene_or(several)
        case _:
            return kleene_and(several)


def is_in_season(condition: dict, day: date) -> bool:
    """On that day of the year, or from it to `dateTo`, both included; the range may go over the year's end."""
    today, first = (day.month, day.day), (condition["dateMonth"], condition["dateDay"])
    if "dateTo" not in condition:
        return today == first
    last = (condition["dateTo"]["month"], condition["dateTo"]["day"])
    return first <= today <= last if first <= last else today >= first or today <= last


def persists(condition: dict, market: Market, k: int, owner: dict | None) -> bool | None:
    return kleene_and([holds(condition, market, k - back, owner) for back in range(days_of(condition))])


def holds(condition: dict, market: Market, k: int, owner: dict | None) -> bool | None:
    def compare(at: int, of: Callable[[float, float], bool]) -> bool | None:
        a = market.value(*left, at)
        b = float(condition["threshold"]) if right is None else market.value(*right, at)
        if a is None or b is None:
            return None
        if right != left and is_close(a, b) and not (a == b and is_exact(a, left, right)):
            market.is_by_a_hair(condition.get("id", "condition"), at)
        return of(a, b)

    left = left_side(condition, owner)
    right = right_side(condition, owner) if condition.get("expanded") else None
    match condition["comparator"]:
        case "lt":
            return compare(k, lambda a, b: a < b)
        case "lte":
            return compare(k, lambda a, b: a <= b)
        case "gt":
            return compare(k, lambda a, b: a > b)
        case "gte":
            return compare(k, lambda a, b: a >= b)
        case "crossAbove":
            before = compare(k - 1, lambda a, b: a < b)
            now = compare(k, lambda a, b: a >= b)
        case "crossBelow":
            before = compare(k - 1, lambda a, b: a > b)
            now = compare(k, lambda a, b: a <= b)
        case other:
            raise ValueError(f"unknown comparator {other!r}")
    return None if before is None or now is None else before and now  # a cross without one of its values is unknown


def is_close(a: float, b: float) -> bool:
    return abs(a - b) <= HAIR * max(1.0, abs(a), abs(b))


def is_exact(value: float, left: tuple, right: tuple | None) -> bool:
    """Whether two equal numbers are equal for anyone: prices, the ends of scales, the same formula on both sides."""
    if value == 0 and is_zero_by_rounding(left[1]):
        return False
    return abs(value) in EXACT or (left[1] == "Current Price" if right is None else left[1:] == right[1:])


def is_zero_by_rounding(metric: str) -> bool:
    """The slope of a flat line is 0 but for rounding; so is a difference of two indicators that are the same there."""
    return metric == "Linear Reg Slope" or metric.startswith("custom:")


# ---------------------------------------------------------------- allocations


def evaluate(node: dict, market: Market, t: int) -> Allocation | None:
    """The node's allocation at bar t; None is Empty."""
    key = (id(node), t)
    if key not in market.decided:
        market.decided[key] = decide(node, market, t)
    return market.decided[key]


def decide(node: dict, market: Market, t: int) -> Allocation | None:
    k = t - market.mode.seen_bars_ago
    match node["kind"]:
        case "position":
            return position(node, market, t)
        case "basic":
            return blend(node, "next", market, t)
        case "indicator":
            return gated(node, all_conditions(node.get("conditions", ()), market, k, node), market, t)
        case "numbered":
            return numbered(node, market, t)
        case "altExit":
            return blend(node, "then" if is_in(node, market, t) else "else", market, t)
        case "scaling":
            return scaled(node, market, t)
        case "function":
            return ranked(node, market, t)
        case other:
            raise ValueError(f"{node['id']}: kind {other!r} is unknown")


def position(node: dict, market: Market, t: int) -> Allocation | None:
    """Each entry has 1/n of the list without Empty; duplicates add up; a ticker that is not alive is cash."""
    entries = [ticker for ticker in node.get("positions", ()) if ticker not in ("", "Empty")]
    out: Allocation = {}
    for ticker in entries:
        add(out, alive_or_cash(ticker, market, t), 1 / len(entries))
    return out or None


def alive_or_cash(ticker: str, market: Market, t: int) -> str:
    return ticker if ticker == "CASH" or market.price(ticker, t) is not None else "CASH"


def gated(node: dict, gate: bool | None, market: Market, t: int) -> Allocation | None:
    if gate is None and market.null == "cash":
        return {"CASH": 1.0}
    return blend(node, "then" if gate else "else", market, t)


def numbered(node: dict, market: Market, t: int) -> Allocation | None:
    """The items that are true are counted; unknown ones matter only if they could change the answer."""
    k = t - market.mode.seen_bars_ago
    truths = [all_conditions(item["conditions"], market, k, node) for item in items_of(node)]
    sure = sum(truth is True for truth in truths)
    at_most = sure + sum(truth is None for truth in truths)
    if is_ladder(node):
        if at_most > sure and market.null == "cash":
            return {"CASH": 1.0}
        return blend(node, f"ladder-{sure}", market, t)
    answers = {is_met(node["numbered"], count) for count in range(sure, at_most + 1)}
    return gated(node, answers.pop() if len(answers) == 1 else None, market, t)


def is_met(numbers: dict, count: int) -> bool:
    match numbers["quantifier"]:
        case "any":
            return count >= 1
        case "all":
            return count == len(numbers["items"])
        case "none":
            return count == 0
        case "exactly":
            return count == numbers["n"]
        case "atLeast":
            return count >= numbers["n"]
        case "atMost":
            return count <= numbers["n"]
        case other:
            raise ValueError(f"unknown quantifier {other!r}")


def is_in(node: dict, market: Market, t: int) -> bool:
    """The latch at bar t: out before calendar bar 0, then at most one change a bar, on every bar."""
    states = market.latches.setdefault(id(node), [])
    while len(states) <= t:
        was = states[-1] if states else False
        k = len(states) - market.mode.seen_bars_ago
        turn = all_conditions(node["exitConditions" if was else "entryConditions"], market, k, node)
        states.append(not was if turn else was)
    return states[t]


def scaled(node: dict, market: Market, t: int) -> Allocation | None:
    """An empty side is CASH; both empty is Empty."""
    value = market.value(*scale_of(node), t - market.mode.seen_bars_ago)
    if value is None:
        return {"CASH": 1.0}
    sides = blend(node, "then", market, t), blend(node, "else", market, t)
    if sides == (None, None):
        return None
    low, high = node["scaleFrom"], node["scaleTo"]
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    if any(is_close(value, end) and not (value == end and abs(value) in EXACT) for end in (low, high)):
        market.is_by_a_hair(node["id"], t)
    out: Allocation = {}
    for weight, side in zip((1 - share, share), sides, strict=True):
        for ticker, inner in (side or {"CASH": 1.0}).items():
            add(out, ticker, weight * inner)
    return out


Child = tuple[dict, Allocation]


def active_children(node: dict, slot: str, market: Market, t: int) -> list[Child]:
    """Those that are not Empty, with their allocations."""
    decided = [(child, evaluate(child, market, t)) for child in children_of(node, slot)]
    return [(child, allocation) for child, allocation in decided if allocation is not None]


def blend(node: dict, slot: str, market: Market, t: int) -> Allocation | None:
    return combined(node, slot, active_children(node, slot, market, t), market, t)


def combined(node: dict, slot: str, active: list[Child], market: Market, t: int) -> Allocation | None:
    """Weights are shared among the children that are not Empty; none left is Empty."""
    if not active:
        return None
    out: Allocation = {}
    weights = shares(node, slot, [child for child, _ in active], market, t)
    for share, (_, allocation) in zip(weights, active, strict=True):
        for ticker, weight in allocation.items():
            add(out, ticker, share * weight)
    rest = 1 - fsum(weights)
    if setting(node, slot, "weighting") == "capped" and rest > NO_WEIGHT:
        add(out, alive_or_cash(fallback_of(node, slot), market, t), rest)
    return out


def add(allocation: Allocation, ticker: str, weight: float) -> None:
    """A weight of zero is not held."""
    if weight > 0:
        allocation[ticker] = allocation.get(ticker, 0.0) + weight


# ---------------------------------------------------------------- ranking


def ranked(node: dict, market: Market, t: int) -> Allocation | None:
    """The n best of the children that have a score, in the order of the children."""
    active = active_children(node, "next", market, t)
    if not active:
        return None
    scores = {place: score(node, child, market, t) for place, child in enumerate(active)}
    known = {place: value for place, value in scores.items() if value is not None}
    if not known:
        return {"CASH": 1.0}
    best = sorted(known, key=lambda place: -known[place] if node["rank"] == "top" else known[place])
    kept, dropped = best[: node["n"]], best[node["n"] :]
    if dropped and is_rank_by_a_hair(known, kept[-1], dropped[0], active, node["metric"]):
        market.is_by_a_hair(node["id"], t)
    return combined(node, "next", [active[place] for place in sorted(kept)], market, t)


def score(node: dict, child: Child, market: Market, t: int) -> float | None:
    tree, allocation = child
    k = t - market.mode.seen_bars_ago
    name, window = score_series(node)
    match node.get("of", "allocation"):
        case "equity":
            return market.value(Equity(tree), name, window, k)
        case "tickers":
            weights = dict.fromkeys(position_tickers(tree), 1.0)
        case "allocation":
            weights = assets(allocation)
        case other:
            raise ValueError(f"{node['id']}: of {other!r}")
    values = {ticker: market.value(ticker, name, window, k) for ticker in weights}
    known = {ticker: value for ticker, value in values.items() if value is not None}
    if len(set(known.values())) <= 1:
        return mean(list(known.values())) if known else None  # the value itself, however weights are rounded
    return fsum(weights[k] * value for k, value in known.items()) / fsum(weights[k] for k in known)


def is_rank_by_a_hair(scores: dict[int, float], kept: int, dropped: int, active: list[Child], metric: str) -> bool:
    """Equal scores are no matter of rounding if they are 0, of the same allocation, or of one ticker each."""
    a, b = scores[kept], scores[dropped]
    if not is_close(a, b):
        return False
    (_, first), (_, second) = active[kept], active[dropped]
    if a == 0 and is_zero_by_rounding(metric):
        return first != second
    return not (a == b and (a == 0 or first == second or len(first) == len(second) == 1))


# ---------------------------------------------------------------- weightings


def shares(node: dict, slot: str, children: Sequence[dict], market: Market, t: int) -> list[float]:
    """The weight of each of the active children; they add up to 1, or less where caps leave something."""
    n = len(children)
    match setting(node, slot, "weighting"):
        case "equal":
            return [1 / n] * n
        case "defined":
            total = fsum(child["weight"] for child in children)
            if total <= 0 or any(child["weight"] < 0 for child in children):
                raise ValueError(f"weights {[child['weight'] for child in children]}")
            return [child["weight"] / total for child in children]
        case "capped":
            return [min(1 / n, setting(node, slot, "maxCap") / 100)] * n
        case "inverse" | "pro":
            base = by_volatility(node, slot, children, market, t)
            return within_caps(base, setting(node, slot, "minCap") / 100, setting(node, slot, "maxCap") / 100)
        case other:
            raise ValueError(f"weighting {other!r} is unknown")


def by_volatility(node: dict, slot: str, children: Sequence[dict], market: Market, t: int) -> list[float]:
    """Children without volatility have 1/n each; the others share the rest by σ or 1/σ of their equities."""
    k, n = t - market.mode.seen_bars_ago, len(children)
    window, inverse = setting(node, slot, "volWindow"), setting(node, slot, "weighting") == "inverse"
    sigmas = [market.value(Equity(child), "Standard Deviation", window, k) or 0.0 for child in children]
    sizes = [0.0 if sigma <= NO_VOLATILITY else 1 / sigma if inverse else sigma for sigma in sigmas]
    rest = sum(size > 0 for size in sizes) / n
    return [rest * size / fsum(sizes) if size > 0 else 1 / n for size in sizes]


def within_caps(base: Sequence[float], low: float, high: float) -> list[float]:
    """clamp(λ·base, low, high) with the λ that makes them add up to 1; all at `high` if that is too little.

    Their sum grows with λ along straight lines that bend where one of them reaches a cap.
    """
    if len(base) * high <= 1:
        return [high] * len(base)

    def clamped(level: float) -> list[float]:
        return [min(max(level * b, low), high) for b in base]

    bends = sorted({0.0, *(low / b for b in base), *(high / b for b in base)})
    upper = next(place for place, level in enumerate(bends) if fsum(clamped(level)) >= 1 or place == len(bends) - 1)
    left, right = bends[max(upper - 1, 0)], bends[upper]
    between = (left + right) / 2
    middle, free = clamped(between), [b for b in base if low < between * b < high]
    if not free:
        return middle
    fixed = fsum(weight for weight, b in zip(middle, base, strict=True) if b not in free)
    return clamped((1 - fixed) / fsum(free))
