"""Indicators on a ticker's own full history.

close : (n_bars,) prices in order, NaN where a bar has none. window : bars, >= 1. out : (n_bars,), written in full, NaN
before the first value. The value at t uses closes up to and including t.

Windowed values use the two-sided block scheme of van Herk and Gil-Werman: cut the history into blocks of one window; a
window is a suffix of one block and a prefix of the next, so its mean is that of two parts with at most `window` terms.
The cost does not depend on the window, nothing ever leaves a running sum, and a gap or a spike leaves no trace behind.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel


@kernel("in f8[:], in i8, out f8[:]")
def price(close, window, out):
    """The price itself."""
    out[:] = close


@kernel("in f8[:], in i8, out f8[:]")
def simple_moving_average(close, window, out):
    """Mean of the last `window` prices; NaN if any of them is. First value at window − 1."""
    window_means(close, window, out)


@kernel("in f8[:], in i8, out f8[:]")
def exponential_moving_average(close, window, out):
    """E += 2/(window + 1)·(P − E), seeded with the mean of the first `window` prices; seeds again after a gap."""
    alpha = 2.0 / (window + 1.0)
    seen, level = 0, 0.0
    for t in range(close.shape[0]):
        out[t] = np.nan
        if np.isnan(close[t]):
            seen, level = 0, 0.0
            continue
        seen += 1
        level += (close[t] - level) * (1.0 / seen if seen <= window else alpha)
        if seen >= window:
            out[t] = level


@kernel("in f8[:], in i8, out f8[:]")
def relative_strength_index(close, window, out):
    """Wilder's RSI, 0-100: averages of gains and losses seeded with the mean of the first `window` changes.

    Neither gain nor loss so far: 50. Seeds again after a gap. First value at `window`. Wilder (1978).
    """
    seen, gain, loss = 0, 0.0, 0.0
    out[:1] = np.nan
    for t in range(1, close.shape[0]):
        out[t] = np.nan
        change = close[t] - close[t - 1]
        if np.isnan(change):
            seen, gain, loss = 0, 0.0, 0.0
            continue
        seen += 1
        up, down = max(change, 0.0), max(-change, 0.0)
        if seen <= window:
            gain += up / window
            loss += down / window
        else:
            gain = (gain * (window - 1) + up) / window
            loss = (loss * (window - 1) + down) / window
        if seen >= window:
            out[t] = 50.0 if gain + loss == 0.0 else 100.0 * (gain / (gain + loss))


@kernel("in f8[:], in i8, out f8[:]")
def rate_of_change(close, window, out):
    """(P / P `window` bars ago − 1)·100, percent; NaN if any price in between is. First value at `window`."""
    seen = 0
    for t in range(close.shape[0]):
        seen = 0 if np.isnan(close[t]) else seen + 1
        out[t] = (close[t] / close[t - window] - 1.0) * 100.0 if seen > window else np.nan


@kernel("in f8[:], in i8, out f8[:]")
def standard_deviation(close, window, out):
    """Population deviation of the last `window` simple returns, percent. First value at `window`."""
    out[:1] = np.nan
    if close.shape[0] > 1:
        means = np.empty(close.shape[0] - 1)
        window_moments(close[1:] / close[:-1] - 1.0, window, means, out[1:])
        out[1:] *= 100.0


@kernel("in f8[:], in i8, out f8[:]")
def price_deviation(close, window, out):
    """Population deviation of the last `window` prices, in price. First value at window − 1."""
    window_moments(close, window, np.empty(close.shape[0]), out)


@kernel("in f8[:], in i8, out f8[:]")
def bollinger_percent_b(close, window, out):
    """Where the price stands between its mean −2 and +2 population deviations: 0 to 1 in between; a flat window: 0.5.

    First value at window − 1. Bollinger (2001).
    """
    means = np.empty(close.shape[0])
    window_moments(close, window, means, out)
    for t in range(close.shape[0]):
        if out[t] == 0.0:
            out[t] = 0.5
        else:
            out[t] = 0.5 + (close[t] - means[t]) / (4.0 * out[t])


@kernel("in f8[:], in i8, out f8[:]")
def drawdown(close, window, out):
    """Fall from the highest price since the first bar, positive percent. Windowless; the peak outlives a gap."""
    peak = 0.0
    for t in range(close.shape[0]):
        if not np.isnan(close[t]):
            peak = max(peak, close[t])
        out[t] = (1.0 - close[t] / peak) * 100.0 if peak > 0.0 else np.nan


@kernel("in f8[:], in i8, out f8[:]")
def max_drawdown(close, window, out):
    """Worst fall from a peak to a later trough within the last `window` prices, positive percent. First at window − 1.

    Per part (highest, lowest, worst fall); two parts join by the fall from the earlier's highest to the later's lowest.
    """
    n = close.shape[0]
    highs, falls = np.empty(n), np.empty(n)
    for first in range(0, n, window):
        high, low, fall = 0.0, np.inf, 0.0
        for t in range(min(first + window, n) - 1, first - 1, -1):
            low, high = min(close[t], low), max(close[t], high)
            fall = max(fall, 1.0 - low / close[t])
            highs[t], falls[t] = high, fall
    high, low, fall, seen = 0.0, np.inf, 0.0, 0
    for t in range(n):
        if t % window == 0:
            high, low, fall = 0.0, np.inf, 0.0
        seen = 0 if np.isnan(close[t]) else seen + 1
        high, low = max(close[t], high), min(close[t], low)
        fall = max(fall, 1.0 - close[t] / high)
        first = t - window + 1
        if seen < window:
            out[t] = np.nan
        elif first % window == 0:
            out[t] = fall * 100.0
        else:
            out[t] = max(fall, falls[first], 1.0 - low / highs[first]) * 100.0


@kernel("in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def average_true_range(high, low, close, window, out):
    """Wilder's average of the true range, in price, seeded with the mean of the first `window`, again after a gap.

    high, low, close : (n_bars,). First value at `window`. Wilder (1978).
    """
    seen, average = 0, 0.0
    out[:1] = np.nan
    for t in range(1, close.shape[0]):
        out[t] = np.nan
        before = close[t - 1]
        span = max(high[t] - low[t], abs(high[t] - before), abs(low[t] - before))
        if np.isnan(high[t] + low[t] + before):
            seen, average = 0, 0.0
            continue
        seen += 1
        average += (span - average) / min(seen, window)
        if seen >= window:
            out[t] = average


@device
def window_means(values, window, out):
    """Mean of the last `window` values at every t, NaN before window − 1 and where any of them is NaN.

    Means are updated by differences, so that equal values have exactly that mean.
    """
    n = values.shape[0]
    suffix = np.empty(n)
    for first in range(0, n, window):
        mean = 0.0
        last = min(first + window, n)
        for t in range(last - 1, first - 1, -1):
            mean += (values[t] - mean) / (last - t)
            suffix[t] = mean
    mean, count = 0.0, 0
    for t in range(n):
        if t % window == 0:
            mean, count = 0.0, 0
        count += 1
        mean += (values[t] - mean) / count
        first = t - window + 1
        if first < 0:
            out[t] = np.nan
        elif count == window:
            out[t] = mean
        else:
            out[t] = suffix[first] + (mean - suffix[first]) * (count / window)


@device
def window_moments(values, window, means, deviations):
    """Mean and population deviation of the last `window` values at every t, NaN before window − 1 and where any is NaN.

    Per part (count, mean, squares) by Welford, parts merged by Chan's formula; equal values have deviation 0.
    """
    n = values.shape[0]
    suffix_means, suffix_squares = np.empty(n), np.empty(n)
    for first in range(0, n, window):
        mean, square = 0.0, 0.0
        last = min(first + window, n)
        for t in range(last - 1, first - 1, -1):
            delta = values[t] - mean
            mean += delta / (last - t)
            square += delta * (values[t] - mean)
            suffix_means[t], suffix_squares[t] = mean, square
    mean, square, count = 0.0, 0.0, 0
    for t in range(n):
        if t % window == 0:
            mean, square, count = 0.0, 0.0, 0
        count += 1
        delta = values[t] - mean
        mean += delta / count
        square += delta * (values[t] - mean)
        first = t - window + 1
        means[t], deviations[t] = np.nan, np.nan
        if first >= 0 and count == window:
            means[t], deviations[t] = mean, np.sqrt(square / window)
        elif first >= 0:
            shift = mean - suffix_means[first]
            between = shift * shift * (count * (window - count) / window)
            means[t] = suffix_means[first] + shift * (count / window)
            deviations[t] = np.sqrt((suffix_squares[first] + square + between) / window)
