"""Trend: direction, Aroon, convergence of averages, least-squares lines.

high, low, close : (n_bars,) own bars in order, NaN where a bar has none. window : bars, >= 1. out : (n_bars,), written
in full, NaN before the first value. The value at t uses bars up to and including t.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.rolling import bars_since_highest, moved, recursive_average, window_lines

FAST, SLOW, SIGNAL = 12, 26, 9


@kernel("in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def average_directional_index(high, low, close, window, out):
    """ADX, 0-100: Wilder's average of DX = 100·|+DI − −DI|/(+DI + −DI). First value at 2·window − 1. Wilder (1978).

    ±DI are Wilder averages of ±DM over one of the true range; all are seeded with the mean of their first `window`
    values, again after a gap in what they read. The true range cancels in DX, which still has no value while its
    average has none. Without any move in either direction DX has no value; like a gap that starts its average again.
    """
    alpha = 1.0 / window
    moves, ranges, plus, minus, known, average = 0, 0, 0.0, 0.0, 0, 0.0
    out[:1] = np.nan
    for t in range(1, close.shape[0]):
        out[t] = np.nan
        up, down = high[t] - high[t - 1], low[t - 1] - low[t]
        ranges = 0 if np.isnan(high[t] + low[t] + close[t - 1]) else ranges + 1
        moves = 0 if np.isnan(up + down) else moves + 1
        if moves > 0:
            step = 1.0 / moves if moves <= window else alpha
            plus = moved(plus, up if up > max(down, 0.0) else 0.0, step)
            minus = moved(minus, down if down > max(up, 0.0) else 0.0, step)
        if min(moves, ranges) < window or plus + minus == 0.0:
            known = 0
            continue
        known += 1
        index = 100.0 * (abs(plus - minus) / (plus + minus))
        average = moved(average, index, 1.0 / known if known <= window else alpha)
        if known >= window:
            out[t] = average


@kernel("in f8[:], in i8, out f8[:]")
def aroon_up(high, window, out):
    """100·(window − bars since the highest high of the last window + 1 bars)/window; the latest of equal ones counts.

    First value at `window`. Chande (1995).
    """
    bars_since_highest(high, window + 1, out)
    for t in range(high.shape[0]):
        out[t] = 100.0 * (window - out[t]) / window


@kernel("in f8[:], in i8, out f8[:]")
def aroon_down(low, window, out):
    """100·(window − bars since the lowest low of the last window + 1 bars)/window; the latest of equal ones counts.

    First value at `window`. Chande (1995).
    """
    bars_since_highest(-low, window + 1, out)
    for t in range(low.shape[0]):
        out[t] = 100.0 * (window - out[t]) / window


@kernel("in f8[:], in f8[:], in i8, out f8[:]")
def aroon_oscillator(high, low, window, out):
    """Aroon Up − Aroon Down, −100 to 100. First value at `window`."""
    since_high = np.empty(high.shape[0])
    bars_since_highest(high, window + 1, since_high)
    bars_since_highest(-low, window + 1, out)
    for t in range(high.shape[0]):
        out[t] = 100.0 * (out[t] - since_high[t]) / window


@kernel("in f8[:], in i8, out f8[:]")
def macd(close, window, out):
    """EMA over 12 − EMA over 26 bars, in price. Windowless, first value at 25. Appel (1979)."""
    convergence(close, False, out)


@kernel("in f8[:], in i8, out f8[:]")
def macd_signal(close, window, out):
    """EMA over 9 bars of the MACD, in price. Windowless, first value at 33."""
    line = np.empty(close.shape[0])
    convergence(close, False, line)
    signal_line(line, out)


@kernel("in f8[:], in i8, out f8[:]")
def macd_histogram(close, window, out):
    """MACD − its signal, in price. Windowless, first value at 33."""
    histogram(close, False, out)


@kernel("in f8[:], in i8, out f8[:]")
def percentage_price_oscillator(close, window, out):
    """(EMA over 12 − EMA over 26 bars) in percent of the latter. Windowless, first value at 25."""
    convergence(close, True, out)


@kernel("in f8[:], in i8, out f8[:]")
def percentage_price_signal(close, window, out):
    """EMA over 9 bars of the PPO, percent. Windowless, first value at 33."""
    line = np.empty(close.shape[0])
    convergence(close, True, line)
    signal_line(line, out)


@kernel("in f8[:], in i8, out f8[:]")
def percentage_price_histogram(close, window, out):
    """PPO − its signal, percent. Windowless, first value at 33."""
    histogram(close, True, out)


@kernel("in f8[:], in i8, out f8[:]")
def trend_clarity(close, window, out):
    """R² of the least-squares line through the last `window` prices · 100; a flat window has 0. First at window − 1."""
    n = close.shape[0]
    means, squares = np.empty(n), np.empty(n)
    window_lines(close, window, means, out, squares)
    across = spread_of_bars(window)
    for t in range(n):
        if squares[t] == 0.0:
            out[t] = 0.0
        elif window > 1:
            out[t] = 100.0 * min(out[t] / squares[t] * (out[t] / across), 1.0)


@kernel("in f8[:], in i8, out f8[:]")
def regression_slope(close, window, out):
    """Slope of the least-squares line through the last `window` prices, in percent of their mean per bar.

    First value at window − 1; one price has no slope.
    """
    n = close.shape[0]
    means, squares = np.empty(n), np.empty(n)
    window_lines(close, window, means, out, squares)
    across = spread_of_bars(window)
    for t in range(n):
        out[t] = 100.0 * (out[t] / across / means[t]) if window > 1 else np.nan


@kernel("in f8[:], in i8, out f8[:]")
def regression_value(close, window, out):
    """Where the least-squares line through the last `window` prices ends, in price.

    First value at window − 1; one price has no line.
    """
    n = close.shape[0]
    means, squares = np.empty(n), np.empty(n)
    window_lines(close, window, means, out, squares)
    across = spread_of_bars(window)
    for t in range(n):
        out[t] = means[t] + out[t] / across * (0.5 * (window - 1)) if window > 1 else np.nan


@device
def spread_of_bars(window):
    """Σ(x − x̄)² of x = 0 … window − 1."""
    return window * (float(window) * window - 1.0) / 12.0


@device
def convergence(close, relative, out):
    """EMA over 12 − EMA over 26 bars, in price or in percent of the latter."""
    slow = np.empty(close.shape[0])
    recursive_average(close, SLOW, 2.0 / (SLOW + 1.0), slow)
    recursive_average(close, FAST, 2.0 / (FAST + 1.0), out)
    for t in range(close.shape[0]):
        out[t] -= slow[t]
        if relative:
            out[t] *= 100.0 / slow[t]


@device
def signal_line(line, out):
    """EMA over 9 values."""
    recursive_average(line, SIGNAL, 2.0 / (SIGNAL + 1.0), out)


@device
def histogram(close, relative, out):
    """The difference of the averages minus its own average."""
    line = np.empty(close.shape[0])
    convergence(close, relative, line)
    signal_line(line, out)
    for t in range(close.shape[0]):
        out[t] = line[t] - out[t]
