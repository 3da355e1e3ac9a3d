"""Deviations, bands and ranges.

high, low, close : (n_bars,) own bars in order, NaN where a bar has none. window : bars, >= 1. out : (n_bars,), written
in full, NaN before the first value. The value at t uses bars up to and including t. Deviations are population
deviations, exactly 0 over a flat window.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.elementary import log
from forge_ray.kernels.rolling import recursive_average, window_moments

SQRT_252 = np.sqrt(252.0)


@kernel("in f8[:], in i8, out f8[:]")
def standard_deviation(close, window, out):
    """Population deviation of the last `window` simple returns, percent. First value at `window`."""
    out[:1] = np.nan
    if close.shape[0] > 1:
        means = np.empty(close.shape[0] - 1)
        window_moments(close[1:] / close[:-1] - 1.0, window, means, out[1:])
        out[1:] *= 100.0


@kernel("in f8[:], in i8, out f8[:]")
def historical_volatility(close, window, out):
    """Population deviation of the last `window` log returns · 100·√252, percent a year. First value at `window`."""
    n = close.shape[0]
    growth = np.empty(n)
    growth[:1] = np.nan
    for t in range(1, n):
        growth[t] = log(close[t] / close[t - 1])
    out[:1] = np.nan
    if n > 1:
        window_moments(growth[1:], window, np.empty(n - 1), out[1:])
        out[1:] *= 100.0 * SQRT_252


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
def bollinger_bandwidth(close, window, out):
    """Width of the band of ± 2 population deviations in percent of the mean: 400·deviation/mean. First at window − 1.

    Bollinger (2001).
    """
    means = np.empty(close.shape[0])
    window_moments(close, window, means, out)
    for t in range(close.shape[0]):
        out[t] = 400.0 * (out[t] / means[t])


@kernel("in f8[:], in i8, out f8[:]")
def bollinger_upper(close, window, out):
    """Mean of the last `window` prices + 2 population deviations. First value at window − 1. Bollinger (2001)."""
    band(close, window, 2.0, out)


@kernel("in f8[:], in i8, out f8[:]")
def bollinger_lower(close, window, out):
    """Mean of the last `window` prices − 2 population deviations. First value at window − 1. Bollinger (2001)."""
    band(close, window, -2.0, out)


@kernel("in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def average_true_range(high, low, close, window, out):
    """Wilder's average of the true range, in price, seeded with the mean of the first `window`, again after a gap.

    First value at `window`. Wilder (1978).
    """
    mean_range(high, low, close, window, out)


@kernel("in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def average_true_range_percent(high, low, close, window, out):
    """Average true range in percent of the price. First value at `window`."""
    mean_range(high, low, close, window, out)
    for t in range(close.shape[0]):
        out[t] = 100.0 * (out[t] / close[t])


@device
def band(close, window, deviations, out):
    """Mean of the last `window` prices plus a multiple of their population deviation."""
    means = np.empty(close.shape[0])
    window_moments(close, window, means, out)
    for t in range(close.shape[0]):
        out[t] = means[t] + deviations * out[t]


@device
def mean_range(high, low, close, window, out):
    """Wilder's average of max(H − L, |H − P₋₁|, |L − P₋₁|)."""
    n = close.shape[0]
    spans = np.empty(n)
    spans[:1] = np.nan
    for t in range(1, n):
        before = close[t - 1]
        span = max(high[t] - low[t], abs(high[t] - before), abs(low[t] - before))
        spans[t] = np.nan if np.isnan(high[t] + low[t] + before) else span
    recursive_average(spans, window, 1.0 / window, out)
