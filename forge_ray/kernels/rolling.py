"""Building blocks of the indicators: what a window holds, in time that does not depend on the window.

Windowed values use the two-sided block scheme of van Herk and Gil-Werman:

1. Cut the history into blocks of one window. A window is a suffix of one block and a prefix of the next.
2. Walk each block backwards and keep a summary (sum, mean, moments, highest) of every suffix.
3. Walk forwards with the summary of the current block's prefix and join it with the suffix where the window begins.

Nothing ever leaves a running sum, so a gap or a spike leaves no trace behind, and no summary is a difference of large
sums. Means move by differences and equal means join to exactly that mean, so a flat window is known exactly.

values : (n,), NaN where there is none. window : >= 1. out : (n,), written in full, NaN before window − 1 and wherever
the window holds a NaN. The value at t uses values up to and including t.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device


@device
def joined(mean, weight, other, other_weight):
    """Mean of two parts by their means and weights: exactly that mean if they agree."""
    if mean == other:
        return mean
    return (mean * weight + other * other_weight) / (weight + other_weight)


@device
def window_sums(values, window, out):
    """Sum of the last `window` values; for values of one sign, whose sums lose nothing."""
    n = values.shape[0]
    suffix = np.empty(n)
    for first in range(0, n, window):
        total = 0.0
        for t in range(min(first + window, n) - 1, first - 1, -1):
            total += values[t]
            suffix[t] = total
    total = 0.0
    for t in range(n):
        total = values[t] if t % window == 0 else total + values[t]
        first = t - window + 1
        if first < 0:
            out[t] = np.nan
        else:
            out[t] = total if first % window == 0 else suffix[first] + total


@device
def window_means(values, window, out):
    """Mean of the last `window` values; means are updated by differences."""
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
    """Mean and population deviation of the last `window` values.

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


@device
def window_lines(values, window, means, products, squares):
    """Moments of the least-squares line through the last `window` values y at x = 0, 1, …: mean of y, Σ(x−x̄)(y−ȳ) and
    Σ(y−ȳ)².

    Per part by Welford's updates, with the mean of x known, and y counted from a value of that part, so that a high
    level costs no digits; parts merged by Chan's formula, their x̄ half a window apart.
    """
    n = values.shape[0]
    suffix_means, suffix_products, suffix_squares = np.empty(n), np.empty(n), np.empty(n)
    for first in range(0, n, window):
        mean, product, square = 0.0, 0.0, 0.0
        last = min(first + window, n) - 1
        for t in range(last, first - 1, -1):
            count = last - t
            delta = (values[t] - values[last]) - mean
            product -= delta * (0.5 * count)
            square += delta * delta * (count / (count + 1))
            mean += delta / (count + 1)
            suffix_means[t], suffix_products[t], suffix_squares[t] = mean, product, square
    mean, product, square, count = 0.0, 0.0, 0.0, 0
    for t in range(n):
        block = t - t % window
        if t == block:
            mean, product, square, count = 0.0, 0.0, 0.0, 0
        delta = (values[t] - values[block]) - mean
        product += delta * (0.5 * count)
        square += delta * delta * (count / (count + 1))
        count += 1
        mean += delta / count
        first = t - window + 1
        means[t], products[t], squares[t] = np.nan, np.nan, np.nan
        if first == block:
            means[t], products[t], squares[t] = values[block] + mean, product, square
        elif first >= 0:
            before, earlier = window - count, values[block - 1]
            shift = (values[block] - earlier) + (mean - suffix_means[first])
            means[t] = joined(earlier + suffix_means[first], before, values[block] + mean, count)
            products[t] = suffix_products[first] + product + shift * (0.5 * before * count)
            squares[t] = suffix_squares[first] + square + shift * shift * (before * count / window)


@device
def window_highest(values, window, out):
    """Highest of the last `window` values. The lowest is minus the highest of the negated values."""
    n = values.shape[0]
    suffix = np.empty(n)
    for first in range(0, n, window):
        top = -np.inf
        for t in range(min(first + window, n) - 1, first - 1, -1):
            top = max(values[t], top)
            suffix[t] = top
    top, seen = -np.inf, 0
    for t in range(n):
        top = values[t] if t % window == 0 else max(values[t], top)
        seen = 0 if np.isnan(values[t]) else seen + 1
        out[t] = np.nan if seen < window else max(top, suffix[t - window + 1])


@device
def bars_since_highest(values, window, out):
    """Bars since the highest of the last `window` values; the latest counts if several are highest."""
    n = values.shape[0]
    suffix = np.empty(n, np.int64)
    for first in range(0, n, window):
        at = min(first + window, n) - 1
        for t in range(at, first - 1, -1):
            at = t if values[t] > values[at] else at
            suffix[t] = at
    at, seen = 0, 0
    for t in range(n):
        at = t if t % window == 0 or values[t] >= values[at] else at
        seen = 0 if np.isnan(values[t]) else seen + 1
        if seen < window:
            out[t] = np.nan
        else:
            earlier = suffix[t - window + 1]
            out[t] = t - (at if values[at] >= values[earlier] else earlier)


@device
def recursive_average(values, window, alpha, out):
    """A += alpha·(value − A), seeded with the mean of the first `window` values, and again after a NaN.

    Not a window: a value never leaves it entirely.
    """
    seen, level = 0, 0.0
    for t in range(values.shape[0]):
        out[t] = np.nan
        if np.isnan(values[t]):
            seen, level = 0, 0.0
            continue
        seen += 1
        level = moved(level, values[t], 1.0 / seen if seen <= window else alpha)
        if seen >= window:
            out[t] = level


@device
def moved(level, value, step):
    """level + step·(value − level); a whole step is the value itself, whatever the level was."""
    return value if step == 1.0 else level + (value - level) * step
