"""The indicators of the oracle: each one a plain function of own bars, in order, that gives one value per bar.

None is "no value": a gap in the input, too few bars, or a quotient without meaning. The value at k uses bars up to k.

* A window with a gap in it has no value.
* A recursive average or filter (Wilder's, exponential, KAMA, Ultimate Smoother, Laguerre) starts again after a gap.
* What adds up since the first bar (Drawdown, OBV) has no value on the gap and goes on after it as if it had not been.
* Whether something stands still is decided on equal numbers, never on small ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from math import fsum
from typing import NamedTuple

BARS_PER_YEAR = 252

Values = list[float | None]


class Bar(NamedTuple):
    """One day of a ticker on the total-return scale; None is a missing field."""

    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None = None


def indicator(name: str, values: Sequence[object], window: int = 1) -> Values:
    """Name or alias; own closes, or own (open, high, low, close) or (open, high, low, close, volume), in order.

    None or NaN is a gap. The value at k uses bars up to and including k.
    """
    bars = [as_bar(v if isinstance(v, (tuple, list)) else [v]) for v in values]
    definition = DEFINITIONS[ALIASES[name]]
    return definition.formula(bars if definition.reads_bars else [bar.close for bar in bars], window)


def as_bar(fields: Sequence[float | None]) -> Bar:
    """Four or five fields, or a close that stands for all prices."""
    known = [None if p is None or math.isnan(p) else float(p) for p in fields]
    return Bar(*(known if len(known) >= 4 else known * 4))


def bars_before_first_value(name: str, window: int) -> int:
    """Own bars that a series without gaps needs before it has a value."""
    return DEFINITIONS[ALIASES[name]].first(window)


def reads_bars(name: str) -> bool:
    """Whether the indicator needs more of a bar than its close."""
    return DEFINITIONS[ALIASES[name]].reads_bars


# ---------------------------------------------------------------- averages


def current_price(p: Values, w: int) -> Values:
    return list(p)


def simple_moving_average(p: Values, w: int) -> Values:
    return rolling(p, w, mean)


def exponential_moving_average(p: Values, w: int) -> Values:
    return recursive_average(p, w, 2 / (w + 1))


def wilder_moving_average(p: Values, w: int) -> Values:
    return recursive_average(p, w, 1 / w)


def weighted_moving_average(p: Values, w: int) -> Values:
    return rolling(p, w, lambda x: fsum(k * v for k, v in enumerate(x, start=1)) / (w * (w + 1) / 2))


def hull_moving_average(p: Values, w: int) -> Values:
    half, whole = weighted_moving_average(p, max(1, w // 2)), weighted_moving_average(p, w)
    return weighted_moving_average(each(lambda h, x: 2 * h - x, half, whole), math.isqrt(w))


def double_exponential(p: Values, w: int) -> Values:
    once = exponential_moving_average(p, w)
    twice = exponential_moving_average(once, w)
    return each(lambda e1, e2: 2 * e1 - e2, once, twice)


def triple_exponential(p: Values, w: int) -> Values:
    once = exponential_moving_average(p, w)
    twice = exponential_moving_average(once, w)
    thrice = exponential_moving_average(twice, w)
    return each(lambda e1, e2, e3: 3 * e1 - 3 * e2 + e3, once, twice, thrice)


def kaufman_adaptive_average(p: Values, w: int) -> Values:
    """Starts at P[w]; where the price stands still for w bars its efficiency is 0."""
    fast, slow = 2 / 3, 2 / 31

    def filtered(x: list[float]) -> Values:
        out: Values = [None] * min(w, len(x))
        k = 0.0
        for at in range(w, len(x)):
            path = fsum(abs(b - a) for a, b in pairwise(x[at - w : at + 1]))
            efficiency = abs(x[at] - x[at - w]) / path if path else 0.0
            k = x[at] if at == w else k + (efficiency * (fast - slow) + slow) ** 2 * (x[at] - k)
            out.append(k)
        return out

    return between_gaps(p, filtered)


def ultimate_smoother(p: Values, w: int) -> Values:
    """A two-pole low-pass filter, whose first max(2, w) values are the price itself."""
    f = 1.414 * math.pi / w
    c2, c3 = 2 * math.exp(-f) * math.cos(f), -math.exp(-2 * f)
    c1 = 1 - c2 - c3

    def filtered(x: list[float]) -> Values:
        out: list[float] = []
        for at, v in enumerate(x):
            out.append(v if at < max(2, w) else c1 * v + c2 * out[-1] + c3 * out[-2])
        return list(out)

    return between_gaps(p, filtered)


# ---------------------------------------------------------------- relative strength


def relative_strength(p: Values, w: int, average: Callable[[Values, int], Values]) -> Values:
    """100·G/(G + L) of the averaged gains and losses; neither is 50."""
    moves = changes(p, lambda before, now: now - before)
    gains = average(each(lambda d: max(d, 0.0), moves), w)
    losses = average(each(lambda d: max(-d, 0.0), moves), w)
    return each(lambda g, x: 50.0 if g + x == 0 else 100 * (g / (g + x)), gains, losses)


def relative_strength_index(p: Values, w: int) -> Values:
    return relative_strength(p, w, wilder_moving_average)


def relative_strength_simple(p: Values, w: int) -> Values:
    return relative_strength(p, w, simple_moving_average)


def relative_strength_exponential(p: Values, w: int) -> Values:
    return relative_strength(p, w, exponential_moving_average)


def stochastic_rsi(p: Values, w: int) -> Values:
    """Where RSI(w) lies among its last w values; standing still is 50, as for the whole family.

    Where the price stands still both averages shrink by one factor, so RSI stays; the last bits of a ratio would not.
    """
    levels = relative_strength_index(p, w)
    for k in range(1, len(p)):
        if p[k] == p[k - 1] and w > 1 and levels[k] is not None and levels[k - 1] is not None:
            levels[k] = levels[k - 1]
    return rolling(levels, w, lambda x: 50.0 if min(x) == max(x) else 100 * place_in_range(x))


def laguerre_rsi(p: Values, w: int) -> Values:
    """Four Laguerre filters in a row, γ = 0.8, that start at 0."""
    g = 0.8

    def filtered(x: list[float]) -> Values:
        out: Values = []
        a = b = c = d = 0.0
        for v in x:
            a, a1 = (1 - g) * v + g * a, a
            b, b1 = -g * a + a1 + g * b, b
            c, c1 = -g * b + b1 + g * c, c
            d = -g * c + c1 + g * d
            steps = [a - b, b - c, c - d]
            up, down = fsum(max(s, 0.0) for s in steps), fsum(max(-s, 0.0) for s in steps)
            out.append(50.0 if up + down == 0 else 100 * up / (up + down))
        return out

    return between_gaps(p, filtered)


# ---------------------------------------------------------------- returns and momentum


def rate_of_change(p: Values, w: int) -> Values:
    return rolling(p, w + 1, lambda closes: (closes[-1] / closes[0] - 1) * 100)


def average_of_returns(p: Values, w: int) -> Values:
    return rolling(changes(p, lambda before, now: 100 * (now / before - 1)), w, mean)


def price_against_average(p: Values, w: int) -> Values:
    return each(lambda price, average: (price / average - 1) * 100, p, simple_moving_average(p, w))


def momentum(p: Values, weights: Sequence[float]) -> Values:
    """The weighted mean of the returns over 21, 63, 126 and 252 bars."""

    def of(closes: list[float]) -> float:
        returns = [closes[-1] / closes[-1 - bars] - 1 for bars in (21, 63, 126, 252)]
        return 100 * fsum(w * r for w, r in zip(weights, returns, strict=True)) / fsum(weights)

    return rolling(p, 253, of)


def momentum_weighted(p: Values, w: int) -> Values:
    return momentum(p, (12, 4, 2, 1))


def momentum_unweighted(p: Values, w: int) -> Values:
    return momentum(p, (1, 1, 1, 1))


def momentum_twelve_months(p: Values, w: int) -> Values:
    """Against the mean of 13 closes, 21 bars apart."""
    return rolling(p, 253, lambda closes: 100 * (closes[-1] / mean(closes[::21]) - 1))


# ---------------------------------------------------------------- deviations and drawdowns


def standard_deviation(p: Values, w: int) -> Values:
    return rolling(changes(p, lambda before, now: now / before - 1), w, lambda r: 100 * population_deviation(r))


def standard_deviation_of_price(p: Values, w: int) -> Values:
    return rolling(p, w, population_deviation)


def historical_volatility(p: Values, w: int) -> Values:
    logs = changes(p, lambda before, now: math.log(now / before))
    return rolling(logs, w, lambda r: 100 * population_deviation(r) * math.sqrt(BARS_PER_YEAR))


def max_drawdown_of_price(p: Values, w: int) -> Values:
    return rolling(p, w, lambda closes: 100 * max(falls(closes)))


def drawdown_of_price(p: Values, w: int) -> Values:
    """From the highest close so far; a gap has no value and the peak goes on."""
    fallen = iter(falls([v for v in p if v is not None]))
    return [None if v is None else 100 * next(fallen) for v in p]


def ulcer_index(p: Values, w: int) -> Values:
    return rolling(p, w, lambda closes: math.sqrt(fsum((100 * f) ** 2 for f in falls(closes)) / w))


def falls(closes: list[float]) -> list[float]:
    """Per close, how far it lies below the highest one up to it, as a fraction of that."""
    return [(peak - close) / peak for close, peak in zip(closes, accumulate(closes, max), strict=True)]


def bollinger_percent_b(p: Values, w: int) -> Values:
    return rolling(p, w, percent_b)


def percent_b(closes: list[float]) -> float:
    if min(closes) == max(closes):
        return 0.5
    middle, deviation = mean(closes), population_deviation(closes)
    lower, upper = middle - 2 * deviation, middle + 2 * deviation
    return (closes[-1] - lower) / (upper - lower)


def bollinger_bandwidth(p: Values, w: int) -> Values:
    return rolling(p, w, lambda closes: 100 * 4 * population_deviation(closes) / mean(closes))


def bollinger_upper(p: Values, w: int) -> Values:
    return rolling(p, w, lambda closes: mean(closes) + 2 * population_deviation(closes))


def bollinger_lower(p: Values, w: int) -> Values:
    return rolling(p, w, lambda closes: mean(closes) - 2 * population_deviation(closes))


# ---------------------------------------------------------------- straight lines through the last w prices


class Line(NamedTuple):
    """The least-squares line through x, at places 0 … n − 1; `fit` is R²."""

    slope: float
    end: float
    fit: float


def line_through(x: list[float]) -> Line | None:
    """None for a single point; a flat line explains nothing."""
    if len(x) == 1:
        return None
    middle, average = (len(x) - 1) / 2, mean(x)
    across = fsum((k - middle) ** 2 for k in range(len(x)))
    both = fsum((k - middle) * (v - average) for k, v in enumerate(x))
    up = fsum((v - average) ** 2 for v in x)
    slope = both / across
    return Line(slope, average + slope * middle, 0.0 if min(x) == max(x) else both**2 / (across * up))


def linear_slope(p: Values, w: int) -> Values:
    return rolling(p, w, lambda x: None if (line := line_through(x)) is None else 100 * line.slope / mean(x))


def linear_value(p: Values, w: int) -> Values:
    return rolling(p, w, lambda x: None if (line := line_through(x)) is None else line.end)


def trend_clarity(p: Values, w: int) -> Values:
    return rolling(p, w, lambda x: 0.0 if (line := line_through(x)) is None else 100 * line.fit)


# ---------------------------------------------------------------- MACD and PPO: 12, 26, 9


def macd(p: Values, w: int) -> Values:
    fast, slow = exponential_moving_average(p, 12), exponential_moving_average(p, 26)
    return each(lambda f, s: f - s, fast, slow)


def ppo(p: Values, w: int) -> Values:
    fast, slow = exponential_moving_average(p, 12), exponential_moving_average(p, 26)
    return each(lambda f, s: (f - s) / s * 100, fast, slow)


def macd_signal(p: Values, w: int) -> Values:
    return exponential_moving_average(macd(p, w), 9)


def ppo_signal(p: Values, w: int) -> Values:
    return exponential_moving_average(ppo(p, w), 9)


def macd_histogram(p: Values, w: int) -> Values:
    return each(lambda line, signal: line - signal, macd(p, w), macd_signal(p, w))


def ppo_histogram(p: Values, w: int) -> Values:
    return each(lambda line, signal: line - signal, ppo(p, w), ppo_signal(p, w))


# ---------------------------------------------------------------- of highs, lows and volumes


def column(bars: Sequence[Bar], field: str) -> Values:
    return [getattr(bar, field) for bar in bars]


def typical_price(bars: list[Bar]) -> Values:
    return each(lambda h, x, c: (h + x + c) / 3, *(column(bars, field) for field in ("high", "low", "close")))


def true_ranges(bars: list[Bar]) -> Values:
    high, low, close = (column(bars, field) for field in ("high", "low", "close"))
    return each(lambda h, x, before: max(h - x, abs(h - before), abs(x - before)), high, low, shifted(close, 1))


def average_true_range(bars: list[Bar], w: int) -> Values:
    return wilder_moving_average(true_ranges(bars), w)


def average_true_range_percent(bars: list[Bar], w: int) -> Values:
    return each(lambda r, c: r / c * 100, average_true_range(bars, w), column(bars, "close"))


def average_directional_index(bars: list[Bar], w: int) -> Values:
    """Wilder's: of two moves only the larger counts. Without any range or any move there is no DX."""
    ups = changes(column(bars, "high"), lambda before, now: now - before)
    downs = changes(column(bars, "low"), lambda before, now: before - now)
    plus = wilder_moving_average(each(lambda u, d: u if u > d and u > 0 else 0.0, ups, downs), w)
    minus = wilder_moving_average(each(lambda u, d: d if d > u and d > 0 else 0.0, ups, downs), w)

    def dx(r: float, u: float, d: float) -> float | None:
        if r == 0 or u + d == 0:
            return None
        up, down = 100 * u / r, 100 * d / r
        return 100 * abs(up - down) / (up + down)

    return wilder_moving_average(each(dx, average_true_range(bars, w), plus, minus), w)


def range_of(bars: list[Bar], w: int) -> tuple[Values, Values, Values]:
    """Close, highest high and lowest low of the last w bars."""
    high, low, close = (column(bars, field) for field in ("high", "low", "close"))
    return close, rolling(high, w, max), rolling(low, w, min)


def stochastic_k(bars: list[Bar], w: int) -> Values:
    return each(lambda c, h, x: None if h == x else 100 * (c - x) / (h - x), *range_of(bars, w))


def stochastic_d(bars: list[Bar], w: int) -> Values:
    return rolling(stochastic_k(bars, w), 3, mean)


def williams_r(bars: list[Bar], w: int) -> Values:
    return each(lambda c, h, x: None if h == x else -100 * (h - c) / (h - x), *range_of(bars, w))


def commodity_channel_index(bars: list[Bar], w: int) -> Values:
    def of(x: list[float]) -> float | None:
        if min(x) == max(x):
            return None
        average = mean(x)
        return (x[-1] - average) / (0.015 * fsum(abs(v - average) for v in x) / w)

    return rolling(typical_price(bars), w, of)


def bars_since_top(x: list[float]) -> int:
    """Since the highest of them, the latest one if there are several."""
    return next(back for back, v in enumerate(reversed(x)) if v == max(x))


def aroon_up(bars: list[Bar], w: int) -> Values:
    return rolling(column(bars, "high"), w + 1, lambda x: 100 * (w - bars_since_top(x)) / w)


def aroon_down(bars: list[Bar], w: int) -> Values:
    return rolling(column(bars, "low"), w + 1, lambda x: 100 * (w - bars_since_top([-v for v in x])) / w)


def aroon_oscillator(bars: list[Bar], w: int) -> Values:
    return each(lambda up, down: up - down, aroon_up(bars, w), aroon_down(bars, w))


def money_flow_index(bars: list[Bar], w: int) -> Values:
    """A bar's flow, typical price times volume, counts up where the typical price rose and down where it fell."""
    price, volume = typical_price(bars), column(bars, "volume")
    before = shifted(price, 1)
    up = rolling(each(lambda b, p, v: p * v if p > b else 0.0, before, price, volume), w, fsum)
    down = rolling(each(lambda b, p, v: p * v if p < b else 0.0, before, price, volume), w, fsum)
    return each(lambda u, d: 50.0 if u + d == 0 else 100 * u / (u + d), up, down)


def on_balance_volume(bars: list[Bar]) -> Values:
    """0 at the first bar that has a close and a volume; bars without one of them are passed over."""
    out: Values = []
    total, last = 0.0, None
    for bar in bars:
        if bar.close is None or bar.volume is None:
            out.append(None)
            continue
        if last is not None and bar.close != last:
            total += bar.volume if bar.close > last else -bar.volume
        last = bar.close
        out.append(total)
    return out


def on_balance_volume_change(bars: list[Bar], w: int) -> Values:
    volume = on_balance_volume(bars)
    return each(
        lambda before, now: None if before == 0 else (now - before) / abs(before) * 100, shifted(volume, w), volume
    )


def price_against_vwap(bars: list[Bar], w: int) -> Values:
    close, volume = column(bars, "close"), column(bars, "volume")
    money, shares = rolling(each(lambda p, v: p * v, close, volume), w, fsum), rolling(volume, w, fsum)
    return each(lambda p, m, v: None if v == 0 else p / (m / v) * 100, close, money, shares)


# ---------------------------------------------------------------- what they are made of


def rolling(x: Values, w: int, of: Callable[[list[float]], float | None]) -> Values:
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


def between_gaps(x: Values, of: Callable[[list[float]], Values]) -> Values:
    """`of` every stretch without a gap."""
    out: Values = []
    stretch: list[float] = []
    for v in [*x, None]:
        if v is not None:
            stretch.append(v)
            continue
        out += [*of(stretch), None]
        stretch = []
    return out[: len(x)]


def each(of: Callable[..., float | None], *columns: Values) -> Values:
    """`of` the values of every bar on which none is missing."""
    return [None if None in row else of(*row) for row in zip(*columns, strict=True)]


def shifted(x: Values, bars: int) -> Values:
    """The value that many bars ago."""
    return ([None] * bars + x)[: len(x)]


def changes(p: Values, of: Callable[[float, float], float]) -> Values:
    return each(of, shifted(p, 1), p)


def place_in_range(x: list[float]) -> float:
    """Where the last of them lies between the lowest and the highest."""
    return (x[-1] - min(x)) / (max(x) - min(x))


def mean(x: Sequence[float]) -> float:
    """Equal numbers have exactly that mean: a flat price ties with its own average, whatever the division rounds to."""
    return x[0] if min(x) == max(x) else fsum(x) / len(x)


def population_deviation(x: Sequence[float]) -> float:
    m = mean(x)
    return math.sqrt(fsum((v - m) ** 2 for v in x) / len(x))


# ---------------------------------------------------------------- names


class Definition(NamedTuple):
    """formula : (closes or bars, window) -> values. first : window -> bars before the first value."""

    formula: Callable[..., Values]
    first: Callable[[int], int]
    windowed: bool = True
    reads_bars: bool = False


def last_bar(w: int) -> int:
    return w - 1


def one_more(w: int) -> int:
    return w


def fixed(bars: int) -> Callable[[int], int]:
    return lambda w: bars


DEFINITIONS: dict[str, Definition] = {
    "Current Price": Definition(current_price, fixed(0), windowed=False),
    "Simple Moving Average": Definition(simple_moving_average, last_bar),
    "Exponential Moving Average": Definition(exponential_moving_average, last_bar),
    "Hull Moving Average": Definition(hull_moving_average, lambda w: w + math.isqrt(w) - 2),
    "Weighted Moving Average": Definition(weighted_moving_average, last_bar),
    "Wilder Moving Average": Definition(wilder_moving_average, last_bar),
    "DEMA": Definition(double_exponential, lambda w: 2 * w - 2),
    "TEMA": Definition(triple_exponential, lambda w: 3 * w - 3),
    "KAMA": Definition(kaufman_adaptive_average, one_more),
    "Relative Strength Index": Definition(relative_strength_index, one_more),
    "RSI (SMA)": Definition(relative_strength_simple, one_more),
    "RSI (EMA)": Definition(relative_strength_exponential, one_more),
    "Stochastic RSI": Definition(stochastic_rsi, lambda w: 2 * w - 1),
    "Laguerre RSI": Definition(laguerre_rsi, fixed(0), windowed=False),
    "Momentum (Weighted)": Definition(momentum_weighted, fixed(252), windowed=False),
    "Momentum (Unweighted)": Definition(momentum_unweighted, fixed(252), windowed=False),
    "Momentum (12-Month SMA)": Definition(momentum_twelve_months, fixed(252), windowed=False),
    "Rate of Change": Definition(rate_of_change, one_more),
    "Williams %R": Definition(williams_r, last_bar, reads_bars=True),
    "CCI": Definition(commodity_channel_index, last_bar, reads_bars=True),
    "Stochastic %K": Definition(stochastic_k, last_bar, reads_bars=True),
    "Stochastic %D": Definition(stochastic_d, lambda w: w + 1, reads_bars=True),
    "ADX": Definition(average_directional_index, lambda w: 2 * w - 1, reads_bars=True),
    "Standard Deviation": Definition(standard_deviation, one_more),
    "Standard Deviation of Price": Definition(standard_deviation_of_price, last_bar),
    "Max Drawdown": Definition(max_drawdown_of_price, last_bar),
    "Drawdown": Definition(drawdown_of_price, fixed(0), windowed=False),
    "Bollinger %B": Definition(bollinger_percent_b, last_bar),
    "Bollinger Bandwidth": Definition(bollinger_bandwidth, last_bar),
    "Bollinger Upper": Definition(bollinger_upper, last_bar),
    "Bollinger Lower": Definition(bollinger_lower, last_bar),
    "ATR": Definition(average_true_range, one_more, reads_bars=True),
    "ATR %": Definition(average_true_range_percent, one_more, reads_bars=True),
    "Historical Volatility": Definition(historical_volatility, one_more),
    "Ulcer Index": Definition(ulcer_index, last_bar),
    "Cumulative Return": Definition(rate_of_change, one_more),
    "SMA of Returns": Definition(average_of_returns, one_more),
    "Trend Clarity": Definition(trend_clarity, last_bar),
    "Ultimate Smoother": Definition(ultimate_smoother, fixed(0)),
    "Linear Reg Slope": Definition(linear_slope, last_bar),
    "Linear Reg Value": Definition(linear_value, last_bar),
    "Price vs SMA": Definition(price_against_average, last_bar),
    "Aroon Up": Definition(aroon_up, one_more, reads_bars=True),
    "Aroon Down": Definition(aroon_down, one_more, reads_bars=True),
    "Aroon Oscillator": Definition(aroon_oscillator, one_more, reads_bars=True),
    "MACD": Definition(macd, fixed(25), windowed=False),
    "MACD Signal": Definition(macd_signal, fixed(33), windowed=False),
    "MACD Histogram": Definition(macd_histogram, fixed(33), windowed=False),
    "PPO": Definition(ppo, fixed(25), windowed=False),
    "PPO Signal": Definition(ppo_signal, fixed(33), windowed=False),
    "PPO Histogram": Definition(ppo_histogram, fixed(33), windowed=False),
    "Money Flow Index": Definition(money_flow_index, one_more, reads_bars=True),
    "OBV Rate of Change": Definition(on_balance_volume_change, lambda w: w + 1, reads_bars=True),
    "VWAP Ratio": Definition(price_against_vwap, last_bar, reads_bars=True),
}

ALIASES: dict[str, str] = {name: name for name in DEFINITIONS} | {
    "Price": "Current Price",
    "SMA": "Simple Moving Average",
    "EMA": "Exponential Moving Average",
    "HMA": "Hull Moving Average",
    "WMA": "Weighted Moving Average",
    "WilderMA": "Wilder Moving Average",
    "Double Exponential Moving Average": "DEMA",
    "Triple Exponential Moving Average": "TEMA",
    "Kaufman Adaptive Moving Average": "KAMA",
    "UltSmooth": "Ultimate Smoother",
    "RSI": "Relative Strength Index",
    "RSI (simple)": "RSI (SMA)",
    "StochRSI": "Stochastic RSI",
    "13612W Momentum": "Momentum (Weighted)",
    "13612U Momentum": "Momentum (Unweighted)",
    "SMA12 Momentum": "Momentum (12-Month SMA)",
    "ROC": "Rate of Change",
    "WillR": "Williams %R",
    "Commodity Channel Index": "CCI",
    "StochK": "Stochastic %K",
    "StochD": "Stochastic %D",
    "Average Directional Index": "ADX",
    "StdDev": "Standard Deviation",
    "StdPrice": "Standard Deviation of Price",
    "MaxDD": "Max Drawdown",
    "%B": "Bollinger %B",
    "Bandwidth": "Bollinger Bandwidth",
    "Average True Range": "ATR",
    "NATR": "ATR %",
    "HistVol": "Historical Volatility",
    "Ulcer": "Ulcer Index",
    "CumRet": "Cumulative Return",
    "SMA Returns": "SMA of Returns",
    "R2": "Trend Clarity",
    "LinRegSlope": "Linear Reg Slope",
    "LinRegValue": "Linear Reg Value",
    "AroonOsc": "Aroon Oscillator",
    "MACD Hist": "MACD Histogram",
    "Percentage Price Oscillator": "PPO",
    "PPO Hist": "PPO Histogram",
    "MFI": "Money Flow Index",
    "OBV ROC": "OBV Rate of Change",
}

WINDOWLESS = tuple(name for name, definition in DEFINITIONS.items() if not definition.windowed)
