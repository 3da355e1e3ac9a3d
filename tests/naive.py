"""The naive oracle: one branch of a strategy tree, day by day, in plain Python, written from the rules of meaning only.

It shares no code with the package, rounds nothing and is not fast; it is meant to be checked by eye.

1. The calendar is the dates on which every ticker of the tree that is alive (between its first and last bar) has a bar.
2. Indicators run over a ticker's own bars and are then looked up by date; None is "no value".
3. On every calendar bar the tree gives an allocation: ticker -> weight; what is missing to 1 is cash. An allocation of
   None is Empty: it passes its weight to its siblings.
4. The decision of bar start + i is filled at bar start + i + lag, at that bar's close, and earns until the next close,
   which dates the return. The cost of the fill is in that return.
5. Metrics are computed from the returns of a segment as if no other day existed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import pairwise
from math import fsum

BARS_PER_YEAR = 252
CASH_LIKE = ("CASH", "BIL", "SHV", "SGOV", "USFR")

Values = list[float | None]
Prices = dict[str, list[tuple[date, float]]]
Allocation = dict[str, float]
Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Result:
    """One backtest. Bars are numbered on the calendar `dates`.

    start : the bar of the first traded decision.
    limits : own bars needed before the first value, per ticker and reason; the largest per ticker limits the start.
    allocations : per calendar bar what the tree decides there, also before the start; CASH is an entry only where the
        tree says CASH (or a gate is unknown, or a ticker is not alive); what is missing to 1 is cash too.
    held, turnovers, returns : per return, in order: weights in force after the fill, traded value at the fill as a
        fraction of equity, (date of the interval's end, net return).
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
    benchmark: str | None = None,
    lag: int = 0,
    cost_bps: float = 5.0,
    null: str = "cash",
    start: str | date = "common",
    split: dict | str | None = {"holdout": "30%"},  # noqa: B006 - read, never written
    cash_rate: float = 0.0,
    risk_free: float = 0.0,
    cash_like: Sequence[str] = CASH_LIKE,
) -> Result:
    """Mode CC, rebalanced daily; dates in `start` and `split` are ISO strings.

    Raises ValueError for what the rules call an error, and when no bar is left to trade.
    """
    tickers = sorted(set(held_tickers(tree)) | {ticker for ticker, _, _ in sides_of_conditions(tree)})
    check_prices(prices, [*tickers, *([benchmark] if benchmark else [])])
    dates = calendar(prices, tickers)
    limits = bars_needed(tree)
    first = start_bar(prices, dates, limits, start)

    market = Market(prices, dates)
    allocations = [evaluate(tree, market, t, null) or {"CASH": 1.0} for t in range(len(dates))]

    held, turnovers, returns = simulate(market, allocations, first, lag, cost_bps / 10_000, cash_rate / BARS_PER_YEAR)
    if not returns:
        raise ValueError(f"nothing to trade: {len(dates)} calendar bars, start {first}, lag {lag}")
    benchmark_returns = carried_returns(prices[benchmark], dates, first + lag) if benchmark else [None] * len(returns)

    days = [
        Day(when, r, b, tau, weights, changed)
        for (when, r), b, tau, weights, changed in zip(
            returns, benchmark_returns, turnovers, held, set_changes(held), strict=True
        )
    ]
    rf = risk_free / BARS_PER_YEAR
    segments = {"full": days, **split_days(days, split)}
    metrics = {
        name: dict.fromkeys(METRICS) if segment is None else measure(segment, rf, cash_like, benchmark is not None)
        for name, segment in segments.items()
    }
    return Result(dates, first, limits, allocations, held, turnovers, returns, metrics)


def assets(allocation: Allocation) -> Allocation:
    """The allocation without CASH: two allocations are the same when their assets are."""
    return {ticker: weight for ticker, weight in allocation.items() if ticker != "CASH"}


# ---------------------------------------------------------------- the tree, statically


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
    if name == "Current Price":
        return ticker, name, 1
    if window is None:
        raise ValueError(f"{metric} of {ticker}: no window")
    return ticker, name, window


def is_cross(condition: dict) -> bool:
    return condition["comparator"] in ("crossAbove", "crossBelow")


def bars_needed(tree: dict) -> dict[tuple[str, str], int]:
    """(ticker, reason) -> own bars before the first usable one; a position needs none before its first price."""
    needed: dict[tuple[str, str], int] = {(ticker, "position"): 0 for ticker in held_tickers(tree)}
    for ticker, name, bars in sides_of_conditions(tree):
        needed[ticker, name] = max(bars, needed.get((ticker, name), 0))
    return needed


# ---------------------------------------------------------------- the market


def check_prices(prices: Prices, tickers: Sequence[str]) -> None:
    for ticker in tickers:
        if not prices.get(ticker):
            raise ValueError(f"{ticker}: no prices")
        days = [day for day, _ in prices[ticker]]
        if days != sorted(set(days)):
            raise ValueError(f"{ticker}: dates are not strictly increasing")
        if not all(math.isfinite(price) and price > 0 for _, price in prices[ticker]):
            raise ValueError(f"{ticker}: a price is not a positive number")


def calendar(prices: Prices, tickers: Sequence[str]) -> list[date]:
    has = {ticker: {day for day, _ in prices[ticker]} for ticker in tickers}
    first = {ticker: min(has[ticker]) for ticker in tickers}
    last = {ticker: max(has[ticker]) for ticker in tickers}
    return [
        day
        for day in sorted(set().union(*has.values()))
        if all(day in has[ticker] for ticker in tickers if first[ticker] <= day <= last[ticker])
    ]


def start_bar(prices: Prices, dates: list[date], limits: dict[tuple[str, str], int], start: str | date) -> int:
    """The first calendar bar on or after each ticker's first usable own bar, and on or after a date given as start."""
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

    def __init__(self, prices: Prices, dates: list[date]) -> None:
        self.prices, self.dates = prices, dates
        self.known: dict[tuple[str, str, int], Values] = {}

    def value(self, ticker: str, name: str, window: int, t: int) -> float | None:
        if t < 0:
            return None
        key = (ticker, name, window)
        if key not in self.known:
            own = self.prices[ticker]
            by_date = dict(zip([day for day, _ in own], indicator(name, [p for _, p in own], window), strict=True))
            self.known[key] = [by_date.get(day) for day in self.dates]
        return self.known[key][t]

    def price(self, ticker: str, t: int) -> float | None:
        return self.value(ticker, "Current Price", 1, t)


def carried_returns(own: list[tuple[date, float]], dates: list[date], first: int) -> Values:
    """Per interval from bar `first` on: the return of the price last seen; None before there is one."""
    seen = [bisect_right(own, today, key=lambda bar: bar[0]) for today in dates]
    carried = [own[n - 1][1] if n else None for n in seen]
    return [None if a is None or b is None else b / a - 1 for a, b in pairwise(carried[first:])]


# ---------------------------------------------------------------- indicators


def indicator(name: str, values: Sequence[float | None], window: int = 1) -> Values:
    """Name or alias; own closes in order; None or NaN is a gap. The value at k uses closes up to and including k."""
    closes = [None if p is None or math.isnan(p) else float(p) for p in values]
    return FORMULAS[ALIASES[name]](closes, window)


def bars_before_first_value(name: str, window: int) -> int:
    match ALIASES[name]:
        case "Current Price":
            return 0
        case "Simple Moving Average" | "Exponential Moving Average":
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


FORMULAS: dict[str, Callable[[Values, int], Values]] = {
    "Current Price": current_price,
    "Simple Moving Average": simple_moving_average,
    "Exponential Moving Average": exponential_moving_average,
    "Relative Strength Index": relative_strength_index,
    "Standard Deviation": standard_deviation,
    "Rate of Change": rate_of_change,
}

ALIASES: dict[str, str] = {name: name for name in FORMULAS} | {
    "Price": "Current Price",
    "SMA": "Simple Moving Average",
    "EMA": "Exponential Moving Average",
    "RSI": "Relative Strength Index",
    "StdDev": "Standard Deviation",
    "ROC": "Rate of Change",
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
    """AND binds tighter than OR; `or`, and an `if` that is not the first, open a new OR term; no condition is false."""
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
            gate = all_conditions(node.get("conditions", ()), market, t)
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


def simulate(
    market: Market, allocations: list[Allocation], first: int, lag: int, cost: float, cash_per_bar: float
) -> tuple[list[Allocation], list[float], list[tuple[date, float]]]:
    """Back to target at each fill: τ = Σ|w − d| over assets, r = (1 − cτ)(1 + R) − 1."""
    held: list[Allocation] = []
    turnovers: list[float] = []
    returns: list[tuple[date, float]] = []
    drifted: Allocation = {}  # before the first fill everything is cash
    for fill in range(first + lag, len(market.dates) - 1):
        decided = allocations[fill - lag]
        # A ticker whose data have ended by the fill cannot be bought: its weight is cash, what is left of it is sold.
        target = {k: w for k, w in decided.items() if k == "CASH" or market.price(k, fill) is not None}
        tau = fsum(abs(target.get(k, 0.0) - drifted.get(k, 0.0)) for k in {*target, *drifted} - {"CASH"})

        own = {k: price_return(market, k, fill) for k in assets(target)}
        cash_weight = 1 - fsum(assets(target).values())
        gross = fsum([*(target[k] * own[k] for k in own), cash_weight * cash_per_bar])
        drifted = {k: target[k] * (1 + own[k]) / (1 + gross) for k in own}

        held.append(target)
        turnovers.append(tau)
        returns.append((market.dates[fill + 1], (1 - cost * tau) * (1 + gross) - 1))
    return held, turnovers, returns


def price_return(market: Market, ticker: str, t: int) -> float:
    """From the close of bar t to the next close; a ticker without a next close stays at its last price."""
    before, after = market.price(ticker, t), market.price(ticker, t + 1)
    assert before is not None
    return 0.0 if after is None else after / before - 1


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
    """One return with all that belongs to its bar; b is the benchmark's return or None."""

    when: date
    r: float
    b: float | None
    tau: float
    weights: Allocation
    changed: bool


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
    """Every metric of the days of a segment; a segment without days has n_days 0 and nothing else."""
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
