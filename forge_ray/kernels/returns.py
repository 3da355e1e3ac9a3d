"""Returns and momentum, in percent.

close : (n_bars,) own bars in order, NaN where a bar has none. window : bars, >= 1. out : (n_bars,), written in full,
NaN before the first value and where any price from the oldest to the newest that it reads is. The value at t uses
closes up to and including t.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.rolling import window_means

MONTH = 21
YEAR = 252


@kernel("in f8[:], in i8, out f8[:]")
def rate_of_change(close, window, out):
    """(P / P `window` bars ago − 1)·100, percent; NaN if any price in between is. First value at `window`."""
    seen = 0
    for t in range(close.shape[0]):
        seen = 0 if np.isnan(close[t]) else seen + 1
        out[t] = (close[t] / close[t - window] - 1.0) * 100.0 if seen > window else np.nan


@kernel("in f8[:], in i8, out f8[:]")
def mean_return(close, window, out):
    """Mean of the last `window` simple returns, percent. First value at `window`."""
    out[:1] = np.nan
    if close.shape[0] > 1:
        window_means(close[1:] / close[:-1] - 1.0, window, out[1:])
        out[1:] *= 100.0


@kernel("in f8[:], in i8, out f8[:]")
def price_over_average(close, window, out):
    """(P / mean of the last `window` prices − 1)·100, percent. First value at window − 1."""
    window_means(close, window, out)
    for t in range(close.shape[0]):
        out[t] = (close[t] / out[t] - 1.0) * 100.0


@kernel("in f8[:], in i8, out f8[:]")
def weighted_momentum(close, window, out):
    """(12·r₂₁ + 4·r₆₃ + 2·r₁₂₆ + r₂₅₂)/19 of the returns over so many bars, percent. Windowless, first value at 252."""
    momentum(close, 12.0, 4.0, 2.0, out)


@kernel("in f8[:], in i8, out f8[:]")
def unweighted_momentum(close, window, out):
    """Mean of the returns over 21, 63, 126 and 252 bars, percent. Windowless, first value at 252."""
    momentum(close, 1.0, 1.0, 1.0, out)


@device
def momentum(close, of_month, of_quarter, of_half, out):
    """Weighted mean of the returns over 21, 63, 126 and 252 bars, the last with weight 1, percent."""
    seen = 0
    for t in range(close.shape[0]):
        seen = 0 if np.isnan(close[t]) else seen + 1
        out[t] = np.nan
        if seen > YEAR:
            p = close[t]
            month, quarter = p / close[t - 21] - 1.0, p / close[t - 63] - 1.0
            half, year = p / close[t - 126] - 1.0, p / close[t - YEAR] - 1.0
            total = of_month * month + of_quarter * quarter + of_half * half + year
            out[t] = total / (of_month + of_quarter + of_half + 1.0) * 100.0


@kernel("in f8[:], in i8, out f8[:]")
def twelve_month_momentum(close, window, out):
    """(P / mean of the price now and 1 … 12 months of 21 bars ago − 1)·100, percent. Windowless, first value at 252."""
    seen = 0
    for t in range(close.shape[0]):
        seen = 0 if np.isnan(close[t]) else seen + 1
        out[t] = np.nan
        if seen > YEAR:
            mean = close[t]
            for months in range(1, 13):
                mean += (close[t - MONTH * months] - mean) / (months + 1)
            out[t] = (close[t] / mean - 1.0) * 100.0
