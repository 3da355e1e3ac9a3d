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
    """Population deviation of the last `window` simple returns, percent. First value at `window`.

    Per part (count, mean, squares) by Welford, parts merged by Chan's formula; equal returns give exactly 0.
    """
    n = close.shape[0]
    out[:] = np.nan
    if n <= window:
        return
    returns = close[1:] / close[:-1] - 1.0
    means, squares = np.empty(n - 1), np.empty(n - 1)
    for first in range(0, n - 1, window):
        last = min(first + window, n - 1)
        mean, square = 0.0, 0.0
        for count, t in enumerate(range(last - 1, first - 1, -1)):
            delta = returns[t] - mean
            mean += delta / (count + 1)
            square += delta * (returns[t] - mean)
            means[t], squares[t] = mean, square
    mean, square, count = 0.0, 0.0, 0
    for t in range(n - 1):
        if t % window == 0:
            mean, square, count = 0.0, 0.0, 0
        count += 1
        delta = returns[t] - mean
        mean += delta / count
        square += delta * (returns[t] - mean)
        if t >= window - 1:
            total = square
            if count < window:
                first, before = t - window + 1, window - count
                shift = mean - means[first]
                total = squares[first] + square + shift * shift * (before * count / window)
            out[t + 1] = np.sqrt(total / window) * 100.0


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
