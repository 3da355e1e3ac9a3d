"""What formulas compute that no indicator does: elementary functions and rolling ones, on the bars of one ticker.

values : (n,), NaN where there is none. out : (n,), written in full; NaN where the value is undefined or missing.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.elementary import exp, log
from forge_ray.kernels.rolling import window_highest

LOG_OF_TEN = 2.302585092994046
MAX_EXACT_POWER = 64


@kernel("in f8[:], out f8[:]")
def log_of(values, out):
    """Natural logarithm; NaN where not above 0."""
    for t in range(values.shape[0]):
        out[t] = log(values[t]) if values[t] > 0.0 else np.nan


@kernel("in f8[:], out f8[:]")
def exp_of(values, out):
    """Exponential."""
    for t in range(values.shape[0]):
        out[t] = exp(values[t])


@kernel("in f8[:], in f8[:], out f8[:]")
def power_of(values, exponents, out):
    """values to the power of exponents; small whole ones by multiplication, a negative base only with whole ones."""
    for t in range(values.shape[0]):
        out[t] = power(values[t], exponents[t])


@device
def power(x, y):
    if np.isnan(x) or np.isnan(y):
        return np.nan
    if y == np.rint(y) and abs(y) <= MAX_EXACT_POWER:
        product = 1.0
        for _ in range(int(abs(y))):
            product *= x
        return product if y >= 0.0 else 1.0 / product
    if x > 0.0:
        return exp(y * log(x))
    if x == 0.0:
        return 0.0 if y > 0.0 else np.nan
    if y != np.rint(y):
        return np.nan
    size = exp(y * log(-x))
    return size if np.rint(y / 2.0) * 2.0 == y else -size


@kernel("in f8[:], in i8, out f8[:]")
def rolling_highest(values, window, out):
    """Highest of the last `window` values."""
    window_highest(values, window, out)


@kernel("in f8[:], in i8, out f8[:]")
def rolling_lowest(values, window, out):
    """Lowest of the last `window` values."""
    window_highest(-values, window, out)
    for t in range(values.shape[0]):
        out[t] = -out[t]


@kernel("in f8[:], in i8, out f8[:]")
def rolling_percentile(values, window, out):
    """Percent of the last `window` values that are at most the last one. Every value is compared: O(window)."""
    seen = 0
    for t in range(values.shape[0]):
        seen = 0 if np.isnan(values[t]) else seen + 1
        out[t] = np.nan
        if seen >= window:
            below = 0
            for u in range(t - window + 1, t + 1):
                below += values[u] <= values[t]
            out[t] = 100.0 * below / window
