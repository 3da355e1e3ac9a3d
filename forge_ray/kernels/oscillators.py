"""Oscillators: 0 to 100 but for Williams %R (−100 to 0) and the CCI (a plain number).

high, low, close : (n_bars,) own bars in order, NaN where a bar has none. window : bars, >= 1. out : (n_bars,), written
in full, NaN before the first value. The value at t uses bars up to and including t. Without any change the RSI family
is 50 and the others have no value; both are decided on exact equality.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.rolling import moved, window_highest, window_means, window_sums

GAMMA = 0.8


@kernel("in f8[:], in i8, out f8[:]")
def relative_strength_index(close, window, out):
    """Wilder's RSI, 0-100: averages of gains and losses seeded with the mean of the first `window` changes.

    Neither gain nor loss so far: 50. Seeds again after a gap. First value at `window`. Wilder (1978).
    """
    recursive_strength(close, window, 1.0 / window, out)


@kernel("in f8[:], in i8, out f8[:]")
def exponential_strength_index(close, window, out):
    """RSI whose averages of gains and losses are exponential, alpha = 2/(window + 1). First value at `window`."""
    recursive_strength(close, window, 2.0 / (window + 1.0), out)


@kernel("in f8[:], in i8, out f8[:]")
def simple_strength_index(close, window, out):
    """RSI of the plain sums of gains and losses over the last `window` changes (Cutler). First value at `window`."""
    n = close.shape[0]
    gains, losses, lost = np.empty(n), np.empty(n), np.empty(n)
    gains[:1], losses[:1] = np.nan, np.nan
    for t in range(1, n):
        change = close[t] - close[t - 1]
        gains[t] = change if not change < 0.0 else 0.0
        losses[t] = -change if not change > 0.0 else 0.0
    window_sums(gains, window, out)
    window_sums(losses, window, lost)
    for t in range(n):
        out[t] = share(out[t], lost[t])


@kernel("in f8[:], in i8, out f8[:]")
def stochastic_strength_index(close, window, out):
    """Where Wilder's RSI stands in the range of its last `window` values, 0-100; 50 if they are all the same.

    First value at 2·window − 1. Chande and Kroll (1994).
    """
    n = close.shape[0]
    strength, highest = np.empty(n), np.empty(n)
    recursive_strength(close, window, 1.0 / window, strength)
    window_highest(strength, window, highest)
    window_highest(-strength, window, out)
    for t in range(n):
        out[t] = 50.0 if highest[t] == -out[t] else place(strength[t], -out[t], highest[t])


@kernel("in f8[:], in i8, out f8[:]")
def laguerre_strength_index(close, window, out):
    """Laguerre RSI, 0-100, γ = 0.8, stages starting at 0, and again after a gap. Windowless, first value at 0.

    L₀ = (1−γ)·P + γ·L₀₋₁, Lᵢ = −γ·Lᵢ₋₁ + (Lᵢ₋₁)₋₁ + γ·(Lᵢ)₋₁; 100·Σ⁺/(Σ⁺ + Σ⁻) of the differences L₀−L₁, L₁−L₂, L₂−L₃.
    Kept as those differences and P − L₀, which fade in a flat stretch where the stages would leave rounding errors.
    Ehlers (2002).
    """
    behind, first, second, third = 0.0, 0.0, 0.0, 0.0
    before = np.nan
    for t in range(close.shape[0]):
        if np.isnan(close[t]):
            out[t], before = np.nan, np.nan
            continue
        if np.isnan(before):
            behind, first, second, third = close[t], 0.0, 0.0, 0.0
        else:
            behind += close[t] - before
        before = close[t]
        step = (1.0 - GAMMA) * behind
        behind *= GAMMA
        step_1 = (1.0 - GAMMA) * first - GAMMA * step
        step_2 = (1.0 - GAMMA) * second - GAMMA * step_1
        first = (1.0 + GAMMA) * step + GAMMA * first
        second = (1.0 + GAMMA) * step_1 + GAMMA * second
        third = (1.0 + GAMMA) * step_2 + GAMMA * third
        up = max(first, 0.0) + max(second, 0.0) + max(third, 0.0)
        down = max(-first, 0.0) + max(-second, 0.0) + max(-third, 0.0)
        out[t] = share(up, down)


@kernel("in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def stochastic_k(high, low, close, window, out):
    """Where the close stands between lowest low and highest high of the last `window` bars, 0-100. First at window − 1.

    Lane (1984).
    """
    places(high, low, close, window, out)


@kernel("in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def stochastic_d(high, low, close, window, out):
    """Mean of the last 3 values of %K, 0-100. First value at window + 1."""
    k = np.empty(close.shape[0])
    places(high, low, close, window, k)
    window_means(k, 3, out)


@kernel("in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def williams_r(high, low, close, window, out):
    """−100·(highest high − P)/(highest high − lowest low) of the last `window` bars. First at window − 1.

    Williams (1979).
    """
    highest = np.empty(close.shape[0])
    window_highest(high, window, highest)
    window_highest(-low, window, out)
    for t in range(close.shape[0]):
        span = highest[t] + out[t]
        out[t] = 100.0 * ((close[t] - highest[t]) / span) if span > 0.0 else np.nan


@kernel("in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def commodity_channel_index(high, low, close, window, out):
    """(TP − mean)/(0.015·mean absolute deviation) of the last `window` typical prices TP = (H + L + P)/3.

    First value at window − 1; one bar has no deviation. Lambert (1980).

    The mean moves with the window and the deviations with it, so they are added up anew at each bar: this indicator's
    cost grows with the window. Four sums side by side, as one alone waits for each of its additions.
    """
    n = close.shape[0]
    typical, means = (high + low + close) / 3.0, np.empty(n)
    window_means(typical, window, means)
    for t in range(n):
        out[t] = np.nan
        if not np.isnan(means[t]):
            mean, t0 = means[t], t - window + 1
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for i in range(t0, t - 2, 4):
                a += abs(typical[i] - mean)
                b += abs(typical[i + 1] - mean)
                c += abs(typical[i + 2] - mean)
                d += abs(typical[i + 3] - mean)
            for i in range(t + 1 - window % 4, t + 1):
                a += abs(typical[i] - mean)
            deviation = ((a + b) + (c + d)) / window
            if deviation > 0.0:
                out[t] = (typical[t] - mean) / (0.015 * deviation)


@device
def recursive_strength(close, window, alpha, out):
    """100·G/(G + L) of recursive averages of gains and losses, seeded with the mean of the first `window` changes.

    A bar without change shrinks both averages alike: it keeps the value of the bar before to the last bit.
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
        step = 1.0 / seen if seen <= window else alpha
        gain, loss = moved(gain, max(change, 0.0), step), moved(loss, max(-change, 0.0), step)
        if change == 0.0 and seen > window > 1:
            out[t] = out[t - 1]
        elif seen >= window:
            out[t] = share(gain, loss)


@device
def places(high, low, close, window, out):
    """Where each close stands between lowest low and highest high of the last `window` bars, 0-100; no range, NaN."""
    highest = np.empty(close.shape[0])
    window_highest(high, window, highest)
    window_highest(-low, window, out)
    for t in range(close.shape[0]):
        out[t] = place(close[t], -out[t], highest[t])


@device
def share(up, down):
    """100·up/(up + down) of two numbers >= 0; 50 if both are 0."""
    return 50.0 if up + down == 0.0 else 100.0 * (up / (up + down))


@device
def place(value, lowest, highest):
    """100·(value − lowest)/(highest − lowest), NaN if there is no range."""
    return 100.0 * ((value - lowest) / (highest - lowest)) if highest > lowest else np.nan
