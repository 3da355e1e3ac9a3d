"""Every indicator straight from its definition: two passes over each window, 80-bit floats, no thought for the cost.

A second opinion on the kernels, bar by bar and window by window; it shares no code with them and none with `naive.py`,
which reads the same definitions in plain Python. Bars are float64, (n,) per field, NaN where a field is missing;
results are longdouble (n,), NaN where there is no value. Typical prices are rounded to float64 first, as their order
decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

L = np.longdouble
NAN = L("nan")


class Bars(NamedTuple):
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


def defined(name: str, bars: Bars, window: int = 1) -> np.ndarray:
    """Values of an indicator, (n,) longdouble."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return DEFINITIONS[name](bars, window)


# ---------------------------------------------------------------- windows and averages


def over(x: np.ndarray, w: int, f: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """f of every whole window, (n − w + 1, w) → (n − w + 1,), NaN before the first."""
    out = np.full(len(x), NAN)
    if len(x) >= w:
        out[w - 1 :] = f(sliding_window_view(x.astype(L), w))
    return out


def mean(x: np.ndarray, w: int) -> np.ndarray:
    return over(x, w, lambda v: v.mean(axis=1))


def deviation(x: np.ndarray, w: int) -> np.ndarray:
    return over(x, w, lambda v: np.sqrt(((v - v.mean(axis=1, keepdims=True)) ** 2).mean(axis=1)))


def highest(x: np.ndarray, w: int) -> np.ndarray:
    return over(x, w, lambda v: v.max(axis=1))


def lowest(x: np.ndarray, w: int) -> np.ndarray:
    return over(x, w, lambda v: v.min(axis=1))


def ago(x: np.ndarray, bars: int) -> np.ndarray:
    """The value so many bars ago."""
    return over(x, bars + 1, lambda v: v[:, 0])


def since(x: np.ndarray, bars: int) -> np.ndarray:
    """The value so many bars ago, NaN if any from then to now is missing."""
    return over(x, bars + 1, lambda v: np.where(np.isnan(v).any(axis=1), NAN, v[:, 0]))


def changes(x: np.ndarray) -> np.ndarray:
    return x.astype(L) - ago(x, 1)


def returns(x: np.ndarray) -> np.ndarray:
    return x / ago(x, 1) - 1


def typical(b: Bars) -> np.ndarray:
    return (b.high + b.low + b.close) / 3.0


def wma(x: np.ndarray, w: int) -> np.ndarray:
    weights = np.arange(1, w + 1).astype(L)
    return over(x, w, lambda v: (v * weights).sum(axis=1) / weights.sum())


def recursive(x: np.ndarray, w: int, alpha: np.longdouble) -> np.ndarray:
    """x̄ of the first w values, then A + alpha·(x − A); begins again after a NaN."""
    out, run, level = np.full(len(x), NAN), [], NAN
    for t, value in enumerate(x.astype(L)):
        run = [] if np.isnan(value) else [*run, value] if len(run) < w else run + [None] * (len(run) == w)
        if len(run) == w:
            level = sum(run) / L(w)
        elif len(run) > w:
            level = alpha * value + (1 - alpha) * level
        out[t] = level if len(run) >= w else NAN
    return out


def ema(x: np.ndarray, w: int) -> np.ndarray:
    return recursive(x, w, L(2) / L(w + 1))


def wilder(x: np.ndarray, w: int) -> np.ndarray:
    return recursive(x, w, L(1) / L(w))


# ---------------------------------------------------------------- averages in price


def hull(b: Bars, w: int) -> np.ndarray:
    half, root = max(w // 2, 1), int(w**0.5)
    return wma(2 * wma(b.close, half) - wma(b.close, w), root)


def dema(b: Bars, w: int) -> np.ndarray:
    once = ema(b.close, w)
    return 2 * once - ema(once, w)


def tema(b: Bars, w: int) -> np.ndarray:
    once = ema(b.close, w)
    twice = ema(once, w)
    return 3 * once - 3 * twice + ema(twice, w)


def kama(b: Bars, w: int) -> np.ndarray:
    p = b.close.astype(L)
    path = over(abs(changes(b.close)), w, lambda v: v.sum(axis=1))
    move = abs(p - since(b.close, w))
    out = np.full(len(p), NAN)
    for t in range(w, len(p)):
        if not np.isnan(path[t]):
            ratio = move[t] / path[t] if path[t] > 0 else L(0)
            smooth = (ratio * (L(2) / 3 - L(2) / 31) + L(2) / 31) ** 2
            out[t] = p[t] if np.isnan(out[t - 1]) else out[t - 1] + smooth * (p[t] - out[t - 1])
    return out


def ultimate_smoother(b: Bars, w: int) -> np.ndarray:
    p = b.close.astype(L)
    f = L("1.414") * L("3.14159265358979323846264") / w
    a = np.exp(-f)
    c2, c3 = 2 * a * np.cos(f), -a * a
    out, run = np.full(len(p), NAN), 0
    for t in range(len(p)):
        run = 0 if np.isnan(p[t]) else run + 1
        if run:
            smooth = run > max(2, w)
            out[t] = (1 - c2 - c3) * p[t] + c2 * out[t - 1] + c3 * out[t - 2] if smooth else p[t]
    return out


# ---------------------------------------------------------------- oscillators


def strength(gains: np.ndarray, losses: np.ndarray) -> np.ndarray:
    return np.where(gains + losses == 0, L(50), 100 * gains / (gains + losses))


def gains(x: np.ndarray) -> np.ndarray:
    return np.maximum(changes(x), 0)


def losses(x: np.ndarray) -> np.ndarray:
    return np.maximum(-changes(x), 0)


def rsi(b: Bars, w: int) -> np.ndarray:
    return strength(wilder(gains(b.close), w), wilder(losses(b.close), w))


def rsi_sma(b: Bars, w: int) -> np.ndarray:
    return strength(mean(gains(b.close), w), mean(losses(b.close), w))


def rsi_ema(b: Bars, w: int) -> np.ndarray:
    return strength(ema(gains(b.close), w), ema(losses(b.close), w))


def stochastic_rsi(b: Bars, w: int) -> np.ndarray:
    """A bar without change shrinks gains and losses alike, so their ratio stays; here even rounding would count."""
    r, change = rsi(b, w), changes(b.close)
    for t in range(1, len(r)):
        if w > 1 and change[t] == 0 and not np.isnan(r[t - 1]):
            r[t] = r[t - 1]
    return np.where(lowest(r, w) == highest(r, w), L(50), stochastic(r, lowest(r, w), highest(r, w)))


def stochastic(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.where(high > low, 100 * (x - low) / (high - low), NAN)


def laguerre(b: Bars, w: int) -> np.ndarray:
    g = L(8) / 10
    out, stages = np.full(len(b.close), NAN), [L(0)] * 4
    for t, p in enumerate(b.close.astype(L)):
        if np.isnan(p):
            stages = [L(0)] * 4
            continue
        new = [(1 - g) * p + g * stages[0]]
        for i in (1, 2, 3):
            new.append(-g * new[i - 1] + stages[i - 1] + g * stages[i])
        stages = new
        steps = [stages[i] - stages[i + 1] for i in range(3)]
        up, down = sum(max(s, L(0)) for s in steps), sum(max(-s, L(0)) for s in steps)
        out[t] = 100 * up / (up + down) if up + down > 0 else L(50)
    return out


def stochastic_k(b: Bars, w: int) -> np.ndarray:
    return stochastic(b.close.astype(L), lowest(b.low, w), highest(b.high, w))


def stochastic_d(b: Bars, w: int) -> np.ndarray:
    return mean(stochastic_k(b, w), 3)


def williams(b: Bars, w: int) -> np.ndarray:
    high, low = highest(b.high, w), lowest(b.low, w)
    return np.where(high > low, -100 * (high - b.close) / (high - low), NAN)


def cci(b: Bars, w: int) -> np.ndarray:
    x = typical(b)
    spread = over(x, w, lambda v: abs(v - v.mean(axis=1, keepdims=True)).mean(axis=1))
    return np.where(spread > 0, (x - mean(x, w)) / (L(15) / 1000 * spread), NAN)


# ---------------------------------------------------------------- deviations, ranges, falls


def true_range(b: Bars) -> np.ndarray:
    before = ago(b.close, 1)
    h, lo = b.high.astype(L), b.low.astype(L)
    return np.maximum(h - lo, np.maximum(abs(h - before), abs(lo - before)))


def true_range_average(b: Bars, w: int) -> np.ndarray:
    return wilder(true_range(b), w)


def percent_b(b: Bars, w: int) -> np.ndarray:
    width = 4 * deviation(b.close, w)
    return np.where(width == 0, L("0.5"), (b.close - band(b, w, -2)) / width)


def band(b: Bars, w: int, deviations: int) -> np.ndarray:
    return mean(b.close, w) + deviations * deviation(b.close, w)


def falls(v: np.ndarray) -> np.ndarray:
    """Falls from the running maximum of each row."""
    return 1 - v / np.maximum.accumulate(v, axis=1)


def drawdown(b: Bars, w: int) -> np.ndarray:
    peaks = np.fmax.accumulate(b.close)
    return 100 * (1 - b.close.astype(L) / peaks)


def max_drawdown(b: Bars, w: int) -> np.ndarray:
    return over(b.close, w, lambda v: 100 * falls(v).max(axis=1))


def ulcer(b: Bars, w: int) -> np.ndarray:
    return over(b.close, w, lambda v: 100 * np.sqrt((falls(v) ** 2).mean(axis=1)))


# ---------------------------------------------------------------- trend


def adx(b: Bars, w: int) -> np.ndarray:
    up, down = changes(b.high), -changes(b.low)
    gap = np.isnan(up + down)
    plus = np.where(gap, NAN, np.where((up > down) & (up > 0), up, 0))
    minus = np.where(gap, NAN, np.where((down > up) & (down > 0), down, 0))
    spans = wilder(true_range(b), w)
    di_plus, di_minus = 100 * wilder(plus, w) / spans, 100 * wilder(minus, w) / spans
    return wilder(100 * abs(di_plus - di_minus) / (di_plus + di_minus), w)


def since_highest(x: np.ndarray, w: int) -> np.ndarray:
    """Bars since the latest highest of the last w + 1 values."""
    return over(x, w + 1, lambda v: np.where(np.isnan(v).any(axis=1), NAN, v[:, ::-1].argmax(axis=1)))


def aroon_up(b: Bars, w: int) -> np.ndarray:
    return 100 * (w - since_highest(b.high, w)) / w


def aroon_down(b: Bars, w: int) -> np.ndarray:
    return 100 * (w - since_highest(-b.low, w)) / w


def macd(b: Bars, w: int) -> np.ndarray:
    return ema(b.close, 12) - ema(b.close, 26)


def ppo(b: Bars, w: int) -> np.ndarray:
    return 100 * macd(b, w) / ema(b.close, 26)


def line(x: np.ndarray, w: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Σ(x − x̄)² of the bars, Σ(x − x̄)(y − ȳ), Σ(y − ȳ)² of each window."""
    bars = np.arange(w).astype(L) - L(w - 1) / 2

    def products(v: np.ndarray) -> np.ndarray:
        return ((v - v.mean(axis=1, keepdims=True)) * bars).sum(axis=1)

    return (bars**2).sum(), over(x, w, products), deviation(x, w) ** 2 * w


def trend_clarity(b: Bars, w: int) -> np.ndarray:
    across, product, square = line(b.close, w)
    return np.where(square == 0, L(0), 100 * product**2 / (across * square))


def slope(b: Bars, w: int) -> np.ndarray:
    across, product, _ = line(b.close, w)
    return 100 * product / across / mean(b.close, w) if w > 1 else np.full(len(b.close), NAN)


def line_end(b: Bars, w: int) -> np.ndarray:
    across, product, _ = line(b.close, w)
    return mean(b.close, w) + product / across * L(w - 1) / 2 if w > 1 else np.full(len(b.close), NAN)


# ---------------------------------------------------------------- momentum


def rate_of_change(x: np.ndarray, bars: int) -> np.ndarray:
    return 100 * (x / since(x, bars) - 1)


def weighted_momentum(b: Bars, w: int) -> np.ndarray:
    return sum(weight * rate_of_change(b.close, bars) for weight, bars in ((12, 21), (4, 63), (2, 126), (1, 252))) / 19


def unweighted_momentum(b: Bars, w: int) -> np.ndarray:
    return sum(rate_of_change(b.close, bars) for bars in (21, 63, 126, 252)) / L(4)


def twelve_month_momentum(b: Bars, w: int) -> np.ndarray:
    return over(b.close, 253, lambda v: 100 * (13 * v[:, -1] / v[:, ::21].sum(axis=1) - 1) + 0 * v.sum(axis=1))


# ---------------------------------------------------------------- volume


def money_flow(b: Bars, w: int) -> np.ndarray:
    x = typical(b)
    change, flow = changes(x), x.astype(L) * b.volume
    up, down = (np.where(np.isnan(change + flow), NAN, np.where(s * change > 0, flow, 0)) for s in (1, -1))
    return strength(mean(up, w), mean(down, w))


def balance(b: Bars) -> np.ndarray:
    out, total, before = np.full(len(b.close), NAN), L(0), NAN
    for t, (p, v) in enumerate(zip(b.close, b.volume.astype(L), strict=True)):
        if not np.isnan(p + v):
            total += v if p > before else -v if p < before else L(0)
            out[t], before = total, p
    return out


def balance_rate_of_change(b: Bars, w: int) -> np.ndarray:
    obv = balance(b)
    old = ago(obv, w)
    return np.where(old == 0, NAN, 100 * (obv - old) / abs(old))


def vwap_ratio(b: Bars, w: int) -> np.ndarray:
    paid = over(b.close.astype(L) * b.volume, w, lambda v: v.sum(axis=1))
    traded = over(b.volume + 0 * b.close, w, lambda v: v.sum(axis=1))
    return np.where(traded > 0, 100 * b.close / (paid / traded), NAN)


DEFINITIONS: dict[str, Callable[[Bars, int], np.ndarray]] = {
    "Current Price": lambda b, w: b.close.astype(L),
    "Simple Moving Average": lambda b, w: mean(b.close, w),
    "Exponential Moving Average": lambda b, w: ema(b.close, w),
    "Hull Moving Average": hull,
    "Weighted Moving Average": lambda b, w: wma(b.close, w),
    "Wilder Moving Average": lambda b, w: wilder(b.close, w),
    "DEMA": dema,
    "TEMA": tema,
    "KAMA": kama,
    "Ultimate Smoother": ultimate_smoother,
    "Relative Strength Index": rsi,
    "RSI (SMA)": rsi_sma,
    "RSI (EMA)": rsi_ema,
    "Stochastic RSI": stochastic_rsi,
    "Laguerre RSI": laguerre,
    "Momentum (Weighted)": weighted_momentum,
    "Momentum (Unweighted)": unweighted_momentum,
    "Momentum (12-Month SMA)": twelve_month_momentum,
    "Rate of Change": lambda b, w: rate_of_change(b.close, w),
    "Williams %R": williams,
    "CCI": cci,
    "Stochastic %K": stochastic_k,
    "Stochastic %D": stochastic_d,
    "ADX": adx,
    "Standard Deviation": lambda b, w: 100 * deviation(returns(b.close), w),
    "Standard Deviation of Price": lambda b, w: deviation(b.close, w),
    "Max Drawdown": max_drawdown,
    "Drawdown": drawdown,
    "Bollinger %B": percent_b,
    "Bollinger Bandwidth": lambda b, w: 400 * deviation(b.close, w) / mean(b.close, w),
    "Bollinger Upper": lambda b, w: band(b, w, 2),
    "Bollinger Lower": lambda b, w: band(b, w, -2),
    "ATR": true_range_average,
    "ATR %": lambda b, w: 100 * true_range_average(b, w) / b.close,
    "Historical Volatility": lambda b, w: 100 * np.sqrt(L(252)) * deviation(np.log(b.close / ago(b.close, 1)), w),
    "Ulcer Index": ulcer,
    "Cumulative Return": lambda b, w: rate_of_change(b.close, w),
    "SMA of Returns": lambda b, w: 100 * mean(returns(b.close), w),
    "Trend Clarity": trend_clarity,
    "Linear Reg Slope": slope,
    "Linear Reg Value": line_end,
    "Price vs SMA": lambda b, w: 100 * (b.close / mean(b.close, w) - 1),
    "Aroon Up": aroon_up,
    "Aroon Down": aroon_down,
    "Aroon Oscillator": lambda b, w: aroon_up(b, w) - aroon_down(b, w),
    "MACD": macd,
    "MACD Signal": lambda b, w: ema(macd(b, w), 9),
    "MACD Histogram": lambda b, w: macd(b, w) - ema(macd(b, w), 9),
    "PPO": ppo,
    "PPO Signal": lambda b, w: ema(ppo(b, w), 9),
    "PPO Histogram": lambda b, w: ppo(b, w) - ema(ppo(b, w), 9),
    "Money Flow Index": money_flow,
    "OBV Rate of Change": balance_rate_of_change,
    "VWAP Ratio": vwap_ratio,
}
