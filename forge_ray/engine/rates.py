"""Returns of tickers that are only read: the benchmark, and what stands for a rate."""

from __future__ import annotations

import numpy as np

from forge_ray.catalog import BARS_PER_YEAR
from forge_ray.data import Panel
from forge_ray.plan import Mode


def carried_returns(panel: Panel, ticker: str, fills: Mode) -> np.ndarray:
    """(n_bars,) return of a carried ticker over the interval that ends at each bar, NaN before its first."""
    entry, exit = panel.carried[ticker][fills.entry], panel.carried[ticker][fills.exit]
    returns = np.full(len(entry), np.nan)
    returns[fills.step :] = exit[fills.step :] / entry[: len(entry) - fills.step] - 1.0
    return returns


def rate_returns(panel: Panel, rate: float | str, fills: Mode) -> np.ndarray:
    """(n_bars,) return of a yearly rate, or of a ticker that is one, over the interval that ends at each bar."""
    if isinstance(rate, str):
        return carried_returns(panel, rate, fills)
    return np.full(len(panel.dates), rate / BARS_PER_YEAR)
