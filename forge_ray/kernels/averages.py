"""Moving averages and smoothers, in price.

close : (n_bars,) own bars in order, NaN where a bar has none. window : bars, >= 1. out : (n_bars,), written in full,
NaN before the first value. The value at t uses closes up to and including t. A flat history gives exactly its price.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.elementary import cosine, exp
from forge_ray.kernels.rolling import joined, recursive_average, window_means, window_sums

SLOWEST, FASTEST = 2.0 / 31.0, 2.0 / 3.0


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
    recursive_average(close, window, 2.0 / (window + 1.0), out)


@kernel("in f8[:], in i8, out f8[:]")
def wilder_moving_average(close, window, out):
    """A += (P − A)/window, seeded with the mean of the first `window` prices, again after a gap. Wilder (1978)."""
    recursive_average(close, window, 1.0 / window, out)


@kernel("in f8[:], in i8, out f8[:]")
def weighted_moving_average(close, window, out):
    """Mean of the last `window` prices with weights 1 … window, newest heaviest. First value at window − 1."""
    linearly_weighted_means(close, window, out)


@kernel("in f8[:], in i8, out f8[:]")
def hull_moving_average(close, window, out):
    """WMA over ⌊√window⌋ bars of 2·WMA(⌊window/2⌋, at least 1) − WMA(window). Hull (2005).

    First value at window + ⌊√window⌋ − 2.
    """
    leading = np.empty(close.shape[0])
    linearly_weighted_means(close, max(window // 2, 1), leading)
    linearly_weighted_means(close, window, out)
    for t in range(close.shape[0]):
        leading[t] = 2.0 * leading[t] - out[t]
    linearly_weighted_means(leading, int(np.sqrt(float(window))), out)


@kernel("in f8[:], in i8, out f8[:]")
def double_exponential_moving_average(close, window, out):
    """2·E − EMA(E), E = EMA of the price. First value at 2·window − 2. Mulloy (1994)."""
    alpha = 2.0 / (window + 1.0)
    once = np.empty(close.shape[0])
    recursive_average(close, window, alpha, once)
    recursive_average(once, window, alpha, out)
    for t in range(close.shape[0]):
        out[t] = 2.0 * once[t] - out[t]


@kernel("in f8[:], in i8, out f8[:]")
def triple_exponential_moving_average(close, window, out):
    """3·(E − EMA(E)) + EMA(EMA(E)), E = EMA of the price. First value at 3·window − 3. Mulloy (1994)."""
    alpha = 2.0 / (window + 1.0)
    once, twice = np.empty(close.shape[0]), np.empty(close.shape[0])
    recursive_average(close, window, alpha, once)
    recursive_average(once, window, alpha, twice)
    recursive_average(twice, window, alpha, out)
    for t in range(close.shape[0]):
        out[t] = 3.0 * (once[t] - twice[t]) + out[t]


@kernel("in f8[:], in i8, out f8[:]")
def kaufman_adaptive_moving_average(close, window, out):
    """K += (ER·(2/3 − 2/31) + 2/31)²·(P − K), starting as the price at `window`, and again after a gap. Kaufman (1995).

    ER = |P − P `window` bars ago| / sum of |changes| in between, 0 if there was none. First value at `window`.
    """
    n = close.shape[0]
    moves, paths = np.empty(n), np.empty(n)
    moves[:1] = np.nan
    for t in range(1, n):
        moves[t] = abs(close[t] - close[t - 1])
    window_sums(moves, window, paths)
    seen, level = 0, 0.0
    for t in range(n):
        out[t] = np.nan
        seen = 0 if np.isnan(close[t]) else seen + 1
        if seen == window + 1:
            level = close[t]
        elif seen > window:
            efficiency = abs(close[t] - close[t - window]) / paths[t] if paths[t] > 0.0 else 0.0
            smoothing = efficiency * (FASTEST - SLOWEST) + SLOWEST
            level += smoothing * smoothing * (close[t] - level)
        if seen > window:
            out[t] = level


@kernel("in f8[:], in i8, out f8[:]")
def ultimate_smoother(close, window, out):
    """Two-pole smoother y = c₁·P + c₂·y₋₁ + c₃·y₋₂ with f = 1.414·π/window, a = e^−f, c₂ = 2a·cos f, c₃ = −a², Σc = 1.

    The first max(2, window) values are the price, also after a gap. Written in steps of y, since Σc = 1:
    y − y₋₁ = c₁·(P − y₋₁) + a²·(y₋₁ − y₋₂), which loses nothing where c₁ is small. Ehlers (2013).
    """
    angle = 1.414 * np.pi / window
    decay = exp(-angle)
    pull = 1.0 - 2.0 * decay * cosine(angle) + decay * decay
    seen, level, step = 0, 0.0, 0.0
    for t in range(close.shape[0]):
        if np.isnan(close[t]):
            out[t], seen = np.nan, 0
            continue
        seen += 1
        if seen <= max(2, window):
            step = close[t] - level if seen > 1 else 0.0
            level = close[t]
        else:
            step = pull * (close[t] - level) + decay * decay * step
            level += step
        out[t] = level


@device
def linearly_weighted_means(values, window, out):
    """Mean of the last `window` values with weights 1 … window, as blocks of `rolling`.

    A suffix that takes in an older value raises every weight by one, which adds its plain mean; a prefix stands behind
    the suffix, which adds the plain mean of the prefix as often as the suffix has values.
    """
    n = values.shape[0]
    suffix = np.empty(n)
    for first in range(0, n, window):
        mean, weighted = 0.0, 0.0
        last = min(first + window, n) - 1
        for t in range(last, first - 1, -1):
            count = last - t
            weighted += (count * (mean - weighted) + (values[t] - weighted)) / (0.5 * (count + 1) * (count + 2))
            mean += (values[t] - mean) / (count + 1)
            suffix[t] = weighted
    mean, weighted, count = 0.0, 0.0, 0
    for t in range(n):
        if t % window == 0:
            mean, weighted, count = 0.0, 0.0, 0
        count += 1
        mean += (values[t] - mean) / count
        weighted += (values[t] - weighted) * (2.0 / (count + 1))
        first = t - window + 1
        if first < 0:
            out[t] = np.nan
        elif count == window:
            out[t] = weighted
        else:
            before = window - count
            prefix = joined(mean, before * count, weighted, 0.5 * count * (count + 1))
            beyond = before * count + 0.5 * count * (count + 1)
            out[t] = joined(suffix[first], 0.5 * before * (before + 1), prefix, beyond)
