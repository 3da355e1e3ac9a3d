"""Falls from a peak, positive percent.

close : (n_bars,) own bars in order, NaN where a bar has none. window : bars, >= 1. out : (n_bars,), written in full,
NaN before the first value. The value at t uses closes up to and including t. The cost does not depend on the window:
windows are joined from two blocks as in `rolling`.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel


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


@kernel("in f8[:], in i8, out f8[:]")
def ulcer_index(close, window, out):
    """Root mean square of the falls from the running maximum inside the last `window` prices, positive percent.

    First value at window − 1. Martin and McCann (1989). A price's peak depends on where the window begins, so:

    1. Suffixes of the block before: a stack of record highs, each with the moments of the prices from it to the next
       record. An older price swallows the records that it is not below. Squared falls add up from the highest record.
    2. Prices of the current block stand below the suffix's peak until one exceeds it; the moments of those before
       (`head`) give their squared falls from that peak.
    3. From there on (`tail`) prices fall from the block's own running maximum. As the window moves on the suffix's peak
       only sinks, so the tail only grows, at both ends: each price is added once.
    """
    n = close.shape[0]
    peaks, squares = np.empty(n), np.empty(n)
    suffix_falls(close, window, peaks, squares)
    tops, means, spreads, falls = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    tail, begin, seen = 0.0, 0, 0
    for t in range(n):
        block = t - t % window
        if t == block:
            tops[t], means[t], spreads[t], tail, begin = close[t], close[t], 0.0, 0.0, t
        else:
            tops[t] = max(close[t], tops[t - 1])
            delta = close[t] - means[t - 1]
            means[t] = means[t - 1] + delta / (t - block + 1)
            spreads[t] = spreads[t - 1] + delta * (close[t] - means[t])
        fall = 1.0 - close[t] / tops[t]
        falls[t] = fall * fall
        first = t - window + 1
        peak = peaks[first] if 0 <= first < block else 0.0
        if tops[t] > peak:
            tail += falls[t]
            while begin > block and tops[begin - 1] > peak:
                begin -= 1
                tail += falls[begin]
        else:
            begin = t + 1
        seen = 0 if np.isnan(close[t]) else seen + 1
        if seen < window:
            out[t] = np.nan
            continue
        total = tail + (squares[first] if first < block else 0.0)
        if begin > block:
            total += squared_falls(peak, begin - block, means[begin - 1], spreads[begin - 1])
        out[t] = 100.0 * np.sqrt(total / window)


@device
def suffix_falls(close, window, peaks, squares):
    """Of every suffix of every block: its highest price, and its squared falls from its running maximum added up.

    record, count, mean, spread, total : the stack, highest record first; total includes the records below.
    """
    n = close.shape[0]
    size = min(window, n)
    record, mean, spread, total = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    count = np.empty(size, np.int64)
    for first in range(0, n, window):
        top = -1
        for t in range(min(first + window, n) - 1, first - 1, -1):
            bars, average, around = 1, close[t], 0.0
            while top >= 0 and record[top] <= close[t]:
                shift, joint = mean[top] - average, bars + count[top]
                around += spread[top] + shift * shift * (bars * count[top] / joint)
                average += shift * (count[top] / joint)
                bars = joint
                top -= 1
            beneath = total[top] if top >= 0 else 0.0
            top += 1
            record[top], count[top], mean[top], spread[top] = close[t], bars, average, around
            total[top] = beneath + squared_falls(close[t], bars, average, around)
            peaks[t], squares[t] = record[0], total[top]


@device
def squared_falls(peak, count, mean, spread):
    """Σ (1 − p/peak)² of `count` prices of that mean and that sum of squares around it."""
    below = peak - mean
    return (count * below * below + spread) / (peak * peak)
