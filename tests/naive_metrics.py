"""The metrics of the oracle, from the returns of a segment as if no other day existed; and the splits into segments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import fsum

BARS_PER_YEAR = 252

Allocation = dict[str, float]
Metrics = dict[str, float | None]

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


def assets(allocation: Allocation) -> Allocation:
    """The allocation without CASH: two allocations are the same when their assets are."""
    return {ticker: weight for ticker, weight in allocation.items() if ticker != "CASH"}


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
